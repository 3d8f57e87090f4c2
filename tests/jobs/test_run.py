"""`hwm run` and `hwm plan` on several nodes: side by side, approved, tried again, told to machines."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing

import pytest
from click.testing import CliRunner
from fakes.shop import ORDERS, PIPELINE, Project
from traps.proxy import CuttingProxy

from hwm_magics import cli
from hwm_magics.app import Workspace
from hwm_magics.connections.objects import recognise
from hwm_magics.core.specs import ReadSpec
from hwm_magics.errors import LoadCancelled
from hwm_magics.jobs.context import LoadContext
from hwm_magics.jobs.load_job import LoadJob
from hwm_magics.jobs.load_jobs import LoadJobs
from hwm_magics.sources.factory import open_source

PATIENCE = 30
SIX = """\
pipeline: nightly
nodes:
  - {name: a, read: {connection: shop, table: orders, incremental: {column: updated_at}}, write: {connection: lake, path: a}}
  - {name: b, read: {connection: shop, table: orders, incremental: {column: updated_at}}, write: {connection: lake, path: b}}
  - {name: c, depends_on: [a], read: {connection: shop, table: nothing, incremental: {column: updated_at}}, write: {connection: lake, path: c}}
  - {name: d, depends_on: [c], read: {connection: shop, table: orders, incremental: {column: updated_at}}, write: {connection: lake, path: d}}
  - {name: e, depends_on: [a, b], read: {connection: shop, table: orders, incremental: {column: updated_at}}, write: {connection: lake, path: e}}
  - {name: f, depends_on: [d, e], read: {connection: shop, table: orders, incremental: {column: updated_at}}, write: {connection: lake, path: f}}
"""  # noqa: E501 - one line a node


class Shell(Project):
    """A project, and the command run in its folder."""

    def __call__(self, command, *words):
        done = CliRunner().invoke(cli.cli, [command, str(self.folder / "orders.yaml"), *words])
        assert "Traceback" not in done.output
        return done


@pytest.fixture
def hwm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Shell(tmp_path)
    made.file(ORDERS)
    return made


def events(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


# Several nodes


def test_a_failure_stops_only_what_depends_on_it_and_a_second_run_does_what_is_left(hwm):
    hwm.file(SIX)
    done = hwm("run")
    assert done.exit_code == 4
    assert [hwm.ids(name) for name in "abe"] == 3 * [[1, 2, 3]]
    assert [hwm.ids(name) for name in "cdf"] == 3 * [[]]
    assert "d was not started: c, which it depends on, has failed" in done.stderr
    assert "3 of 6 loads succeeded" in done.stdout
    hwm.file(SIX.replace("table: nothing", "table: orders"))
    again = hwm("run")
    assert again.exit_code == 0
    assert [hwm.ids(name) for name in "abcdef"] == 6 * [[1, 2, 3]]
    assert "6 of 6 loads succeeded" in again.stdout


def test_all_nodes_are_planned_before_the_first_one_writes(hwm):
    hwm.file(PIPELINE)
    told = [each["event"] for each in events(hwm("run", "--log", "json")) if each["event"] != "progress"]
    assert told == ["planned", "planned", "succeeded", "succeeded"]


@pytest.mark.parametrize(("most", "together"), [("2", True), ("1", False)])
def test_independent_nodes_run_side_by_side_within_the_bound(hwm, monkeypatch, most, together):
    hwm.file(PIPELINE.replace("    depends_on: [first]\n", ""))
    running, seen = set(), []
    both = threading.Event()
    lock = threading.Lock()
    load = Workspace.load

    def slow(self, spec, **options):
        with lock:
            running.add(spec.node)
            seen.append(len(running))
            if len(running) == 2:
                both.set()
        if together:
            assert both.wait(PATIENCE)
        try:
            return load(self, spec, **options)
        finally:
            with lock:
                running.discard(spec.node)

    monkeypatch.setattr(Workspace, "load", slow)
    assert hwm("run", "--max-parallel", most).exit_code == 0
    assert max(seen) == (2 if together else 1)
    assert hwm.ids("raw/first") == hwm.ids("raw/second") == [1, 2, 3]


def test_nodes_of_one_target_never_run_side_by_side(hwm):
    text = PIPELINE.replace("    depends_on: [first]\n", "").replace("raw/second", "raw/first")
    hwm.file(
        text.replace(
            "incremental: {column: updated_at}",
            "incremental: {column: updated_at, initial_value: 2024-01-01}",
        )
    )
    done = hwm("run", "--max-parallel", "4", "--json")
    assert done.exit_code == 0, done.output
    assert [each["result"]["retries"] for each in json.loads(done.stdout)["nodes"]] == [0, 0]


def test_a_load_does_not_make_one_of_the_same_target_stale(hwm):
    text = PIPELINE.replace("raw/second", "raw/first").replace(
        "column: updated_at", "column: updated_at, initial_value: 2024-01-01"
    )
    context = LoadContext(hwm.folder)
    loads = context.read(text).loads
    LoadJobs([LoadJob(context.workspace, load) for load in loads]).run()
    hwm.add(4)
    jobs = LoadJobs([LoadJob(context.workspace, load, strict=True) for load in loads])
    jobs.prepare()
    hwm.add(5)
    jobs.run()
    assert [each.rows_written for each in jobs.result] == [2, 0]
    assert hwm.ids("raw/first") == [1, 2, 3, 4, 5]


def test_loads_through_one_connection_of_the_notebook_wait_for_each_other(hwm):
    opened = threading.Event()
    with closing(sqlite3.connect(hwm.folder / "shop.db", check_same_thread=False)) as shop:
        held = recognise("held", shop)

        def second():
            with open_source(held, ReadSpec("held", table="orders")):
                opened.set()

        other = threading.Thread(target=second)
        with open_source(held, ReadSpec("held", table="orders")):
            other.start()
            assert not opened.wait(0.3)
        assert opened.wait(PATIENCE)
        other.join()


# What was approved


@pytest.fixture
def approved(hwm):
    hwm("run")
    hwm.add(4)
    assert hwm("plan", "--out", "plan.json").exit_code == 0
    return hwm


def test_an_approved_plan_is_carried_out_though_its_window_has_moved(approved):
    approved.add(5)
    assert approved("run", "--approved", "plan.json").exit_code == 0
    assert approved.ids() == [1, 2, 3, 4, 5]
    assert approved("run", "--approved", "plan.json").exit_code == 0


@pytest.mark.parametrize(
    ("change", "words", "told"),
    [
        (lambda text: text, ["--force-first-run"], "this is FULL RELOAD"),
        (lambda text: text.replace("path: raw/orders", "path: raw/others"), [], "this is FIRST RUN"),
        (lambda text: text.replace("updated_at}", "updated_at, lag: 1h}"), [], "settings have changed"),
        (lambda text: text.replace("load_orders", "other"), [], "is not among the plans that were approved"),
    ],
    ids=["a reload", "another target", "another lag", "another node"],
)
def test_nothing_but_what_was_approved_is_carried_out(approved, change, words, told):
    approved.file(change(ORDERS))
    done = approved("run", "--approved", "plan.json", *words)
    assert done.exit_code == 3
    assert told in done.stderr
    assert approved.ids() == [1, 2, 3]
    assert approved.ids("raw/others") == []


@pytest.mark.parametrize("text", [None, "no json", "{}", '{"hwm_magics_plan": 1, "nodes": [{}]}'])
def test_a_file_that_is_no_approved_plan_is_refused(hwm, text):
    if text is not None:
        hwm.file(text, "plan.json")
    done = hwm("run", "--approved", "plan.json")
    assert done.exit_code == 2
    assert "hwm plan FILE --out plan.json" in done.stderr
    assert hwm.ids() == []


def test_a_plan_that_is_blocked_is_no_plan_to_approve(hwm):
    hwm.file("mine", "notes.txt")
    (hwm.folder / "lake" / "raw" / "orders").mkdir(parents=True)
    hwm.file("mine", "lake/raw/orders/notes.txt")
    assert hwm("plan", "--out", "plan.json").exit_code == 4
    assert not (hwm.folder / "plan.json").exists()


# For machines and for the record


def test_json_lines_tell_plan_and_outcome_with_stable_fields(hwm):
    planned, *_, ended = events(hwm("run", "--log", "json"))
    assert (planned["event"], planned["node"], planned["plan"]["decision"]) == (
        "planned",
        "load_orders",
        "FIRST RUN",
    )
    assert ended["event"] == "succeeded"
    assert ended["result"]["rows"]["written"] == 3
    assert all(each["time"].endswith("+00:00") for each in (planned, ended))
    hwm.file(ORDERS.replace("table: orders", "table: oders"))
    (failed,) = events(hwm("run", "--log", "json"))
    assert (failed["event"], failed["error"]["class"]) == ("failed", "QueryError")


def test_the_report_is_a_page_of_its_own(hwm):
    hwm.file(PIPELINE)
    hwm("run", "--report", "run.html")
    page = (hwm.folder / "run.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "2 of 2 loads succeeded" in page
    assert "FIRST RUN" in page
    assert "<script" not in page


# Tried again


@pytest.fixture
def cut(hwm, pg_database):
    """A source behind a line that is cut amid the rows, once."""
    with pg_database.connect() as db:
        db.execute("CREATE TABLE orders (id int PRIMARY KEY, updated_at timestamp NOT NULL, v text)")
        db.execute(
            "INSERT INTO orders SELECT n, timestamp '2024-06-01' + n * interval '1 s', repeat('x', 100)"
            " FROM generate_series(1, 20000) n"
        )
    with CuttingProxy("127.0.0.1", pg_database.port, limit=700_000) as proxy:
        hwm.file(
            "connections:\n"
            f"  shop: {{type: postgres, host: 127.0.0.1, port: {proxy.port}, database: {pg_database.dbname},"
            f" username: {pg_database.user}, password: '{pg_database.password}'}}\n"
            "  lake: {type: local, root: ./lake}\n",
            "hwm.yaml",
        )
        yield proxy


@pytest.mark.slow
def test_a_line_that_was_cut_amid_the_rows_is_tried_again(hwm, cut):
    healed = threading.Thread(target=lambda: cut.cut.wait(PATIENCE) and cut.heal())
    healed.start()
    done = hwm("run", "--log", "json")
    healed.join()
    assert done.exit_code == 0, done.output
    told = [each["event"] for each in events(done) if each["event"] != "progress"]
    assert told == ["planned", "retried", "succeeded"]
    assert hwm.ids() == list(range(1, 20_001))


@pytest.mark.slow
def test_without_retries_the_first_failure_ends_the_run(hwm, cut):
    done = hwm("run", "--retries", "0")
    assert done.exit_code == 4
    assert hwm.ids() == []


def test_what_still_runs_after_its_time_is_stopped_before_the_commit(hwm, monkeypatch):
    def slow(self, spec, *, cancelled, **_options):
        assert cancelled.wait(PATIENCE)
        raise LoadCancelled("the load was cancelled; nothing was written")

    monkeypatch.setattr(Workspace, "load", slow)
    done = hwm("run", "--timeout", "0.1s")
    assert done.exit_code == 130
    assert "(--timeout): stopping before the commit" in done.stderr
    assert hwm.ids() == []


@pytest.mark.parametrize("text", ["soon", "-1s"])
def test_a_time_that_is_none_is_refused(hwm, text):
    done = hwm("run", "--timeout", text)
    assert done.exit_code == 2
    assert "for example: --timeout 2h" in done.stderr


def test_what_cannot_pass_is_not_tried_again(hwm):
    hwm.file(ORDERS.replace("table: orders", "table: oders"))
    done = hwm("run", "--log", "json")
    assert [each["event"] for each in events(done)] == ["failed"]
