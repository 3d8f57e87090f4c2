"""Cursor values as points in time, and spans of time in words, for people only: nothing is decided by them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hwm_magics.core.cursor import CursorValue

__all__ = ["has_zone", "moment", "span"]

_FEW = 10
_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


def moment(value: CursorValue) -> datetime | None:
    """The time that a value stands for, to the microsecond; None when it is no time.

    A value without a zone is taken as UTC.
    """
    if not value.type.is_time:
        return None
    text = value.text.strip()
    if value.type.form is not None or "Z" in text:
        text = text.replace("Z", "+00:00")
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def has_zone(value: CursorValue) -> bool:
    """Whether the value says by itself which instant it is."""
    form = value.type.form
    return value.type.kind == "timestamp" or bool(form is not None and form.suffix)


def span(length: timedelta) -> str:
    """A span in words, to two units: ``a few seconds``, ``12 s``, ``2 h 10 min``, ``4 d 2 h``."""
    seconds = round(abs(length.total_seconds()))
    if seconds < _FEW:
        return "a few seconds"
    for size, unit, smaller, name in _UNITS:
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            part = rest // smaller
            return f"{whole:,} {unit}" + (f" {part} {name}" if part else "")
    return f"{seconds} s"
