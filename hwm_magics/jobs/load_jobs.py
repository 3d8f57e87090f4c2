"""The loads of a pipeline, in the order of their dependencies, independent ones side by side."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING, overload

from hwm_magics.errors import BlockedError, HwmError, PlanError
from hwm_magics.interrupts import noted
from hwm_magics.jobs.failures import sealed
from hwm_magics.jobs.load_job import LoadJob
from hwm_magics.jobs.states import JobStatus, Observers

if TYPE_CHECKING:
    from hwm_magics.core.decided import LoadPlan, LoadResult

__all__ = ["LoadJobs"]

_TICK = 0.1
"""Seconds between two looks at whether an interrupt came."""


class LoadJobs(Sequence[LoadJob]):
    """Several loads with the verbs of one. The failure of one stops only what depends on it.

    Args:
        jobs: The loads, in the order in which they run.
        background: Run in a thread; :meth:`run` then returns at once.
        failure: Why there are none; None when there are.
        max_parallel: So many of them run side by side at most.
        plan_first: Plan them all before the first begins to load.
    """

    def __init__(
        self,
        jobs: Iterable[LoadJob],
        *,
        background: bool = False,
        failure: BaseException | None = None,
        max_parallel: int = 1,
        plan_first: bool = False,
    ) -> None:
        self.jobs = tuple(jobs)
        self._max_parallel = max_parallel
        self._plan_first = plan_first
        self._failure = failure
        self.background = background
        self.brief = False
        self._lock = threading.Lock()
        self._busy = False
        self._started = False
        self._stop = False
        self._interrupts: list[int] = []
        self._ended = threading.Event()
        self._observers = Observers()
        for job in self.jobs:
            job.on_change(self._observers.tell)

    @overload
    def __getitem__(self, index: int | str) -> LoadJob: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[LoadJob, ...]: ...
    def __getitem__(self, index: int | str | slice) -> LoadJob | tuple[LoadJob, ...]:
        if isinstance(index, str):
            for job in self.jobs:
                if job.spec.node == index:
                    return job
            raise KeyError(index)
        return self.jobs[index]

    def __len__(self) -> int:
        return len(self.jobs)

    def __iter__(self) -> Iterator[LoadJob]:
        return iter(self.jobs)

    @property
    def plan(self) -> tuple[LoadPlan | None, ...]:
        """One plan a load."""
        return tuple(job.plan for job in self.jobs)

    @property
    def result(self) -> tuple[LoadResult | None, ...]:
        """One result a load; None for those that did not succeed."""
        return tuple(job.result for job in self.jobs)

    @property
    def error(self) -> BaseException | None:
        """The first error in their order; None without one."""
        return self._failure or next((job.error for job in self.jobs if job.error is not None), None)

    @property
    def status(self) -> JobStatus:
        """Where they stand together: the worst of what ended, RUNNING while one is to come."""
        each = [job.status for job in self.jobs]
        if self._failure is not None:
            return JobStatus.FAILED
        if JobStatus.RUNNING in each or (self._busy and JobStatus.PLANNED in each):
            return JobStatus.RUNNING
        if JobStatus.PLANNED in each:
            return JobStatus.PLANNED
        for status in (JobStatus.FAILED, JobStatus.STALE, JobStatus.CANCELLED):
            if status in each:
                return status
        return JobStatus.SUCCEEDED

    @property
    def cancelling(self) -> bool:
        """Whether a cancel was asked for."""
        return self._stop or any(job.cancelling for job in self.jobs)

    def on_change(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Have a callback told of every change and progress of any of them."""
        return self._observers.add(callback)

    def prepare(self) -> None:
        """Plan them all. Those whose planning fails are FAILED, and so is what depends on them.

        Raises:
            HwmError: None of them could be planned.
        """
        with noted(raised=True) as interrupts:
            for job in self.jobs:
                blocked = self._unmet(job)
                if blocked is not None:
                    job.skip(blocked)
                elif interrupts:
                    job.cancel()
                else:
                    with suppress(HwmError):
                        job.prepare()
        if all(job.status.ended for job in self.jobs):
            self.raise_error()

    def conclude(self) -> None:
        """End those whose plan has nothing to do."""
        for job in self.jobs:
            if self._unmet(job) is None:
                job.conclude()

    def start(self) -> bool:
        """Begin to run them in a thread, and return at once.

        Returns:
            Whether this call began it: of a double click, one does.
        """
        return self._begin(self._run_all)

    def check(self) -> bool:
        """Begin a dry run of them all in a thread, and return at once.

        Returns:
            Whether this call began it.
        """
        return self._begin(self._check_all)

    def count_rows(self) -> bool:
        """Begin to have the rows of them all counted, in a thread, and return at once.

        Returns:
            Whether this call began it.
        """
        return self._begin(self._count_all)

    def refresh(self, *, reload: bool | None = None) -> bool:
        """Begin to look again and to make new plans for those that are PLANNED or STALE, in a thread, and
        return at once; see :meth:`LoadJob.refresh`.

        Returns:
            Whether this call began it.
        """
        return self._begin(lambda: self._refresh_all(reload=reload), of=(JobStatus.PLANNED, JobStatus.STALE))

    def run(self) -> LoadJobs:
        """Carry them out, once.

        Raises:
            PlanError: They have ended already.
            HwmError: At least one failed; with several, the message lists them.
        """
        if self.background:
            if not self.start() and self.status.ended:
                raise PlanError(
                    "these loads have ended already", hint="run the cell again: it makes new plans"
                )
            return self
        if self._take():
            self._guarded(self._run_all)
        elif self._started:
            self._ended.wait()
        self.raise_error()
        return self

    def wait(self, timeout: float | None = None) -> tuple[LoadResult | None, ...]:
        """Wait until all have ended; see :meth:`LoadJob.wait`."""
        if self.status is JobStatus.PLANNED and not self._started:
            raise PlanError(
                "these loads have not been started, so there is nothing to wait for",
                hint="press Run, or call .run(); to load without being asked: %%hwm_load --run",
            )
        if self._started and not self._ended.wait(timeout):
            raise TimeoutError(f"these loads still run after {timeout} s")
        self.raise_error()
        return self.result

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all have ended, and raise nothing.

        Returns:
            Whether they have.
        """
        return self._ended.wait(timeout)

    def cancel(self, why: str = "") -> str:
        """Ask them all to stop; those that have not begun don't.

        Args:
            why: As for :meth:`LoadJob.cancel`.

        Returns:
            What that means right now, a sentence a load.
        """
        with self._lock:
            self._stop = True
            errand = self._busy and not self._started
        jobs = [job for job in self.jobs if job.status is JobStatus.RUNNING] if errand else self.jobs
        return "\n".join(job.cancel(why) for job in jobs)

    def raise_error(self) -> None:
        """Raise what failed: the one error, or one that lists them with the first one's exit code."""
        if self._failure is not None:
            raise sealed(self._failure)
        failed = [(job, sealed(job.error)) for job in self.jobs if job.error is not None]
        if not failed:
            return
        first = failed[0][1]
        if len(failed) == 1:
            raise first
        rows = "".join(
            f"\n  · {job.spec.node}: {type(error).__name__}: {error.message}" for job, error in failed
        )
        told = HwmError(f"{len(failed)} of {len(self.jobs)} nodes did not load:{rows}", hint=first.hint)
        told.exit_code = first.exit_code
        told.__context__ = first
        raise told from None

    def to_dict(self) -> dict[str, object]:
        """Everything about them as JSON-ready values."""
        return {"status": self.status.value, "nodes": [job.to_dict() for job in self.jobs]}

    def __repr__(self) -> str:
        from hwm_magics.jobs.report import headline

        if self._failure is not None:
            return f"<LoadJobs {self.status}: {type(self._failure).__name__}>"
        return f"<LoadJobs {self.status}: {'; '.join(headline(job) for job in self.jobs)}>"

    def _repr_mimebundle_(self, **_asked: object) -> dict[str, str]:
        from hwm_magics.jobs.report import jobs_bundle

        if self.brief or self._failure is not None:
            self.brief = False
            if not self.status.ended:
                return {"text/plain": f"<LoadJobs {', '.join(job.spec.node for job in self.jobs)}>"}
            return {"text/plain": repr(self)}
        return jobs_bundle(self.jobs)

    def _take(self, *, loading: bool = True, of: Sequence[JobStatus] = (JobStatus.PLANNED,)) -> bool:
        with self._lock:
            if self._busy or self.status not in of:
                return False
            self._busy = True
            self._started = loading
            self._stop = False
            self._ended.clear()
            return True

    def _begin(self, work: Callable[[], None], of: Sequence[JobStatus] = (JobStatus.PLANNED,)) -> bool:
        if not self._take(loading=work == self._run_all, of=of):
            return False
        # The copy keeps notebook output with the cell that the click belongs to.
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._guarded, work), name="hwm-load", daemon=True).start()
        return True

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            with noted(raised=True) as self._interrupts:
                work()
        finally:
            self._busy = False
            self._observers.tell()
            if self._started or self.status.ended:
                self._ended.set()

    @property
    def _stopping(self) -> bool:
        """Whether nothing more may begin: somebody cancelled, or an interrupt came, which hits one of them."""
        return self._stop or bool(self._interrupts)

    def _run_all(self) -> None:
        if self._plan_first:
            self._plan_all()
        if self._max_parallel > 1 and len(self.jobs) > 1:
            self._run_side_by_side()
            return
        for job in self.jobs:
            if self._may_run(job):
                self._execute(job)

    def _plan_all(self) -> None:
        """Show everything that will be done; what can't be planned has failed."""
        for job in self.jobs:
            if self._stopping or job.status is not JobStatus.PLANNED:
                continue
            if job.spec.depends_on:
                # What it reads may only come to be by those that it depends on.
                job.preview()
                continue
            with suppress(HwmError):
                job.prepare()

    def _may_run(self, job: LoadJob) -> bool:
        """Whether it is its turn; ends it where it will never be."""
        blocked = self._unmet(job)
        if blocked is not None:
            job.skip(blocked)
        elif self._stopping and job.status is JobStatus.PLANNED:
            job.cancel()
        return blocked is None and not self._stopping

    def _execute(self, job: LoadJob) -> None:
        job.execute()
        made = job.result.version_after if job.result is not None else None
        for other in self.jobs:
            if made is not None and other.status is JobStatus.PLANNED and _target(other) == _target(job):
                other.renew(made)

    def _run_side_by_side(self) -> None:
        waiting = list(self.jobs)
        running: dict[Future[None], LoadJob] = {}
        with (
            noted() as interrupts,
            ThreadPoolExecutor(self._max_parallel, thread_name_prefix="hwm-load") as pool,
        ):
            while waiting or running:
                for job in tuple(waiting):
                    if len(running) == self._max_parallel:
                        break
                    if not self._is_ready(job, waiting, running.values()):
                        continue
                    waiting.remove(job)
                    if self._may_run(job):
                        running[pool.submit(contextvars.copy_context().run, self._execute, job)] = job
                for done in wait(running, _TICK, return_when=FIRST_COMPLETED).done:
                    del running[done]
                if interrupts and not self._stop:
                    self.cancel()

    def _is_ready(self, job: LoadJob, waiting: list[LoadJob], running: Iterable[LoadJob]) -> bool:
        """Whether nothing that it depends on, and nothing that writes its target, is still to end."""
        if any(_target(other) == _target(job) for other in running):
            return False
        open_nodes = {each.spec.node for each in (*waiting, *running)}
        return not open_nodes & set(job.spec.depends_on)

    def _check_all(self) -> None:
        for job in self.jobs:
            if self._stopping:
                return
            if job.plan is not None and job.plan.blocker is None:
                job.check()

    def _count_all(self) -> None:
        for job in self.jobs:
            if self._stopping:
                return
            if job.plan is not None and job.plan.writes:
                job.count_rows()

    def _refresh_all(self, *, reload: bool | None) -> None:
        for job in self.jobs:
            if self._stopping:
                return
            job.refresh(reload=reload)
        self.conclude()

    def _unmet(self, job: LoadJob) -> BlockedError | None:
        ended = {each.spec.node: each.status for each in self.jobs if each.status.ended}
        for name in job.spec.depends_on:
            if ended.get(name, JobStatus.SUCCEEDED) is not JobStatus.SUCCEEDED:
                return BlockedError(
                    f"{job.spec.node} was not started: {name}, which it depends on, has {ended[name].value.lower()}",
                    hint=f"see to {name} first",
                )
        return None


def _target(job: LoadJob) -> tuple[str, str | None, str | None]:
    write = job.spec.write
    return write.connection, write.path, write.table
