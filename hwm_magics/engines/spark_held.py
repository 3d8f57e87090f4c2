"""A few rows that came through this process: fitted, deduplicated and recognised before Spark has anything to do.

Spark does the same with plans of windows and joins, which cost a job for each exchange; of some thousand rows that
is most of a load's time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hwm_magics.core.cursor import CursorValue
from hwm_magics.core.decided import RecogniseRows, SchemaChange
from hwm_magics.core.observed import Column
from hwm_magics.core.query import CursorExpression
from hwm_magics.core.specs import SchemaPolicy
from hwm_magics.engines.planned import compared_by
from hwm_magics.engines.spark_sql import condition, quote
from hwm_magics.errors import UnsupportedByEngineError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from hwm_magics.engines.rows import RowCounts

__all__ = ["HELD_ROWS", "HeldRows", "overlapping", "overlapping_here"]

HELD_ROWS = 200_000
"""Windows of at most so many rows are read by this process."""

OVERLAP_ROWS = 50_000
"""They are compared here with at most so many of the target's."""

READ_HERE = frozenset({"deletionVectors", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"})
"""Features of tables that delta-rs reads right."""

_COLUMN_MAPPING = 2
"""The reader version of tables whose only feature is that their columns have other names in the files."""


@dataclass(slots=True)
class HeldRows:
    """The rows of one load.

    Attributes:
        schema: Their schema.
        batches: They.
        counts: What became of them.
    """

    schema: pa.Schema
    batches: list[pa.RecordBatch]
    counts: RowCounts = field(init=False)

    def __post_init__(self) -> None:
        from hwm_magics.engines.rows import RowCounts

        self.counts = RowCounts()

    def __len__(self) -> int:
        return sum(batch.num_rows for batch in self.batches)

    def table(self) -> pa.Table:
        """All of them."""
        import pyarrow as pa

        return pa.Table.from_batches(self.batches, schema=self.schema)

    def fit(
        self,
        needed: Sequence[str],
        target: Sequence[Column] | None,
        policy: SchemaPolicy,
    ) -> SchemaChange:
        """See :func:`hwm_magics.engines.rows.fit`."""
        from hwm_magics.arrow import arrow_schema
        from hwm_magics.engines.rows import fit, require

        require(self.schema, needed, None)
        there = arrow_schema(target) if target is not None else None
        fitted = fit(self.batches, self.schema, target, there, policy)
        self.schema, self.batches = fitted.schema, list(fitted.batches)
        return fitted.change

    def deduplicate(self, keys: Sequence[str], cursor: CursorExpression | None) -> None:
        """See :func:`hwm_magics.engines.rows.deduplicated`."""
        from hwm_magics.engines.rows import deduplicated

        self.batches = list(deduplicated(self.batches, self.schema, keys, cursor, self.counts))

    def recognise(
        self,
        overlap: Sequence[pa.RecordBatch],
        step: RecogniseRows,
        change: SchemaChange,
        mark: CursorValue | None,
    ) -> None:
        """Drop the rows that the target holds, and count the late ones among the others.

        Args:
            overlap: The target's rows that may come again; see :func:`overlapping`.
            step: What is compared.
            change: How the rows differed from the target.
            mark: The old watermark; None on a first run.
        """
        from hwm_magics.engines.rows import Overlap, recognised

        missing = {column.name for column in change.missing}
        there = Overlap.of(overlap, step, self.schema, missing)
        self.batches = list(recognised(self.batches, there, self.counts, compared_by(step), mark))


def overlapping_here(
    folder: Path, version: int, step: RecogniseRows, compared: Sequence[str], columns: Sequence[Column]
) -> list[pa.RecordBatch] | None:
    """The same as :func:`overlapping`, of a table on this machine: a Spark job for it takes longer than the rest.

    Args:
        folder: The table.
        version: The version that was planned with.
        step: What is compared.
        compared: The columns that make two rows the same.
        columns: The target's columns.

    Raises:
        Exception: This process can't read the table; Spark may, or says better what is wrong.
    """
    from deltalake import DeltaTable

    from hwm_magics.engines import delta_sql
    from hwm_magics.engines.delta_read import select

    where = delta_sql.condition(compared_by(step), columns, step.low, nulls=step.nulls)
    table = DeltaTable(folder, version=version)
    features = set(table.protocol().reader_features or ())
    if table.protocol().min_reader_version == _COLUMN_MAPPING or not features <= READ_HERE:
        raise UnsupportedByEngineError(
            f"delta-rs is not known to read {', '.join(features - READ_HERE)} right"
        )
    found = list(select(table, _names(step, compared), where, OVERLAP_ROWS + 1))
    return found if sum(batch.num_rows for batch in found) <= OVERLAP_ROWS else None


def _names(step: RecogniseRows, compared: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*compared, *(name for name in (step.cursor, step.fallback) if name)]))


def overlapping(
    there: DataFrame, step: RecogniseRows, compared: Sequence[str], columns: Sequence[Column]
) -> list[pa.RecordBatch] | None:
    """The target's rows that may come again; None when they are more than are compared here.

    Args:
        there: The target, at the version that was planned with.
        step: What is compared.
        compared: The columns that make two rows the same.
        columns: The target's columns.
    """
    import pyarrow as pa

    from hwm_magics.arrow import arrow_type

    cursor = compared_by(step)
    names = _names(step, compared)
    asked = there.filter(condition(cursor, columns, step.low, nulls=step.nulls)).select(*map(quote, names))
    found = asked.limit(OVERLAP_ROWS + 1).toArrow()
    if found.num_rows > OVERLAP_ROWS:
        return None
    types = {column.name: arrow_type(column.type) for column in columns}
    # Spark gives moments in the session's zone.
    schema = pa.schema([pa.field(name, types[name]) for name in names])
    plain = pa.table([_plain(found.column(name), types[name]) for name in names], schema=schema)
    return list(plain.to_batches())


def _plain(column: pa.ChunkedArray, dtype: pa.DataType) -> pa.ChunkedArray:
    return column if column.type == dtype else column.cast(dtype)
