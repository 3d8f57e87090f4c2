"""The calls of `import hwm_magics` do what the cell does."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import pytest
import yaml
from fakes.shop import ORDERS, PIPELINE

import hwm_magics
from hwm_magics.errors import (
    ConfigError,
    EngineNotInstalledError,
    HwmError,
    QueryError,
    SourceConnectionError,
    TargetUnknownError,
)


@pytest.mark.parametrize("form", ["text", "mapping", "path", "name", "spec"])
def test_a_load_is_given_as_text_mapping_file_or_spec(project, form):
    path = project.file()
    what = {"text": ORDERS, "mapping": yaml.safe_load(ORDERS), "path": path, "name": "orders.yaml"}.get(form)
    if form == "spec":
        what = hwm_magics.plan(ORDERS).spec
    assert hwm_magics.plan(what).decision == "FIRST RUN"
    assert project.ids() == []
    assert hwm_magics.load(what).rows_written == 3
    assert hwm_magics.load(what).status == "nothing_new"
    assert project.ids() == [1, 2, 3]


def test_a_file_finds_the_hwm_yaml_above_itself(project, tmp_path_factory, monkeypatch):
    folder = project.folder / "loads"
    folder.mkdir()
    (folder / "orders.yaml").write_text(ORDERS)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert hwm_magics.load(folder / "orders.yaml").rows_written == 3


def test_connections_are_given_as_mappings_or_live_objects(project):
    (project.folder / "hwm.yaml").unlink()
    lake = {"type": "local", "root": str(project.folder / "lake")}
    shop = {"type": "sqlite", "database": str(project.folder / "shop.db")}
    assert hwm_magics.load(ORDERS, connections={"shop": shop, "lake": lake}).rows_written == 3
    project.add(4)
    with closing(sqlite3.connect(project.folder / "shop.db", check_same_thread=False)) as live:
        assert hwm_magics.load(ORDERS, connections={"shop": live, "lake": lake}).rows_written == 1
    with pytest.raises(ConfigError, match="'shop' is a int, which is no connection"):
        hwm_magics.plan(ORDERS, connections={"shop": 1, "lake": lake})


def test_a_pipeline_gives_tuples_in_the_order_of_its_dependencies(project):
    assert [plan.spec.node for plan in hwm_magics.plan(PIPELINE)] == ["first", "second"]
    assert [result.node for result in hwm_magics.load(PIPELINE)] == ["first", "second"]
    assert hwm_magics.load(PIPELINE, node="second").node == "second"
    assert len(hwm_magics.status(PIPELINE)) == 2


def test_options_do_what_the_flags_do(project):
    body = ORDERS.replace("raw/orders", '"${folder}/orders"')
    assert hwm_magics.load(body, params={"folder": "raw"}, dry_run=True).status == "dry_run"
    assert project.ids() == []
    hwm_magics.load(body, params={"folder": "raw"})
    assert hwm_magics.plan(ORDERS, force_first_run=True).decision == "FULL RELOAD"
    assert hwm_magics.plan(ORDERS, backfill="2024-06-01..2024-06-02").decision == "BACKFILL"
    assert hwm_magics.load(ORDERS, backfill=("2024-06-01", "2024-06-03")).decision == "BACKFILL"
    with pytest.raises(ConfigError, match="no param 'foldr': did you mean 'folder'"):
        hwm_magics.plan(body, params={"folder": "raw", "foldr": "raw"})


def test_spark_that_is_not_installed_is_said_with_the_command_that_installs_it(project, monkeypatch):
    monkeypatch.setattr("hwm_magics.spark.session.find_spec", lambda _name: None)
    with pytest.raises(EngineNotInstalledError) as caught:
        hwm_magics.plan(ORDERS, engine="spark")
    assert caught.value.hint == "pip install 'hwm-magics[spark]'"
    assert project.ids() == []


def test_status_history_and_watermark_tell_of_the_target(project):
    assert hwm_magics.status(ORDERS).existence == "absent"
    assert hwm_magics.watermark(ORDERS) is None
    hwm_magics.load(ORDERS)
    assert hwm_magics.status(ORDERS).existence == "exists"
    assert [record.kind for record in hwm_magics.history(ORDERS)][:1] == ["first_run"]
    assert hwm_magics.watermark(ORDERS) == "2024-06-03 12:00:00"
    assert hwm_magics.watermark(ORDERS, set="2024-06-04") == "2024-06-04 00:00:00"
    assert hwm_magics.watermark(ORDERS, adopt=True) == "2024-06-03 12:00:00"
    with pytest.raises(ConfigError, match="contradict"):
        hwm_magics.watermark(ORDERS, adopt=True, set="2024-06-04")
    with pytest.raises(ConfigError, match="for one node"):
        hwm_magics.history(PIPELINE)


def test_table_exists_answers_yes_no_or_raises(project):
    assert hwm_magics.table_exists("lake", path="raw/orders") is False
    hwm_magics.load(ORDERS)
    assert hwm_magics.table_exists("lake", path="raw/orders") is True
    (project.folder / "lake" / "notes").mkdir()
    (project.folder / "lake" / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(TargetUnknownError):
        hwm_magics.table_exists("lake", path="notes")


def test_a_job_runs_in_the_background_and_is_waited_for(project):
    job = hwm_magics.job(ORDERS, background=True)
    changes = []
    job.on_change(lambda: changes.append((job.status, threading.current_thread().name)))
    assert job.run().wait(60).rows_written == 3
    assert changes[-1][0] == "SUCCEEDED"
    assert {name for _, name in changes} != {threading.current_thread().name}


def test_errors_leave_in_classes_of_ours(project):
    with pytest.raises(QueryError, match="oders"):
        hwm_magics.load(ORDERS.replace("table: orders", "table: oders"))
    with pytest.raises(ConfigError, match="is empty"):
        hwm_magics.load("")
    with pytest.raises(ConfigError, match=r"nothing\.yaml can't be read"):
        hwm_magics.load("nothing.yaml")
    with pytest.raises(ConfigError, match=r"load\.ipynb can't be read"):
        hwm_magics.load("load.ipynb")


def test_python_prints_no_secret_in_a_traceback(project):
    import traceback

    url = "mysql+nothing://u:hunter2-Tr0ub4dor@127.0.0.1:9/x"
    with pytest.raises(HwmError) as caught:
        hwm_magics.load(ORDERS, connections={"shop": {"type": "sql", "url": url}})
    printed = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in printed


def test_a_sqlite3_connection_of_one_thread_is_refused_with_what_makes_it_work(project):
    with closing(sqlite3.connect(project.folder / "own.db")) as own:
        own.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, at TIMESTAMP)")
        own.execute("INSERT INTO items VALUES (1, '2024-06-01 12:00:00')")
        own.commit()
        text = ORDERS.replace("connection: shop", "connection: own").replace("orders", "items")
        text = text.replace("updated_at", "at")
        with pytest.raises(SourceConnectionError) as caught:
            hwm_magics.load(text, connections={"own": own})
        assert "check_same_thread=False" in (caught.value.hint or "")
    with closing(sqlite3.connect(project.folder / "own.db", check_same_thread=False)) as own:
        assert hwm_magics.load(text, connections={"own": own}).rows_written == 1
