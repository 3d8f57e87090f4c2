"""A first load in chunks: which window is next, and how many follow it."""

from __future__ import annotations

from datetime import timedelta

from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue
from hwm_magics.core.decided import Chunk, LoadResult, Window

__all__ = ["chunked", "misfit", "together"]


def misfit(step: timedelta | int, kind: CursorType) -> tuple[str, str] | None:
    """Why windows of a length can't be laid along a cursor, and what to do; None where they can.

    Args:
        step: The length.
        kind: The cursor's type.
    """
    told = kind.native or kind.kind.value
    if kind.kind is CursorKind.TEXT:
        return (
            f"write.first_run.chunk needs a cursor of numbers or times, and this one is text ({told})",
            "cast the column in the query, or leave first_run away: the first load is one commit then",
        )
    if kind.is_time and not isinstance(step, timedelta):
        return (
            f"write.first_run.chunk {step:,} is a count, and the cursor is a time ({told})",
            "write a duration, such as chunk: 30d",
        )
    if not kind.is_time and isinstance(step, timedelta):
        return (
            f"write.first_run.chunk is a duration, and the cursor counts ({told})",
            "write how many of its values a chunk spans, such as chunk: 1000000",
        )
    return None


def chunked(
    low: Window, lowest: CursorValue | None, goal: CursorValue, step: timedelta | int | None, number: int
) -> tuple[Window, Chunk]:
    """The next window of a first load, and what follows it.

    The windows tile all values up to the goal: each begins right above the one before. They end on a grid of
    whole steps from the lowest value that the source had at first, and one reaches over the cells
    in which the source has no row, so that empty ones cost nothing.

    Args:
        low: Where it begins; its high bound is not looked at.
        lowest: The lowest value that the source has there, up to the goal; None for no row.
        goal: Where the first load ends.
        step: How far a window reaches; None for all that is left.
        number: Which window it is, from 1.
    """
    high = goal
    if lowest is not None and step is not None:
        # The first window begins at a value that the source has, the others where one has ended.
        begin = lowest if number == 1 or low.low is None else low.low
        high = min(_reaching(begin, lowest, step), goal)
    window = Window(low.low, high, low.low_inclusive)
    if step is None or high >= goal:
        return window, Chunk(number, goal, step)
    following = Window(high, min(high.plus(step), goal), low_inclusive=False)
    return window, Chunk(number, goal, step, _cells(high, goal, step), following)


def _reaching(begin: CursorValue, value: CursorValue, step: timedelta | int) -> CursorValue:
    """The first end of a window, in whole steps from where the windows begin, that reaches a value."""
    count = max(_cells(begin, value, step), 1)
    # Where a step is finer than what the source keeps, its end was rounded down.
    return max(begin.plus(count * step), value)


def _cells(begin: CursorValue, end: CursorValue, step: timedelta | int) -> int:
    """How many windows it takes to get from one value to another."""
    distance = end.distance(begin)
    if isinstance(distance, timedelta):
        whole = distance // step if isinstance(step, timedelta) else 0
    else:
        whole = (distance or 0) // step if isinstance(step, int) else 0
    return whole + 1 if begin.plus(whole * step) < end else whole


def together(parts: list[LoadResult], seconds: float) -> LoadResult:
    """What the chunks of a first load came to.

    Args:
        parts: Their results, in order.
        seconds: How long they took.
    """
    first, last = parts[0], parts[-1]
    files = [part.files for part in parts if part.files is not None]
    sizes = [part.bytes for part in parts if part.bytes is not None]
    return LoadResult(
        node=first.node,
        decision=first.decision,
        status="loaded" if any(part.status == "loaded" for part in parts) else last.status,
        run_id=last.run_id,
        rows_read=sum(part.rows_read for part in parts),
        rows_recognised=sum(part.rows_recognised for part in parts),
        rows_written=sum(part.rows_written for part in parts),
        rows_updated=sum(part.rows_updated for part in parts),
        version_before=first.version_before,
        version_after=last.version_after,
        watermark_before=first.watermark_before,
        watermark_after=last.watermark_after,
        files=sum(files) if files else None,
        bytes=sum(sizes) if sizes else None,
        seconds=seconds,
        retries=sum(part.retries for part in parts),
        warnings=tuple(dict.fromkeys(text for part in parts for text in part.warnings)),
        chunks=sum(part.chunks for part in parts),
    )
