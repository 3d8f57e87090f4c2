"""Starts loads that die: a process that has everything imported, and forks a child for each order.

Orders come as JSON lines on its input: `spec` and `connections` of a load, and `place`, the failpoint at
which the child kills itself (null: it lives) the `time`-th time that it comes there. The answer is a line with how
the child ended: minus the signal's number, or its exit code. What is reported by loads that live goes to the file
`report`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from pathlib import Path

warnings.simplefilter("error")

import adbc_driver_manager.dbapi  # noqa: E402, F401
import adbc_driver_sqlite  # noqa: E402, F401
import deltalake  # noqa: E402, F401
import pyarrow as pa  # noqa: E402, F401
import pyarrow.compute as pc  # noqa: E402, F401
import sqlglot  # noqa: E402, F401

import hwm_magics  # noqa: E402
import hwm_magics.api  # noqa: E402


def one_load(order: dict) -> None:
    """Load, and die at the place."""

    passed = 0

    def failpoint(name: str) -> None:
        nonlocal passed
        passed += name == order["place"]
        if name == order["place"] and passed == order["time"]:
            os.kill(os.getpid(), signal.SIGKILL)

    job = hwm_magics.job(order["spec"], connections=order["connections"])
    job._loader.failpoint = failpoint
    result = job.run().wait()
    Path(order["report"]).write_text(result.status)


def main() -> None:
    """Serve until the input ends."""
    for line in sys.stdin:
        # Locks that other threads hold stay locked in a fork. jemalloc's own threads know about forks.
        threads = {(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}
        assert len(threads - {"jemalloc_bg_thd"}) == 1, (
            f"a process with the threads {threads} can't fork safely"
        )
        child = os.fork()
        if child == 0:
            try:
                one_load(json.loads(line))
            except BaseException:  # noqa: BLE001 - a child must never come back into this loop
                sys.excepthook(*sys.exc_info())
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
