"""Arrow, the currency between sources and engines: types, cursor values, lossless casts; in ``keys`` exact row keys.

Importing this package imports pyarrow, so others import it where they first need it. Not so
``pyarrow.compute``, which makes its functions when imported: what a plan needs does without.
"""

from hwm_magics.arrow.casts import cast_array, cast_batch
from hwm_magics.arrow.cursors import arrow_scalar, cursor_type_of, cursor_value, scalar_of
from hwm_magics.arrow.types import MAX_PRECISION, arrow_schema, arrow_type, columns_of, delta_type

__all__ = [
    "MAX_PRECISION",
    "arrow_scalar",
    "arrow_schema",
    "arrow_type",
    "cast_array",
    "cast_batch",
    "columns_of",
    "cursor_type_of",
    "cursor_value",
    "delta_type",
    "scalar_of",
]
