"""A Delta table without a cursor column as a source of the Spark engine: a version, or files that versions added."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from hwm_magics.connections.base import StorageConnection
from hwm_magics.connections.hadoop import spark_uri
from hwm_magics.core.specs import ReadSpec
from hwm_magics.core.versions import DataFile, VersionsSeen
from hwm_magics.sources.delta_versions import DeltaSource, TableVersion, opened
from hwm_magics.sources.files_spark import FilesDriver, OfSparkFiles, frame_of, plain

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

__all__ = ["open_versions"]


def open_versions(storage: StorageConnection, read: ReadSpec, session: SparkSession) -> DeltaSource:
    """Open a Delta table at its newest version. This process reads its log, and Spark its rows.

    Args:
        storage: Where it lies.
        read: Its folder below it.
        session: The session that reads rows.

    Raises:
        ConfigError: The path leaves the root, or an option can't be used.
        QueryError: There is no such table.
        SourceConnectionError: Its log can't be read.
    """
    there = opened(storage, read, "spark")
    driver = VersionsOfSpark(
        session,
        there.identity.text,
        dialect=OfSparkFiles("spark", strong=there.identity.strong),
        read=read,
        storage=storage,
        folder=there.folder,
        newest=there.newest,
    )
    return there.source(driver, read, of_spark=True)


@dataclass(slots=True)
class VersionsOfSpark(FilesDriver):
    """One version of a Delta table, or some of its files, under a temporary view.

    Attributes:
        folder: The table's folder below the connection's root.
        newest: Its version when it was opened.
    """

    folder: str = ""
    newest: TableVersion = field(default_factory=lambda: TableVersion(0))

    def stand_for(self, seen: VersionsSeen) -> None:
        """See :meth:`~hwm_magics.sources.delta_versions.VersionsDriver.stand_for`."""
        read, storage = self.read, self.storage
        if (
            read is None or storage is None or read.relation is None
        ):  # pragma: no cover - given by open_versions
            msg = "a Delta table without a storage"
            raise AssertionError(msg)
        at = replace(read, options={**read.options, "versionAsOf": seen.version})
        whole = frame_of(self.session, storage, at, [spark_uri(storage, self.folder)], ())
        self.show(whole if seen.whole else self._added(whole.schema, seen, storage), read.relation)

    def _added(self, schema: StructType, seen: VersionsSeen, storage: StorageConnection) -> DataFrame:
        """The rows of some files, with the columns of today's table."""
        if not seen.new:
            return self.session.createDataFrame([], schema)
        files = sorted(seen.new, key=attrgetter("partition"))
        parts = [
            self._alike(schema, list(alike), storage) for _, alike in groupby(files, attrgetter("partition"))
        ]
        return reduce(lambda one, other: one.unionAll(other), parts)

    def _alike(self, schema: StructType, files: list[DataFile], storage: StorageConnection) -> DataFrame:
        """The rows of files whose partition columns hold the same."""
        from pyspark.sql import functions
        from pyspark.sql.types import StructField, StructType

        newest = self.newest
        inside = StructType(
            [
                StructField(newest.physical.get(each.name, each.name), each.dataType)
                for each in schema
                if each.name not in newest.partitions
            ]
        )
        root = spark_uri(storage, self.folder)
        paths = [plain(f"{root}/{one.path}") for one in files]
        rows = self.session.read.schema(inside).parquet(*paths)
        values = dict(files[0].values)
        columns = []
        for each in schema:
            name = newest.physical.get(each.name, each.name)
            if each.name in newest.partitions:
                text = values.get(name)
                empty = not text and each.dataType.simpleString() != "string"
                column = functions.lit(None if empty else text).cast(each.dataType)
            else:
                column = functions.col(f"`{name.replace('`', '``')}`")
            columns.append(column.alias(each.name))
        return rows.select(*columns)
