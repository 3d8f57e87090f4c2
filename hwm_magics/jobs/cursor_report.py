"""How fit a cursor column is, asked of the real source: type, precision, NULLs, ties, future rows, index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue
from hwm_magics.core.decided import Window
from hwm_magics.core.query import SourceQuery, Way, prepare
from hwm_magics.core.specs import Boundary, CursorSpec, FuturePolicy, LoadSpec, NullPolicy, WriteMode
from hwm_magics.sources.base import Source, SourceRequest
from hwm_magics.sources.sql import SqlSource

if TYPE_CHECKING:
    from hwm_magics.core.observed import SourceState
    from hwm_magics.sources.dialects import TableFacts

__all__ = ["Remark", "cursor_report"]

_LARGE = 100_000
"""From here on reading a whole table to find what is new is worth an index."""
_SECOND = 0


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing about a cursor column.

    Attributes:
        what: Which: ``type``, ``precision``, ``NULLs``, ``ties``, ``future rows``, ``index``.
        seen: What was found.
        do: What to do about it; "" where it is well.
        bad: Whether rows can be lost, doubled or missed as it is.
    """

    what: str
    seen: str
    do: str = ""
    bad: bool = False


def cursor_report(spec: LoadSpec, source: Source) -> tuple[Remark, ...]:
    """Look at a load's cursor column.

    Args:
        spec: The load.
        source: Its source, connected.

    Raises:
        SourceError: The source refuses to tell.
        CursorColumnError: The column can't be a cursor; the error says why.
    """
    query = prepare(spec.read, spec.write, source.dialect)
    cursor = query.cursor
    if cursor is None or query.way is Way.TARGET:
        return (_without(spec, query),)
    first_run = spec.write.first_run_query is None
    settings = spec.read.cursor or CursorSpec(cursor.column)
    state = source.observe(
        SourceRequest(query, first_run, initial_value=settings.initial_value, keys=spec.write.keys)
    )
    facts = _facts(source, query)
    return tuple(_Report(spec, settings, source, query, state, facts, first_run=first_run).remarks())


def _without(spec: LoadSpec, query: SourceQuery) -> Remark:
    if query.way is Way.TARGET:
        return Remark(
            "cursor", "the query compares with the target itself; ties and late rows follow it as written"
        )
    if spec.by_files:
        return Remark("cursor", "none: the record of loaded files tells which are new")
    if spec.by_versions:
        return Remark("cursor", "none: the table's versions tell which rows were added")
    if spec.write.mode is WriteMode.OVERWRITE:
        return Remark("cursor", "none, and mode: overwrite needs none")
    return Remark(
        "cursor",
        "none: nothing says which rows are new",
        "add read.incremental {column: …}",
        bad=spec.write.mode is WriteMode.APPEND,
    )


def _facts(source: Source, query: SourceQuery) -> TableFacts | None:
    if not isinstance(source, SqlSource) or query.base_table is None:
        return None
    with source.driver.reading():
        return source.driver.dialect.facts(source.ask, query.base_table)


class _Report:
    def __init__(
        self,
        spec: LoadSpec,
        settings: CursorSpec,
        source: Source,
        query: SourceQuery,
        state: SourceState,
        facts: TableFacts | None,
        *,
        first_run: bool,
    ) -> None:
        self.spec = spec
        self.settings = settings
        self.source = source
        self.query = query
        self.state = state
        self.facts = facts
        self.first_run = first_run

    def remarks(self) -> Iterator[Remark]:
        kind = self.state.cursor_type
        if kind is None:
            return
        yield self._type(kind)
        yield self._precision(kind)
        yield self._nulls()
        if self.state.top is None:
            yield Remark("ties", "there is no row yet")
        else:
            yield self._ties(self.state.top)
        if kind.is_time:
            yield self._future()
        yield self._index()

    def _scalar(self, expression: str, window: Window | None = None) -> int:
        statement = self.query.probe([expression], first_run=self.first_run, window=window)
        return int(self.source.scalar(statement) or 0)

    def _type(self, kind: CursorType) -> Remark:
        name = kind.native or kind.kind.value
        if kind.kind in (CursorKind.INTEGER, CursorKind.DECIMAL) and self.spec.write.mode is WriteMode.UPSERT:
            return Remark(
                "type",
                f"{name}: a number tells new rows, and no changes of old ones",
                "if rows are updated, use a time of change or a rowversion",
            )
        if kind.kind is CursorKind.TEXT:
            return Remark(
                "type", f"{name}: text of one ISO-8601 form, so far", "a real time type can't go wrong"
            )
        return Remark("type", name)

    def _precision(self, kind: CursorType) -> Remark:
        if kind.kind is CursorKind.DATE:
            return Remark("precision", "a day", *self._coarse("a day's rows share one value"))
        if kind.kind in (CursorKind.TIMESTAMP, CursorKind.TIMESTAMP_TZ, CursorKind.TEXT):
            digits = kind.form.digits if kind.form is not None else kind.digits
            if digits == _SECOND:
                return Remark("precision", "a second", *self._coarse("rows of one second share a value"))
            return Remark("precision", f"{digits} digits of a second")
        return Remark(
            "precision", f"{kind.digits} digits after the point" if kind.digits else "whole numbers"
        )

    def _coarse(self, why: str) -> tuple[str, bool]:
        if self._loses_ties:
            return f"{why}, and ties are not read again: {self._tie_advice}", True
        return "", False

    @property
    def _loses_ties(self) -> bool:
        return self.settings.boundary is Boundary.EXCLUSIVE or not self.spec.recognisable

    @property
    def _tie_advice(self) -> str:
        if not self.spec.recognisable:
            return "declare write.keys, so that rows read again are recognised behind the transform"
        return "boundary: inclusive"

    def _nulls(self) -> Remark:
        nulls = self.state.nulls
        if nulls is None:
            nulls = self._scalar("COUNT(*) - COUNT({cursor})")
        if not nulls:
            return Remark("NULLs", "none")
        told = f"{nulls:,} row{'s have' if nulls > 1 else ' has'} no value"
        if self.settings.nulls is NullPolicy.FIRST_RUN_ONLY:
            return Remark("NULLs", f"{told}; the first run reads them, as the load says")
        return Remark(
            "NULLs",
            told,
            "later runs don't read them: give a fallback_column, mend the rows, or say nulls: first_run_only",
            bad=True,
        )

    def _ties(self, top: CursorValue) -> Remark:
        ties = self._scalar("COUNT(*)", Window(top, top))
        if ties <= 1:
            return Remark("ties", f"one row at the maximum, {top}")
        told = f"{ties:,} rows at the maximum, {top}"
        if self._loses_ties:
            return Remark("ties", told, f"one that comes later would be missed: {self._tie_advice}", bad=True)
        return Remark("ties", f"{told}; they are read again and recognised")

    def _future(self) -> Remark:
        future = self.state.future or 0
        if not future:
            return Remark(
                "future rows", "none" if self.state.now is not None else "not told: there is no clock"
            )
        told = f"{future:,} row{'s lie' if future > 1 else ' lies'} above the source's clock, up to {self.state.top}"
        if self.settings.future is FuturePolicy.ACCEPT:
            return Remark(
                "future rows",
                told,
                "they put the watermark ahead of rows still to come: future: cap",
                bad=True,
            )
        if self.settings.future is FuturePolicy.ERROR:
            return Remark(
                "future rows", told, "future: error stops each run: mend them, or future: cap", bad=True
            )
        return Remark("future rows", f"{told}; they wait until then", "mend them if they are mistakes")

    def _index(self) -> Remark:
        cursor = self.query.cursor
        if self.facts is None or cursor is None:
            return Remark("index", "not told: the query reads more than one table")
        rows = (
            f"about {self.facts.rows:,} rows" if self.facts.rows is not None else "an unknown number of rows"
        )
        if cursor.fallback is None and cursor.column in self.facts.indexed:
            return Remark("index", f"one begins with {cursor.column} ({rows})")
        large = self.facts.rows is None or self.facts.rows >= _LARGE
        advice = (
            f"each run reads the whole table: CREATE INDEX … ON {self.query.base_table} ({cursor.column})"
        )
        if cursor.fallback is not None:
            advice = f"each run reads the whole table: an index on {cursor.label} would help"
        return Remark("index", f"none begins with {cursor.column} ({rows})", advice if large else "")
