"""The care of a Delta table beyond its loads, through delta-rs: compact, order, remove what is old, restore."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from hwm_magics.core.decided import SMALL_FILE
from hwm_magics.engines.base import TableFiles
from hwm_magics.engines.delta_read import require_readable
from hwm_magics.engines.delta_write import translated
from hwm_magics.errors import StalePlanError

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["DeltaUpkeep"]

T = TypeVar("T")


class DeltaUpkeep:
    """See :class:`hwm_magics.engines.base.Upkeep`.

    Args:
        table: The handle, at the version that was looked at.
    """

    def __init__(self, table: DeltaTable) -> None:
        self._table = table

    def files(self) -> TableFiles:
        """The files that the table consists of."""
        import pyarrow as pa

        sizes = pa.table(self._table.get_add_actions()).column("size_bytes").to_pylist()
        return TableFiles(len(sizes), sum(sizes), sum(size < SMALL_FILE for size in sizes))

    def order(self, columns: tuple[str, ...]) -> None:
        """Write the files anew, ordered by some columns."""
        require_readable(self._table)
        _done(lambda: self._table.optimize.z_order(list(columns)))

    def compact(self) -> None:
        """Write small files together."""
        require_readable(self._table)
        _done(self._table.optimize.compact)

    def vacuum(self, older: timedelta, *, dry_run: bool) -> int:
        """Remove files that no version within a time needs."""
        hours = int(older.total_seconds() // 3600)
        return len(_done(lambda: self._table.vacuum(retention_hours=hours, dry_run=dry_run)))

    def restore(self, version: int) -> int:
        """Make an earlier version the newest one."""
        seen = self._table.version()
        self._table.update_incremental()
        if self._table.version() != seen:
            raise StalePlanError(
                f"the table was at version {seen} and is now at {self._table.version()}; nothing was restored",
                hint="plan again and look at the new plan",
            )
        _done(lambda: self._table.restore(version))
        self._table.update_incremental()
        return self._table.version()


def _done(work: Callable[[], T]) -> T:
    try:
        return work()
    except Exception as error:
        raise translated(error) from error
