"""Loads as spans and metrics, where OpenTelemetry is used; elsewhere nothing of it is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.shop import ORDERS, Project

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CHECKOUT = str(HERE.parents[1])
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALUE = "2024-06-03"


def run(folder, *words, **environment):
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": CHECKOUT, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What a plan, a load, an idle load and a failing one told, started within a trace."""
    project = Project(tmp_path_factory.mktemp("traced"))
    project.file()
    project.file(ORDERS.replace("table: orders", "table: oders"), "wrong.yaml")
    commands = (["plan", "orders.yaml", "--quiet"], ["run", "orders.yaml", "--quiet"])
    words = (*commands, commands[1], ["run", "wrong.yaml", "--quiet"])
    out = run(
        project.folder,
        str(HERE / "traced.py"),
        *map(json.dumps, words),
        TRACEPARENT=f"00-{TRACE}-{SPAN}-01",
    )
    return json.loads(out.splitlines()[-1])


def spans(run):
    """The spans of a run by their names, each with the name of what it is below."""
    names = {each["context"]["span_id"]: each["name"] for each in run["spans"]}
    above = {each["name"]: names.get(each["parent_id"] or "") for each in run["spans"]}
    return {each["name"]: each for each in run["spans"]}, above


def test_a_load_is_a_span_with_its_steps_below_it(told):
    found, above = spans(told["runs"][1])
    assert above == {
        "hwm.load": None,
        "hwm.observe": "hwm.load",
        "hwm.plan": "hwm.load",
        "hwm.execute": "hwm.load",
        "hwm.commit": "hwm.load",
    }
    attributes = found["hwm.load"]["attributes"]
    run_id = attributes.pop("hwm.run_id")
    assert len(run_id) == 36
    assert attributes.pop("hwm.bytes") > 0
    assert attributes == {
        "hwm.node": "load_orders",
        "hwm.target": "raw/orders",
        "hwm.mode": "append",
        "hwm.engine": "pandas",
        "hwm.decision": "FIRST RUN",
        "hwm.status": "loaded",
        "hwm.rows.read": 3,
        "hwm.rows.recognised": 0,
        "hwm.rows.written": 3,
        "hwm.rows.updated": 0,
        "hwm.rows.late": 0,
        "hwm.version.after": 1,
        "hwm.files": 1,
        "hwm.retries": 0,
    }
    assert found["hwm.observe"]["attributes"]["hwm.target.existence"] == "absent"


def test_a_load_continues_the_trace_that_its_process_was_started_within(told):
    for each in told["runs"]:
        assert {span["context"]["trace_id"] for span in each["spans"]} == {f"0x{TRACE}"}
    found, _ = spans(told["runs"][1])
    assert found["hwm.load"]["parent_id"] == f"0x{SPAN}"


def test_a_plan_is_told_without_a_load(told):
    found, _ = spans(told["runs"][0])
    assert set(found) == {"hwm.observe", "hwm.plan"}
    assert found["hwm.plan"]["attributes"]["hwm.decision"] == "FIRST RUN"


def test_a_failure_is_told_by_its_class(told):
    assert told["runs"][3]["code"] == 4
    found, _ = spans(told["runs"][3])
    assert found["hwm.load"]["attributes"]["error.type"] == "QueryError"
    assert found["hwm.load"]["status"] == {"status_code": "ERROR", "description": "QueryError"}


def test_no_span_and_no_metric_holds_sql_or_values(told):
    text = json.dumps(told)
    for secret in ("SELECT", VALUE, "oders", "shop.db"):
        assert secret not in text


def test_rows_and_durations_are_metrics(told):
    (scope,) = told["metrics"]["resource_metrics"][0]["scope_metrics"]
    found = {each["name"]: each for each in scope["metrics"]}
    assert scope["scope"]["name"] == "hwm_magics"
    (written,) = found["hwm.rows.written"]["data"]["data_points"]
    assert (written["value"], found["hwm.rows.written"]["unit"]) == (3, "{row}")
    assert written["attributes"] == {
        "hwm.node": "load_orders",
        "hwm.engine": "pandas",
        "hwm.decision": "FIRST RUN",
        "hwm.status": "loaded",
    }
    points = found["hwm.load.duration"]["data"]["data_points"]
    assert found["hwm.load.duration"]["unit"] == "s"
    assert sorted(each["attributes"].get("error.type", "") for each in points) == ["", "", "QueryError"]
    assert found["hwm.rows.late"]["data"]["data_points"][0]["value"] == 0


def test_where_nobody_uses_it_it_is_not_imported(tmp_path):
    Project(tmp_path).file()
    code = (
        "import sys, hwm_magics.cli\n"
        "try: hwm_magics.cli.cli(['run', 'orders.yaml', '--quiet'])\n"
        "except SystemExit as done: print(done.code, 'opentelemetry' in sys.modules)"
    )
    assert run(tmp_path, "-c", code) == "0 False\n"


def test_where_it_is_asked_for_and_not_installed_a_load_is_as_ever(tmp_path):
    Project(tmp_path).file()
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "opentelemetry.py").write_text("raise ImportError\n")
    told = run(
        tmp_path,
        "-m",
        "hwm_magics.cli",
        "run",
        "orders.yaml",
        OTEL_SERVICE_NAME="nightly",
        PYTHONPATH=os.pathsep.join([str(tmp_path / "without"), CHECKOUT]),
    )
    assert "3 rows written" in told
