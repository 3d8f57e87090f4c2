"""What goes wrong with SQL Server, as errors that say what to do; and nothing is written then."""

from __future__ import annotations

import socket

import pytest

from hwm_magics.errors import IncompleteReadError, LoginError, QueryError, SourceConnectionError, SourceError

ROWS = 3_000
FILL = f"SELECT {{first}} + n, TIMESTAMP '{{day}}' - n * INTERVAL 1 SECOND FROM range({ROWS}) t(n)"


@pytest.fixture
def orders(erp):
    """A table whose newest row comes first."""
    erp.create("dbo.orders", "id int NOT NULL", "changed datetime2(3) NOT NULL")
    erp.insert("dbo.orders", (0, "'2024-05-01'"))
    return erp


@pytest.fixture
def made(orders, load):
    """A load of it."""
    return load(table="dbo.orders", incremental={"column": "changed"})


def held(made):
    """What the target holds; a first run that dies may leave an empty table."""
    return made.rows("id") if made.is_there else []


def refused(made, kind, *words, secret=""):
    """The load fails with an error of a kind, writes nothing, and tells no secret."""
    before = held(made)
    with pytest.raises(kind) as caught:
        made.run()
    told = "\n".join(caught.value.lines())
    for word in words:
        assert word in told, told
    for password in filter(None, (secret, made.erp.settings["password"])):
        assert password not in told
        assert password not in repr(caught.value.__cause__)
    assert held(made) == before
    return caught.value


def test_a_wrong_password(made):
    made.source = {**made.erp.settings, "password": "an0ther-secret"}
    refused(
        made, LoginError, "Login failed for user", "check the user's name, password", secret="an0ther-secret"
    )


def test_a_database_that_is_not_there(made):
    made.source = {**made.erp.settings, "database": "nowhere"}
    refused(made, SourceConnectionError, 'Cannot open database "nowhere"', "check the database's name")


def test_a_host_where_nobody_listens_is_told_at_once(made):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening
        made.source = {**made.erp.settings, "host": "127.0.0.1", "port": taken.getsockname()[1]}
        refused(made, SourceConnectionError, "connection refused", "check host and port")


def test_a_host_that_nobody_knows(made):
    made.source = {**made.erp.settings, "host": "no-such-host.invalid"}
    refused(made, SourceConnectionError, "'no-such-host.invalid' is not known")


def test_a_table_that_is_not_there_and_one_that_was_meant(made):
    made.read["table"] = "dbo.oders"
    refused(made, QueryError, "Invalid object name 'dbo.oders'", "did you mean dbo.orders?")


def test_a_column_that_is_not_there(made):
    made.read["incremental"] = {"column": "chnged"}
    refused(made, QueryError, "'chnged' is not among the query's columns", "did you mean 'changed'?")


def test_a_query_that_fails_at_a_row(made):
    del made.read["table"]
    made.read["query"] = "SELECT id, changed, 1 / 0 AS n FROM dbo.orders"
    refused(made, QueryError, "Divide by zero")


@pytest.mark.parametrize("run", ["first run", "increment"])
@pytest.mark.parametrize("way", ["odbc", "pyodbc"])
@pytest.mark.parametrize("cut", [{}, {"reset": True}, {"mid_row": True}], ids=["end", "reset", "amid a row"])
def test_a_connection_cut_amid_the_rows_writes_nothing(facade, made, way, run, cut):
    """Between two rows Microsoft's driver takes it for their end: trap 49."""
    connection = made.erp.connect() if way == "pyodbc" else None
    made.source = connection
    facade.database.fill("dbo.orders", FILL.format(first=1, day="2024-06-01"))
    if run == "increment":
        made.run()
        facade.database.fill("dbo.orders", FILL.format(first=ROWS + 1, day="2024-07-01"))
    # The questions before it are one row each; only the reading is this long.
    facade.faults.drop_after_rows(ROWS // 2, **cut)
    error = refused(made, SourceError)
    if way == "odbc" and cut == {}:
        assert isinstance(error, IncompleteReadError)
    facade.faults.clear()
    if connection is not None:
        connection.close()
        made.source = None
    made.run()
    assert made.rows("id") == made.erp.ask("SELECT id FROM dbo.orders ORDER BY id")


def test_a_deadlock_amid_the_rows_is_told_and_writes_nothing(facade, made):
    facade.database.fill("dbo.orders", FILL.format(first=1, day="2024-06-01"))
    facade.faults.fail_queries(1205, match="ROWCOUNT_BIG", after_rows=ROWS // 2)
    refused(made, QueryError, "deadlock", "run the load again")
    made.run()
    assert len(made.rows("id")) == ROWS + 1
