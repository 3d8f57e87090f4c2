"""What came of a load, in words: for the card, the terminal, the log and JSON."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import timedelta

from hwm_magics.core.decided import LoadPlan, LoadResult
from hwm_magics.core.moments import span
from hwm_magics.core.words import counted

__all__ = ["Receipt", "duration", "receipt", "result_to_dict", "size", "tell_result"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of a load, in words.

    Attributes:
        badge: ``SUCCEEDED``, ``FAILED``, …
        headline: One sentence.
        hint: What to do; "" for nothing.
        facts: Label and value, in order.
        moves: What was seen, before and now, where the plan went stale.
        warnings: Sentences.
        undo: How to undo it, in a sentence; "" when there is nothing to undo.
        undo_code: The code of that sentence.
        onwards: How to run it again without a click; "" when it did not succeed.
    """

    badge: str
    headline: str
    hint: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    moves: tuple[tuple[str, str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    undo: str = ""
    undo_code: str = ""
    onwards: str = ""


def tell_result(badge: str, result: LoadResult, plan: LoadPlan | None) -> Receipt:
    """Put a result into words.

    Args:
        badge: Where the load stands.
        result: What happened.
        plan: What was carried out; None when it is not known any more.

    Returns:
        Plain text throughout; renderers escape it.
    """
    headline, *_ = receipt(result).splitlines()
    undo, code = _undo(result, plan)
    return Receipt(
        badge, headline, facts=tuple(_facts(result)), warnings=result.warnings, undo=undo, undo_code=code
    )


def _facts(result: LoadResult) -> list[tuple[str, str]]:
    facts = []
    if result.status == "loaded":
        rows = f"{result.rows_written:,} written, {result.rows_read:,} read"
        if result.rows_recognised:
            rows += f", {result.rows_recognised:,} of them recognised as loaded already"
        if result.rows_updated:
            rows += f", {result.rows_updated:,} of them updated"
        facts.append(("Rows", rows))
    if result.chunks:
        facts.append(("Chunks", f"{result.chunks:,}, each a commit of its own"))
    before, after = result.watermark_before, result.watermark_after
    if after is not None:
        old = "none" if before is None else str(before)
        same = before is not None and str(before) == str(after)
        facts.append(
            (
                "Watermark",
                f"{after.column}: {after} (as before)" if same else f"{after.column}: {old} → {after}",
            )
        )
    if result.status == "loaded":
        old = "none" if result.version_before is None else str(result.version_before)
        facts.append(("Version", f"{old} → {result.version_after}"))
        files = [] if result.files is None else [f"{counted(result.files, 'file')}"]
        files += [size(result.bytes)] if result.bytes else []
        if files:
            facts.append(("Added", ", ".join(files)))
    if result.late_rows:
        late = f", up to {lateness(result.lateness)} late" if result.lateness is not None else ""
        facts.append(("Late rows", f"{result.late_rows:,}{late}"))
    took = duration(timedelta(seconds=result.seconds))
    if result.seconds:
        facts.append(("Time", took + (f", after {result.retries} lost races" if result.retries else "")))
    if result.run_id and result.status == "loaded":
        facts.append(("Run", result.run_id))
    return facts


def _undo(result: LoadResult, plan: LoadPlan | None) -> tuple[str, str]:
    """How to get back to the version before, as a sentence and as code."""
    if result.status != "loaded" or plan is None or result.version_after is None:
        return "", ""
    if result.version_before is None and result.version_after == 0:
        return f"delete {plan.target.location}; this load made it", ""
    back = 0 if result.version_before is None else result.version_before
    told = f"restore version {back}; the watermark goes back with it, and the next run loads these rows again"
    return told, f"%hwm_rollback --node {shlex.quote(result.node)} --to {back} --run"


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
        chunks = f" in {counted(result.chunks, 'chunk')}" if result.chunks else ""
        head = f"{result.node}: {result.decision.value}: {rows} written{chunks} in {took}, {moved}"
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
    return span(value)


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
        "chunks": result.chunks,
        "seconds": round(result.seconds, 3),
        "retries": result.retries,
        "warnings": list(result.warnings),
    }
