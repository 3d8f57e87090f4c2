"""Files as a source, read by pyarrow; DuckDB evaluates windows and conditions over their batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar

import pyarrow as pa

from hwm_magics.arrow import arrow_schema
from hwm_magics.connections.base import StorageConnection
from hwm_magics.core.file_options import FileOptions
from hwm_magics.core.manifest import LoadedFile
from hwm_magics.core.observed import Column, SourceIdentity
from hwm_magics.core.specs import ReadSpec
from hwm_magics.core.statement import Statement
from hwm_magics.errors import ConfigError, HwmError, UnsupportedByEngineError
from hwm_magics.sources.dialects.base import Ask, Dialect
from hwm_magics.sources.dialects.others import DuckDb
from hwm_magics.sources.failures import not_installed
from hwm_magics.sources.file_readers import FileReader, reader_of
from hwm_magics.sources.file_storage import FileStorage, open_storage
from hwm_magics.sources.files import FilesSource, unchanged
from hwm_magics.sources.fitting import FEW, FEWEST, fitting
from hwm_magics.sources.sql import RawStream
from hwm_magics.sources.sql_duckdb import QUIET, DuckDbDriver
from hwm_magics.sources.wire import Described, Wire

__all__ = ["ArrowFilesDriver", "OfFiles", "evaluator", "open_files"]

T = TypeVar("T")

_FORMATS = ("csv", "json", "parquet")


def open_files(storage: StorageConnection, read: ReadSpec) -> FilesSource:
    """Look at files; nothing is read before the source is asked.

    Args:
        storage: Where they lie.
        read: Their path below it, their format and the reader's options.

    Raises:
        ConfigError: The path leaves the root, or an option can't be used.
        UnsupportedByEngineError: Only Spark reads such files.
        EngineNotInstalledError: DuckDB is not installed.
    """
    view = read.relation
    if view is None or read.path is None:
        raise ConfigError("read has no path", hint="write read.path")
    if read.format not in _FORMATS:
        raise UnsupportedByEngineError(
            f"the pandas engine reads csv, json and parquet files and Delta tables, and no {read.format}",
            hint="write engine: spark",
        )
    options = FileOptions.of(read)
    files = open_storage(storage)
    reader = reader_of(read.format, files, options)
    connection = evaluator()
    identity = SourceIdentity(files.strong, text=f"{read.format} files at {files.place}")
    driver = ArrowFilesDriver(
        connection,
        f"the files {read.path}",
        connection.close,
        OfFiles("duckdb", place=identity),
        view=view,
        files=files,
        reader=reader,
        file_column=options.file_column,
    )
    return FilesSource(driver, read, options.timezone, files=files, options=options, table=driver)


def evaluator() -> Any:
    """A DuckDB of its own, which reads nothing by itself.

    Raises:
        EngineNotInstalledError: DuckDB is not installed.
    """
    try:
        import duckdb
    except ImportError:
        raise not_installed("duckdb", "files") from None
    connection = duckdb.connect()
    # Moments arrive in the session's zone.
    connection.execute(
        f"{QUIET}; SET TimeZone = 'UTC'; SET enable_external_access = false; SET preserve_insertion_order = false"
    )
    return connection


@dataclass(frozen=True, slots=True)
class OfFiles(DuckDb):
    """DuckDB's SQL over files, whose identity is their place."""

    place: SourceIdentity = field(default_factory=SourceIdentity)

    def identity(self, ask: Ask, place: str) -> SourceIdentity:
        del ask, place
        return self.place


@dataclass(slots=True)
class ArrowFilesDriver(DuckDbDriver):
    """Batches of files under a name of DuckDB's; they are read anew for every statement.

    Attributes:
        view: The name.
        files: Where the files lie.
        reader: Reads them.
        file_column: A column for each row's file name; None for none.
        describing: Whether only the columns are asked for, and no row.
    """

    dialect: Dialect = field(default_factory=lambda: OfFiles("duckdb"))
    view: str = ""
    files: FileStorage | None = None
    reader: FileReader | None = None
    file_column: str | None = None
    _new: tuple[LoadedFile, ...] = field(default=(), init=False)
    _schema: pa.Schema | None = field(default=None, init=False)
    _error: BaseException | None = field(default=None, init=False)
    describing: bool = field(default=False, init=False)

    def take(
        self, new: Sequence[LoadedFile], known: Sequence[Column]
    ) -> tuple[str, tuple[tuple[str, int], ...]]:
        """See :meth:`~hwm_magics.sources.files.FilesDriver.take`."""
        told = ""
        lacking: tuple[tuple[str, int], ...] = ()
        schema = arrow_schema(known)
        if new and self.reader is not None:
            layout = self.reader.layout(new, known)
            schema, told, lacking = layout.schema, layout.told, layout.lacking
        if self.file_column is not None:
            if self.file_column in schema.names:
                raise ConfigError(
                    f"read.options.file_column: the files have a column {self.file_column} of their own",
                    hint="write another name",
                )
            schema = schema.append(pa.field(self.file_column, pa.string()))
        self._new, self._schema = tuple(new), schema
        return told, lacking

    def _run(self, statement: Statement, doing: str) -> Any:
        self._arm(statement)
        return self._told(lambda: DuckDbDriver._run(self, statement, doing))  # noqa: SLF001 - slots rule super() out

    def _reader(self, statement: Statement, doing: str, rows: int = FEW) -> pa.RecordBatchReader:
        first = self._arm(statement, looking=not self.describing)
        if first is not None and first.num_rows:
            rows = max(FEWEST, fitting(first.nbytes, first.num_rows, rows))
        return self._told(lambda: DuckDbDriver._reader(self, statement, doing, rows))  # noqa: SLF001 - as above

    def _told(self, work: Callable[[], T]) -> T:
        """Do something that reads the files, and raise what went wrong with them as it was."""
        try:
            return work()
        except Exception as error:
            if isinstance(self._error, HwmError):
                raise self._error from error
            raise

    def describe(self, statement: Statement) -> tuple[Described, ...]:
        self.describing = True
        try:
            return DuckDbDriver.describe(self, statement)
        finally:
            self.describing = False

    def rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        return self._told(lambda: DuckDbDriver.rows(self, statement))

    def stream(self, statement: Statement, wires: Sequence[Wire]) -> RawStream:
        raw = DuckDbDriver.stream(self, statement, wires)

        def batches() -> Iterator[Sequence[pa.Array]]:
            while True:
                arrays = self._told(lambda: next(raw.batches, None))
                if arrays is None:
                    return
                yield arrays

        return RawStream(batches(), raw.close)

    def _arm(self, statement: Statement, *, looking: bool = False) -> pa.RecordBatch | None:
        """Have the name stand for the files' rows, from their beginning, as far as a statement has use for them.

        Returns:
            The first of them, where they are looked at; None also where there is none.
        """
        if self._schema is None:
            return None
        self._error = None
        text = "".join(part for part in statement.parts if isinstance(part, str))
        wanted = _wanted(self._schema, text, self.file_column)
        batches = self._scan(wanted)
        first = next(batches, None) if looking else None
        reader = pa.RecordBatchReader.from_batches(
            wanted, chain([first] if first is not None else [], batches)
        )
        self.connection.register(self.view, reader)
        return first

    def _scan(self, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        reader, files = self.reader, self.files
        if reader is None or files is None or self.describing:
            return
        inside = pa.schema([each for each in wanted if each.name != self.file_column])
        try:
            for one in self._new:
                for batch in reader.batches(one, inside):
                    yield self._named(batch, one, wanted)
                unchanged(files, one)
        except GeneratorExit:
            raise
        except BaseException as error:
            self._error = error
            raise

    def _named(self, batch: pa.RecordBatch, one: LoadedFile, wanted: pa.Schema) -> pa.RecordBatch:
        """The batch with its file's name, where that is wanted."""
        if self.file_column not in wanted.names:
            return batch
        name = pa.repeat(pa.scalar(one.path, pa.string()), batch.num_rows)
        arrays = [name if each.name == self.file_column else batch.column(each.name) for each in wanted]
        return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def _wanted(schema: pa.Schema, sql: str, file_column: str | None) -> pa.Schema:
    """The columns that a statement may speak of: those whose name stands in it, or all."""
    text = sql.lower()
    if "select *" in " ".join(text.split()) or any('"' in name for name in schema.names):
        return schema
    named = [each for each in schema if each.name.lower() in text]
    # The file's name alone would be a batch without a length.
    return pa.schema(
        named if [each for each in named if each.name != file_column] else [schema.field(0), *named]
    )
