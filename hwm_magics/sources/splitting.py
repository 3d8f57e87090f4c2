"""How a source's rows can be read in parts: the column or the pages, their bounds, and what stands against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue
from hwm_magics.core.decided import Window
from hwm_magics.core.observed import SourceState, Split
from hwm_magics.core.query import SourceQuery, Way
from hwm_magics.core.specs import Partition
from hwm_magics.core.statement import Param, Statement
from hwm_magics.errors import CursorColumnError
from hwm_magics.sources.base import SourceRequest
from hwm_magics.sources.catalog import own_columns
from hwm_magics.sources.dialects import TableFacts
from hwm_magics.sources.wire import Wire

if TYPE_CHECKING:
    from hwm_magics.sources.sql import SqlSource

__all__ = ["SplitObserver"]

_KINDS = frozenset(
    {
        CursorKind.INTEGER,
        CursorKind.DECIMAL,
        CursorKind.DATE,
        CursorKind.TIMESTAMP,
        CursorKind.TIMESTAMP_TZ,
    }
)


class SplitObserver:
    """Asks how one request's rows can be read in parts.

    Args:
        source: Where to ask.
        request: The request.
        wires: The columns of its rows, by name.
        values: What the query's subqueries over the target came to.
        state: What was observed so far, the high bound among it.
    """

    def __init__(
        self,
        source: SqlSource,
        request: SourceRequest,
        wires: Mapping[str, Wire],
        values: tuple[Param, ...],
        state: SourceState,
    ) -> None:
        self.source = source
        self.dialect = source.driver.dialect
        self.request = request
        self.wires = wires
        self.values = values
        self.state = state
        self.shared = source.shares_snapshots

    @property
    def _query(self) -> SourceQuery:
        return self.request.query

    def observe(self, asked: Partition) -> Split:
        """How the rows can be split; what can't be is told by the ``refusal``.

        Args:
            asked: ``read.partition``.

        Raises:
            SourceError: The source refuses to answer.
        """
        refusal, hint = self._refusal()
        if refusal:
            return Split(asked.column or "", refusal=refusal, hint=hint)
        table = self._query.one_table(first_run=self.request.first_run)
        if table is None:
            return Split(
                asked.column or "",
                refusal="the query does more than choose rows and columns of one table, and each part would run all of "
                "it anew",
                hint="name a table or a view, or a query of the form SELECT … FROM one_table WHERE …; or leave "
                "read.partition out",
            )
        name, text = table
        facts = self.dialect.facts(self.source.ask, name)
        if asked.column is None:
            return self._chosen(name, text, facts)
        return self._by_column(asked.column, name, text, facts)

    def _refusal(self) -> tuple[str, str]:
        """What stands against any parts: one connection only, or servers that can't be told apart."""
        if not self.source.can_multiply:
            return (
                "this connection is one and can't be opened a second time",
                "name a connection of hwm.yaml, or one that several can be opened of; or leave read.partition out",
            )
        if not self.shared and not self.source.server():
            return (
                "whether several connections lead to the same server can't be told here",
                "leave read.partition out",
            )
        return "", ""

    def _chosen(self, table: str, text: str | None, facts: TableFacts | None) -> Split:
        """The split of ``auto``: by pages where all connections see one snapshot, else by the primary key."""
        why = ""
        if self.shared and text is None:
            found = self.dialect.pages(self.source.ask, table)
            if found.refusal:
                why = f"{found.refusal}, and "
            else:
                return Split(
                    pages=found.count, page_bytes=found.bytes, rows=self._rows(facts), shared=self.shared
                )
        key = facts.primary if facts is not None else frozenset()
        column = next(iter(key)) if len(key) == 1 else ""
        wire = self.wires.get(column)
        if wire is None or self._type(wire) is None or self._type(wire).kind is not CursorKind.INTEGER:  # type: ignore[union-attr]  # None is ruled out before
            return Split(refusal=f"{why}the table has no primary key of one whole number among its columns")
        return self._by_column(column, table, text, facts)

    def _type(self, wire: Wire) -> CursorType | None:
        try:
            kind = self.dialect.cursor_type(wire)
        except CursorColumnError:
            return None
        return kind if kind.kind in _KINDS else None

    def _by_column(self, column: str, table: str, text: str | None, facts: TableFacts | None) -> Split:
        wire = self.wires.get(column)
        if wire is None:
            there = ", ".join(self.wires)
            return Split(
                column,
                refusal=f"the rows have no column {column!r}",
                hint=f"their columns are: {there}",
            )
        if text is not None and column not in own_columns(text, self.source.dialect, self.wires):
            return Split(
                column,
                refusal=f"the query makes {column!r} itself, so that it need not be the same in each part",
                hint="split by a column of the table",
            )
        kind = self._type(wire)
        if kind is None:
            return Split(
                column,
                refusal=f"{column!r} ({wire.column.native or wire.column.type}) has no even strides",
                hint="split by a whole number, a decimal, a date or a time",
            )
        least, greatest = (
            self._bound(f"{which}({self.dialect.quote(column)})", table, kind) for which in ("MIN", "MAX")
        )
        return Split(
            column,
            self.dialect.quote(column),
            least,
            greatest,
            nulls=facts is None or column not in facts.not_null,
            rows=self._rows(facts, least, greatest),
            shared=self.shared,
            key=facts is not None and column in facts.primary,
        )

    def _bound(self, expression: str, table: str, kind: CursorType) -> CursorValue | None:
        exact = self.dialect.exact(expression, kind)
        low, way = self.request.low, self._query.way
        if low is None and way in (Way.WINDOW, Way.PLAIN):
            # Of the whole table an index tells at once, and bounds that are too wide leave out no row.
            ((raw,),) = self.source.ask(f"SELECT {exact} FROM {table}")  # noqa: S608 - quoted
        else:
            window = Window(low, self.state.high) if low is not None else None
            ((raw,),) = self.source.rows(self._probe(exact, window))
        return None if raw is None else kind.value(raw)

    def _probe(self, expression: str, window: Window | None) -> Statement:
        return self._query.probe(
            [expression], first_run=self.request.first_run, window=window, values=self.values
        )

    def _rows(
        self,
        facts: TableFacts | None,
        least: CursorValue | None = None,
        greatest: CursorValue | None = None,
    ) -> int | None:
        """About how many rows will be read, at most."""
        known = [facts.rows] if facts is not None and facts.rows is not None else []
        if least is not None and greatest is not None and least.type.kind is CursorKind.INTEGER:
            known.append(int(greatest.text) - int(least.text) + 1)
        return min(known, default=None)
