"""The Spark engine: the same loads where tables outgrow one machine, on classic Spark and Spark Connect."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from hwm_magics.connections.hadoop import hand_over, spark_uri
from hwm_magics.connections.local import LocalConnection
from hwm_magics.core.commit_info import LogEntry, decode, loads, other_nodes, walk, written
from hwm_magics.core.cursor import CursorType, CursorValue, Scalar
from hwm_magics.core.decided import LoadPlan, LoadResult, Window
from hwm_magics.core.intent import needs_target_maximum, replaces_rows
from hwm_magics.core.observed import CommitRecord, Existence, TargetState
from hwm_magics.core.query import CursorExpression
from hwm_magics.core.specs import LoadSpec, WriteSpec
from hwm_magics.core.steps import Abilities
from hwm_magics.engines.answers import as_highest, one_value
from hwm_magics.engines.base import RunContext
from hwm_magics.engines.delta_sql import bounded
from hwm_magics.engines.local_catalog import LocalCatalog, target_folder
from hwm_magics.engines.spark_commit import commit_mark, fresh_sequence
from hwm_magics.engines.spark_execute import Execution, Outcome
from hwm_magics.engines.spark_held import HELD_ROWS
from hwm_magics.engines.spark_history import back_from_newest
from hwm_magics.engines.spark_open import SparkAddress, location_of, plain_location, presence
from hwm_magics.engines.spark_rows import columns_of_frame
from hwm_magics.engines.spark_sql import DIALECT, literal, name_of, path_reference, quote
from hwm_magics.errors import (
    BlockedError,
    ConfigError,
    EngineError,
    HwmError,
    PlanError,
    QueryError,
    TargetReadError,
    TargetUnknownError,
)
from hwm_magics.spark.failures import condition, first_line
from hwm_magics.spark.session import describe, is_local, verify

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

    from hwm_magics.connections.registry import Connections
    from hwm_magics.engines.spark_upkeep import SparkUpkeep
    from hwm_magics.stream import BatchStream, SparkRead

__all__ = ["SparkEngine"]

_ASKED_WRONGLY = ("PARSE_SYNTAX", "UNRESOLVED", "DATATYPE_MISMATCH", "WRONG_NUM_ARGS", "INVALID", "MISSING_")


class SparkEngine:
    """See :class:`hwm_magics.engines.base.Engine`.

    Args:
        connections: Where names of storages are looked up.
        session: The session to work in.
        held_rows: See :attr:`hwm_magics.core.steps.Abilities.held_rows`.

    Raises:
        EngineNotInstalledError: The session has no Delta Lake.
    """

    def __init__(self, connections: Connections, session: SparkSession, held_rows: int = HELD_ROWS) -> None:
        verify(session)
        self.capabilities = Abilities(
            "spark", liquid_clustering=True, parallel_reads=True, held_rows=held_rows
        )
        self._connections = connections
        self.session = self._session = session
        self.place = describe(session)

    def open(self, spec: LoadSpec, cursor: CursorExpression | None = None) -> SparkTarget:
        """Open a load's target and observe it."""
        if cursor is None and spec.read.cursor is not None:
            cursor = CursorExpression.of(spec.read.cursor)
        try:
            address = self.address(spec.write)
        except TargetUnknownError as error:
            nowhere = SparkAddress(spec.write.label, spec.write.label)
            return SparkTarget(self, nowhere, _unknown(nowhere, error))
        try:
            absent = presence(self._session, address)
            registered = self._registered(address)
            if absent:
                state = TargetState(
                    Existence.ABSENT,
                    f"{absent}, as {self.place} sees it",
                    location=address.label,
                    registered_as=registered,
                )
                return SparkTarget(self, address, state)
            return self._observe(address, spec, cursor, registered)
        except (EngineError, PlanError) as error:
            return SparkTarget(self, address, _unknown(address, error))

    def table_exists(self, connection: str, table: str | None = None, path: str | None = None) -> bool:
        """Whether a Delta table is there; raises :class:`TargetUnknownError` when that can't be told."""
        return not presence(self._session, self.address(WriteSpec(connection, path=path, table=table)))

    def history(
        self, spec: LoadSpec, limit: int = 20, *, within: int | None = None
    ) -> tuple[CommitRecord, ...]:
        """The loads that the target's own log knows, newest first, of all nodes."""
        address = self.address(spec.write)
        if presence(self._session, address):
            return ()
        return tuple(islice(loads(islice(back_from_newest(self._session, address), within)), limit))

    def set_watermark(self, spec: LoadSpec, record: CommitRecord) -> int:
        """Commit a watermark without rows; see :meth:`hwm_magics.engines.base.Engine.set_watermark`."""
        state = self.open(spec).state
        if state.version is None:
            raise BlockedError(
                f"{spec.write.label} has no watermark to set: {state.evidence}",
                hint="the first run will read everything",
            )
        seq = fresh_sequence() if state.forgotten else state.seq + 1
        address = self.address(spec.write)
        return commit_mark(self._session, address, replace(record, seq=seq), state.version)

    def catalog(self, connection: str) -> dict[str, str]:
        """Registered names of a connection and the locations they stand for."""
        storage = self._connections.storage(connection)
        return LocalCatalog(Path(storage.root)).names() if isinstance(storage, LocalConnection) else {}

    def address(self, write: WriteSpec) -> SparkAddress:
        """Where a target lies.

        Raises:
            ConfigError: The path leaves the connection's root, or a name is none.
        """
        storage = self._connections.storage(write.connection)
        name = write.register_table or write.table
        if not isinstance(storage, LocalConnection):
            if write.path is None:
                if write.table is None:
                    raise ConfigError("the target has neither write.path nor write.table")
                return SparkAddress(name_of(write.table), write.table)
            uri = spark_uri(storage, write.path)
            return SparkAddress(
                path_reference(uri),
                uri,
                path=uri,
                name=write.register_table,
                reach=hand_over(storage, self._session),
            )
        catalog = LocalCatalog(Path(storage.root))
        folder = target_folder(storage, catalog, write)
        path = str(folder)
        here = folder if is_local(self._session) else None
        return SparkAddress(
            path_reference(path), path, path, here, catalog if here is not None else None, name
        )

    def _registered(self, address: SparkAddress) -> str | None:
        if address.name is None or address.path is None:
            return None
        if address.catalog is not None:
            there = address.catalog.location(address.name)
            if there is not None:
                return str(there)
        found = location_of(self._session, name_of(address.name))
        return address.label if found == plain_location(address.path) else found

    def _observe(
        self,
        address: SparkAddress,
        spec: LoadSpec,
        cursor: CursorExpression | None,
        registered: str | None,
    ) -> SparkTarget:
        seen: list[LogEntry] = []
        entries = _kept(back_from_newest(self._session, address), seen)
        found = walk(entries, spec.node)
        others = found.other_nodes
        if replaces_rows(spec):
            others = other_nodes([*seen, *entries], spec.node)
        if not seen:
            raise TargetUnknownError(
                f"{address.label} has a log without commits", hint="restore the log from a backup"
            )
        seq = _sequence(seen, spec.node)
        try:
            columns = columns_of_frame(self._session.table(address.reference))
            partitions, properties = _layout(self._session, address.reference)
        except Exception as error:
            raise TargetUnknownError(
                f"opening {address.label} failed: {first_line(error)}", hint="mend what the message names"
            ) from error
        state = TargetState(
            Existence.EXISTS,
            f"its log is at version {seen[0].version}, as {self.place} reads it",
            location=address.label,
            version=seen[0].version,
            columns=columns,
            partition_by=partitions,
            properties=properties,
            loads=found.loads,
            seq=seq or 0,
            other_nodes=others,
            events=found.events,
            registered_as=registered,
            restores=found.restores,
            replaced=found.replaced,
            created=found.created,
            forgotten=seq is None and not _complete(seen),
        )
        target = SparkTarget(self, address, state)
        target.state = replace(state, has_rows=target.has_rows())
        there = {column.name for column in columns}
        if cursor is not None and cursor.column in there and needs_target_maximum(spec, target.state):
            target.state = replace(target.state, max_cursor=target.maximum(cursor))
        return target


class SparkTarget:
    """See :class:`hwm_magics.engines.base.OpenTarget`.

    Args:
        engine: The engine that works on it.
        address: Where the table lies.
        state: What was observed.
    """

    def __init__(self, engine: SparkEngine, address: SparkAddress, state: TargetState) -> None:
        self._session = engine.session
        self._held_rows = engine.capabilities.held_rows
        self._address = address
        self.state = state

    @property
    def _pinned(self) -> str:
        return f"{self._address.reference} VERSION AS OF {self.state.version}"

    def has_rows(self) -> bool:
        """Whether it holds rows: told by the log where it is sure, by asking for one row elsewhere."""
        last = self.state.last_load
        if last is not None and not self.state.events and not self.state.restores:
            told = written(last.metrics)
            if told.rows:
                return True
        return bool(self._rows(f"SELECT 1 AS one FROM {self._pinned} LIMIT 1"))  # noqa: S608 - quoted

    def evaluate(self, queries: tuple[str, ...]) -> tuple[CursorValue | Scalar, ...]:
        """Evaluate scalar queries over the target, on the version that was opened."""
        if self.state.version is None:
            return tuple(None for _ in queries)
        return tuple(self._scalar(sql) for sql in queries)

    def maximum(self, cursor: CursorExpression) -> CursorValue | None:
        """MAX(cursor) over the target's data."""
        if self.state.version is None:
            return None
        asked = f"SELECT MAX({cursor.sql(DIALECT)}) AS highest FROM hwm_target"  # noqa: S608 - quoted
        return as_highest(self._scalar(asked, DIALECT))

    def cursor_type(self, cursor: CursorExpression) -> CursorType | None:
        """The type of the cursor column in the target."""
        from hwm_magics.arrow import arrow_type, cursor_type_of

        column = next((each for each in self.state.columns if each.name == cursor.column), None)
        return cursor_type_of(arrow_type(column.type)) if column is not None else None

    def count(self, window: Window, cursor: CursorExpression) -> int:
        """How many rows lie in a window of the cursor."""
        where = bounded(window, cursor, self.state.columns, DIALECT, literal) or "TRUE"
        found = self._arrow(f"SELECT COUNT(*) AS n FROM {self._pinned} WHERE {where}")  # noqa: S608 - quoted
        return int(found.column(0)[0].as_py())

    def select(self, columns: Sequence[str], window: Window, cursor: CursorExpression) -> pa.Table:
        """Some columns of the rows in a window, in the target's own types."""
        where = bounded(window, cursor, self.state.columns, DIALECT, literal) or "TRUE"
        names = ", ".join(quote(name) for name in columns)
        return self._arrow(f"SELECT {names} FROM {self._pinned} WHERE {where}")  # noqa: S608 - quoted

    @property
    def upkeep(self) -> SparkUpkeep:
        """The care of the table."""
        from hwm_magics.engines.spark_upkeep import SparkUpkeep

        if self.state.version is None:
            msg = "the target is not there"
            raise AssertionError(msg)
        return SparkUpkeep(self._session, self._address, self.state.version)

    def _scalar(self, sql: str, dialect: str = "postgres") -> CursorValue | Scalar:
        if dialect != DIALECT:
            import sqlglot

            sql = sqlglot.transpile(sql, read=dialect, write=DIALECT)[0]
        # The alias holds for the query alone, a view would be everybody's.
        asked = f"WITH hwm_target AS (SELECT * FROM {self._pinned}) SELECT * FROM ({sql})"  # noqa: S608 - quoted
        return one_value(self._arrow(asked, sql), sql)

    def _arrow(self, asked: str, sql: str = "") -> pa.Table:
        try:
            return self._session.sql(asked).toArrow()
        except Exception as error:
            raise self._failed(sql or asked, error) from error

    def _rows(self, sql: str) -> list[object]:
        try:
            return list(self._session.sql(sql).collect())
        except Exception as error:
            raise self._failed(sql, error) from error

    def _failed(self, sql: str, error: Exception) -> HwmError:
        name, text = condition(error) or "", first_line(error)
        if name.startswith(_ASKED_WRONGLY):
            return QueryError(
                f"the target can't evaluate {sql}: {text}", hint="write SELECT MAX(column) FROM the target"
            )
        return TargetReadError(
            f"reading the target's data failed: {text}",
            hint="a data file may be missing: restore it, or an earlier version of the table",
        )

    def execute(self, plan: LoadPlan, stream: BatchStream | SparkRead, run: RunContext) -> LoadResult:
        """Carry out a plan's steps: one read, one commit."""
        started = time.perf_counter()
        try:
            outcome = Execution(self._session, self._address, plan, stream, run, self._held_rows).walk()
        finally:
            stream.close()
        return _result(plan, run, outcome, time.perf_counter() - started)


def _result(plan: LoadPlan, run: RunContext, outcome: Outcome, seconds: float) -> LoadResult:
    loaded = outcome.status == "loaded"
    read = outcome.read or 0
    kept = outcome.kept if outcome.kept is not None else (read if outcome.status == "dry_run" else 0)
    mark = plan.before.value if plan.before else None
    return LoadResult(
        node=plan.spec.node,
        decision=plan.decision,
        status=outcome.status,
        run_id=run.run_id,
        rows_read=read,
        rows_recognised=max(read - kept, 0),
        rows_written=(outcome.written or 0) if loaded else 0,
        rows_updated=outcome.updated,
        late_rows=outcome.late,
        lateness=mark.distance(outcome.latest) if mark is not None and outcome.latest is not None else None,
        version_before=plan.target.version,
        version_after=outcome.version if outcome.version is not None else plan.target.version,
        watermark_before=plan.before,
        watermark_after=plan.after if loaded else plan.before,
        files=outcome.files,
        bytes=outcome.bytes,
        seconds=seconds,
        warnings=tuple(outcome.warnings),
    )


def _unknown(address: SparkAddress, error: HwmError) -> TargetState:
    return TargetState(Existence.UNKNOWN, error.message, location=address.label, hint=error.hint or "")


def _layout(session: SparkSession, reference: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """A table's partition columns and properties: DESCRIBE DETAIL would look at all its files for them."""
    described = iter(session.sql(f"DESCRIBE TABLE EXTENDED {reference}").collect())
    partitions = []
    if any(row[0] == "# Partition Information" for row in described):
        for row in described:
            if row[0] in ("", "# Detailed Table Information"):
                break
            if row[0] != "# col_name":
                partitions.append(str(row[0]))
    found = {str(row[0]): str(row[1]) for row in session.sql(f"SHOW TBLPROPERTIES {reference}").collect()}
    own = {
        key: value
        for key, value in found.items()
        if not key.startswith("delta.feature.")
        and key not in ("delta.minReaderVersion", "delta.minWriterVersion")
    }
    return tuple(partitions), own


def _kept(entries: Iterable[LogEntry], seen: list[LogEntry]) -> Iterator[LogEntry]:
    """The entries, each remembered as it passes."""
    for entry in entries:
        seen.append(entry)
        yield entry


def _complete(seen: list[LogEntry]) -> bool:
    """Whether commits reach back to the first, and all that are ours can be read."""
    try:
        for entry in seen:
            decode(entry)
    except TargetUnknownError:
        return False
    return seen[-1].version == 0


def _sequence(seen: Iterable[LogEntry], node: str) -> int | None:
    """The transaction version of a node's newest commit, one that a RESTORE undid included; they only grow.

    Returns:
        It; None when no commit tells, or a damaged one may be newer.
    """
    try:
        for entry in seen:
            record = decode(entry)
            if record is not None and record.node == node and record.kind != "create":
                return record.seq
    except TargetUnknownError:
        return None
    return None
