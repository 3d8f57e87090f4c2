"""Files below a storage connection's root: listed, opened, and looked at again."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hwm_magics.connections.base import StorageConnection, path_problem
from hwm_magics.connections.local import LocalConnection
from hwm_magics.core.manifest import LoadedFile
from hwm_magics.errors import ConfigError, QueryError, SourceConnectionError, SourceError, clean_message

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs as pafs

__all__ = ["FileStorage", "Listing", "open_storage", "unfinished"]


_MAGIC = re.compile(r"[*?\[]")
_UNFINISHED = re.compile(
    r"\.(?:tmp|temp|part|partial|filepart|crdownload|download|inprogress|swp|lock|_copying_)\d*$|~$",
    re.IGNORECASE,
)
_TAG = 22


@dataclass(slots=True)
class Listing:
    """The files that a path means.

    Attributes:
        files: They, in the order of their paths.
        waiting: Those that are left alone whatever their age, and why.
    """

    files: list[LoadedFile] = field(default_factory=list)
    waiting: list[tuple[str, str]] = field(default_factory=list)


class FileStorage(Protocol):
    """One connection's files."""

    place: str
    """Its root's address for people."""
    strong: str
    """What names the root for good; "" where another root may well hold the same files."""
    whole: bool
    """Whether files appear as a whole, once they are written."""

    def list(self, path: str) -> Listing:
        """The files that a path means: a file, a folder with all in it, or a pattern (``*``, ``?``, ``[…]``, ``**``).

        Raises:
            ConfigError: The path leaves the root.
            SourceError: It can't be listed, or there is no such folder.
        """
        ...

    def open(self, path: str) -> pa.NativeFile:
        """A file, for reading from any place."""
        ...

    def look(self, path: str) -> LoadedFile | None:
        """A file as it is now; None when it is not there any more."""
        ...

    def tag(self, path: str) -> str:
        """What tells a file's content from another's; "" where that would cost too much."""
        ...


def open_storage(connection: StorageConnection) -> FileStorage:
    """The files of a connection."""
    if isinstance(connection, LocalConnection):
        return LocalFiles(connection)
    return ObjectFiles(connection)


def unfinished(path: str) -> str:
    """Why a file is left alone by its name; "" when it is not."""
    hidden = next((part for part in path.split("/") if part[:1] in ("_", ".")), "")
    if hidden:
        return f"{hidden} begins with {hidden[0]}"
    ending = _UNFINISHED.search(path)
    return f"its name ends in {ending[0]}" if ending else ""


def _cut(path: str) -> tuple[list[str], list[str]]:
    """The parts of a path up to the first pattern, and the others."""
    if "{" in path:
        raise ConfigError(
            f"read.path: {path!r}: a choice in braces is not understood",
            hint="write a pattern with * that covers all, or one load for each",
        )
    problem = path_problem(path)
    if problem is None and (path.startswith(("/", "\\")) or path[1:2] == ":"):
        problem = f"the path {path!r} is absolute: write a path below the connection's root"
    if problem is not None:
        raise ConfigError(f"read.path: {problem}")
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    at = next((number for number, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    return parts[:at], parts[at:]


def _pattern(parts: list[str]) -> re.Pattern[str]:
    pieces = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            pieces.append(".*" if last else "(?:[^/]+/)*")
        else:
            pieces.append(_one(part) + ("" if last else "/"))
    return re.compile("".join(pieces))


def _one(part: str) -> str:
    """One part of a pattern: what stands for characters never stands for a slash."""
    text, at = "", 0
    while at < len(part):
        char = part[at]
        closing = part.find("]", at + 2) if char == "[" else -1
        if char == "*":
            text += "[^/]*"
        elif char == "?":
            text += "[^/]"
        elif closing > 0:
            inside = part[at + 1 : closing].replace("\\", "\\\\")
            text += f"[{'^' + inside[1:] if inside[0] in '!^' else inside}]"
            at = closing
        else:
            text += re.escape(char)
        at += 1
    return text


def _sorted_out(found: list[LoadedFile], base: list[str], rest: list[str], place: str) -> Listing:
    """The files that match, those that are left alone by name or for being empty apart."""
    start = "/".join(base)
    pattern = _pattern(rest) if rest else None
    listing = Listing()
    for one in sorted(found, key=lambda each: each.path):
        below = one.path[len(start) :].lstrip("/") if start else one.path
        if "_delta_log" in below.split("/"):
            raise QueryError(
                f"{place} holds a Delta table there ({one.path}): its files are not its rows",
                hint="write format: delta and the table's folder as path",
            )
        if pattern is not None and not pattern.fullmatch(below):
            continue
        why = unfinished(below) or ("" if one.size else "it is empty")
        if why:
            listing.waiting.append((one.path, why))
        else:
            listing.files.append(one)
    return listing


class LocalFiles:
    """See :class:`FileStorage`: a folder of this machine.

    Args:
        connection: The connection.
    """

    strong = ""
    whole = False

    def __init__(self, connection: LocalConnection) -> None:
        self._connection = connection
        self._root = Path(connection.root).resolve()
        self.place = str(self._root)

    def list(self, path: str) -> Listing:
        base, rest = _cut(path)
        if not base and not rest:
            raise ConfigError(f"read.path: {path!r} names no files")
        start = self._connection.confine("/".join(base)) if base else self._root
        below = start.relative_to(self._root).parts
        try:
            if start.is_file() and not rest:
                one = self.look("/".join(below))
                return _sorted_out([one] if one else [], list(below[:-1]), [below[-1]], self.place)
            if not start.is_dir():
                raise QueryError(
                    f"there are no files at {start}", hint="check read.path and the connection's root"
                )
            deep = not rest or len(rest) > 1 or "**" in rest
            found = list(self._below(start, deep=deep))
        except OSError as error:
            raise SourceConnectionError(
                f"looking for files in {start} failed: {error.strerror or error}",
                hint="check the rights on it",
            ) from error
        if (start / "_delta_log").is_dir():
            raise QueryError(
                f"{start} is a Delta table: its files are not its rows",
                hint="write format: delta, and the table's folder as path",
            )
        return _sorted_out(found, list(below), rest, self.place)

    def _below(self, folder: Path, *, deep: bool) -> Iterator[LoadedFile]:
        """The files of a folder. Links to other folders are not followed, those to files stay inside of the root."""

        def failed(error: OSError) -> None:
            raise error

        for at, folders, names in os.walk(folder, onerror=failed):
            if not deep:
                folders.clear()
            for name in names:
                file = Path(at, name)
                if file.is_symlink() and not file.resolve().is_relative_to(self._root):
                    raise ConfigError(
                        f"{file} is a symbolic link that leads out of the connection's root",
                        hint="remove it, or give the connection another root",
                    )
                one = self.look(file.relative_to(self._root).as_posix())
                if one is not None:
                    yield one

    def open(self, path: str) -> pa.NativeFile:
        import pyarrow as pa

        try:
            return pa.OSFile(str(self._root / path))
        except OSError as error:
            raise _unread(path, error) from error

    def look(self, path: str) -> LoadedFile | None:
        try:
            told = os.stat(self._root / path)  # noqa: PTH116 - as it is called for thousands of files
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unread(path, error) from error
        changed = told.st_ctime_ns if os.name == "posix" else 0
        return LoadedFile(path, told.st_size, told.st_mtime_ns, changed)

    def tag(self, path: str) -> str:
        import base64

        try:
            with (self._root / path).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise _unread(path, error) from error
        return base64.b64encode(digest)[:_TAG].decode("ascii")


class ObjectFiles:
    """See :class:`FileStorage`: an object store, through the client and the credentials that targets are written with.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: StorageConnection) -> None:
        import pyarrow.fs as pafs
        from deltalake.fs import DeltaStorageHandler

        self.place = connection.uri("x")[:-2]
        self.strong = f"files/{self.place}"
        self.whole = connection.type in ("s3", "gcs")
        try:
            handler = DeltaStorageHandler(self.place, dict(connection.storage_options()) or None)
        except Exception as error:
            raise self._failed("opening", error) from error
        self._files: pafs.PyFileSystem = pafs.PyFileSystem(handler)

    def _failed(self, doing: str, error: Exception) -> SourceConnectionError:
        return SourceConnectionError(
            f"{doing} {self.place} failed: {clean_message(error)}",
            hint="check the connection's address and credentials",
        )

    def list(self, path: str) -> Listing:
        import pyarrow.fs as pafs

        base, rest = _cut(path)
        start = "/".join(base)
        deep = not rest or len(rest) > 1 or "**" in rest
        try:
            infos = self._files.get_file_info(pafs.FileSelector(start, allow_not_found=True, recursive=deep))
            if not infos and not rest:
                infos = [self._files.get_file_info(start)]
                base, rest = base[:-1], base[-1:]
        except Exception as error:
            raise self._failed("listing files in", error) from error
        here = {info.path for info in infos}
        if f"{start}/_delta_log".lstrip("/") in here:
            raise QueryError(
                f"{self.place}/{start} is a Delta table: its files are not its rows",
                hint="write format: delta, and the table's folder as path",
            )
        found = [
            _of_info(info) for info in infos if info.type == pafs.FileType.File and info.path[-1:] != "/"
        ]
        if not found and not rest:
            raise QueryError(
                f"there are no files at {self.place}/{start}",
                hint="check read.path and the connection's root",
            )
        return _sorted_out(found, base, rest, self.place)

    def open(self, path: str) -> pa.NativeFile:
        try:
            return self._files.open_input_file(path)
        except Exception as error:
            raise _unread(path, error) from error

    def look(self, path: str) -> LoadedFile | None:
        import pyarrow.fs as pafs

        try:
            info = self._files.get_file_info(path)
        except Exception as error:
            raise _unread(path, error) from error
        return _of_info(info) if info.type == pafs.FileType.File else None

    def tag(self, path: str) -> str:
        del path
        return ""


def _of_info(info: pafs.FileInfo) -> LoadedFile:
    return LoadedFile(info.path, int(info.size or 0), int(info.mtime_ns or 0))


def _unread(path: str, error: Exception) -> SourceError:
    return QueryError(f"{path} can't be read: {clean_message(error)}", hint="check the file and its rights")
