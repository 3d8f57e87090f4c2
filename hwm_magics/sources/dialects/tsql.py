"""SQL Server: values bound and read with all the digits of their own types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hwm_magics.arrow import arrow_type
from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue, Scalar
from hwm_magics.core.observed import Column, SourceIdentity
from hwm_magics.core.sql_names import table_parts
from hwm_magics.core.statement import Statement
from hwm_magics.errors import QueryError
from hwm_magics.sources.dialects import change_tracking
from hwm_magics.sources.dialects.base import Ask, Clock, Dialect, TableFacts
from hwm_magics.sources.rendering import Bound, bind_by_text
from hwm_magics.sources.wire import Described, UnmappedError, Wire, as_is, parsed

__all__ = ["TSql", "described", "with_natives"]

_CASTS = {
    CursorKind.TIMESTAMP: "CAST(? AS datetime2(7))",
    CursorKind.TIMESTAMP_TZ: "CAST(? AS datetimeoffset(7))",
    CursorKind.ROWVERSION: "CAST(CAST(? AS bigint) AS binary(8))",
}
_TYPES = {
    "bigint": "long",
    "int": "integer",
    "smallint": "short",
    "tinyint": "short",
    "bit": "boolean",
    "float": "double",
    "real": "float",
    "money": "decimal(19,4)",
    "smallmoney": "decimal(10,4)",
    "date": "date",
    "datetime": "timestamp_ntz",
    "smalldatetime": "timestamp_ntz",
    "datetime2": "timestamp_ntz",
    "datetimeoffset": "timestamp",
    "rowversion": "binary",
    "timestamp": "binary",
    "binary": "binary",
    "varbinary": "binary",
    "image": "binary",
    "char": "string",
    "varchar": "string",
    "nchar": "string",
    "nvarchar": "string",
    "text": "string",
    "ntext": "string",
    "sysname": "string",
}
_EXPRESS = 4
"""The last of the engine editions that are installed, and not rented."""
_TEXTS = frozenset({"char", "varchar", "nchar", "nvarchar", "text", "ntext", "sysname"})


def _base(native: str) -> tuple[str, int | None]:
    found = re.match(r"(\w+)(?:\(\s*(\d+)\s*\))?", native.lower())
    return (found[1], int(found[2]) if found[2] else None) if found else ("", None)


def _kept(native: str) -> int | None:
    """Digits of a second that a type keeps; None for other types."""
    base, digits = _base(native)
    if base in ("datetime2", "datetimeoffset"):
        return 7 if digits is None else digits
    return {"datetime": 3, "smalldatetime": 0}.get(base)


def described(ask: Ask, sql: str) -> tuple[Described, ...] | None:
    """The columns of a query as the server describes them, without running it.

    No driver tells a datetime from a datetime2(3), and to a driver describing a statement is running it.

    Args:
        ask: Runs a query.
        sql: The query, its values written as literals.

    Returns:
        The columns; None where the server can't tell, or where the query is wrong: running it says why.
    """
    text = sql.replace("'", "''")
    try:
        rows = ask(
            "SELECT name, COALESCE(system_type_name, user_type_name), CAST(is_nullable AS int), error_number FROM "  # noqa: S608 - escaped
            f"sys.dm_exec_describe_first_result_set(N'{text}', NULL, 0) ORDER BY column_ordinal"
        )
    except QueryError:
        return None  # Azure Synapse has no such function
    if not rows or any(native is None or error is not None for _, native, _, error in rows):
        return None
    return tuple(
        Described(str(name or ""), str(native), None, bool(nullable)) for name, native, nullable, _ in rows
    )


def with_natives(ask: Ask, sql: str, found: Sequence[Described]) -> tuple[Described, ...]:
    """Columns that a driver has described, with the types that the catalog has for a plain table's.

    Args:
        ask: Runs a query.
        sql: The query, its values written as literals.
        found: Its columns, as the driver describes them.
    """
    rows = _of_table(ask, sql, [each.name for each in found])
    if len(rows) != len(found):
        return tuple(found)
    return tuple(
        Described(each.name, str(native), each.arrow, bool(nullable))
        for each, (native, nullable) in zip(found, rows, strict=True)
    )


def _of_table(ask: Ask, sql: str, names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Types and nullability of a plain table's columns; nothing for other queries."""
    found = re.match(r"SELECT [^()]* FROM ((?:\[(?:[^\]]|\]\])*\]\.?)+)(?: WHERE |\s*$)", sql)
    if found is None:
        return []
    *schema, table = table_parts(found[1], "tsql")
    text = table.replace("'", "''")
    where = f"TABLE_NAME = N'{text}'"
    if schema:
        text = schema[-1].replace("'", "''")
        where += f" AND TABLE_SCHEMA = N'{text}'"
    try:
        rows = ask(
            "SELECT COLUMN_NAME, DATA_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, "  # noqa: S608 - escaped
            f"CASE IS_NULLABLE WHEN 'NO' THEN 0 ELSE 1 END FROM INFORMATION_SCHEMA.COLUMNS WHERE {where}"
        )
    except QueryError:
        return []
    kinds = {str(name): (_sized(str(kind), *digits), nullable) for name, kind, *digits, nullable in rows}
    return [kinds[name] for name in names if name in kinds]


def _sized(kind: str, precision: Any, scale: Any, fraction: Any) -> str:
    if kind in ("decimal", "numeric"):
        return f"{kind}({precision},{scale})"
    return f"{kind}({fraction})" if kind in ("datetime2", "datetimeoffset", "time") else kind


@dataclass(frozen=True, slots=True)
class TSql(Dialect):
    """SQL Server and Azure SQL."""

    def bind(self, value: CursorValue | Scalar) -> Bound:
        if isinstance(value, bool):
            return Bound("CAST(? AS bit)", str(int(value)))
        if not isinstance(value, CursorValue):
            return bind_by_text(value, _CASTS)
        kind, native = value.type.kind, value.type.native.lower()
        if kind is CursorKind.ROWVERSION:
            number = int(value.text, 16)
            # As a bigint the upper half of the counter's values is negative, with the same bytes.
            return Bound(_CASTS[kind], str(number - 2**64 if number >= 2**63 else number))
        if kind is CursorKind.TEXT and _base(native)[0] in ("char", "varchar"):
            # As nvarchar it would have the column converted, and no index on it be used.
            return Bound("CAST(? AS varchar(8000))", value.text)
        digits = _kept(native) if kind in (CursorKind.TIMESTAMP, CursorKind.TIMESTAMP_TZ) else None
        if digits is None:
            return bind_by_text(value, _CASTS)
        text = value.floored(digits).text
        if _base(native)[0] == "datetime":
            text = _on_grid(text)
        # The column's own type: a datetime compared with a datetime2 has digits that nobody wrote.
        return Bound(f"CAST(? AS {native})", f"{text} +00:00" if kind is CursorKind.TIMESTAMP_TZ else text)

    def exact(self, expression: str, cursor_type: CursorType) -> str:
        kind = cursor_type.kind
        if kind is CursorKind.ROWVERSION:
            return f"CONVERT(varchar(18), CAST({expression} AS binary(8)), 1)"
        if kind is CursorKind.TIMESTAMP_TZ:
            return f"CONVERT(varchar(34), SWITCHOFFSET({expression}, '+00:00'), 121)"
        if kind in (CursorKind.TIMESTAMP, CursorKind.DATE):
            return f"CONVERT(varchar(27), {expression}, 121)"
        return f"CAST({expression} AS varchar(100))"

    def literal(self, text: str) -> str:
        # Without the N a text is one of the database's code page.
        return ("" if text.isascii() else "N") + Dialect.literal(self, text)

    def wire(self, described: Described) -> Wire:
        native, name = described.native, self.quote(described.name)
        if not native:
            return Dialect.wire(self, described)
        base, _ = _base(native)
        if base in ("decimal", "numeric"):
            found = re.search(r"\((\d+)\s*,\s*(\d+)\)", native)
            kind = f"decimal({found[1]},{found[2]})" if found else "decimal(18,0)"
            return self._wire(described, kind)
        if base == "datetimeoffset":
            # Drivers disagree on how to deliver it; all deliver text.
            column = Column(described.name, "timestamp", described.nullable, native)
            return Wire(column, _instant, (pa.string(),), cast=f"CONVERT(varchar(34), {name}, 121)")
        if base == "datetime2":
            # Asked for as microseconds, which drivers cut to: nanoseconds would not reach the year 9999. Cut and
            # not rounded, as a watermark above its row would lose the next ones.
            column = Column(described.name, "timestamp_ntz", described.nullable, native)
            return Wire(column, as_is, (pa.timestamp("us"),))
        if base == "uniqueidentifier":
            return self._wire(described, "string", f"LOWER(CONVERT(varchar(36), {name}))")
        if base == "time":
            return self._wire(described, "string", f"CONVERT(varchar(16), {name}, 121)")
        if base == "xml":
            return self._wire(described, "string", f"CAST({name} AS nvarchar(max))")
        if base not in _TYPES:
            raise UnmappedError(
                f"write {self.as_text(described.name)}, or .ToString() or .STAsText() for CLR types"
            )
        return self._wire(described, _TYPES[base])

    def _wire(self, described: Described, kind: str, cast: str = "") -> Wire:
        column = Column(described.name, kind, described.nullable, described.native)
        arrives = pa.string() if cast else described.arrow or arrow_type(kind)
        return Wire(column, as_is, (arrives,), cast=cast)

    def for_jdbc(self, column: Column) -> str:
        # The driver counts days before 1582 by the calendar of that time. As text they stay what they are.
        return (
            f"CONVERT(varchar(27), {self.quote(column.name)}, 121)"
            if _base(column.native)[0] == "datetime2"
            else ""
        )

    def below_from(self, sql: str) -> tuple[str, str] | None:
        import sqlglot
        from sqlglot.tokenizer_core import TokenType

        depth, body = 0, 0
        tokens = sqlglot.tokenize(sql, read="tsql")
        for token in tokens:
            depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
            if depth:
                continue
            # Both belong to a whole statement; an ORDER BY may stand below a FROM only beside TOP or OFFSET.
            if token.token_type in (TokenType.OPTION, TokenType.ORDER_BY):
                return None
            if token.token_type is TokenType.SELECT and not body and tokens[0].token_type is TokenType.WITH:
                body = token.start
        return sql[:body], sql[body:]

    def as_text(self, name: str) -> str:
        return f"CAST({self.quote(name)} AS nvarchar(4000)) AS {self.quote(name)}"

    def is_text(self, native: str) -> bool:
        return not native or _base(native)[0] in _TEXTS

    def digits(self, column: Column) -> int | None:
        return _kept(column.native)

    def clock(self, kind: CursorKind, timezone: str | None) -> Clock:
        if kind is CursorKind.TIMESTAMP_TZ or timezone:
            return Clock("CONVERT(varchar(27), SYSUTCDATETIME(), 121)", utc=True)
        return Clock("CONVERT(varchar(27), SYSDATETIME(), 121)", utc=False)

    def length(self, expression: str) -> str:
        return f"LEN({expression})"

    def unlike(self, expression: str, pattern: str) -> str:
        return f"{expression} NOT LIKE '{pattern.replace('9', '[0-9]')}'"

    def formed(self, statement: Statement) -> Statement:
        return change_tracking.with_versions(statement)

    def check(self, ask: Ask, statement: Statement) -> None:
        change_tracking.check(ask, statement)

    def identity(self, ask: Ask, place: str) -> SourceIdentity:
        named = "SELECT CAST(@@SERVERNAME AS nvarchar(256)), CAST(DB_NAME() AS nvarchar(256))"
        group = (
            "(SELECT CAST(d.group_database_id AS nvarchar(36)) FROM sys.databases d WHERE d.name = DB_NAME())"
        )
        try:
            ((server, database, edition, shared),) = ask(
                f"{named}, CAST(SERVERPROPERTY('EngineEdition') AS int), {group}"
            )
        except QueryError:
            # Azure Synapse knows of no availability groups.
            ((server, database),) = ask(named)
            edition, shared = 0, None
        # All replicas of a group hold one database, whichever of them a listener leads to. In Azure the server's
        # name stays, and what lies beneath may move.
        known = shared is not None and int(edition or 0) <= _EXPRESS
        return SourceIdentity(
            f"sql_server/group/{str(shared).lower()}" if known else f"sql_server/{server}/{database}",
            text=f"SQL Server database {database} on {place or server}",
        )

    def server(self, ask: Ask) -> str:
        # A listener leads connections that only read to any of its replicas, which lag behind each in its own way.
        ((server,),) = ask("SELECT CAST(@@SERVERNAME AS nvarchar(256))")
        return str(server or "")

    def fence(self, ask: Ask, kind: CursorType) -> tuple[str | None, bool]:
        if kind.kind is not CursorKind.ROWVERSION:
            return None, True
        ((active, updateable),) = ask(
            "SELECT CONVERT(varchar(18), MIN_ACTIVE_ROWVERSION(), 1), "
            "CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(60))"
        )
        return str(active), updateable != "READ_ONLY"

    def facts(self, ask: Ask, table: str) -> TableFacts | None:
        try:
            return self._facts(ask, f"OBJECT_ID(N{self.literal(table)})")
        except QueryError:
            return None

    def _facts(self, ask: Ask, table: str) -> TableFacts:
        not_null = ask(f"SELECT c.name FROM sys.columns c WHERE c.object_id = {table} AND c.is_nullable = 0")  # noqa: S608 - quoted
        rows = ask(
            "SELECT i.index_id, CAST(i.is_unique AS int), c.name, CAST(i.is_primary_key AS int) "  # noqa: S608 - quoted
            "FROM sys.indexes i JOIN sys.index_columns k ON k.object_id = i.object_id AND k.index_id = i.index_id "
            "JOIN sys.columns c ON c.object_id = k.object_id AND c.column_id = k.column_id "
            f"WHERE i.object_id = {table} AND i.has_filter = 0 AND i.is_disabled = 0 AND i.type IN (1, 2) "
            "AND k.is_included_column = 0 ORDER BY i.index_id, k.key_ordinal"
        )
        indexes: dict[int, list[str]] = {}
        for index, _, name, _ in rows:
            indexes.setdefault(int(index), []).append(str(name))
        unique = {int(index) for index, is_unique, _, _ in rows if int(is_unique)}
        return TableFacts(
            frozenset(str(name) for (name,) in not_null),
            frozenset(names[0] for names in indexes.values()),
            tuple(frozenset(names) for index, names in indexes.items() if index in unique),
            primary=frozenset(str(name) for _, _, name, is_primary in rows if int(is_primary)),
        )

    def tables(self, ask: Ask) -> tuple[str, ...]:
        rows = ask("SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.TABLES")
        return tuple(f"{schema}.{name}" for schema, name in rows)


def _on_grid(text: str) -> str:
    """Cut down to datetime's own steps, which end in 0, 3 and 7."""
    whole, _, fraction = text.partition(".")
    digits = fraction.ljust(3, "0")
    last = "0" if digits[2] < "3" else "3" if digits[2] < "7" else "7"
    return f"{whole}.{digits[:2]}{last}"


def _instant(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
    """``2024-06-01 12:00:00.1234567 +02:00``, cut to microseconds."""
    import pyarrow.compute as pc

    shorter = pc.replace_substring_regex(arrays[0], pattern=r"(\.\d{6})\d*", replacement=r"\1")
    return parsed(
        [pc.replace_substring_regex(shorter, pattern=r" ([+-]\d\d:\d\d)$", replacement=r"\1")], column
    )
