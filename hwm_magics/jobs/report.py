"""What jobs look like: one line, whole as HTML, markdown and text, or JSON; scrubbed before it is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING

from hwm_magics.connections.secrets import scrub
from hwm_magics.core.explain import (
    Explanation,
    Side,
    duration,
    explain,
    plan_to_dict,
    receipt,
    result_to_dict,
)
from hwm_magics.core.render import to_html, to_markdown, to_text
from hwm_magics.core.words import counted
from hwm_magics.errors import HwmError
from hwm_magics.jobs.failures import sealed
from hwm_magics.jobs.states import JobStatus

if TYPE_CHECKING:
    from hwm_magics.app import Workspace
    from hwm_magics.core.decided import LoadPlan
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.jobs.load_job import LoadJob

__all__ = [
    "error_to_json",
    "headline",
    "job_bundle",
    "job_text",
    "job_to_dict",
    "jobs_bundle",
    "json_ready",
    "next_load",
    "outcome",
    "plan_to_json",
    "plan_told",
    "progress_line",
]

_MARKDOWN = "\\|*_`[]#$<>"


def plan_told(plan: LoadPlan) -> Explanation:
    """A plan in words, without secrets."""
    told = explain(plan)
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
    )


def progress_line(job: LoadJob) -> str:
    """How far a running load has come, in one line."""
    said = f"{job.spec.node}: "
    if job.cancelling:
        said += "stopping · "
    progress = job.progress
    took = duration(timedelta(seconds=job.seconds))
    if progress is None:
        return f"{said}{'looking at source and target' if job.plan is None else 'starting to read'} · {took}"
    said += f"{progress.phase} · {counted(progress.rows, 'row')}"
    if progress.total:
        said += f" of about {progress.total:,}"
    if progress.bytes:
        said += f" · {progress.bytes / 1e6:,.1f} MB"
    seconds = job.seconds
    if seconds > 1 and progress.phase == "reading":
        said += f" · {progress.rows / seconds:,.0f} rows/s"
    said += f" · {took}"
    left = (progress.total or 0) - progress.rows
    if left > 0 and seconds > 1 and progress.rows and progress.phase == "reading":
        said += f" · about {duration(timedelta(seconds=round(left * seconds / progress.rows)))} left"
    return said


def headline(job: LoadJob) -> str:
    """The job in one line."""
    said = f"{job.spec.node}: {job.status.value}"
    if job.result is not None:
        rows = f"{counted(job.result.rows_written, 'row')} written"
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
    plan = to_text(plan_told(job.plan)) if job.plan is not None else ""
    if job.status is JobStatus.PLANNED or (not lines and plan):
        return "\n".join([plan, *lines]) if plan else headline(job)
    return "\n".join([f"{job.status.value} · {lines[0] if lines else job.spec.node}", *lines[1:]])


def job_bundle(job: LoadJob) -> dict[str, str]:
    """The job in the three forms that front ends choose between: what came of it, then its plan."""
    return {"text/html": _html(job), "text/markdown": _markdown(job), "text/plain": job_text(job)}


def jobs_bundle(jobs: Iterable[LoadJob]) -> dict[str, str]:
    """Several jobs, one below the other."""
    each = [job_bundle(job) for job in jobs]
    glue = {"text/html": "", "text/markdown": "\n\n---\n\n", "text/plain": "\n\n"}
    return {kind: between.join(one[kind] for one in each) for kind, between in glue.items()}


def _html(job: LoadJob) -> str:
    told = to_html(plan_told(job.plan)) if job.plan is not None else ""
    lines = outcome(job)
    if not lines and told:
        return told
    open_plan = job.status in (JobStatus.PLANNED, JobStatus.RUNNING)
    if told and not open_plan:
        told = f"<details><summary>The plan</summary>{told}</details>"
    rows = "<br>".join(escape(line.strip()) for line in lines) or escape(job.spec.node)
    return (
        f'<div class="hwm-static hwm-outcome"><p><span class="hwm-badge" style="border:1px solid currentColor;'
        f'border-radius:3px;padding:0 .5em;font-weight:700">{escape(job.status.value)}</span> {rows}</p></div>{told}'
    )


def _markdown(job: LoadJob) -> str:
    told = to_markdown(plan_told(job.plan)) if job.plan is not None else ""
    lines = outcome(job)
    if not lines and told:
        return told
    rows = "  \n".join(_md(line) for line in lines) or _md(job.spec.node)
    return f"**{job.status.value}** · {rows}" + (f"\n\n{told}" if told else "")


def _md(text: str) -> str:
    flat = " ".join(text.split())
    for mark in _MARKDOWN:
        flat = flat.replace(mark, {"<": "&lt;", ">": "&gt;"}.get(mark, f"\\{mark}"))
    return flat


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
