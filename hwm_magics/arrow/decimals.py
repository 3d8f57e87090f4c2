"""Decimals of the texts that databases send, by whole columns: at half the cost of a cast of each text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import numpy as np

__all__ = ["INTEGER_DIGITS", "lines_to_decimals", "lines_to_texts", "texts_to_decimals"]

INTEGER_DIGITS = 18
"""The widest decimals that are read as 64-bit integers on their way."""
_FEW = 1_000
"""With fewer rows the plain cast costs next to nothing."""
_POINT, _COMMA, _BREAK = b".,\n"


def texts_to_decimals(texts: pa.Array, dtype: pa.Decimal128Type) -> pa.Array:
    """Decimals of their texts.

    Args:
        texts: An array of ``string``, such as ``-12.50``; NULL stays NULL.
        dtype: The decimal type.

    Raises:
        pyarrow.ArrowInvalid: A text is no such number.
    """
    if len(texts) >= _FEW and dtype.precision <= INTEGER_DIGITS and texts.type == pa.string():
        found = _by_integers(texts, dtype)
        if found is not None:
            return found
    return texts.cast(dtype)


def lines_to_decimals(lines: pa.Array, dtypes: Sequence[pa.Decimal128Type]) -> list[pa.Array]:
    """The columns of decimals that travel as one text a row: ``1.50,,-0.25`` and a line break.

    Args:
        lines: An array of ``string`` without NULL. An empty part is NULL.
        dtypes: The decimal types, all of one scale and of 18 digits at most.

    Raises:
        pyarrow.ArrowInvalid: A part is no such number.
    """
    if len(lines) >= _FEW:
        found = _lines_by_integers(lines, dtypes)
        if found is not None:
            return found
    return [
        texts.cast(dtype) for texts, dtype in zip(lines_to_texts(lines, len(dtypes)), dtypes, strict=True)
    ]


def lines_to_texts(lines: pa.Array, count: int) -> list[pa.Array]:
    """The parts of lines as texts; an empty part is NULL."""
    return _columns(_text(lines), [pa.string()] * count)


def _by_integers(texts: pa.Array, dtype: pa.Decimal128Type) -> pa.Array | None:
    import numpy as np

    rows = len(texts)
    ends = np.frombuffer(texts.buffers()[1], np.int32, rows + 1, texts.offset * 4)
    ends = ends - ends[0]
    data = _text(texts)
    if dtype.scale:
        there = np.diff(ends) > 0
        points = np.flatnonzero(np.frombuffer(data, np.uint8) == _POINT)
        # Each text has one point, and as many digits behind it as the type.
        if len(points) != np.count_nonzero(there) or np.any(ends[1:][there] - points != dtype.scale + 1):
            return None
        data = data.translate(None, b".")
        ends[1:] -= np.cumsum(there, dtype=np.int32)
    valid = texts.is_valid() if texts.null_count else None
    buffers = [valid.buffers()[1] if valid is not None else None, pa.py_buffer(ends), pa.py_buffer(data)]
    try:
        return _scaled(pa.Array.from_buffers(pa.string(), rows, buffers).cast(pa.int64()), dtype)
    except pa.ArrowInvalid:  # NaN
        return None


def _lines_by_integers(lines: pa.Array, dtypes: Sequence[pa.Decimal128Type]) -> list[pa.Array] | None:
    import numpy as np

    data, scale = _text(lines), dtypes[0].scale
    points = None
    if scale:
        seen = np.frombuffer(data, np.uint8)
        points = np.flatnonzero(seen == _POINT)
        # Behind each point there are as many digits as the type has.
        if len(points) and points[-1] + scale + 1 >= len(seen):
            return None
        behind = seen[points + scale + 1]
        if not np.all((behind == _COMMA) | (behind == _BREAK)):
            return None
        data = data.translate(None, b".")
    try:
        columns = _columns(data, [pa.int64()] * len(dtypes))
    except pa.ArrowInvalid:  # NaN
        return None
    if points is not None and len(points) != sum(len(column) - column.null_count for column in columns):
        return None
    decimals: list[pa.Array] = []
    for column, dtype in zip(columns, dtypes, strict=True):
        found = _scaled(column, dtype)
        if found is None:
            return None
        decimals.append(found)
    return decimals


def _scaled(integers: pa.Array, dtype: pa.Decimal128Type) -> pa.Array | None:
    """Decimals of their digits without the point; None where a number has more digits than the type."""
    import numpy as np
    import pyarrow.compute as pc

    limit = 10**dtype.precision
    found = pc.min_max(integers)
    if found["min"].is_valid and (found["min"].as_py() <= -limit or found["max"].as_py() >= limit):
        return None
    numbers: np.ndarray[Any, np.dtype[np.int64]]
    numbers = np.frombuffer(integers.buffers()[1], np.int64, len(integers), integers.offset * 8)
    words = np.empty((len(integers), 2), np.int64)
    words[:, 0] = numbers
    np.right_shift(numbers, 63, out=words[:, 1])
    valid = integers.is_valid().buffers()[1] if integers.null_count else None
    return pa.Array.from_buffers(dtype, len(integers), [valid, pa.py_buffer(words)])


def _text(texts: pa.Array) -> bytes:
    """All texts, one behind the other."""
    import numpy as np

    if not len(texts):
        return b""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32, len(texts) + 1, texts.offset * 4)
    return bytes(memoryview(data)[ends[0] : ends[-1]]) if data is not None else b""


def _columns(data: bytes, types: Sequence[pa.DataType]) -> list[pa.Array]:
    from pyarrow import csv

    if not data:
        return [pa.nulls(0, dtype) for dtype in types]
    names = [str(at) for at in range(len(types))]
    table = csv.read_csv(
        pa.BufferReader(data),
        # One block, and so one chunk a column.
        csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
        csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
        csv.ConvertOptions(
            column_types=dict(zip(names, types, strict=True)),
            null_values=[""],
            strings_can_be_null=True,
            check_utf8=False,
        ),
    )
    return [column.combine_chunks() for column in table.columns]
