"""Reads a Delta table's log: from its files where Spark runs on this machine, elsewhere by ``DESCRIBE HISTORY``.

The latter is the only public way, and one that every catalog has; it costs a job each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwm_magics.core.commit_info import LogEntry
from hwm_magics.engines.delta_log import parse_commit
from hwm_magics.engines.spark_open import SparkAddress
from hwm_magics.errors import TargetUnknownError
from hwm_magics.spark.failures import condition, first_line

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["back_from_newest", "has_newer", "moment_of", "newer_than"]

FIRST_PAGE = 20
"""Commits that are asked for at first. Most searches end among them; the others read the whole log."""

_COMMIT = re.compile(r"(\d{20})\.(json|checkpoint\..*parquet)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = (
    "version",
    "unix_micros(timestamp) AS moment",
    "operation",
    "operationParameters",
    "operationMetrics",
    "userMetadata",
)


def back_from_newest(
    session: SparkSession, address: SparkAddress, first_page: int = FIRST_PAGE
) -> Iterator[LogEntry]:
    """A table's commits, newest first, down to the oldest that the log still has.

    Args:
        session: The session that is asked.
        address: The table.
        first_page: How many Spark is asked for at first.

    Raises:
        TargetUnknownError: The log can't be read.
    """
    if address.folder is not None:
        yield from _from_files(address.folder / "_delta_log")
        return
    page = _page(session, address.reference, first_page)
    yield from page
    if len(page) == first_page and page[-1].version > 0:
        oldest = page[-1].version
        yield from (entry for entry in _page(session, address.reference, None) if entry.version < oldest)


def has_newer(session: SparkSession, address: SparkAddress, version: int) -> bool:
    """Whether a table has a commit above a version: far cheaper than its history, which is read only then."""
    if address.folder is not None:
        return (address.folder / "_delta_log" / f"{version + 1:020d}.json").exists()
    try:
        _ = session.sql(f"SELECT 1 FROM {address.reference} VERSION AS OF {version + 1}").schema  # noqa: S608 - quoted
    except Exception as error:  # noqa: BLE001 - the history tells more of what is wrong
        return condition(error) != "DELTA_VERSION_NOT_FOUND"
    return True


def newer_than(session: SparkSession, address: SparkAddress, version: int) -> list[LogEntry]:
    """The commits above a version, newest first."""
    commits = back_from_newest(session, address, first_page=5)
    return list(takewhile(lambda entry: entry.version > version, commits))


def _from_files(log: Path) -> Iterator[LogEntry]:
    try:
        found = [match for file in log.iterdir() if (match := _COMMIT.fullmatch(file.name))]
        versions = sorted({int(match[1]) for match in found if match[2] == "json"}, reverse=True)
        checkpoint = max((int(match[1]) for match in found if match[2] != "json"), default=-1)
        if checkpoint > (versions[0] if versions else -1):
            raise TargetUnknownError(
                f"{log} has a checkpoint of version {checkpoint}, and not that commit",
                hint="restore the log from a backup",
            )
        above: int | None = None
        for version in versions:
            _require_next(str(log), above, version)
            name = f"{version:020d}.json"
            yield parse_commit(name, version, (log / name).read_bytes())
            above = version
    except OSError as error:
        raise TargetUnknownError(
            f"{log} can't be read: {error.strerror or error}", hint="check the rights on the folder"
        ) from error


def _require_next(log: str, above: int | None, version: int) -> None:
    if above is not None and above != version + 1:
        raise TargetUnknownError(
            f"the log of {log} has a gap: version {above} follows version {version}",
            hint="restore the log from a backup",
        )


def _page(session: SparkSession, reference: str, limit: int | None) -> list[LogEntry]:
    only = f" LIMIT {limit}" if limit is not None else ""
    try:
        rows = session.sql(f"DESCRIBE HISTORY {reference}{only}").selectExpr(*_COLUMNS).collect()
    except Exception as error:
        raise TargetUnknownError(
            f"the log of {reference} can't be read: {first_line(error)}",
            hint="the log may be damaged; restore it from a backup",
        ) from error
    entries = [_entry(row.asDict()) for row in rows]
    for newer, older in pairwise(entries):
        _require_next(reference, newer.version, older.version)
    return entries


def moment_of(micros: int) -> datetime:
    """The moment that lies so many microseconds after 1970: as a number it is in no session's zone."""
    return _EPOCH + timedelta(microseconds=micros)


def _entry(row: Mapping[str, Any]) -> LogEntry:
    moment = row["moment"]
    metrics = dict(row["operationMetrics"] or {})
    operation = str(row["operation"] or "").upper()
    return LogEntry(
        version=int(row["version"]),
        timestamp=moment_of(int(moment)) if moment is not None else None,
        operation=operation,
        parameters=dict(row["operationParameters"] or {}),
        user_metadata=row["userMetadata"],
        metrics=metrics,
        adds=_any(metrics, _ADDED),
        removes=_any(metrics, _REMOVED),
        added_bytes=_number(metrics, "numOutputBytes", "numAddedBytes", "numTargetBytesAdded") or 0,
    )


# What Spark and delta-rs call the files and rows that came and went.
_ADDED = (
    "numOutputRows", "numAddedFiles", "numTargetFilesAdded", "numUpdatedRows", "num_added_rows", "num_added_files",
    "num_target_files_added", "num_updated_rows",
)  # fmt: skip
_REMOVED = (
    "numRemovedFiles", "numTargetFilesRemoved", "numDeletedRows", "numUpdatedRows", "numTargetDeletionVectorsUpdated",
    "numTargetDeletionVectorsAdded", "numDeletionVectorsAdded", "num_removed_files", "num_target_files_removed",
    "num_deleted_rows", "num_updated_rows",
)  # fmt: skip


def _number(metrics: Mapping[str, object], *names: str) -> int | None:
    found = next((metrics[name] for name in names if metrics.get(name) is not None), None)
    return int(str(found)) if found is not None and str(found).isdigit() else None


def _any(metrics: Mapping[str, object], names: tuple[str, ...]) -> bool | None:
    """Whether one of some metrics counts something; None when the commit has none of them."""
    told = [number for name in names if (number := _number(metrics, name)) is not None]
    return any(told) if told else None
