"""What an error of Spark's is, told by its condition: its classes differ between classic Spark and Connect."""

from __future__ import annotations

import re

__all__ = ["condition", "first_line"]

_CONDITION = re.compile(r"\[([A-Z][A-Z0-9_]+(?:\.[A-Z0-9_]+)*)\]")
_NOISE = re.compile(
    r"\s*(You can explicitly invalidate the cache|JVM stacktrace:|\n\s*at |;?\s*line \d+ pos \d+|== SQL).*",
    re.DOTALL,
)
_CLASS = re.compile(r"^(?:[a-z]\w*\.)+([A-Z]\w+): ")
_PY4J = re.compile(r"^An error occurred while calling \S+\n: ")


def condition(error: BaseException) -> str | None:
    """The error's condition, such as ``DELTA_MISSING_DELTA_TABLE``; None when it has none.

    Without delta's own Python package, classic Spark hands such errors over as bare Java errors, whose
    message holds the condition in brackets.
    """
    asked = getattr(error, "getCondition", None)
    if callable(asked):
        try:
            found = asked()
        except Exception:  # noqa: BLE001 - the message still tells
            found = None
        if isinstance(found, str) and found:
            return found
    match = _CONDITION.search(str(error))
    return match[1] if match else None


def first_line(error: BaseException) -> str:
    """What an error says, without stack traces and class names."""
    text = _PY4J.sub("", str(error))
    text = _NOISE.sub("", text)
    text = _CLASS.sub("", text)
    return re.sub(r"\s*SQLSTATE: \w+\s*$", "", " ".join(text.split()))
