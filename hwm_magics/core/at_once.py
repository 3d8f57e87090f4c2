"""Asks several things, some at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["asked_at_once"]

A = TypeVar("A")
T = TypeVar("T")

_AT_ONCE = 8


def asked_at_once(work: Callable[[A], T], each: Sequence[A]) -> list[T]:
    """Ask several files, some at once: object stores take their time to answer.

    Args:
        work: What to ask one.
        each: They.

    Returns:
        The answers, in their order.
    """
    if len(each) <= 1:
        return [work(one) for one in each]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(work, each))
