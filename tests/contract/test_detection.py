"""Whether a table is there: yes, no, or unknown with evidence. Unknown is not absent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from contract.cases import OBSTRUCTIONS
from fakes.builders import COLUMNS, a_spec, parsed

from hwm_magics.core.decided import ReadRows
from hwm_magics.core.observed import Existence
from hwm_magics.core.specs import CursorSpec, FuturePolicy
from hwm_magics.engines.base import RunContext
from hwm_magics.errors import (
    BlockedError,
    CommitConflictError,
    ConfigError,
    TargetReadError,
    TargetUnknownError,
    UnsupportedByEngineError,
)


def a_row(db, number=1, text="a"):
    return {"id": number, "u": db.stamp(), "v": text}


def test_nothing_there_is_absent_with_evidence(case, bench):
    assert case.engine.table_exists("lake", path="orders") is False
    state = case.engine.open(a_spec()).state
    assert state.existence is Existence.ABSENT
    assert state.evidence
    assert (state.version, state.loads, state.seq) == (None, (), 0)
    assert bench.plan(a_spec()).decision == "FIRST RUN"
    assert case.version() == -1


def test_a_table_deep_below_folders_that_are_not_there_is_absent(case, bench, db):
    spec = a_spec(path="raw/2024/orders")
    db.insert(a_row(db))
    assert case.engine.table_exists("lake", path="raw/2024/orders") is False
    bench.load(spec)
    assert case.engine.table_exists("lake", path="raw/2024/orders") is True


def test_a_table_is_there_with_its_version_columns_and_rows(case):
    case.make(COLUMNS, [{"id": 1, "u": None, "v": "a"}])
    assert case.engine.table_exists("lake", path="orders") is True
    state = case.engine.open(a_spec()).state
    assert state.existence is Existence.EXISTS
    assert state.version == case.version()
    assert [(column.name, column.type) for column in state.columns] == [
        (column.name, column.type) for column in COLUMNS
    ]
    assert state.has_rows is True
    assert state.evidence


def test_an_empty_table_is_known_to_be_empty(case):
    case.make(COLUMNS)
    assert case.engine.open(a_spec()).state.has_rows is False


def test_a_table_whose_rows_were_deleted_is_known_to_be_empty(case):
    case.make(COLUMNS, [{"id": 1, "u": None, "v": "a"}])
    case.delete()
    assert case.engine.open(a_spec()).state.has_rows is False


@pytest.mark.parametrize("kind", OBSTRUCTIONS)
def test_what_is_neither_a_table_nor_its_absence_is_unknown_and_stays_untouched(
    case, bench, db, sources, kind
):
    db.insert(a_row(db))
    path = case.obstruct(kind)
    spec = a_spec(path=path)
    before = case.state()
    with pytest.raises(TargetUnknownError) as caught:
        case.engine.table_exists("lake", path=path)
    assert caught.value.hint
    state = case.engine.open(spec).state
    assert state.existence is Existence.UNKNOWN
    assert state.evidence
    assert state.hint
    plan = bench.plan(spec)
    assert (plan.decision, plan.blocker.error) == ("BLOCKED", "TargetUnknownError")
    for way in (spec, a_spec("overwrite", path=path), a_spec(path=path, force=True)):
        with pytest.raises(TargetUnknownError):
            bench.load(way)
    assert sources.reads == 0
    assert case.state() == before


def test_damaged_commit_info_of_ours_is_unknown(case, bench, db):
    db.insert(a_row(db))
    bench.load(a_spec())
    case.spoil_info()
    before = case.state()
    plan = bench.plan(a_spec())
    assert (plan.decision, plan.blocker.error) == ("BLOCKED", "TargetUnknownError")
    assert "damaged" in plan.reason
    with pytest.raises(TargetUnknownError):
        bench.load(a_spec())
    assert case.state() == before


def test_restoring_the_version_before_the_damage_heals_it(case, bench, db):
    db.insert(a_row(db))
    bench.load(a_spec())
    good = case.version()
    db.advance(db.stamp().resolution * 10**6)
    db.insert(a_row(db, 2))
    bench.load(a_spec())
    case.spoil_info()
    case.restore(good)
    assert bench.load(a_spec()).rows_written == 1
    assert [row["id"] for row in case.rows()] == [1, 2]


def test_a_path_that_leaves_the_lake_is_refused(case, bench):
    with pytest.raises(ConfigError):
        bench.plan(a_spec(path="../orders"))


def test_a_missing_data_file_is_found_when_rows_are_compared_and_nothing_is_written(case, bench, db):
    db.insert(a_row(db))
    bench.load(a_spec())
    version = case.version()
    case.lose_files()
    db.insert(a_row(db, 2))
    with pytest.raises(TargetReadError) as caught:
        bench.load(a_spec())
    assert caught.value.hint
    assert case.version() == version


def test_a_missing_data_file_makes_an_adopted_mark_unknown(case, bench):
    case.make(COLUMNS, [{"id": 1, "u": None, "v": "a"}])
    case.lose_files()
    plan = bench.plan(a_spec())
    assert (plan.decision, plan.blocker.error) == ("BLOCKED", "TargetUnknownError")


def test_features_that_the_engine_cannot_write_are_refused_before_the_source_is_read(
    case, sources, bench, db
):
    db.insert(a_row(db))
    for number, feature in enumerate(case.cannot_write):
        path = f"t{number}"
        case.make(COLUMNS, [{"id": 1, "u": None, "v": "a"}], path)
        case.require(feature, path)
        before = case.state()
        for spec in (a_spec(path=path), a_spec("upsert", path=path), a_spec("overwrite", path=path)):
            with pytest.raises((UnsupportedByEngineError, TargetUnknownError), match=feature) as caught:
                bench.load(spec)
            assert caught.value.hint, feature
        assert case.state() == before
    assert sources.reads == 0


def test_what_the_engine_cannot_do_is_said_in_the_plan_and_never_pretended(case, bench, db):
    db.insert(a_row(db))
    plan = bench.plan(a_spec(cluster_by=("id",)))
    assert case.engine.capabilities.liquid_clustering == ("cluster" not in case.cannot)
    assert any("can't cluster" in note for note in plan.notes) == ("cluster" in case.cannot)
    result = bench.load(a_spec(cluster_by=("id",)))
    assert result.status == "loaded"
    assert not any("failed" in text for text in result.warnings)


# --- Names ---------------------------------------------------------------------------------------


def test_a_name_is_registered_after_the_load_and_found_again(case, bench, db):
    db.insert(a_row(db))
    bench.load(a_spec(register_table="raw.orders"))
    assert list(case.engine.catalog("lake")) == ["raw.orders"]
    assert case.engine.table_exists("lake", table="raw.orders") is True
    assert case.engine.table_exists("lake", table="raw.other") is False
    assert bench.load(a_spec(register_table="raw.orders")).status == "nothing_new"


def test_a_table_may_be_spoken_of_by_its_name_alone(case, bench, db):
    db.insert(a_row(db))
    bench.load(a_spec(register_table="raw.orders"))
    spec = a_spec()
    by_name = replace(spec, write=replace(spec.write, path=None, table="raw.orders"))
    db.insert(a_row(db, 2))
    assert bench.load(by_name).rows_written == 1
    assert [row["id"] for row in case.rows()] == [1, 2]


def test_two_tables_cannot_have_one_name(case, bench, db):
    db.insert(a_row(db))
    bench.load(a_spec(register_table="raw.orders"))
    other = a_spec(path="elsewhere", register_table="RAW.Orders")
    plan = bench.plan(other)
    assert plan.decision == "BLOCKED"
    with pytest.raises(BlockedError, match="registered already"):
        bench.load(other)
    assert case.version("elsewhere") == -1


# --- Creating ------------------------------------------------------------------------------------


def test_of_two_loads_that_create_a_table_one_wins_and_the_other_is_told(case, bench, db, sources):
    spec = a_spec()
    db.insert(a_row(db))
    with bench.prepared(spec) as slow:
        assert bench.load(spec).status == "loaded"
        stream = slow.source.open(slow.plan.step(ReadRows).statement)
        with pytest.raises(CommitConflictError):
            slow.target.execute(slow.plan, stream, RunContext("run-late"))
    assert [row["id"] for row in case.rows()] == [1]


def test_a_new_table_has_the_columns_partitions_and_properties_asked_for(case, bench, db):
    db.insert(a_row(db))
    bench.load(a_spec(partition_by=("v",), properties={"delta.logRetentionDuration": "interval 9 days"}))
    assert case.columns() == {column.name: column.type for column in COLUMNS}
    assert case.partitions() == ["v"]
    assert case.properties()["delta.logRetentionDuration"] == "interval 9 days"
    assert case.rows() == [a_row(db)]


def test_a_first_run_of_an_empty_source_leaves_a_first_run_to_be_made(case, bench, db):
    assert bench.load(a_spec()).status == "nothing_new"
    assert bench.plan(a_spec()).decision == "FIRST RUN"
    db.insert(a_row(db))
    assert bench.load(a_spec()).rows_written == 1


def test_evaluating_a_query_over_the_target_is_exact(case, bench, db):
    db.advance(db.stamp().resolution * 123_456)
    db.insert(a_row(db))
    bench.load(a_spec())
    target = case.engine.open(a_spec())
    high, count, text, nothing = target.evaluate(
        (
            'SELECT MAX("u") FROM hwm_target',
            "SELECT COUNT(*) FROM hwm_target",
            'SELECT MAX("v") FROM hwm_target',
            'SELECT MAX("u") FROM hwm_target WHERE "id" = 99',
        )
    )
    assert high.text == "2024-06-01 12:00:00.123456"
    assert (count.text, text, nothing) == ("1", "a", None)
    cursor = parsed(a_spec()).cursor
    assert target.maximum(cursor) == high
    assert target.cursor_type(cursor).kind == "timestamp_ntz"


def test_a_query_that_reads_the_target_loads_what_is_newer(case, bench, db):
    query = "SELECT * FROM orders WHERE u > (SELECT COALESCE(MAX(u), '1900-01-01') FROM {target})"
    spec = a_spec(query=query, cursor=None)
    db.insert(a_row(db))
    assert bench.load(spec).decision == "FIRST RUN"
    db.advance(db.stamp().resolution * 123_456)
    db.insert(a_row(db, 2))
    assert bench.load(spec).rows_written == 1
    assert bench.load(spec).rows_written == 0
    assert [row["id"] for row in case.rows()] == [1, 2]


def test_future_rows_are_accepted_only_where_asked(case, bench, db, sources):
    ahead = db.stamp() + db.stamp().resolution * 10**9
    db.insert(a_row(db), {"id": 2, "u": ahead, "v": "b"})
    result = bench.load(a_spec())
    assert result.watermark_after.value.text == "2024-06-01 12:00:00"
    assert [row["id"] for row in case.rows()] == [1]
    bench.load(a_spec(cursor=CursorSpec("u", future=FuturePolicy.ACCEPT)))
    assert [row["id"] for row in case.rows()] == [1, 2]
