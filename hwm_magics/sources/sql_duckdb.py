"""DuckDB, which speaks Arrow itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from hwm_magics.core.statement import Statement
from hwm_magics.errors import SourceConnectionError
from hwm_magics.sources.dialects import Dialect, dialect_of
from hwm_magics.sources.failures import failure, incomplete, not_installed
from hwm_magics.sources.fitting import FEW, gathered
from hwm_magics.sources.rendering import render
from hwm_magics.sources.sql import RawStream
from hwm_magics.sources.wire import Described, Wire

__all__ = ["QUIET", "DuckDbDriver", "connect", "of_object"]

QUIET = "SET enable_progress_bar = false"
"""DuckDB draws a bar for what takes two seconds, in notebooks and wherever no script runs; a load has its own."""


def connect(path: str, settings: Mapping[str, str]) -> DuckDbDriver:
    """Open a DuckDB file for reading.

    Args:
        path: The file, or ``:memory:``.
        settings: DuckDB's settings.

    Raises:
        SourceConnectionError: It is not there, or is no database.
        EngineNotInstalledError: DuckDB is not installed.
    """
    try:
        import duckdb
    except ImportError:
        raise not_installed("duckdb", "duckdb") from None
    if path != ":memory:" and not Path(path).is_file():
        raise SourceConnectionError(
            f"the DuckDB database {path} is not there", hint="check the connection's database"
        )
    try:
        connection = duckdb.connect(path, read_only=path != ":memory:", config=dict(settings))
    except duckdb.Error as error:
        raise failure(error, doing=f"connecting to the DuckDB database {path}") from error
    connection.execute(QUIET)
    return DuckDbDriver(connection, path, finish=connection.close)


def of_object(connection: Any, name: str) -> DuckDbDriver:
    """A connection of the notebook, which stays open; a second one to the same database reads."""
    own = connection.cursor()
    own.execute(QUIET)
    return DuckDbDriver(own, name, finish=own.close)


@dataclass(slots=True)
class DuckDbDriver:
    """One connection to a DuckDB.

    Attributes:
        connection: It.
        place: Its address for people.
        finish: Closes it.
    """

    connection: Any
    place: str
    finish: Callable[[], None]
    dialect: Dialect = field(default_factory=lambda: dialect_of("duckdb"))

    @contextmanager
    def reading(self) -> Iterator[None]:
        yield

    def _run(self, statement: Statement, doing: str) -> Any:
        import duckdb

        sql, values = render(statement, self.dialect.bind)
        try:
            return self.connection.execute(sql, values)
        except duckdb.Error as error:
            raise failure(error, doing=f"{doing} {self.place}") from error

    def _reader(self, statement: Statement, doing: str, rows: int = FEW) -> pa.RecordBatchReader:
        import duckdb

        sql, values = render(statement, self.dialect.bind)
        try:
            return self.connection.sql(sql, params=values or None).to_arrow_reader(rows)
        except duckdb.Error as error:
            raise failure(error, doing=f"{doing} {self.place}") from error

    def describe(self, statement: Statement) -> tuple[Described, ...]:
        described = self._run(Statement(("DESCRIBE (\n", *statement.parts, "\n)")), "describing the query on")
        kinds = [(str(row[0]), str(row[1])) for row in described.fetchall()]
        asked = Statement(("SELECT * FROM (\n", *statement.parts, "\n) AS hwm_types LIMIT 0"))
        schema = self._reader(asked, "describing the query on").schema
        arrows = [each.type for each in schema]
        return tuple(
            Described(name, native, arrow) for (name, native), arrow in zip(kinds, arrows, strict=True)
        )

    def rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._run(statement, "asking").fetchall()]

    def stream(self, statement: Statement, wires: Sequence[Wire]) -> RawStream:
        del wires  # DuckDB's own types are what was described
        reader = self._reader(statement, "reading from")
        state = {"open": True}

        def close() -> None:
            if state["open"]:
                state["open"] = False
                reader.close()

        def batches() -> Iterator[Sequence[pa.Array]]:
            try:
                while state["open"]:
                    try:
                        batch = reader.read_next_batch()
                    except StopIteration:
                        return
                    except (OSError, pa.ArrowException) as error:
                        raise failure(error, doing=f"reading from {self.place}") from error
                    yield batch.columns
                raise incomplete(f"reading from {self.place}", "the read was stopped")
            finally:
                close()

        return RawStream(gathered(batches()), close)

    def close(self) -> None:
        self.finish()
