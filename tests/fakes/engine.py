"""An engine in memory: versioned logs with the real commit info, compare-and-set, and nothing of Arrow's writers.

What it does with rows is written anew, in plain Python, so that the contract's tests compare two
opinions and not one with itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Literal
from uuid import uuid4

import pyarrow as pa

from hwm_magics.arrow import arrow_schema, cast_batch, columns_of, cursor_type_of, cursor_value, scalar_of
from hwm_magics.core.commit_info import LogEntry, app_id, decode, encode, other_nodes, walk
from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue, Scalar, TextForm
from hwm_magics.core.decided import (
    AppendRows,
    ApplyTransform,
    CheckSchema,
    Commit,
    CreateTable,
    Deduplicate,
    LoadPlan,
    LoadResult,
    MergeRows,
    OptimizeTable,
    RecogniseRows,
    RegisterTable,
    ReplaceTable,
    ReplaceWindow,
    SchemaChange,
    Window,
)
from hwm_magics.core.intent import needs_target_maximum, replaces_rows
from hwm_magics.core.observed import Column, CommitRecord, Existence, TargetState
from hwm_magics.core.query import CursorExpression
from hwm_magics.core.schema import clashes, compare
from hwm_magics.core.specs import LoadSpec, WriteSpec
from hwm_magics.core.steps import Abilities
from hwm_magics.engines.base import Progress, RunContext
from hwm_magics.engines.planned import kind_of, marks_alone, record_of
from hwm_magics.errors import (
    BlockedError,
    CommitConflictError,
    CommitError,
    ConfigError,
    HwmError,
    QueryError,
    SchemaMismatchError,
    TargetReadError,
    TargetUnknownError,
)
from hwm_magics.stream import BatchStream

START = datetime(2024, 6, 1, 12, tzinfo=UTC)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a table: what its commit said, and what the table held then."""

    entry: LogEntry
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    transactions: Mapping[str, int] = field(default_factory=dict)
    changes_schema: bool = False


@dataclass
class FakeTable:
    """A table's versions; the list's end is the newest."""

    location: str
    versions: list[Version]
    partition_by: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    clustered_by: tuple[str, ...] = ()
    features: frozenset[str] = frozenset()
    oldest: int = 0
    lost_files: bool = False
    table_id: str = field(default_factory=lambda: str(uuid4()))

    @property
    def version(self) -> int:
        """The newest version."""
        return len(self.versions) - 1

    def at(self, version: int) -> Version:
        """One version."""
        return self.versions[version]

    def entries(self, version: int) -> Iterator[LogEntry]:
        """The log, newest first, as far as it has not expired."""
        for number in range(version, self.oldest - 1, -1):
            yield self.versions[number].entry


class FakeLake:
    """Tables by their locations, names, a clock, and obstacles that make a location unknown.

    Args:
        now: The time of commits; by default each is a millisecond after the last.
    """

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self._now = now
        self.tables: dict[str, FakeTable] = {}
        self.names: dict[str, str] = {}
        self.obstacles: dict[str, str] = {}
        self.clock = START

    def tick(self) -> datetime:
        """The time of a commit."""
        if self._now is not None:
            return self._now()
        self.clock += timedelta(milliseconds=1)
        return self.clock

    def commit(
        self,
        table: FakeTable,
        operation: str,
        rows: Sequence[Row],
        parameters: Mapping[str, object] | None = None,
        *,
        record: CommitRecord | None = None,
        columns: tuple[Column, ...] | None = None,
        adds: bool = False,
        removes: bool = False,
        metrics: Mapping[str, object] | None = None,
    ) -> int:
        """Add a version."""
        newest = table.at(table.version)
        entry = LogEntry(
            version=table.version + 1,
            timestamp=self.tick(),
            operation=operation,
            parameters=dict(parameters or {}),
            user_metadata=encode(record) if record is not None else None,
            metrics=dict(metrics or {}),
            adds=adds,
            removes=removes,
        )
        transactions = dict(newest.transactions)
        if record is not None and record.kind != "create":
            transactions[app_id(record.node)] = record.seq
        kept = newest.columns if columns is None else columns
        table.versions.append(Version(entry, kept, tuple(rows), transactions, kept != newest.columns))
        return table.version


class FakeEngine:
    """See :class:`hwm_magics.engines.base.Engine`.

    Args:
        lake: Where the tables are.
    """

    capabilities = Abilities("fake", liquid_clustering=True)

    def __init__(self, lake: FakeLake) -> None:
        self.lake = lake

    def location(self, write: WriteSpec) -> str:
        """A target's address: its registered name's, or its path's."""
        if write.path is None:
            if write.table is None:
                raise ConfigError("the target has neither write.path nor write.table")
            return self.lake.names.get(write.table.lower(), f"/{write.table.lower().replace('.', '/')}")
        if ".." in write.path:
            raise ConfigError(f"the path {write.path!r} leaves the lake", hint="write a path below the root")
        return f"/{write.path}"

    def _table(self, location: str) -> FakeTable | None:
        evidence = self.lake.obstacles.get(location)
        if evidence is not None:
            raise TargetUnknownError(evidence, hint="mend what the evidence names")
        return self.lake.tables.get(location)

    def open(self, spec: LoadSpec, cursor: CursorExpression | None = None) -> FakeTarget:
        """Open a load's target and observe it."""
        settings = spec.read.cursor
        if cursor is None and settings is not None:
            cursor = CursorExpression(settings.column, settings.fallback, settings.date_format)
        location = self.location(spec.write)
        name = spec.write.register_table or spec.write.table
        registered = self.lake.names.get(name.lower()) if name else None
        try:
            table = self._table(location)
            if table is None:
                state = TargetState(
                    Existence.ABSENT, f"nothing is at {location}", location=location, registered_as=registered
                )
                return FakeTarget(self.lake, location, None, state)
            return FakeTarget(self.lake, location, table, _observe(table, spec, cursor, registered))
        except HwmError as error:
            state = TargetState(Existence.UNKNOWN, error.message, location=location, hint=error.hint or "")
            return FakeTarget(self.lake, location, None, state)

    def table_exists(self, connection: str, table: str | None = None, path: str | None = None) -> bool:
        """Whether a table is there."""
        return self._table(self.location(WriteSpec(connection, path=path, table=table))) is not None

    def set_watermark(self, spec: LoadSpec, record: CommitRecord) -> int:
        """Commit a watermark without rows."""
        table = self._table(self.location(spec.write))
        if table is None:
            raise BlockedError(f"{spec.write.label} does not exist", hint="the first run reads everything")
        newest = table.at(table.version)
        seq = newest.transactions.get(app_id(record.node), 0) + 1
        return self.lake.commit(
            table, "WRITE", newest.rows, {"mode": "Append"}, record=replace(record, seq=seq)
        )

    def history(
        self, spec: LoadSpec, limit: int = 20, *, within: int | None = None
    ) -> tuple[CommitRecord, ...]:
        """The loads that the log knows, newest first."""
        table = self._table(self.location(spec.write))
        if table is None:
            return ()
        found = (decode(entry) for entry in table.entries(table.version))
        return tuple(islice((one for one in found if one is not None and one.kind != "create"), limit))

    def catalog(self, connection: str) -> dict[str, str]:
        """Registered names and what they stand for."""
        return dict(self.lake.names)


def _observe(
    table: FakeTable, spec: LoadSpec, cursor: CursorExpression | None, registered: str | None
) -> TargetState:
    version = table.at(table.version)
    seq = version.transactions.get(app_id(spec.node), 0)
    found = walk(table.entries(table.version), spec.node)
    others = found.other_nodes
    if replaces_rows(spec):
        others = other_nodes(table.entries(table.version), spec.node)
    state = TargetState(
        Existence.EXISTS,
        f"its log is at version {table.version}",
        location=table.location,
        version=table.version,
        table_id=table.table_id,
        columns=version.columns,
        partition_by=table.partition_by,
        properties=table.properties,
        has_rows=bool(version.rows),
        loads=found.loads,
        seq=seq,
        other_nodes=others,
        events=found.events,
        restores=found.restores,
        registered_as=registered,
        unsupported="; ".join(sorted(table.features)),
        replaced=found.replaced,
        created=found.created,
    )
    if cursor is not None and cursor.column in _names(version.columns) and needs_target_maximum(spec, state):
        state = replace(state, max_cursor=_maximum(table, version, cursor))
    return state


def _names(columns: Sequence[Column]) -> list[str]:
    return [column.name for column in columns]


def _readable(table: FakeTable) -> None:
    if table.lost_files:
        raise TargetReadError("a data file is missing", hint="restore an earlier version")


def _type_of(columns: Sequence[Column], name: str) -> CursorType:
    return cursor_type_of(arrow_schema(columns).field(name).type)


def _cursor_of(row: Row, cursor: CursorExpression, kind: CursorType) -> CursorValue | None:
    raw = row.get(cursor.column)
    if raw is None and cursor.fallback:
        raw = row.get(cursor.fallback)
    return cursor_value(raw, kind)


def _maximum(table: FakeTable, version: Version, cursor: CursorExpression) -> CursorValue | None:
    _readable(table)
    kind = _type_of(version.columns, cursor.column)
    values = [value for row in version.rows if (value := _cursor_of(row, cursor, kind)) is not None]
    highest = max(values, default=None)
    if highest is not None and kind.kind is CursorKind.TEXT:
        return replace(highest, type=replace(kind, form=TextForm.of(highest.text)))
    return highest


def _same(row: Row, names: Sequence[str]) -> tuple[str, ...]:
    """What makes two rows the same: every value, to the last bit, with its type."""
    return tuple(repr(row.get(name)) for name in names)


class FakeTarget:
    """See :class:`hwm_magics.engines.base.OpenTarget`: a table at the version that it was opened at."""

    def __init__(self, lake: FakeLake, location: str, table: FakeTable | None, state: TargetState) -> None:
        self._lake = lake
        self._location = location
        self._table = table
        self.state = state

    def _version(self) -> Version | None:
        if self._table is None or self.state.version is None:
            return None
        return self._table.at(self.state.version)

    def evaluate(self, queries: tuple[str, ...]) -> tuple[CursorValue | Scalar, ...]:
        """Evaluate scalar queries by DuckDB."""
        version = self._version()
        if version is None or self._table is None:
            return tuple(None for _ in queries)
        _readable(self._table)
        import duckdb

        rows = pa.Table.from_pylist(list(version.rows), schema=arrow_schema(version.columns))
        with duckdb.connect() as connection:
            connection.register("hwm_target", rows)
            try:
                found = [connection.sql(sql).to_arrow_table() for sql in queries]
            except duckdb.Error as error:
                raise QueryError(str(error), hint="write SELECT MAX(column) FROM the target") from error
        if any((table.num_rows, table.num_columns) != (1, 1) for table in found):
            raise QueryError("not one value", hint="write SELECT MAX(column) FROM the target")
        return tuple(scalar_of(table.column(0)[0]) for table in found)

    def maximum(self, cursor: CursorExpression) -> CursorValue | None:
        """MAX(cursor) over the rows."""
        version = self._version()
        return None if version is None or self._table is None else _maximum(self._table, version, cursor)

    def cursor_type(self, cursor: CursorExpression) -> CursorType | None:
        """The cursor column's type."""
        version = self._version()
        if version is None or cursor.column not in _names(version.columns):
            return None
        return _type_of(version.columns, cursor.column)

    def execute(self, plan: LoadPlan, stream: BatchStream, run: RunContext) -> LoadResult:
        """Carry out a plan's steps."""
        try:
            return _Walk(self._lake, self._location, self._table, plan, stream, run).walk()
        finally:
            stream.close()


@dataclass
class _Walk:
    lake: FakeLake
    location: str
    table: FakeTable | None
    plan: LoadPlan
    stream: BatchStream
    run: RunContext
    read: int = 0
    recognised: int = 0
    written: int = 0
    updated: int = 0
    late: list[CursorValue] = field(default_factory=list)
    status: Literal["loaded", "nothing_new", "already_loaded", "dry_run"] = "nothing_new"
    version: int | None = None
    schema: pa.Schema = None
    columns: tuple[Column, ...] = ()
    added: tuple[Column, ...] = ()
    change: SchemaChange = field(default_factory=SchemaChange)
    fitting: Callable[[pa.RecordBatch], pa.RecordBatch] = field(default=lambda batch: batch)

    def walk(self) -> LoadResult:
        plan = self.plan
        batches = self._counted()
        self.schema = self.stream.schema
        transform = plan.step(ApplyTransform)
        if transform is not None:
            from hwm_magics.engines.rows import transformed

            if self.run.transform is None:
                raise ConfigError(f"the transform {transform.name!r} is not there", hint="define it")
            self.schema, batches = transformed(batches, self.schema, self.run.transform, transform.name)
        check = plan.step(CheckSchema)
        if check is not None:
            self._fit(check)
        if self.run.dry_run:
            first = next(batches, None)
            if first is not None:
                self._rows(first)
            self.status = "dry_run"
            return self._result()
        rows = self._all(batches)
        rows = self._deduplicated(rows, plan.step(Deduplicate))
        rows = self._unseen(rows, plan.step(RecogniseRows))
        commit = plan.step(Commit)
        assert commit is not None
        self.run.failpoint("before_put")
        self._commit(rows, commit)
        name = plan.step(RegisterTable)
        if name is not None and self.table is not None:
            self._register(name.name)
        if plan.step(OptimizeTable) is not None and self.table is not None and self.status == "loaded":
            self.table.clustered_by = plan.spec.write.cluster_by
        return self._result()

    def _counted(self) -> Iterator[pa.RecordBatch]:
        for batch in self.stream.batches:
            self.run.check()
            self.read += batch.num_rows
            self.run.on_progress(Progress("reading", self.read, batch.nbytes))
            if batch.num_rows:
                yield batch

    def _all(self, batches: Iterator[pa.RecordBatch]) -> list[Row]:
        rows: list[Row] = []
        for number, batch in enumerate(batches):
            rows += self._rows(batch)
            if number == 0:
                self.run.failpoint("mid_read")
        if not rows:
            self.run.failpoint("mid_read")
        self.run.check()
        self.run.failpoint("after_read")
        self.run.on_progress(Progress("committing", self.read))
        return rows

    def _rows(self, batch: pa.RecordBatch) -> list[Row]:
        return self.fitting(batch).to_pylist()

    def _fit(self, step: CheckSchema) -> None:
        mine = columns_of(self.schema)
        for name in step.needed:
            if name not in self.schema.names:
                raise SchemaMismatchError(f"the transform gives no column {name!r}", hint="keep it")
        if self.table is None:
            told = clashes(mine)
            self.columns = mine
        else:
            there = self.plan.target.columns
            change = compare(mine, there, self.plan.spec.write.schema)
            told, self.added = change.conflicts, change.added
            self.change = change
            self.columns = (*there, *change.added)
        if told:
            raise SchemaMismatchError(f"the columns don't fit: {'; '.join(told)}", hint="cast or rename them")
        schema = arrow_schema(self.columns)
        self.fitting = lambda batch: cast_batch(batch, schema)

    def _cursor(self) -> tuple[CursorExpression, CursorType] | None:
        settings, mark = self.plan.spec.read.cursor, self.plan.before or self.plan.after
        step = self.plan.step(RecogniseRows)
        if settings is not None:
            cursor = CursorExpression(settings.column, settings.fallback, settings.date_format)
        elif step is not None:
            cursor = CursorExpression(step.cursor, step.fallback, step.date_format)
        elif mark is not None:
            cursor = CursorExpression(mark.column)
        else:
            return None
        if cursor.column not in _names(self.columns):
            return None
        return cursor, _type_of(self.columns, cursor.column)

    def _deduplicated(self, rows: list[Row], step: Deduplicate | None) -> list[Row]:
        if step is None:
            return rows
        cursor = self._cursor()
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            if any(row[key] is None for key in step.keys):
                raise SchemaMismatchError("a key is NULL", hint="leave such rows out")
            groups.setdefault(_same(row, step.keys), []).append(row)
        kept = []
        for group in groups.values():
            marks = [_cursor_of(row, *cursor) if cursor else None for row in group]
            newest = max((mark for mark in marks if mark is not None), default=None)
            best = [row for row, mark in zip(group, marks, strict=True) if mark == newest]
            if len({_same(row, _names(self.columns)) for row in best}) > 1:
                raise SchemaMismatchError("rows with one key are equally new and differ", hint="choose keys")
            kept.append(best[0])
        self.recognised += len(rows) - len(kept)
        return kept

    def _unseen(self, rows: list[Row], step: RecogniseRows | None) -> list[Row]:
        merge = self.plan.step(MergeRows)
        updating = merge is not None and not merge.insert_only
        if step is None or self.table is None or (updating and self.added):
            return rows
        cursor = self._cursor()
        assert cursor is not None
        _readable(self.table)
        held = self.table.at(self.plan.target.version or 0)
        missing = _names(self.change.missing)
        names = list(step.columns) or [name for name in _names(held.columns) if name not in missing]
        late = [each for each in step.late_columns if each.name in names and not step.columns]
        seen: Counter[tuple[int, tuple[str, ...]]] = Counter()

        def lacks(row: Row, value: CursorValue | None, count: int) -> bool:
            cut = late[len(late) - count :]
            older = value is None or not cut or value <= cut[0].upto
            return older and all(row.get(each.name) is None for each in cut)

        def by(count: int) -> list[str]:
            cut = {each.name for each in late[len(late) - count :]}
            return [name for name in names if name not in cut]

        for row in held.rows:
            value = _cursor_of(row, *cursor)
            if step.low is None or (value >= step.low if value is not None else step.nulls):
                count = max(number for number in range(len(late) + 1) if lacks(row, value, number))
                seen[count, _same(row, by(count))] += 1
        fresh = []
        for row in rows:
            alike = [(count, _same(row, by(count))) for count in range(len(late) + 1)]
            found = next((key for key in alike if seen[key] > 0), None)
            if found is not None:
                seen[found] -= 1
                self.recognised += 1
                continue
            fresh.append(row)
            value = _cursor_of(row, *cursor)
            if value is not None and self.plan.before is not None and value <= self.plan.before.value:
                self.late.append(value)
        return fresh

    def _record(self, step: Commit, kind: str) -> CommitRecord:
        return record_of(self.plan, step, self.run.run_id, kind, self.change)

    def _commit(self, rows: list[Row], step: Commit) -> None:
        create = self.plan.step(CreateTable)
        if create is not None:
            self._create(create, self._record(step, "create"))
        if self.table is None:
            raise CommitError("the target is not there any more; nothing was written", hint="run it again")
        replaces = self.plan.step(ReplaceTable) is not None or self.plan.step(ReplaceWindow) is not None
        record = self._record(step, kind_of(self.plan))
        moved = marks_alone(self.plan, step, self.read)
        if not rows and not replaces:
            if not moved:
                return
            self._check(changed=False)
            self.version = self.lake.commit(
                self.table, "WRITE", self.table.at(self.table.version).rows, {"mode": "Append"}, record=record
            )
        else:
            self.version = self._write(rows, record, moved=moved)
            if self.version is None:
                return
        self.run.failpoint("before_acknowledgement")
        self.status = "loaded"
        self.run.failpoint("after_commit")

    def _create(self, step: CreateTable, record: CommitRecord) -> None:
        if self.location in self.lake.tables:
            raise CommitConflictError("another load created the table first; nothing was written")
        columns = tuple(replace(column, nullable=True) for column in self.columns)
        entry = LogEntry(
            0, self.lake.tick(), "CREATE TABLE", {}, encode(record), {}, adds=False, removes=False
        )
        self.table = FakeTable(
            self.location, [Version(entry, columns, ())], step.partition_by, dict(step.properties)
        )
        self.lake.tables[self.location] = self.table

    def _check(self, *, changed: bool) -> None:
        """Refuse to commit over what came after this handle's version."""
        assert self.table is not None
        opened = self.plan.target.version or 0
        name = app_id(self.plan.spec.node)
        for version in self.table.versions[opened + 1 :]:
            mine = version.transactions.get(name) != self.table.at(
                version.entry.version - 1
            ).transactions.get(name)
            if mine or version.changes_schema or version.entry.removes or (changed and version.entry.adds):
                raise CommitConflictError("another load of this node committed first; nothing was written")

    def _write(self, rows: list[Row], record: CommitRecord, *, moved: bool) -> int | None:
        assert self.table is not None
        merge, window = self.plan.step(MergeRows), self.plan.step(ReplaceWindow)
        self._check(changed=merge is not None)
        held = list(self.table.at(self.table.version).rows)
        self.written = len(rows)
        operation, parameters, adds, removes = "WRITE", {"mode": "Append"}, True, False
        if merge is not None:
            operation, parameters = "MERGE", {}
            held, removes = self._merged(held, rows, merge)
            adds = self.written > 0
            if not adds and not moved:
                return None
        elif window is not None:
            kept = [row for row in held if not self._inside(row, window)]
            removes, parameters = (
                len(kept) < len(held),
                {"mode": "Overwrite", "predicate": str(window.window)},
            )
            held = [*kept, *rows]
        elif self.plan.step(ReplaceTable) is not None:
            held, removes, parameters = rows, True, {"mode": "Overwrite"}
        else:
            assert self.plan.step(AppendRows) is not None
            held = [*held, *rows]
        return self.lake.commit(
            self.table,
            operation,
            held,
            parameters,
            record=record,
            columns=self.columns,
            adds=adds,
            removes=removes,
        )

    def _merged(self, held: list[Row], rows: list[Row], step: MergeRows) -> tuple[list[Row], bool]:
        by_key = {_same(row, step.keys): row for row in rows}
        keys = {_same(row, step.keys) for row in held}
        inserted = [row for row in rows if _same(row, step.keys) not in keys]
        self.updated = 0 if step.insert_only else sum(1 for row in held if _same(row, step.keys) in by_key)
        self.written = len(inserted) + self.updated
        if not step.insert_only:
            held = [by_key.get(_same(row, step.keys), row) for row in held]
        return [*held, *inserted], self.updated > 0

    def _inside(self, row: Row, step: ReplaceWindow) -> bool:
        cursor = CursorExpression(step.cursor, step.fallback)
        value = _cursor_of(row, cursor, _type_of(self.columns, step.cursor))
        return value is not None and _within(value, step.window)

    def _register(self, name: str) -> None:
        there = self.lake.names.setdefault(name.lower(), self.location)
        if there != self.location:
            raise BlockedError(f"{name} is registered already, for {there}", hint="choose another name")

    def _result(self) -> LoadResult:
        plan = self.plan
        before = plan.before.value if plan.before else None
        lowest = min(self.late, default=None)
        return LoadResult(
            node=plan.spec.node,
            decision=plan.decision,
            status=self.status,
            run_id=self.run.run_id,
            rows_read=self.read,
            rows_recognised=self.recognised,
            rows_written=self.written if self.status == "loaded" else 0,
            rows_updated=self.updated,
            late_rows=len(self.late),
            lateness=before.distance(lowest) if before is not None and lowest is not None else None,
            version_before=plan.target.version,
            version_after=self.version if self.version is not None else plan.target.version,
            watermark_before=plan.before,
            watermark_after=plan.after if self.status == "loaded" else plan.before,
        )


def _within(value: CursorValue, window: Window) -> bool:
    low, high = window.low, window.high
    above = low is None or value > low or (window.low_inclusive and value == low)
    return above and (high is None or value <= high)


__all__ = ["CursorKind", "FakeEngine", "FakeLake", "FakeTable", "FakeTarget"]
