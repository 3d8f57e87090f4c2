"""Reads a Delta table's commit files through delta-rs' own storage: the only place that touches its private handle."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hwm_magics.core.commit_info import LogEntry
from hwm_magics.errors import TargetUnknownError, clean_message

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

__all__ = ["LogReader", "parse_commit"]

_SIZE = re.compile(rb'"size":\s*(\d+)')


class LogReader:
    """The commit files of one table, at any version that the log still has.

    ``DeltaTable.history()`` mislabels versions on stale handles, so the files are read themselves;
    the storage handler comes from the table and so works for every storage that delta-rs knows.

    Args:
        table: An open table.
    """

    def __init__(self, table: DeltaTable) -> None:
        import pyarrow.fs as pafs
        from deltalake.fs import DeltaStorageHandler

        self._files = pafs.PyFileSystem(DeltaStorageHandler.from_table(table._table))  # noqa: SLF001 - no public way

    def entry(self, version: int) -> LogEntry | None:
        """One commit.

        Args:
            version: Its version.

        Returns:
            The commit, or None when its file is not there (cleaned up, or not yet made).

        Raises:
            TargetUnknownError: The file is there and damaged, or can't be read.
        """
        name = f"_delta_log/{version:020d}.json"
        try:
            with self._files.open_input_stream(name) as stream:
                raw = stream.read()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            text = clean_message(error)
            if "not found" in text.lower():
                return None
            raise TargetUnknownError(
                f"{name} can't be read: {text}", hint="check the storage and its rights"
            ) from error
        return parse_commit(name, version, raw)

    def file(self, path: str) -> pa.NativeFile:
        """One of the table's files, for reading from any place."""
        return self._files.open_input_file(path)

    def back_from(self, version: int) -> Iterator[LogEntry]:
        """The commits from ``version`` down to the oldest that the log still has, newest first."""
        for number in range(version, -1, -1):
            found = self.entry(number)
            if found is None:
                return
            yield found

    def find(self, run_id: str, after: int) -> int | None:
        """The version that a run made, looked for above a version.

        Args:
            run_id: The run.
            after: Versions up to this one are not looked at.

        Returns:
            The version, or None when no commit above ``after`` names the run.

        Raises:
            TargetUnknownError: The log can't be read.
        """
        number = after + 1
        while (found := self.entry(number)) is not None:
            if found.user_metadata and run_id in found.user_metadata:
                return number
            number += 1
        return None


def parse_commit(name: str, version: int, raw: bytes) -> LogEntry:
    """One commit, from its file.

    Args:
        name: The file's name, for messages.
        version: The commit's version.
        raw: What the file holds.

    Raises:
        TargetUnknownError: It is damaged.
    """
    info: dict[str, object] = {}
    adds = removes = False
    size = 0
    lines = [line for line in raw.split(b"\n") if line.strip()]
    if not lines:
        raise TargetUnknownError(
            f"{name} is empty", hint="the log is damaged; restore the file from a backup"
        )
    try:
        for line in lines:
            if line.startswith(b'{"add"'):
                adds = adds or b'"dataChange":false' not in line.replace(b" ", b"")
                sized = _SIZE.search(line)
                size += int(sized[1]) if sized else 0
            elif line.startswith(b'{"remove"'):
                removes = removes or b'"dataChange":false' not in line.replace(b" ", b"")
            elif b'"commitInfo"' in line:
                found = json.loads(line).get("commitInfo")
                info = found if isinstance(found, dict) else info
    except ValueError as error:
        raise TargetUnknownError(
            f"{name} is not JSON: {clean_message(error)}",
            hint="the log is damaged; restore the file from a backup",
        ) from error
    moment = info.get("timestamp")
    when = datetime.fromtimestamp(moment / 1000, tz=UTC) if isinstance(moment, int | float) else None
    parameters, metrics = info.get("operationParameters"), info.get("operationMetrics")
    metadata = info.get("userMetadata")
    return LogEntry(
        version=version,
        timestamp=when,
        operation=str(info.get("operation", "")).upper(),
        parameters=parameters if isinstance(parameters, dict) else {},
        user_metadata=metadata if isinstance(metadata, str) else None,
        metrics=metrics if isinstance(metrics, dict) else {},
        adds=adds,
        removes=removes,
        added_bytes=size,
    )
