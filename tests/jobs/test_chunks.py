"""A first load in chunks through the doors that people and jobs use."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner
from deltalake import DeltaTable
from fakes.shop import ORDERS, Project

from hwm_magics import cli
from hwm_magics.app import Workspace
from hwm_magics.core.decided import Decision
from hwm_magics.engines.base import Progress
from hwm_magics.errors import (
    BlockedError,
    CommitConflictError,
    LoadCancelled,
    QueryError,
    SourceConnectionError,
    StalePlanError,
)
from hwm_magics.jobs.approvals import Approval, settings_hash
from hwm_magics.jobs.context import LoadContext
from hwm_magics.jobs.load_job import LoadJob
from hwm_magics.jobs.report import job_receipt, job_text, progress_line
from hwm_magics.jobs.states import JobStatus

BY_DAYS = f"{ORDERS}  first_run: {{chunk: 1d}}\n"
ALL = list(range(1, 10))


class Shell(Project):
    """A project with orders on nine days, and the command run in its folder."""

    def __init__(self, folder):
        super().__init__(folder)
        self.add(*range(4, 10))

    def __call__(self, command, *words):
        done = CliRunner().invoke(cli.cli, [command, str(self.folder / "orders.yaml"), *words])
        assert "Traceback" not in done.output
        return done

    def job(self, **options):
        """The load as a card or a job has it."""
        context = LoadContext(self.folder)
        (found,) = context.read((self.folder / "orders.yaml").read_text()).loads
        return LoadJob(context.workspace, found, **options)


@pytest.fixture
def hwm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Shell(tmp_path)
    made.file(BY_DAYS)
    return made


@pytest.fixture
def fails(monkeypatch):
    """Has the commits of a number fail; gives the numbers of those that were tried."""
    load, tried = Workspace.load, []

    def prepare(at, error):
        def failing(self, spec, **options):
            tried.append(len(tried) + 1)
            if tried[-1] in at:
                raise error()
            return load(self, spec, **options)

        monkeypatch.setattr(Workspace, "load", failing)
        return tried

    return prepare


def broken(hwm, fails, monkeypatch):
    """Three of eight chunks are committed."""
    fails({4}, lambda: QueryError("the table is locked for good"))
    done = hwm("run", "--retries", "0")
    monkeypatch.undo()
    monkeypatch.chdir(hwm.folder)
    assert done.exit_code == 4
    assert "3 chunks of the first load are committed up to updated_at = 2024-06-04 12:00:00" in done.stderr
    assert hwm.ids() == [1, 2, 3, 4]


def test_a_run_tells_its_chunks(hwm):
    plan = hwm("plan").stdout
    assert "in at most 8 commits" in plan
    assert "at most 8 of 1 d" in plan
    done = hwm("run")
    assert "FIRST RUN: 9 rows written in 8 chunks" in done.stdout
    assert hwm.ids() == ALL
    assert "nothing new" in hwm("run").stdout


def test_the_log_for_machines_tells_at_which_chunk_it_is(hwm, monkeypatch):
    monkeypatch.setattr("hwm_magics.jobs.run_log.PROGRESS_EVERY", 0.0)
    told = [json.loads(line) for line in hwm("run", "--log", "json").stdout.splitlines()]
    assert told[0]["plan"]["chunk"] == {"number": 1, "left": 7, "goal": "2024-06-09 12:00:00"}
    assert [each["event"] for each in told if each["event"] != "progress"] == ["planned", "succeeded"]
    assert all(1 <= each["chunk"] <= each["chunks"] == 8 for each in told if each["event"] == "progress")
    assert told[-1]["result"]["chunks"] == 8


def test_status_and_history_tell_of_a_first_load_that_is_unfinished(hwm, fails, monkeypatch):
    broken(hwm, fails, monkeypatch)
    status = hwm("status").stdout
    assert "first_run, chunk 3" in status
    assert (
        "the first load is unfinished: it has come to 2024-06-04 12:00:00, of 2024-06-09 12:00:00" in status
    )
    assert "first_run, chunk 2" in hwm("history").stdout
    ((newest, *_),) = [json.loads(hwm("history", "--json").stdout)["loads"]]
    assert newest["first_load"] == {"chunk": 3, "goal": "2024-06-09 12:00:00", "unfinished": True}


def test_an_approved_first_load_goes_on_where_it_broke_off(hwm, fails, monkeypatch):
    assert hwm("plan", "--out", "plan.json").exit_code == 0
    broken(hwm, fails, monkeypatch)
    plan = hwm("plan").stdout
    assert plan.startswith("RESUME · load_orders")
    assert hwm("plan", "--detailed-exitcode", "--quiet").exit_code == 2
    done = hwm("run", "--approved", "plan.json")
    assert done.exit_code == 0, done.output
    assert "RESUME: 5 rows written in 5 chunks" in done.stdout
    assert hwm.ids() == ALL


def test_what_was_approved_as_the_rest_of_a_first_load_is_no_first_load(hwm, fails, monkeypatch):
    broken(hwm, fails, monkeypatch)
    assert hwm("plan", "--out", "plan.json").exit_code == 0
    assert hwm("rollback", "--to", "0", "--yes").exit_code == 0
    done = hwm("run", "--approved", "plan.json")
    assert done.exit_code == 3
    assert "approved was RESUME" in done.stderr
    assert hwm.ids() == []


@pytest.mark.parametrize(
    ("approved", "now", "may"),
    [
        (Decision.FIRST_RUN, Decision.RESUME, True),
        (Decision.RESUME, Decision.RESUME, True),
        (Decision.RESUME, Decision.FIRST_RUN, False),
        (Decision.INCREMENTAL, Decision.RESUME, False),
    ],
)
def test_an_approval_lets_a_first_load_go_on_and_nothing_else(hwm, approved, now, may):
    plan = hwm.job().prepare()
    approval = Approval("load_orders", approved, settings_hash(plan.spec), "as it was")
    if may:
        approval.check(replace(plan, decision=now))
        return
    with pytest.raises(StalePlanError):
        approval.check(replace(plan, decision=now))


@pytest.mark.usefixtures("impatient")
def test_a_chunk_that_fails_for_a_moment_is_tried_again_and_the_others_are_not(hwm, fails):
    tried = fails({3, 5}, lambda: SourceConnectionError("connecting to shop: connection refused"))
    done = hwm("run", "--retries", "1")
    assert done.exit_code == 0, done.output
    assert "9 rows written in 8 chunks" in done.stdout
    assert len(tried) == 10


def test_a_rollback_of_a_chunk_goes_back_to_the_mark_before_it(hwm, fails, monkeypatch):
    broken(hwm, fails, monkeypatch)
    told = hwm("rollback", "--yes").stdout
    assert "first_run, chunk 3 of load_orders" in told
    assert hwm.ids() == [1, 2, 3]
    plan = hwm.job().prepare()
    assert (plan.decision, plan.chunk.number, str(plan.before)) == ("RESUME", 3, "2024-06-03 12:00:00")
    assert "6 rows written in 6 chunks" in hwm("run").stdout
    assert hwm.ids() == ALL


def test_a_card_that_was_approved_runs_all_chunks_and_its_receipt_tells_them(hwm):
    job = hwm.job(strict=True)
    job.prepare()
    lines = []
    job.on_change(lambda: lines.append(progress_line(job)) if job.status is JobStatus.RUNNING else None)
    job.run()
    assert job.status == "SUCCEEDED"
    # The plan that was shown is the one that the receipt stands over.
    assert job.plan.decision is Decision.FIRST_RUN
    assert repr(job) == "<LoadJob load_orders: SUCCEEDED, 9 rows written in 8 chunks>"
    told = job_receipt(job)
    assert ("Chunks", "8, each a commit of its own") in told.facts
    assert ("Version", "none → 8") in told.facts
    assert told.undo_code == "%hwm_rollback --node load_orders --to 0 --run"
    assert any("chunk 1 of at most 8" in line for line in lines)
    assert any("chunk 8 of at most 8 · 9 rows" in line for line in lines)


def test_a_cancel_between_two_chunks_is_told_by_the_job(hwm):
    job = hwm.job()
    job.prepare()

    def cancel():
        progress = job.progress
        if progress is not None and (progress.chunk, progress.phase) == (2, "finishing"):
            job.cancel()

    job.on_change(cancel)
    with pytest.raises(LoadCancelled):
        job.run()
    assert job.status == "CANCELLED"
    assert "2 chunks of the first load are committed up to updated_at = 2024-06-03" in job_text(job)
    assert "goes on there" in job_receipt(job).hint
    assert hwm.ids() == [1, 2, 3]


def test_an_interrupt_tells_how_far_the_first_load_has_come(hwm):
    job = hwm.job()
    job.prepare()

    def interrupt(name):
        if name == "after_clock" and job.progress is not None and job.progress.chunk == 3:
            job.progress = Progress("reading", 5, chunk=4, chunks=8)
            raise KeyboardInterrupt

    job._loader.failpoint = interrupt
    with pytest.raises(
        LoadCancelled, match="its first load is committed up to 2024-06-04 12:00:00, of 2024-06-09"
    ):
        job.run()
    assert hwm.ids() == [1, 2, 3, 4]


def test_a_target_that_goes_away_between_two_chunks_ends_the_load(hwm):
    job = hwm.job()
    job.prepare()

    def remove(name):
        if name == "after_commit" and job.progress.chunk == 3:
            shutil.rmtree(hwm.folder / "lake" / "raw")

    job._loader.failpoint = remove
    with pytest.raises(CommitConflictError, match="changed between two chunks of the first load"):
        job.run()
    assert hwm.ids() == []
    assert hwm("run").exit_code == 0
    assert hwm.ids() == ALL


def test_what_blocks_between_two_chunks_ends_the_load_and_tells_how_far_it_has_come(hwm):
    job = hwm.job()
    job.prepare()

    def change(name):
        if name == "after_commit" and job.progress.chunk == 3:
            DeltaTable(hwm.folder / "lake" / "raw" / "orders").update({"amount": "0.0"}, predicate="id = 1")

    job._loader.failpoint = change
    with pytest.raises(BlockedError, match="others changed the target") as caught:
        job.run()
    assert "3 chunks of the first load are committed up to updated_at = 2024-06-04" in caught.value.hint
    assert "of 2024-06-09 12:00:00; the next run goes on there" in caught.value.hint


def test_orders_by_number(hwm):
    hwm.file(BY_DAYS.replace("updated_at}", "id}").replace("1d", "4"))
    assert "9 rows written in 2 chunks" in hwm("run").stdout
    assert hwm.ids() == ALL


def test_a_step_of_the_wrong_kind_is_refused_before_anything_is_read(hwm):
    hwm.file(BY_DAYS.replace("1d", "4"))
    done = hwm("run")
    assert done.exit_code == 3
    assert "write.first_run.chunk 4 is a count, and the cursor is a time" in done.stderr
    assert hwm.ids() == []
