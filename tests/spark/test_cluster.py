"""A real cluster on loopback: a notebook that moves to it, and a load in whose middle a worker is killed."""

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

import nbformat
import pyspark
import pytest
from deltalake import DeltaTable
from nbclient import NotebookClient

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
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def quick_to_start(monkeypatch):
    """Have all the JVMs compile less: most of them end soon after they are ready."""
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")


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
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A master and workers; gives the master's address and the workers' processes."""
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
            for number in range(workers)
        ]
        wait_for(lambda: _workers(page) == workers)
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


NOTEBOOK = """\
%load_ext hwm_magics
---
%%hwm_load job --run
read: {connection: shop, table: orders, incremental: {column: updated_at}}
write: {connection: lake, path: raw/orders, mode: append}
engine: auto
---
print(job.plan.decision, 'on', job.plan.engine)
"""


def executed(file: Path) -> str:
    """What the notebook's last cell prints; the file itself stays as it is."""
    notebook = nbformat.read(file, as_version=4)
    NotebookClient(notebook, timeout=180, resources={"metadata": {"path": str(file.parent)}}).execute()
    return str(notebook.cells[-1].outputs[0].text)


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_notebook_moves_from_a_laptop_to_a_cluster_and_back_with_no_edit(
    project, pg_database, tmp_path, monkeypatch
):
    file = project / "orders.ipynb"
    cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in NOTEBOOK.split("---")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), file)
    with pg_database.connect() as db:
        db.execute("CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(15, 2), updated_at timestamp)")

    def add(first: int, last: int) -> None:
        with pg_database.connect() as db:
            db.execute(
                "INSERT INTO orders SELECT n, n / 3.0, timestamp '2024-06-01' + n * interval '1 second'"
                f" FROM generate_series({first}, {last}) n"
            )

    add(1, 1000)
    assert executed(file).startswith("FIRST RUN on pandas")
    add(1001, 1010)
    # A platform's kernels have a session from the start.
    startup = tmp_path / "ipython/profile_default/startup"
    startup.mkdir(parents=True)
    with cluster(tmp_path, 1) as (master, _), monkeypatch.context() as platform:
        (startup / "00-session.py").write_text(
            f"import sys\nsys.path.insert(0, {str(HERE)!r})\n"
            f"import cluster_load\nspark = cluster_load.session({master!r})\n"
        )
        platform.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
        moved = executed(file)
    assert moved.startswith("INCREMENTAL on spark")
    assert list(tmp_path.glob("work*/app-*/*/stdout")), "the cluster had nothing to do"
    add(1011, 1020)
    assert executed(file).startswith("INCREMENTAL on pandas")
    table = DeltaTable(project / "lake/raw/orders")
    writers = [re.match("delta-rs|Apache-Spark", each["engineInfo"])[0] for each in table.history(3)]
    assert writers == ["delta-rs", "Apache-Spark", "delta-rs"]
    assert sorted(table.to_pyarrow_table(columns=["id"])["id"].to_pylist()) == list(range(1, 1021))


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.timeout(600)
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
    with cluster(tmp_path, 2) as (master, workers):
        with (tmp_path / "load.log").open("wb") as log:
            load = subprocess.Popen(
                [sys.executable, str(HERE / "cluster_load.py"), master, "load.yaml"],
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
