"""The MariaDB that tests use: one for a whole run, started by the first test that asks for it."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
import uuid
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pymysql

HOST = "127.0.0.1"
DRIVER = "MariaDB Unicode"
_SCRIPTS = Path("/usr/share/mysql")
# Nothing outlives a test run, so nothing needs to reach the disk.
_FAST = (
    "--innodb-log-file-size=8M",
    "--innodb-buffer-pool-size=32M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--innodb-flush-method=nosync",
    "--skip-name-resolve",
)


@dataclass(frozen=True, slots=True)
class MariaDb:
    """One database of the running MariaDB, as the plain user `loader` sees it.

    Attributes:
        certificate: The file of the server's certificate, which signed itself.
    """

    port: int
    certificate: str
    # Letters and digits only, so that a search for a leaked password finds it however it was encoded.
    password: str = field(repr=False)
    root_password: str = field(repr=False)
    database: str = ""
    host: str = HOST
    user: str = "loader"

    @property
    def settings(self) -> dict[str, Any]:
        """The connection as hwm.yaml has it."""
        return {
            "type": "mysql", "host": self.host, "port": self.port, "database": self.database,
            "username": self.user, "password": self.password,
        }  # fmt: skip

    @property
    def odbc(self) -> str:
        """The connection string for MariaDB's ODBC driver."""
        return (
            f"DRIVER={{{DRIVER}}};SERVER={self.host};PORT={self.port};DATABASE={self.database};UID={self.user};"
            f"PWD={self.password}"
        )

    def url(self, driver: str = "pymysql") -> str:
        """The address as SQLAlchemy reads it."""
        return f"mysql+{driver}://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"

    def as_root(self) -> MariaDb:
        """The same database with all rights."""
        return replace(self, user="root", password=self.root_password)

    def connect(self, **options: Any) -> pymysql.Connection[Any]:
        """A new connection of PyMySQL, which commits by itself unless told otherwise; close it."""
        import pymysql

        options = {"autocommit": True, "charset": "utf8mb4", **options}
        return pymysql.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, database=self.database,
            **options,
        )  # fmt: skip

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements; the rows of the last one."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    @contextmanager
    def new_database(self) -> Iterator[MariaDb]:
        """A fresh database that belongs to `loader`; dropped afterwards."""
        name = f"test_{uuid.uuid4().hex}"
        replace(self, database="").run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            yield replace(self, database=name)
        finally:
            replace(self, database="").run(f"DROP DATABASE {name}")


def is_installed() -> bool:
    """Whether there is a server to start."""
    return _program() is not None and (_SCRIPTS / "mysql_system_tables.sql").is_file()


def _program() -> str | None:
    return shutil.which("mariadbd") or next(
        (path for path in ("/usr/sbin/mariadbd",) if Path(path).exists()), None
    )


def start(root: Path, user: dict[str, Any], give: Callable[..., None]) -> MariaDb:
    """Start the server, and a watcher that ends it when the run's process does, however that happens.

    Args:
        root: The run's folder, with the pipe `alive` that ends with the run.
        user: Arguments for subprocess: MariaDB refuses to run as root.
        give: Gives files to that user.
    """
    from tds_facade.server import make_certificate

    folder = root / "mariadb"
    folder.mkdir()
    certificate, key = make_certificate(folder)
    server = MariaDb(0, str(certificate), secrets.token_hex(12), secrets.token_hex(12))
    (folder / "init.sql").write_text(
        f"CREATE OR REPLACE USER root@'{HOST}' IDENTIFIED BY '{server.root_password}';\n"
        f"GRANT ALL ON *.* TO root@'{HOST}' WITH GRANT OPTION;\n"
        f"CREATE USER loader@'{HOST}' IDENTIFIED BY '{server.password}';\n"
        f"GRANT ALL ON `test\\_%`.* TO loader@'{HOST}';\n"
    )
    (folder / "data").mkdir()
    give(folder, certificate, key, folder / "init.sql", folder / "data")
    common = [
        str(_program()), "--no-defaults", f"--datadir={folder / 'data'}", f"--lc-messages-dir={_SCRIPTS}", *_FAST,
    ]  # fmt: skip
    _make_tables(folder, common, user)
    options = [
        *common, f"--bind-address={HOST}", f"--socket={folder / 'socket'}", f"--init-file={folder / 'init.sql'}",
        f"--ssl-ca={certificate}", f"--ssl-cert={certificate}", f"--ssl-key={key}",
        "--default-time-zone=+02:00", "--max-connections=200",
    ]  # fmt: skip
    return _on_a_free_port(root, server, options, user)


def _make_tables(folder: Path, common: list[str], user: dict[str, Any]) -> None:
    """The tables of the server itself, as mariadb-install-db makes them with the help of Perl."""
    names = ("mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql")
    said = [
        "CREATE DATABASE mysql;", "USE mysql;", "SET @auth_root_socket=NULL;", "SET @current_hostname='localhost';",
        "SET @skip_auth_anonymous=1;", *((_SCRIPTS / name).read_text() for name in names),
    ]  # fmt: skip
    with (folder / "bootstrap.log").open("wb") as log:
        subprocess.run(
            [*common, "--bootstrap"], input="\n".join(said).encode(), stdout=log, stderr=log, check=True,
            cwd=folder, **user,
        )  # fmt: skip


def _on_a_free_port(
    root: Path, server: MariaDb, options: list[str], user: dict[str, Any], tries: int = 3
) -> MariaDb:
    """Start it; somebody else may take a free port before it does."""
    folder = root / "mariadb"
    log = folder / "server.log"
    for left in reversed(range(tries)):
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        script = """
            exec 3<alive
            folder=$1; shift
            "$@" 3<&- &
            server=$!
            echo $server > "$folder/pid"
            { read -r line <&3; kill -9 $server; rm -rf "$folder"; } 2>/dev/null &
        """
        with log.open("wb") as output:
            # In a session of its own: Ctrl-C is for pytest.
            subprocess.run(
                ["/bin/sh", "-c", script, "sh", str(folder), *options, f"--port={port}"], check=True,
                cwd=root, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, **user,
            )  # fmt: skip
        found = replace(server, port=port)
        if _answers(found, int((folder / "pid").read_text())):
            return found
        told = log.read_text(errors="replace")
        if left == 0 or "Can't start server" not in told:
            raise RuntimeError(f"MariaDB did not start:\n{told[-4000:]}")
    raise AssertionError


def _answers(server: MariaDb, process: int, patience: float = 60) -> bool:
    import pymysql

    until = time.monotonic() + patience
    while _runs(process) and time.monotonic() < until:
        with suppress(pymysql.err.OperationalError):
            server.connect().close()
            return True
        time.sleep(0.05)
    return False


def stop(root: Path) -> None:
    """End the server of a run's folder, if it was started."""
    pid = root / "mariadb" / "pid"
    if not pid.exists():
        return
    number = int(pid.read_text())
    with suppress(ProcessLookupError):
        os.kill(number, 9)
    while _runs(number):
        time.sleep(0.02)


def _runs(number: int) -> bool:
    """Whether the process is there, and no zombie."""
    with suppress(OSError):
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False
