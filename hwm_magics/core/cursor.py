"""Cursor values: exact text with a type, compared and shifted without ever passing through a float."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import MAX_PREC, Decimal, InvalidOperation, localcontext
from enum import StrEnum
from functools import total_ordering

from hwm_magics.errors import CursorColumnError

__all__ = ["CursorKind", "CursorType", "CursorValue", "Scalar", "TextForm"]

Scalar = str | int | bool | Decimal | date | datetime | None
"""A value as YAML, a notebook or a driver may hand it over. Floats are left out on purpose."""

_NS = 1_000_000_000
_DAY_NS = 86_400 * _NS
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?\s*"
    r"(Z|UTC|[+-]\d{2}(?::?\d{2})?)?",
    re.IGNORECASE | re.ASCII,
)


class CursorKind(StrEnum):
    """What a cursor column holds."""

    INTEGER = "integer"
    DECIMAL = "decimal"
    DATE = "date"
    TIMESTAMP = "timestamp_ntz"
    """Date and time without a zone."""
    TIMESTAMP_TZ = "timestamp"
    """An instant; the text is in UTC."""
    TEXT = "string"
    """ISO-8601 text of one form, ordered as text."""
    ROWVERSION = "rowversion"
    """SQL Server's 8-byte counter, as unsigned; the text is 16 hex digits."""


TIME_KINDS = frozenset({CursorKind.DATE, CursorKind.TIMESTAMP, CursorKind.TIMESTAMP_TZ, CursorKind.TEXT})


@dataclass(frozen=True, slots=True)
class TextForm:
    """The one form that all values of a text cursor share.

    Attributes:
        separator: Between date and time: ``"T"``, ``" "``, or ``""`` when there is no time.
        digits: Digits of the fraction of a second.
        suffix: What follows: ``""``, ``"Z"``, or a fixed offset such as ``"+00:00"``.
        seconds: Whether seconds are written.
    """

    separator: str = " "
    digits: int = 0
    suffix: str = ""
    seconds: bool = True

    @classmethod
    def of(cls, text: str) -> TextForm | None:
        """The form of one value, or None when it is not ISO-8601."""
        found = _TIMESTAMP.fullmatch(text)
        if found is None or text != text.strip():
            return None
        separator = text[10] if found[4] else ""
        head = text[: found.start(8)] if found[8] else text
        if head != head.rstrip():
            return None
        return cls(separator, len(found[7] or ""), found[8] or "", found[6] is not None or not found[4])


@dataclass(frozen=True, slots=True)
class CursorType:
    """The type of a cursor column.

    Attributes:
        kind: What it holds.
        digits: Digits after the decimal point that the source keeps: of a second for times (0 to
            9), of the number for decimals.
        native: The source's own name of the type, such as ``timestamp without time zone``; used in
            messages and in casts of bound values.
        form: For text cursors, the form of the values.
    """

    kind: CursorKind
    digits: int = 0
    native: str = ""
    form: TextForm | None = None

    @property
    def is_time(self) -> bool:
        """Whether a lag is a duration (as against a count)."""
        return self.kind in TIME_KINDS

    @property
    def family(self) -> str:
        """What the values mean: those of one family can be put in order."""
        if self.kind in (CursorKind.INTEGER, CursorKind.DECIMAL):
            return "number"
        if self.kind in (CursorKind.DATE, CursorKind.TIMESTAMP):
            return "local time"
        return self.kind.value

    def comparable(self, other: CursorType) -> bool:
        """Whether values of the two types can be put in order."""
        return self.family == other.family

    def value(self, raw: Scalar) -> CursorValue:
        """Read a value of this type from what a person or a driver wrote.

        Args:
            raw: For times an ISO-8601 text, date or datetime; for integers and decimals the number
                or its text.

        Returns:
            The exact value.

        Raises:
            CursorColumnError: ``raw`` is not a value of this type.
        """
        text = _canonical(self, raw)
        return CursorValue(self, text)

    def to_json(self) -> dict[str, object]:
        """What the commit info keeps of the type."""
        kept: dict[str, object] = {"kind": self.kind.value, "digits": self.digits, "native": self.native}
        if self.form is not None:
            form = self.form
            kept["form"] = [form.separator, form.digits, form.suffix, form.seconds]
        return kept

    @classmethod
    def from_json(cls, kept: dict[str, object]) -> CursorType:
        """The type that :meth:`to_json` wrote."""
        raw = kept.get("form")
        form = None
        if isinstance(raw, list):
            form = TextForm(str(raw[0]), int(raw[1]), str(raw[2]), bool(raw[3]))
        digits = kept.get("digits", 0)
        return cls(
            CursorKind(str(kept["kind"])),
            digits if isinstance(digits, int) else int(str(digits)),
            str(kept.get("native", "")),
            form,
        )


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class CursorValue:
    """One cursor value, exact.

    Attributes:
        type: Its type.
        text: Its canonical text: ``2024-06-01 12:00:00.123456`` for times (UTC and no suffix for
            instants), digits for numbers, 16 hex digits for rowversions, the text itself for text.
            A fraction is written without trailing zeros.

    Values compare by what they mean, whatever precision their types have.
    """

    type: CursorType
    text: str

    def _order(self) -> Decimal | int | str:
        kind = self.type.kind
        if kind is CursorKind.TEXT:
            return self.text
        if kind is CursorKind.INTEGER:
            return int(self.text)
        if kind is CursorKind.DECIMAL:
            return Decimal(self.text)
        if kind is CursorKind.ROWVERSION:
            return int(self.text, 16)
        return _nanoseconds(self.text)

    def comparable(self, other: CursorValue) -> bool:
        """Whether the two values can be put in order."""
        return self.type.comparable(other.type)

    def _require(self, other: CursorValue) -> None:
        if not self.comparable(other):
            raise CursorColumnError(
                f"a cursor value of type {other.type.kind} ({other.text}) can't be compared with one of "
                f"type {self.type.kind} ({self.text})",
                hint="the cursor column's type changed; settle the watermark with %hwm_watermark --set",
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CursorValue):
            return NotImplemented
        return self.comparable(other) and self._order() == other._order()

    def __lt__(self, other: CursorValue) -> bool:
        self._require(other)
        mine, theirs = self._order(), other._order()
        if isinstance(mine, str) or isinstance(theirs, str):
            return str(mine) < str(theirs)
        return mine < theirs

    def __hash__(self) -> int:
        return hash((self.type.family, self._order()))

    def __str__(self) -> str:
        if self.type.kind is CursorKind.TIMESTAMP_TZ:
            return f"{self.text}+00:00"
        if self.type.kind is CursorKind.ROWVERSION:
            return f"0x{self.text}"
        return self.text

    def minus(self, lag: timedelta | int) -> CursorValue:
        """The value ``lag`` below this one, rounded **down** to what the source keeps.

        Args:
            lag: A duration for times, a count for numbers.

        Returns:
            A value of the same type; the lowest that the type has when the lag reaches below it.

        Raises:
            CursorColumnError: The lag is not of the cursor's kind, or the text can't be read as a time.
        """
        if self.type.is_time:
            if not isinstance(lag, timedelta):
                raise CursorColumnError(
                    f"lag {lag!r} is a count, and the cursor is of type {self.type.kind}",
                    hint="write a duration, such as lag: 10m",
                )
            return self._minus_time(lag)
        if isinstance(lag, timedelta):
            if not lag:
                return self
            raise CursorColumnError(
                f"lag {lag} is a duration, and the cursor is of type {self.type.kind}",
                hint="write a count, such as lag: 1000",
            )
        if self.type.kind is CursorKind.ROWVERSION:
            return replace(self, text=f"{max(0, int(self.text, 16) - lag):016X}")
        if self.type.kind is CursorKind.INTEGER:
            return replace(self, text=str(int(self.text) - lag))
        with localcontext(prec=MAX_PREC):
            return replace(self, text=_plain(Decimal(self.text) - lag))

    def plus(self, step: timedelta | int) -> CursorValue:
        """The value ``step`` above this one, rounded down to what the source keeps.

        Args:
            step: A duration for times, a count for numbers.

        Returns:
            A value of the same type; the highest time there is when the step reaches above it.

        Raises:
            CursorColumnError: The step is not of the cursor's kind.
        """
        return self.minus(-step)

    def _minus_time(self, lag: timedelta) -> CursorValue:
        micros = lag // timedelta(microseconds=1)
        form = self.type.form
        if self.type.kind is CursorKind.TEXT:
            if not lag:
                return self
            if form is None:
                raise CursorColumnError(
                    f"the text cursor value {self.text!r} is not ISO-8601, so a lag can't be subtracted",
                    hint="set read.incremental.date_format, or lag: 0",
                )
            body = self.text[: len(self.text) - len(form.suffix)] if form.suffix else self.text
            lowered = max(0, _nanoseconds(body) - micros * 1000)
            return replace(self, text=_write_text(lowered, form))
        lowered = max(0, _nanoseconds(self.text) - micros * 1000)
        return CursorValue(self.type, _write_time(lowered, self.type))

    def floored(self, digits: int) -> CursorValue:
        """The value cut down to ``digits`` digits after the decimal point (times only)."""
        if self.type.kind not in (CursorKind.TIMESTAMP, CursorKind.TIMESTAMP_TZ):
            return self
        return CursorValue(self.type, _write_time(_nanoseconds(self.text), replace(self.type, digits=digits)))

    def distance(self, other: CursorValue) -> timedelta | int | None:
        """How far this value lies above ``other``: a duration, a count, or None for text."""
        self._require(other)
        mine, theirs = self._order(), other._order()
        if isinstance(mine, str) or isinstance(theirs, str):
            return None
        if self.type.is_time:
            return timedelta(microseconds=int(mine - theirs) // 1000)
        with localcontext(prec=MAX_PREC):
            return int(mine - theirs)

    def to_json(self) -> dict[str, object]:
        """What the commit info keeps."""
        return {"type": self.type.to_json(), "value": self.text}

    @classmethod
    def from_json(cls, kept: dict[str, object]) -> CursorValue:
        """The value that :meth:`to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: It is damaged.
        """
        raw = kept["type"]
        if not isinstance(raw, dict):
            raise TypeError(f"no cursor type in {kept!r}")
        try:
            return CursorType.from_json(raw).value(str(kept["value"]))
        except CursorColumnError as error:
            raise ValueError(error.message) from error


def _canonical(cursor_type: CursorType, raw: Scalar) -> str:
    kind = cursor_type.kind
    refused = CursorColumnError(
        f"{raw!r} is not a value of the cursor's type {cursor_type.native or kind}",
        hint=f"write {_EXAMPLES[kind]}",
    )
    if raw is None or isinstance(raw, bool):
        raise refused
    if kind is CursorKind.INTEGER:
        if isinstance(raw, int) or (isinstance(raw, str) and re.fullmatch(r"\s*[+-]?\d{1,1000}\s*", raw)):
            return str(int(raw))
        raise refused
    if kind is CursorKind.DECIMAL:
        try:
            number = Decimal(str(raw))
        except InvalidOperation:
            raise refused from None
        if not number.is_finite():
            raise refused
        return _plain(number)
    if kind is CursorKind.ROWVERSION:
        text = str(raw).strip().removeprefix("0x").removeprefix("0X")
        if not re.fullmatch(r"[0-9A-Fa-f]{1,16}", text):
            raise refused
        return text.upper().rjust(16, "0")
    if kind is CursorKind.TEXT:
        return raw.isoformat(sep=" ") if isinstance(raw, datetime) else str(raw)
    return _canonical_time(cursor_type, raw, refused)


_EXAMPLES = {
    CursorKind.INTEGER: "a whole number",
    CursorKind.DECIMAL: "a number",
    CursorKind.ROWVERSION: "hex digits, such as 0x00000000000007D1",
    CursorKind.TEXT: "text of the column's own form",
    CursorKind.DATE: "a date, such as 2024-06-01",
    CursorKind.TIMESTAMP: "a time without a zone, such as '2024-06-01 12:00:00'",
    CursorKind.TIMESTAMP_TZ: "a time with its offset, such as '2024-06-01 12:00:00+00:00' (UTC when none is given)",
}


def _canonical_time(cursor_type: CursorType, raw: Scalar, refused: CursorColumnError) -> str:
    if isinstance(raw, datetime):
        raw = raw.isoformat(sep=" ")
    elif isinstance(raw, date):
        raw = raw.isoformat()
    found = _TIMESTAMP.fullmatch(str(raw).strip())
    if found is None:
        raise refused
    try:
        moment = _moment(found)
    except ValueError:
        raise refused from None
    total = _since_year_one(moment) + int((found[7] or "").ljust(9, "0") or 0)
    if found[8]:
        if cursor_type.kind is not CursorKind.TIMESTAMP_TZ:
            raise refused
        try:
            offset = datetime.fromisoformat(f"2000-01-01T00:00{_offset(found[8])}").utcoffset() or timedelta()
        except ValueError:
            raise refused from None
        total -= int(offset.total_seconds()) * _NS
        if not _DAY_NS <= total < (date.max.toordinal() + 1) * _DAY_NS:
            raise refused
    if cursor_type.kind is CursorKind.DATE:
        return _write_time(total, cursor_type)
    # Keep every digit given: what the source can't hold is rounded where a bound is made, and downwards.
    return _write_time(total, replace(cursor_type, digits=9))


def _offset(text: str) -> str:
    if text.upper() in ("Z", "UTC"):
        return "+00:00"
    return text if len(text) != 3 else f"{text}:00"  # noqa: PLR2004 - "+02"


def _moment(found: re.Match[str]) -> datetime:
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - the zone is the caller's matter


def _since_year_one(moment: datetime) -> int:
    day = moment.toordinal()
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second
    return day * _DAY_NS + seconds * _NS + moment.microsecond * 1000


def _nanoseconds(text: str) -> int:
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        raise CursorColumnError(
            f"{text!r} is not a time", hint="the cursor column holds other text than times"
        )
    moment = _moment(found)
    return _since_year_one(moment) + int((found[7] or "").ljust(9, "0") or 0)


def _split(total: int) -> tuple[datetime, int]:
    day, rest = divmod(max(total, _DAY_NS), _DAY_NS)
    seconds, nanos = divmod(rest, _NS)
    start = datetime.fromordinal(min(day, date.max.toordinal())).replace(tzinfo=UTC)
    return start + timedelta(seconds=seconds), nanos


def _write_time(total: int, cursor_type: CursorType) -> str:
    moment, nanos = _split(total)
    if cursor_type.kind is CursorKind.DATE:
        return f"{moment:%Y-%m-%d}".rjust(10, "0")
    fraction = f"{nanos:09d}"[: cursor_type.digits].rstrip("0")
    whole = f"{moment:%Y-%m-%d %H:%M:%S}".rjust(19, "0")
    return f"{whole}.{fraction}" if fraction else whole


def _write_text(total: int, form: TextForm) -> str:
    moment, nanos = _split(total)
    text = f"{moment:%Y-%m-%d}".rjust(10, "0")
    if form.separator:
        text += form.separator + (f"{moment:%H:%M:%S}" if form.seconds else f"{moment:%H:%M}")
        if form.digits:
            text += "." + f"{nanos:09d}"[: form.digits]
    return text + form.suffix


def _plain(number: Decimal) -> str:
    text = f"{number:f}" if number else "0"
    return text.rstrip("0").rstrip(".") if "." in text else text
