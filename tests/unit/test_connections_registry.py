"""Names and what they stand for; the notebook's own objects among them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from hwm_magics.connections import secrets
from hwm_magics.connections.local import LocalConnection
from hwm_magics.connections.objects import ObjectConnection, recognise
from hwm_magics.connections.registry import Connections, UnusableConnection
from hwm_magics.connections.secrets import Secret
from hwm_magics.connections.sql import SqlConnection
from hwm_magics.connections.sqlite import SqliteConnection
from hwm_magics.errors import ConfigError


@pytest.fixture(autouse=True)
def _secrets_of_its_own():
    """A test must not pass because another one made its secret known, nor mask what another one looks for."""
    kept = secrets._known.copy()
    secrets._known.clear()
    yield
    secrets._known.clear()
    secrets._known.update(kept)


LAKE = LocalConnection(name="lake", root="/lake")
SHOP = SqliteConnection(name="shop", database="/shop.db")


def made_in(module: str, name: str = "Connection", base: type = object) -> object:
    """An object whose class claims to come from a library that is not imported."""
    return type(name, (base,), {"__module__": module})()


class TestNames:
    def test_of_the_session_win_over_the_projects(self):
        connections = Connections({"lake": LAKE, "shop": SHOP})
        other = LocalConnection(name="lake", root="/other")
        connections.add(other)
        assert connections.get("lake") is other
        connections.remove("lake")
        connections.remove("lake")
        assert connections.get("lake") is LAKE

    def test_are_listed_in_order(self):
        connections = Connections({"shop": SHOP, "lake": LAKE})
        assert connections.names == ("lake", "shop")
        assert list(connections) == [LAKE, SHOP]
        assert "lake" in connections
        assert "x" not in connections
        assert 5 not in connections

    def test_that_are_unknown_are_refused_with_a_near_miss_and_the_known_ones(self):
        with pytest.raises(ConfigError) as caught:
            Connections({"lake": LAKE, "shop": SHOP}).get("shopp")
        assert str(caught.value) == (
            "there is no connection named 'shopp': did you mean 'shop'?\n  → known: lake, shop"
        )

    def test_that_are_unknown_where_there_are_none_say_how_to_add_one(self):
        with pytest.raises(ConfigError, match="no connection named 'x'") as caught:
            Connections().get("x")
        assert "%%hwm_connections" in str(caught.value)

    def test_of_the_wrong_family_are_refused(self):
        connections = Connections({"lake": LAKE, "shop": SHOP})
        assert connections.database("shop") is SHOP
        assert connections.storage("lake") is LAKE
        with pytest.raises(ConfigError, match=r"read\.connection must be a database") as caught:
            connections.database("lake")
        assert caught.value.hint == "known: shop"
        with pytest.raises(ConfigError, match=r"write\.connection must be storage") as caught:
            connections.storage("shop")
        assert caught.value.hint == "known: lake"
        with pytest.raises(ConfigError) as caught:
            Connections({"shop": SHOP}).storage("shop")
        assert "root: ./lake" in caught.value.hint

    def test_that_can_not_be_used_fail_when_they_are(self):
        error = ConfigError("no")
        connections = Connections({"x": UnusableConnection(name="x", error=error)})
        assert "x" in connections
        with pytest.raises(ConfigError) as caught:
            connections.get("x")
        assert caught.value is error
        assert connections.describe() == (
            {"name": "x", "type": "unusable", "origin": "hwm.yaml", "problem": "no"},
        )

    def test_are_described_with_where_they_come_from(self):
        connections = Connections({"lake": LAKE})
        connections.add(SqlConnection(name="db", url=Secret.of_address("mysql://u:planted@h/d")))
        assert connections.describe() == (
            {"name": "db", "type": "sql", "url": "mysql://u:***@h/d", "origin": "this session"},
            {"name": "lake", "type": "local", "root": "/lake", "origin": "hwm.yaml"},
        )


class TestObjects:
    @pytest.mark.parametrize(
        ("module", "name", "kind", "dialect"),
        [
            ("pyodbc", "Connection", "pyodbc", ""),
            ("adbc_driver_manager.dbapi", "Connection", "adbc", ""),
            ("psycopg", "Connection", "dbapi", "postgres"),
            ("psycopg2.extensions", "connection", "dbapi", "postgres"),
            ("duckdb", "DuckDBPyConnection", "duckdb", "duckdb"),
            ("_duckdb", "DuckDBPyConnection", "duckdb", "duckdb"),
            ("mssql_python.connection", "Connection", "dbapi", "tsql"),
            ("oracledb.connection", "Connection", "dbapi", "oracle"),
            ("pymysql.connections", "Connection", "dbapi", "mysql"),
            ("pyspark.sql.session", "SparkSession", "spark", "spark"),
            ("pyspark.sql.connect.session", "SparkSession", "spark", "spark"),
            ("sqlalchemy.engine.base", "Engine", "sqlalchemy", ""),
        ],
    )
    def test_are_known_by_where_their_class_comes_from(self, module, name, kind, dialect):
        found = recognise("x", made_in(module, name))
        assert (found.name, found.kind, found.dialect) == ("x", kind, dialect)

    def test_of_a_subclass_are_known_too(self):
        base = type("Connection", (), {"__module__": "pyodbc"})
        assert recognise("x", made_in("__main__", "Mine", base)).kind == "pyodbc"

    @pytest.mark.parametrize(
        "value",
        [
            None,
            5,
            "sql_server",
            object(),
            made_in("pyodbc", "Cursor"),
            made_in("pyodbcx"),
            made_in("pandas", "DataFrame"),
        ],
    )
    def test_of_any_other_kind_are_none(self, value):
        assert recognise("x", value) is None

    def test_a_sqlite_connection_serves(self):
        connection = sqlite3.connect(":memory:")
        try:
            found = Connections(lookup={"db": connection}.__getitem__).database("db")
            assert isinstance(found, ObjectConnection)
            assert (found.obj, found.kind, found.dialect) == (connection, "sqlite3", "sqlite")
        finally:
            connection.close()

    def test_an_engine_of_sqlalchemy_serves_and_does_not_show(self):
        sqlalchemy = pytest.importorskip("sqlalchemy")
        engine = sqlalchemy.create_engine("sqlite:///planted-secret.db")
        found = recognise("engine", engine)
        assert (found.kind, found.dialect) == ("sqlalchemy", "sqlite")
        assert "planted-secret" not in repr(found)
        assert found.describe() == {
            "name": "engine",
            "type": "object",
            "kind": "sqlalchemy",
            "dialect": "sqlite",
        }

    def test_a_connection_of_adbc_serves(self):
        dbapi = pytest.importorskip("adbc_driver_sqlite.dbapi")
        with dbapi.connect() as connection:
            assert recognise("x", connection).kind == "adbc"

    def test_a_name_of_the_project_wins_over_a_variable(self):
        connections = Connections({"shop": SHOP}, lookup={"shop": made_in("pyodbc")}.__getitem__)
        assert connections.get("shop") is SHOP

    def test_a_variable_of_another_kind_is_named(self):
        with pytest.raises(ConfigError, match="the variable 'df' is a dict, which is no connection"):
            Connections(lookup={"df": {}}.__getitem__).get("df")

    def test_a_variable_is_nothing_to_write_to(self):
        with pytest.raises(ConfigError, match="must be storage"):
            Connections(lookup={"db": made_in("pyodbc")}.__getitem__).storage("db")

    def test_no_library_is_imported_to_know_them(self):
        code = (
            "import sys\nfrom hwm_magics.connections.registry import Connections\n"
            "cls = type('SparkSession', (), {'__module__': 'pyspark.sql.session'})\n"
            "Connections(lookup={'s': cls()}.__getitem__).get('s')\n"
            "heavy = {'pyspark', 'sqlalchemy', 'pyodbc', 'sqlite3', 'keyring', 'yaml', 'pydantic'} & set(sys.modules)\n"
            "sys.exit(str(heavy) if heavy else 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
