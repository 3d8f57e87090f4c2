"""Rows come in batches of a bounded size, however wide they are."""

from __future__ import annotations

import os

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from hwm_magics.sources.fitting import MOST_FETCHED, fetched, gathered, parquet_batches

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


def test_wide_rows_come_in_batches_of_four_megabytes():
    _, batches = read([20_000] * 1_600)
    assert len(batches) == 8
    assert max(batch.nbytes for batch in batches) < 5 * MB


def test_very_wide_rows_come_a_few_at_a_time_after_the_first():
    cursor, batches = read([1_000_000] * 100)
    assert cursor.asked[0] == 50
    assert max(cursor.asked[1:]) == 4
    assert max(batch.nbytes for batch in batches[1:]) < 5 * MB


def test_wide_rows_after_narrow_ones_are_asked_for_with_care():
    cursor, _ = read([0] * 50 + [100_000] * 600)
    assert cursor.asked[:2] == [50, 500]
    assert max(cursor.asked[2:]) < 100


@given(st.lists(st.tuples(st.integers(0, 3_000), st.sampled_from([0, 500, 5_000])), max_size=12))
def test_batches_are_put_together_or_cut_to_about_four_megabytes(sizes):
    first = 0
    given_ = []
    for rows, width in sizes:
        given_.append([pa.array(range(first, first + rows)), pa.array(["x" * width] * rows, pa.string())])
        first += rows
    got = list(gathered(iter(given_)))
    assert [number for columns in got for number in columns[0].to_pylist()] == list(range(first))
    assert all(len(columns[0]) >= 16_384 or columns[1].nbytes > 3.5 * MB for columns in got[:-1])
    assert all(columns[1].nbytes < 8 * MB for columns in got)


@pytest.fixture
def long_file(tmp_path):
    """A Parquet file of 64 row groups of 1 MB each, whose contents can't be compressed."""
    path = tmp_path / "long.parquet"
    schema = pa.schema({"id": pa.int64(), "v": pa.binary()})
    with parquet.ParquetWriter(path, schema, use_dictionary=False) as writer:
        for first in range(0, 6_400, 100):
            texts = [os.urandom(10_000) for _ in range(100)]
            writer.write_batch(
                pa.record_batch({"id": pa.array(range(first, first + 100)), "v": texts}, schema=schema)
            )
    with parquet.ParquetFile(path) as file:
        assert file.num_row_groups == 64
        yield file


def test_a_parquet_file_is_not_held_as_a_whole(long_file):
    before = pa.total_allocated_bytes()
    ids, most = [], 0
    for batch in parquet_batches(long_file, ["v", "id"]):
        ids += batch.column("id").to_pylist()
        most = max(most, pa.total_allocated_bytes() - before)
    assert ids == list(range(6_400))
    assert most < 32 * MB


def test_a_parquet_file_without_row_groups_gives_no_rows(tmp_path):
    parquet.ParquetWriter(tmp_path / "none.parquet", pa.schema({"id": pa.int64()})).close()
    with parquet.ParquetFile(tmp_path / "none.parquet") as file:
        assert (file.num_row_groups, list(parquet_batches(file, ["id"]))) == (0, [])


def test_a_cursor_without_rows_gives_no_batch():
    cursor, batches = read([])
    assert (batches, cursor.asked) == ([], [50])
