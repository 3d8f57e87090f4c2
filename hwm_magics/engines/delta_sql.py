"""The SQL that is asked of a target through DataFusion, with every literal typed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from hwm_magics.core.cursor import CursorKind, CursorValue
from hwm_magics.core.model import Column, Window
from hwm_magics.core.query import CursorExpression

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["bounded", "condition", "literal", "maximum", "typed_literals"]

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

    File statistics cut timestamps to milliseconds, so the bound is lowered by one before it is used
    to choose files and rows; the caller compares exactly afterwards.

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
    padded = low
    if low.type.kind in (CursorKind.TIMESTAMP, CursorKind.TIMESTAMP_TZ):
        padded = low.minus(timedelta(milliseconds=1)).floored(3)
    test = f"{expression} >= {literal(padded)}"
    return f"({test} OR {expression} IS NULL)" if nulls else test


def bounded(window: Window, column: str, fallback: str | None) -> str:
    """The condition of a closed window, exact, for replacing the rows in it."""
    expression = CursorExpression(column, fallback).sql(DIALECT)
    parts = []
    if window.low is not None:
        parts.append(f"{expression} {'>=' if window.low_inclusive else '>'} {literal(window.low)}")
    if window.high is not None:
        parts.append(f"{expression} <= {literal(window.high)}")
    return " AND ".join(parts)


def typed_literals(sql: str, columns: Sequence[Column]) -> str:
    """Give text literals beside the target's columns those columns' types.

    DataFusion refuses ``COALESCE(MAX(updated_at), '1900-01-01')``: a timestamp and a text. Other
    databases read the text as the column's type, and so does this.

    Args:
        sql: A scalar query over ``hwm_target``.
        columns: The target's columns.

    Returns:
        The query with such literals cast.
    """
    import sqlglot
    from sqlglot import exp

    types = {column.name.lower(): column.type for column in columns}
    names = {column.name.lower(): column.name for column in columns}
    tree = sqlglot.parse_one(sql, read=DIALECT)
    for found in tree.find_all(exp.Column):
        actual = names.get(found.name.lower())
        if actual is not None:
            found.set("this", exp.to_identifier(actual, quoted=True))
    for node in list(tree.find_all(exp.Coalesce, exp.Predicate, exp.Between, exp.Greatest, exp.Least)):
        beside = next((types.get(column.name.lower()) for column in node.find_all(exp.Column)), None)
        if beside is None:
            continue
        for text in [item for item in node.find_all(exp.Literal) if item.is_string]:
            if isinstance(text.parent, exp.Cast | exp.Anonymous):
                continue
            text.replace(_typed(str(text.this), beside))
    return tree.sql(dialect=DIALECT)


def _typed(text: str, delta_type: str) -> exp.Expression:
    from sqlglot import exp as e

    plain = e.Literal.string(text)
    arrow = _TIMES.get(delta_type)
    if arrow is not None:
        return e.Anonymous(this="arrow_cast", expressions=[plain, e.Literal.string(arrow)])
    if delta_type.startswith("decimal") or delta_type in ("date", "long", "integer", "short", "byte"):
        names = {"long": "BIGINT", "integer": "INT", "short": "SMALLINT", "byte": "SMALLINT"}
        return e.Cast(this=plain, to=e.DataType.build(names.get(delta_type, delta_type), dialect=DIALECT))
    return plain
