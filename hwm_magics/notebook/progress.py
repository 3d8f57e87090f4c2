"""What a running load shows, and how often: a picture for the eye, and sentences for screen readers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hwm_magics.core.render import escape
from hwm_magics.jobs.report import expected, phase, progress_line
from hwm_magics.jobs.states import JobStatus

if TYPE_CHECKING:
    from hwm_magics.jobs.load_job import LoadJob
    from hwm_magics.jobs.load_jobs import LoadJobs

__all__ = ["Pace", "announced", "meter", "moving"]

INTERVAL = 0.25
"""At most four pictures a second."""

ANNOUNCED = 10.0
"""Seconds between two sentences while nothing but the count of rows changes."""


class Pace:
    """When to paint again.

    Args:
        clock: Gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._painted = float("-inf")
        self._spoken = float("-inf")
        self._state: object = None

    def paint(self, state: object) -> bool:
        """Whether a picture is due: something else than rows changed, or enough time has passed."""
        now = self._clock()
        if state == self._state and now - self._painted < INTERVAL:
            return False
        self._painted = now
        return True

    def announce(self, state: object) -> bool:
        """Whether a sentence is due; asked after :meth:`paint` said yes."""
        now = self._clock()
        if state == self._state and now - self._spoken < ANNOUNCED:
            return False
        self._state = state
        self._spoken = now
        return True


def moving(jobs: LoadJobs) -> list[LoadJob]:
    """The loads that run."""
    return [job for job in jobs if job.status is JobStatus.RUNNING]


def announced(jobs: LoadJobs) -> tuple[tuple[str, str], ...]:
    """What is worth a sentence of its own when it changes."""
    return tuple((job.spec.node, phase(job)) for job in moving(jobs))


def meter(jobs: LoadJobs) -> str:
    """The running loads as HTML: a bar where the total is known, and a line each."""
    return "".join(_one(job) for job in moving(jobs)) or "<p>between two loads</p>"


def _one(job: LoadJob) -> str:
    line = f'<div class="hwm-line">{escape(progress_line(job))}</div>'
    total, progress = expected(job), job.progress
    if progress is not None and progress.chunks:
        share = (progress.chunk - (progress.phase != "finishing")) / progress.chunks
        name = escape(f"Chunks loaded by {job.spec.node}")
    elif total and progress is not None:
        share = min(progress.rows / total, 1.0)
        name = escape(f"Rows read by {job.spec.node}")
    else:
        return line
    return (
        f'<div class="hwm-meter" role="progressbar" aria-label="{name}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share * 100:.0f}"><div style="width:{share:.1%}"></div></div>{line}'
    )
