"""A plan, or what came of it, in words: the one text that card, terminal, log and JSON all show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from hwm_magics.core.decided import (
    AppendRows,
    ApplyTransform,
    CheckSchema,
    Commit,
    CreateTable,
    Decision,
    Deduplicate,
    LoadPlan,
    LoadResult,
    MergeRows,
    OptimizeTable,
    ReadRows,
    RecogniseRows,
    RegisterTable,
    ReplaceTable,
    ReplaceWindow,
    Step,
)
from hwm_magics.core.observed import Watermark
from hwm_magics.core.query import display
from hwm_magics.core.specs import WriteMode
from hwm_magics.core.statement import Statement
from hwm_magics.core.words import counted

__all__ = ["Explanation", "Side", "duration", "explain", "plan_to_dict", "receipt", "result_to_dict"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two readings that a plan chooses between.

    Attributes:
        title: ``First run`` or ``Incremental``.
        chosen: Whether this one will be done.
        sql: Its SQL with the values in their places; "" when there is none.
        why: What is or would be the reason.
    """

    title: str
    chosen: bool
    sql: str
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan in words.

    Attributes:
        badge: The decision: ``FIRST RUN``, ``INCREMENTAL``, …
        title: Node, engine and write mode.
        sentence: What will be done, in one sentence.
        reason: Why.
        facts: Label and value, in order.
        sides: First run and incremental, side by side; empty when the plan is BLOCKED.
        steps: What execution will do, in order.
        warnings, notes: Sentences.
        hint: For a BLOCKED plan, what to do.
    """

    badge: str
    title: str
    sentence: str
    reason: str
    facts: tuple[tuple[str, str], ...]
    sides: tuple[Side, ...] = ()
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    hint: str = ""


def explain(plan: LoadPlan) -> Explanation:
    """Put a plan into words: plain text throughout; renderers escape it."""
    write = plan.spec.write
    return Explanation(
        badge=plan.decision.value,
        title=f"{plan.spec.node} · {plan.engine} · {write.mode.value}",
        sentence=_sentence(plan),
        reason=plan.reason,
        facts=tuple(_facts(plan)),
        sides=tuple(_sides(plan)),
        steps=tuple(_step(step, plan) for step in plan.steps),
        warnings=plan.warnings,
        notes=plan.notes,
        hint=plan.blocker.hint if plan.blocker else "",
    )


def _sentence(plan: LoadPlan) -> str:
    read, write = plan.spec.read, plan.spec.write
    target = f"{write.label}" + (
        f" (version {plan.target.version})" if plan.target.version is not None else ""
    )
    if plan.decision is Decision.BLOCKED:
        return f"Nothing will be written to {target}: {plan.reason}."
    if plan.decision is Decision.NO_CHANGES:
        return f"Nothing to load into {target}: {plan.reason}."
    rows = f"the rows of {read.label}{_bounds(plan)}"
    if plan.decision is Decision.BACKFILL:
        how = "merge them into" if write.keys and write.mode is not WriteMode.APPEND else "replace them in"
        return f"Will read {rows} again and {how} {target}; the watermark stays."
    if plan.decision is Decision.FULL_RELOAD:
        return f"Will replace all rows of {target} with {rows}."
    if plan.decision is Decision.FIRST_RUN:
        made = "create" if plan.step(CreateTable) else "fill the empty"
        return f"Will {made} {target} with {'all ' if not _bounds(plan) else ''}{rows}."
    if plan.looks_again:
        how = "merge" if write.mode is WriteMode.UPSERT else "add"
        return (
            f"Nothing lies above the watermark {plan.before}; will look at {rows} again and {how} what came late "
            f"to {target}."
        )
    verb = {
        WriteMode.APPEND: "append",
        WriteMode.UPSERT: f"merge on {', '.join(write.keys)}",
        WriteMode.APPEND_ONCE: f"insert, where {', '.join(write.keys)} is new,",
        WriteMode.OVERWRITE: "write",
    }[write.mode]
    return f"Will {verb} {rows} to {target}."


def _bounds(plan: LoadPlan) -> str:
    window, cursor = plan.window, plan.spec.read.cursor
    if window is None or (window.low is None and window.high is None):
        return ""
    name = cursor.column if cursor else (plan.before.column if plan.before else "the cursor")
    low = "" if window.low is None else f" {'from' if window.low_inclusive else 'above'} {window.low}"
    high = "" if window.high is None else f" up to {window.high}"
    return f" with {name}{low}{high}"


def _facts(plan: LoadPlan) -> list[tuple[str, str]]:
    read, write, target, source = plan.spec.read, plan.spec.write, plan.target, plan.source
    facts = [("Source", f"{read.label} on {read.connection}" + _identity(plan))]
    facts.append(("Target", f"{target.location or write.label}; {target.existence.value}: {target.evidence}"))
    if plan.before is not None:
        facts.append(("Watermark", _mark(plan.before, plan)))
    if plan.after is not None and plan.after != plan.before:
        facts.append(("Watermark after", f"{plan.after.column} = {plan.after}"))
    if plan.window is not None and plan.window.low is not None:
        facts.append(("Window", str(plan.window)))
    if source is not None and source.now is not None:
        facts.append(("Source's clock", str(source.now)))
    if source is not None and source.count is not None and plan.decision is Decision.INCREMENTAL:
        facts.append(("Rows in the window", f"{source.count:,}, with those that are looked at again"))
    if write.keys:
        facts.append(("Keys", ", ".join(write.keys)))
    partitions = target.partition_by or (write.partition_by if plan.step(CreateTable) else ())
    if partitions:
        facts.append(("Partitioned by", ", ".join(partitions)))
    if write.register_table:
        facts.append(("Registered as", write.register_table))
    if source is not None and source.columns and plan.decision is Decision.FIRST_RUN:
        facts.append(("Columns", ", ".join(f"{column.name} {column.type}" for column in source.columns)))
    check = plan.step(CheckSchema)
    if check is not None:
        change = check.change
        signs = [f"+ {column.name} ({column.type}, added)" for column in change.added]
        signs += [f"− {column.name} (missing, NULL is written)" for column in change.missing]
        signs += [f"~ {name} ({old} fits {new})" for name, old, new in change.casts]
        if signs:
            facts.append(("Schema", "; ".join(signs)))
    facts += [("Restored", sentence) for sentence in target.restores]
    return facts


def _identity(plan: LoadPlan) -> str:
    return f" ({plan.source.identity.text})" if plan.source and plan.source.identity.text else ""


def _mark(mark: Watermark, plan: LoadPlan) -> str:
    kind = mark.value.type
    origin = {
        "commit": f"recorded by version {plan.target.last_load.version}"
        if plan.target.last_load
        else "recorded",
        "data": "adopted: the highest value in the target's data",
        "set": "set by hand",
    }[mark.origin]
    return f"{mark.column} = {mark} ({kind.native or kind.kind.value}; {origin})"


def _sides(plan: LoadPlan) -> list[Side]:
    if plan.decision is Decision.BLOCKED:
        return []
    first = plan.decision in (Decision.FIRST_RUN, Decision.FULL_RELOAD)
    sides = []
    if plan.first_run_statement is not None:
        why = plan.reason if first else "when the target does not exist, or is empty"
        sides.append(Side("First run", first, _sql(plan.first_run_statement), why))
    if plan.incremental_statement is not None:
        title = "Backfill" if plan.decision is Decision.BACKFILL else "Incremental"
        why = plan.reason if not first else "afterwards, up to the highest value there is by then"
        sides.append(Side(title, not first, _sql(plan.incremental_statement), why))
    return sides


def _sql(statement: Statement) -> str:
    return display(statement)


def _step(step: Step, plan: LoadPlan) -> str:
    match step:
        case CreateTable(columns):
            what = f"{len(columns)} columns" if columns else "the columns that the transform gives"
            return f"create the empty table with {what} (one winner, should two loads race)"
        case ReadRows():
            return "read the source once, as a stream"
        case ApplyTransform(name):
            return f"pass every chunk through {name}"
        case CheckSchema():
            return "fit the rows to the target's columns, without loss"
        case Deduplicate(keys, cursor):
            newest = f"the newest row by {cursor}" if cursor else "one row"
            return f"keep {newest} of each {', '.join(keys)}; refuse NULL keys"
        case RecogniseRows(low, columns):
            by = f"by {', '.join(columns)}" if columns else "as whole rows, each counted"
            since = f" at or above {low}" if low else ""
            return f"drop rows that the target holds already{since}, compared {by}"
        case AppendRows():
            return "append the rows"
        case MergeRows(keys, insert_only):
            return f"{'insert the rows whose' if insert_only else 'merge the rows on'} {', '.join(keys)}" + (
                " is new" if insert_only else ""
            )
        case ReplaceTable():
            return f"replace all rows (version {plan.target.version} stays restorable)"
        case ReplaceWindow(window):
            return f"replace the rows in {window}"
        case Commit(seq, mark):
            told = f" and the watermark {mark}" if mark else ""
            on = f" on version {plan.target.version}" if plan.target.version is not None else ""
            return f"commit rows, transaction {seq}{told} at once{on}"
        case RegisterTable(name):
            return f"register the table as {name}"
        case OptimizeTable(z_order):
            return f"order the files by {', '.join(z_order)}" if z_order else "compact small files, if many"


def receipt(result: LoadResult) -> str:
    """What happened, in a few lines of plain text."""
    took = duration(timedelta(seconds=result.seconds))
    if result.status == "dry_run":
        return f"{result.node}: dry run: {counted(result.rows_read, 'row')} read and checked, nothing written ({took})"
    if result.status == "already_loaded":
        head = f"{result.node}: another run had loaded the window already; nothing to do ({took})"
    elif result.status == "nothing_new":
        seen = f"; looked again at {counted(result.rows_recognised, 'row')}" if result.rows_recognised else ""
        head = f"{result.node}: nothing new{seen} ({took})"
    else:
        new = f"version {result.version_after}"
        moved = (
            new
            if result.version_before is None
            else f"version {result.version_before} → {result.version_after}"
        )
        rows = counted(result.rows_written, "row")
        head = f"{result.node}: {result.decision.value}: {rows} written in {took}, {moved}"
    lines = [head]
    if result.status == "loaded":
        recognised = f", {result.rows_recognised:,} recognised" if result.rows_recognised else ""
        updated = f", {result.rows_updated:,} of them updated" if result.rows_updated else ""
        files = "" if result.files is None else f", {counted(result.files, 'file')}"
        files += f", {size(result.bytes)}" if result.bytes else ""
        lines.append(f"  {result.rows_read:,} read{recognised}{updated}{files}; run {result.run_id}")
    if result.watermark_after is not None:
        before = f"{result.watermark_before} → " if result.watermark_before != result.watermark_after else ""
        before = "" if result.watermark_before is None else before
        lines.append(f"  watermark {result.watermark_after.column}: {before}{result.watermark_after}")
    if result.late_rows:
        late = f", up to {lateness(result.lateness)} late" if result.lateness is not None else ""
        lines.append(f"  {result.late_rows:,} of them came late{late}")
    lines += [f"  ! {warning}" for warning in result.warnings]
    return "\n".join(lines)


def size(count: int) -> str:
    """A number of bytes in words: ``812 B``, ``1.4 MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:  # noqa: PLR2004 - decimal units
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def lateness(value: timedelta | int | None) -> str:
    """A lateness in words."""
    return duration(value) if isinstance(value, timedelta) else f"{value:,}" if value is not None else ""


def duration(value: timedelta) -> str:
    """A duration in words: ``0.31 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``, ``4 d 2 h``."""
    seconds = value.total_seconds()
    if seconds < 10:  # noqa: PLR2004 - below, hundredths matter
        return f"{seconds:.2f} s"
    whole = round(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, seconds_left = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds_left, "s")]
    kept = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(kept[:2])


def plan_to_dict(plan: LoadPlan) -> dict[str, object]:
    """A plan as JSON-ready values, without rows and without secrets."""
    told = explain(plan)
    return {
        "node": plan.spec.node,
        "engine": plan.engine,
        "decision": plan.decision.value,
        "mode": plan.spec.write.mode.value,
        "sentence": told.sentence,
        "reason": told.reason,
        "target": {
            "location": plan.target.location,
            "existence": plan.target.existence.value,
            "evidence": plan.target.evidence,
            "version": plan.target.version,
        },
        "window": {
            "low": str(plan.window.low) if plan.window and plan.window.low else None,
            "high": str(plan.window.high) if plan.window and plan.window.high else None,
        },
        "watermark": {
            "column": plan.before.column if plan.before else (plan.after.column if plan.after else None),
            "before": str(plan.before) if plan.before else None,
            "after": str(plan.after) if plan.after else None,
        },
        "rows": plan.source.count if plan.source else None,
        "statements": {side.title: side.sql for side in told.sides},
        "steps": list(told.steps),
        "warnings": list(told.warnings),
        "notes": list(told.notes),
        "hint": told.hint,
        "hash": plan.hash,
    }


def result_to_dict(result: LoadResult) -> dict[str, object]:
    """A result as JSON-ready values."""
    late = result.lateness
    return {
        "node": result.node,
        "decision": result.decision.value,
        "status": result.status,
        "run_id": result.run_id,
        "rows": {
            "read": result.rows_read,
            "recognised": result.rows_recognised,
            "written": result.rows_written,
            "updated": result.rows_updated,
            "late": result.late_rows,
        },
        "lateness": late.total_seconds() if isinstance(late, timedelta) else late,
        "version": {"before": result.version_before, "after": result.version_after},
        "watermark": {
            "before": str(result.watermark_before) if result.watermark_before else None,
            "after": str(result.watermark_after) if result.watermark_after else None,
        },
        "files": result.files,
        "bytes": result.bytes,
        "seconds": round(result.seconds, 3),
        "retries": result.retries,
        "warnings": list(result.warnings),
    }
