"""Notes interrupts, for who waits for other threads, or has more to do after what an interrupt ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["noted"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Those that may raise a ``KeyboardInterrupt``: the second one in exported scripts, which ask for that."""


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
    # Signals are the main thread's.
    main = threading.current_thread() is threading.main_thread()
    found = {number: signal.getsignal(number) for number in _SIGNALS} if main else {}
    before: dict[int, Callable[[int, FrameType | None], object]]
    before = {number: handler for number, handler in found.items() if callable(handler)}

    def note(number: int, frame: FrameType | None) -> None:
        # Nothing else is done here: a lock could be held by the very code that the signal came into.
        try:
            before[number](number, frame)
        except KeyboardInterrupt:
            asked.append(number)
            if raised:
                raise

    for number in before:
        signal.signal(number, note)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
