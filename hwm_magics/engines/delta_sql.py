"""The SQL that is asked of a target through DataFusion, with every literal typed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal, localcontext

from hwm_magics.core.cursor import CursorKind, CursorValue
from hwm_magics.core.decided import Window
from hwm_magics.core.query import CursorExpression

__all__ = ["bounded", "condition", "literal", "maximum", "within"]

DIALECT = "postgres"
"""The sqlglot dialect nearest to DataFusion's SQL."""

_TIMES = {
    "timestamp_ntz": "Timestamp(Microsecond, None)",
    "timestamp": 'Timestamp(Microsecond, Some("UTC"))',
}


def literal(value: CursorValue) -> str:
    """A cursor value as a literal of its own type: DataFusion would compare a bare text as text."""
    kind, text = value.type.kind, value.text
    if kind is CursorKind.INTEGER:
        return text
    if kind is CursorKind.DECIMAL:
        return f"CAST('{text}' AS DECIMAL(38, {max(value.type.digits, 0)}))"
    if kind is CursorKind.DATE:
        return f"DATE '{text}'"
    if kind in (CursorKind.TIMESTAMP, CursorKind.TIMESTAMP_TZ):
        zone = "Z" if kind is CursorKind.TIMESTAMP_TZ else ""
        return f"arrow_cast('{text}{zone}', '{_TIMES[kind.value]}')"
    if kind is CursorKind.ROWVERSION:
        return f"X'{text}'"
    return "'" + text.replace("'", "''") + "'"


def maximum(cursor: CursorExpression) -> str:
    """MAX(cursor) over the target's data; never from file statistics, which are cut short."""
    return f"SELECT MAX({cursor.sql(DIALECT)}) AS highest FROM hwm_target"  # noqa: S608 - quoted by the expression


def condition(cursor: CursorExpression, low: CursorValue | None, *, nulls: bool) -> str:
    """Which target rows may come again: those at or above a low bound, and a little below.

    File statistics cut timestamps to milliseconds and keep decimals as doubles, so the bound is lowered by as
    much before it is used to choose files and rows; the caller compares exactly afterwards.

    Args:
        cursor: The cursor.
        low: The bound; None for all rows.
        nulls: Whether rows with a NULL cursor are wanted too.

    Returns:
        A condition in DataFusion's SQL.
    """
    if low is None:
        return "TRUE"
    expression = cursor.sql(DIALECT)
    test = f"{expression} >= {literal(_lowered(low))}"
    return f"({test} OR {expression} IS NULL)" if nulls else test


def bounded(
    window: Window,
    column: str,
    fallback: str | None,
    dialect: str = DIALECT,
    written: Callable[[CursorValue], str] = literal,
) -> str:
    """The condition of a closed window, exact, for replacing the rows in it.

    Args:
        window: The window.
        column, fallback: The cursor column(s).
        dialect: The sqlglot dialect to write in.
        written: Writes a cursor value as a literal of that dialect.
    """
    expression = CursorExpression(column, fallback).sql(dialect)
    parts = []
    if window.low is not None:
        parts.append(f"{expression} {'>=' if window.low_inclusive else '>'} {written(window.low)}")
    if window.high is not None:
        parts.append(f"{expression} <= {written(window.high)}")
    return " AND ".join(parts)


def within(window: Window, cursor: CursorExpression) -> tuple[str, str]:
    """Two conditions for the rows in a window: one to choose files by, and an exact one to be asked of each row.

    File statistics cut timestamps to milliseconds, so a bound of more digits would leave out files
    that hold rows of the window.
    """
    exact = bounded(window, cursor.column, cursor.fallback) or "TRUE"
    low = _lowered(window.low) if window.low is not None else None
    return bounded(Window(low), cursor.column, cursor.fallback) or "TRUE", exact


_TRUSTED_DIGITS = 15


def _lowered(low: CursorValue) -> CursorValue:
    if low.type.kind is CursorKind.DECIMAL:
        # Statistics hold a double, of which 15 digits can be trusted, or the largest number of 64 bits.
        number = min(Decimal(low.text), Decimal(2**63 - 1))
        if len(number.as_tuple().digits) <= _TRUSTED_DIGITS:
            return low
        with localcontext(prec=100):
            below = number - Decimal(1).scaleb(number.adjusted() - _TRUSTED_DIGITS + 2)
        return CursorValue(low.type, f"{below:f}")
    if low.type.kind not in (CursorKind.TIMESTAMP, CursorKind.TIMESTAMP_TZ):
        return low
    return low.minus(timedelta(milliseconds=1)).floored(3)
