"""The ways to read MariaDB: connections of ours, and the notebook's own."""

from __future__ import annotations

import contextlib

import sqlalchemy
from mariadb_server import DRIVER
from servers import require_odbc_driver

from hwm_magics.connections.objects import recognise
from hwm_magics.connections.odbc import OdbcConnection
from hwm_magics.connections.secrets import Secret
from hwm_magics.connections.sql import MySqlConnection, SqlConnection
from hwm_magics.sources.factory import open_source

WAYS = ["pymysql", "odbc rows", "sqlalchemy", "engine", "pymysql object", "dict cursors", "plain odbc"]


@contextlib.contextmanager
def to_maria(way, maria):
    """Opens sources on the database by one of the ways."""
    with contextlib.ExitStack() as stack:
        if way == "pymysql":
            given = ours(maria)
        elif way == "odbc rows":
            require_odbc_driver(DRIVER)
            given = ours(maria, driver=DRIVER)
        elif way == "sqlalchemy":
            given = SqlConnection(name="shop", url=Secret.of_address(maria.url()))
        elif way == "plain odbc":
            require_odbc_driver(DRIVER)
            given = OdbcConnection(name="shop", connection_string=Secret.of_address(maria.odbc))
        elif way == "engine":
            options = {"init_command": "SET time_zone = '+00:00'"}
            engine = sqlalchemy.create_engine(maria.url(), connect_args=options)
            stack.callback(engine.dispose)
            given = recognise("shop", engine)
        else:
            import pymysql

            cursors = {"cursorclass": pymysql.cursors.DictCursor} if way == "dict cursors" else {}
            raw = maria.connect(init_command="SET time_zone = '+00:00'", autocommit=False, **cursors)
            given = recognise("shop", stack.enter_context(contextlib.closing(raw)))
        yield lambda read: open_source(given, read)


def ours(maria, **changes):
    settings = {key: value for key, value in maria.settings.items() if key != "type"}
    return MySqlConnection(name="shop", **{**settings, "password": Secret(maria.password), **changes})
