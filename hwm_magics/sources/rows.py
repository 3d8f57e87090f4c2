"""Rows of Python values as Arrow arrays of declared types: nothing is guessed, and no value goes through a float."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from hwm_magics.core.observed import Column
from hwm_magics.errors import QueryError
from hwm_magics.sources.wire import Wire

__all__ = ["arrays_of"]

_Convert = Callable[[Any], Any]


def arrays_of(rows: Sequence[Sequence[Any]], wires: Sequence[Wire]) -> list[pa.Array]:
    """The columns of some rows.

    Args:
        rows: The rows.
        wires: How their columns travel.

    Raises:
        QueryError: A value is not of its column's type; the message names both.
    """
    owners = [(kind, wire.column) for wire in wires for kind in wire.types]
    columns = zip(*rows, strict=True) if rows else ((),) * len(owners)
    return [
        _array(list(values), kind, column) for values, (kind, column) in zip(columns, owners, strict=True)
    ]


def _array(values: list[Any], dtype: pa.DataType, column: Column) -> pa.Array:
    plain, others = _TYPES.get(dtype, (frozenset(), {})) if not pa.types.is_decimal(dtype) else _DECIMAL
    found = set(map(type, values)) - plain - {type(None)}
    if found:
        values = [
            value if type(value) not in found else _converted(value, others, column) for value in values
        ]
    try:
        return pa.array(values, dtype)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError) as error:
        shown = next((value for value in values if not _fits(value, dtype)), None)
        raise _misfit(shown, column) from error


def _converted(value: Any, others: dict[type, _Convert], column: Column) -> Any:
    for kind, convert in others.items():
        if isinstance(value, kind):
            try:
                return convert(value)
            except (LookupError, ValueError, ArithmeticError) as error:
                raise _misfit(value, column) from error
    raise _misfit(value, column)


def _fits(value: Any, dtype: pa.DataType) -> bool:
    try:
        pa.array([value], dtype)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError):
        return False
    return True


def _misfit(value: Any, column: Column) -> QueryError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:79]}…"  # noqa: PLR2004 - what fits a line
    return QueryError(
        f"column {column.name!r} ({column.native or column.type}) holds {shown}, which is no {column.type}",
        hint=f"cast {column.name} in the query to the type that it should have",
    )


def _whole(value: Decimal) -> int:
    if value != value.to_integral_value():
        raise ValueError(value)
    return int(value)


def _zero_or_one(value: int) -> bool:
    if value not in (0, 1):
        raise ValueError(value)
    return bool(value)


def _bit(value: bytes) -> bool:
    return _zero_or_one(int.from_bytes(value))


def _word(value: str) -> bool:
    # psqlodbc's way, unless it is told otherwise.
    return {"1": True, "0": False, "t": True, "f": False}[value]


def _day(value: datetime) -> date:
    if value.time() != datetime.min.time():
        raise ValueError(value)
    return value.date()


def _naive(value: datetime) -> datetime:
    if value.tzinfo is not None:
        raise ValueError(value)
    return value


def _aware(value: datetime) -> datetime:
    # Databases that keep instants without saying so (MySQL's TIMESTAMP) have their session in UTC.
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def _midnight(value: date) -> datetime:
    return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - the column has no zone


_INTEGER: tuple[frozenset[type], dict[type, _Convert]] = (frozenset({int}), {bool: int, Decimal: _whole})
_FLOAT: tuple[frozenset[type], dict[type, _Convert]] = (frozenset({float, int}), {Decimal: float})
_TYPES: dict[pa.DataType, tuple[frozenset[type], dict[type, _Convert]]] = {
    pa.int16(): _INTEGER,
    pa.int32(): _INTEGER,
    pa.int64(): _INTEGER,
    pa.float32(): _FLOAT,
    pa.float64(): _FLOAT,
    pa.bool_(): (
        frozenset({bool}),
        {int: _zero_or_one, str: _word, bytes: _bit},
    ),
    pa.string(): (frozenset({str}), {uuid.UUID: str}),
    pa.binary(): (frozenset({bytes}), {memoryview: bytes, bytearray: bytes}),
    pa.date32(): (frozenset({date}), {datetime: _day}),
    # Each value is looked at, since pyarrow would drop a zone without a word.
    pa.timestamp("us"): (frozenset(), {datetime: _naive, date: _midnight}),
    pa.timestamp("us", "UTC"): (frozenset(), {datetime: _aware}),
}
_DECIMAL: tuple[frozenset[type], dict[type, _Convert]] = (
    frozenset({Decimal}),
    {bool: _zero_or_one, int: Decimal},
)
