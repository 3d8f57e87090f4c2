"""`hwm` on notebooks: the load cells alone where they are enough, the whole notebook where its code is needed."""

from __future__ import annotations

import json

import nbformat
import pytest
from click.testing import CliRunner
from fakes.shop import Project

from hwm_magics import cli

CONNECTIONS = "%%hwm_connections\nnorth: {type: sqlite, database: shop.db}"


def load(node, rest="", connection="shop", write="", read="", flags=""):
    return (
        f"%%hwm_load {flags}\nname: {node}\n"
        f"read: {{connection: {connection}, table: orders, incremental: {{column: updated_at}}{read}}}\n"
        f"write: {{connection: lake, path: 'raw/{node}{write}'}}\n{rest}"
    )


class Shell(Project):
    """A project with a notebook, and the command run in its folder."""

    def notebook(self, *cells, parameters=""):
        made = nbformat.v4.new_notebook(
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        )
        if parameters:
            made.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
        made.cells += [nbformat.v4.new_code_cell(text) for text in ("%load_ext hwm_magics", *cells)]
        nbformat.write(made, self.folder / "loads.ipynb")

    def __call__(self, command, *words):
        done = CliRunner().invoke(cli.cli, [command, str(self.folder / "loads.ipynb"), *words])
        assert "Traceback" not in done.output, done.output
        return done


@pytest.fixture
def hwm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path)


# Without a kernel


def test_load_cells_that_say_all_are_run_without_a_kernel(hwm):
    hwm.notebook(
        "print('never')\n1 / 0", CONNECTIONS, load("a", connection="north"), load("b", "depends_on: [a]")
    )
    done = hwm("run")
    assert done.exit_code == 0, done.output
    assert "loads.ipynb: its load cells, without a kernel" in done.stderr
    assert hwm.ids("raw/a") == hwm.ids("raw/b") == [1, 2, 3]
    assert "2 of 2 loads succeeded" in done.stdout


@pytest.mark.parametrize("command", ["plan", "status", "history"])
def test_the_other_commands_read_a_notebook_too(hwm, command):
    hwm.notebook(load("a"), load("b"))
    hwm("run")
    told = json.loads(hwm(command, "--json").stdout)
    names = {each["node"] for each in told.get("nodes") or told["loads"]}
    assert names == {"a", "b"}
    assert len(json.loads(hwm(command, "--json", "--node", "b").stdout).popitem()[1]) == 1


def test_a_mark_of_a_notebooks_load_can_be_set(hwm):
    hwm.notebook(load("a"))
    hwm("run")
    assert "the watermark is now" in hwm("watermark", "--set", "2024-06-01").stdout


def test_one_cell_may_depend_on_a_node_of_another_and_fails_with_it(hwm):
    hwm.notebook(
        load("a").replace("table: orders", "table: nothing"), load("b", "depends_on: [a]"), load("c")
    )
    done = hwm("run")
    assert done.exit_code == 4
    assert (hwm.ids("raw/b"), hwm.ids("raw/c")) == ([], [1, 2, 3])


def test_the_cells_own_flags_count(hwm):
    hwm.notebook(load("a", flags="--node a"), load("b", flags="--plan"), load("c", flags="--dry-run"))
    done = hwm("run")
    assert done.exit_code == 0
    assert "cell 3 says --plan, and is left out" in done.stderr
    assert [hwm.ids(f"raw/{name}") for name in "abc"] == [[1, 2, 3], [], []]
    hwm.notebook(load("a", flags="--ask"))
    assert "nobody can be asked" in hwm("run").stderr


def test_parameters_come_from_their_cell_and_from_the_command(hwm):
    hwm.notebook(load("a", write="_${place}"), parameters='place = "east"  # where to')
    assert hwm("run").exit_code == 0
    assert hwm.ids("raw/a_east") == [1, 2, 3]
    assert hwm("run", "-p", "place=west").exit_code == 0
    assert hwm.ids("raw/a_west") == [1, 2, 3]
    done = hwm("run", "-p", "plcae=west")
    assert done.exit_code == 2
    assert "did you mean 'place'?" in done.stderr


def test_a_mistake_is_told_with_its_cell_and_its_line_in_it(hwm):
    hwm.notebook("x = 1", load("a").replace("table:", "tabel:"))
    done = hwm("run")
    assert done.exit_code == 2
    assert "one problem in cell 3" in done.stderr
    assert "line 3" in done.stderr


def test_two_cells_that_load_one_node_are_refused(hwm):
    hwm.notebook(load("a"), load("a"))
    done = hwm("run")
    assert done.exit_code == 2
    assert "cells 2 and 3 both load a" in done.stderr


def test_a_notebook_without_loads_is_refused(hwm):
    hwm.notebook("x = 1")
    assert "has no cell that loads" in hwm("run").stderr


# In a kernel

CLEAN = "def clean(frame):\n    return frame[frame['id'] != 2]"


@pytest.mark.slow
def test_a_notebook_whose_code_is_needed_runs_whole_in_a_kernel(hwm):
    hwm.notebook(CLEAN, load("a", "transform: clean\n"))
    done = hwm("run", "--output", str(hwm.folder / "executed.ipynb"))
    assert done.exit_code == 0, done.output
    assert "in a kernel: cell 3: transform: clean is a function of the notebook" in done.stderr
    assert "2 rows written" in done.stdout
    assert hwm.ids("raw/a") == [1, 3]
    executed = nbformat.read(hwm.folder / "executed.ipynb", 4)
    assert "widgets" not in executed.metadata


@pytest.mark.slow
def test_a_load_that_fails_in_a_kernel_ends_the_command_with_its_code(hwm):
    hwm.notebook(CLEAN, load("a", "transform: clean\n").replace("table: orders", "table: nothing"))
    done = hwm("run")
    assert done.exit_code == 4
    assert "QueryError" in done.stderr
    assert "nothing" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "words", "told"),
    [("plan", (), "FIRST RUN"), ("run", ("--dry-run",), "3 rows read and checked")],
)
def test_planning_and_checking_in_a_kernel_write_nothing(hwm, command, words, told):
    hwm.notebook(CLEAN, load("a", "transform: clean\n"))
    done = hwm(command, *words)
    assert done.exit_code == 0, done.output
    assert told in done.stdout
    assert hwm.ids("raw/a") == []


STOPPED = """\
import os, signal, threading
import ipykernel.kernelbase

asked = threading.Event()

def told(*_):
    asked.set()
    raise KeyboardInterrupt

ipykernel.kernelbase.default_int_handler = told  # what an interrupt of a cell calls

def clean(frame):
    os.kill(os.getppid(), signal.SIGTERM)
    assert asked.wait(30)
    return frame
"""


@pytest.mark.slow
def test_a_notebook_in_a_kernel_that_is_asked_to_stop_stops_its_load_before_the_commit(hwm):
    hwm.notebook(STOPPED, load("a", "transform: clean\n"), load("b"))
    done = hwm("run")
    assert done.exit_code == 130, done.output
    assert "stopping before the commit" in done.stderr
    assert "nothing was written" in done.stderr
    assert hwm.ids("raw/a") == hwm.ids("raw/b") == []


@pytest.mark.slow
def test_a_notebook_in_a_kernel_is_stopped_when_its_time_has_passed(hwm):
    hwm.notebook(CLEAN, load("a", "transform: clean\n"))
    done = hwm("run", "--timeout", "0s")
    assert done.exit_code == 130, done.output
    assert "(--timeout): stopping before the commit" in done.stderr
    assert "was stopped before its next cell" in done.stderr
    assert hwm.ids("raw/a") == []


def test_what_a_kernel_can_not_do_is_refused(hwm):
    hwm.notebook(CLEAN, load("a", "transform: clean\n"))
    done = hwm("run", "--json")
    assert done.exit_code == 2
    assert "--json can't be used" in done.stderr
