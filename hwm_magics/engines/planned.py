"""What an engine reads off a plan to carry it out: its cursor, and the record that its commit carries."""

from __future__ import annotations

from collections.abc import Mapping

from hwm_magics.core.decided import Commit, Decision, Deduplicate, LoadPlan, RecogniseRows, SchemaChange
from hwm_magics.core.observed import CommitRecord, FirstLoad, SourceIdentity
from hwm_magics.core.query import CursorExpression
from hwm_magics.core.window import floor_after, late_columns

__all__ = ["compared_by", "cursor_of", "kind_of", "marks_alone", "record_of"]


def compared_by(step: RecogniseRows) -> CursorExpression:
    """The cursor by which a step chooses the target's rows."""
    return CursorExpression(step.cursor, step.fallback, step.date_format)


def cursor_of(plan: LoadPlan) -> CursorExpression | None:
    """The cursor of a plan's rows; None when nothing tells which is newer."""
    recognise = plan.step(RecogniseRows)
    if recognise is not None:
        return compared_by(recognise)
    if plan.spec.read.cursor is not None:
        return CursorExpression.of(plan.spec.read.cursor)
    step = plan.step(Deduplicate)
    return CursorExpression(step.cursor) if step is not None and step.cursor else None


def record_of(
    plan: LoadPlan,
    step: Commit,
    run_id: str,
    kind: str,
    change: SchemaChange,
    tags: Mapping[str, str] | None = None,
) -> CommitRecord:
    """What a commit says of itself.

    Args:
        plan: The plan that is carried out.
        step: Its commit.
        run_id: The attempt.
        kind: What the commit is.
        change: How the rows differ from the target.
        tags: What tells the contents of the files that were read from others.
    """
    window = plan.window
    return CommitRecord(
        version=-1,
        committed_at=None,
        node=plan.spec.node,
        run_id=run_id,
        kind=kind,
        seq=step.seq,
        low=window.low if window else None,
        high=window.high if window else None,
        watermark=step.watermark,
        source=plan.source.identity if plan.source else SourceIdentity(),
        plan_hash=plan.hash,
        asked_at=plan.source.asked_at if plan.source else None,
        late_columns=late_columns(plan, change),
        floor=floor_after(plan),
        first_load=FirstLoad(plan.chunk.goal, plan.chunk.number) if plan.chunk is not None else None,
        files=step.files.tagged(tags or {}) if step.files is not None else None,
    )


def kind_of(plan: LoadPlan) -> str:
    """What a plan's commit is: every chunk of a first load is a first run."""
    decision = Decision.FIRST_RUN if plan.decision is Decision.RESUME else plan.decision
    return decision.value.lower().replace(" ", "_")


def marks_alone(plan: LoadPlan, step: Commit, read: int | None) -> bool:
    """Whether a commit without rows is to carry the mark.

    A chunk's mark always is: the next window begins there, whether or not the source had a row left. So is the
    record of files or of a version: one without a row, or without a new one, is loaded all the same.

    Args:
        plan: The plan.
        step: Its commit.
        read: Rows that the source sent; None when nobody knows.
    """
    if plan.spec.recorded:
        return True
    if step.watermark is None:
        return False
    if plan.chunk is not None:
        return plan.before is None or step.watermark.value > plan.before.value
    return plan.before is not None and step.watermark.value > plan.before.value and read != 0
