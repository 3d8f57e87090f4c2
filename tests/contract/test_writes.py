"""What each mode leaves in the target: exactly these rows, read back by others."""

from __future__ import annotations

from datetime import timedelta

import pytest
from contract.cases import each, in_order
from fakes.builders import COLUMNS, a_spec
from fakes.source import START, FakeDatabase

from hwm_magics.core.observed import Column
from hwm_magics.core.specs import Boundary, CursorSpec, NullPolicy
from hwm_magics.errors import CommitError, LoadCancelled, QueryError, SchemaMismatchError

MINUTE = timedelta(minutes=1)
NO_LAG = CursorSpec("u", lag=timedelta(0))
MODES = {mode: a_spec(mode) for mode in ("append", "upsert", "overwrite")}


def a_row(db, number=1, text="a", ago=timedelta(0)):
    return {"id": number, "u": db.stamp() - ago, "v": text}


def everything(db):
    return in_order(db.rows.values())


def ids(case, path="orders"):
    return sorted(row["id"] for row in case.rows(path))


# --- append --------------------------------------------------------------------------------------


def test_a_first_run_loads_everything_and_increments_only_what_is_new(case, bench, db):
    db.insert(*(a_row(db, n, ago=n * MINUTE) for n in range(7)))
    first = bench.load(a_spec())
    assert (first.decision, first.status, first.rows_read, first.rows_written) == (
        "FIRST RUN",
        "loaded",
        7,
        7,
    )
    assert case.rows() == everything(db)
    for number in range(10, 13):
        db.advance(20 * MINUTE)
        db.insert(a_row(db, number))
        result = bench.load(a_spec())
        assert (result.decision, result.rows_written) == ("INCREMENTAL", 1)
        assert result.version_after == result.version_before + 1 == case.version()
        assert result.watermark_after.value.text == f"{db.clock}"
        assert case.rows() == everything(db)


def test_an_empty_window_commits_nothing_and_succeeds(case, bench, db):
    db.insert(a_row(db))
    bench.load(a_spec())
    before = case.state()
    for _ in range(2):
        db.advance(MINUTE)
        result = bench.load(a_spec())
        assert (result.status, result.rows_written, result.version_after) == (
            "nothing_new",
            0,
            result.version_before,
        )
    assert case.state() == before


def test_a_tie_with_the_watermark_is_loaded_and_not_doubled(case, bench, db):
    db.insert(a_row(db, 1))
    bench.load(a_spec(cursor=NO_LAG))
    db.insert(a_row(db, 2))
    result = bench.load(a_spec(cursor=NO_LAG))
    assert (result.rows_written, result.rows_recognised) == (1, 1)
    assert case.rows() == everything(db)


def test_with_an_exclusive_boundary_a_tie_is_left_out_as_the_plan_says(case, bench, db):
    spec = a_spec(cursor=CursorSpec("u", lag=timedelta(0), boundary=Boundary.EXCLUSIVE))
    db.insert(a_row(db, 1))
    bench.load(spec)
    db.insert(a_row(db, 2))
    assert "tie" in " ".join((*bench.plan(spec).warnings, *bench.plan(spec).notes))
    assert bench.load(spec).rows_written == 0
    assert ids(case) == [1]


def test_three_identical_rows_stay_three(case, bench, db):
    same = a_row(db)
    db.insert(same, same, same)
    bench.load(a_spec())
    assert case.rows() == [same] * 3
    bench.load(a_spec())
    assert case.rows() == [same] * 3
    db.insert(same)
    result = bench.load(a_spec())
    assert (result.rows_written, result.rows_recognised) == (1, 3)
    assert case.rows() == [same] * 4


def test_rows_that_differ_in_one_value_only_are_both_kept(case, bench, db):
    db.insert(a_row(db, 1, "a"))
    bench.load(a_spec())
    db.insert({**a_row(db, 1, "a"), "v": None}, a_row(db, 1, "a "), a_row(db, 1, ""))
    assert bench.load(a_spec()).rows_written == 3
    assert case.rows() == everything(db)


def test_rows_that_commit_late_are_loaded_and_counted_with_their_lateness(case, bench, db):
    late = db.begin().insert(a_row(db, 2, "late"), a_row(db, 3, "late", ago=MINUTE))
    db.advance(5 * MINUTE)
    db.insert(a_row(db, 1))
    bench.load(a_spec())
    late.commit()
    result = bench.load(a_spec())
    assert (result.rows_written, result.late_rows, result.lateness) == (2, 2, 6 * MINUTE)
    assert case.rows() == everything(db)
    assert bench.load(a_spec()).late_rows == 0


def test_what_commits_later_than_the_lag_is_lost_as_the_promise_says(case, bench, db):
    late = db.begin().insert(a_row(db, 2))
    db.advance(11 * MINUTE)
    db.insert(a_row(db, 1))
    bench.load(a_spec())
    late.commit()
    assert any("within 10 min" in note for note in bench.plan(a_spec()).notes)
    bench.load(a_spec())
    assert ids(case) == [1]


def test_with_keys_rows_are_recognised_by_key_and_cursor(case, bench, db):
    spec = a_spec(keys=("id",))
    db.insert(a_row(db, 1, "a"))
    bench.load(spec)
    db.change(1, {"v": "b"})  # the same cursor value: to an append it is the same row
    db.insert(a_row(db, 2, "a"))
    assert bench.load(spec).rows_written == 1
    assert [(row["id"], row["v"]) for row in case.rows()] == [(1, "a"), (2, "a")]
    db.advance(MINUTE)
    db.change(1, {"v": "c", "u": db.stamp()})
    bench.load(spec)
    assert [(row["id"], row["v"]) for row in case.rows()] == [(1, "a"), (1, "c"), (2, "a")]


def test_null_cursors_are_read_by_the_first_run_and_later_only_where_asked(case, bench, db):
    unknown = {"id": 1, "u": None, "v": "a"}
    db.insert(unknown, a_row(db, 2))
    bench.load(a_spec())
    assert case.rows() == everything(db)
    db.insert({"id": 3, "u": None, "v": "a"}, unknown)
    assert bench.load(a_spec()).rows_written == 0
    reading = a_spec(cursor=CursorSpec("u", nulls=NullPolicy.READ))
    assert bench.load(reading).rows_written == 2
    assert bench.load(reading).rows_written == 0
    assert case.rows() == everything(db)


def test_a_fallback_column_stands_in_everywhere(case, sources, bench):
    database = FakeDatabase((*COLUMNS, Column("c", "timestamp_ntz")))
    sources.database = database
    spec = a_spec(cursor=CursorSpec("u", fallback="c"))
    database.insert({"id": 1, "u": None, "v": "a", "c": database.stamp()})
    assert bench.load(spec).watermark_after.column == "COALESCE(u, c)"
    database.advance(MINUTE)
    database.insert({"id": 2, "u": None, "v": "a", "c": database.stamp()})
    database.insert({"id": 3, "u": database.stamp(), "v": "a", "c": START - MINUTE})
    assert bench.load(spec).rows_written == 2
    assert bench.load(spec).rows_written == 0
    assert ids(case) == [1, 2, 3]
    database.close()


@pytest.mark.parametrize("kind", ["long", "integer", "short"])
def test_ids_serve_as_a_cursor(case, sources, bench, kind):
    database = FakeDatabase((Column("id", kind), Column("v", "string")))
    sources.database = database
    spec = a_spec(cursor=CursorSpec("id"))
    late = database.begin().insert({"id": 3, "v": "late"})
    database.insert({"id": 1, "v": "a"}, {"id": 4, "v": "a"})
    bench.load(spec)
    late.commit()
    database.insert({"id": 5, "v": "a"})
    result = bench.load(spec)
    assert (result.rows_written, result.late_rows, result.lateness) == (2, 1, 1)
    assert case.rows() == everything(database)
    database.close()


def test_dates_serve_as_a_cursor(case, sources, bench):
    database = FakeDatabase((Column("id", "long"), Column("d", "date")))
    sources.database = database
    spec = a_spec(cursor=CursorSpec("d"))
    database.insert({"id": 1, "d": database.clock.date()})
    bench.load(spec)
    database.insert({"id": 2, "d": database.clock.date()})
    assert bench.load(spec).rows_written == 1
    assert bench.load(spec).rows_written == 0
    assert case.rows() == everything(database)
    database.close()


def test_microseconds_decide(case, bench, db):
    spec = a_spec(cursor=NO_LAG)
    for number in range(1, 6):
        db.insert(a_row(db, number))
        db.advance(timedelta(microseconds=1))
    bench.load(spec)
    for number in range(6, 9):
        db.insert(a_row(db, number))
        result = bench.load(spec)
        assert (result.rows_written, result.rows_recognised) == (1, 1)
        db.advance(timedelta(microseconds=1))
    assert case.rows() == everything(db)


def test_many_rows_come_in_many_batches(case, bench, db, sources):
    sources.settings = {"batch": 100}
    db.insert(*(a_row(db, number, f"text {number}") for number in range(2000)))
    assert bench.load(a_spec()).rows_written == 2000
    assert case.rows() == everything(db)
    assert bench.load(a_spec()).rows_recognised == 2000


# --- upsert and append_once ------------------------------------------------------------------------


def test_an_upsert_keeps_the_latest_version_of_each_row(case, bench, db):
    spec = a_spec("upsert")
    db.insert(*(a_row(db, number) for number in range(5)))
    bench.load(spec)
    db.advance(MINUTE)
    db.change(1, {"v": "b", "u": db.stamp()})
    db.insert(a_row(db, 9))
    result = bench.load(spec)
    assert (result.rows_written, result.rows_updated) == (2, 1)
    assert case.rows() == everything(db)
    assert bench.load(spec).status == "nothing_new"


def test_an_upsert_takes_an_older_stamp_too(case, bench, db):
    spec = a_spec("upsert")
    db.insert(a_row(db, 1, "a"))
    bench.load(spec)
    db.advance(MINUTE)
    db.change(1, {"v": "b", "u": db.stamp(skew=3 * MINUTE)})
    bench.load(spec)
    assert case.rows() == everything(db)


def test_of_several_rows_with_one_key_the_newest_is_taken(case, bench, db):
    spec = a_spec("upsert")
    db.insert(a_row(db, 1, "old", ago=2 * MINUTE), a_row(db, 1, "new"), a_row(db, 1, "older", ago=3 * MINUTE))
    db.insert({"id": 1, "u": None, "v": "never"})
    result = bench.load(spec)
    assert [row["v"] for row in case.rows()] == ["new"]
    assert result.rows_read == 4
    db.advance(MINUTE)
    db.insert(a_row(db, 1, "newest"), a_row(db, 2, "b"), a_row(db, 2, "a", ago=timedelta(seconds=1)))
    bench.load(spec)
    assert [row["v"] for row in case.rows()] == ["newest", "b"]


def test_equal_rows_with_one_key_are_one_row(case, bench, db):
    db.insert(a_row(db), a_row(db))
    bench.load(a_spec("upsert"))
    assert case.rows() == [a_row(db)]


@pytest.mark.parametrize("mode", ["upsert", "append_once"])
def test_rows_that_cannot_be_told_apart_by_newness_are_refused(case, bench, db, mode):
    db.insert(a_row(db, 7))
    bench.load(a_spec(mode))
    version = case.version()
    db.insert(a_row(db, 1, "a"), a_row(db, 1, "b"))
    with pytest.raises(SchemaMismatchError, match="equally new") as caught:
        bench.load(a_spec(mode))
    assert caught.value.hint
    assert case.version() == version


@pytest.mark.parametrize("mode", ["upsert", "append_once"])
def test_null_keys_are_refused(case, bench, db, mode):
    db.insert(a_row(db, None))
    with pytest.raises(SchemaMismatchError, match="NULL") as caught:
        bench.load(a_spec(mode))
    assert caught.value.hint
    assert case.version() <= 0


def test_keys_of_two_columns_are_compared_together(case, sources, bench):
    database = FakeDatabase((Column("a", "string"), Column("b", "string"), *COLUMNS[1:]), key="a")
    sources.database = database
    spec = a_spec("upsert", keys=("a", "b"))
    for a, b in (("x", "yz"), ("xy", "z"), ("", "xyz")):
        database.insert({"a": a, "b": b, "u": database.stamp(), "v": "1"})
    bench.load(spec)
    database.advance(MINUTE)
    database.change("xy", {"v": "2", "u": database.stamp()})
    bench.load(spec)
    assert case.rows() == everything(database)
    database.close()


def test_append_once_never_touches_a_row_that_is_there(case, bench, db):
    spec = a_spec("append_once")
    db.insert(a_row(db, 1, "a"))
    bench.load(spec)
    db.advance(MINUTE)
    db.change(1, {"v": "b", "u": db.stamp()})
    db.insert(a_row(db, 2, "a"))
    result = bench.load(spec)
    assert (result.rows_written, result.rows_updated) == (1, 0)
    assert [(row["id"], row["v"]) for row in case.rows()] == [(1, "a"), (2, "a")]


def test_a_merge_that_changes_nothing_still_carries_the_mark(case, bench, db):
    spec = a_spec("append_once")
    db.insert(a_row(db, 1, "a"))
    bench.load(spec)
    db.advance(30 * MINUTE)
    db.change(1, {"v": "b", "u": db.stamp()})
    result = bench.load(spec)
    assert (result.rows_written, result.watermark_after.value.text) == (0, str(db.clock))
    assert bench.plan(spec).before.value.text == str(db.clock)
    assert [row["v"] for row in case.rows()] == ["a"]


def test_keyed_loads_without_a_cursor_compare_everything(case, bench, db):
    upsert, once = a_spec("upsert", cursor=None), a_spec("append_once", cursor=None, path="once")
    db.insert(a_row(db, 1, "a"), a_row(db, 2, "a"))
    bench.load(upsert)
    bench.load(once)
    db.change(1, {"v": "b"})
    db.insert(a_row(db, 3, "a"))
    bench.load(upsert)
    bench.load(once)
    assert case.rows() == everything(db)
    assert [(row["id"], row["v"]) for row in case.rows("once")] == [(1, "a"), (2, "a"), (3, "a")]
    version = case.version("once")
    assert bench.load(once).rows_written == 0
    assert case.version("once") == version


# --- overwrite, reload, backfill ---------------------------------------------------------------------


def test_an_overwrite_leaves_exactly_the_sources_rows(case, bench, db):
    spec = a_spec("overwrite")
    db.insert(a_row(db, 1), a_row(db, 2), {"id": 3, "u": None, "v": "a"})
    bench.load(spec)
    db.delete(1)
    db.insert(a_row(db, 4))
    assert bench.load(spec).decision == "FULL RELOAD"
    assert case.rows() == everything(db)


def test_an_overwrite_by_an_empty_source_empties_the_target(case, bench, db):
    db.insert(a_row(db, 1))
    bench.load(a_spec("overwrite"))
    db.delete(1)
    bench.load(a_spec("overwrite"))
    assert case.rows() == []


def test_a_forced_reload_replaces_all_rows_in_one_restorable_commit(case, bench, db):
    db.insert(a_row(db, 1), a_row(db, 2))
    bench.load(a_spec())
    version = case.version()
    db.delete(1)
    result = bench.load(a_spec(force=True))
    assert (result.decision, case.version()) == ("FULL RELOAD", version + 1)
    assert case.rows() == everything(db)
    case.restore(version)
    assert ids(case) == [1, 2]


def test_after_a_reload_the_next_load_is_an_increment(case, bench, db):
    db.insert(a_row(db, 1))
    bench.load(a_spec())
    bench.load(a_spec(force=True))
    db.insert(a_row(db, 2))
    assert bench.load(a_spec()).decision == "INCREMENTAL"
    assert case.rows() == everything(db)


def test_a_backfill_replaces_its_window_and_nothing_else(case, bench, db):
    for number in range(6):
        db.insert(a_row(db, number))
        db.advance(MINUTE)
    bench.load(a_spec())
    mark = bench.plan(a_spec()).before
    db.change(2, {"v": "corrected"})
    db.delete(3)
    db.change(5, {"v": "outside"})
    window = (str(START + 2 * MINUTE), str(START + 3 * MINUTE))
    result = bench.load(a_spec(backfill=window))
    assert result.decision == "BACKFILL"
    assert [(row["id"], row["v"]) for row in case.rows()] == [
        (0, "a"),
        (1, "a"),
        (2, "corrected"),
        (4, "a"),
        (5, "a"),
    ]
    assert bench.plan(a_spec()).before == mark
    assert bench.load(a_spec(backfill=window)).decision == "BACKFILL"
    assert len(case.rows()) == 5


def test_a_backfill_by_keys_merges_its_window(case, bench, db):
    spec = a_spec("upsert")
    for number in range(4):
        db.insert(a_row(db, number))
        db.advance(MINUTE)
    bench.load(spec)
    db.change(1, {"v": "corrected"})
    window = (str(START), str(START + 2 * MINUTE))
    bench.load(a_spec("upsert", backfill=window))
    assert case.rows() == everything(db)


def test_a_backfill_above_the_mark_doubles_nothing_later(case, bench, db):
    db.insert(a_row(db, 1))
    bench.load(a_spec())
    db.advance(MINUTE)
    db.insert(a_row(db, 2))
    bench.load(a_spec(backfill=(str(START), str(db.clock))))
    assert case.rows() == everything(db)
    db.insert(a_row(db, 3))
    bench.load(a_spec())
    assert case.rows() == everything(db)


def test_a_backfill_spares_rows_without_a_cursor_value(case, bench, db):
    db.insert({"id": 1, "u": None, "v": "a"}, a_row(db, 2))
    bench.load(a_spec())
    for nulls in NullPolicy.WARN, NullPolicy.READ:
        bench.load(a_spec(cursor=CursorSpec("u", nulls=nulls), backfill=("2024-01-01", "2025-01-01")))
        assert case.rows() == everything(db)


# --- What writes nothing ---------------------------------------------------------------------------


@pytest.mark.parametrize("loaded", [False, True], ids=["first run", "later"])
@each("spec", MODES, on_spark=["append", "overwrite"])
def test_a_dry_run_reads_and_writes_nothing(case, bench, db, sources, spec, loaded):
    db.insert(a_row(db, 1))
    if loaded:
        bench.load(spec)
        db.insert(a_row(db, 2))
    before, reads = case.state(), sources.reads
    result = bench.load(spec, dry_run=True)
    assert (result.status, result.rows_written) == ("dry_run", 0)
    assert sources.reads == reads + 1
    assert case.state() == before
    assert bench.load(spec).status == "loaded"


def test_a_dry_run_finds_rows_that_do_not_fit(case, bench, db):
    bad = a_spec(transform="f")
    db.insert(a_row(db))
    bench.load(a_spec())
    db.advance(MINUTE)
    db.insert(a_row(db, 2))
    bench.lookup = {"f": lambda frame: case.frames.constant(frame, 1.5)}.__getitem__
    with pytest.raises(SchemaMismatchError):
        bench.load(bad, dry_run=True)


@pytest.mark.parametrize("batches", [0, 1, 2])
@each("spec", MODES, on_spark=["upsert"])
def test_a_source_that_breaks_while_it_is_read_leaves_nothing(case, bench, db, sources, spec, batches):
    db.insert(*(a_row(db, number) for number in range(6)))
    sources.settings = {"break_after": batches}
    with pytest.raises(QueryError, match="connection was lost"):
        bench.load(spec)
    assert case.version() <= 0
    assert all(source.closed for source in sources.made if source.reads)
    sources.settings = {}
    bench.load(spec)
    version, rows = case.version(), case.rows()
    assert rows == everything(db)
    db.insert(*(a_row(db, number) for number in range(6, 12)))
    sources.settings = {"break_after": batches}
    with pytest.raises(QueryError):
        bench.load(spec)
    assert (case.version(), case.rows()) == (version, rows)


@pytest.mark.parametrize("seen", [1, 2, 3])
@each("spec", MODES, on_spark=["append"])
def test_a_cancel_leaves_nothing(case, bench, db, spec, seen):
    import threading

    db.insert(*(a_row(db, number) for number in range(9)))
    cancelled = threading.Event()
    phases = []

    def on_progress(progress):
        phases.append(progress.phase)
        if len(phases) == seen:
            cancelled.set()

    with pytest.raises(LoadCancelled):
        bench.load(spec, cancelled=cancelled, on_progress=on_progress)
    assert case.version() <= 0
    assert bench.load(spec).rows_written == 9
    assert case.rows() == everything(db)


def test_a_load_that_was_cancelled_before_it_began_reads_nothing(case, bench, db):
    import threading

    db.insert(a_row(db))
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(LoadCancelled):
        bench.load(a_spec(), cancelled=cancelled)
    assert case.version() == -1


def test_progress_counts_what_was_read(case, bench, db):
    db.insert(*(a_row(db, number) for number in range(7)))
    told = []
    bench.load(a_spec(), on_progress=told.append)
    assert [progress.rows for progress in told if progress.phase == "reading"] == [3, 6, 7]
    assert told[-1].rows == 7


def test_a_transform_that_fails_leaves_nothing(case, bench, db):
    def broken(frame):
        raise ZeroDivisionError("in the user's function")

    bench.lookup = {"f": broken}.__getitem__
    db.insert(a_row(db))
    with pytest.raises((ZeroDivisionError, CommitError), match="in the user's function"):
        bench.load(a_spec(transform="f"))
    assert case.version() <= 0
