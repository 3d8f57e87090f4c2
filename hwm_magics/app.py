"""The use cases: plan, load, status, history. The only place where configuration meets engines."""

from __future__ import annotations

import importlib
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeVar

from hwm_magics import errors, telemetry
from hwm_magics.connections.spark import SparkConnection
from hwm_magics.core.by_version import version_of
from hwm_magics.core.decided import Decision, LoadPlan, LoadResult, ReadRows
from hwm_magics.core.intent import Intent, cursor_spec, intend
from hwm_magics.core.observed import CommitRecord, Existence, TargetState, Watermark
from hwm_magics.core.plan import continues, moves, plan_load
from hwm_magics.core.query import CursorExpression, SourceQuery, Way, prepare
from hwm_magics.core.specs import LoadSpec, ReadSpec, WriteMode
from hwm_magics.core.statement import Param
from hwm_magics.core.steps import Abilities
from hwm_magics.core.window import looks_back
from hwm_magics.engines.base import Engine, Failpoint, OpenTarget, Progress, RunContext
from hwm_magics.errors import (
    BlockedError,
    CommitConflictError,
    ConfigError,
    QueryError,
    SourceChangedError,
    StalePlanError,
)
from hwm_magics.sources.base import Source, SourceRequest

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyspark.sql import SparkSession

    from hwm_magics.connections.registry import Connections
    from hwm_magics.stream import BatchStream

__all__ = ["MOST_RETRIES", "Prepared", "TargetStatus", "Workspace"]

T = TypeVar("T")

MOST_RETRIES = 3
"""How often a load that lost a race looks again and starts anew."""


NEWEST_COMMITS = 200
"""How many commits are looked through for the loads that a plan is shown with."""


def _no_failpoint(_name: str) -> None:
    return None


@dataclass(slots=True)
class Prepared:
    """A plan together with what it was made on, still open.

    Attributes:
        plan: The plan.
        target: The target, opened at the version that the plan was made with.
        source: The source; None when the plan was BLOCKED before it was asked.
        abilities: What the engine can do.
    """

    plan: LoadPlan
    target: OpenTarget
    source: Source | None
    abilities: Abilities = field(default_factory=Abilities)


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """How a load's target stands.

    Attributes:
        node: The load's name.
        location: The target's address.
        existence: Whether it is there.
        evidence: How that was established.
        version: Its version.
        watermark: Its mark, and where it was found; None without one.
        last: The last load that holds; None for none.
        events: Whether its first load is unfinished, and what others did to its rows since, as sentences.
        files: Where files tell what is new: how many the target holds; None elsewhere, and where its log does not tell.
    """

    node: str
    location: str
    existence: Existence
    evidence: str
    version: int | None
    watermark: Watermark | None
    last: CommitRecord | None
    events: tuple[str, ...] = ()
    files: int | None = None


@dataclass(slots=True)
class Workspace:
    """What a notebook, a job or a call knows: its connections and where names are looked up.

    Attributes:
        connections: The connections.
        lookup: Gives a notebook variable by its name, or raises KeyError; None without a notebook.
        failpoint: For tests that die at named places.
    """

    connections: Connections
    lookup: Callable[[str], object] | None = None
    failpoint: Failpoint = field(default=_no_failpoint)

    def engine(self, spec: LoadSpec) -> Engine:
        """The engine of a load; see :meth:`engine_named`."""
        return self.engine_named(spec.engine if spec.engine != "auto" else self._suited(spec))

    def _suited(self, spec: LoadSpec) -> str:
        """``spark`` for what only Spark can read, so that its rows need not come through this process."""
        name = spec.read.connection
        read_by_spark = spec.read.format == "orc" or (
            name in self.connections and isinstance(self.connections.get(name), SparkConnection)
        )
        return "spark" if read_by_spark else "auto"

    def engine_named(self, name: str) -> Engine:
        """An engine.

        Args:
            name: ``pandas``; ``spark``, in the session that the process has or in one that is built;
                ``auto`` for Spark where the process has a session, and pandas elsewhere.

        Raises:
            EngineNotInstalledError: Its packages are not installed, or the session has no Delta Lake.
            EngineError: Spark does not start.
        """
        if name == "spark" or (name == "auto" and "pyspark" in sys.modules):
            from hwm_magics.spark import session

            found = session.active()
            if found is None and name == "spark":
                found = self._built_session()
            if found is not None:
                from hwm_magics.engines.spark_engine import SparkEngine

                return SparkEngine(self.connections, found)
        from hwm_magics.engines.pandas_engine import PandasEngine

        return PandasEngine(self.connections)

    def _built_session(self) -> SparkSession:
        """A session of our own, with the connectors of the storages that connections name."""
        from hwm_magics.connections.hadoop import connectors
        from hwm_magics.spark import session

        return session.build(packages=connectors(self.connections))

    def table_exists(self, connection: str, table: str | None = None, path: str | None = None) -> bool:
        """Whether a Delta table is there; see :meth:`hwm_magics.engines.base.Engine.table_exists`."""
        return self.engine_named("auto").table_exists(connection, table=table, path=path)

    def source(self, spec: LoadSpec) -> Source:
        """The source of a load, connected.

        Raises:
            ConfigError: Its connection is not there, or is storage.
            SourceError: It can't be reached.
        """
        from hwm_magics.sources.factory import open_source

        read = spec.read
        if read.path is not None:
            storage = self.connections.storage(read.connection, "read.connection, for files,")
            if self.engine(spec).capabilities.engine == "spark":
                from hwm_magics.sources import files_spark
                from hwm_magics.spark import session

                return files_spark.open_files(storage, read, session.active() or self._built_session())
            from hwm_magics.sources import files_arrow, files_delta

            opened = files_delta.open_delta if read.format == "delta" else files_arrow.open_files
            return opened(storage, read)
        return open_source(self.connections.database(read.connection), read)

    def now(self) -> datetime:
        """This machine's clock."""
        return datetime.now(UTC)

    def plan(self, spec: LoadSpec) -> LoadPlan:
        """Look at target and source, and decide. Nothing is written.

        Args:
            spec: What was asked for.

        Returns:
            The plan; BLOCKED plans are returned, not raised.

        Raises:
            ConfigError: A connection is not there, or the target's address is refused.
            SourceError: The source can't be reached, or refuses the query.
        """
        with self.prepared(spec) as ready:
            return ready.plan

    @contextmanager
    def prepared(self, spec: LoadSpec) -> Iterator[Prepared]:
        """Plan, and keep target and source open on what the plan was made with."""
        engine = self.engine(spec)
        with _at_line(spec.read), self.source(spec) as source:
            query = prepare(spec.read, spec.write, source.dialect)
            with telemetry.span("hwm.observe", {"hwm.node": spec.node}) as tell:
                target = engine.open(spec, query.cursor if query.way is not Way.TARGET else None)
                self.failpoint("after_handle")
                intent = intend(spec, query, target.state)
                values = _target_values(query, target, intent)
                asked = None
                if intent.blocker is None:
                    asked_at = self.now()
                    request = _request(spec, query, intent, values, target.state, engine.capabilities)
                    asked = replace(source.observe(request), asked_at=asked_at)
                    self.failpoint("after_clock")
                tell({"hwm.target.existence": target.state.existence.value})
            with telemetry.span("hwm.plan", {"hwm.node": spec.node}) as tell:
                plan = plan_load(
                    spec, query, target.state, asked, values=values, abilities=engine.capabilities
                )
                tell({"hwm.engine": plan.engine, "hwm.decision": plan.decision.value})
            yield Prepared(plan, target, source, engine.capabilities)

    def load(
        self,
        spec: LoadSpec,
        *,
        approved: LoadPlan | None = None,
        dry_run: bool = False,
        cancelled: threading.Event | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_plan: Callable[[LoadPlan], None] | None = None,
    ) -> LoadResult:
        """Plan and carry the plan out: one read, one commit. Of a first load in chunks that is the next chunk;
        :class:`hwm_magics.jobs.chunks.InChunks` makes them all.

        A load that loses a race to another of the same node looks again and starts anew, at most
        :data:`MOST_RETRIES` times.

        Args:
            spec: What was asked for.
            approved: The plan that a person approved; anything but a moved window refuses it. A first load
                in chunks that was approved may also go on where it was broken off.
            dry_run: Read and check the first rows, and write nothing.
            cancelled: Set it to stop the load before its commit.
            on_progress: Told how far it has come, from this thread.
            on_plan: Told each plan before it is carried out.

        Returns:
            What happened.

        Raises:
            PlanError: The plan is BLOCKED, or is no longer what was approved.
            SourceError, CommitError, LoadCancelled: See the classes; nothing was written, except
                after :class:`~hwm_magics.errors.CommitOutcomeUnknownError`, which can't tell.
        """
        with telemetry.load_span(spec) as seen:
            if seen is not None:
                on_plan = _both(seen.planned, on_plan)
                on_progress = _both(seen.progressed, on_progress)
            result = self._load(
                spec,
                approved=approved,
                dry_run=dry_run,
                cancelled=cancelled,
                on_progress=on_progress,
                on_plan=on_plan,
            )
            if seen is not None:
                seen.loaded(result)
            return result

    def _load(
        self,
        spec: LoadSpec,
        *,
        approved: LoadPlan | None,
        dry_run: bool,
        cancelled: threading.Event | None,
        on_progress: Callable[[Progress], None] | None,
        on_plan: Callable[[LoadPlan], None] | None,
    ) -> LoadResult:
        started = time.perf_counter()
        transform = self._transform(spec)
        for attempt in range(MOST_RETRIES + 1):
            with self.prepared(spec) as ready:
                plan = ready.plan
                if approved is not None:
                    _check_fresh(approved, plan, retried=attempt > 0)
                if on_plan is not None:
                    on_plan(plan)
                _raise_blocked(plan)
                run = RunContext(
                    str(uuid.uuid4()), transform=transform, dry_run=dry_run, failpoint=self.failpoint
                )
                if cancelled is not None:
                    run.cancelled = cancelled
                if on_progress is not None:
                    run.on_progress = on_progress
                try:
                    result = _execute(ready, run)
                except (CommitConflictError, SourceChangedError):
                    if attempt == MOST_RETRIES:
                        raise
                    continue
            if attempt and result.status == "nothing_new":
                result = replace(result, status="already_loaded")
            chunks = 1 if plan.chunk is not None and result.status == "loaded" else 0
            seconds = time.perf_counter() - started
            return replace(result, retries=attempt, seconds=seconds, chunks=chunks)
        raise AssertionError("unreachable")  # pragma: no cover - the loop returns or raises

    def status(self, spec: LoadSpec) -> TargetStatus:
        """How a load's target stands; the source is not asked."""
        state = self.engine(spec).open(spec).state
        last = state.last_load
        mark = last.watermark if last is not None else None
        if mark is None and state.max_cursor is not None and spec.read.cursor is not None:
            mark = Watermark(spec.read.cursor.column, state.max_cursor, "data")
        events = tuple(event.text for event in state.events) + state.restores
        if last is not None and last.unfinished is not None:
            told = f"the first load is unfinished: it has come to {last.watermark}, of {last.unfinished.goal}"
            events = (f"{told}; the next run goes on", *events)
        manifest = state.manifest if spec.by_files else None
        return TargetStatus(
            spec.node,
            state.location,
            state.existence,
            state.evidence,
            state.version,
            mark,
            last,
            events,
            len(manifest.files) if manifest is not None else None,
        )

    def existing(self, spec: LoadSpec, purpose: str, cursor: CursorExpression | None = None) -> OpenTarget:
        """A load's target, which must be there.

        Args:
            spec: The load.
            purpose: What for, such as ``to roll back``: it completes "there is no table …".
            cursor: What its rows are ordered by, where that is known.

        Raises:
            BlockedError: There is no such table.
            TargetUnknownError: Whether there is one can't be told.
        """
        target = self.engine(spec).open(spec, cursor)
        state = target.state
        if state.existence is Existence.ABSENT:
            raise BlockedError(f"there is no table {purpose}: {state.evidence}", hint="run the load first")
        if state.existence is Existence.UNKNOWN:
            raise errors.TargetUnknownError(
                f"whether there is a table {purpose} can't be told: {state.evidence}", hint=state.hint or None
            )
        return target

    def history(self, spec: LoadSpec, limit: int = 20) -> tuple[CommitRecord, ...]:
        """The loads that the target's own log knows, newest first."""
        return self.engine(spec).history(spec, limit)

    def recent(self, plan: LoadPlan, limit: int) -> tuple[CommitRecord, ...]:
        """The newest loads of a plan's target, for people: found in the newest commits, or not at all."""
        if plan.target.version is None:
            return ()
        return self.engine(plan.spec).history(plan.spec, limit, within=NEWEST_COMMITS)

    def count(self, plan: LoadPlan) -> int | None:
        """Have the source count the rows that a plan would read; None for a plan that reads none.

        Raises:
            SourceError: The source can't be reached, or refuses.
        """
        if plan.count_statement is None:
            return None
        with self._source_of(plan) as source:
            return int(source.scalar(plan.count_statement) or 0)

    def sample(self, plan: LoadPlan, limit: int) -> pa.Table | None:
        """The first rows that a plan would read, before any transform; None for a plan that reads none.

        Args:
            plan: The plan.
            limit: At most so many.

        Raises:
            SourceError: The source can't be reached, or refuses.
        """
        import pyarrow as pa

        reading = plan.step(ReadRows)
        if reading is None:
            return None
        with self._source_of(plan) as source:
            stream = source.open(reading.statement)
            try:
                first = next((batch for batch in stream.batches if batch.num_rows), None)
                batches = [first.slice(0, limit)] if first is not None else []
                return pa.Table.from_batches(batches, stream.schema)
            finally:
                stream.close()

    @contextmanager
    def _source_of(self, plan: LoadPlan) -> Iterator[Source]:
        """The source of a plan, for what the plan has chosen."""
        with self.source(plan.spec) as source:
            if plan.source is not None:
                source.resume(plan.source)
            yield source

    def _transform(self, spec: LoadSpec) -> Callable[[pd.DataFrame], pd.DataFrame] | None:
        name = spec.transform
        if name is None:
            return None
        found: object = None
        if ":" in name:
            module, _, attribute = name.partition(":")
            try:
                found = getattr(importlib.import_module(module), attribute, None)
            except ImportError as error:
                raise ConfigError(f"transform: {name}: {error}", hint="write module:function") from error
        elif self.lookup is not None:
            try:
                found = self.lookup(name)
            except LookupError:
                found = None
        if not callable(found):
            raise ConfigError(
                f"transform: {name!r} is no function here",
                hint="define it in a cell above, or write module:function",
            )
        return found


@contextmanager
def _at_line(read: ReadSpec) -> Iterator[None]:
    """Have what is wrong with the query name the line where it stands."""
    try:
        yield
    except QueryError as error:
        if read.line is not None:
            what = "read.query" if read.query is not None else "read.table"
            error.message = f"{error.message} ({what}, line {read.line})"
        raise


def _target_values(query: SourceQuery, target: OpenTarget, intent: Intent) -> tuple[Param, ...]:
    if intent.blocker is not None or intent.first_run or not query.target_queries:
        return ()
    found = target.evaluate(query.target_sql(tuple(column.name for column in target.state.columns)))
    return tuple(Param(f"target_{number}", value) for number, value in enumerate(found, 1))


def _request(
    spec: LoadSpec,
    query: SourceQuery,
    intent: Intent,
    values: tuple[Param, ...],
    target: TargetState,
    abilities: Abilities,
) -> SourceRequest:
    cursor = spec.read.cursor
    going_on = spec.by_files and intent.decision is Decision.INCREMENTAL
    settings = cursor_spec(spec, query) if query.way in (Way.WINDOW, Way.PARAMETERS) else None
    return SourceRequest(
        query,
        intent.first_run,
        low=intent.low.value if intent.low is not None else None,
        initial_value=cursor.initial_value if cursor is not None and intent.low is None else None,
        target_values=values,
        keys=spec.write.keys,
        lowest=spec.write.chunk is not None and intent.decision is Decision.FIRST_RUN,
        goal=intent.resumes.goal if intent.resumes is not None else None,
        target_columns=target.columns if spec.transform is None else (),
        manifest=target.manifest if going_on else None,
        since=version_of(intent.before) if spec.by_versions and not intent.first_run else None,
        compared=spec.write.mode is not WriteMode.APPEND,
        partition=None if abilities.parallel_reads else spec.read.partition,
        looks_back=looks_back(settings, recognisable=spec.recognisable) if settings is not None else None,
    )


def _both(first: Callable[[T], None], second: Callable[[T], None] | None) -> Callable[[T], None]:
    def call(told: T) -> None:
        first(told)
        if second is not None:
            second(told)

    return call


def _execute(ready: Prepared, run: RunContext) -> LoadResult:
    plan = ready.plan
    reading = plan.step(ReadRows)
    if reading is None or ready.source is None:
        status: Literal["dry_run", "nothing_new"] = "dry_run" if run.dry_run else "nothing_new"
        return LoadResult(
            plan.spec.node,
            plan.decision,
            status,
            run_id=run.run_id,
            version_before=plan.target.version,
            version_after=plan.target.version,
            watermark_before=plan.before,
            watermark_after=plan.before,
            warnings=plan.warnings,
        )
    with telemetry.span("hwm.execute", {"hwm.node": plan.spec.node}) as tell:
        rows = ready.source.spark_read(reading.statement) if _reads_by_itself(ready) else None
        result = ready.target.execute(plan, rows or _opened(ready.source, reading), run)
        tell({"hwm.rows.read": result.rows_read, "hwm.rows.written": result.rows_written})
    return replace(result, warnings=plan.warnings + result.warnings)


def _opened(source: Source, reading: ReadRows) -> BatchStream:
    if reading.parts is None:
        return source.open(reading.statement)
    return source.open_parts(reading.statement, reading.parts)


def _reads_by_itself(ready: Prepared) -> bool:
    """Whether the engine is to read the source without this process, where it can."""
    plan, abilities = ready.plan, ready.abilities
    count = plan.source.count if plan.source is not None else None
    few = count is not None and count <= abilities.held_rows and plan.spec.read.partition is None
    return abilities.parallel_reads and not few


def _check_fresh(approved: LoadPlan, plan: LoadPlan, *, retried: bool) -> None:
    """Refuse a plan that is not what was approved. A window that grew is; a lost race moves the version."""
    if continues(approved, plan) and approved.target.events == plan.target.events:
        return
    told = ""
    if approved.decision is not plan.decision and plan.decision is not Decision.NO_CHANGES:
        told = f"the decision was {approved.decision} and is now {plan.decision}: {plan.reason}"
    elif not retried and approved.target.version != plan.target.version:
        told = f"the target was at version {approved.target.version} and is now at {plan.target.version}"
    elif not retried and approved.before != plan.before:
        told = f"the watermark was {approved.before} and is now {plan.before}"
    elif plan.decision is approved.decision and approved.hash != plan.hash:
        told = "the columns or the settings changed"
    if told:
        raise StalePlanError(
            f"the plan that was approved no longer holds: {told}",
            moves(approved, plan),
            hint="Refresh, or run the cell again, and look at the new plan",
        )


def _raise_blocked(plan: LoadPlan) -> None:
    if plan.blocker is None:
        return
    raise errors.named(plan.blocker.error)(plan.blocker.message, hint=plan.blocker.hint)
