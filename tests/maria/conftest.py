"""Loads that read from MariaDB."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from deltalake import DeltaTable

import hwm_magics

if TYPE_CHECKING:
    from pathlib import Path

    from mariadb_server import MariaDb


@dataclass(slots=True)
class Load:
    """A load from MariaDB into a lake of its own.

    Attributes:
        maria: Where from.
        root: The lake.
        read, write: The blocks, beside connection and path.
        source: Settings of the connection that differ from the usual ones, or another connection.
    """

    maria: MariaDb
    root: Path
    read: dict[str, Any] = field(default_factory=dict)
    write: dict[str, Any] = field(default_factory=dict)
    source: Any = None

    def _arguments(self) -> tuple[dict[str, Any], dict[str, Any]]:
        source = self.maria.settings if self.source is None else self.source
        if isinstance(source, dict):
            source = {**self.maria.settings, **source}
        spec = {
            "read": {"connection": "shop", **self.read},
            "write": {"connection": "lake", "path": "raw/t", "mode": "append", **self.write},
        }
        return spec, {"shop": source, "lake": {"type": "local", "root": str(self.root)}}

    def run(self, **options: Any) -> Any:
        """Load."""
        spec, connections = self._arguments()
        return hwm_magics.load(spec, connections=connections, **options)

    def job(self) -> Any:
        """The load as a job."""
        spec, connections = self._arguments()
        return hwm_magics.job(spec, connections=connections)

    def plan(self, **options: Any) -> Any:
        """Plan only."""
        spec, connections = self._arguments()
        return hwm_magics.plan(spec, connections=connections, **options)

    @property
    def is_there(self) -> bool:
        return DeltaTable.is_deltatable(str(self.root / "raw" / "t"))

    def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        """What the target holds, in order."""
        table = DeltaTable(self.root / "raw" / "t").to_pyarrow_table(columns=list(columns) or None)
        return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))


@pytest.fixture
def load(maria, tmp_path):
    """Makes loads: `load(table=…, incremental=…, write={…}, source=…)`."""

    def make(*, write: dict[str, Any] | None = None, source: Any = None, **read: Any) -> Load:
        return Load(maria, tmp_path / "lake", read, write or {}, source)

    return make
