"""Names, literals and conditions in Spark's SQL."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hwm_magics.core.cursor import CursorKind, CursorValue
from hwm_magics.core.observed import Column
from hwm_magics.core.query import CursorExpression
from hwm_magics.engines.delta_sql import by_value
from hwm_magics.errors import ConfigError

__all__ = [
    "DIALECT",
    "condition",
    "ddl",
    "literal",
    "name_of",
    "path_reference",
    "properties_clause",
    "quote",
    "text",
]

DIALECT = "spark"
"""The sqlglot dialect of what is asked of Spark."""

_MICROSECONDS = 6
_PART = re.compile(r"`(?:[^`]|``)+`|[^`.\s]+")
_SPARK_TYPES = {"integer": "int", "long": "bigint", "short": "smallint", "byte": "tinyint"}
_TYPE_NAME = re.compile(r"`(?:[^`]|``)*`|\b(?:integer|long|short|byte)\b(?!\s*:)")


def quote(name: str) -> str:
    """One name, quoted."""
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    """A text as a literal: Spark reads escapes in it."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def path_reference(path: str) -> str:
    """A Delta table by its path, as a name in SQL."""
    return f"delta.{quote(path)}"


def name_of(table: str) -> str:
    """A catalog name of up to three parts, each quoted.

    Args:
        table: Such as ``raw.orders`` or ``main.`odd name`.orders``.

    Raises:
        ConfigError: It is no such name.
    """
    parts = _PART.findall(table)
    if not 1 <= len(parts) <= 3 or ".".join(parts) != table.strip():  # noqa: PLR2004 - catalog, schema, table
        raise ConfigError(
            f"{table!r} is no table name", hint="write table, schema.table or catalog.schema.table"
        )
    return ".".join(quote(part[1:-1].replace("``", "`") if part.startswith("`") else part) for part in parts)


def literal(value: CursorValue) -> str:
    """A cursor value as a literal of its own type, cut down to Spark's microseconds."""
    kind = value.type.kind
    if kind is CursorKind.INTEGER:
        return value.text
    if kind is CursorKind.DECIMAL:
        return f"CAST('{value.text}' AS DECIMAL(38, {max(value.type.digits, 0)}))"
    if kind is CursorKind.DATE:
        return f"DATE'{value.text}'"
    if kind is CursorKind.TIMESTAMP:
        return f"TIMESTAMP_NTZ'{value.floored(_MICROSECONDS).text}'"
    if kind is CursorKind.TIMESTAMP_TZ:
        return f"TIMESTAMP'{value.floored(_MICROSECONDS).text}Z'"
    if kind is CursorKind.ROWVERSION:
        return f"X'{value.text}'"
    return text(value.text)


def condition(
    cursor: CursorExpression, columns: Sequence[Column], low: CursorValue | None, *, nulls: bool
) -> str:
    """Which target rows may come again: those at or above a low bound.

    Args:
        cursor: The cursor.
        columns: The target's columns.
        low: The bound; None for all rows.
        nulls: Whether rows with a NULL cursor are wanted too.
    """
    if low is None:
        return "TRUE"
    test = f"{by_value(cursor, columns, DIALECT)} >= {literal(low)}"
    return f"({test} OR {cursor.sql(DIALECT)} IS NULL)" if nulls else test


def spark_type(delta_type: str) -> str:
    """A Delta type as Spark's SQL spells it."""
    return _TYPE_NAME.sub(lambda found: _SPARK_TYPES.get(found[0], found[0]), delta_type)


def ddl(columns: Sequence[Column], *, nullable: bool = False) -> str:
    """Columns as a column list.

    Args:
        columns: The columns.
        nullable: Whether all of them may be NULL, whatever they say.
    """
    return ", ".join(
        f"{quote(column.name)} {spark_type(column.type)}{'' if nullable or column.nullable else ' NOT NULL'}"
        for column in columns
    )


def properties_clause(properties: dict[str, str]) -> str:
    """``TBLPROPERTIES (…)``, or nothing."""
    if not properties:
        return ""
    pairs = ", ".join(f"{text(key)} = {text(value)}" for key, value in properties.items())
    return f" TBLPROPERTIES ({pairs})"
