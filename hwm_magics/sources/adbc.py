"""ADBC's own interface, without its DB-API layer: that one imports pandas, and takes half a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from adbc_driver_manager import AdbcConnection, AdbcStatement, Error

from hwm_magics.arrow.build import texts

__all__ = ["ERRORS", "columns_of", "execute", "fetch", "reader_of", "schema_of"]

ERRORS = (Error, OSError, pa.ArrowException)
"""What statements raise, and what Arrow makes of it in the midst of a stream."""


def _statement(connection: AdbcConnection, sql: str, options: dict[str, str] | None = None) -> Any:
    statement = AdbcStatement(connection)
    if options:
        statement.set_options(**options)
    statement.set_sql_query(sql)
    return statement


def execute(connection: AdbcConnection, sql: str) -> None:
    """Run SQL that gives no rows."""
    statement = _statement(connection, sql)
    try:
        statement.execute_update()
    finally:
        statement.close()


def fetch(connection: AdbcConnection, sql: str, values: Sequence[str] = ()) -> list[tuple[Any, ...]]:
    """The rows of a small result.

    Args:
        connection: The connection.
        sql: The query.
        values: Texts for its placeholders.
    """
    reader, close = reader_of(connection, sql, values)
    try:
        columns = [column.to_pylist() for column in reader.read_all().columns]
    finally:
        close()
    return list(zip(*columns, strict=True))


def schema_of(connection: AdbcConnection, sql: str) -> pa.Schema:
    """The schema of a query, which is prepared and not run."""
    statement = _statement(connection, sql)
    try:
        return pa.schema(statement.execute_schema())
    finally:
        statement.close()


def reader_of(
    connection: AdbcConnection, sql: str, values: Sequence[str] = (), options: dict[str, str] | None = None
) -> tuple[pa.RecordBatchReader, Callable[[], None]]:
    """Run a query as a stream.

    Returns:
        The reader, and what frees the statement behind it.
    """
    statement = _statement(connection, sql, options)
    try:
        if values:
            statement.prepare()
            row = pa.record_batch(
                [texts([value]) for value in values], [str(at) for at in range(len(values))]
            )
            schema, array = row.__arrow_c_array__()
            statement.bind(array, schema)
        handle, _ = statement.execute_query()
        reader = pa.RecordBatchReader.from_stream(handle)
    except BaseException:
        statement.close()
        raise

    def close() -> None:
        # The stream lives in the driver: freed after its statement and connection, it crashes the process.
        reader.close()
        statement.close()

    return reader, close


def columns_of(reader: pa.RecordBatchReader) -> Iterator[Sequence[pa.Array]]:
    """The columns of each batch, extension types as what they are stored as."""
    for batch in reader:
        yield [
            column.storage if isinstance(column, pa.ExtensionArray) else column for column in batch.columns
        ]
