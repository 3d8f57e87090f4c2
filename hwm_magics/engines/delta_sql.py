"""The SQL that is asked of a target through DataFusion, with every literal typed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta

from hwm_magics.core.cursor import CursorKind, CursorValue
from hwm_magics.core.decided import Window
from hwm_magics.core.observed import Column
from hwm_magics.core.query import CursorExpression

__all__ = ["bounded", "by_value", "condition", "literal", "maximum", "within"]

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


_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")
_TRUSTED_DIGITS = 15
"""Of a decimal, file statistics hold a double."""


def by_value(
    cursor: CursorExpression,
    columns: Sequence[Column],
    dialect: str = DIALECT,
    trusted: int = _TRUSTED_DIGITS,
) -> str:
    """A cursor in a condition, such that no statistics of a file stand for its values.

    delta-rs writes decimals of more than 15 digits into the statistics as doubles. Readers leave out files by
    these, and DataFusion takes a file's one value from them; neither looks through a cast to text and back.

    Args:
        cursor: The cursor.
        columns: The target's columns.
        dialect: The sqlglot dialect to write in.
        trusted: Of so many digits a decimal's statistics may be used.
    """
    sql = cursor.sql(dialect)
    named = (cursor.column, cursor.fallback)
    found = [_DECIMAL.fullmatch(column.type) for column in columns if column.name in named]
    sizes = [(int(each[1]), int(each[2])) for each in found if each]
    if all(precision <= trusted for precision, _ in sizes):
        return sql
    text = "STRING" if dialect == "spark" else "VARCHAR"
    return f"CAST(CAST({sql} AS {text}) AS DECIMAL(38, {max(scale for _, scale in sizes)}))"


def condition(
    cursor: CursorExpression, columns: Sequence[Column], low: CursorValue | None, *, nulls: bool
) -> str:
    """Which target rows may come again: those at or above a low bound, and a little below.

    File statistics cut timestamps to milliseconds, so the bound is lowered by as much before it is used to choose
    files and rows; the caller compares exactly afterwards.

    Args:
        cursor: The cursor.
        columns: The target's columns.
        low: The bound; None for all rows.
        nulls: Whether rows with a NULL cursor are wanted too.

    Returns:
        A condition in DataFusion's SQL.
    """
    if low is None:
        return "TRUE"
    test = f"{by_value(cursor, columns)} >= {literal(_lowered(low))}"
    return f"({test} OR {cursor.sql(DIALECT)} IS NULL)" if nulls else test


def bounded(
    window: Window,
    cursor: CursorExpression,
    columns: Sequence[Column],
    dialect: str = DIALECT,
    written: Callable[[CursorValue], str] = literal,
) -> str:
    """The condition of a closed window, exact, for replacing the rows in it.

    Args:
        window: The window.
        cursor: The cursor column(s).
        columns: The target's columns.
        dialect: The sqlglot dialect to write in.
        written: Writes a cursor value as a literal of that dialect.
    """
    # A condition of delta-rs's writer compares decimals of the very same type only, unless it sees a cast.
    expression = by_value(cursor, columns, dialect, trusted=0)
    parts = []
    if window.low is not None:
        parts.append(f"{expression} {'>=' if window.low_inclusive else '>'} {written(window.low)}")
    if window.high is not None:
        parts.append(f"{expression} <= {written(window.high)}")
    return " AND ".join(parts)


def within(window: Window, cursor: CursorExpression, columns: Sequence[Column]) -> tuple[str, str]:
    """Two conditions for the rows in a window: one to choose files by, and an exact one to be asked of each row.

    File statistics cut timestamps to milliseconds, so a bound of more digits would leave out files
    that hold rows of the window.
    """
    return condition(cursor, columns, window.low, nulls=False), bounded(window, cursor, columns) or "TRUE"


def _lowered(low: CursorValue) -> CursorValue:
    if low.type.kind not in (CursorKind.TIMESTAMP, CursorKind.TIMESTAMP_TZ):
        return low
    return low.minus(timedelta(milliseconds=1)).floored(3)
