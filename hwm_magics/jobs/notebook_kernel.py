"""A whole notebook run in a kernel, where its loads need its other code."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hwm_magics import errors
from hwm_magics.connections.secrets import scrub
from hwm_magics.core.cursor import Scalar
from hwm_magics.errors import ConfigError, EngineNotInstalledError, HwmError, LoadCancelled, clean_message

__all__ = ["NotebookRun"]


class NotebookRun:
    """A notebook on its way through papermill, as a scheduler would run it, in a thread of its own.

    Args:
        file: The notebook.
        mode: What its load cells do unless they say otherwise: ``run``, ``dry-run`` or ``plan``.
        params: Go below the cell that is tagged ``parameters``.
        output: Where the executed notebook is kept; None for nowhere.

    Attributes:
        stopping: Whether it was asked to stop.
    """

    def __init__(self, file: Path, *, mode: str, params: Mapping[str, Scalar], output: Path | None) -> None:
        self.stopping = False
        self._file = file
        self._mode = mode
        self._params = dict(params)
        self._output = output
        self._lock = threading.Lock()
        self._kernel: Any = None
        self._in_cell = False
        self._executed = ""
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="hwm-notebook", daemon=True)

    def start(self) -> None:
        """Begin, and return at once."""
        self._thread.start()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def cancel(self) -> None:
        """Interrupt the cell that runs, as a person would, and begin no other.

        A load cell then stops before its commit, or makes it.
        """
        with self._lock:
            self.stopping = True
            if self._in_cell:
                self._signal(signal.SIGINT)

    def kill(self) -> None:
        """End the kernel at once."""
        self._signal(signal.SIGKILL)

    def finish(self, say: Callable[[str], object]) -> None:
        """Print what the load cells said, and raise what ended it.

        Args:
            say: Prints a text.

        Raises:
            EngineNotInstalledError: papermill is not installed.
            LoadCancelled: It was asked to stop, and did.
            HwmError: A load failed; of the class that it failed with.
            ConfigError: The notebook has no kernel here.
        """
        for line in _told(self._executed, self._file.name):
            say(line)
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            self._execute()
        except BaseException as error:  # noqa: BLE001 - raised by `finish`; a thread has nobody to raise it to
            self._error = error

    def _execute(self) -> None:
        try:
            import papermill
            from jupyter_client.kernelspec import NoSuchKernel
            from jupyter_client.manager import AsyncKernelManager
            from jupyter_core.utils import ensure_event_loop
            from papermill.exceptions import PapermillExecutionError
        except ImportError as error:
            raise EngineNotInstalledError(
                "running a whole notebook needs papermill and a kernel",
                hint="pip install 'hwm-magics[jobs]'",
            ) from error

        def keep(manager: Any) -> None:
            self._kernel = manager

        class Kept(AsyncKernelManager):
            """One that can be reached, to interrupt its kernel."""

            def __init__(self, **given: Any) -> None:
                super().__init__(**given)
                keep(self)

        file = self._file
        with tempfile.TemporaryDirectory() as folder, _environment("HWM_MAGICS_MODE", self._mode):
            target = self._output or Path(folder) / file.name
            try:
                papermill.execute_notebook(
                    str(file),
                    str(target),
                    self._params,
                    cwd=str(file.absolute().parent),
                    progress_bar=False,
                    kernel_manager_class=Kept,
                    on_cell_start=self._on_cell_start,
                    on_cell_complete=self._on_cell_sent,  # nbclient's word for: the kernel was told to run it
                    on_cell_executed=self._on_cell_executed,
                )
            except NoSuchKernel as error:
                raise ConfigError(
                    f"the kernel {error.name!r} of {file.name} is not here",
                    hint="jupyter kernelspec list shows those that are",
                ) from error
            except PapermillExecutionError as error:
                raise self._ended_by(error) from None
            finally:
                # This thread's own, which nobody else will close.
                ensure_event_loop().close()
                if target.exists():
                    self._executed = target.read_text(encoding="utf-8")

    def _on_cell_start(self, **_cell: object) -> None:
        if self.stopping:
            raise LoadCancelled(
                f"{self._file.name} was stopped before its next cell; loads above that cell stand",
                hint="run it again: what was loaded is not loaded twice",
            )

    def _on_cell_sent(self, **_cell: object) -> None:
        with self._lock:
            self._in_cell = True

    def _on_cell_executed(self, **_cell: object) -> None:
        with self._lock:
            self._in_cell = False

    def _ended_by(self, error: Any) -> HwmError:
        told = _as_ours(error)
        if self.stopping and not isinstance(told, LoadCancelled) and error.ename == "KeyboardInterrupt":
            return LoadCancelled(
                f"{self._file.name} was stopped in the cell that ran as [{error.exec_count}]"
            )
        return told

    def _signal(self, number: int) -> None:
        pid = getattr(getattr(self._kernel, "provisioner", None), "pid", None)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _as_ours(error: Any) -> HwmError:
    """What ended the notebook, in the class that it had in its kernel."""
    message, _, hint = clean_message(scrub(error.evalue), 4000).partition("\n  → ")
    kind = errors.named(error.ename) if error.ename in errors.__all__ else HwmError
    where = f"the cell that ran as [{error.exec_count}]"
    if kind is HwmError and error.ename != "HwmError":
        message = f"{error.ename}: {message}"
    return kind(f"{where}: {message}", hint=hint or None)


def _told(executed: str, name: str) -> Iterator[str]:
    """What the load cells of an executed notebook said, up to where it came."""
    import json

    from hwm_magics.jobs.notebook_cells import read_notebook

    if not executed:
        return
    loads = {cell.number for cell in read_notebook(executed, name).loads}
    for number, cell in enumerate(json.loads(executed)["cells"], 1):
        if number not in loads:
            continue
        for each in cell.get("outputs", ()):
            told = each.get("data", {}).get("text/plain") or each.get("text") or ""
            line = "".join(told).rstrip()
            if line:
                yield scrub(line)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Kernels inherit the environment; this one does not keep it."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
