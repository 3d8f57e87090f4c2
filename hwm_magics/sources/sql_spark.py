"""Tables and SQL of Spark's own catalog, in a session of the notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hwm_magics.arrow import arrow_type
from hwm_magics.core.statement import Statement
from hwm_magics.errors import QueryError
from hwm_magics.sources.dialects import Dialect, dialect_of
from hwm_magics.sources.rendering import with_literals
from hwm_magics.sources.sql import RawStream
from hwm_magics.sources.wire import Described, Wire
from hwm_magics.spark.failures import first_line
from hwm_magics.spark.session import describe
from hwm_magics.spark.types import delta_type

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["SparkDriver", "of_object"]


def of_object(session: Any) -> SparkDriver:
    """A session of the notebook; it stays open."""
    return SparkDriver(session, describe(session))


@dataclass(slots=True)
class SparkDriver:
    """One Spark session.

    Attributes:
        session: It.
        place: Its address for people.
    """

    session: SparkSession
    place: str
    dialect: Dialect = field(default_factory=lambda: dialect_of("spark"))

    @contextmanager
    def reading(self) -> Iterator[None]:
        yield

    def _frame(self, statement: Statement) -> DataFrame:
        return self.session.sql(with_literals(statement, self.dialect.bind, self.dialect.literal))

    def _table(self, statement: Statement) -> pa.Table:
        try:
            return self._frame(statement).toArrow()
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> QueryError:
        return QueryError(f"{self.place} refuses the query: {first_line(error)}", hint="check its names")

    def describe(self, statement: Statement) -> tuple[Described, ...]:
        try:
            schema = self._frame(statement).schema
        except Exception as error:
            raise self._failed(error) from error
        return tuple(
            Described(
                each.name, each.dataType.simpleString(), arrow_type(delta_type(each.dataType)), each.nullable
            )
            for each in schema
        )

    def rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self._table(statement).to_pylist()]

    def stream(self, statement: Statement, wires: Sequence[Wire]) -> RawStream:
        table = self._table(statement)
        arrays = (
            [_plain(column, wire.types[0]) for column, wire in zip(batch.columns, wires, strict=True)]
            for batch in table.to_batches()
        )
        return RawStream(arrays, lambda: None)

    def close(self) -> None:
        """The session is the notebook's."""


def _plain(column: pa.Array, dtype: pa.DataType) -> pa.Array:
    """A column in the type that was described: Spark gives moments in the session's zone."""
    return column if column.type == dtype else column.cast(dtype)
