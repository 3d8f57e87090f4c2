"""The engines under test, each with what a test does to its tables behind its back.

A new engine that writes Delta tables on disk is one more subclass of :class:`DiskCase`.
"""

from __future__ import annotations

import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from contract.frames import PandasFrames, SparkFrames
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from fakes.engine import FakeEngine, FakeLake, FakeTable, Version
from fakes.spark import forget_names, shared_session

from hwm_magics.arrow import arrow_schema, columns_of
from hwm_magics.connections.local import LocalConnection
from hwm_magics.connections.registry import Connections
from hwm_magics.core.commit_info import LogEntry
from hwm_magics.core.observed import Column
from hwm_magics.engines.base import Engine
from hwm_magics.engines.delta_limits import REFUSED_FEATURES
from hwm_magics.engines.pandas_engine import PandasEngine
from hwm_magics.engines.spark_engine import SparkEngine
from hwm_magics.engines.spark_sql import ddl, path_reference

# delta-rs waits for a source on one of its threads, of which it has as many as the machine has cores.
# Tests that stop a load in the middle of its source need some more, or the others never run.
os.environ.setdefault("TOKIO_WORKER_THREADS", "8")

Row = Mapping[str, Any]

OBSTRUCTIONS = (
    "foreign files",
    "a file",
    "a file above it",
    "a log that is no JSON",
    "a log that begins late",
    "a log of other files",
    "an empty last commit",
    "a name too long to look up",
)
"""What can stand where a target should be, and is neither a table nor its absence."""


def in_order(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows in an order that does not depend on who read them."""
    return sorted((dict(row) for row in rows), key=repr)


class Case(ABC):
    """An engine and its lake.

    Attributes:
        engine: The engine.
        frames: What a transform gets.
        cannot_write: Table features that the engine says it can't write.
        cannot: What else it can't do: ``cluster`` for liquid clustering.
        tells_sequence: Whether it knows a node's last transaction version when the log has expired.
    """

    engine: Engine
    frames: PandasFrames | SparkFrames = PandasFrames()
    cannot_write: ClassVar[tuple[str, ...]] = ()
    cannot: ClassVar[frozenset[str]] = frozenset()
    tells_sequence: ClassVar[bool] = True

    def begin(self, name: str, load: Callable[[], object]) -> None:
        """Do a load that many tests begin with; `name` tells what it comes to from what others do."""
        load()

    @abstractmethod
    def rows(self, path: str = "orders") -> list[dict[str, Any]]:
        """A table's rows, in order, as others read them."""

    @abstractmethod
    def columns(self, path: str = "orders") -> dict[str, str]:
        """A table's columns and their Delta types."""

    @abstractmethod
    def version(self, path: str = "orders") -> int:
        """A table's newest version; -1 when there is no table."""

    @abstractmethod
    def state(self) -> object:
        """Everything in the lake, to be compared with itself later."""

    @abstractmethod
    def make(
        self,
        columns: Sequence[Column],
        rows: Sequence[Row] = (),
        path: str = "orders",
        partition_by: Sequence[str] = (),
    ) -> None:
        """Make a table as somebody else would."""

    @abstractmethod
    def append(self, *rows: Row, path: str = "orders") -> None:
        """Append as somebody else would."""

    @abstractmethod
    def overwrite(self, *rows: Row, path: str = "orders") -> None:
        """Overwrite as somebody else would."""

    @abstractmethod
    def delete(self, *ids: int, path: str = "orders") -> None:
        """Delete rows by id; all rows when none is given."""

    @abstractmethod
    def update(self, number: int, text: str, path: str = "orders") -> None:
        """Change a row's ``v``."""

    @abstractmethod
    def compact(self, path: str = "orders") -> None:
        """Compact the files."""

    @abstractmethod
    def vacuum(self, path: str = "orders") -> None:
        """Remove files that no version within the retention needs."""

    @abstractmethod
    def restore(self, version: int, path: str = "orders") -> None:
        """Restore a version."""

    @abstractmethod
    def restore_as_of(self, version: int, path: str = "orders") -> None:
        """Restore a version by the moment at which it was committed."""

    @abstractmethod
    def forget(self, path: str = "orders") -> None:
        """Let the log before the newest version expire."""

    @abstractmethod
    def spoil_info(self, path: str = "orders") -> None:
        """Damage what the newest commit says of itself."""

    @abstractmethod
    def lose_files(self, path: str = "orders") -> None:
        """Lose the data files, not the log."""

    @abstractmethod
    def require(self, feature: str, path: str = "orders") -> None:
        """Make the table demand a feature of its writers."""

    @abstractmethod
    def obstruct(self, kind: str, path: str = "orders") -> str:
        """Put something in the target's place; returns the path at which it stands."""

    @abstractmethod
    def properties(self, path: str = "orders") -> dict[str, str]:
        """A table's properties."""

    @abstractmethod
    def partitions(self, path: str = "orders") -> list[str]:
        """A table's partition columns."""

    @abstractmethod
    def log_texts(self, path: str = "orders") -> list[str]:
        """What each commit says, oldest first."""

    def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Leave nothing behind that another case would meet."""


class FakeCase(Case):
    """The engine in memory."""

    cannot_write = ("unheardOf",)

    def __init__(self, _root: Path | None = None, lake: FakeLake | None = None) -> None:
        self.lake = lake or FakeLake()
        self.engine = FakeEngine(self.lake)

    def _table(self, path: str) -> FakeTable:
        return self.lake.tables[f"/{path}"]

    def _newest(self, path: str) -> Version:
        table = self._table(path)
        return table.at(table.version)

    def rows(self, path: str = "orders") -> list[dict[str, Any]]:
        newest = self._newest(path)
        table = pa.Table.from_pylist(list(newest.rows), schema=arrow_schema(newest.columns))
        return in_order(table.to_pylist())

    def columns(self, path: str = "orders") -> dict[str, str]:
        return {column.name: column.type for column in self._newest(path).columns}

    def version(self, path: str = "orders") -> int:
        return self._table(path).version if f"/{path}" in self.lake.tables else -1

    def state(self) -> object:
        return {name: len(table.versions) for name, table in self.lake.tables.items()}, dict(self.lake.names)

    def make(
        self,
        columns: Sequence[Column],
        rows: Sequence[Row] = (),
        path: str = "orders",
        partition_by: Sequence[str] = (),
    ) -> None:
        entry = LogEntry(0, self.lake.tick(), "CREATE TABLE", adds=False, removes=False)
        location = f"/{path}"
        made = FakeTable(location, [Version(entry, tuple(columns), ())], tuple(partition_by))
        self.lake.tables[location] = made
        if rows:
            self.append(*rows, path=path)

    def _commit(
        self, path: str, operation: str, rows: Sequence[Row], parameters: dict[str, object], **how: Any
    ) -> None:
        self.lake.commit(self._table(path), operation, [dict(row) for row in rows], parameters, **how)

    def append(self, *rows: Row, path: str = "orders") -> None:
        self._commit(path, "WRITE", [*self._newest(path).rows, *rows], {"mode": "Append"}, adds=True)

    def overwrite(self, *rows: Row, path: str = "orders") -> None:
        self._commit(path, "WRITE", rows, {"mode": "Overwrite"}, adds=True, removes=True)

    def delete(self, *ids: int, path: str = "orders") -> None:
        kept = [row for row in self._newest(path).rows if ids and row["id"] not in ids]
        self._commit(
            path, "DELETE", kept, {"predicate": f"id in {ids}"} if ids else {}, adds=True, removes=True
        )

    def update(self, number: int, text: str, path: str = "orders") -> None:
        changed = [{**row, "v": text} if row["id"] == number else row for row in self._newest(path).rows]
        self._commit(path, "UPDATE", changed, {"predicate": f"id = {number}"}, adds=True, removes=True)

    def compact(self, path: str = "orders") -> None:
        self._commit(path, "OPTIMIZE", self._newest(path).rows, {})

    def vacuum(self, path: str = "orders") -> None:
        for operation in ("VACUUM START", "VACUUM END"):
            self._commit(path, operation, self._newest(path).rows, {})

    def _restored(self, version: int, path: str, parameters: dict[str, object]) -> None:
        old = self._table(path).at(version)
        self._commit(path, "RESTORE", old.rows, parameters, columns=old.columns, adds=True, removes=True)

    def restore(self, version: int, path: str = "orders") -> None:
        self._restored(version, path, {"version": str(version)})

    def restore_as_of(self, version: int, path: str = "orders") -> None:
        moment = self._table(path).at(version).entry.timestamp
        assert moment is not None
        self._restored(version, path, {"timestamp": moment.isoformat()})

    def forget(self, path: str = "orders") -> None:
        table = self._table(path)
        table.oldest = table.version

    def spoil_info(self, path: str = "orders") -> None:
        table = self._table(path)
        newest = table.at(table.version)
        text = (newest.entry.user_metadata or "")[:-9]
        table.versions[-1] = replace(newest, entry=replace(newest.entry, user_metadata=text))

    def lose_files(self, path: str = "orders") -> None:
        self._table(path).lost_files = True

    def require(self, feature: str, path: str = "orders") -> None:
        self._table(path).features = frozenset({feature})

    def obstruct(self, kind: str, path: str = "orders") -> str:
        self.lake.obstacles[f"/{path}"] = f"{kind} stands there"
        return path

    def properties(self, path: str = "orders") -> dict[str, str]:
        return dict(self._table(path).properties)

    def partitions(self, path: str = "orders") -> list[str]:
        return list(self._table(path).partition_by)

    def log_texts(self, path: str = "orders") -> list[str]:
        return [version.entry.user_metadata or "" for version in self._table(path).versions]


class DiskCase(Case):
    """An engine that writes Delta tables below a local folder; others write there through delta-rs."""

    make_engine: ClassVar[Callable[[Connections], Engine]]

    def __init__(self, root: Path) -> None:
        self.root = root / "lake"
        self.root.mkdir()
        connections = Connections()
        connections.add(LocalConnection(name="lake", root=str(self.root)))
        self.engine = type(self).make_engine(connections)

    def _folder(self, path: str) -> Path:
        return self.root / path

    def _open(self, path: str) -> DeltaTable:
        return DeltaTable(str(self._folder(path)))

    def rows(self, path: str = "orders") -> list[dict[str, Any]]:
        by_dataset = in_order(self._open(path).to_pyarrow_table().to_pylist())
        query = QueryBuilder().register("t", self._open(path)).execute("SELECT * FROM t")
        by_query = in_order(pa.table(query.read_all()).to_pylist())
        assert by_dataset == by_query
        return by_dataset

    def columns(self, path: str = "orders") -> dict[str, str]:
        schema = pa.schema(self._open(path).schema().to_arrow())
        return {column.name: column.type for column in columns_of(schema)}

    def version(self, path: str = "orders") -> int:
        return self._open(path).version() if (self._folder(path) / "_delta_log").exists() else -1

    def state(self) -> object:
        return {
            str(file.relative_to(self.root)): file.stat().st_mtime_ns for file in sorted(self.root.rglob("*"))
        }

    def make(
        self,
        columns: Sequence[Column],
        rows: Sequence[Row] = (),
        path: str = "orders",
        partition_by: Sequence[str] = (),
    ) -> None:
        DeltaTable.create(
            str(self._folder(path)), schema=arrow_schema(columns), partition_by=list(partition_by) or None
        )
        if rows:
            self.append(*rows, path=path)

    def _write(self, path: str, rows: Sequence[Row], mode: Any) -> None:
        schema = pa.schema(self._open(path).schema().to_arrow())
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
        write_deltalake(str(self._folder(path)), table, mode=mode)

    def append(self, *rows: Row, path: str = "orders") -> None:
        self._write(path, rows, "append")

    def overwrite(self, *rows: Row, path: str = "orders") -> None:
        self._write(path, rows, "overwrite")

    def delete(self, *ids: int, path: str = "orders") -> None:
        self._open(path).delete(f"id IN ({', '.join(map(str, ids))})" if ids else None)

    def update(self, number: int, text: str, path: str = "orders") -> None:
        self._open(path).update(updates={"v": f"'{text}'"}, predicate=f"id = {number}")

    def compact(self, path: str = "orders") -> None:
        self._open(path).optimize.compact()

    def vacuum(self, path: str = "orders") -> None:
        self._open(path).vacuum(dry_run=False)

    def restore(self, version: int, path: str = "orders") -> None:
        self._open(path).restore(version)

    def restore_as_of(self, version: int, path: str = "orders") -> None:
        # delta-rs goes by the commit files' own times, which are a little later than those in the log.
        written = self._commits(path)[version].stat().st_mtime
        self._open(path).restore(datetime.fromtimestamp(written + 0.001, tz=UTC))

    def _commits(self, path: str) -> list[Path]:
        return sorted((self._folder(path) / "_delta_log").glob("*.json"))

    def forget(self, path: str = "orders") -> None:
        self._open(path).create_checkpoint()
        for commit in self._commits(path)[:-1]:
            commit.unlink()

    def spoil_info(self, path: str = "orders") -> None:
        newest = self._commits(path)[-1]
        actions = [json.loads(line) for line in newest.read_text().splitlines()]
        for action in actions:
            if "commitInfo" in action:
                info = action["commitInfo"]
                info["userMetadata"] = info["userMetadata"][:-9]
        newest.write_text("".join(json.dumps(action) + "\n" for action in actions))

    def lose_files(self, path: str = "orders") -> None:
        for file in self._folder(path).rglob("*.parquet"):
            if "_delta_log" not in file.parts:
                file.unlink()

    def require(self, feature: str, path: str = "orders") -> None:
        first = self._commits(path)[0]
        actions = [json.loads(line) for line in first.read_text().splitlines()]
        for action in actions:
            if "protocol" in action:
                kept = action["protocol"]
                readers = kept.get("readerFeatures", [])
                if feature.startswith(("typeWidening", "vacuumProtocolCheck")):
                    readers = [*readers, feature]
                writers = [*kept.get("writerFeatures", []), feature]
                action["protocol"] = {"minReaderVersion": 3, "minWriterVersion": 7}
                action["protocol"] |= {"readerFeatures": readers, "writerFeatures": writers}
        first.write_text("".join(json.dumps(action) + "\n" for action in actions))

    def obstruct(self, kind: str, path: str = "orders") -> str:
        folder = self._folder(path)
        log = folder / "_delta_log"
        match kind:
            case "foreign files":
                folder.mkdir()
                (folder / "part-0.csv").write_text("id,u\n1,2\n")
            case "a file":
                folder.write_text("not a folder")
            case "a file above it":
                folder.write_text("not a folder")
                return f"{path}/below"
            case "a log that is no JSON":
                log.mkdir(parents=True)
                (log / f"{0:020d}.json").write_text("{broken")
            case "a log that begins late":
                self.make([Column("id", "long")], [{"id": 1}], path)
                self._commits(path)[0].unlink()
            case "a log of other files":
                log.mkdir(parents=True)
                (log / "readme.txt").write_text("moved to the other lake")
            case "an empty last commit":
                self.make([Column("id", "long")], [{"id": 1}], path)
                (log / f"{2:020d}.json").touch()
            case "a name too long to look up":
                return "x" * 300
        return path

    def properties(self, path: str = "orders") -> dict[str, str]:
        return dict(self._open(path).metadata().configuration)

    def partitions(self, path: str = "orders") -> list[str]:
        return list(self._open(path).metadata().partition_columns)

    def log_texts(self, path: str = "orders") -> list[str]:
        return [commit.read_text() for commit in self._commits(path)]

    def remove(self, path: str = "orders") -> None:
        """Remove a table."""
        shutil.rmtree(self._folder(path))


class PandasCase(DiskCase):
    """The pandas engine."""

    make_engine = PandasEngine
    cannot_write = tuple(sorted(REFUSED_FEATURES))
    cannot = frozenset({"cluster"})


class SparkCase(DiskCase):
    """The Spark engine, on the one session that all tests of a process share; Spark does what it can with rows."""

    make_engine = lambda connections: SparkEngine(connections, shared_session(), held_rows=0)  # noqa: E731 - a method would be bound
    frames = SparkFrames()
    tells_sequence = False

    def begin(self, name: str, load: Callable[[], object]) -> None:
        """Spark takes a second for a load that it has done before: its table is loaded once, and copied."""
        kept = self.root.parents[1] / "begun" / name
        if kept.exists():
            shutil.copytree(kept, self._folder("orders"), dirs_exist_ok=True)
            return
        load()
        shutil.copytree(self._folder("orders"), kept)

    def make(
        self,
        columns: Sequence[Column],
        rows: Sequence[Row] = (),
        path: str = "orders",
        partition_by: Sequence[str] = (),
    ) -> None:
        # delta-rs leaves out the table feature for NOT NULL that Spark insists on.
        layout = f" PARTITIONED BY ({', '.join(partition_by)})" if partition_by else ""
        reference = path_reference(str(self._folder(path)))
        shared_session().sql(f"CREATE TABLE {reference} ({ddl(columns)}) USING delta{layout}").collect()
        if rows:
            self.append(*rows, path=path)

    def close(self) -> None:
        forget_names(shared_session())


class HeldRowsCase(SparkCase):
    """The same as it comes: it compares few rows by itself."""

    make_engine = lambda connections: SparkEngine(connections, shared_session())  # noqa: E731 - as above


CASES: dict[str, type[Case]] = {"fake": FakeCase, "pandas": PandasCase, "spark": SparkCase}


def each(
    name: str, values: Collection[str] | Mapping[str, Any], on_spark: Collection[str]
) -> pytest.MarkDecorator:
    """All values with each engine, but with Spark, whose loads take seconds, only those that differ there.

    Args:
        name: The test's argument.
        values: What it is given, by name where it is no name itself.
        on_spark: The names of those that Spark is given.
    """
    named = values if isinstance(values, Mapping) else {value: value for value in values}
    return pytest.mark.parametrize(
        ("case", name),
        [
            pytest.param(engine, named[one], id=f"{engine}-{one}")
            for engine in CASES
            for one in (on_spark if engine == "spark" else named)
        ],
        indirect=["case"],
    )
