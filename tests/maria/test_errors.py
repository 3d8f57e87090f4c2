"""What goes wrong at MariaDB: the class of error, what was seen, what to do, and no credentials."""

from __future__ import annotations

from contextlib import closing

import pytest
from integration.test_source_ways import observed, read_all
from maria.ways import ours, to_maria
from mariadb_server import DRIVER
from servers import require_odbc_driver
from traps.proxy import CuttingProxy

from hwm_magics.connections.secrets import Secret
from hwm_magics.core.specs import CursorSpec, ReadSpec
from hwm_magics.core.statement import Statement
from hwm_magics.errors import (
    ConfigError,
    CursorColumnError,
    EngineNotInstalledError,
    IncompleteReadError,
    LoginError,
    QueryError,
    SourceConnectionError,
    SourceError,
)
from hwm_magics.sources.factory import open_source

READ = ReadSpec("shop", table="orders")
PLANTED = "pl4nted-s3cret"
EVERY = ["pymysql", "odbc rows", "sqlalchemy"]


@pytest.fixture
def orders(maria):
    maria.run(
        "CREATE TABLE orders (id int PRIMARY KEY, changed datetime(6))",
        "INSERT INTO orders SELECT seq, '2024-06-01' FROM seq_1_to_3",
    )
    return maria


def check(caught) -> str:
    told = "\n".join(caught.value.lines()) + repr(caught.value.__cause__)
    assert PLANTED not in told
    assert caught.value.hint
    return told


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"password": Secret(PLANTED)}, LoginError, "Access denied for user 'loader'"),
        ({"username": "nobody"}, LoginError, "Access denied for user 'nobody'"),
        ({"database": "test_nowhere"}, SourceConnectionError, "Unknown database 'test_nowhere'"),
        ({"database": "mysql"}, LoginError, "to database 'mysql'"),
        ({"port": 1}, SourceConnectionError, "refused"),
        ({"host": "no.such.host.invalid"}, SourceConnectionError, "no.such.host.invalid"),
        ({"options": {"conect_timeout": 3}}, SourceConnectionError, "conect_timeout"),
        ({"driver": "No Such Driver"}, SourceConnectionError, "No Such Driver"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else None,
)
def test_connections_that_fail(orders, changes, kind, said):
    with pytest.raises(kind, match=said) as caught:
        open_source(ours(orders, **changes), READ)
    check(caught)


@pytest.mark.parametrize("way", EVERY)
@pytest.mark.parametrize(
    ("read", "said", "hint"),
    [
        (ReadSpec("shop", table="order"), "doesn't exist", "did you mean orders?"),
        (ReadSpec("shop", query="SELECT chnged FROM orders"), "Unknown column", "did you mean changed?"),
        (ReadSpec("shop", query="SELECT id::text AS id FROM orders"), "syntax", "where the message points"),
        (ReadSpec("shop", query="SELECT * FROM mysql.user"), "denied", "grant the user SELECT"),
    ],
    ids=["table", "column", "syntax", "rights"],
)
def test_queries_that_the_server_refuses(orders, way, read, said, hint):
    with (
        to_maria(way, orders) as opens,
        opens(read) as source,
        pytest.raises(QueryError, match=said) as caught,
    ):
        observed(source, read)
    told = check(caught)
    assert hint in told
    assert orders.password not in told


@pytest.mark.parametrize("way", [*EVERY, "plain odbc", "pymysql object"])
@pytest.mark.parametrize(
    ("kind", "value"),
    [("date", "0000-00-00"), ("datetime(6)", "0000-00-00 00:00:00"), ("date", "2024-00-10")],
)
def test_a_date_that_is_none_is_an_error_that_names_it(maria, way, kind, value):
    maria.run(
        "SET sql_mode = ''",
        f"CREATE TABLE t (id int, d {kind} NOT NULL)",
        f"INSERT INTO t VALUES (1, '{value}')",
    )
    read = ReadSpec("shop", table="t")
    with to_maria(way, maria) as opens, opens(read) as source:
        observed(source, read)
        with pytest.raises(QueryError, match=f"'d'.*{value}"):
            read_all(source, read)
        mended = ReadSpec("shop", query="SELECT id, NULLIF(d, 0) AS d FROM t")
    if value.startswith("0000"):
        with to_maria(way, maria) as opens, opens(mended) as source:
            observed(source, mended)
            assert read_all(source, mended).to_pylist() == [{"id": 1, "d": None}]


@pytest.mark.parametrize(
    ("kind", "instead"),
    [
        ("decimal(65,30)", "CAST(`c` AS DECIMAL(38,9)) AS `c`"),
        ("decimal(39,0)", "CAST(`c` AS DECIMAL(38,0)) AS `c`"),
        ("point", "ST_AsText(`c`) AS `c`"),
    ],
)
def test_types_that_delta_lacks_are_refused_with_the_cast_to_write(maria, kind, instead):
    maria.run(f"CREATE TABLE t (c {kind})")
    read = ReadSpec("shop", table="t")
    with open_source(ours(maria), read) as source:
        with pytest.raises(QueryError, match="has no type") as caught:
            observed(source, read)
        assert instead in caught.value.message
        cast = ReadSpec("shop", query=f"SELECT {instead} FROM t")
    with open_source(ours(maria), cast) as source:
        observed(source, cast)


@pytest.mark.parametrize(
    "kind", ["time(6)", "float", "double", "bit(1)", "bit(9)", "blob", "json", "set('a')"]
)
def test_columns_that_are_no_cursors(maria, kind):
    maria.run(f"CREATE TABLE t (c {kind})", "INSERT INTO t VALUES (NULL)")
    read = ReadSpec("shop", table="t", cursor=CursorSpec("c"))
    refused = kind not in ("bit(9)", "json")
    with open_source(ours(maria), read) as source:
        if refused:
            with pytest.raises(CursorColumnError, match="can't be the cursor"):
                observed(source, read)
        else:
            observed(source, read)


@pytest.mark.parametrize(
    "values", ["('2024-06-01t10:00:00'), ('2024-06-01T11:00:00')", "('9/1/2024'), ('10/1/2024')"]
)
def test_text_of_more_than_one_form_is_no_cursor_though_a_collation_calls_it_equal(maria, values):
    """Traps 16 and 40: most collations take t for T."""
    maria.run("CREATE TABLE t (c varchar(30) COLLATE utf8mb4_general_ci)", f"INSERT INTO t VALUES {values}")
    read = ReadSpec("shop", table="t", cursor=CursorSpec("c"))
    with open_source(ours(maria), read) as source, pytest.raises(CursorColumnError):
        observed(source, read)


@pytest.mark.parametrize("way", ["pymysql", "odbc rows", "sqlalchemy", "plain odbc"])
def test_a_session_of_ours_does_not_write(orders, way):
    with to_maria(way, orders) as opens, opens(READ) as source:
        with pytest.raises(SourceError, match="READ ONLY") as caught:
            source.driver.rows(Statement(("INSERT INTO orders VALUES (9, NULL)",)))
        if way != "plain odbc":
            assert "leave out what writes" in caught.value.hint
    assert orders.run("SELECT COUNT(*) FROM orders") == ((3,),) or orders.run(
        "SELECT COUNT(*) FROM orders"
    ) == [(3,)]


@pytest.fixture
def many(maria):
    maria.run(
        "CREATE TABLE orders (id int PRIMARY KEY, w varchar(200))",
        "INSERT INTO orders SELECT seq, REPEAT('x', 100) FROM seq_1_to_120000",
    )
    return maria


@pytest.mark.parametrize("reset", [True, False], ids=["a reset", "an orderly end"])
@pytest.mark.parametrize("way", [*EVERY, "plain odbc"])
def test_a_connection_that_is_cut_amid_the_rows_is_never_their_end(many, way, reset):
    """Trap 49."""
    with CuttingProxy(many.host, many.port, limit=None, reset=reset) as proxy:
        from dataclasses import replace

        with to_maria(way, replace(many, port=proxy.port)) as opens, opens(READ) as source:
            observed(source, READ)
            proxy.limit_from_now(4_000_000)
            with pytest.raises((SourceConnectionError, IncompleteReadError, QueryError)) as caught:
                read_all(source, READ)
            assert proxy.cut.is_set()
            check(caught) if way != "plain odbc" else None


@pytest.mark.parametrize("way", [*EVERY, "plain odbc"])
def test_a_session_that_somebody_kills_amid_the_rows_is_an_error(many, way):
    with to_maria(way, many) as opens, opens(READ) as source:
        observed(source, READ)
        reading = getattr(source.driver, "rows_by", None) or source.driver
        ((number,),) = reading.ask("SELECT CONNECTION_ID()")
        stream = source.open(Statement(("SELECT a.* FROM orders a, seq_1_to_20 b",)))
        next(stream.batches)
        many.run("SELECT 1", f"KILL CONNECTION {number}", "SELECT 1")
        with pytest.raises((QueryError, IncompleteReadError, SourceConnectionError)):
            for _ in stream.batches:
                pass


def test_stopping_a_read_stops_the_query_at_the_server(many):
    with open_source(ours(many), READ) as source:
        observed(source, READ)
        stream = source.open(Statement(("SELECT a.* FROM orders a, seq_1_to_200 b",)))
        next(stream.batches)
        stream.close()
        running = many.run(
            "SELECT COUNT(*) FROM INFORMATION_SCHEMA.PROCESSLIST WHERE INFO LIKE '/* hwm_magics%'"
        )
        assert [tuple(row) for row in running] == [(0,)]
        assert read_all(source, READ).num_rows == 120_000, "the connection serves on"


def test_a_load_that_waits_for_a_lock_is_told_so(orders):
    with closing(orders.connect(autocommit=False)) as other, open_source(ours(orders), READ) as source:
        other.cursor().execute("LOCK TABLES orders WRITE")
        source.driver._execute(
            "SET lock_wait_timeout = 1, innodb_lock_wait_timeout = 1", [], "asking"
        ).close()
        with pytest.raises(QueryError, match="Lock wait timeout") as caught:
            observed(source, READ)
        assert "run the load again" in caught.value.hint


def secure(database, **changes):
    with open_source(ours(database, **changes), READ) as source:
        return source.driver.ask("SHOW STATUS LIKE 'Ssl_cipher'")[0][1] != ""


def test_sessions_are_encrypted_as_the_connection_says(orders):
    ca = orders.certificate
    assert secure(orders), "where the server can"
    assert not secure(orders, ssl_mode="disabled")
    assert secure(orders, ssl_mode="required")
    assert secure(orders, ssl_ca=ca)
    assert secure(orders, ssl_ca=ca, ssl_mode="verify_ca")
    for mode in ("verify_ca", "verify_identity"):
        with pytest.raises(SourceConnectionError, match="certificate") as caught:
            secure(orders, ssl_mode=mode)
        assert "ssl_ca" in caught.value.hint
    with pytest.raises(SourceConnectionError, match="can't be read"):
        secure(orders, ssl_ca="/nowhere/ca.pem")


def test_rows_by_odbc_are_encrypted_alike(orders):
    require_odbc_driver(DRIVER)
    with open_source(ours(orders, driver=DRIVER, ssl_ca=orders.certificate), READ) as source:
        assert source.driver.rows_by.ask("SHOW STATUS LIKE 'Ssl_cipher'")[0][1] != ""


def test_what_a_connection_can_not_say_together(load):
    for said, problem in [
        ({"ssl_mode": "disabled", "ssl_ca": "ca.pem"}, "has no use for it"),
        ({"ssl_mode": "requred"}, "did you mean 'required'"),
        ({"ssl_key": "key.pem"}, "write ssl_cert"),
        ({"driver": "mysqldb", "ssl_mode": "required"}, "has words of its own"),
    ]:
        with pytest.raises(ConfigError, match=problem):
            load(table="t", source=said).plan()


def test_two_connections_that_lead_to_two_servers_are_refused(orders, monkeypatch):
    """Trap 28: a balancer between here and the servers."""
    require_odbc_driver(DRIVER)
    from hwm_magics.core.observed import SourceIdentity
    from hwm_magics.sources.dialects.mysql import MySql

    told = iter(["a", "b"])
    monkeypatch.setattr(MySql, "identity", lambda *_: SourceIdentity(next(told)))
    with pytest.raises(SourceConnectionError, match="one server now and to another"):
        open_source(ours(orders, driver=DRIVER), READ)


def test_pymysql_is_named_with_its_extra_where_it_is_missing(orders, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(EngineNotInstalledError, match="pymysql") as caught:
        open_source(ours(orders), READ)
    monkeypatch.undo()
    assert "hwm-magics[mysql]" in caught.value.hint
