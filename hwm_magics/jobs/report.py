"""What jobs look like: one line, whole as HTML, markdown and text, or JSON; scrubbed before it is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from hwm_magics.connections.secrets import MASK, scrub
from hwm_magics.connections.words import did_you_mean, listed
from hwm_magics.core.explain import Explanation, Sample, Side, explain, plan_to_dict
from hwm_magics.core.receipt import Receipt, duration, receipt, result_to_dict, size, tell_result
from hwm_magics.core.render import receipt_to_markdown, to_html, to_markdown, to_text
from hwm_magics.core.render_html import receipt_to_html
from hwm_magics.core.words import counted
from hwm_magics.errors import ConfigError, HwmError, LoadCancelled, StalePlanError
from hwm_magics.jobs.failures import sealed
from hwm_magics.jobs.states import Errand, JobStatus
from hwm_magics.jobs.this_notebook import named_by_jupyter

if TYPE_CHECKING:
    import pyarrow as pa

    from hwm_magics.app import Workspace
    from hwm_magics.core.decided import LoadPlan
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.jobs.load_job import LoadJob

__all__ = [
    "error_to_json",
    "headline",
    "job_bundle",
    "job_receipt",
    "job_text",
    "job_to_dict",
    "job_told",
    "jobs_bundle",
    "json_ready",
    "next_load",
    "outcome",
    "plan_to_json",
    "plan_told",
    "progress_line",
    "sample_of",
]


def plan_told(plan: LoadPlan) -> Explanation:
    """A plan in words, without secrets."""
    return _scrubbed(explain(plan))


def job_told(job: LoadJob) -> Explanation | None:
    """A job's plan in words with all that is shown beside it, without secrets; None before planning."""
    if job.plan is None:
        return None
    return _scrubbed(explain(job.plan, recent=job.recent, counted=job.counted, sample=job.sample))


def _scrubbed(told: Explanation) -> Explanation:
    sample = told.sample
    if sample is not None:
        rows = tuple(tuple(None if each is None else scrub(each) for each in row) for row in sample.rows)
        sample = replace(sample, rows=rows)
    return replace(
        told,
        title=scrub(told.title),
        sentence=scrub(told.sentence),
        reason=scrub(told.reason),
        facts=tuple((label, scrub(value)) for label, value in told.facts),
        sides=tuple(Side(side.title, side.chosen, scrub(side.sql), scrub(side.why)) for side in told.sides),
        steps=tuple(scrub(step) for step in told.steps),
        warnings=tuple(scrub(text) for text in told.warnings),
        notes=tuple(scrub(text) for text in told.notes),
        hint=scrub(told.hint),
        sample=sample,
    )


def sample_of(rows: pa.Table, masked: Sequence[str]) -> Sample:
    """Rows as text.

    Args:
        rows: The rows.
        masked: Columns whose values are not to be shown; ``*`` for all.

    Raises:
        ConfigError: There is no such column.
    """
    names = tuple(rows.column_names)
    for name in masked:
        if name != "*" and name not in names:
            raise ConfigError(
                f"--mask {name}: the rows have no such column{did_you_mean(name, names)}",
                hint=f"their columns: {listed(names)}",
            )
    hidden = tuple(name for name in names if "*" in masked or name in masked)
    shown = tuple(
        tuple(
            MASK if name in hidden else None if value is None else str(value)
            for name, value in zip(names, row, strict=True)
        )
        for row in zip(*(column.to_pylist() for column in rows.columns), strict=True)
    )
    return Sample(names, shown, hidden)


def expected(job: LoadJob) -> int | None:
    """How many rows are to be read in all; None when that is not known."""
    told = job.progress.total if job.progress is not None else None
    return told or job.counted


def phase(job: LoadJob) -> str:
    """What a running load is at, in words that stay the same while it lasts."""
    if job.errand is Errand.REFRESH:
        return "looking again at source and target"
    if job.errand is Errand.COUNT:
        return "counting"
    progress = job.progress
    began = progress is not None and progress.phase != "reading"
    if job.cancelling:
        # Past the last row nothing can be stopped: what came of it is told by the target's log.
        return "verifying: the commit had begun, the target's log will tell" if began else "stopping"
    if progress is None:
        return "looking at source and target" if job.plan is None else "starting to read"
    return progress.phase


def progress_line(job: LoadJob) -> str:
    """How far a running load has come, in one line."""
    said = f"{job.spec.node}: {'dry run, ' if job.errand is Errand.DRY_RUN else ''}{phase(job)}"
    progress = job.progress
    took = duration(timedelta(seconds=job.seconds))
    if progress is None:
        return f"{said} · {took}"
    if progress.chunks:
        said += f" · chunk {progress.chunk} of at most {progress.chunks}"
    total = expected(job)
    said += f" · {counted(progress.rows, 'row')}" + (f" of about {total:,}" if total else "")
    if progress.bytes:
        said += f" · {size(progress.bytes)}"
    reading = job.reading_seconds if progress.phase == "reading" else 0
    speed = progress.rows / reading if reading > 1 else 0
    if speed:
        said += f" · {speed:,.0f} rows/s"
    said += f" · {took}"
    left = (total or 0) - progress.rows
    if speed and left > 0:
        said += f" · about {duration(timedelta(seconds=round(left / speed) + 1))} left"
    return said


def headline(job: LoadJob) -> str:
    """The job in one line."""
    said = f"{job.spec.node}: {job.status.value}"
    if job.result is not None:
        chunks = f" in {counted(job.result.chunks, 'chunk')}" if job.result.chunks else ""
        rows = f"{counted(job.result.rows_written, 'row')} written{chunks}"
        tail = {"loaded": rows, "dry_run": "dry run, nothing written"}.get(job.result.status, "nothing new")
        return f"{said}, {tail}"
    if job.error is not None:
        return f"{said}, {type(job.error).__name__}"
    if job.plan is not None:
        return f"{said}, {job.plan.decision.value}"
    return said


def outcome(job: LoadJob) -> list[str]:
    """What came of the job so far, in lines; empty while nothing did."""
    if job.status is JobStatus.RUNNING:
        return [progress_line(job)]
    if job.error is not None:
        return sealed(job.error).lines()
    if job.result is not None:
        lines = scrub(receipt(job.result)).splitlines()
        if job.cancelling:
            lines.append("  ! the cancel came too late: the load had been committed")
        return lines
    if job.checked is not None:
        return scrub(receipt(job.checked)).splitlines()
    return []


def job_text(job: LoadJob) -> str:
    """The job as plain text: what came of it, or else its plan."""
    lines = outcome(job)
    told = job_told(job)
    plan = to_text(told) if told is not None else ""
    if job.status is JobStatus.PLANNED or (not lines and plan):
        return "\n".join([plan, *lines]) if plan else headline(job)
    return "\n".join(
        [f"{job.status.value} · {lines[0] if lines else job.spec.node}", *lines[1:], *_undo_lines(job)]
    )


def _undo_lines(job: LoadJob) -> list[str]:
    """How to undo what a job did; empty when there is nothing to undo."""
    told = job_receipt(job)
    if told is None or not told.undo:
        return []
    return [f"  To undo it: {told.undo}", *([f"      {told.undo_code}"] if told.undo_code else [])]


def job_receipt(job: LoadJob) -> Receipt | None:
    """What came of a job so far, without secrets; None while nothing did."""
    badge = job.status.value
    if job.status is JobStatus.RUNNING:
        return Receipt(badge, progress_line(job))
    if job.error is not None:
        error = sealed(job.error)
        moves = error.moves if isinstance(error, StalePlanError) else ()
        lines = [line for line in error.lines() if not line.strip().startswith("→ ")]
        # These are no faults, so their class says nothing to a reader.
        plain = isinstance(error, LoadCancelled | StalePlanError)
        return Receipt(
            badge,
            error.message if plain else " ".join(lines),
            hint=error.hint or "",
            moves=tuple((what, scrub(before), scrub(now)) for what, before, now in moves),
        )
    result = job.result or job.checked
    if result is None:
        return None
    told = tell_result(badge, result, job.plan)
    late = ("the cancel came too late: the load had been committed",) if job.result and job.cancelling else ()
    return replace(
        told,
        headline=scrub(told.headline),
        facts=tuple((label, scrub(value)) for label, value in told.facts),
        warnings=tuple(scrub(text) for text in (*late, *told.warnings)),
        onwards=_onwards() if told.undo else "",
    )


def _onwards() -> str:
    """How the notebook runs without a click."""
    name = named_by_jupyter().name
    book = name if name.endswith(".ipynb") else "this-notebook.ipynb"
    return f"As a job the notebook runs as it stands: papermill {book} out.ipynb"


def job_bundle(job: LoadJob) -> dict[str, str]:
    """The job in the three forms that front ends choose between: what came of it, then its plan."""
    return {"text/html": _html(job), "text/markdown": _markdown(job), "text/plain": job_text(job)}


def jobs_bundle(jobs: Iterable[LoadJob]) -> dict[str, str]:
    """Several jobs, one below the other."""
    each = [job_bundle(job) for job in jobs]
    glue = {"text/html": "", "text/markdown": "\n\n---\n\n", "text/plain": "\n\n"}
    return {kind: between.join(one[kind] for one in each) for kind, between in glue.items()}


def _html(job: LoadJob) -> str:
    told, came = job_told(job), job_receipt(job)
    plan = to_html(told) if told is not None else ""
    if came is None:
        return plan or receipt_to_html(Receipt(job.status.value, job.spec.node))
    if plan and job.status.ended:
        plan = f'<details class="hwm-static"><summary>The plan</summary>{plan}</details>'
    return receipt_to_html(came) + plan


def _markdown(job: LoadJob) -> str:
    told, came = job_told(job), job_receipt(job)
    plan = to_markdown(told) if told is not None else ""
    if came is None:
        return plan or receipt_to_markdown(Receipt(job.status.value, job.spec.node))
    return "\n\n".join(part for part in (receipt_to_markdown(came), plan) if part)


def job_to_dict(job: LoadJob) -> dict[str, object]:
    """The job as JSON-ready values, without secrets."""
    told: dict[str, object] = {"node": job.spec.node, "status": job.status.value}
    told["plan"] = plan_to_json(job.plan) if job.plan is not None else None
    told["result"] = result_to_dict(job.result) if job.result is not None else None
    told["error"] = None
    if job.error is not None:
        told["error"] = error_to_json(job.error)
    return {key: json_ready(value) for key, value in told.items()}


def error_to_json(error: BaseException) -> dict[str, object]:
    """An error as JSON-ready values, without secrets."""
    told = sealed(error)
    return {"class": type(told).__name__, "message": told.message, "hint": told.hint}


def next_load(workspace: Workspace, spec: LoadSpec) -> str:
    """What the next load would do, in a sentence: whether a mark that was just set is what was meant."""
    try:
        plan = workspace.plan(spec)
    except HwmError as error:
        return f"what the next load does can't be told now: {sealed(error).message}"
    told = plan_told(plan)
    return f"next: {told.badge}: {told.sentence}" + (f"\n→ {told.hint}" if told.hint else "")


def plan_to_json(plan: LoadPlan) -> object:
    """A plan as JSON-ready values, without secrets."""
    return json_ready(plan_to_dict(plan))


def json_ready(value: object) -> object:
    """A value with every text in it scrubbed."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {str(key): json_ready(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(one) for one in value]
    return value
