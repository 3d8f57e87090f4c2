"""What no plan may ever do, whatever is asked for and whatever is observed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.builders import COLUMNS, NUMBER, TIME, a_load, a_source, a_spec, an_event, parsed
from hypothesis import event, given, settings
from hypothesis import strategies as st

from hwm_magics import errors
from hwm_magics.core.decided import (
    AppendRows,
    Commit,
    CreateTable,
    Decision,
    MergeRows,
    ReadRows,
    RecogniseRows,
    ReplaceTable,
    ReplaceWindow,
)
from hwm_magics.core.explain import explain, plan_to_dict
from hwm_magics.core.intent import intend
from hwm_magics.core.observed import Column, Existence, FirstLoad, SourceIdentity, TargetState
from hwm_magics.core.plan import plan_load
from hwm_magics.core.render import bundle
from hwm_magics.core.specs import Boundary, CursorSpec, FuturePolicy, NullPolicy, WriteMode
from hwm_magics.core.statement import Param

QUERIES = [
    None,
    "SELECT * FROM orders WHERE u > (SELECT COALESCE(MAX(u), '1900-01-01') FROM {target})",
    "SELECT * FROM orders WHERE u > :watermark",
    "SELECT * FROM orders WHERE u > :watermark AND u <= :high",
    "SELECT * FROM orders",
]
EVENTS = [
    ("WRITE", "adds"),
    ("WRITE", "removes"),
    ("WRITE", "replaces"),
    ("DELETE", "removes"),
    ("DELETE", "replaces"),
    ("UPDATE", "removes"),
    ("MERGE", "removes"),
    ("RESTORE", "removes"),
    ("", "removes"),
]

moments = st.integers(0, 100_000).map(
    lambda seconds: TIME.value("2024-06-01 12:00:00").minus(timedelta(seconds=-seconds))
)
numbers = st.integers(-5, 500_000).map(NUMBER.value)
values = st.one_of(moments, moments, numbers)


@st.composite
def cursors(draw):
    return CursorSpec(
        draw(st.sampled_from(["u", "u", "u", "v", "gone"])),
        fallback=draw(st.sampled_from([None, None, None, "v"])),
        lag=draw(st.sampled_from([None, None, timedelta(0), timedelta(hours=1), 50])),
        settle=draw(st.sampled_from([timedelta(0), timedelta(minutes=1)])),
        initial_value=draw(st.sampled_from([None, None, "2024-01-01", 7, "soon"])),
        boundary=draw(st.sampled_from([None, *Boundary])),
        future=draw(st.sampled_from(FuturePolicy)),
        nulls=draw(st.sampled_from(NullPolicy)),
        lookback=draw(st.sampled_from([None, None, timedelta(days=2)])),
    )


@st.composite
def specs(draw):
    query = draw(st.sampled_from([None, None, None, *QUERIES]))
    needs_cursor = query is not None and ":watermark" in query
    cursor = draw(st.one_of(st.none(), cursors(), cursors()))
    return a_spec(
        draw(st.sampled_from([mode.value for mode in WriteMode])),
        cursor=cursor or (CursorSpec("u") if needs_cursor else None),
        keys=draw(st.sampled_from([(), (), ("id",), ("gone",)])),
        query=query,
        transform=draw(st.sampled_from([None, None, "f"])),
        force=draw(st.sampled_from([False, False, False, True])),
        backfill=draw(
            st.sampled_from([None, None, None, ("2024-06-01", "2024-06-02"), ("5", "1"), ("x", "y")])
        ),
        schema=draw(st.sampled_from(["evolve", "strict"])),
        register_table=draw(st.sampled_from([None, None, "raw.orders"])),
        chunk=draw(st.sampled_from([None, None, timedelta(hours=1), 500])),
    )


@st.composite
def loads(draw):
    kind = draw(
        st.sampled_from(["incremental", "incremental", "first_run", "mark", "backfill", "full_reload"])
    )
    source = SourceIdentity(draw(st.sampled_from(["", "", "pg/1"])), draw(st.sampled_from(["", "1"])), "shop")
    mark = draw(st.one_of(st.none(), values, values, values))
    first = None
    if kind == "first_run" and mark is not None and draw(st.booleans()):
        beyond = draw(st.integers(0, 50_000))
        goal = mark.plus(timedelta(seconds=beyond) if mark.type.is_time else beyond)
        first = FirstLoad(goal, draw(st.integers(1, 9)))
    return a_load(mark, kind=kind, source=source, first_load=first)


@st.composite
def targets(draw):
    existence = draw(st.sampled_from([Existence.EXISTS, Existence.EXISTS, Existence.EXISTS, *Existence]))
    if existence is not Existence.EXISTS:
        registered = draw(st.sampled_from([None, None, "/lake/orders", "/lake/else"]))
        return TargetState(existence, "seen", location="/lake/orders", registered_as=registered)
    return TargetState(
        existence,
        "its log is at version 9",
        location="/lake/orders",
        version=9,
        columns=draw(
            st.sampled_from([COLUMNS, COLUMNS, COLUMNS[:2], (*COLUMNS, Column("w", "long", nullable=False))])
        ),
        has_rows=draw(st.sampled_from([True, True, True, False, None])),
        loads=tuple(draw(st.lists(loads(), max_size=2))),
        seq=draw(st.integers(0, 9)),
        other_nodes=draw(st.sampled_from([(), (), ("eu",)])),
        events=tuple(an_event(*what) for what in draw(st.lists(st.sampled_from(EVENTS), max_size=2))),
        max_cursor=draw(st.one_of(st.none(), values)),
        replaced=draw(st.one_of(st.none(), st.none(), loads())),
        unsupported=draw(st.sampled_from(["", "", "", "clustering"])),
    )


@st.composite
def sources(draw):
    numeric = draw(st.sampled_from([False, False, False, True]))
    mine = numbers if numeric else moments
    high = draw(st.one_of(st.none(), mine, mine, mine))
    top = draw(st.one_of(st.just(high), mine))
    below = None if high is not None else draw(st.one_of(st.none(), mine))
    now = None if numeric else draw(moments)
    return a_source(
        high,
        cursor_type=NUMBER if numeric else TIME,
        now=now,
        top=top if top is None or high is None or top >= high else high,
        below=below,
        count=draw(st.sampled_from([None, 0, 5])) if high is not None else draw(st.sampled_from([None, 0])),
        nulls=draw(st.sampled_from([None, 0, 3])),
        future=draw(st.sampled_from([None, 0, 0, 3])),
        columns=draw(
            st.sampled_from([COLUMNS, COLUMNS, COLUMNS, COLUMNS[:2], (*COLUMNS, Column("w", "long"))])
        ),
        identity=SourceIdentity(
            draw(st.sampled_from(["", "pg/1", "pg/2"])), draw(st.sampled_from(["", "1", "2"])), "shop"
        ),
        unique_keys=draw(st.sampled_from([None, True, False])),
        lowest=draw(st.one_of(st.none(), mine)),
    )


@st.composite
def plans(draw):
    """A plan as the application makes it: the source is asked only where the target does not block."""
    spec, target = draw(specs()), draw(targets())
    query = parsed(spec)
    intent = intend(spec, query, target)
    found = tuple(Param(f"target_{n}", draw(moments)) for n, _ in enumerate(query.target_queries, 1))
    given_values = () if intent.first_run else found
    source = None if intent.blocker else draw(sources())
    plan = plan_load(spec, query, target, source, values=given_values)
    event(plan.decision.value)
    return plan


few = settings(max_examples=40)


@few
@given(plans())
def test_nothing_is_ever_written_to_a_target_that_is_unknown_or_beyond_the_engine(plan):
    if plan.target.existence is Existence.UNKNOWN or plan.target.unsupported:
        assert plan.decision is Decision.BLOCKED
        assert not plan.writes


@few
@given(plans())
def test_rows_are_never_replaced_unless_that_was_asked_for(plan):
    if plan.step(ReplaceTable):
        assert plan.decision is Decision.FULL_RELOAD
        assert plan.spec.force_first_run or plan.spec.write.mode is WriteMode.OVERWRITE
    if plan.step(ReplaceWindow):
        assert plan.decision is Decision.BACKFILL
        assert plan.spec.backfill is not None
        assert plan.step(ReplaceWindow).window == plan.window
        assert plan.window.low is not None
        assert plan.window.high is not None
        assert not plan.target.other_nodes


@few
@given(plans())
def test_no_window_leaves_a_gap_above_the_last_watermark(plan):
    if plan.decision is not Decision.INCREMENTAL or plan.window is None or plan.before is None:
        return
    low = plan.window.low
    if low is not None:
        assert low <= plan.before.value
        if low == plan.before.value and not plan.window.low_inclusive:
            by_hand = plan.before.origin == "set"
            chosen = plan.spec.read.cursor and plan.spec.read.cursor.boundary is Boundary.EXCLUSIVE
            unrecognisable = plan.spec.transform and not plan.spec.write.keys
            assert by_hand or chosen or unrecognisable


@few
@given(plans())
def test_a_mark_is_never_recorded_above_what_the_window_read(plan):
    if not plan.writes or plan.after is None or plan.decision is Decision.BACKFILL:
        return
    if plan.chunk is not None:
        assert plan.after.value == plan.window.high <= plan.chunk.goal
        assert (plan.after.value == plan.chunk.goal) == (not plan.chunk.left)
        return
    highest = [
        mark for mark in (plan.source.high, plan.before.value if plan.before else None) if mark is not None
    ]
    assert any(plan.after.value == mark for mark in highest)
    if plan.decision is Decision.INCREMENTAL and plan.before is not None:
        assert plan.after.value >= plan.before.value
    if plan.window is not None and plan.window.high is not None and plan.source.high is not None:
        assert plan.source.high <= plan.window.high


@few
@given(plans())
def test_rows_that_are_read_again_are_recognised_or_merged(plan):
    if plan.decision is not Decision.INCREMENTAL or plan.window is None or not plan.step(AppendRows):
        return
    if plan.before is None or plan.window.low is None:
        return
    again = plan.window.low < plan.before.value or plan.window.low_inclusive
    if again and not plan.spec.read.query:
        step = plan.step(RecogniseRows)
        assert step is not None
        assert step.low == plan.window.low


@few
@given(plans())
def test_a_first_load_goes_on_right_above_its_last_chunk_and_recognises_only_what_others_did(plan):
    if plan.decision is not Decision.RESUME:
        return
    unfinished = (plan.target.last_load or plan.target.replaced).unfinished
    assert (plan.chunk.number, plan.chunk.goal) == (unfinished.chunk + 1, unfinished.goal)
    assert (plan.window.low, plan.window.low_inclusive) == (plan.before.value, False)
    assert plan.window.low < plan.window.high
    assert plan.step(RecogniseRows) is None or plan.target.events
    assert plan.step(CreateTable) is None


@few
@given(plans())
def test_a_first_run_reads_everything(plan):
    if plan.decision is Decision.FIRST_RUN and plan.spec.read.cursor is not None:
        given_low = plan.spec.read.cursor.initial_value is not None
        assert plan.window is None or plan.window.low is None or given_low
        assert plan.target.existence is Existence.ABSENT or plan.target.has_rows is False


@few
@given(plans())
def test_every_blocker_says_what_to_do_and_names_an_error_of_ours(plan):
    assert (plan.decision is Decision.BLOCKED) == (plan.blocker is not None)
    if plan.blocker is not None:
        assert plan.blocker.message.strip()
        assert plan.blocker.hint.strip()
        assert issubclass(getattr(errors, plan.blocker.error), errors.HwmError)
        assert not plan.writes


@few
@given(plans())
def test_a_plan_that_writes_reads_once_and_commits_once(plan):
    if not plan.writes:
        assert plan.decision in (Decision.BLOCKED, Decision.NO_CHANGES)
        return
    kinds = [type(step) for step in plan.steps]
    writing = [kind for kind in kinds if kind in (AppendRows, MergeRows, ReplaceTable, ReplaceWindow)]
    assert len(writing) == 1
    assert (kinds.count(ReadRows), kinds.count(Commit)) == (1, 1)
    assert kinds.index(ReadRows) < kinds.index(writing[0]) < kinds.index(Commit)
    assert (CreateTable in kinds) == (plan.target.existence is Existence.ABSENT)
    assert plan.step(Commit).seq == plan.target.seq + 1
    if MergeRows in kinds:
        assert plan.spec.write.keys


@few
@given(plans())
def test_every_plan_can_be_put_into_words(plan):
    told = explain(plan)
    assert told.badge == plan.decision.value
    assert all(text.strip() for text in (told.sentence, told.reason, *told.warnings, *told.notes))
    assert all(bundle(told).values())
    assert plan_to_dict(plan)["decision"] == plan.decision.value


@few
@given(plans())
def test_the_same_observations_give_the_same_plan(plan):
    again = plan_load(plan.spec, parsed(plan.spec), plan.target, plan.source, values=_values_of(plan))
    assert replace(again, source=plan.source) == plan


def _values_of(plan):
    statement = plan.step(ReadRows).statement if plan.step(ReadRows) else None
    if statement is None or plan.decision in (Decision.FIRST_RUN, Decision.RESUME, Decision.FULL_RELOAD):
        return ()
    return tuple(param for param in statement.params if param.name.startswith("target_"))


CHECKS = [check for name, check in list(globals().items()) if name.startswith("test_")]


@pytest.mark.slow
@settings(max_examples=1000)
@given(plans())
def test_all_of_this_holds_for_a_thousand_plans(plan):
    for check in CHECKS:
        check.hypothesis.inner_test(plan)
