"""The server in a process of its own, driven as if it were here.

Tests need this: some driver calls wait for the network while holding Python's GIL (pyodbc's
SQLDescribeParam, for one), and a server on a thread of the same process could then never answer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import types
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from .database import Database
from .faults import Faults, Request
from .server import TdsServer, connection_string

Answer = tuple[str, Any]


class _Remote:
    """Stands for an object of the server process: attributes are read there, calls run there."""

    def __init__(self, channel: Connection, path: str) -> None:
        self.__dict__.update(channel=channel, path=path)

    def __getattr__(self, name: str) -> Any:
        path = f"{self.path}.{name}"
        kind, value = _ask(self.channel, "get", path)
        if kind != "callable":
            return value
        return lambda *args, **kwargs: _ask(self.channel, "call", path, args, kwargs)[1]

    def __setattr__(self, name: str, value: object) -> None:
        _ask(self.channel, "set", f"{self.path}.{name}", value)


def _ask(channel: Connection, *request: object) -> Answer:
    channel.send([_plain(part) for part in request])
    kind, value = channel.recv()
    if kind == "error":
        raise value
    return kind, value


def _plain(part: object) -> object:
    """Generators do not travel; lists do."""
    if isinstance(part, tuple):
        return tuple(_plain(item) for item in part)
    return list(part) if isinstance(part, types.GeneratorType) else part


class ServerProcess:
    """A :class:`TdsServer` in a child process, with the same ``database`` and ``faults``."""

    def __init__(self, *, encryption: str = "none", port: int = 0, name: str = "testdb") -> None:
        self._channel, theirs = Pipe()
        paths = filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")])
        arguments = ["--port", str(port), "--encryption", encryption, "--name", name]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tds_facade", *arguments, "--control", str(theirs.fileno())],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self.port: int = self._get("port")
        self.certificate: Path | None = self._get("certificate")
        self.database = cast("Database", _Remote(self._channel, "database"))
        self.faults = cast("Faults", _Remote(self._channel, "faults"))

    def _get(self, path: str) -> Any:
        return _ask(self._channel, "get", path)[1]

    def _call(self, path: str, *args: object) -> Any:
        return _ask(self._channel, "call", path, args, {})[1]

    @property
    def requests(self) -> list[Request]:
        """Everything received so far (a copy)."""
        return cast("list[Request]", self._get("requests"))

    def queries(self, contains: str = "") -> list[Request]:
        """The SQL requests received whose text contains a string."""
        return cast("list[Request]", self._call("queries", contains))

    def clear(self) -> None:
        """Forget the requests received and the faults asked for."""
        self._call("clear")

    def replay(self) -> None:
        """Send the rows of a repeated statement as they were sent before."""
        self._call("replay")

    def disconnect_all(self) -> None:
        """Cut every open connection."""
        self._call("disconnect_all")

    def peak_memory(self) -> int:
        """The most memory the server process has held, in MiB."""
        return cast("int", self._call("peak_memory"))

    def odbc(self, driver: str, *, user: str = "sa", password: str = "Passw0rd!", **options: str) -> str:
        """An ODBC connection string for this server."""
        return connection_string(driver, self.port, user, password, **options)

    def close(self) -> None:
        """Stop the child process."""
        try:
            self._call("close")
            self._channel.send(None)
            self._process.wait(10)
        except (OSError, EOFError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def serve_control(server: TdsServer, descriptor: int) -> None:
    """The child's side: carry out requests until told to stop or the parent is gone."""
    with Connection(descriptor) as channel:
        while True:
            try:
                request = channel.recv()
            except (EOFError, OSError):
                return
            if request is None:
                return
            try:
                channel.send(_carry_out(server, *request))
            except Exception as error:
                channel.send(("error", error))


def _carry_out(server: TdsServer, verb: str, path: str, *rest: Any) -> Answer:
    target: Any = server
    *owners, name = path.split(".")
    for owner in owners:
        target = getattr(target, owner)
    if verb == "set":
        setattr(target, name, rest[0])
        return "value", None
    value = getattr(target, name)
    if verb == "call":
        result = value(*rest[0], **rest[1])
        return "value", result if _portable(result) else None
    return ("callable", None) if callable(value) else ("value", value)


def _portable(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, bytes, list, tuple, dict))
