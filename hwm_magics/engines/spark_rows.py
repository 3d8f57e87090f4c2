"""What happens to rows between source and target on Spark: fitted, deduplicated, recognised. All of it lazily."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hwm_magics.core.decided import RecogniseRows, SchemaChange
from hwm_magics.core.observed import Column, LateColumn
from hwm_magics.core.query import CursorExpression
from hwm_magics.core.schema import clashes, compare
from hwm_magics.core.specs import SchemaPolicy
from hwm_magics.engines.planned import compared_by
from hwm_magics.engines.spark_sql import DIALECT, condition, ddl, literal, quote, spark_type, text
from hwm_magics.errors import SchemaMismatchError
from hwm_magics.spark.session import is_local
from hwm_magics.spark.types import delta_type

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from hwm_magics.stream import SparkRead

__all__ = [
    "REFUSED",
    "columns_of_frame",
    "deduplicated",
    "fit",
    "frame_of",
    "frame_read",
    "recognised",
    "required",
    "taken",
    "transformed",
]

HELD = 64 * 1024 * 1024
"""Rows up to this size go to Spark from memory; beyond it through a Parquet file, where Spark runs here."""

REFUSED = "hwm_magics refuses:"
"""What Spark's message begins with when a row is refused while the job runs."""

_NUMBER = "__hwm_number"
_RANK = "__hwm_rank"


def columns_of_frame(frame: DataFrame) -> tuple[Column, ...]:
    """The columns of a frame, in order, with Delta types."""
    return tuple(
        Column(field.name, delta_type(field.dataType), field.nullable, field.dataType.simpleString())
        for field in frame.schema
    )


def taken(
    session: SparkSession, batches: Iterator[pa.RecordBatch], schema: pa.Schema
) -> tuple[list[pa.RecordBatch] | DataFrame, Callable[[], None]]:
    """Rows that come through this process: held where they are few, and otherwise a frame over a file.

    Args:
        session: The session that will read the file.
        batches: The rows.
        schema: Their schema.

    Returns:
        The rows, and what frees their file when the frame is done with.

    Raises:
        SourceError: The source fails on the way.
    """
    import pyarrow.parquet as pq

    from hwm_magics.arrow import columns_of

    held: list[pa.RecordBatch] = []
    size = 0
    spool: tempfile.TemporaryDirectory[str] | None = None
    writer: pq.ParquetWriter | None = None
    try:
        for batch in batches:
            size += batch.nbytes
            if writer is None and size > HELD and is_local(session):
                spool = tempfile.TemporaryDirectory(prefix="hwm-")
                writer = pq.ParquetWriter(Path(spool.name) / "rows.parquet", schema, compression="zstd")
                for each in held:
                    writer.write_batch(each)
                held.clear()
            if writer is not None:
                writer.write_batch(batch)
            else:
                held.append(batch)
    except BaseException:
        if spool is not None:
            spool.cleanup()
        raise
    finally:
        if writer is not None:
            writer.close()
    if spool is not None:
        columns = ddl(columns_of(schema), nullable=True)
        return session.read.schema(columns).parquet(spool.name), spool.cleanup
    return held, lambda: None


def frame_of(session: SparkSession, table: pa.Table) -> DataFrame:
    """Rows in memory, as a frame.

    Args:
        session: The session to hand them to.
        table: The rows.
    """
    from hwm_magics.arrow import columns_of

    # The schema is given: Spark would take times without a zone for times in the session's zone.
    return session.createDataFrame(table, schema=_schema(ddl(columns_of(table.schema), nullable=True)))


def frame_read(session: SparkSession, read: SparkRead) -> DataFrame:
    """Rows that Spark reads by itself, as a frame with their exact types.

    Args:
        session: The session that reads.
        read: What is read.
    """
    if read.format == "sql":
        frame = session.sql(read.query)
    else:
        # The line break ends a comment on the query's last line.
        options = {**read.options, "dbtable": f"({read.query}\n) hwm_rows"}
        decimals = [column for column in read.columns if column.type.startswith("decimal")]
        if decimals:
            # A numeric of unknown precision would be taken for decimal(38,18), and rounded.
            options["customSchema"] = ddl(decimals, nullable=True)
        if read.parts is not None:
            options |= {
                "partitionColumn": read.parts.column,
                "lowerBound": read.parts.low,
                "upperBound": read.parts.high,
                "numPartitions": str(read.parts.count),
            }
        frame = session.read.format(read.format).options(**options).load()
    return frame.selectExpr(
        *(
            f"CAST({quote(column.name)} AS {spark_type(column.type)}) AS {quote(column.name)}"
            for column in read.columns
        )
    )


def _schema(columns: str) -> StructType:
    from pyspark.sql.types import StructType

    return cast("StructType", StructType.fromDDL(columns))


def transformed(frame: DataFrame, function: Callable[..., object], name: str) -> DataFrame:
    """Pass the rows through the user's function, as one Spark DataFrame.

    Raises:
        SchemaMismatchError: The function gives something else.
    """
    result = function(frame)
    # Classic and Connect frames share no class that could be asked for without importing both.
    if not any(
        each.__name__ == "DataFrame" and each.__module__.startswith("pyspark.sql")
        for each in type(result).__mro__
    ):
        raise SchemaMismatchError(
            f"the transform {name!r} returned {type(result).__name__}, and not a Spark DataFrame",
            hint="return the changed DataFrame; with engine: spark it is Spark's, with engine: pandas it is pandas'",
        )
    return result  # type: ignore[return-value]


def required(frame: DataFrame, needed: Sequence[str], transform: str | None) -> None:
    """Raise when rows have lost a column that later steps rest on."""
    lost = [repr(name) for name in needed if name not in frame.columns]
    if lost:
        raise SchemaMismatchError(
            f"the transform {transform!r} gives no column {', '.join(lost)}, by which rows are recognised or stored",
            hint="keep it in the DataFrame that the function returns",
        )


def fit(
    frame: DataFrame, target: Sequence[Column] | None, policy: SchemaPolicy
) -> tuple[DataFrame, SchemaChange]:
    """Give rows the target's columns, without loss.

    Args:
        frame: The rows.
        target: The target's columns; None for a table that this load creates.
        policy: Whether new columns may be added.

    Returns:
        The rows in the target's column order, new columns last, lacking ones NULL; and how they differed.

    Raises:
        SchemaMismatchError: They don't fit.
    """
    columns = columns_of_frame(frame)
    if void := [column.name for column in columns if column.type == "void"]:
        raise SchemaMismatchError(
            f"the columns {', '.join(void)} hold nothing but NULL and have no type",
            hint="cast them in the query",
        )
    if target is None:
        if told := clashes(columns):
            raise SchemaMismatchError(
                f"the columns of the rows clash: {'; '.join(told)}", hint="give each column a name of its own"
            )
        return frame, SchemaChange()
    change = compare(columns, target, policy)
    if change.conflicts:
        raise SchemaMismatchError(
            f"the columns don't fit the target: {'; '.join(change.conflicts)}",
            hint="cast or rename the columns in the query or the transform",
        )
    names = {column.name for column in columns}
    wanted = [
        f"CAST({quote(column.name) if column.name in names else 'NULL'} AS {spark_type(column.type)}) "
        f"AS {quote(column.name)}"
        for column in target
    ]
    return frame.selectExpr(*wanted, *(quote(column.name) for column in change.added)), change


def deduplicated(frame: DataFrame, keys: Sequence[str], cursor: CursorExpression | None) -> DataFrame:
    """Keep the newest row of each key; the job fails on a NULL key and where nothing tells which row is newer.

    Args:
        frame: The rows.
        keys: The key columns.
        cursor: What makes a row newer; None when nothing does.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it

    names = ", ".join(keys)
    null_key = " OR ".join(f"{quote(key)} IS NULL" for key in keys)
    for_null = f"{REFUSED} rows have NULL in the key {names}"
    for_tie = f"{REFUSED} rows of one key ({names}) differ and are equally new"
    newness = F.expr(cursor.sql(DIALECT)).desc_nulls_last() if cursor is not None else F.lit(1)
    by_key = Window.partitionBy(*(F.col(quote(key)) for key in keys))
    ranked = frame.withColumn(_RANK, F.rank().over(by_key.orderBy(newness)))
    content = F.xxhash64(*(_comparable(frame, name) for name in frame.columns))
    tied = by_key.partitionBy(*(F.col(quote(key)) for key in keys), F.col(_RANK))
    ranked = ranked.withColumn("__hwm_least", F.min(content).over(tied))
    ranked = ranked.withColumn("__hwm_most", F.max(content).over(tied))
    ranked = ranked.withColumn(_NUMBER, F.row_number().over(by_key.orderBy(F.col(_RANK))))
    keep = (
        f"CASE WHEN {null_key} THEN raise_error({text(for_null)}) "
        f"WHEN {_RANK} = 1 AND __hwm_least <> __hwm_most THEN raise_error({text(for_tie)}) "
        f"ELSE {_NUMBER} = 1 END"
    )
    return ranked.filter(keep).select(*(F.col(quote(name)) for name in frame.columns))


def _comparable(frame: DataFrame, name: str) -> Expression:
    """A column by whose value rows can be compared: Spark compares no maps."""
    from pyspark.sql import functions as F  # noqa: N812

    kind = delta_type(frame.schema[name].dataType)
    column = F.col(quote(name))
    if kind.startswith("map<"):
        return F.array_sort(F.map_entries(column)) if "map<" not in kind[4:] else F.to_json(column)
    return F.to_json(column) if "map<" in kind else column


def recognised(
    frame: DataFrame,
    there: DataFrame,
    step: RecogniseRows,
    change: SchemaChange,
    columns: Sequence[Column],
) -> DataFrame:
    """Drop the rows that the target holds, each occurrence counted once.

    Args:
        frame: The rows, fitted to the target.
        there: The target, at the version that was planned with.
        step: What is compared.
        change: How the rows differed from the target: by a column that they lack nothing is compared.
        columns: The target's columns.
    """
    cursor = compared_by(step)
    missing = {column.name for column in change.missing}
    compared = list(step.columns) or [
        name for name in frame.columns if name in there.columns and name not in missing
    ]
    overlap = there.filter(condition(cursor, columns, step.low, nulls=step.nulls))
    groups = step.groups(compared)
    lacking = [_lacking(late, cursor) for _, late in groups]
    rows = frame
    for number, (same, late) in enumerate(groups):
        mine = overlap.filter(lacking[number]) if late else overlap
        if number + 1 < len(groups):
            mine = mine.filter(f"NOT ({lacking[number + 1]})")
        rows = _without(rows, mine, same)
    return rows


def _lacking(late: Sequence[LateColumn], cursor: CursorExpression) -> str:
    """Which rows lack the columns that came after them."""
    if not late:
        return "TRUE"
    expression = cursor.sql(DIALECT)
    older = f"({expression} <= {literal(late[0].upto)} OR {expression} IS NULL)"
    return " AND ".join([older, *(f"{quote(each.name)} IS NULL" for each in late)])


def _without(rows: DataFrame, there: DataFrame, columns: Sequence[str]) -> DataFrame:
    """The rows that are not among others, by some columns, each occurrence counted once."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F  # noqa: N812

    names = [f"__hwm_key{number}" for number in range(len(columns))]

    def numbered(frame: DataFrame) -> DataFrame:
        for name, column in zip(names, columns, strict=True):
            frame = frame.withColumn(name, _comparable(frame, column))
        same = Window.partitionBy(*names).orderBy(F.lit(1))
        return frame.withColumn(_NUMBER, F.row_number().over(same))

    theirs = numbered(there).select(*(F.col(name).alias(f"{name}_there") for name in [*names, _NUMBER]))
    equal = F.lit(True)
    for name in [*names, _NUMBER]:
        equal = equal & F.col(name).eqNullSafe(F.col(f"{name}_there"))
    kept = [F.col(quote(name)) for name in rows.columns]
    return numbered(rows).join(theirs, equal, "left_anti").select(*kept)
