"""The static part of a card: shown once, brought up to date in its place, small, and with a sample where asked."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

import pytest

from hwm_magics.core.observed import CommitRecord
from hwm_magics.engines.base import Progress
from hwm_magics.errors import ConfigError
from hwm_magics.jobs.load_job import LoadJob, Sampling
from hwm_magics.jobs.load_jobs import LoadJobs
from hwm_magics.notebook.summary import Summary


def record(version, rows, kind="incremental"):
    return CommitRecord(
        version, datetime(2026, 11, version, 9), "orders", f"r-{version}", kind, version,
        metrics={"num_added_rows": rows},
    )  # fmt: skip


def test_it_follows_a_run_and_is_not_painted_for_every_batch(jobs, loader, screen):
    loader.progress = [Progress("reading", rows) for rows in range(1, 101)]
    made = jobs({"orders": []})
    summary = Summary(made, screen, live=True, clock=lambda: 0.0)
    made.on_change(summary.follow)
    made.run()
    assert len(screen.outputs) == 1
    assert "1,480 rows written" in screen.html
    assert screen.updates < 8


def test_a_terminal_is_shown_it_once(jobs, screen):
    made = jobs({"orders": []})
    summary = Summary(made, screen, live=False)
    summary.show()
    made.on_change(summary.follow)
    made.run()
    assert screen.updates == 0
    assert len(screen.outputs) == 1


def test_recent_loads_are_a_picture_with_its_numbers_as_text(jobs, loader, screen):
    loader.records = (record(3, 500), record(2, 1000), record(1, 0, "first_run"))
    Summary(jobs({"orders": []}), screen, live=True).show()
    page, text = screen.outputs[0]["text/html"], screen.outputs[0]["text/plain"]
    assert page.count('aria-hidden="true"') == 3
    assert "width:50.0%" in page
    assert "1,000 rows" in page
    assert "first run" in page
    rows = [line for line in text.splitlines() if "█" in line]
    assert [line.count("█") for line in rows] == [8, 16]


@pytest.fixture
def sampled(loader, spec, screen):
    def show(rows=5, *masked):
        job = LoadJob(loader, spec(), sampling=Sampling(rows, masked))
        made = LoadJobs([job])
        made.prepare()
        Summary(made, screen, live=True).show()
        return screen.outputs[0]

    return show


def test_no_row_is_shown_unless_it_was_asked_for(jobs, loader, screen):
    made = jobs({"orders": []})
    loader.rows = None
    Summary(made, screen, live=True).show()
    assert "Sample" not in screen.text


def test_a_sample_is_shown_in_all_three_forms(sampled):
    shown = sampled(2)
    assert "Sample of what will be read, 2 rows" in shown["text/plain"]
    assert "<td>2</td><td>NULL</td>" in shown["text/html"]
    assert "| 2 | NULL |" in shown["text/markdown"]
    assert "<td>3</td>" not in shown["text/html"]


def test_masked_columns_show_no_value(sampled):
    shown = sampled(3, "name")
    for each in shown.values():
        assert "name masked" in each
    assert "<td>1</td><td>***</td>" in shown["text/html"]


def test_all_columns_can_be_masked(sampled):
    assert "<td>***</td><td>***</td>" in sampled(3, "*")["text/html"]


def test_a_mask_for_a_column_that_is_not_there_is_refused(sampled):
    with pytest.raises(ConfigError, match="no such column: did you mean 'name'"):
        sampled(3, "nme")


def test_long_values_are_cut(sampled, loader):
    import pyarrow as pa

    loader.rows = pa.table({"name": ["x" * 5000]})
    shown = sampled(1)
    assert "x" * 59 + "…" in shown["text/html"]
    assert len(json.dumps(shown)) < 20_000


def test_a_plan_and_its_receipt_take_little_room_in_the_saved_notebook(sampled, loader, spec, screen):
    loader.records = tuple(record(version, version) for version in range(9, 0, -1))
    plan = loader.plan(spec())
    columns = tuple(replace(plan.source.columns[0], name=f"column_{number}") for number in range(200))
    loader.plan_changes["source"] = replace(plan.source, columns=columns)
    shown = sampled(5)
    assert len(json.dumps(shown)) < 60_000
