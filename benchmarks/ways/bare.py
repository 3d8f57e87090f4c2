"""The bare stream: ADBC's batches with exact types, wired by hand."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_postgresql import dbapi

if TYPE_CHECKING:
    from collections.abc import Iterator

# The driver sends numerics as text; whoever wires this by hand looks their declared type up.
NUMERIC = pa.decimal128(15, 2)
NUMERIC_COLUMNS = {"o_totalprice", "l_quantity", "l_extendedprice", "l_discount", "l_tax"}


@contextmanager
def stream(url: str, query: str) -> Iterator[pa.RecordBatchReader]:
    """The rows of a query, one batch after the other."""
    with dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        batches = cursor.fetch_record_batch()
        schema = pa.schema(
            [field.with_type(NUMERIC) if field.name in NUMERIC_COLUMNS else field for field in batches.schema]
        )
        numeric = [index for index, field in enumerate(schema) if field.name in NUMERIC_COLUMNS]

        def exact() -> Iterator[pa.RecordBatch]:
            for batch in batches:
                columns = batch.columns
                for index in numeric:
                    column = columns[index]
                    if isinstance(column, pa.ExtensionArray):
                        column = column.storage
                    columns[index] = pc.cast(column, NUMERIC)
                yield pa.record_batch(columns, schema=schema)

        yield pa.RecordBatchReader.from_batches(schema, exact())
