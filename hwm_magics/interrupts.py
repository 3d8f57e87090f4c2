"""Notes interrupts, for who waits for other threads, or has more to do after what an interrupt ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["noted"]


@contextmanager
def noted(*, raised: bool = False) -> Iterator[list[int]]:
    """Note interrupts instead of raising them.

    A ``KeyboardInterrupt`` that hits a waiting thread just outside of its ``try`` leaves the work in the other
    thread to itself, and whoever catches it believes that the work has stopped.

    Args:
        raised: Raise them all the same.

    Yields:
        A list that grows by one for every interrupt that would have been raised here. A handler that raises
        nothing, an ignored signal, and threads other than the main one are left as they are.
    """
    asked: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, frame: FrameType | None) -> None:
        # Nothing else is done here: a lock could be held by the very code that the signal came into.
        try:
            before(number, frame)
        except KeyboardInterrupt:
            asked.append(number)
            if raised:
                raise

    signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
