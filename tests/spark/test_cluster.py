"""A real cluster on loopback: a master and two workers, of which one is killed in the middle of a load."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyspark
import pytest
from deltalake import DeltaTable

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 1_500_000
ORDERS = """
read:
  connection: shop
  table: orders
  incremental: {column: updated_at}
  partition: {column: id, count: 8}
write: {connection: lake, path: raw/orders, mode: append}
engine: spark
"""


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with closing(socket.socket()) as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def started(*command: str, log: Path, **environ: str) -> subprocess.Popen[bytes]:
    """One of the cluster's processes: Spark's script becomes the JVM itself, so its id is the JVM's."""
    spark_class = Path(pyspark.__file__).parent / "bin" / "spark-class"
    with log.open("wb") as told:
        return subprocess.Popen(
            [str(spark_class), *command],
            stdout=told,
            stderr=subprocess.STDOUT,
            env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", **environ},
        )


def wait_for(what, seconds: float = 90.0):
    """What a look gives, as soon as it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A master and two workers; gives the master's address and the workers' processes."""
    port, page = free_port(), free_port()
    processes = []
    try:
        master = f"spark://127.0.0.1:{port}"
        processes.append(
            started(
                "org.apache.spark.deploy.master.Master",
                *("--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page)),
                log=folder / "master.log",
            )
        )
        wait_for(lambda: _answers(port))
        processes += [
            started(
                "org.apache.spark.deploy.worker.Worker",
                *("--host", "127.0.0.1", "--cores", "1", "--memory", "800m", "--webui-port", "0", master),
                log=folder / f"worker{number}.log",
                SPARK_WORKER_DIR=str(folder / f"work{number}"),
            )
            for number in range(2)
        ]
        wait_for(lambda: _workers(page) == 2)
        yield master, processes[1:]
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _workers(page: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/json/", timeout=5) as answer:
            found = json.load(answer)
    except (OSError, ValueError):
        return 0
    return sum(worker["state"] == "ALIVE" for worker in found["workers"])


def children(process_id: int) -> list[int]:
    """The processes that a process started."""
    tasks = Path(f"/proc/{process_id}/task")
    return [int(each) for task in tasks.iterdir() for each in (task / "children").read_text().split()]


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the executors are found by Linux's /proc")
def test_a_worker_that_dies_half_way_costs_nothing(project, pg_database, tmp_path):
    with pg_database.connect() as db:
        db.execute(
            "CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(15, 2), note text, updated_at timestamp)"
        )
        db.execute(
            "INSERT INTO orders SELECT n, n / 3.0, 'order ' || n, timestamp '2024-06-01' + n * interval '1 second'"
            f" FROM generate_series(1, {ROWS}) n"
        )
    (tmp_path / "load.yaml").write_text(ORDERS)
    with cluster(tmp_path) as (master, workers):
        with (tmp_path / "load.log").open("wb") as log:
            load = subprocess.Popen(
                [sys.executable, str(Path(__file__).parent / "cluster_load.py"), master, "load.yaml"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        told = []
        killed = False
        try:
            for line in load.stdout:
                told.append(line.strip())
                if not killed and re.fullmatch(r"tasks [2-6] of \d+", line.strip()):
                    killed = True
                    executors = children(workers[0].pid)
                    assert executors
                    for each in (workers[0].pid, *executors):
                        os.kill(each, signal.SIGKILL)
            assert load.wait(120) == 0, (tmp_path / "load.log").read_text()[-3000:]
        finally:
            load.kill()
            load.wait()
            load.stdout.close()
    assert killed, told
    assert told[-1] == f"result loaded {ROWS} {ROWS} 1"
    table = DeltaTable(tmp_path / "lake/raw/orders")
    assert table.version() == 1
    ids = table.to_pyarrow_table(columns=["id"])["id"]
    assert (len(ids), len(ids.unique())) == (ROWS, ROWS)
