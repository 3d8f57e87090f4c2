"""Oracle, DuckDB and Spark, as far as they differ from plain SQL."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from hwm_magics.arrow import arrow_type
from hwm_magics.connections.words import near_miss
from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue, Scalar
from hwm_magics.core.observed import Column, SourceIdentity
from hwm_magics.core.sql_names import table_parts
from hwm_magics.errors import SourceError
from hwm_magics.sources.dialects.base import Ask, Clock, Dialect, TableFacts
from hwm_magics.sources.rendering import Bound, bind_by_text
from hwm_magics.sources.wire import Described, UnmappedError, Wire, as_is

_ORACLES_DIGITS = 9
_ORACLES_ADVICE = {
    "ORA-01031": "grant the user SELECT on it",
    "ORA-01555": "the server's undo was too small for the read: raise its undo_retention, or read less at a time",
    "ORA-01013": "the server cancelled it: raise its limits, or read less at a time",
}

__all__ = ["DuckDb", "Oracle", "Spark"]


@dataclass(frozen=True, slots=True)
class Oracle(Dialect):
    """Oracle."""

    alias: str = "hwm_wire"
    alive: str = "SELECT 1 FROM dual"

    def bind(self, value: CursorValue | Scalar) -> Bound:
        if isinstance(value, bool):
            return Bound("TO_NUMBER(?)", str(int(value)))
        if isinstance(value, CursorValue) and value.type.kind in (
            CursorKind.TIMESTAMP,
            CursorKind.TIMESTAMP_TZ,
        ):
            zoned = value.type.kind is CursorKind.TIMESTAMP_TZ
            text = value.floored(9).text
            whole, _, fraction = text.partition(".")
            text = f"{whole}.{fraction.ljust(9, '0')}"
            if zoned:
                return Bound("TO_TIMESTAMP_TZ(?, 'YYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM')", f"{text} +00:00")
            return Bound("TO_TIMESTAMP(?, 'YYYY-MM-DD HH24:MI:SS.FF9')", text)
        if isinstance(value, CursorValue) and value.type.kind is CursorKind.DATE:
            return Bound("TO_DATE(?, 'YYYY-MM-DD')", value.text)
        return bind_by_text(
            value, {CursorKind.INTEGER: "CAST(? AS NUMBER(38))", CursorKind.DECIMAL: "CAST(? AS NUMBER)"}
        )

    def exact(self, expression: str, cursor_type: CursorType) -> str:
        if cursor_type.kind is CursorKind.TIMESTAMP_TZ:
            return f"TO_CHAR(SYS_EXTRACT_UTC({expression}), 'YYYY-MM-DD HH24:MI:SS.FF9')"
        if cursor_type.kind in (CursorKind.TIMESTAMP, CursorKind.DATE):
            # A DATE of Oracle has a time, and TO_CHAR of one has no fraction: cast both alike.
            return f"TO_CHAR(CAST({expression} AS TIMESTAMP(9)), 'YYYY-MM-DD HH24:MI:SS.FF9')"
        return f"TO_CHAR({expression})"

    def clock(self, kind: CursorKind, timezone: str | None) -> Clock:
        utc = bool(timezone) or kind is CursorKind.TIMESTAMP_TZ
        now = "SYS_EXTRACT_UTC(SYSTIMESTAMP)" if utc else "CAST(SYSTIMESTAMP AS TIMESTAMP(9))"
        return Clock(f"TO_CHAR({now}, 'YYYY-MM-DD HH24:MI:SS.FF9')", utc=utc)

    def identity(self, ask: Ask, place: str) -> SourceIdentity:
        ((database, service),) = ask(
            "SELECT SYS_CONTEXT('USERENV', 'DB_UNIQUE_NAME'), SYS_CONTEXT('USERENV', 'SERVICE_NAME') FROM dual"
        )
        return SourceIdentity(f"oracle/{database}/{service}", text=f"Oracle database {service} on {place}")

    def server(self, ask: Ask) -> str:
        # The instances of one database see the same rows; a standby has a name of its own.
        ((database,),) = ask("SELECT SYS_CONTEXT('USERENV', 'DB_UNIQUE_NAME') FROM dual")
        return str(database or "")

    def wire(self, described: Described) -> Wire:
        name = self.quote(described.name)
        if described.native in ("TIMESTAMP_TZ", "TIMESTAMP_LTZ"):
            # The driver would leave the zone out.
            column = Column(described.name, "timestamp", described.nullable, described.native)
            return Wire(column, as_is, (arrow_type("timestamp"),), (f"SYS_EXTRACT_UTC({name})",))
        if described.native == "NUMBER":
            raise UnmappedError(
                f"it has no precision; write CAST({name} AS NUMBER(38,9)) AS {name}, with the digits that it needs"
            )
        if described.native in ("CLOB", "NCLOB"):
            raise UnmappedError(
                f"it is read piece by piece; write DBMS_LOB.SUBSTR({name}, 4000, 1) AS {name}"
            )
        return Dialect.wire(self, described)

    def digits(self, column: Column) -> int | None:
        # The driver cuts a TIMESTAMP(9) to microseconds; its bounds must not be.
        return 0 if column.native == "DATE" else _ORACLES_DIGITS if "TIMESTAMP" in column.native else None

    def as_text(self, name: str) -> str:
        return f"CAST({self.quote(name)} AS VARCHAR2(4000)) AS {self.quote(name)}"

    def facts(self, ask: Ask, table: str) -> TableFacts | None:
        *above, last = table_parts(table, self.name)
        owner = self.literal(above[-1]) if above else "SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA')"
        where = f"OWNER = {owner} AND TABLE_NAME = {self.literal(last)}"
        of_table = f"i.TABLE_OWNER = {owner} AND i.TABLE_NAME = {self.literal(last)}"
        try:
            tables = ask(f"SELECT NUM_ROWS FROM ALL_TABLES WHERE {where}")  # noqa: S608 - literals
            if not tables:
                return None
            columns = ask(f"SELECT COLUMN_NAME, NULLABLE FROM ALL_TAB_COLUMNS WHERE {where}")  # noqa: S608 - literals
            parts = ask(
                "SELECT i.INDEX_NAME, i.UNIQUENESS, i.INDEX_TYPE, c.COLUMN_NAME FROM ALL_INDEXES i "  # noqa: S608 - literals
                "JOIN ALL_IND_COLUMNS c ON c.INDEX_OWNER = i.OWNER AND c.INDEX_NAME = i.INDEX_NAME "
                f"WHERE {of_table} AND i.STATUS IN ('VALID', 'N/A') ORDER BY i.INDEX_NAME, c.COLUMN_POSITION"
            )
        except SourceError:
            return None
        indexes: dict[tuple[str, str, str], list[str]] = {}
        for index, unique, kind, column in parts:
            indexes.setdefault((str(index), str(unique), str(kind)), []).append(str(column))
        whole = {key: names for key, names in indexes.items() if key[2] == "NORMAL"}
        ((rows,),) = tables
        return TableFacts(
            frozenset(str(column) for column, nullable in columns if str(nullable) == "N"),
            frozenset(names[0] for names in whole.values()),
            tuple(frozenset(names) for key, names in whole.items() if key[1] == "UNIQUE"),
            None if rows is None else int(rows),
        )

    def tables(self, ask: Ask) -> tuple[str, ...]:
        rows = ask("SELECT TABLE_NAME FROM USER_TABLES UNION ALL SELECT VIEW_NAME FROM USER_VIEWS")
        return tuple(str(name) for (name,) in rows)

    def advice(self, error: BaseException, ask: Ask) -> str:
        told = str(error)
        if "ORA-00942" in told:
            return "check the table's name and schema, and that the user may read it"
        unknown = re.search(r'ORA-00904: (?:"[^"]+"\.)*"([^"]+)"', told)
        if unknown is not None:
            with suppress(SourceError):
                names = ask("SELECT DISTINCT COLUMN_NAME FROM USER_TAB_COLUMNS")
                near = near_miss(unknown[1], [str(name) for (name,) in names])
                return f"did you mean {near}?" if near else "check the column's name"
        return next((advice for code, advice in _ORACLES_ADVICE.items() if code in told), "")


@dataclass(frozen=True, slots=True)
class DuckDb(Dialect):
    """DuckDB."""

    def facts(self, ask: Ask, table: str) -> TableFacts | None:
        parts = table_parts(table, self.name)
        names = ("table_name", "schema_name", "database_name")
        said = dict(zip(names, reversed(parts), strict=False))
        said = {name: self.literal(part) for name, part in said.items()}
        usual = {"schema_name": "current_schema()", "database_name": "current_database()"}
        where = " AND ".join(f"{name} = {text}" for name, text in (usual | said).items())
        tables = ask(f"SELECT estimated_size FROM duckdb_tables() WHERE {where}")  # noqa: S608 - literals
        if not tables:
            return None
        columns = ask(f"SELECT column_name FROM duckdb_columns() WHERE NOT is_nullable AND {where}")  # noqa: S608 - literals
        unique = ask(
            "SELECT constraint_type, constraint_column_names FROM duckdb_constraints() "  # noqa: S608 - literals
            f"WHERE constraint_type IN ('PRIMARY KEY', 'UNIQUE') AND {where}"
        )
        # No column counts as indexed: a MAX reads its column, which is quick there.
        return TableFacts(
            frozenset(str(name) for (name,) in columns),
            frozenset(),
            tuple(frozenset(map(str, found)) for _, found in unique),
            int(tables[0][0]),
            primary=frozenset(str(name) for kind, found in unique if kind == "PRIMARY KEY" for name in found),
        )

    def exact(self, expression: str, cursor_type: CursorType) -> str:
        there = " AT TIME ZONE 'UTC'" if cursor_type.kind is CursorKind.TIMESTAMP_TZ else ""
        return f"CAST(({expression}){there} AS VARCHAR)"

    def clock(self, kind: CursorKind, timezone: str | None) -> Clock:
        utc = bool(timezone) or kind is CursorKind.TIMESTAMP_TZ
        if utc:
            return Clock("CAST(get_current_timestamp() AT TIME ZONE 'UTC' AS VARCHAR)", utc=True)
        return Clock("CAST(CAST(get_current_timestamp() AS TIMESTAMP) AS VARCHAR)", utc=False)

    def identity(self, ask: Ask, place: str) -> SourceIdentity:
        del ask
        return SourceIdentity(text=f"DuckDB database {place}")

    def server(self, ask: Ask) -> str:
        # No server: whoever opens the file has the same one.
        return ", ".join(
            str(row[0]) for row in ask("SELECT path FROM duckdb_databases() WHERE path IS NOT NULL")
        )

    def tables(self, ask: Ask) -> tuple[str, ...]:
        rows = ask(
            "SELECT CASE WHEN table_schema = current_schema() THEN '' ELSE table_schema || '.' END || table_name "
            "FROM information_schema.tables WHERE table_catalog = current_database()"
        )
        return tuple(str(name) for (name,) in rows)


@dataclass(frozen=True, slots=True)
class Spark(Dialect):
    """Spark SQL."""

    def literal(self, text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"

    def bind(self, value: CursorValue | Scalar) -> Bound:
        return bind_by_text(
            value,
            {
                CursorKind.TIMESTAMP: "CAST(? AS TIMESTAMP_NTZ)",
                CursorKind.TIMESTAMP_TZ: "CAST(? AS TIMESTAMP)",
            },
        )

    def exact(self, expression: str, cursor_type: CursorType) -> str:
        if cursor_type.kind is CursorKind.TIMESTAMP_TZ:
            expression = f"to_utc_timestamp({expression}, current_timezone())"
        return f"CAST({expression} AS STRING)"

    def clock(self, kind: CursorKind, timezone: str | None) -> Clock:
        utc = bool(timezone) or kind is CursorKind.TIMESTAMP_TZ
        now = "to_utc_timestamp(current_timestamp(), current_timezone())" if utc else "current_timestamp()"
        return Clock(f"CAST({now} AS STRING)", utc=utc)

    def as_text(self, name: str) -> str:
        return f"CAST({self.quote(name)} AS STRING) AS {self.quote(name)}"

    def identity(self, ask: Ask, place: str) -> SourceIdentity:
        ((catalog, schema),) = ask("SELECT current_catalog(), current_schema()")
        return SourceIdentity(text=f"Spark catalog {catalog}, schema {schema}, of {place}")
