"""Small Arrow arrays made from buffers: ``pa.array`` and ``pa.scalar`` import pandas to look at what they get."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate

import pyarrow as pa

__all__ = ["booleans", "integers", "scalar", "texts"]


def booleans(values: Sequence[bool]) -> pa.BooleanArray:
    """An array of truth values."""
    bytewise = pa.Array.from_buffers(pa.uint8(), len(values), [None, pa.py_buffer(bytes(values))])
    return bytewise.cast(pa.bool_())


def integers(values: Sequence[int]) -> pa.Int64Array:
    """An array of 64-bit integers."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(array("q", values).tobytes())])


def texts(values: Sequence[str | bytes], dtype: pa.DataType | None = None) -> pa.Array:
    """An array of texts or bytes.

    Args:
        values: The values.
        dtype: ``string`` by default, else ``large_binary``, or a type that either can be cast to.
    """
    raw = [value.encode() if isinstance(value, str) else value for value in values]
    offsets = array("q", [0, *accumulate(map(len, raw))])
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"".join(raw))]
    binary = pa.Array.from_buffers(pa.large_binary(), len(raw), buffers)
    wanted = dtype if dtype is not None else pa.string()
    if binary.type == wanted:
        return binary
    return binary.cast(pa.large_string()).cast(wanted) if not _is_bytes(wanted) else binary.cast(wanted)


def scalar(value: str | bytes, dtype: pa.DataType | None = None) -> pa.Scalar:
    """One text or some bytes as a scalar; a text is read as ``dtype`` says, exactly or not at all."""
    return texts([value], dtype)[0]


def _is_bytes(dtype: pa.DataType) -> bool:
    kinds = pa.types
    return bool(kinds.is_binary(dtype) or kinds.is_large_binary(dtype) or kinds.is_fixed_size_binary(dtype))
