"""Whether a server can be reached at all: Microsoft's driver takes its whole time-out to say that nobody is there."""

from __future__ import annotations

import re
import socket
from typing import Any

from hwm_magics.errors import SourceConnectionError

__all__ = ["refuse_unreachable"]

_PORT = 1433
_SECONDS = 2.0
_SERVER = re.compile(r"(?:tcp:)?(?P<host>[^\\,:()]+?)\s*(?:,\s*(?P<port>\d+))?", re.IGNORECASE)


def refuse_unreachable(server: str, *, doing: str) -> None:
    """Raise where it is certain that nobody answers; every doubt is left to the driver.

    Args:
        server: What a connection string says after ``SERVER=``. Named instances, pipes and the like
            are not looked at.
        doing: What is being done, for the message.

    Raises:
        SourceConnectionError: The host's name is not known, or each of its addresses refuses.
    """
    found = _SERVER.fullmatch(server.strip())
    if found is None:
        return
    host, port = found["host"], int(found["port"] or _PORT)
    try:
        addresses = {each[::4] for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except socket.gaierror as error:
        raise SourceConnectionError(
            f"{doing}: the host {host!r} is not known ({error.strerror})",
            hint="check the host's name, and that this machine's network knows it",
        ) from None
    if all(_refuses(family, address) for family, address in addresses):
        raise SourceConnectionError(
            f"{doing}: connection refused: nobody listens at {host}, port {port}",
            hint="check host and port, and that the server runs",
        )


def _refuses(family: int, address: Any) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(_SECONDS)
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False
