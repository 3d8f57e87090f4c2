"""What others commit to a table on Spark between a load's look at it and the load's own commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwm_magics.core.commit_info import LogEntry, decode
from hwm_magics.core.observed import CommitRecord
from hwm_magics.engines.spark_history import has_newer, newer_than
from hwm_magics.engines.spark_open import SparkAddress
from hwm_magics.errors import CommitConflictError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["require_unmoved", "slipped_in"]

_QUIET = ("OPTIMIZE", "VACUUM START", "VACUUM END")


def require_unmoved(session: SparkSession, address: SparkAddress, record: CommitRecord, version: int) -> None:
    """Refuse to write on what others did to the rows.

    Args:
        session: The session that is asked.
        address: The table.
        record: What the load's commit will say of itself.
        version: The version that the plan was made on.

    Raises:
        CommitConflictError: They did something to them.
    """
    if not has_newer(session, address, version):
        return
    for entry in newer_than(session, address, version):
        if _disturbs(entry, record):
            raise CommitConflictError(
                f"version {entry.version} ({entry.operation}) came between; nothing was written by this run"
            )


def slipped_in(
    session: SparkSession, address: SparkAddress, record: CommitRecord, version: int, made: LogEntry
) -> tuple[str, ...]:
    """What to warn of: Spark lets an append pass over a RESTORE or a DELETE that was committed just before it.

    Args:
        session, address, record, version: As for :func:`require_unmoved`.
        made: The load's commit.

    Returns:
        A sentence for each such commit.
    """
    if made.version <= version + 1:
        return ()
    return tuple(
        f"version {entry.version} ({entry.operation}) was committed by others between this load's last look and its "
        f"own commit, {made.version}: rows that it took away count as loaded. Restore version {entry.version} and "
        "load again, or load the lost window again with a backfill"
        for entry in newer_than(session, address, version)
        if entry.version < made.version and _disturbs(entry, record)
    )


def _disturbs(entry: LogEntry, ours: CommitRecord) -> bool:
    """Whether a commit takes away or replaces what the plan was made on."""
    record = decode(entry)
    same_node = record is not None and record.node == ours.node and record.run_id != ours.run_id
    return (
        same_node
        or entry.operation in ("RESTORE", "CREATE OR REPLACE TABLE")
        or (bool(entry.removes) and entry.operation not in _QUIET)
    )
