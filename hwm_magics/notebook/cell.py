"""What a load cell does once its mode is chosen: show, ask, or run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwm_magics.errors import ConfigError
from hwm_magics.jobs.load_job import LoadJob, Sampling
from hwm_magics.jobs.load_jobs import LoadJobs
from hwm_magics.jobs.settings import Settings
from hwm_magics.jobs.states import JobStatus
from hwm_magics.notebook.card import Card
from hwm_magics.notebook.mode import Asking, Choice, Mode
from hwm_magics.notebook.summary import Publisher, Summary

if TYPE_CHECKING:
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.jobs.states import Loader

__all__ = ["Front", "failed_jobs", "make_jobs", "perform"]


@dataclass(frozen=True, slots=True)
class Front:
    """What stands between a cell and its reader.

    Attributes:
        publish: Shows a bundle, or replaces one.
        say: Prints a line.
        ask: Asks in a terminal.
        live: Whether shown outputs can be replaced: a kernel, as against a terminal.
        variable: The variable that gets the jobs; "" for none.
        cell: The front end's id of the cell; "" when it gives none.
    """

    publish: Publisher
    say: Callable[[str], None]
    ask: Callable[[str], str]
    live: bool
    variable: str = ""
    cell: str = ""


def make_jobs(
    loader: Loader,
    specs: Sequence[LoadSpec],
    choice: Choice,
    *,
    strict: bool,
    reread: Callable[[str], Settings] | None = None,
    sampling: Sampling | None = None,
) -> LoadJobs:
    """The jobs of a cell, not yet planned.

    Args:
        loader: Plans and loads.
        specs: The loads, in order.
        choice: The mode.
        strict: Refuse to do anything else than what was planned first.
        reread: Reads a node's configuration anew; None where nobody waits in between.
        sampling: Show some rows with each plan; None for none.
    """
    background = choice.asking is Asking.BUTTONS
    strict = strict or choice.mode in (Mode.ASK, Mode.PLAN)
    dry = choice.mode is Mode.DRY_RUN
    jobs = [
        LoadJob(
            loader,
            spec,
            dry_run=dry,
            background=background,
            strict=strict,
            reread=functools.partial(reread, spec.node) if reread is not None else None,
            sampling=sampling,
        )
        for spec in specs
    ]
    return LoadJobs(jobs, background=background)


def failed_jobs(error: BaseException) -> LoadJobs:
    """What stands for the jobs of a cell that could not be understood."""
    return LoadJobs((), failure=error)


def perform(jobs: LoadJobs, choice: Choice, front: Front, *, plan_first: bool = False) -> Card | None:
    """Do what the mode says.

    Args:
        jobs: The cell's jobs.
        choice: The mode.
        front: Where it is shown.
        plan_first: When running, plan everything before the first load begins.

    Returns:
        The card that waits for a click; None when nothing waits.

    Raises:
        HwmError: Planning or loading failed, or nobody can be asked. A BLOCKED plan raises only
            where it was to be run without a person in front.
    """
    if choice.mode in (Mode.RUN, Mode.DRY_RUN):
        _run(jobs, front, plan_first=plan_first)
        return None
    card = None
    if choice.asking is Asking.BUTTONS:
        card = Card(jobs, front.publish, variable=front.variable, cell=front.cell)
        card.begin()
    try:
        return _plan(jobs, choice, front, card)
    except BaseException:
        if card is not None:
            card.drop()
        raise


def _plan(jobs: LoadJobs, choice: Choice, front: Front, card: Card | None) -> Card | None:
    """Plan and show, and then ask where that is the mode."""
    try:
        jobs.prepare()
    finally:
        if any(job.plan is not None for job in jobs) and card is None:
            Summary(jobs, front.publish, live=front.live).show()
    for job in jobs:
        if isinstance(job.error, ConfigError):
            job.raise_error()
    if choice.mode is Mode.PLAN:
        jobs.raise_error()
        return None
    choice.require_somebody()
    jobs.conclude()
    if card is None:
        _prompt(jobs, front)
        return None
    card.show()
    return card


def _run(jobs: LoadJobs, front: Front, *, plan_first: bool) -> None:
    printed = _Printed(jobs, front)
    stop = jobs.on_change(Summary(jobs, front.publish, live=True).follow if front.live else printed.follow)
    try:
        if plan_first:
            jobs.prepare()
        jobs.run()
    finally:
        stop()


class _Printed:
    """A run in a terminal, where nothing shown can be replaced: each plan, then what came of it."""

    def __init__(self, jobs: LoadJobs, front: Front, *, plans: bool = True) -> None:
        from hwm_magics.jobs.run_log import Once

        self._jobs = jobs
        self._front = front
        self._plans = plans
        self._once = Once()

    def follow(self) -> None:
        from hwm_magics.core.render import to_text
        from hwm_magics.jobs.report import job_text, plan_told

        for job in self._jobs:
            if self._plans and job.plan is not None and self._once.first(job, "plan"):
                self._front.say(to_text(plan_told(job.plan)))
            if job.status is JobStatus.SUCCEEDED and self._once.first(job, "end"):
                self._front.say(job_text(job))


def _prompt(jobs: LoadJobs, front: Front) -> None:
    writing = [
        job for job in jobs if job.plan is not None and job.plan.writes and job.status is JobStatus.PLANNED
    ]
    if not writing:
        return
    reloads = [job.spec.write.label for job in writing if job.spec.force_first_run]
    try:
        if reloads:
            target = ", ".join(reloads)
            agreed = front.ask(f"Type {target} to replace all its rows: ").strip() == target
        else:
            agreed = front.ask("Run this load? [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, KeyboardInterrupt):
        agreed = False
    if not agreed:
        jobs.cancel()
        front.say("Not run; nothing was written.")
        return
    # The plans were shown before the question.
    stop = jobs.on_change(_Printed(jobs, front, plans=False).follow)
    try:
        jobs.run()
    finally:
        stop()
