"""Whole rows as keys that are equal exactly when the rows are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hwm_magics.arrow.build import integers, scalar, texts
from hwm_magics.arrow.types import is_binary, is_list

__all__ = ["row_keys"]

_KEY = pa.large_binary()
_EMPTY = scalar(b"", _KEY)
_NULL, _VALUE = scalar(b"\x00", _KEY), scalar(b"\x01", _KEY)
_QUIET_NAN = 0x7FF8000000000000


def row_keys(batch: pa.RecordBatch | pa.Table, columns: Sequence[str] | None = None) -> pa.Array:
    """One key a row: two rows have the same key exactly when they are the same row.

    Args:
        batch: The rows. Batches that are compared with each other have the same column types.
        columns: The columns that count, in order; all when None.

    Returns:
        A ``large_binary`` array without NULLs. NULL equals NULL. Floating point values are compared
        by their bits, so 0.0 and -0.0 differ; any NaN equals any other. Decimals, times and bytes
        are exact; text is not normalised.
    """
    names = batch.schema.names if columns is None else list(columns)
    pieces: list[Any] = []
    for name in names:
        array = batch.column(name)
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        pieces += _key_pieces(array)
    if not pieces:
        return texts([b""] * batch.num_rows, _KEY)
    return _joined(pieces, batch.num_rows)


def _joined(pieces: list[Any], rows: int) -> pa.Array:
    if not any(isinstance(piece, pa.Array) for piece in pieces):
        pieces[0] = pa.repeat(pieces[0], rows)
    return pc.binary_join_element_wise(*pieces, _EMPTY, null_handling="replace", null_replacement=b"")


def _key_pieces(array: pa.Array) -> list[Any]:
    """A marker for NULL, then the value: of fixed width, or with its length before it."""
    if pa.types.is_null(array.type):
        return [_NULL]
    marker = pc.if_else(array.is_valid(), _VALUE, _NULL) if array.null_count else _VALUE
    return [marker, *_key_body(array)]


def _key_body(array: pa.Array) -> list[Any]:
    dtype, kind = array.type, pa.types
    if kind.is_dictionary(dtype):
        return _key_body(array.dictionary_decode())
    if isinstance(array, pa.ExtensionArray):
        return _key_body(array.storage)
    if kind.is_boolean(dtype):
        array = array.cast(pa.uint8())
    elif kind.is_floating(dtype):
        bits = array.cast(pa.float64()).view(pa.int64())
        array = pc.if_else(pc.is_nan(array), integers([_QUIET_NAN])[0], bits)
    elif kind.is_fixed_size_binary(dtype):
        return [array.cast(_KEY)]
    elif is_list(dtype) or kind.is_map(dtype) or kind.is_struct(dtype):
        array = _nested_keys(array)
        return [_lengths(array), array]
    elif not kind.is_primitive(dtype) and not kind.is_decimal(dtype):
        array = (array if is_binary(dtype) else array.cast(pa.large_string())).cast(_KEY)
        return [_lengths(array), array]
    return [array.view(pa.binary(array.type.bit_width // 8)).cast(_KEY)]


def _lengths(array: pa.Array) -> pa.Array:
    return pc.binary_length(array).cast(pa.int64()).view(pa.binary(8)).cast(_KEY)


def _nested_keys(array: pa.Array) -> pa.Array:
    """Keys of lists, maps and structs: the children's keys, put together row by row."""
    if pa.types.is_struct(array.type):
        # Not by flatten(): Arrow aborts on some sliced arrays with NULLs.
        pieces = [piece for at in range(array.type.num_fields) for piece in _key_pieces(array.field(at))]
        whole = _joined(pieces, len(array)) if pieces else texts([b""] * len(array), _KEY)
        return pc.if_else(array.is_valid(), whole, pa.nulls(1, _KEY)[0]) if array.null_count else whole
    if pa.types.is_map(array.type):
        pieces = [*_key_pieces(array.keys), *_key_pieces(array.items)]
        return _rows_of(pieces, len(array.keys), array.offsets.to_pylist(), array.is_valid().to_pylist())
    # Not a cast where it can be spared: Arrow aborts on children of some sliced and cast lists.
    offsets = pa.types.is_list(array.type) or pa.types.is_large_list(array.type)
    plain = array if offsets else array.cast(pa.large_list(array.type.value_type))
    pieces = _key_pieces(plain.values)
    return _rows_of(pieces, len(plain.values), plain.offsets.to_pylist(), plain.is_valid().to_pylist())


def _rows_of(pieces: list[Any], count: int, offsets: list[int], valid: list[bool]) -> pa.Array:
    keys = _joined(pieces, count).to_pylist()
    rows = []
    for at, there in enumerate(valid):
        inside = keys[offsets[at] : offsets[at + 1]] if there else []
        rows.append(b"".join(len(key).to_bytes(8, "little") + key for key in inside))
    return texts(rows, _KEY)
