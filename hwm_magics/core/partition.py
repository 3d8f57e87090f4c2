"""Which parts a read is split into, and whether that is safe: a pure function of what the source told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import MAX_PREC, ROUND_FLOOR, Decimal, localcontext
from itertools import pairwise

from hwm_magics.core.cursor import CursorKind, CursorValue
from hwm_magics.core.observed import Split
from hwm_magics.core.specs import Partition
from hwm_magics.core.statement import Param

__all__ = ["Condition", "Division", "cuts", "divide", "page_ranges", "ranges"]

Condition = tuple[str | Param, ...]
"""A condition of a statement: pieces of SQL, with values apart."""

MOST_AT_ONCE = 8
"""Connections that read side by side, however many parts there are."""

AUTO_AT_ONCE = 4
"""The same where nobody said how many parts: the source has other work, too."""

AUTO_ROWS = 500_000
"""Rows that make a part, where the plan chooses: below it a connection costs more than it saves."""

AUTO_BYTES = 64 * 2**20
"""The same in bytes of the table's pages."""

AUTO_PARTS = 32
"""The most parts that a plan chooses."""

_PAGES = "the table's pages (ctid)"


@dataclass(frozen=True, slots=True)
class Division:
    """How a read is split.

    Attributes:
        conditions: One a part; empty for one stream.
        by: What it is split by, in words.
        at_once: How many connections read side by side.
        shared: Whether all of them see one snapshot.
        notes: Sentences for the plan.
        refusal: Why what was asked for is refused; "" when it is not.
        hint: What to do about that.
    """

    conditions: tuple[Condition, ...] = ()
    by: str = ""
    at_once: int = 1
    shared: bool = False
    notes: tuple[str, ...] = ()
    refusal: str = ""
    hint: str = ""


def divide(asked: Partition, split: Split | None, keys: Sequence[str], count: int | None) -> Division:
    """Split a read.

    A row belongs to one part as long as its value does not change. Where all connections see one snapshot,
    it does not; elsewhere that is taken for granted of the columns only that say which row it is.

    Args:
        asked: ``read.partition``.
        split: What the source told of it; None for a source that is read in one stream whatever is asked.
        keys: ``write.keys``.
        count: Rows that will be read; None when not counted.
    """
    if split is None:
        return Division(notes=("read.partition: this source is read in one stream",))
    refused = split.refusal or _unsafe(split, keys)
    if refused:
        if asked.auto:
            return Division(notes=(f"partition: auto reads in one stream: {refused}",))
        hint = split.hint or (
            "split by a column of the primary key, or by one of write.keys; or leave read.partition out"
        )
        return Division(refusal=f"read.partition can't split the read: {refused}", hint=hint)
    number, why = (asked.count, "") if not asked.auto else _chosen(split, count)
    if number < 2:  # noqa: PLR2004 - one part is the whole
        return Division(notes=(f"partition: auto reads in one stream: {why}",) if why else ())
    found = page_ranges(split, number) if not split.column else ranges(split, number)
    if len(found) < 2:  # noqa: PLR2004 - see above
        told = "there are no values to split by" if split.least is None else "its values are all alike"
        return Division(notes=(f"read.partition reads in one stream: {split.column}: {told}",))
    by = split.column or _PAGES
    at_once = min(len(found), AUTO_AT_ONCE if asked.auto else MOST_AT_ONCE)
    return Division(found, by, at_once, split.shared, _notes(split, len(found), at_once, why))


def _unsafe(split: Split, keys: Sequence[str]) -> str:
    if split.shared or split.key or split.column in keys:
        return ""
    return (
        f"each part is a statement of its own here and sees the table at its own moment, so that a row whose "
        f"{split.column} changes meanwhile would be lost or read twice; only a column that says which row it is stays"
    )


def _chosen(split: Split, count: int | None) -> tuple[int, str]:
    """How many parts are worth it, and why."""
    rows = count if count is not None else split.rows
    if rows is not None and rows < 2 * AUTO_ROWS:
        return 1, f"about {rows:,} rows are too few to gain from more"
    if not split.column:
        size = split.pages * split.page_bytes
        if size < 2 * AUTO_BYTES:
            return 1, f"the table has {size / 2**20:,.0f} MiB, too few to gain from more"
        return min(AUTO_PARTS, size // AUTO_BYTES), f"the table has {size / 2**20:,.0f} MiB"
    if rows is None:
        return 1, "how many rows there are is not known"
    return min(AUTO_PARTS, rows // AUTO_ROWS), f"about {rows:,} rows"


def _notes(split: Split, number: int, at_once: int, why: str) -> tuple[str, ...]:
    what = f"by {split.column} from {split.least} to {split.greatest}" if split.column else f"by {_PAGES}"
    told = f"read in {number} parts {what}, {at_once} at a time" + (f" ({why})" if why else "")
    if split.shared:
        return (f"{told}; all of them see one snapshot of the database",)
    moments = (
        f"each part is a statement of its own and sees the table at its own moment; no row is in two parts as long as "
        f"its {split.column} stays"
    )
    return (told, moments)


def ranges(split: Split, number: int) -> tuple[Condition, ...]:
    """Conditions that every row meets exactly one of, whatever the bounds are.

    Each cut stands in two neighbouring conditions with the same SQL, once below and once from it on; the first
    part has no lower bound, the last no upper one, and rows without a value belong to the first.

    Args:
        split: The column and its bounds.
        number: At most so many parts.
    """
    if split.least is None or split.greatest is None:
        return ()
    found = cuts(split.least, split.greatest, number)
    if not found:
        return ()
    column = split.sql
    first: Condition = (f"{column} < ", Param("part", found[0]))
    if split.nulls:
        first = ("(", *first, f" OR {column} IS NULL)")
    between: list[Condition] = [
        (f"{column} >= ", Param("part", low), f" AND {column} < ", Param("part", high))
        for low, high in pairwise(found)
    ]
    return (first, *between, (f"{column} >= ", Param("part", found[-1])))


def page_ranges(split: Split, number: int) -> tuple[Condition, ...]:
    """The same by the pages that rows lie in, as PostgreSQL reads them without an index.

    Args:
        split: How many pages there are; rows beyond belong to the last part.
        number: At most so many parts.
    """
    found = sorted({split.pages * at // number for at in range(1, number)} - {0})
    if not found:
        return ()
    starts = [f"CAST('({page},0)' AS tid)" for page in found]
    between = [(f"ctid >= {low} AND ctid < {high}",) for low, high in pairwise(starts)]
    return ((f"ctid < {starts[0]}",), *between, (f"ctid >= {starts[-1]}",))


def cuts(least: CursorValue, greatest: CursorValue, number: int) -> tuple[CursorValue, ...]:
    """Values that cut a span into even parts.

    Args:
        least, greatest: The span.
        number: At most so many parts.

    Returns:
        Values in ascending order, all of them above ``least`` and none above ``greatest``.
    """
    found: list[CursorValue] = []
    for at in range(1, number):
        cut = _between(least, greatest, at, number)
        if cut > (found[-1] if found else least) and cut <= greatest:
            found.append(cut)
    return tuple(found)


def _between(least: CursorValue, greatest: CursorValue, at: int, number: int) -> CursorValue:
    kind = least.type
    if kind.kind is CursorKind.INTEGER:
        low, high = int(least.text), int(greatest.text)
        return kind.value(low + (high - low + 1) * at // number)
    if kind.kind is CursorKind.DECIMAL:
        with localcontext(prec=MAX_PREC):
            start, end = Decimal(least.text), Decimal(greatest.text)
            unit = Decimal(1).scaleb(-kind.digits)
            steps = int((end - start) / unit) + 1
            return kind.value((start + unit * (steps * at // number)).quantize(unit, ROUND_FLOOR))
    span = greatest.distance(least)
    if span is None or isinstance(span, int):
        return least
    return least.minus(-(span * at // number))
