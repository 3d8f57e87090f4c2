"""A PostgreSQL of the benchmarks' own: its data stays in the cache, it runs while the driver runs, on loopback only."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

HOST = "127.0.0.1"
DATABASE = "bench"
USER = "bench"

SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "1h",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # The data can be made again, and nothing shall run beside what is being measured.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "synchronize_seqscans": "off",
    "timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, as its clients address it."""

    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """``postgresql://user:password@host:port/database``"""
        return f"postgresql://{USER}:{quote(self.password, safe='')}@{HOST}:{self.port}/{DATABASE}"

    @property
    def connection(self) -> dict[str, Any]:
        """The same as the settings of a connection of hwm_magics."""
        return {
            "type": "postgres",
            "host": HOST,
            "port": self.port,
            "database": DATABASE,
            "username": USER,
            "password": self.password,
        }

    def connect(self, database: str = DATABASE) -> psycopg.Connection[tuple[Any, ...]]:
        """A new connection that commits every statement."""
        import psycopg

        return psycopg.connect(
            host=HOST, port=self.port, dbname=database, user=USER, password=self.password, autocommit=True
        )


@contextmanager
def running(cache: Path) -> Iterator[Server]:
    """Start the server, made in ``cache`` where it is not there yet, and stop it afterwards."""
    programs = _programs()
    home = cache / "postgres"
    data = home / "data"
    _make_home(home)
    password_file = home / "password"
    if not (data / "made").exists():
        _make_cluster(programs, home, data, password_file)
    pg_ctl = (programs / "pg_ctl", "--silent", "--wait", f"--pgdata={data}")
    if (data / "postmaster.pid").exists():  # of a driver that was killed
        if _is_running(data):
            _as_server_user(home, *pg_ctl, "--mode=fast", "stop")
        (data / "postmaster.pid").unlink(missing_ok=True)
    port = _free_port()
    settings = {**SETTINGS, "listen_addresses": HOST, "port": port, "unix_socket_directories": "''"}
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    _as_server_user(home, *pg_ctl, f"--log={home / 'server.log'}", f"--options={options}", "start")
    try:
        yield Server(port, password_file.read_text())
    finally:
        _as_server_user(home, *pg_ctl, "--mode=fast", "stop")


def _programs() -> Path:
    """The folder with the server's programs: on the PATH, else Debian's newest."""
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    for folder in ([Path(on_path).resolve().parent] if on_path else []) + debian[::-1]:
        if all((folder / program).exists() for program in ("initdb", "pg_ctl", "postgres")):
            return folder
    raise SystemExit(
        "The benchmarks need PostgreSQL's server programs (initdb, pg_ctl, postgres).\n"
        "On Debian and Ubuntu: apt-get install --no-install-recommends postgresql"
    )


def _server_user() -> dict[str, Any]:
    """Arguments for subprocess: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": ()}


def _make_home(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    user = _server_user()
    if not user:
        return
    os.chown(home, user["user"], user["group"])
    done = subprocess.run(["test", "-w", str(home)], check=False, **user)
    if done.returncode != 0:
        raise SystemExit(
            f"PostgreSQL can't run as root, and the user that it runs as instead can't reach {home}.\n"
            "Name a folder that everybody may enter: --cache DIR, or run as a plain user."
        )


def _make_cluster(programs: Path, home: Path, data: Path, password_file: Path) -> None:
    shutil.rmtree(data, ignore_errors=True)
    user = _server_user()
    password_file.touch(mode=0o600)
    password_file.write_text(secrets.token_hex(12))
    if user:
        os.chown(password_file, user["user"], user["group"])
    _as_server_user(
        home,
        programs / "initdb",
        f"--pgdata={data}",
        f"--username={USER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
    )
    (data / "made").touch()


def _is_running(data: Path) -> bool:
    """Whether the process that the lock file names is this server: its number may be another's by now."""
    number = (data / "postmaster.pid").read_text().splitlines()[0]
    try:
        return str(data).encode() in Path("/proc", number, "cmdline").read_bytes()
    except OSError:
        return False


def _as_server_user(home: Path, *command: str | Path, check: bool = True) -> None:
    log = home / "commands.log"
    with log.open("ab") as output:  # a file: the server inherits it, and would keep a pipe open
        done = subprocess.run(
            command,
            check=False,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the driver
            **_server_user(),
        )
    if check and done.returncode != 0:
        raise SystemExit(f"{Path(command[0]).name} failed; see {log} and {home / 'server.log'}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
