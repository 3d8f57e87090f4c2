"""The database behind the server: SQL Server table definitions over an in-process DuckDB.

Tests seed it through :class:`Database` (``create_table``, ``insert``, ``fill``, ``sql``); the rest
of the package reads the definitions to know the SQL Server type of every column.
"""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from .types import MAX, SqlError, SqlType, parse_type, to_storage

if TYPE_CHECKING:
    from .engine import Session

Rows = list[tuple[object, ...]]

# Ticks are 100 ns since 0001-01-01; DuckDB timestamps are microseconds since 1970-01-01.
_MACROS = r"""
CREATE MACRO mss_ts(x) AS make_timestamp((x // 10 - 62135596800000000)::BIGINT);
CREATE MACRO mss_ticks(x) AS (epoch_us(x::TIMESTAMP) * 10 + 621355968000000000)::BIGINT;
CREATE MACRO mss_round(x, step) AS  -- the last moment of 9999 is never rounded up
    least((x + step // 2) // step * step, 3155378975999999999 // step * step)::BIGINT;
CREATE MACRO mss_datetime(x) AS ((((x * 3 + 50000) // 100000) * 200000 + 3) // 6)::BIGINT;
CREATE MACRO mss_smalldatetime(x) AS ((x + 300010000) // 600000000 * 600000000)::BIGINT;
CREATE MACRO mss_date_ticks(x) AS (date_diff('day', DATE '0001-01-01', x) * 864000000000)::BIGINT;
CREATE MACRO mss_date(x) AS DATE '0001-01-01' + (x // 864000000000)::INTEGER;
CREATE MACRO mss_offset(x) AS printf(' %s%02d:%02d', CASE WHEN x % 2048 < 1024 THEN '-' ELSE '+' END,
    abs((x % 2048)::BIGINT - 1024) // 60, abs((x % 2048)::BIGINT - 1024) % 60);
CREATE MACRO mss_switch(x, minutes) AS ((x // 2048) * 2048 + 1024 + minutes)::HUGEINT;
CREATE MACRO mss_local(x) AS ((x // 2048) + (x % 2048 - 1024) * 600000000)::BIGINT;
CREATE MACRO mss_fail(number, message) AS error('SQL' || number || '|' || message);
CREATE MACRO mss_digits(x) AS regexp_extract(x, '\.(\d+)', 1);
CREATE MACRO mss_whole(x) AS TRY_CAST(regexp_replace(regexp_replace(trim(x),
    '^(\d{4})(\d{2})(\d{2})', '\1-\2-\3'), '\.\d+', '') AS TIMESTAMP);
CREATE MACRO mss_parse(x, digits) AS CASE
    WHEN x IS NULL THEN NULL
    WHEN len(mss_digits(x)) > digits OR mss_whole(x) IS NULL THEN mss_fail(241,
        'Conversion failed when converting date and/or time from character string.')::BIGINT
    ELSE mss_ticks(mss_whole(x)) + rpad(mss_digits(x), 7, '0')::BIGINT END;
CREATE MACRO mss_text(x, digits, format) AS strftime(mss_ts(x), format) || CASE
    WHEN digits = 0 THEN '' ELSE '.' || left(lpad((x % 10000000)::VARCHAR, 7, '0'), digits) END;
CREATE MACRO mss_integer(x) AS ('0x' || right(hex(x), 16))::UBIGINT::BIGINT;
CREATE MACRO mss_padded(x, size) AS unhex(rpad(left(hex(x), 2 * size), 2 * size, '0'));
CREATE MACRO mss_binary(x, size) AS unhex(right(printf('%032x', x::UBIGINT), 2 * size));
CREATE MACRO mss_divide(x, y, z) AS CASE WHEN y = 0
    THEN mss_fail(8134, 'Divide by zero error encountered.')::INTEGER ELSE z END;
CREATE SCHEMA dbo;
CREATE SEQUENCE mss_rowversion START 2001;
"""


@dataclass
class ColumnDef:
    """One column of a table."""

    name: str
    type: SqlType
    nullable: bool = True
    identity: bool = False
    primary_key: bool = False
    default: str | None = None  # a DuckDB expression

    @property
    def generated(self) -> bool:
        """Whether the server makes its values."""
        return self.identity or self.type.name == "rowversion"


@dataclass
class TableDef:
    """One table; ``columns`` is keyed by the lower-case name.  System tables make their rows."""

    schema: str
    name: str
    columns: dict[str, ColumnDef]
    object_id: int = 0
    rows: Callable[[], Sequence[tuple[object, ...]]] | None = None

    @property
    def duck_name(self) -> str:
        """The quoted name in DuckDB."""
        return f'"{self.schema.lower()}"."{self.name.lower()}"'


def parse_column(name: str, declaration: str) -> ColumnDef:
    """A column from text such as ``datetime2(3) not null`` or ``int identity primary key``."""
    words = declaration.lower()
    flags: dict[str, bool] = {}
    for flag in ("not null", "identity", "primary key", "null"):
        words, count = re.subn(rf"\b{flag}\b(\s*\(\s*\d+\s*,\s*\d+\s*\))?", " ", words)
        flags[flag] = count > 0
    kind = parse_type(words)
    identity, key = flags["identity"], flags["primary key"]
    strict = flags["not null"] or identity or key or kind.name == "rowversion"
    return ColumnDef(name, kind, not strict, identity, key)


def _split_name(name: str) -> tuple[str, str]:
    parts = [part.strip('[]"') for part in name.split(".")]
    return (parts[-2], parts[-1]) if len(parts) > 1 else ("dbo", parts[0])


@dataclass
class Database:
    """A SQL Server database for tests; ``users`` maps names to passwords."""

    name: str = "testdb"
    users: dict[str, str] = field(default_factory=lambda: {"sa": "Passw0rd!"})
    product_version: str = "16.0.4175.1"
    # Tables under change tracking: the oldest version kept, and (version, operation, key…) of each change.
    tracked: dict[str, tuple[int, list[tuple[object, ...]]]] = field(default_factory=dict)
    server_name: str = "tds_facade"  # what @@SERVERNAME says
    group_id: str | None = None  # of an availability group's database
    read_only: bool = False  # what DATABASEPROPERTYEX says; nothing is refused
    tokens: set[str] = field(default_factory=set)  # access tokens that may log in
    clock: dt.datetime | None = None  # what GETDATE() and its kind say, instead of now (UTC)

    def __post_init__(self) -> None:
        self.duck = duckdb.connect(":memory:")
        self.tables: dict[tuple[str, str], TableDef] = {}
        self.schemas: list[str] = ["dbo"]
        self.sessions: dict[int, Session] = {}
        self._lock = threading.RLock()
        self._next_id = 900_000_000
        self._next_spid = 50
        self.duck.execute(_MACROS)

    @property
    def release(self) -> tuple[int, int, int]:
        """Major, minor and build of the product version."""
        major, minor, build, *_ = (int(part) for part in self.product_version.split("."))
        return major, minor, build

    def now(self) -> dt.datetime:
        """The server's clock, in UTC."""
        moment = self.clock or dt.datetime.now(dt.UTC)
        return moment.astimezone(dt.UTC) if moment.tzinfo else moment

    # -- definitions ---------------------------------------------------------------------------

    def find(self, schema: str, name: str) -> TableDef | None:
        """The table of this name, in any case."""
        return self.tables.get((schema.lower() or "dbo", name.lower()))

    def table(self, name: str) -> TableDef:
        """The table of this name, as ``orders`` or ``sales.orders``; error 208 without one."""
        found = self.find(*_split_name(name))
        if found is None:
            raise SqlError(208, f"Invalid object name '{name}'.")
        return found

    def create_table(self, name: str, columns: Mapping[str, str], rows: Iterable[Any] = ()) -> TableDef:
        """Create a table from column declarations and insert ``rows``.

        ``db.create_table("dbo.orders", {"id": "int not null", "changed": "datetime2(3)"}, rows)``
        """
        parsed = [parse_column(column, text) for column, text in columns.items()]
        table = self.define(*_split_name(name), parsed)
        self.insert(name, rows)
        return table

    def define(
        self, schema: str, name: str, columns: Sequence[ColumnDef],
        connection: duckdb.DuckDBPyConnection | None = None,
    ) -> TableDef:  # fmt: skip
        """Create a table and remember its types."""
        duck = connection or self.duck
        with self._lock:
            if self.find(schema, name) is not None:
                text = f"There is already an object named '{name}' in the database."
                raise SqlError(2714, text)
            self._next_id += 16
            keyed = {column.name.lower(): column for column in columns}
            table = TableDef(schema, name, keyed, self._next_id)
            duck.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema.lower()}"')
            parts: list[str] = []
            for key, column in keyed.items():
                default = column.default
                if column.identity:
                    duck.execute(f"CREATE SEQUENCE mss_identity_{table.object_id}")
                    default = f"nextval('mss_identity_{table.object_id}')"
                elif column.type.name == "rowversion":
                    default = "mss_binary(nextval('mss_rowversion'), 8)"
                part = f'"{key}" {column.type.storage}' + (f" DEFAULT {default}" if default else "")
                parts.append(part + ("" if column.nullable else " NOT NULL"))
            keys = ", ".join(f'"{key}"' for key, column in keyed.items() if column.primary_key)
            if keys:
                parts.append(f"PRIMARY KEY ({keys})")
            duck.execute(f"CREATE TABLE {table.duck_name} ({', '.join(parts)})")
            self.tables[schema.lower(), name.lower()] = table
            if schema.lower() not in self.schemas:
                self.schemas.append(schema.lower())
            return table

    def drop_table(self, name: str, connection: duckdb.DuckDBPyConnection | None = None) -> None:
        """Drop a table."""
        table = self.table(name)
        with self._lock:
            (connection or self.duck).execute(f"DROP TABLE {table.duck_name}")
            del self.tables[table.schema.lower(), table.name.lower()]

    def clear(self) -> None:
        """Drop every table."""
        for table in list(self.tables.values()):
            self.drop_table(f"{table.schema}.{table.name}")

    # -- data ----------------------------------------------------------------------------------

    def insert(self, name: str, rows: Iterable[Any]) -> int:
        """Insert rows (sequences in column order, or mappings), converted as SQL Server would.

        A sequence may leave out identity and rowversion columns; a mapping may leave out any.
        Temporal values may be Python's, or text for digits beyond the microsecond.
        """
        table = self.table(name)
        plain = [key for key, column in table.columns.items() if not column.generated]
        groups: dict[tuple[str, ...], list[Sequence[object]]] = {}
        for row in rows:
            if isinstance(row, Mapping):
                keys, values = tuple(key.lower() for key in row), list(row.values())
            else:
                values = list(row)
                keys = tuple(plain if len(values) == len(plain) else table.columns)
            if len(keys) != len(values) or not set(keys) <= set(table.columns):
                raise ValueError(f"row {row!r} does not fit the columns of {name}")
            groups.setdefault(keys, []).append(values)
        for keys, group in groups.items():
            kinds = [table.columns[key].type for key in keys]
            arrays = {
                f"c{i}": arrow_array([to_storage(row[i], kind) for row in group], kind)
                for i, kind in enumerate(kinds)
            }
            names = ", ".join(f'"{key}"' for key in keys)
            casts = ", ".join(f"c{i}::{kind.storage}" for i, kind in enumerate(kinds))
            with self.duck.cursor() as cursor:
                cursor.register("mss_seed", pa.table(arrays))
                cursor.execute(f"INSERT INTO {table.duck_name} ({names}) SELECT {casts} FROM mss_seed")
        return sum(len(group) for group in groups.values())

    def fill(self, name: str, select: str) -> int:
        """Insert the rows of a DuckDB query, for large tables.

        One expression per column, in order, without identity and rowversion columns; a DuckDB
        TIMESTAMP fits any datetime column, a TIME a time column; everything else is cast.
        """
        table = self.table(name)
        targets = {key: c.type for key, c in table.columns.items() if not c.generated}
        with self.duck.cursor() as cursor:
            described = cursor.execute(f"SELECT * FROM ({select}) LIMIT 0").description or []
            parts: list[str] = []
            for i, (kind, column) in enumerate(zip(targets.values(), described, strict=True)):
                source = f"c{i}"
                if str(column[1]).startswith("TIMESTAMP") and kind.name != "date":
                    source = f"mss_ticks({source})"
                if kind.name in ("datetime", "smalldatetime"):
                    source = f"mss_{kind.name}({source})"
                elif kind.name == "datetimeoffset":
                    source = f"{source}::HUGEINT * 2048 + 1024"
                elif str(column[1]) == "TIME":
                    source = f"epoch_us({source}) * 10"
                if kind.name in ("datetime2", "time"):
                    source = f"mss_round({source}, {10 ** (7 - kind.scale)})"
                parts.append(f"({source})::{kind.storage}")
            names = ", ".join(f'"{key}"' for key in targets)
            labels = ", ".join(f"c{i}" for i in range(len(targets)))
            (count,) = cursor.execute(
                f"INSERT INTO {table.duck_name} ({names}) "
                f"SELECT {', '.join(parts)} FROM ({select}) AS s({labels})"
            ).fetchone() or (0,)
        return int(count)

    def sql(self, text: str, *values: object) -> Rows:
        """Run T-SQL in-process (each ``?`` bound to a value); the last result set's stored rows."""
        from .engine import Session

        session = Session(self, user="sa")
        try:
            return session.fetch(text, values)
        finally:
            session.close()

    def row_version(self, ahead: int) -> bytes:
        """The last rowversion given out, or one ``ahead`` of it."""
        query = "SELECT last_value FROM duckdb_sequences() WHERE sequence_name = 'mss_rowversion'"
        with self.duck.cursor() as cursor:
            (last,) = cursor.execute(query).fetchone() or (None,)
        return (int(last or 2000) + ahead).to_bytes(8, "big")

    def active_row_version(self) -> bytes:
        """The lowest rowversion that an open transaction may have taken, or the next one."""
        taken = [session.first_row_version for session in list(self.sessions.values())]
        return min([found for found in taken if found is not None] + [self.row_version(1)])

    # -- sessions ------------------------------------------------------------------------------

    def register(self, session: Session) -> int:
        """Give a session its SPID."""
        with self._lock:
            self._next_spid += 1
            self.sessions[self._next_spid] = session
            return self._next_spid

    def close(self) -> None:
        """Close DuckDB."""
        self.duck.close()


def arrow_array(values: list[object], kind: SqlType) -> pa.Array:
    """Stored values as DuckDB takes them in."""
    storage = kind.storage
    if storage.startswith("DECIMAL"):
        precision, scale = storage[8:-1].split(",")
        return pa.array(values, pa.decimal128(int(precision), int(scale)))
    types = {
        "BIGINT": pa.int64(), "INTEGER": pa.int32(), "SMALLINT": pa.int16(), "UTINYINT": pa.uint8(),
        "BOOLEAN": pa.bool_(), "FLOAT": pa.float32(), "DOUBLE": pa.float64(), "DATE": pa.date32(),
        "VARCHAR": pa.string(), "BLOB": pa.binary(),
    }  # fmt: skip
    if storage not in types:  # HUGEINT and UUID, cast from text
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    return pa.array(values, types[storage])


def max_length(kind: SqlType) -> int:
    """``sys.columns.max_length``: bytes, -1 for (max)."""
    if kind.length:
        return kind.length * 2 if kind.name[0] == "n" and kind.length != MAX else kind.length
    sizes = {"bit": 1, "tinyint": 1, "smallint": 2, "int": 4, "real": 4, "smallmoney": 4,
             "smalldatetime": 4, "date": 3, "uniqueidentifier": 16}  # fmt: skip
    if kind.name in ("decimal", "numeric"):
        return next(size for most, size in ((9, 5), (19, 9), (28, 13), (38, 17))
                    if kind.precision <= most)  # fmt: skip
    return sizes.get(kind.name, 8)
