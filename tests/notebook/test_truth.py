"""What a card says, held against real tables: the undo that it offers, and a cancel around the commit."""

from __future__ import annotations

import shlex
import threading
from dataclasses import replace

import pytest
from fakes.shop import ORDERS

import hwm_magics
from hwm_magics.jobs.context import LoadContext
from hwm_magics.jobs.load_job import LoadJob, Sampling
from hwm_magics.jobs.report import job_receipt, job_text
from hwm_magics.jobs.states import JobStatus

PATIENCE = 60


@pytest.fixture
def real(project):
    """A job of the project's orders on real tables; a failpoint may be given."""

    def make(failpoint=None, **options) -> LoadJob:
        context = LoadContext(project.folder)
        workspace = context.workspace
        if failpoint is not None:
            workspace = replace(workspace, failpoint=failpoint)
        return LoadJob(workspace, context.read(ORDERS).loads[0], **options)

    return make


def undo(job: LoadJob) -> None:
    """Do what the job's receipt says, as a reader would."""
    words = shlex.split(job_receipt(job).undo_code)
    assert words[:4] == ["%hwm_rollback", "--node", job.spec.node, "--to"]
    hwm_magics.rollback(job.spec, to=int(words[4])).run()


def test_the_undo_of_a_receipt_brings_the_version_before_back_and_the_next_run_loads_again(real, project):
    real().run()
    project.add(4)
    second = real()
    second.run()
    assert project.ids() == [1, 2, 3, 4]
    undo(second)
    assert project.ids() == [1, 2, 3]
    third = real()
    third.run()
    assert third.result.rows_written == 1
    assert project.ids() == [1, 2, 3, 4]


def test_the_undo_of_a_first_run_leaves_an_empty_table_that_is_loaded_anew(real, project):
    first = real()
    first.run()
    undo(first)
    assert project.ids() == []
    assert real().prepare().decision.value == "FIRST RUN"


def test_a_cancel_that_comes_during_the_commit_ends_in_what_the_log_says(real, project):
    phases = []
    job = real(lambda name: job.cancel() if name == "before_put" else None, background=True)
    job.prepare()
    job.on_change(lambda: phases.append(job.progress.phase if job.progress else ""))
    job.run()
    job.wait(PATIENCE)
    assert job.status is JobStatus.SUCCEEDED
    assert project.ids() == [1, 2, 3]
    assert "the cancel came too late: the load had been committed" in job_text(job)
    assert list(dict.fromkeys(each for each in phases if each)) == [
        "reading",
        "committing",
        "verifying",
        "finishing",
    ]


def test_a_cancel_that_comes_before_the_last_row_commits_nothing(real, project):
    job = real(lambda name: job.cancel() if name == "mid_read" else None, background=True)
    job.prepare()
    ended = threading.Event()
    job.on_change(lambda: job.status.ended and ended.set())
    job.run()
    assert ended.wait(PATIENCE)
    assert job.status is JobStatus.CANCELLED
    assert project.ids() == []


def test_of_two_jobs_for_one_target_that_were_approved_the_later_one_is_stale(real, project):
    one, two = real(strict=True), real(strict=True)
    one.prepare()
    two.prepare()
    one.run()
    assert two.execute()
    assert two.status is JobStatus.STALE
    assert ("version", "none", "1") in job_receipt(two).moves
    assert two.refresh()
    assert two.status is JobStatus.PLANNED
    assert project.ids() == [1, 2, 3]


def test_rows_are_counted_and_sampled_by_the_source_and_nothing_is_written(real, project):
    job = real(sampling=Sampling(2, ("amount",)))
    job.prepare()
    assert job.count_rows()
    assert job.counted == 3
    assert [row[:2] for row in job.sample.rows] == [("1", "***"), ("2", "***")]
    assert project.ids() == []


def test_recent_loads_come_from_the_target_s_own_log(real, project):
    real().run()
    project.add(4)
    real().run()
    job = real()
    job.prepare()
    assert [record.kind for record in job.recent] == ["incremental", "first_run"]
