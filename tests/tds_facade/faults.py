"""Faults a test can ask for, and the record of what clients sent."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field

from .tokens import Param
from .types import SqlError

MESSAGES = {
    1205: (13, "Transaction (Process ID {spid}) was deadlocked on lock resources with another "
               "process and has been chosen as the deadlock victim. Rerun the transaction."),
    18456: (14, "Login failed for user '{user}'."),
    40197: (17, "The service has encountered an error processing your request. Please try again."),
    40501: (20, "The service is currently busy. Retry the request after 10 seconds."),
    40613: (17, "Database 'testdb' on server 'tds_facade' is not currently available. Please retry "
                "the connection later."),
}  # fmt: skip


def known_error(number: int, text: str | None = None, **values: object) -> SqlError:
    """A SQL Server error by its number, with its usual text and severity."""
    severity, usual = MESSAGES.get(number, (16, f"Injected error {number}."))
    return SqlError(number, (text or usual).format(**values), severity=severity)


@dataclass
class Failure:
    """An error to answer with."""

    number: int
    text: str | None = None
    pattern: str = ""
    after_rows: int = 0
    times: int = 1


@dataclass
class Drop:
    """A result set to cut off."""

    after_rows: int
    reset: bool
    mid_row: bool


class Faults:
    """What should go wrong next.  Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget every fault."""
        with self._lock:
            self.packet_delay = 0.0
            self._drops: list[Drop] = []
            self._refusals: list[int | None] = []
            self._failures: list[Failure] = []

    def drop_after_rows(
        self, rows: int, *, times: int = 1, reset: bool = False, mid_row: bool = False
    ) -> None:
        """Cut the connection once a result set has sent ``rows`` rows: FIN, or RST with ``reset``.

        The cut falls between two rows, where arrow-odbc and mssql-python take it for the end of the
        data and report no error; with ``mid_row`` it falls inside the next row, and they do.
        """
        with self._lock:
            self._drops += [Drop(rows, reset, mid_row)] * times

    def delay_packets(self, seconds: float) -> None:
        """Wait before each packet of every answer from the next request on; 0 ends it."""
        self.packet_delay = seconds

    def refuse_logins(self, times: int, number: int | None = 40613) -> None:
        """Refuse the next logins with an error, or by a TCP reset if ``number`` is None."""
        with self._lock:
            self._refusals += [number] * times

    def fail_queries(
        self, number: int, text: str | None = None, *, times: int = 1, match: str = "",
        after_rows: int = 0,
    ) -> None:  # fmt: skip
        """Answer the next queries whose text ``match``es with an error, ``after_rows`` rows in."""
        with self._lock:
            self._failures.append(Failure(number, text, match, after_rows, times))

    # -- what the server takes -----------------------------------------------------------------

    def take_refusal(self) -> tuple[bool, int | None]:
        """Whether to refuse this login, and with which error."""
        with self._lock:
            return (True, self._refusals.pop(0)) if self._refusals else (False, None)

    def take_drop(self) -> Drop | None:
        """The drop due for this result set; one that is not reached is put back."""
        with self._lock:
            return self._drops.pop(0) if self._drops else None

    def put_back(self, drop: Drop) -> None:
        """Keep a drop that its result set was too short for."""
        with self._lock:
            self._drops.insert(0, drop)

    def take_failure(self, sql: str) -> Failure | None:
        """The failure due for this request."""
        with self._lock:
            for failure in self._failures:
                if re.search(failure.pattern, sql, re.IGNORECASE):
                    failure.times -= 1
                    if failure.times <= 0:
                        self._failures.remove(failure)
                    return failure
        return None


@dataclass
class Request:
    """One request as the server received it."""

    kind: str  # login, batch, rpc, transaction or attention
    spid: int
    text: str = ""  # the SQL; for a login the user name
    proc: str = ""
    params: list[Param] = field(default_factory=list)
    rows: int = 0
    error: int | None = None
    encrypted: bool = False
    read_only: bool = False  # of a login: ApplicationIntent=ReadOnly
    integrated: bool = False  # of a login: Trusted_Connection=yes
    token: str | None = None  # of a login: its access token
    at: float = field(default_factory=time.time)
