"""The static part of a card: complete in itself, so that a saved notebook, a page or a terminal shows it all."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from hwm_magics.jobs.load_jobs import LoadJobs

__all__ = ["Publisher", "Summary", "kernel_publisher"]

# What a front end shows for a widget that is gone ("Loading widget…", "model not found") carries no
# MIME type and no elements: only that is hidden behind a summary.
_HIDE_DEAD = (
    "<style>.jp-OutputArea-child:has(.hwm-static)+.jp-OutputArea-child>.jp-OutputArea-output"
    ":not([data-mime-type]):not(:has(*)){display:none}</style>"
)


class Publisher(Protocol):
    """Where outputs go: the notebook, or a list in a test."""

    def __call__(
        self, data: dict[str, Any], *, display_id: str | None = None, update: bool = False
    ) -> None: ...


def kernel_publisher(data: dict[str, Any], *, display_id: str | None = None, update: bool = False) -> None:
    """Show a bundle in the cell, or bring an earlier one up to date."""
    from IPython import display as shown

    display: Any = shown.display
    if display_id is None:
        display(data, raw=True)
    else:
        display(data, raw=True, display_id=display_id, update=update)


class Summary:
    """The loads' plans, and later what came of them.

    Args:
        jobs: The loads.
        publish: Where it goes.
        live: Whether an output can be replaced later; a terminal can't.
        interval: The shortest time between two updates, in seconds.
        clock: For tests.
    """

    def __init__(
        self,
        jobs: LoadJobs,
        publish: Publisher,
        *,
        live: bool,
        interval: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.jobs = jobs
        self._publish = publish
        self._live = live
        self._interval = interval
        self._clock = clock
        self._last = 0.0
        self._seen: tuple[object, ...] = ()
        self._id = f"hwm-{uuid.uuid4().hex}"
        self._shown = False
        self._lock = threading.RLock()

    def show(self) -> None:
        """Show it, or bring it up to date."""
        # One at a time: what is shown last must be what was true last.
        with self._lock:
            self._seen = self._state()
            self._last = self._clock()
            display_id = self._id if self._live else None
            self._publish(self._bundle(), display_id=display_id, update=self._shown and self._live)
            self._shown = True

    def follow(self) -> None:
        """Show it again when something changed; progress alone, not too often."""
        if not self._live and self._shown:
            return
        with self._lock:
            if self._state() == self._seen and self._clock() - self._last < self._interval:
                return
            self.show()

    def _state(self) -> tuple[object, ...]:
        return tuple((job.status, job.plan is not None, job.checked is not None) for job in self.jobs)

    def _bundle(self) -> dict[str, str]:
        from hwm_magics.jobs.report import jobs_bundle

        data = jobs_bundle(self.jobs)
        data["text/html"] = _HIDE_DEAD + data["text/html"]
        return data
