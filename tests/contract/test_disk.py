"""What only tables on disk have: folders, files that crashes leave, and a catalog in files."""

from __future__ import annotations

import json
import os
import threading

import pytest
from contract.cases import CASES, DiskCase, SparkCase
from deltalake import DeltaTable
from fakes.builders import COLUMNS, a_spec
from fakes.workspace import Bench

from hwm_magics.core.decided import MANY_SMALL_FILES
from hwm_magics.core.observed import Existence
from hwm_magics.engines import spark_execute
from hwm_magics.engines.local_catalog import FOLDER, LocalCatalog
from hwm_magics.errors import BlockedError, CommitError, ConfigError, TargetUnknownError

ON_DISK = [name for name, kind in CASES.items() if issubclass(kind, DiskCase)]


@pytest.fixture(params=ON_DISK)
def case(request, tmp_path):
    """An engine that writes tables on disk."""
    made = CASES[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def bench(case, sources):
    """The application over it."""
    return Bench(case.engine, sources)


def a_row(db, number=1):
    return {"id": number, "u": db.stamp(), "v": "a"}


ABSENT = {
    "an empty folder": [],
    "an empty log": ["_delta_log/"],
    "a creation that died before its commit": ["_delta_log/00000000000000000000.json#1"],
    "two creations that died": [
        "_delta_log/00000000000000000000.json#1",
        "_delta_log/00000000000000000000.json#2",
    ],
}
UNKNOWN = {
    "a log that lost its commits": ["_delta_log/", "part-0.parquet"],
    "a checkpoint without its table": ["_delta_log/_last_checkpoint"],
    "a second commit that died": ["_delta_log/00000000000000000001.json#1"],
    "a hidden file": [".DS_Store"],
    "a folder": ["date=2024-06-01/"],
}


def lay_out(case, names):
    folder = case.root / "orders"
    folder.mkdir()
    for name in names:
        place = folder / name
        if name.endswith("/"):
            place.mkdir(parents=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("{}")


@pytest.mark.parametrize("what", list(ABSENT))
def test_folders_without_a_table_and_without_anything_else_are_absent(case, bench, db, what):
    lay_out(case, ABSENT[what])
    assert case.engine.open(a_spec()).state.existence is Existence.ABSENT
    db.insert(a_row(db))
    bench.load(a_spec())
    assert case.rows() == [a_row(db)]


@pytest.mark.parametrize("what", list(UNKNOWN))
def test_folders_that_hold_something_else_are_unknown(case, bench, what):
    lay_out(case, UNKNOWN[what])
    before = case.state()
    assert bench.plan(a_spec()).blocker.error == "TargetUnknownError"
    assert case.state() == before


def test_a_link_out_of_the_lake_is_refused(case, bench, tmp_path):
    (tmp_path / "outside").mkdir()
    (case.root / "orders").symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match="symbolic link"):
        bench.plan(a_spec())


def test_a_restore_to_a_moment_may_mean_another_version_than_the_log_tells(case, bench, db):
    """Engines go by the commit files' times, and those change when a table is copied."""
    moments = []
    for number in (1, 2, 3):
        db.insert(a_row(db, number))
        bench.load(a_spec())
        moments.append(bench.history(a_spec(), 1)[0].committed_at)
        db.advance(db.stamp().resolution * 10**9)
    commits = sorted((case.root / "orders" / "_delta_log").glob("*.json"))
    for hours, commit in enumerate(commits[2:], 1):
        later = commit.stat().st_mtime + 3600 * hours
        os.utime(commit, (later, later))
    DeltaTable(str(case.root / "orders")).restore(moments[1])
    assert len(case.rows()) == 1
    assert bench.load(a_spec()).rows_written == 2
    assert sorted(row["id"] for row in case.rows()) == [1, 2, 3]


# --- The catalog in files ----------------------------------------------------------------------------


def test_a_damaged_entry_is_unknown_and_not_free(case, bench, db):
    db.insert(a_row(db))
    bench.load(a_spec(register_table="raw.orders"))
    entry = case.root / FOLDER / "raw.orders.json"
    entry.write_text("{")
    for spec in (a_spec(register_table="raw.orders"), _by_name("raw.orders")):
        plan = bench.plan(spec)
        assert (plan.decision, plan.blocker.error) == ("BLOCKED", "TargetUnknownError")
    with pytest.raises(TargetUnknownError):
        case.engine.table_exists("lake", table="raw.orders")


def _by_name(name):
    from dataclasses import replace

    spec = a_spec()
    return replace(spec, write=replace(spec.write, path=None, table=name))


def test_the_listings_name_every_table_for_spark_and_duckdb(case, bench, db):
    db.insert(a_row(db))
    bench.load(a_spec(register_table="raw.orders"))
    bench.load(a_spec(path="it's", register_table="plain"))
    spark = (case.root / FOLDER / "spark.sql").read_text()
    duckdb = (case.root / FOLDER / "duckdb.sql").read_text()
    assert "CREATE SCHEMA IF NOT EXISTS `raw`;" in spark
    assert f"CREATE TABLE IF NOT EXISTS `raw`.`orders` USING DELTA LOCATION '{case.root}/orders';" in spark
    assert f"delta_scan('{case.root}/it''s')" in duckdb
    assert json.loads((case.root / FOLDER / "raw.orders.json").read_text())["path"] == "orders"


@pytest.mark.parametrize("name", ["", "a.b.c.d", "a b", "a/b", "../a", "a;b", "`a`", "a..b", "."])
def test_what_is_no_name_is_refused(tmp_path, name):
    with pytest.raises(ConfigError):
        LocalCatalog(tmp_path).location(name)


def test_of_two_that_claim_one_name_at_once_one_wins(tmp_path):
    catalog = LocalCatalog(tmp_path)
    folders = [tmp_path / f"t{number}" for number in range(8)]
    start, lost = threading.Barrier(len(folders)), []

    def claim(folder):
        start.wait(30)
        try:
            catalog.register("raw.orders", folder)
        except BlockedError:
            lost.append(folder)

    threads = [threading.Thread(target=claim, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(lost) == len(folders) - 1
    assert catalog.location("raw.orders") in set(folders) - set(lost)
    assert [file.name for file in (tmp_path / FOLDER).iterdir() if file.name.startswith(".new")] == []


def test_registering_again_is_fine_and_names_have_no_case(tmp_path):
    catalog = LocalCatalog(tmp_path)
    catalog.register("raw.orders", tmp_path / "orders")
    catalog.register("RAW.orders", tmp_path / "orders")
    assert catalog.names() == {"raw.orders": str(tmp_path / "orders")}


def test_a_lake_that_moved_keeps_its_names(tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    LocalCatalog(old).register("raw.orders", old / "orders")
    old.rename(tmp_path / "new")
    assert LocalCatalog(tmp_path / "new").location("raw.orders") == tmp_path / "new" / "orders"


# --- Many small files ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_small_files_are_compacted_where_asked_and_the_mark_stays(case, bench, db, monkeypatch):
    spec = a_spec(optimize_write=True)
    loads = MANY_SMALL_FILES + 4
    if isinstance(case, SparkCase):  # so many loads would take a minute there
        monkeypatch.setattr(spark_execute, "MANY_SMALL_FILES", 4)
        loads = 6
    for number in range(loads):
        db.insert(a_row(db, number))
        db.advance(db.stamp().resolution * 10**9)
        assert bench.load(spec).warnings == ()
    assert len(case.rows()) == loads
    operations = [text for text in case.log_texts() if '"OPTIMIZE"' in text]
    assert operations
    assert bench.load(spec).status == "nothing_new"


def test_files_that_cannot_be_counted_after_the_commit_are_a_warning(case, bench, db, monkeypatch):
    from hwm_magics.engines.delta_upkeep import DeltaUpkeep
    from hwm_magics.engines.spark_upkeep import SparkUpkeep

    def refuse(_self):
        raise CommitError("the store is away", hint="try again")

    for upkeep in (DeltaUpkeep, SparkUpkeep):
        monkeypatch.setattr(upkeep, "files", refuse)
    spec = a_spec(optimize_write=True)
    db.insert(a_row(db, 1))
    found = bench.load(spec)
    assert found.status == "loaded"
    (warning,) = found.warnings
    assert "the load is committed, and optimizing failed: the store is away" in warning
    assert len(case.rows()) == 1
    assert bench.load(spec).status == "nothing_new"


def test_a_column_list_that_repeats_a_name_never_reaches_the_disk(case, bench, sources):
    from fakes.source import FakeDatabase

    from hwm_magics.core.observed import Column

    database = FakeDatabase((*COLUMNS, Column("w", "long")))
    sources.database = database
    database.columns = (*COLUMNS, Column("V", "long"))
    before = case.state()
    assert bench.plan(a_spec()).blocker.error == "SchemaMismatchError"
    assert case.state() == before
    database.close()


def test_a_table_whose_log_has_no_statistics_is_not_empty(case, bench, db):
    case.make(COLUMNS, [{"id": 1, "u": None, "v": "a"}])
    for commit in (case.root / "orders/_delta_log").glob("*.json"):
        lines = [json.loads(line) for line in commit.read_text().splitlines()]
        for line in lines:
            line.get("add", {}).pop("stats", None)
        commit.write_text("\n".join(map(json.dumps, lines)) + "\n")
        (commit.parent / f".{commit.name}.crc").unlink(missing_ok=True)
    assert case.engine.open(a_spec()).state.has_rows is True
    db.insert(a_row(db))
    assert bench.plan(a_spec()).decision == "BLOCKED"
