"""The real servers and drivers that tests use, and what a test gets to see of them.

One PostgreSQL serves a whole test run, however many pytest workers there are: the first test that asks for
it starts it, under a lock; the process that started the run stops it. If that process is killed, the
server's watcher notices and stops it.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

import mariadb_server
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

HOST = "127.0.0.1"
PRIMARY, STANDBY = "data", "standby"
"""The folders of the two PostgreSQL servers that a room can have."""
POSTGRES_DRIVER = "PostgreSQL Unicode"
SQLITE_DRIVER = "SQLite3"
INSTALL = {
    "PostgreSQL": "apt-get install --no-install-recommends postgresql",
    "MariaDB": "apt-get install --no-install-recommends mariadb-server-core",
    mariadb_server.DRIVER: "apt-get install --no-install-recommends odbc-mariadb",
    "unixODBC": "apt-get install --no-install-recommends unixodbc",
    POSTGRES_DRIVER: "apt-get install --no-install-recommends odbc-postgresql",
    SQLITE_DRIVER: "apt-get install --no-install-recommends libsqliteodbc",
    "Chromium": "apt-get install --no-install-recommends chromium fonts-dejavu-core",
    "systemd-analyze": "apt-get install --no-install-recommends systemd",
    "Airflow": "make airflow",
    "Jupyter Scheduler": "make scheduler",
    "moto": "make moto",
}


def missing(what: str) -> NoReturn:
    """Skip the test; where CI=true, fail it, so that nothing goes untested unseen."""
    message = f"{what} is not installed; run tests/setup_servers.sh, or: {INSTALL[what]}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def require_odbc_driver(name: str = "") -> None:
    """Skip or fail the test unless there is unixODBC, and it knows the driver."""
    try:
        import pyodbc
    except ImportError:  # the extension module links to unixODBC's library
        missing("unixODBC")
    if name and name not in pyodbc.drivers():
        missing(name)


@dataclass(frozen=True, slots=True)
class PgDatabase:
    """One database of the running PostgreSQL, as one of its users sees it."""

    host: str
    port: int
    dbname: str
    user: str
    password: str = field(repr=False)
    superuser: str
    superuser_password: str = field(repr=False)

    @property
    def url(self) -> str:
        """`postgresql://user:password@host:port/dbname`"""
        user, password = quote(self.user, safe=""), quote(self.password, safe="")
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{self.dbname}"

    @property
    def settings(self) -> dict[str, Any]:
        """The database as a connection of hwm_magics."""
        return {
            "type": "postgres",
            "host": self.host,
            "port": self.port,
            "database": self.dbname,
            "username": self.user,
            "password": self.password,
        }

    @property
    def odbc(self) -> str:
        """The connection string for the driver "PostgreSQL Unicode"."""
        require_odbc_driver(POSTGRES_DRIVER)
        return (
            f"DRIVER={{{POSTGRES_DRIVER}}};SERVER={self.host};PORT={self.port};"
            f"DATABASE={self.dbname};UID={self.user};PWD={self.password}"
        )

    def as_superuser(self) -> PgDatabase:
        """The same database with the superuser's name and password."""
        return replace(self, user=self.superuser, password=self.superuser_password)

    def connect(self, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """A new connection, autocommit unless told otherwise; close it, or use it in a `with`."""
        import psycopg

        options = {"autocommit": True, **options}
        return psycopg.connect(
            host=self.host,
            port=self.port,
            dbname=self.dbname,
            user=self.user,
            password=self.password,
            **options,
        )


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running PostgreSQL with a superuser `postgres` and a plain user `loader`."""

    host: str
    port: int
    bin_dir: str
    data_dir: str
    # Letters and digits only, so that a search for a leaked password finds it however it was encoded.
    superuser_password: str = field(repr=False)
    loader_password: str = field(repr=False)

    def database(self, dbname: str) -> PgDatabase:
        """The database of this name, as `loader` sees it."""
        return PgDatabase(
            host=self.host,
            port=self.port,
            dbname=dbname,
            user="loader",
            password=self.loader_password,
            superuser="postgres",
            superuser_password=self.superuser_password,
        )

    @contextmanager
    def new_database(self) -> Iterator[PgDatabase]:
        """A fresh database that belongs to `loader`; dropped afterwards, whoever is still connected."""
        dbname = f"test_{uuid.uuid4().hex}"
        admin = self.database("postgres").as_superuser()
        with admin.connect() as connection:
            connection.execute(f"CREATE DATABASE {dbname} OWNER loader TEMPLATE template0")
        try:
            yield self.database(dbname)
        finally:
            with admin.connect() as connection:
                connection.execute(f"DROP DATABASE {dbname} WITH (FORCE)")


class ServerRoom:
    """The folder that the processes of one test run share, and the servers in it."""

    def __init__(self, root: Path, alive: int | None = None) -> None:
        self._root = root
        self._state = root / "postgres.json"
        self._alive = alive

    @classmethod
    def open(cls) -> ServerRoom:
        """Make the folder; for the process that starts the run, which also closes it.

        It holds a pipe open that the server's watcher reads from: the pipe ends when this process does,
        however that happens.
        """
        root = Path(tempfile.mkdtemp(prefix="hwm-pg-"))  # short: a Unix socket's path may have 107 bytes
        os.mkfifo(root / "alive")
        _give_to_server_user(root, root / "alive")
        # Read and write, as opening for writing alone would wait for a reader.
        return cls(root, os.open(root / "alive", os.O_RDWR | os.O_CLOEXEC))

    @property
    def root(self) -> Path:
        return self._root

    def postgres(self) -> PostgresServer:
        """The run's server; started if it is not there yet."""
        bin_dir = find_postgres()
        if bin_dir is None:
            missing("PostgreSQL")
        with (self._root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._state.exists():
                server = _start_postgres(bin_dir, self._root)
                self._state.touch(mode=0o600)
                self._state.write_text(json.dumps(asdict(server)))
        return PostgresServer(**json.loads(self._state.read_text()))

    def standby(self) -> PostgresServer:
        """A hot standby of the room's server, made now; it is stopped with the room."""
        primary = self.postgres()
        if not Path(primary.bin_dir, "pg_basebackup").exists():
            missing("PostgreSQL")
        url = primary.database("postgres").as_superuser().url
        _run_as_server_user(
            self._root,
            *(f"{primary.bin_dir}/pg_basebackup", f"--dbname={url}", f"--pgdata={self._root / STANDBY}"),
            *("--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync"),
        )
        # What its primary can do at once it must be able to follow; a read in the way of that is ended at once.
        settings = {**_settings(self._root), "max_standby_streaming_delay": 0}
        port = _start_on_a_free_port(primary.bin_dir, self._root, settings, folder=STANDBY)
        return replace(primary, port=port, data_dir=str(self._root / STANDBY))

    def mariadb(self) -> mariadb_server.MariaDb:
        """The run's MariaDB; started if it is not there yet."""
        if not mariadb_server.is_installed():
            missing("MariaDB")
        state = self._root / "mariadb.json"
        with (self._root / "mariadb.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not state.exists():
                server = mariadb_server.start(self._root, _server_user(), _give_to_server_user)
                state.touch(mode=0o600)
                state.write_text(json.dumps(asdict(server)))
        return mariadb_server.MariaDb(**json.loads(state.read_text()))

    def close(self) -> None:
        """Stop the servers that were started, and remove the folder."""
        try:
            mariadb_server.stop(self._root)
            if self._state.exists():
                server = PostgresServer(**json.loads(self._state.read_text()))
                for folder in (STANDBY, PRIMARY):
                    if (self._root / folder / "postmaster.pid").exists():
                        _pg_ctl(server.bin_dir, self._root, "stop", "--mode=immediate", folder=folder)
        finally:
            shutil.rmtree(self._root)
            if self._alive is not None:
                os.close(self._alive)


def find_postgres() -> str | None:
    """The folder with PostgreSQL's server programs: on the PATH, else Debian's newest."""
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    for folder in ([Path(on_path).resolve().parent] if on_path else []) + debian[::-1]:
        if all((folder / program).exists() for program in ("initdb", "pg_ctl", "postgres")):
            return str(folder)
    return None


def _server_user() -> dict[str, Any]:
    """Arguments for subprocess: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    import pwd

    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": ()}


def _give_to_server_user(*paths: Path) -> None:
    user = _server_user()
    if user:
        for path in paths:
            os.chown(path, user["user"], user["group"])


def _run_as_server_user(root: Path, *command: str | Path, start_new_session: bool = False) -> None:
    # To a file: the server inherits it, and a pipe would stay open as long as the server runs.
    log = root / "commands.log"
    with log.open("ab") as output:
        done = subprocess.run(
            command,
            check=False,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=start_new_session,
            **_server_user(),
        )
    if done.returncode != 0:
        message = f"{Path(command[0]).name} failed ({done.returncode}):\n{log.read_text()}"
        raise RuntimeError(message)


def _pg_ctl(bin_dir: str, root: Path, *command: str | Path, folder: str) -> None:
    _run_as_server_user(
        root, f"{bin_dir}/pg_ctl", "--silent", "--wait", f"--pgdata={root / folder}", *command
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _start_postgres(bin_dir: str, root: Path) -> PostgresServer:
    data = root / PRIMARY
    superuser_password, loader_password = secrets.token_hex(12), secrets.token_hex(12)
    password_file = root / "superuser-password"
    password_file.touch(mode=0o600)
    password_file.write_text(superuser_password)
    _give_to_server_user(password_file)
    _run_as_server_user(
        root,
        f"{bin_dir}/initdb",
        f"--pgdata={data}",
        "--username=postgres",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
    )
    password_file.unlink()
    _watch(bin_dir, root)
    port = _start_on_a_free_port(bin_dir, root, _settings(root), folder=PRIMARY)
    server = PostgresServer(
        host=HOST,
        port=port,
        bin_dir=bin_dir,
        data_dir=str(data),
        superuser_password=superuser_password,
        loader_password=loader_password,
    )
    with server.database("postgres").as_superuser().connect() as connection:
        connection.execute(f"CREATE ROLE loader LOGIN PASSWORD '{loader_password}'")
    return server


def _settings(root: Path) -> dict[str, Any]:
    return {
        "listen_addresses": HOST,
        "unix_socket_directories": root,
        "timezone": "UTC",
        "max_connections": 200,
        "max_prepared_transactions": 5,
        # Nothing outlives a test run, so nothing needs to reach the disk.
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
    }


def _start_on_a_free_port(
    bin_dir: str, root: Path, settings: dict[str, Any], *, folder: str, tries: int = 3
) -> int:
    """Start a server; somebody else may take a free port before it does."""
    log = root / f"{folder}.log"
    for left in reversed(range(tries)):
        port = _free_port()
        options = " ".join(f"-c {name}={value}" for name, value in {**settings, "port": port}.items())
        try:
            _pg_ctl(bin_dir, root, f"--log={log}", f"--options={options}", "start", folder=folder)
        except RuntimeError:
            if left == 0 or "could not bind" not in log.read_text():
                raise
        else:
            return port
    raise AssertionError


def _watch(bin_dir: str, root: Path) -> None:
    """Start the watcher: it waits for the end of the pipe, then does what `ServerRoom.close` has not."""
    script = """
        exec 3<alive
        {
            read -r line <&3
            cd /
            for folder in standby data; do
                "$1/pg_ctl" stop --pgdata="$2/$folder" --mode=immediate
            done
            rm -rf "$2"
        } &
    """
    # In a session of its own: Ctrl-C is for pytest.
    _run_as_server_user(root, "/bin/sh", "-c", script, "sh", bin_dir, root, start_new_session=True)
