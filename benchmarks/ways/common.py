"""What every way has in common: it is told its job by the environment, and prints one line of JSON."""

from __future__ import annotations

import json
import os
import time
from typing import Any, Self

STARTED = time.perf_counter()


def job() -> dict[str, Any]:
    """The job: ``url`` and ``connection`` of the source, ``schema`` and ``table``, ``root`` and ``path`` of the lake,
    ``target`` (both joined), ``since`` for increments, ``scratch`` for what a way keeps beside."""
    return dict(json.loads(os.environ["HWM_BENCH_JOB"]))


def done(**facts: Any) -> None:
    """Print the facts, with the seconds since the script began: its imports included, Python's start not."""
    print(json.dumps({"script_seconds": round(time.perf_counter() - STARTED, 4), **facts}), flush=True)


class Timer:
    """Seconds of a block, in ``.seconds``."""

    seconds = 0.0

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = round(time.perf_counter() - self._began, 4)
