"""Where the programs of these tests lie, and the environment that they find everything in."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).parent
_ROOTS = [str(HERE.parent.parent), str(HERE.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, _ROOTS)), "OPENBLAS_NUM_THREADS": "1"}
