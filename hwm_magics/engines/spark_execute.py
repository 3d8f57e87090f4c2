"""Walks the steps of a plan on Spark: one read, one commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from hwm_magics.core.commit_info import LogEntry, written
from hwm_magics.core.cursor import CursorKind, CursorValue
from hwm_magics.core.decided import (
    MANY_SMALL_FILES,
    AppendRows,
    ApplyTransform,
    CheckSchema,
    Commit,
    CreateTable,
    Decision,
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
from hwm_magics.engines import spark_between, spark_rows
from hwm_magics.engines.base import Progress, RunContext
from hwm_magics.engines.delta_sql import bounded
from hwm_magics.engines.planned import cursor_of, kind_of, marks_alone, record_of
from hwm_magics.engines.spark_commit import (
    TXN_APP,
    TXN_VERSION,
    USER_METADATA,
    commit,
    empty_append,
    fresh_sequence,
    save,
    transaction,
    translated,
)
from hwm_magics.engines.spark_create import create, register
from hwm_magics.engines.spark_held import HeldRows, overlapping, overlapping_here
from hwm_magics.engines.spark_history import moment_of
from hwm_magics.engines.spark_open import SparkAddress
from hwm_magics.engines.spark_sql import DIALECT, literal, quote
from hwm_magics.engines.spark_upkeep import SparkUpkeep
from hwm_magics.errors import (
    CommitConflictError,
    CommitError,
    ConfigError,
    HwmError,
    LoadCancelled,
)
from hwm_magics.spark.failures import first_line
from hwm_magics.spark.running import isolated, run_job
from hwm_magics.stream import BatchStream, SparkRead

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, Observation, SparkSession

    from hwm_magics.engines.rows import RowCounts

__all__ = ["Execution", "Outcome"]

T = TypeVar("T")

OBSERVED_WITHIN = 5.0
"""Seconds to wait for figures that were observed while a job ran; Spark never gives them after some jobs."""


@dataclass(slots=True)
class Outcome:
    """What came of a walk.

    Attributes:
        status: As in :class:`~hwm_magics.core.decided.LoadResult`.
        version: The version that was committed; None for none.
        read: Rows that the source sent; None when that was not observed.
        kept: Of those, rows that the target did not hold.
        written: Rows that the commit holds, by its own metrics.
        updated: Of those, rows that replaced another.
        late: Rows at or below the old watermark that were not in the target.
        latest: The lowest cursor value among those.
        files, bytes: What the commit added.
        warnings: Sentences.
    """

    status: Literal["loaded", "nothing_new", "already_loaded", "dry_run"] = "nothing_new"
    version: int | None = None
    read: int | None = None
    kept: int | None = None
    written: int | None = None
    updated: int = 0
    late: int = 0
    latest: CursorValue | None = None
    files: int | None = None
    bytes: int | None = None
    warnings: tuple[str, ...] = ()


class Execution:
    """Walks the steps of one plan."""

    def __init__(
        self,
        session: SparkSession,
        address: SparkAddress,
        plan: LoadPlan,
        stream: BatchStream | SparkRead,
        run: RunContext,
        held_rows: int,
    ) -> None:
        self._session = session
        self._held_rows = held_rows
        self._held: HeldRows | None = None
        self._counts: RowCounts | None = None
        self._address = address
        self._plan = plan
        self._stream = stream
        self._tags = stream.tags
        self._run = run
        self._version = plan.target.version
        self._frame: DataFrame | None = None
        self._free: Callable[[], None] = lambda: None
        self._read: int | None = None
        self._create: CreateTable | None = None
        self._change = SchemaChange()
        self._recognised = False
        self._seen: Observation | None = None
        self._counter: Observation | None = None
        self._write: AppendRows | MergeRows | ReplaceTable | ReplaceWindow = AppendRows()
        self._outcome = Outcome()
        self._slipped_in: tuple[str, ...] = ()

    def walk(self) -> Outcome:
        """Do each step in its order."""
        try:
            self._walk()
        finally:
            self._free()
        self._outcome.read = self._read if self._read is not None else self._outcome.read
        self._outcome.warnings += self._slipped_in
        return self._outcome

    def _walk(self) -> None:
        self._take_rows()
        for step in self._plan.steps:
            match step:
                case CreateTable():
                    self._create = step
                case ApplyTransform(name):
                    self._transform(name)
                case CheckSchema(_, needed):
                    self._fit(needed)
                case Deduplicate(keys, cursor):
                    self._deduplicate(keys, cursor_of(self._plan) if cursor else None)
                case RecogniseRows():
                    self._recognise(step)
                case AppendRows() | MergeRows() | ReplaceTable() | ReplaceWindow():
                    self._write = step
                case Commit():
                    if self._run.dry_run:
                        self._job(lambda: self._rows.limit(1).collect())
                        self._outcome = Outcome("dry_run")
                        return
                    self._commit(step)
                case RegisterTable(name):
                    if self._version is not None:
                        register(self._session, self._address, name)
                case OptimizeTable():
                    self._optimize(step)
                case _:
                    pass

    @property
    def _rows(self) -> DataFrame:
        """The rows as a frame. From here on Spark has them: nothing more is done to them in this process."""
        if self._held is not None:
            held, self._held = self._held, None
            frame = spark_rows.frame_of(self._session, held.table())
            self._frame = frame.coalesce(1) if len(held) <= self._held_rows else frame
        if self._frame is None:
            msg = "the plan has no rows"
            raise AssertionError(msg)
        return self._frame

    # What is read

    def _take_rows(self) -> None:
        stream = self._stream
        if isinstance(stream, BatchStream):
            rows, self._free = spark_rows.taken(self._session, self._counted(stream), stream.schema)
            if not isinstance(rows, list):
                self._frame = rows
                return
            held = HeldRows(stream.schema, rows)
            self._held = held
            if len(held) > self._held_rows or self._plan.spec.transform is not None:
                _ = self._rows
            return
        self._run.failpoint("mid_read")
        self._frame = spark_rows.frame_read(self._session, stream)
        if self._surely_new and self._plan.step(MergeRows) is None:
            from pyspark.sql import Observation
            from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it

            # It tells of the first job over the rows, which must be the one that writes them.
            self._counter = Observation()
            self._frame = self._frame.observe(self._counter, F.count(F.lit(1)).alias("read"))

    def _counted(self, stream: BatchStream) -> Iterator[pa.RecordBatch]:
        run = self._run
        total = self._plan.source.count if self._plan.source else None
        self._read = size = 0
        for batch in stream.batches:
            run.check()
            if not batch.num_rows:
                continue
            if not self._read:
                run.failpoint("mid_read")
            self._read += batch.num_rows
            size += batch.nbytes
            run.on_progress(Progress("reading", self._read, size, total))
            yield batch
        if not self._read:
            run.failpoint("mid_read")

    def _transform(self, name: str) -> None:
        if self._run.transform is None:
            raise ConfigError(
                f"the transform {name!r} is not there", hint="define the function in the notebook"
            )
        self._frame = spark_rows.transformed(self._rows, self._run.transform, name)

    def _fit(self, needed: tuple[str, ...]) -> None:
        target = self._plan.target.columns if self._version is not None else None
        schema = self._plan.spec.write.schema
        if self._held is not None:
            self._change = self._held.fit(needed, target, schema)
            return
        spark_rows.required(self._rows, needed, self._plan.spec.transform)
        self._frame, self._change = spark_rows.fit(self._rows, target, schema)

    def _deduplicate(self, keys: tuple[str, ...], cursor: CursorExpression | None) -> None:
        if self._held is not None:
            self._held.deduplicate(keys, cursor)
        else:
            self._frame = spark_rows.deduplicated(self._rows, keys, cursor)

    def _recognise(self, step: RecogniseRows) -> None:
        merges = self._plan.step(MergeRows)
        if self._version is None or (self._change.added and merges is not None and not merges.insert_only):
            # A merge also brings the new columns' values of rows that are equal otherwise.
            return
        if self._held is not None and self._recognise_held(self._held, step):
            return
        self._frame = spark_rows.recognised(
            self._rows, self._there(), step, self._change, self._plan.target.columns
        )
        self._recognised = True

    def _recognise_held(self, held: HeldRows, step: RecogniseRows) -> bool:
        """Compare in this process; False when the target has too many rows to be compared with."""
        if not len(held):
            return True
        overlap = self._overlap(step)
        if overlap is None:
            return False
        before = self._plan.before
        held.recognise(overlap, step, self._change, before.value if before is not None else None)
        self._counts = held.counts
        return True

    def _overlap(self, step: RecogniseRows) -> list[pa.RecordBatch] | None:
        """The target's rows that may come again; None when they are too many for this process."""
        columns, folder = self._plan.target.columns, self._address.folder
        compared = step.columns or tuple(column.name for column in columns)
        if folder is not None and self._version is not None:
            with suppress(Exception):  # what can't be read here is Spark's to read, or to tell why not
                return overlapping_here(folder, self._version, step, compared, columns)
        there = self._there()
        return self._job(lambda: overlapping(there, step, compared, columns))

    def _there(self) -> DataFrame:
        """The target at the version that was planned with."""
        return self._session.sql(
            f"SELECT * FROM {self._address.reference} VERSION AS OF {self._version}"  # noqa: S608 - quoted
        )

    # What is committed

    def _commit(self, step: Commit) -> None:
        run, plan = self._run, self._plan
        run.check()
        replaces = isinstance(self._write, ReplaceTable | ReplaceWindow)
        if isinstance(self._write, MergeRows) and self._write.insert_only and self._version is not None:
            # Spark commits a MERGE that changes nothing, so what is there already is left out before.
            keys = list(self._write.keys)
            self._frame = self._rows.join(self._there().select(*map(quote, keys)), keys, "left_anti").select(
                *map(quote, self._rows.columns)
            )
        empty = not replaces and self._is_empty()
        run.failpoint("after_read")
        run.failpoint("before_put")
        if self._create is not None:
            self._make(self._create, self._record(step, "create"))
        elif self._version is None:
            raise CommitError(
                "the target is not there any more; nothing was written", hint="run the load again"
            )
        if empty:
            self._mark_only(step)
            return
        record = self._record(step, kind_of(plan))
        entry = self._committed(record, self._writer(record), idle=isinstance(self._write, MergeRows))
        if entry is None:
            self._mark_only(step)
            return
        self._describe(entry)

    def _is_empty(self) -> bool:
        """Whether there is nothing to write. Spark is asked only where the plan can't tell."""
        if self._read == 0:
            return True
        if self._held is not None:
            return not len(self._held)
        if self._surely_new:
            return False
        return bool(self._job(self._rows.isEmpty))

    @property
    def _surely_new(self) -> bool:
        """Whether the source has told of a row above the mark, and nothing can drop it."""
        source, before = self._plan.source, self._plan.before
        if source is None or self._plan.spec.transform is not None:
            return False
        if self._plan.decision is Decision.RESUME:
            return source.lowest is not None
        return source.high is not None and (before is None or source.high > before.value)

    def _record(self, step: Commit, kind: str) -> CommitRecord:
        return record_of(self._plan, step, self._run.run_id, kind, self._change, self._tags)

    def _make(self, step: CreateTable, record: CommitRecord) -> None:
        """Create the empty table."""
        empty = replace(record, low=None, high=None, watermark=None, first_load=None, files=None)
        columns = spark_rows.columns_of_frame(self._rows)
        clusters = self._plan.spec.write.cluster_by
        create(self._session, self._address, step, columns, clusters, empty, self._job)
        self._version = 0

    def _observed(self, rows: DataFrame) -> DataFrame:
        """The rows, with the late ones counted while they pass: no second read."""
        from pyspark.sql import Observation
        from pyspark.sql import functions as F  # noqa: N812

        before, cursor = self._plan.before, cursor_of(self._plan)
        if not self._recognised or before is None or cursor is None:
            return rows
        expression = F.expr(cursor.sql(DIALECT))
        late = F.when(expression <= F.expr(literal(before.value)), expression)
        # The text of a moment would be in the session's zone.
        zoned = before.value.type.kind is CursorKind.TIMESTAMP_TZ
        latest = F.unix_micros(F.min(late)) if zoned else F.min(late)
        self._seen = Observation()
        return rows.observe(self._seen, F.count(late).alias("late"), latest.cast("string").alias("latest"))

    def _writer(self, record: CommitRecord) -> Callable[[], object]:
        step = self._write
        if isinstance(step, MergeRows):
            return self._merger(step, record)
        rows = self._observed(self._rows)
        options = {**transaction(record), **({"mergeSchema": "true"} if self._change.added else {})}
        mode = "append"
        if isinstance(step, ReplaceTable | ReplaceWindow):
            mode = "overwrite"
            # A plain overwrite loses the table's clustering; replacing where it is true keeps all it is.
            options["replaceWhere"] = (
                bounded(
                    step.window,
                    CursorExpression(step.cursor, step.fallback),
                    self._plan.target.columns,
                    DIALECT,
                    literal,
                )
                if isinstance(step, ReplaceWindow)
                else "true"
            )
        if self._plan.spec.write.optimize_write:
            options["optimizeWrite"] = "true"
        writer = rows.write.format("delta").mode(mode).options(**options)

        return lambda: save(writer, self._address)

    def _merger(self, step: MergeRows, record: CommitRecord) -> Callable[[], object]:
        on = " AND ".join(f"target.{quote(key)} = source.{quote(key)}" for key in step.keys)
        evolving = " WITH SCHEMA EVOLUTION" if self._change.added else ""
        matched = "" if step.insert_only else " WHEN MATCHED THEN UPDATE SET *"
        view = f"hwm_{self._run.run_id.replace('-', '_')}"
        remote = self._address.folder is None

        def write() -> None:
            with isolated(self._session, self._rows, view, storage=remote) as (other, name):
                for key, value in transaction(record, TXN_APP, TXN_VERSION, USER_METADATA).items():
                    other.conf.set(key, value)
                # Only the session that runs the statement hears what was observed on the way.
                self._observed(other.table(name)).createOrReplaceTempView(f"{view}_rows")
                other.sql(
                    f"MERGE{evolving} INTO {self._address.reference} AS target USING {view}_rows AS source ON {on}"
                    f"{matched} WHEN NOT MATCHED THEN INSERT *"
                ).collect()

        return write

    def _mark_only(self, step: Commit) -> None:
        """Nothing to write: commit nothing, or the mark alone where it moved."""
        if marks_alone(self._plan, step, self._read):
            chunk = self._plan.chunk is not None
            record = self._record(step, kind_of(self._plan) if chunk else "incremental")
            entry = self._committed(record, empty_append(self._session, self._address, record), idle=False)
            self._outcome = Outcome("loaded", version=entry.version if entry else None, written=0)

    def _committed(self, record: CommitRecord, write: Callable[[], object], *, idle: bool) -> LogEntry | None:
        if self._version is not None:
            spark_between.require_unmoved(self._session, self._address, record, self._version)
        if self._plan.target.forgotten:
            self._anchor(record)
        entry = commit(
            self._session, self._address, record, write, self._run, self._version or 0, self._tasks, idle=idle
        )
        if entry is not None:
            self._slipped_in += spark_between.slipped_in(
                self._session, self._address, record, self._version or 0, entry
            )
        return entry

    def _anchor(self, record: CommitRecord) -> None:
        """Start the node's sequence anew, where the log no longer tells how far it had come.

        The table may remember a transaction version that no public API tells, and would silently skip
        what is not above it. A commit without rows takes one that is surely above, and the load starts
        again from there.
        """
        nothing = replace(record, watermark=None, low=None, high=None, files=None)
        fresh = replace(nothing, kind="anchor", seq=fresh_sequence())
        commit(
            self._session,
            self._address,
            fresh,
            empty_append(self._session, self._address, fresh),
            self._run,
            self._version or 0,
            self._tasks,
            idle=False,
        )
        raise CommitConflictError("the load's sequence was started anew, since its log had expired")

    def _describe(self, entry: LogEntry) -> None:
        told = written(entry.metrics)
        outcome = Outcome(
            "loaded", entry.version, written=told.rows, updated=told.updated or 0, files=told.files
        )
        outcome.bytes = entry.added_bytes
        source_rows = entry.metrics.get("numSourceRows")
        outcome.kept = int(str(source_rows)) if source_rows is not None else told.rows
        if self._read is None:
            outcome.read = int(str(_observed(self._counter).get("read", outcome.kept or 0)))
        if self._counts is not None:
            outcome.late, outcome.latest = self._counts.late, self._counts.latest
        seen = _observed(self._seen)
        before = self._plan.before
        if before is not None and seen.get("late"):
            outcome.late = int(str(seen["late"]))
            latest = str(seen["latest"])
            zoned = before.value.type.kind is CursorKind.TIMESTAMP_TZ
            outcome.latest = before.value.type.value(moment_of(int(latest)) if zoned else latest)
        self._outcome = outcome

    def _optimize(self, step: OptimizeTable) -> None:
        """After the commit: the rows are safe, so a failure here is a warning."""
        version = self._outcome.version
        if self._outcome.status != "loaded" or version is None:
            return
        upkeep = SparkUpkeep(self._session, self._address, version)
        try:
            if not step.z_order and upkeep.files().small < MANY_SMALL_FILES:
                return
            self._job(lambda: self._session.sql(f"OPTIMIZE {self._address.reference}").collect())
        except Exception as error:  # noqa: BLE001 - Spark raises several classes, and the load has succeeded
            self._outcome.warnings += (f"the load is committed, and optimizing failed: {first_line(error)}",)

    # How Spark is asked

    def _job(self, action: Callable[[], T]) -> T:
        try:
            return run_job(
                self._session,
                action,
                tag=f"hwm_magics-{self._run.run_id}",
                cancelled=self._run.cancelled,
                on_tasks=self._tasks,
            )
        except HwmError:
            raise
        except Exception as error:
            if self._run.cancelled.is_set():
                raise LoadCancelled("the load was cancelled; nothing was written") from error
            raise translated(error) from error

    def _tasks(self, done: int, known: int) -> None:
        total = self._plan.source.count if self._plan.source else None
        self._run.on_progress(Progress("committing", self._read or 0, 0, total, done, known))


def _observed(observation: Observation | None) -> Mapping[str, object]:
    """What was observed while rows passed; nothing when Spark does not say."""
    if observation is None:
        return {}
    found: list[Mapping[str, object]] = []
    waiting = threading.Thread(target=lambda: found.append(observation.get), daemon=True)
    waiting.start()
    waiting.join(OBSERVED_WITHIN)
    return found[0] if found else {}
