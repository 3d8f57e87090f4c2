"""Versions of a Delta table in a plan: what is said of them, and when they decide that there is nothing to do."""

from __future__ import annotations

from dataclasses import replace

from hwm_magics.core.blocked import Blocked
from hwm_magics.core.cursor import CursorKind, CursorType
from hwm_magics.core.decided import Decision, LoadPlan
from hwm_magics.core.manifest import renewal_due, retention
from hwm_magics.core.observed import Watermark
from hwm_magics.core.specs import WriteMode
from hwm_magics.core.versions import VERSION_COLUMN, VersionsSeen

__all__ = ["version_mark", "version_of", "with_versions"]

_VERSION = CursorType(CursorKind.INTEGER, native="version")

_NOT_TOLD = (
    "name a column that tells how new a row is under read.incremental.column; or use mode: upsert with keys, which "
    "reads all rows then; or run %hwm_watermark --adopt to count the newest version as loaded"
)
_CHANGED = (
    "versions tell of added rows only: write read.options.changed: ignore to pass over these versions, name a column "
    "under read.incremental.column, use mode: upsert with keys, or reload with --force-first-run"
)


def version_mark(version: int) -> Watermark:
    """The watermark of a load that read a Delta table at a version."""
    return Watermark(VERSION_COLUMN, _VERSION.value(version))


def version_of(mark: Watermark | None) -> int | None:
    """The version that a watermark is; None for any other."""
    return int(str(mark)) if mark is not None and mark.column == VERSION_COLUMN else None


def with_versions(
    plan: LoadPlan, seen: VersionsSeen | None, warnings: list[str], notes: list[str]
) -> LoadPlan:
    """A decided plan with what the source's versions change about it.

    Args:
        plan: The decision so far.
        seen: What the look at its log came to; None when nobody could look.
        warnings, notes: Take sentences.

    Raises:
        Blocked: The log doesn't tell which rows are new, and nothing else does.
    """
    if not plan.spec.by_versions:
        return plan
    append = plan.spec.write.mode is WriteMode.APPEND
    if seen is None:
        if append:
            raise Blocked(
                f"no version of {plan.spec.read.label} can be told: its log can't be read by this process, or "
                "read.options names a version for good",
                "use mode: overwrite, or mode: upsert with keys, or name a column under read.incremental.column",
            )
        return plan
    marked = replace(plan, after=version_mark(seen.version))
    if plan.decision is not Decision.INCREMENTAL or seen.since is None:
        if seen.unclear and append:
            warnings.append(f"the next run will be BLOCKED, as {seen.unclear}: {_NOT_TOLD}")
        return marked
    if seen.unclear and not seen.whole:
        raise Blocked(
            f"which rows of {plan.spec.read.label} are new can't be told: {seen.unclear}",
            _CHANGED if seen.changed else _NOT_TOLD,
        )
    if seen.whole:
        notes.append(f"all rows are compared by their keys: {seen.unclear}")
        return marked
    if seen.changed:
        warnings.append(f"{seen.changes}; what they wrote is not read")
    if seen.new:
        return marked
    if _renews(plan, seen):
        reason = (
            f"no version added rows; that version {seen.version} is loaded is written before a log forgets it"
        )
        return replace(marked, reason=reason)
    later = f"no version above {seen.since} added rows" if seen.version != seen.since else "no version is new"
    return replace(plan, decision=Decision.NO_CHANGES, reason=later, after=plan.before)


def _renews(plan: LoadPlan, seen: VersionsSeen) -> bool:
    """Whether the version should be written again: the target's log forgets it, and the source's what came after."""
    last, source = plan.target.last_load, plan.source
    if last is None or source is None:
        return False
    kept = min(retention(plan.target.properties), seen.retention)
    return renewal_due(last.committed_at, source.asked_at, kept)
