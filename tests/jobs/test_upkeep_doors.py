"""Rollback, backfill, maintenance and reconciling by the shell, by magics and as calls: shown first, done when told."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner
from fakes.shop import ORDERS, Project
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import hwm_magics
from hwm_magics import cli

KEYED = ORDERS + "  mode: upsert\n  keys: [id]\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with two loads in its target: three orders, then one more."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HWM_MAGICS_MODE", raising=False)
    made = Project(tmp_path)
    made.file(KEYED)
    hwm_magics.load("orders.yaml")
    made.add(4)
    hwm_magics.load("orders.yaml")
    return made


def hwm(*words):
    done = CliRunner().invoke(cli.cli, list(words))
    assert "Traceback" not in done.output, done.output
    return done


def lose(project, number):
    """Take an order out of the source."""
    with closing(sqlite3.connect(project.folder / "shop.db")) as shop, shop:
        shop.execute("DELETE FROM orders WHERE id = ?", [number])


@pytest.fixture
def shell(project, tmp_path):
    """A real IPython shell with the extension loaded, where the load's cell has run."""
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance(config=config, ipython_dir=str(tmp_path / "ipython"))

    def run(cell):
        with capture_output() as captured:
            outcome = made.run_cell(cell, store_history=False)
        return captured.stdout, outcome.error_in_exec or outcome.error_before_exec

    made.run_line_magic("load_ext", "hwm_magics")
    run(f"%%hwm_load job --run\n{KEYED}")
    yield run
    InteractiveShell.clear_instance()


# The shell


def test_a_rollback_is_shown_and_done_only_with_yes(project):
    done = hwm("rollback", "orders.yaml")
    assert done.exit_code == 0
    assert "ROLLBACK · load_orders" in done.stdout
    assert "--yes does it" in done.stderr
    assert project.ids() == [1, 2, 3, 4]
    assert "as it was at version" in hwm("rollback", "orders.yaml", "--yes").stdout
    assert project.ids() == [1, 2, 3]
    told = json.loads(hwm("rollback", "orders.yaml", "--to", "1", "--json").stdout)
    assert (told["to"], told["done"]) == (1, None)


def test_maintenance_is_shown_and_done_only_with_yes(project):
    assert "there is nothing to do" in hwm("maintain", "orders.yaml").stdout
    assert "--yes does it" in hwm("maintain", "orders.yaml", "--compact").stderr
    assert "has 1 file now" in hwm("maintain", "orders.yaml", "--compact", "--yes").stdout
    assert hwm("maintain", "orders.yaml", "--vacuum", "--older", "soon").exit_code == 2
    assert json.loads(hwm("maintain", "orders.yaml", "--vacuum", "--json").stdout)["removable"] == 0


def test_reconciling_exits_with_1_where_they_differ(project):
    done = hwm("reconcile", "orders.yaml", "--keys")
    assert (done.exit_code, "AGREES" in done.stdout) == (0, True)
    lose(project, 2)
    done = hwm("reconcile", "orders.yaml")
    assert (done.exit_code, "DIFFERS" in done.stdout) == (1, True)
    (told,) = json.loads(hwm("reconcile", "orders.yaml", "--json").stdout)["nodes"]
    assert told["gaps"][0]["extra"] == 1


def test_a_backfill_is_a_run_of_a_window(project):
    with closing(sqlite3.connect(project.folder / "shop.db")) as shop, shop:
        shop.execute("UPDATE orders SET amount = 99 WHERE id = 2")
    done = hwm("backfill", "2024-06-01..2024-06-02T23:00", "orders.yaml")
    assert done.exit_code == 0, done.output
    assert "BACKFILL" in done.stdout
    assert project.ids() == [1, 2, 3, 4]


# Magics


def test_magics_show_first_and_do_it_with_run(project, shell):
    told, error = shell("%hwm_rollback")
    assert error is None
    assert "Nothing was done: --run does it." in told
    assert project.ids() == [1, 2, 3, 4]
    shell("%hwm_rollback --run")
    assert project.ids() == [1, 2, 3]
    assert "is as it was" not in shell("%hwm_rollback job")[0]
    assert "AGREES" in shell("%hwm_reconcile --keys")[0]
    assert "nothing to do" in shell("%hwm_maintain")[0]
    shell("%hwm_maintain --compact --run")
    assert "SUCCEEDED" in shell("%hwm_backfill 2024-06-01..2024-06-03 --run")[0]
    assert project.ids() == [1, 2, 3]


@pytest.mark.parametrize("name", ["backfill", "rollback", "maintain", "reconcile"])
def test_each_of_them_has_its_manual_page(shell, name):
    told, error = shell(f"%hwm_{name} --help")
    assert error is None
    assert f"%hwm_{name}" in told
    assert "What it does" in told


def test_mistakes_are_told_like_those_of_the_other_magics(project, shell):
    _, error = shell("%hwm_rollback --to 99")
    assert "can't go back to version 99" in str(error)
    assert "can't go back" in shell("%hwm_debug")[0]
    _, error = shell("%hwm_backfill 2024")
    assert "is not LOW..HIGH" in str(error)
    assert project.ids() == [1, 2, 3, 4]


# Calls


def test_calls_give_plans_that_can_be_run(project):
    plan = hwm_magics.rollback("orders.yaml")
    assert project.ids() == [1, 2, 3, 4]
    plan.run()
    assert project.ids() == [1, 2, 3]
    assert hwm_magics.reconcile("orders.yaml").agrees
    assert "file" in hwm_magics.maintain("orders.yaml", compact=True).run()
