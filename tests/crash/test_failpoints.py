"""A load that dies at a named place, whatever it was doing, costs nothing: it is run again, and that is all."""

from __future__ import annotations

import signal

import pytest

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
COMMITTED = ("before_acknowledgement", "after_commit")


@pytest.mark.parametrize("run", ["first run", "increment"])
@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize("place", PLACES)
def test_a_load_that_is_killed_loses_and_doubles_nothing(nursery, shop, place, mode, run):
    shop.add(10)
    ours = shop.ours(mode)
    before = []
    if run == "increment":
        ours.load()
        before = ours.rows("id", "v")
        shop.add(10)
        if mode == "upsert":
            shop.update(3)

    assert nursery.load(ours, place) == -signal.SIGKILL
    # Readers see the rows before it, or those after it, and nothing between.
    assert ours.rows("id", "v") == (shop.rows() if place in COMMITTED else before)

    result = ours.load()
    assert result.status == ("nothing_new" if place in COMMITTED else "loaded")
    assert ours.rows("id", "v") == shop.rows()

    shop.add(1)
    ours.load()
    assert ours.load().status == "nothing_new"
    assert ours.rows("id", "v") == shop.rows()


def test_a_load_that_is_killed_again_and_again_gets_there(nursery, shop):
    ours = shop.ours("append")
    for place in PLACES:
        shop.add(3)
        assert nursery.load(ours, place) == -signal.SIGKILL
    shop.add(1)
    assert nursery.load(ours, None) == 0
    assert ours.rows("id", "v") == shop.rows()


def test_a_load_that_is_killed_before_it_registers_its_table_registers_it_the_next_time(nursery, shop):
    shop.add(10)
    ours = shop.ours("append")
    ours.write["register_table"] = "raw.t"
    assert nursery.load(ours, "after_commit") == -signal.SIGKILL
    assert not hwm_magics.table_exists("lake", table="raw.t", connections=ours.connections)
    assert ours.load().status == "nothing_new"
    assert hwm_magics.table_exists("lake", table="raw.t", connections=ours.connections)
    assert ours.rows("id", "v") == shop.rows()


@pytest.mark.parametrize("place", ["after_handle", "mid_read", "before_acknowledgement"])
def test_a_first_load_in_chunks_that_is_killed_reads_at_most_one_chunk_again(nursery, shop, place):
    shop.add(50)
    shop.connection.execute("INSERT INTO t VALUES (60, '2024-01-02 00:00:00', 'after a gap')")
    ours = shop.ours("append")
    ours.write["first_run"] = {"chunk": "10s"}
    assert nursery.load(ours, place, 3) == -signal.SIGKILL
    committed = 3 if place in COMMITTED else 2
    # Readers see whole chunks: the first holds both of its ends.
    assert [number for number, _ in ours.rows("id", "v")] == in_order(range(1, 10 * committed + 2))

    assert nursery.load(ours, "mid_read", 2) == -signal.SIGKILL
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
