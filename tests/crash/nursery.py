"""Starts `hwm` commands that die: a process that has everything imported, and forks a child for each order.

Orders come as JSON lines on its input: `words` of the command and the `folder` it runs in, and `stop`, a place
and what the child does there (see `armed.py`; null: it lives). The answer is a line with how the child ended: minus
the signal's number, or its exit code. What the command prints goes to the file `told`.
"""

from __future__ import annotations

import json
import os
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
from crash.armed import arm  # noqa: E402

import hwm_magics.cli  # noqa: E402
import hwm_magics.config.models  # noqa: E402
import hwm_magics.jobs.notebook_loads  # noqa: E402


def one_command(order: dict) -> None:
    """Run the command, and stop at the place."""
    told = os.open(order["told"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(told, 1)
    os.dup2(told, 2)
    os.chdir(order["folder"])
    if order["stop"] is not None:
        arm(*order["stop"])
    sys.argv = ["hwm", *order["words"]]
    hwm_magics.cli.main()


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
            code = 1
            try:
                one_command(json.loads(line))
            except SystemExit as done:
                code = done.code or 0
            except BaseException:  # noqa: BLE001 - a child must never come back into this loop
                sys.excepthook(*sys.exc_info())
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
