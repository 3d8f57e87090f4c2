"""Errors on their way out: without secrets, in a class of ours, with the chain kept for debugging."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import replace

from hwm_magics.connections.secrets import scrub
from hwm_magics.errors import ConfigError, HwmError, clean_message

__all__ = ["debug_text", "sealed"]


def sealed(error: BaseException) -> HwmError:
    """The error as it may leave: its texts scrubbed, whatever caused it out of sight.

    Python prints what an error was raised ``from``, and a driver's message may hold a connection
    string. So the cause is moved to where only :func:`debug_text` looks for it.

    Args:
        error: Any error; one that is not ours is wrapped in one that is.

    Returns:
        The same object when it is an :class:`HwmError`.
    """
    if isinstance(error, HwmError):
        told = error
    else:
        said = clean_message(scrub(error))
        name = type(error).__name__
        told = HwmError(f"{name}: {said}" if said else name, hint="%hwm_debug shows the traceback")
        told.__context__ = error
    told.message = scrub(told.message)
    told.hint = scrub(told.hint) if told.hint is not None else None
    told.args = tuple(scrub(each) if isinstance(each, str) else each for each in told.args)
    if isinstance(told, ConfigError):
        told.problems = tuple(
            replace(each, message=scrub(each.message), excerpt=scrub(each.excerpt)) for each in told.problems
        )
    if told.__cause__ is not None:
        told.__context__ = told.__cause__
        told.__cause__ = None
    told.__suppress_context__ = True
    return told


def debug_text(error: BaseException) -> str:
    """The whole chain of tracebacks, the first cause first, without secrets and without variables."""
    parts: list[str] = []
    for each in reversed(list(_chain(error))):
        if parts:
            parts.append("\nand from there:\n\n")
        parts += traceback.format_exception(type(each), each, each.__traceback__, chain=False)
    return scrub("".join(parts)).rstrip()


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    here: BaseException | None = error
    while here is not None and id(here) not in seen:
        seen.add(id(here))
        yield here
        here = here.__cause__ or here.__context__
