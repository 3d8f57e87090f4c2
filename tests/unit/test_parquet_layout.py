"""How rows lie in the files that the pandas engine writes: by what the rows are."""

from __future__ import annotations

import duckdb
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from traps.loaders import Ours

COLUMNS = """
    CAST(n AS BIGINT) AS id, TIMESTAMP '2024-06-01' + n * INTERVAL '1 second' AS u,
    ['open', 'paid', 'sent'][n % 3 + 1] AS state, 'order ' || n AS "note.text",
    CAST(n % 6000 AS BIGINT) AS customer, CAST(n AS DECIMAL(15, 2)) / 3 AS amount
"""


@pytest.fixture
def load(tmp_path):
    """Loads `rows` rows of a query and gives what a file of the newest version tells of itself."""

    def loaded(rows, columns=COLUMNS, first=0, **write):
        path = tmp_path / "shop.duckdb"
        with duckdb.connect(str(path)) as db:
            db.execute(
                f"CREATE OR REPLACE TABLE t AS SELECT {columns} FROM range({first}, {first + rows}) r(n)"
            )
        cursor = {} if write.get("mode") == "overwrite" else {"column": "u"}
        ours = Ours({"type": "duckdb", "database": str(path)}, tmp_path / "lake", "t", cursor, write=write)
        assert ours.load().rows_written == rows
        return pq.read_metadata(newest(ours.target)[0])

    return loaded


def newest(target):
    """The files of the newest version that the one before lacks."""
    version = DeltaTable(target).version()
    return sorted(
        set(DeltaTable(target, version=version).file_uris())
        - set(DeltaTable(target, version=version - 1).file_uris())
    )


def by_dictionary(metadata):
    """The columns that a file holds by a dictionary."""
    group = metadata.row_group(0)
    parts = [group.column(number) for number in range(metadata.num_columns)]
    return {part.path_in_schema for part in parts if part.has_dictionary_page}


@pytest.mark.parametrize("write", [{}, {"mode": "upsert", "keys": ["id"]}, {"mode": "overwrite"}], ids=str)
def test_a_dictionary_is_made_of_values_that_come_again(load, write):
    assert by_dictionary(load(20_000, **write)) == {"state", "customer"}


def test_later_loads_look_at_their_own_rows(load):
    load(20_000)
    later = COLUMNS.replace("CAST(n AS BIGINT) AS id", "CAST(7 AS BIGINT) AS id")
    assert by_dictionary(load(20_000, later, first=20_000)) == {"id", "state", "customer"}
    later = later.replace("n % 3 + 1]", "n % 3 + 1] || n")
    assert by_dictionary(load(20_000, later, first=40_000, mode="upsert", keys=["id", "u"])) == {
        "id",
        "customer",
    }


def test_few_rows_are_written_as_ever(load):
    assert by_dictionary(load(100)) == {"id", "u", "state", "note.text", "customer", "amount"}


def test_a_value_that_comes_again_only_outside_of_its_row_group_needs_no_dictionary(load):
    """Wide rows make small row groups: of 3,000 customers each comes once in theirs."""
    wide = COLUMNS.replace("'order ' || n", "repeat('x', 20000) || n")
    metadata = load(6_000, wide.replace("n % 6000", "n % 3000"))
    assert metadata.row_group(0).num_rows < 2_000
    assert by_dictionary(metadata) == {"state"}


def test_partitions_have_row_groups_of_their_own_size(load):
    metadata = load(60_000, COLUMNS.replace("n % 6000", "n % 3000"), partition_by=["state"])
    assert metadata.row_group(0).num_rows == 16_384
    assert by_dictionary(metadata) == {"customer"}
