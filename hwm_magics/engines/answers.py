"""The one value that a query over a target came to, exact, out of its Arrow table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue, Scalar, TextForm
from hwm_magics.errors import CursorColumnError, QueryError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["as_highest", "one_value"]


def one_value(found: pa.Table, sql: str) -> CursorValue | Scalar:
    """The value of a result.

    Args:
        found: The result.
        sql: What was asked, for messages.

    Returns:
        A cursor value, exact; None for NULL or no row.

    Raises:
        QueryError: It is something else than one value that can be compared.
    """
    from hwm_magics.arrow import scalar_of

    if found.num_columns != 1 or found.num_rows > 1:
        raise QueryError(
            f"{sql} gives {found.num_rows} rows of {found.num_columns} columns, and not one value",
            hint="write SELECT MAX(column) FROM the target",
        )
    if not found.num_rows:
        return None
    value = found.column(0)[0]
    try:
        return scalar_of(value)
    except CursorColumnError as error:
        raise QueryError(
            f"{sql} gives {value}: {error.message}", hint="compare with a number, date or time"
        ) from error


def as_highest(found: CursorValue | Scalar) -> CursorValue | None:
    """What MAX(cursor) came to; None when there is none. A text's form is read off the value."""
    if isinstance(found, str):
        return CursorType(CursorKind.TEXT, form=TextForm.of(found)).value(found)
    return found if isinstance(found, CursorValue) else None
