"""The source's tables: TPC-H orders and lineitem at scale factor 1, made once."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg
    from postgres import Server

VERSION = "1"
"""Raise it with any change below: what a cache holds is then made again."""

ORDERS = """
    o_orderkey bigint NOT NULL,
    o_custkey bigint NOT NULL,
    o_orderstatus char(1) NOT NULL,
    o_totalprice numeric(15,2) NOT NULL,
    o_orderdate date NOT NULL,
    o_orderpriority char(15) NOT NULL,
    o_clerk char(15) NOT NULL,
    o_shippriority integer NOT NULL,
    o_comment varchar(79) NOT NULL
"""
LINEITEM = """
    l_orderkey bigint NOT NULL,
    l_partkey bigint NOT NULL,
    l_suppkey bigint NOT NULL,
    l_linenumber integer NOT NULL,
    l_quantity numeric(15,2) NOT NULL,
    l_extendedprice numeric(15,2) NOT NULL,
    l_discount numeric(15,2) NOT NULL,
    l_tax numeric(15,2) NOT NULL,
    l_returnflag char(1) NOT NULL,
    l_linestatus char(1) NOT NULL,
    l_shipdate date NOT NULL,
    l_commitdate date NOT NULL,
    l_receiptdate date NOT NULL,
    l_shipinstruct char(25) NOT NULL,
    l_shipmode char(10) NOT NULL,
    l_comment varchar(44) NOT NULL
"""
# A time within the order's day that only its key decides, to the microsecond.
UPDATED_AT = "o_orderdate + (o_orderkey * 48271 % 86399999983) * interval '1 microsecond'"

NEW_ROWS = 1_500
LAST_KEY = 6_000_000
"""The highest o_orderkey at scale factor 1."""

_SUMS = {
    "bigint": "sum({0})",
    "integer": "sum({0})",
    "numeric": "sum({0})",
    "date": "sum({0} - date '1970-01-01')",
    "timestamp without time zone": "sum((extract(epoch FROM {0}) * 1000000)::bigint)",
    "character": "sum(octet_length({0}))",  # padding included, as the type has it
    "character varying": "sum(octet_length({0}))",
    "text": "sum(octet_length({0}))",
}


def ensure(server: Server, python: str = sys.executable) -> None:
    """Make the tables unless they are there.

    ``orders`` and ``lineitem`` (6,001,215 rows) are the full loads' sources, ``lineitem_quarter`` is the
    first quarter of the latter, ``orders_growing`` is what increments are read from.
    """
    with closing(server.connect("postgres")) as admin:
        names = {name for (name,) in admin.execute("SELECT datname FROM pg_database")}
        if "bench" in names and _version(server) != VERSION:
            admin.execute("DROP DATABASE bench WITH (FORCE)")
            names.remove("bench")
        if "bench" in names:
            return
        admin.execute("CREATE DATABASE bench TEMPLATE template0")
    print("making the source's tables: TPC-H orders and lineitem, scale factor 1", flush=True)
    with tempfile.TemporaryDirectory() as folder, closing(server.connect()) as connection:
        tpchgen = str(Path(python).with_name("tpchgen-cli"))
        arguments = ["csv", "-s", "1", "-T", "orders,lineitem", "-o", folder, "--quiet"]
        subprocess.run([tpchgen, *arguments], check=True)
        with connection.transaction():
            _fill(connection, Path(folder))
        connection.execute("VACUUM ANALYZE")
        connection.execute("INSERT INTO made VALUES (%s)", [VERSION])
        connection.execute("CHECKPOINT")


def _fill(connection: psycopg.Connection[tuple[Any, ...]], folder: Path) -> None:
    connection.execute(f"CREATE TEMPORARY TABLE plain_orders ({ORDERS}) ON COMMIT DROP")
    _copy(connection, "plain_orders", folder / "orders.csv")
    for table in ("orders", "orders_growing"):
        connection.execute(f"CREATE TABLE {table} ({ORDERS}, updated_at timestamp NOT NULL)")
        connection.execute(
            f"INSERT INTO {table} SELECT *, {UPDATED_AT} FROM plain_orders ORDER BY o_orderkey"
        )
        connection.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (o_orderkey)")
        connection.execute(f"CREATE INDEX ON {table} (updated_at)")
    connection.execute(f"CREATE TABLE lineitem ({LINEITEM})")
    _copy(connection, "lineitem", folder / "lineitem.csv")
    connection.execute(f"CREATE TABLE lineitem_quarter ({LINEITEM})")
    connection.execute(
        f"INSERT INTO lineitem_quarter SELECT * FROM lineitem WHERE l_orderkey <= {LAST_KEY // 4}"
    )
    for table in ("lineitem", "lineitem_quarter"):
        connection.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (l_orderkey, l_linenumber)")
    connection.execute("CREATE TABLE expected (table_name text PRIMARY KEY, facts text NOT NULL)")
    connection.execute("CREATE TABLE made (version text NOT NULL)")


def shrink(server: Server) -> None:
    """Take the new rows out of ``orders_growing``: 1,500,000 rows are left."""
    with closing(server.connect()) as connection:
        connection.execute(f"DELETE FROM orders_growing WHERE o_orderkey > {LAST_KEY}")
        connection.execute("VACUUM ANALYZE orders_growing")


def grow(server: Server) -> str:
    """Add 1,500 rows of one later day to ``orders_growing``; return the highest ``updated_at`` before."""
    with closing(server.connect()) as connection:
        (high,) = _one(connection, "SELECT max(updated_at)::text FROM orders_growing")
        connection.execute(
            f"INSERT INTO orders_growing SELECT o_orderkey + {LAST_KEY}, o_custkey, o_orderstatus, "
            "o_totalprice, date '1998-08-03', o_orderpriority, o_clerk, o_shippriority, o_comment, "
            "date '1998-08-03' + (o_orderkey * 48271 * 1000003 % 86399999983) * interval '1 microsecond' "
            f"FROM orders ORDER BY o_orderkey LIMIT {NEW_ROWS}"
        )
        connection.execute("VACUUM ANALYZE orders_growing")
        return str(high)


def change(server: Server) -> str:
    """Make ``orders_changed`` unless it is there: ``orders``, of which each fifteenth row was changed on one
    later day. Return the highest ``updated_at`` before."""
    later = "date '1998-08-03' + (o_orderkey * 48271 % 86399999983) * interval '1 microsecond'"
    with closing(server.connect()) as connection, connection.transaction():
        (high,) = _one(connection, "SELECT max(updated_at)::text FROM orders")
        if _one(connection, "SELECT to_regclass('public.orders_changed')::text") == (None,):
            connection.execute(f"CREATE TABLE orders_changed ({ORDERS}, updated_at timestamp NOT NULL)")
            connection.execute(
                "INSERT INTO orders_changed SELECT o_orderkey, o_custkey, o_orderstatus, "
                "o_totalprice + (n % 15 = 0)::int, o_orderdate, o_orderpriority, o_clerk, o_shippriority, "
                f"o_comment, CASE WHEN n % 15 = 0 THEN {later} ELSE updated_at END "
                "FROM (SELECT *, row_number() OVER (ORDER BY o_orderkey) n FROM orders) numbered"
            )
            connection.execute("ALTER TABLE orders_changed ADD PRIMARY KEY (o_orderkey)")
            connection.execute("CREATE INDEX ON orders_changed (updated_at)")
            connection.execute("ANALYZE orders_changed")
        return str(high)


def ensure_wide(server: Server) -> None:
    """Make ``wide`` unless it is there: 150,000 rows of 6 KB of text each, no two of them alike."""
    with closing(server.connect()) as connection, connection.transaction():
        if _one(connection, "SELECT to_regclass('public.wide')::text") == (None,):
            text = "repeat(md5(n::text || {0}), 64)"
            connection.execute(
                "CREATE TABLE wide (id bigint PRIMARY KEY, a text NOT NULL, b text NOT NULL, c text NOT NULL)"
            )
            connection.execute(
                f"INSERT INTO wide SELECT n, {', '.join(text.format(repr(name)) for name in 'abc')} "
                "FROM generate_series(1, 150000) n"
            )
            connection.execute("ANALYZE wide")


def expected(server: Server, table: str) -> dict[str, Any]:
    """What a copy of a table must show: its number of rows, its columns' types and their sums, as texts."""
    with closing(server.connect()) as connection:
        if table != "orders_growing":
            kept = connection.execute("SELECT facts FROM expected WHERE table_name = %s", [table]).fetchone()
            if kept:
                return dict(json.loads(kept[0]))
        columns = connection.execute(
            "SELECT column_name, data_type, numeric_precision, numeric_scale FROM information_schema.columns "
            "WHERE table_schema = 'public' AND table_name = %s ORDER BY ordinal_position",
            [table],
        ).fetchall()
        sums = ", ".join(_SUMS[kind].format(name) + "::text" for name, kind, _, _ in columns)
        (rows, *values) = _one(connection, f"SELECT count(*), {sums} FROM {table}")
        facts = {
            "rows": rows,
            "types": {
                name: f"numeric({precision},{scale})" if kind == "numeric" else kind
                for name, kind, precision, scale in columns
            },
            "sums": dict(zip([column[0] for column in columns], values, strict=True)),
        }
        if table != "orders_growing":
            connection.execute("INSERT INTO expected VALUES (%s, %s)", [table, json.dumps(facts)])
        return facts


def _version(server: Server) -> str | None:
    with closing(server.connect()) as connection:
        if _one(connection, "SELECT to_regclass('public.made')::text") == (None,):
            return None
        row = connection.execute("SELECT version FROM made").fetchone()
        return str(row[0]) if row else None


def _one(connection: psycopg.Connection[tuple[Any, ...]], sql: str) -> tuple[Any, ...]:
    row = connection.execute(sql).fetchone()
    if row is None:
        raise LookupError(sql)
    return row


def _copy(connection: psycopg.Connection[tuple[Any, ...]], table: str, path: Path) -> None:
    with (
        path.open("rb") as source,
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} FROM STDIN (FORMAT csv, HEADER)") as copy,
    ):
        while block := source.read(1 << 20):
            copy.write(block)
