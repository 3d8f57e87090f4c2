"""What ``hwm.yaml`` says for every load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Defaults"]


@dataclass(frozen=True, slots=True)
class Defaults:
    """Settings for loads that don't say otherwise.

    Attributes:
        engine: The engine; None when not given.
        mode: What a cell does: ``ask``, ``plan``, ``dry-run`` or ``run``; None when not given.
        read: Settings of ``read``, checked, as they are written.
        write: Settings of ``write``, checked, as they are written.
    """

    engine: str | None = None
    mode: str | None = None
    read: Mapping[str, object] = field(default_factory=dict)
    write: Mapping[str, object] = field(default_factory=dict)
