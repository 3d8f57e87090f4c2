"""A TCP proxy on loopback that cuts its connections once enough has come from the server."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import Self

__all__ = ["CuttingProxy"]


class CuttingProxy:
    """Passes bytes on, until it has passed `limit` of them to clients; then it cuts every connection.

    Args:
        host, port: The server.
        limit: How much may pass; None for everything.
        reset: Cut with a reset, as a broken line does, or with an orderly end.
        between: Cut when a client asks for more, not amid an answer.
    """

    def __init__(
        self, host: str, port: int, *, limit: int | None, reset: bool = True, between: bool = False
    ) -> None:
        self._server = (host, port)
        self._limit = limit
        self._reset = reset
        self._between = between
        self._passed = 0
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.cut = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._cut_all()
        for thread in self._threads:
            thread.join()

    def limit_from_now(self, limit: int) -> None:
        """Cut once so much more has passed."""
        self._limit = self._passed + limit

    def heal(self) -> None:
        """Let everything pass from now on."""
        self._limit = None
        self.cut.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            with self._lock:
                self._ends += [client, server]
            for args in ((client, server, False), (server, client, True)):
                thread = threading.Thread(target=self._pump, args=args)
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        try:
            while data := source.recv(16_384):
                self._passed += len(data) if counted else 0
                due = self._limit is not None and self._passed > self._limit
                if due and counted is not self._between:
                    self.cut.set()
                    break
                target.sendall(data)
        except OSError:
            pass
        if self.cut.is_set():
            self._cut_all()
        else:
            _end(target)

    def _cut_all(self) -> None:
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            if self._reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            _end(end)
            end.close()


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
