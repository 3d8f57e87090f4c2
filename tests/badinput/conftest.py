"""A project with a source, a lake and connections that don't work, and ways to see that nothing was written."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import hwm_magics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import PgDatabase, PostgresServer

PLANTED = "xK9-planted-Secret-77"
BASE = """\
name: orders
read:
  connection: shop
  table: orders
  incremental: {column: updated_at}
write:
  connection: lake
  path: raw/orders
"""
MOST_LINES = 12


def snapshot(folder: Path) -> dict[str, str]:
    """Every file and link below a folder, and what is in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path)] = f"link to {path.readlink()}"
        elif path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[str(path)] = "folder"
    return found


@dataclass(slots=True)
class Project:
    """A folder with an hwm.yaml, a PostgreSQL database with some orders, and a lake.

    Attributes:
        folder: The project's folder, which is the current one.
        database: The source.
        secrets: What must not show anywhere.
        said: Everything that was said so far: output, errors, log records.
    """

    folder: Path
    database: PgDatabase
    secrets: tuple[str, ...] = ()
    said: list[str] = field(default_factory=list)

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    @property
    def target(self) -> Path:
        return self.lake / "raw" / "orders"

    def run(self, *statements: str) -> list[Any]:
        """Run statements in the source; the rows of the last."""
        rows = []
        with self.database.connect() as connection:
            for statement in statements:
                found = connection.execute(statement)
                rows = found.fetchall() if found.description else []
        return rows

    def load(self, text: str = BASE, **options: Any) -> Any:
        """A load by the Python API."""
        return hwm_magics.load(text, **options)

    def assert_nothing_leaked(self) -> None:
        """No secret in anything said, nor in any file but the hwm.yaml that was told it."""
        for text in self.said:
            for secret in self.secrets:
                assert secret not in text, text
        for path in self.folder.rglob("*"):
            if path.is_file() and path.name != "hwm.yaml":
                data = path.read_bytes()
                assert not [secret for secret in self.secrets if secret.encode() in data], path


@pytest.fixture(scope="session")
def source(postgres: PostgresServer) -> Iterator[PgDatabase]:
    """A database for all tests of a process: making one takes longer than refusing most inputs."""
    with postgres.new_database() as made:
        yield made


@pytest.fixture
def project(source, tmp_path, monkeypatch, caplog, impatient):
    """One with three orders, and nothing in its lake; looked through for secrets afterwards."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.chdir(tmp_path)
    for name in ("HWM_MAGICS_MODE", "HWM_MAGICS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: whoever connects is refused
        server = f"host: {source.host}, port: {source.port}, database: {source.dbname}"
        (tmp_path / "hwm.yaml").write_text(f"""\
connections:
  shop: {{type: postgres, {server}, username: {source.user}, password: {source.password}}}
  wrong_password: {{type: postgres, {server}, username: {source.user}, password: {PLANTED}}}
  host_down: {{type: postgres, host: 127.0.0.1, port: {taken.getsockname()[1]}, database: x, username: y,
    password: {PLANTED}}}
  url_down: {{type: sql, url: "postgresql://y:{PLANTED}@127.0.0.1:{taken.getsockname()[1]}/x"}}
  odbc_down: {{type: odbc, connection_string: "DRIVER={{PostgreSQL Unicode}};SERVER=127.0.0.1;DATABASE=x;UID=y;
    PORT={taken.getsockname()[1]};PWD={PLANTED}"}}
  odbc_wrong: {{type: odbc, connection_string: "{re.sub("PWD=.*", f"PWD={PLANTED}", source.odbc)}"}}
  no_file: {{type: sqlite, database: not-there.db}}
  lake: {{type: local, root: ./lake}}
""")
        made = Project(tmp_path, source, (source.password, source.superuser_password, PLANTED))
        made.run(
            "DROP SCHEMA public CASCADE",
            "CREATE SCHEMA public",
            "CREATE TABLE orders (id int, amount numeric(9, 2), updated_at timestamp, price real, at_time time,"
            " tag uuid, flag boolean, doc json, blob bytea, words text)",
            "INSERT INTO orders (id, amount, updated_at, words)"
            " SELECT n, n * 1.5, timestamp '2024-06-01' + n * interval '1 day', 'word ' || n"
            " FROM generate_series(1, 3) n",
        )
        made.lake.mkdir()
        yield made
    made.said += [record.getMessage() for record in caplog.records]
    made.said.append(caplog.text)
    made.assert_nothing_leaked()


def assert_readable(lines: list[str]) -> None:
    """An error as people want it: a few lines, what to do, and no traceback."""
    text = "\n".join(lines)
    assert len(lines) <= MOST_LINES, text
    assert max(len(line) for line in lines) <= 700, text
    assert "Traceback" not in text
    assert 'File "' not in text
    assert "\x1b[" not in text
    assert "panicked" not in text


@pytest.fixture
def readable():
    return assert_readable


def is_root() -> bool:
    return os.geteuid() == 0
