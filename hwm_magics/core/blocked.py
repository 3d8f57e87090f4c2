"""How planning comes to a blocker."""

from __future__ import annotations

from hwm_magics.core.decided import Blocker

__all__ = ["Blocked"]


class Blocked(Exception):  # noqa: N818 - it carries a blocker out of the planning functions, and no further
    """Planning came to a blocker."""

    def __init__(self, message: str, hint: str, error: str = "BlockedError") -> None:
        super().__init__(message)
        self.blocker = Blocker(message, hint, error)
