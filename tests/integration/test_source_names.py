"""What a database holds, by its own catalog: for names that are being written."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from hwm_magics.connections.postgres import PostgresConnection
from hwm_magics.connections.secrets import Secret
from hwm_magics.connections.sql import DuckDbConnection
from hwm_magics.connections.sqlite import SqliteConnection
from hwm_magics.core.specs import ReadSpec
from hwm_magics.sources.factory import open_source


def test_postgres_tells_its_tables_and_their_columns(pg_database):
    with pg_database.connect() as connection:
        connection.execute('CREATE TABLE orders (id bigint, "Odd name" point, updated_at timestamptz)')
        connection.execute("CREATE SCHEMA erp")
        connection.execute("CREATE VIEW erp.late AS SELECT id FROM orders")
    shop = PostgresConnection(name="shop", url=Secret.of_address(pg_database.url))
    with open_source(shop, ReadSpec("shop")) as source:
        assert set(source.tables()) == {"orders", "erp.late"}
        assert source.table_columns("orders") == ("id", "Odd name", "updated_at")
        assert source.table_columns("erp.late") == ("id",)


def test_sqlite_tells_its_tables_and_those_of_attached_files(sqlite_path, tmp_path):
    with closing(sqlite3.connect(sqlite_path)) as shop, shop:
        shop.execute("CREATE TABLE orders (id INTEGER, anything, amount DECIMAL)")
    with closing(sqlite3.connect(tmp_path / "erp.db")) as erp, erp:
        erp.execute("CREATE TABLE items (id INTEGER)")
    both = SqliteConnection(name="shop", database=str(sqlite_path), attach={"dbo": str(tmp_path / "erp.db")})
    with open_source(both, ReadSpec("shop")) as source:
        assert set(source.tables()) == {"orders", "dbo.items"}
        assert source.table_columns("orders") == ("id", "anything", "amount")
        assert source.table_columns("dbo.items") == ("id",)


def test_duckdb_tells_its_tables_and_their_columns(tmp_path):
    import duckdb

    path = str(tmp_path / "shop.duckdb")
    with duckdb.connect(path) as made:
        made.execute("CREATE TABLE orders (id BIGINT, mood ENUM ('good', 'bad'))")
        made.execute("CREATE SCHEMA erp; CREATE VIEW erp.late AS SELECT id FROM orders")
    with open_source(DuckDbConnection(name="duck", database=path), ReadSpec("duck")) as source:
        assert set(source.tables()) == {"orders", "erp.late"}
        assert source.table_columns("orders") == ("id", "mood")
