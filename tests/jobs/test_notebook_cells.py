"""A notebook's cells are told apart as IPython and papermill would tell them apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes.notebooks import CONNECTIONS, LOAD_EXT, ORDERS, as_json, markdown, tagged

from hwm_magics.errors import ConfigError
from hwm_magics.jobs.load_options import LOAD, read_line
from hwm_magics.jobs.notebook_cells import CellKind, read_notebook
from hwm_magics.notebook.magics import HwmMagics
from hwm_magics.notebook.options import arguments

ROOT = Path(__file__).parents[2]


def kinds(*cells):
    return [cell.kind.value for cell in read_notebook(as_json(*cells)).cells]


def test_every_cell_gets_its_kind_and_its_number_as_people_count():
    notebook = read_notebook(
        as_json(markdown("# Orders"), LOAD_EXT, tagged("since = 1"), CONNECTIONS, ORDERS, "print(1)", "")
    )
    found = [(cell.number, cell.kind.value) for cell in notebook.cells]
    assert found == [
        (1, "text"), (2, "load_ext"), (3, "parameters"), (4, "connections"), (5, "load"), (6, "code"), (7, "text"),
    ]  # fmt: skip
    assert [cell.number for cell in notebook.loads] == [5]
    assert [cell.number for cell in notebook.connections] == [4]


def test_the_notebook_of_the_quick_start_is_read():
    path = ROOT / "notebooks" / "quickstart.ipynb"
    notebook = read_notebook(path.read_text(encoding="utf-8"), path.name)
    assert len(notebook.loads) == 3
    assert len(notebook.connections) == 1
    assert len(notebook.of(CellKind.LOAD_EXT)) == 1
    assert notebook.language == "python"


def test_a_load_cells_options_body_and_lines_are_those_of_the_magic():
    notebook = read_notebook(
        as_json("\n\n%%hwm_load job --node a b --param since=2024-01-01 --run\nread: 1\nwrite: 2")
    )
    (cell,) = notebook.loads
    assert cell.body == "read: 1\nwrite: 2"
    assert cell.offset == 3  # two empty lines and the magic's own: `read` stands on the cell's line 4
    options = cell.options
    assert (options.var, options.node, options.param, options.run) == (
        "job",
        ["a", "b"],
        ["since=2024-01-01"],
        True,
    )


def test_a_source_written_as_a_list_of_lines_is_the_same_cell():
    raw = json.loads(as_json(ORDERS))
    raw["cells"][0]["source"] = ORDERS.splitlines(keepends=True)
    assert read_notebook(json.dumps(raw)).cells == read_notebook(as_json(ORDERS)).cells


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("%load_ext hwm_magics", "load_ext"),
        ("# the magics\n%load_ext hwm_magics  # incremental loads\n", "load_ext"),
        ("%reload_ext hwm_magics", "load_ext"),
        ("import pandas\n%load_ext hwm_magics", "code"),
        ("%load_ext sql", "code"),
        ("%hwm_connections test", "code"),
        ("%%hwm_connections", "connections"),
        ("%%hwm_load", "load"),
        ("%%hwm_loads\nread: 1", "code"),
        ("# a comment above\n%%hwm_load\nread: 1", "code"),
        ("%%time\nx = 1", "code"),
        (tagged("%%hwm_load\nread: 1"), "load"),
        (tagged("since = 2", "injected-parameters"), "injected"),
        ({"source": "%%hwm_load\nread: 1", "cell_type": "raw"}, "text"),
    ],
)
def test_what_a_cell_is(cell, kind):
    assert kinds(cell) == [kind]


def test_a_load_cell_without_a_body_shows_help_and_loads_nothing():
    assert read_notebook(as_json("%%hwm_load", "%%hwm_connections\n  \n")).loads == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("read: {}", "is no notebook"),
        ("[1]", "no nbformat"),
        ('{"cells": []}', "no nbformat"),
        ('{"nbformat": 3, "worksheets": []}', "format 3"),
        ('{"nbformat": 4, "cells": {}}', "no list"),
        ('{"nbformat": 4, "cells": [1]}', "no list"),
        ("[" * 100_000, "is no notebook"),
    ],
)
def test_what_is_no_notebook_is_refused_with_its_name(text, told):
    with pytest.raises(ConfigError, match=told) as caught:
        read_notebook(text, "orders.ipynb")
    assert "orders.ipynb" in caught.value.message


def test_a_line_is_read_as_the_magic_reads_it():
    line = "job --node a 'b c' --param x=1 y='2 3' --backfill 1..2 --engine spark --force-first-run --quiet"
    assert read_line(line) == arguments(HwmMagics.hwm_load, line)
    assert {name for names, _ in LOAD for name in names} >= {"var", "--run", "--plan"}


@pytest.mark.parametrize("line", ["--rum", "--engine", "'open", "a b"])
def test_options_that_the_magic_would_refuse_are_refused(line):
    with pytest.raises(ConfigError):
        read_line(line)
