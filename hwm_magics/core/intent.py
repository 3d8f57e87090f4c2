"""What the target alone decides: forced loads, its state, its watermark."""

from __future__ import annotations

from hwm_magics.core.decided import Decision
from hwm_magics.core.intended import Intent, block
from hwm_magics.core.observed import CommitRecord, Existence, FirstLoad, TargetState, Watermark
from hwm_magics.core.query import SourceQuery, Way
from hwm_magics.core.recorded import from_manifest, from_version
from hwm_magics.core.specs import CursorSpec, FencePolicy, LoadSpec, WriteMode
from hwm_magics.core.window import Low, low_bound
from hwm_magics.errors import CursorColumnError

__all__ = ["Intent", "cursor_spec", "intend", "needs_target_maximum", "replaces_rows"]

THREE_WAYS = (
    "say what is new in one of three ways: read.incremental {column: …}; a query that compares with "
    "(SELECT MAX(column) FROM {target}); or :watermark in the query. Or use mode: upsert with keys"
)


def cursor_spec(spec: LoadSpec, query: SourceQuery) -> CursorSpec | None:
    """The cursor's settings: those given, or the defaults for a cursor that the query names."""
    if spec.read.cursor is not None:
        return spec.read.cursor
    if query.cursor is not None and query.way is Way.PARAMETERS:
        return CursorSpec(query.cursor.column, query.cursor.fallback)
    return None


def needs_target_maximum(spec: LoadSpec, target: TargetState) -> bool:
    """Whether MAX(cursor) over the target's rows matters to the plan.

    It costs a read of the target's data, so it is asked for only where the log has no mark that
    holds: never loaded by us, commit info expired, or others changed rows since.
    """
    if target.existence is not Existence.EXISTS or target.has_rows is False or spec.force_first_run:
        return False
    last = target.last_load
    return last is None or last.watermark is None or _rows_changed(target)


def replaces_rows(spec: LoadSpec) -> bool:
    """Whether a load may replace rows of the target, so that it matters who else has written there."""
    return spec.force_first_run or spec.backfill is not None or spec.write.mode is WriteMode.OVERWRITE


def intend(spec: LoadSpec, query: SourceQuery, target: TargetState) -> Intent:
    """What the target alone decides.

    Args:
        spec: What was asked for.
        query: The source query, parsed.
        target: What was observed of the target.

    Returns:
        The intent; its low bound and first-run flag say what to ask of the source.
    """
    return _blocked_target(spec, target) or _forced(spec, query, target) or _by_state(spec, query, target)


def _blocked_target(spec: LoadSpec, target: TargetState) -> Intent | None:
    if target.existence is Existence.UNKNOWN:
        return block(
            f"whether {spec.write.label} exists can't be told: {target.evidence}",
            target.hint or "mend what the evidence names, then plan again",
            "TargetUnknownError",
        )
    if target.unsupported:
        return block(
            f"this engine can't write {spec.write.label}: {target.unsupported}",
            "use engine: spark for this table",
            "UnsupportedByEngineError",
        )
    name = spec.write.register_table
    if name and target.registered_as not in (None, target.location):
        return block(
            f"{name} is registered already, for {target.registered_as}, and not for {target.location}",
            "choose another register_table, or write to the registered path",
        )
    return None


def _forced(spec: LoadSpec, query: SourceQuery, target: TargetState) -> Intent | None:
    write = spec.write
    exists = target.existence is Existence.EXISTS
    if spec.backfill is not None:
        if not exists:
            return block(
                f"a backfill replaces a window of rows, and {write.label} does not exist",
                "run the load without --backfill: its first run reads everything",
            )
        if cursor_spec(spec, query) is None or query.way is not Way.WINDOW:
            return block(
                "a backfill needs read.incremental: its window is a window of the cursor column",
                "add read.incremental {column: …}",
            )
        return _backfill(spec, query, target)
    if exists and spec.force_first_run:
        blocker = _no_first_run(query)
        return blocker or Intent(
            Decision.FULL_RELOAD,
            "--force-first-run was asked for: all rows are replaced in one commit "
            f"(version {target.version} stays restorable)",
            first_run=True,
            before=_mark(query, target),
            warnings=_others_lose(target),
            notes=_one_commit(spec),
        )
    return None


def _one_commit(spec: LoadSpec) -> tuple[str, ...]:
    if spec.write.chunk is None:
        return ()
    told = "first_run.chunk is for a table that is not there yet"
    return (f"{told}: readers keep the old rows until all the new ones are committed",)


def _backfill(spec: LoadSpec, query: SourceQuery, target: TargetState) -> Intent:
    keyed = spec.write.mode in (WriteMode.UPSERT, WriteMode.APPEND_ONCE)
    if target.other_nodes and not keyed:
        return block(
            f"a backfill in mode {spec.write.mode} replaces all rows of its window, those of "
            f"{', '.join(target.other_nodes)} too",
            "use mode: upsert with keys",
        )
    last = target.last_load
    if last is not None and last.unfinished is not None:
        return block(
            f"the first load of {spec.write.label} is unfinished: it has come to {last.watermark}, of "
            f"{last.unfinished.goal}",
            "run the load without --backfill first: it goes on where it was",
        )
    before = _mark(query, target)
    emptied = target.has_rows is False and _rows_changed(target)
    if spec.write.mode is not WriteMode.OVERWRITE and (before is None or emptied):
        return block(
            f"{spec.write.label} has no watermark that holds: after a backfill the next load would go on above its "
            "window, and never read what lies below",
            "run the load without --backfill first",
        )
    # A backfill is a load of ours: the next one would not look at what others did before it.
    warnings: list[str] = []
    if blocked := _events(spec, target, warnings):
        return blocked
    return Intent(
        Decision.BACKFILL,
        f"--backfill {'..'.join(spec.backfill or ())} was asked for",
        before=before,
        warnings=tuple(warnings),
        notes=() if keyed else ("all rows of the target in the window are replaced, whoever wrote them",),
    )


def _others_lose(target: TargetState) -> tuple[str, ...]:
    if not target.other_nodes:
        return ()
    return (f"the rows that {', '.join(target.other_nodes)} loaded are replaced too",)


def _no_first_run(query: SourceQuery) -> Intent | None:
    if not query.first_run_needs:
        return None
    return block(
        f"what a first run should read can't be told: {query.first_run_needs}",
        "add write.first_run_query",
    )


def _no_second_run(spec: LoadSpec, query: SourceQuery) -> tuple[str, ...]:
    if query.way is not Way.PLAIN or spec.write.mode is not WriteMode.APPEND or spec.recorded:
        return ()
    return (f"the next run will be BLOCKED, as nothing says which rows will be new then: {THREE_WAYS}",)


def _by_state(spec: LoadSpec, query: SourceQuery, target: TargetState) -> Intent:
    write = spec.write
    if target.existence is Existence.ABSENT:
        return _no_first_run(query) or Intent(
            Decision.FIRST_RUN,
            f"{write.label} does not exist ({target.evidence})",
            first_run=True,
            warnings=_no_second_run(spec, query),
        )
    if write.mode is WriteMode.OVERWRITE:
        return _overwrite(spec, query, target)
    last = target.last_load
    if target.has_rows is False and (last is None or _nothing_held(last, spec) or target.events):
        how = "; ".join(event.text for event in target.events)
        return _no_first_run(query) or Intent(
            Decision.FIRST_RUN,
            f"{write.label} exists and holds no rows" + ("" if how else ", and no watermark is recorded"),
            first_run=True,
            warnings=((f"the target was emptied by others: {how}",) if how else ())
            + _no_second_run(spec, query),
        )
    newest = last or target.replaced
    if newest is not None and newest.unfinished is not None and query.cursor is not None:
        return _resume(spec, query, target, newest, newest.unfinished)
    if query.way is Way.TARGET:
        return Intent(
            Decision.INCREMENTAL,
            "the query compares with the target, and that part was evaluated there",
            before=_mark(query, target),
            notes=("ties at the boundary and late rows follow the query as written",),
        )
    if spec.by_files:
        return from_manifest(spec, target)
    if spec.by_versions:
        return from_version(spec, target)
    cursor = cursor_spec(spec, query)
    if cursor is None or query.cursor is None:
        if write.mode is WriteMode.APPEND:
            return block(
                f"{write.label} exists, and nothing says which rows of {spec.read.label} are new", THREE_WAYS
            )
        return Intent(
            Decision.INCREMENTAL,
            f"{write.label} exists; all rows of {spec.read.label} are compared by their keys",
            notes=("the query has no watermark: what it reads is its own affair",),
        )
    return _from_mark(spec, query, cursor, target)


def _overwrite(spec: LoadSpec, query: SourceQuery, target: TargetState) -> Intent:
    if query.way in (Way.TARGET, Way.PARAMETERS):
        return block(
            "mode: overwrite with a query that reads only what is new would keep only the new rows",
            "use mode: append or upsert, or a query that reads everything",
        )
    if target.has_rows is False and target.last_load is None:
        return Intent(Decision.FIRST_RUN, f"{spec.write.label} exists and holds no rows", first_run=True)
    return Intent(
        Decision.FULL_RELOAD,
        f"mode: overwrite replaces all rows in one commit (version {target.version} stays restorable)",
        first_run=False,
        warnings=_others_lose(target),
    )


def _from_mark(spec: LoadSpec, query: SourceQuery, cursor: CursorSpec, target: TargetState) -> Intent:
    write = spec.write
    warnings: list[str] = []
    notes: list[str] = []
    recognisable = spec.recognisable
    if not recognisable and cursor.lag:
        return block(
            f"read.incremental.lag looks again at rows that are loaded already, and after the transform "
            f"{spec.transform!r} they can't be recognised",
            "declare write.keys, or set lag: 0",
        )
    if target.created and target.last_load is None and not target.seq:
        return block(
            f"{spec.node} created {write.label} and has never loaded it, and others have put rows there: the highest "
            "value there is theirs",
            "run %hwm_watermark --set VALUE with a value below all that should be loaded, or --adopt",
        )
    if blocked := _others_rows(spec, target):
        return blocked
    mark = _mark(query, target)
    if mark is None and target.other_nodes and target.last_load is None:
        if target.seq:
            return block(
                f"{spec.node} has loaded into {write.label}, the log no longer tells how far, and the highest value "
                f"there may be of {', '.join(target.other_nodes)}",
                "set the watermark with %hwm_watermark --set VALUE",
            )
        if cursor.initial_value is None:
            others = ", ".join(target.other_nodes)
            return block(
                f"{write.label} was loaded by {others}, and never by {spec.node}: whether {spec.node} continues "
                "that load or adds another source can't be told",
                "to continue, give the load its old name, or run %hwm_watermark --adopt; for another source, set "
                "read.incremental.initial_value",
            )
        return Intent(
            Decision.INCREMENTAL,
            f"{spec.node} loads into {write.label} for the first time, from its initial_value",
            notes=(f"rows of {', '.join(target.other_nodes)} stay as they are",),
        )
    if mark is None and _without_mark(target, cursor) and (recognisable or not target.events):
        return Intent(
            Decision.INCREMENTAL,
            f"{write.label} is at version {target.version}, and its loads have recorded no watermark so far: "
            "everything is read, and rows that are there are recognised",
        )
    if mark is None:
        known = target.last_load or target.replaced
        why = f"no load of {spec.node} is recorded in its log" if known is None else _why_data(target)
        return block(
            f"{write.label} holds rows, {why}, and it has no value in "
            f"{query.cursor.label if query.cursor else cursor.column} to continue from",
            "set the watermark with %hwm_watermark --set VALUE, or reload with --force-first-run",
        )
    if blocked := _other_cursor(spec, query, target, cursor.column):
        return blocked
    if mark.origin == "data":
        why = _why_data(target)
        notes.append(f"the watermark is adopted: MAX({mark.column}) of the target's data, because {why}")
    blocked = _events(spec, target, warnings)
    if blocked is not None:
        return blocked
    if target.other_nodes and recognisable:
        notes.append(f"rows that equal one of {', '.join(target.other_nodes)} count as loaded")
    try:
        low = low_bound(mark, cursor, target.loads, recognisable=recognisable)
    except CursorColumnError as error:
        return block(error.message, error.hint or "", "CursorColumnError")
    fenced = cursor.fence is FencePolicy.XID
    if write.mode is not WriteMode.APPEND or low.lag or low.inclusive or fenced or mark.origin == "set":
        notes.append(low.promise)
    else:
        warnings.append(low.promise)
    return Intent(
        Decision.INCREMENTAL,
        f"{write.label} is at version {target.version}, with its watermark at {mark}",
        low=low,
        before=mark,
        warnings=tuple(warnings),
        notes=tuple(notes),
    )


def _resume(
    spec: LoadSpec, query: SourceQuery, target: TargetState, last: CommitRecord, unfinished: FirstLoad
) -> Intent:
    """Go on with a first load in chunks, right above what is committed of it."""
    column = query.cursor.column if query.cursor is not None else ""
    if blocked := _others_rows(spec, target) or _other_cursor(spec, query, target, column):
        return blocked
    mark = _mark(query, target)
    if mark is None:
        return block(
            f"the first load of {spec.write.label} is unfinished, others have changed its rows since, and none is "
            "left to go on from",
            "set the watermark with %hwm_watermark --set VALUE, or reload with --force-first-run",
        )
    warnings: list[str] = []
    if blocked := _events(spec, target, warnings):
        return blocked
    return Intent(
        Decision.RESUME,
        f"the first load of {spec.write.label} is unfinished: version {last.version} brought its chunk "
        f"{unfinished.chunk}, up to {last.watermark}, and it ends at {unfinished.goal}",
        first_run=True,
        low=Low(mark.value, inclusive=False, lag="", promise=""),
        before=mark,
        warnings=tuple(warnings),
        resumes=unfinished,
    )


def _other_cursor(spec: LoadSpec, query: SourceQuery, target: TargetState, column: str) -> Intent | None:
    """Refuse a mark that is of another column than the load's cursor."""
    last = target.last_load or target.replaced
    if last is None or last.watermark is None or query.cursor is None:
        return None
    recorded, label = last.watermark.column, query.cursor.label
    if recorded == label:
        return None
    if column not in {each.name for each in target.columns}:
        return block(
            f"{spec.write.label} has no column {column}; the watermark that is recorded there is of {recorded}",
            f"write read.incremental.column: {recorded}, if that is what is meant",
        )
    return block(
        f"the recorded watermark is of {recorded}, and the load now uses {label}",
        "run %hwm_watermark --adopt to continue from the target's highest value, or --set VALUE",
    )


def _others_rows(spec: LoadSpec, target: TargetState) -> Intent | None:
    """Refuse to go on where others have emptied the table and filled it anew."""
    if target.replaced is None or not _refilled(target):
        return None
    told = "; ".join(event.text for event in target.events[:3])
    return block(
        f"others emptied {spec.write.label} and put rows of their own there ({told}): whether what was loaded before "
        "should come again can't be told",
        "run %hwm_watermark --set VALUE with a value below all that should be loaded, or --adopt",
    )


def _refilled(target: TargetState) -> bool:
    """Whether others emptied the table after our last load, and then added rows."""
    newest = target.events[0] if target.events else None
    return (
        newest is not None
        and newest.effect == "adds"
        and any(event.effect == "replaces" and event.operation in _ONLY_REMOVE for event in target.events)
    )


def _without_mark(target: TargetState, cursor: CursorSpec) -> bool:
    """Whether our loads hold and recorded no mark: they found only rows without a cursor value."""
    last = target.last_load
    there = any(column.name == cursor.column for column in target.columns)
    return last is not None and last.watermark is None and there and not _rows_changed(target)


def _why_data(target: TargetState) -> str:
    if target.last_load is not None and target.last_load.watermark is None:
        return "the loads so far were made by a query that reads the target"
    if target.last_load is not None:
        return "others changed its rows since the last load"
    if target.replaced is not None:
        return "others replaced its rows since the last load"
    if target.restores:
        return "the table was restored to a version before its first load"
    if target.seq:
        return "the log that recorded its loads has expired"
    if target.forgotten:
        return "the log has expired, and no longer tells of any load"
    return "no load is recorded"


def _events(spec: LoadSpec, target: TargetState, warnings: list[str]) -> Intent | None:
    """Others changed rows: go on where rows read again are recognised whatever happened to them."""
    adopted = target.last_load is None and target.replaced is None and not target.seq
    if adopted or not target.events:
        return None
    told = "; ".join(event.text for event in target.events[:3])
    altered = any(event.effect != "adds" and event.operation not in _ONLY_REMOVE for event in target.events)
    append = spec.write.mode is WriteMode.APPEND
    if append and not spec.write.keys and (altered or (not spec.recognisable and _rows_changed(target))):
        return block(
            f"others changed the target since the last load ({told}), and without write.keys rows read again "
            "might not be recognised and would double",
            "declare write.keys; or settle the watermark with %hwm_watermark --set VALUE or --adopt",
        )
    warnings.append(f"others changed the target since the last load: {told}")
    return None


def _nothing_held(last: CommitRecord, spec: LoadSpec) -> bool:
    """Whether a load that left the target without rows has nothing to go on from, either."""
    return last.watermark is None and not (spec.by_files and last.files is not None)


_ONLY_REMOVE = frozenset(
    {"DELETE", "TRUNCATE", "RESTORE", "FSCK", "REPLACE TABLE", "CREATE OR REPLACE TABLE"}
)
"""What others may do to rows and leave those that stay as they were: these are recognised still."""


def _rows_changed(target: TargetState) -> bool:
    return any(event.effect != "adds" for event in target.events)


def _mark(query: SourceQuery, target: TargetState) -> Watermark | None:
    """The lower of the recorded mark and, where that was needed, the data's maximum."""
    label = query.cursor.label if query.cursor else ""
    last = target.last_load or target.replaced
    recorded = last.watermark if last else None
    found = Watermark(label, target.max_cursor, "data") if target.max_cursor is not None else None
    if recorded is None:
        # The highest value may be of a row that others have added.
        return None if target.other_nodes or (last is not None and target.events) else found
    if found is None and target.has_rows and _rows_changed(target):
        # None of the rows that the mark stood for is left.
        return None
    if found is None or not found.value.comparable(recorded.value):
        return recorded
    return recorded if recorded.value <= found.value else found
