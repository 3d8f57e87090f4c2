"""A card: a summary, and under it the controls of loads that wait for a person. It ties presses to the loads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hwm_magics.core.decided import Decision
from hwm_magics.core.observed import Existence
from hwm_magics.jobs.states import JobStatus
from hwm_magics.notebook.controls import WIDGET_VIEW, Controls
from hwm_magics.notebook.progress import Pace, announced, meter, moving
from hwm_magics.notebook.summary import Publisher, Summary

if TYPE_CHECKING:
    from hwm_magics.jobs.load_job import LoadJob
    from hwm_magics.jobs.load_jobs import LoadJobs

__all__ = ["Card"]


class Card:
    """Summary and controls of loads that wait for a person.

    Both callbacks of a double click run, on some kernels on threads of their own: what starts one
    load only is the job, not the look of a button.

    Args:
        jobs: The loads; planned when it is shown.
        publish: Where it goes.
        variable: The variable that holds the jobs; "" for none.
        cell: The front end's id of the cell; "" when it gives none.
        clock: For tests.
    """

    def __init__(
        self,
        jobs: LoadJobs,
        publish: Publisher,
        *,
        variable: str = "",
        cell: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.jobs = jobs
        self.cell = cell
        self.summary = Summary(jobs, publish, live=True, interval=float("inf"), clock=clock)
        self.controls: Controls | None = None
        self._made: Controls | None = None
        self._variable = variable
        self._publish = publish
        self._pace = Pace(clock)
        self._said = ""
        self._stop: Callable[[], None] = lambda: None
        self._painted: tuple[object, ...] = ()
        self._reloads = any(job.spec.force_first_run for job in jobs)
        self._retired = False
        self._lock = threading.RLock()

    @property
    def text(self) -> str:
        """What was said last."""
        return self._said

    @property
    def box(self) -> Any:
        """The widget; None when there is nothing to approve."""
        return self.controls.box if self.controls is not None else None

    @property
    def buttons(self) -> dict[str, Any]:
        """Every button, by name."""
        return self.controls.buttons if self.controls is not None else {}

    def begin(self) -> Controls:
        """Make the controls, not shown yet, before there is a plan.

        The front end hears of them at once, and fetches what it needs for them while the plan is made.
        """
        self._made = Controls(
            {
                "Run": self._run,
                "Replace all rows": self._run,
                "Dry run": self.jobs.check,
                "Count": self.jobs.count_rows,
                "Refresh": self.jobs.refresh,
                "Full reload…": lambda: self.jobs.refresh(reload=True),
                "Back": lambda: self.jobs.refresh(reload=False),
                "Cancel": self.jobs.cancel,
            }
        )
        return self._made

    def drop(self) -> None:
        """Take controls that were never shown away again."""
        if self._made is not None and self.controls is None:
            self._made.discard()
            self._made = None

    def show(self) -> None:
        """Show the summary, and the controls unless everything has ended."""
        self.summary.show()
        if self.jobs.status.ended:
            self.drop()
            return
        self.controls = self._made or self.begin()
        self._offer(self.controls)
        self._say(self._waiting())
        self._publish(
            {
                WIDGET_VIEW: {"version_major": 2, "version_minor": 0, "model_id": self.controls.box.model_id},
                "text/plain": "",
            }
        )
        self._painted = self._state()
        self._stop = self.jobs.on_change(self._changed)

    def retire(self) -> None:
        """The cell was run again: nothing can be started here any more. A load that runs goes on."""
        self._retired = True
        with self._lock:
            self._put_away()

    def _put_away(self) -> None:
        if self.jobs.status in (JobStatus.PLANNED, JobStatus.STALE):
            self.jobs.cancel("put away, as its cell was run again")

    def _run(self) -> None:
        wanted = self._wanted()
        field = self.controls.confirmation if self.controls is not None else None
        if wanted and (field is None or str(field.value).strip() != wanted):
            self._say(f"Not started: type {wanted} into the field first; all its rows will be replaced.")
            return
        self.jobs.start()

    def _writing(self) -> list[LoadJob]:
        return [job for job in self.jobs if job.plan is not None and job.plan.writes and not job.status.ended]

    def _wanted(self) -> str:
        """What must be typed before the loads may run; "" for nothing."""
        reloads = [job for job in self._writing() if job.spec.force_first_run]
        return ", ".join(job.spec.write.label for job in reloads if _replaces(job))

    def _offer(self, controls: Controls) -> None:
        """The buttons that make sense now."""
        if self.jobs.status is JobStatus.STALE:
            controls.offer(["Refresh", "Cancel"])
            return
        writing, wanted = self._writing(), self._wanted()
        names = ["Replace all rows" if wanted else "Run", "Dry run"] if writing else []
        names.append("Refresh")
        if any(not _counted(job) for job in writing):
            names.append("Count")
        if not self._reloads and any(job.spec.force_first_run for job in self.jobs):
            names.append("Back")
        elif len(self.jobs) == 1 and _reloadable(self.jobs[0]):
            names.append("Full reload…")
        controls.offer([*names, "Cancel"], wanted)

    def _state(self) -> tuple[object, ...]:
        return (
            self.jobs.status,
            *((job.status, id(job.plan), id(job.checked), job.counted, job.remark) for job in self.jobs),
        )

    def _changed(self) -> None:
        with self._lock:
            if self.controls is not None:
                self._paint(self.controls)

    def _paint(self, controls: Controls) -> None:
        if self.jobs.status is JobStatus.RUNNING:
            state = announced(self.jobs)
            if not self._pace.paint(state):
                return
            controls.dim([name for name in controls.offered if name != "Cancel"])
            controls.show_progress(meter(self.jobs))
            if self._pace.announce(state):
                self._say(self._running(), unseen=True)
            self._painted = ()
            return
        if self._retired and not self.jobs.status.ended:
            self._put_away()
            return
        if self._state() == self._painted:
            return
        self._painted = self._state()
        # First the output that is stored with the notebook: whoever sees "done" may save at once.
        self.summary.show()
        controls.show_progress("")
        status = self.jobs.status
        if status.ended and status is not JobStatus.STALE:
            self._stop()
            self._say(self._done(), urgent=status is JobStatus.FAILED)
            controls.close()
            return
        self._offer(controls)
        controls.dim([])
        self._say(
            self._done() if status is JobStatus.STALE else self._waiting(), urgent=status is JobStatus.STALE
        )

    def _running(self) -> str:
        from hwm_magics.jobs.report import progress_line

        return "; ".join(progress_line(job) for job in moving(self.jobs)) or "between two loads"

    def _waiting(self) -> str:
        """What a person is told while the card waits."""
        from hwm_magics.jobs.report import outcome

        remarks = [job.remark for job in self.jobs if job.remark]
        remarks += [line.strip() for job in self.jobs if job.checked is not None for line in outcome(job)[:1]]
        if not self._writing():
            return "\n".join([*remarks, "There is nothing to run. Refresh looks again."])
        button = "Replace all rows" if self._wanted() else "Run"
        name = self._variable or "job"
        named = "" if self._variable else " (after %%hwm_load job)"
        waits = (
            f"Waiting for {button}.\nUntil then the cells below see the target as it is: {name}.wait() in the next "
            f"cell{named} stops Run All there, and %%hwm_load --run loads without asking."
        )
        return "\n".join([*remarks, waits])

    def _done(self) -> str:
        from hwm_magics.jobs.report import job_receipt

        if self.jobs.status is JobStatus.STALE:
            return "STALE · nothing was written. Refresh makes a new plan."
        told = [receipt for job in self.jobs if (receipt := job_receipt(job)) is not None]
        return "\n".join(f"{each.badge} · {each.headline}" for each in told)

    def _say(self, text: str, *, urgent: bool = False, unseen: bool = False) -> None:
        self._said = text
        if self.controls is not None:
            self.controls.say(text, urgent=urgent, unseen=unseen)


def _replaces(job: LoadJob) -> bool:
    return job.plan is not None and job.plan.decision is Decision.FULL_RELOAD


def _counted(job: LoadJob) -> bool:
    plan = job.plan
    return job.counted is not None or (
        plan is not None and plan.source is not None and plan.source.count is not None
    )


def _reloadable(job: LoadJob) -> bool:
    plan = job.plan
    return (
        plan is not None
        and plan.target.existence is Existence.EXISTS
        and plan.decision is not Decision.FULL_RELOAD
        and job.spec.backfill is None
    )
