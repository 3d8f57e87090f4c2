"""A Delta table as a source of the pandas engine."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import hwm_magics
from hwm_magics.errors import BlockedError, ConfigError, QueryError

TEXT = """
read: {{connection: landing, format: delta, path: t{read}}}
write: {{connection: lake, path: raw/orders{write}}}
"""
CURSOR = ", incremental: {column: at}"


@pytest.fixture
def table(landing):
    """Appends rows to the source table."""

    def append(*numbers, mode="append"):
        columns = {
            "id": pa.array(numbers, pa.int64()),
            "price": pa.array([Decimal(f"{n}.123456789") for n in numbers], pa.decimal128(38, 9)),
            "at": pa.array([datetime(2024, 6, n, 0, 0, 0, 123999) for n in numbers], pa.timestamp("us")),
            'odd "name"': pa.array([f"n{n}" for n in numbers]),
        }
        write_deltalake(landing.root / "landing" / "t", pa.table(columns), mode=mode)

    return append


def load(read="", write="", **options):
    return hwm_magics.load(TEXT.format(read=read, write=write), engine="pandas", **options)


def test_new_rows_are_told_by_a_column_whose_highest_value_is_read(landing, table):
    table(1, 2)
    first = load(CURSOR)
    assert (first.rows_written, str(first.watermark_after)) == (2, "2024-06-02 00:00:00.123999")
    table(3)
    DeltaTable(landing.root / "landing/t").optimize.compact()
    assert load(CURSOR).rows_written == 1
    assert load(CURSOR).status == "nothing_new"
    row = landing.rows()[0]
    assert (row["price"], row['odd "name"']) == (Decimal("1.123456789"), "n1")


def test_one_version_is_read_whatever_comes_meanwhile(landing, table):
    table(1)
    job = hwm_magics.job(TEXT.format(read=CURSOR, write=""), engine="pandas")
    job._loader.failpoint = lambda name: table(2, 3, mode="overwrite") if name == "after_clock" else None
    assert job.run().wait().rows_written == 1
    assert landing.ids() == [1]


def test_without_a_column_it_is_read_whole(landing, table):
    table(1, 2)
    assert load(write=", mode: overwrite").rows_written == 2
    table(5, mode="overwrite")
    assert load(write=", mode: upsert, keys: [id]").rows_read == 1
    assert landing.ids() == [1, 2, 5]


def test_another_table_in_its_place_is_noticed(landing, table, tmp_path):
    table(1)
    load(CURSOR)
    (landing.root / "landing" / "t").rename(tmp_path / "away")
    table(2)
    with pytest.raises(BlockedError, match="watermark may mean nothing there"):
        load(CURSOR)


def test_what_is_no_table_is_named(landing):
    with pytest.raises(QueryError, match="there is no Delta table at"):
        load(CURSOR)
    with pytest.raises(ConfigError, match="is for files"):
        load(CURSOR + ", options: {settle: 5m}")
    with pytest.raises(ConfigError, match=r"'\.\.'"):
        load(CURSOR.replace(", inc", "/../../x, inc"))
