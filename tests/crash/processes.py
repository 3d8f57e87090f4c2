"""Where the programs of these tests lie, and the environment that they find everything in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
HWM = str(Path(sys.executable).with_name("hwm"))
"""The command, as it is installed."""
_ROOTS = [str(HERE.parent.parent), str(HERE.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, _ROOTS)), "OPENBLAS_NUM_THREADS": "1"}


def armed(place: str | None, what: str) -> dict[str, str]:
    """The environment of a Python program whose loads stop at a place; see `armed.py`. None: they don't."""
    if place is None:
        return ENVIRONMENT
    path = os.pathsep.join([str(HERE / "on_start"), ENVIRONMENT["PYTHONPATH"]])
    return {**ENVIRONMENT, "PYTHONPATH": path, "HWM_TEST_STOP": f"{place}:{what}"}
