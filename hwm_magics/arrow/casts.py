"""Casts that keep every value as it was, or say which one they can't keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from hwm_magics.arrow.types import delta_type, is_binary, is_list, is_text
from hwm_magics.core.schema import lossless
from hwm_magics.errors import SchemaMismatchError

__all__ = ["cast_array", "cast_batch"]


def cast_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch with the columns and types of ``schema``, every value as it was.

    Args:
        batch: The rows; its columns are found by name.
        schema: What they should be. Nullable columns that the batch lacks become NULL.

    Raises:
        SchemaMismatchError: A value would change, a NULL stands where none may, or the batch has a
            column that the schema lacks; the message names the column and the value.
    """
    if batch.schema.equals(schema):
        return batch
    extra = [name for name in batch.schema.names if name not in schema.names]
    if extra:
        raise SchemaMismatchError(f"the rows have columns that the target lacks: {', '.join(extra)}")
    arrays = []
    for field in schema:
        at = batch.schema.get_field_index(field.name)
        if at >= 0:
            array = cast_array(batch.column(at), field.type, field.name)
        elif field.nullable:
            array = pa.nulls(batch.num_rows, field.type)
        else:
            raise SchemaMismatchError(f"column {field.name!r} is missing from the rows, and may not be NULL")
        if array.null_count and not field.nullable:
            raise SchemaMismatchError(
                f"column {field.name!r} holds NULL, and the target declares it NOT NULL",
                hint="leave these rows out in the query, or give them a value",
            )
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


@dataclass(frozen=True, slots=True)
class _Cast:
    """How values of one type become another's: the conversion, and whether it has to be proven."""

    run: Callable[[pa.Array], pa.Array]
    prove: bool = False


def cast_array(array: pa.Array, dtype: pa.DataType, name: str) -> pa.Array:
    """An array as another type, every value as it was.

    Args:
        array: The values.
        dtype: The type to have.
        name: The column's name, for messages.

    Raises:
        SchemaMismatchError: A value has no equal in the type, or the types mean different things.
    """
    if array.type.equals(dtype):
        return array
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    cast = _cast_between(array.type, dtype)
    if cast is None:
        raise SchemaMismatchError(
            f"column {name!r} is {array.type} and should be {dtype}: there is no cast between the two that keeps "
            "every value",
            hint="cast it in the query, or in the transform",
        )
    try:
        return _proven(array, cast)
    except (pa.ArrowException, OverflowError) as error:
        shown = _culprit(array, cast)
        raise SchemaMismatchError(
            f"column {name!r}: the value {shown} ({array.type}) has no equal in {dtype}",
            hint="widen the target's column, or round the values in the query on purpose",
        ) from error


def _proven(array: pa.Array, cast: _Cast) -> pa.Array:
    done = cast.run(array)
    if cast.prove:
        import pyarrow.compute as pc

        back = done.cast(array.type)
        same = pc.equal(back, array)
        if pa.types.is_floating(array.type):
            same = pc.or_(same, pc.and_(pc.is_nan(back), pc.is_nan(array)))
        if not pc.all(same, skip_nulls=True, min_count=0).as_py():
            raise pa.ArrowInvalid("a value changed")
    return done


def _culprit(array: pa.Array, cast: _Cast) -> str:
    """The first value that the cast refuses, found by halving."""
    while len(array) > 1:
        half = array.slice(0, len(array) // 2)
        try:
            _proven(half, cast)
        except (pa.ArrowException, OverflowError):
            array = half
        else:
            array = array.slice(len(array) // 2)
    text = str(array[0]) if len(array) else "?"
    return text if len(text) <= 80 else f"{text[:79]}…"  # noqa: PLR2004 - what fits a line


def _cast_between(source: pa.DataType, target: pa.DataType) -> _Cast | None:
    kind = pa.types
    plain = _Cast(lambda array: array.cast(target))
    if kind.is_null(source) or _family(source) == _family(target) in ("text", "bytes", "date", "integer"):
        return plain
    if kind.is_timestamp(source) and kind.is_timestamp(target):
        return plain if bool(source.tz) == bool(target.tz) else None
    if kind.is_date(source) and kind.is_timestamp(target) and not target.tz:
        return plain
    if kind.is_timestamp(source) and not source.tz and kind.is_date(target):
        return _Cast(plain.run, prove=True)
    if kind.is_decimal(target):
        if kind.is_decimal(source):
            return plain
        # Arrow refuses the direct cast for types that could overflow, whatever the values are.
        wide = pa.decimal128(20, 0)
        return _Cast(lambda array: array.cast(wide).cast(target)) if kind.is_integer(source) else None
    if kind.is_integer(target) and (kind.is_decimal(source) or kind.is_floating(source)):
        return plain
    if kind.is_floating(target) and (kind.is_integer(source) or kind.is_floating(source)):
        return _Cast(plain.run, prove=True)
    return plain if _nested_fits(source, target) else None


def _family(dtype: pa.DataType) -> str:
    if pa.types.is_integer(dtype):
        return "integer"
    if pa.types.is_date(dtype):
        return "date"
    if is_binary(dtype):
        return "bytes"
    return "text" if is_text(dtype) else str(dtype)


def _nested_fits(source: pa.DataType, target: pa.DataType) -> bool:
    """Whether every nested type is equal, or wide enough for all values: single values are not looked at."""
    kind = pa.types
    if is_list(source) and is_list(target):
        return _nested_fits(source.value_type, target.value_type)
    if kind.is_map(source) and kind.is_map(target):
        return _nested_fits(source.key_type, target.key_type) and _nested_fits(
            source.item_type, target.item_type
        )
    if kind.is_struct(source) and kind.is_struct(target):
        names = [field.name for field in source] == [field.name for field in target]
        return names and all(
            _nested_fits(mine.type, its.type) for mine, its in zip(source, target, strict=True)
        )
    try:
        return kind.is_null(source) or lossless(delta_type(source), delta_type(target))
    except SchemaMismatchError:
        return False
