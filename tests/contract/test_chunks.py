"""A first load in chunks: each window a commit, broken off and gone on with, and every row once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from contract.cases import each, in_order
from fakes.builders import COLUMNS, a_spec
from fakes.workspace import Bench

from hwm_magics.core.observed import Column
from hwm_magics.errors import LoadCancelled, QueryError
from hwm_magics.jobs.chunks import InChunks
from hwm_magics.jobs.marks import settle

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
QUICK = pytest.mark.parametrize("case", ["fake", "pandas"], indirect=True)
"""For what does not depend on how an engine writes: a commit of Spark's takes seconds."""


def a_chunked(mode="append", **more):
    """A load whose first run goes by hours."""
    return a_spec(mode, chunk=HOUR, **more)


def fill(db, *ago, first=1, text="a"):
    """Rows so many minutes old, in the order of their ids."""
    rows = [
        {"id": first + number, "u": db.stamp() - minutes * MINUTE, "v": text}
        for number, minutes in enumerate(ago)
    ]
    db.insert(*rows)


def everything(db):
    return in_order(db.rows.values())


class Breaking:
    """Makes sources, of which the reads after so many break off."""

    def __init__(self, sources, good):
        self.sources = sources
        self.good = good

    def __call__(self, spec):
        source = self.sources(spec)
        if self.sources.reads >= self.good:
            source.break_after = 1
        return source


@each("mode", ["append", "upsert"], on_spark=["append"])
def test_a_first_load_in_chunks_makes_a_commit_of_each_window_that_has_rows(case, bench, db, sources, mode):
    # The first window ends a whole step above the lowest value, and the rows at a border tie.
    fill(db, 600, 570, 540, 540, 539, 10, 0, 0)
    db.insert({"id": 100, "u": None, "v": "null"}, {"id": 101, "u": None, "v": "null"})
    spec = a_chunked(mode)
    result = InChunks(bench).load(spec)
    assert (result.decision, result.status, result.chunks) == ("FIRST RUN", "loaded", 3)
    assert (result.rows_read, result.rows_written, sources.reads) == (10, 10, 3)
    assert case.rows() == everything(db)
    assert (result.version_before, result.version_after) == (None, case.version())
    assert result.watermark_after.value.text == str(db.clock)
    records = [one for one in case.engine.history(spec) if one.first_load is not None]
    assert [one.first_load.chunk for one in records] == [3, 2, 1]
    assert [one.unfinished is not None for one in records] == [False, True, True]

    db.advance(30 * MINUTE)
    fill(db, 0, first=200)
    later = InChunks(bench).load(spec)
    assert (later.decision, later.rows_written, later.chunks) == ("INCREMENTAL", 1, 0)
    expected = everything(db)
    assert case.rows() == expected
    assert InChunks(bench).load(spec).status == "nothing_new"
    assert case.rows() == expected


@each("mode", ["append", "upsert", "append_once"], on_spark=["upsert"])
def test_a_first_load_that_broke_off_goes_on_where_it_was(case, bench, db, sources, mode):
    fill(db, *range(235, -1, -15))
    db.insert({"id": 100, "u": None, "v": "null"})
    spec = a_chunked(mode)
    total = len(db.rows)
    broken = Bench(case.engine, Breaking(sources, 2))
    with pytest.raises(QueryError, match="lost") as caught:
        InChunks(broken).load(spec)
    assert "2 chunks of the first load are committed up to u = " in caught.value.hint
    assert caught.value.committed.chunks == 2
    there = len(case.rows())
    assert there == caught.value.committed.rows_written

    # What comes meanwhile above the goal is not of the first load, and rows without a value are its first chunk's.
    goal = bench.plan(spec).goal
    db.advance(MINUTE)
    fill(db, 0, first=200)
    db.insert({"id": 201, "u": None, "v": "late null"})
    plan = bench.plan(spec)
    assert (plan.decision, plan.chunk.number, plan.goal) == ("RESUME", 3, goal)
    result = InChunks(bench).load(spec)
    assert (result.decision, result.status) == ("RESUME", "loaded")
    assert result.rows_read == result.rows_written == total - there
    rest = InChunks(bench).load(spec)
    assert (rest.decision, rest.rows_written) == ("INCREMENTAL", 1)
    assert case.rows() == [row for row in everything(db) if row["id"] != 201]


def test_windows_of_which_nothing_is_left_move_the_mark_all_the_same(case, db, sources):
    fill(db, 120, 90, 60, 0)
    bench = Bench(case.engine, sources, functions={"f": lambda frame: case.frames.above(frame, 3)})
    spec = a_chunked(keys=("id",), transform="f")
    result = InChunks(bench).load(spec)
    assert (result.status, result.chunks, result.rows_written) == ("loaded", 2, 1)
    assert [row["id"] for row in case.rows()] == [4]
    assert result.watermark_after.value.text == str(db.clock)
    assert bench.plan(spec).decision == "INCREMENTAL"


@QUICK
def test_a_cancel_between_two_chunks_keeps_what_is_committed_and_says_so(case, sources, db):
    fill(db, 300, 240, 180, 120, 60, 0)
    cancelled = threading.Event()
    passed = []

    def failpoint(name):
        passed.append(name)
        if passed.count("after_commit") == 2:
            cancelled.set()

    spec = a_chunked()
    with pytest.raises(LoadCancelled, match="2 chunks of the first load are committed up to u = ") as caught:
        InChunks(Bench(case.engine, sources, failpoint)).load(spec, cancelled=cancelled)
    assert "goes on there" in caught.value.hint
    assert [row["id"] for row in case.rows()] == [1, 2, 3]
    InChunks(Bench(case.engine, sources)).load(spec)
    assert case.rows() == everything(db)


def test_a_column_that_comes_between_two_chunks_is_added_and_rows_are_still_recognised(
    case, bench, db, sources
):
    fill(db, 180, 120, 60, 0)
    spec = a_chunked()
    with pytest.raises(QueryError):
        InChunks(Bench(case.engine, Breaking(sources, 1))).load(spec)
    db.alter((*COLUMNS, Column("w", "string")))
    for number in range(1, 5):
        db.change(number, {"w": f"w{number}"})
    InChunks(bench).load(spec)
    settle(bench, spec, str(db.clock - 400 * MINUTE))
    again = bench.load(spec)
    assert (again.rows_written, again.rows_recognised) == (0, 4)
    assert [(row["id"], row["w"]) for row in case.rows()] == [
        (1, None), (2, None), (3, "w3"), (4, "w4"),
    ]  # fmt: skip


@QUICK
def test_of_two_first_loads_in_chunks_each_window_is_won_by_one(case, sources, db):
    fill(db, 300, 240, 180, 120, 60, 0)
    spec = a_chunked()
    other = Bench(case.engine, sources)
    wins = {1: 1, 3: 2}
    passed = []

    def failpoint(name):
        if name == "after_clock":
            passed.append(name)
            for _ in range(wins.get(len(passed), 0)):
                other.load(spec)

    result = InChunks(Bench(case.engine, sources, failpoint)).load(spec)
    assert (result.status, result.chunks, result.rows_written) == ("loaded", 2, 2)
    assert case.rows() == everything(db)
    assert other.plan(spec).decision == "INCREMENTAL"


@QUICK
def test_a_loader_that_loses_every_window_goes_on_until_the_other_has_finished(case, sources, db):
    fill(db, *range(540, -1, -60))
    spec = a_chunked()
    other = Bench(case.engine, sources)

    def failpoint(name):
        if name == "after_clock":
            other.load(spec)

    result = InChunks(Bench(case.engine, sources, failpoint)).load(spec)
    assert (result.status, result.chunks) == ("already_loaded", 0)
    assert case.rows() == everything(db)
