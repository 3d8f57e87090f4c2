"""The card: a summary that stands on its own, controls that start one load, and a receipt in their place."""

from __future__ import annotations

import threading

import pytest

from hwm_magics.core.decided import Decision
from hwm_magics.engines.base import Progress
from hwm_magics.errors import SourceConnectionError
from hwm_magics.jobs.states import JobStatus
from hwm_magics.notebook.card import WIDGET_VIEW, Card, Summary

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
        made = Card(jobs(needs or {"orders": []}, background=True, **changes), screen, clock=clock)
        made.show()
        return made

    return make


def press(card, name):
    card.buttons[name].click()


def test_the_summary_comes_first_and_the_controls_after_it(card, screen):
    made = card()
    assert set(screen.outputs[0]) == {"text/html", "text/markdown", "text/plain"}
    assert "INCREMENTAL" in screen.outputs[0]["text/html"]
    assert screen.outputs[1][WIDGET_VIEW]["model_id"] == made.box.model_id
    assert screen.outputs[1]["text/plain"] == ""
    assert list(made.buttons) == ["Run", "Dry run", "Cancel"]
    assert all(button.tooltip for button in made.buttons.values())


def test_what_happens_is_told_to_screen_readers(card):
    made = card()
    assert 'role="status"' in made.status.value
    assert 'aria-live="polite"' in made.status.value
    assert "Waiting for Run" in made.text
    assert "--run loads without asking" in made.text


def test_a_click_on_run_loads_and_puts_the_receipt_in_place_of_the_controls(card, screen):
    made = card()
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    assert made.box.children == (made.status,)
    assert made.text.startswith("SUCCEEDED · orders: INCREMENTAL: 1,480 rows written")
    assert "SUCCEEDED" in screen.outputs[0]["text/html"]
    assert "1,480 rows written" in screen.outputs[0]["text/markdown"]


def test_the_stored_output_is_brought_up_to_date_before_the_card_says_done(card, screen):
    made = card()
    seen = []
    made.status.observe(lambda change: seen.append((change["new"], screen.html)), "value")
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


def test_cancel_while_loading_says_that_it_stops_and_then_that_nothing_was_written(card, loader, screen):
    loader.gate = threading.Event()
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


def test_cancel_before_the_start_puts_the_plan_away(card, loader, screen):
    made = card()
    press(made, "Cancel")
    assert made.jobs.status is JobStatus.CANCELLED
    press(made, "Run")
    assert loader.loads == []
    assert "Cancelled before it began" in screen.outputs[0]["text/html"]
    assert made.box.children == (made.status,)


def test_a_cancel_after_the_end_changes_nothing(card, screen):
    made = card()
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    before = screen.updates
    press(made, "Cancel")
    assert made.jobs.status is JobStatus.SUCCEEDED
    assert screen.updates == before


def test_a_dry_run_tells_what_it_found_and_leaves_the_controls(card, loader, screen):
    made = card()
    told = threading.Event()
    made.status.observe(lambda change: "nothing written" in change["new"] and told.set(), "value")
    press(made, "Dry run")
    assert told.wait(PATIENCE)
    assert len(made.box.children) > 1
    assert "nothing written" in screen.outputs[0]["text/html"]
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    assert loader.loads == [("orders", True), ("orders", False)]


def test_a_failure_is_told_in_the_card_and_in_the_stored_output(card, loader, screen):
    loader.failures["orders"] = SourceConnectionError("the host is down", hint="start it")
    made = card()
    press(made, "Run")
    assert made.jobs.join(PATIENCE)
    assert "FAILED · SourceConnectionError: the host is down" in made.text
    assert "the host is down" in screen.outputs[0]["text/html"]
    assert "start it" in screen.outputs[0]["text/plain"]


def test_a_target_that_moved_makes_the_card_stale(card, loader, screen):
    made = card()
    loader.version = 18
    press(made, "Run")
    assert made.jobs.join(PATIENCE)
    assert made.jobs.status is JobStatus.STALE
    assert "STALE" in made.text
    assert "version 17" in screen.outputs[0]["text/plain"]


@pytest.mark.parametrize("decision", [Decision.BLOCKED, Decision.NO_CHANGES])
def test_without_anything_to_approve_there_are_no_controls(card, loader, screen, decision):
    loader.decisions["orders"] = decision
    made = card()
    assert made.box is None
    assert len(screen.outputs) == 1
    assert decision.value in screen.text


def test_a_full_reload_starts_only_after_the_target_was_typed(card, loader):
    loader.decisions["orders"] = Decision.FULL_RELOAD
    made = card(force_first_run=True)
    press(made, "Run")
    assert loader.loads == []
    assert "type raw/orders into the field first" in made.text
    made.confirmation.value = "raw/order"
    press(made, "Run")
    assert loader.loads == []
    made.confirmation.value = " raw/orders "
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    assert loader.loads == [("orders", False)]


def test_progress_is_painted_at_most_four_times_a_second(card, loader, clock):
    loader.progress = [Progress("reading", rows) for rows in range(1, 101)]
    made = card()
    painted = []
    made.status.observe(lambda change: painted.append(change["new"]), "value")
    made.jobs.on_change(lambda: setattr(clock, "now", clock.now + 0.05))
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    running = [text for text in painted if "rows ·" in text or (" rows" in text and "SUCCEEDED" not in text)]
    # 100 reports, 0.05 s apart by the clock.
    assert 15 <= len(running) <= 22


def test_an_older_card_is_retired_with_a_note_and_can_start_nothing(card, loader, screen):
    made = card()
    made.retire()
    press(made, "Run")
    assert loader.loads == []
    assert "run again" in screen.outputs[0]["text/plain"]
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


def test_one_card_runs_a_pipeline_in_its_order(card, loader, screen):
    made = card({"a": [], "b": ["a"]})
    press(made, "Run")
    made.jobs.wait(PATIENCE)
    assert [name for name, _ in loader.loads] == ["a", "b"]
    assert screen.outputs[0]["text/plain"].count("1,480 rows written") == 2


def test_html_in_messages_is_escaped_in_the_status_line(card, loader):
    loader.failures["orders"] = SourceConnectionError("<script>alert(1)</script>")
    made = card()
    press(made, "Run")
    assert made.jobs.join(PATIENCE)
    assert "<script>" not in made.status.value
    assert "&lt;script&gt;" in made.status.value


def test_only_core_widgets_are_used_and_no_output_widget(card):
    made = card(force_first_run=True)
    kinds = set()

    def walk(widget):
        kinds.add((widget._model_module, widget._model_name))
        for child in getattr(widget, "children", ()):
            walk(child)

    walk(made.box)
    assert {module for module, _ in kinds} == {"@jupyter-widgets/controls"}
    assert {name for _, name in kinds} == {"HTMLModel", "ButtonModel", "HBoxModel", "VBoxModel", "TextModel"}


def test_a_summary_follows_a_run_and_is_not_painted_for_every_batch(jobs, loader, screen, clock):
    loader.progress = [Progress("reading", rows) for rows in range(1, 101)]
    made = jobs({"orders": []})
    summary = Summary(made, screen, live=True, clock=clock)
    made.on_change(summary.follow)
    made.run()
    assert len(screen.outputs) == 1
    assert "1,480 rows written" in screen.html
    assert screen.updates < 6


def test_a_terminal_is_shown_the_summary_once(jobs, screen):
    made = jobs({"orders": []})
    summary = Summary(made, screen, live=False)
    summary.show()
    made.on_change(summary.follow)
    made.run()
    assert screen.updates == 0
    assert len(screen.outputs) == 1
