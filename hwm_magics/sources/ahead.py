"""Reads in a thread of its own, a little ahead of who takes the rows: a database and a writer work at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from threading import Condition, Thread
from typing import Generic, Self, TypeVar

__all__ = ["Ahead"]

_T = TypeVar("_T")
_HELD = 1
"""Items that wait to be taken; one more is on its way. More hold memory, and a steady writer gains nothing."""


class Ahead(Generic[_T]):
    """An iterator whose next item is made while the last one is worked on, and no more than that.

    The first one is begun at once: whoever will take it has imports and a table's creation before that.

    Args:
        items: Where they come from. Only the thread goes on with it, until :meth:`stop` returns.
    """

    def __init__(self, items: Iterator[_T]) -> None:
        self._items = items
        self._changed = Condition()
        self._held: deque[_T] = deque()
        self._ended = False
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = Thread(target=self._read, name="hwm-read", daemon=True)
        self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _T:
        with self._changed:
            self._changed.wait_for(lambda: self._held or self._ended or self._stopped)
            if self._held:
                self._changed.notify_all()
                return self._held.popleft()
            error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def _read(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    self._changed.wait_for(lambda: self._stopped or len(self._held) < _HELD)
                    if self._stopped:
                        return
                    self._held.append(item)
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - raised again where the items are taken
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def stop(self) -> None:
        """Have the thread end after the item that it makes, and wait for that. May be called twice."""
        with self._changed:
            self._stopped = True
            self._held.clear()
            self._changed.notify_all()
        self._thread.join()
