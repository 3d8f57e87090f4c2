"""What the target alone has decided, before the source is asked."""

from __future__ import annotations

from dataclasses import dataclass

from hwm_magics.core.decided import Blocker, Decision
from hwm_magics.core.observed import FirstLoad, Watermark
from hwm_magics.core.window import Low

__all__ = ["Intent", "block"]


@dataclass(frozen=True, slots=True)
class Intent:
    """What the target alone decides, before the source is asked.

    Attributes:
        decision: The decision so far.
        reason: Why.
        first_run: Whether the first run's query is meant.
        low: The low bound of what will be read.
        before: The watermark before.
        blocker: Set when BLOCKED.
        warnings, notes: Sentences.
        resumes: The first load in chunks that goes on; None when none does.
    """

    decision: Decision
    reason: str
    first_run: bool = False
    low: Low | None = None
    before: Watermark | None = None
    blocker: Blocker | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    resumes: FirstLoad | None = None

    @property
    def chunked(self) -> bool:
        """Whether it is of a first load, which may go on in chunks."""
        return self.resumes is not None or self.decision is Decision.FIRST_RUN


def block(message: str, hint: str, error: str = "BlockedError") -> Intent:
    """A refusal, and what to do about it."""
    return Intent(Decision.BLOCKED, message, blocker=Blocker(message, hint, error))
