"""What goes wrong at a source: the class of error, what was seen, what to do, and no credentials."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading

import pytest
from integration.test_source_ways import (
    POSTGRES_WAYS,
    SQLITE_WAYS,
    WRITE,
    each,
    observed,
    read_all,
    to_postgres,
    to_sqlite,
)
from servers import POSTGRES_DRIVER

from hwm_magics.connections.local import LocalConnection
from hwm_magics.connections.objects import ObjectConnection, recognise
from hwm_magics.connections.odbc import OdbcConnection
from hwm_magics.connections.postgres import PostgresConnection
from hwm_magics.connections.secrets import Secret
from hwm_magics.connections.sql import DuckDbConnection, MySqlConnection, SqlConnection
from hwm_magics.connections.sqlite import SqliteConnection
from hwm_magics.core.query import prepare
from hwm_magics.core.specs import ReadSpec
from hwm_magics.core.statement import Statement
from hwm_magics.errors import (
    ConfigError,
    EngineNotInstalledError,
    IncompleteReadError,
    LoginError,
    QueryError,
    SourceConnectionError,
    SourceError,
    UnsupportedByEngineError,
)
from hwm_magics.sources.factory import open_source

READ = ReadSpec("shop", table="orders")
PLANTED = "pl4nted-s3cret"
OURS = ["adbc", "sqlalchemy", "odbc"]


def connection(way: str, database, **changes):
    """A connection of ours to a PostgreSQL, with some parts of its address changed."""
    parts = {
        "user": database.user,
        "password": database.password,
        "port": database.port,
        "dbname": database.dbname,
    }
    parts |= {"host": database.host} | changes
    address = "{user}:{password}@{host}:{port}/{dbname}".format(**parts)
    if way == "adbc":
        return PostgresConnection(name="shop", url=Secret.of_address(f"postgresql://{address}"))
    if way == "sqlalchemy":
        return SqlConnection(name="shop", url=Secret.of_address(f"postgresql+psycopg://{address}"))
    text = "DRIVER={{{0}}};SERVER={host};PORT={port};DATABASE={dbname};UID={user};PWD={password}"
    return OdbcConnection(
        name="shop", connection_string=Secret.of_address(text.format(POSTGRES_DRIVER, **parts))
    )


def check(error: SourceError) -> str:
    told = str(error)
    assert PLANTED not in told
    assert len(told.splitlines()) <= 3
    assert error.hint
    return told


@pytest.mark.parametrize("way", OURS)
def test_a_wrong_password(way, pg_database):
    with pytest.raises(LoginError, match=r"password authentication failed") as refused:
        open_source(connection(way, pg_database, password=PLANTED), READ)
    check(refused.value)


@pytest.mark.parametrize("way", OURS)
def test_an_unknown_user(way, pg_database):
    with pytest.raises(LoginError) as refused:
        open_source(connection(way, pg_database, user="nobody", password=PLANTED), READ)
    check(refused.value)


@pytest.mark.parametrize("way", OURS)
def test_a_host_that_is_down(way, pg_database):
    with pytest.raises(SourceConnectionError, match=r"refused|[Cc]ould not connect") as refused:
        open_source(connection(way, pg_database, port=9, password=PLANTED), READ)
    assert "127.0.0.1" in check(refused.value)


@pytest.mark.parametrize("way", OURS)
def test_a_database_that_is_not_there(way, pg_database):
    with pytest.raises(SourceConnectionError, match=r"does not exist") as refused:
        open_source(connection(way, pg_database, dbname="nowhere"), READ)
    assert "database's name" in check(refused.value)


@pytest.mark.parametrize("way", each(POSTGRES_WAYS))
def test_a_table_that_is_not_there(way, pg_database):
    with pg_database.connect() as db:
        db.execute("CREATE TABLE orders (id integer)")
    read = ReadSpec("shop", table="ordres")
    with to_postgres(way, pg_database) as opens, opens(read) as source:
        with pytest.raises(QueryError, match=r"ordres.*does not exist") as refused:
            observed(source, read)
        # The connection is still good.
        assert observed(source, READ).columns[0].name == "id"
    if way in ("adbc", "url", "adbc object"):
        assert refused.value.hint == "did you mean orders?"


@pytest.mark.parametrize("table", ["sales.oders", "sale.orders", "orders"])
def test_a_table_of_a_schema_is_suggested(table, pg_database):
    with pg_database.connect() as db:
        db.execute("CREATE SCHEMA sales; CREATE TABLE sales.orders (id integer)")
    read = ReadSpec("shop", table=table)
    with (
        to_postgres("adbc", pg_database) as opens,
        opens(read) as source,
        pytest.raises(QueryError, match="does not exist") as refused,
    ):
        observed(source, read)
    assert refused.value.hint == "did you mean sales.orders?"


@pytest.mark.parametrize("way", each(POSTGRES_WAYS))
def test_a_column_that_is_not_there(way, pg_database):
    with pg_database.connect() as db:
        db.execute("CREATE TABLE orders (id integer, amount integer)")
    read = ReadSpec("shop", query="SELECT id, amuont FROM orders")
    with to_postgres(way, pg_database) as opens, opens(read) as source:
        with pytest.raises(QueryError, match=r"amuont.*does not exist") as refused:
            observed(source, read)
        assert len(str(refused.value).splitlines()) <= 2
    if way in ("adbc", "url", "adbc object"):
        assert "check the column's name" in refused.value.hint or "orders.amount" in refused.value.hint


@pytest.mark.parametrize("way", OURS)
def test_a_table_without_the_right_to_read_it(way, pg_database):
    with pg_database.as_superuser().connect() as db:
        db.execute("CREATE TABLE orders (id integer); REVOKE ALL ON orders FROM PUBLIC")
    with (
        to_postgres(way, pg_database) as opens,
        opens(READ) as source,
        pytest.raises(QueryError, match=r"permission denied"),
    ):
        read_all(source, READ)


@pytest.mark.parametrize("way", each(POSTGRES_WAYS))
def test_an_error_in_the_midst_of_the_rows(way, pg_database):
    read = ReadSpec("shop", query="SELECT i, 1 / (i - 150000) AS x FROM generate_series(1, 200000) AS i")
    with to_postgres(way, pg_database) as opens, opens(read) as source:
        with pytest.raises(QueryError, match=r"division by zero"):
            read_all(source, read)
        assert source.scalar(Statement(("SELECT 5",))) in (5, "5")


@pytest.mark.parametrize("way", each(POSTGRES_WAYS))
def test_a_connection_that_is_lost_between_two_rows(way, pg_database):
    """Trap 49: some drivers take it for the end of the rows."""
    read = ReadSpec(
        "shop",
        query="SELECT i, repeat('x', 200) AS t, CAST(pg_backend_pid() AS integer) AS pid "
        "FROM generate_series(1, 400000) AS i",
    )
    with to_postgres(way, pg_database) as opens, opens(read) as source:
        stream = source.open(prepare(read, WRITE, source.dialect).rows(first_run=True))
        first = next(stream.batches)
        with pg_database.as_superuser().connect() as db:
            db.execute("SELECT pg_terminate_backend(%s)", [first.column("pid")[0].as_py()])
        with pytest.raises(SourceError) as lost:
            for _ in stream.batches:
                pass
    assert isinstance(lost.value, SourceConnectionError | IncompleteReadError)


@pytest.mark.parametrize("way", each(POSTGRES_WAYS))
def test_a_read_that_is_stopped_leaves_the_connection_usable(way, pg_database):
    read = ReadSpec("shop", query="SELECT i, repeat('x', 200) AS t FROM generate_series(1, 300000) AS i")
    with to_postgres(way, pg_database) as opens, opens(read) as source:
        query = prepare(read, WRITE, source.dialect)
        stream = source.open(query.rows(first_run=True))
        next(stream.batches)
        stream.close()
        stream.close()
        with pytest.raises((IncompleteReadError, StopIteration)):
            next(stream.batches)
        assert source.scalar(Statement(("SELECT 5",))) in (5, "5")
        again = source.open(query.rows(first_run=True))
        assert sum(batch.num_rows for batch in again.batches) == 300_000


@pytest.mark.parametrize("way", ["adbc", "url", "adbc object"])
def test_nothing_can_be_written(way, pg_database):
    with pg_database.connect() as db:
        db.execute(
            "CREATE TABLE orders (id integer); CREATE FUNCTION sly() RETURNS integer LANGUAGE sql "
            "AS 'INSERT INTO orders VALUES (1) RETURNING 1'"
        )
    read = ReadSpec("shop", query="SELECT sly() AS n")
    with (
        to_postgres(way, pg_database) as opens,
        opens(read) as source,
        pytest.raises(QueryError, match=r"read-only transaction"),
    ):
        read_all(source, read)


def test_rows_are_read_in_another_thread(pg_database, sqlite_path, odbc_sqlite):
    with pg_database.connect() as db:
        db.execute("CREATE TABLE orders AS SELECT generate_series(1, 50000) AS id")
    with contextlib.closing(sqlite3.connect(sqlite_path)) as db:
        db.executescript("CREATE TABLE orders (id INTEGER); INSERT INTO orders VALUES (1), (2)")
    found: dict[str, int] = {}

    def drain(name, stream):
        found[name] = sum(batch.num_rows for batch in stream.batches)

    ways = [(way, to_postgres(way, pg_database)) for way in POSTGRES_WAYS]
    ways += [
        (f"{way} to SQLite", to_sqlite(way, sqlite_path, odbc_sqlite))
        for way in SQLITE_WAYS
        if way != "sqlite3"
    ]
    for name, way in ways:
        with way as opens, opens(READ) as source:
            stream = source.open(prepare(READ, WRITE, source.dialect).rows(first_run=True))
            thread = threading.Thread(target=drain, args=(name, stream))
            thread.start()
            thread.join()
    assert found == {name: 2 if "SQLite" in name else 50_000 for name, _ in ways}


def test_a_sqlite_connection_of_another_thread_says_what_to_do(sqlite_path):
    made = sqlite3.connect(sqlite_path)
    made.executescript("CREATE TABLE orders (id INTEGER)")
    told: list[SourceError] = []

    def work():
        with open_source(recognise("made", made), READ) as source:
            try:
                observed(source, READ)
            except SourceError as error:
                told.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    made.close()
    assert "check_same_thread=False" in told[0].hint


@pytest.mark.parametrize("way", each(SQLITE_WAYS))
def test_a_sqlite_table_that_is_not_there(way, sqlite_path, odbc_sqlite):
    with contextlib.closing(sqlite3.connect(sqlite_path)) as db:
        db.executescript("CREATE TABLE orders (id INTEGER)")
    read = ReadSpec("shop", table="ordres")
    with (
        to_sqlite(way, sqlite_path, odbc_sqlite) as opens,
        opens(read) as source,
        pytest.raises(QueryError, match=r"ordres"),
    ):
        observed(source, read)


def test_a_sqlite_suggestion(sqlite_path):
    with contextlib.closing(sqlite3.connect(sqlite_path)) as db:
        db.executescript("CREATE TABLE orders (id INTEGER, amount INTEGER)")
    with open_source(SqliteConnection(name="s", database=str(sqlite_path)), READ) as source:
        read = ReadSpec("s", table="ordres")
        with pytest.raises(QueryError, match=r"ordres.*\n.*did you mean orders"):
            observed(source, read)
        with pytest.raises(QueryError, match=r"no such column: amuont"):
            observed(source, ReadSpec("s", query="SELECT amuont FROM orders"))


@pytest.mark.parametrize("what", ["missing", "folder", "text"])
def test_a_file_that_is_no_sqlite_database(what, tmp_path):
    path = tmp_path / "shop.db"
    if what == "folder":
        path.mkdir()
    if what == "text":
        path.write_text("not a database, but long enough to be taken for one " * 50)
    with pytest.raises(SourceConnectionError, match=r"is not there|is a folder|not a database"):
        open_source(SqliteConnection(name="s", database=str(path)), READ)
    assert what != "missing" or not path.exists()


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (SqlConnection(name="s", url=Secret.of_address("nonsense")), ConfigError, "no SQLAlchemy URL"),
        (
            SqlConnection(name="s", url=Secret.of_address("nodb://u:pl4nted-s3cret@h/d")),
            EngineNotInstalledError,
            "nodb",
        ),
        (
            MySqlConnection(name="s", host="127.0.0.1", database="d", driver="mysqldb"),
            EngineNotInstalledError,
            "MySQLdb",
        ),
        (OdbcConnection(name="s", dsn="no such source"), SourceConnectionError, "Data source name not found"),
        (
            OdbcConnection(
                name="s", connection_string=Secret.of_address("DRIVER={No Driver};PWD=pl4nted-s3cret")
            ),
            SourceConnectionError,
            "No Driver|lib",
        ),
        (DuckDbConnection(name="s", database="/nowhere/x.duckdb"), SourceConnectionError, "is not there"),
        (LocalConnection(name="lake", root="/tmp"), ConfigError, "no database"),
        (ObjectConnection(name="s", obj=object(), kind="frame", dialect=""), ConfigError, "no database"),
    ],
)
def test_connections_that_lead_nowhere(given, error, words, odbc_sqlite):
    with pytest.raises(error, match=words) as refused:
        open_source(given, READ)
    assert PLANTED not in str(refused.value)


@pytest.mark.parametrize(
    ("module", "extra"),
    [("adbc_driver_postgresql", "postgres"), ("arrow_odbc", "odbc"), ("duckdb", "duckdb")],
)
def test_a_package_that_is_missing_is_named(module, extra, pg_database, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    given = {
        "postgres": PostgresConnection(name="shop", url=Secret.of_address(pg_database.url)),
        "odbc": OdbcConnection(name="shop", connection_string=Secret.of_address(pg_database.odbc)),
        "duckdb": DuckDbConnection(name="shop", database=":memory:"),
    }[extra]
    with pytest.raises(EngineNotInstalledError, match=f"pip install .*{extra}"):
        open_source(given, READ)


def test_adbc_to_another_database_is_refused():
    class Odd:
        def adbc_get_info(self):
            return {"vendor_name": "Snowflake"}

    with pytest.raises(UnsupportedByEngineError, match=r"Snowflake"):
        open_source(ObjectConnection(name="s", obj=Odd(), kind="adbc"), READ)


def test_a_text_that_is_longer_than_odbc_was_told(pg_database):
    with pg_database.connect() as db:
        db.execute(
            "CREATE TABLE orders (id integer, t text); INSERT INTO orders VALUES (1, repeat('é', 100000))"
        )
    given = connection("odbc", pg_database)
    with (
        open_source(given, READ) as source,
        pytest.raises(QueryError, match=r"truncation[\s\S]*max_text_size"),
    ):
        read_all(source, READ)
    wide = ReadSpec("shop", table="orders", options={"max_text_size": 300_000})
    with open_source(given, wide) as source:
        assert len(read_all(source, wide).column("t")[0].as_py()) == 100_000
    with pytest.raises(ConfigError, match=r"max_text_size"):
        open_source(given, ReadSpec("shop", table="orders", options={"max_text_size": "many"}))


def test_secrets_stay_out_of_chained_errors(pg_database):
    with pytest.raises(LoginError) as refused:
        open_source(connection("sqlalchemy", pg_database, password=PLANTED), READ)
    error: BaseException | None = refused.value
    while error is not None:
        assert PLANTED not in str(error)
        error = error.__cause__


def test_imports_are_lazy():
    code = (
        "import sys; import hwm_magics.sources.factory; "
        "heavy = ('adbc_driver_postgresql', 'sqlalchemy', 'pyodbc', 'arrow_odbc', 'duckdb', 'psycopg', 'pandas');"
        "print([m for m in heavy "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_source_needs_pandas(pg_database):
    with pg_database.connect() as db:
        db.execute("CREATE TABLE orders (id integer)")
    code = f"""
import sys
from hwm_magics.connections.postgres import PostgresConnection
from hwm_magics.connections.secrets import Secret
from hwm_magics.core.specs import ReadSpec
from hwm_magics.core.statement import Statement
from hwm_magics.sources.factory import open_source
shop = PostgresConnection(name="s", url=Secret.of_address({pg_database.url!r}))
with open_source(shop, ReadSpec("s", table="orders")) as source:
    list(source.open(Statement(("SELECT * FROM orders",))).batches)
print("pandas" in sys.modules, "psycopg" in sys.modules, "sqlglot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False False"
