"""The naive loader: the pattern that everybody writes first, and that the traps are traps for.

It copies `SELECT * FROM t WHERE u > (SELECT MAX(u) FROM target)` into Delta Lake: the highest value that
the target holds is where the next run begins. Its twin says `>=`. Databases, rows and tables are real.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Naive", "append", "rows_of"]


@dataclass(slots=True)
class Naive:
    """One naive load.

    Attributes:
        connection: A DBAPI connection of psycopg or sqlite3, or anything that has their `execute`.
        target: The Delta table's folder.
        table: The source table, as SQL names it.
        cursor: The cursor column.
        operator: `>`, or `>=` for the twin.
        placeholder: How the driver spells a bound value.
        true: How the database spells what always holds.
    """

    connection: Any
    target: Path
    table: str = "t"
    cursor: str = "u"
    operator: str = ">"
    placeholder: str = "%s"
    true: str = "TRUE"

    def load(self) -> int:
        """Append what is new; how many rows those were."""
        return self.append(self.read(self.mark()))

    def mark(self) -> Any:
        """`SELECT MAX(u) FROM target`; None without a target."""
        if not DeltaTable.is_deltatable(str(self.target)):
            return None
        return pc.max(DeltaTable(self.target).to_pyarrow_table()[self.cursor]).as_py()

    def read(self, mark: Any, *, where: str | None = None, tail: str = "") -> list[dict[str, Any]]:
        """The rows above the mark; all without one."""
        return self.query(
            f"SELECT * FROM {self.table} WHERE {self._new(mark)} AND {where or self.true} {tail}",
            *([] if mark is None else [mark]),
        )

    def query(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """What a SELECT gives, a mapping a row."""
        found = self.connection.execute(sql, values)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def append(self, rows: list[dict[str, Any]]) -> int:
        """Append rows to the target, or create it of them."""
        return append(self.target, rows)

    def _new(self, mark: Any) -> str:
        return self.true if mark is None else f"{self.cursor} {self.operator} {self.placeholder}"


def append(target: Path, rows: list[dict[str, Any]]) -> int:
    """Append rows to a Delta table, or create it of them."""
    if rows:
        there = DeltaTable(target).schema() if DeltaTable.is_deltatable(str(target)) else None
        schema = pa.schema(there.to_arrow()) if there is not None else None
        write_deltalake(target, pa.Table.from_pylist(rows, schema=schema), mode="append")
    return len(rows)


def rows_of(target: Path, *columns: str) -> list[tuple[Any, ...]]:
    """A Delta table's rows in order; none when it is not there."""
    if not DeltaTable.is_deltatable(str(target)):
        return []
    table = DeltaTable(target).to_pyarrow_table()
    table = table.select(list(columns)) if columns else table
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return sorted(rows, key=repr)
