"""The decision: a pure function of what was asked for and what was observed."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from hwm_magics.core.blocked import Blocked
from hwm_magics.core.by_version import with_versions
from hwm_magics.core.chunks import chunked, misfit
from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue
from hwm_magics.core.decided import Blocker, Chunk, Decision, LoadPlan, Window
from hwm_magics.core.files import with_files
from hwm_magics.core.intent import Intent, cursor_spec, intend
from hwm_magics.core.observed import SourceState, TargetState, Watermark
from hwm_magics.core.query import CursorExpression, SourceQuery
from hwm_magics.core.specs import CursorSpec, FuturePolicy, LoadSpec, NullPolicy, WriteMode
from hwm_magics.core.statement import Param
from hwm_magics.core.steps import Abilities, Planned, plan_steps
from hwm_magics.core.words import counted
from hwm_magics.errors import CursorColumnError, HwmError

__all__ = ["continues", "moves", "plan_load"]


def plan_load(
    spec: LoadSpec,
    query: SourceQuery,
    target: TargetState,
    source: SourceState | None,
    *,
    values: tuple[Param, ...] = (),
    abilities: Abilities | None = None,
) -> LoadPlan:
    """Decide what a load does.

    Args:
        spec: What was asked for.
        query: Its query, parsed (see :func:`hwm_magics.core.query.prepare`).
        target: What was observed of the target.
        source: What was observed of the source; None when :func:`intend` was BLOCKED already.
        values: What the query's subqueries over the target came to.
        abilities: What the engine can do.

    Returns:
        The plan. It has steps only when it is to be carried out: never for an unknown target,
        never an overwrite of rows that was not asked for, never a window that leaves a gap above
        the watermark.
    """
    able = abilities or Abilities()
    return replace(_decided(spec, query, target, source, values, able), engine=able.engine)


def _decided(
    spec: LoadSpec,
    query: SourceQuery,
    target: TargetState,
    source: SourceState | None,
    values: tuple[Param, ...],
    abilities: Abilities,
) -> LoadPlan:
    intent = intend(spec, query, target)
    if intent.blocker is not None or source is None:
        return _finish(
            LoadPlan(
                spec,
                target,
                source,
                Decision.BLOCKED if intent.blocker else intent.decision,
                intent.reason,
                before=intent.before,
                blocker=intent.blocker,
                warnings=intent.warnings,
                notes=intent.notes,
            )
        )
    try:
        draft = _with_source(spec, query, target, source, intent)
        planned = Planned(spec, query, target, source, draft, values, abilities)
        return _finish(plan_steps(planned) if draft.decision is not Decision.NO_CHANGES else draft)
    except Blocked as blocked:
        blocker = blocked.blocker
    except HwmError as error:
        blocker = Blocker(error.message, error.hint or "correct the load's settings", type(error).__name__)
    plan = LoadPlan(spec, target, source, Decision.BLOCKED, blocker.message, before=intent.before)
    return _finish(replace(plan, blocker=blocker, warnings=intent.warnings, notes=intent.notes))


def _with_source(
    spec: LoadSpec, query: SourceQuery, target: TargetState, source: SourceState, intent: Intent
) -> LoadPlan:
    """The decision with its window and marks, once the source has answered."""
    cursor = cursor_spec(spec, query)
    warnings = [*intent.warnings, *source.warnings]
    notes = list(intent.notes)
    if source.fence:
        notes.append(source.fence)
    _check_identity(target, source, warnings)
    plan = LoadPlan(spec, target, source, intent.decision, intent.reason, before=intent.before)
    if source.files is not None:
        plan = with_files(plan, source.files, warnings, notes)
    plan = with_versions(plan, source.versions, warnings, notes)
    if cursor is None or query.cursor is None:
        if spec.write.chunk is not None and intent.decision is Decision.FIRST_RUN:
            raise Blocked(
                "write.first_run.chunk needs a cursor column, along which the windows are laid",
                "add read.incremental {column: …}, or leave first_run away",
            )
        return replace(plan, warnings=tuple(warnings), notes=tuple(notes))
    _check_rows(spec, cursor, source, intent, warnings)
    before = intent.before
    if before is not None and source.cursor_type is not None:
        _check_comparable(before, source.cursor_type)
    window = _window(spec, cursor, source, intent)
    if intent.decision is Decision.INCREMENTAL and window is not None:
        nothing = _nothing_new(cursor, source, intent, warnings)
        if nothing:
            plan = replace(plan, decision=Decision.NO_CHANGES, reason=nothing, after=before, window=window)
            return replace(plan, warnings=tuple(warnings), notes=tuple(notes))
    after = _after(query.cursor, source, intent, before)
    part = _chunk(spec, query, source, intent, window, notes) if window is not None else None
    if part is not None:
        window, chunk = part
        after = Watermark(query.cursor.label, window.high) if window.high is not None else None
        plan = replace(plan, chunk=chunk)
    return replace(plan, window=window, after=after, warnings=tuple(warnings), notes=tuple(notes))


def _chunk(
    spec: LoadSpec,
    query: SourceQuery,
    source: SourceState,
    intent: Intent,
    window: Window,
    notes: list[str],
) -> tuple[Window, Chunk] | None:
    """The window of a first load in chunks; None for a load in one commit."""
    step, unfinished, kind = spec.write.chunk, intent.resumes, source.cursor_type
    if not intent.chunked or (step is None and unfinished is None):
        return None
    if spec.write.mode is WriteMode.OVERWRITE:
        raise Blocked(
            "mode: overwrite replaces all rows in one commit, so it can't load in chunks",
            "leave write.first_run away, or use mode: append or upsert",
        )
    told = misfit(step, kind) if step is not None and kind is not None else None
    if told is not None:
        raise Blocked(*told, "CursorColumnError")
    if not query.first_run_is_open:
        raise Blocked(
            "write.first_run.chunk puts windows around what a first run reads, and that names its bounds itself",
            "add write.first_run_query without them, or leave first_run away",
        )
    if unfinished is not None:
        return chunked(window, source.lowest, unfinished.goal, step, unfinished.chunk + 1)
    if window.high is None:
        return None
    part, chunk = chunked(window, source.lowest, window.high, step, 1)
    if not chunk.left:
        notes.append("first_run.chunk: one window holds all rows, so the first load is one commit")
        return None
    notes.append("readers see the table grow: each window is a commit of its own")
    return part, chunk


def _check_identity(target: TargetState, source: SourceState, warnings: list[str]) -> None:
    last = target.last_load
    if last is None or not last.source.strong or not source.identity.strong:
        return
    if last.source.strong != source.identity.strong:
        raise Blocked(
            f"the last load read from {last.source.text}, and the connection now leads to {source.identity.text}: "
            "the watermark may mean nothing there",
            "if it is the same data, run %hwm_watermark --adopt; else load it under another node name",
        )
    if last.source.epoch and source.identity.epoch and last.source.epoch != source.identity.epoch:
        warnings.append(
            f"the source was restored or failed over since the last load ({last.source.epoch} → "
            f"{source.identity.epoch}): rows that were loaded and then undone there stay in the target"
        )


def _check_comparable(before: Watermark, now: CursorType) -> None:
    if not now.comparable(before.value.type):
        raise Blocked(
            f"the watermark {before} is of type {before.value.type.kind}, and the cursor column is now of type "
            f"{now.native or now.kind}",
            "cast the column in the query, or settle the watermark with %hwm_watermark --set VALUE",
            "CursorColumnError",
        )


def _check_rows(
    spec: LoadSpec, cursor: CursorSpec, source: SourceState, intent: Intent, warnings: list[str]
) -> None:
    if source.nulls:
        told = f"{cursor.column} is NULL in {counted(source.nulls, 'row')}"
        if cursor.nulls is NullPolicy.ERROR:
            raise Blocked(told, "set a fallback_column, or nulls: warn or read", "CursorColumnError")
        if not intent.first_run and cursor.nulls is NullPolicy.WARN:
            warnings.append(
                f"{told}: only the first run reads such rows (nulls: read looks at them each time)"
            )
        elif intent.first_run and cursor.nulls in (NullPolicy.WARN, NullPolicy.FIRST_RUN_ONLY):
            warnings.append(f"{told}: they are read now, and new ones not on later runs (nulls: read does)")
    if source.future:
        told = f"dated after the source's own clock ({source.now}): {counted(source.future, 'row')}, up to {source.top}"
        if cursor.future is FuturePolicy.ERROR:
            raise Blocked(told, "mend the rows, or set future: cap or accept", "CursorColumnError")
        if cursor.future is FuturePolicy.CAP:
            warnings.append(
                f"{told}: they wait until the clock has passed them (if the column holds another zone's time, "
                "set the connection's timezone)"
            )
        else:
            warnings.append(f"{told}: the watermark will stand there, and rows dated below it are late")
    if spec.write.mode is WriteMode.APPEND and spec.transform and not spec.write.keys:
        again = "a rolling window" if cursor.lookback is not None else ""
        again = "nulls: read" if cursor.nulls is NullPolicy.READ else again
        if again:
            raise Blocked(
                f"{again} reads rows again, and after the transform {spec.transform!r} they can't be recognised",
                "declare write.keys, or use mode: upsert",
            )


def _window(spec: LoadSpec, cursor: CursorSpec, source: SourceState, intent: Intent) -> Window | None:
    if intent.decision is Decision.BACKFILL and spec.backfill is not None:
        return _backfill_window(spec, cursor, source, intent)
    high = source.high if source.high is not None else source.until
    if high is None and source.now is not None and cursor.future is FuturePolicy.CAP:
        high = source.now.minus(cursor.settle) if source.now.type.is_time else None
    if intent.low is not None:
        low = intent.low.rolled(cursor, source.now)
        return Window(_bindable(low.value, source), high, low.inclusive)
    if cursor.initial_value is not None and source.cursor_type is not None:
        return Window(source.cursor_type.value(cursor.initial_value), high)
    return Window(None, high)


def continues(approved: LoadPlan, plan: LoadPlan) -> bool:
    """Whether a plan goes on with a first load in chunks that was approved, in whole or from a later chunk on.

    What was approved is the load up to its goal, so that it may go on from wherever it was broken off.
    """

    def asked(each: LoadPlan) -> tuple[object, ...]:
        columns = tuple((column.name, column.type) for column in (each.source.columns if each.source else ()))
        return each.spec, each.target.location, columns

    return approved.chunk is not None and plan.decision is Decision.RESUME and asked(approved) == asked(plan)


def _bindable(low: CursorValue, source: SourceState) -> CursorValue:
    """The bound, rounded down to what the source's own type keeps."""
    kept = source.cursor_type
    if kept is None or kept.kind not in (CursorKind.TIMESTAMP, CursorKind.TIMESTAMP_TZ, CursorKind.DATE):
        return low
    lowered = low.floored(kept.digits)
    return (
        CursorValue(kept, lowered.text[:10])
        if kept.kind is CursorKind.DATE
        else CursorValue(kept, lowered.text)
    )


def _backfill_window(spec: LoadSpec, cursor: CursorSpec, source: SourceState, intent: Intent) -> Window:
    if spec.backfill is None or source.cursor_type is None:
        raise Blocked("a backfill needs a cursor column", "add read.incremental {column: …}")
    try:
        low, high = (source.cursor_type.value(text) for text in spec.backfill)
    except CursorColumnError as error:
        raise Blocked(f"--backfill {'..'.join(spec.backfill)}: {error.message}", error.hint or "") from None
    if high < low:
        raise Blocked(f"--backfill {low}..{high}: the low bound lies above the high one", "swap them")
    if cursor.future is FuturePolicy.CAP and source.now is not None and source.now.type.is_time:
        fence = source.now.minus(cursor.settle)
        if fence < low:
            raise Blocked(
                f"--backfill {low}..{high} lies after the source's own clock ({source.now})",
                "choose an earlier window, or set future: accept",
            )
        high = min(high, fence)
    before = intent.before
    if before is not None and spec.transform and not spec.write.keys and before.value < high:
        raise Blocked(
            f"the backfill reaches above the watermark {before}, and after a transform the next load can't "
            "recognise its rows",
            "end the backfill at the watermark, or declare write.keys",
        )
    return Window(low, high)


def _nothing_new(cursor: CursorSpec, source: SourceState, intent: Intent, warnings: list[str]) -> str:
    """Why there is nothing to read; "" when there may be."""
    before = intent.before
    reads_nulls = cursor.nulls is NullPolicy.READ and source.nulls != 0
    if source.high is None:
        if source.top is not None:
            return "" if reads_nulls else _waiting(source)
        if source.below is None:
            warnings.append("the source holds no rows with a cursor value")
            return "" if reads_nulls else "the source holds no rows"
        if before is not None and source.below < before.value:
            raise _ahead(before, source.below)
        return "" if reads_nulls else f"nothing lies above the watermark {before}"
    low = intent.low
    if low is not None and not low.inclusive and cursor.lookback is None and source.high <= low.value:
        return "" if reads_nulls else f"nothing lies above the watermark {before}"
    highest = source.top if source.top is not None else source.high
    if before is not None and highest < before.value:
        if not before.value.type.is_time:
            raise _ahead(before, highest)
        warnings.append(
            f"the source's highest {cursor.column} is {highest}, below the watermark {before}: rows were deleted "
            "there, or it was restored"
        )
    if source.count == 0 and not reads_nulls:
        return "no row lies in the window"
    return ""


def _waiting(source: SourceState) -> str:
    if source.now is not None and source.top is not None and source.top > source.now:
        return "all new rows are dated after the source's own clock, and wait"
    return "all new rows wait: they are younger than settle allows, or than a transaction that is still open"


def _ahead(before: Watermark, high: CursorValue) -> Blocked:
    return Blocked(
        f"the watermark {before} lies above everything that the source has (its highest value is {high}): the source "
        "was restored to an earlier point, its newest rows were deleted, or the connection leads elsewhere, perhaps to "
        "a standby that is behind",
        f"if new rows will come with values above {high}, run %hwm_watermark --set '{high}'; the rows loaded since "
        "stay in the target",
        "WatermarkAheadError",
    )


def _after(
    cursor: CursorExpression, source: SourceState, intent: Intent, before: Watermark | None
) -> Watermark | None:
    if intent.decision is Decision.BACKFILL:
        return before
    high = source.high
    if intent.decision.anew or before is None:
        return Watermark(cursor.label, high) if high is not None else None
    value = before.value if high is None or high < before.value else high
    return Watermark(cursor.label, value)


def _finish(plan: LoadPlan) -> LoadPlan:
    """Give the plan its hash: what was approved, without what moves by itself."""
    kinds = [type(step).__name__ for step in plan.steps]
    spec = plan.spec
    what = (
        plan.decision.value,
        spec.node,
        spec.write.mode.value,
        plan.target.location,
        spec.write.keys,
        spec.backfill,
        plan.before.column if plan.before else "",
        tuple((column.name, column.type) for column in (plan.source.columns if plan.source else ())),
        kinds,
    )
    digest = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
    return replace(plan, hash=digest)


def moves(before: LoadPlan, now: LoadPlan) -> tuple[tuple[str, str, str], ...]:
    """How a plan differs from one made earlier, for people.

    Returns:
        What it is, how it stood and how it stands, for everything that is not the same; a window that
        moved is none of it.
    """

    def listed(plan: LoadPlan) -> str:
        if now.source is None or before.source is None:
            return ""  # a BLOCKED plan did not ask
        return ", ".join(f"{each.name} {each.type}" for each in (plan.source.columns if plan.source else ()))

    told = [
        ("decision", before.decision.value, now.decision.value),
        ("version", _or_none(before.target.version), _or_none(now.target.version)),
        ("watermark", _or_none(before.before), _or_none(now.before)),
        ("columns", listed(before), listed(now)),
    ]
    return tuple((what, old, new) for what, old, new in told if old != new)


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)
