"""Files in which delta-rs reads times wrong: Spark's INT96, which it takes for nanoseconds beyond their range, too.

Spark writes moments so unless ``spark.sql.parquet.outputTimestampType`` says otherwise. Nanoseconds since 1970 end in
the years 1677 and 2262, and what lies outside comes out as another time, without an error (measured with deltalake
1.6.6: 9999-12-31 is read as 1816-03-29, and a merge or a compaction writes that into the table).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow as pa

from hwm_magics.core.at_once import asked_at_once

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["misread"]

_FIRST = datetime(1678, 1, 1, tzinfo=UTC)
_LAST = datetime(2262, 1, 1, tzinfo=UTC)


def misread(table: DeltaTable, opened: Callable[[str], pa.NativeFile], sql: str | None = None) -> str:
    """The path of a file in which delta-rs may read a time wrong.

    Statistics in the log tell which files hold times outside of the range, or don't tell; of these the footers say
    whether they hold INT96.

    Args:
        table: The table.
        opened: Opens one of its files by the path below its folder.
        sql: What will be read of it; None where that is everything.

    Returns:
        The path below the table's folder; "" when there is no such file.
    """
    schema = pa.schema(table.schema().to_arrow())
    names = [
        name
        for each in schema
        if sql is None or each.name.lower() in sql.lower()
        for name in _moments(each.name, each.type)
    ]
    if not names:
        return ""
    actions = pa.table(table.get_add_actions(flatten=True))
    paths = [unquote(path) for path in _doubtful(actions, names)]
    found = asked_at_once(lambda path: _has_int96(opened(path)), paths)
    return next((path for path, there in zip(paths, found, strict=True) if there), "")


def _moments(name: str, kind: pa.DataType) -> Iterator[str]:
    """The parts of a column that are moments, by the names that their statistics would have."""
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        yield name
    elif pa.types.is_struct(kind):
        for each in kind:
            yield from _moments(f"{name}.{each.name}", each.type)
    elif pa.types.is_map(kind):
        yield from _moments(f"{name}.key", kind.key_type)
        yield from _moments(f"{name}.value", kind.item_type)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _moments(f"{name}.element", kind.value_type)


def _doubtful(actions: pa.Table, names: list[str]) -> list[str]:
    """The files whose statistics don't say that all of some columns' times lie within the range."""
    import pyarrow.compute as pc

    there = set(actions.column_names)
    doubtful = None
    for name in names:
        if not {f"min.{name}", f"max.{name}"} <= there:
            if f"partition.{name}" in there:
                continue
            return [str(path) for path in actions["path"].to_pylist()]
        within = pc.and_(
            pc.greater_equal(actions[f"min.{name}"], pa.scalar(_FIRST)),
            pc.less_equal(actions[f"max.{name}"], pa.scalar(_LAST)),
        )
        out = pc.invert(pc.fill_null(within, False))
        if f"null_count.{name}" in there:
            empty = pc.equal(actions[f"null_count.{name}"], actions["num_records"])
            out = pc.and_(out, pc.invert(pc.fill_null(empty, False)))
        doubtful = out if doubtful is None else pc.or_(doubtful, out)
    if doubtful is None:
        return []
    return [str(path) for path in actions["path"].filter(doubtful).to_pylist()]


def _has_int96(file: pa.NativeFile) -> bool:
    from pyarrow import parquet

    with file:
        schema = parquet.read_metadata(file).schema
        return any(schema.column(number).physical_type == "INT96" for number in range(len(schema)))
