"""A Delta table as a source of the pandas engine: one version of it, read by delta-rs and evaluated by DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from hwm_magics.arrow import arrow_type, cast_array, delta_type
from hwm_magics.connections.base import StorageConnection
from hwm_magics.core.file_options import FileOptions
from hwm_magics.core.observed import SourceIdentity
from hwm_magics.core.specs import ReadSpec
from hwm_magics.errors import ConfigError, HwmError, QueryError, SourceConnectionError, clean_message
from hwm_magics.sources.files_arrow import ArrowFilesDriver, OfFiles, evaluator
from hwm_magics.sources.sql import SqlSource

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["open_delta"]


def open_delta(storage: StorageConnection, read: ReadSpec) -> SqlSource:
    """Open a Delta table at its newest version; every question and the rows are of that version.

    Args:
        storage: Where it lies.
        read: Its folder below it.

    Raises:
        ConfigError: The path leaves the root, or an option can't be used.
        QueryError: There is no such table.
        SourceConnectionError: It can't be opened.
        EngineNotInstalledError: DuckDB is not installed.
    """
    if read.path is None or read.relation is None:
        raise ConfigError("read has no path", hint="write read.path")
    options = FileOptions.of(read)
    if others := sorted(set(read.options) - {"timezone"}):
        raise ConfigError(
            f"read.options.{others[0]} is for files, and a Delta table has columns and versions of its own",
            hint="leave it away",
        )
    table = _opened(storage, read.path)
    place = SourceIdentity(
        f"delta/{table.metadata().id}",
        text=f"Delta table at {storage.uri(read.path)}, version {table.version()}",
    )
    connection = evaluator()
    dialect = OfFiles("duckdb", place=place)
    driver = DeltaDriver(
        connection, f"the Delta table {read.path}", connection.close, dialect, view=read.relation, table=table
    )
    return SqlSource(driver, read, options.timezone)


def _opened(storage: StorageConnection, path: str) -> DeltaTable:
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    uri = storage.uri(path)
    try:
        return DeltaTable(uri, storage_options=dict(storage.storage_options()) or None)
    except TableNotFoundError:
        raise QueryError(
            f"there is no Delta table at {uri}", hint="check read.path and read.format"
        ) from None
    except Exception as error:
        raise SourceConnectionError(
            f"opening the Delta table at {uri} failed: {clean_message(error)}",
            hint="check the connection's address and credentials",
        ) from error


@dataclass(slots=True)
class DeltaDriver(ArrowFilesDriver):
    """One version of a Delta table under a name of DuckDB's.

    Attributes:
        table: It.
    """

    table: DeltaTable | None = None
    _types: dict[str, pa.DataType] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.table is not None:
            found = pa.schema(self.table.schema().to_arrow())
            self._schema = pa.schema(
                [pa.field(each.name, arrow_type(delta_type(each.type))) for each in found]
            )

    def _scan(self, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        from deltalake import QueryBuilder

        if self.table is None or self.describing:
            return
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in wanted.names)
        try:
            # No condition is handed down: delta-rs would look at statistics, which are cut short.
            asked = f"SELECT {names} FROM hwm_source"  # noqa: S608 - quoted
            for raw in QueryBuilder().register("hwm_source", self.table).execute(asked):
                batch = pa.record_batch(raw)
                arrays = [cast_array(batch.column(each.name), each.type, each.name) for each in wanted]
                yield pa.RecordBatch.from_arrays(arrays, schema=wanted)
        except (GeneratorExit, HwmError):
            raise
        except Exception as error:
            self._error = QueryError(
                f"reading {self.place} failed: {clean_message(error)}",
                hint="a data file may be gone: a VACUUM removes those of older versions; run the load again",
            )
            raise self._error from error
