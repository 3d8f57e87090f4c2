"""Files in a plan: what is said of them, and when they decide that there is nothing to do."""

from __future__ import annotations

from dataclasses import replace

from hwm_magics.core.blocked import Blocked
from hwm_magics.core.decided import Decision, LoadPlan
from hwm_magics.core.file_options import Changed, FileOptions
from hwm_magics.core.manifest import MOST_FILES, FileRecord, FilesSeen, next_record, renewal_due, retention
from hwm_magics.core.words import counted

__all__ = ["record_after", "with_files"]

_NAMED = 3


def with_files(plan: LoadPlan, seen: FilesSeen, warnings: list[str], notes: list[str]) -> LoadPlan:
    """A decided plan with what its files change about it.

    Args:
        plan: The decision so far.
        seen: What the listing came to.
        warnings, notes: Take sentences.

    Raises:
        Blocked: A loaded file has changed, or there are more files than can be remembered.
    """
    spec = plan.spec
    if seen.waiting:
        notes.append(f"{counted(len(seen.waiting), 'file')} left alone: {_listed(seen.waiting)}")
    if seen.columns_from and plan.decision is not Decision.NO_CHANGES:
        notes.append(f"columns: {seen.columns_from}")
    for name, count in seen.lacking:
        notes.append(f"{counted(count, 'file')} without the column {name}: NULL is written there")
    if not spec.by_files:
        return plan
    _check_count(plan, seen, warnings)
    if plan.decision is not Decision.INCREMENTAL:
        return plan
    _check_changed(plan, seen, warnings)
    if seen.new:
        return plan
    if _renews(plan):
        return replace(
            plan,
            reason=f"no file is new; what is known of {counted(seen.known, 'loaded file')} is written again, before "
            "the log forgets it",
        )
    none = f"no file is new ({counted(seen.known, 'file')} loaded before)"
    return replace(plan, decision=Decision.NO_CHANGES, reason=none)


def record_after(plan: LoadPlan) -> FileRecord | None:
    """What a plan's commit says of files; None where files don't tell what is new."""
    source = plan.source
    if not plan.spec.by_files or source is None or source.files is None:
        return None
    before = None if plan.decision.anew else plan.target.manifest
    return next_record(before, source.files, source.asked_at, plan.target.properties)


def _renews(plan: LoadPlan) -> bool:
    manifest, source = plan.target.manifest, plan.source
    if manifest is None or source is None:
        return False
    return renewal_due(manifest.named_at, source.asked_at, retention(plan.target.properties))


def _check_count(plan: LoadPlan, seen: FilesSeen, warnings: list[str]) -> None:
    manifest = None if plan.decision.anew else plan.target.manifest
    there = len(manifest.files) if manifest is not None else 0
    total = there + len(seen.new)
    if total > MOST_FILES:
        raise Blocked(
            f"{total:,} files would have to be remembered, and {MOST_FILES:,} are the most",
            "name a column inside of the files under read.incremental.column; or load parts of the folder by nodes of "
            "their own",
        )
    if total > MOST_FILES // 2:
        warnings.append(f"{total:,} files are remembered, of {MOST_FILES:,} at most")


def _check_changed(plan: LoadPlan, seen: FilesSeen, warnings: list[str]) -> None:
    if not seen.changed:
        return
    names = ", ".join(one.path for one in seen.changed[:_NAMED]) + (
        " …" if len(seen.changed) > _NAMED else ""
    )
    told = f"{counted(len(seen.changed), 'file')} changed since loaded: {names}"
    policy = FileOptions.of(plan.spec.read, engine="").changed
    if policy is Changed.ERROR:
        raise Blocked(
            told,
            "reading them again may double rows: put new rows into new files; or write read.options.changed: ignore, "
            "or, with mode: upsert, changed: load",
        )
    warnings.append(
        f"{told}; " + ("they are read again" if policy is Changed.LOAD else "they are not read again")
    )


def _listed(waiting: tuple[tuple[str, str], ...]) -> str:
    told = "; ".join(f"{path} ({why})" for path, why in waiting[:_NAMED])
    return told + (" …" if len(waiting) > _NAMED else "")
