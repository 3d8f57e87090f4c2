"""MySQL and MariaDB: their types, clock, identity, catalog, and what their error numbers advise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from hwm_magics.arrow import MAX_PRECISION, arrow_type
from hwm_magics.connections.words import near_miss
from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue, Scalar
from hwm_magics.core.observed import Column, SourceIdentity
from hwm_magics.core.sql_names import table_parts
from hwm_magics.errors import CursorColumnError, QueryError, SourceError
from hwm_magics.sources.dialects.base import Ask, Clock, Dialect, TableFacts
from hwm_magics.sources.rendering import Bound, bind_by_text
from hwm_magics.sources.wire import Described, UnmappedError, Wire, as_is, unreadable

__all__ = ["NO_ZONE_TOLD", "MySql", "check_zone", "error_number", "from_text"]

NO_ZONE_TOLD = "datetime or timestamp"
"""What ODBC's drivers tell of a time."""

_PLAIN = {
    "tinyint": "short",
    "tinyint unsigned": "short",
    "smallint": "short",
    "smallint unsigned": "integer",
    "mediumint": "integer",
    "mediumint unsigned": "integer",
    "int": "integer",
    "int unsigned": "long",
    "bigint": "long",
    "bigint unsigned": "decimal(20,0)",
    "year": "integer",
    "float": "float",
    "double": "double",
    "date": "date",
    "datetime": "timestamp_ntz",
    "timestamp": "timestamp",
    "time": "string",
    "char": "string",
    "varchar": "string",
    "text": "string",
    "enum": "string",
    "set": "string",
    "json": "string",
    "binary": "binary",
    "varbinary": "binary",
    "blob": "binary",
    "boolean": "boolean",
}
_TEXTS = frozenset({"char", "varchar", "text", "enum"})
_UTC = frozenset({"+00:00", "-00:00", "UTC", "Etc/UTC", "GMT"})
_MAX_BIT = 64

_UNKNOWN_COLUMN, _UNKNOWN_TABLE = 1054, 1146
_ADVICE = {
    1044: "grant the user rights on the database",
    1064: "check the SQL where the message points",
    1142: "grant the user SELECT on it",
    1143: "grant the user SELECT on the column",
    1205: "another transaction held a lock for too long: run the load again",
    1213: "the server cancelled it in favour of another transaction: run the load again",
    1317: "somebody has killed the query: run the load again",
    1792: "loads only read: leave out what writes",
    1969: "the server cancelled it: raise its max_statement_time, or read less at a time",
    3024: "the server cancelled it: raise its max_execution_time, or read less at a time",
}


@dataclass(frozen=True, slots=True)
class MySql(Dialect):
    """MySQL and MariaDB.

    Attributes:
        odbc: Whether ODBC is what rows are read by. MariaDB's driver was seen to make -1 of the largest unsigned
            number, 0 of a float, NULL of a bit and of a zero date: all but texts and bytes travel as text.
        instants: Whether it is known which columns are a ``TIMESTAMP`` and which a ``DATETIME``; ODBC's drivers
            do not tell.
    """

    odbc: bool = False
    instants: bool = True

    def literal(self, text: str) -> str:
        # A quote is doubled in every sql_mode; a backslash is an escape in most of them, a character in others.
        if "\\" in text:
            return f"CONVERT(X'{text.encode().hex()}' USING utf8mb4)"
        return Dialect.literal(self, text)

    def bind(self, value: CursorValue | Scalar) -> Bound:
        if isinstance(value, bool):
            return Bound("CAST(? AS SIGNED)", str(int(value)))
        bound = bind_by_text(
            value,
            {
                CursorKind.INTEGER: "CAST(? AS SIGNED)",
                CursorKind.DECIMAL: "CAST(? AS DECIMAL(65, {digits}))",
                CursorKind.TIMESTAMP: "CAST(? AS DATETIME(6))",
                CursorKind.TIMESTAMP_TZ: "CAST(? AS DATETIME(6))",
            },
        )
        return Bound(bound.sql, bound.text.removesuffix("+00:00") if bound.text else bound.text)

    def exact(self, expression: str, cursor_type: CursorType) -> str:
        del cursor_type
        return f"CAST({expression} AS CHAR)"

    def wire(self, described: Described) -> Wire:
        wire = self._wire(described)
        (kind,) = wire.types
        if not self.odbc or pa.types.is_string(kind) or pa.types.is_binary(kind):
            return wire
        expression = wire.expressions[0] if wire.expressions else self.quote(described.name)

        def decode(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
            return wire.decode([from_text(arrays[0], kind, column)], column)

        return Wire(wire.column, decode, (pa.string(),), (f"CAST({expression} AS CHAR)",))

    def _wire(self, described: Described) -> Wire:
        """How a column travels where each value arrives as it is."""
        native = described.native
        name = self.quote(described.name)
        base = re.sub(r"\([\d,]*\)", "", native)
        if base == "decimal":
            return self._decimal(described)
        if base == "bit":
            return self._bit(described)
        kind = _PLAIN.get(base) or ("timestamp_ntz" if base == NO_ZONE_TOLD else None)
        if kind is None:
            raise UnmappedError(_instead(base, name, self.as_text(described.name)))
        column = Column(described.name, kind, described.nullable, native)
        if base == "float":
            # Its own text has six digits only; as a double it is all there.
            return Wire(column, _single, (pa.float64(),), (f"{name} * 1e0",))
        if base == "time":
            return Wire(column, as_is, (pa.string(),), cast=f"CAST({name} AS CHAR)")
        return Wire(column, as_is, (arrow_type(kind),))

    def _decimal(self, described: Described) -> Wire:
        found = re.match(r"decimal\((\d+),(\d+)\)", described.native)
        name = self.quote(described.name)
        if found is None:
            raise UnmappedError(
                f"the driver does not say its digits; write CAST({name} AS DECIMAL(38,9)) AS {name}"
            )
        precision, scale = int(found[1]), int(found[2])
        if precision > MAX_PRECISION:
            raise UnmappedError(
                f"Delta Lake has {MAX_PRECISION} digits at most; write CAST({name} AS DECIMAL(38,{min(scale, 9)})) "
                f"AS {name}"
            )
        column = Column(described.name, f"decimal({precision},{scale})", described.nullable, described.native)
        return Wire(column, as_is, (arrow_type(column.type),))

    def _bit(self, described: Described) -> Wire:
        bits = int(described.native[4:-1])
        kind = "boolean" if bits == 1 else "decimal(20,0)" if bits == _MAX_BIT else "long"
        number = f"CAST({self.quote(described.name)} AS UNSIGNED)"
        if bits == _MAX_BIT:
            number = f"CAST({number} AS DECIMAL(20, 0))"
        column = Column(described.name, kind, described.nullable, described.native)
        arrives = pa.int64() if bits == 1 else arrow_type(kind)
        return Wire(column, _truth if bits == 1 else as_is, (arrives,), (number,))

    def is_text(self, native: str) -> bool:
        return not native or native.partition("(")[0] in _TEXTS

    def digits(self, column: Column) -> int | None:
        found = re.match(r"(?:datetime|timestamp)(?:\((\d)\))?$", column.native)
        return int(found[1] or 0) if found else None

    def clock(self, kind: CursorKind, timezone: str | None) -> Clock:
        if timezone or kind is CursorKind.TIMESTAMP_TZ:
            return Clock("CAST(UTC_TIMESTAMP(6) AS CHAR)", utc=True)
        if self.odbc and kind is CursorKind.TIMESTAMP and not self.instants:
            raise CursorColumnError(
                "an ODBC driver does not tell a DATETIME from a TIMESTAMP, so it is not known in which zone the cursor "
                "column's times are",
                hint="use type: mysql; or set the connection's timezone: that of a DATETIME's writers, UTC for a "
                "TIMESTAMP",
            )
        # The session is in UTC; whoever writes DATETIME values has most likely left the server's zone alone.
        there = "CONVERT_TZ(UTC_TIMESTAMP(6), '+00:00', @@global.time_zone)"
        return Clock(f"CAST(COALESCE({there}, NOW(6)) AS CHAR)", utc=False)

    def set_zone(self, timezone: str | None) -> str:
        del timezone
        # TIMESTAMP columns are instants, and arrive as the session's wall clock shows them.
        return "SET time_zone = '+00:00'"

    def read_only(self) -> str:
        return "SET SESSION TRANSACTION READ ONLY"

    def length(self, expression: str) -> str:
        return f"CHAR_LENGTH({expression})"

    def unlike(self, expression: str, pattern: str) -> str:
        # LIKE would take t for T, as most collations do.
        shape = "".join(
            "[0-9]" if char == "9" else char if char.isalnum() else f"[{char}]" for char in pattern
        )
        return f"{expression} NOT REGEXP {self.literal(f'(?-i)^{shape}$')}"

    def as_text(self, name: str) -> str:
        return f"CAST({self.quote(name)} AS CHAR) AS {self.quote(name)}"

    def identity(self, ask: Ask, place: str) -> SourceIdentity:
        ((version, database, host, port, number, folder),) = ask(
            "SELECT VERSION(), DATABASE(), @@hostname, @@port, @@server_id, @@datadir"
        )
        if "mariadb" not in str(version).lower():
            ((server,),) = ask("SELECT @@server_uuid")
            return SourceIdentity(f"mysql/{server}/{database}", text=f"MySQL database {database} on {place}")
        # MariaDB has no id of its own that every release has and that outlives its network card.
        server = f"{host}:{port}/{number}{folder}".rstrip("/")
        return SourceIdentity(f"mariadb/{server}/{database}", text=f"MariaDB database {database} on {place}")

    def server(self, ask: Ask) -> str:
        ((server,),) = ask("SELECT CONCAT(@@hostname, ':', @@port)")
        return str(server)

    def facts(self, ask: Ask, table: str) -> TableFacts | None:
        found = self._table(ask, table)
        if found is None:
            return None
        schema, name, rows = found
        where = (
            f"WHERE BINARY TABLE_SCHEMA = {self.literal(schema)} AND BINARY TABLE_NAME = {self.literal(name)}"
        )
        columns = ask(f"SELECT COLUMN_NAME, IS_NULLABLE FROM INFORMATION_SCHEMA.COLUMNS {where}")  # noqa: S608 - literals
        parts = ask(
            "SELECT INDEX_NAME, SEQ_IN_INDEX, COLUMN_NAME, NON_UNIQUE, SUB_PART, INDEX_TYPE "  # noqa: S608 - literals
            f"FROM INFORMATION_SCHEMA.STATISTICS {where} ORDER BY INDEX_NAME, SEQ_IN_INDEX"
        )
        indexes: dict[str, list[Sequence[object]]] = {}
        for index, *part in parts:
            indexes.setdefault(str(index), []).append(part)
        # An index of a text's first characters, or of an expression, tells nothing of the whole column.
        whole = [
            each for each in indexes.values() if all(part[1] is not None and part[3] is None for part in each)
        ]
        return TableFacts(
            frozenset(str(column) for column, nullable in columns if str(nullable).upper() == "NO"),
            frozenset(str(each[0][1]) for each in whole if str(each[0][4]).upper() == "BTREE"),
            tuple(frozenset(str(part[1]) for part in each) for each in whole if not int(str(each[0][2]))),
            rows,
            primary=frozenset(str(part[1]) for part in indexes.get("PRIMARY", ())),
        )

    def _table(self, ask: Ask, table: str) -> tuple[str, str, int | None] | None:
        """Schema, name and about how many rows of a table; None for a view, and where there is none."""
        *above, last = table_parts(table, self.name)
        schema = self.literal(above[-1]) if above else "DATABASE()"
        rows = ask(
            "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_ROWS FROM INFORMATION_SCHEMA.TABLES "  # noqa: S608 - literals
            f"WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA = {schema} AND TABLE_NAME = {self.literal(last)}"
        )
        # Whether names differ by their case depends on the server's files: take the exact one where there is one.
        exact = [row for row in rows if str(row[1]) == last] or (rows if len(rows) == 1 else [])
        if not exact:
            return None
        ((found, name, count),) = exact
        return str(found), str(name), None if count is None else int(count)

    def tables(self, ask: Ask) -> tuple[str, ...]:
        rows = ask(
            "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = DATABASE() LIMIT 5000"
        )
        return tuple(str(name) for (name,) in rows)

    def advice(self, error: BaseException, ask: Ask) -> str:
        number = error_number(error)
        try:
            if number == _UNKNOWN_TABLE:
                found = re.search(r"'(?:[^'.]+\.)?([^']+)' doesn't exist", str(error))
                return _did_you_mean(found, self.tables(ask))
            if number == _UNKNOWN_COLUMN:
                found = re.search(r"Unknown column '(?:[^']+\.)?([^'.]+)'", str(error))
                names = ask(
                    "SELECT DISTINCT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = DATABASE() "
                    "LIMIT 5000"
                )
                return _did_you_mean(found, (str(name) for (name,) in names))
        except SourceError:
            return ""
        return _ADVICE.get(number or 0, "")


def error_number(error: BaseException) -> int | None:
    """The server's or the client library's number of an error; None for an exception of another kind."""
    args = getattr(getattr(error, "orig", None) or error, "args", ())
    return args[0] if args and isinstance(args[0], int) else None


def check_zone(ask: Ask, described: Iterable[Described]) -> None:
    """Refuse a session in which instants would arrive, and be compared, as the wall clock of another zone than UTC.

    Args:
        ask: Runs a query.
        described: The columns that will be read.

    Raises:
        QueryError: There is a ``TIMESTAMP`` among them, and the session is not in UTC.
    """
    instants = [each.name for each in described if each.native.startswith("timestamp")]
    if not instants:
        return
    ((zone, system),) = ask("SELECT @@session.time_zone, @@system_time_zone")
    if str(zone) in _UTC or (str(zone) == "SYSTEM" and str(system) in _UTC):
        return
    raise QueryError(
        f"the connection's session is in the time zone {zone}, and {', '.join(instants)} of type TIMESTAMP would "
        "arrive in it",
        hint="run SET time_zone = '+00:00' on the connection first, or use a connection of type: mysql",
    )


def _did_you_mean(found: re.Match[str] | None, known: Iterable[str]) -> str:
    near = near_miss(found[1], tuple(known)) if found else None
    return f"did you mean {near}?" if near else ""


def _instead(base: str, name: str, text: str) -> str:
    if base == "geometry":
        return f"write ST_AsText({name}) AS {name}"
    if base == "null":
        return f"it is NULL and nothing else; write CAST(NULL AS CHAR) AS {name}"
    return f"write {text}"


def _single(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
    del column
    return arrays[0].cast(pa.float32(), safe=False)


def _truth(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
    del column
    return arrays[0].cast(pa.bool_())


def from_text(texts: pa.Array, kind: pa.DataType, column: Column) -> pa.Array:
    """Values of a type, from the server's own texts of them.

    Raises:
        QueryError: A text is no value of the type, such as a zero date.
    """
    # The session is in UTC, and its texts name no zone.
    asked = pa.timestamp("us") if pa.types.is_timestamp(kind) else kind
    try:
        return texts.cast(asked).view(kind)
    except pa.ArrowInvalid as error:
        raise _zero_date(unreadable(texts, asked, column), column) from error


def _zero_date(error: QueryError, column: Column) -> QueryError:
    """The error for a value that is no date, with what helps against the zero dates that MySQL may hold."""
    if "'0000-00-00" not in error.message:
        return error
    return QueryError(
        error.message,
        hint=f"write NULLIF({column.name}, 0) AS {column.name} in the query, or mend these rows",
    )
