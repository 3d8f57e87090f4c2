"""Files as a source: which of them are to be read, as what a listing and the target's record of loaded files say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Protocol

from hwm_magics.core.file_options import Changed, FileOptions
from hwm_magics.core.manifest import FilesSeen, LoadedFile, Manifest
from hwm_magics.core.observed import Column, SourceState
from hwm_magics.core.receipt import duration
from hwm_magics.core.specs import ReadSpec
from hwm_magics.core.statement import Statement
from hwm_magics.errors import QueryError, SourceChangedError
from hwm_magics.sources.base import SourceRequest
from hwm_magics.sources.file_storage import FileStorage
from hwm_magics.sources.sql import Driver, SqlSource
from hwm_magics.stream import BatchStream, SparkRead

__all__ = ["SETTLE", "SETTLE_WHOLE", "FilesDriver", "FilesSource", "chosen", "unchanged"]

_WRITTEN = "it was written"

SETTLE = timedelta(minutes=1)
"""How long a file must have been left alone, unless ``read.options.settle`` says otherwise."""

SETTLE_WHOLE = timedelta(seconds=2)
"""The same where files appear as a whole. Object stores tell whole seconds: a file that is written anew after
it was read must bear another one."""


class FilesDriver(Driver, Protocol):
    """A driver whose one table stands for files."""

    def take(
        self, new: Sequence[LoadedFile], known: Sequence[Column]
    ) -> tuple[str, tuple[tuple[str, int], ...]]:
        """Have the table stand for some files; without any it is empty.

        Args:
            new: The files.
            known: The target's columns, whose types count where files don't tell.

        Returns:
            How their columns were told, and which columns some of the files lack.
        """
        ...


@dataclass(slots=True)
class FilesSource(SqlSource):
    """Files of one storage connection below one path.

    Attributes:
        files: Where they lie.
        options: How they are chosen.
        table: The driver that reads them, the same as :attr:`driver`.
        seen: What the last look at them came to; None before.
    """

    files: FileStorage | None = None
    options: FileOptions = field(default_factory=FileOptions)
    table: FilesDriver | None = None
    seen: FilesSeen | None = None
    _looking: bool = field(default=False, init=False)

    def observe(self, request: SourceRequest) -> SourceState:
        """See :meth:`~hwm_magics.sources.base.Source.observe`."""
        files, table = self._parts_there()
        by_cursor = self.read.cursor is not None
        manifest = None if by_cursor else request.manifest
        seen = chosen(files, self.read, self.options, manifest, time.time_ns())
        known = [column for column in request.target_columns if column.name != self.options.file_column]
        if (
            not seen.new
            and manifest is None
            and (request.first_run or not by_cursor or not request.target_columns)
        ):
            raise _nothing(files, self.read, seen)
        told, lacking = table.take(seen.new, known)
        seen = replace(seen, columns_from=told, lacking=lacking)
        given = self.read
        young = [why for _, why in seen.waiting if why.startswith(_WRITTEN)]
        if given.cursor is not None and young:
            # What such a file holds comes later than it was written, and must not lie below the next window.
            settle = max(given.cursor.settle, seen.settle)
            self.read = replace(given, cursor=replace(given.cursor, settle=settle))
        self._looking = True
        try:
            state = SqlSource.observe(self, request)
        finally:
            self.read, self._looking = given, False
        self.seen = seen
        return replace(state, files=seen)

    def resume(self, state: SourceState) -> None:
        """See :meth:`~hwm_magics.sources.base.Source.resume`."""
        if state.files is not None:
            self._take(state.files, state.columns)

    def _take(self, seen: FilesSeen, columns: Sequence[Column]) -> None:
        self._parts_there()[1].take(seen.new, columns)
        self.seen = seen

    def _ready(self) -> None:
        """Stand for all files, where nobody has chosen any."""
        if self.seen is None:
            files, _ = self._parts_there()
            seen = chosen(files, self.read, self.options, None, time.time_ns())
            if not seen.new:
                raise _nothing(files, self.read, seen)
            self._take(seen, ())

    def rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        """See :meth:`~hwm_magics.sources.sql.SqlSource.rows`."""
        if not self._looking:
            self._ready()
        return SqlSource.rows(self, statement)

    def _parts_there(self) -> tuple[FileStorage, FilesDriver]:
        if self.files is None or self.table is None:  # pragma: no cover - given by whoever makes it
            msg = "files without a storage"
            raise AssertionError(msg)
        return self.files, self.table

    def open(self, statement: Statement) -> BatchStream:
        """See :meth:`~hwm_magics.sources.base.Source.open`."""
        self._ready()
        tags = self._tags()
        return replace(SqlSource.open(self, statement), tags=tags)

    def spark_read(self, statement: Statement) -> SparkRead | None:
        """See :meth:`~hwm_magics.sources.base.Source.spark_read`."""
        self._ready()
        found = SqlSource.spark_read(self, statement)
        return replace(found, tags=self._tags()) if found is not None else None

    def present(self) -> tuple[LoadedFile, ...]:
        """All files that could be read now, with what tells their contents from others."""
        files, _ = self._parts_there()
        seen = chosen(files, self.read, self.options, None, time.time_ns())
        return tuple(replace(one, tag=files.tag(one.path)) for one in seen.new)

    def _tags(self) -> dict[str, str]:
        """What tells the files' contents from others, taken before a row is read; each must be as it was listed."""
        files, _ = self._parts_there()
        if self.seen is None or self.read.cursor is not None:
            return {}
        found = {one.path: files.tag(one.path) for one in self.seen.new}
        for one in self.seen.new:
            unchanged(files, one)
        return {path: tag for path, tag in found.items() if tag}


def unchanged(files: FileStorage, one: LoadedFile) -> None:
    """Refuse a file that is not as it was listed.

    Raises:
        SourceChangedError: It has changed, or is gone.
    """
    now = files.look(one.path)
    if now is None or not one.looks_like(now):
        what = "is gone" if now is None else "has changed"
        raise SourceChangedError(
            f"{one.path} {what} since it was listed; nothing was written",
            hint="run the load again when its writer has finished; raise read.options.settle if that happens often",
        )


def _nothing(files: FileStorage, read: ReadSpec, seen: FilesSeen) -> QueryError:
    left = "; ".join(f"{path}: {why}" for path, why in seen.waiting[:3])
    if left:
        return QueryError(
            f"no file of {read.path} in {files.place} can be read yet: {left}",
            hint="wait, or set read.options.settle: 0s where writers rename finished files into place",
        )
    return QueryError(
        f"no file matches {read.path} in {files.place}",
        hint="check read.path and the connection's root; patterns have *, ?, […] and ** for folders of any depth",
    )


def chosen(
    files: FileStorage,
    read: ReadSpec,
    options: FileOptions,
    manifest: Manifest | None,
    now: int,
) -> FilesSeen:
    """Which files a load reads.

    Args:
        files: Where they lie.
        read: Their path.
        options: How they are chosen.
        manifest: Those that the target holds; None for none.
        now: This machine's clock, in nanoseconds since 1970.

    Raises:
        SourceError: They can't be listed.
    """
    settle = options.settle
    if settle is None:
        settle = SETTLE_WHOLE if files.whole else SETTLE
    listing = files.list(read.path or "")
    waiting = list(listing.waiting)
    new: list[LoadedFile] = []
    changed: list[LoadedFile] = []
    touched: list[LoadedFile] = []
    known = 0
    loaded = manifest.files if manifest is not None else {}
    ripe = now - settle // timedelta(microseconds=1) * 1000
    for one in listing.files:
        before = loaded.get(one.path)
        if before is not None and before.looks_like(one):
            known += 1
            continue
        if settle and max(one.modified, one.changed) > ripe:
            waiting.append((one.path, _young(max(one.modified, one.changed), now, settle)))
        elif before is None:
            new.append(one)
        elif before.tag and before.size == one.size and files.tag(one.path) == before.tag:
            known += 1
            touched.append(replace(one, tag=before.tag))
        else:
            changed.append(one)
    if options.changed is Changed.LOAD:
        new = sorted([*new, *changed], key=lambda one: one.path)
    return FilesSeen(tuple(new), known, tuple(changed), tuple(waiting), tuple(touched), settle)


def _young(moment: int, now: int, settle: timedelta) -> str:
    age = timedelta(microseconds=(now - moment) // 1000)
    if age < timedelta():
        return f"{_WRITTEN} {duration(-age)} after this machine's clock"
    return f"{_WRITTEN} {duration(age)} ago, and waits for {duration(settle)}"
