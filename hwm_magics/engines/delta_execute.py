"""Walks the steps of a plan on one handle of a Delta table: one read, one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from hwm_magics.arrow.one_stream import in_one_stream, width_of
from hwm_magics.core.commit_info import LogEntry, written
from hwm_magics.core.decided import (
    MANY_SMALL_FILES,
    AppendRows,
    ApplyTransform,
    CheckSchema,
    Commit,
    CreateTable,
    Deduplicate,
    LoadPlan,
    MergeRows,
    OptimizeTable,
    RecogniseRows,
    RegisterTable,
    ReplaceTable,
    ReplaceWindow,
    SchemaChange,
)
from hwm_magics.core.observed import CommitRecord
from hwm_magics.core.query import CursorExpression
from hwm_magics.core.schema import of_types
from hwm_magics.engines.base import Progress, RunContext
from hwm_magics.engines.delta_limits import UNFIT_PARTITIONS
from hwm_magics.engines.delta_log import LogReader
from hwm_magics.engines.delta_open import Address
from hwm_magics.engines.delta_read import arrow_schema_of, require_readable, select
from hwm_magics.engines.delta_sql import bounded, condition
from hwm_magics.engines.delta_upkeep import DeltaUpkeep
from hwm_magics.engines.delta_write import Feed, commit, commit_properties, translated, writer_properties
from hwm_magics.engines.planned import compared_by, cursor_of, kind_of, marks_alone, record_of
from hwm_magics.errors import (
    CommitConflictError,
    CommitError,
    ConfigError,
    UnsupportedByEngineError,
    clean_message,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable, WriterProperties

    from hwm_magics.engines.rows import RowCounts
    from hwm_magics.stream import BatchStream

__all__ = ["Execution", "Outcome", "commit_mark"]


@dataclass(slots=True)
class Outcome:
    """What came of a walk.

    Attributes:
        status: As in :class:`~hwm_magics.core.decided.LoadResult`.
        version: The version that was committed; None for none.
        written: Rows that the commit holds, by its own metrics; None when it does not say.
        updated: Of those, rows that replaced another.
        files, bytes: What the commit added.
        warnings: Sentences.
    """

    status: Literal["loaded", "nothing_new", "already_loaded", "dry_run"] = "nothing_new"
    version: int | None = None
    written: int | None = None
    updated: int = 0
    files: int | None = None
    bytes: int | None = None
    warnings: tuple[str, ...] = ()


class Execution:
    """Walks the steps of one plan."""

    def __init__(
        self,
        address: Address,
        table: DeltaTable | None,
        plan: LoadPlan,
        stream: BatchStream,
        run: RunContext,
        counts: RowCounts,
    ) -> None:
        self._address = address
        self._table = table
        self._plan = plan
        self._run = run
        self._counts = counts
        self._schema = stream.schema
        self._tags = stream.tags
        self._batches = self._counted(stream)
        self._create: CreateTable | None = None
        self._change = SchemaChange()
        self._overlap = False
        self._write: AppendRows | MergeRows | ReplaceTable | ReplaceWindow = AppendRows()
        self._outcome = Outcome()

    def walk(self) -> Outcome:
        """Do each step in its order."""
        for step in self._plan.steps:
            match step:
                case CreateTable():
                    self._create = step
                case ApplyTransform(name):
                    self._transform(name)
                case CheckSchema(_, needed):
                    self._fit(needed)
                case Deduplicate():
                    self._deduplicate(step)
                case RecogniseRows():
                    self._recognise(step)
                case AppendRows() | MergeRows() | ReplaceTable() | ReplaceWindow():
                    self._write = step
                case Commit():
                    if self._run.dry_run:
                        return self._dry_run()
                    self._commit(step)
                    self._run.enter("finishing")
                case RegisterTable(name):
                    if self._address.catalog is not None and self._address.folder is not None and self._table:
                        self._address.catalog.register(name, self._address.folder)
                case OptimizeTable():
                    self._optimize(step)
                case _:
                    pass
        return self._outcome

    def _counted(self, stream: BatchStream) -> Iterator[pa.RecordBatch]:
        counts, run = self._counts, self._run
        total = self._plan.source.count if self._plan.source else None
        for batch in stream.batches:
            run.check()
            counts.read += batch.num_rows
            counts.bytes += batch.nbytes
            run.tell(Progress("reading", counts.read, counts.bytes, total))
            if batch.num_rows:
                yield batch
        run.tell(Progress("committing", counts.read, counts.bytes, total))

    def _transform(self, name: str) -> None:
        from hwm_magics.engines.rows import transformed

        if self._run.transform is None:
            raise ConfigError(
                f"the transform {name!r} is not there", hint="define the function in the notebook"
            )
        self._schema, self._batches = transformed(self._batches, self._schema, self._run.transform, name)

    def _fit(self, needed: tuple[str, ...]) -> None:
        from hwm_magics.engines.rows import fit, require

        require(self._schema, needed, self._plan.spec.transform)
        target = self._plan.target.columns if self._table is not None else None
        there = arrow_schema_of(self._table) if self._table is not None else None
        fitted = fit(self._batches, self._schema, target, there, self._plan.spec.write.schema)
        self._schema, self._batches, self._change = fitted.schema, fitted.batches, fitted.change

    def _deduplicate(self, step: Deduplicate) -> None:
        from hwm_magics.engines.rows import deduplicated

        cursor = cursor_of(self._plan) if step.cursor else None
        self._batches = deduplicated(self._batches, self._schema, step.keys, cursor, self._counts)

    def _recognise(self, step: RecogniseRows) -> None:
        from hwm_magics.engines.rows import Overlap, recognised

        merges = self._plan.step(MergeRows)
        if self._table is None or (self._change.added and merges is not None and not merges.insert_only):
            # A merge also brings the new columns' values of rows that are equal otherwise.
            return
        there = [column.name for column in self._plan.target.columns]
        columns = [*(step.columns or [name for name in self._schema.names if name in there])]
        columns += [name for name in (step.cursor, step.fallback) if name and name not in columns]
        cursor = compared_by(step)
        where = condition(cursor, self._plan.target.columns, step.low, nulls=step.nulls)
        first = next(self._batches, None)
        if first is None:
            return
        self._batches = chain((first,), self._batches)
        missing = {column.name for column in self._change.missing}
        # This is what delta-rs plans first, and a merge gains by several processors.
        with in_one_stream(width_of(first) if merges is None else 0):
            overlap = Overlap.of(select(self._table, columns, where), step, self._schema, missing)
        mark = self._plan.before.value if self._plan.before else None
        self._batches = recognised(self._batches, overlap, self._counts, cursor, mark)
        self._overlap = True

    def _dry_run(self) -> Outcome:
        self._settle()
        next(self._batches, None)
        return Outcome("dry_run")

    def _settle(self) -> None:
        from hwm_magics.engines.rows import recognised

        if not self._overlap:
            self._batches = recognised(self._batches, None, self._counts, None, None)

    def _record(self, step: Commit, kind: str) -> CommitRecord:
        return record_of(self._plan, step, self._run.run_id, kind, self._change, self._tags)

    def _commit(self, step: Commit) -> None:
        run, plan = self._run, self._plan
        self._settle()
        feed = Feed(self._batches, run)
        has_rows = feed.has_rows()
        if self._create is not None:
            made = replace(
                self._record(step, "create"), low=None, high=None, watermark=None, first_load=None, files=None
            )
            self._table = _create(self._address, self._create, self._schema, made)
        table = self._table
        if table is None:
            raise CommitError(
                "the target is not there any more; nothing was written", hint="run the load again"
            )
        replaces = isinstance(self._write, ReplaceTable | ReplaceWindow)
        if not has_rows and not replaces:
            self._mark_only(table, step)
            return
        record = self._record(step, kind_of(plan))
        write = self._writer(table, record, feed)
        version = commit(table, record, feed, run, write, idle=isinstance(self._write, MergeRows))
        if version is None:
            self._mark_only(table, step)
            return
        self._outcome = _described(LogReader(table).entry(version), version)

    def _mark_only(self, table: DeltaTable, step: Commit) -> None:
        """Nothing to write: commit nothing, or the mark alone where it moved."""
        if marks_alone(self._plan, step, self._counts.read):
            chunk = self._plan.chunk is not None
            record = self._record(step, kind_of(self._plan) if chunk else "incremental")
            version = commit_mark(table, record, self._run)
            self._outcome = Outcome("loaded", version=version, written=0)

    def _writer(self, table: DeltaTable, record: CommitRecord, feed: Feed) -> Callable[[], object]:
        import pyarrow as pa
        from deltalake import write_deltalake

        reader = pa.RecordBatchReader.from_batches(self._schema, iter(feed))
        properties = commit_properties(record)
        partitioned = bool(self._plan.target.partition_by or (self._create and self._create.partition_by))
        parquet = writer_properties(feed.first, partitioned=partitioned)
        step = self._write
        if isinstance(step, MergeRows | ReplaceWindow):
            require_readable(table)
        if isinstance(step, MergeRows):
            return self._merger(table, reader, step, record, parquet)
        how: dict[str, Any] = {"mode": "append", "schema_mode": "merge" if self._change.added else None}
        if isinstance(step, ReplaceTable | ReplaceWindow):
            how["mode"] = "overwrite"
        if isinstance(step, ReplaceWindow):
            cursor = CursorExpression(step.cursor, step.fallback)
            how["predicate"] = bounded(step.window, cursor, self._plan.target.columns)

        def write() -> None:
            with in_one_stream(width_of(feed.first)) as feed.begun:
                write_deltalake(table, reader, commit_properties=properties, writer_properties=parquet, **how)

        return write

    def _merger(
        self,
        table: DeltaTable,
        reader: pa.RecordBatchReader,
        step: MergeRows,
        record: CommitRecord,
        parquet: WriterProperties,
    ) -> Callable[[], object]:
        on = " AND ".join(f'target."{key}" = source."{key}"' for key in step.keys)

        def write() -> None:
            merger = table.merge(
                source=reader,
                predicate=on,
                source_alias="source",
                target_alias="target",
                merge_schema=bool(self._change.added),
                commit_properties=commit_properties(record),
                writer_properties=parquet,
            )
            if not step.insert_only:
                merger = merger.when_matched_update_all()
            merger.when_not_matched_insert_all().execute()

        return write

    def _optimize(self, step: OptimizeTable) -> None:
        """After the commit: the rows are safe, so a failure here is a warning."""
        table = self._table
        if table is None or self._outcome.status != "loaded":
            return
        upkeep = DeltaUpkeep(table)
        try:
            if step.z_order:
                upkeep.order(step.z_order)
            elif upkeep.files().small >= MANY_SMALL_FILES:
                upkeep.compact()
        except Exception as error:  # noqa: BLE001 - delta-rs raises several classes, and the load has succeeded
            self._outcome.warnings += (
                f"the load is committed, and optimizing failed: {clean_message(error)}",
            )


def _described(entry: LogEntry | None, version: int) -> Outcome:
    told = written(entry.metrics if entry is not None else {})
    size = entry.added_bytes if entry is not None else None
    return Outcome("loaded", version, told.rows, told.updated or 0, told.files, size)


def commit_mark(table: DeltaTable, record: CommitRecord, run: RunContext) -> int:
    """A commit without rows: an empty append, which carries its properties all the same."""
    import pyarrow as pa
    from deltalake import write_deltalake

    reader = pa.RecordBatchReader.from_batches(arrow_schema_of(table), iter(()))
    properties = commit_properties(record)

    def write() -> None:
        write_deltalake(table, reader, mode="append", commit_properties=properties)

    version = commit(table, record, None, run, write)
    if version is None:
        raise CommitError("the watermark was not committed", hint="run it again")
    return version


def _create(address: Address, step: CreateTable, schema: pa.Schema, record: CommitRecord) -> DeltaTable:
    """Create the empty table; exactly one of several racing loads does."""
    import pyarrow as pa
    from deltalake import DeltaTable

    from hwm_magics.arrow import columns_of

    loose = pa.schema([field.with_nullable(True) for field in schema])
    # After a transform only the rows tell the columns.
    if unfit := of_types(columns_of(loose), step.partition_by, UNFIT_PARTITIONS):
        raise UnsupportedByEngineError(
            f"delta-rs would write or read values wrong of the partition columns {', '.join(unfit)}; nothing was "
            "written",
            hint="partition by another column, or use engine: spark",
        )
    try:
        table = DeltaTable.create(
            address.uri,
            schema=loose,
            mode="error",
            partition_by=list(step.partition_by) or None,
            configuration=dict(step.properties) or None,
            storage_options=address.options or None,
            commit_properties=commit_properties(record, retries=0),
        )
    except Exception as error:
        text = clean_message(error)
        lower = text.lower()
        if "already exists" in lower or "transaction: 0" in lower or "version 0" in lower:
            raise CommitConflictError("another load created the table first; nothing was written") from error
        raise translated(error) from error
    if table.version() != 0:
        # The handle is opened after the create. Had another load committed in between, this one's commit
        # would be made on top of it, and the compare-and-set would see nothing amiss.
        raise CommitConflictError("another load filled the new table first; nothing was written by this one")
    return table
