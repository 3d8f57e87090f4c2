"""What a PEP 249 cursor says of its columns, as far as its driver says anything."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from hwm_magics.arrow import MAX_PRECISION
from hwm_magics.sources import mysql_types
from hwm_magics.sources.wire import Described

__all__ = ["described"]

_PYTHON: dict[type, tuple[str, pa.DataType | None]] = {
    bool: ("boolean", pa.bool_()),
    int: ("bigint", pa.int64()),
    float: ("double", pa.float64()),
    str: ("varchar", pa.string()),
    bytes: ("varbinary", pa.binary()),
    bytearray: ("varbinary", pa.binary()),
    date: ("date", pa.date32()),
    datetime: ("timestamp", pa.timestamp("us")),
    uuid.UUID: ("uuid", None),
}
_WHOLE = {3: pa.int16(), 5: pa.int16(), 10: pa.int32()}
_NUMERIC = 1700
"""PostgreSQL's number of the type numeric."""
_ORACLE: dict[str, tuple[str, pa.DataType | None]] = {
    "DB_TYPE_VARCHAR": ("VARCHAR2", pa.string()),
    "DB_TYPE_NVARCHAR": ("NVARCHAR2", pa.string()),
    "DB_TYPE_CHAR": ("CHAR", pa.string()),
    "DB_TYPE_NCHAR": ("NCHAR", pa.string()),
    "DB_TYPE_RAW": ("RAW", pa.binary()),
    "DB_TYPE_DATE": ("DATE", pa.timestamp("us")),
    "DB_TYPE_TIMESTAMP": ("TIMESTAMP", pa.timestamp("us")),
    "DB_TYPE_BINARY_DOUBLE": ("BINARY_DOUBLE", pa.float64()),
    "DB_TYPE_BINARY_FLOAT": ("BINARY_FLOAT", pa.float32()),
    "DB_TYPE_BOOLEAN": ("BOOLEAN", pa.bool_()),
}


def described(columns: Sequence[Sequence[Any]], dialect: str) -> tuple[Described, ...]:
    """The columns of a cursor's ``description``.

    Args:
        columns: The description; of MySQL that of :func:`~hwm_magics.sources.mysql_types.description_of`.
        dialect: The sqlglot dialect of the database.
    """
    if dialect == "mysql":
        return mysql_types.described(columns)
    return tuple(_one(column, dialect) for column in columns)


def _one(column: Sequence[Any], dialect: str) -> Described:
    name, code, _, _, precision, scale, nullable = (*column, *[None] * 7)[:7]
    native, arrow = _type(code, precision, scale, dialect)
    return Described(str(name), native, arrow, nullable is not False)


def _type(code: Any, precision: Any, scale: Any, dialect: str) -> tuple[str, pa.DataType | None]:
    oracle = getattr(code, "name", None)
    if code is Decimal or oracle == "DB_TYPE_NUMBER":
        return _decimal("NUMBER" if oracle else "decimal", precision, scale)
    if isinstance(oracle, str):
        return _ORACLE.get(oracle, (oracle.removeprefix("DB_TYPE_"), None))
    if dialect == "postgres" and code == _NUMERIC:
        return (f"numeric({precision},{scale or 0})" if precision else "numeric"), None
    if code is int and precision in _WHOLE:
        return "integer", _WHOLE[precision]
    if isinstance(code, type):
        return _PYTHON.get(code, (code.__name__, None))
    return str(code), None


def _decimal(name: str, precision: Any, scale: Any) -> tuple[str, pa.DataType | None]:
    if not precision:
        return name, None
    native = f"{name}({precision},{scale or 0})"
    fits = 0 <= int(scale or 0) <= int(precision) <= MAX_PRECISION
    return native, pa.decimal128(int(precision), int(scale or 0)) if fits else None
