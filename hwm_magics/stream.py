"""Rows on their way: what a source gives and an engine takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from hwm_magics.core.observed import Column

__all__ = ["BatchStream", "Parts", "SparkRead"]


@dataclass(slots=True)
class BatchStream:
    """Rows on their way from a source.

    Attributes:
        schema: The schema of every batch, with exact types that Delta Lake has.
        batches: The rows, in no order. Raises a :class:`~hwm_magics.errors.SourceError` when the
            source fails; a stream that ends without raising has sent every row.
        close: Stops the read and frees what it holds; may be called twice, and from the thread
            that reads.
        tags: What tells the contents of the files that are read from others, by their paths; for the commit.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    close: Callable[[], None] = field(default=lambda: None)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parts:
    """How one read is split among Spark's executors.

    Attributes:
        column: The column to split by.
        low, high: Its least and greatest value, as text: they choose the strides and leave out no row.
        count: How many parts.
    """

    column: str
    low: str
    high: str
    count: int


@dataclass(frozen=True, slots=True)
class SparkRead:
    """Rows that Spark reads by itself, so that they never pass through this process.

    Attributes:
        format: Spark's word for the reader: ``jdbc``, or ``sql`` for a query of its own catalog.
        query: The SELECT, with its values as literals.
        columns: The columns that it gives, in order, in their exact types.
        options: The reader's options, credentials among them.
        parts: How it is split; None for one part.
        tags: As of :class:`BatchStream`.
    """

    format: str
    query: str
    columns: tuple[Column, ...]
    options: Mapping[str, str] = field(repr=False, default_factory=dict)
    parts: Parts | None = None
    tags: Mapping[str, str] = field(repr=False, default_factory=dict)

    def close(self) -> None:
        """Nothing is open yet."""
