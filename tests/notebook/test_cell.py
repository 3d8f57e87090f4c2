"""What a cell does in each mode: shows, asks, runs, or refuses."""

from __future__ import annotations

import pytest

from hwm_magics.core.decided import Decision
from hwm_magics.errors import BlockedError, ConfigError, SourceConnectionError
from hwm_magics.jobs.states import JobStatus
from hwm_magics.notebook.cell import Front, make_jobs, perform
from hwm_magics.notebook.mode import Asking, Choice, Mode

PATIENCE = 20
ASK = Choice(Mode.ASK, "test", Asking.BUTTONS)
PROMPT = Choice(Mode.ASK, "test", Asking.PROMPT)
NOBODY = Choice(Mode.ASK, "test", None)
RUN = Choice(Mode.RUN, "test")
PLAN = Choice(Mode.PLAN, "test")
DRY = Choice(Mode.DRY_RUN, "test")


class Told:
    """A cell that was performed, and what its reader saw."""

    def __init__(self, loader, screen, *specs):
        self.loader, self.screen, self.specs = loader, screen, specs
        self.lines, self.questions, self.answer, self.jobs, self.card = [], [], "", None, None

    def __call__(self, choice, *, live=True, strict=False, answer=""):
        def ask(question):
            self.questions.append(question)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        self.jobs = make_jobs(self.loader, self.specs, choice, strict=strict)
        front = Front(self.screen, self.lines.append, ask, live=live)
        self.card = perform(self.jobs, choice, front, plan_first=strict)
        return self.jobs

    @property
    def printed(self):
        return "\n".join(self.lines)


@pytest.fixture
def cell(loader, screen, spec):
    return Told(loader, screen, spec())


@pytest.fixture
def pipeline(loader, screen, spec):
    return Told(loader, screen, spec("a"), spec("b", depends_on=("a",)))


def test_plan_shows_and_never_loads(cell, loader, screen):
    assert cell(PLAN).status is JobStatus.PLANNED
    assert loader.loads == []
    assert "INCREMENTAL" in screen.text


def test_plan_does_not_raise_for_a_blocked_plan(cell, loader, screen):
    loader.decisions["orders"] = Decision.BLOCKED
    cell(PLAN)
    assert "BLOCKED" in screen.text


def test_plan_raises_when_planning_itself_fails(cell, loader):
    loader.plan_failures["orders"] = SourceConnectionError("down")
    with pytest.raises(SourceConnectionError):
        cell(PLAN)


def test_run_loads_and_leaves_one_output_with_the_receipt_and_the_plan(cell, screen):
    assert cell(RUN).status is JobStatus.SUCCEEDED
    assert len(screen.outputs) == 1
    assert "1,480 rows written" in screen.html
    assert "its log is at version 17" in screen.html


def test_run_raises_for_a_blocked_plan_and_shows_it(cell, loader, screen):
    loader.decisions["orders"] = Decision.BLOCKED
    with pytest.raises(BlockedError, match="no Delta table"):
        cell(RUN)
    assert "BLOCKED" in screen.html
    assert "FAILED" in screen.html


def test_run_plans_once_unless_it_must_not_change_its_mind(cell, loader):
    cell(RUN)
    assert loader.approvals == [None]
    cell(RUN, strict=True)
    assert loader.approvals[1].target.version == 17


def test_run_in_a_terminal_prints_the_plan_and_then_the_receipt(cell, screen):
    cell(RUN, live=False)
    assert screen.outputs == []
    assert cell.lines[0].startswith("INCREMENTAL · orders")
    assert cell.lines[1].startswith("SUCCEEDED · orders: INCREMENTAL: 1,480 rows written")


def test_dry_run_writes_nothing(cell, loader, screen):
    cell(DRY)
    assert loader.loads == [("orders", True)]
    assert "nothing written" in screen.text


def test_a_pipeline_goes_on_past_a_failure_and_raises_in_the_end(pipeline, loader, screen):
    loader.failures["a"] = SourceConnectionError("a is down")
    with pytest.raises(Exception, match="2 of 2 nodes did not load"):
        pipeline(RUN)
    assert "b was not started" in screen.text


def test_with_a_person_in_front_the_cell_waits_for_the_click(cell, loader):
    assert cell(ASK).status is JobStatus.PLANNED
    assert loader.loads == []
    cell.card.buttons["Run"].click()
    cell.jobs.wait(PATIENCE)
    assert cell.jobs.status is JobStatus.SUCCEEDED


def test_with_a_person_in_front_a_blocked_plan_is_shown_and_not_raised(cell, loader, screen):
    loader.decisions["orders"] = Decision.BLOCKED
    assert cell(ASK).status is JobStatus.PLANNED
    assert "Run" not in cell.card.controls.offered
    assert "BLOCKED" in screen.text


def test_with_nothing_to_do_the_job_has_succeeded_at_once(cell, loader):
    loader.decisions["orders"] = Decision.NO_CHANGES
    assert cell(ASK).status is JobStatus.SUCCEEDED
    assert cell.jobs[0].wait().status == "nothing_new"


def test_a_wrong_configuration_fails_the_cell_whoever_is_there(pipeline, loader):
    loader.plan_failures["b"] = ConfigError("there is no connection named 'shop'")
    with pytest.raises(ConfigError):
        pipeline(ASK)


def test_with_a_person_in_front_one_node_that_fails_leaves_the_others_to_run(loader, screen, spec):
    cell = Told(loader, screen, spec("a"), spec("b"))
    loader.plan_failures["a"] = SourceConnectionError("a is down")
    cell(ASK)
    assert "a is down" in screen.text
    cell.card.buttons["Run"].click()
    assert cell.jobs.join(PATIENCE)
    assert [each.status.value for each in cell.jobs] == ["FAILED", "SUCCEEDED"]


def test_where_nobody_can_be_asked_the_plan_is_shown_and_the_cell_fails(cell, loader, screen):
    with pytest.raises(BlockedError, match="nobody can be asked here"):
        cell(NOBODY)
    assert loader.loads == []
    assert "INCREMENTAL" in screen.text


@pytest.mark.parametrize("answer", ["y", "Y", "yes", " YES "])
def test_a_terminal_asks_and_a_yes_loads(cell, answer):
    assert cell(PROMPT, live=False, answer=answer).status is JobStatus.SUCCEEDED
    assert cell.questions == ["Run this load? [y/N] "]
    assert "1,480 rows written" in cell.printed


@pytest.mark.parametrize("answer", ["", "n", "no", "yess", EOFError(), KeyboardInterrupt()])
def test_a_terminal_asks_and_anything_else_than_a_yes_loads_nothing(cell, loader, answer):
    assert cell(PROMPT, live=False, answer=answer).status is JobStatus.CANCELLED
    assert loader.loads == []
    assert "nothing was written" in cell.printed


def test_a_terminal_asks_nothing_when_there_is_nothing_to_load(cell, loader):
    loader.decisions["orders"] = Decision.BLOCKED
    cell(PROMPT, live=False)
    assert cell.questions == []


@pytest.mark.parametrize(("answer", "loaded"), [("raw/orders", True), ("y", False), ("orders", False)])
def test_a_full_reload_in_a_terminal_needs_the_typed_name_of_its_target(loader, screen, spec, answer, loaded):
    cell = Told(loader, screen, spec(force_first_run=True))
    loader.decisions["orders"] = Decision.FULL_RELOAD
    cell(PROMPT, live=False, answer=answer)
    assert cell.questions == ["Type raw/orders to replace all its rows: "]
    assert bool(loader.loads) is loaded
