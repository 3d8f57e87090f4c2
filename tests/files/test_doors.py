"""Files through a cell and through the command: what a person or a scheduler does and sees."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from hwm_magics.cli import cli


@pytest.fixture
def hwm(landing):
    """Runs the command."""

    def run(*arguments):
        done = CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)
        return done.exit_code, done.output

    (landing.root / "load.yaml").write_text("engine: pandas\n" + landing.text("orders/*"))
    return run


def test_the_command_plans_runs_and_tells_of_files(landing, hwm):
    landing.put("a.csv", 1, 2)
    landing.put("b.csv.part", 9)
    code, told = hwm("plan", "load.yaml")
    assert code == 0
    assert re.search(r"1 file to read, \d+ B: orders/a\.csv; 1 left alone", " ".join(told.split()))
    assert hwm("run", "load.yaml")[0] == 0
    assert hwm("plan", "load.yaml", "--detailed-exitcode")[0] == 0
    landing.put("c.csv", 3)
    assert hwm("plan", "load.yaml", "--detailed-exitcode")[0] == 2
    assert hwm("run", "load.yaml")[0] == 0
    assert landing.ids() == [1, 2, 3]
    newest, first = json.loads(hwm("history", "load.yaml", "--json")[1])["loads"]
    assert (newest["files"], first["files"]) == ({"new": 1, "loaded": 2}, {"new": 1, "loaded": 1})
    assert "2 files" in hwm("status", "load.yaml")[1]
    code, told = hwm("watermark", "load.yaml", "--adopt")
    assert (code, "2 files count as loaded now" in told) == (0, True)
    code, told = hwm("watermark", "load.yaml", "--set", "7")
    assert (code, "--adopt counts all files" in told) == (2, True)
    assert "tells which are new" in hwm("doctor", "load.yaml")[1]


def test_a_changed_file_ends_a_job_with_the_code_of_a_blocked_plan(landing, hwm):
    landing.put("a.csv", 1)
    assert hwm("run", "load.yaml")[0] == 0
    landing.put("a.csv", 1, 2)
    code, told = hwm("run", "load.yaml")
    assert (code, "orders/a.csv" in told) == (3, True)


def test_an_exported_job_asks_for_what_reads_files(landing, hwm):
    landing.put("a.csv", 1)
    code, told = hwm("export", "load.yaml", "--to", "py", "-o", "out")
    assert code == 0, told
    (requirements,) = (landing.root / "out").rglob("requirements*.txt")
    assert "hwm-magics[files" in requirements.read_text()
