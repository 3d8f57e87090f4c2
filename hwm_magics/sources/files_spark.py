"""Files as a source, read by Spark: CSV, JSON lines, Parquet, ORC and Delta below a storage connection's root."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hwm_magics.connections.base import StorageConnection
from hwm_magics.connections.hadoop import hand_over, spark_uri
from hwm_magics.connections.local import LocalConnection
from hwm_magics.core.file_options import FileOptions
from hwm_magics.core.manifest import LoadedFile
from hwm_magics.core.observed import Column, SourceIdentity
from hwm_magics.core.specs import ReadSpec
from hwm_magics.errors import ConfigError, QueryError, SourceConnectionError, UnsupportedByEngineError
from hwm_magics.sources.dialects.base import Ask, Dialect
from hwm_magics.sources.dialects.others import Spark
from hwm_magics.sources.file_storage import open_storage
from hwm_magics.sources.files import FilesSource
from hwm_magics.sources.sql import SqlSource
from hwm_magics.sources.sql_spark import SparkDriver
from hwm_magics.spark.failures import condition, first_line

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["FilesDriver", "OfSparkFiles", "frame_of", "open_files", "plain"]

DEFAULTS: Mapping[str, Mapping[str, str]] = {
    # A row that doesn't fit is an error: Spark would turn it into NULLs, and a file whose header differs from
    # the others' would be read by position.
    "csv": {
        "header": "true",
        "inferSchema": "true",
        "mode": "FAILFAST",
        "enforceSchema": "false",
        "timeZone": "UTC",
    },
    "json": {"mode": "FAILFAST", "timeZone": "UTC"},
    # Spark takes the columns of one file for those of all.
    "parquet": {"mergeSchema": "true"},
    "orc": {"mergeSchema": "true"},
    "delta": {},
}
"""Options of Spark's readers; ``read.options`` takes precedence."""

_OURS = frozenset({"schema", "fetch_size", "max_text_size", "settle", "changed", "timezone"})
_LISTED = frozenset({"csv", "json", "parquet", "orc"})
_GLOB = re.compile(r"[*?\[\]{}\\]")
_TRAVELS = frozenset({"versionasof", "timestampasof"})
"""Options that name one version of a Delta table for good."""
_PLACES = frozenset({"path", "paths"})

_users: Counter[str] = Counter()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class OfSparkFiles(Spark):
    """Spark SQL over files, whose identity is their place and not a catalog.

    Attributes:
        strong: What names the place for good; "" where it is a folder of some machine.
    """

    strong: str = ""

    def identity(self, ask: Ask, place: str) -> SourceIdentity:
        del ask
        return SourceIdentity(self.strong, text=place)


@dataclass(slots=True)
class FilesDriver(SparkDriver):
    """Files under a temporary view, which is dropped when nobody reads them any more.

    Attributes:
        view: The view's name; "" before there is one.
        read: What is read.
        storage: Where the files lie.
    """

    view: str = ""
    dialect: Dialect = field(default_factory=lambda: OfSparkFiles("spark"))
    read: ReadSpec | None = None
    storage: StorageConnection | None = None

    def take(
        self, new: Sequence[LoadedFile], known: Sequence[Column]
    ) -> tuple[str, tuple[tuple[str, int], ...]]:
        """See :meth:`~hwm_magics.sources.files.FilesDriver.take`."""
        read, storage = self.read, self.storage
        if read is None or storage is None or read.relation is None:  # pragma: no cover - given by open_files
            msg = "files without a storage"
            raise AssertionError(msg)
        if new:
            frame = frame_of(
                self.session, storage, read, [spark_uri(storage, plain(one.path)) for one in new], known
            )
        else:
            frame = _empty(self.session, known)
        self.show(frame, read.relation)
        return ("as declared by options.schema" if "schema" in read.options else "as Spark tells them"), ()

    def show(self, frame: DataFrame, view: str) -> None:
        """Have the view stand for a frame."""
        with _lock:
            _users[view] += view != self.view
            frame.createOrReplaceTempView(view)
        self.view = view

    def close(self) -> None:
        """The session is the notebook's; the view is ours."""
        view, self.view = self.view, ""
        if not view:
            return
        with _lock:
            _users[view] -= 1
            if _users[view] <= 0:
                del _users[view]
                with suppress(Exception):
                    self.session.catalog.dropTempView(view)


def open_files(storage: StorageConnection, read: ReadSpec, session: SparkSession) -> SqlSource:
    """Look at files; no row is read before the source is asked.

    Args:
        storage: Where they lie.
        read: Their path below it, their format and the reader's options.
        session: The session that reads them.

    Raises:
        ConfigError: The path leaves the root, or an option can't be used.
        QueryError: There are no such files, or they can't be read.
    """
    view = read.relation
    if view is None or read.path is None:
        raise ConfigError("read has no path", hint="write read.path")
    options = FileOptions.of(read, engine="spark")
    if options.file_column is not None:
        raise UnsupportedByEngineError(
            "read.options.file_column: the Spark engine adds no column for a file's name",
            hint="use engine: pandas",
        )
    if read.cursor is None and read.format in _LISTED:
        files = open_storage(storage)
        dialect = OfSparkFiles("spark", strong=files.strong)
        place = f"{read.format} files at {files.place}"
        table = FilesDriver(session, place, dialect=dialect, read=read, storage=storage)
        return FilesSource(
            table, read, options.timezone, of_spark=True, files=files, options=options, table=table
        )
    uri = spark_uri(storage, read.path)
    if (
        read.format == "delta"
        and read.cursor is None
        and not _TRAVELS & {key.lower() for key in read.options}
    ):
        from hwm_magics.sources.delta_spark import open_versions

        with suppress(SourceConnectionError):  # what only Spark can open is read whole
            return open_versions(storage, read, session)
    if named := sorted({"settle", "changed"} & set(read.options)):
        raise UnsupportedByEngineError(
            f"read.options.{named[0]}: with a cursor column Spark reads all files that it finds",
            hint="leave it away, or use engine: pandas",
        )
    driver = FilesDriver(session, f"{read.format} files at {uri}")
    driver.show(frame_of(session, storage, read, [uri], ()), view)
    return SqlSource(driver, read, options.timezone, of_spark=True)


def plain(path: str) -> str:
    """A path of which Spark, which takes some letters for a pattern, takes none so.

    Raises:
        UnsupportedByEngineError: It has such letters.
    """
    if _GLOB.search(path):
        raise UnsupportedByEngineError(
            f"{path}: Spark would take its name for a pattern", hint="rename it, or use engine: pandas"
        )
    return path


def _empty(session: SparkSession, known: Sequence[Column]) -> DataFrame:
    """No rows, with the target's columns."""
    columns = ", ".join(
        f"CAST(NULL AS {_sql_type(each)}) AS `{each.name.replace('`', '``')}`" for each in known
    )
    return session.sql(f"SELECT {columns} WHERE 1 = 0")


def _sql_type(column: Column) -> str:
    return {"long": "BIGINT", "short": "SMALLINT", "byte": "TINYINT", "integer": "INT"}.get(
        column.type, column.type
    )


def frame_of(
    session: SparkSession,
    storage: StorageConnection,
    read: ReadSpec,
    uris: list[str],
    known: Sequence[Column],
) -> DataFrame:
    """Files, or a Delta table, as a frame.

    Args:
        session: The session that reads them.
        storage: Where they lie.
        read: Their format and the reader's options.
        uris: Their addresses.
        known: The target's columns, whose types count where files don't tell.

    Raises:
        ConfigError: An option can't be used.
        QueryError: They can't be read.
    """
    reach = "" if isinstance(storage, LocalConnection) else hand_over(storage, session)
    uri = uris[0] if len(uris) == 1 else f"{len(uris):,} places, {uris[0]} the first"
    given = {key: str(value) for key, value in read.options.items() if key not in _OURS}
    if places := sorted(_PLACES & {key.lower() for key in given}):
        raise ConfigError(
            f"read.options.{places[0]} can't be used: files are read below the connection's root",
            hint="write read.path",
        )
    set_already = {key.lower() for key in given}
    defaults = DEFAULTS[read.format].items()
    options = {key: value for key, value in defaults if key.lower() not in set_already} | given
    reader = session.read.format(read.format)
    schema = read.options.get("schema")
    if schema is not None:
        reader = reader.schema(str(schema))
        options.pop("inferSchema", None)
    try:
        frame = reader.options(**options).load(uris)
        guided = _guided(frame, known) if schema is None and read.format in ("csv", "json") else ""
        if guided:
            options.pop("inferSchema", None)
            frame = session.read.format(read.format).schema(guided).options(**options).load(uris)
    except Exception as error:
        hint = "check the path and the format; files that begin with _ or . are passed over"
        if condition(error) == "UNABLE_TO_INFER_SCHEMA":
            hint = (
                "there is no file to take the columns from: check the path, or declare them by options.schema"
            )
        elif reach and condition(error) != "PATH_NOT_FOUND":
            hint = reach
        raise QueryError(
            f"{read.format} files at {uri} can't be read: {first_line(error)}", hint=hint
        ) from error
    return frame


def _guided(frame: DataFrame, known: Sequence[Column]) -> str:
    """The inferred columns with the target's types, where these differ; "" where they do not."""
    there = {column.name: column for column in known}
    fields = [(each.name, each.dataType.simpleString(), each.name in there) for each in frame.schema]
    types = [(name, _sql_type(there[name]) if held else kind, kind) for name, kind, held in fields]
    if all(one.lower() == other.lower() for _, one, other in types):
        return ""
    return ", ".join(f"`{name.replace('`', '``')}` {kind}" for name, kind, _ in types)
