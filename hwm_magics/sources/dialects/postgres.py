"""PostgreSQL: a type for every type, by its own text where Delta Lake has none."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hwm_magics.arrow import MAX_PRECISION, arrow_type
from hwm_magics.arrow.decimals import INTEGER_DIGITS, lines_to_decimals, lines_to_texts, texts_to_decimals
from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue, Scalar
from hwm_magics.core.observed import Column, SourceIdentity
from hwm_magics.core.sql_names import quote
from hwm_magics.errors import QueryError
from hwm_magics.sources.dialects.base import Ask, Clock, Dialect, OpenTransactions, Pages, TableFacts
from hwm_magics.sources.rendering import Bound, bind_by_text
from hwm_magics.sources.wire import (
    Described,
    Pack,
    UnmappedError,
    Wire,
    as_is,
    check_names,
    check_times,
    parsed,
    unreadable,
)

__all__ = ["Postgres", "numeric_name", "with_natives"]

# pg_typeof's names and the catalog's, which drivers report.
_NAMES = {
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "bool": "boolean",
    "varchar": "character varying",
    "bpchar": "character",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
    "timetz": "time with time zone",
    "varbit": "bit varying",
}
_PLAIN = {
    "smallint": "short",
    "integer": "integer",
    "bigint": "long",
    "real": "float",
    "double precision": "double",
    "boolean": "boolean",
    "text": "string",
    "character varying": "string",
    "character": "string",
    "name": "string",
    "bytea": "binary",
    "date": "date",
    "timestamp without time zone": "timestamp_ntz",
    "timestamp with time zone": "timestamp",
}
_ELEMENTS = {
    name: kind
    for name, kind in _PLAIN.items()
    if kind not in ("binary", "date", "timestamp", "timestamp_ntz") and name not in ("name", "character")
}
_KNOWN = frozenset(
    {*_PLAIN, *_NAMES.values(), "numeric", "uuid", "json", "jsonb", "interval", "xml", "money", "oid"}
)
_TEXTS = frozenset({"text", "character varying", "character", "name", "citext", "public.citext"})
_CASTS = {
    CursorKind.DECIMAL: "CAST(? AS numeric)",
    CursorKind.TIMESTAMP: "CAST(? AS timestamp)",
    CursorKind.TIMESTAMP_TZ: "CAST(? AS timestamptz)",
}
_MONEY = "decimal(19,2)"
_MONEY_SQL = "numeric(19, 2)"
_JDBC_TIMES = {"date": "date", "timestamp_ntz": "timestamp", "timestamp": "timestamptz"}
_DIGITS = {"timestamp without time zone": 6, "timestamp with time zone": 6}


def numeric_name(typmod: int) -> str:
    """``numeric(12,2)``, of the number that the catalog keeps for it."""
    if typmod < 4:  # noqa: PLR2004 - the header that typmods carry
        return "numeric"
    precision, scale = ((typmod - 4) >> 16) & 0xFFFF, (((typmod - 4) & 0x7FF) ^ 1024) - 1024
    return f"numeric({precision},{scale})"


def with_natives(ask: Ask, sql: str, described: Sequence[Described]) -> tuple[Described, ...]:
    """Columns with the server's own names of their types, which most drivers don't give.

    Args:
        ask: Runs a query.
        sql: The query, its values written as literals.
        described: Its columns, with the decimals' precision.
    """
    names = [each.name for each in described]
    check_names(names)
    quoted = [quote(name, "postgres") for name in names]
    kinds = ", ".join(f"CAST(pg_typeof(hwm_types.{name}) AS text)" for name in quoted)
    # No row of the query is computed: nothing fits the join.
    (found,) = ask(f"SELECT {kinds} FROM (SELECT 1) AS one LEFT JOIN (\n{sql}\n) AS hwm_types ON 1 = 0")  # noqa: S608 - quoted
    natives = [
        _with_precision(str(native), each.native) for each, native in zip(described, found, strict=True)
    ]
    bases = _bases(ask, {native for native in natives if native.partition("(")[0] not in _KNOWN})
    return tuple(
        Described(each.name, bases.get(native, native), None, each.nullable)
        for each, native in zip(described, natives, strict=True)
    )


def _with_precision(native: str, told: str) -> str:
    """The server's name of a type, with the digits that the driver tells."""
    digits = re.search(r"\((\d+),(-?\d+)\)$", told) if native == "numeric" else None
    if digits is None:
        return native
    # Some drivers take the sign bit of the scale for a part of it.
    return f"numeric({digits[1]},{((int(digits[2]) & 0x7FF) ^ 1024) - 1024})"


def _bases(ask: Ask, natives: set[str]) -> dict[str, str]:
    """What domains are made of, by their names."""
    if not natives:
        return {}
    given = ", ".join(f"('{native.replace(chr(39), chr(39) * 2)}')" for native in sorted(natives))
    return {str(name): str(base) for name, base in ask(_DOMAINS.replace("{given}", given))}


@dataclass(frozen=True, slots=True)
class Postgres(Dialect):
    """PostgreSQL.

    Attributes:
        native_arrays: Whether the driver delivers arrays as Arrow lists; they travel as JSON else.
        exact_times: Whether the driver delivers instants as such, and refuses infinities. ODBC's
            makes times of the session's zone of the former, and dates in 9999 of the latter: they
            travel as text.
        packs_decimals: Whether several decimals may travel as one text, which is the faster the more
            a driver takes for each value.
    """

    native_arrays: bool = False
    exact_times: bool = True
    snapshot: str = "SELECT pg_export_snapshot()"
    packs_decimals: bool = False

    def literal(self, text: str) -> str:
        # E'' reads a backslash alike whatever standard_conforming_strings says.
        doubled = text.replace("'", "''")
        return f"E'{doubled.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{doubled}'"

    def bind(self, value: CursorValue | Scalar) -> Bound:
        return bind_by_text(value, _CASTS)

    def exact(self, expression: str, cursor_type: CursorType) -> str:
        kind = cursor_type.kind
        if kind not in (CursorKind.TIMESTAMP, CursorKind.TIMESTAMP_TZ):
            return f"CAST({expression} AS text)"
        zoned = kind is CursorKind.TIMESTAMP_TZ
        name, there = ("timestamptz", " AT TIME ZONE 'UTC'") if zoned else ("timestamp", "")
        # What lies outside of the calendar (infinity too) is told by its own text, to be refused.
        return (
            f"CASE WHEN {expression} BETWEEN {name} '0001-01-01 00:00:00{'+00' if zoned else ''}' AND {name} "
            f"'9999-12-31 23:59:59.999999{'+00' if zoned else ''}' THEN to_char({expression}{there}, "
            f"'YYYY-MM-DD HH24:MI:SS.US') ELSE CAST({expression} AS text) END"
        )

    def wire(self, described: Described) -> Wire:
        native, name = described.native, self.quote(described.name)
        base = (
            native.partition("(")[0].strip()
            if native.startswith(("numeric", "character", "timestamp"))
            else native
        )
        base = _NAMES.get(base, base)
        if base == "numeric":
            return self._numeric(described)
        if base in _PLAIN:
            column = Column(described.name, _PLAIN[base], described.nullable, _named(native, base))
            timed = column.type in ("date", "timestamp", "timestamp_ntz")
            if timed and not self.exact_times:
                there = " AT TIME ZONE 'UTC'" if column.type == "timestamp" else ""
                return Wire(column, _time_text, (pa.string(),), (f"CAST({name}{there} AS text)",))
            return Wire(column, _time if timed else as_is, (described.arrow or arrow_type(column.type),))
        if base == "oid":
            column = Column(described.name, "long", described.nullable, native)
            return Wire(column, as_is, (pa.int64(),), cast=f"CAST({name} AS bigint)")
        if base == "money":
            column = Column(described.name, _MONEY, described.nullable, native)
            return Wire(column, parsed, (pa.string(),), (f"CAST(CAST({name} AS numeric) AS text)",))
        element = _element(native)
        if element:
            return self._array(described, element)
        column = Column(described.name, "string", described.nullable, native)
        return Wire(column, as_is, (pa.string(),), cast=f"CAST({name} AS text)")

    def for_jdbc(self, column: Column) -> str:
        name = self.quote(column.name)
        if column.native == "money":
            return f"CAST({name} AS {_MONEY_SQL})"
        if column.type not in _JDBC_TIMES:
            return ""
        # The driver makes far-away dates of the infinities. A cast that can't be done names the column instead.
        kind = _JDBC_TIMES[column.type]
        zone = "+00" if column.type == "timestamp" else ""
        least, beyond = (f"CAST('{year}-01-01 00:00:00{zone}' AS {kind})" for year in ("0001", "10000"))
        wrong = self.literal(f" in column {column.name}: Delta Lake holds the years 1 to 9999")
        return (
            f"CASE WHEN {name} IS NULL OR ({name} >= {least} AND {name} < {beyond}) THEN {name} "
            f"ELSE CAST(CAST({name} AS text) || {wrong} AS {kind}) END"
        )

    def _numeric(self, described: Described) -> Wire:
        found = re.fullmatch(r"numeric\((\d+),\s*(-?\d+)\)", described.native)
        name = self.quote(described.name)
        if found is None:
            raise UnmappedError(
                f"it has no precision; write CAST({name} AS numeric(38,9)) AS {name}, with the digits that it needs"
            )
        scale = max(0, int(found[2]))
        # numeric(5,-2) holds seven digits, and numeric(3,5) three behind two zeros.
        precision = max(int(found[1]) + max(0, -int(found[2])), scale)
        if precision > MAX_PRECISION:
            raise UnmappedError(
                f"Delta Lake has {MAX_PRECISION} digits at most; write CAST({name} AS numeric(38,9)) AS {name}"
            )
        column = Column(described.name, f"decimal({precision},{scale})", described.nullable, described.native)
        pack = (
            _DecimalPack(_joined, _split, scale)
            if self.packs_decimals and precision <= INTEGER_DIGITS
            else None
        )
        # The driver would make the same text of it, more slowly, and not while the server works.
        return Wire(column, _decimal, (pa.string(),), (f"CAST({name} AS text)",), pack=pack)

    def _array(self, described: Described, element: str) -> Wire:
        name = self.quote(described.name)
        native = f"{element}[]"
        if element not in _ELEMENTS:
            column = Column(described.name, "string", described.nullable, native)
            return Wire(column, as_is, (pa.string(),), cast=f"CAST(to_jsonb({name}) AS text)")
        column = Column(described.name, f"array<{_ELEMENTS[element]}>", described.nullable, native)
        if self.native_arrays:
            kind = pa.list_(arrow_type(_ELEMENTS[element]))
            return Wire(column, _flat, (kind, pa.int32()), (name, f"array_ndims({name})"))
        return Wire(column, _from_json, (pa.string(),), (f"CAST(to_jsonb({name}) AS text)",))

    def as_text(self, name: str) -> str:
        return f"CAST({self.quote(name)} AS text) AS {self.quote(name)}"

    def is_text(self, native: str) -> bool:
        return native.partition("(")[0] in _TEXTS

    def clock(self, kind: CursorKind, timezone: str | None) -> Clock:
        zone = f" AT TIME ZONE {self.literal(timezone)}" if timezone else ""
        if kind is CursorKind.TIMESTAMP_TZ:
            zone = " AT TIME ZONE 'UTC'"
        return Clock(f"to_char(clock_timestamp(){zone}, 'YYYY-MM-DD HH24:MI:SS.US')", utc=False)

    def set_zone(self, timezone: str | None) -> str:
        return f"SET TIME ZONE {self.literal(timezone)}" if timezone else ""

    def length(self, expression: str) -> str:
        return f"length({expression})"

    def unlike(self, expression: str, pattern: str) -> str:
        shape = "".join("[0-9]" if char == "9" else re.escape(char) for char in pattern)
        return f"{expression} !~ {self.literal(f'^{shape}$')}"

    def identity(self, ask: Ask, place: str) -> SourceIdentity:
        ((database, server, port, allowed),) = ask(
            "SELECT current_database(), COALESCE(host(inet_server_addr()), 'local'), "
            "COALESCE(CAST(inet_server_port() AS text), ''), CASE WHEN "
            "to_regprocedure('pg_catalog.pg_control_system()') IS NULL THEN 'no' ELSE "
            "CAST(has_function_privilege('pg_catalog.pg_control_system()', 'execute') AND "
            "has_function_privilege('pg_catalog.pg_control_checkpoint()', 'execute') AS text) END"
        )
        text = f"PostgreSQL database {database} on {place or f'{server}:{port}'}"
        if allowed != "true":
            return SourceIdentity(strong=f"postgres/{server}:{port}/{database}", text=text)
        ((system, timeline),) = ask(
            "SELECT CAST(system_identifier AS text), CAST((SELECT timeline_id FROM pg_control_checkpoint()) AS text) "
            "FROM pg_control_system()"
        )
        return SourceIdentity(strong=f"postgres/{system}/{database}", epoch=f"timeline {timeline}", text=text)

    def open_transactions(self, ask: Ask, kind: CursorKind, timezone: str | None) -> OpenTransactions | None:
        if self.name != "postgres":
            return None
        ((standby, isolation, allowed),) = ask(
            "SELECT CAST(pg_is_in_recovery() AS text), current_setting('transaction_isolation'), "
            "CAST(pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS text)"
        )
        refusals = (
            (standby == "true", "a standby does not know of the transactions that are open on the primary"),
            (
                isolation != "read committed",
                f"this transaction is {isolation}, and sees the rows as they once were",
            ),
            (
                allowed != "true",
                "this role may not see the transactions of others (GRANT pg_read_all_stats, or pg_monitor)",
            ),
        )
        if refusal := next((why for holds, why in refusals if holds), ""):
            return OpenTransactions(refusal=refusal)
        zone = f" AT TIME ZONE {self.literal(timezone)}" if timezone else ""
        zone = " AT TIME ZONE 'UTC'" if kind is CursorKind.TIMESTAMP_TZ else zone
        ((now, hidden, since, who, prepared),) = ask(_OPEN.replace("{zone}", zone))
        if int(hidden):
            return OpenTransactions(refusal="a session of this database has track_activities off")
        return OpenTransactions(str(now), since or "", who or "", prepared or "")

    def open_ids(self, ask: Ask) -> int | None:
        if self.name != "postgres":
            return None
        ((lowest,),) = ask("SELECT CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text)")
        return int(lowest)

    def server(self, ask: Ask) -> str:
        # Behind one address there may be several servers, and one server begins at one moment only.
        ((server,),) = ask(
            "SELECT COALESCE(host(inet_server_addr()), 'local') || COALESCE(':' || CAST(inet_server_port() AS text), "
            "'') || ', started ' || CAST(pg_postmaster_start_time() AT TIME ZONE 'UTC' AS text)"
        )
        return str(server)

    def pages(self, ask: Ask, table: str) -> Pages:
        rows = ask(_PAGES.replace("{table}", self.literal(table)))
        if not rows:
            return Pages(refusal="its pages can't be asked for")
        version, kind, access, persistence, children, size, page = rows[0]
        refusals = (
            (int(version) < _TID_RANGES, "PostgreSQL reads ranges of pages from version 14 on"),
            (kind not in ("r", "m"), f"{_KINDS.get(kind, 'it')} has no pages of its own"),
            (kind in ("r", "m") and access != "heap", f"tables of the method {access} have no such pages"),
            (persistence == "t", "a temporary table is seen by its own session only"),
            (children == "true", "other tables inherit from it, and have pages of their own"),
        )
        refusal = next((why for holds, why in refusals if holds), "")
        return Pages(int(size or 0) // int(page), int(page), refusal)

    def facts(self, ask: Ask, table: str) -> TableFacts | None:
        rows = ask(_FACTS.replace("{table}", self.literal(table)))
        if not rows or rows[0][0] is None:
            return None
        told: dict[str, Any] = json.loads(rows[0][0])
        indexes = [index for index in told["indexes"] or [] if None not in index["columns"]]
        return TableFacts(
            frozenset(told["not_null"] or ()),
            frozenset(index["columns"][0] for index in indexes if index["ordered"]),
            tuple(frozenset(index["columns"]) for index in indexes if index["unique"]),
            told["rows"] if told["rows"] >= 0 else None,
            next((frozenset(index["columns"]) for index in indexes if index["primary"]), frozenset()),
        )

    def tables(self, ask: Ask) -> tuple[str, ...]:
        rows = ask(
            "SELECT CASE WHEN n.nspname = current_schema() THEN '' ELSE n.nspname || '.' END || c.relname "
            "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN "
            "('r', 'v', 'm', 'f', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') LIMIT 5000"
        )
        return tuple(str(name) for (name,) in rows)


@dataclass(frozen=True, slots=True)
class _DecimalPack(Pack):
    """The pack of decimals of one scale."""

    scale: int = 0


_DOMAINS = """
SELECT given.name, format_type(base.oid, base.typmod) FROM (VALUES {given}) AS given(name)
CROSS JOIN LATERAL (WITH RECURSIVE d(oid, typmod, typtype, typbasetype, typtypmod) AS (
  SELECT t.oid, -1, t.typtype, t.typbasetype, t.typtypmod FROM pg_catalog.pg_type t WHERE t.oid = to_regtype(given.name)
  UNION ALL SELECT t.oid, d.typtypmod, t.typtype, t.typbasetype, t.typtypmod FROM d
  JOIN pg_catalog.pg_type t ON t.oid = d.typbasetype WHERE d.typtype = 'd')
  SELECT oid, typmod FROM d WHERE typtype <> 'd') AS base"""
# A transaction counts before it has an id: it may have read its clock already (and take that for a row's). Sessions of
# our own read in READ ONLY transactions, and get none.
_OPEN = """
WITH seen AS (SELECT * FROM pg_catalog.pg_stat_activity a
  WHERE a.datid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
  AND a.pid <> pg_backend_pid() AND a.backend_type <> 'autovacuum worker'
  AND NOT (a.application_name = 'hwm_magics' AND a.backend_xid IS NULL)),
oldest AS (SELECT s.xact_start, 'pid ' || s.pid || COALESCE(', user ' || s.usename, '')
    || CASE WHEN s.application_name <> '' THEN ', ' || s.application_name ELSE '' END AS who
  FROM seen s WHERE s.xact_start IS NOT NULL ORDER BY s.xact_start LIMIT 1)
SELECT to_char(statement_timestamp(){zone}, 'YYYY-MM-DD HH24:MI:SS.US'),
  (SELECT CAST(COUNT(*) AS integer) FROM seen s WHERE s.state = 'disabled'),
  (SELECT to_char(o.xact_start{zone}, 'YYYY-MM-DD HH24:MI:SS.US') FROM oldest o), (SELECT o.who FROM oldest o),
  (SELECT to_char(MIN(p.prepared){zone}, 'YYYY-MM-DD HH24:MI:SS.US') FROM pg_catalog.pg_prepared_xacts p
    WHERE p.database = current_database())"""
_TID_RANGES = 140_000
_KINDS = {"v": "a view", "p": "a partitioned table", "f": "a foreign table"}
_PAGES = """
SELECT CAST(current_setting('server_version_num') AS integer), CAST(c.relkind AS text), CAST(m.amname AS text),
  CAST(c.relpersistence AS text), CAST(c.relhassubclass AS text), CASE WHEN c.relkind IN ('r', 'm') THEN
  pg_relation_size(c.oid) END, CAST(current_setting('block_size') AS integer)
FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam
WHERE c.oid = CAST(to_regclass({table}) AS oid)"""
_FACTS = """
SELECT CAST(json_build_object(
  'rows', CAST(c.reltuples AS bigint),
  'not_null', (SELECT json_agg(a.attname) FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.attnotnull AND NOT a.attisdropped),
  'indexes', (SELECT json_agg(json_build_object(
      'ordered', m.amname = 'btree',
      'primary', i.indisprimary,
      'unique', i.indisunique AND i.indimmediate AND NOT (c.relkind = 'r' AND c.relhassubclass),
      'columns', (SELECT json_agg(a.attname ORDER BY k.at) FROM unnest(i.indkey) WITH ORDINALITY AS k(attnum, at)
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum AND k.attnum > 0
        WHERE k.at <= i.indnkeyatts)))
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    JOIN pg_catalog.pg_am m ON m.oid = x.relam
    WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL)) AS text)
FROM pg_catalog.pg_class c WHERE c.oid = CAST(to_regclass({table}) AS oid)"""


def _named(native: str, base: str) -> str:
    """The type's name with its precision, in SQL's words."""
    _, bracket, rest = native.partition("(")
    return f"{base}({rest}" if bracket and " time zone" not in native else base


def _element(native: str) -> str:
    if native.endswith("[]"):
        return _NAMES.get(native[:-2], native[:-2])
    return _NAMES.get(native[1:], native[1:]) if native.startswith("_") else ""


def _decimal(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
    dtype = arrow_type(column.type)
    try:
        return texts_to_decimals(arrays[0], dtype)
    except pa.ArrowInvalid as error:
        raise unreadable(arrays[0], dtype, column) from error


def _joined(names: Sequence[str]) -> str:
    """One text a row: ``1.50,,-0.25`` and a line break. concat takes NULL for nothing."""
    between = ", ',', ".join(names)
    return f"pg_catalog.concat({between}, E'\\n')"


def _split(arrays: pa.Array, columns: Sequence[Column]) -> list[pa.Array]:
    try:
        return lines_to_decimals(arrays, [arrow_type(column.type) for column in columns])
    except pa.ArrowInvalid:
        texts = lines_to_texts(arrays, len(columns))
        return [_decimal([each], column) for each, column in zip(texts, columns, strict=True)]


def _time(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
    return as_is([check_times(arrays[0], column)], column)


def _time_text(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
    if column.type != "timestamp":
        return parsed(arrays, column)
    naive = Column(column.name, "timestamp_ntz", column.nullable, column.native)
    return parsed(arrays, naive).cast(arrow_type(column.type))


def _flat(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
    """A list, unless it has more dimensions: the driver would write them all in one row."""
    import pyarrow.compute as pc

    dimensions = pc.max(arrays[1]).as_py()
    if dimensions is not None and dimensions > 1:
        raise _nested(column)
    return as_is(arrays, column)


def _from_json(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
    dtype = arrow_type(column.type)
    lists = [None if text is None else json.loads(text) for text in arrays[0].to_pylist()]
    if any(isinstance(value, list) for row in lists if row for value in row):
        raise _nested(column)
    if pa.types.is_floating(dtype.value_type):
        # JSON has no NaN and no infinity: they come as text.
        lists = [
            None if row is None else [None if value is None else float(value) for value in row]
            for row in lists
        ]
    return pa.array(lists, dtype)


def _nested(column: Column) -> QueryError:
    return QueryError(
        f"column {column.name!r} ({column.native}) holds arrays of more than one dimension",
        hint=f"write CAST(to_jsonb({column.name}) AS text) AS {column.name} in the query",
    )
