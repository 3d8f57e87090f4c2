"""What can't be looked at is unknown, with the evidence: it is no absence, and no first run starts on it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from contract.cases import HeldRowsCase
from fakes.builders import COLUMNS, a_spec
from fakes.source import FakeDatabase, source_of
from fakes.workspace import Bench

import hwm_magics
from hwm_magics.core.observed import Existence
from hwm_magics.errors import TargetUnknownError
from hwm_magics.spark.running import isolated

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65_534
ITEMS = """
read: {connection: items, table: items, incremental: {column: id, lag: 0}}
write: {connection: lake, %s}
engine: spark
"""


@contextmanager
def without_rights(folder) -> Iterator[None]:
    """A folder that can't be looked into; root, who may do everything, becomes somebody else."""
    folder.chmod(0)
    became = os.geteuid() == 0
    if became:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if became:
            os.seteuid(0)
        folder.chmod(0o755)


def unknown(engine, spec) -> str:
    """The evidence of a target that must be unknown."""
    state = engine.open(spec).state
    assert state.existence is Existence.UNKNOWN
    assert state.hint
    with pytest.raises(TargetUnknownError):
        engine.table_exists("lake", path=spec.write.path)
    return state.evidence


@pytest.mark.parametrize("there", [True, False], ids=["a table", "nothing"])
def test_a_folder_without_rights_is_unknown_whether_a_table_is_in_it_or_not(tmp_path, spark, there):
    case = HeldRowsCase(tmp_path)
    if there:
        case.make(COLUMNS, [{"id": 1, "u": None, "v": "a"}], "shut/orders")
    else:
        (case.root / "shut").mkdir()
    with without_rights(case.root / "shut"):
        assert "denied" in unknown(case.engine, a_spec(path="shut/orders")).lower()
    assert case.engine.table_exists("lake", path="shut/orders") is there


def test_a_log_without_rights_is_unknown(tmp_path, spark):
    case = HeldRowsCase(tmp_path)
    case.make(COLUMNS, [{"id": 1, "u": None, "v": "a"}])
    with without_rights(case.root / "orders" / "_delta_log"):
        assert "denied" in unknown(case.engine, a_spec()).lower()


def test_a_restore_that_slips_in_between_the_last_look_and_the_commit_is_told(tmp_path, spark, monkeypatch):
    case = HeldRowsCase(tmp_path)
    database = FakeDatabase(COLUMNS)
    bench = Bench(case.engine, lambda spec: source_of(database, spec))
    database.insert({"id": 1, "u": database.stamp(), "v": "a"})
    bench.load(a_spec())
    first = case.version()
    database.advance(timedelta(hours=1))
    database.insert({"id": 2, "u": database.stamp(), "v": "b"})
    bench.load(a_spec())
    database.advance(timedelta(hours=1))
    database.insert({"id": 3, "u": database.stamp(), "v": "c"})

    def looked(*_):
        case.restore(first)
        return False

    monkeypatch.setattr("hwm_magics.engines.spark_between.has_newer", looked)
    result = bench.load(a_spec())
    restored = result.version_after - 1
    assert any(f"version {restored} (RESTORE) was committed by others" in text for text in result.warnings)
    assert [row["id"] for row in case.rows()] == [1, 3]
    monkeypatch.undo()
    case.restore(restored)
    bench.load(a_spec())
    database.close()
    assert [row["id"] for row in case.rows()] == [1, 2, 3]


@pytest.fixture
def items(tmp_path, monkeypatch):
    """A little SQLite table, and a storage that this Spark has no way to."""
    import sqlite3

    monkeypatch.chdir(tmp_path)
    with sqlite3.connect(tmp_path / "items.db") as db:
        db.execute("CREATE TABLE items (id INTEGER PRIMARY KEY)")
        db.execute("INSERT INTO items VALUES (1)")
    (tmp_path / "hwm.yaml").write_text(
        "connections:\n"
        "  items: {type: sqlite, database: items.db}\n"
        "  lake: {type: s3, bucket: far-away, access_key_id: AKIA0, secret_access_key: not-to-be-seen}\n"
    )
    return tmp_path


def blocked(where: str) -> str:
    """The reason of a plan that must be BLOCKED, and of a load that must not begin."""
    plan = hwm_magics.plan(ITEMS % where)
    assert (plan.decision, plan.blocker.error) == ("BLOCKED", "TargetUnknownError")
    with pytest.raises(TargetUnknownError):
        hwm_magics.load(ITEMS % where)
    return f"{plan.reason} {plan.blocker.hint}"


@pytest.fixture
def catalog_that_is_down(spark):
    """A catalog `down` of the session, whose server does not answer; gives its name."""
    settings = {
        "spark.sql.catalog.down": "org.apache.spark.sql.execution.datasources.v2.jdbc.JDBCTableCatalog",
        "spark.sql.catalog.down.url": "jdbc:postgresql://127.0.0.1:9/metastore",
        "spark.sql.catalog.down.driver": "org.postgresql.Driver",
    }
    for name, value in settings.items():
        spark.conf.set(name, value)
    yield "down"
    for name in settings:
        spark.conf.unset(name)


def test_a_catalog_that_is_down_is_unknown(items, spark, catalog_that_is_down):
    assert "connect to the database" in blocked(f"table: {catalog_that_is_down}.shop.items")


def test_a_catalog_that_is_not_there_is_unknown(items, spark):
    assert "nocatalog" in blocked("table: nocatalog.shop.items").lower()


def test_storage_that_a_session_of_the_users_has_no_way_to_is_unknown_and_the_settings_are_named(
    items, spark, monkeypatch
):
    monkeypatch.setattr("hwm_magics.spark.session.is_own", lambda _session: False)
    reason = blocked("path: raw/items")
    assert "nothing is set on a Spark session that is yours" in reason
    assert "fs.s3a.bucket.far-away.secret.key" in reason
    assert "not-to-be-seen" not in reason
    assert spark.conf.get("fs.s3a.bucket.far-away.secret.key", None) is None


def test_a_session_of_our_own_is_told_of_storage_and_shows_no_secret(items, spark):
    key = "fs.s3a.bucket.far-away.secret.key"
    try:
        assert "org.apache.hadoop:hadoop-aws" in blocked("path: raw/items")
        assert spark.conf.get(key) == "not-to-be-seen"
        shown = dict(map(tuple, spark.sql("SET").collect()))
        assert "redacted" in shown[key]
        with isolated(spark, None, "", storage=True) as (other, _):
            assert other.conf.get(key) == "not-to-be-seen"
    finally:
        for each in [name for name in spark.conf.getAll if name.startswith("fs.")]:
            spark.conf.unset(each)
