"""Every bad input by every door: refused in a few readable lines, with nothing written and nothing leaked."""

from __future__ import annotations

import re

import pytest
from badinput.cases import CASES
from badinput.conftest import assert_readable, snapshot
from click.testing import CliRunner

import hwm_magics
from hwm_magics import cli, errors

TYPICAL = {
    "a key twice",
    "an unknown connection",
    "a wrong password",
    "a missing table",
    "a cursor of type uuid",
    "a folder of other files",
    "a commit cut short",
    "a whole number that became wider",
}
"""One of each kind: through the other doors, `make quick` tries these only."""

LINE_OF_THE_QUERY = 4
EVERY = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def typical_first(but=lambda _case: False):
    """The cases, save those that a door does not meet."""
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(case, id=name, marks=() if name in TYPICAL else pytest.mark.slow)
            for name, case in CASES.items()
            if not but(case)
        ],
    )


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """A real IPython shell with the extension loaded."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config, ipython_dir=str(tmp_path / "ipython"))
    shell.run_line_magic("load_ext", "hwm_magics")
    yield shell
    InteractiveShell.clear_instance()


def arranged(project, case):
    """The project as the case wants it, and all that must stay as it is."""
    case.arrange(project)
    return snapshot(project.folder), project.run("SELECT * FROM orders ORDER BY id")


def assert_untouched(project, before):
    """Neither the lake nor the source has changed."""
    assert snapshot(project.folder) == before[0]
    assert project.run("SELECT * FROM orders ORDER BY id") == before[1]


def assert_told(case, error, lines, offset):
    """The class, the words and the line that are due."""
    text = "\n".join(lines)
    assert type(error).__name__ == case.error, text
    assert_readable(lines)
    for word in case.words:
        assert word in text, text
    if case.error == "QueryError":
        assert re.search(rf"\(read\.(table|query), line {offset + LINE_OF_THE_QUERY}\)", text), text
    if case.line is not None:
        assert case.line + offset in [problem.line for problem in error.problems], text
    elif not getattr(error, "problems", ()):
        assert error.hint, f"it says nothing about what to do: {text}"


@EVERY
def test_a_call_refuses(project, case, capfd):
    before = arranged(project, case)
    with pytest.raises(errors.HwmError) as caught:
        hwm_magics.load(case.text)
    assert_told(case, caught.value, caught.value.lines(), 0)
    assert_untouched(project, before)
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) <= 3, err
    project.said += [*caught.value.lines(), out, err, repr(caught.value), str(caught.value.args)]


# An empty cell shows the help.
@typical_first(but=lambda case: case.name == "an empty text")
def test_a_cell_refuses(project, case, shell):
    from IPython.utils.capture import capture_output

    before = arranged(project, case)
    with capture_output() as captured:
        outcome = shell.run_cell(f"%%hwm_load --run\n{case.text}", store_history=False)
    error = outcome.error_in_exec
    assert isinstance(error, errors.HwmError)
    assert_told(case, error, error._render_traceback_(), 1)
    assert_untouched(project, before)
    shown = captured.stdout + "".join(str(each.data) for each in captured.outputs)
    assert "Traceback" not in shown
    project.said += [*error._render_traceback_(), shown]


@typical_first()
def test_the_command_fails(project, case):
    file = project.folder / "orders.yaml"
    file.write_text(case.text)
    before = arranged(project, case)
    outcome = CliRunner().invoke(cli.cli, ["run", str(file)])
    assert outcome.exit_code == getattr(errors, case.error).exit_code, outcome.output
    lines = outcome.stderr.splitlines()
    assert_readable(lines)
    for word in (case.error, *case.words):
        assert word in outcome.stderr, outcome.stderr
    assert_untouched(project, before)
    project.said += [outcome.output, outcome.stderr]


# Only a load reads the target's data.
@typical_first(but=lambda case: case.error == "TargetReadError")
def test_a_plan_refuses_or_is_blocked_for_the_same_reason(project, case):
    before = arranged(project, case)
    found, told = planned(case.text)
    assert found == case.error, told
    for word in case.words:
        assert word in told, told
    assert_untouched(project, before)
    project.said.append(told)


def planned(text):
    """The class of error that planning comes to, raised or named by a BLOCKED plan, and its words."""
    try:
        plan = hwm_magics.plan(text)
    except errors.HwmError as error:
        return type(error).__name__, str(error)
    assert plan.decision.value == "BLOCKED", plan
    assert plan.steps == ()
    return plan.blocker.error, f"{plan.blocker.message} {plan.blocker.hint}"
