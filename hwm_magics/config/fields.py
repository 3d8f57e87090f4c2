"""The kinds of value that settings take: each reads what people write and says plainly what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from hwm_magics.config.durations import parse_duration, parse_lag, parse_step
from hwm_magics.config.excerpts import show_value
from hwm_magics.config.interpolation import UNRESOLVED, BadReferenceError, scalar_of
from hwm_magics.config.sql_references import RESERVED
from hwm_magics.config.yaml_loader import ExactDecimal, ExactInt, plain
from hwm_magics.connections.secrets import Secret, looks_secret
from hwm_magics.connections.words import did_you_mean, listed
from hwm_magics.core.cursor import Scalar

__all__ = [
    "Address",
    "Duration",
    "Flag",
    "InitialValue",
    "Lag",
    "Names",
    "Options",
    "Params",
    "SecretText",
    "SettingError",
    "Step",
    "Text",
    "Whole",
    "choice",
    "of",
    "option_value",
]

T = TypeVar("T")


class SettingError(ValueError):
    """A setting's value is wrong; the message says what to write."""


def of(read: Callable[[Any], T]) -> PlainValidator:
    """A pydantic validator around a function that reads a value or raises ValueError."""

    def validate(value: object) -> T:
        if value is UNRESOLVED:
            # Its problem was reported where the reference stands.
            raise PydanticCustomError("reported", "reported")
        if value is None:
            raise SettingError("there is no value: give one, or leave the line away")
        return read(value)

    return PlainValidator(validate)


def _text(value: object) -> str:
    if isinstance(value, Secret):
        raise SettingError("a credential (${secret:…}) does not belong here, because this setting is shown")
    if isinstance(value, ExactInt | ExactDecimal):
        return value.raw
    if isinstance(value, bool):
        raise SettingError(
            f"it must be a text, and {show_value(value).lower()} is a truth value: put it in quotes"
        )
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, str):
        if not value.strip():
            raise SettingError("the text is empty: give one, or leave the line away")
        return str(value).strip()
    raise SettingError(f"it must be a text, and this is {_kind(value)}")


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping (key: value)"
    if isinstance(value, list | tuple):
        return "a list"
    return f"of type {type(value).__name__} ({show_value(value)})"


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, str) and not isinstance(value, Secret):
        # `a, b` is how many write a short list.
        found = [part.strip() for part in value.split(",")]
    elif isinstance(value, list | tuple):
        found = [_text(each) if each is not None else "" for each in value]
    else:
        raise SettingError(f"it must be a column's name or a list of names, and this is {_kind(value)}")
    if not found:
        raise SettingError("the list is empty: name a column, or leave the line away")
    if not all(found):
        raise SettingError("one of the names is empty")
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise SettingError(f"{listed(twice)} stands in the list twice")
    return tuple(found)


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if (
        isinstance(value, str)
        and not isinstance(value, Secret)
        and value.strip().lower() in ("true", "false")
    ):
        return value.strip().lower() == "true"
    hint = ""
    if isinstance(value, str):
        word = value.strip().lower()
        hint = {
            "yes": ": write true",
            "on": ": write true",
            "no": ": write false",
            "off": ": write false",
        }.get(word, "")
    raise SettingError(f"it must be true or false, and this is {show_value(value)}{hint}")


def _whole(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if (
        isinstance(value, str)
        and not isinstance(value, Secret)
        and re.fullmatch(r"[+-]?\d{1,18}", value.strip())
    ):
        return int(value)
    raise SettingError(f"it must be a whole number, and this is {_shown(value)}")


def _shown(value: object) -> str:
    return _kind(value) if isinstance(value, Mapping | list | tuple) else show_value(value)


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return parse_duration(str(value))
    if isinstance(value, str) and not isinstance(value, Secret):
        return parse_duration(value)
    raise SettingError(f"it must be a duration such as 30m, and this is {_shown(value)}")


def _lag(value: object) -> timedelta | int:
    if isinstance(value, Mapping | list | tuple | bool | Secret):
        raise SettingError(f"it must be a duration (30m) or a count (1000), and this is {_shown(value)}")
    return parse_lag(value)


def _step(value: object) -> timedelta | int:
    if isinstance(value, Mapping | list | tuple | bool | Secret):
        raise SettingError(f"it must be a duration (30d) or a count (1000000), and this is {_shown(value)}")
    return parse_step(value)


def _initial(value: object) -> Scalar:
    if isinstance(value, bool):
        raise SettingError(
            "it must be a value of the cursor column, and this is a truth value: put it in quotes"
        )
    try:
        found = scalar_of(value, "it")
    except BadReferenceError as problem:
        raise SettingError(str(problem)) from None
    return found.strip() if isinstance(found, str) else found


def _options(value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise SettingError(f"it must be a mapping (key: value), and this is {_shown(value)}")
    if any(one is UNRESOLVED for one in value.values()):
        raise PydanticCustomError("reported", "reported")
    return {str(key): option_value(str(key), one) for key, one in value.items()}


def option_value(key: str, value: object) -> object:
    """An option's value, wrapped when its name says that it is a credential."""
    if isinstance(value, str) and not isinstance(value, Secret) and looks_secret(key):
        return Secret.of_address(value) if "://" in value or "=" in value else Secret(value)
    return plain(value)


def _params(value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise SettingError(f"it must be a mapping (name: value), and this is {_shown(value)}")
    for name, one in value.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", str(name)):
            raise SettingError(f"{name!r} is no name: use letters, digits and underscores")
        if str(name).lower() in RESERVED:
            raise SettingError(
                f"{name!r} is taken: the load itself gives :{name} its value; use another name"
            )
        if isinstance(one, Mapping):
            raise SettingError(
                f"{name!r} must be a text, a number, true, false or a list of them, and is a mapping"
            )
    return dict(value)


def _secret(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, ExactInt | ExactDecimal):
        return Secret(value.raw)
    if isinstance(value, str):
        if not value:
            raise SettingError("the text is empty: give one, or leave the line away")
        return Secret(value)
    # The value itself is not repeated here.
    kind = "a truth value: put it in quotes" if isinstance(value, bool) else "something else"
    raise SettingError(f"it must be a text, and this is {kind}")


def _address(value: object) -> Secret:
    if isinstance(value, Secret) or not isinstance(value, str):
        return _secret(value)
    if not value.strip():
        raise SettingError("the text is empty: give one, or leave the line away")
    return Secret.of_address(value.strip())


def choice(enum: type[StrEnum], renamed: Mapping[str, str] | None = None) -> PlainValidator:
    """A validator for one of an enumeration's words.

    Args:
        enum: The words.
        renamed: Other spellings, and the words that they stand for.
    """
    known = [str(each) for each in enum]

    def read(value: object) -> StrEnum:
        if isinstance(value, enum):
            return value
        if not isinstance(value, str) or isinstance(value, Secret):
            raise SettingError(f"it must be one of {listed(known)}, and this is {_shown(value)}")
        word = value.strip()
        word = (renamed or {}).get(word.lower(), word)
        if word in known:
            return enum(word)
        tail = did_you_mean(word, known) or f": write one of {listed(known, 20)}"
        raise SettingError(f"{show_value(value)} is not known{tail}")

    return of(read)


Text = Annotated[str, of(_text)]
Names = Annotated[tuple[str, ...], of(_names)]
Flag = Annotated[bool, of(_flag)]
Whole = Annotated[int, of(_whole)]
Duration = Annotated[timedelta, of(_duration)]
Lag = Annotated[timedelta | int, of(_lag)]
Step = Annotated[timedelta | int, of(_step)]
InitialValue = Annotated[str | int | Decimal | date | datetime, of(_initial)]
Options = Annotated[dict[str, object], of(_options)]
Params = Annotated[dict[str, object], of(_params)]
SecretText = Annotated[Secret, of(_secret)]
Address = Annotated[Secret, of(_address)]
