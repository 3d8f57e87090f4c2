"""Durations as people write them: ``30m``, ``1h30m``, ``2 days``, ``PT30M``."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

__all__ = ["CALENDAR_DAYS", "UNITS", "parse_duration", "parse_lag", "parse_step", "span"]

UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_WORDS = {
    "millisecond": "ms",
    "sec": "s",
    "second": "s",
    "min": "m",
    "minute": "m",
    "hr": "h",
    "hour": "h",
    "day": "d",
    "week": "w",
}
CALENDAR_DAYS = {"month": 31, "year": 366}
"""Units of no fixed length count as the longest they can be: a look-back that is too long reads a
few rows again, one that is too short loses some."""

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*,?\s*")
_ISO = re.compile(
    r"P(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?",
    re.IGNORECASE,
)
_EXAMPLES = "write a duration such as 30m, 1h30m, 90s, 2d or 1w"


def parse_duration(text: str) -> timedelta:
    """A duration.

    Args:
        text: Numbers with units (``ms``, ``s``, ``m``, ``h``, ``d``, ``w`` or their words), ``0``, or ISO 8601.

    Raises:
        ValueError: It is none; the message says what to write.
    """
    stripped = text.strip()
    if re.fullmatch(r"0+", stripped):
        return timedelta()
    if stripped[:1] == "-":
        raise ValueError(f"{text!r} is negative: {_EXAMPLES}")
    try:
        return _iso(stripped) if stripped[:1] in "Pp" and stripped else _units(stripped, text)
    except OverflowError:
        raise ValueError(f"{text!r} is too long for a duration") from None


def _units(stripped: str, text: str) -> timedelta:
    total, place = timedelta(), 0
    while place < len(stripped):
        found = _PART.match(stripped, place)
        if found is None:
            raise ValueError(_refused(stripped, text))
        total += _length(found[1], found[2], text)
        place = found.end()
    if not stripped:
        raise ValueError(_EXAMPLES)
    return total


def _refused(stripped: str, text: str) -> str:
    if re.fullmatch(r"\d+(?:\.\d+)?", stripped):
        return f"{text!r} has no unit: write {stripped}s, {stripped}m, {stripped}h or {stripped}d"
    return f"{text!r} is no duration: {_EXAMPLES}"


def _length(number: str, unit: str, text: str) -> timedelta:
    if unit == "M":
        raise ValueError(
            f"{text!r}: M could be minutes or months: write {number}m for minutes, {number}d for days"
        )
    word = unit.lower()
    short = word if word in UNITS else _WORDS.get(word) or _WORDS.get(word.removesuffix("s"))
    if short is None:
        if word.removesuffix("s") in CALENDAR_DAYS or word in ("mo", "y"):
            raise ValueError(f"{text!r}: months and years have no fixed length: write days, such as 31d")
        raise ValueError(f"{text!r}: {unit!r} is no unit of time: {_EXAMPLES}")
    return _times(UNITS[short], number)


def _times(unit: timedelta, number: str) -> timedelta:
    micros = Decimal(number) * (unit // timedelta(microseconds=1))
    return timedelta(microseconds=int(micros.to_integral_value()))


def _iso(stripped: str) -> timedelta:
    found = _ISO.fullmatch(stripped)
    if found is None or not any(found.groups()):
        if re.match(r"P[\d.]+[YM]", stripped, re.IGNORECASE):
            raise ValueError(f"{stripped!r}: months and years have no fixed length: write days, such as P31D")
        raise ValueError(f"{stripped!r} is no duration: {_EXAMPLES}")
    units = (UNITS["w"], UNITS["d"], UNITS["h"], UNITS["m"], UNITS["s"])
    return sum(
        (_times(unit, part) for unit, part in zip(units, found.groups(), strict=True) if part), timedelta()
    )


def parse_lag(value: object) -> timedelta | int:
    """How far to look back: a duration for times, a count for numbers.

    0 is the duration, which suits both.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, timedelta):
        if value < timedelta():
            raise ValueError(f"{value} is negative: {_EXAMPLES}")
        return value
    if isinstance(value, str) and not re.fullmatch(r"\s*-?\d{1,18}\s*", value):
        return parse_duration(value)
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise ValueError(f"{value!r} is neither a duration (30m) nor a whole number (1000)")  # noqa: TRY004 - as all
    count = int(value)
    if count < 0:
        raise ValueError(f"{count} is negative: a lag looks back from the watermark, so write {-count}")
    return count or timedelta()


def parse_step(value: object) -> timedelta | int:
    """How far a chunk reaches: a duration for times, a count for numbers; more than nothing.

    Raises:
        ValueError: It is neither, or nothing.
    """
    negative = isinstance(value, int | str) and str(value).strip()[:1] == "-"
    step = timedelta() if negative else parse_lag(value)
    if not step:
        raise ValueError(f"{value} is no step: write how far a chunk reaches, such as 30d, or 1000000")
    return step


def span(count: int, unit: str) -> timedelta:
    """``count`` units of a rolling window: minute, hour, day, week, month or year.

    Raises:
        ValueError: The unit is unknown, or the span is too long.
    """
    word = unit.strip().lower().removesuffix("s")
    try:
        if word in CALENDAR_DAYS:
            return timedelta(days=count * CALENDAR_DAYS[word])
        if word in ("minute", "hour", "day", "week"):
            return count * UNITS[_WORDS[word]]
    except OverflowError:
        raise ValueError(f"{count} {unit} is too long") from None
    raise ValueError(f"{unit!r} is no unit: write minute, hour, day, week, month or year")
