"""The care of a Delta table beyond its loads, by Spark: compact, order, remove what is old, restore."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from hwm_magics.core.decided import SMALL_FILE
from hwm_magics.engines.base import TableFiles
from hwm_magics.engines.spark_history import back_from_newest
from hwm_magics.engines.spark_sql import quote
from hwm_magics.errors import CommitError, StalePlanError
from hwm_magics.spark.failures import first_line

if TYPE_CHECKING:
    from pyspark.sql import Row, SparkSession

    from hwm_magics.engines.spark_open import SparkAddress

__all__ = ["SparkUpkeep"]


class SparkUpkeep:
    """See :class:`hwm_magics.engines.base.Upkeep`.

    Args:
        session: The session.
        address: Where the table lies.
        version: The version that was looked at.
    """

    def __init__(self, session: SparkSession, address: SparkAddress, version: int) -> None:
        self._session = session
        self._address = address
        self._reference = address.reference
        self._version = version

    def files(self) -> TableFiles:
        """The files that the table consists of. Small ones are counted from the mean."""
        (row,) = self._run(f"DESCRIBE DETAIL {self._reference}")
        count, size = int(row["numFiles"]), int(row["sizeInBytes"])
        return TableFiles(count, size, count if count and size / count < SMALL_FILE else 0)

    def order(self, columns: tuple[str, ...]) -> None:
        """Write the files anew, ordered by some columns; a clustered table by those of its own."""
        (row,) = self._run(f"DESCRIBE DETAIL {self._reference}")
        by = "" if row["clusteringColumns"] else f" ZORDER BY ({', '.join(quote(name) for name in columns)})"
        self._run(f"OPTIMIZE {self._reference}{by}")

    def compact(self) -> None:
        """Write small files together."""
        self._run(f"OPTIMIZE {self._reference}")

    def vacuum(self, older: timedelta, *, dry_run: bool) -> int:
        """Remove files that no version within a time needs."""
        hours = int(older.total_seconds() // 3600)
        tail = " DRY RUN" if dry_run else ""
        found = self._run(f"VACUUM {self._reference} RETAIN {hours} HOURS{tail}")
        return len(found) if dry_run else 0

    def restore(self, version: int) -> int:
        """Make an earlier version the newest one."""
        newest = next(iter(back_from_newest(self._session, self._address))).version
        if newest != self._version:
            raise StalePlanError(
                f"the table was at version {self._version} and is now at {newest}; nothing was restored",
                hint="plan again and look at the new plan",
            )
        self._run(f"RESTORE TABLE {self._reference} TO VERSION AS OF {int(version)}")
        return next(iter(back_from_newest(self._session, self._address))).version

    def _run(self, sql: str) -> list[Row]:
        try:
            return list(self._session.sql(sql).collect())
        except Exception as error:
            raise CommitError(
                f"Spark refused: {first_line(error)}", hint="%hwm_debug shows the traceback"
            ) from error
