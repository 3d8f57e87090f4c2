"""Delta Lake's types and Arrow's, both ways."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

from hwm_magics.core.observed import Column
from hwm_magics.errors import SchemaMismatchError

__all__ = [
    "MAX_PRECISION",
    "arrow_schema",
    "arrow_type",
    "columns_of",
    "delta_type",
    "is_binary",
    "is_list",
    "is_text",
]

MAX_PRECISION = 38
"""The widest decimal that Delta Lake has."""

_LEAVES: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "byte": pa.int8(),
    "tinyint": pa.int8(),
    "short": pa.int16(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "int": pa.int32(),
    "long": pa.int64(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}
_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")
_PLAIN_NAME = re.compile(r"\w+")
# Unsigned numbers take the next wider signed type: delta-rs would store them with the sign bit misread.
_DELTA = {
    pa.bool_(): "boolean",
    pa.int8(): "byte",
    pa.int16(): "short",
    pa.int32(): "integer",
    pa.int64(): "long",
    pa.uint8(): "short",
    pa.uint16(): "integer",
    pa.uint32(): "long",
    pa.uint64(): "decimal(20,0)",
    pa.float16(): "float",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "string",
    pa.large_string(): "string",
    pa.string_view(): "string",
    pa.binary(): "binary",
    pa.large_binary(): "binary",
    pa.binary_view(): "binary",
    pa.date32(): "date",
    pa.date64(): "date",
}


def delta_type(dtype: pa.DataType) -> str:
    """The Delta Lake type that holds every value of an Arrow type.

    Raises:
        SchemaMismatchError: Delta Lake has no such type.
    """
    known = _DELTA.get(dtype)
    if known is not None:
        return known
    kind = pa.types
    if kind.is_dictionary(dtype):
        return delta_type(dtype.value_type)
    if kind.is_decimal(dtype) and dtype.precision <= MAX_PRECISION and 0 <= dtype.scale <= dtype.precision:
        return f"decimal({dtype.precision},{dtype.scale})"
    if kind.is_timestamp(dtype):
        return "timestamp" if dtype.tz else "timestamp_ntz"
    if kind.is_fixed_size_binary(dtype):
        return "binary"
    if is_list(dtype):
        return f"array<{delta_type(dtype.value_type)}>"
    if kind.is_map(dtype):
        return f"map<{delta_type(dtype.key_type)},{delta_type(dtype.item_type)}>"
    if kind.is_struct(dtype):
        return f"struct<{','.join(f'{_field_name(field.name)}:{delta_type(field.type)}' for field in dtype)}>"
    if isinstance(dtype, pa.JsonType):
        return "string"
    raise SchemaMismatchError(
        f"Delta Lake has no type for Arrow's {dtype}",
        hint="cast the column in the query, to text for example",
    )


def arrow_type(text: str) -> pa.DataType:
    """The Arrow type in which values of a Delta type travel.

    Args:
        text: A Delta type, as :class:`~hwm_magics.core.observed.Column` writes it.

    Raises:
        SchemaMismatchError: There is no such type.
    """
    text = text.strip()
    leaf = _LEAVES.get(text)
    if leaf is not None:
        return leaf
    number = _DECIMAL.fullmatch(text)
    if number:
        return pa.decimal128(int(number[1]), int(number[2]))
    if text.endswith(">"):
        head, _, body = text[:-1].partition("<")
        parts = _split(body)
        if head == "array" and len(parts) == 1:
            return pa.list_(pa.field("element", arrow_type(parts[0])))
        if head == "map" and len(parts) == 2:  # noqa: PLR2004 - key and value
            return pa.map_(arrow_type(parts[0]), arrow_type(parts[1]))
        if head == "struct":
            return pa.struct([_struct_field(part) for part in parts if part])
    raise SchemaMismatchError(f"{text!r} is not a type of Delta Lake")


def is_list(dtype: pa.DataType) -> bool:
    """Whether it holds lists, in whatever layout."""
    kind = pa.types
    return bool(
        kind.is_list(dtype)
        or kind.is_large_list(dtype)
        or kind.is_fixed_size_list(dtype)
        or kind.is_list_view(dtype)
        or kind.is_large_list_view(dtype)
    )


def _field_name(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else "`" + name.replace("`", "``") + "`"


def _struct_field(part: str) -> pa.Field:
    quoted = re.match(r"`((?:[^`]|``)*)`:", part)
    if quoted:
        return pa.field(quoted[1].replace("``", "`"), arrow_type(part[quoted.end() :]))
    name, _, rest = part.partition(":")
    return pa.field(name.strip(), arrow_type(rest))


def _split(body: str) -> list[str]:
    """Cut at the commas outside of brackets and backticks."""
    parts, depth, start, quoted = [], 0, 0, False
    for at, char in enumerate(body):
        if char == "`":
            quoted = not quoted
        elif not quoted:
            depth += (char in "<(") - (char in ">)")
            if char == "," and not depth:
                parts.append(body[start:at])
                start = at + 1
    return [*parts, body[start:]]


def columns_of(schema: pa.Schema) -> tuple[Column, ...]:
    """The columns of a schema, with Delta types.

    Raises:
        SchemaMismatchError: Delta Lake lacks the types of some columns; all of them are named.
    """
    columns, refused = [], []
    for field in schema:
        try:
            columns.append(Column(field.name, delta_type(field.type), field.nullable, str(field.type)))
        except SchemaMismatchError:
            refused.append(f"{field.name} ({field.type})")
    if refused:
        raise SchemaMismatchError(
            f"Delta Lake has no type for {', '.join(refused)}",
            hint="cast these columns in the query, to text for example",
        )
    return tuple(columns)


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of columns with Delta types."""
    return pa.schema([pa.field(column.name, arrow_type(column.type), column.nullable) for column in columns])


def is_binary(dtype: pa.DataType) -> bool:
    """Whether it holds bytes, in whatever layout."""
    return dtype in (pa.binary(), pa.large_binary(), pa.binary_view()) or pa.types.is_fixed_size_binary(dtype)


def is_text(dtype: pa.DataType) -> bool:
    """Whether it holds text, in whatever layout."""
    return dtype in (pa.string(), pa.large_string(), pa.string_view())
