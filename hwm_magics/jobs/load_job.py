"""One load as a person or a job handles it: planned, started once, watched, cancelled, reported."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hwm_magics.errors import HwmError, LoadCancelled, PlanError, StalePlanError
from hwm_magics.jobs.chunks import InChunks
from hwm_magics.jobs.failures import sealed
from hwm_magics.jobs.settings import Reread, Settings, changed
from hwm_magics.jobs.states import Errand, JobStatus, Loader, Observers, Standing

if TYPE_CHECKING:
    from hwm_magics.core.decided import LoadPlan, LoadResult
    from hwm_magics.core.explain import Sample
    from hwm_magics.core.observed import CommitRecord
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.engines.base import Progress

__all__ = ["LoadJob", "Sampling"]

RECENT = 5
"""How many loads a plan is shown with."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many rows of what will be read are shown with a plan.

    Attributes:
        rows: At most so many.
        masked: Columns whose values are not shown; ``*`` for all.
    """

    rows: int
    masked: tuple[str, ...] = ()


class LoadJob:
    """One load. It runs at most once, whoever asks for it and how often.

    Args:
        loader: Plans and loads.
        spec: What was asked for.
        dry_run: Read and check the first rows only.
        background: Run in a thread of its own; :meth:`run` then returns at once.
        strict: Refuse, as STALE, to do anything else than the plan that was shown.
        reread: Reads the configuration anew: a strict job refuses, as STALE, one that changed, and
            :meth:`refresh` plans with it. None where it can't change.
        sampling: Show some rows with the plan; None for none.

    Attributes:
        spec: What was asked for.
        plan: The plan that was shown, or is being carried out; None before planning.
        result: What happened; None until it succeeded.
        error: The very error that ended it; None without one.
        checked: What the last dry run found; None without one.
        progress: How far it has come; None before the first rows.
        recent: The target's newest loads when the plan was made, newest first.
        counted: How many rows the source counted that would be read; None when it was not asked.
        sample: Some rows of what will be read; None when none were asked for.
        remark: What the last errand that loads nothing came to, when it failed; "" otherwise.
    """

    def __init__(
        self,
        loader: Loader,
        spec: LoadSpec,
        *,
        dry_run: bool = False,
        background: bool = False,
        strict: bool = False,
        reread: Reread | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self.spec = spec
        self.plan: LoadPlan | None = None
        self.result: LoadResult | None = None
        self.error: BaseException | None = None
        self.checked: LoadResult | None = None
        self.progress: Progress | None = None
        self.recent: tuple[CommitRecord, ...] = ()
        self.counted: int | None = None
        self.sample: Sample | None = None
        self.remark = ""
        self.background = background
        self.dry_run = dry_run
        self.brief = False
        self._loader = loader
        self._strict = strict
        self._reread = reread
        self._settings: Settings | None = None
        self._sampling = sampling
        self._standing = Standing()
        self._cancel = threading.Event()
        self._ended = threading.Event()
        self._observers = Observers()
        self._began = 0.0
        self._first_rows = 0.0

    @property
    def status(self) -> JobStatus:
        """Where it stands."""
        return self._standing.status

    @property
    def errand(self) -> Errand | None:
        """What it is RUNNING for; None when it is not."""
        return self._standing.errand

    @property
    def seconds(self) -> float:
        """How long it has been running; 0 before."""
        return time.monotonic() - self._began if self._began else 0.0

    @property
    def reading_seconds(self) -> float:
        """How long ago the first rows came; 0 before."""
        return time.monotonic() - self._first_rows if self._first_rows else 0.0

    @property
    def cancelling(self) -> bool:
        """Whether a cancel was asked for."""
        return self._cancel.is_set()

    def on_change(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Have a callback told of every change and progress; see :meth:`Observers.add`."""
        return self._observers.add(callback)

    def prepare(self) -> LoadPlan:
        """Look at target and source, and decide. Nothing is written.

        Returns:
            The plan; a BLOCKED one is returned, not raised.

        Raises:
            HwmError: Planning itself failed; the job is FAILED then.
        """
        try:
            self._look()
        except KeyboardInterrupt as error:
            cancelled = LoadCancelled("planning was interrupted; nothing was written")
            cancelled.__context__ = error
            self._end(JobStatus.CANCELLED, error=cancelled)
        except Exception as error:  # noqa: BLE001 - kept as it is, raised below
            self._end(JobStatus.FAILED, error=error)
        self.raise_error()
        if self.plan is None:  # pragma: no cover - planning gave a plan or an error
            raise AssertionError
        self._observers.tell()
        return self.plan

    def renew(self, version: int) -> None:
        """Plan anew, after a load beside this one has written into the same target.

        What was approved stays approved where nothing but the target's version moved.

        Args:
            version: The version that the other load made.
        """
        before = self.plan
        if before is None or before.target.version is None:
            return
        with suppress(HwmError):
            now = self._loader.plan(self.spec)
            same = (now.decision, now.hash, now.before) == (before.decision, before.hash, before.before)
            if same and now.target.version == version:
                self.plan = now

    def preview(self) -> None:
        """Plan as :meth:`prepare` does, and where that fails leave it to the load itself to tell."""
        with suppress(HwmError):
            self._look()
            self._observers.tell()

    def _look(self) -> None:
        """Plan, with what is shown beside a plan."""
        if self._reread is not None:
            self._settings = self._reread()
        plan = self._loader.plan(self.spec)
        self.sample = self._sampled(plan)
        try:
            recent = self._loader.recent(plan, RECENT)
        except Exception:  # noqa: BLE001 - a picture beside the plan; what matters of the log is in the plan
            recent = ()
        self.recent = recent
        self.counted = None
        self.checked = None
        self.plan = plan

    def _sampled(self, plan: LoadPlan) -> Sample | None:
        if self._sampling is None or not plan.writes:
            return None
        from hwm_magics.jobs.report import sample_of

        rows = self._loader.sample(plan, self._sampling.rows)
        return None if rows is None else sample_of(rows, self._sampling.masked)

    def refresh(self, *, reload: bool | None = None) -> bool:
        """Look at target, source and configuration again, on this thread, and make a new plan.

        What ends well leaves the job PLANNED, also a STALE one. What fails leaves it where it was, and
        is told in :attr:`remark`.

        Args:
            reload: Plan to replace all rows of the target, or not to; None for what it was.

        Returns:
            Whether it was started: False while the job runs, and when it has ended otherwise.
        """
        if not self._claim(Errand.REFRESH, (JobStatus.PLANNED, JobStatus.STALE)):
            return False
        stale = self._standing.before is JobStatus.STALE
        before = self.spec, self._loader, self._settings
        self._observers.tell()
        try:
            self._reset(reload=reload)
            self._look()
        except BaseException as error:  # noqa: BLE001 - told in the remark; a thread has nobody to raise it to
            self.spec, self._loader, self._settings = before
            self.remark = f"The new look failed: {' '.join(sealed(error).lines())}"
            self._again(JobStatus.STALE if stale else JobStatus.PLANNED)
        else:
            self.error = None
            self._ended.clear()
            self._again()
        return True

    def _reset(self, *, reload: bool | None) -> None:
        """Take the configuration as it is now."""
        forced = self.spec.force_first_run if reload is None else reload
        if self._reread is not None:
            now = self._reread()
            self.spec, self._loader = now.spec, now.loader
        self.spec = replace(self.spec, force_first_run=forced)

    def count_rows(self) -> bool:
        """Have the source count the rows that would be read, on this thread; :attr:`counted` then holds them.

        Returns:
            Whether it was started: False while the job runs, and when it has ended.
        """
        if self.plan is None or not self._claim(Errand.COUNT):
            return False
        self._observers.tell()
        try:
            self.counted = self._loader.count(self.plan)
        except BaseException as error:  # noqa: BLE001 - told in the remark; a thread has nobody to raise it to
            self.remark = f"Counting failed: {' '.join(sealed(error).lines())}"
        self._again()
        return True

    def conclude(self) -> bool:
        """End at once, successfully, when the plan has nothing to do.

        Returns:
            Whether it did.
        """
        plan = self.plan
        if plan is None or plan.writes or plan.blocker is not None or not self._claim():
            return False
        from hwm_magics.core.decided import LoadResult

        self._end(
            JobStatus.SUCCEEDED,
            result=LoadResult(
                plan.spec.node,
                plan.decision,
                "nothing_new",
                version_before=plan.target.version,
                version_after=plan.target.version,
                watermark_before=plan.before,
                watermark_after=plan.before,
                warnings=plan.warnings,
            ),
        )
        return True

    def run(self, approved: LoadPlan | None = None) -> LoadJob:
        """Carry the load out, once.

        Args:
            approved: The plan that a person approved: anything but a moved window makes the job
                STALE. Default: the one that was shown, when the job is strict.

        Returns:
            The job: at once when it runs in the background, otherwise when it has ended. A second
            call while it runs starts nothing.

        Raises:
            PlanError: It has ended already; plan anew for another load.
            HwmError: The load failed; the same error is in :attr:`error`.
        """
        if not self._claim():
            if self.status.ended:
                raise PlanError(
                    f"this load of {self.spec.node} has ended already: {self.status}",
                    hint="run the cell again: it makes a new plan",
                )
            if not self.background:
                self.wait()
            return self
        if self.background:
            # The copy keeps notebook output with the cell that the click belongs to.
            work = contextvars.copy_context().run
            threading.Thread(
                target=work, args=(self._work, approved), name=f"hwm-load-{self.spec.node}", daemon=True
            ).start()
            return self
        self._work(approved)
        self.raise_error()
        return self

    def execute(self, approved: LoadPlan | None = None) -> bool:
        """Carry the load out on this thread; an error is kept and not raised.

        Returns:
            Whether this call started it.
        """
        if not self._claim():
            return False
        self._work(approved)
        return True

    def check(self) -> bool:
        """Read and check the first rows on this thread, and write nothing; afterwards it can run.

        Returns:
            Whether it was started: False when the job runs or has ended. :attr:`checked` holds
            what was found; an error ends the job.
        """
        if not self._claim(Errand.DRY_RUN):
            return False
        self._work(None)
        return True

    def wait(self, timeout: float | None = None) -> LoadResult:
        """Wait until the load has ended.

        Args:
            timeout: Seconds; None for as long as it takes.

        Returns:
            What happened.

        Raises:
            PlanError: It was not started, so nothing would ever end: while a cell waits, no click
                can arrive.
            TimeoutError: It still runs.
            HwmError: The load's own error.
        """
        if self.status is JobStatus.PLANNED:
            raise PlanError(
                f"the load of {self.spec.node} has not been started, so there is nothing to wait for",
                hint="press Run, or call .run(); to load without being asked: %%hwm_load --run",
            )
        if not self._ended.wait(timeout):
            raise TimeoutError(f"the load of {self.spec.node} still runs after {timeout} s")
        self.raise_error()
        if self.result is None:  # pragma: no cover - an end has a result or an error
            raise AssertionError
        return self.result

    def cancel(self, why: str = "") -> str:
        """Ask the load to stop before its commit; one that was not started is put away.

        Args:
            why: What is told of one that was not started: "the load was …"; "" for the ordinary words.

        Returns:
            What that means right now, in a sentence. The truth is in :attr:`status` once it ended.
        """
        node = self.spec.node
        error = LoadCancelled(
            f"the load of {node} was {why or 'cancelled before it began'}; nothing was written",
            hint="run the cell again: it makes a new plan",
        )

        def end() -> None:
            self.error = error

        waiting = (JobStatus.PLANNED, JobStatus.STALE)
        before = self._standing.move(JobStatus.CANCELLED, waiting, end)
        if before in waiting:
            self._tell_end()
            return error.message
        if before is JobStatus.RUNNING:
            # Of an errand that has ended meanwhile there is nothing to stop; the next one has an event of its own.
            self._cancel.set()
            self._observers.tell()
            return (
                f"the load of {node} was asked to stop: nothing is written, unless it is committing already"
            )
        return f"the load of {node} had ended already: {before}"

    def skip(self, error: HwmError) -> None:
        """End as FAILED without having begun."""
        if self._claim():
            self._end(JobStatus.FAILED, error=error)

    def raise_error(self) -> None:
        """Raise the error that ended it, if one did, without secrets."""
        if self.error is not None:
            raise sealed(self.error)

    def to_dict(self) -> dict[str, object]:
        """Everything about it as JSON-ready values."""
        from hwm_magics.jobs.report import job_to_dict

        return job_to_dict(self)

    def __repr__(self) -> str:
        from hwm_magics.jobs.report import headline

        return f"<LoadJob {headline(self)}>"

    def _repr_mimebundle_(self, **_asked: object) -> dict[str, str]:
        from hwm_magics.jobs.report import job_bundle

        if self.brief:
            # The cell that returns the job has just shown all this.
            self.brief = False
            # What is to come is told above, where it can be replaced; this text stays as it is.
            return {"text/plain": repr(self) if self.status.ended else f"<LoadJob {self.spec.node}>"}
        return job_bundle(self)

    def _claim(self, errand: Errand = Errand.LOAD, of: Sequence[JobStatus] = (JobStatus.PLANNED,)) -> bool:
        """To RUNNING, for exactly one caller."""

        def begin() -> None:
            self._cancel = threading.Event()
            self._began = time.monotonic()
            self._first_rows = 0.0
            self.progress = None
            self.remark = ""

        return self._standing.begin(errand, of, begin)

    def _work(self, approved: LoadPlan | None) -> None:
        self._observers.tell()
        checking = self.errand is Errand.DRY_RUN
        try:
            if self._strict:
                self._check_settings()
            result = InChunks(self._loader).load(
                self.spec,
                approved=approved or (self.plan if self._strict else None),
                dry_run=self.dry_run or checking,
                cancelled=self._cancel,
                on_progress=self._on_progress,
                on_plan=self._on_plan,
            )
        except LoadCancelled as error:
            self._cancelled(error)
        except StalePlanError as error:
            self._end(JobStatus.STALE, error=error)
        except KeyboardInterrupt as error:
            self._cancelled(self._interrupted(error))
        except BaseException as error:  # noqa: BLE001 - kept as it is; a thread has nobody to raise it to
            self._end(JobStatus.FAILED, error=error)
        else:
            if checking:
                self.checked = result
                self._again()
            else:
                self._end(JobStatus.SUCCEEDED, result=result)

    def _check_settings(self) -> None:
        """Refuse a configuration that is not the one that was planned with.

        Raises:
            StalePlanError: It changed.
        """
        if self._reread is None or self._settings is None:
            return
        try:
            now = self._reread()
        except Exception as error:  # noqa: BLE001 - whatever it is, there is nothing to compare with
            told = sealed(error)
            raise StalePlanError(
                f"the configuration can't be read any more: {told.message}", hint=told.hint
            ) from None
        if moved := changed(self._settings, now):
            raise StalePlanError(
                f"the configuration changed after the plan was made: {', '.join(name for name, *_ in moved)}",
                moved,
                hint="Refresh, or run the cell again, and look at the new plan",
            )

    def _on_plan(self, plan: LoadPlan) -> None:
        self.plan = plan
        self._observers.tell()

    def _on_progress(self, progress: Progress) -> None:
        self.progress = progress
        self._first_rows = self._first_rows or time.monotonic()
        self._observers.tell()

    def _cancelled(self, error: LoadCancelled) -> None:
        if self.errand is Errand.DRY_RUN:
            self.remark = "The dry run was stopped; nothing was written."
            self._again()
        else:
            self._end(JobStatus.CANCELLED, error=error)

    def _again(self, status: JobStatus = JobStatus.PLANNED) -> None:
        """Back from an errand that loads nothing."""
        self._standing.move(status, (JobStatus.RUNNING,), lambda: None)
        self._observers.tell()

    def _interrupted(self, error: KeyboardInterrupt) -> LoadCancelled:
        """An interrupt outside of the write: before it, or between the commit and the end."""
        told = LoadCancelled(f"the load of {self.spec.node} was interrupted; nothing was written")
        progress = self.progress
        begun = progress is not None and (progress.phase != "reading" or progress.chunk > 1)
        if begun and self.plan is not None:
            before = -1 if self.plan.target.version is None else self.plan.target.version
            try:
                newest = next(iter(self._loader.history(self.spec, 1)), None)
            except Exception:  # noqa: BLE001 - then it can't be told, which is said
                told = LoadCancelled(
                    f"the load of {self.spec.node} was interrupted around its commit",
                    hint="%hwm_history tells whether it is there; running the load again is safe",
                )
            else:
                ours = newest is not None and newest.node == self.spec.node and newest.version > before
                if newest is not None and ours and newest.unfinished is not None:
                    told = LoadCancelled(
                        f"the load of {self.spec.node} was interrupted; its first load is committed up to "
                        f"{newest.watermark}, of {newest.unfinished.goal}",
                        hint="run the load again: it goes on there",
                    )
                elif newest is not None and ours:
                    told = LoadCancelled(
                        f"the load of {self.spec.node} was interrupted after its commit: "
                        f"version {newest.version} holds its rows",
                        hint="run it again to finish what follows a commit, such as registering the table",
                    )
        told.__context__ = error
        return told

    def _end(
        self, status: JobStatus, *, result: LoadResult | None = None, error: BaseException | None = None
    ) -> None:
        def end() -> None:
            self.result = result
            self.error = error

        self._standing.move(status, (JobStatus.PLANNED, JobStatus.RUNNING), end)
        self._tell_end()

    def _tell_end(self) -> None:
        try:
            self._observers.tell()
        finally:
            # Also when an interrupt hits an observer: whoever waits must not wait for ever.
            self._ended.set()
