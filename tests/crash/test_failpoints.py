"""`hwm run` killed at a named place, whatever it was doing, costs nothing: it is run again, and that is all."""

from __future__ import annotations

import signal
import subprocess

import pytest
from crash.processes import HWM, armed

import hwm_magics

PLACES = (
    "after_handle",
    "after_clock",
    "mid_read",
    "after_read",
    "before_put",
    "before_acknowledgement",
    "after_commit",
)
STOPPED = ("after_handle", "after_clock", "mid_read")
"""Where a load still looks whether it was asked to stop."""
COMMITTED = ("before_acknowledgement", "after_commit")
FILES = {"append": "t.yaml", "upsert": "t.ipynb"}


@pytest.mark.parametrize("run", ["first run", "increment"])
@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize("place", PLACES)
def test_a_job_that_is_killed_loses_and_doubles_nothing(nursery, shop, place, mode, run):
    shop.add(10)
    ours = shop.ours(mode)
    file = shop.file(ours, FILES[mode])
    before = []
    if run == "increment":
        ours.load()
        before = ours.rows("id", "v")
        shop.add(10)
        if mode == "upsert":
            shop.update(3)

    assert nursery.run(file, place)[0] == -signal.SIGKILL
    # Readers see the rows before it, or those after it, and nothing between.
    assert ours.rows("id", "v") == (shop.rows() if place in COMMITTED else before)

    code, told = nursery.run(file)
    assert code == 0, told
    assert ("nothing new" if place in COMMITTED else "rows written") in told
    assert ours.rows("id", "v") == shop.rows()

    shop.add(1)
    ours.load()
    assert ours.load().status == "nothing_new"
    assert ours.rows("id", "v") == shop.rows()


@pytest.mark.parametrize("place", PLACES)
def test_a_job_that_is_terminated_stops_before_its_commit_or_makes_it_and_says_which(nursery, shop, place):
    shop.add(10)
    ours = shop.ours("append")
    file = shop.file(ours)
    code, told = nursery.run(file, place, "term")
    assert "stopping before the commit" in told
    if place in STOPPED:
        assert (code, ours.rows()) == (130, [])
        assert "nothing was written" in told
    else:
        assert (code, ours.rows("id", "v")) == (0, shop.rows())
        assert "too late to stop t: its commit was made" in told
    assert nursery.run(file)[0] == 0
    assert ours.rows("id", "v") == shop.rows()


def test_a_job_that_is_killed_again_and_again_gets_there(shop):
    ours = shop.ours("append")
    file = shop.file(ours)

    def hwm(place=None):
        done = subprocess.run(
            [HWM, "run", file.name],
            cwd=file.parent,
            env=armed(place, "kill"),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode

    for place in PLACES:
        shop.add(3)
        assert hwm(place) == -signal.SIGKILL
    shop.add(1)
    assert hwm() == 0
    assert ours.rows("id", "v") == shop.rows()


def test_a_job_that_is_killed_before_it_registers_its_table_registers_it_the_next_time(nursery, shop):
    shop.add(10)
    ours = shop.ours("append")
    ours.write["register_table"] = "raw.t"
    file = shop.file(ours)
    assert nursery.run(file, "after_commit")[0] == -signal.SIGKILL
    assert not hwm_magics.table_exists("lake", table="raw.t", connections=ours.connections)
    assert nursery.run(file)[0] == 0
    assert hwm_magics.table_exists("lake", table="raw.t", connections=ours.connections)
    assert ours.rows("id", "v") == shop.rows()


@pytest.mark.parametrize("place", ["after_handle", "mid_read", "before_acknowledgement"])
def test_a_first_load_in_chunks_that_is_killed_reads_at_most_one_chunk_again(nursery, shop, place):
    shop.add(50)
    shop.connection.execute("INSERT INTO t VALUES (60, '2024-01-02 00:00:00', 'after a gap')")
    ours = shop.ours("append")
    ours.write["first_run"] = {"chunk": "10s"}
    file = shop.file(ours)
    assert nursery.run(file, place, time=3)[0] == -signal.SIGKILL
    committed = 3 if place in COMMITTED else 2
    # Readers see whole chunks: the first holds both of its ends.
    assert [number for number, _ in ours.rows("id", "v")] == in_order(range(1, 10 * committed + 2))

    assert nursery.run(file, "mid_read", time=2)[0] == -signal.SIGKILL
    committed += 1
    assert [number for number, _ in ours.rows("id", "v")] == in_order(range(1, 10 * committed + 2))

    # Nothing that is committed is read again, and what came meanwhile above the goal is of the next load.
    shop.connection.execute("INSERT INTO t VALUES (70, '2024-01-03 00:00:00', 'meanwhile')")
    result = ours.load()
    assert (result.decision, result.status) == ("RESUME", "loaded")
    assert result.rows_read == result.rows_written == 51 - (10 * committed + 1)
    assert ours.load().rows_written == 1
    assert ours.load().status == "nothing_new"
    assert ours.rows("id", "v") == shop.rows()


def in_order(numbers):
    """Numbers in the order in which rows are told, which is that of their texts."""
    return sorted(numbers, key=lambda number: repr((number, f"row {number}")))
