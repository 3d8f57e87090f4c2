"""A whole notebook run in a kernel, where its loads need its other code."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hwm_magics import errors
from hwm_magics.connections.secrets import scrub
from hwm_magics.core.cursor import Scalar
from hwm_magics.errors import ConfigError, EngineNotInstalledError, HwmError, clean_message

__all__ = ["run_notebook"]


def run_notebook(
    file: Path,
    *,
    mode: str,
    params: Mapping[str, Scalar],
    output: Path | None,
    say: Callable[[str], object],
) -> None:
    """Run a notebook with papermill, as a scheduler would.

    Args:
        file: The notebook.
        mode: What its load cells do unless they say otherwise: ``run``, ``dry-run`` or ``plan``.
        params: Go below the cell that is tagged ``parameters``.
        output: Where the executed notebook is kept; None for nowhere.
        say: Prints what a load cell said.

    Raises:
        EngineNotInstalledError: papermill is not installed.
        HwmError: A load failed; of the class that it failed with.
        ConfigError: The notebook has no kernel here.
    """
    try:
        import papermill
        from jupyter_client.kernelspec import NoSuchKernel
        from papermill.exceptions import PapermillExecutionError
    except ImportError as error:
        raise EngineNotInstalledError(
            "running a whole notebook needs papermill and a kernel", hint="pip install 'hwm-magics[jobs]'"
        ) from error
    with tempfile.TemporaryDirectory() as folder, _environment("HWM_MAGICS_MODE", mode):
        target = output or Path(folder) / file.name
        try:
            papermill.execute_notebook(
                str(file), str(target), dict(params), cwd=str(file.absolute().parent), progress_bar=False
            )
        except NoSuchKernel as error:
            raise ConfigError(
                f"the kernel {error.name!r} of {file.name} is not here",
                hint="jupyter kernelspec list shows those that are",
            ) from error
        except PapermillExecutionError as error:
            _tell(target, say)
            raise _as_ours(error) from None
        _tell(target, say)


def _as_ours(error: Any) -> HwmError:
    """What ended the notebook, in the class that it had in its kernel."""
    message, _, hint = clean_message(scrub(error.evalue), 4000).partition("\n  → ")
    kind = errors.named(error.ename) if error.ename in errors.__all__ else HwmError
    where = f"the cell that ran as [{error.exec_count}]"
    if kind is HwmError and error.ename != "HwmError":
        message = f"{error.ename}: {message}"
    return kind(f"{where}: {message}", hint=hint or None)


def _tell(target: Path, say: Callable[[str], object]) -> None:
    """Print what the load cells said, up to where the notebook came."""
    import json

    from hwm_magics.jobs.notebook_cells import read_notebook

    text = target.read_text(encoding="utf-8")
    loads = {cell.number for cell in read_notebook(text).loads}
    for number, cell in enumerate(json.loads(text)["cells"], 1):
        if number not in loads:
            continue
        for each in cell.get("outputs", ()):
            told = each.get("data", {}).get("text/plain") or each.get("text") or ""
            line = "".join(told).rstrip()
            if line:
                say(scrub(line))


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
