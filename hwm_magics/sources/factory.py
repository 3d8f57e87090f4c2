"""The source behind a connection. Each way of reading is imported when it is first used."""

from __future__ import annotations

import threading
from functools import partial

from hwm_magics.connections.base import DatabaseConnection
from hwm_magics.connections.jdbc import jdbc_address
from hwm_magics.connections.objects import ObjectConnection
from hwm_magics.connections.odbc import OdbcConnection
from hwm_magics.connections.postgres import PostgresConnection
from hwm_magics.connections.spark import SparkConnection
from hwm_magics.connections.sql import (
    OTHER_DRIVERS,
    DuckDbConnection,
    MySqlConnection,
    OracleConnection,
    SqlConnection,
)
from hwm_magics.connections.sql_server import SqlServerConnection
from hwm_magics.connections.sqlite import SqliteConnection
from hwm_magics.core.specs import ReadSpec
from hwm_magics.errors import ConfigError
from hwm_magics.sources.sql import Driver, SqlSource

__all__ = ["open_source"]

_FORMATS = {
    "sql_server": "tsql",
    "mssql": "tsql",
    "postgres": "postgres",
    "postgresql": "postgres",
    "mysql": "mysql",
    "sqlite": "sqlite",
    "oracle": "oracle",
    "duckdb": "duckdb",
}

_IN_USE: dict[int, threading.RLock] = {}
"""One lock for each object of a notebook that serves as a connection, by its id."""


def open_source(connection: DatabaseConnection | ObjectConnection, read: ReadSpec) -> SqlSource:
    """Connect to a source.

    Two loads that read through one connection of the notebook would disturb each other: the second waits
    here until the first one's source is closed.

    Args:
        connection: The connection. An object of the notebook stays open when the source is closed.
        read: What will be read; its format names the dialect where the connection can't.

    Raises:
        LoginError, SourceConnectionError: It can't be reached, or refuses the user.
        EngineNotInstalledError: The driver is not installed.
        ConfigError: The connection is nothing to read from.
    """
    given = connection if isinstance(connection, ObjectConnection) else None
    ours = isinstance(connection, SparkConnection) or (given is not None and given.kind == "spark")
    alone = None if given is None or given.shared else _IN_USE.setdefault(id(given.obj), threading.RLock())
    if alone is not None:
        alone.acquire()
    try:
        driver = _driver(connection, read)
    except BaseException:
        if alone is not None:
            alone.release()
        raise
    done = alone.release if alone is not None else None
    again = partial(open_source, connection, read) if _is_many(connection) else None
    return SqlSource(
        driver, read, connection.timezone, jdbc_address(connection), of_spark=ours, done=done, again=again
    )


def _is_many(connection: DatabaseConnection | ObjectConnection) -> bool:
    """Whether a second connection leads to the same database: not a variable's one, nor what is in memory."""
    if isinstance(connection, ObjectConnection | SparkConnection):
        return False
    if isinstance(connection, SqliteConnection | DuckDbConnection):
        return connection.database != ":memory:"
    if isinstance(connection, SqlConnection) and connection.dialect in ("sqlite", "duckdb"):
        address = connection.url.reveal().lower()
        return "memory" not in address and not address.endswith(":") and not address.endswith("//")
    return True


def _driver(connection: DatabaseConnection | ObjectConnection, read: ReadSpec) -> Driver:
    told = _FORMATS.get(read.format, "")
    if isinstance(connection, ObjectConnection):
        return _driver_of_object(connection, told)
    if isinstance(connection, PostgresConnection):
        from hwm_magics.sources import sql_adbc_postgres

        return sql_adbc_postgres.connect(connection.uri().reveal(), connection.timezone)
    if isinstance(connection, SqliteConnection):
        from hwm_magics.sources import sql_adbc_sqlite

        return sql_adbc_sqlite.connect(connection.database, connection.attach)
    if isinstance(connection, SqlServerConnection):
        from hwm_magics.sources import sql_odbc
        from hwm_magics.sources.odbc_drivers import sql_server_driver

        string = connection.odbc(None if connection.names_driver else sql_server_driver())
        token = connection.token()
        if token is not None:
            return sql_odbc.connect_with_token(string, token)
        return sql_odbc.connect(string, "tsql", _text_size(read), connection.timezone)
    if isinstance(connection, OdbcConnection):
        from hwm_magics.sources import sql_odbc

        dialect = connection.dialect or told
        return sql_odbc.connect(connection.odbc(), dialect, _text_size(read), connection.timezone)
    if isinstance(connection, DuckDbConnection):
        from hwm_magics.sources import sql_duckdb

        return sql_duckdb.connect(connection.database, connection.revealed_options())
    if isinstance(connection, SqlConnection) and _is_plain_postgres(connection):
        # SQLAlchemy's own default driver for such a URL is seldom installed, and ADBC is faster anyway.
        from hwm_magics.sources import sql_adbc_postgres

        return sql_adbc_postgres.connect(connection.url.reveal(), connection.timezone)
    if isinstance(connection, MySqlConnection) and connection.driver not in OTHER_DRIVERS:
        from hwm_magics.sources import sql_mysql

        return sql_mysql.connect(connection, _text_size(read))
    if isinstance(connection, SqlConnection | MySqlConnection | OracleConnection):
        from hwm_magics.sources import sql_sqlalchemy

        arguments = connection.revealed_options() if isinstance(connection, SqlConnection) else {}
        return sql_sqlalchemy.connect(connection.sqlalchemy_url(), arguments, connection.timezone)
    if isinstance(connection, SparkConnection):
        from hwm_magics.sources import sql_spark
        from hwm_magics.spark import session

        return sql_spark.of_object(session.active() or session.build())
    raise ConfigError(
        f"the connection {connection.name!r} ({connection.type}) is no database to read from",
        hint="name a database under read.connection",
    )


def _text_size(read: ReadSpec) -> int | None:
    given = read.options.get("max_text_size")
    if given is None:
        return None
    if isinstance(given, bool) or not str(given).isdigit() or not int(str(given)):
        raise ConfigError(
            f"read.options.max_text_size: {given!r} is no number of characters",
            hint="write one, such as 1000000",
        )
    return int(str(given))


def _is_plain_postgres(connection: SqlConnection) -> bool:
    scheme = connection.url.masked.partition("://")[0].lower()
    return scheme in ("postgresql", "postgres") and not connection.options


def _driver_of_object(connection: ObjectConnection, told: str) -> Driver:
    kind, given = connection.kind, connection.obj
    dialect = connection.dialect or told
    if kind == "sqlalchemy":
        from hwm_magics.sources import sql_sqlalchemy

        return sql_sqlalchemy.of_object(given, connection.name)
    if kind == "adbc":
        from hwm_magics.sources import sql_adbc_object

        return sql_adbc_object.of_object(given, connection.name, connection.timezone)
    if kind == "spark":
        from hwm_magics.sources import sql_spark

        return sql_spark.of_object(given)
    if kind == "duckdb":
        from hwm_magics.sources import sql_duckdb

        return sql_duckdb.of_object(given, connection.name)
    if kind in ("sqlite3", "pyodbc", "dbapi"):
        from hwm_magics.sources import sql_dbapi

        return sql_dbapi.of_object(given, connection.name, dialect)
    raise ConfigError(
        f"the variable {connection.name!r} ({kind}) is no database to read from",
        hint="use a SQLAlchemy engine, a connection of ADBC, pyodbc, sqlite3, psycopg or DuckDB, or a SparkSession",
    )
