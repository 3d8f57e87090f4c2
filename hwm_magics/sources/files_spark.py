"""Files as a source, read by Spark: CSV, JSON lines, Parquet, ORC and Delta below a storage connection's root."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hwm_magics.connections.base import StorageConnection
from hwm_magics.connections.hadoop import hand_over, spark_uri
from hwm_magics.connections.local import LocalConnection
from hwm_magics.core.observed import SourceIdentity
from hwm_magics.core.specs import ReadSpec
from hwm_magics.errors import ConfigError, QueryError
from hwm_magics.sources.dialects.base import Ask, Dialect
from hwm_magics.sources.dialects.others import Spark
from hwm_magics.sources.sql import SqlSource
from hwm_magics.sources.sql_spark import SparkDriver
from hwm_magics.spark.failures import condition, first_line

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["open_files", "spark_uri"]

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

_OURS = frozenset({"schema", "fetch_size", "max_text_size"})
_PLACES = frozenset({"path", "paths"})

_users: Counter[str] = Counter()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Files(Spark):
    """Spark SQL over files, whose identity is their place and not a catalog."""

    def identity(self, ask: Ask, place: str) -> SourceIdentity:
        del ask
        return SourceIdentity(text=place)


@dataclass(slots=True)
class FilesDriver(SparkDriver):
    """Files under a temporary view, which is dropped when nobody reads them any more.

    Attributes:
        view: The view's name.
    """

    view: str = ""
    dialect: Dialect = field(default_factory=lambda: _Files("spark"))

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
    uri = spark_uri(storage, read.path)
    reach = "" if isinstance(storage, LocalConnection) else hand_over(storage, session)
    frame = _frame(session, read, uri, reach)
    with _lock:
        _users[view] += 1
        frame.createOrReplaceTempView(view)
    place = f"{read.format} files at {uri}"
    return SqlSource(FilesDriver(session, place, view=view), read, of_spark=True)


def _frame(session: SparkSession, read: ReadSpec, uri: str, reach: str) -> DataFrame:
    given = {key: str(value) for key, value in read.options.items() if key not in _OURS}
    if places := sorted(_PLACES & {key.lower() for key in given}):
        raise ConfigError(
            f"read.options.{places[0]} can't be used: files are read below the connection's root",
            hint="write read.path",
        )
    known = {key.lower() for key in given}
    options = {key: value for key, value in DEFAULTS[read.format].items() if key.lower() not in known} | given
    reader = session.read.format(read.format)
    schema = read.options.get("schema")
    if schema is not None:
        reader = reader.schema(str(schema))
        options.pop("inferSchema", None)
    try:
        return reader.options(**options).load(uri)
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
