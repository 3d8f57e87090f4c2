"""Carries a first load in chunks through to its goal: one plan and one commit a chunk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from hwm_magics.core.chunks import together
from hwm_magics.core.decided import Decision
from hwm_magics.core.plan import continues
from hwm_magics.core.words import counted
from hwm_magics.errors import CommitConflictError, HwmError, LoadCancelled
from hwm_magics.jobs.states import LoaderAround

if TYPE_CHECKING:
    from hwm_magics.core.cursor import CursorValue
    from hwm_magics.core.decided import LoadPlan, LoadResult
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.engines.base import Progress

__all__ = ["InChunks"]


class _Finished(Exception):  # noqa: N818 - no error: it carries the news out of a load that must not begin
    """Another run has finished the first load."""


class InChunks(LoaderAround):
    """A loader that goes on, after a chunk of a first load, with the next one.

    Args:
        loader: Who plans, and makes one commit a call.
    """

    def plan(self, spec: LoadSpec) -> LoadPlan:
        """Plan; see :meth:`hwm_magics.app.Workspace.plan`."""
        return self._loader.plan(spec)

    def load(
        self,
        spec: LoadSpec,
        *,
        approved: LoadPlan | None = None,
        dry_run: bool = False,
        cancelled: threading.Event | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_plan: Callable[[LoadPlan], None] | None = None,
    ) -> LoadResult:
        """Load, up to the goal; see :meth:`hwm_magics.app.Workspace.load`.

        Args:
            spec: What was asked for.
            approved: The plan that a person approved.
            dry_run: Read and check the first rows of the first chunk, and write nothing.
            cancelled: Set it to stop before the next commit.
            on_progress: Told how far it has come, over all chunks.
            on_plan: Told the plan that the load begins with.

        Returns:
            What all chunks together came to.

        Raises:
            HwmError: As the loader raises it. Chunks that were committed before stay, and the error says so; its
                ``committed`` is what they came to.
            CommitConflictError: Others undid the first load while it went on.
        """
        series = _Series(approved, cancelled or threading.Event(), on_progress, on_plan)
        while True:
            try:
                series.check()
                result = self._loader.load(
                    spec,
                    approved=None if series.parts else approved,
                    dry_run=dry_run,
                    cancelled=series.cancelled,
                    on_progress=series.tell,
                    on_plan=series.begin,
                )
            except _Finished:
                return series.result()
            except CommitConflictError as error:
                if series.overtaken():
                    continue  # others load it too, and get on: each window is a race of its own
                series.explain(error)
                raise
            except HwmError as error:
                series.explain(error)
                raise
            series.parts.append(result)
            if dry_run or not series.goes_on:
                return series.result()


class _Series:
    """How far one load has come in its chunks."""

    def __init__(
        self,
        approved: LoadPlan | None,
        cancelled: threading.Event,
        on_progress: Callable[[Progress], None] | None,
        on_plan: Callable[[LoadPlan], None] | None,
    ) -> None:
        self.parts: list[LoadResult] = []
        self.cancelled = cancelled
        self._approved = approved
        self._on_progress = on_progress
        self._on_plan = on_plan
        self._plan: LoadPlan | None = None
        self._goal: CursorValue | None = None
        self._first: int | None = None
        self._lost = False
        self._rows = 0
        self._bytes = 0
        self._read = 0
        self._size = 0
        self._started = time.perf_counter()

    @property
    def goes_on(self) -> bool:
        """Whether more chunks follow the one that was committed last."""
        plan = self._plan
        chunk = plan.chunk if plan is not None else None
        return chunk is not None and bool(chunk.left) and bool(self.parts[-1].chunks)

    def overtaken(self) -> bool:
        """Whether others have committed chunks since this attempt began."""
        chunk = self._plan.chunk if self._plan is not None else None
        lost = chunk is not None and self._first is not None and chunk.number > self._first
        self._lost = self._lost or lost
        return lost

    @property
    def _done(self) -> LoadResult:
        return together(self.parts, time.perf_counter() - self._started)

    def check(self) -> None:
        """Stop between two chunks, when somebody cancelled; and begin to count anew."""
        self._first = None
        self._rows, self._bytes = self._rows + self._read, self._bytes + self._size
        self._read = self._size = 0
        if self.parts and self.cancelled.is_set():
            raise LoadCancelled("the load was cancelled")

    def begin(self, plan: LoadPlan) -> None:
        """Look at the plan of the next commit before it is carried out."""
        if not self.parts:
            if self._on_plan is not None:
                self._on_plan(plan)
        elif plan.decision in (Decision.INCREMENTAL, Decision.NO_CHANGES):
            raise _Finished
        elif plan.blocker is None:
            self._check(plan)
        self._plan = plan
        if plan.chunk is not None:
            self._goal = plan.chunk.goal
            self._first = self._first or plan.chunk.number

    def _check(self, plan: LoadPlan) -> None:
        """Refuse to go on where what was committed is not there any more, or is not what was approved."""
        come = self.parts[-1].watermark_after
        undone = plan.before is None or (come is not None and plan.before.value < come.value)
        other = self._approved is not None and not continues(self._approved, plan)
        if plan.decision is not Decision.RESUME or undone or other:
            raise CommitConflictError(
                f"{plan.spec.write.label} or its source was changed between two chunks of the first load: "
                f"{plan.reason}",
                hint="look at the plan, and run the load again",
            )

    def tell(self, progress: Progress) -> None:
        """Tell how far all the chunks have come."""
        if self._on_progress is None:
            return
        chunk = self._plan.chunk if self._plan is not None else None
        if chunk is not None:
            self._read, self._size = progress.rows, progress.bytes
            progress = replace(
                progress,
                rows=self._rows + progress.rows,
                bytes=self._bytes + progress.bytes,
                total=None,
                chunk=chunk.number,
                chunks=chunk.number + chunk.left,
            )
        self._on_progress(progress)

    def result(self) -> LoadResult:
        """What all of it came to."""
        found = self.parts[0] if len(self.parts) == 1 else self._done
        if self._lost and found.status == "nothing_new":
            return replace(found, status="already_loaded")
        return found

    def explain(self, error: HwmError) -> None:
        """Have an error say what is committed all the same."""
        if not self.parts or not self._done.chunks:
            return
        done = self._done
        mark = done.watermark_after
        error.committed = done
        at = f" up to {mark.column} = {mark}, of {self._goal}" if mark is not None else ""
        kept = f"{counted(done.chunks, 'chunk')} of the first load {'is' if done.chunks == 1 else 'are'} committed{at}"
        if isinstance(error, LoadCancelled):
            error.message = f"the load of {done.node} was cancelled: {kept}; nothing of the next was written"
            error.hint = "run the load again: it goes on there"
        else:
            error.hint = f"{f'{error.hint}. ' if error.hint else ''}{kept}; the next run goes on there"
