"""Which tests one test process takes together, and which are begun first."""

from __future__ import annotations

import os
import zlib

from xdist.scheduler import LoadScopeScheduling

SESSIONS = max(1, (os.cpu_count() or 1) // 4)
"""A Spark session is quick after hundreds of loads, and until then fills two cores with compiling itself:
its tests share one, and another only where there are cores for it."""

SPARK = (
    "tests/spark/",
    "tests/sqlserver/test_spark.py",
    "tests/files/test_partitions.py",
    "tests/files/test_delta_by_spark.py",
)
"""Where tests ask for the session by its fixture; elsewhere their names tell."""

TOGETHER = (
    "tests/browser/",
    "tests/files/test_object_stores.py",
    "tests/jobs/test_telemetry.py",
    "tests/notebook/test_front_ends.py",
    "tests/traps/test_traps_standby.py",
)
"""Folders and files whose tests share what takes seconds to start, as a JupyterLab."""

LONG = ("tests/spark/test_connect.py", "tests/spark/test_cluster.py", "tests/model/")
"""Single tests of up to minutes, with sessions of their own or none: last of all they would be waited for."""


def of_spark(nodeid: str) -> bool:
    """Whether a test needs the Spark session, by its file or its name."""
    return nodeid.startswith(SPARK) or "[spark" in nodeid


class Together(LoadScopeScheduling):
    """The largest groups first, then single tests in their order."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file.startswith(LONG):
            return nodeid
        if of_spark(nodeid):
            return f"spark{zlib.crc32(file.encode()) % SESSIONS}"
        return next((each for each in TOGETHER if file.startswith(each)), nodeid)
