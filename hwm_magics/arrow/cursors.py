"""Cursor values to and from Arrow, with every digit and never through a float."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal, InvalidOperation, localcontext
from typing import Any

import pyarrow as pa

from hwm_magics.arrow.build import integers, scalar
from hwm_magics.arrow.types import delta_type, is_binary, is_text
from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue, Scalar
from hwm_magics.errors import CursorColumnError

__all__ = ["arrow_scalar", "cursor_type_of", "cursor_value", "scalar_of"]

_UNIT_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - arithmetic on the calendar, without zones
_EPOCH_DAY = _EPOCH.toordinal()
_DAY_NS = 86_400 * 10**9
_ROWVERSION_BYTES = 8


def cursor_type_of(dtype: pa.DataType, native: str = "") -> CursorType:
    """The cursor type of a column, as far as its type tells.

    Args:
        dtype: The column's Arrow type.
        native: The owner's name of the type. Binary columns are refused unless it says
            ``rowversion`` or ``timestamp`` (SQL Server's older word for it).

    Returns:
        The type. For text the form is left open: only the values tell it.

    Raises:
        CursorColumnError: Columns of the type can't order rows by newness.
    """
    kind = pa.types
    if kind.is_dictionary(dtype):
        return cursor_type_of(dtype.value_type, native)
    name = native or str(dtype)
    if kind.is_integer(dtype):
        return CursorType(CursorKind.INTEGER, 0, name)
    if kind.is_decimal(dtype):
        return CursorType(CursorKind.DECIMAL, dtype.scale, name)
    if kind.is_date(dtype):
        return CursorType(CursorKind.DATE, 0, name)
    if kind.is_timestamp(dtype):
        which = CursorKind.TIMESTAMP_TZ if dtype.tz else CursorKind.TIMESTAMP
        return CursorType(which, _UNIT_DIGITS[dtype.unit], name)
    if is_text(dtype):
        return CursorType(CursorKind.TEXT, 0, name)
    if is_binary(dtype) and native.lower() in ("rowversion", "timestamp"):
        return CursorType(CursorKind.ROWVERSION, 0, name)
    raise CursorColumnError(
        f"a column of type {name} can't be a cursor: {_why_not(dtype)}",
        hint="use a column that grows with every insert and update: a time, a whole number or a rowversion",
    )


def _why_not(dtype: pa.DataType) -> str:
    if pa.types.is_floating(dtype):
        return "floating point values can't be compared exactly"
    if pa.types.is_time(dtype):
        return "a time of day begins again every midnight"
    return "its values don't order rows by newness"


def cursor_value(raw: pa.Scalar | Scalar | bytes, cursor_type: CursorType) -> CursorValue | None:
    """The exact cursor value of an Arrow scalar or a plain Python value.

    Args:
        raw: The value. Arrow's times are read with all their digits, nanoseconds too.
        cursor_type: The column's type.

    Returns:
        The value; None for NULL.

    Raises:
        CursorColumnError: It is not a value of that type, or a date outside of the years 1 to 9999.
    """
    if isinstance(raw, pa.Scalar):
        if not raw.is_valid:
            return None
        if pa.types.is_dictionary(raw.type):
            return cursor_value(raw.value, cursor_type)
        if pa.types.is_timestamp(raw.type):
            if cursor_type.kind is CursorKind.DATE:
                return cursor_type.value(_time_text(raw, cursor_type)[:10])
            return CursorValue(cursor_type, _time_text(raw, cursor_type))
        if pa.types.is_date(raw.type) and raw.type != pa.date32():
            raw = raw.cast(pa.date32())
        raw = _as_py(raw, cursor_type)
    if raw is None:
        return None
    if isinstance(raw, bytes):
        return CursorValue(cursor_type, raw.hex().upper().rjust(2 * _ROWVERSION_BYTES, "0"))
    return cursor_type.value(raw)


def _as_py(scalar: pa.Scalar, cursor_type: CursorType) -> Any:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError) as error:
        raise _out_of_range(str(scalar), cursor_type) from error


def _out_of_range(shown: str, cursor_type: CursorType) -> CursorColumnError:
    return CursorColumnError(
        f"the cursor column ({cursor_type.native or cursor_type.kind}) holds {shown}, which is outside of the years "
        "1 to 9999",
        hint="leave infinite and far dates out with read.where, or correct them",
    )


def _time_text(scalar: pa.Scalar, cursor_type: CursorType) -> str:
    nanos = scalar.value * 10 ** (9 - _UNIT_DIGITS[scalar.type.unit])
    seconds, fraction = divmod(nanos, 10**9)
    try:
        whole = (_EPOCH + timedelta(seconds=seconds)).isoformat(sep=" ")
    except OverflowError:
        raise _out_of_range(f"a time of {seconds} seconds since 1970", cursor_type) from None
    digits = f"{fraction:09d}".rstrip("0")
    return f"{whole}.{digits}" if digits else whole


def arrow_scalar(value: CursorValue, dtype: pa.DataType) -> pa.Scalar:
    """A cursor value as an Arrow scalar of a column's type.

    Args:
        value: The value.
        dtype: The type of the column that it will be compared with.

    Returns:
        The value, cut **down** to what the type keeps. As a bound for values of that type that
        loses nothing: whatever they hold lies on the same side of the cut value.

    Raises:
        CursorColumnError: The type can't hold it, or holds something else.
    """
    kind = value.type.kind
    refused = CursorColumnError(
        f"the cursor value {value} ({kind}) can't be compared with a column of type {dtype}",
        hint="the cursor column's type changed; settle the watermark with %hwm_watermark --set",
    )
    try:
        if kind in (CursorKind.INTEGER, CursorKind.DECIMAL):
            return _number_scalar(Decimal(value.text), dtype, refused)
        if kind is CursorKind.TEXT and delta_type(dtype) == "string":
            return scalar(value.text, dtype)
        if kind is CursorKind.ROWVERSION and is_binary(dtype):
            return scalar(bytes.fromhex(value.text), dtype)
        if value.type.is_time and kind is not CursorKind.TEXT:
            return _time_scalar(value, dtype, refused)
    except (pa.ArrowInvalid, OverflowError, InvalidOperation) as error:
        raise refused from error
    raise refused


def _number_scalar(number: Decimal, dtype: pa.DataType, refused: CursorColumnError) -> pa.Scalar:
    with localcontext() as context:
        context.prec = 80
        if pa.types.is_integer(dtype):
            return scalar(f"{number.to_integral_value(ROUND_FLOOR):f}", dtype)
        if pa.types.is_decimal(dtype):
            return scalar(f"{number.quantize(Decimal(1).scaleb(-dtype.scale), ROUND_FLOOR):f}", dtype)
    raise refused


def _time_scalar(value: CursorValue, dtype: pa.DataType, refused: CursorColumnError) -> pa.Scalar:
    whole, _, fraction = value.text.partition(".")
    moment = datetime.fromisoformat(whole)
    nanos = (moment.toordinal() - _EPOCH_DAY) * _DAY_NS + (
        moment.hour * 3600 + moment.minute * 60 + moment.second
    ) * 10**9
    nanos += int(fraction.ljust(9, "0") or 0)
    zoned = value.type.kind is CursorKind.TIMESTAMP_TZ
    if pa.types.is_timestamp(dtype) and bool(dtype.tz) == zoned:
        cut = nanos // 10 ** (9 - _UNIT_DIGITS[dtype.unit])
        return integers([cut]).cast(pa.timestamp(dtype.unit)).cast(dtype)[0]
    if pa.types.is_date(dtype) and not zoned:
        return scalar(date.fromordinal(_EPOCH_DAY + nanos // _DAY_NS).isoformat(), pa.date32()).cast(dtype)
    raise refused


def scalar_of(scalar: pa.Scalar) -> CursorValue | Scalar:
    """What a query over a target came to.

    Args:
        scalar: Its one value.

    Returns:
        A cursor value for numbers, dates and times, plain text or a boolean as they are, None for NULL.

    Raises:
        CursorColumnError: The value is of a type that can't be compared exactly.
    """
    if not scalar.is_valid:
        return None
    if pa.types.is_boolean(scalar.type):
        return bool(scalar.as_py())
    if is_text(scalar.type):
        return str(scalar.as_py())
    return cursor_value(scalar, cursor_type_of(scalar.type))
