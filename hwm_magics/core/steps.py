"""The steps of a plan: one list that explaining prints and executing walks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hwm_magics.core.blocked import Blocked
from hwm_magics.core.decided import (
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
    ReadParts,
    ReadRows,
    RecogniseRows,
    RegisterTable,
    ReplaceTable,
    ReplaceWindow,
    SchemaChange,
    Step,
    Window,
)
from hwm_magics.core.files import record_after
from hwm_magics.core.intent import cursor_spec
from hwm_magics.core.observed import Column, Existence, SourceState, TargetState
from hwm_magics.core.partition import Division, divide
from hwm_magics.core.query import SourceQuery, Way
from hwm_magics.core.schema import clashes, compare, of_types
from hwm_magics.core.specs import LoadSpec, NullPolicy, Partition, WriteMode
from hwm_magics.core.statement import Param, Statement
from hwm_magics.core.window import low_bound, reached

__all__ = ["Abilities", "Blocked", "Planned", "plan_steps"]


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the engine can't do, as far as the plan needs to know.

    Attributes:
        engine: Its name.
        liquid_clustering: Whether ``cluster_by`` makes a clustered table.
        cluster_fallback: What it does for ``cluster_by`` instead, in words.
        unfit_partitions: Types of columns that it can't partition a new table by, as a regular expression; "" for
            none.
        parallel_reads: Whether it reads a source by itself, in parts of its own making.
        held_rows: Of an engine that reads by itself: windows that are known to hold no more rows than this
            come through the driver's process all the same, where they are compared faster.
    """

    engine: str = "pandas"
    liquid_clustering: bool = False
    cluster_fallback: str = "the files are z-ordered after a first run or a full reload"
    unfit_partitions: str = ""
    parallel_reads: bool = False
    held_rows: int = 0


@dataclass(frozen=True, slots=True)
class Planned:
    """A decision with its window, on its way to becoming steps.

    Attributes:
        spec, query, target, source: What it rests on.
        plan: The decision, its window and its marks.
        values: What the query's subqueries over the target came to.
        abilities: What the engine can do.
    """

    spec: LoadSpec
    query: SourceQuery
    target: TargetState
    source: SourceState
    plan: LoadPlan
    values: tuple[Param, ...]
    abilities: Abilities


def plan_steps(planned: Planned) -> LoadPlan:
    """Complete a decided plan with its statements and steps.

    Args:
        planned: The decision.

    Returns:
        The plan with steps.

    Raises:
        Blocked: The columns don't fit, or the engine can't do what is asked.
    """
    spec, plan, source, target = planned.spec, planned.plan, planned.source, planned.target
    _check_columns(planned)
    first_run = _reads_first_run(plan)
    statement = _rows(planned, plan.window, first_run=first_run, nulls=_nulls(planned, first_run=first_run))
    parts = _division(planned)
    notes = [*plan.notes, *_cluster_notes(planned), *parts.notes]
    warnings = list(plan.warnings)
    change = SchemaChange()
    exists = target.existence is Existence.EXISTS
    if spec.transform is None and exists and plan.decision is not Decision.FULL_RELOAD:
        change = compare(source.columns, target.columns, spec.write.schema)
    elif spec.transform is None and exists:
        change = _reload_change(planned)
    if change.conflicts:
        raise Blocked(
            f"the columns don't fit the target: {'; '.join(change.conflicts)}",
            "cast or rename the columns in the query, or reload into a new target",
            "SchemaMismatchError",
        )
    if change.missing:
        names = ", ".join(column.name for column in change.missing)
        warnings.append(f"the source no longer has {names}: NULL is written there")
    if change.added:
        names = ", ".join(f"{column.name} ({column.type})" for column in change.added)
        notes.append(f"new columns are added to the target: {names}")
    steps = _steps(planned, statement, change, _parts(planned, parts, first_run=first_run))
    _check_append_only(planned, steps)
    return replace(
        plan,
        steps=tuple(steps),
        warnings=tuple(warnings),
        notes=tuple(notes),
        first_run_statement=statement if first_run else _earlier(planned),
        incremental_statement=_later(planned) if first_run else statement,
        count_statement=_count(planned, first_run=first_run),
    )


def _reads_first_run(plan: LoadPlan) -> bool:
    return plan.decision in (Decision.FIRST_RUN, Decision.RESUME) or (
        plan.decision is Decision.FULL_RELOAD and plan.spec.write.mode is not WriteMode.OVERWRITE
    )


def _rows(
    planned: Planned,
    window: Window | None,
    *,
    first_run: bool,
    nulls: bool,
    part: Sequence[str | Param] = (),
) -> Statement:
    query, source = planned.query, planned.source
    projection = source.projection if first_run else source.later_projection or source.projection
    return query.rows(
        first_run=first_run,
        window=window,
        nulls=nulls,
        values=planned.values or query.first_run_values,
        projection=projection,
        part=part,
    )


def _nulls(planned: Planned, *, first_run: bool) -> bool:
    """Whether rows without a cursor value are read."""
    cursor, decision = planned.spec.read.cursor, planned.plan.decision
    if decision is Decision.RESUME:
        return False  # the first chunk brought them
    if cursor is not None and cursor.nulls is NullPolicy.READ:
        # A row without a value lies in no window, so a backfill neither reads nor replaces it.
        return decision is not Decision.BACKFILL
    return first_run or decision is Decision.FULL_RELOAD


def _count(planned: Planned, *, first_run: bool) -> Statement:
    plan = planned.plan
    return planned.query.probe(
        ["COUNT(*)"],
        first_run=first_run,
        window=replace(plan.window, high=plan.goal) if plan.window is not None else None,
        nulls=_nulls(planned, first_run=first_run),
        values=planned.values or planned.query.first_run_values,
    )


def _earlier(planned: Planned) -> Statement | None:
    """For people: what a first run would read now."""
    plan, query = planned.plan, planned.query
    if query.first_run_needs:
        return None
    window = Window(None, plan.goal if plan.chunk else plan.after.value if plan.after else None)
    return query.rows(first_run=True, window=window, nulls=True, values=planned.values)


def _later(planned: Planned) -> Statement | None:
    """For people: what the load after a first run will read, its high bound left open."""
    spec, plan, query = planned.spec, planned.plan, planned.query
    cursor = cursor_spec(spec, query)
    if query.way is Way.TARGET:
        return query.rows(first_run=False, values=planned.values)
    if query.way is Way.PLAIN:
        return (
            None
            if spec.write.mode is WriteMode.APPEND and not spec.recorded
            else _rows(planned, None, first_run=False, nulls=False)
        )
    if plan.after is None or cursor is None:
        return None
    after = replace(plan.after, value=plan.chunk.goal) if plan.chunk is not None else plan.after
    low = low_bound(after, cursor, (), recognisable=spec.recognisable).rolled(cursor, planned.source.now)
    window = Window(low.value, None, low.inclusive)
    return _rows(planned, window, first_run=False, nulls=cursor.nulls is NullPolicy.READ)


def _check_columns(planned: Planned) -> None:
    spec, source, plan = planned.spec, planned.source, planned.plan
    if spec.transform is not None:
        return
    if told := clashes(source.columns):
        raise Blocked(
            f"the columns of the rows clash: {'; '.join(told)}",
            "give each column a name of its own in the query",
            "SchemaMismatchError",
        )
    names = {column.name for column in source.columns}
    wanted = [("write.keys", name) for name in spec.write.keys]
    if planned.target.existence is Existence.ABSENT:
        wanted += [("write.options.partition_by", name) for name in spec.write.partition_by]
        wanted += [("write.options.cluster_by", name) for name in spec.write.cluster_by]
    cursor = planned.query.cursor
    if cursor is not None and planned.query.way in (Way.WINDOW, Way.PARAMETERS):
        wanted += [("read.incremental.column", cursor.column)]
        wanted += [("read.incremental.fallback_column", cursor.fallback)] if cursor.fallback else []
    lacking = [f"{where}: {name!r}" for where, name in wanted if name not in names]
    if lacking:
        raise Blocked(
            f"the rows to be read have no column for {', '.join(lacking)}",
            f"their columns are: {', '.join(column.name for column in source.columns)}",
            "SchemaMismatchError",
        )
    if planned.target.existence is Existence.ABSENT:
        _check_partitions(planned)
    if plan.decision in (Decision.FIRST_RUN, Decision.RESUME) and source.later_columns is not None:
        _check_later(source.columns, source.later_columns)


def _check_partitions(planned: Planned) -> None:
    abilities = planned.abilities
    unfit = of_types(planned.source.columns, planned.spec.write.partition_by, abilities.unfit_partitions)
    if unfit:
        raise Blocked(
            f"the {abilities.engine} engine can't partition a table by {', '.join(unfit)}: values of the type would be "
            "written or read wrong",
            "partition by another column, or cast it in the query; or use engine: spark",
            "UnsupportedByEngineError",
        )


def _check_later(first: tuple[Column, ...], later: tuple[Column, ...]) -> None:
    types = {column.name: column.type for column in first}
    others = {column.name: column.type for column in later}
    told = [f"{name} is only in first_run_query" for name in types if name not in others]
    told += [f"{name} is not in first_run_query" for name in others if name not in types]
    told += [
        f"{name} is {types[name]} in first_run_query and {others[name]} later"
        for name in types
        if name in others and types[name] != others[name]
    ]
    if told:
        raise Blocked(
            f"the first run's query and the later runs' give different columns: {'; '.join(told)}",
            "make both give the same columns",
            "SchemaMismatchError",
        )


def _reload_change(planned: Planned) -> SchemaChange:
    """A reload replaces all rows, yet the table keeps its schema: readers rely on it."""
    return compare(planned.source.columns, planned.target.columns, planned.spec.write.schema)


def _check_append_only(planned: Planned, steps: list[Step]) -> None:
    """Refuse before anything is read what the table would refuse at the commit."""
    write = planned.spec.write
    exists = planned.target.existence is Existence.EXISTS
    properties = planned.target.properties if exists else write.properties
    if properties.get("delta.appendOnly", "").lower() != "true":
        return
    changes = any(
        isinstance(step, ReplaceTable | ReplaceWindow)
        or (isinstance(step, MergeRows) and not step.insert_only)
        for step in steps
    )
    if changes or (not exists and write.mode in (WriteMode.UPSERT, WriteMode.OVERWRITE)):
        what = "mode: " + write.mode.value if planned.plan.decision is Decision.INCREMENTAL else "this"
        raise Blocked(
            f"{write.label} is append-only (delta.appendOnly), and {what} changes rows that are there",
            "use mode: append (with keys, to recognise rows) or append_once, or unset the property",
        )


def _cluster_notes(planned: Planned) -> list[str]:
    spec, abilities = planned.spec, planned.abilities
    if not spec.write.cluster_by or abilities.liquid_clustering:
        return []
    columns = ", ".join(spec.write.cluster_by)
    return [
        f"cluster_by {columns}: the {abilities.engine} engine can't cluster a table; {abilities.cluster_fallback}"
    ]


_CHUNKED = frozenset({Decision.FIRST_RUN, Decision.RESUME})


def _division(planned: Planned) -> Division:
    partition, abilities, source = planned.spec.read.partition, planned.abilities, planned.source
    if partition is None:
        return Division()
    if abilities.parallel_reads:
        return Division(notes=_notes_of_engine(planned, partition))
    window = planned.plan.window
    if (
        partition.auto
        and planned.spec.write.chunk is not None
        and window is not None
        and planned.plan.decision in _CHUNKED
    ):
        return Division(
            notes=("partition: auto reads in one stream: a first load in chunks reads a window at a time",)
        )
    found = divide(partition, source.split, planned.spec.write.keys, source.count)
    if found.refusal:
        raise Blocked(found.refusal, found.hint)
    return found


def _notes_of_engine(planned: Planned, partition: Partition) -> tuple[str, ...]:
    """What is to be known of parts that the engine reads by itself."""
    if partition.auto:
        engine = planned.abilities.engine
        return (
            f"partition: auto: the {engine} engine reads in one stream; name a column and a count for more",
        )
    high = planned.plan.window.high if planned.plan.window is not None else None
    if high is None:
        return (
            "read.partition: the parts are read in transactions of their own, and nothing bounds them above",
        )
    return ()


def _parts(planned: Planned, division: Division, *, first_run: bool) -> ReadParts | None:
    """The statements of the parts."""
    if not division.conditions:
        return None
    nulls = _nulls(planned, first_run=first_run)
    window = planned.plan.window
    return ReadParts(
        tuple(
            _rows(planned, window, first_run=first_run, nulls=nulls, part=condition)
            for condition in division.conditions
        ),
        division.by,
        division.at_once,
        division.shared,
    )


def _steps(
    planned: Planned, statement: Statement, change: SchemaChange, parts: ReadParts | None
) -> list[Step]:
    spec, plan, source, target = planned.spec, planned.plan, planned.source, planned.target
    write = spec.write
    steps: list[Step] = []
    if target.existence is Existence.ABSENT:
        columns = () if spec.transform else source.columns
        steps.append(CreateTable(columns, write.partition_by, write.properties))
    steps.append(ReadRows(statement, parts))
    if spec.transform:
        steps.append(ApplyTransform(spec.transform))
    steps.append(CheckSchema(change, _needed(planned)))
    keyed = write.mode in (WriteMode.UPSERT, WriteMode.APPEND_ONCE)
    if keyed and not (source.unique_keys and spec.transform is None and _one_moment(planned, parts)):
        steps.append(Deduplicate(write.keys, _newness(planned)))
    if plan.decision.anew:
        steps.append(AppendRows() if plan.decision is Decision.FIRST_RUN else ReplaceTable())
    elif plan.decision is Decision.BACKFILL and not keyed:
        steps.append(_replace_window(planned))
    else:
        recognise = _recognise(planned)
        if recognise is not None:
            steps.append(recognise)
        steps.append(MergeRows(write.keys, write.mode is WriteMode.APPEND_ONCE) if keyed else AppendRows())
    steps.append(Commit(target.seq + 1, plan.after, record_after(plan)))
    if write.register_table or (write.table and target.existence is Existence.ABSENT):
        steps.append(RegisterTable(write.register_table or write.table or ""))
    ordered = write.cluster_by if plan.decision.anew or plan.decision is Decision.RESUME else ()
    if plan.chunk is not None and plan.chunk.left:
        ordered = ()  # the last chunk's commit is followed by it
    if ordered or write.optimize_write:
        steps.append(OptimizeTable(ordered))
    return steps


def _one_moment(planned: Planned, parts: ReadParts | None) -> bool:
    """Whether keys that are unique at the source are so in the rows that arrive, too."""
    # Read at different moments, two parts may hold two rows that had a key one after the other.
    return parts is None or parts.shared or parts.by in planned.spec.write.keys


def _newness(planned: Planned) -> str | None:
    """The column that tells which of two rows is newer; None when the rows have none."""
    cursor = planned.query.cursor
    if cursor is None:
        return None
    if planned.query.way is Way.TARGET and cursor.column not in {one.name for one in planned.source.columns}:
        return None
    return cursor.column


def _needed(planned: Planned) -> tuple[str, ...]:
    """What a transform must not lose. Without one, the columns have been checked already."""
    spec, cursor = planned.spec, planned.query.cursor
    if spec.transform is None:
        return ()
    names = list(spec.write.keys)
    if names and cursor is not None and _newness(planned):
        names += [cursor.column, *([cursor.fallback] if cursor.fallback else [])]
    if planned.target.existence is Existence.ABSENT:
        names += spec.write.partition_by
    return tuple(dict.fromkeys(names))


def _replace_window(planned: Planned) -> ReplaceWindow:
    cursor, window = planned.query.cursor, planned.plan.window
    if cursor is None or window is None:
        msg = "a backfill without a window was planned"
        raise AssertionError(msg)
    if cursor.date_format:
        raise Blocked(
            "a backfill of a target whose cursor is text in a date_format can't name the rows to replace",
            "use mode: upsert with keys",
        )
    return ReplaceWindow(window, cursor.column, cursor.fallback)


def _recognise(planned: Planned) -> RecogniseRows | None:
    """How rows that are there already are told; None where nothing is read twice, or MERGE tells."""
    spec, plan, query = planned.spec, planned.plan, planned.query
    cursor, window = query.cursor, plan.window
    if spec.write.mode is WriteMode.APPEND_ONCE or plan.decision is Decision.BACKFILL:
        return None
    if cursor is None or window is None or query.way is Way.TARGET:
        return None
    settings = spec.read.cursor
    nulls = settings is not None and settings.nulls is NullPolicy.READ
    # A mark that was set by hand may lie below rows that are there.
    before = plan.before if plan.before is not None and plan.before.origin != "set" else None
    only_new = not window.low_inclusive and not nulls and before is not None and window.low == before.value
    last = planned.target.last_load
    filled = last is not None and last.kind == "backfill"  # its window may reach above the mark
    if only_new and not filled and not planned.target.events:
        return None
    if spec.transform is not None and not spec.write.keys:
        return None
    columns: tuple[str, ...] = ()
    if spec.write.mode is WriteMode.APPEND and spec.write.keys:
        columns = tuple(
            dict.fromkeys((*spec.write.keys, cursor.column, *([cursor.fallback] if cursor.fallback else [])))
        )
    # A MERGE is to bring the values of a column that came later, so for it such rows are not the same.
    late = last.late_columns if last is not None and spec.write.mode is WriteMode.APPEND else ()
    return RecogniseRows(
        window.low,
        columns,
        cursor.column,
        cursor.fallback,
        nulls,
        cursor.date_format,
        late_columns=reached(late, window.low),
    )
