"""A Delta table without a cursor column as a source: its versions tell what is new, on both engines."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from files.versions import Table

import hwm_magics
from hwm_magics.core.explain import explain, plan_to_dict
from hwm_magics.errors import (
    BlockedError,
    ConfigError,
    CursorColumnError,
    QueryError,
)
from hwm_magics.jobs.tables import history_table, status_table

UPSERT = "mode: upsert, keys: [id]"
ONCE = "mode: append_once, keys: [id]"
IGNORE = ", options: {changed: ignore}"


@pytest.fixture(params=["pandas", "spark"])
def engine(request):
    if request.param == "spark":
        request.getfixturevalue("spark")
    return request.param


@pytest.fixture
def table(landing, engine):
    return Table(landing, engine)


@pytest.fixture
def quick(landing):
    """For what the engine has no part in."""
    return Table(landing, "pandas")


def test_each_version_is_loaded_once_whatever_is_compacted_between(table):
    table.put(1, 2)
    first = table.load()
    assert (first.rows_written, str(first.watermark_after)) == (2, "0")
    assert table.load().status == "nothing_new"
    table.put(3)
    table.put(4, 5)
    table.opened.optimize.compact()
    table.put(6)
    second = table.load()
    assert (second.rows_written, str(second.watermark_before), str(second.watermark_after)) == (4, "0", "4")
    assert table.load().status == "nothing_new"
    rows = table.landing.rows()
    assert [row["id"] for row in rows] == [1, 2, 3, 4, 5, 6]
    last = rows[-1]
    assert (last["price"], last['odd."name"']) == (Decimal("6.123456789"), "n6")
    assert last["at"] == datetime(9999, 12, 31, 0, 0, 0, 6, tzinfo=UTC)


def test_partition_columns_and_columns_of_later_versions_are_read(table):
    kinds = {
        "day": pa.array([date(2024, 1, 1), None], pa.date32()),
        "part": pa.array(["a b/ü%=", ""], pa.string()),
        "cents": pa.array([Decimal("1.50"), Decimal("2.00")], pa.decimal128(10, 2)),
        "yes": pa.array([True, None], pa.bool_()),
        "since": pa.array([datetime(2024, 1, 1, 1, 2, 3, 456789), None], pa.timestamp("us", "UTC")),
    }

    def put(*numbers, **more):
        rows = pa.table({"id": pa.array(numbers, pa.int64()), **kinds, **more})
        write_deltalake(table.path, rows, mode="append", partition_by=list(kinds), schema_mode="merge")

    put(1, 2)
    table.load()
    put(3, 4)
    put(5, 6, note=pa.array(["new", None]))
    assert table.load().rows_written == 4
    found = {row.pop("id"): row for row in table.landing.rows()}
    assert found[3] == found[1]
    assert found[4] == found[2]
    assert found[3]["cents"] == Decimal("1.50")
    assert found[3]["part"] == "a b/ü%="
    assert found[3]["since"] == datetime(2024, 1, 1, 1, 2, 3, 456789, tzinfo=UTC)
    assert [found[number]["note"] for number in (3, 5, 6)] == [None, "new", None]


def test_columns_and_conditions_choose_among_new_rows(table):
    table.put(1, 2, 3)
    read = ", columns: [id], where: id % 2 = 1"
    table.load(read=read)
    table.put(4, 5)
    assert table.load(read=read).rows_written == 1
    assert table.landing.rows() == [{"id": 1}, {"id": 3}, {"id": 5}]


def test_a_version_that_changed_rows_stops_an_append_and_is_passed_over_where_that_was_asked_for(table):
    table.put(1, 2)
    table.load()
    table.put(3)
    table.opened.update({"price": "0"}, predicate="id = 1")
    table.put(4)
    error = table.blocked(r"version 2 \(UPDATE\) changed or removed rows")
    assert "changed: ignore" in error.hint
    passed = table.load(read=IGNORE)
    assert passed.rows_written == 2
    assert "version 2 (UPDATE) changed or removed rows; what they wrote is not read" in passed.warnings
    assert table.landing.ids() == [1, 2, 3, 4]
    assert table.load().status == "nothing_new"


@pytest.mark.parametrize("write", [UPSERT, ONCE])
def test_keys_tell_what_is_new_where_versions_do_not(table, write):
    table.put(1, 2)
    table.load(write)
    table.put(3)
    assert table.load(write).rows_read == 1
    table.opened.update({"price": "0"}, predicate="id = 1")
    table.put(4)
    plan = table.plan(write)
    assert any(
        "all rows are compared by their keys: version 2 (UPDATE) changed" in note for note in plan.notes
    )
    read = table.load(write).rows_read
    assert read == 4 or (table.engine, write) == ("spark", ONCE)  # which counts what it writes
    assert table.landing.ids() == [1, 2, 3, 4]
    assert table.landing.rows()[0]["price"] == Decimal(0 if write == UPSERT else "1.123456789")
    table.put(5)
    assert table.load(write).rows_read == 1
    assert table.load(write).status == "nothing_new"


def test_rows_that_were_brought_back_are_not_taken_for_new_ones(quick):
    quick.put(1)
    quick.put(2)
    quick.load()
    quick.opened.delete()
    quick.opened.restore(1)
    quick.blocked(r"versions 2 \(DELETE\), 3 \(RESTORE\) changed or removed rows")
    assert quick.load(read=IGNORE).status == "nothing_new"


def test_rows_that_were_only_inserted_by_a_merge_are_new(quick):
    quick.put(1)
    quick.load()
    row = pa.table({"id": pa.array([1, 2], pa.int64())})
    merge = quick.opened.merge(row, "s.id = t.id", source_alias="s", target_alias="t")
    merge.when_not_matched_insert({"id": "s.id"}).execute()
    log = (quick.path / "_delta_log/00000000000000000001.json").read_text()
    assert '"operation":"MERGE"' in log
    assert '{"remove"' not in log
    assert quick.load().rows_written == 1


def test_what_the_log_does_not_tell_is_refused(quick):
    quick.put(1)
    quick.load()
    quick.put(2)
    quick.put(3)
    quick.opened.create_checkpoint()
    (quick.path / "_delta_log/00000000000000000001.json").unlink()
    quick.blocked("no longer tells of version 1, and version 0 was loaded last")
    assert quick.load(UPSERT).rows_read == 3


def test_rows_whose_file_was_removed_before_they_were_loaded_are_refused(quick):
    quick.put(1)
    quick.load()
    quick.put(2)
    quick.put(3)
    quick.opened.optimize.compact()
    assert quick.plan().decision == "INCREMENTAL"
    quick.opened.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    error = quick.blocked("a file that version 1 added was removed before it was loaded")
    assert "--adopt" in error.hint
    assert quick.load(UPSERT).rows_read == 3
    assert quick.landing.ids() == [1, 2, 3]


def test_such_a_file_is_missed_where_changes_are_passed_over_too(quick):
    quick.put(1)
    quick.load()
    quick.put(2)
    quick.opened.update({"price": "0"}, predicate="id = 2")
    assert quick.plan(read=IGNORE).decision == "INCREMENTAL"
    quick.opened.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    quick.blocked("a file that version 1 added was removed before it was loaded", read=IGNORE)


def test_another_table_and_an_older_one_in_its_place_are_refused(quick, tmp_path):
    quick.put(1)
    shutil.copytree(quick.path, tmp_path / "older")
    quick.put(2)
    quick.load()
    quick.path.rename(tmp_path / "newer")
    (tmp_path / "older").rename(quick.path)
    quick.blocked("the table is at version 0, below version 1, which was loaded last")
    quick.path.rename(tmp_path / "older")
    quick.put(7)
    quick.blocked("watermark may mean nothing there")
    hwm_magics.watermark(quick.text(), adopt=True)
    quick.put(8)
    assert quick.load().rows_written == 1
    assert quick.landing.ids() == [1, 2, 8]


def test_a_target_that_was_filled_in_another_way_is_adopted_or_given_a_version(quick):
    quick.put(1)
    quick.put(2)
    quick.landing.root.joinpath("lake/raw").mkdir(parents=True)
    shutil.copytree(quick.path, quick.landing.root / "lake/raw/orders")
    quick.put(3)
    assert "--adopt" in quick.blocked("no load of raw.orders is recorded").hint
    for wrong in ("3", "-1", "x"):
        with pytest.raises(CursorColumnError, match="is no version of the source, whose newest is 2"):
            hwm_magics.watermark(quick.text(), set=wrong)
    assert hwm_magics.watermark(quick.text(), set="1") == "1"
    assert quick.load().rows_written == 1
    assert quick.landing.ids() == [1, 2, 3]


def test_a_watermark_of_a_column_is_no_version(quick):
    quick.put(1)
    quick.load(read=", incremental: {column: id}")
    quick.put(2)
    quick.blocked("has a watermark of id, and none that is a version of t")
    assert quick.load(UPSERT).rows_read == 2
    quick.put(3)
    with pytest.raises(BlockedError, match="recorded watermark is of _commit_version"):
        quick.load(read=", incremental: {column: id}")


def test_the_plan_the_status_and_the_history_tell_of_versions(quick):
    quick.put(1)
    told = explain(quick.plan())
    assert dict(told.facts)["Versions"] == "all rows of version 0"
    assert "the rows that new versions have added by then" in told.sides[1].why
    quick.load()
    quick.put(2)
    quick.put(3)
    plan = quick.plan()
    told = explain(plan)
    assert "the rows of 2 new versions of t" in told.sentence
    versions = dict(told.facts)["Versions"]
    assert versions.startswith("the newest is 2, and 0 is loaded; 2 versions between added 2 files,")
    assert "_commit_version = 0 (version; recorded by version 1)" in dict(told.facts)["Watermark"]
    assert dict(told.facts)["Rows expected"] == "2, as the log of t says"
    some = dict(explain(quick.plan(read=", where: id = 2")).facts)
    assert some["Rows expected"] == "at most 2, as the log of t says"
    versions = plan_to_dict(plan)["versions"]
    assert (versions["newest"], versions["loaded"], versions["whole"], len(versions["files"])) == (
        2,
        0,
        False,
        2,
    )
    quick.load()
    status = hwm_magics.status(quick.text())
    assert "_commit_version = 2" in status_table([status]).text
    history = history_table(hwm_magics.history(quick.text()))
    assert [row[history.headings.index("watermark")] for row in history.rows] == ["2", "0"]
    assert explain(quick.plan()).reason == "no version is new"
    quick.opened.optimize.compact()
    assert explain(quick.plan()).reason == "no version above 2 added rows"


def test_a_sample_and_a_count_are_of_what_the_plan_reads(quick):
    quick.put(1)
    quick.load()
    quick.put(2)
    job = hwm_magics.job(quick.text(), engine="pandas")
    job.prepare()
    quick.put(3, 4, mode="overwrite")
    job.count_rows()
    assert job.counted == 1
    assert job._loader.sample(job.plan, 10)["id"].to_pylist() == [2]


def test_one_version_is_read_whatever_comes_meanwhile(quick):
    for number in (1, 2):
        quick.put(number)
        job = hwm_magics.job(quick.text(), engine="pandas")
        job._loader.failpoint = lambda name: quick.put(9) if name == "after_clock" else None
        assert job.run().wait().rows_written == (1 if number == 1 else 2)
    assert quick.landing.ids() == [1, 2, 9]
    assert quick.load().rows_written == 1


def test_the_version_is_written_again_before_a_log_forgets_it(quick):
    quick.put(1)
    quick.load()
    newest = quick.landing.root / "lake/raw/orders/_delta_log/00000000000000000001.json"
    lines = [json.loads(line) for line in newest.read_text().splitlines()]
    for line in lines:
        if "commitInfo" in line:
            line["commitInfo"]["timestamp"] = int((datetime.now(UTC) - timedelta(days=8)).timestamp() * 1000)
    newest.write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert "before a log forgets it" in quick.plan().reason
    renewed = quick.load()
    assert (renewed.status, renewed.rows_written, renewed.version_after) == ("loaded", 0, 2)
    assert str(hwm_magics.history(quick.text())[0].watermark) == "0"
    assert quick.load().status == "nothing_new"
    assert quick.landing.ids() == [1]


def test_all_rows_are_read_anew_where_the_target_was_emptied_or_that_was_asked_for(quick):
    quick.put(1)
    quick.load()
    quick.put(2)
    assert quick.load(force_first_run=True).rows_written == 2
    DeltaTable(quick.landing.root / "lake/raw/orders").delete()
    quick.put(3)
    assert quick.load().rows_written == 3
    assert quick.load().status == "nothing_new"
    quick.landing.root.joinpath("lake/raw/orders").rename(quick.landing.root / "away")
    assert quick.load().rows_written == 3


def test_an_empty_table_is_loaded_and_goes_on(quick):
    quick.put()
    assert quick.load().rows_written == 0
    quick.put(1)
    assert quick.load().rows_written == 1


def test_files_outside_of_the_folder_and_deletion_vectors_are_not_read(quick):
    quick.put(1)
    quick.load()
    quick.put(2)
    log = quick.path / "_delta_log/00000000000000000001.json"
    kept = log.read_text()
    for path in (
        "../other/part.parquet",
        "file:///other/part.parquet",
        "/other/part.parquet",
        "..%2Fpart.parquet",
    ):
        lines = [json.loads(line) for line in kept.splitlines()]
        for line in lines:
            if "add" in line:
                line["add"]["path"] = path
        log.write_text("\n".join(json.dumps(line) for line in lines))
        quick.blocked("lies outside of the table's folder")
    log.write_text(kept.replace('"add":{', '"add":{"deletionVector":{"storageType":"u"},'))
    with pytest.raises(hwm_magics.errors.HwmError):
        quick.load()
    log.write_text(kept)
    assert quick.load().rows_written == 1


def test_only_passing_over_can_be_asked_for(quick):
    quick.put(1)
    for policy in ("error", "load"):
        with pytest.raises(ConfigError, match="there is only changed: ignore"):
            quick.load(read=f", options: {{changed: {policy}}}")
    with pytest.raises(ConfigError, match="is for files"):
        quick.load(read=", options: {settle: 5m}")


def test_a_damaged_commit_of_the_source_is_an_error_that_names_it(quick):
    quick.put(1)
    quick.load()
    quick.put(2)
    quick.put(3)
    quick.opened.create_checkpoint()
    log = quick.path / "_delta_log/00000000000000000001.json"
    kept = log.read_text()
    for spoiled in ("{", kept.replace('"path"', '"pat"'), '{"add":[]}'):
        log.write_text(spoiled)
        with pytest.raises(QueryError, match=r"00000000000000000001\.json is damaged"):
            quick.load()
    log.write_text(kept)
    assert quick.load().rows_written == 2
