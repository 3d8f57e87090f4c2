"""Runs one way as a fresh process and measures it from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WAYS = Path(__file__).resolve().parent / "ways"
CHECKOUT = WAYS.parents[1]
TIME_LIMIT = 900.0


class WayError(Exception):
    """A way failed.

    Attributes:
        details: The last lines of what it said.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True, slots=True)
class Run:
    """One run: wall and CPU seconds and peak memory of the whole process, and what it says of its inside."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    facts: dict[str, Any] = field(default_factory=dict)


def run(python: str, script: Path, task: dict[str, Any]) -> Run:
    """Run a script with a job.

    The peak is the resident set of the largest single process, as the kernel counts it. A process
    starts with its parent's peak as its own, so whoever calls this stays small: no Arrow in here.
    """
    # This checkout's hwm_magics, whether and whatever is installed.
    environment = {**os.environ, "HWM_BENCH_JOB": json.dumps(task), "PYTHONPATH": str(CHECKOUT)}
    # pip compiles what it installs; a checkout is compiled by its first run, which does not count, if that may be kept.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        os.sync()  # what the run before has left to be written is not this one's
        began = time.perf_counter()
        process = subprocess.Popen(
            [python, str(script)],
            env=environment,
            cwd=task.get("scratch"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
        limit = threading.Timer(TIME_LIMIT, process.kill)
        limit.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            limit.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        said = output.read().decode(errors="replace").strip().splitlines()
        if process.returncode != 0:
            complaint = errors.read().decode(errors="replace").strip().splitlines()
            named = [line for line in complaint if re.match(r"[\w.]*(Error|Exception)\b", line)]
            last = [*complaint[-1:], *named][-1] if complaint else f"exit code {process.returncode}"
            raise WayError(f"{script.name}: {last}", "\n".join(complaint[-12:]))
    facts = json.loads(said[-1]) if said else {}
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, facts)
