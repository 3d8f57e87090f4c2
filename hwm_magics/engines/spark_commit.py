"""One commit on Spark: made in a job that can be stopped, and afterwards proved from the log."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hwm_magics.core.commit_info import LogEntry, app_id, decode, encode
from hwm_magics.core.observed import CommitRecord
from hwm_magics.engines.base import RunContext
from hwm_magics.engines.spark_history import newer_than
from hwm_magics.engines.spark_open import SparkAddress
from hwm_magics.engines.spark_rows import REFUSED
from hwm_magics.errors import (
    CommitConflictError,
    CommitError,
    CommitOutcomeUnknownError,
    HwmError,
    LoadCancelled,
    QueryError,
    SchemaMismatchError,
    SourceConnectionError,
    TargetReadError,
    TargetUnknownError,
)
from hwm_magics.spark.failures import condition, first_line
from hwm_magics.spark.running import run_job

if TYPE_CHECKING:
    from pyspark.sql import DataFrameWriter, SparkSession

__all__ = [
    "TXN_APP",
    "TXN_VERSION",
    "USER_METADATA",
    "TakenError",
    "commit",
    "commit_mark",
    "empty_append",
    "fresh_sequence",
    "save",
    "transaction",
    "translated",
]

TXN_APP = "spark.databricks.delta.write.txnAppId"
TXN_VERSION = "spark.databricks.delta.write.txnVersion"
USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"

_CONFLICTS = ("CONCURRENT", "PROTOCOL_CHANGED", "METADATA_CHANGED")
_CONFLICT_WORDS = ("concurrent", "protocolchanged", "metadatachanged")
_TAKEN = frozenset({"TABLE_OR_VIEW_ALREADY_EXISTS", "DELTA_TABLE_ALREADY_EXISTS", "DELTA_PATH_EXISTS"})
_JDBC = re.compile(r"(?:org\.postgresql|com\.microsoft\.sqlserver)[\w.]*Exception: (.*)")
_MISFIT = re.compile(r"\[MALFORMED_\w+[^\n]*|CSV header does not conform[^\n]*")
_ODD_NAMES = re.compile(r"Invalid column names: (.*?)\. Please")
_LOST = (
    "connection refused",
    "connection attempt failed",
    "i/o error",
    "terminating connection",
    "connection reset",
    "connection has been closed",
    "connection is closed",
)


def transaction(
    record: CommitRecord, app: str = "txnAppId", version: str = "txnVersion", metadata: str = "userMetadata"
) -> dict[str, str]:
    """What a commit carries besides rows, as the writer's options, or under the names given as settings."""
    return {app: app_id(record.node), version: str(record.seq), metadata: encode(record)}


def empty_append(session: SparkSession, address: SparkAddress, record: CommitRecord) -> Callable[[], object]:
    """What makes a commit without rows: an append of none, which carries its properties all the same."""

    def write() -> None:
        empty = session.table(address.reference).limit(0)
        save(empty.write.format("delta").mode("append").options(**transaction(record)), address)

    return write


def save(writer: DataFrameWriter, address: SparkAddress) -> None:
    """Write to a table, by its path where it has one, and otherwise by its name."""
    if address.path is not None:
        writer.save(address.path)
    else:
        writer.saveAsTable(address.reference)


def fresh_sequence() -> int:
    """A transaction version that is surely above all that a table remembers of a load: the time in milliseconds."""
    return time.time_ns() // 1_000_000


def commit_mark(session: SparkSession, address: SparkAddress, record: CommitRecord, version: int) -> int:
    """A commit without rows: an empty append, which carries its properties all the same."""
    run = RunContext(record.run_id)
    entry = commit(
        session,
        address,
        record,
        empty_append(session, address, record),
        run,
        version,
        lambda _d, _k: None,
        idle=False,
    )
    if entry is None:
        raise CommitError("the watermark was not committed", hint="run it again")
    return entry.version


def commit(
    session: SparkSession,
    address: SparkAddress,
    record: CommitRecord,
    write: Callable[[], object],
    run: RunContext,
    version: int,
    on_tasks: Callable[[int, int], None],
    *,
    idle: bool,
) -> LogEntry | None:
    """Make a commit and prove it from the log.

    Spark silently skips a transaction version that the table has seen, so a write that ends well proves
    nothing: the run's id must stand in a new commit.

    Args:
        session: The session that writes.
        address: The target.
        record: What the commit says of itself.
        write: Makes the commit.
        run: The attempt.
        version: The version that the plan was made on.
        on_tasks: Told how far the job has come.
        idle: Whether it may find nothing to change, and then make no commit.

    Returns:
        The commit; None when it found nothing to change.

    Raises:
        CommitConflictError: Another load of the node committed first; nothing was written.
        LoadCancelled: It was cancelled; nothing was written.
        CommitError: It failed; nothing was written.
        CommitOutcomeUnknownError: It can't be told.
    """
    run.check()
    failure: BaseException | None = None
    try:
        run_job(session, write, tag=f"hwm_magics-{record.run_id}", cancelled=run.cancelled, on_tasks=on_tasks)
    except BaseException as error:  # noqa: BLE001 - the log tells what became of it
        failure = error
    run.failpoint("before_acknowledgement")
    try:
        newer = newer_than(session, address, version)
    except TargetUnknownError as error:
        raise CommitOutcomeUnknownError(
            f"whether the load was committed can't be told: {error.message}",
            record.run_id,
            hint=f"look for run {record.run_id} with %hwm_history before you load again",
        ) from error
    run.failpoint("after_commit")
    made = next((entry for entry in newer if record.run_id in (entry.user_metadata or "")), None)
    if made is not None:
        return made
    if failure is not None:
        if run.cancelled.is_set():
            raise LoadCancelled("the load was cancelled; nothing was written") from failure
        raise translated(failure) from failure
    ours = (decode(entry) for entry in newer)
    if any(each is not None and each.node == record.node and each.seq >= record.seq for each in ours):
        raise CommitConflictError("another load of this node committed first; nothing was written")
    if idle:
        return None
    raise CommitConflictError(
        "Spark skipped the commit, as one that the table has seen already; nothing was written"
    )


class TakenError(CommitConflictError):
    """A table is there already, by the catalog's word."""


def translated(failure: BaseException) -> HwmError:
    """What a failed write of Spark's means, told by its condition."""
    if isinstance(failure, HwmError):
        return failure
    name, text = condition(failure) or "", first_line(failure)
    lower = str(failure).lower()
    if REFUSED in str(failure):
        told = str(failure).partition(REFUSED)[2].splitlines()[0].partition(" SQLSTATE")[0]
        return SchemaMismatchError(
            told.strip(" .'\""),
            hint="choose keys that identify a row and are never NULL, or let the query keep one row of each key",
        )
    if name in _TAKEN:
        return TakenError("a table is there already; nothing was written")
    misfit = _MISFIT.search(str(failure))
    if misfit is not None:
        return QueryError(
            f"a file of the source does not fit its columns: {misfit[0].strip()}; nothing was written",
            hint="mend the file, or declare the columns by read.options.schema",
        )
    if name == "DELTA_CANNOT_CREATE_LOG_PATH":
        return CommitError(
            f"the target can't be made, and nothing was written: {text}",
            hint="check that its bucket or container is there, and the rights in it",
        )
    if name.startswith("FAILED_READ_FILE") or "filenotfoundexception" in lower:
        return TargetReadError(
            f"reading the target's data failed: {text}",
            hint="a data file may be missing: restore it, or an earlier version of the table",
        )
    first = lower.partition("\n")[0]
    if any(word in name for word in _CONFLICTS) or any(word in first for word in _CONFLICT_WORDS):
        return CommitConflictError(
            f"another writer changed the table meanwhile ({name or text[:80]}); nothing was written"
        )
    told_by_source = _JDBC.search(str(failure))
    if told_by_source is not None:
        kind = SourceConnectionError if any(word in lower for word in _LOST) else QueryError
        return kind(f"reading the source failed: {told_by_source[1].strip()}; nothing was written")
    if name in ("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"):
        return SchemaMismatchError(
            f"a row breaks a rule of the target: {text}", hint="leave such rows out in the query"
        )
    if name == "DELTA_INVALID_CHARACTERS_IN_COLUMN_NAMES":
        odd = _ODD_NAMES.search(text)
        told = f": {odd[1].strip()}" if odd else ""
        return SchemaMismatchError(
            f"Spark writes no column whose name holds a space or one of ,;{{}}()={told}; nothing was written",
            hint="rename it in the query, or let the new table have such names by write.options: "
            "{delta.columnMapping.mode: name}; the pandas engine writes them without",
        )
    if "no space left" in lower:
        return CommitError(
            "the disk is full; nothing was written", hint="free some space and run the load again"
        )
    if "permission denied" in lower or "read-only file system" in lower or "accessdenied" in lower:
        return CommitError(
            f"the target can't be written: {text}",
            hint="check the rights on the target's folder; nothing was written",
        )
    return CommitError(
        f"the commit failed, and nothing was written: {text}", hint="%hwm_debug shows the traceback"
    )
