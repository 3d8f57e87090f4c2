"""A Delta table that is a source, and loads of it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import hwm_magics
from hwm_magics.errors import BlockedError

APPEND = "mode: append"


class Table:
    """The source table, and loads of it.

    Args:
        landing: The project.
        engine: Which engine loads.
    """

    def __init__(self, landing, engine):
        self.landing, self.engine = landing, engine
        self.path = landing.root / "landing" / "t"

    def put(self, *numbers, mode="append", **more):
        """Write rows in one commit."""
        rows = {
            "id": pa.array(numbers, pa.int64()),
            "price": pa.array([Decimal(f"{n}.123456789") for n in numbers], pa.decimal128(38, 9)),
            "at": pa.array([datetime(9999, 12, 31, 0, 0, 0, n) for n in numbers], pa.timestamp("us", "UTC")),
            'odd."name"': pa.array([f"n{n}" for n in numbers], pa.string()),
        }
        rows |= {name: pa.array(values) for name, values in more.items()}
        write_deltalake(
            self.path, pa.table(rows), mode=mode, schema_mode="merge" if mode == "append" else None
        )

    @property
    def opened(self):
        return DeltaTable(self.path)

    def text(self, write=APPEND, read=""):
        return (
            f"read: {{connection: landing, format: delta, path: t{read}}}\n"
            f"write: {{connection: lake, path: raw/orders, {write}}}\n"
        )

    def plan(self, write=APPEND, read="", **options):
        return hwm_magics.plan(self.text(write, read), engine=self.engine, **options)

    def load(self, write=APPEND, read="", **options):
        return hwm_magics.load(self.text(write, read), engine=self.engine, **options)

    def blocked(self, match, write=APPEND, read=""):
        """A load is refused, and nothing is written."""
        before = DeltaTable(self.landing.root / "lake/raw/orders").version()
        with pytest.raises(BlockedError, match=match) as caught:
            self.load(write, read)
        assert DeltaTable(self.landing.root / "lake/raw/orders").version() == before
        return caught.value
