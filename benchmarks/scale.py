"""What a table's log costs as it grows, on Spark: for docs/scale.md. Prints a table; `run.py` needs none of it.

    .venv/bin/python benchmarks/scale.py LAKE

LAKE holds a table `raw/orders` that Spark has loaded (such as `.cache/base-spark`, which the Spark bars leave).
Its real commit is repeated, with times that follow one another; the files that the copies name are never read.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from hwm_magics.connections.local import LocalConnection
from hwm_magics.connections.registry import Connections
from hwm_magics.core.specs import CursorSpec, LoadSpec, ReadSpec, WriteSpec
from hwm_magics.engines.spark_commit import commit_mark
from hwm_magics.engines.spark_engine import SparkEngine
from hwm_magics.spark.session import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession

    from hwm_magics.core.observed import TargetState

SHAPES = ((1_000, 1), (10_000, 1), (10, 1_000), (100, 1_000))
"""Commits, and files of each."""
START = datetime(1992, 1, 1)
SPEC = LoadSpec(
    "raw.orders",
    ReadSpec("pg", table="orders", cursor=CursorSpec("updated_at")),
    WriteSpec("lake", path="raw/orders"),
)


def main() -> None:
    real = Path(sys.argv[1], "raw/orders/_delta_log")
    session = build()
    session.range(1).collect()
    print("| commits | files | their JSON, MB | one commit, bytes | checkpoint, MB | open first, s | again, s | "
          "find no file, s | commit with checkpoint, s | commit, s |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    for commits, files in SHAPES:
        with tempfile.TemporaryDirectory(prefix="hwm-scale-") as folder:
            log = Path(folder, "raw/orders/_delta_log")
            log.mkdir(parents=True)
            one = write_log(real, log, commits, files)
            connections = Connections()
            connections.add(LocalConnection(name="lake", root=folder))
            engine = SparkEngine(connections, session)
            opening = functools.partial(engine.open, SPEC)
            first = seconds(opening)
            again = statistics.median(seconds(opening) for _ in range(5))
            table = f"delta.`{log.parent}`"
            none = f"SELECT COUNT(*) FROM {table} WHERE updated_at > TIMESTAMP_NTZ'2999-01-01'"
            finding = functools.partial(answer, session, none)
            finding()
            skipping = statistics.median(seconds(finding) for _ in range(5))
            grown = sum(file.stat().st_size for file in log.glob("*.json"))
            marking = functools.partial(mark, engine, opening().state)
            marked = [seconds(functools.partial(marking, number)) for number in (0, 1)]
            checkpoints = sorted(log.glob("*.checkpoint*.parquet"), key=lambda file: file.name)
            size = checkpoints[-1].stat().st_size
            print(
                f"| {commits:,} | {commits * files:,} | {grown / 1e6:.1f} | {one:,} | {size / 1e6:.2f} | {first:.2f} | "
                f"{again:.2f} | {skipping:.2f} | {marked[0]:.2f} | {marked[1]:.2f} |",
                flush=True,
            )


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def answer(session: SparkSession, sql: str) -> None:
    session.sql(sql).collect()


def mark(engine: SparkEngine, state: TargetState, number: int) -> None:
    """A commit without rows, proved from the log: what a commit costs beside writing rows."""
    last = state.loads[0]
    record = replace(last, run_id=f"scale-{time.time_ns()}", kind="mark", seq=state.seq + 1 + number)
    commit_mark(engine.session, engine.address(SPEC.write), record, state.version + number)


def write_log(real: Path, log: Path, commits: int, files: int) -> int:
    """A log whose commits are the real one's copies, the newest checkpoint nine commits ago; bytes of a commit."""
    from deltalake import DeltaTable

    created, loaded = ((real / f"{version:020d}.json").read_text() for version in (0, 1))
    (log / f"{0:020d}.json").write_text(created)
    actions = [json.loads(line) for line in loaded.splitlines()]
    number = size = 0
    for version in range(1, commits):
        lines = []
        for action in actions:
            if "add" not in action:
                lines.append(numbered(action, version))
                continue
            for _ in range(files):
                number += 1
                lines.append(moved(action, number))
        text = "\n".join(lines) + "\n"
        (log / f"{version:020d}.json").write_text(text)
        size = len(text)
        if version == commits - 10:
            DeltaTable(log.parent).create_checkpoint()
    return size


def numbered(action: dict[str, object], version: int) -> str:
    text = json.dumps(action, separators=(",", ":"))
    return text.replace('\\"seq\\":1,', f'\\"seq\\":{version},').replace(
        '"appId":"hwm_magics/raw.orders","version":1,',
        f'"appId":"hwm_magics/raw.orders","version":{version},',
    )


def moved(action: dict[str, dict[str, object]], number: int) -> str:
    """The file's action under another name, with the window that follows."""
    add = dict(action["add"])
    stats = json.loads(str(add["stats"]))
    low = START + timedelta(minutes=number)
    stats["minValues"]["updated_at"] = low.isoformat(timespec="milliseconds")
    stats["maxValues"]["updated_at"] = (low + timedelta(seconds=59)).isoformat(timespec="milliseconds")
    add |= {
        "path": f"part-{number:05d}-{add['path'][11:]}",
        "stats": json.dumps(stats, separators=(",", ":")),
    }
    return json.dumps({"add": add}, separators=(",", ":"))


if __name__ == "__main__":
    main()
