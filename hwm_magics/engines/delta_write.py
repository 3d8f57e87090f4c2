"""One commit through delta-rs: made in a worker thread, and afterwards proved from the log."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hwm_magics.core.commit_info import app_id, encode
from hwm_magics.core.observed import CommitRecord
from hwm_magics.engines.delta_log import LogReader
from hwm_magics.errors import (
    CommitConflictError,
    CommitError,
    CommitOutcomeUnknownError,
    HwmError,
    LoadCancelled,
    TargetUnknownError,
    clean_message,
)
from hwm_magics.interrupts import noted

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable, WriterProperties

    from hwm_magics.engines.base import RunContext

__all__ = ["Feed", "commit", "commit_properties", "translated", "writer_properties"]


_GROUP_BYTES = 32 * 2**20
"""A row group of wide rows has no more than this, in memory."""

_LOOKED_AT = 8_192
"""At most so many rows tell whether a column repeats its values."""
_ENOUGH = 32
"""The part of a row group that must be there to tell; a narrow load of fewer rows is small anyway."""


class Feed:
    """Hands batches to delta-rs and keeps what went wrong on the way.

    An exception raised inside the reader aborts the write before its commit, which is how a load
    is cancelled; delta-rs then reports it as text only, so the exception itself is kept here.

    Args:
        batches: The rows.
        run: The attempt; looked at before every batch.

    Attributes:
        error: What ended it; None where nothing did.
        begun: Called when delta-rs asks for the first rows, from its own thread.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch], run: RunContext) -> None:
        self._batches = batches
        self._run = run
        self._first: pa.RecordBatch | None = None
        self.error: BaseException | None = None
        self.begun: Callable[[], None] = lambda: None

    def has_rows(self) -> bool:
        """Read up to the first row; a load without any commits nothing."""
        self._run.check()
        self._first = next(self._batches, None)
        return self._first is not None

    @property
    def first(self) -> pa.RecordBatch | None:
        """The first batch, between :meth:`has_rows` and the write; else None."""
        return self._first

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        run = self._run
        self.begun()
        try:
            if self._first is not None:
                yield self._first
                self._first = None
            run.failpoint("mid_read")
            for batch in self._batches:
                run.check()
                yield batch
            run.check()
            run.failpoint("after_read")
            run.failpoint("before_put")
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise


def commit_properties(record: CommitRecord, *, retries: int | None = None) -> CommitProperties:
    """What a commit carries besides rows: its info and its transaction id.

    Args:
        record: What the commit says of itself.
        retries: How often delta-rs may try again when another commit came between; None for its
            own default. 0 makes a CREATE exclusive, which it is not by itself.
    """
    from deltalake import CommitProperties, Transaction

    transactions = [Transaction(app_id(record.node), record.seq)] if record.kind != "create" else None
    return CommitProperties(
        custom_metadata={"userMetadata": encode(record)},
        max_commit_retries=retries,
        app_transactions=transactions,
    )


def writer_properties(first: pa.RecordBatch | None, *, partitioned: bool) -> WriterProperties:
    """Parquet settings: row groups small enough for flat memory, dictionaries where values come again.

    A dictionary of values that hardly come again costs a third of the writer's time, and makes files larger.

    Args:
        first: The first rows: how wide they are, and how often their values come again.
        partitioned: Whether the table has partitions; each value then keeps a writer open.
    """
    from deltalake import ColumnProperties, WriterProperties

    rows = 16_384 if partitioned else 131_072
    plain: tuple[str, ...] = ()
    if first is not None and first.num_rows:
        # A row group is held in memory until it is full.
        rows = max(1_024, min(rows, int(_GROUP_BYTES * first.num_rows / max(1, first.nbytes))))
        plain = _hardly_repeated(first, rows)
    return WriterProperties(
        compression="SNAPPY",
        max_row_group_size=rows,
        column_properties={name: ColumnProperties(dictionary_enabled=False) for name in plain} or None,
    )


def _hardly_repeated(first: pa.RecordBatch, group: int) -> tuple[str, ...]:
    """The columns whose values each come less than twice in a row group, by what the first rows tell.

    Of `n` rows drawn from `d` equally frequent values, ``d * (1 - exp(-n / d))`` values are met; `d` is
    half a row group here.
    """
    if first.num_rows * _ENOUGH < group:
        return ()
    import pyarrow as pa

    sample, values = first.slice(0, _LOOKED_AT), group / 2
    met = values * -math.expm1(-sample.num_rows / values)
    return tuple(
        field.name
        for field, column in zip(sample.schema, sample.columns, strict=True)
        if not pa.types.is_nested(field.type) and len(column.unique()) > met
    )


def commit(
    table: DeltaTable,
    record: CommitRecord,
    feed: Feed | None,
    run: RunContext,
    write: Callable[[], object],
    *,
    idle: bool = False,
) -> int | None:
    """Make a commit and prove it.

    delta-rs ignores an interrupt until its write has committed, and raises it then; so the write
    runs in a thread, and an interrupt here tells the feed to stop it before the commit.

    Args:
        table: The handle that the plan was made on.
        record: What the commit says of itself.
        feed: The rows on their way; None for commits without rows.
        run: The attempt.
        write: Makes the commit on the handle.
        idle: Whether it may find nothing to change, and then make no commit, as a MERGE does.

    Returns:
        The version that the commit made; None when it found nothing to change.

    Raises:
        CommitConflictError: Another load of the node committed first; nothing was written.
        LoadCancelled: It was cancelled; nothing was written.
        CommitError: It failed; nothing was written.
        CommitOutcomeUnknownError: It can't be told.
    """
    before = table.version()
    failure = _in_thread(write, run)
    run.failpoint("before_acknowledgement")
    run.enter("verifying")
    try:
        made = LogReader(table).find(record.run_id, before)
    except TargetUnknownError as error:
        raise CommitOutcomeUnknownError(
            f"whether run {record.run_id} was committed can't be told: {error.message}",
            record.run_id,
            hint="look for the run id with %hwm_history once the storage answers; running the load again is safe",
        ) from (failure or error)
    run.failpoint("after_commit")
    if made is not None:
        return made
    if feed is not None and feed.error is not None:
        if isinstance(feed.error, HwmError):
            raise feed.error
        raise CommitError(
            f"reading the rows failed: {type(feed.error).__name__}: {clean_message(feed.error)}; nothing was written",
            hint="%hwm_debug shows the traceback",
        ) from feed.error
    if failure is None and idle:
        return None
    if failure is None:
        raise CommitError(
            f"the write ended without an error, and no commit names run {record.run_id}; nothing was written",
            hint="run the load again",
        )
    if isinstance(failure, KeyboardInterrupt):
        raise LoadCancelled("the load was interrupted; nothing was written") from failure
    raise translated(failure) from failure


def _in_thread(write: Callable[[], object], run: RunContext) -> BaseException | None:
    failure: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            write()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            failure.append(error)
        finally:
            done.set()

    # A daemon, so that a process whose storage hangs can still end.
    thread = threading.Thread(target=work, name="hwm-commit", daemon=True)
    with noted() as interrupts:
        thread.start()
        while not done.wait(0.1):
            if interrupts:
                run.cancelled.set()
    return failure[0] if failure else None


def translated(failure: BaseException) -> CommitError:
    """What a failed write of delta-rs means, told by its message: it has few classes of its own."""
    text = clean_message(failure)
    lower = text.lower()
    if "concurrent transaction" in lower or "transaction: 0" in lower or "already exists" in lower:
        return CommitConflictError("another load of this node committed first; nothing was written")
    if type(failure).__name__ == "CommitFailedError" and (
        "concurrent" in lower or "changed since last commit" in lower
    ):
        return CommitConflictError(
            f"another writer changed the table meanwhile ({text}); nothing was written"
        )
    if "no space left" in lower or "os error 28" in lower:
        return CommitError(
            "the disk is full; nothing was written", hint="free some space and run the load again"
        )
    if (
        "os error 30" in lower
        or "os error 13" in lower
        or "permission denied" in lower
        or "read-only" in lower
    ):
        return CommitError(
            f"the target can't be written: {text}",
            hint="check the rights on the target's folder; nothing was written",
        )
    if "unsupported table features" in lower:
        return CommitError(
            f"delta-rs can't write this table: {text}", hint="use engine: spark for this table"
        )
    return CommitError(
        f"the commit failed, and nothing was written: {text}", hint="%hwm_debug shows the traceback"
    )
