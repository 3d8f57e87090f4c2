"""Which files a target holds: what each commit says of it, how that adds up, and what is to be done about a listing.

A load of files that has no cursor column says in its commit info which files it loaded. Most commits name only
those that they added. Some name all, so that the sum never needs more of the log than its newest days: the log's
beginning goes, by default after 30 days.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

__all__ = [
    "MOST_FILES",
    "FileRecord",
    "FilesSeen",
    "LoadedFile",
    "Manifest",
    "added_up",
    "next_record",
    "renewal_due",
    "retention",
]

MOST_FILES = 100_000
"""So many files one load may have to remember: about 5 MB of commit info whenever all are named."""

_WHOLE = 100
"""Up to so many files are named by every commit."""

_CHAIN = 40
"""So many commits may name only what they added, one after the other."""

_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)
_RETENTION = timedelta(days=30)
_INTERVAL = re.compile(r"(?:interval\s+)?(\d+)\s+(minute|hour|day|week)s?", re.IGNORECASE)
_UNITS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """One version of a file.

    Attributes:
        path: Its path below the connection's root, with ``/``.
        size: Its size, in bytes.
        modified: When it was written, in nanoseconds since 1970.
        changed: When its disk last changed anything about it (``ctime``), in nanoseconds since 1970; nobody can set
            that by hand. 0 where the storage has nothing of the kind.
        tag: What tells its content from another's (the beginning of its SHA-256); "" where it was not taken.
    """

    path: str
    size: int
    modified: int = 0
    changed: int = 0
    tag: str = ""

    def looks_like(self, other: LoadedFile) -> bool:
        """Whether nothing has touched it since: then its content is the same."""
        same = self.size == other.size and self.modified == other.modified
        return same and (not self.changed or not other.changed or self.changed == other.changed)


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What one commit says of files.

    Attributes:
        files: The files.
        full: Whether these are all that the target holds, and not only those that the commit added.
        count: How many the target holds with it.
        new: How many of them the commit's own load read.
    """

    files: tuple[LoadedFile, ...]
    full: bool
    count: int
    new: int = 0

    def to_json(self) -> dict[str, object]:
        """It as JSON-ready values: the files as one packed text, since there may be thousands."""
        rows = [[one.path, one.size, one.modified, one.changed, one.tag] for one in self.files]
        packed = zlib.compress(json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode(), 9)
        return {
            "full": self.full,
            "count": self.count,
            "new": self.new,
            "packed": base64.b64encode(packed).decode("ascii"),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, object]) -> FileRecord:
        """Read what :meth:`to_json` gave.

        Raises:
            ValueError, KeyError, TypeError: It is damaged.
        """
        try:
            rows = json.loads(zlib.decompress(base64.b64decode(str(kept["packed"]), validate=True)))
        except zlib.error as error:
            raise ValueError(str(error)) from error
        files = tuple(
            LoadedFile(str(path), int(size), int(modified), int(changed), str(tag))
            for path, size, modified, changed, tag in rows
        )
        return cls(files, bool(kept["full"]), int(str(kept["count"])), int(str(kept.get("new", 0))))

    def tagged(self, tags: Mapping[str, str]) -> FileRecord:
        """It with the contents' tags that were taken when the files were read."""
        if not tags:
            return self
        return replace(self, files=tuple(replace(one, tag=tags.get(one.path, one.tag)) for one in self.files))


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files that a target holds of one load.

    Attributes:
        files: By their paths.
        named_at: When a commit last named all of them; None when its log does not say.
        links: How many commits have added to that since.
        added: How many files these have named.
    """

    files: Mapping[str, LoadedFile] = field(default_factory=dict)
    named_at: datetime | None = None
    links: int = 0
    added: int = 0


@dataclass(frozen=True, slots=True)
class FilesSeen:
    """What a source's listing came to.

    Attributes:
        new: The files that will be read, in the order of their paths.
        known: How many were loaded before.
        changed: Files that were loaded before and hold something else now.
        waiting: Files that are left alone, and why.
        touched: Files that were loaded before and of which only the clock's traces differ.
        settle: How long a file must have been left alone.
        columns_from: How their columns were told, in words.
        lacking: Columns that some of the files lack, and how many; ``(column, files)``.
    """

    new: tuple[LoadedFile, ...] = ()
    known: int = 0
    changed: tuple[LoadedFile, ...] = ()
    waiting: tuple[tuple[str, str], ...] = ()
    touched: tuple[LoadedFile, ...] = ()
    settle: timedelta = timedelta()
    columns_from: str = ""
    lacking: tuple[tuple[str, int], ...] = ()

    @property
    def bytes(self) -> int:
        """The size of what will be read."""
        return sum(one.size for one in self.new)


def added_up(records: Sequence[tuple[FileRecord | None, datetime | None]]) -> Manifest | None:
    """All files, from what commits say.

    Args:
        records: What each commit says, and when it was made; newest first.

    Returns:
        The sum. None when it can't be told: a commit says nothing of files, or the one that named all is not
        among them.
    """
    later: list[FileRecord] = []
    for record, moment in records:
        if record is None:
            return None
        if not record.full:
            later.append(record)
            continue
        files = {one.path: one for one in record.files}
        for each in reversed(later):
            files.update({one.path: one for one in each.files})
        return Manifest(files, moment, len(later), sum(len(each.files) for each in later))
    return None


def retention(properties: Mapping[str, str]) -> timedelta:
    """How long a table keeps its log."""
    found = _INTERVAL.fullmatch(properties.get("delta.logRetentionDuration", "").strip())
    return int(found[1]) * _UNITS[found[2].lower()] if found else _RETENTION


def renewal_due(named_at: datetime | None, now: datetime | None, kept: timedelta) -> bool:
    """Whether what is loaded should be named again before the log forgets it, though nothing is new.

    Args:
        named_at: When a commit named all of it; None when its log does not say.
        now: This machine's clock.
        kept: How long the log keeps commits.
    """
    if named_at is None or now is None:
        return False
    return now - named_at >= min(_WEEK, kept / 4)


def next_record(
    manifest: Manifest | None, seen: FilesSeen, now: datetime | None, properties: Mapping[str, str]
) -> FileRecord:
    """What the commit of a load says.

    Args:
        manifest: What the target holds; None when all of it is replaced.
        seen: What is read.
        now: This machine's clock.
        properties: The table's.
    """
    named = {one.path: one for one in (*seen.touched, *seen.new)}
    if manifest is None:
        return FileRecord(tuple(named.values()), full=True, count=len(named), new=len(seen.new))
    total = {**manifest.files, **named}
    old = manifest.named_at is None or now is None
    old = old or now - manifest.named_at >= min(_DAY, retention(properties) / 10)  # type: ignore[operator]  # told above
    grown = manifest.added + len(named) > len(total) // 2
    full = len(total) <= _WHOLE or manifest.links >= _CHAIN or old or grown
    files = tuple(total.values()) if full else tuple(named.values())
    return FileRecord(files, full, len(total), len(seen.new))
