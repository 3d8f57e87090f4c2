"""A database in memory with a clock of its own, and a source that reads it.

Statements are run by SQLite, as they were planned; only values that SQLite lacks are looked up beside it.
Transactions are Python objects: what they wrote is seen by others when they commit, or never.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Self

import pyarrow as pa

from hwm_magics.arrow import arrow_schema, cursor_type_of
from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue, TextForm
from hwm_magics.core.decided import Window
from hwm_magics.core.observed import Column, SourceIdentity, SourceState
from hwm_magics.core.specs import FuturePolicy, LoadSpec
from hwm_magics.core.statement import Param, Statement
from hwm_magics.errors import QueryError
from hwm_magics.sources.base import SourceRequest
from hwm_magics.stream import BatchStream

START = datetime(2024, 6, 1, 12)
EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)
Row = Mapping[str, Any]


def _stored(value: object) -> object:
    """What SQLite keeps of a value: enough to compare it in the order of its own type."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, int | float | str | bytes | None) else repr(value)


def _bound(param: Param) -> object:
    value = param.value
    if not isinstance(value, CursorValue):
        return _stored(value)
    if value.type.kind in (CursorKind.TIMESTAMP, CursorKind.TIMESTAMP_TZ):
        return _stored(datetime.fromisoformat(value.text))
    return int(value.text) if value.type.kind is CursorKind.INTEGER else value.text


@dataclass
class Transaction:
    """Changes that nobody else sees yet."""

    database: FakeDatabase
    changes: list[Callable[[], None]] = field(default_factory=list)
    open: bool = True

    def insert(self, *rows: Row) -> Self:
        """Insert rows when it commits; their values are those of now."""
        held = [dict(row) for row in rows]
        self.changes.append(lambda: self.database.write(held))
        return self

    def update(self, key: object, row: Row) -> Self:
        """Change the row with a key when it commits."""
        held = dict(row)
        self.changes.append(lambda: self.database.change(key, held))
        return self

    def commit(self) -> None:
        """Let everybody see it."""
        assert self.open
        self.open = False
        for change in self.changes:
            change()

    def rollback(self) -> None:
        """Forget it."""
        self.open = False


class FakeDatabase:
    """One table, ``orders``, and a clock that stands still until it is moved.

    Args:
        columns: The table's columns.
        key: The column that :meth:`change` finds rows by.
        strong: The database's identity.
    """

    def __init__(self, columns: Sequence[Column], key: str = "id", strong: str = "fake/1") -> None:
        self.columns = tuple(columns)
        self.key = key
        self.clock = START
        self.identity = SourceIdentity(strong, "1", "a database in memory")
        self.unique_keys: bool | None = None
        self.rows: dict[int, dict[str, Any]] = {}
        self._next = 0
        self._sqlite = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._define()

    def _define(self) -> None:
        names = ", ".join(f'"{column.name}"' for column in self.columns)
        self._sqlite.execute("DROP TABLE IF EXISTS orders")
        self._sqlite.execute(f"CREATE TABLE orders (_row INTEGER PRIMARY KEY, {names})")

    def close(self) -> None:
        """Give the memory back."""
        self._sqlite.close()

    def alter(self, columns: Sequence[Column]) -> None:
        """Give the table other columns; new ones are NULL in the rows that are there."""
        self.columns = tuple(columns)
        self._define()
        rows, self.rows = list(self.rows.values()), {}
        self.write([{column.name: row.get(column.name) for column in self.columns} for row in rows])

    def stamp(self, tick: timedelta = MICROSECOND, skew: timedelta = timedelta(0)) -> datetime:
        """What a writer takes for now: the clock less the writer's skew, cut to its tick."""
        now = self.clock - skew
        return now - (now - EPOCH) % tick

    def advance(self, by: timedelta) -> None:
        """Move the clock."""
        self.clock += by

    def begin(self) -> Transaction:
        """A transaction that commits when it is told to."""
        return Transaction(self)

    def insert(self, *rows: Row) -> None:
        """Insert rows and commit."""
        self.write(rows)

    def write(self, rows: Sequence[Row]) -> None:
        """Rows that everybody sees."""
        names = [column.name for column in self.columns]
        for row in rows:
            self._next += 1
            self.rows[self._next] = {name: row.get(name) for name in names}
            values = [self._next, *(_stored(row.get(name)) for name in names)]
            self._sqlite.execute(f"INSERT INTO orders VALUES ({', '.join('?' * len(values))})", values)

    def change(self, key: object, row: Row) -> None:
        """Change the rows with a key."""
        for number in [number for number, held in self.rows.items() if held[self.key] == key]:
            changed = {**self.rows[number], **row}
            self._remove(number)
            self.write([changed])

    def delete(self, key: object) -> None:
        """Delete the rows with a key."""
        for number in [number for number, held in self.rows.items() if held[self.key] == key]:
            self._remove(number)

    def _remove(self, number: int) -> None:
        del self.rows[number]
        self._sqlite.execute("DELETE FROM orders WHERE _row = ?", [number])

    def run(self, statement: Statement) -> list[tuple[Any, ...]]:
        """Run a planned statement."""
        text = "".join(part if isinstance(part, str) else "?" for part in statement.parts)
        values = [_bound(param) for param in statement.params]
        try:
            return self._sqlite.execute(text, values).fetchall()
        except sqlite3.Error as error:
            raise QueryError(f"{error} in {text}") from error


@dataclass
class FakeSource:
    """See :class:`hwm_magics.sources.base.Source`.

    Attributes:
        database: What it reads.
        settle, future: The cursor's settings, which a real source takes from the spec.
        batch: Rows a batch.
        break_after: Raise after so many batches; None for never.
        end_after: End silently after so many batches, as some drivers do; None for never.
        reads: How often a statement was opened.
        closed: How often a stream was closed.
    """

    database: FakeDatabase
    settle: timedelta = timedelta(0)
    future: FuturePolicy = FuturePolicy.CAP
    batch: int = 3
    break_after: int | None = None
    reads: int = 0
    closed: int = 0
    dialect: str = "sqlite"

    def observe(self, request: SourceRequest) -> SourceState:
        """Ask for the clock, the bounds and the counts at one moment."""
        columns = self.database.columns
        state = SourceState(
            identity=self.database.identity,
            dialect=self.dialect,
            columns=columns,
            unique_keys=self.database.unique_keys if request.keys else None,
        )
        cursor = request.query.cursor
        if cursor is None or cursor.column not in {column.name for column in columns}:
            return state
        kind = self._cursor_type(cursor.column)
        low = request.low
        if request.goal is not None:
            (lowest,) = self._probe(
                request, ["MIN({cursor})"], Window(low, request.goal, low_inclusive=False)
            )
            return replace(state, cursor_type=kind, lowest=None if lowest is None else kind.value(lowest))
        if low is None and request.initial_value is not None:
            low = kind.value(request.initial_value)
        timed = kind.is_time and kind.kind is not CursorKind.TEXT
        fence = self.database.clock - self.settle if timed else None
        within = f"{{cursor}} <= '{_stored(fence)}'" if fence and self.future is FuturePolicy.CAP else "1"
        later = f"{{cursor}} > '{_stored(self.database.clock)}'" if fence else "0"
        wanted = [
            f"MAX(CASE WHEN {within} THEN {{cursor}} END)",
            "MAX({cursor})",
            f"COUNT(CASE WHEN {within} THEN {{cursor}} END)",
            f"COUNT(CASE WHEN {later} THEN {{cursor}} END)",
        ]
        high, top, count, future = self._probe(request, wanted, Window(low) if low is not None else None)
        lowest = None
        if request.lowest and high is not None:
            (lowest,) = self._probe(request, ["MIN({cursor})"], Window(low, kind.value(high)))
        below, nulls = self._probe(request, ["MAX({cursor})", "COUNT(*) - COUNT({cursor})"], None)
        if kind.kind is CursorKind.TEXT and top is not None:
            kind = replace(kind, form=TextForm.of(top))

        def value(raw: Any) -> CursorValue | None:
            return None if raw is None else kind.value(raw)

        return SourceState(
            identity=state.identity,
            dialect=state.dialect,
            columns=columns,
            cursor_type=kind,
            now=kind.value(self.database.clock) if fence else None,
            high=value(high),
            top=value(top),
            count=count,
            nulls=nulls,
            future=future,
            below=value(below) if top is None else None,
            unique_keys=state.unique_keys,
            lowest=value(lowest),
        )

    def _probe(self, request: SourceRequest, wanted: list[str], window: Window | None) -> tuple[Any, ...]:
        query = request.query
        statement = query.probe(
            wanted,
            first_run=request.first_run,
            window=window,
            values=request.target_values or query.first_run_values,
        )
        return self.database.run(statement)[0]

    def _cursor_type(self, name: str) -> CursorType:
        field_ = arrow_schema(self.database.columns).field(name)
        return cursor_type_of(field_.type)

    def resume(self, state: SourceState) -> None:
        """See the contract: the statement alone tells what to read."""

    def open(self, statement: Statement) -> BatchStream:
        """Read one statement: what is committed at this moment, newest first."""
        self.reads += 1
        numbers = [row[0] for row in self.database.run(statement)]
        rows = [dict(self.database.rows[number]) for number in reversed(numbers)]
        schema = arrow_schema(self.database.columns)
        return BatchStream(schema, self._batches(rows, schema), self._close)

    def _batches(self, rows: list[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for number, start in enumerate(range(0, len(rows), self.batch)):
            if number == self.break_after:
                raise QueryError("the connection was lost", hint="run the load again")
            yield pa.RecordBatch.from_pylist(rows[start : start + self.batch], schema=schema)
        if self.break_after is not None and self.break_after * self.batch >= len(rows):
            raise QueryError("the connection was lost", hint="run the load again")

    def _close(self) -> None:
        self.closed += 1

    def spark_read(self, statement: Statement) -> None:
        """Spark has no way to it."""

    def scalar(self, statement: Statement) -> int | str | None:
        """The one value of a statement."""
        found = self.database.run(statement)[0][0]
        return found if isinstance(found, int | str) else None

    def close(self) -> None:
        """Nothing to close: the database belongs to the test."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def source_of(database: FakeDatabase, spec: LoadSpec, **settings: Any) -> FakeSource:
    """A source with the settings of a load's cursor."""
    cursor = spec.read.cursor
    if cursor is not None:
        settings = {"settle": cursor.settle, "future": cursor.future, **settings}
    return FakeSource(database, **settings)
