"""Sources to load from, and processes that die while they do."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from crash.processes import ENVIRONMENT, HERE
from fakes import notebooks
from traps.loaders import Ours

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Nursery:
    """See `nursery.py`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "nursery.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )

    def run(self, file: Path, place: str | None = None, what: str = "kill", time: int = 1) -> tuple[int, str]:
        """`hwm run FILE` in a process that stops at a place (see `armed.py`); how it ended, and what it said."""
        told = file.with_name("told")
        order = {
            "words": ["run", file.name],
            "folder": str(file.parent),
            "stop": (place, what, time) if place else None,
            "told": str(told),
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline()), told.read_text()

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """One a test process."""
    with closing(Nursery()) as nursery:
        yield nursery


class Shop:
    """A SQLite database with one table, `t`, and a load of it."""

    def __init__(self, path: Path, root: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, u TIMESTAMP NOT NULL, v TEXT)")
        self.settings = {"type": "sqlite", "database": str(path)}
        self.root = root

    def ours(self, mode: str, name: str = "lake") -> Ours:
        """A load of it."""
        write = {"mode": mode, **({"keys": ["id"]} if mode == "upsert" else {})}
        return Ours(self.settings, self.root / name, write=write)

    def file(self, ours: Ours, name: str = "t.yaml") -> Path:
        """A load as a file that `hwm run` takes, a notebook or YAML, beside an hwm.yaml."""
        folder = self.root / "job"
        folder.mkdir(exist_ok=True)
        (folder / "hwm.yaml").write_text(json.dumps({"connections": ours.connections}))
        load = json.dumps(ours.spec(), indent=2)
        if name.endswith(".ipynb"):
            return notebooks.write(folder / name, notebooks.LOAD_EXT, f"%%hwm_load\n{load}")
        (folder / name).write_text(load)
        return folder / name

    def add(self, count: int) -> None:
        """Add rows, one a second after the last."""
        self.connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?), "
            "last (id) AS (SELECT COALESCE(MAX(id), 0) FROM t) "
            "INSERT INTO t SELECT id + i, datetime('2024-01-01', (id + i) || ' seconds'), 'row ' || (id + i) "
            "FROM last, n",
            (count,),
        )

    def update(self, number: int) -> None:
        """Change a row, and its time to the newest."""
        self.connection.execute(
            "UPDATE t SET v = v || ' changed', u = (SELECT datetime(MAX(u), '1 seconds') FROM t) WHERE id = ?",
            (number,),
        )

    def rows(self) -> list[tuple[Any, ...]]:
        """What a target has to hold."""
        return sorted(self.connection.execute("SELECT id, v FROM t").fetchall(), key=repr)


@pytest.fixture
def shop(sqlite_path, tmp_path) -> Iterator[Shop]:
    """An empty one."""
    shop = Shop(sqlite_path, tmp_path)
    yield shop
    shop.connection.close()
