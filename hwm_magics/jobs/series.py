"""A load's history as numbers over time: rows, the watermark, how far it was behind the clock, pauses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from hwm_magics.connections.secrets import scrub
from hwm_magics.core.commit_info import written
from hwm_magics.core.moments import has_zone, moment, span
from hwm_magics.core.observed import CommitRecord
from hwm_magics.core.words import counted

__all__ = ["Pause", "Point", "Series", "series_of"]

_LONG = 3
"""A pause between two loads is told when it is so many times as long as most are."""
_ENOUGH = 4
"""Fewer loads don't say how long a pause mostly is."""


@dataclass(frozen=True, slots=True)
class Point:
    """One load.

    Attributes:
        version: The target's version that it made.
        at: When it was committed.
        kind: What it was, in words.
        rows: Rows that it wrote; None where the log does not say.
        mark: The watermark after it, as a time or a number; None without one.
        behind: How far the mark was behind the clock; None where the mark is no time.
    """

    version: int
    at: datetime
    kind: str
    rows: int | None
    mark: datetime | float | None
    behind: timedelta | None


@dataclass(frozen=True, slots=True)
class Pause:
    """A long time without a load.

    Attributes:
        start: The load before it.
        end: The load after it.
    """

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Series:
    """The loads of one node, oldest first.

    Attributes:
        node: The node.
        cursor: What the mark is of; "" without one.
        points: Its loads.
        pauses: Times without a load that are long against most.
        zoned: Whether the marks say by themselves which instant they are; others are taken as UTC.
    """

    node: str
    cursor: str
    points: tuple[Point, ...]
    pauses: tuple[Pause, ...]
    zoned: bool

    @property
    def timed(self) -> bool:
        """Whether the marks are times."""
        return any(point.behind is not None for point in self.points)

    @property
    def text(self) -> str:
        """The same in words, for whoever does not see the picture."""
        first, last = self.points[0], self.points[-1]
        known = [point.rows for point in self.points if point.rows is not None]
        count = len(self.points)
        told = [
            f"{counted(count, 'load')} of {self.node}, {first.at:%Y-%m-%d %H:%M}"
            + (f" to {last.at:%Y-%m-%d %H:%M}" if count > 1 else "")
            + f" UTC: {sum(known):,} rows"
            + (f", {min(known):,} to {max(known):,} a load" if len(known) > 1 else "")
        ]
        marks = [point.mark for point in self.points if point.mark is not None]
        if marks:
            moved = f" from {_mark(marks[0])}" if marks[0] != marks[-1] else " stays"
            told.append(
                f"the mark of {self.cursor}{moved} {'to' if marks[0] != marks[-1] else 'at'} {_mark(marks[-1])}"
            )
        late = [point.behind for point in self.points if point.behind is not None]
        if late:
            zone = "" if self.zoned else ", if its clock is UTC"
            told.append(
                f"it was {_behind(late[-1])} the clock at the last load, and {_behind(max(late))} it at most{zone}"
            )
        if self.pauses:
            longest = max(self.pauses, key=lambda pause: pause.end - pause.start)
            told.append(
                f"{counted(len(self.pauses), 'long pause')}, at most "
                f"{span(longest.end - longest.start)} from {longest.start:%Y-%m-%d %H:%M}"
            )
        return "; ".join(told) + "."


def series_of(records: Iterable[CommitRecord]) -> tuple[Series, ...]:
    """The records of a log as series, one a node, in the order of their names."""
    nodes: dict[str, list[CommitRecord]] = {}
    for record in records:
        if record.committed_at is not None:
            nodes.setdefault(record.node, []).append(record)
    return tuple(
        _series(node, sorted(found, key=lambda each: each.version)) for node, found in sorted(nodes.items())
    )


def _series(node: str, records: list[CommitRecord]) -> Series:
    points = tuple(_point(record) for record in records)
    marks = [record.watermark for record in records if record.watermark is not None]
    return Series(
        scrub(node),
        scrub(marks[-1].column) if marks else "",
        points,
        _pauses([point.at for point in points]),
        all(has_zone(mark.value) for mark in marks),
    )


def _point(record: CommitRecord) -> Point:
    at = record.committed_at
    if at is None:
        raise AssertionError("only records with a time are asked about")
    mark: datetime | float | None = None
    behind = None
    if record.watermark is not None:
        value = record.watermark.value
        time = moment(value)
        if time is not None:
            mark, behind = time, at - time
        elif value.type.family == "number":
            mark = float(value.text)
        elif value.type.kind == "rowversion":
            mark = float(int(value.text, 16))
    return Point(
        record.version, at, record.kind.replace("_", " "), written(record.metrics).rows, mark, behind
    )


def _pauses(times: list[datetime]) -> tuple[Pause, ...]:
    lengths = [later - earlier for earlier, later in pairwise(times)]
    if len(lengths) + 1 < _ENOUGH:
        return ()
    usual = median(length.total_seconds() for length in lengths)
    return tuple(
        Pause(start, start + length)
        for start, length in zip(times, lengths, strict=False)
        if length.total_seconds() > _LONG * usual > 0
    )


def _mark(mark: datetime | float) -> str:
    return f"{mark:%Y-%m-%d %H:%M}" if isinstance(mark, datetime) else f"{mark:,.0f}"


def _behind(length: timedelta) -> str:
    return f"{span(length)} {'behind' if length >= timedelta() else 'ahead of'}"
