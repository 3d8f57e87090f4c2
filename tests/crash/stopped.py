"""A load that somebody stops: it tells how far it is, and at a place it waits until it has been asked to stop.

Its one argument is JSON: `spec`, `connections`, and `place`, a failpoint, or `rows` to be told of the rows
that were read. At the failpoint it goes on after it was asked to stop and its standard input ended. An error
ends it with the error's exit code.
"""

from __future__ import annotations

import json
import signal
import sys
import warnings

warnings.simplefilter("error")

import hwm_magics  # noqa: E402
from hwm_magics.errors import HwmError  # noqa: E402


def main() -> int:
    """Load; the exit code."""
    # A test run in the background of a shell inherits that interrupts are ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # As exported scripts do.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    order = json.loads(sys.argv[1])
    job = hwm_magics.job(order["spec"], connections=order["connections"])

    def wait_for_the_interrupt(name: str) -> None:
        if name == order["place"]:
            print(name, flush=True)
            assert job._cancel.wait(60), "no interrupt came"
            sys.stdin.read()

    def tell() -> None:
        if job.progress is not None:
            print(job.progress.phase, job.progress.rows, flush=True)

    job._loader.failpoint = wait_for_the_interrupt
    if order["place"] == "rows":
        job.on_change(tell)
    try:
        job.run()
    except HwmError as error:
        print(type(error).__name__, error, flush=True)
        return error.exit_code
    print(job.result.status, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
