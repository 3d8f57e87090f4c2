"""The pandas engine: Arrow batches through delta-rs, without Java or a server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from hwm_magics.connections.local import LocalConnection
from hwm_magics.core.commit_info import app_id, loads, other_nodes, walk
from hwm_magics.core.cursor import CursorType, CursorValue, Scalar
from hwm_magics.core.decided import LoadPlan, LoadResult, Window
from hwm_magics.core.intent import needs_target_maximum, replaces_rows
from hwm_magics.core.observed import CommitRecord, Existence, TargetState
from hwm_magics.core.query import CursorExpression
from hwm_magics.core.specs import LoadSpec, WriteSpec
from hwm_magics.core.steps import Abilities
from hwm_magics.engines.base import RunContext
from hwm_magics.engines.delta_execute import Execution, Outcome, commit_mark
from hwm_magics.engines.delta_limits import UNFIT_PARTITIONS, beyond
from hwm_magics.engines.delta_log import LogReader
from hwm_magics.engines.delta_open import Address, open_table
from hwm_magics.engines.delta_read import arrow_schema_of, columns_of_table, highest, query, scalar, select
from hwm_magics.engines.delta_sql import within
from hwm_magics.engines.local_catalog import LocalCatalog, target_folder
from hwm_magics.errors import (
    BlockedError,
    ConfigError,
    EngineError,
    HwmError,
    PlanError,
    TargetUnknownError,
    UnsupportedByEngineError,
)
from hwm_magics.stream import BatchStream, SparkRead

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

    from hwm_magics.connections.registry import Connections
    from hwm_magics.engines.delta_upkeep import DeltaUpkeep
    from hwm_magics.engines.rows import RowCounts

__all__ = ["PandasEngine"]

MOST_UNLOADED = 200
"""How many commits are looked through for other loads' names in a table that this load never wrote."""


class PandasEngine:
    """See :class:`hwm_magics.engines.base.Engine`.

    Args:
        connections: Where names of storages are looked up.
    """

    capabilities = Abilities("pandas", liquid_clustering=False, unfit_partitions=UNFIT_PARTITIONS)

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def open(self, spec: LoadSpec, cursor: CursorExpression | None = None) -> DeltaTarget:
        """Open a load's target and observe it."""
        if cursor is None and spec.read.cursor is not None:
            cursor = CursorExpression.of(spec.read.cursor)
        try:
            address = self.address(spec.write)
        except TargetUnknownError as error:
            nowhere = Address(spec.write.label, {}, None, None, None)
            return DeltaTarget(nowhere, None, _unknown(nowhere, error))
        try:
            table, absent = open_table(address)
            registered = _registered(address)
            if table is None:
                state = TargetState(Existence.ABSENT, absent, location=address.uri, registered_as=registered)
                return DeltaTarget(address, None, state)
            return DeltaTarget(address, table, _observe(table, address, spec, cursor, registered))
        except (EngineError, PlanError) as error:
            return DeltaTarget(address, None, _unknown(address, error))

    def table_exists(self, connection: str, table: str | None = None, path: str | None = None) -> bool:
        """Whether a Delta table is there; raises :class:`TargetUnknownError` when that can't be told."""
        return open_table(self.address(WriteSpec(connection, path=path, table=table)))[0] is not None

    def history(
        self, spec: LoadSpec, limit: int = 20, *, within: int | None = None
    ) -> tuple[CommitRecord, ...]:
        """The loads that the target's own log knows, newest first, of all nodes."""
        table, _ = open_table(self.address(spec.write))
        if table is None:
            return ()
        return tuple(islice(loads(islice(LogReader(table).back_from(table.version()), within)), limit))

    def set_watermark(self, spec: LoadSpec, record: CommitRecord) -> int:
        """Commit a watermark without rows; see :meth:`hwm_magics.engines.base.Engine.set_watermark`."""
        table, absent = open_table(self.address(spec.write))
        if table is None:
            raise BlockedError(
                f"{spec.write.label} has no watermark to set: {absent}",
                hint="the first run will read everything",
            )
        run = RunContext(record.run_id)
        seq = (table.transaction_version(app_id(record.node)) or 0) + 1
        return commit_mark(table, replace(record, seq=seq), run)

    def catalog(self, connection: str) -> dict[str, str]:
        """Registered names of a connection and the locations they stand for."""
        storage = self._connections.storage(connection)
        return LocalCatalog(Path(storage.root)).names() if isinstance(storage, LocalConnection) else {}

    def address(self, write: WriteSpec) -> Address:
        """Where a target lies.

        Raises:
            ConfigError: The path leaves the connection's root, or a name needs a catalog that the
                storage does not have.
        """
        storage = self._connections.storage(write.connection)
        name = write.register_table or write.table
        if not isinstance(storage, LocalConnection):
            if name is not None and write.path is None:
                raise ConfigError(
                    f"write.table: {name}: the pandas engine keeps names only for local connections",
                    hint="give write.path, or use engine: spark",
                )
            if write.register_table:
                raise UnsupportedByEngineError(
                    f"register_table: {name}: the pandas engine keeps names only for local connections",
                    hint="leave it out, or use engine: spark",
                )
            return Address(storage.uri(write.path or ""), dict(storage.storage_options()), None, None, None)
        catalog = LocalCatalog(Path(storage.root))
        folder = target_folder(storage, catalog, write)
        return Address(str(folder), {}, folder, catalog, name)


class DeltaTarget:
    """See :class:`hwm_magics.engines.base.OpenTarget`.

    Args:
        address: Where the table lies.
        table: The handle; None when it is not there or can't be told.
        state: What was observed.
    """

    def __init__(self, address: Address, table: DeltaTable | None, state: TargetState) -> None:
        self._address = address
        self._table = table
        self.state = state

    def evaluate(self, queries: tuple[str, ...]) -> tuple[CursorValue | Scalar, ...]:
        """Evaluate scalar queries over the target, by DataFusion, on this handle's version."""
        if self._table is None:
            return tuple(None for _ in queries)
        return tuple(scalar(self._table, sql) for sql in queries)

    def maximum(self, cursor: CursorExpression) -> CursorValue | None:
        """MAX(cursor) over the target's data."""
        return None if self._table is None else highest(self._table, cursor)

    def cursor_type(self, cursor: CursorExpression) -> CursorType | None:
        """The type of the cursor column in the target."""
        from hwm_magics.arrow import cursor_type_of

        schema = arrow_schema_of(self._table) if self._table is not None else None
        if schema is None or cursor.column not in schema.names:
            return None
        return cursor_type_of(schema.field(cursor.column).type)

    def count(self, window: Window, cursor: CursorExpression) -> int:
        """How many rows lie in a window of the cursor."""
        files, exact = within(window, cursor, self.state.columns)
        asked = f"SELECT COUNT(*) FILTER (WHERE {exact}) AS n FROM hwm_target WHERE {files}"  # noqa: S608 - quoted
        return int(query(self._there, asked).column(0)[0].as_py())

    def select(self, columns: Sequence[str], window: Window, cursor: CursorExpression) -> pa.Table:
        """Some columns of the rows in a window, in the target's own types."""
        import pyarrow as pa

        files, exact = within(window, cursor, self.state.columns)
        # DataFusion asks the file statistics for each part of a condition that is no CASE.
        where = f"{files} AND CASE WHEN {exact} THEN TRUE ELSE FALSE END"
        return pa.Table.from_batches(select(self._there, list(columns), where))

    @property
    def upkeep(self) -> DeltaUpkeep:
        """The care of the table."""
        from hwm_magics.engines.delta_upkeep import DeltaUpkeep

        return DeltaUpkeep(self._there)

    @property
    def _there(self) -> DeltaTable:
        if self._table is None:
            msg = "the target is not there"
            raise AssertionError(msg)
        return self._table

    def execute(self, plan: LoadPlan, stream: BatchStream | SparkRead, run: RunContext) -> LoadResult:
        """Carry out a plan's steps: one read, one commit."""
        started = time.perf_counter()
        from hwm_magics.engines.rows import RowCounts

        if isinstance(stream, SparkRead):
            msg = "the pandas engine was handed a read of Spark's"
            raise TypeError(msg)

        counts = RowCounts()
        try:
            outcome = Execution(self._address, self._table, plan, stream, run, counts).walk()
        finally:
            stream.close()
        mark = plan.before.value if plan.before else None
        return LoadResult(
            node=plan.spec.node,
            decision=plan.decision,
            status=outcome.status,
            run_id=run.run_id,
            rows_read=counts.read,
            rows_recognised=counts.recognised + counts.superseded,
            rows_written=_written(outcome, counts),
            rows_updated=outcome.updated,
            late_rows=counts.late,
            lateness=counts.lateness(mark),
            version_before=plan.target.version,
            version_after=outcome.version if outcome.version is not None else plan.target.version,
            watermark_before=plan.before,
            watermark_after=plan.after if outcome.status == "loaded" else plan.before,
            files=outcome.files,
            bytes=outcome.bytes,
            seconds=time.perf_counter() - started,
            warnings=tuple(outcome.warnings),
        )


def _written(outcome: Outcome, counts: RowCounts) -> int:
    if outcome.status != "loaded":
        return 0
    return outcome.written if outcome.written is not None else counts.written


def _unknown(address: Address, error: HwmError) -> TargetState:
    return TargetState(Existence.UNKNOWN, error.message, location=address.uri, hint=error.hint or "")


def _registered(address: Address) -> str | None:
    if address.catalog is None or address.name is None:
        return None
    there = address.catalog.location(address.name)
    return str(there) if there is not None else None


def _observe(
    table: DeltaTable,
    address: Address,
    spec: LoadSpec,
    cursor: CursorExpression | None,
    registered: str | None,
) -> TargetState:
    version = table.version()
    seq = table.transaction_version(app_id(spec.node)) or 0
    metadata = table.metadata()
    entries = LogReader(table).back_from(version)
    # Where our transaction id says that we never loaded, the newest part of the log tells who else did.
    found = walk(entries if seq else islice(entries, MOST_UNLOADED), spec.node)
    others = found.other_nodes
    if replaces_rows(spec):
        others = other_nodes(LogReader(table).back_from(version), spec.node)
    columns = columns_of_table(table)
    unsupported = beyond(table, columns)
    state = TargetState(
        Existence.EXISTS,
        f"its log is at version {version}",
        location=address.uri,
        version=version,
        table_id=str(metadata.id),
        columns=columns,
        partition_by=tuple(metadata.partition_columns),
        properties=dict(metadata.configuration),
        has_rows=None if unsupported else _has_rows(table),
        loads=found.loads,
        seq=seq,
        other_nodes=others,
        events=found.events,
        registered_as=registered,
        unsupported=unsupported,
        restores=found.restores,
        replaced=found.replaced,
        created=found.created,
    )
    there = {column.name for column in state.columns}
    known = cursor is not None and cursor.column in there and not unsupported
    if cursor is not None and known and needs_target_maximum(spec, state):
        state = replace(state, max_cursor=highest(table, cursor))
    return state


def _has_rows(table: DeltaTable) -> bool | None:
    """From the log where it is sure; by asking for one row where deletion vectors may hide them all."""
    if not table.count():
        # Files without statistics count for nothing.
        if not table.file_uris():
            return False
    elif "deletionVectors" not in (table.protocol().reader_features or []):
        return True
    found = query(table, "SELECT 1 AS one FROM hwm_target LIMIT 1")
    return bool(found.num_rows)
