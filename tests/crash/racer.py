"""One of two loaders that race: it loads what it is told to, and stops where it is told to until it is released.

Orders come as JSON lines: `spec`, `connections`, and `place`, where the two meet before either goes on: `start`,
or a failpoint of the first attempt. Having got there it prints `ready` and waits for a line; then it goes on,
and prints what came of it.
"""

from __future__ import annotations

import json
import sys
import warnings

warnings.simplefilter("error")

import hwm_magics  # noqa: E402
from hwm_magics.errors import HwmError  # noqa: E402


def one_load(order: dict) -> dict:
    """Load, meeting the other at the place."""
    met = False

    def meet(name: str) -> None:
        nonlocal met
        if name == order["place"] and not met:
            met = True
            print("ready", flush=True)
            sys.stdin.readline()

    meet("start")
    job = hwm_magics.job(order["spec"], connections=order["connections"])
    job._loader.failpoint = meet
    try:
        result = job.run().wait()
    except HwmError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"status": result.status, "retries": result.retries, "written": result.rows_written}


def main() -> None:
    """Serve until the input ends."""
    while line := sys.stdin.readline():
        print(json.dumps(one_load(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
