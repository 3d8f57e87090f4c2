"""Waits for work that runs in threads, and turns signals and the end of its time into a request to stop."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

import click

from hwm_magics.cli.base import INTERRUPTED

__all__ = ["Work", "wait_for"]

POLL = 0.25
"""Seconds between two looks at the work."""


class Work(Protocol):
    """What is waited for."""

    def start(self) -> object:
        """Begin, in a thread of its own, and return at once."""

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; whether it has."""

    def cancel(self) -> object:
        """Ask it to stop before its commit."""


def wait_for(
    work: Work,
    limit: timedelta | None,
    *,
    tell: Callable[[], object] = lambda: None,
    end_at_once: Callable[[], object] = lambda: None,
) -> None:
    """Begin work, and wait for its end.

    An exception thrown into the thread that loads could hit it between the commit and its own account of it; a
    flag can't. So a first SIGINT or SIGTERM only asks the work to stop, and a second one ends the process.

    Args:
        work: The work.
        limit: After how long it is asked to stop; None for never.
        tell: Called now and then.
        end_at_once: Called before the process ends, on the second signal.
    """
    asked: list[int] = []

    def note(number: int, _frame: object) -> None:
        asked.append(number)

    # Signals are the main thread's: elsewhere whoever called handles them.
    main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        work.start()
        end = time.monotonic() + limit.total_seconds() if limit is not None else math.inf
        seen = 0
        while not work.join(POLL):
            tell()
            if time.monotonic() > end:
                end = math.inf
                click.echo(f"{limit} have passed (--timeout): stopping before the commit", err=True)
                work.cancel()
            if len(asked) > seen:
                seen = len(asked)
                if seen > 1:
                    end_at_once()
                    _end()
                click.echo("stopping before the commit; once more to end at once", err=True)
                work.cancel()
        if len(asked) > seen:
            work.cancel()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end() -> None:
    click.echo("ended without waiting: the target is as it was, or whole with the load in it", err=True)
    os._exit(INTERRUPTED)
