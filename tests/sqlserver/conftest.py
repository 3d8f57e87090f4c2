"""Loads that read from SQL Server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from deltalake import DeltaTable
from sqlserver import erp as erps
from sqlserver.kinds import TYPES

import hwm_magics

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa


@pytest.fixture
def facade(erp) -> Any:
    """The test server, to break it and to see what it was sent."""
    erps.only_the_facade("it has no faults to order, and does not tell what it was sent")
    return erp.server


@dataclass(slots=True)
class Load:
    """A load from the ERP into a lake of its own.

    Attributes:
        erp: Where from.
        root: The lake.
        read, write: The blocks, beside connection and path.
        source: Another way to the same database: any connection.
    """

    erp: erps.Erp
    root: Path
    read: dict[str, Any] = field(default_factory=dict)
    write: dict[str, Any] = field(default_factory=dict)
    source: Any = None

    @property
    def connections(self) -> dict[str, Any]:
        source = self.source if self.source is not None else self.erp.settings
        return {"erp": source, "lake": {"type": "local", "root": str(self.root)}}

    def spec(self) -> dict[str, Any]:
        read = {"connection": "erp", "format": "sql_server", **self.read}
        return {
            "read": read,
            "write": {"connection": "lake", "path": "raw/t", "mode": "append", **self.write},
        }

    def run(self, **options: Any) -> Any:
        """Load."""
        return hwm_magics.load(self.spec(), connections=self.connections, **options)

    def plan(self, **options: Any) -> Any:
        """Plan only."""
        return hwm_magics.plan(self.spec(), connections=self.connections, **options)

    @property
    def target(self) -> Path:
        return self.root / "raw" / "t"

    @property
    def is_there(self) -> bool:
        return DeltaTable.is_deltatable(str(self.target))

    def table(self) -> pa.Table:
        """What the target holds, as Arrow reads it."""
        return DeltaTable(self.target).to_pyarrow_table()

    def rows(self, columns: str = "*", order: str = "1") -> list[tuple[Any, ...]]:
        """What the target's files hold, as DuckDB reads them."""
        files = DeltaTable(self.target).file_uris()
        if not files:
            return []
        with duckdb.connect() as reader:
            reader.execute("SET TimeZone = 'UTC'")
            return reader.execute(
                f"SELECT {columns} FROM read_parquet(?) ORDER BY {order}", [files]
            ).fetchall()


@pytest.fixture
def load(erp, tmp_path):
    """Makes loads: `load(table=…, incremental=…, write={…}, source=…)`."""

    def make(*, write: dict[str, Any] | None = None, source: Any = None, **read: Any) -> Load:
        return Load(erp, tmp_path / "lake", read, write or {}, source)

    return make


@pytest.fixture
def every(erp):
    """A table that has all types."""
    declared = [f"{name} {kind}" for name, (kind, *_) in TYPES.items()]
    erp.create("dbo.every", "id int NOT NULL", "changed datetime2(3) NOT NULL", *declared, "v rowversion")
    for at in (0, 1):
        literals = [values[at] for _, values, _, _ in TYPES.values()]
        listed = ", ".join(["id", "changed", *TYPES])
        erp.insert("dbo.every", (at + 1, f"'2024-06-0{at + 1}'", *literals), columns=listed)
    erp.insert("dbo.every", (3, "'2024-06-03'"), columns="id, changed")
    return erp
