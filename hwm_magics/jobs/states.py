"""What a load's life consists of: its states, who carries it out, and who is told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from hwm_magics.jobs.failures import sealed

if TYPE_CHECKING:
    import pyarrow as pa

    from hwm_magics.core.decided import LoadPlan, LoadResult
    from hwm_magics.core.observed import CommitRecord
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.engines.base import Progress

__all__ = ["MOVES", "Errand", "JobStatus", "Loader", "LoaderAround", "Observers", "Standing"]

_log = logging.getLogger("hwm_magics")


class JobStatus(StrEnum):
    """Where a load stands."""

    PLANNED = "PLANNED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    STALE = "STALE"
    """The target moved after the plan was shown; nothing was written."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (JobStatus.PLANNED, JobStatus.RUNNING)


MOVES: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.PLANNED: frozenset(
        {JobStatus.RUNNING, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}
    ),
    JobStatus.RUNNING: frozenset(set(JobStatus) - {JobStatus.RUNNING}),
    JobStatus.STALE: frozenset({JobStatus.RUNNING, JobStatus.CANCELLED}),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}
"""What may follow on what. RUNNING goes back to PLANNED after an errand that loads nothing; STALE is left by
looking again, or by putting the plan away."""


class Errand(StrEnum):
    """What a load is RUNNING for."""

    LOAD = "load"
    DRY_RUN = "dry run"
    REFRESH = "refresh"
    COUNT = "count"


class Standing:
    """Where a load stands. Each move is one atomic step along :data:`MOVES`, so of callers that come at the
    same time one makes it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._status = JobStatus.PLANNED
        self._errand: Errand | None = None
        self._before = JobStatus.PLANNED

    @property
    def status(self) -> JobStatus:
        """Where it stands."""
        return self._status

    @property
    def errand(self) -> Errand | None:
        """What it is RUNNING for; None when it is not."""
        return self._errand

    @property
    def before(self) -> JobStatus:
        """Where it stood before it was RUNNING last."""
        return self._before

    def begin(self, errand: Errand, of: Collection[JobStatus], then: Callable[[], None]) -> bool:
        """To RUNNING, for exactly one caller.

        Args:
            errand: What for.
            of: Where it may stand for that.
            then: Done before anybody else can look.

        Returns:
            Whether this call made the move.
        """
        with self._lock:
            if self._status not in of or JobStatus.RUNNING not in MOVES[self._status]:
                return False
            self._before = self._status
            self._status = JobStatus.RUNNING
            self._errand = errand
            then()
            return True

    def move(self, status: JobStatus, of: Collection[JobStatus], then: Callable[[], None]) -> JobStatus:
        """To another state than RUNNING.

        Args:
            status: The state.
            of: Where it may stand for that.
            then: Done, when the move is made, before anybody else can look.

        Returns:
            Where it stood before; unless that is one of ``of``, nothing was moved.
        """
        with self._lock:
            before = self._status
            if before in of and status in MOVES[before]:
                self._status = status
                self._errand = None
                then()
            return before


class Loader(Protocol):
    """Who plans and loads: :class:`hwm_magics.app.Workspace`."""

    def plan(self, spec: LoadSpec) -> LoadPlan: ...

    def load(
        self,
        spec: LoadSpec,
        *,
        approved: LoadPlan | None = None,
        dry_run: bool = False,
        cancelled: threading.Event | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_plan: Callable[[LoadPlan], None] | None = None,
    ) -> LoadResult: ...

    def history(self, spec: LoadSpec, limit: int = 20) -> tuple[CommitRecord, ...]: ...

    def recent(self, plan: LoadPlan, limit: int) -> tuple[CommitRecord, ...]: ...

    def count(self, plan: LoadPlan) -> int | None: ...

    def sample(self, plan: LoadPlan, limit: int) -> pa.Table | None: ...


class LoaderAround:
    """A loader around another: what it does not change, it passes on.

    Args:
        loader: The other.
    """

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def history(self, spec: LoadSpec, limit: int = 20) -> tuple[CommitRecord, ...]:
        """The loads that the target's log knows."""
        return self._loader.history(spec, limit)

    def recent(self, plan: LoadPlan, limit: int) -> tuple[CommitRecord, ...]:
        """The target's newest loads, as far as the plan's look at it can tell."""
        return self._loader.recent(plan, limit)

    def count(self, plan: LoadPlan) -> int | None:
        """How many rows a plan would read."""
        return self._loader.count(plan)

    def sample(self, plan: LoadPlan, limit: int) -> pa.Table | None:
        """Some of the rows that a plan would read."""
        return self._loader.sample(plan, limit)


class Observers:
    """Callbacks that are told of every change. One that fails is logged and harms nothing."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], object]] = []

    def add(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Add one.

        Args:
            callback: Called without arguments, from whichever thread changed something.

        Returns:
            A function that removes it.
        """
        self._callbacks.append(callback)

        def remove() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return remove

    def tell(self) -> None:
        """Call them all."""
        for callback in tuple(self._callbacks):
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - whoever watches must not stop a load
                _log.warning("showing a load's progress failed: %s", sealed(error))
