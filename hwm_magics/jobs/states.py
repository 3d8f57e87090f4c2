"""What a load's life consists of: its states, who carries it out, and who is told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from hwm_magics.jobs.failures import sealed

if TYPE_CHECKING:
    from hwm_magics.core.decided import LoadPlan, LoadResult
    from hwm_magics.core.observed import CommitRecord
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.engines.base import Progress

__all__ = ["JobStatus", "Loader", "Observers"]

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
