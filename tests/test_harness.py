"""What the other tests rely on: the servers are real, and each test has its own database."""

from __future__ import annotations

import os
import select
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import servers
from psycopg.errors import InsufficientPrivilege

pytest_plugins = ["pytester"]
TESTS = Path(__file__).parent


def test_postgres_is_real_and_answers(pg_database):
    with pg_database.connect() as connection:
        (version,) = connection.execute("SELECT version()").fetchone()
        assert connection.autocommit
    assert version.startswith("PostgreSQL ")


def test_the_url_connects_too(pg_database):
    with psycopg.connect(pg_database.url) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == (pg_database.dbname,)


def test_the_loader_is_no_superuser(pg_database):
    with pg_database.connect() as connection:
        row = connection.execute(
            "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row == ("loader", False, False, False, False, False)
        with pytest.raises(InsufficientPrivilege):
            connection.execute("SELECT pg_read_file('/etc/passwd')")


def test_the_superuser_is_one(pg_database):
    with pg_database.as_superuser().connect() as connection:
        assert connection.execute("SHOW is_superuser").fetchone() == ("on",)


def test_the_loader_may_make_schemas_and_tables(pg_database):
    with pg_database.connect() as connection:
        connection.execute("CREATE SCHEMA dbo")
        connection.execute("CREATE TABLE dbo.orders (id int)")
        connection.execute("CREATE TABLE orders (id int)")


@pytest.mark.parametrize("user", ["loader", "postgres"])
def test_a_wrong_password_is_refused(pg_database, user):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(
            host=pg_database.host, port=pg_database.port, dbname=pg_database.dbname, user=user, password="no"
        )


def test_no_password_shows_in_a_repr(postgres, pg_database):
    shown = repr([postgres, pg_database, pg_database.as_superuser()])
    assert postgres.superuser_password not in shown
    assert postgres.loader_password not in shown


@pytest.mark.parametrize("number", [1, 2])
def test_each_test_has_an_empty_database_of_its_own(pg_database, number):
    with pg_database.connect() as connection:
        connection.execute("CREATE TABLE only_mine AS SELECT 1")


def test_a_database_is_dropped_even_if_somebody_is_connected(postgres):
    with postgres.new_database() as database:
        connection = database.connect()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        database.connect()


def test_postgres_listens_on_loopback_only(postgres):
    with postgres.database("postgres").connect() as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)


def test_odbc_reaches_postgres(pg_database):
    import pyodbc

    connection = pyodbc.connect(pg_database.odbc, autocommit=True)
    try:
        assert tuple(connection.execute("SELECT current_user, current_database()").fetchone()) == (
            "loader",
            pg_database.dbname,
        )
    finally:
        connection.close()


def test_odbc_reaches_sqlite(odbc_sqlite, sqlite_path):
    import pyodbc

    assert not sqlite_path.exists()
    writer = sqlite3.connect(sqlite_path)
    with writer:
        writer.execute("CREATE TABLE t AS SELECT 'from sqlite3' AS word")
    writer.close()
    connection = pyodbc.connect(odbc_sqlite, autocommit=True)
    try:
        assert connection.execute("SELECT word FROM t").fetchone()[0] == "from sqlite3"
    finally:
        connection.close()


def test_marks_follow_from_fixtures(request, pg_database, odbc_sqlite):
    assert {"server", "odbc"} <= {mark.name for mark in request.node.iter_markers()}


def test_what_is_missing_skips_and_under_ci_fails(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install"):
        servers.missing("PostgreSQL")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install"):
        servers.missing("PostgreSQL")


def test_a_driver_that_is_not_registered_counts_as_missing(odbc_sqlite, monkeypatch):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setitem(servers.INSTALL, "No Such Driver", "…")
    with pytest.raises(pytest.fail.Exception, match="No Such Driver is not installed"):
        servers.require_odbc_driver("No Such Driver")


@pytest.mark.slow
def test_workers_share_one_server_that_stops_with_the_run(postgres, pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    pytester.makepyfile(
        """
        import os
        from pathlib import Path

        def test_where(postgres):
            seen = f"{os.getpid()} {postgres.port} {postgres.data_dir}"
            Path(f"{os.getpid()}.seen").write_text(seen)
            with postgres.new_database():
                pass
        """
    )
    result = pytester.runpytest_subprocess("-p", "conftest", "--dist=each", "--tx=2*popen", f"-c{os.devnull}")
    result.assert_outcomes(passed=2)
    seen = [path.read_text().split() for path in pytester.path.glob("*.seen")]
    assert len({pid for pid, _, _ in seen}) == 2
    ((port, data_dir),) = {(port, data_dir) for _, port, data_dir in seen}
    assert not Path(data_dir).parent.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)))


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waiting for a stranger's process takes Linux")
def test_the_server_stops_when_its_run_is_killed(postgres):
    program = (
        "import servers; r = servers.ServerRoom.open(); print(r.postgres().data_dir, flush=True); input()"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program], cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with run:
        data_dir = Path(run.stdout.readline().strip())
        pid = int((data_dir / "postmaster.pid").read_text().split()[0])
        server = os.pidfd_open(pid)
        run.kill()
    ended, _, _ = select.select([server], [], [], 60)
    os.close(server)
    assert ended
