"""A statement for a driver: its values in the driver's placeholders, or as typed literals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from hwm_magics.core.cursor import CursorKind, CursorValue, Scalar, TextForm
from hwm_magics.core.statement import Statement
from hwm_magics.errors import QueryError

__all__ = ["Bound", "bind_by_text", "in_form", "instant", "render", "with_literals"]


@dataclass(frozen=True, slots=True)
class Bound:
    """A value on its way into a statement.

    Attributes:
        sql: SQL with one ``?`` where the value's text belongs, or without when there is none.
        text: The value as exact text; None for NULL.
    """

    sql: str
    text: str | None


Binder = Callable[[CursorValue | Scalar], Bound]

_INT64 = range(-(2**63), 2**63)
_ANSI = {
    CursorKind.DATE: "CAST(? AS DATE)",
    CursorKind.TIMESTAMP: "CAST(? AS TIMESTAMP)",
    CursorKind.TIMESTAMP_TZ: "CAST(? AS TIMESTAMP WITH TIME ZONE)",
}


def render(statement: Statement, bind: Binder, style: str = "qmark") -> tuple[str, list[str]]:
    """A statement with its driver's placeholders.

    Args:
        statement: The statement.
        bind: The dialect's way to bind values.
        style: The driver's ``paramstyle``.

    Returns:
        The SQL, and the values' texts in their order.
    """
    params = [bind(param.value) for param in statement.params]
    values = [bound.text for bound in params if bound.text is not None]
    by_percent = style in ("format", "pyformat")
    pieces: list[str] = []
    at = 0
    number = 0
    for part in statement.parts:
        if isinstance(part, str):
            # Such drivers read a lone % as the beginning of a placeholder, where there are any values.
            pieces.append(part.replace("%", "%%") if by_percent and values else part)
            continue
        bound = params[at]
        at += 1
        if bound.text is None:
            pieces.append(bound.sql)
            continue
        number += 1
        mark = {"qmark": "?", "format": "%s", "pyformat": "%s"}.get(style, f":{number}")
        pieces.append(bound.sql.replace("?", mark))
    return _ended("".join(pieces)), values


def with_literals(statement: Statement, bind: Binder, quote: Callable[[str], str]) -> str:
    """A statement with its values as typed literals, for protocols without parameters.

    Args:
        statement: The statement.
        bind: The dialect's way to bind values.
        quote: Writes a text as a literal, escaped.
    """
    pieces = []
    for part in statement.parts:
        if isinstance(part, str):
            pieces.append(part)
            continue
        bound = bind(part.value)
        pieces.append(
            bound.sql if bound.text is None else bound.sql.replace("?", quote(_without_nul(bound.text)))
        )
    return _ended("".join(pieces))


def _ended(sql: str) -> str:
    """SQL to which a driver may add something: a comment at its end would swallow that."""
    return f"{sql}\n" if "--" in sql else sql


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise QueryError("a value holds a NUL character, which no SQL text can hold")
    return text


def bind_by_text(value: CursorValue | Scalar, casts: dict[CursorKind, str] | None = None) -> Bound:
    """ANSI SQL's way: the value's text, cast to its type.

    Args:
        value: The value. Times are cut down to microseconds.
        casts: Other casts for some kinds.
    """
    if value is None:
        return Bound("NULL", None)
    if isinstance(value, bool):
        return Bound("CAST(? AS BOOLEAN)", str(value).lower())
    if isinstance(value, int | Decimal):
        return number(str(value) if isinstance(value, int) else f"{value:f}", casts)
    if isinstance(value, str):
        return Bound("?", value)
    if isinstance(value, date):
        return bind_by_text(_of_python(value), casts)
    kind = value.type.kind
    if kind in (CursorKind.INTEGER, CursorKind.DECIMAL):
        return number(value.text, casts)
    sql = (casts or {}).get(kind) or _ANSI.get(kind, "?")
    if kind is CursorKind.TIMESTAMP_TZ:
        return Bound(sql, f"{value.floored(6).text}+00:00")
    return Bound(sql, value.floored(6).text)


def number(text: str, casts: dict[CursorKind, str] | None = None) -> Bound:
    """A number's text, cast to an exact type that holds it."""
    casts = casts or {}
    fraction = len(text.partition(".")[2])
    if not fraction and int(text) in _INT64:
        return Bound(casts.get(CursorKind.INTEGER, "CAST(? AS BIGINT)"), text)
    sql = casts.get(CursorKind.DECIMAL, "CAST(? AS DECIMAL(38, {digits}))")
    return Bound(sql.replace("{digits}", str(fraction)), text)


def _of_python(moment: date) -> CursorValue:
    """A date or datetime of the user's params as a cursor value, to be bound alike."""
    from hwm_magics.core.cursor import CursorType

    if not isinstance(moment, datetime):
        return CursorType(CursorKind.DATE).value(moment)
    kind = CursorKind.TIMESTAMP if moment.tzinfo is None else CursorKind.TIMESTAMP_TZ
    return CursorType(kind, 6).value(moment)


def in_form(text: str, form: TextForm) -> str:
    """A canonical time as text of a column's own form, cut down to its digits.

    Args:
        text: ``2024-06-01 12:00:00.123``, or a date; in UTC where the form has an offset.
        form: The form.
    """
    if form.suffix and form.separator:
        text = shifted(text, offset_minutes(form.suffix))
    day, _, time = text.partition(" ")
    if not form.separator:
        return day + form.suffix
    whole, _, fraction = (time or "00:00:00").partition(".")
    written = day + form.separator + (whole if form.seconds else whole[:5])
    if form.digits:
        written += "." + fraction[: form.digits].ljust(form.digits, "0")
    return written + form.suffix


def offset_minutes(suffix: str) -> int:
    """Minutes east of Greenwich, of ``Z``, ``+02`` or ``+02:00``."""
    if suffix.upper() in ("Z", "UTC", ""):
        return 0
    digits = suffix[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:4])
    return -minutes if suffix[0] == "-" else minutes


def shifted(text: str, minutes: int) -> str:
    """A canonical time some minutes later."""
    if not minutes:
        return text
    from datetime import timedelta

    whole, _, fraction = text.partition(".")
    moved = datetime.fromisoformat(whole) + timedelta(minutes=minutes)
    return moved.isoformat(sep=" ") + (f".{fraction}" if fraction else "")


def instant(text: str, zone: str) -> str:
    """A canonical time in UTC as the wall clock of a zone shows it.

    Args:
        text: The time.
        zone: An IANA zone.

    Raises:
        QueryError: There is no such zone.
    """
    from datetime import UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    whole, _, fraction = text.partition(".")
    try:
        there = datetime.fromisoformat(whole).replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise QueryError(
            f"the connection's timezone {zone!r} is not a time zone",
            hint="write a name such as Europe/Zurich",
        ) from error
    return there.replace(tzinfo=None).isoformat(sep=" ") + (f".{fraction}" if fraction else "")
