"""Where a load's window begins: the watermark, the lag below it, and what is compared there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from hwm_magics.core.commit_info import settled
from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue
from hwm_magics.core.decided import LoadPlan, SchemaChange
from hwm_magics.core.observed import CommitRecord, LateColumn, Watermark
from hwm_magics.core.specs import Boundary, CursorSpec, FencePolicy

__all__ = ["DEFAULT_LAG", "TAIL", "Low", "floor_after", "late_columns", "looks_back", "low_bound", "reached"]

DEFAULT_LAG = timedelta(minutes=10)
TAIL = 100_000
"""How many ids below the mark are looked at again when no load is old enough to bound them."""

"""After these nothing of the rows before is left."""


@dataclass(frozen=True, slots=True)
class Low:
    """The low bound of a window.

    Attributes:
        value: The bound.
        inclusive: Whether it is read itself.
        lag: What lies between it and the watermark, in words; "" for nothing.
        promise: The limit of the promise that no row is lost, in words.
    """

    value: CursorValue
    inclusive: bool
    lag: str
    promise: str

    def rolled(self, cursor: CursorSpec, now: CursorValue | None) -> Low:
        """The bound of a rolling window, where that reaches further back.

        Args:
            cursor: The cursor's settings.
            now: The source's clock.
        """
        back = now.minus(cursor.lookback) if cursor.lookback is not None and now is not None else None
        if back is None or not back < self.value:
            return self
        return replace(self, value=back, inclusive=True)


def low_bound(
    mark: Watermark, cursor: CursorSpec, loads: tuple[CommitRecord, ...], *, recognisable: bool
) -> Low:
    """Where the next window begins.

    Args:
        mark: The watermark.
        cursor: The cursor's settings.
        loads: The node's loads that hold, newest first.
        recognisable: Whether rows read again can be told from new ones.

    Returns:
        The bound: the watermark less the lag, rounded down, and never below what was set by hand.

    Raises:
        CursorColumnError: The lag doesn't fit the cursor's type.
    """
    low = _by_lag(mark, cursor, loads, recognisable=recognisable)
    floor = _floor(loads[0] if loads else None)
    if floor is not None and floor.comparable(low.value) and low.value < floor:
        return replace(low, value=floor, inclusive=False)
    return low


def looks_back(cursor: CursorSpec, *, recognisable: bool) -> timedelta:
    """How far below its mark the load after the next one will look again, at least; for time cursors.

    Args:
        cursor: The cursor's settings.
        recognisable: Whether rows read again can be told from new ones.
    """
    if not recognisable:
        return timedelta()
    if cursor.lag is None:
        return DEFAULT_LAG
    return cursor.lag if isinstance(cursor.lag, timedelta) else timedelta()


def _by_lag(
    mark: Watermark, cursor: CursorSpec, loads: tuple[CommitRecord, ...], *, recognisable: bool
) -> Low:
    value = mark.value
    if mark.origin == "set":
        return Low(
            value,
            inclusive=False,
            lag="",
            promise="everything up to the watermark that was set counts as loaded",
        )
    if cursor.fence is FencePolicy.XID and not cursor.lag:
        inclusive = recognisable and cursor.boundary is Boundary.INCLUSIVE
        promise = "no row is lost: a load stops below the ids of transactions that are still open"
        return Low(value, inclusive, "", promise)
    inclusive = cursor.boundary is not Boundary.EXCLUSIVE
    if not recognisable:
        return Low(
            value,
            inclusive=False,
            lag="",
            promise="rows that commit late, or tie with the watermark, are lost: "
            "a transform without write.keys leaves no way to recognise rows read again",
        )
    if cursor.lag is not None:
        lowered = value.minus(cursor.lag)
        words = _words(cursor.lag)
        return Low(lowered, inclusive, words, _promise(value.type, cursor, words, inclusive=inclusive))
    if not _counts(value.type):
        lowered, words = _default(value)
        return Low(lowered, inclusive, words, _promise(value.type, cursor, words, inclusive=inclusive))
    old = settled(loads)
    if old is not None and old.watermark is not None and old.watermark.value.comparable(value):
        words = f"down to the mark of version {old.version}"
        promise = (
            f"no row is lost that commits within 10 min of taking its {cursor.column} (looking again {words})"
        )
        return Low(min(old.watermark.value, value), inclusive, words, promise)
    # Nothing tells how far back transactions may still be open; the next loads will know.
    words = f"{TAIL:,}"
    return Low(value.minus(TAIL), inclusive, words, _promise(value.type, cursor, words, inclusive=inclusive))


def _default(value: CursorValue) -> tuple[CursorValue, str]:
    kind = value.type
    if not kind.is_time or (kind.kind is CursorKind.TEXT and kind.form is None):
        return value, ""
    return value.minus(DEFAULT_LAG), _words(DEFAULT_LAG)


def _counts(kind: CursorType) -> bool:
    return kind.kind is CursorKind.INTEGER or (kind.kind is CursorKind.DECIMAL and kind.digits == 0)


def _words(lag: timedelta | int) -> str:
    if isinstance(lag, int):
        return f"{lag:,}" if lag else ""
    if not lag:
        return ""
    seconds = lag.total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _promise(kind: CursorType, cursor: CursorSpec, lag: str, *, inclusive: bool) -> str:
    label = f"its {cursor.column}"
    if not lag:
        tie = "" if inclusive else ", and rows that tie with the watermark"
        return f"no lag: rows that commit after a load has passed {label}{tie} are lost"
    if kind.is_time:
        return f"no row is lost that commits within {lag} of {label}"
    return f"no row is lost whose {cursor.column} lies at most {lag} below the watermark when it commits"


def late_columns(plan: LoadPlan, change: SchemaChange) -> tuple[LateColumn, ...]:
    """The columns that rows of the target may lack, for the commit info.

    Where rows are recognised as a whole, one that was loaded before its table had a column would
    never again equal the source's. All are kept, as a mark that is set by hand may lie as low as it likes.

    Args:
        plan: The plan that is carried out.
        change: How its rows differ from the target.

    Returns:
        They, the latest last.
    """
    if plan.decision.anew:
        return ()
    last = plan.target.last_load
    known = {each.name: each for each in (last.late_columns if last is not None else ())}
    for column in change.added:
        if plan.before is not None:
            known[column.name] = LateColumn(column.name, plan.before.value)
    for column in change.missing:
        if plan.after is not None:
            known[column.name] = LateColumn(column.name, plan.after.value)
    return tuple(sorted(known.values(), key=lambda each: each.upto))


def reached(columns: tuple[LateColumn, ...], low: CursorValue | None) -> tuple[LateColumn, ...]:
    """Those of the late columns that rows at or above a bound may lack."""
    return tuple(each for each in columns if low is None or not low.comparable(each.upto) or low <= each.upto)


def floor_after(plan: LoadPlan) -> CursorValue | None:
    """Below what value the loads after a plan must not look again; None when nobody set a mark by hand."""
    return None if plan.decision.anew else _floor(plan.target.last_load)


def _floor(last: CommitRecord | None) -> CursorValue | None:
    if last is None:
        return None
    mark = last.watermark
    return mark.value if mark is not None and mark.origin == "set" else last.floor
