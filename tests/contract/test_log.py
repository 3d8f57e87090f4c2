"""The mark in the target's log: through compaction, vacuum, restore, expiry, and what others do."""

from __future__ import annotations

from datetime import timedelta

import pytest
from contract.cases import in_order
from fakes.builders import COLUMNS, a_spec
from fakes.source import START

from hwm_magics.core.specs import CursorSpec
from hwm_magics.errors import BlockedError, CursorColumnError, TargetUnknownError
from hwm_magics.jobs.marks import settle

MINUTE = timedelta(minutes=1)


def a_row(db, number=1, text="a"):
    return {"id": number, "u": db.stamp(), "v": text}


def everything(db):
    return in_order(db.rows.values())


def ids(case, path="orders"):
    return sorted(row["id"] for row in case.rows(path))


@pytest.fixture
def three(case, bench, db):
    """Three loads of a row each, half an hour apart; the versions that they made."""
    for number in (1, 2, 3):
        db.insert(a_row(db, number))
        case.begin(f"load {number} of three", lambda: bench.load(a_spec()))
        db.advance(30 * MINUTE)
    return [case.version() - 2, case.version() - 1, case.version()]


def mark(bench, spec=None):
    return str(bench.plan(spec or a_spec()).before)


# --- What is passed over -----------------------------------------------------------------------------


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("what", ["compact", "vacuum", "append"])
def test_the_mark_survives(case, bench, db, what):
    before = mark(bench)
    if what == "append":
        case.append({"id": 90, "u": START - 90 * MINUTE, "v": "theirs"})
    else:
        getattr(case, what)()
    assert mark(bench) == before
    db.insert(a_row(db, 4))
    assert bench.load(a_spec()).rows_written == 1
    assert [row for row in case.rows() if row["v"] != "theirs"] == everything(db)


@pytest.mark.usefixtures("three")
def test_a_foreign_row_dated_in_the_future_does_not_move_the_mark(case, bench, db):
    before = mark(bench)
    case.append({"id": 90, "u": START + timedelta(days=9000), "v": "theirs"})
    assert mark(bench) == before
    db.insert(a_row(db, 4))
    bench.load(a_spec())
    assert 4 in ids(case)


# --- RESTORE -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["restore", "restore_as_of"])
def test_after_a_restore_what_it_undid_is_loaded_again(case, bench, db, three, way):
    getattr(case, way)(three[0])
    assert ids(case) == [1]
    plan = bench.plan(a_spec())
    assert str(plan.before) == str(START)
    assert plan.target.restores
    assert bench.load(a_spec()).rows_written == 2
    assert case.rows() == everything(db)
    assert bench.load(a_spec()).rows_written == 0


def test_a_chain_of_restores_is_followed(case, bench, db, three):
    case.restore(three[0])
    db.insert(a_row(db, 4))
    fourth = bench.load(a_spec()).version_after
    case.restore(three[1])
    case.restore(fourth)
    assert case.rows() == everything(db)
    assert bench.load(a_spec()).rows_written == 0
    case.restore(three[0])
    bench.load(a_spec())
    assert case.rows() == everything(db)


def test_after_a_restore_to_the_empty_table_everything_is_loaded(case, bench, db, three):
    case.restore(0)
    assert case.rows() == []
    assert bench.load(a_spec()).decision == "FIRST RUN"
    assert case.rows() == everything(db)


def test_a_restore_undoes_a_foreign_overwrite(case, bench, db, three):
    case.overwrite({"id": 90, "u": None, "v": "theirs"})
    case.restore(three[-1])
    assert bench.load(a_spec()).rows_written == 0
    assert case.rows() == everything(db)


# --- What others do to the rows ------------------------------------------------------------------------


@pytest.mark.usefixtures("three")
def test_after_others_emptied_the_table_everything_is_loaded(case, bench, db):
    case.delete()
    result = bench.load(a_spec())
    assert result.decision == "FIRST RUN"
    assert any("emptied by others" in text for text in result.warnings)
    assert case.rows() == everything(db)


@pytest.mark.usefixtures("three")
def test_the_newest_rows_that_others_delete_are_loaded_again(case, bench, db):
    case.delete(2, 3)
    result = bench.load(a_spec())
    assert result.rows_written == 2
    assert any("DELETE" in text for text in result.warnings)
    assert case.rows() == everything(db)


@pytest.mark.usefixtures("three")
def test_older_rows_that_others_delete_stay_deleted(case, bench, db):
    case.delete(1)
    db.insert(a_row(db, 4))
    bench.load(a_spec())
    assert ids(case) == [2, 3, 4]


@pytest.mark.usefixtures("three")
def test_rows_that_others_changed_could_double_so_the_load_is_blocked(case, bench, db):
    case.update(3, "theirs")
    db.insert(a_row(db, 4))
    before = case.state()
    with pytest.raises(BlockedError, match="UPDATE") as caught:
        bench.load(a_spec())
    assert "%hwm_watermark" in caught.value.hint
    assert case.state() == before
    settle(bench, a_spec(), None)
    assert bench.load(a_spec()).rows_written == 1
    assert ids(case) == [1, 2, 3, 4]


def test_with_keys_rows_that_others_changed_are_recognised(case, bench, db):
    spec = a_spec(keys=("id",))
    db.insert(a_row(db, 1))
    bench.load(spec)
    case.update(1, "theirs")
    db.insert(a_row(db, 2))
    assert bench.load(spec).rows_written == 1
    assert ids(case) == [1, 2]


@pytest.mark.usefixtures("three")
def test_after_a_foreign_overwrite_the_lower_of_the_two_marks_is_taken(case, bench, db):
    spec = a_spec(keys=("id",))
    case.overwrite({"id": 1, "u": START, "v": "theirs"})
    with pytest.raises(BlockedError):
        bench.load(a_spec())
    assert bench.load(spec).rows_written == 2
    assert ids(case) == [1, 2, 3]
    case.overwrite(
        *({**row, "v": "theirs"} for row in db.rows.values()),
        {"id": 9, "u": START + timedelta(days=9000), "v": "x"},
    )
    db.insert(a_row(db, 4))
    bench.load(spec)
    assert ids(case) == [1, 2, 3, 4, 9]


# --- Other nodes -----------------------------------------------------------------------------------------


def test_two_nodes_keep_their_own_marks_in_one_table(case, bench, db, sources):
    from fakes.source import FakeDatabase

    other_db = FakeDatabase(COLUMNS, strong="fake/2")
    ours = a_spec(node="ours")
    theirs = a_spec(node="theirs", cursor=CursorSpec("u", initial_value="2024-01-01"))
    db.insert(a_row(db, 1))
    bench.load(ours)
    other_db.advance(60 * MINUTE)
    other_db.insert(a_row(other_db, 101))
    for database, spec, number in [
        (other_db, theirs, 102),
        (db, ours, 2),
        (other_db, theirs, 103),
        (db, ours, 3),
    ]:
        sources.database = database
        bench.load(spec)
        database.advance(30 * MINUTE)
        database.insert(a_row(database, number))
        bench.load(spec)
    assert ids(case) == [1, 2, 3, 101, 102, 103]
    assert {record.node for record in bench.history(ours)} == {"ours", "theirs"}
    other_db.close()


@pytest.mark.usefixtures("three")
def test_another_node_does_not_guess_where_to_begin(case, bench):
    before = case.state()
    with pytest.raises(BlockedError, match="orders") as caught:
        bench.load(a_spec(node="another"))
    assert "initial_value" in caught.value.hint
    assert case.state() == before


@pytest.mark.usefixtures("three")
def test_a_backfill_does_not_replace_the_rows_of_another_node(case, bench, db, sources):
    from fakes.source import FakeDatabase

    other_db = FakeDatabase(COLUMNS, strong="fake/2")
    theirs = a_spec(node="theirs", cursor=CursorSpec("u", initial_value="2024-01-01"))
    sources.database = other_db
    other_db.insert(a_row(other_db, 101))
    bench.load(theirs)
    sources.database = db
    db.insert(a_row(db, 4))
    bench.load(a_spec())
    with pytest.raises(BlockedError, match="theirs"):
        bench.load(a_spec(backfill=("2024-01-01", "2025-01-01")))
    assert ids(case) == [1, 2, 3, 4, 101]
    other_db.close()


# --- Expiry and adoption ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("three")
def test_when_the_log_has_expired_the_mark_is_the_datas_maximum(case, bench, db):
    case.append({"id": 90, "u": START - 90 * MINUTE, "v": "theirs"})
    case.forget()
    plan = bench.plan(a_spec())
    assert (plan.before.origin, str(plan.before)) == ("data", str(START + 60 * MINUTE))
    assert any("expired" in note for note in plan.notes)
    assert case.engine.open(a_spec()).state.seq == (3 if case.tells_sequence else 0)
    db.insert(a_row(db, 4))
    assert bench.load(a_spec()).rows_written == 1
    seq = case.engine.open(a_spec()).state.seq
    assert seq == 4 if case.tells_sequence else seq > 4
    assert [row for row in case.rows() if row["v"] != "theirs"] == everything(db)


def test_the_datas_maximum_is_exact_to_the_microsecond(case, bench, db):
    db.advance(timedelta(microseconds=123_999))
    db.insert(a_row(db, 1))
    case.make(COLUMNS, [a_row(db, 1)])
    assert str(bench.plan(a_spec()).before) == "2024-06-01 12:00:00.123999"


def test_a_table_that_others_made_is_adopted(case, bench, db):
    db.insert(*(a_row(db, number) for number in (1, 2)))
    case.make(COLUMNS, list(db.rows.values()))
    db.advance(30 * MINUTE)
    db.insert(a_row(db, 3))
    result = bench.load(a_spec())
    assert (result.decision, result.rows_written) == ("INCREMENTAL", 1)
    assert case.rows() == everything(db)


def test_an_empty_table_that_others_made_gets_a_first_run_and_keeps_its_shape(case, bench, db):
    case.make(COLUMNS, partition_by=["v"])
    db.insert(a_row(db, 1), a_row(db, 2, "b"))
    assert bench.load(a_spec()).decision == "FIRST RUN"
    assert case.rows() == everything(db)
    assert case.partitions() == ["v"]


def test_rows_that_others_put_into_our_empty_table_are_no_mark_of_ours(case, bench, db):
    bench.load(a_spec())
    assert case.version() == 0
    case.append({"id": 90, "u": START + 90 * MINUTE, "v": "theirs"})
    db.insert(a_row(db, 1))
    with pytest.raises(BlockedError, match="never loaded") as caught:
        bench.load(a_spec())
    assert "%hwm_watermark" in caught.value.hint
    settle(bench, a_spec(), "2024-01-01")
    assert bench.load(a_spec()).rows_written == 1
    assert ids(case) == [1, 90]


def test_rows_that_others_add_before_our_first_value_are_no_mark_of_ours(case, bench, db):
    db.insert({"id": 1, "u": None, "v": "a"})
    bench.load(a_spec())
    assert bench.plan(a_spec()).before is None
    db.insert(a_row(db, 2))
    case.append({"id": 90, "u": START + 90 * MINUTE, "v": "theirs"})
    assert bench.load(a_spec()).rows_written == 1
    assert ids(case) == [1, 2, 90]
    db.advance(MINUTE)
    db.insert(a_row(db, 3))
    assert bench.load(a_spec()).rows_written == 1


# --- Setting the mark --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("three")
def test_a_mark_set_by_hand_holds_for_the_next_load(case, bench, db):
    version = case.version()
    record = settle(bench, a_spec(), "2024-06-01 12:00:00")
    assert (record.version, case.version()) == (version + 1, version + 1)
    assert len(case.rows()) == 3
    plan = bench.plan(a_spec())
    assert (plan.before.origin, plan.window.low_inclusive) == ("set", False)
    status = bench.status(a_spec())
    assert str(status.watermark) == "2024-06-01 12:00:00"


def test_what_lies_below_a_mark_set_by_hand_counts_as_loaded(case, bench, db):
    case.make(COLUMNS)
    db.insert(a_row(db, 1))
    db.advance(30 * MINUTE)
    db.insert(a_row(db, 2))
    settle(bench, a_spec(), str(START))
    assert bench.load(a_spec()).rows_written == 1
    assert ids(case) == [2]


@pytest.mark.parametrize("lag", [2 * 60 * MINUTE, None], ids=["a lag", "the default lag"])
def test_no_later_load_looks_below_a_mark_set_by_hand(case, bench, db, lag):
    spec = a_spec(cursor=CursorSpec("u", lag=lag))
    case.make(COLUMNS)
    db.insert(a_row(db, 1))
    db.advance(5 * MINUTE)
    db.insert(a_row(db, 2))
    settle(bench, spec, str(START))
    for number in (3, 4):
        bench.load(spec)
        db.advance(MINUTE)
        db.insert(a_row(db, number))
    bench.load(spec)
    assert ids(case) == [2, 3, 4]


def test_a_full_reload_forgets_a_mark_set_by_hand(case, bench, db):
    case.make(COLUMNS)
    db.insert(a_row(db, 1))
    settle(bench, a_spec(), str(START))
    bench.load(a_spec(force=True))
    db.insert({**a_row(db, 2), "u": START - MINUTE})
    bench.load(a_spec())
    assert ids(case) == [1, 2]


def test_adopting_takes_the_datas_maximum(case, bench, db):
    case.make(COLUMNS, [a_row(db, 1)])
    assert str(settle(bench, a_spec(), None).watermark) == str(START)


@pytest.mark.parametrize("value", ["yesterday", "7", "2024-06-01 12:00:00+02:00"])
@pytest.mark.usefixtures("three")
def test_a_mark_that_is_no_value_of_the_cursor_is_refused(case, bench, value):
    before = case.state()
    with pytest.raises(CursorColumnError) as caught:
        settle(bench, a_spec(), value)
    assert caught.value.hint
    assert case.state() == before


def test_there_is_no_mark_to_set_without_a_table(case, bench):
    with pytest.raises(BlockedError):
        settle(bench, a_spec(), "2024-06-01")
    case.obstruct("foreign files")
    with pytest.raises(TargetUnknownError):
        settle(bench, a_spec(), "2024-06-01")


def test_a_table_without_a_value_has_nothing_to_adopt(case, bench):
    case.make(COLUMNS, [{"id": 1, "u": None, "v": "a"}])
    with pytest.raises(BlockedError, match="no value"):
        settle(bench, a_spec(), None)


# --- History ---------------------------------------------------------------------------------------------


def test_the_history_tells_each_load_newest_first(case, bench, db, three):
    case.compact()
    settle(bench, a_spec(), str(START + 60 * MINUTE))
    records = bench.history(a_spec())
    assert [record.kind for record in records] == ["mark", "incremental", "incremental", "first_run"]
    assert [record.version for record in records][1:] == list(reversed(three))
    assert [record.seq for record in records] == [4, 3, 2, 1]
    assert all(record.committed_at is not None for record in records)
    assert len({record.run_id for record in records}) == 4
    assert str(records[1].high) == str(START + 60 * MINUTE)
    assert len(bench.history(a_spec(), limit=2)) == 2
    assert bench.history(a_spec(path="elsewhere")) == ()


def test_every_commit_names_its_run_node_window_and_source(case, bench, db):
    db.insert(a_row(db, 1))
    first = bench.load(a_spec())
    texts = [text for text in case.log_texts() if first.run_id in text]
    assert len(texts) == 2  # the empty table and the load
    for word in ("orders", "fake/1", "2024-06-01 12:00:00"):
        assert word in texts[-1]


@pytest.mark.usefixtures("three")
def test_the_status_says_how_the_target_stands(case, bench):
    status = bench.status(a_spec())
    assert (status.version, status.last.kind, status.events) == (case.version(), "incremental", ())
    assert str(status.watermark) == str(START + 60 * MINUTE)
    case.delete(3)
    assert any("DELETE" in text for text in bench.status(a_spec()).events)
    assert bench.status(a_spec(path="elsewhere")).existence == "absent"
