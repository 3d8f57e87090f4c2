"""A Delta table as a source without a cursor column: which of its versions are loaded, and what the later ones added.

The version that a load read is its watermark, under the name that Delta Lake gives it in change feeds. Only rows that
were added can be told so: a version that changes or removes rows writes the others of their files anew.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

__all__ = ["VERSION_COLUMN", "DataFile", "VersionCommit", "VersionsSeen", "versions_since"]

VERSION_COLUMN = "_commit_version"
"""The name of a watermark that is a version (of the change feed's column:
https://docs.delta.io/latest/delta-change-data-feed.html)."""

_NAMED = 3


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that a version added.

    Attributes:
        path: Its path below the table's folder.
        size: Its size, in bytes.
        version: The version.
        values: What its partition columns hold, as the log has it, by the names that it has for them; NULL is None,
            and "" where they hold no text.
        rows: How many rows it holds; None where the log does not say.
    """

    path: str
    size: int
    version: int
    values: tuple[tuple[str, str | None], ...] = ()
    rows: int | None = None

    @property
    def partition(self) -> tuple[tuple[str, bool, str], ...]:
        """Its :attr:`values` in a form that can be put in order."""
        return tuple((name, value is not None, value or "") for name, value in self.values)


@dataclass(frozen=True, slots=True)
class VersionCommit:
    """What the commit of one version did to the table's rows.

    Attributes:
        version: The version.
        operation: What it says of itself, in capitals.
        added: The files of rows that it added.
        changes: Whether it changed or removed rows that were there, or brought back old ones.
        unreadable: Why the files that it added can't be read by themselves; "" where they can.
    """

    version: int
    operation: str
    added: tuple[DataFile, ...] = ()
    changes: bool = False
    unreadable: str = ""

    def __str__(self) -> str:
        return f"{self.version} ({self.operation or 'unnamed operation'})"


@dataclass(frozen=True, slots=True)
class VersionsSeen:
    """What a look at the table's log came to.

    Attributes:
        version: The newest version, which is loaded afterwards.
        since: The version up to which the target holds the table; None where nothing was to be compared.
        new: The files whose rows the versions between added.
        changed: The versions between that changed or removed rows.
        unclear: Why the log doesn't tell what is new; "" where it does.
        whole: Whether all rows of the newest version are read.
        retention: How long the table keeps its log.
    """

    version: int
    since: int | None = None
    new: tuple[DataFile, ...] = ()
    changed: tuple[VersionCommit, ...] = ()
    unclear: str = ""
    whole: bool = True
    retention: timedelta = timedelta(days=30)

    @property
    def bytes(self) -> int:
        """The size of the files that were added."""
        return sum(one.size for one in self.new)

    @property
    def rows(self) -> int | None:
        """How many rows were added; None where the log does not say."""
        counts = [one.rows for one in self.new]
        return None if self.whole or None in counts else sum(count or 0 for count in counts)

    @property
    def adding(self) -> int:
        """How many versions added rows that are read."""
        return len({one.version for one in self.new})

    @property
    def changes(self) -> str:
        """The versions that changed or removed rows, as a sentence."""
        return _changes(self.changed)


def versions_since(
    since: int,
    newest: int,
    commits: Sequence[VersionCommit | None],
    *,
    gone: Collection[str] = (),
    problem: str = "",
    passing: bool = False,
    compared: bool = False,
    retention: timedelta,
) -> VersionsSeen:
    """What versions above a loaded one added.

    Args:
        since: The loaded version.
        newest: The newest.
        commits: Those between, from the first above ``since`` to ``newest``; None for one that the log lacks.
        gone: Files that were added and aren't there any more.
        problem: Why files can't be read by themselves, whichever version added them; "" where they can.
        passing: Whether versions that changed rows are passed over.
        compared: Whether rows read again are told by their keys: then all rows are read where the log doesn't tell
            which are new.
        retention: How long the table keeps its log.
    """
    there = [one for one in commits if one is not None]
    changed = tuple(one for one in there if one.changes)
    adding = [one for one in there if not one.changes]
    new = tuple(file for one in adding for file in one.added)
    unclear = _unclear(since, newest, commits, adding) or (problem if new else "")
    if not unclear and changed and not passing:
        unclear = _changes(changed)
    lost = next((file for file in new if file.path in gone), None)
    if not unclear and lost is not None:
        unclear = f"a file that version {lost.version} added was removed before it was loaded ({lost.path})"
    whole = bool(unclear) and compared
    return VersionsSeen(newest, since, () if unclear else new, changed, unclear, whole, retention)


def _unclear(
    since: int, newest: int, commits: Sequence[VersionCommit | None], adding: Sequence[VersionCommit]
) -> str:
    if newest < since:
        return f"the table is at version {newest}, below version {since}, which was loaded last"
    if None in commits:
        lacking = since + 1 + commits.index(None)
        return f"the table's log no longer tells of version {lacking}, and version {since} was loaded last"
    return next((f"version {one}: {one.unreadable}" for one in adding if one.unreadable), "")


def _changes(changed: Sequence[VersionCommit]) -> str:
    named = ", ".join(str(one) for one in changed[:_NAMED]) + (" …" if len(changed) > _NAMED else "")
    return f"version{'' if len(changed) == 1 else 's'} {named} changed or removed rows"
