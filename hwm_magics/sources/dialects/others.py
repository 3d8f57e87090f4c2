"""Oracle, DuckDB and Spark, as far as they differ from plain SQL."""

from __future__ import annotations

from dataclasses import dataclass

from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue, Scalar
from hwm_magics.core.observed import SourceIdentity
from hwm_magics.sources.dialects.base import Ask, Clock, Dialect
from hwm_magics.sources.rendering import Bound, bind_by_text

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

    def tables(self, ask: Ask) -> tuple[str, ...]:
        rows = ask("SELECT TABLE_NAME FROM USER_TABLES UNION ALL SELECT VIEW_NAME FROM USER_VIEWS")
        return tuple(str(name) for (name,) in rows)


@dataclass(frozen=True, slots=True)
class DuckDb(Dialect):
    """DuckDB."""

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
