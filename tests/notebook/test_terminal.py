"""IPython in a terminal, with a person at its keyboard."""

from __future__ import annotations

import os
import sys

import pytest

pexpect = pytest.importorskip("pexpect", reason="IPython brings it where there are terminals")
pytestmark = pytest.mark.slow

CELL = """\
%%hwm_load job
name: load_orders
read: {connection: shop, table: orders, incremental: {column: updated_at}}
write: {connection: lake, path: raw/orders}

"""


@pytest.fixture
def terminal(project):
    """IPython in a pseudo-terminal, with the extension loaded."""
    words = ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"]
    environment = {**os.environ, "TERM": "dumb", "IPYTHONDIR": str(project.folder / "ipython")}
    child = pexpect.spawn(
        sys.executable, words, env=environment, encoding="utf-8", timeout=60, dimensions=(50, 200)
    )
    child.expect(r"In \[1\]: ")
    child.sendline("%load_ext hwm_magics")
    child.expect(r"In \[2\]: ")
    yield child
    child.close(force=True)


def type_cell(terminal) -> None:
    for line in CELL.split("\n"):
        terminal.sendline(line)


def test_a_cell_of_several_lines_can_be_typed_is_asked_about_and_loads_on_a_yes(terminal, project):
    type_cell(terminal)
    terminal.expect(r"Mode: ask \(a terminal")
    terminal.expect(r"FIRST RUN · load_orders")
    terminal.expect(r"Run this load\? \[y/N\] ")
    assert project.ids() == []
    terminal.sendline("y")
    terminal.expect(r"SUCCEEDED · load_orders: FIRST RUN: 3 rows written")
    terminal.expect(r"Out\[2\]: <LoadJob load_orders: SUCCEEDED, 3 rows written>")
    assert project.ids() == [1, 2, 3]


def test_a_no_loads_nothing(terminal, project):
    type_cell(terminal)
    terminal.expect(r"\[y/N\] ")
    terminal.sendline("")
    terminal.expect("Not run; nothing was written")
    assert project.ids() == []
