"""The card: every state and every way from one to the next, with loads that a test steps through."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from hwm_magics.core.decided import Decision
from hwm_magics.core.observed import Existence
from hwm_magics.core.plan import moves
from hwm_magics.engines.base import Progress
from hwm_magics.errors import ConfigError, PlanError, QueryError, SourceConnectionError, StalePlanError
from hwm_magics.jobs.load_job import LoadJob
from hwm_magics.jobs.load_jobs import LoadJobs
from hwm_magics.jobs.settings import Settings
from hwm_magics.jobs.states import MOVES, Errand, JobStatus, Standing
from hwm_magics.notebook.card import Card
from hwm_magics.notebook.controls import WIDGET_VIEW

PATIENCE = 20


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def card(jobs, screen, clock):
    """A card that is shown."""

    def make(needs=None, **changes):
        made = Card(
            jobs(needs or {"orders": []}, background=True, **changes), screen, variable="job", clock=clock
        )
        made.show()
        return made

    return make


def press(card, name):
    card.buttons[name].click()


def offered(card):
    return card.controls.offered


def until(card, true):
    """Press nothing, and wait until the card is as the test wants it."""
    seen = threading.Event()
    card.controls.status.observe(lambda _change: true() and seen.set(), "value")
    stop = card.jobs.on_change(lambda: true() and seen.set())
    assert true() or seen.wait(PATIENCE)
    stop()


def planned(card):
    return card.jobs.status is JobStatus.PLANNED


# What is shown


def test_the_summary_comes_first_and_the_controls_after_it(card, screen):
    made = card()
    assert set(screen.outputs[0]) == {"text/html", "text/markdown", "text/plain"}
    assert "INCREMENTAL" in screen.outputs[0]["text/html"]
    assert screen.outputs[1][WIDGET_VIEW]["model_id"] == made.box.model_id
    assert screen.outputs[1]["text/plain"] == ""
    assert offered(made) == ("Run", "Dry run", "Refresh", "Full reload…", "Cancel")
    assert all(button.tooltip and button.description for button in made.buttons.values())


def test_what_happens_is_told_to_screen_readers(card):
    made = card()
    assert 'role="status"' in made.controls.status.value
    assert 'aria-live="polite"' in made.controls.status.value
    assert "Waiting for Run" in made.text


def test_a_waiting_card_says_what_later_cells_see_and_how_to_wait_for_it(card):
    made = card()
    assert "the cells below see the target as it is" in made.text
    assert "job.wait() in the next cell stops Run All there" in made.text
    assert "--run loads without asking" in made.text
    with pytest.raises(PlanError, match="has not been started"):
        made.jobs[0].wait()


def test_a_blocked_plan_can_be_looked_at_again_and_not_run(card, loader, screen):
    loader.decisions["orders"] = Decision.BLOCKED
    made = card()
    assert offered(made) == ("Refresh", "Full reload…", "Cancel")
    assert "There is nothing to run" in made.text
    del loader.decisions["orders"]
    press(made, "Refresh")
    until(made, lambda: "Run" in offered(made))
    assert "INCREMENTAL" in screen.text


def test_without_anything_to_wait_for_there_are_no_controls(card, loader, screen, jobs):
    loader.decisions["orders"] = Decision.NO_CHANGES
    done = jobs({"orders": []}, background=True)
    done.conclude()
    made = Card(done, screen)
    made.show()
    assert made.box is None
    assert len(screen.outputs) == 1
    assert "NO CHANGES" in screen.html


def test_only_core_widgets_are_used_and_no_output_widget(card, loader):
    loader.decisions["orders"] = Decision.FULL_RELOAD
    made = card(force_first_run=True)
    kinds = set()

    def walk(widget):
        kinds.add((widget._model_module, widget._model_name))
        for child in getattr(widget, "children", ()):
            walk(child)

    walk(made.box)
    assert {module for module, _ in kinds} == {"@jupyter-widgets/controls"}
    assert {name for _, name in kinds} == {"HTMLModel", "ButtonModel", "HBoxModel", "VBoxModel", "TextModel"}


# PLANNED → RUNNING → SUCCEEDED


def test_a_click_on_run_loads_and_puts_the_receipt_in_place_of_the_controls(card, screen):
    made = card()
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    assert offered(made) == ()
    assert made.controls.status in made.box.children
    assert len(made.box.children) == 2
    assert made.text.startswith("SUCCEEDED · orders: INCREMENTAL: 1,480 rows written")
    assert "SUCCEEDED" in screen.outputs[0]["text/html"]
    assert "1,480 rows written" in screen.outputs[0]["text/markdown"]


def test_the_receipt_says_rows_mark_version_run_and_how_to_undo_it(card, screen):
    made = card()
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    page = screen.outputs[0]["text/html"]
    for part in (
        "1,480 written, 1,500 read, 20 of them recognised",
        "2024-06-01 00:00:00 → 2024-06-02 09:14:03.201",
        "17 → 18",
        "run-1",
        "restore version 17",
        "%hwm_rollback --node orders --to 17 --run",
        "papermill",
    ):
        assert part in page


def test_the_stored_output_is_brought_up_to_date_before_the_card_says_done(card, screen):
    made = card()
    seen = []
    made.controls.status.observe(lambda change: seen.append((change["new"], screen.html)), "value")
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    done = [html for text, html in seen if "SUCCEEDED" in text]
    assert done
    assert all("1,480 rows written" in html for html in done)


def test_a_double_click_starts_one_load(card, loader):
    loader.gate = threading.Event()
    made = card()
    threads = [threading.Thread(target=press, args=(made, "Run")) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE)
    loader.gate.set()
    made.jobs.wait(PATIENCE)
    press(made, "Run")
    assert loader.loads == [("orders", False)]


@pytest.mark.parametrize("late", ["Run", "Dry run", "Refresh", "Count", "Full reload…", "Cancel"])
def test_a_click_that_arrives_after_the_end_changes_nothing(card, loader, screen, late):
    made = card()
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    before = screen.updates
    press(made, late)
    assert made.jobs.status is JobStatus.SUCCEEDED
    assert loader.loads == [("orders", False)]
    assert screen.updates == before


def test_a_running_load_dims_the_other_buttons_and_keeps_them_enabled(card, loader):
    loader.gate = threading.Event()
    made = card()
    press(made, "Run")
    assert loader.entered.wait(PATIENCE)
    assert "hwm-off" in made.buttons["Run"]._dom_classes
    assert "hwm-off" not in made.buttons["Cancel"]._dom_classes
    assert not made.buttons["Run"].disabled
    loader.gate.set()
    made.jobs.wait(PATIENCE)


def test_one_card_runs_a_pipeline_in_its_order(card, loader, screen):
    made = card({"a": [], "b": ["a"]})
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    assert [name for name, _ in loader.loads] == ["a", "b"]
    assert screen.outputs[0]["text/plain"].count("1,480 rows written") == 2


# … → FAILED


def test_a_failure_is_told_in_the_card_and_in_the_stored_output(card, loader, screen):
    loader.failures["orders"] = SourceConnectionError("the host is down", hint="start it")
    made = card()
    press(made, "Run")
    assert made.jobs.join(PATIENCE)
    assert made.jobs.status is JobStatus.FAILED
    assert "FAILED · SourceConnectionError: the host is down" in made.text
    assert 'role="alert"' in made.controls.status.value
    assert "the host is down" in screen.outputs[0]["text/html"]
    assert "start it" in screen.outputs[0]["text/plain"]
    assert offered(made) == ()


def test_html_in_messages_is_escaped_in_the_status_line(card, loader):
    loader.failures["orders"] = SourceConnectionError("<script>alert(1)</script>")
    made = card()
    press(made, "Run")
    assert made.jobs.join(PATIENCE)
    assert "<script>" not in made.controls.status.value
    assert "&lt;script&gt;" in made.controls.status.value


# … → CANCELLED


def test_cancel_while_reading_says_that_it_stops_and_then_that_nothing_was_written(card, loader, screen):
    loader.gate = threading.Event()
    loader.progress = [Progress("reading", 10)]
    made = card()
    press(made, "Run")
    assert loader.entered.wait(PATIENCE)
    press(made, "Cancel")
    assert "stopping" in made.text
    loader.gate.set()
    assert made.jobs.join(PATIENCE)
    assert made.jobs.status is JobStatus.CANCELLED
    assert "CANCELLED" in made.text
    assert "nothing was written" in screen.outputs[0]["text/plain"]


def test_cancel_during_the_commit_says_that_it_verifies_and_then_the_truth(card, loader, screen):
    loader.gate = threading.Event()
    loader.progress = [Progress("reading", 1500), Progress("committing", 1500)]
    loader.committed = True
    made = card()
    press(made, "Run")
    assert loader.entered.wait(PATIENCE)
    press(made, "Cancel")
    assert "verifying: the commit had begun, the target's log will tell" in made.text
    loader.gate.set()
    assert made.jobs.join(PATIENCE)
    assert made.jobs.status is JobStatus.SUCCEEDED
    assert "the cancel came too late: the load had been committed" in screen.outputs[0]["text/html"]


def test_cancel_before_the_start_puts_the_plan_away(card, loader, screen):
    made = card()
    press(made, "Cancel")
    assert made.jobs.status is JobStatus.CANCELLED
    press(made, "Run")
    assert loader.loads == []
    assert "cancelled before it began" in screen.outputs[0]["text/html"]
    assert "run the cell again" in screen.outputs[0]["text/html"]
    assert offered(made) == ()


# RUNNING → PLANNED: what loads nothing


def test_a_dry_run_tells_what_it_found_and_leaves_the_controls(card, loader, screen):
    made = card()
    press(made, "Dry run")
    until(made, lambda: "nothing written" in made.text)
    assert "Run" in offered(made)
    assert "nothing written" in screen.outputs[0]["text/html"]
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    assert loader.loads == [("orders", True), ("orders", False)]


def test_a_dry_run_that_is_stopped_leaves_the_plan(card, loader):
    loader.gate = threading.Event()
    made = card()
    press(made, "Dry run")
    assert loader.entered.wait(PATIENCE)
    press(made, "Cancel")
    loader.gate.set()
    until(made, lambda: "The dry run was stopped; nothing was written." in made.text and planned(made))
    loader.gate = None
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    assert made.jobs.status is JobStatus.SUCCEEDED


def test_count_is_offered_where_it_is_not_cheap_and_its_answer_stands_in_the_plan(card, loader, screen):
    loader.plan_changes["source"] = replace(loader.plan(LOAD).source, count=None)
    made = card()
    assert "Count" in offered(made)
    assert "not counted: that would read the source" in screen.outputs[0]["text/plain"]
    press(made, "Count")
    until(made, lambda: "Count" not in offered(made))
    assert "1,500, counted just now" in screen.outputs[0]["text/plain"]
    assert loader.loads == []


def test_a_count_that_fails_is_told_and_the_load_can_still_be_run(card, loader):
    loader.plan_changes["source"] = replace(loader.plan(LOAD).source, count=None)
    loader.counted = QueryError("no such table")
    made = card()
    press(made, "Count")
    until(made, lambda: "Counting failed: QueryError: no such table" in made.text)
    assert "Run" in offered(made)


def test_while_it_counts_nothing_else_can_begin(card, loader):
    loader.plan_changes["source"] = replace(loader.plan(LOAD).source, count=None)
    loader.gate = threading.Event()
    made = card()
    press(made, "Count")
    until(made, lambda: "counting" in made.text)
    press(made, "Run")
    press(made, "Count")
    loader.gate.set()
    until(made, lambda: "Count" not in offered(made))
    assert loader.loads == []
    assert loader.counts == 1


def test_refresh_makes_a_new_plan_in_the_same_place(card, loader, screen):
    made = card()
    loader.version = 18
    press(made, "Refresh")
    until(made, lambda: "(version 18)" in screen.outputs[0]["text/plain"] and planned(made))
    assert len(screen.outputs) == 2
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    assert loader.approvals[-1].target.version == 18


def test_refresh_that_fails_is_told_and_leaves_the_old_plan(card, loader, screen):
    made = card()
    loader.plan_failures["orders"] = SourceConnectionError("the host is down")
    press(made, "Refresh")
    until(made, lambda: "The new look failed: SourceConnectionError: the host is down" in made.text)
    assert "(version 17)" in screen.outputs[0]["text/plain"]
    assert made.jobs.status is JobStatus.PLANNED
    assert "Run" in offered(made)


def test_refresh_that_finds_nothing_to_do_ends_the_card(card, loader, screen):
    made = card()
    loader.decisions["orders"] = Decision.NO_CHANGES
    press(made, "Refresh")
    until(made, lambda: made.jobs.status is JobStatus.SUCCEEDED and offered(made) == ())
    assert made.jobs.join(PATIENCE)
    assert "nothing new" in screen.outputs[0]["text/plain"]


# … → STALE, and back


def test_a_target_that_moved_makes_the_card_stale_with_before_and_after(card, loader, screen):
    made = card()
    loader.version = 18
    press(made, "Run")
    assert made.jobs.join(PATIENCE)
    assert made.jobs.status is JobStatus.STALE
    assert "STALE" in made.text
    assert 'role="alert"' in made.controls.status.value
    page = screen.outputs[0]["text/html"]
    assert '<tr><th scope="row">version</th><td>17</td><td>18</td></tr>' in page
    assert "| version | 17 | 18 |" in screen.outputs[0]["text/markdown"]
    assert offered(made) == ("Refresh", "Cancel")


def test_a_stale_card_is_refreshed_and_then_asks_again(card, loader, screen):
    made = card()
    loader.version = 18
    press(made, "Run")
    assert made.jobs.join(PATIENCE)
    press(made, "Run")
    assert loader.loads == [("orders", False)]
    press(made, "Refresh")
    until(made, lambda: planned(made) and "Run" in offered(made))
    assert made.jobs[0].error is None
    assert "(version 18)" in screen.outputs[0]["text/plain"]
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    assert made.jobs.status is JobStatus.SUCCEEDED


def test_a_stale_card_whose_refresh_fails_stays_stale(card, loader):
    made = card()
    loader.version = 18
    press(made, "Run")
    assert made.jobs.join(PATIENCE)
    loader.plan_failures["orders"] = SourceConnectionError("the host is down")
    press(made, "Refresh")
    until(made, lambda: "the host is down" in made.jobs[0].remark and made.jobs.status is JobStatus.STALE)
    with pytest.raises(StalePlanError):
        made.jobs.wait(PATIENCE)


def test_a_configuration_that_changed_makes_the_card_stale(loader, screen, spec):
    now = spec()
    told = {"write.path": "raw/orders"}

    def reread():
        return Settings(loader, now, dict(told))

    job = LoadJob(loader, now, background=True, strict=True, reread=reread)
    made = Card(LoadJobs([job], background=True), screen)
    made.jobs.prepare()
    made.show()
    told["write.path"] = "raw/elsewhere"
    press(made, "Run")
    assert made.jobs.join(PATIENCE)
    assert made.jobs.status is JobStatus.STALE
    assert loader.loads == []
    page = screen.outputs[0]["text/html"]
    assert '<th scope="row">write.path</th><td>raw/orders</td><td>raw/elsewhere</td>' in page
    now = replace(now, write=replace(now.write, path="raw/elsewhere"))
    press(made, "Refresh")
    until(made, lambda: planned(made) and "Run" in offered(made))
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    assert job.plan.spec.write.path == "raw/elsewhere"


def test_a_configuration_that_can_t_be_read_any_more_makes_the_card_stale(loader, screen, spec):
    broken = []

    def reread():
        if broken:
            raise ConfigError("hwm.yaml: line 3 is no YAML", hint="mend it")
        return Settings(loader, spec(), {})

    job = LoadJob(loader, spec(), background=True, strict=True, reread=reread)
    made = Card(LoadJobs([job], background=True), screen)
    made.jobs.prepare()
    made.show()
    broken.append(True)
    press(made, "Run")
    assert made.jobs.join(PATIENCE)
    assert made.jobs.status is JobStatus.STALE
    assert "line 3 is no YAML" in screen.outputs[0]["text/plain"]


# A full reload


def test_a_full_reload_starts_only_after_the_target_was_typed(card, loader):
    loader.decisions["orders"] = Decision.FULL_RELOAD
    made = card(force_first_run=True)
    assert offered(made)[0] == "Replace all rows"
    press(made, "Replace all rows")
    press(made, "Run")
    assert loader.loads == []
    assert "type raw/orders into the field first" in made.text
    made.controls.confirmation.value = "raw/order"
    press(made, "Replace all rows")
    assert loader.loads == []
    made.controls.confirmation.value = " raw/orders "
    press(made, "Replace all rows")
    made.jobs.wait(PATIENCE)
    assert loader.loads == [("orders", False)]


def test_the_full_reload_of_an_ordinary_card_is_planned_first_then_typed_and_can_be_left_again(
    card, loader, screen
):
    plain = loader.plan

    def plan(spec):
        made = plain(spec)
        return replace(made, decision=Decision.FULL_RELOAD) if spec.force_first_run else made

    loader.plan = plan
    made = card()
    press(made, "Full reload…")
    until(made, lambda: made.controls.confirmation is not None and planned(made))
    assert "Back" in offered(made)
    assert "FULL RELOAD" in screen.outputs[0]["text/plain"]
    press(made, "Back")
    until(made, lambda: made.controls.confirmation is None and planned(made))
    assert "Full reload…" in offered(made)
    assert "INCREMENTAL" in screen.outputs[0]["text/plain"]
    press(made, "Full reload…")
    until(made, lambda: made.controls.confirmation is not None and planned(made))
    made.controls.confirmation.value = "raw/orders"
    press(made, "Replace all rows")
    made.jobs.wait(PATIENCE)
    assert loader.approvals[-1].spec.force_first_run


def test_a_full_reload_is_not_offered_where_there_is_no_target(card, loader):
    target = loader.plan(LOAD).target
    loader.plan_changes["target"] = replace(target, existence=Existence.ABSENT, version=None)
    assert "Full reload…" not in offered(card())


def test_a_full_reload_is_not_offered_for_a_pipeline(card):
    assert "Full reload…" not in offered(card({"a": [], "b": []}))


# Cells that are run again


def test_an_older_card_is_retired_and_can_start_nothing(card, loader, screen):
    made = card()
    made.retire()
    press(made, "Run")
    press(made, "Refresh")
    assert loader.loads == []
    assert "its cell was run again" in screen.outputs[0]["text/plain"]
    assert made.jobs.status is JobStatus.CANCELLED


def test_retiring_a_card_whose_load_runs_leaves_the_load_alone(card, loader):
    loader.gate = threading.Event()
    made = card()
    press(made, "Run")
    assert loader.entered.wait(PATIENCE)
    made.retire()
    loader.gate.set()
    made.jobs.wait(PATIENCE)
    assert made.jobs.status is JobStatus.SUCCEEDED


def test_a_card_that_is_retired_during_a_dry_run_is_put_away_after_it(card, loader):
    loader.gate = threading.Event()
    made = card()
    press(made, "Dry run")
    assert loader.entered.wait(PATIENCE)
    made.retire()
    loader.gate.set()
    until(made, lambda: made.jobs.status is JobStatus.CANCELLED)
    press(made, "Run")
    assert loader.loads == [("orders", True)]


def test_a_stale_card_that_is_retired_can_not_be_refreshed(card, loader):
    made = card()
    loader.version = 18
    press(made, "Run")
    assert made.jobs.join(PATIENCE)
    made.retire()
    press(made, "Refresh")
    assert made.jobs.status is JobStatus.CANCELLED


# The machine itself

LOAD = None


@pytest.fixture(autouse=True)
def a_spec(spec):
    global LOAD  # noqa: PLW0603 - the one load that tests make variations of
    LOAD = spec()


@pytest.mark.parametrize("source", list(JobStatus))
@pytest.mark.parametrize("goal", list(JobStatus))
def test_moves_are_those_that_are_written_down(source, goal):
    standing = Standing()
    ways = {
        JobStatus.PLANNED: [],
        JobStatus.RUNNING: [JobStatus.RUNNING],
        JobStatus.CANCELLED: [JobStatus.CANCELLED],
        JobStatus.FAILED: [JobStatus.FAILED],
        JobStatus.SUCCEEDED: [JobStatus.SUCCEEDED],
        JobStatus.STALE: [JobStatus.RUNNING, JobStatus.STALE],
    }

    def go(status):
        if status is JobStatus.RUNNING:
            standing.begin(Errand.LOAD, list(JobStatus), lambda: None)
        else:
            standing.move(status, list(JobStatus), lambda: None)

    for step in ways[source]:
        go(step)
    assert standing.status is source
    go(goal)
    assert (standing.status is goal) == (goal in MOVES[source] or goal is source)
    assert (standing.errand is not None) == (standing.status is JobStatus.RUNNING)


def test_of_many_threads_one_makes_the_move():
    for _ in range(50):
        standing, start, won = Standing(), threading.Barrier(8), []

        def race(standing=standing, start=start, won=won):
            start.wait(PATIENCE)
            if standing.begin(Errand.LOAD, (JobStatus.PLANNED,), lambda: None):
                won.append(1)

        threads = [threading.Thread(target=race) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(PATIENCE)
        assert won == [1]


def test_what_moved_between_two_plans_is_told_in_words(loader):
    before = loader.plan(LOAD)
    now = replace(
        before,
        decision=Decision.FIRST_RUN,
        target=replace(before.target, version=None),
        before=None,
        source=replace(before.source, columns=()),
    )
    assert moves(before, now) == (
        ("decision", "INCREMENTAL", "FIRST RUN"),
        ("version", "17", "none"),
        ("watermark", "2024-06-01 00:00:00", "none"),
        ("columns", "id long", ""),
    )
    assert moves(before, before) == ()
