"""Reads a Delta table's schema and data through delta-rs, always by value and never from file statistics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hwm_magics.core.cursor import CursorValue, Scalar
from hwm_magics.core.observed import Column
from hwm_magics.core.query import CursorExpression
from hwm_magics.engines.answers import as_highest, one_value
from hwm_magics.engines.delta_log import LogReader
from hwm_magics.engines.delta_sql import maximum
from hwm_magics.errors import QueryError, TargetReadError, UnsupportedByEngineError, clean_message

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

__all__ = ["arrow_schema_of", "columns_of_table", "highest", "query", "require_readable", "scalar", "select"]


def columns_of_table(table: DeltaTable) -> tuple[Column, ...]:
    """The table's columns, in order."""
    from hwm_magics.arrow import columns_of

    return columns_of(arrow_schema_of(table))


def arrow_schema_of(table: DeltaTable) -> pa.Schema:
    """The table's schema as Arrow knows it."""
    import pyarrow as pa

    return pa.schema(table.schema().to_arrow())


def query(table: DeltaTable, sql: str) -> pa.Table:
    """Run SQL over a table, named ``hwm_target``.

    Raises:
        QueryError: DataFusion can't run it.
        TargetReadError: The table's data can't be read.
        UnsupportedByEngineError: delta-rs would read some of it wrong.
    """
    import pyarrow as pa
    from deltalake import QueryBuilder

    require_readable(table, sql)
    try:
        # Not pa.table(): that imports pandas to look at what it gets.
        found = QueryBuilder().register("hwm_target", table).execute(sql)
        return pa.RecordBatchReader.from_stream(found).read_all()
    except Exception as error:
        text = clean_message(error)
        if "planning" in text.lower() or "sql" in text.lower() or "schema error" in text.lower():
            raise QueryError(
                f"the target can't evaluate {sql}: {text}", hint="write SELECT MAX(column) FROM the target"
            ) from error
        raise TargetReadError(
            f"reading the target's data failed: {text}",
            hint="a data file may be missing: restore it, or an earlier version of the table",
        ) from error


def require_readable(table: DeltaTable, sql: str | None = None) -> None:
    """Refuse a table of which delta-rs would read values wrong, and write them so where it writes rows anew.

    Args:
        table: The table.
        sql: What will be read of it; None where rows may be written anew.

    Raises:
        UnsupportedByEngineError: It is one.
    """
    from hwm_magics.arrow.int96 import misread

    found = misread(table, lambda path: LogReader(table).file(path), sql)
    if found:
        raise UnsupportedByEngineError(
            f"{found} holds times as Spark's INT96, and some may lie outside of the years 1678 to 2261, where delta-rs "
            "reads them wrong",
            hint="use engine: spark; or let Spark write the table anew, with spark.sql.parquet.outputTimestampType="
            "TIMESTAMP_MICROS",
        )


def highest(table: DeltaTable, cursor: CursorExpression) -> CursorValue | None:
    """MAX(cursor) over the table's data; None when there is none. A text's form is read off the value."""
    return as_highest(scalar(table, maximum(cursor)))


def scalar(table: DeltaTable, sql: str) -> CursorValue | Scalar:
    """Run SQL that gives one value.

    Returns:
        A cursor value, exact; None for NULL or no row.

    Raises:
        QueryError: It gives something else.
        TargetReadError: The table's data can't be read.
    """
    return one_value(query(table, sql), sql)


def select(
    table: DeltaTable, columns: list[str], where: str, limit: int | None = None
) -> Iterator[pa.RecordBatch]:
    """Some columns of some rows, in the table's own types: DataFusion gives text as views, which
    few of Arrow's functions take.

    Args:
        table: The table.
        columns: Their names.
        where: Which rows, in DataFusion's SQL.
        limit: At most so many of them.
    """
    import pyarrow as pa

    own = arrow_schema_of(table)
    schema = pa.schema([own.field(name).with_nullable(True) for name in columns])
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
    only = f" LIMIT {limit}" if limit is not None else ""
    found = query(table, f"SELECT {quoted} FROM hwm_target WHERE {where}{only}")  # noqa: S608 - quoted
    yield from found.cast(schema).to_batches()
