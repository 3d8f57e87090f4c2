"""One thing that the doctor looked at, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Check", "State"]


class State(StrEnum):
    """How a thing stands."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing, or missing and not needed here."""
    BAD = "BAD"
    """It keeps a load from working, or from being right."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        area: ``machine``, ``extra``, ``project``, ``file``, ``connection``, ``load NAME`` or ``credentials``.
        name: What it is.
        state: How it stands.
        seen: What was found.
        do: What to do; "" for nothing.
    """

    area: str
    name: str
    state: State
    seen: str
    do: str = ""
