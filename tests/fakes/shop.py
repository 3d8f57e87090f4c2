"""A folder with a shop (SQLite), a lake (local) and an hwm.yaml, and the YAML of loads from one to the other."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ORDERS = """\
name: load_orders
read:
  connection: shop
  table: orders
  incremental: {column: updated_at}
write:
  connection: lake
  path: raw/orders
"""
PIPELINE = """\
pipeline: daily
nodes:
  - name: second
    depends_on: [first]
    read: {connection: shop, table: orders, incremental: {column: updated_at}}
    write: {connection: lake, path: raw/second}
  - name: first
    read: {connection: shop, table: orders, incremental: {column: updated_at}}
    write: {connection: lake, path: raw/first}
"""


class Project:
    """The folder; its shop has three orders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with closing(sqlite3.connect(folder / "shop.db")) as shop, shop:
            shop.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, amount REAL, updated_at TIMESTAMP)")
        (folder / "hwm.yaml").write_text(
            "connections:\n  shop: {type: sqlite, database: shop.db}\n  lake: {type: local, root: ./lake}\n"
        )
        self.add(1, 2, 3)

    def add(self, *numbers: int) -> None:
        """Add orders, one a day."""
        with closing(sqlite3.connect(self.folder / "shop.db")) as shop, shop:
            shop.executemany(
                "INSERT INTO orders VALUES (?, ?, ?)",
                [(number, number * 1.5, f"2024-06-{number:02d} 12:00:00.000000") for number in numbers],
            )

    def ids(self, path: str = "raw/orders") -> list[int]:
        """What the target holds; nothing when it is not there."""
        from deltalake import DeltaTable

        if not (self.folder / "lake" / path).exists():
            return []
        return sorted(DeltaTable(self.folder / "lake" / path).to_pyarrow_table().column("id").to_pylist())

    def file(self, text: str = ORDERS, name: str = "orders.yaml") -> Path:
        """A YAML file beside the hwm.yaml."""
        path = self.folder / name
        path.write_text(text)
        return path
