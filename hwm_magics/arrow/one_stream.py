"""Has delta-rs hand rows to its writer as they come, so that wide ones take no more memory than narrow ones."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BATCH_ROWS", "in_one_stream", "width_of"]

BATCH_ROWS = 8_192
"""Rows that DataFusion puts together before it hands them on, unless a query says otherwise."""
_WAITING = "4"
"""So many batches wait for the writer: ten, delta-rs' default, took 60 MB more, and four keep it as busy."""
_LITTLE = 32 * 2**20
"""Bytes that may be held so."""


@contextmanager
def in_one_stream(width: float) -> Iterator[Callable[[], None]]:
    """Have delta-rs plan as if there were one processor, where rows are wide.

    For several, DataFusion deals the batches out to as many tasks, each of which copies rows together until it has
    8,192, whatever their size: rows of 100 KB took 2.6 GB on two processors, and each more would take as much again.
    All of them go to one writer anyway, so that nothing is gained; of a partitioned table each has its own, which was
    no faster on two processors.

    How many there are DataFusion asks once in a process, when delta-rs first plans something
    (https://docs.rs/datafusion-common/latest/datafusion_common/utils/fn.get_available_parallelism.html), by Rust's
    ``available_parallelism``, which counts those that the calling thread may use
    (https://doc.rust-lang.org/std/thread/fn.available_parallelism.html). Linux can restrict a single thread so;
    elsewhere, and where it was asked before, it is planned as ever. A merge gains by several, so that rows which are
    not wide leave them to it.

    Args:
        width: How many bytes a row has in memory.

    Yields:
        What ends the restriction, from any thread: to be called when the first rows are asked for, since the plan
        stands then. It ends with the context at the latest.
    """
    os.environ.setdefault("DELTARS_WRITER_BATCH_CHANNEL_SIZE", _WAITING)
    thread = threading.get_native_id()
    allowed: set[int] = set()
    with suppress(AttributeError, OSError):  # a sandbox may refuse it
        allowed = os.sched_getaffinity(thread)
    if width * BATCH_ROWS * len(allowed) <= _LITTLE:
        yield lambda: None
        return

    def end() -> None:
        # A processor may have been taken away meanwhile.
        with suppress(OSError):
            os.sched_setaffinity(thread, allowed)

    with suppress(OSError):
        os.sched_setaffinity(thread, {min(allowed)})
    try:
        yield end
    finally:
        end()


def width_of(batch: pa.RecordBatch | None) -> float:
    """How many bytes a row of a batch has; 0 where there is none."""
    return batch.nbytes / batch.num_rows if batch is not None and batch.num_rows else 0
