"""Two real databases, two connections each, and the loaders that read them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from traps.loaders import Ours, Three
from traps.naive import Naive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(slots=True)
class Bench:
    """A database with two connections, and loaders that read from it.

    Attributes:
        here, there: Two connections in autocommit mode, to interleave.
        reading: The one that the naive loaders read from.
        settings: The connection as hwm_magics is told of it.
        folder: Where the lakes go.
        placeholder: How the driver spells a bound value.
        true: How the database spells what always holds.
    """

    here: Any
    there: Any
    reading: Any
    settings: dict[str, Any]
    folder: Path
    placeholder: str
    true: str = "TRUE"

    def run(self, *statements: str) -> None:
        """Run statements on the first connection."""
        for statement in statements:
            self.here.execute(statement)

    def naive(self, operator: str = ">", *, name: str = "", **settings: Any) -> Naive:
        """A naive loader with a target of its own."""
        target = self.folder / (name or {">": "naive", ">=": "naive-inclusive"}[operator])
        spelled = {"placeholder": self.placeholder, "true": self.true}
        return Naive(self.reading, target, operator=operator, **spelled, **settings)

    def ours(self, *, name: str = "lake", **settings: Any) -> Ours:
        """A load of ours with a lake of its own."""
        return Ours(self.settings, self.folder / name, **settings)

    def loaders(self, *, table: str = "t", cursor: str = "u", **ours: Any) -> Three:
        """All three."""
        ours.setdefault("incremental", {"column": cursor})
        return Three(
            self.reading,
            self.naive(table=table, cursor=cursor),
            self.naive(">=", table=table, cursor=cursor),
            self.ours(table=table, **ours),
        )


@pytest.fixture
def pg(pg_database, tmp_path) -> Iterator[Bench]:
    """PostgreSQL."""
    with pg_database.connect() as here, pg_database.connect() as there, pg_database.connect() as reading:
        yield Bench(here, there, reading, pg_database.settings, tmp_path, "%s")


@pytest.fixture
def lite(sqlite_path, tmp_path) -> Iterator[Bench]:
    """SQLite."""
    settings = {"type": "sqlite", "database": str(sqlite_path)}

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(sqlite_path, isolation_level=None)

    with closing(connect()) as here, closing(connect()) as there, closing(connect()) as reading:
        yield Bench(here, there, reading, settings, tmp_path, "?")


@pytest.fixture
def mssql(erp, tmp_path) -> Iterator[Bench]:
    """SQL Server, through Microsoft's driver."""
    with closing(erp.connect()) as there, closing(erp.connect()) as reading:
        yield Bench(erp, there, reading, erp.settings, tmp_path, "?", "1 = 1")
