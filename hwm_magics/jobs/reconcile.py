"""Whether a target holds the rows that its source has: counts by windows of the cursor, and keys where these differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hwm_magics.core.cursor import CursorValue
from hwm_magics.core.decided import Window
from hwm_magics.core.observed import TargetState
from hwm_magics.core.query import CursorExpression, SourceQuery, Way, prepare, quote
from hwm_magics.core.statement import Statement
from hwm_magics.core.words import counted
from hwm_magics.errors import BlockedError
from hwm_magics.sources.base import SourceRequest

if TYPE_CHECKING:
    import pyarrow as pa

    from hwm_magics.app import Workspace
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.engines.base import OpenTarget
    from hwm_magics.sources.base import Source

__all__ = ["CHUNK", "Gap", "Reconciliation", "reconcile"]

CHUNK = 100_000
"""Rows of one window whose keys are compared in memory."""

_MOST_SHOWN = 5
_MOST_GAPS = 50


@dataclass(frozen=True, slots=True)
class Gap:
    """A window in which source and target differ.

    Attributes:
        window: The window.
        source, target: Rows in it.
        missing: Keys that only the source has; None where keys were not compared.
        extra: Keys that only the target has; None where keys were not compared.
        changed: How many of ``extra`` the source has above the watermark: they will be loaded.
        shown: Some of the keys, as text.
    """

    window: Window
    source: int
    target: int
    missing: int | None = None
    extra: int | None = None
    changed: int = 0
    shown: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The gap in a line."""
        told = f"{self.window}: {self.source:,} in the source, {self.target:,} in the target"
        if self.missing is not None and self.extra is not None:
            told += f"; missing {self.missing:,}, only in the target {self.extra:,}"
            told += f" ({self.changed:,} changed since, and waiting to be loaded)" if self.changed else ""
        if self.shown:
            told += f": {', '.join(self.shown)}"
        return told


@dataclass(slots=True)
class Reconciliation:
    """What comparing a target with its source came to.

    Attributes:
        node: The load.
        label: Its target.
        column: The cursor column.
        upto: The watermark, up to which was compared.
        source, target: Rows up to there.
        by_keys: Whether keys were compared everywhere, and not only where counts differ.
        gaps: Where they differ, in no order.
        notes: What limits the answer.
    """

    node: str
    label: str
    column: str
    upto: str
    source: int = 0
    target: int = 0
    by_keys: bool = False
    gaps: list[Gap] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether nothing is missing and nothing is there that should not be."""
        return all(gap.missing == 0 and gap.extra == gap.changed for gap in self.gaps)

    @property
    def text(self) -> str:
        """The outcome in words."""
        how = "keys" if self.by_keys else "counts"
        head = "AGREES" if self.agrees else "DIFFERS"
        what = f"{self.label} against its source, up to {self.column} = {self.upto}, by {how}"
        rows = f"{counted(self.source, 'row')} in the source, {self.target:,} in the target"
        lines = [f"{head} · {self.node}: {what}: {rows}"]
        lines += [f"  {gap.text}" for gap in self.gaps[:_MOST_GAPS]]
        if len(self.gaps) > _MOST_GAPS:
            lines.append(f"  and {len(self.gaps) - _MOST_GAPS} windows more")
        lines += [f"  · {note}" for note in self.notes]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, object]:
        """The outcome as JSON-ready values."""
        return {
            "node": self.node,
            "agrees": self.agrees,
            "column": self.column,
            "upto": self.upto,
            "source": self.source,
            "target": self.target,
            "by_keys": self.by_keys,
            "gaps": [
                {
                    "low": str(gap.window.low) if gap.window.low is not None else None,
                    "high": str(gap.window.high) if gap.window.high is not None else None,
                    "source": gap.source,
                    "target": gap.target,
                    "missing": gap.missing,
                    "extra": gap.extra,
                    "changed": gap.changed,
                    "keys": list(gap.shown),
                }
                for gap in self.gaps
            ],
            "notes": list(self.notes),
        }


def reconcile(
    workspace: Workspace, spec: LoadSpec, *, by_keys: bool = False, chunk: int = CHUNK
) -> Reconciliation:
    """Compare a target with its source, up to the watermark.

    Windows are halved where the counts differ, until one holds at most ``chunk`` rows; there the keys
    are compared, when the load has some. So a large table costs little where it agrees.

    Args:
        workspace: Where source and target are.
        spec: The load.
        by_keys: Compare keys everywhere: two tables of equal counts may still hold different rows.
        chunk: The most rows of a window whose keys are compared at a time.

    Raises:
        BlockedError: The load can't be compared: a transform changes its rows, it has no window of a
            cursor, no watermark, or no table yet.
        SourceError, TargetReadError: One of the two can't be read.
    """
    if spec.transform is not None:
        raise BlockedError(
            f"{spec.node} passes its rows through {spec.transform}, so they can't be compared with the source's",
            hint="compare the target with what the transform should give, in a query of your own",
        )
    with workspace.source(spec) as source:
        query = prepare(spec.read, spec.write, source.dialect)
        if query.cursor is None or query.way is not Way.WINDOW:
            raise BlockedError(
                f"{spec.node} has no read.incremental, so there are no windows to compare",
                hint="add a cursor column",
            )
        target = workspace.existing(spec, "to compare", query.cursor)
        mark = _mark(spec, target.state)
        state = source.observe(SourceRequest(query, first_run=False, keys=spec.write.keys))
        if state.cursor_type is None or not state.cursor_type.comparable(mark.type):
            raise BlockedError(
                f"the watermark {mark} is of another type than the source's column now is",
                hint="see %hwm_plan: the load itself is BLOCKED for it",
            )
        return _Comparison(spec, query, query.cursor, source, target, mark, chunk, by_keys=by_keys).run()


def _mark(spec: LoadSpec, state: TargetState) -> CursorValue:
    last = state.last_load
    mark = last.watermark.value if last is not None and last.watermark is not None else state.max_cursor
    if mark is None:
        raise BlockedError(f"{spec.write.label} has no watermark to compare up to", hint="run the load first")
    return mark


class _Comparison:
    def __init__(
        self,
        spec: LoadSpec,
        query: SourceQuery,
        cursor: CursorExpression,
        source: Source,
        target: OpenTarget,
        mark: CursorValue,
        chunk: int,
        *,
        by_keys: bool,
    ) -> None:
        self.keys = spec.write.keys
        self.query = query
        self.cursor = cursor
        self.source = source
        self.target = target
        self.mark = mark
        self.chunk = chunk
        self.by_keys = by_keys and bool(self.keys)
        self.found = Reconciliation(
            spec.node, spec.write.label, cursor.label, str(mark), by_keys=self.by_keys
        )
        self._newer: pa.Array | None = None

    def run(self) -> Reconciliation:
        found = self.found
        whole = Window(None, self.mark)
        found.source, found.target = self._counts(whole)
        if not self.keys:
            found.notes.append(
                "the load has no write.keys: only counts are compared, and a row that changed counts twice"
            )
        found.notes.append("rows whose cursor is NULL or lies above the watermark are not compared")
        low = self._lowest()
        if low is not None:
            self._compare(Window(low, self.mark), found.source, found.target)
        return found

    def _compare(self, window: Window, source: int, target: int) -> None:
        waiting = [(window, source, target)]
        while waiting:
            window, source, target = waiting.pop()
            if source == target and not self.by_keys:
                continue
            if not source and not target:
                continue
            halves = _halved(window) if max(source, target) > self.chunk else None
            if halves is None:
                self._leaf(window, source, target)
                continue
            waiting += [(half, *self._counts(half)) for half in halves]

    def _leaf(self, window: Window, source: int, target: int) -> None:
        if not self.keys:
            self.found.gaps.append(Gap(window, source, target))
            return
        import pyarrow.compute as pc

        from hwm_magics.arrow.keys import row_keys

        here = self.target.select(self.keys, window, self.cursor)
        there = self._source_keys(window, here.schema)
        ours, theirs = row_keys(here), row_keys(there)
        missing = there.filter(pc.invert(pc.is_in(theirs, value_set=ours)))
        extra = here.filter(pc.invert(pc.is_in(ours, value_set=theirs)))
        if not missing.num_rows and not extra.num_rows:
            return
        changed = 0
        if extra.num_rows:
            changed = pc.sum(pc.is_in(row_keys(extra), value_set=self._newer_keys(here.schema))).as_py() or 0
        shown = [f"−{text}" for text in _texts(missing)] + [f"+{text}" for text in _texts(extra)]
        self.found.gaps.append(
            Gap(window, source, target, missing.num_rows, extra.num_rows, changed, tuple(shown))
        )

    def _counts(self, window: Window) -> tuple[int, int]:
        source = self.source.scalar(self.query.probe(["COUNT(*)"], first_run=False, window=window))
        return int(source or 0), self.target.count(window, self.cursor)

    def _lowest(self) -> CursorValue | None:
        """The lowest value of both sides."""
        from hwm_magics.arrow import scalar_of

        dialect = self.source.dialect
        asked = f"MIN({self.cursor.sql(dialect)}) AS {quote('hwm_low', dialect)}"
        statement = self.query.rows(first_run=False, window=Window(None, self.mark), projection=[asked])
        lows = [scalar_of(each) for batch in self._batches(statement) for each in batch.column(0)]
        lows += self.target.evaluate((f"SELECT MIN({self.cursor.sql('postgres')}) AS low FROM hwm_target",))  # noqa: S608 - quoted
        kind = self.mark.type
        return min((kind.value(str(low)) for low in lows if low is not None), default=None)

    def _batches(self, statement: Statement) -> Iterator[pa.RecordBatch]:
        stream = self.source.open(statement)
        try:
            yield from stream.batches
        finally:
            stream.close()

    def _source_keys(self, window: Window, schema: pa.Schema) -> pa.Table:
        import pyarrow as pa

        from hwm_magics.arrow import cast_batch

        selected = [quote(name, self.source.dialect) for name in self.keys]
        statement = self.query.rows(first_run=False, window=window, projection=selected)
        rows = [cast_batch(batch, schema) for batch in self._batches(statement)]
        return pa.Table.from_batches(rows, schema=schema)

    def _newer_keys(self, schema: pa.Schema) -> pa.Array:
        """Keys that the source has above the watermark: what was loaded of them is out of date, and not wrong."""
        if self._newer is None:
            from hwm_magics.arrow.keys import row_keys

            above = Window(self.mark, None, low_inclusive=False)
            self._newer = row_keys(self._source_keys(above, schema))
        return self._newer


def _halved(window: Window) -> tuple[Window, Window] | None:
    """A closed window's two halves; None where it can't be halved."""
    low, high = window.low, window.high
    if low is None or high is None or not low < high:
        return None
    distance = high.distance(low)
    if distance is None:
        return None
    middle = high.minus(distance // 2)
    if not middle < high or middle < low:
        return None
    return Window(low, middle, window.low_inclusive), Window(middle, high, low_inclusive=False)


def _texts(table: pa.Table) -> Sequence[str]:
    rows = table.slice(0, _MOST_SHOWN).to_pylist()
    shown = [", ".join(str(value) for value in row.values()) for row in rows]
    return [*shown, *([f"and {table.num_rows - len(rows):,} more"] if table.num_rows > len(rows) else [])]
