"""What happens to rows between source and target: fitted, deduplicated, recognised, counted. Arrow only."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc

from hwm_magics.arrow import arrow_scalar, cast_batch, columns_of
from hwm_magics.arrow.build import booleans, integers, scalar, texts
from hwm_magics.arrow.keys import row_keys
from hwm_magics.core.cursor import CursorValue
from hwm_magics.core.decided import RecogniseRows, SchemaChange
from hwm_magics.core.observed import Column, LateColumn
from hwm_magics.core.query import CursorExpression
from hwm_magics.core.schema import clashes, compare
from hwm_magics.core.specs import SchemaPolicy
from hwm_magics.engines.planned import compared_by
from hwm_magics.errors import SchemaMismatchError

__all__ = [
    "Fitted",
    "Overlap",
    "RowCounts",
    "cursor_array",
    "deduplicated",
    "fit",
    "recognised",
    "require",
    "transformed",
]

SPOOL = 64 * 1024 * 1024
"""Rows up to this size are held in memory while their keys are looked at; beyond it, on disk."""


@dataclass(slots=True)
class RowCounts:
    """What was counted while rows went by.

    Attributes:
        read: Rows that the source sent.
        bytes: Their size in memory.
        recognised: Rows dropped because the target holds them.
        superseded: Rows dropped because a newer one has the same key.
        written: Rows handed to the writer.
        late: Rows at or below the old watermark that the target did not hold.
        latest: The lowest cursor value among those.
    """

    read: int = 0
    bytes: int = 0
    recognised: int = 0
    superseded: int = 0
    written: int = 0
    late: int = 0
    latest: CursorValue | None = None

    def lateness(self, mark: CursorValue | None) -> timedelta | int | None:
        """How far below the old watermark the latest of the late rows lay."""
        if mark is None or self.latest is None:
            return None
        return mark.distance(self.latest)


@dataclass(frozen=True, slots=True)
class Fitted:
    """Rows with the target's schema.

    Attributes:
        schema: The schema: the target's columns, then the added ones.
        change: How the rows' own schema differs from it.
        batches: The rows.
    """

    schema: pa.Schema
    change: SchemaChange
    batches: Iterator[pa.RecordBatch]


def transformed(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, function: Callable[..., object], name: str
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Pass every chunk through the user's function, as a pandas DataFrame with exact (Arrow) types.

    Args:
        batches: The rows.
        schema: Their schema.
        function: Takes and returns a DataFrame.
        name: The function's name, for messages.

    Returns:
        The schema of the function's first result, and its results.

    Raises:
        SchemaMismatchError: The function gives something else than a DataFrame, or another schema
            for a later chunk.
    """
    import pandas as pd

    def one(batch: pa.RecordBatch) -> pa.Table:
        frame = pa.Table.from_batches([batch]).to_pandas(types_mapper=pd.ArrowDtype)
        result = function(frame)
        if not isinstance(result, pd.DataFrame):
            raise SchemaMismatchError(
                f"the transform {name!r} returned {type(result).__name__}, and not a DataFrame",
                hint="return the changed DataFrame",
            )
        table = pa.Table.from_pandas(result, preserve_index=False)
        return table.replace_schema_metadata(None)

    rest = iter(batches)
    first = next(rest, None)
    start = one(first if first is not None else pa.RecordBatch.from_pylist([], schema=schema))
    settled = start.schema

    def results() -> Iterator[pa.RecordBatch]:
        if first is not None:
            yield from start.to_batches()
        for batch in rest:
            table = one(batch)
            yield from (table if table.schema == settled else _same(table, settled, name)).to_batches()

    return settled, results()


def _same(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    if table.schema.names != schema.names:
        raise SchemaMismatchError(
            f"the transform {name!r} gave the columns {table.schema.names}, and before {schema.names}",
            hint="return the same columns for every chunk",
        )
    batches = [cast_batch(batch, schema) for batch in table.to_batches()]
    return pa.Table.from_batches(batches, schema=schema)


def require(schema: pa.Schema, needed: Sequence[str], transform: str | None) -> None:
    """Raise when rows have lost a column that later steps rest on."""
    lost = [repr(name) for name in needed if name not in schema.names]
    if lost:
        raise SchemaMismatchError(
            f"the transform {transform!r} gives no column {', '.join(lost)}, by which rows are recognised or stored",
            hint="keep it in the DataFrame that the function returns",
        )


def fit(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    target: Sequence[Column] | None,
    target_schema: pa.Schema | None,
    policy: SchemaPolicy,
) -> Fitted:
    """Give rows the target's schema, without loss.

    Args:
        batches: The rows.
        schema: Their schema.
        target: The target's columns; None for a table that this load creates.
        target_schema: The same as Arrow knows them.
        policy: Whether new columns may be added.

    Returns:
        The rows in the target's column order; new columns last and nullable; columns that the
        rows lack are NULL.

    Raises:
        SchemaMismatchError: They don't fit.
    """
    if target is None or target_schema is None:
        if told := clashes(columns_of(schema)):
            raise SchemaMismatchError(
                f"the columns of the rows clash: {'; '.join(told)}", hint="give each column a name of its own"
            )
        return Fitted(schema, SchemaChange(), iter(batches))
    change = compare(columns_of(schema), target, policy)
    if change.conflicts:
        raise SchemaMismatchError(
            f"the columns don't fit the target: {'; '.join(change.conflicts)}",
            hint="cast or rename the columns in the query or the transform",
        )
    added = [pa.field(column.name, schema.field(column.name).type, nullable=True) for column in change.added]
    final = pa.schema([*target_schema, *added])
    return Fitted(final, change, _fitted(batches, final))


def _fitted(batches: Iterable[pa.RecordBatch], final: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        names = set(batch.schema.names)
        arrays = [
            batch.column(column.name) if column.name in names else pa.nulls(batch.num_rows, column.type)
            for column in final
        ]
        loose = pa.RecordBatch.from_arrays(arrays, names=final.names)
        yield cast_batch(loose, final)


def cursor_array(batch: pa.RecordBatch, cursor: CursorExpression) -> pa.Array:
    """The cursor's values of a batch, by the one expression that stands for it everywhere."""
    values = batch.column(cursor.column)
    if cursor.fallback:
        other = batch.column(cursor.fallback)
        values = pc.coalesce(values, other.cast(values.type) if other.type != values.type else other)
    if cursor.date_format:
        parts = [
            scalar(piece) if isinstance(piece, str) else pc.utf8_slice_codeunits(values, piece[0], sum(piece))
            for piece in cursor.iso_parts()
        ]
        values = pc.binary_join_element_wise(*parts, scalar(""))
    return values


class _Spool:
    """Batches that are gone over twice: in memory while small, then in a file."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._held: list[pa.RecordBatch] = []
        self._size = 0
        self._file: IO[bytes] | None = None
        self._writer: pa.RecordBatchFileWriter | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        self._size += batch.nbytes
        if self._writer is None and self._size > SPOOL:
            self._file = tempfile.TemporaryFile(prefix="hwm-")  # noqa: SIM115 - lives as long as the spool
            self._writer = pa.ipc.new_file(self._file, self._schema)
            for held in self._held:
                self._writer.write_batch(held)
            self._held.clear()
        if self._writer is not None:
            self._writer.write_batch(batch)
        else:
            self._held.append(batch)

    def batches(self) -> Iterator[pa.RecordBatch]:
        if self._writer is None or self._file is None:
            yield from self._held
            return
        self._writer.close()
        self._file.seek(0)
        reader = pa.ipc.open_file(self._file)
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)

    def close(self) -> None:
        """Give the memory and the file back."""
        self._held.clear()
        if self._writer is not None:
            self._writer.close()
        if self._file is not None:
            self._file.close()


def deduplicated(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    keys: Sequence[str],
    cursor: CursorExpression | None,
    counts: RowCounts,
) -> Iterator[pa.RecordBatch]:
    """Keep the newest row of each key.

    All rows are held, on disk beyond :data:`SPOOL`, and their keys in memory.

    Args:
        batches: The rows.
        schema: Their schema.
        keys: The key columns.
        cursor: What makes a row newer; None when nothing does.
        counts: Where dropped rows are counted.

    Yields:
        The rows that stay.

    Raises:
        SchemaMismatchError: A key is NULL, or rows with one key are equally new and differ.
    """
    with closing(_Spool(schema)) as spool:
        found = []
        for batch in batches:
            if not batch.num_rows:
                continue
            refuse_null_keys(batch, keys)
            found.append(row_keys(batch, list(keys)))
            spool.add(batch)
        if found:
            yield from _newest(spool, found, keys, cursor, counts)


def _newest(
    spool: _Spool,
    found: list[pa.Array],
    keys: Sequence[str],
    cursor: CursorExpression | None,
    counts: RowCounts,
) -> Iterator[pa.RecordBatch]:
    all_keys = pa.chunked_array(found)
    if pc.count_distinct(all_keys).as_py() == len(all_keys):
        yield from spool.batches()
        return
    counted = pc.value_counts(all_keys)
    repeated = counted.field("values").filter(pc.greater(counted.field("counts"), integers([1])[0]))
    drop = _superseded(spool, found, repeated, cursor, keys)
    counts.superseded += len(drop)
    start = 0
    for batch in spool.batches():
        gone = [row - start for row in range(start, start + batch.num_rows) if row in drop]
        if gone:
            keep = [True] * batch.num_rows
            for row in gone:
                keep[row] = False
            yield batch.filter(booleans(keep))
        else:
            yield batch
        start += batch.num_rows


def refuse_null_keys(batch: pa.RecordBatch, keys: Sequence[str]) -> None:
    """Raise when a key column of a batch holds NULL: a MERGE would insert such a row on every run."""
    for name in keys:
        if batch.column(name).null_count:
            raise SchemaMismatchError(
                f"{batch.column(name).null_count} rows have NULL in the key {name!r}",
                hint="leave such rows out in the query, or choose other keys",
            )


def _superseded(
    spool: _Spool,
    found: list[pa.Array],
    repeated: pa.Array,
    cursor: CursorExpression | None,
    keys: Sequence[str],
) -> set[int]:
    best: dict[object, tuple[object, int, object]] = {}
    drop: set[int] = set()
    start = 0
    for batch, encoded in zip(spool.batches(), found, strict=True):
        hits = pc.indices_nonzero(pc.is_in(encoded, value_set=repeated)).to_pylist()
        if hits:
            rows = batch.take(integers(hits))
            marks = _orderable(cursor_array(rows, cursor)) if cursor else [None] * len(hits)
            whole = row_keys(rows, rows.schema.names).to_pylist()
            for position, hit in enumerate(hits):
                key, mark, row = encoded[hit].as_py(), marks[position], start + hit
                held = best.get(key)
                if held is None:
                    best[key] = (mark, row, whole[position])
                    continue
                drop.add(_loser(held, (mark, row, whole[position]), best, key))
        start += batch.num_rows
    _refuse_ties(best, keys)
    return drop


_TIED = object()


def _loser(
    held: tuple[object, int, object],
    new: tuple[object, int, object],
    best: dict[object, tuple[object, int, object]],
    key: object,
) -> int:
    newer = _above(new[0], held[0])
    if newer is None:
        if held[2] != new[2]:
            # A newer row may still come and settle it.
            best[key] = (held[0], held[1], _TIED)
        return new[1]
    if newer:
        best[key] = new
        return held[1]
    return new[1]


def _above(new: object, held: object) -> bool | None:
    """Whether one cursor value is newer than another; NULL is older than any; None for equal."""
    if new == held:
        return None
    if new is None or held is None:
        return held is None
    return bool(new > held)  # type: ignore[operator]  # both are ints, Decimals or both text


def _refuse_ties(best: dict[object, tuple[object, int, object]], keys: Sequence[str]) -> None:
    tied = sum(1 for entry in best.values() if entry[2] is _TIED)
    if tied:
        raise SchemaMismatchError(
            f"{tied} keys ({', '.join(keys)}) come in several rows that differ and are equally new",
            hint="choose keys that identify a row, or let the query keep one row of each key",
        )


def _orderable(values: pa.Array) -> list[object]:
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        width = pa.int64() if pa.types.is_timestamp(values.type) or values.type == pa.date64() else pa.int32()
        return list(values.cast(width).to_pylist())
    return list(values.to_pylist())


@dataclass(slots=True)
class _Alike:
    """Rows of the target that are compared by the same columns, and how often each is there."""

    columns: list[str]
    late: tuple[LateColumn, ...]
    keys: Counter[bytes] = field(default_factory=Counter)
    _values: pa.Array | None = None

    def unseen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if not self.keys or not batch.num_rows:
            return batch
        encoded = row_keys(batch, self.columns)
        if self._values is None:
            self._values = texts(list(self.keys), encoded.type)
        candidates = pc.indices_nonzero(pc.is_in(encoded, value_set=self._values)).to_pylist()
        if not candidates:
            return batch
        keep = [True] * batch.num_rows
        for row in candidates:
            key = encoded[row].as_py()
            if self.keys[key] > 0:
                self.keys[key] -= 1
                keep[row] = False
        return batch.filter(booleans(keep))

    def holds(self, batch: pa.RecordBatch, cursor: CursorExpression) -> pa.Array:
        """Which rows belong here: those that lack the columns which came after them."""
        values = _comparable(cursor_array(batch, cursor))
        mask = pc.or_kleene(
            pc.less_equal(values, arrow_scalar(self.late[0].upto, values.type)), pc.is_null(values)
        )
        for each in self.late:
            mask = pc.and_(mask, pc.is_null(batch.column(each.name)))
        return mask


@dataclass(slots=True)
class Overlap:
    """The target's rows that may come again.

    Attributes:
        alike: They, by the columns that make two of them the same; see
            :meth:`~hwm_magics.core.decided.RecogniseRows.groups`.
    """

    alike: list[_Alike] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        batches: Iterable[pa.RecordBatch],
        step: RecogniseRows,
        schema: pa.Schema,
        missing: Collection[str] = (),
    ) -> Overlap:
        """Take up the target's rows at or above the step's low bound.

        Args:
            batches: The target's rows, with at least the columns that are compared and the cursor's.
            step: What is compared.
            schema: The schema that the source's rows have been fitted to.
            missing: Columns that the source did not send, so that nothing can be compared by them.
        """
        cursor = compared_by(step)
        overlap = cls()
        for batch in batches:
            if not overlap.alike:
                have = set(batch.schema.names) - set(missing)
                compared = list(step.columns) or [name for name in schema.names if name in have]
                overlap.alike = [_Alike(list(names), late) for names, late in step.groups(compared)]
            kept = batch.filter(_at_or_above(batch, cursor, step.low, nulls=step.nulls))
            for alike in reversed(overlap.alike):
                if not kept.num_rows:
                    break
                mine = kept
                if alike.late:
                    mask = alike.holds(kept, cursor)
                    mine, kept = kept.filter(mask), kept.filter(pc.invert(mask))
                fields = [schema.field(name) for name in alike.columns]
                same = pa.RecordBatch.from_arrays(
                    [mine.column(name) for name in alike.columns], names=alike.columns
                )
                encoded = row_keys(cast_batch(same, pa.schema(fields)), alike.columns)
                alike.keys.update(encoded.to_pylist())
        return overlap

    def unseen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of a batch that are not there, each occurrence counted once."""
        for alike in self.alike:
            batch = alike.unseen(batch)
        return batch


def _at_or_above(
    batch: pa.RecordBatch, cursor: CursorExpression, low: CursorValue | None, *, nulls: bool
) -> pa.Array:
    values = _comparable(cursor_array(batch, cursor))
    if low is None:
        return booleans([True] * batch.num_rows)
    mask = pc.greater_equal(values, arrow_scalar(low, values.type))
    return pc.or_kleene(mask, pc.is_null(values)) if nulls else mask


def _comparable(values: pa.Array) -> pa.Array:
    """Numbers as wide as they come: a bound may lie below all that a narrow column can hold."""
    return values.cast(pa.int64()) if pa.types.is_integer(values.type) else values


def recognised(
    batches: Iterable[pa.RecordBatch],
    overlap: Overlap | None,
    counts: RowCounts,
    cursor: CursorExpression | None,
    mark: CursorValue | None,
) -> Iterator[pa.RecordBatch]:
    """Drop the rows that the target holds, and count those that come late.

    Args:
        batches: The rows.
        overlap: The target's rows that may come again; None when none can.
        counts: Where rows are counted.
        cursor: The cursor; None without one.
        mark: The old watermark; None on a first run.

    Yields:
        The rows that stay; empty batches are left out.
    """
    for batch in batches:
        kept = batch if overlap is None else overlap.unseen(batch)
        counts.recognised += batch.num_rows - kept.num_rows
        if not kept.num_rows:
            continue
        if overlap is not None and cursor is not None and mark is not None:
            _count_late(kept, cursor, mark, counts)
        counts.written += kept.num_rows
        yield kept


def _count_late(
    batch: pa.RecordBatch, cursor: CursorExpression, mark: CursorValue, counts: RowCounts
) -> None:
    from hwm_magics.arrow import cursor_value

    values = _comparable(cursor_array(batch, cursor))
    late = values.filter(pc.less_equal(values, arrow_scalar(mark, values.type)))
    if not len(late):
        return
    counts.late += len(late)
    lowest = cursor_value(pc.min(late), mark.type)
    if lowest is not None and (counts.latest is None or lowest < counts.latest):
        counts.latest = lowest
