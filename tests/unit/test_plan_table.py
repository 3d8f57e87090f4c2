"""The decision table: what is asked for, what the target is, and what comes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.builders import (
    COLUMNS,
    NUMBER,
    TIME,
    a_load,
    a_source,
    a_spec,
    absent,
    an_event,
    at,
    parsed,
    there,
    unknown,
)

from hwm_magics import errors
from hwm_magics.core.decided import (
    AppendRows,
    ApplyTransform,
    Commit,
    CreateTable,
    Deduplicate,
    MergeRows,
    OptimizeTable,
    RecogniseRows,
    RegisterTable,
    ReplaceTable,
    ReplaceWindow,
)
from hwm_magics.core.intent import intend, needs_target_maximum
from hwm_magics.core.observed import Column, SourceIdentity
from hwm_magics.core.plan import plan_load
from hwm_magics.core.query import display
from hwm_magics.core.specs import Boundary, CursorSpec, FuturePolicy, NullPolicy

MARK = at("09:00:00")
HIGH = at("11:59:00", 2)
LOADED = there(a_load(MARK))
EMPTY = there(rows=False)
ADDED = (an_event("WRITE", "adds"),)
DELETED = (an_event("DELETE", "removes"),)
UPDATED = (an_event("UPDATE", "removes"),)
CHANGED = there(a_load(MARK), events=UPDATED, max_cursor=MARK)
REFILLED = there(
    replaced=a_load(MARK), events=(*ADDED, an_event("DELETE", "replaces", 4)), max_cursor=HIGH, seq=3
)
EMPTIED = there(a_load(MARK), rows=False, events=(an_event("DELETE", "replaces"),))
RELOADED_EMPTY = there(a_load(None, kind="full_reload"), rows=False)
EMPTY_WITH_MARK = there(a_load(MARK, kind="mark"), rows=False)
EXPIRED_AMONG_OTHERS = there(max_cursor=MARK, seq=9, other_nodes=("eu",))
FILL_NEW = a_spec(backfill=("2024-06-01", "2024-06-02"))
FILL_OLD = a_spec(backfill=("2024-05-01", "2024-05-02"))
MERGE_OLD = a_spec("upsert", backfill=("2024-05-01", "2024-05-02"))
NO_FUTURE = a_spec(cursor=CursorSpec("u", future=FuturePolicy.ERROR))
NO_NULLS = a_spec(cursor=CursorSpec("u", nulls=NullPolicy.ERROR))
WIDER = (*COLUMNS, Column("w", "long"))
NUMBERS = a_source(NUMBER.value(7), cursor_type=NUMBER, now=None)
FROM_TARGET = "SELECT * FROM orders WHERE u > (SELECT COALESCE(MAX(u), '1900-01-01') FROM {target})"
FROM_PARAMETER = "SELECT * FROM orders WHERE u > :watermark"


def plan_of(spec, target, source=None):
    query = parsed(spec)
    intent = intend(spec, query, target)
    asked = None if intent.blocker else (source or a_source(HIGH))
    return plan_load(spec, query, target, asked)


def kinds(plan) -> set[type]:
    return {type(step) for step in plan.steps}


# Each line: its name, the load, the target; then the decision, and the step that writes or the error.
BY_TARGET = [
    ("absent", a_spec(), absent(), "FIRST RUN", AppendRows),
    ("absent, upsert", a_spec("upsert"), absent(), "FIRST RUN", AppendRows),
    ("absent, overwrite", a_spec("overwrite"), absent(), "FIRST RUN", AppendRows),
    ("absent, force", a_spec(force=True), absent(), "FIRST RUN", AppendRows),
    ("absent, backfill", FILL_NEW, absent(), "BLOCKED", "BlockedError"),
    ("unknown", a_spec(), unknown(), "BLOCKED", "TargetUnknownError"),
    ("unknown, force", a_spec(force=True), unknown(), "BLOCKED", "TargetUnknownError"),
    ("unknown, overwrite", a_spec("overwrite"), unknown(), "BLOCKED", "TargetUnknownError"),
    (
        "unknown, backfill",
        FILL_NEW,
        unknown(),
        "BLOCKED",
        "TargetUnknownError",
    ),
    (
        "beyond the engine",
        a_spec(),
        replace(LOADED, unsupported="clustering"),
        "BLOCKED",
        "UnsupportedByEngineError",
    ),
    ("empty, never loaded", a_spec(), EMPTY, "FIRST RUN", AppendRows),
    ("empty, overwrite", a_spec("overwrite"), EMPTY, "FIRST RUN", AppendRows),
    (
        "empty, backfill",
        FILL_NEW,
        EMPTY,
        "BLOCKED",
        "BlockedError",
    ),
    ("emptied by others, backfill", FILL_OLD, EMPTIED, "BLOCKED", "BlockedError"),
    ("loaded without a mark, backfill", FILL_OLD, there(a_load(None)), "BLOCKED", "BlockedError"),
    ("changed by others, backfill", FILL_OLD, CHANGED, "BLOCKED", "BlockedError"),
    ("changed by others, backfill, upsert", MERGE_OLD, CHANGED, "BACKFILL", MergeRows),
    ("emptied by others and filled again", a_spec(keys=("id",)), REFILLED, "BLOCKED", "BlockedError"),
    ("emptied by others", a_spec(), EMPTIED, "FIRST RUN", AppendRows),
    ("reloaded from an empty source", a_spec(), RELOADED_EMPTY, "FIRST RUN", AppendRows),
    ("empty, mark set by hand", a_spec(), EMPTY_WITH_MARK, "INCREMENTAL", AppendRows),
    ("loaded", a_spec(), LOADED, "INCREMENTAL", AppendRows),
    ("loaded, upsert", a_spec("upsert"), LOADED, "INCREMENTAL", MergeRows),
    ("loaded, append_once", a_spec("append_once"), LOADED, "INCREMENTAL", MergeRows),
    ("loaded, overwrite", a_spec("overwrite"), LOADED, "FULL RELOAD", ReplaceTable),
    ("loaded, force", a_spec(force=True), LOADED, "FULL RELOAD", ReplaceTable),
    ("loaded, force, upsert", a_spec("upsert", force=True), LOADED, "FULL RELOAD", ReplaceTable),
    ("loaded, backfill", FILL_OLD, LOADED, "BACKFILL", ReplaceWindow),
    ("loaded, backfill, upsert", MERGE_OLD, LOADED, "BACKFILL", MergeRows),
    ("never loaded, with rows", a_spec(), there(max_cursor=MARK), "INCREMENTAL", AppendRows),
    ("never loaded, only NULL cursors", a_spec(), there(), "BLOCKED", "BlockedError"),
    ("loaded, only NULL cursors", a_spec(), there(a_load(None, kind="first_run")), "INCREMENTAL", AppendRows),
    (
        "loaded, only NULL cursors, and others have added values",
        a_spec(),
        there(a_load(None, kind="first_run"), events=ADDED, max_cursor=HIGH),
        "INCREMENTAL",
        AppendRows,
    ),
    (
        "the same after a transform",
        a_spec(transform="f"),
        there(a_load(None, kind="first_run"), events=ADDED, max_cursor=HIGH),
        "BLOCKED",
        "BlockedError",
    ),
    ("only the transaction id is left", a_spec(), there(max_cursor=MARK, seq=9), "INCREMENTAL", AppendRows),
    ("loaded by another node", a_spec(), there(max_cursor=MARK, other_nodes=("eu",)), "BLOCKED", "BlockedError"),
    (
        "loaded by another node, own beginning",
        a_spec(cursor=CursorSpec("u", initial_value="2024-01-01")),
        there(max_cursor=MARK, other_nodes=("eu",)),
        "INCREMENTAL",
        AppendRows,
    ),
    ("expired log, other nodes", a_spec(), EXPIRED_AMONG_OTHERS, "BLOCKED", "BlockedError"),
    ("created by us, filled by others", a_spec(), there(max_cursor=MARK, created=True), "BLOCKED", "BlockedError"),
    ("another cursor column", a_spec(cursor=CursorSpec("v")), LOADED, "BLOCKED", "BlockedError"),
]  # fmt: skip

BY_EVENTS = [
    ("foreign append", a_spec(), (an_event("WRITE", "adds"),), "INCREMENTAL", AppendRows),
    ("foreign append, transform", a_spec(transform="f"), (an_event("WRITE", "adds"),), "INCREMENTAL", AppendRows),
    ("foreign delete", a_spec(), DELETED, "INCREMENTAL", AppendRows),
    ("foreign delete, transform", a_spec(transform="f"), DELETED, "BLOCKED", "BlockedError"),
    ("foreign delete, transform, keys", a_spec(transform="f", keys=("id",)), DELETED, "INCREMENTAL", AppendRows),
    ("foreign update", a_spec(), UPDATED, "BLOCKED", "BlockedError"),
    ("foreign update, keys", a_spec(keys=("id",)), UPDATED, "INCREMENTAL", AppendRows),
    ("foreign update, upsert", a_spec("upsert"), UPDATED, "INCREMENTAL", MergeRows),
    ("foreign merge", a_spec(), (an_event("MERGE", "removes"),), "BLOCKED", "BlockedError"),
    ("foreign merge that only inserted", a_spec(), (an_event("MERGE", "adds"),), "INCREMENTAL", AppendRows),
    ("foreign partial overwrite", a_spec(), (an_event("WRITE", "removes"),), "BLOCKED", "BlockedError"),
    ("unknown operation", a_spec(), (an_event("", "removes"),), "BLOCKED", "BlockedError"),
    ("restore to a moment", a_spec(), (an_event("RESTORE", "removes"),), "INCREMENTAL", AppendRows),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "target", "decision", "outcome"),
    [pytest.param(*line[1:], id=line[0]) for line in BY_TARGET],
)
def test_the_target_decides(spec, target, decision, outcome):
    plan = plan_of(spec, target)
    assert plan.decision == decision, plan.reason
    if decision == "BLOCKED":
        assert plan.blocker.error == outcome
        assert not plan.writes
    else:
        assert outcome in kinds(plan)
        assert Commit in kinds(plan)


@pytest.mark.parametrize(
    ("spec", "events", "decision", "outcome"), [pytest.param(*line[1:], id=line[0]) for line in BY_EVENTS]
)
def test_what_others_did_decides(spec, events, decision, outcome):
    target = there(a_load(MARK), events=events, max_cursor=at("08:30:00"))
    plan = plan_of(spec, target)
    assert plan.decision == decision, plan.reason
    if decision == "BLOCKED":
        assert plan.blocker.error == outcome
        assert "%hwm_watermark" in plan.blocker.hint
    else:
        assert outcome in kinds(plan)


WAYS = [
    ("window, absent", a_spec(), absent(), "FIRST RUN"),
    ("target, absent", a_spec(query=FROM_TARGET, cursor=None), absent(), "FIRST RUN"),
    ("target, loaded", a_spec(query=FROM_TARGET, cursor=None), LOADED, "INCREMENTAL"),
    ("target, overwrite", a_spec("overwrite", query=FROM_TARGET, cursor=None), LOADED, "BLOCKED"),
    ("parameter, absent", a_spec(query=FROM_PARAMETER, cursor=None), absent(), "BLOCKED"),
    (
        "parameter, absent, beginning given",
        a_spec(query=FROM_PARAMETER, cursor=CursorSpec("u", initial_value="2024-01-01")),
        absent(),
        "FIRST RUN",
    ),
    ("parameter, loaded", a_spec(query=FROM_PARAMETER, cursor=None), LOADED, "INCREMENTAL"),
    ("parameter, overwrite", a_spec("overwrite", query=FROM_PARAMETER, cursor=None), LOADED, "BLOCKED"),
    ("nothing, absent", a_spec(cursor=None), absent(), "FIRST RUN"),
    ("nothing, loaded, append", a_spec(cursor=None), LOADED, "BLOCKED"),
    ("nothing, loaded, upsert", a_spec("upsert", cursor=None), LOADED, "INCREMENTAL"),
    ("nothing, loaded, append_once", a_spec("append_once", cursor=None), LOADED, "INCREMENTAL"),
    ("nothing, loaded, overwrite", a_spec("overwrite", cursor=None), LOADED, "FULL RELOAD"),
    ("nothing, backfill", a_spec(cursor=None, backfill=("1", "2")), LOADED, "BLOCKED"),
]


@pytest.mark.parametrize(
    ("spec", "target", "decision"), [pytest.param(*line[1:], id=line[0]) for line in WAYS]
)
def test_the_way_of_saying_what_is_new_decides(spec, target, decision):
    assert plan_of(spec, target).decision == decision


def test_when_nothing_says_what_is_new_the_three_ways_are_named():
    hint = plan_of(a_spec(cursor=None), LOADED).blocker.hint
    for word in ("read.incremental", "{target}", ":watermark", "upsert"):
        assert word in hint


BY_SOURCE = [
    ("nothing new", a_spec(), a_source(None, below=at("09:00:00")), "NO CHANGES"),
    ("empty source", a_spec(), a_source(None), "NO CHANGES"),
    ("only future rows", a_spec(), a_source(None, top=at("12:00:00", 9), future=3), "NO CHANGES"),
    ("an empty window", a_spec(), a_source(MARK, count=0), "NO CHANGES"),
    ("only the tie", a_spec(), a_source(MARK), "INCREMENTAL"),
    (
        "only the tie, and it is not looked at",
        a_spec(cursor=CursorSpec("u", lag=timedelta(0), boundary=Boundary.EXCLUSIVE)),
        a_source(MARK),
        "NO CHANGES",
    ),
    ("everything below the overlap", a_spec(), a_source(None, below=at("01:00:00")), "WatermarkAheadError"),
    ("high inside the overlap", a_spec(), a_source(at("08:59:00")), "INCREMENTAL"),
    ("future rows, error", NO_FUTURE, a_source(HIGH, future=1), "CursorColumnError"),
    ("NULL cursors, error", NO_NULLS, a_source(HIGH, nulls=1), "CursorColumnError"),
    ("NULL cursors, warn", a_spec(), a_source(HIGH, nulls=1), "INCREMENTAL"),
    (
        "NULL cursors are all that is new",
        a_spec(cursor=CursorSpec("u", nulls=NullPolicy.READ)),
        a_source(None, nulls=1, below=MARK),
        "INCREMENTAL",
    ),
    (
        "NULL cursors that can't be recognised",
        a_spec(cursor=CursorSpec("u", nulls=NullPolicy.READ), transform="f"),
        a_source(HIGH, nulls=1),
        "BlockedError",
    ),
    (
        "a rolling window that can't be recognised",
        a_spec(cursor=CursorSpec("u", lookback=timedelta(days=3)), transform="f"),
        a_source(HIGH),
        "BlockedError",
    ),
    ("a cursor of another kind", a_spec(), NUMBERS, "CursorColumnError"),
    ("a lossy type", a_spec(), a_source(HIGH, columns=(*COLUMNS[:2], Column("v", "double"))), "SchemaMismatchError"),
    ("a key that is not read", a_spec("upsert", keys=("order_id",)), a_source(HIGH), "SchemaMismatchError"),
    ("a cursor that is not read", a_spec(), a_source(HIGH, columns=COLUMNS[::2]), "SchemaMismatchError"),
    ("names that clash", a_spec(), a_source(HIGH, columns=(*COLUMNS, Column("V", "string"))), "SchemaMismatchError"),
    ("a new column, strict", a_spec(schema="strict"), a_source(HIGH, columns=WIDER), "SchemaMismatchError"),
    ("a new column, evolve", a_spec(), a_source(HIGH, columns=WIDER), "INCREMENTAL"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "source", "outcome"), [pytest.param(*line[1:], id=line[0]) for line in BY_SOURCE]
)
def test_the_source_decides(spec, source, outcome):
    plan = plan_of(spec, LOADED, source)
    if outcome.endswith("Error"):
        assert (plan.decision, plan.blocker.error) == ("BLOCKED", outcome)
        assert plan.blocker.hint
        assert not plan.writes
    else:
        assert plan.decision == outcome, plan.reason
        assert plan.writes == (outcome != "NO CHANGES")


@pytest.mark.parametrize("high", [49, None])
def test_a_number_below_the_watermark_means_that_the_source_went_back(high):
    target = there(a_load(NUMBER.value(50)), columns=(COLUMNS[0], Column("u", "long"), COLUMNS[2]))
    value = NUMBER.value(high) if high else None
    source = a_source(value, cursor_type=NUMBER, now=None, columns=target.columns, below=NUMBER.value(3))
    assert plan_of(a_spec(), target, source).blocker.error == "WatermarkAheadError"


def test_another_database_is_refused_and_a_failover_warned_about():
    target = there(a_load(MARK, source=SourceIdentity("pg/1", "1", "shop on a")))
    other = plan_of(a_spec(), target, a_source(HIGH, identity=SourceIdentity("pg/2", "1", "shop on b")))
    assert other.decision == "BLOCKED"
    assert "shop on b" in other.reason
    failover = plan_of(a_spec(), target, a_source(HIGH, identity=SourceIdentity("pg/1", "2", "shop on a")))
    assert failover.decision == "INCREMENTAL"
    assert any("restored or failed over" in text for text in failover.warnings)


def test_a_first_run_has_no_low_bound_and_records_the_high():
    plan = plan_of(a_spec(), absent())
    assert (plan.window.low, plan.window.high) == (None, HIGH)
    assert plan.after.value == HIGH
    assert plan.step(CreateTable).columns == COLUMNS


def test_an_increment_begins_ten_minutes_below_the_watermark():
    plan = plan_of(a_spec(), LOADED)
    assert (plan.window.low, plan.window.high, plan.window.low_inclusive) == (at("08:50:00"), HIGH, True)
    assert (plan.before.value, plan.after.value) == (MARK, HIGH)
    assert plan.step(RecogniseRows).low == at("08:50:00")


def test_the_watermark_never_moves_back():
    plan = plan_of(a_spec(), LOADED, a_source(at("08:55:00")))
    assert plan.after.value == MARK
    assert any("rows were deleted there" in text for text in plan.warnings)


def test_a_backfill_reads_its_window_and_leaves_the_mark():
    plan = plan_of(FILL_OLD, LOADED)
    assert (plan.window.low, plan.window.high) == (TIME.value("2024-05-01"), TIME.value("2024-05-02"))
    assert plan.after == plan.before
    assert plan.step(RecogniseRows) is None


@pytest.mark.parametrize("window", [("2024-05-02", "2024-05-01"), ("soon", "later")])
def test_a_backfill_window_that_is_none_is_refused(window):
    plan = plan_of(a_spec(backfill=window), LOADED)
    assert plan.decision == "BLOCKED"
    assert plan.blocker.hint


def test_a_backfill_above_the_mark_is_refused_where_its_rows_could_not_be_recognised():
    spec = a_spec(transform="f", backfill=("2024-06-01", "2024-06-02"))
    assert plan_of(spec, LOADED).decision == "BLOCKED"
    below = a_spec(transform="f", backfill=("2024-05-01", "2024-05-02"))
    assert plan_of(below, LOADED).decision == "BACKFILL"


def test_a_backfill_never_replaces_the_rows_of_other_nodes():
    target = replace(LOADED, other_nodes=("eu",))
    assert plan_of(FILL_OLD, target).decision == "BLOCKED"
    merged = plan_of(MERGE_OLD, target)
    assert merged.step(ReplaceWindow) is None


@pytest.mark.parametrize("spec", [a_spec(force=True), a_spec("overwrite")], ids=["force", "overwrite"])
def test_a_reload_names_the_other_nodes_whose_rows_go_too(spec):
    plan = plan_of(spec, replace(LOADED, other_nodes=("eu",)))
    assert any("eu" in text for text in plan.warnings)


def test_the_lower_of_recorded_mark_and_data_is_taken_where_rows_went():
    target = there(a_load(MARK), events=(an_event("DELETE", "removes"),), max_cursor=at("07:00:00"))
    assert plan_of(a_spec(), target).before.value == at("07:00:00")
    higher = replace(target, max_cursor=at("10:00:00"))
    assert plan_of(a_spec(), higher).before.value == MARK


def test_after_a_foreign_overwrite_the_lower_of_the_two_marks_is_taken():
    replaced = there(
        replaced=a_load(MARK), events=(an_event("WRITE", "replaces"),), max_cursor=at("12:00:00", 9), seq=3
    )
    plan = plan_of(a_spec(keys=("id",)), replaced)
    assert plan.before.value == MARK
    older = replace(replaced, max_cursor=at("01:00:00"))
    assert plan_of(a_spec(keys=("id",)), older).before.value == at("01:00:00")
    assert plan_of(a_spec(), replaced).decision == "BLOCKED"


def test_a_mark_of_which_no_row_is_left_is_not_trusted():
    target = there(a_load(MARK), events=(an_event("DELETE", "removes"),), max_cursor=None)
    plan = plan_of(a_spec(), target)
    assert plan.decision == "BLOCKED"
    assert "u" in plan.reason


def test_the_history_of_a_table_that_was_never_loaded_blocks_nothing():
    events = (an_event("UPDATE", "removes"), an_event("WRITE", "replaces", 0))
    plan = plan_of(a_spec(), there(max_cursor=MARK, events=events))
    assert (plan.decision, plan.before.origin) == ("INCREMENTAL", "data")


def test_an_adopted_mark_is_shown_as_such():
    plan = plan_of(a_spec(), there(max_cursor=MARK))
    assert any("adopted" in note for note in plan.notes)


def test_a_mark_set_by_hand_is_taken_at_its_word_and_rows_above_it_may_be_there():
    plan = plan_of(a_spec(), there(a_load(MARK, kind="mark")))
    assert (plan.window.low, plan.window.low_inclusive) == (MARK, False)
    assert plan.step(RecogniseRows).low == MARK


def test_only_after_a_backfill_an_exclusive_window_is_compared():
    spec = a_spec(cursor=CursorSpec("u", lag=timedelta(0), boundary=Boundary.EXCLUSIVE))
    assert plan_of(spec, LOADED).step(RecogniseRows) is None
    assert plan_of(spec, there(a_load(MARK, kind="backfill"))).step(RecogniseRows) is not None


def test_a_backfill_leaves_future_rows_to_their_time():
    plan = plan_of(a_spec(backfill=("2024-06-01", "2025-01-01")), LOADED)
    assert plan.window.high == at("12:00:00", 2)
    assert plan_of(a_spec(backfill=("2025-01-01", "2025-01-02")), LOADED).decision == "BLOCKED"


def test_only_where_the_log_has_no_mark_that_holds_the_data_is_read():
    spec = a_spec()
    assert not needs_target_maximum(spec, LOADED)
    assert not needs_target_maximum(spec, replace(LOADED, events=(an_event("WRITE", "adds"),)))
    assert needs_target_maximum(spec, replace(LOADED, events=(an_event("DELETE", "removes"),)))
    assert needs_target_maximum(spec, there())
    assert needs_target_maximum(spec, there(a_load(None)))
    for target in (absent(), unknown(), EMPTY):
        assert not needs_target_maximum(spec, target)
    assert not needs_target_maximum(a_spec(force=True), there())


def test_a_low_bound_is_cut_to_what_the_source_keeps_and_never_raised():
    seconds = replace(TIME, digits=0)
    target = there(a_load(at("09:00:00.999999")))
    plan = plan_of(a_spec(), target, a_source(seconds.value("2024-06-02"), cursor_type=seconds, now=None))
    assert plan.window.low == at("08:50:00")


def test_a_rolling_window_reaches_below_the_lag():
    plan = plan_of(a_spec(cursor=CursorSpec("u", lookback=timedelta(days=3))), LOADED)
    assert plan.window.low == TIME.value("2024-05-30 12:00:00")
    short = plan_of(a_spec(cursor=CursorSpec("u", lookback=timedelta(minutes=1))), LOADED)
    assert short.window.low == at("08:50:00")


def test_an_initial_value_bounds_a_first_run():
    plan = plan_of(a_spec(cursor=CursorSpec("u", initial_value="2024-01-01")), absent())
    assert plan.window.low == TIME.value("2024-01-01")
    wrong = plan_of(a_spec(cursor=CursorSpec("u", initial_value="soon")), absent())
    assert wrong.blocker.error == "CursorColumnError"


def test_a_first_run_and_a_reload_read_rows_without_a_cursor_value():
    for spec, target in [(a_spec(), absent()), (a_spec(force=True), LOADED), (a_spec("overwrite"), LOADED)]:
        plan = plan_of(spec, target)
        shown = display(
            plan.incremental_statement if spec.write.mode == "overwrite" else plan.first_run_statement
        )
        assert "IS NULL" in shown, shown


def test_an_increment_reads_rows_without_a_cursor_value_only_where_asked():
    assert "IS NULL" not in display(plan_of(a_spec(), LOADED).incremental_statement)
    reading = plan_of(a_spec(cursor=CursorSpec("u", nulls=NullPolicy.READ)), LOADED)
    assert "IS NULL" in display(reading.incremental_statement)
    assert reading.step(RecogniseRows).nulls


def test_keys_decide_by_what_rows_are_recognised():
    assert plan_of(a_spec(), LOADED).step(RecogniseRows).columns == ()
    assert plan_of(a_spec(keys=("id",)), LOADED).step(RecogniseRows).columns == ("id", "u")
    both = a_spec(keys=("id",), cursor=CursorSpec("u", fallback="c"))
    source = a_source(HIGH, columns=(*COLUMNS, Column("c", "timestamp_ntz")))
    target = there(a_load(MARK, column="COALESCE(u, c)"), columns=source.columns)
    assert plan_of(both, target, source).step(RecogniseRows).columns == ("id", "u", "c")


def test_after_a_transform_without_keys_nothing_is_read_twice():
    plan = plan_of(a_spec(transform="f"), LOADED)
    assert plan.step(RecogniseRows) is None
    assert (plan.window.low, plan.window.low_inclusive) == (MARK, False)
    assert any("lost" in text for text in plan.warnings)
    assert plan.step(ApplyTransform).name == "f"


def test_a_lag_before_a_transform_without_keys_is_refused():
    spec = a_spec(transform="f", cursor=CursorSpec("u", lag=timedelta(minutes=5)))
    assert plan_of(spec, LOADED).decision == "BLOCKED"


@pytest.mark.parametrize(("unique", "deduplicates"), [(True, False), (False, True), (None, True)])
def test_rows_are_deduplicated_unless_the_source_guarantees_its_keys(unique, deduplicates):
    plan = plan_of(a_spec("upsert"), LOADED, a_source(HIGH, unique_keys=unique))
    assert (plan.step(Deduplicate) is not None) == deduplicates
    changed = plan_of(a_spec("upsert", transform="f"), LOADED, a_source(HIGH, unique_keys=unique))
    assert changed.step(Deduplicate) is not None


def test_each_commit_takes_the_next_number_of_the_sequence():
    assert plan_of(a_spec(), absent()).step(Commit).seq == 1
    assert plan_of(a_spec(), there(a_load(MARK, version=3), seq=41)).step(Commit).seq == 42


def test_registering_and_optimizing_are_steps_of_the_plan():
    plan = plan_of(a_spec(register_table="raw.orders", optimize_write=True), absent())
    assert plan.step(RegisterTable).name == "raw.orders"
    assert plan.step(OptimizeTable) is not None
    clustered = plan_of(a_spec(cluster_by=("id",)), absent())
    assert clustered.step(OptimizeTable).z_order == ("id",)
    assert any("can't cluster" in note for note in clustered.notes)
    assert plan_of(a_spec(cluster_by=("id",)), LOADED).step(OptimizeTable) is None


@pytest.mark.parametrize(
    ("spec", "target"),
    [
        (a_spec("upsert"), there(a_load(MARK), properties={"delta.appendOnly": "true"})),
        (a_spec("overwrite"), there(a_load(MARK), properties={"delta.appendOnly": "TRUE"})),
        (a_spec(force=True), there(a_load(MARK), properties={"delta.appendOnly": "true"})),
        (FILL_OLD, there(a_load(MARK), properties={"delta.appendOnly": "true"})),
        (a_spec("upsert", properties={"delta.appendOnly": "true"}), absent()),
    ],
    ids=["upsert", "overwrite", "reload", "backfill", "a new table"],
)
def test_an_append_only_table_is_not_planned_to_be_changed(spec, target):
    plan = plan_of(spec, target)
    assert plan.decision == "BLOCKED"
    assert "delta.appendOnly" in plan.reason


@pytest.mark.parametrize("mode", ["append", "append_once"])
def test_an_append_only_table_may_grow(mode):
    target = there(a_load(MARK), properties={"delta.appendOnly": "true"})
    assert plan_of(a_spec(mode), target).decision == "INCREMENTAL"


def test_what_a_first_run_shows_as_the_next_statement_is_what_the_next_load_reads():
    for spec in (a_spec(), a_spec("upsert"), a_spec(cursor=CursorSpec("u", lag=timedelta(hours=2)))):
        shown = display(plan_of(spec, absent(), a_source(HIGH)).incremental_statement)
        read = display(plan_of(spec, there(a_load(HIGH)), a_source(at("14:00:00"))).incremental_statement)
        assert read.startswith(shown.rstrip(" )")), (shown, read)


def test_a_first_run_that_could_not_be_followed_by_another_says_so():
    plain = a_spec(cursor=None)
    plan = plan_of(plain, absent(), a_source(None, cursor_type=None, now=None))
    assert plan.decision == "FIRST RUN"
    assert any("next run will be BLOCKED" in text for text in plan.warnings)
    assert plan.incremental_statement is None
    assert plan_of(plain, there(a_load(None)), a_source(None, cursor_type=None)).decision == "BLOCKED"


@pytest.mark.parametrize(
    ("spec", "target", "looks_again"),
    [
        (a_spec(), LOADED, True),
        (a_spec("upsert"), LOADED, True),
        (a_spec(), there(a_load(at("08:00:00"))), False),
        (a_spec("upsert", cursor=CursorSpec("u", lookback=timedelta(days=1))), LOADED, False),
        (a_spec(cursor=CursorSpec("u", nulls=NullPolicy.READ)), LOADED, False),
        (a_spec(), there(a_load(MARK), events=DELETED, max_cursor=MARK), False),
        (a_spec(), absent(), False),
    ],
)
def test_a_plan_knows_whether_it_only_looks_again_at_what_lies_within_the_lag(spec, target, looks_again):
    assert plan_of(spec, target, a_source(MARK)).looks_again == looks_again


def test_a_cursor_that_the_target_does_not_have_is_named_beside_the_one_it_has():
    plan = plan_of(a_spec(cursor=CursorSpec("uu")), LOADED)
    assert plan.decision == "BLOCKED"
    assert "no column uu" in plan.reason
    assert plan.blocker.hint == "write read.incremental.column: u, if that is what is meant"


def test_a_name_that_stands_for_another_table_is_refused():
    target = replace(absent(), registered_as="/lake/elsewhere")
    plan = plan_of(a_spec(register_table="raw.orders"), target)
    assert plan.decision == "BLOCKED"
    assert "/lake/elsewhere" in plan.reason


def test_the_first_runs_columns_must_be_those_of_later_runs():
    later = (*COLUMNS[:2], Column("v", "long"))
    plan = plan_of(a_spec(first_run_query="SELECT * FROM old"), absent(), a_source(HIGH, later_columns=later))
    assert plan.blocker.error == "SchemaMismatchError"


def test_a_missing_column_is_warned_about_and_a_new_one_named():
    columns = (*COLUMNS[:2], Column("w", "long"))
    plan = plan_of(a_spec(), LOADED, a_source(HIGH, columns=columns))
    assert any("no longer has v" in text for text in plan.warnings)
    assert any("w (long)" in text for text in plan.notes)


def test_a_plan_without_steps_says_which_kind_it_is_and_why():
    plan = plan_of(a_spec(), LOADED, a_source(None, below=MARK))
    assert (plan.decision, plan.steps) == ("NO CHANGES", ())
    assert plan.reason
    assert plan.after == plan.before


def test_a_window_that_only_grew_keeps_the_plans_hash():
    assert plan_of(a_spec(), LOADED).hash == plan_of(a_spec(), LOADED, a_source(at("11:59:59", 2))).hash


@pytest.mark.parametrize(
    "other",
    [
        plan_of(a_spec("upsert"), LOADED),
        plan_of(a_spec(force=True), LOADED),
        plan_of(a_spec(keys=("id",)), LOADED),
        plan_of(a_spec(node="other"), LOADED),
        plan_of(a_spec(), absent()),
        plan_of(a_spec(), LOADED, a_source(HIGH, columns=WIDER)),
        plan_of(a_spec(), LOADED, a_source(None, below=MARK)),
    ],
    ids=["mode", "force", "keys", "node", "target", "columns", "nothing new"],
)
def test_another_kind_of_plan_has_another_hash(other):
    assert other.hash != plan_of(a_spec(), LOADED).hash


def test_every_error_that_a_blocker_may_name_is_one_of_ours():
    names = {line[-1] for line in [*BY_TARGET, *BY_EVENTS, *BY_SOURCE] if str(line[-1]).endswith("Error")}
    for name in names:
        assert issubclass(getattr(errors, name), errors.HwmError)
