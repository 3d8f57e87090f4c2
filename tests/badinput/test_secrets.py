"""A password goes to the driver and nowhere else, whatever succeeds or fails."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from badinput.conftest import BASE, PLANTED
from click.testing import CliRunner
from IPython.core.interactiveshell import InteractiveShell

import hwm_magics
from hwm_magics import cli
from hwm_magics.core.explain import explain
from hwm_magics.core.render import to_html, to_markdown, to_text
from hwm_magics.errors import HwmError
from hwm_magics.jobs.failures import debug_text
from hwm_magics.jobs.report import plan_told


def everything_of(job):
    """All that a job can be asked for, as texts."""
    told = plan_told(job.plan)
    yield from (repr(job), repr(job.plan), repr(job.spec), repr(job.result), repr(explain(job.plan)))
    yield from (to_html(told), to_markdown(told), to_text(told), json.dumps(job.to_dict(), default=str))
    yield from map(str, job._repr_mimebundle_().values())


def test_a_load_that_succeeds_shows_and_stores_no_password(project):
    for _ in range(2):
        job = hwm_magics.job(BASE + "  register_table: raw.orders\n")
        job.prepare()
        job.run()
        project.said += everything_of(job)
        project.run("INSERT INTO orders (id, updated_at) VALUES (4, '2024-06-05')")
    project.said.append(repr(hwm_magics.history(BASE)))
    project.said.append(repr(hwm_magics.status(BASE)))
    for command in ("plan", "run", "status", "history"):
        Path("orders.yaml").write_text(BASE)
        outcome = CliRunner().invoke(cli.cli, [command, "orders.yaml", "--json"])
        assert outcome.exit_code == 0, outcome.output
        project.said.append(outcome.output)
    project.assert_nothing_leaked()


@pytest.mark.parametrize("connection", ["wrong_password", "host_down", "url_down", "odbc_wrong", "odbc_down"])
def test_a_connection_that_fails_tells_no_password_even_to_a_debugger(project, connection):
    job = hwm_magics.job(BASE.replace("connection: shop", f"connection: {connection}"))
    with pytest.raises(HwmError) as caught:
        job.run()
    error = caught.value
    project.said += [str(error), repr(error), debug_text(error), repr(job), str(error.__dict__)]
    project.said += [
        repr(each) for each in (error.__cause__, error.__context__) if isinstance(each, HwmError)
    ]
    assert PLANTED in (project.folder / "hwm.yaml").read_text()
    project.assert_nothing_leaked()


def test_connections_show_copy_and_pickle_without_their_password(project):
    from hwm_magics.config.project import find_project

    for connection in find_project(project.folder).connections.values():
        project.said += [repr(connection), str(connection), str(connection.describe())]
        project.said.append(repr(copy.deepcopy(connection)))
        project.said.append(pickle.dumps(connection).decode("latin-1"))
    project.assert_nothing_leaked()


def test_a_password_from_the_environment_is_as_secret(project, monkeypatch):
    monkeypatch.setenv("ERP_PASSWORD", "environ-Secret-88")
    project.secrets += ("environ-Secret-88",)
    settings = (project.folder / "hwm.yaml").read_text()
    (project.folder / "hwm.yaml").write_text(settings.replace(PLANTED, "${env:ERP_PASSWORD}"))
    with pytest.raises(HwmError) as caught:
        hwm_magics.load(BASE.replace("connection: shop", "connection: wrong_password"))
    project.said += [*caught.value.lines(), debug_text(caught.value)]
    project.assert_nothing_leaked()


def test_what_the_cells_show_and_keep_holds_no_password(project):
    from IPython.utils.capture import capture_output

    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(ipython_dir=str(project.folder / "ipython"))
    try:
        with capture_output() as captured:
            for cell in (
                "%load_ext hwm_magics",
                f"%%hwm_load job --run\n{BASE}",
                "job",
                "%hwm_history",
                "%hwm_status",
                "%hwm_connections",
                "%%hwm_load failed --run\n" + BASE.replace("connection: shop", "connection: wrong_password"),
                "failed",
                "%hwm_debug",
            ):
                shell.run_cell(cell, store_history=False)
        project.said.append(captured.stdout + captured.stderr)
        project.said += [str(each.data) for each in captured.outputs]
        project.said.append(repr({name: shell.user_ns[name] for name in ("job", "failed")}))
        assert "LoginError" in captured.stdout
    finally:
        InteractiveShell.clear_instance()
    project.assert_nothing_leaked()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (("table: orders", "tabel: orders"), "ConfigError"),
        (("connection: shop", "connection: wrong_password"), "LoginError"),
    ],
)
def test_papermill_and_the_shell_see_a_failure_and_no_secret(project, monkeypatch, change, error):
    checkout = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    made = nbformat.v4.new_notebook()
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    body = BASE.replace(*change)
    made.cells = [
        nbformat.v4.new_code_cell(cell) for cell in ("%load_ext hwm_magics", f"%%hwm_load\n{body}", "1 + 1")
    ]
    nbformat.write(made, "in.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb", "--no-progress-bar"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert error in done.stderr
    cells = [cell for cell in nbformat.read("out.ipynb", as_version=4).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert [output.ename for output in outputs if output.output_type == "error"] == [error]
    assert cells[-1].outputs == [], "the cell after it did not run"
    project.said += [done.stdout, done.stderr, Path("out.ipynb").read_text()]
    assert not project.target.exists()
    Path("orders.yaml").write_text(body)
    shell = subprocess.run(
        [sys.executable, "-c", "from hwm_magics.cli import main; main()", "run", "orders.yaml"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert shell.returncode == getattr(hwm_magics.errors, error).exit_code
    assert error in shell.stderr
    assert "Traceback" not in shell.stderr
    project.said += [shell.stdout, shell.stderr]
    project.assert_nothing_leaked()
