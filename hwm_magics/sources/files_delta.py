"""A Delta table as a source of the pandas engine: a version of it, or files that versions added."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from hwm_magics.arrow import arrow_type, cast_array, delta_type
from hwm_magics.arrow.int96 import misread
from hwm_magics.arrow.one_stream import BATCH_ROWS, in_one_stream
from hwm_magics.connections.base import StorageConnection
from hwm_magics.core.specs import ReadSpec
from hwm_magics.core.versions import DataFile, VersionsSeen
from hwm_magics.errors import ConfigError, HwmError, QueryError, UnsupportedByEngineError, clean_message
from hwm_magics.sources.delta_versions import DeltaSource, TableVersion, opened, partitioned_by_bytes
from hwm_magics.sources.file_storage import FileStorage
from hwm_magics.sources.files_arrow import ArrowFilesDriver, OfFiles, evaluator
from hwm_magics.sources.fitting import FEW, FEWEST, fitting, parquet_batches, size_of

if TYPE_CHECKING:
    from deltalake import DeltaTable, QueryBuilder

__all__ = ["open_delta"]


def open_delta(storage: StorageConnection, read: ReadSpec) -> DeltaSource:
    """Open a Delta table at its newest version; every question and the rows are of that version.

    Args:
        storage: Where it lies.
        read: Its folder below it.

    Raises:
        ConfigError: The path leaves the root, or an option can't be used.
        QueryError: There is no such table.
        SourceConnectionError: It can't be opened.
        UnsupportedByEngineError: delta-rs would read it wrong.
        EngineNotInstalledError: DuckDB is not installed.
    """
    if read.path is None or read.relation is None:
        raise ConfigError("read has no path", hint="write read.path")
    there = opened(storage, read, "pandas")
    if bytewise := partitioned_by_bytes(there.table):
        raise UnsupportedByEngineError(
            f"{read.path} is partitioned by {bytewise}, whose bytes delta-rs reads wrong",
            hint="write engine: spark",
        )
    connection = evaluator()
    driver = DeltaDriver(
        connection,
        f"the Delta table {read.path}",
        connection.close,
        OfFiles("duckdb", place=there.identity),
        view=read.relation,
        files=there.files,
        table=there.table,
        folder=there.folder,
        newest=there.newest,
    )
    return there.source(driver, read)


@dataclass(slots=True)
class DeltaDriver(ArrowFilesDriver):
    """One version of a Delta table, or some of its files, under a name of DuckDB's.

    Attributes:
        table: The table.
        folder: Its folder below the connection's root.
        newest: Its version when it was opened.
    """

    table: DeltaTable | None = None
    folder: str = ""
    newest: TableVersion = field(default_factory=lambda: TableVersion(0))
    _seen: VersionsSeen | None = field(default=None, init=False)
    _width: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.table is not None:
            found = pa.schema(self.table.schema().to_arrow())
            self._schema = pa.schema(
                [pa.field(each.name, arrow_type(delta_type(each.type))) for each in found]
            )

    def stand_for(self, seen: VersionsSeen) -> None:
        """See :meth:`~hwm_magics.sources.delta_versions.VersionsDriver.stand_for`."""
        if self.table is not None and seen.whole and self.table.version() != seen.version:
            self.table.load_as_version(seen.version)
            self._width = None
        self._seen = seen

    def _scan(self, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        if self.table is None or self.files is None or self.describing:
            return
        try:
            if self._seen is None or self._seen.whole:
                yield from self._whole(self.table, wanted)
                return
            for one in self._seen.new:
                yield from self._rows_of(self.files, one, wanted)
        except (GeneratorExit, HwmError):
            raise
        except Exception as error:
            self._error = self._failed(clean_message(error))
            raise self._error from error

    def _failed(self, told: str) -> HwmError:
        if "Unsupported table features" in told:
            return UnsupportedByEngineError(
                f"delta-rs can't read {self.place}: {told}", hint="write engine: spark"
            )
        return QueryError(
            f"reading {self.place} failed: {told}",
            hint="a data file may be gone: a VACUUM removes those of older versions; run the load again",
        )

    def _whole(self, table: DeltaTable, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of the table's version."""
        for raw in self._read(table, wanted):
            batch = pa.record_batch(raw)
            arrays = [cast_array(batch.column(each.name), each.type, each.name) for each in wanted]
            yield pa.RecordBatch.from_arrays(arrays, schema=wanted)

    def _read(self, table: DeltaTable, wanted: pa.Schema) -> Iterator[Any]:
        files = self.files
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in wanted.names)
        # No condition is handed down: delta-rs would look at statistics, which are cut short.
        asked = f"SELECT {names} FROM hwm_source"  # noqa: S608 - quoted
        if files is not None and misread(table, lambda path: files.open(f"{self.folder}/{path}"), asked):
            from pyarrow.dataset import ParquetReadOptions

            options = ParquetReadOptions(coerce_int96_timestamp_unit="us")
            dataset = table.to_pyarrow_dataset(parquet_read_options=options)
            yield from dataset.to_batches(
                columns=wanted.names, batch_size=FEW, batch_readahead=2, fragment_readahead=1
            )
        else:
            yield from self._query(table).execute(asked)

    def _query(self, table: DeltaTable) -> QueryBuilder:
        """What delta-rs reads the table with, in batches of about 4 MB.

        In one stream it comes faster than it is written; each more would hold memory.
        """
        from deltalake import QueryBuilder

        width = self._widest(table)
        rows = max(FEWEST, fitting(width, 1, BATCH_ROWS))
        settings = {
            "datafusion.execution.target_partitions": "1",
            "datafusion.execution.batch_size": str(rows),
        }
        # The rows are written later, by the same process.
        with in_one_stream(width):
            return QueryBuilder(settings).register("hwm_source", table)

    def _widest(self, table: DeltaTable) -> int:
        """How many bytes a row has in the file of the widest ones; 0 where that can't be told."""
        from pyarrow import parquet

        if self._width is not None:
            return self._width
        self._width = 0
        actions = pa.table(table.get_add_actions())
        if self.files is not None and actions.num_rows:
            # Without statistics the largest file stands for the widest rows.
            widths = pc.divide(actions["size_bytes"], pc.max_element_wise(actions["num_records"], 1))
            widest = actions["path"][pc.index(widths, pc.max(widths)).as_py()].as_py()
            # A file that is gone is for delta-rs to tell.
            with (
                suppress(OSError, pa.ArrowException, HwmError),
                self.files.open(f"{self.folder}/{unquote(widest)}") as file,
            ):
                footer = parquet.read_metadata(file)
                self._width = size_of(footer) // max(1, footer.num_rows)
        return self._width

    def _rows_of(self, files: FileStorage, one: DataFile, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of one file, with the columns of today's table: those that it lacks are NULL."""
        from pyarrow import parquet

        source = files.open(f"{self.folder}/{one.path}")
        # Delta Lake's times have microseconds; nanoseconds would end in the year 2262.
        with parquet.ParquetFile(source, coerce_int96_timestamp_unit="us") as file:
            there = set(file.schema_arrow.names)
            held = {name: self.newest.physical.get(name, name) for name in wanted.names}
            read = [name for name in held.values() if name in there]
            for batch in parquet_batches(file, read):
                arrays = [self._column(batch, each, held[each.name], one) for each in wanted]
                yield pa.RecordBatch.from_arrays(arrays, schema=wanted)

    def _column(self, batch: pa.RecordBatch, wanted: pa.Field, name: str, one: DataFile) -> pa.Array:
        if wanted.name in self.newest.partitions:
            return pa.repeat(_partition_value(dict(one.values).get(name), wanted.type), batch.num_rows)
        if name not in batch.schema.names:
            return pa.nulls(batch.num_rows, wanted.type)
        array = batch.column(name)
        zoned = pa.types.is_timestamp(wanted.type) and wanted.type.tz is not None
        if zoned and pa.types.is_timestamp(array.type) and array.type.tz is None:
            # Parquet's INT96, in which Spark keeps moments, says nothing of a zone: they are UTC.
            array = array.cast(wanted.type)
        return cast_array(array, wanted.type, wanted.name)


def _partition_value(text: str | None, kind: pa.DataType) -> pa.Scalar:
    """A partition column's value, from its text in the log.

    Texts are those of Delta's protocol
    (https://github.com/delta-io/delta/blob/master/PROTOCOL.md#partition-value-serialization).
    """
    if text is None or (not text and not pa.types.is_string(kind)):
        return pa.scalar(None, kind)
    if pa.types.is_timestamp(kind) and kind.tz is not None and not text.endswith("Z"):
        return pa.scalar(text).cast(pa.timestamp("us")).cast(kind)
    return pa.scalar(text).cast(kind)
