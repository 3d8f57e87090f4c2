"""Real kernels: what a runner of notebooks sees, and what it stores."""

from __future__ import annotations

import json
import subprocess
import sys

import nbformat
import pytest
from fakes.shop import ORDERS
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

pytestmark = pytest.mark.slow

SECRET = "hunter2-Tr0ub4dor"
LOAD = "%load_ext hwm_magics"


def notebook(*cells: str):
    made = nbformat.v4.new_notebook()
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    return made


@pytest.fixture
def execute(project):
    """Run a notebook with nbclient in the project's folder; gives it back, executed."""

    def run(*cells: str, **options):
        made = notebook(*cells)
        client = NotebookClient(
            made,
            timeout=120,
            kernel_name="python3",
            resources={"metadata": {"path": str(project.folder)}},
            **options,
        )
        try:
            client.execute()
        except CellExecutionError as error:
            made.metadata["failure"] = str(error)
        return made

    return run


def texts(cell) -> str:
    return "\n".join(
        output.get("text", "") + str(output.get("data", {}).get("text/plain", "")) for output in cell.outputs
    )


def test_a_headless_notebook_runs_its_loads_and_is_their_record(execute, project):
    made = execute(
        LOAD, f"%%hwm_load first\n{ORDERS}", f"%%hwm_load second\n{ORDERS}", "second.result.status"
    )
    assert "failure" not in made.metadata
    assert project.ids() == [1, 2, 3]
    assert texts(made.cells[1]).startswith("Mode: run (headless")
    assert "3 rows written" in texts(made.cells[1])
    assert "FIRST RUN" in texts(made.cells[1])
    assert "nothing_new" in texts(made.cells[3])


def test_a_headless_notebook_stores_no_widget(execute):
    made = execute(LOAD, f"%%hwm_load\n{ORDERS}")
    assert "widgets" not in made.metadata
    assert "vnd.jupyter.widget" not in json.dumps(made)


def test_a_failed_load_fails_the_cell_with_its_message(execute, project):
    made = execute(
        LOAD, f"%%hwm_load job\n{ORDERS.replace('table: orders', 'table: oders')}", "print('never')"
    )
    assert "oders" in made.metadata["failure"]
    assert "QueryError" in made.metadata["failure"]
    errors = [output for output in made.cells[1].outputs if output.output_type == "error"]
    assert errors[0].ename == "QueryError"
    assert "oders" in errors[0].evalue
    assert len(errors[0].traceback) < 8
    assert made.cells[2].outputs == []


def test_a_typing_mistake_fails_the_cell_with_its_line(execute):
    made = execute(LOAD, f"%%hwm_load --rn\n{ORDERS}")
    assert "--rn" in made.metadata["failure"]


def test_a_card_that_nobody_can_click_fails_the_cell(execute, project):
    made = execute(LOAD, f"%%hwm_load --ask\n{ORDERS}")
    assert "nobody can be asked here" in made.metadata["failure"]
    assert "vnd.jupyter.widget" not in json.dumps(made)
    assert project.ids() == []


def test_a_secret_is_nowhere_in_an_executed_notebook(execute, project, monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", SECRET)
    pg = "{type: postgres, host: 127.0.0.1, port: 9, database: x, username: u, password: '${env:SHOP_PASSWORD}'}"
    other = ORDERS.replace("connection: shop", "connection: pg")
    made = execute(
        LOAD,
        f"%%hwm_connections\npg: {pg}",
        "%hwm_connections test",
        f"%%hwm_load job\n{ORDERS}",
        f"%%hwm_load failed\n{other}",
        "%hwm_debug",
        "failed",
        "failed.to_dict()",
        "%hwm_connections",
        "raise failed.error",
        allow_errors=True,
    )
    assert [output.ename for output in made.cells[4].outputs if output.output_type == "error"]
    assert SECRET not in nbformat.writes(made)
    assert project.ids() == [1, 2, 3]


def test_with_a_front_end_that_takes_input_the_cell_waits_and_a_click_loads(execute, project):
    # nbclient answers no click, so the cells do it: through the card's own button.
    click = (
        "card = get_ipython().magics_manager.registry['HwmMagics'].session.cards[0]\n"
        "card.buttons['Run'].click(); card.buttons['Run'].click()\n"
        "print(job.wait(60).rows_written, card.text)"
    )
    # What a front end would say; it must hold for the one cell that asks.
    person = (
        "kernel = get_ipython().kernel\n"
        "def with_input(channel=None, ask=kernel.get_parent):\n"
        "    parent = ask(channel)\n"
        "    return {**parent, 'content': {**parent['content'], 'allow_stdin': True}}\n"
        "kernel.get_parent = with_input"
    )
    made = execute(LOAD, person, f"%%hwm_load job\n{ORDERS}", "print(job.status)", click)
    assert "failure" not in made.metadata, made.metadata
    assert texts(made.cells[2]).startswith("Mode: ask")
    assert texts(made.cells[3]).strip() == "PLANNED"
    assert texts(made.cells[4]).startswith("3 SUCCEEDED")
    assert "3 rows written" in texts(made.cells[2])
    assert project.ids() == [1, 2, 3]


@pytest.fixture
def papermill(project):
    """Run a notebook with papermill as a job does."""

    def run(*cells: str, params: tuple[str, ...] = ()):
        made = notebook(*cells)
        made.cells[1].metadata["tags"] = ["parameters"]
        nbformat.write(made, project.folder / "in.ipynb")
        done = subprocess.run(
            [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb", "--no-progress-bar", *params],
            cwd=project.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done, nbformat.read(project.folder / "out.ipynb", as_version=4)

    return run


PARAMETRIC = ORDERS.replace("table: orders", 'query: "SELECT * FROM orders WHERE id <= ${most}"')


def test_papermill_runs_a_notebook_with_its_parameters(papermill, project):
    done, made = papermill(LOAD, "most = 1", f"%%hwm_load job\n{PARAMETRIC}", params=("-p", "most", "2"))
    assert done.returncode == 0, done.stderr
    assert project.ids() == [1, 2]
    assert "vnd.jupyter.widget" not in json.dumps(made)


def test_papermill_fails_with_the_message_when_a_load_fails(papermill, project):
    done, made = papermill(
        LOAD, "most = 1", f"%%hwm_load job\n{ORDERS.replace('table: orders', 'table: oders')}"
    )
    assert done.returncode != 0
    assert "QueryError" in done.stderr
    assert "oders" in done.stderr
    assert [output.ename for output in made.cells[-1].outputs if output.output_type == "error"] == [
        "QueryError"
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("jupyter", "execute", "--inplace"),
        ("nbconvert", "--to", "notebook", "--execute", "--inplace", "--log-level", "ERROR"),
    ],
    ids=["execute", "nbconvert"],
)
def test_other_runners_keep_the_record_and_fail_when_a_load_fails(project, words):
    path = project.folder / "in.ipynb"
    for table in ("orders", "oders"):
        load = f"%%hwm_load job\n{ORDERS.replace('table: orders', f'table: {table}')}"
        nbformat.write(notebook(LOAD, load), path)
        done = subprocess.run(
            [sys.executable, "-m", *words, path.name],
            cwd=project.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if table == "orders":
            assert done.returncode == 0, done.stderr
            assert texts(nbformat.read(path, as_version=4).cells[1]).startswith("Mode: run (headless")
        else:
            assert done.returncode != 0
            assert "QueryError" in done.stderr
    assert project.ids() == [1, 2, 3]
