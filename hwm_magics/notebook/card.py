"""What a cell shows: a static summary that stands on its own, and under it the controls of a waiting load."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from hwm_magics.jobs.states import JobStatus

if TYPE_CHECKING:
    from hwm_magics.jobs.load_job import LoadJob
    from hwm_magics.jobs.load_jobs import LoadJobs

__all__ = ["Card", "Publisher", "Summary", "kernel_publisher"]

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
INTERVAL = 0.25
"""At most four updates a second."""

# What a front end shows for a widget that is gone ("Loading widget…", "model not found") carries no
# MIME type and no elements: only that is hidden behind a summary.
_HIDE_DEAD = (
    "<style>.jp-OutputArea-child:has(.hwm-static)+.jp-OutputArea-child>.jp-OutputArea-output"
    ":not([data-mime-type]):not(:has(*)){display:none}</style>"
)
_STYLE = (
    "<style>.hwm-card .widget-button:focus-visible{outline:2px solid var(--jp-brand-color1,currentColor);"
    "outline-offset:1px}.hwm-card .hwm-off{opacity:.45}</style>"
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
    """The static part: complete in itself, so that a saved notebook, a page or a terminal shows it all.

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
        self.note = ""
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
        if self.note:
            data["text/html"] += f"<p>{escape(self.note)}</p>"
            data["text/markdown"] += f"\n\n{escape(self.note)}"
            data["text/plain"] += f"\n{self.note}"
        data["text/html"] = _HIDE_DEAD + data["text/html"]
        return data


class Card:
    """Summary and controls of loads that wait for a person.

    Both callbacks of a double click run, on some kernels on threads of their own: what starts one
    load only is the job, not the look of a button.

    Args:
        jobs: The loads, planned.
        publish: Where it goes.
        clock: For tests.
    """

    def __init__(
        self, jobs: LoadJobs, publish: Publisher, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.jobs = jobs
        self.summary = Summary(jobs, publish, live=True, interval=float("inf"), clock=clock)
        self.status: Any = None
        self.box: Any = None
        self.buttons: dict[str, Any] = {}
        self.confirmation: Any = None
        self._publish = publish
        self._clock = clock
        self._last = float("-inf")
        self._said = ""
        self._stop: Callable[[], None] = lambda: None
        self._painted: JobStatus | None = None
        self._target = ""
        self._lock = threading.RLock()

    @property
    def text(self) -> str:
        """What the status line says."""
        return self._said

    def show(self) -> None:
        """Show the summary, and the controls when there is something to approve."""
        self.summary.show()
        if self.jobs.status.ended:
            return
        writing = [job for job in self.jobs if job.plan is not None and job.plan.writes]
        if not writing:
            return
        self._build([job for job in writing if job.spec.force_first_run])
        self._say(
            "Waiting for Run. Until then the cells below see the target as it is; "
            "%%hwm_load --run loads without asking."
        )
        self._publish(
            {
                WIDGET_VIEW: {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id},
                "text/plain": "",
            }
        )
        self._stop = self.jobs.on_change(self._changed)

    def retire(self) -> None:
        """The cell was run again: nothing can be started here any more."""
        if self.jobs.status is JobStatus.PLANNED:
            self.summary.note = "The cell was run again; this plan was put away."
            self.jobs.cancel()

    def _build(self, reloads: list[LoadJob]) -> None:
        import ipywidgets

        self.status = ipywidgets.HTML()
        for name, tip, style, act in (
            ("Run", "Load the rows, in one commit a target", "primary", self._run),
            ("Dry run", "Read and check the first rows, and write nothing", "", self._dry_run),
            ("Cancel", "Stop before the commit; nothing is written then", "", self._cancel),
        ):
            button = ipywidgets.Button(description=name, tooltip=tip, button_style=style)
            button.on_click(act)
            # The page then reports its views, and the kernel hears the first click on a thread of
            # its own also while a cell runs.
            with contextlib.suppress(Exception):
                button._view_count = 0  # noqa: SLF001 - ipywidgets has no other name for it
            self.buttons[name] = button
        parts: list[Any] = []
        if reloads:
            self._target = ", ".join(job.spec.write.label for job in reloads)
            self.confirmation = ipywidgets.Text(
                description=f"Type {self._target} to replace all its rows:",
                placeholder=self._target,
                continuous_update=True,
                style={"description_width": "initial"},
                layout={"width": "auto", "max_width": "48em"},
            )
            parts.append(self.confirmation)
        parts.append(ipywidgets.HBox(list(self.buttons.values())))
        self.box = ipywidgets.VBox([ipywidgets.HTML(_STYLE), *parts, self.status])
        self.box.add_class("hwm-card")

    def _run(self, _button: object) -> None:
        if self.confirmation is not None and str(self.confirmation.value).strip() != self._target:
            self._say(
                f"Not started: type {self._target} into the field first; all its rows will be replaced."
            )
            return
        self.jobs.start()

    def _dry_run(self, _button: object) -> None:
        self.jobs.check()

    def _cancel(self, _button: object) -> None:
        if self.jobs.status is JobStatus.PLANNED:
            self.summary.note = "Cancelled before it began; run the cell again to plan anew."
        self.jobs.cancel()

    def _changed(self) -> None:
        with self._lock:
            self._paint()

    def _paint(self) -> None:
        status = self.jobs.status
        if status is JobStatus.RUNNING:
            now = self._clock()
            if self._painted is status and now - self._last < INTERVAL and not self._newly_stopping():
                return
            self._last = now
            self._painted = status
            self._dim(running=True)
            self._say(self._running())
            return
        self._painted = status
        # First the output that is stored with the notebook: whoever sees "done" may save at once.
        self.summary.show()
        if status.ended:
            self._stop()
            self._say(self._done())
            self.box.children = (self.status,)
            return
        self._dim(running=False)
        self._say(self._checked())

    def _newly_stopping(self) -> bool:
        return self.jobs.cancelling and "stopping" not in self._said

    def _running(self) -> str:
        from hwm_magics.jobs.report import progress_line

        running = [job for job in self.jobs if job.status is JobStatus.RUNNING]
        return "; ".join(progress_line(job) for job in running) or "between two loads"

    def _checked(self) -> str:
        from hwm_magics.jobs.report import outcome

        lines = [line for job in self.jobs if job.checked is not None for line in outcome(job)]
        return " ".join(lines) if lines else "The dry run was stopped; nothing was written."

    def _done(self) -> str:
        from hwm_magics.jobs.report import outcome

        return "\n".join(f"{job.status.value} · {line}" for job in self.jobs for line in outcome(job)[:1])

    def _dim(self, *, running: bool) -> None:
        # Disabling the focused button would throw the keyboard's focus away; the job ignores
        # clicks that come at the wrong time.
        for name, button in self.buttons.items():
            off = running if name != "Cancel" else False
            (button.add_class if off else button.remove_class)("hwm-off")

    def _say(self, text: str) -> None:
        self._said = text
        rows = "<br>".join(escape(line) for line in text.splitlines())
        self.status.value = f'<span class="hwm-status" role="status" aria-live="polite">{rows}</span>'
