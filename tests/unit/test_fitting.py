"""Rows come in batches of a bounded size, however wide they are."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.sources.fitting import MOST_FETCHED, fetched, gathered

MB = 2**20


class Cursor:
    """Rows of one text each, so long as told."""

    def __init__(self, lengths):
        self.lengths = lengths
        self.given = 0
        self.asked = []

    def fetch(self, count):
        self.asked.append(count)
        some = self.lengths[self.given : self.given + count]
        self.given += len(some)
        return [("x" * length,) for length in some]


def columns_of(rows):
    return [pa.array([row[0] for row in rows], pa.string())]


def read(lengths):
    cursor = Cursor(lengths)
    batches = [columns[0] for columns in fetched(cursor.fetch, columns_of)]
    assert [len(text.as_py()) for batch in batches for text in batch] == lengths
    return cursor, batches


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 700)), max_size=8))
def test_every_row_comes_once_and_in_order(runs):
    cursor, batches = read([length for length, count in runs for _ in range(count)])
    assert all(len(batch) for batch in batches)
    assert max(cursor.asked) <= MOST_FETCHED


def test_narrow_rows_come_ten_thousand_at_a_time_from_the_first_batch_on():
    _, batches = read([10] * 25_000)
    assert [len(batch) for batch in batches] == [10_000, 10_000, 5_000]


def test_wide_rows_come_in_batches_of_eight_megabytes():
    _, batches = read([20_000] * 1_600)
    assert len(batches) == 4
    assert max(batch.nbytes for batch in batches) < 9 * MB


def test_very_wide_rows_come_a_few_at_a_time_after_the_first():
    cursor, batches = read([1_000_000] * 100)
    assert cursor.asked[0] == 50
    assert max(cursor.asked[1:]) == 8
    assert max(batch.nbytes for batch in batches[1:]) < 9 * MB


def test_wide_rows_after_narrow_ones_are_asked_for_with_care():
    cursor, _ = read([0] * 50 + [100_000] * 600)
    assert cursor.asked[:2] == [50, 500]
    assert max(cursor.asked[2:]) < 100


@given(st.lists(st.integers(1, 3_000), max_size=20))
def test_small_batches_are_put_together(sizes):
    first = 0
    given_ = []
    for rows in sizes:
        given_.append([pa.array(range(first, first + rows)), pa.array(["x" * 500] * rows)])
        first += rows
    got = list(gathered(iter(given_)))
    assert [number for columns in got for number in columns[0].to_pylist()] == list(range(first))
    assert all(len(columns[0]) >= 16_384 or columns[1].nbytes > 7 * MB for columns in got[:-1])


def test_a_cursor_without_rows_gives_no_batch():
    cursor, batches = read([])
    assert (batches, cursor.asked) == ([], [50])
