"""Rows on their way: what a source gives and an engine takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BatchStream"]


@dataclass(slots=True)
class BatchStream:
    """Rows on their way from a source.

    Attributes:
        schema: The schema of every batch, with exact types that Delta Lake has.
        batches: The rows, in no order. Raises a :class:`~hwm_magics.errors.SourceError` when the
            source fails; a stream that ends without raising has sent every row.
        close: Stops the read and frees what it holds; may be called twice, and from the thread
            that reads.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    close: Callable[[], None] = field(default=lambda: None)
