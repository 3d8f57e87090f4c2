"""What databases differ in: their types, casts, clocks and catalogs. The base is plain SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hwm_magics.arrow import arrow_type, cursor_type_of, delta_type
from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue, Scalar
from hwm_magics.core.observed import Column, SourceIdentity
from hwm_magics.core.sql_names import quote
from hwm_magics.core.statement import Statement
from hwm_magics.errors import CursorColumnError, SchemaMismatchError
from hwm_magics.sources.rendering import Bound, bind_by_text
from hwm_magics.sources.wire import Described, UnmappedError, Wire, as_is

__all__ = ["Ask", "Clock", "Dialect", "OpenTransactions", "Pages", "TableFacts", "refused_cursor"]

Ask = Callable[[str], list[tuple[Any, ...]]]
"""Runs a query of the catalog and gives its rows, or raises a SourceError."""


@dataclass(frozen=True, slots=True)
class Clock:
    """How a database tells the time.

    Attributes:
        sql: An expression that gives it as text (or as what the driver makes a datetime of).
        utc: Whether that is UTC and has to be turned to the column's zone.
        digits: Digits of a second that it has.
    """

    sql: str
    utc: bool
    digits: int = 6


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What a catalog knows of a table.

    Attributes:
        not_null: Columns declared NOT NULL.
        indexed: Columns that an index begins with, so that their MAX is cheap.
        unique: Sets of columns that are unique together.
        rows: About how many rows there are; None when unknown.
        primary: The columns of the primary key; empty without one, or when unknown.
    """

    not_null: frozenset[str] = frozenset()
    indexed: frozenset[str] = frozenset()
    unique: tuple[frozenset[str], ...] = ()
    rows: int | None = None
    primary: frozenset[str] = frozenset()

    def keeps_unique(self, keys: Iterable[str]) -> bool:
        """Whether the columns are unique together and never NULL."""
        names = frozenset(keys)
        return names <= self.not_null and any(each <= names for each in self.unique)


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages that a table's rows lie in.

    Attributes:
        count: How many there are.
        bytes: The size of one, in bytes.
        refusal: Why rows can't be read by pages, in words; "" when they can.
    """

    count: int = 0
    bytes: int = 0
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class OpenTransactions:
    """Transactions that may still write, as far as the database tells.

    Attributes:
        now: When it was asked, as the clock tells the time; "" when it can't be told.
        since: When the oldest of them began; "" when there is none.
        who: Which one that is.
        prepared: When the oldest one that waits for its second phase was prepared, of whose beginning nobody
            knows; "" when there is none.
        refusal: Why it can't be told, in words; "" when it can.
    """

    now: str = ""
    since: str = ""
    who: str = ""
    prepared: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Plain SQL; databases that need more are subclasses.

    Attributes:
        name: The sqlglot dialect.
        alias: How a derived table is named.
        alive: A query that only asks whether the connection is there.
        types_by_value: Whether types of columns may have to be told by looking at their values.
        snapshot: A query that hands out the snapshot of the transaction, for other connections; "" for none.
    """

    name: str = ""
    alias: str = field(default="AS hwm_wire")
    alive: str = "SELECT 1"
    types_by_value: bool = False
    snapshot: str = ""

    def quote(self, name: str) -> str:
        """A name, quoted."""
        return quote(name, self.name)

    def literal(self, text: str) -> str:
        """A text as a literal."""
        return "'" + text.replace("'", "''") + "'"

    def bind(self, value: CursorValue | Scalar) -> Bound:
        """How a value is bound, with its own type."""
        return bind_by_text(value)

    def exact(self, expression: str, cursor_type: CursorType) -> str:
        """An expression for a cursor value such that no driver loses a digit of it."""
        del cursor_type
        return expression

    def wire(self, described: Described) -> Wire:
        """How a column travels.

        Raises:
            UnmappedError: Delta Lake has no type for it.
        """
        if described.arrow is None:
            raise UnmappedError(f"the driver does not say its type; write {self.as_text(described.name)}")
        try:
            kind = delta_type(described.arrow)
        except SchemaMismatchError:
            raise UnmappedError(f"write {self.as_text(described.name)}") from None
        column = Column(described.name, kind, described.nullable, described.native or str(described.arrow))
        return Wire(column, as_is, (described.arrow,))

    def as_text(self, name: str) -> str:
        """The cast to text that a message may propose."""
        return f"CAST({self.quote(name)} AS VARCHAR(4000)) AS {self.quote(name)}"

    def for_jdbc(self, column: Column) -> str:
        """What to select for a column that JDBC does not carry as it is; "" for the column itself."""
        del column
        return ""

    def below_from(self, sql: str) -> tuple[str, str] | None:
        """A statement for use below a FROM, as Spark's JDBC reader sends it.

        Args:
            sql: The statement, its values written as literals.

        Returns:
            What goes before the outer SELECT, and what stands below its FROM; None when that can't be done.
        """
        return "", sql

    def cursor_type(self, wire: Wire) -> CursorType:
        """The type of a cursor column.

        Raises:
            CursorColumnError: It can't be one.
        """
        column = wire.column
        if column.type in ("float", "double", "boolean") or column.type.startswith(
            ("array", "map", "struct")
        ):
            raise refused_cursor(column)
        if column.type == "string" and not self.is_text(column.native):
            raise refused_cursor(column)
        try:
            found = cursor_type_of(arrow_type(column.type), column.native)
        except CursorColumnError:
            raise refused_cursor(column) from None
        digits = self.digits(column)
        return found if digits is None else CursorType(found.kind, digits, found.native)

    def is_text(self, native: str) -> bool:
        """Whether a type that arrives as text is text in the database, too."""
        return not any(word in native.lower() for word in ("uuid", "guid", "json", "xml", "time", "interval"))

    def digits(self, column: Column) -> int | None:
        """Digits of a second that the column keeps, where that is not microseconds."""
        del column
        return None

    def clock(self, kind: CursorKind, timezone: str | None) -> Clock:
        """The database's own clock, for columns of a kind.

        Args:
            kind: The cursor's kind; for text with an offset ask for TIMESTAMP_TZ.
            timezone: The zone of times without one; None for the session's.
        """
        del kind, timezone
        return Clock("CURRENT_TIMESTAMP", utc=False)

    def set_zone(self, timezone: str | None) -> str:
        """A statement that sets the session's zone, for connections that are ours; "" for none.

        Args:
            timezone: The connection's zone; None when it has none.
        """
        del timezone
        return ""

    def read_only(self) -> str:
        """A statement that keeps a session of ours from writing; "" where the driver sees to that, or for none."""
        return ""

    def advice(self, error: BaseException, ask: Ask) -> str:
        """What to do about an error of the driver's, a near miss of a name included; "" for nothing special.

        Args:
            error: The driver's exception.
            ask: Runs a query on the same connection.
        """
        del error, ask
        return ""

    def length(self, expression: str) -> str:
        """The number of characters of a text."""
        return f"LENGTH({expression})"

    def unlike(self, expression: str, pattern: str) -> str:
        """A condition: the text is not of a shape.

        Args:
            expression: The text.
            pattern: The shape, with ``9`` for a digit and everything else for itself.
        """
        like = pattern.replace("9", "_").replace("'", "''")
        return f"{expression} NOT LIKE '{like}'"

    def strays(self, expression: str, cursor_type: CursorType) -> str:
        """An expression that names the storage class of values that don't belong into the cursor column; ""."""
        del expression, cursor_type
        return ""

    def formed(self, statement: Statement) -> Statement:
        """A statement with what can't be bound written out."""
        return statement

    def check(self, ask: Ask, statement: Statement) -> None:
        """Refuse a statement whose answer would not be whole.

        Args:
            ask: Runs a query.
            statement: The statement that will read the rows, before :meth:`formed`.

        Raises:
            BlockedError: It would miss rows.
        """
        del ask, statement

    def fence(self, ask: Ask, kind: CursorType) -> tuple[str | None, bool]:
        """The lowest cursor value that a transaction which is still open may have taken.

        Args:
            ask: Runs a query.
            kind: The cursor's type.

        Returns:
            The value's text, None where there is no such fence; and whether the database would know of
            such transactions: a read-only copy does not.
        """
        del ask, kind
        return None, True

    def open_transactions(self, ask: Ask, kind: CursorKind, timezone: str | None) -> OpenTransactions | None:
        """Since when transactions may be open that still write; None where the database has no way to tell.

        Args:
            ask: Runs a query.
            kind: The kind of the cursor, as for :meth:`clock`.
            timezone: As for :meth:`clock`.
        """
        del ask, kind, timezone
        return None

    def open_ids(self, ask: Ask) -> int | None:
        """The lowest transaction id that is still open, of 64 bits; None where the database has no such ids.

        Args:
            ask: Runs a query.
        """
        del ask
        return None

    def identity(self, ask: Ask, place: str) -> SourceIdentity:
        """Which database this is.

        Args:
            ask: Runs a query.
            place: Its address for people, without credentials.
        """
        del ask
        return SourceIdentity(text=place)

    def server(self, ask: Ask) -> str:
        """Which server answers, so that connections to one can be told from those to its copies; "" if unknown.

        Args:
            ask: Runs a query.
        """
        del ask
        return ""

    def pages(self, ask: Ask, table: str) -> Pages:
        """The pages that a table's rows lie in.

        Args:
            ask: Runs a query.
            table: The table's quoted name.
        """
        del ask, table
        return Pages(refusal="this database does not tell rows by their pages")

    def facts(self, ask: Ask, table: str) -> TableFacts | None:
        """What the catalog knows of a table; None when it can't be asked.

        Args:
            ask: Runs a query.
            table: The table's quoted name.
        """
        del ask, table
        return None

    def tables(self, ask: Ask) -> tuple[str, ...]:
        """Names of tables, to suggest one when a name is wrong or being written."""
        del ask
        return ()


_WHY = (
    (("float", "double", "real"), "floating point values can't be compared exactly"),
    (("uuid", "uniqueidentifier", "guid"), "random ids don't grow"),
    (("time", "interval"), "a time of day or a duration does not say when"),
    (("bool", "bit"), "two values order nothing"),
    (("json", "xml", "array", "[]", "map", "struct"), "documents and lists order nothing"),
    (("bytea", "binary", "blob", "raw"), "bytes order nothing, SQL Server's rowversion excepted"),
)


def refused_cursor(column: Column, why: str = "") -> CursorColumnError:
    """The error for a column that can't be a cursor."""
    native = column.native or column.type
    if not why:
        words = f"{native} {column.type}".lower()
        why = next(
            (reason for names, reason in _WHY if any(name in words for name in names)),
            "its values order nothing",
        )
    return CursorColumnError(
        f"column {column.name!r} ({native}) can't be the cursor: {why}",
        hint="use a column that grows with every insert and update: a time, a whole number, a rowversion",
    )
