"""What MySQL's Python drivers tell of a query's columns: the protocol's type codes, flags and character sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from hwm_magics.sources.dialects.mysql import NO_ZONE_TOLD
from hwm_magics.sources.wire import Described

__all__ = ["by_odbc", "described", "description_of", "leave_the_rest", "odd"]

_WHOLE = {1: "tinyint", 2: "smallint", 3: "int", 8: "bigint", 9: "mediumint"}
_DECIMALS = frozenset({0, 246})
_TIMED = {7: "timestamp", 11: "time", 12: "datetime"}
_PLAIN = {
    4: "float",
    5: "double",
    6: "null",
    10: "date",
    13: "year",
    14: "date",
    245: "json",
    255: "geometry",
}
_TEXTS = {15: ("varchar", "varbinary"), 253: ("varchar", "varbinary"), 254: ("char", "binary")}
_BLOBS = frozenset({249, 250, 251, 252})
_BIT, _ENUM, _SET = 16, 247, 248
# Flags of the protocol, and its number of the character set "binary".
_NOT_NULL, _UNSIGNED, _IS_ENUM, _IS_SET = 0x1, 0x20, 0x100, 0x800
_BINARY = 63
_UNKNOWN_DIGITS = 31


def description_of(cursor: Any) -> Sequence[Sequence[Any]]:
    """A cursor's description, followed by each column's flags and character set where its driver tells them.

    MySQL Connector/Python writes them there itself. PyMySQL keeps what the server said beside the result, and
    mysqlclient has the flags only.
    """
    columns: Sequence[Sequence[Any]] = cursor.description or ()
    fields = getattr(getattr(cursor, "_result", None), "fields", None)
    if fields is not None and len(fields) == len(columns):
        return [
            (*column[:7], getattr(field, "flags", None), getattr(field, "charsetnr", None))
            for column, field in zip(columns, fields, strict=True)
        ]
    flags = getattr(cursor, "description_flags", None)
    if flags is not None and len(flags) == len(columns):
        return [(*column[:7], flag, None) for column, flag in zip(columns, flags, strict=True)]
    return columns


def leave_the_rest(cursor: Any) -> None:
    """Keep PyMySQL from asking a lost connection for the rest of the rows when the cursor is freed."""
    result: Any = getattr(cursor, "_result", None)
    if getattr(result, "unbuffered_active", False):
        result.unbuffered_active = False


def described(columns: Sequence[Sequence[Any]]) -> tuple[Described, ...]:
    """The columns of such a description, with MySQL's own names of their types."""
    return tuple(_one(column) for column in columns)


def _one(column: Sequence[Any]) -> Described:
    name, code, _, length, precision, scale, nullable, flags, charset = (*column, *[None] * 9)[:9]
    native = _native(
        int(code), int(length or precision or 0), scale, int(flags or 0), flags is not None, charset
    )
    return Described(str(name), native, None, nullable is not False and not int(flags or 0) & _NOT_NULL)


def _native(code: int, length: int, scale: Any, flags: int, told: bool, charset: Any) -> str:  # noqa: FBT001 - one call
    unsigned = bool(flags & _UNSIGNED)
    if code in _WHOLE:
        return _WHOLE[code] + (" unsigned" if unsigned else "")
    if code in _DECIMALS:
        # The length counts the point, and the sign where there may be one.
        digits = length - bool(scale) - (told and not unsigned)
        return f"decimal({digits},{scale or 0})" if digits > 0 else "decimal"
    if code in _TIMED:
        return _TIMED[code] + (f"({scale})" if scale and scale != _UNKNOWN_DIGITS else "")
    if code == _BIT:
        return f"bit({length or 64})"
    if code == _ENUM or flags & _IS_ENUM:
        return "enum"
    if code == _SET or flags & _IS_SET:
        return "set"
    if code in _TEXTS:
        if charset == _BINARY and not length:
            return "null"
        return _TEXTS[code][charset == _BINARY]
    if code in _BLOBS:
        return "blob" if charset == _BINARY else "text"
    return _PLAIN.get(code, f"type {code}")


def odd(schema: pa.Schema) -> tuple[str, ...]:
    """Names of columns that an ODBC driver may call signed, or bytes, and that are not."""
    return tuple(
        each.name
        for each in schema
        if pa.types.is_integer(each.type)
        or pa.types.is_boolean(each.type)
        or pa.types.is_fixed_size_binary(each.type)
    )


def by_odbc(schema: pa.Schema, mixed: pa.Schema) -> tuple[Described, ...]:
    """Columns with MySQL's own names of their types, as far as ODBC lets them be told.

    Args:
        schema: The columns as the driver describes them.
        mixed: Of the :func:`odd` ones, what the driver makes of ``COALESCE(column, -1)``: a decimal, where
            the column is unsigned or of bits.
    """
    return tuple(
        Described(each.name, _of_arrow(each.type, mixed.field(each.name).type if each.name in mixed.names else None),
                  None, each.nullable)
        for each in schema
    )  # fmt: skip


def _of_arrow(arrow: pa.DataType, mixed: pa.DataType | None) -> str:
    digits = mixed.precision if mixed is not None and pa.types.is_decimal(mixed) else None
    if pa.types.is_boolean(arrow):
        return "bit(1)"
    if pa.types.is_fixed_size_binary(arrow):
        of_bits = digits is not None or (mixed is not None and pa.types.is_string(mixed))
        return f"bit({arrow.byte_width})" if of_bits else "binary"
    if pa.types.is_integer(arrow):
        name = {8: "tinyint", 16: "smallint", 32: "int", 64: "bigint"}[arrow.bit_width]
        if digits is None:
            return name
        return f"{'mediumint' if name == 'int' and digits <= _MEDIUM else name} unsigned"
    if pa.types.is_decimal(arrow):
        return f"decimal({arrow.precision},{arrow.scale})"
    for told, name in _BY_ODBC:
        if told(arrow):
            return name
    return str(arrow)


_MEDIUM = 9
_BY_ODBC = (
    (pa.types.is_float32, "float"),
    (pa.types.is_float64, "double"),
    (pa.types.is_date, "date"),
    (pa.types.is_timestamp, NO_ZONE_TOLD),
    (pa.types.is_time, "time"),
    (pa.types.is_string, "text"),
    (pa.types.is_large_string, "text"),
    (pa.types.is_binary, "blob"),
    (pa.types.is_large_binary, "blob"),
)
