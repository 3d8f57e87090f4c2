"""Where the programs of these tests lie, and the environment that they find everything in."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent.parent), str(HERE.parent)])}
