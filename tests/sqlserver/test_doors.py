"""SQL Server through every door: cells, notebook variables, the command line; and no secret leaves by any of them."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from hwm_magics import cli

CELL = """%%hwm_load --run job
read:
  connection: erp
  format: sql_server
  table: dbo.orders
  incremental: {column: changed}
write: {connection: lake, path: raw/t, mode: append}
"""


@pytest.fixture
def orders(erp):
    erp.create("dbo.orders", "id int NOT NULL", "changed datetime2(3) NOT NULL", "v rowversion")
    erp.insert("dbo.orders", (1, "'2024-06-01'"), columns="id, changed")
    return erp


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project's folder, with a lake."""
    monkeypatch.chdir(tmp_path)
    for name in ("HWM_MAGICS_MODE", "HWM_MAGICS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "hwm.yaml").write_text("connections:\n  lake: {type: local, root: ./lake}\n")
    return tmp_path


@pytest.fixture
def shell(folder):
    """A real IPython shell."""
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance(config=config, ipython_dir=str(folder / "ipython"))
    made.run_line_magic("load_ext", "hwm_magics")
    yield made
    InteractiveShell.clear_instance()


def run(shell, cell=CELL):
    """Run a cell; all that it showed."""
    with capture_output() as shown:
        outcome = shell.run_cell(cell, store_history=False)
    told = shown.stdout + shown.stderr + "".join(repr(each.data) for each in shown.outputs)
    return outcome, told


@pytest.mark.parametrize("kind", ["pyodbc connection", "connection string"])
def test_a_cell_reads_by_what_a_variable_holds(orders, load, shell, kind):
    with closing(orders.connect()) as connection:
        shell.user_ns["erp"] = connection if kind == "pyodbc connection" else orders.connection_string
        outcome, told = run(shell)
        outcome.raise_error()
        assert "FIRST RUN" in told
        orders.insert("dbo.orders", (2, "'2024-06-02'"), columns="id, changed")
        outcome, more = run(shell)
        outcome.raise_error()
        assert "INCREMENTAL" in more
        assert load().rows("id") == [(1,), (2,)]
        assert orders.settings["password"] not in told + more + repr(shell.user_ns["job"])
        if kind == "pyodbc connection":
            assert connection.execute("SELECT 1").fetchval() == 1, "it is the notebook's, and stays open"


def test_a_cell_that_fails_tells_why_and_no_secret(orders, shell, folder):
    password = orders.settings["password"]
    shell.user_ns["erp"] = orders.connection_string
    outcome, told = run(shell, CELL.replace("dbo.orders", "dbo.order"))
    assert "did you mean dbo.orders?" in told
    assert outcome.error_in_exec is not None
    assert password not in told
    shell.user_ns["erp"] = orders.connection_string.replace(password, "wr0ng-but-secret")
    _, told = run(shell)
    assert "LoginError" in told
    _, debugged = run(shell, "%hwm_debug")
    assert password not in told + debugged
    assert "wr0ng-but-secret" not in told + debugged
    assert not (folder / "lake" / "raw").exists()


def test_the_command_plans_and_runs(orders, load, folder, monkeypatch):
    settings = {**orders.settings, "password": "${env:ERP_PASSWORD}"}
    (folder / "hwm.yaml").write_text(
        f"connections:\n  erp: {json.dumps(settings)}\n  lake: {{type: local, root: ./lake}}\n"
    )
    monkeypatch.setenv("ERP_PASSWORD", orders.settings["password"])
    Path("orders.yaml").write_text(CELL.partition("\n")[2])

    def command(*arguments):
        outcome = CliRunner().invoke(cli.cli, list(arguments))
        assert orders.settings["password"] not in outcome.output
        return outcome

    assert command("plan", "orders.yaml", "--detailed-exitcode").exit_code == 2
    assert command("run", "orders.yaml").exit_code == 0
    assert command("plan", "orders.yaml", "--detailed-exitcode").exit_code == 0
    assert load().rows("id") == [(1,)]
    monkeypatch.setenv("ERP_PASSWORD", "an0ther-one")
    outcome = command("run", "orders.yaml")
    assert outcome.exit_code == 4
    assert "an0ther-one" not in outcome.output


def test_what_the_log_keeps_holds_no_secret(orders, load):
    made = load(table="dbo.orders", incremental={"column": "v"})
    made.run()
    kept = b"".join(path.read_bytes() for path in made.root.rglob("*.json"))
    assert orders.settings["password"].encode() not in kept
    assert b"rowversion" in kept
