"""Spark's types as Delta Lake names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql.types import DataType

__all__ = ["delta_type"]


def delta_type(kind: DataType) -> str:
    """A Spark type as :class:`~hwm_magics.core.observed.Column` writes it."""
    from pyspark.sql.types import ArrayType, MapType, NullType, StructType

    if isinstance(kind, ArrayType):
        return f"array<{delta_type(kind.elementType)}>"
    if isinstance(kind, MapType):
        return f"map<{delta_type(kind.keyType)},{delta_type(kind.valueType)}>"
    if isinstance(kind, StructType):
        inner = ",".join(f"{_name(field.name)}:{delta_type(field.dataType)}" for field in kind)
        return f"struct<{inner}>"
    if isinstance(kind, NullType):
        return "void"
    return str(kind.jsonValue())


def _name(name: str) -> str:
    return name if name.isidentifier() else "`" + name.replace("`", "``") + "`"
