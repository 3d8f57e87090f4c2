"""A plan in words: the one text that card, terminal, log and JSON all show."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from hwm_magics.core.commit_info import written
from hwm_magics.core.decided import (
    AppendRows,
    ApplyTransform,
    CheckSchema,
    Chunk,
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
    Step,
)
from hwm_magics.core.observed import CommitRecord, Watermark
from hwm_magics.core.query import display
from hwm_magics.core.receipt import duration, size
from hwm_magics.core.specs import WriteMode
from hwm_magics.core.statement import Statement
from hwm_magics.core.words import counted as counted_words

__all__ = ["Change", "Explanation", "PastLoad", "Sample", "Side", "explain", "plan_to_dict"]


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
class Change:
    """One difference between the source's columns and the target's.

    Attributes:
        sign: ``+`` for a column that is added, ``−`` for one that the source lacks, ``~`` for a cast.
        name: The column.
        words: What is done about it.
    """

    sign: str
    name: str
    words: str


@dataclass(frozen=True, slots=True)
class PastLoad:
    """One load that the target's log knows.

    Attributes:
        when: When it was committed (UTC); "" when the log does not say.
        kind: What it was.
        rows: How many rows it wrote; None when the log does not say.
        version: The version that it made.
    """

    when: str
    kind: str
    rows: int | None
    version: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A few rows of what will be read, as text.

    Attributes:
        columns: Their names.
        rows: One text a column; None for NULL.
        masked: Columns whose values are not shown.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    masked: tuple[str, ...] = ()


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
        changes: How the source's columns differ from the target's.
        loads: Recent loads of the target, newest first.
        sample: A few rows of what will be read; None when none were asked for.
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
    changes: tuple[Change, ...] = ()
    loads: tuple[PastLoad, ...] = ()
    sample: Sample | None = None


def explain(
    plan: LoadPlan,
    *,
    recent: Sequence[CommitRecord] = (),
    counted: int | None = None,
    sample: Sample | None = None,
) -> Explanation:
    """Put a plan into words.

    Args:
        plan: The plan.
        recent: The target's loads so far, newest first.
        counted: How many rows will be read, where somebody had them counted; None otherwise.
        sample: A few of these rows.

    Returns:
        Plain text throughout; renderers escape it.
    """
    write = plan.spec.write
    return Explanation(
        badge=plan.decision.value,
        title=f"{plan.spec.node} · {plan.engine} · {write.mode.value}",
        sentence=_sentence(plan),
        reason=plan.reason,
        facts=tuple(_facts(plan, counted)),
        sides=tuple(_sides(plan)),
        steps=tuple(_step(step, plan) for step in plan.steps),
        warnings=plan.warnings,
        notes=plan.notes,
        hint=plan.blocker.hint if plan.blocker else "",
        changes=tuple(_changes(plan)),
        loads=tuple(_past(record) for record in recent),
        sample=sample,
    )


def _past(record: CommitRecord) -> PastLoad:
    when = f"{record.committed_at:%Y-%m-%d %H:%M}" if record.committed_at is not None else ""
    return PastLoad(when, record.told.replace("_", " "), written(record.metrics).rows, record.version)


def _sentence(plan: LoadPlan) -> str:
    write = plan.spec.write
    target = f"{write.label}" + (
        f" (version {plan.target.version})" if plan.target.version is not None else ""
    )
    if plan.decision is Decision.BLOCKED:
        return f"Nothing will be written to {target}: {plan.reason}."
    if plan.decision is Decision.NO_CHANGES:
        return f"Nothing to load into {target}: {plan.reason}."
    rows = f"the rows of {_source(plan)}{_bounds(plan)}"
    if plan.decision is Decision.BACKFILL:
        how = "merge them into" if write.keys and write.mode is not WriteMode.APPEND else "replace them in"
        return f"Will read {rows} again and {how} {target}; the watermark stays."
    if plan.decision is Decision.FULL_RELOAD:
        return f"Will replace all rows of {target} with {rows}."
    if plan.decision is Decision.FIRST_RUN:
        made = "create" if plan.step(CreateTable) else "fill the empty"
        return f"Will {made} {target} with {'all ' if not _bounds(plan) else ''}{rows}{_in_chunks(plan)}."
    if plan.decision is Decision.RESUME:
        return f"Will go on with the first load of {target}: {rows}{_in_chunks(plan)}."
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


def _in_chunks(plan: LoadPlan) -> str:
    """How many commits it will take."""
    chunk = plan.chunk
    if chunk is None:
        return ""
    return f", in at most {counted_words(chunk.left + 1, 'commit')}" if chunk.left else ", in one last commit"


def _source(plan: LoadPlan) -> str:
    """What is read, as the sentence names it."""
    label, source = plan.spec.read.label, plan.source
    if source is None or plan.decision is not Decision.INCREMENTAL or not plan.spec.recorded:
        return label
    if source.files is not None:
        return f"{counted_words(len(source.files.new), 'new file')} of {label}"
    if source.versions is None or source.versions.whole:
        return label
    return f"{counted_words(source.versions.adding, 'new version')} of {label}"


def _bounds(plan: LoadPlan) -> str:
    window, cursor = plan.window, plan.spec.read.cursor
    if window is None or (window.low is None and window.high is None):
        return ""
    name = cursor.column if cursor else (plan.before.column if plan.before else "the cursor")
    low = "" if window.low is None else f" {'from' if window.low_inclusive else 'above'} {window.low}"
    high = "" if plan.goal is None else f" up to {plan.goal}"
    return f" with {name}{low}{high}"


def _facts(plan: LoadPlan, counted: int | None) -> list[tuple[str, str]]:
    read, write, target, source = plan.spec.read, plan.spec.write, plan.target, plan.source
    facts = [("Source", f"{read.label} on {read.connection}" + _identity(plan))]
    facts.append(("Target", f"{target.location or write.label}; {target.existence.value}: {target.evidence}"))
    if plan.before is not None:
        facts.append(("Watermark", _mark(plan.before, plan)))
    if plan.after is not None and plan.after != plan.before:
        goal = f", at the end {plan.goal}" if plan.chunk is not None and plan.chunk.left else ""
        facts.append(("Watermark after", f"{plan.after.column} = {plan.after}{goal}"))
    if plan.chunk is not None:
        facts += _chunks(plan, plan.chunk)
    elif plan.window is not None and plan.window.low is not None:
        facts.append(("Window", str(plan.window)))
    if source is not None and source.now is not None:
        facts.append(("Source's clock", str(source.now)))
    if plan.writes:
        facts.append(("Rows expected", _expected(plan, counted)))
    facts += _files(plan) + _versions(plan)
    if write.keys:
        facts.append(("Keys", ", ".join(write.keys)))
    partitions = target.partition_by or (write.partition_by if plan.step(CreateTable) else ())
    if partitions:
        facts.append(("Partitioned by", ", ".join(partitions)))
    if write.cluster_by:
        facts.append(("Clustered by", ", ".join(write.cluster_by)))
    if write.register_table:
        facts.append(("Registered as", write.register_table))
    if source is not None and source.columns and plan.decision is Decision.FIRST_RUN:
        facts.append(("Columns", ", ".join(f"{column.name} {column.type}" for column in source.columns)))
    facts += [("Restored", sentence) for sentence in target.restores]
    if plan.writes:
        facts.append(("To undo it", _undo(plan)))
    return facts


def _chunks(plan: LoadPlan, chunk: Chunk) -> list[tuple[str, str]]:
    step = chunk.step
    length = "" if step is None else f" of {duration(step) if isinstance(step, timedelta) else f'{step:,}'}"
    most = f"at most {chunk.left + 1:,}{length}" if chunk.left else "1, the last"
    facts = [("Windows", f"{most}; those without a row are passed over"), ("This window", str(plan.window))]
    if chunk.following is not None:
        facts.append(("Next window", str(chunk.following)))
    return facts


def _undo(plan: LoadPlan) -> str:
    """How to get back to what is there now."""
    target = plan.target
    back = f"%hwm_rollback --node {shlex.quote(plan.spec.node)} --to {target.version or 0}"
    if target.version is None:
        return (
            f"{back} empties the table again; deleting {target.location or plan.spec.write.label} removes it"
        )
    return f"{back} brings back version {target.version} and its watermark, as long as its files are kept"


def _files(plan: LoadPlan) -> list[tuple[str, str]]:
    """Which files are read, and which are not."""
    seen = plan.source.files if plan.source is not None else None
    if seen is None:
        return []
    names = ", ".join(one.path for one in seen.new[:3]) + (" …" if len(seen.new) > 3 else "")  # noqa: PLR2004 - what fits
    parts = [
        f"{counted_words(len(seen.new), 'file')} to read, {size(seen.bytes)}: {names}"
        if seen.new
        else "none to read"
    ]
    if plan.spec.by_files and seen.known:
        parts.append(f"{seen.known:,} loaded before")
    if seen.waiting:
        parts.append(f"{len(seen.waiting):,} left alone")
    if seen.settle:
        parts.append(f"files wait until nobody has written to them for {duration(seen.settle)}")
    return [("Files", "; ".join(parts))]


def _versions(plan: LoadPlan) -> list[tuple[str, str]]:
    """Which versions of a Delta table are read."""
    seen = plan.source.versions if plan.source is not None else None
    if seen is None or not plan.spec.by_versions or plan.decision is Decision.BLOCKED:
        return []
    if seen.whole:
        return [("Versions", f"all rows of version {seen.version}")]
    told = f"the newest is {seen.version}, and {seen.since} is loaded"
    if seen.new:
        added = f"{counted_words(len(seen.new), 'file')}, {size(seen.bytes)}"
        told += f"; {counted_words(seen.adding, 'version')} between added {added}"
    if seen.changed:
        told += f"; {seen.changes}"
    return [("Versions", told)]


def _expected(plan: LoadPlan, counted: int | None) -> str:
    if counted is not None:
        return f"{counted:,}, counted just now"
    source = plan.source
    versions = source.versions if source is not None and plan.spec.by_versions else None
    if versions is not None and versions.rows is not None:
        some = "at most " if plan.spec.read.where is not None else ""
        return f"{some}{versions.rows:,}, as the log of {plan.spec.read.label} says"
    count = source.count if source is not None else None
    if count is None:
        return "not counted: that would read the source"
    again = ", with those that are looked at again" if plan.decision is Decision.INCREMENTAL else ""
    return f"{count:,}{again}"


def _changes(plan: LoadPlan) -> list[Change]:
    check = plan.step(CheckSchema)
    if check is None:
        return []
    change = check.change
    return [
        *(Change("+", column.name, f"{column.type}, added to the target") for column in change.added),
        *(Change("−", column.name, "no longer in the source: NULL is written") for column in change.missing),
        *(Change("~", name, f"{old} is cast to {new}, without loss") for name, old, new in change.casts),
    ]


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
    first = plan.decision.anew or plan.decision is Decision.RESUME
    sides = []
    if plan.first_run_statement is not None:
        why = plan.reason if first else "when the target does not exist, or is empty"
        sides.append(Side("First run", first, _sql(plan.first_run_statement), why))
    if plan.incremental_statement is not None:
        title = "Backfill" if plan.decision is Decision.BACKFILL else "Incremental"
        upto = (
            "the files that are new by then"
            if plan.spec.by_files
            else "the rows that new versions have added by then"
            if plan.spec.by_versions
            else "up to the highest value there is by then"
        )
        why = plan.reason if not first else f"afterwards, {upto}"
        sides.append(Side(title, not first, _sql(plan.incremental_statement), why))
    return sides


def _sql(statement: Statement) -> str:
    return display(statement)


def _step(step: Step, plan: LoadPlan) -> str:
    match step:
        case CreateTable(columns):
            what = f"{len(columns)} columns" if columns else "the columns that the transform gives"
            return f"create the empty table with {what} (one winner, should two loads race)"
        case ReadRows(_, parts):
            return _reading(parts)
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
        case Commit(seq, mark, files):
            told = f" and the watermark {mark}" if mark else ""
            told += f" and the record of {counted_words(files.count, 'loaded file')}" if files else ""
            on = f" on version {plan.target.version}" if plan.target.version is not None else ""
            again = (
                "; then look again, and go on with the next window" if plan.chunk and plan.chunk.left else ""
            )
            return f"commit rows, transaction {seq}{told} at once{on}{again}"
        case RegisterTable(name):
            return f"register the table as {name}"
        case OptimizeTable(z_order):
            return f"order the files by {', '.join(z_order)}" if z_order else "compact small files, if many"


def _reading(parts: ReadParts | None) -> str:
    if parts is None:
        return "read the source once, as a stream"
    how = f"{parts.at_once} at a time" + (" and in one snapshot" if parts.shared else "")
    return f"read the source in {len(parts.statements)} parts by {parts.by}, {how}, as one stream"


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
        "chunk": None
        if plan.chunk is None
        else {"number": plan.chunk.number, "left": plan.chunk.left, "goal": str(plan.chunk.goal)},
        "rows": plan.source.count if plan.source else None,
        "files": _files_to_dict(plan),
        "versions": _versions_to_dict(plan),
        "statements": {side.title: side.sql for side in told.sides},
        "steps": list(told.steps),
        "warnings": list(told.warnings),
        "notes": list(told.notes),
        "schema": [{"sign": one.sign, "column": one.name, "words": one.words} for one in told.changes],
        "hint": told.hint,
        "hash": plan.hash,
    }


def _files_to_dict(plan: LoadPlan) -> dict[str, object] | None:
    seen = plan.source.files if plan.source is not None else None
    if seen is None:
        return None
    return {
        "new": [one.path for one in seen.new],
        "bytes": seen.bytes,
        "loaded_before": seen.known,
        "changed": [one.path for one in seen.changed],
        "left_alone": dict(seen.waiting),
    }


def _versions_to_dict(plan: LoadPlan) -> dict[str, object] | None:
    seen = plan.source.versions if plan.source is not None else None
    if seen is None or not plan.spec.by_versions:
        return None
    return {
        "newest": seen.version,
        "loaded": seen.since,
        "whole": seen.whole,
        "files": [one.path for one in seen.new],
        "bytes": seen.bytes,
        "rows": seen.rows,
        "changed": [one.version for one in seen.changed],
    }
