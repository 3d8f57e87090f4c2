"""Fixtures for all tests: real servers, fresh databases, files."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from servers import SQLITE_DRIVER, PgDatabase, PostgresServer, ServerRoom, require_odbc_driver
from together import LONG, Together, of_spark

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mariadb_server import MariaDb
    from pyspark.sql import SparkSession
    from sqlserver.erp import Erp
    from tds_facade import ServerProcess

ROOM = pytest.StashKey[ServerRoom]()
# Fixtures that need what a machine may lack, and the marks of the tests that use them.
FIXTURE_MARKS = {"postgres": "server", "odbc_sqlite": "odbc", "erp": "odbc", "maria": "server"}

# Folders whose tests start processes, ask real servers or try thousands of schedules: not for `make quick`.
THOROUGH = frozenset(
    {"badinput", "browser", "crash", "integration", "maria", "model", "seed", "sqlserver", "tds", "traps"}
)

# Two cores run tests and servers at once: time says nothing about the code.
hypothesis.settings.register_profile("hwm", deadline=None)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=25)
hypothesis.settings.load_profile("hwm")


def pytest_configure(config: pytest.Config) -> None:
    """Open the room in the process that starts the run; an xdist worker is told where it is."""
    told = getattr(config, "workerinput", None)
    config.stash[ROOM] = ServerRoom(Path(told["server_room"])) if told else ServerRoom.open()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """With ``--dist loadgroup``, hand out together what shares something."""
    return Together(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Tell an xdist worker."""
    node.workerinput["server_room"] = str(node.config.stash[ROOM].root)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the room in the process that opened it; by now all workers have ended."""
    room = config.stash.get(ROOM, None)
    if room is not None and not hasattr(config, "workerinput"):
        room.close()


@pytest.fixture
def spark() -> Iterator[SparkSession]:
    """The run's Spark session; names that a test gave to its catalog are forgotten after it."""
    from fakes.spark import forget_names, shared_session

    session = shared_session()
    yield session
    forget_names(session)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Have interrupts raised: a test run in the background of a shell inherits that they are ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may pass is tried again as often as it is meant to be, but at once."""
    monkeypatch.setattr("hwm_magics.jobs.retries.FIRST_WAIT", 0.001)


@pytest.fixture(autouse=True)
def no_session_by_chance(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide this process's Spark session from tests that did not ask for it: `engine: auto` would take it."""
    if "pyspark" in sys.modules and "spark" not in request.fixturenames:
        monkeypatch.setattr("hwm_magics.spark.session.active", lambda: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests by what their fixtures need, and begin with the long ones."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
    for item in items:
        for fixture, mark in FIXTURE_MARKS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)
        needed = "spark" in getattr(item, "fixturenames", ()) or "spark" in _parameters(item)
        if needed and not of_spark(item.nodeid):
            msg = f"{item.nodeid}: neither its file (together.SPARK) nor its name says that it needs Spark's session:"
            raise pytest.UsageError(f"{msg} put the engine's parameter first, nearest to the function")
        if needed or "[spark" in item.name:
            item.add_marker("spark")
            item.add_marker("slow")
        if item.path.parent.name in THOROUGH:
            item.add_marker("slow")


def _parameters(item: pytest.Item) -> Collection[object]:
    """What its parameters are; in unit tests words that are no engine's."""
    return (
        item.callspec.params.values() if hasattr(item, "callspec") and item.path.parent.name != "unit" else ()
    )


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> PostgresServer:
    """The run's PostgreSQL, shared by all workers; for a database of one's own ask for `pg_database`."""
    return request.config.stash[ROOM].postgres()


@pytest.fixture
def pg_database(postgres: PostgresServer) -> Iterator[PgDatabase]:
    """A fresh PostgreSQL database that belongs to the plain user `loader`; dropped after the test."""
    with postgres.new_database() as database:
        yield database


@pytest.fixture(scope="session")
def _mariadb(request: pytest.FixtureRequest) -> MariaDb:
    """The run's MariaDB, shared by all workers."""
    return request.config.stash[ROOM].mariadb()


@pytest.fixture
def maria(_mariadb: MariaDb) -> Iterator[MariaDb]:
    """A fresh MariaDB database that belongs to the plain user `loader`; dropped after the test."""
    with _mariadb.new_database() as database:
        yield database


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    """Where a SQLite database may be made; nothing is there yet."""
    return tmp_path / "source.db"


@pytest.fixture
def odbc_sqlite(sqlite_path: Path) -> str:
    """The ODBC connection string for the database at `sqlite_path`."""
    require_odbc_driver(SQLITE_DRIVER)
    return f"DRIVER={{{SQLITE_DRIVER}}};DATABASE={sqlite_path}"


@pytest.fixture(scope="session")
def _sql_server() -> Iterator[ServerProcess | None]:
    """The test server that speaks SQL Server's protocol; None where HWM_TEST_SQLSERVER_URL names a real one."""
    require_odbc_driver()
    from sqlserver import erp as erps

    if erps.REAL:
        yield None
        return
    with erps.start() as server:
        yield server


@pytest.fixture
def erp(_sql_server) -> Iterator[Erp]:
    """A SQL Server database, reached through Microsoft's driver, with nothing of other tests in it."""
    from sqlserver import erp as erps

    with erps.opened(_sql_server) as opened:
        yield opened
