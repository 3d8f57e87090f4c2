"""A load runs at most once, tells the truth about how it ended, and keeps the very error."""

from __future__ import annotations

import contextlib
import signal
import threading
from dataclasses import replace

import pytest

from hwm_magics.connections.secrets import Secret
from hwm_magics.core.decided import Decision
from hwm_magics.core.observed import CommitRecord
from hwm_magics.engines.base import Progress
from hwm_magics.errors import (
    BlockedError,
    ConfigError,
    HwmError,
    LoadCancelled,
    PlanError,
    SourceConnectionError,
    StalePlanError,
)
from hwm_magics.interrupts import noted
from hwm_magics.jobs.load_job import LoadJob
from hwm_magics.jobs.load_jobs import LoadJobs
from hwm_magics.jobs.order import in_order
from hwm_magics.jobs.states import JobStatus

PATIENCE = 20


def test_a_load_that_succeeds_gives_its_result_and_says_so(job):
    made = job()
    assert made.status == "PLANNED"
    assert made.run() is made
    assert made.status == "SUCCEEDED"
    assert made.result.rows_written == 1480
    assert made.wait() is made.result
    assert made.error is None
    assert repr(made) == "<LoadJob orders: SUCCEEDED, 1,480 rows written>"


def test_many_threads_that_run_one_job_start_one_load(job, loader):
    loader.gate = threading.Event()
    made = job()
    ready = threading.Barrier(9)

    def click():
        ready.wait(PATIENCE)
        # One that comes after the end is refused.
        with contextlib.suppress(PlanError):
            made.run()

    threads = [threading.Thread(target=click) for _ in range(8)]
    for each in threads:
        each.start()
    ready.wait(PATIENCE)
    assert loader.entered.wait(PATIENCE)
    loader.gate.set()
    for each in threads:
        each.join(PATIENCE)
    assert loader.loads == [("orders", False)]
    assert made.status is JobStatus.SUCCEEDED


def test_a_job_runs_in_the_background_without_blocking_its_caller(job, loader):
    loader.gate = threading.Event()
    made = job(background=True)
    made.run()
    made.run()
    assert made.status is JobStatus.RUNNING
    loader.gate.set()
    assert made.wait(PATIENCE).rows_written == 1480
    assert len(loader.loads) == 1


def test_a_job_that_ended_refuses_a_second_run(job, loader):
    made = job().run()
    with pytest.raises(PlanError, match="ended already: SUCCEEDED"):
        made.run()
    assert len(loader.loads) == 1


def test_waiting_for_a_job_that_nobody_started_is_refused_at_once(job):
    with pytest.raises(PlanError, match="has not been started"):
        job().wait()


def test_waiting_gives_up_after_its_time(job, loader):
    loader.gate = threading.Event()
    made = job(background=True).run()
    with pytest.raises(TimeoutError):
        made.wait(0.01)
    loader.gate.set()
    made.wait(PATIENCE)


def test_the_very_error_is_kept_and_raised(job, loader):
    error = SourceConnectionError("the host is down", hint="start it")
    loader.failures["orders"] = error
    made = job()
    with pytest.raises(SourceConnectionError) as caught:
        made.run()
    assert caught.value is made.error is error
    assert made.status is JobStatus.FAILED
    with pytest.raises(SourceConnectionError):
        made.wait()


def test_an_unexpected_error_is_kept_as_it_is_and_raised_in_a_class_of_ours_without_secrets(job, loader):
    Secret("Tr0ub4dor&3")
    error = ValueError("login with Tr0ub4dor&3 refused")
    loader.failures["orders"] = error
    made = job()
    with pytest.raises(HwmError, match=r"ValueError: login with \*\*\* refused") as caught:
        made.run()
    assert made.error is error
    assert caught.value.__cause__ is None
    assert "Tr0ub4dor" not in str(made.to_dict())


def test_an_error_while_planning_fails_the_job(loader, job):
    loader.plan_failures["orders"] = ConfigError("no such connection")
    made = job(prepared=False)
    with pytest.raises(ConfigError):
        made.prepare()
    assert made.status is JobStatus.FAILED
    assert made.plan is None
    assert "ConfigError" in made._repr_mimebundle_()["text/plain"]


def test_a_blocked_plan_is_returned_by_planning_and_raised_by_running(loader, job):
    loader.decisions["orders"] = Decision.BLOCKED
    made = job()
    assert made.status is JobStatus.PLANNED
    with pytest.raises(BlockedError, match="no Delta table"):
        made.run()
    assert made.status is JobStatus.FAILED


def test_cancel_before_the_start_means_that_it_never_starts(job, loader):
    made = job()
    assert "before it began" in made.cancel()
    assert made.status is JobStatus.CANCELLED
    assert isinstance(made.error, LoadCancelled)
    with pytest.raises(PlanError):
        made.run()
    with pytest.raises(LoadCancelled):
        made.wait()
    assert loader.loads == []


def test_cancel_while_reading_ends_as_cancelled(job, loader):
    loader.gate = threading.Event()
    made = job(background=True).run()
    assert loader.entered.wait(PATIENCE)
    assert "asked to stop" in made.cancel()
    assert made.status is JobStatus.RUNNING
    loader.gate.set()
    with pytest.raises(LoadCancelled, match="nothing was written"):
        made.wait(PATIENCE)
    assert made.status is JobStatus.CANCELLED


def test_cancel_that_comes_too_late_ends_as_succeeded_and_says_so(job, loader):
    loader.gate = threading.Event()
    loader.committed = True
    made = job(background=True).run()
    assert loader.entered.wait(PATIENCE)
    made.cancel()
    loader.gate.set()
    made.wait(PATIENCE)
    assert made.status is JobStatus.SUCCEEDED
    assert "the cancel came too late" in made._repr_mimebundle_()["text/plain"]


def test_cancel_after_the_end_changes_nothing(job):
    made = job().run()
    assert made.cancel() == "the load of orders had ended already: SUCCEEDED"
    assert made.status is JobStatus.SUCCEEDED


def test_an_interrupt_while_reading_is_a_cancel(job, loader):
    loader.failures["orders"] = KeyboardInterrupt()
    loader.progress = [Progress("reading", 10)]
    made = job()
    with pytest.raises(LoadCancelled, match="nothing was written"):
        made.run()
    assert made.status is JobStatus.CANCELLED


def test_an_interrupt_after_the_commit_says_that_the_rows_are_there(job, loader):
    loader.failures["orders"] = KeyboardInterrupt()
    loader.progress = [Progress("reading", 10), Progress("committing", 10)]
    loader.records = (CommitRecord(18, None, "orders", "run-1", "incremental", 2),)
    with pytest.raises(LoadCancelled, match="version 18 holds its rows"):
        job().run()


def test_an_interrupt_around_a_commit_that_did_not_land_says_that_nothing_was_written(job, loader):
    loader.failures["orders"] = KeyboardInterrupt()
    loader.progress = [Progress("committing", 10)]
    loader.records = (CommitRecord(17, None, "orders", "run-0", "incremental", 1),)
    with pytest.raises(LoadCancelled, match="nothing was written"):
        job().run()


def test_a_strict_job_whose_target_moved_is_stale(job, loader):
    made = job(strict=True)
    loader.version = 18
    with pytest.raises(StalePlanError):
        made.run()
    assert made.status is JobStatus.STALE
    assert made.result is None


def test_a_job_that_nobody_approved_takes_the_target_as_it_is(job, loader):
    made = job()
    loader.version = 18
    made.run()
    assert loader.approvals == [None]
    assert made.plan.target.version == 18


def test_a_given_approval_is_what_the_load_is_held_to(job, loader):
    made = job()
    made.run(approved=made.plan)
    assert loader.approvals[0].target.version == 17


def test_after_a_dry_run_the_load_can_still_run(job, loader):
    made = job()
    assert made.check()
    assert made.status is JobStatus.PLANNED
    assert made.checked.status == "dry_run"
    assert "nothing written" in made._repr_mimebundle_()["text/plain"]
    made.run()
    assert loader.loads == [("orders", True), ("orders", False)]


def test_a_dry_run_that_fails_ends_the_job(job, loader):
    loader.failures["orders"] = SourceConnectionError("down")
    made = job()
    made.check()
    assert made.status is JobStatus.FAILED


def test_a_cancelled_dry_run_leaves_the_load_as_it_was(job, loader):
    loader.gate = threading.Event()
    made = job()
    thread = threading.Thread(target=made.check)
    thread.start()
    assert loader.entered.wait(PATIENCE)
    made.cancel()
    loader.gate.set()
    thread.join(PATIENCE)
    assert made.status is JobStatus.PLANNED
    assert made.checked is None
    loader.gate.set()
    made.run()
    assert made.status is JobStatus.SUCCEEDED


def test_a_plan_with_nothing_to_do_is_concluded_without_a_load(job, loader):
    loader.decisions["orders"] = Decision.NO_CHANGES
    made = job()
    assert made.conclude()
    assert made.status is JobStatus.SUCCEEDED
    assert made.wait().status == "nothing_new"
    assert loader.loads == []
    assert not job(spec=made.spec).run().conclude()


def test_an_observer_that_fails_harms_nothing(job, caplog):
    made = job()
    seen = []
    made.on_change(lambda: 1 / 0)
    stop = made.on_change(lambda: seen.append(made.status))
    made.run()
    stop()
    stop()
    assert seen[0] is JobStatus.RUNNING
    assert seen[-1] is JobStatus.SUCCEEDED
    assert "division by zero" in caplog.text


def test_whoever_sees_the_end_sees_the_result(job):
    made = job()
    seen = []
    made.on_change(lambda: seen.append((made.status, made.result is not None)))
    made.run()
    assert all(result for status, result in seen if status is JobStatus.SUCCEEDED)


def test_the_dictionary_of_a_job_holds_plan_result_and_error(job, loader):
    told = job().run().to_dict()
    assert told["status"] == "SUCCEEDED"
    assert told["plan"]["decision"] == "INCREMENTAL"
    assert told["result"]["rows"]["written"] == 1480
    assert told["error"] is None
    loader.failures["orders"] = SourceConnectionError("down", hint="start it")
    made = job()
    with pytest.raises(SourceConnectionError):
        made.run()
    assert made.to_dict()["error"] == {
        "class": "SourceConnectionError",
        "message": "down",
        "hint": "start it",
    }


def test_a_job_shows_itself_whole_and_in_one_line_right_after_its_cell(job):
    made = job().run()
    made.brief = True
    assert made._repr_mimebundle_() == {"text/plain": repr(made)}
    waiting = job()
    waiting.brief = True
    assert waiting._repr_mimebundle_() == {"text/plain": "<LoadJob orders>"}
    whole = made._repr_mimebundle_()
    assert set(whole) == {"text/html", "text/markdown", "text/plain"}
    for text in whole.values():
        assert "1,480" in text


def test_nodes_run_behind_what_they_depend_on(spec):
    loads = [spec("c", depends_on=("b",)), spec("a"), spec("b", depends_on=("a", "elsewhere"))]
    assert [each.node for each in in_order(loads)] == ["a", "b", "c"]


def test_nodes_that_depend_on_each_other_are_refused(spec):
    with pytest.raises(ConfigError, match="circle: a, b"):
        in_order([spec("a", depends_on=("b",)), spec("b", depends_on=("a",))])


def test_a_failure_stops_only_what_depends_on_it(jobs, loader):
    loader.failures["a"] = SourceConnectionError("a is down")
    made = jobs({"a": [], "b": ["a"], "c": [], "d": ["b"]})
    with pytest.raises(HwmError, match="3 of 4 nodes did not load") as caught:
        made.run()
    assert caught.value.exit_code == 4
    assert [each.status.value for each in made] == ["FAILED", "FAILED", "SUCCEEDED", "FAILED"]
    assert "b was not started: a, which it depends on, has failed" in str(made["b"].error)
    assert [name for name, _ in loader.loads] == ["a", "c"]
    assert made.status is JobStatus.FAILED
    assert made.error is made[0].error


def test_the_one_failure_of_several_is_raised_as_it_is(jobs, loader):
    loader.failures["b"] = SourceConnectionError("b is down")
    with pytest.raises(SourceConnectionError, match="b is down"):
        jobs({"a": [], "b": []}).run()


def test_a_double_click_on_several_starts_each_load_once(jobs, loader):
    loader.gate = threading.Event()
    made = jobs({"a": [], "b": []}, background=True)
    started = [made.start() for _ in range(5)]
    assert started == [True, False, False, False, False]
    assert not made.check()
    loader.gate.set()
    made.wait(PATIENCE)
    assert [name for name, _ in loader.loads] == ["a", "b"]
    with pytest.raises(PlanError, match="ended already"):
        made.run()


def test_cancelling_several_stops_the_running_one_and_never_starts_the_others(jobs, loader):
    loader.gate = threading.Event()
    made = jobs({"a": [], "b": []}, background=True)
    made.start()
    assert loader.entered.wait(PATIENCE)
    told = made.cancel()
    assert "a was asked to stop" in told
    assert "b was cancelled before it began" in told
    loader.gate.set()
    assert made.join(PATIENCE)
    assert made.status is JobStatus.CANCELLED
    assert [name for name, _ in loader.loads] == ["a"]


def test_several_are_checked_and_can_run_afterwards(jobs, loader):
    made = jobs({"a": [], "b": []})
    ended = threading.Event()
    made.on_change(lambda: made.status is JobStatus.PLANNED and made["b"].checked and ended.set())
    assert made.check()
    assert ended.wait(PATIENCE)
    made.run()
    assert made.status is JobStatus.SUCCEEDED
    assert [dry for _, dry in loader.loads] == [True, True, False, False]


def test_planning_several_goes_on_past_one_that_fails(jobs, loader):
    loader.plan_failures["a"] = SourceConnectionError("a is down")
    made = jobs({"a": [], "b": ["a"], "c": []})
    assert [each.status.value for each in made] == ["FAILED", "FAILED", "PLANNED"]


def test_planning_several_raises_when_none_is_left(jobs, loader):
    loader.plan_failures["a"] = SourceConnectionError("a is down")
    with pytest.raises(HwmError, match="2 of 2"):
        jobs({"a": [], "b": ["a"]})


@pytest.fixture
def interrupted(interruptible, loader, monkeypatch):
    """Have an interrupt come when a node is planned or loaded."""

    def come(what, node):
        done = getattr(loader, what)

        def do(spec, **options):
            if spec.node == node:
                signal.raise_signal(signal.SIGINT)
            return done(spec, **options)

        monkeypatch.setattr(loader, what, do)

    return come


def test_an_interrupt_while_one_loads_ends_those_that_have_not_begun(jobs, loader, interrupted):
    interrupted("load", "b")
    made = jobs({"a": [], "b": [], "c": []})
    with pytest.raises(HwmError, match="2 of 3 nodes did not load"):
        made.run()
    assert [each.status.value for each in made] == ["SUCCEEDED", "CANCELLED", "CANCELLED"]
    assert loader.loads == [("a", False)]
    assert "was cancelled before it began" in str(made["c"].error)


def test_an_interrupt_while_loads_run_side_by_side_ends_those_that_have_not_begun(jobs, loader, interrupted):
    interrupted("load", "b")
    made = jobs({"a": [], "b": [], "c": ["a", "b"]}, max_parallel=2)
    with pytest.raises(HwmError):
        made.run()
    assert made["c"].status.value in ("CANCELLED", "FAILED")
    assert "c" not in [node for node, _ in loader.loads]


def test_an_interrupt_that_comes_too_late_for_one_ends_the_others(jobs, loader, interruptible, monkeypatch):
    load = loader.load

    def noting(spec, **options):
        if spec.node == "a":
            with noted():
                signal.raise_signal(signal.SIGINT)
        return load(spec, **options)

    monkeypatch.setattr(loader, "load", noting)
    made = jobs({"a": [], "b": []})
    with pytest.raises(LoadCancelled):
        made.run()
    assert [each.status.value for each in made] == ["SUCCEEDED", "CANCELLED"]


def test_an_interrupt_while_one_is_planned_ends_the_planning_of_all(jobs, interrupted):
    interrupted("plan", "b")
    made = jobs({"a": [], "b": [], "c": []}, prepared=False)
    made.prepare()
    assert [each.status.value for each in made] == ["PLANNED", "CANCELLED", "CANCELLED"]
    assert made["c"].plan is None


def test_several_jobs_are_a_sequence_with_names(jobs):
    made = jobs({"a": [], "b": []})
    assert len(made) == 2
    assert made["b"] is made[1]
    assert made[:1] == (made[0],)
    with pytest.raises(KeyError):
        made["c"]
    assert [each["node"] for each in made.to_dict()["nodes"]] == ["a", "b"]
    assert "a: PLANNED, INCREMENTAL; b: PLANNED, INCREMENTAL" in repr(made)
    assert made.plan[0].spec.node == "a"
    assert made.result == (None, None)


def test_what_could_not_be_understood_stands_as_failed_jobs():
    made = LoadJobs((), failure=ConfigError("nonsense"))
    assert made.status == "FAILED"
    assert made.result == ()
    assert isinstance(made.error, ConfigError)
    assert repr(made) == "<LoadJobs FAILED: ConfigError>"
    with pytest.raises(ConfigError):
        made.wait()
    with pytest.raises(ConfigError):
        made.run()


def test_html_in_names_values_and_errors_is_escaped(loader, spec):
    hostile = "<script>alert(1)</script>"
    loader.failures[hostile] = SourceConnectionError(f"no host {hostile}", hint=hostile)
    made = LoadJob(loader, replace(spec(hostile)))
    made.prepare()
    with pytest.raises(SourceConnectionError):
        made.run()
    shown = made._repr_mimebundle_()
    assert "<script>" not in shown["text/html"]
    assert "<script>" not in shown["text/markdown"]
    assert "&lt;script&gt;" in shown["text/html"]


def test_a_secret_with_markdown_and_html_in_it_is_masked_before_it_is_escaped(loader, job):
    secret = "p*w_<&>'\"|`x"
    Secret(secret)
    loader.failures["orders"] = SourceConnectionError(f"tried {secret}")
    loader.plan_changes["warnings"] = (f"warned of {secret}",)
    made = job()
    with pytest.raises(SourceConnectionError):
        made.run()
    for text in made._repr_mimebundle_().values():
        assert "***" in text.replace("\\", "")
        assert "w_" not in text.replace("\\", "")
