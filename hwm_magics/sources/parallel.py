"""Parts of one reading, read side by side on connections of their own, as one stream with a bound on its memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hwm_magics.core.decided import ReadParts
from hwm_magics.core.statement import Statement
from hwm_magics.errors import SourceConnectionError
from hwm_magics.sources.failures import incomplete
from hwm_magics.stream import BatchStream

if TYPE_CHECKING:
    import pyarrow as pa

    from hwm_magics.sources.sql import SqlSource, Travel

__all__ = ["PartsReading"]

_WAITING = 2
"""Batches that wait for the writer, besides the one that each connection holds."""
_PATIENCE = 10.0
"""Seconds to wait for connections that can't be interrupted; they end by themselves afterwards."""


class _Handoff:
    """Hands batches from the connections to the one who writes; who is too fast waits.

    Args:
        readers: How many connections put batches in.
    """

    def __init__(self, readers: int) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[pa.RecordBatch] = deque()
        self._readers = readers
        self._error: BaseException | None = None
        self._stopped = False

    def put(self, batch: pa.RecordBatch) -> bool:
        """Hand over a batch, once there is room; False when nobody wants it any more."""
        with self._changed:
            while len(self._waiting) >= _WAITING and not self._stopped:
                self._changed.wait()
            if self._stopped:
                return False
            self._waiting.append(batch)
            self._changed.notify_all()
            return True

    def take(self) -> pa.RecordBatch | None:
        """The next batch; None when every connection has sent all of its parts.

        Raises:
            SourceError: A connection failed; what the others sent counts for nothing then.
        """
        with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                if self._waiting:
                    batch = self._waiting.popleft()
                    self._changed.notify_all()
                    return batch
                if self._stopped:
                    raise incomplete("reading in parts", "the read was stopped")
                if not self._readers:
                    return None
                self._changed.wait()

    def fail(self, error: BaseException) -> None:
        """Have the reader of the stream raise it, and the other connections stop."""
        with self._changed:
            if self._error is None and not self._stopped:
                self._error = error
            self._stopped = True
            self._changed.notify_all()

    def leave(self) -> None:
        """A connection is done."""
        with self._changed:
            self._readers -= 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Nobody takes batches any more."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify_all()

    @property
    def stopped(self) -> bool:
        """Whether nobody takes batches any more."""
        return self._stopped


@dataclass(slots=True)
class PartsReading:
    """One reading in parts.

    Nothing is opened before the first batch is asked for. Each connection is opened, read and closed in a thread
    of its own, takes one part after the other, and gives each part's rows with its driver's own proof that they are
    complete; the stream ends well only when all parts have.

    Attributes:
        source: The source that was observed; its connection holds the snapshot, where there is one.
        whole: The statement that gives all rows, its values in form.
        statements: The parts, likewise.
        parts: How they are read.
        travel: How their columns travel.
        schema: The schema of the batches.
    """

    source: SqlSource
    whole: Statement
    statements: Sequence[Statement]
    parts: ReadParts
    travel: Travel
    schema: pa.Schema
    _left: deque[Statement] = field(default_factory=deque, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _open: list[SqlSource] = field(default_factory=list, init=False)
    _threads: list[threading.Thread] = field(default_factory=list, init=False)
    _held: ExitStack = field(default_factory=ExitStack, init=False)
    _handoff: _Handoff = field(init=False)

    def __post_init__(self) -> None:
        self._left.extend(self.statements)
        self._handoff = _Handoff(self.parts.at_once)

    def stream(self) -> BatchStream:
        """Its rows as one stream."""
        return BatchStream(self.schema, self._batches(), self.close)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            snapshot, server = "", ""
            if self.parts.shared:
                snapshot = self._held.enter_context(self.source.holding_snapshot(self.whole))
            else:
                server = self.source.server()
            for number in range(self.parts.at_once):
                thread = threading.Thread(
                    target=self._read, args=(snapshot, server), name=f"hwm-part-{number}", daemon=True
                )
                self._threads.append(thread)
                thread.start()
            while (batch := self._handoff.take()) is not None:
                yield batch
            if self.parts.shared:
                # What holds the snapshot and the tables must have done so to the end.
                self.source.ask(self.source.driver.dialect.alive)
        finally:
            self.close()

    def _read(self, snapshot: str, server: str) -> None:
        try:
            with self.source.another(snapshot) as source:
                self._check(source, server)
                with self._lock:
                    self._open.append(source)
                try:
                    self._read_parts(source)
                finally:
                    # Under the lock, as an interrupt must not meet a connection that is being closed.
                    with self._lock:
                        self._open.remove(source)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that takes the batches
            self._handoff.fail(error)
        finally:
            self._handoff.leave()

    def _check(self, source: SqlSource, server: str) -> None:
        found = source.server() if server else server
        if found != server:
            raise SourceConnectionError(
                f"the parts' connections lead to different servers ({server} and {found}), which need not hold the "
                "same rows at one moment",
                hint="name one server on the connection, or leave read.partition out",
            )

    def _read_parts(self, source: SqlSource) -> None:
        while (statement := self._next()) is not None:
            stream = source.stream(statement, self.travel)
            try:
                for batch in stream.batches:
                    if not self._handoff.put(batch):
                        return
            finally:
                stream.close()

    def _next(self) -> Statement | None:
        with self._lock:
            return self._left.popleft() if self._left and not self._handoff.stopped else None

    def close(self) -> None:
        """Stop all connections, wait until they are closed, and let go of the snapshot. May be called twice."""
        self._handoff.stop()
        with self._lock:
            for source in self._open:
                source.interrupt()
        for thread in self._threads:
            thread.join(_PATIENCE)
        self._held.close()
