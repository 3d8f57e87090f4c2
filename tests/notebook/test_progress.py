"""What a running load shows: often enough for the eye, seldom enough for ears, and never too much work."""

from __future__ import annotations

import re
import threading

import pytest

from hwm_magics.engines.base import Progress
from hwm_magics.notebook.card import Card

PATIENCE = 20


@pytest.fixture
def run(jobs, loader, screen):
    """Run a card whose loader tells of its progress, with a clock that goes on by so much for each; gives what
    its meter showed, and what it said.
    """

    def go(step: float, *, node="orders"):
        now = [0.0]
        made = Card(jobs({node: []}, background=True), screen, clock=lambda: now[0])
        made.show()
        pictures, sentences = [], []
        made.controls.meter.observe(lambda change: change["new"] and pictures.append(change["new"]), "value")
        made.controls.status.observe(lambda change: sentences.append(change["new"]), "value")
        made.jobs.on_change(lambda: now.__setitem__(0, now[0] + step))
        made.buttons["Run"].click()
        made.jobs.wait(PATIENCE)
        return pictures, sentences, made

    return go


def test_at_most_four_pictures_a_second(run, loader):
    loader.progress = [Progress("reading", rows) for rows in range(1, 101)]
    pictures, _, _ = run(0.05)
    # 100 reports, 0.05 s apart by the clock.
    assert 15 <= len([each for each in pictures if " rows" in each]) <= 22


def test_screen_readers_hear_of_a_phase_once_and_then_every_ten_seconds(run, loader):
    loader.progress = [Progress("reading", rows) for rows in range(1, 101)]
    _, sentences, _ = run(0.25)
    said = [each for each in sentences if "reading" in each]
    assert 2 <= len(said) <= 4


def test_the_meter_shows_phase_rows_bytes_and_a_bar_when_the_total_is_known(run, loader):
    loader.progress = [
        Progress("reading", 375, 4_000_000, 1500),
        Progress("committing", 1500, 16_000_000, 1500),
    ]
    pictures, _, _ = run(1)
    assert any("reading · 375 rows of about 1,500 · 4.0 MB" in each for each in pictures)
    bar = next(each for each in pictures if "375 rows" in each)
    assert 'role="progressbar"' in bar
    assert 'aria-valuenow="25"' in bar
    assert "width:25.0%" in bar
    assert any("committing · 1,500 rows" in each for each in pictures)


def test_a_first_load_in_chunks_has_a_bar_of_its_chunks(run, loader):
    loader.progress = [
        Progress("reading", 375, chunk=2, chunks=4),
        Progress("finishing", 500, chunk=2, chunks=4),
    ]
    pictures, _, _ = run(1)
    assert any("chunk 2 of at most 4 · 375 rows" in each for each in pictures)
    assert any('aria-label="Chunks loaded by orders"' in each for each in pictures)
    assert [
        share for share in ("25", "50") if any(f'aria-valuenow="{share}"' in each for each in pictures)
    ] == [
        "25",
        "50",
    ]


def test_without_a_total_there_is_no_bar(run, loader):
    loader.progress = [Progress("reading", 375)]
    pictures, _, _ = run(1)
    assert not any("progressbar" in each for each in pictures)


def test_the_meter_is_gone_when_the_load_has_ended(run, loader):
    loader.progress = [Progress("reading", 375, 0, 1500)]
    _, _, made = run(1)
    assert made.controls.meter not in made.box.children


def test_a_hostile_name_is_text_in_the_meter(run, loader):
    loader.progress = [Progress("reading", 375, 0, 1500)]
    pictures, sentences, _ = run(1, node='"><script>alert(1)</script>')
    assert pictures
    assert not any("<script" in each for each in (*pictures, *sentences))


def test_speed_and_the_time_left_are_told(job, loader, monkeypatch):
    from hwm_magics.jobs.report import progress_line

    loader.gate = threading.Event()
    loader.progress = [Progress("reading", 500, 1_000_000, 1500)]
    made = job(background=True)
    made.run()
    assert loader.entered.wait(PATIENCE)
    monkeypatch.setattr(type(made), "seconds", property(lambda _self: 14.0))
    monkeypatch.setattr(type(made), "reading_seconds", property(lambda _self: 10.0))
    line = progress_line(made)
    loader.gate.set()
    made.wait(PATIENCE)
    assert re.search(r"500 rows of about 1,500 · 1.0 MB · 50 rows/s · 14 s · about 21 s left", line)
