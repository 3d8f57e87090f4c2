"""What all SQL sources share: describing a query, observing it, and streaming its rows in exact types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from hwm_magics.connections.jdbc import JdbcAddress, jdbc_options
from hwm_magics.core.cursor import CursorValue, TextForm
from hwm_magics.core.decided import ReadParts, Window
from hwm_magics.core.observed import Column, SourceIdentity, SourceState
from hwm_magics.core.query import SourceQuery, Way
from hwm_magics.core.specs import ReadSpec
from hwm_magics.core.sql_names import quote_table, table_parts
from hwm_magics.core.statement import Param, Statement
from hwm_magics.errors import SourceConnectionError
from hwm_magics.sources.base import BatchStream, SourceRequest
from hwm_magics.sources.catalog import own_columns
from hwm_magics.sources.dialects import Dialect, TableFacts
from hwm_magics.sources.observing import CursorObserver
from hwm_magics.sources.rendering import with_literals
from hwm_magics.sources.splitting import SplitObserver
from hwm_magics.sources.wire import Described, Wire, collect, decode, projection, schema_of, wrapped
from hwm_magics.stream import Parts, SparkRead

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Driver", "RawStream", "SnapshotDriver", "SqlSource", "Travel"]


@dataclass(slots=True)
class RawStream:
    """Rows as a driver delivers them.

    Attributes:
        batches: The columns of each batch, in the types that were asked for.
        close: Stops the read; may be called twice.
    """

    batches: Iterator[Sequence[pa.Array]]
    close: Callable[[], None]


class Driver(Protocol):
    """One way to talk to a database. Its methods raise errors of the SourceError family."""

    place: str
    """The database's address for people, without credentials."""

    @property
    def dialect(self) -> Dialect:
        """What its SQL is like."""
        ...

    def reading(self) -> AbstractContextManager[None]:
        """A read-only transaction, where the database has them."""
        ...

    def describe(self, statement: Statement) -> tuple[Described, ...]:
        """The columns of a statement, without a row of it."""
        ...

    def rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        """The few rows of a statement."""
        ...

    def stream(self, statement: Statement, wires: Sequence[Wire]) -> RawStream:
        """The rows of a statement, whose columns travel in the given ways, one after the other."""
        ...

    def close(self) -> None:
        """Close what this driver opened itself. May be called twice."""
        ...


@runtime_checkable
class SnapshotDriver(Protocol):
    """A driver whose reads can be made to see the snapshot of another connection, and be stopped from outside."""

    snapshot: str
    """The snapshot that each of its transactions sees from now on; "" for one of its own."""

    def interrupt(self) -> None:
        """Have the statement that runs fail. May be called from another thread, as long as it is not closed."""
        ...


@dataclass(frozen=True, slots=True)
class Travel:
    """How the rows of a statement travel.

    Attributes:
        wires: How each column does.
        projected: Whether the statement selects what changes their meaning already.
    """

    wires: tuple[Wire, ...]
    projected: bool


@dataclass(slots=True)
class SqlSource:
    """A database behind one connection.

    Attributes:
        driver: How it is talked to.
        read: What is to be read.
        timezone: The zone of times without one; None for the session's.
        jdbc: Where Spark finds it; None where Spark has no way to it.
        of_spark: Whether it is Spark's own catalog.
        done: Called when it is closed; None for nothing.
        again: Opens one more connection to the same database; None where there is one only.
        dialect: The sqlglot dialect of its SQL.
    """

    driver: Driver
    read: ReadSpec
    timezone: str | None = None
    jdbc: JdbcAddress | None = None
    of_spark: bool = False
    done: Callable[[], object] | None = None
    again: Callable[[], SqlSource] | None = None
    dialect: str = field(init=False)
    _identity: SourceIdentity | None = field(default=None, init=False)
    _form: TextForm | None = field(default=None, init=False)
    _seen: dict[tuple[str, ...], tuple[Wire, ...]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.dialect = self.driver.dialect.name

    def _wires(self, statement: Statement) -> tuple[Wire, ...]:
        return collect(self.driver.describe(statement), self.driver.dialect.wire)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query that holds no values."""
        return self.driver.rows(Statement((sql,)))

    def rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        """The few rows of a statement."""
        return self.driver.rows(self.formed(statement))

    def describe(self, statement: Statement) -> tuple[Wire, ...]:
        """The columns of a statement, and how they travel."""
        return self._wires(self.formed(statement))

    def formed(self, statement: Statement) -> Statement:
        """The statement with its times in the form that the cursor column stores them in, where it stores text,
        and with what can't be bound written out.
        """
        if self._form is not None:
            statement = Statement(
                tuple(self._in_form(part) if isinstance(part, Param) else part for part in statement.parts)
            )
        return self.driver.dialect.formed(statement)

    def _in_form(self, param: Param) -> Param:
        value = param.value
        if isinstance(value, CursorValue) and value.type.is_time and value.type.form is None:
            return Param(param.name, CursorValue(replace(value.type, form=self._form), value.text))
        return param

    def observe(self, request: SourceRequest) -> SourceState:
        """See :meth:`~hwm_magics.sources.base.Source.observe`."""
        with self.driver.reading():
            return self._observe(request)

    def resume(self, state: SourceState) -> None:
        """A statement alone tells what to read of a database."""

    def _observe(self, request: SourceRequest) -> SourceState:
        query = request.query
        values = request.target_values or query.first_run_values
        if request.low is not None and query.way is Way.PARAMETERS:
            reading = query.rows(first_run=request.first_run, values=values, window=Window(request.low, None))
            self.driver.dialect.check(self.ask, reading)
        asked = self._asked(query, first_run=request.first_run, values=values, low=request.low)
        wires = self.describe(asked)
        later = self._later(request, asked)
        facts = self._facts(query)
        state = SourceState(
            identity=self._identify(),
            dialect=self.dialect,
            columns=self._columns(wires, facts, replaced=later is not None),
            projection=self._remember(wires),
            later_columns=_columns(later) if later else None,
            later_projection=self._remember(later) if later else None,
            unique_keys=self._unique(request, facts, replaced=later is not None),
        )
        observer = CursorObserver(self, request, wires, values, facts)
        self._form = observer.stored_form()
        state = observer.observe(state)
        if request.partition is None:
            return state
        split = SplitObserver(self, request, observer.wires, values, state).observe(request.partition)
        return replace(state, split=split)

    def _asked(
        self,
        query: SourceQuery,
        *,
        first_run: bool,
        values: tuple[Param, ...],
        low: CursorValue | None = None,
    ) -> Statement:
        """The statement whose columns are described."""
        if not self.driver.dialect.types_by_value:
            return query.rows(first_run=first_run, values=values, limit_zero=True)
        window = Window(low, None) if low is not None and query.way is Way.PARAMETERS else None
        return query.rows(first_run=first_run, values=values, window=window)

    def _later(self, request: SourceRequest, asked: Statement) -> tuple[Wire, ...] | None:
        """The columns of later runs, where a first run reads something else."""
        if not request.first_run:
            return None
        query = request.query
        values = tuple(Param(f"target_{number + 1}", None) for number in range(len(query.target_queries)))
        statement = self._asked(query, first_run=False, values=values)
        if _texts(statement) == _texts(asked):
            return None
        return self.describe(statement)

    def _remember(self, wires: Sequence[Wire]) -> tuple[str, ...] | None:
        shown = projection(wires, self.driver.dialect.quote)
        if shown is not None:
            self._seen[shown] = tuple(wires)
        return shown

    def _identify(self) -> SourceIdentity:
        if self._identity is None:
            self._identity = self.driver.dialect.identity(self.ask, self.driver.place)
        return self._identity

    def _facts(self, query: SourceQuery) -> TableFacts | None:
        """What is known of the one table that is read; None where it is not one table's own columns."""
        if query.base_table is None:
            return None
        return self.driver.dialect.facts(self.ask, query.base_table)

    def _columns(
        self, wires: Sequence[Wire], facts: TableFacts | None, *, replaced: bool
    ) -> tuple[Column, ...]:
        if facts is None or replaced:
            return _columns(wires)
        names = frozenset(wire.column.name for wire in wires)
        own = own_columns(self.read.query, self.dialect, names) & facts.not_null
        return tuple(
            replace(wire.column, nullable=False) if wire.column.name in own else wire.column for wire in wires
        )

    def _unique(self, request: SourceRequest, facts: TableFacts | None, *, replaced: bool) -> bool | None:
        if not request.keys or facts is None or replaced:
            return None
        keys = frozenset(request.keys)
        if not keys <= own_columns(self.read.query, self.dialect, keys):
            return None
        return facts.keeps_unique(keys)

    def open(self, statement: Statement) -> BatchStream:
        """See :meth:`~hwm_magics.sources.base.Source.open`."""
        self.driver.dialect.check(self.ask, statement)
        statement = self.formed(statement)
        return self.stream(statement, self._travel(statement))

    def open_parts(self, statement: Statement, parts: ReadParts) -> BatchStream:
        """See :meth:`~hwm_magics.sources.base.Source.open_parts`."""
        from hwm_magics.sources.parallel import PartsReading

        self.driver.dialect.check(self.ask, statement)
        whole = self.formed(statement)
        travel = self._travel(whole)
        statements = [self.formed(part) for part in parts.statements]
        return PartsReading(self, whole, statements, parts, travel, schema_of(travel.wires)).stream()

    def _travel(self, statement: Statement) -> Travel:
        """How the columns of a statement travel, described once for all of its parts."""
        wires = self._projected(statement)
        if wires is not None:
            return Travel(wires, projected=True)
        with self.driver.reading():
            return Travel(self._wires(statement), projected=False)

    def stream(self, statement: Statement, travel: Travel) -> BatchStream:
        """Run a statement whose values are in form, and stream its rows.

        Args:
            statement: The statement.
            travel: How its columns travel.
        """
        dialect, wires = self.driver.dialect, travel.wires
        asked = wrapped(statement, wires, dialect.quote, projected=travel.projected, alias=dialect.alias)
        raw = self.driver.stream(asked, wires)
        schema = schema_of(wires)
        return BatchStream(schema, _decoded(raw, wires, schema), raw.close)

    @property
    def can_multiply(self) -> bool:
        """Whether more connections to the same database can be opened."""
        return self.again is not None

    @property
    def shares_snapshots(self) -> bool:
        """Whether all of its connections can be made to see one snapshot."""
        return self.again is not None and isinstance(self.driver, SnapshotDriver)

    def another(self, snapshot: str = "") -> SqlSource:
        """One more connection to the same database, to be closed by itself.

        Args:
            snapshot: The snapshot that it is to see; "" for its own.

        Raises:
            SourceConnectionError: None can be opened.
        """
        if self.again is None:
            raise SourceConnectionError("a second connection can't be opened")
        source = self.again()
        if snapshot and isinstance(source.driver, SnapshotDriver):
            source.driver.snapshot = snapshot
        return source

    def server(self) -> str:
        """Which server answers; "" when that can't be told."""
        with self.driver.reading():
            return self.driver.dialect.server(self.ask)

    def interrupt(self) -> None:
        """Have a read on its way fail, where its driver can; from any thread."""
        if isinstance(self.driver, SnapshotDriver):
            self.driver.interrupt()

    @contextmanager
    def holding_snapshot(self, statement: Statement) -> Iterator[str]:
        """Keep one snapshot of the database, and the tables of a statement as they are, for other connections.

        Args:
            statement: The statement, its values in form.

        Yields:
            The snapshot's name.
        """
        dialect = self.driver.dialect
        with self.driver.reading():
            # First the locks, then the snapshot: a table that is truncated or rewritten between the two would seem
            # empty to it, and one that is rewritten later would have its rows on other pages.
            locking = Statement(("SELECT 1 FROM (\n", *statement.parts, "\n) AS hwm_locked LIMIT 0"))
            self.driver.rows(locking)
            ((snapshot,),) = self.ask(dialect.snapshot)
            yield str(snapshot)

    def _projected(self, statement: Statement) -> tuple[Wire, ...] | None:
        """The columns as they were observed, when the statement selects them by their projection."""
        texts = _texts(statement)
        return next(
            (wires for shown, wires in self._seen.items() if f"SELECT {', '.join(shown)} FROM" in texts), None
        )

    def spark_read(self, statement: Statement) -> SparkRead | None:
        """See :meth:`~hwm_magics.sources.base.Source.spark_read`."""
        if self.jdbc is None and not self.of_spark:
            return None
        statement = self.formed(statement)
        wires = self._projected(statement)
        projected = wires is not None
        if wires is None:
            with self.driver.reading():
                wires = self._wires(statement)
        dialect = self.driver.dialect
        query = with_literals(statement, dialect.bind, dialect.literal)
        if self.jdbc is None:
            return SparkRead("sql", query, _columns(wires))
        split = dialect.below_from(query)
        if split is None:
            return None
        head, query = split
        query = _for_jdbc(query, wires, dialect, projected=projected)
        options = jdbc_options(self.jdbc, self.read, self.timezone)
        if head:
            options["prepareQuery"] = head
        return SparkRead("jdbc", query, _columns(wires), options, self._parts(head, query))

    def _parts(self, head: str, query: str) -> Parts | None:
        partition = self.read.partition
        if partition is None or partition.column is None:
            return None
        column = self.driver.dialect.quote(partition.column)
        asked = f"{head}SELECT MIN({column}), MAX({column}) FROM (\n{query}\n) hwm_rows"  # noqa: S608 - quoted
        with self.driver.reading():
            low, high = self.driver.rows(Statement((asked,)))[0]
        if low is None:
            return None
        return Parts(partition.column, str(low), str(high), partition.count)

    def scalar(self, statement: Statement) -> int | str | None:
        """See :meth:`~hwm_magics.sources.base.Source.scalar`."""
        with self.driver.reading():
            rows = self.rows(statement)
        value = rows[0][0] if rows else None
        return value if value is None or isinstance(value, int) else str(value)

    def tables(self) -> tuple[str, ...]:
        """Names of the database's tables, as far as its catalog tells them."""
        with self.driver.reading():
            return self.driver.dialect.tables(self.ask)

    def table_columns(self, table: str) -> tuple[str, ...]:
        """Names of a table's columns, in order.

        Args:
            table: Its name, as under ``table:``.
        """
        name = self.dialect
        quoted = quote_table(table_parts(table, name), name)
        asked = Statement((f"SELECT * FROM {quoted} WHERE 1 = 0",))  # noqa: S608 - quoted
        with self.driver.reading():
            return tuple(column.name for column in self.driver.describe(asked))

    def close(self) -> None:
        """See :meth:`~hwm_magics.sources.base.Source.close`."""
        done, self.done = self.done, None
        try:
            self.driver.close()
        finally:
            if done is not None:
                done()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _decoded(raw: RawStream, wires: Sequence[Wire], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    try:
        for arrays in raw.batches:
            yield decode(arrays, wires, schema)
    finally:
        raw.close()


def _for_jdbc(query: str, wires: Sequence[Wire], dialect: Dialect, *, projected: bool) -> str:
    """The query with what JDBC would not carry as it is turned into what it does.

    Args:
        query: The query.
        wires: Its columns' ways.
        dialect: Its SQL.
        projected: Whether its columns went through their projection already.
    """
    turned = {
        wire.column.name: dialect.for_jdbc(wire.column) or ("" if projected else wire.cast) for wire in wires
    }
    if not any(turned.values()):
        return query
    selected = ", ".join(
        f"{expression} AS {dialect.quote(name)}" if expression else dialect.quote(name)
        for name, expression in turned.items()
    )
    return f"SELECT {selected} FROM (\n{query}\n) hwm_jdbc"  # noqa: S608 - quoted


def _texts(statement: Statement) -> str:
    return "\0".join(part for part in statement.parts if isinstance(part, str))


def _columns(wires: Sequence[Wire]) -> tuple[Column, ...]:
    return tuple(wire.column for wire in wires)
