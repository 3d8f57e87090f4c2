"""What a run in a shell says as it goes: texts for people, or one JSON line an event for machines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from hwm_magics.jobs.report import error_to_json, json_ready, outcome, plan_told, progress_line
from hwm_magics.jobs.states import JobStatus

if TYPE_CHECKING:
    from hwm_magics.jobs.load_job import LoadJob
    from hwm_magics.jobs.load_jobs import LoadJobs
    from hwm_magics.jobs.retries import Retry

__all__ = ["JsonLog", "Once", "RunLog", "TextLog"]

PROGRESS_EVERY = 2.0
"""Seconds between two progress events of a node."""


class RunLog(Protocol):
    """Follows the jobs of one run."""

    def follow(self) -> None:
        """Tell what is new."""

    def showing(self) -> AbstractContextManager[Callable[[], None]]:
        """A context that gives a function to call now and then, while the jobs run."""


class Once:
    """Which events of which nodes were told."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def first(self, job: LoadJob, what: str) -> bool:
        """Whether it is the first time that this is asked."""
        key = (job.spec.node, what)
        new = key not in self._told
        self._told.add(key)
        return new

    def told(self, job: LoadJob, what: str) -> bool:
        """Whether it was asked before."""
        return (job.spec.node, what) in self._told


class TextLog:
    """Tells each job's plan and outcome once, as they come; progress only on a terminal.

    Args:
        jobs: The jobs.
        retried: Attempts that failed; whoever makes them appends.
        say: Prints a text for the reader.
        fail: Tells an error with its headline.
        note: Prints a line beside the output.
        quiet: Whether only errors are told.
    """

    def __init__(
        self,
        jobs: LoadJobs,
        retried: list[Retry],
        *,
        say: Callable[[str], object],
        fail: Callable[[BaseException, str], object],
        note: Callable[[str], object],
        quiet: bool,
    ) -> None:
        self._jobs = jobs
        self._retried = retried
        self._say = say
        self._fail = fail
        self._note = note
        self._quiet = quiet
        self._once = Once()

    def follow(self) -> None:
        """Tell what is new."""
        from hwm_magics.core.render import to_text

        # Read once: the jobs' threads go on meanwhile.
        now = [(job, job.status, job.plan) for job in self._jobs]
        for job, _, plan in now:
            if plan is not None and not self._quiet and self._once.first(job, "plan"):
                self._say(to_text(plan_told(plan)))
        while self._retried:
            self._note(str(self._retried.pop(0)))
        for job, status, _ in now:
            if status.ended and self._once.first(job, "end"):
                if job.error is not None:
                    self._fail(job.error, f"{job.spec.node}: {status.value}")
                elif not self._quiet:
                    self._say(f"{status.value} · " + "\n".join(outcome(job)))

    def _news(self) -> bool:
        return bool(self._retried) or any(
            (job.plan is not None and not self._once.told(job, "plan"))
            or (job.status.ended and not self._once.told(job, "end"))
            for job in self._jobs
        )

    @contextmanager
    def showing(self) -> Iterator[Callable[[], None]]:
        """Give a function to call now and then: it tells what is new, and shows the progress."""
        if self._quiet or not sys.stderr.isatty():
            yield self.follow
            return
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner
        from rich.text import Text

        spinner = Spinner("dots")
        console = Console(stderr=True, markup=False, highlight=False)
        # Nothing is redirected: what belongs to the standard output must arrive there.
        live = Live(spinner, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)

        def tell() -> None:
            if self._news():
                live.stop()
                self.follow()
                live.start()
            running = [progress_line(job) for job in self._jobs if job.status is JobStatus.RUNNING]
            spinner.update(text=Text("; ".join(running)))

        with live:
            yield tell


class JsonLog:
    """One JSON object a line: ``time``, ``event``, ``node`` and what belongs to the event.

    Events: ``planned`` (the plan), ``progress``, ``retried``, ``succeeded`` (the result), ``failed``,
    ``cancelled``, ``stale`` (each with the error).

    Args:
        jobs: The jobs.
        retried: Attempts that failed; whoever makes them appends.
        write: Writes one line.
    """

    def __init__(self, jobs: LoadJobs, retried: list[Retry], write: Callable[[str], object]) -> None:
        self._jobs = jobs
        self._retried = retried
        self._write = write
        self._once = Once()
        self._last: dict[str, float] = {}

    def follow(self) -> None:
        """Tell what is new."""
        from hwm_magics.core.receipt import result_to_dict
        from hwm_magics.jobs.report import plan_to_json

        now = [(job, job.status, job.plan, job.progress) for job in self._jobs]
        for job, _, plan, _ in now:
            if plan is not None and self._once.first(job, "plan"):
                self._event("planned", job.spec.node, plan=plan_to_json(plan))
        while self._retried:
            each = self._retried.pop(0)
            told = {"attempt": each.attempt, "error": each.error, "wait": round(each.wait, 3)}
            self._event("retried", each.node, **told)
        for job, status, _, progress in now:
            node = job.spec.node
            if status is JobStatus.RUNNING and progress is not None and self._due(job):
                self._event(
                    "progress",
                    node,
                    phase=progress.phase,
                    rows=progress.rows,
                    bytes=progress.bytes,
                    total=progress.total,
                    chunk=progress.chunk or None,
                    chunks=progress.chunks or None,
                    seconds=round(job.seconds, 3),
                )
            if status.ended and self._once.first(job, "end"):
                if job.error is not None:
                    self._event(status.value.lower(), node, error=error_to_json(job.error))
                elif job.result is not None:
                    self._event(status.value.lower(), node, result=result_to_dict(job.result))

    def _due(self, job: LoadJob) -> bool:
        now = time.monotonic()
        if now - self._last.get(job.spec.node, 0.0) < PROGRESS_EVERY:
            return False
        self._last[job.spec.node] = now
        return True

    def _event(self, event: str, node: str, **more: object) -> None:
        told = {"time": _now(), "event": event, "node": node, **more}
        self._write(json.dumps(json_ready(told), ensure_ascii=False, default=str))

    @contextmanager
    def showing(self) -> Iterator[Callable[[], None]]:
        """Give a function to call now and then: it tells what is new."""
        yield self.follow


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
