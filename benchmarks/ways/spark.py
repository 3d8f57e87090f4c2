"""Spark, both ways in one session: the load through hwm_magics, and the same load written by hand in PySpark.

The job says which of the loads (``full``, ``increment``, ``upsert``) and how many rounds. Each round runs
both ways, in turn, on a fresh target; a first round is not counted. ``base`` makes the table that the
others go on from.
"""

from __future__ import annotations

import gc
import shutil
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import Timer, done, job

from hwm_magics.spark.session import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession

KEY = "o_orderkey"
CURSOR = "updated_at"


def main() -> None:
    task = job()
    with Timer() as starting:
        session = build()
        session.range(1).collect()
    if task["load"] == "base":
        ours(task, Path(task["root"]))
        done(start=starting.seconds, version=session.version)
        return
    ways: dict[str, Callable[[dict[str, Any], Path], None]] = {"a": ours}
    ways["b"] = lambda given, root: HAND_WRITTEN[task["way"]](session, given, root)
    times: dict[str, list[float]] = {"a": [], "b": []}
    for number in range(task["rounds"] + 1):
        for name in ("a", "b") if number % 2 else ("b", "a"):
            root = fresh(task, name)
            gc.collect()
            began = time.perf_counter()
            ways[name](task, root)
            seconds = time.perf_counter() - began
            rows = session.read.format("delta").load(str(root / task["path"])).count()
            if rows != task["rows"]:
                raise SystemExit(f"{name}: {rows:,} rows, not {task['rows']:,}")
            if number:
                times[name].append(round(seconds, 4))
    told = {name: statistics.median(each) for name, each in times.items()}
    done(start=starting.seconds, version=session.version, times=times, **told)


def fresh(task: dict[str, Any], name: str) -> Path:
    """A lake of the way's own: empty, or with a copy of the table to go on from."""
    root = Path(task["scratch"], name)
    shutil.rmtree(root, ignore_errors=True)
    if task["load"] == "full":
        root.mkdir(parents=True)
    else:
        shutil.copytree(task["root"], root)
    return root


def ours(task: dict[str, Any], root: Path) -> None:
    """Plan and run."""
    import hwm_magics

    mode = f"upsert\n  keys: [{KEY}]" if task["load"] == "upsert" else "append"
    hwm_magics.load(
        f"engine: spark\n"
        f"read:\n  connection: pg\n  table: public.{task['table']}\n  incremental: {{column: {CURSOR}}}\n"
        f"{parts(task)}"
        f"write:\n  connection: lake\n  path: {task['path']}\n  mode: {mode}\n",
        connections={"pg": task["connection"], "lake": {"type": "local", "root": str(root)}},
    )


def parts(task: dict[str, Any]) -> str:
    return f"  partition: {{column: {KEY}, count: {task['parts']}}}\n" if task.get("parts") else ""


def source(session: SparkSession, task: dict[str, Any], where: str = "") -> DataFrame:
    """The source's rows, as a person would read them with exact types and as many rows a fetch."""
    server = task["connection"]
    query = f"SELECT * FROM {task['table']}{where}"
    options = {
        "url": f"jdbc:postgresql://{server['host']}:{server['port']}/{server['database']}",
        "driver": "org.postgresql.Driver",
        "user": server["username"],
        "password": server["password"],
        "fetchsize": "10000",
        "preferTimestampNTZ": "true",
        "dbtable": f"({query}) q",
    }
    if task.get("parts"):
        options |= {
            "partitionColumn": KEY,
            "lowerBound": "1",
            "upperBound": str(task["last_key"]),
            "numPartitions": str(task["parts"]),
        }
    return session.read.format("jdbc").options(**options).load()


def full(session: SparkSession, task: dict[str, Any], root: Path) -> None:
    source(session, task).write.format("delta").save(str(root / task["path"]))


def mark(session: SparkSession, task: dict[str, Any], root: Path) -> str:
    """The mark as most such notebooks find it: the highest value in the target."""
    target = f"delta.`{root / task['path']}`"
    return str(session.sql(f"SELECT MAX({CURSOR}) FROM {target}").collect()[0][0])


def increment(session: SparkSession, task: dict[str, Any], root: Path) -> None:
    new = source(session, task, f" WHERE {CURSOR} > '{mark(session, task, root)}'")
    new.write.format("delta").mode("append").save(str(root / task["path"]))


def increment_from_literal(session: SparkSession, task: dict[str, Any], root: Path) -> None:
    new = source(session, task, f" WHERE {CURSOR} > '{task['since']}'")
    new.write.format("delta").mode("append").save(str(root / task["path"]))


def merge(session: SparkSession, task: dict[str, Any], root: Path) -> None:
    """The bare MERGE: its rows are known by a literal, and nothing is deduplicated or proved."""
    source(session, task, f" WHERE {CURSOR} > '{task['since']}'").createOrReplaceTempView("changed")
    session.sql(
        f"MERGE INTO delta.`{root / task['path']}` t USING changed s ON t.{KEY} = s.{KEY} "
        "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    ).collect()


HAND_WRITTEN: dict[str, Callable[[SparkSession, dict[str, Any], Path], None]] = {
    "full": full,
    "increment": increment,
    "increment_from_literal": increment_from_literal,
    "merge": merge,
}

if __name__ == "__main__":
    main()
