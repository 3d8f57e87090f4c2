"""What databases hold, for somebody who is typing: asked in the background, waited for briefly, kept for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hwm_magics.connections.base import DatabaseConnection
from hwm_magics.connections.objects import ObjectConnection
from hwm_magics.core.specs import ReadSpec

if TYPE_CHECKING:
    from hwm_magics.sources.sql import SqlSource

__all__ = ["Lookups"]

PATIENCE = 0.7
"""JupyterLab throws away what comes after a second."""
_KEPT = 60.0
_KEPT_FAILURE = 10.0


@dataclass(slots=True)
class _Answer:
    """One question, and what came of it."""

    asked: float
    done: threading.Event = field(default_factory=threading.Event)
    names: tuple[str, ...] = ()
    until: float = 0.0
    """How long it may be believed, once it is done."""

    def stale(self, now: float) -> bool:
        return self.done.is_set() and now > self.until


class Lookups:
    """Names of tables and columns.

    A question is asked once, in a thread of its own that nobody has to wait for. An answer that does
    not come in time counts as none, and is there for the next time. Nothing raises.

    Args:
        patience: Seconds that a question may keep its asker waiting, counted from when it was first
            asked; :data:`PATIENCE` by default.
    """

    def __init__(self, patience: float | None = None) -> None:
        self._patience = PATIENCE if patience is None else patience
        self._answers: dict[tuple[str, ...], _Answer] = {}
        self._lock = threading.Lock()

    def tables(self, connection: object) -> tuple[str, ...]:
        """Names of a database's tables; none when it can't be told now."""
        return self._ask(connection, ("tables",), lambda source: source.tables())

    def columns(self, connection: object, table: str) -> tuple[str, ...]:
        """Names of a table's columns; none when they can't be told now."""
        return self._ask(connection, ("columns", table), lambda source: source.table_columns(table))

    def _ask(
        self, connection: object, what: tuple[str, ...], question: Callable[[SqlSource], tuple[str, ...]]
    ) -> tuple[str, ...]:
        if not isinstance(connection, DatabaseConnection | ObjectConnection) or not _may_be_asked(connection):
            return ()
        now = time.monotonic()
        key = (_key(connection), *what)
        with self._lock:
            answer = self._answers.get(key)
            if answer is None or answer.stale(now):
                answer = self._answers[key] = _Answer(now)
                # A daemon: a server that never answers must not keep the kernel from ending.
                threading.Thread(
                    target=_answer, args=(answer, connection, question), name="hwm_magics lookup", daemon=True
                ).start()
        answer.done.wait(max(0.0, answer.asked + self._patience - now))
        return answer.names if answer.done.is_set() else ()


def _may_be_asked(connection: DatabaseConnection | ObjectConnection) -> bool:
    # Of what the notebook made, only an engine may be used from another thread than the notebook's own.
    if not isinstance(connection, ObjectConnection):
        return True
    return connection.kind == "sqlalchemy" and hasattr(connection.obj, "connect")


def _key(connection: DatabaseConnection | ObjectConnection) -> str:
    # Credentials are masked in it.
    return f"{connection!r} {id(connection.obj) if isinstance(connection, ObjectConnection) else ''}"


def _answer(
    answer: _Answer,
    connection: DatabaseConnection | ObjectConnection,
    question: Callable[[SqlSource], tuple[str, ...]],
) -> None:
    from hwm_magics.sources.factory import open_source

    kept = _KEPT
    try:
        with open_source(connection, ReadSpec(connection.name)) as source:
            answer.names = question(source)
    except Exception:  # noqa: BLE001 - somebody is typing; the load itself will tell what is wrong
        kept = _KEPT_FAILURE
    finally:
        answer.until = time.monotonic() + kept
        answer.done.set()
