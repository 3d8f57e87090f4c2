"""A Delta table as a source whose versions tell what is new: its log, and which files are to be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

from hwm_magics.connections.base import StorageConnection
from hwm_magics.core.at_once import asked_at_once
from hwm_magics.core.file_options import Changed, FileOptions
from hwm_magics.core.manifest import retention
from hwm_magics.core.observed import SourceIdentity, SourceState
from hwm_magics.core.specs import ReadSpec
from hwm_magics.core.versions import DataFile, VersionCommit, VersionsSeen, versions_since
from hwm_magics.errors import ConfigError, QueryError, SourceConnectionError, SourceError, clean_message
from hwm_magics.sources.base import SourceRequest
from hwm_magics.sources.file_storage import FileStorage, open_storage
from hwm_magics.sources.sql import Driver, SqlSource

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = [
    "DeltaSource",
    "Opened",
    "TableVersion",
    "VersionsDriver",
    "opened",
    "parse_version",
    "partitioned_by_bytes",
]

_OPTIONS = frozenset({"timezone", "changed"})


@dataclass(frozen=True, slots=True)
class TableVersion:
    """The newest version of a table when it was opened.

    Attributes:
        number: The version.
        retention: How long the table keeps its log.
        physical: Its columns' names in its files, by their own names.
        partitions: Its partition columns, by their own names.
        problem: Why single files of it can't be read; "" where they can.
    """

    number: int
    retention: timedelta = timedelta(days=30)
    physical: Mapping[str, str] = field(default_factory=dict)
    partitions: tuple[str, ...] = ()
    problem: str = ""


class VersionsDriver(Driver, Protocol):
    """A driver whose one table stands for a version of a Delta table, or for files of it."""

    folder: str
    newest: TableVersion

    def stand_for(self, seen: VersionsSeen) -> None:
        """Have the table stand for what is to be read: a whole version, or the rows of some files."""
        ...


@dataclass(slots=True)
class DeltaSource(SqlSource):
    """A Delta table below one storage connection.

    Attributes:
        files: Where it lies.
        options: What was said of it.
        table: The driver that reads it, the same as :attr:`driver`.
    """

    files: FileStorage | None = None
    options: FileOptions = field(default_factory=FileOptions)
    table: VersionsDriver | None = None

    def observe(self, request: SourceRequest) -> SourceState:
        """See :meth:`~hwm_magics.sources.base.Source.observe`."""
        seen = self._look(request.since, compared=request.compared)
        self._parts_there()[1].stand_for(seen)
        return replace(SqlSource.observe(self, request), versions=seen)

    def resume(self, state: SourceState) -> None:
        """See :meth:`~hwm_magics.sources.base.Source.resume`."""
        if state.versions is not None:
            self._parts_there()[1].stand_for(state.versions)

    def present(self) -> tuple[int, SourceIdentity]:
        """The newest version there is, and which table it is of."""
        return self._parts_there()[1].newest.number, self.driver.dialect.identity(self.ask, self.driver.place)

    def _look(self, since: int | None, *, compared: bool) -> VersionsSeen:
        files, table = self._parts_there()
        newest = table.newest
        if since is None:
            return VersionsSeen(newest.number, unclear=newest.problem, retention=newest.retention)
        commits = asked_at_once(self._commit, range(since + 1, newest.number + 1))
        there = [one for one, _ in commits if one is not None]
        removed = frozenset().union(*(paths for _, paths in commits))
        doubtful = [file.path for one in there for file in one.added if file.path in removed]
        looks = asked_at_once(lambda path: files.look(f"{table.folder}/{path}"), doubtful)
        return versions_since(
            since,
            newest.number,
            [one for one, _ in commits],
            gone=frozenset(path for path, found in zip(doubtful, looks, strict=True) if found is None),
            problem=newest.problem,
            passing=self.options.changed is Changed.IGNORE,
            compared=compared,
            retention=newest.retention,
        )

    def _commit(self, version: int) -> tuple[VersionCommit | None, frozenset[str]]:
        """What one commit did; None when the log lacks it. And the files that it removed."""
        files, table = self._parts_there()
        path = f"{table.folder}/_delta_log/{version:020d}.json"
        try:
            with files.open(path) as stream:
                raw = stream.read()
        except SourceError:
            if files.look(path) is None:
                return None, frozenset()
            raise
        return parse_version(path, version, raw)

    def _parts_there(self) -> tuple[FileStorage, VersionsDriver]:
        if self.files is None or self.table is None:  # pragma: no cover - given by whoever makes it
            msg = "a Delta table without a storage"
            raise AssertionError(msg)
        return self.files, self.table


@dataclass(frozen=True, slots=True)
class Opened:
    """A table that was opened to be a source.

    Attributes:
        table: It, at its newest version.
        newest: What that version says of it.
        folder: Its folder below the connection's root.
        identity: Which table it is, wherever it lies.
        files: Where it lies.
        options: What was said of it.
    """

    table: DeltaTable
    newest: TableVersion
    folder: str
    identity: SourceIdentity
    files: FileStorage
    options: FileOptions

    def source(self, driver: VersionsDriver, read: ReadSpec, *, of_spark: bool = False) -> DeltaSource:
        """The source whose rows a driver reads."""
        return DeltaSource(
            driver,
            read,
            self.options.timezone,
            of_spark=of_spark,
            files=self.files,
            options=self.options,
            table=driver,
        )


def opened(storage: StorageConnection, read: ReadSpec, engine: str) -> Opened:
    """Open a Delta table at its newest version.

    Args:
        storage: Where it lies.
        read: Its folder below it, and what is said of it.
        engine: Whose reader is told the options that are not ours.

    Raises:
        ConfigError: The path leaves the root, or an option can't be used.
        QueryError: There is no such table.
        SourceConnectionError: It can't be opened.
    """
    if read.path is None:
        raise ConfigError("read has no path", hint="write read.path")
    options = _options_of(read, engine)
    table = _open_table(storage, read.path)
    place = f"Delta table at {storage.uri(read.path)}, version {table.version()}"
    identity = SourceIdentity(f"delta/{table.metadata().id}", text=place)
    return Opened(table, _newest_of(table), _folder_of(read.path), identity, open_storage(storage), options)


def _folder_of(path: str) -> str:
    """A table's folder below its connection's root, as object stores spell it."""
    return "/".join(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))


def _options_of(read: ReadSpec, engine: str) -> FileOptions:
    """The options of a Delta table.

    Raises:
        ConfigError: One is for files. On Spark the others are its reader's.
    """
    if engine == "pandas" and (others := sorted(set(read.options) - _OPTIONS)):
        raise ConfigError(
            f"read.options.{others[0]} is for files, and a Delta table has columns and versions of its own",
            hint="leave it away",
        )
    return FileOptions.of(read, engine=engine)


def _open_table(storage: StorageConnection, path: str) -> DeltaTable:
    """A Delta table at its newest version.

    Args:
        storage: Where it lies.
        path: Its folder below the root.

    Raises:
        ConfigError: The path leaves the root.
        QueryError: There is no such table.
        SourceConnectionError: It can't be opened.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    uri = storage.uri(path)
    try:
        return DeltaTable(uri, storage_options=dict(storage.storage_options()) or None)
    except TableNotFoundError:
        raise QueryError(
            f"there is no Delta table at {uri}", hint="check read.path and read.format"
        ) from None
    except Exception as error:
        raise SourceConnectionError(
            f"opening the Delta table at {uri} failed: {clean_message(error)}",
            hint="check the connection's address and credentials",
        ) from error


def _newest_of(table: DeltaTable) -> TableVersion:
    """What its version says of a table."""
    metadata = table.metadata()
    mode = metadata.configuration.get("delta.columnMapping.mode", "none")
    physical = {}
    problem = "" if mode in ("none", "name") else f"the table's columns are mapped to its files' by {mode}"
    for each in table.schema().fields:
        physical[each.name] = str(each.metadata.get("delta.columnMapping.physicalName", each.name))
        if mode == "name" and _has_parts(each.type):
            problem = problem or f"the parts of its column {each.name} have other names in its files"
    partitions = tuple(metadata.partition_columns)
    if bytewise := partitioned_by_bytes(table):
        problem = (
            problem or f"delta-rs takes the escapes of bytes for the bytes of its partition column {bytewise}"
        )
    return TableVersion(table.version(), retention(metadata.configuration), physical, partitions, problem)


def partitioned_by_bytes(table: DeltaTable) -> str:
    """A partition column of binary values, which delta-rs 1.6.6 reads wrong; "" where there is none."""
    bytewise = {each.name for each in table.schema().fields if getattr(each.type, "type", "") == "binary"}
    return next((name for name in table.metadata().partition_columns if name in bytewise), "")


def _has_parts(kind: object) -> bool:
    """Whether a column's type has fields with names of their own."""
    from deltalake.schema import ArrayType, MapType, StructType

    if isinstance(kind, ArrayType):
        return _has_parts(kind.element_type)
    if isinstance(kind, MapType):
        return _has_parts(kind.key_type) or _has_parts(kind.value_type)
    return isinstance(kind, StructType)


def parse_version(name: str, version: int, raw: bytes) -> tuple[VersionCommit, frozenset[str]]:
    """What one commit did to the rows, from its file.

    What counts is ``dataChange`` of Delta's protocol (https://github.com/delta-io/delta/blob/master/PROTOCOL.md):
    files that are only written anew carry false there.

    Args:
        name: The file's name, for messages.
        version: The commit's version.
        raw: What the file holds.

    Returns:
        It, and the paths of the files that it removed.

    Raises:
        QueryError: It is damaged.
    """
    added: list[DataFile] = []
    removed: set[str] = set()
    operation = unreadable = ""
    changes = False
    try:
        for line in raw.splitlines():
            action = json.loads(line) if line.strip() else {}
            if "commitInfo" in action:
                operation = str(action["commitInfo"].get("operation", "")).upper()
            elif "add" in action and action["add"].get("dataChange", True):
                file = action["add"]
                unreadable = unreadable or _unreadable(file)
                values = tuple(sorted(file.get("partitionValues", {}).items()))
                rows = json.loads(file.get("stats") or "{}").get("numRecords")
                added.append(DataFile(unquote(file["path"]), int(file["size"]), version, values, rows))
            elif "remove" in action:
                changes = changes or action["remove"].get("dataChange", True)
                removed.add(unquote(action["remove"]["path"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise QueryError(
            f"{name} is damaged: {error!r}",
            hint="restore it from a backup, or the table to a version before it",
        ) from error
    # A RESTORE may bring back rows that were loaded, and remove none.
    changes = changes or operation == "RESTORE"
    return VersionCommit(version, operation, tuple(added), changes, unreadable), frozenset(removed)


def _unreadable(file: Mapping[str, object]) -> str:
    path = unquote(str(file["path"]))
    if "://" in path or path.startswith("/") or ".." in path.split("/"):
        return f"its file {path} lies outside of the table's folder"
    return "a file that it added has a deletion vector" if file.get("deletionVector") else ""
