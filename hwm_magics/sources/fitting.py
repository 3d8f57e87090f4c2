"""How many rows come at a time: of wide rows fewer, so that no batch takes much memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData, ParquetFile

__all__ = [
    "FEW",
    "FEWEST",
    "MOST_FETCHED",
    "fetched",
    "fitting",
    "gathered",
    "parquet_batches",
    "size_of",
]

FEW = 2_048
"""Rows of a batch, for drivers that can only be told how many, and to be put together by :func:`gathered`."""
FEWEST = 256
"""So many at least, where some rows stand for all and others may be narrow: a batch has a price of its own."""
MOST_FETCHED = 10_000
"""More rows at a time are fetched no faster from a cursor of Python's."""
_MOST_READ = 65_536
_MOST_GATHERED = 16_384
_BATCH_BYTES = 4 * 2**20
_PART_BYTES = 16 * 2**20
"""Of a file's compressed bytes, so many at least are held at a time; a row group is never cut."""
_FIRST_ROWS = 50
"""Of rows whose width nobody knows yet."""
_TIMES = 10
"""So many times as many come next, at most."""


def fitting(size: int, rows: int, most: int) -> int:
    """How many rows make a batch of about 4 MB, where so many others have such a size in bytes."""
    return max(1, min(most, _BATCH_BYTES * rows // max(1, size)))


def size_of(footer: FileMetaData) -> int:
    """How many bytes a Parquet file holds, before they are compressed."""
    return sum(footer.row_group(at).total_byte_size for at in range(footer.num_row_groups))


def parquet_batches(file: ParquetFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file in batches of about 4 MB.

    They are asked for by a few row groups at a time: pyarrow keeps all that it fetched for a request until the
    request's end, and for one of a whole file that is the file.
    """
    footer = file.metadata
    rows = fitting(size_of(footer), footer.num_rows, _MOST_READ)
    part: list[int] = []
    size = 0
    for at in range(footer.num_row_groups):
        group = footer.row_group(at)
        part.append(at)
        size += sum(group.column(number).total_compressed_size for number in range(group.num_columns))
        if size >= _PART_BYTES or at == footer.num_row_groups - 1:
            yield from file.iter_batches(batch_size=rows, row_groups=part, columns=columns)
            part, size = [], 0


def fetched(
    fetch: Callable[[int], Sequence[Sequence[Any]]],
    columns_of: Callable[[Sequence[Sequence[Any]]], Sequence[pa.Array]],
) -> Iterator[Sequence[pa.Array]]:
    """The rows of a cursor in batches.

    Args:
        fetch: Gives at most so many of its next rows; none at its end.
        columns_of: Makes columns of rows.

    Yields:
        The columns of each batch: of about 4 MB, or of :data:`MOST_FETCHED` rows.
    """
    held = _Held(MOST_FETCHED)
    step = _FIRST_ROWS
    while some := fetch(step):
        room = held.add(columns_of(some))
        if room <= 0:
            room += held.rows
            yield held.take()
        # Rows that follow narrow ones may be wide.
        step = min(room, _TIMES * step)
    if held.parts:
        yield held.take()


def gathered(batches: Iterable[Sequence[pa.Array]]) -> Iterator[Sequence[pa.Array]]:
    """The same rows in other batches, of drivers that can only be told how many rows theirs have.

    Args:
        batches: The columns of each.

    Yields:
        The columns of each batch: of about 4 MB, or of 16,384 rows.
    """
    held = _Held(_MOST_GATHERED)
    for columns in batches:
        for part in _cut(columns):
            if held.add(part) <= 0:
                yield held.take()
    if held.parts:
        yield held.take()


def _cut(columns: Sequence[pa.Array]) -> Iterator[Sequence[pa.Array]]:
    """The parts of a batch: of wide rows, what waits for the writer is then little more than one of theirs."""
    rows = len(columns[0])
    most = fitting(sum(column.nbytes for column in columns), rows, rows)
    if most == rows:
        yield columns
        return
    for start in range(0, rows, most):
        yield [column.slice(start, most) for column in columns]


@dataclass(slots=True)
class _Held:
    """The parts of a batch that is not full yet."""

    most: int
    parts: list[Sequence[pa.Array]] = field(default_factory=list)
    rows: int = 0
    size: int = 0

    def add(self, columns: Sequence[pa.Array]) -> int:
        """Hold these too; how many more rows fit then."""
        self.parts.append(columns)
        self.rows += len(columns[0])
        self.size += sum(column.nbytes for column in columns)
        return fitting(self.size, self.rows, self.most) - self.rows

    def take(self) -> Sequence[pa.Array]:
        """The batch; none of it is held any more."""
        parts = self.parts
        self.parts, self.rows, self.size = [], 0, 0
        return parts[0] if len(parts) == 1 else [pa.concat_arrays(each) for each in zip(*parts, strict=True)]
