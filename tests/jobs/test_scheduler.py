"""Jupyter Scheduler runs a notebook of loads as it stands, and its job fails when a load fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import notebooks
from fakes.notebooks import LOAD_EXT, tagged
from fakes.shop import Project
from servers import missing

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LOAD = """\
%%hwm_load
name: load_orders
read:
  connection: shop
  query: SELECT * FROM orders WHERE id <= ${most}
  incremental: {column: updated_at}
write: {connection: lake, path: raw/orders}"""


def scheduler_python() -> Path:
    """The Python of Jupyter Scheduler's own environment."""
    found = Path(os.environ.get("HWM_SCHEDULER_PYTHON") or ROOT / ".venv-scheduler" / "bin" / "python")
    if not found.exists():
        missing("Jupyter Scheduler")
    return found


@pytest.fixture
def schedule(tmp_path):
    """Has notebooks run; their kernel is this environment's."""
    python = scheduler_python()
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3",
        "language": "python",
        "env": {"PYTHONPATH": str(ROOT)},
    }
    (kernel / "kernel.json").write_text(json.dumps(spec))

    def run(root, jobs):
        order = {"root": str(root), "jobs": jobs, "home": str(tmp_path)}
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HWM_"))
        }
        done = subprocess.run(
            [python, str(Path(__file__).with_name("scheduled.py")), json.dumps(order)],
            env={**environment, "JUPYTER_PATH": str(kernel.parent.parent), "HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr[:3000]
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_jupyter_scheduler_runs_a_notebook_unchanged_and_fails_with_it(schedule, tmp_path):
    folder = tmp_path / "shown"
    folder.mkdir()
    project = Project(folder)
    # It runs a copy of the folder, so what connections name is absolute.
    (folder / "hwm.yaml").write_text(
        f"connections:\n  shop: {{type: sqlite, database: {folder / 'shop.db'}}}\n"
        f"  lake: {{type: local, root: {folder / 'lake'}}}\n"
    )
    wrong = LOAD.replace("FROM orders", "FROM oders").replace("raw/orders", "raw/oders")
    notebooks.write(folder / "orders.ipynb", LOAD_EXT, tagged("most = 1"), LOAD)
    notebooks.write(folder / "wrong.ipynb", LOAD_EXT, tagged("most = 1"), wrong)
    done, failed = schedule(folder, {"orders.ipynb": {"most": "2"}, "wrong.ipynb": {}})
    assert done["status"] == "COMPLETED", done
    assert any("headless" in each for each in done["notebooks"])
    assert project.ids() == [1, 2], done
    assert failed["status"] == "FAILED", failed
    assert "QueryError" in failed["message"]
    assert project.ids("raw/oders") == []
