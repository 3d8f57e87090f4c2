"""Names in SQL: taken apart as a person writes them, and quoted so that they mean exactly that."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.core.query import CursorExpression, quote, table_parts
from hwm_magics.core.sql_names import fold, quote_table
from hwm_magics.errors import ConfigError

DIALECTS = ["postgres", "sqlite", "tsql", "mysql", "oracle", "duckdb", "snowflake", "databricks", "spark"]
ORACLE = """\
CASE WHEN "c" IS NULL THEN NULL ELSE (SUBSTR("c", 7, 4) || '-' || SUBSTR("c", 4, 2) || '-' || SUBSTR("c", 1, 2)) END"""
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("dialect", "quoted"),
    [
        ("postgres", '"a""b]`c"'),
        ("sqlite", '"a""b]`c"'),
        ("oracle", '"a""b]`c"'),
        ("duckdb", '"a""b]`c"'),
        ("tsql", '[a"b]]`c]'),
        ("mysql", '`a"b]``c`'),
        ("databricks", '`a"b]``c`'),
        ("spark", '`a"b]``c`'),
    ],
)
def test_quote_doubles_the_closing_quote(dialect, quoted):
    assert quote('a"b]`c', dialect) == quoted


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_quote_refuses_what_is_no_name(name):
    with pytest.raises(ConfigError, match="is not a name"):
        quote(name, "postgres")


@pytest.mark.parametrize(
    ("dialect", "written", "parts"),
    [
        ("postgres", "orders", ("orders",)),
        ("postgres", "dbo.Orders", ("dbo", "Orders")),
        ("postgres", "a.b.c", ("a", "b", "c")),
        ("postgres", '"Mixed"."Case"', ("Mixed", "Case")),
        ("postgres", '"with.dot"."a""b"', ("with.dot", 'a"b')),
        ("postgres", "[dbo].[x]", ("[dbo]", "[x]")),
        ("postgres", " dbo . orders ", ("dbo", "orders")),
        ("postgres", "odd name", ("odd name",)),
        ("tsql", "[dbo].[odd ]] name]", ("dbo", "odd ] name")),
        ("tsql", "sales..[or.ders]", ("sales", "", "or.ders")),
        ("tsql", '"dbo".orders', ("dbo", "orders")),
        ("mysql", "`a``b`.c", ("a`b", "c")),
        ("sqlite", '[a].`b`."c"', ("a", "b", "c")),
        ("oracle", "dbo.orders", ("dbo", "orders")),
    ],
)
def test_table_parts(dialect, written, parts):
    assert table_parts(written, dialect) == parts


@pytest.mark.parametrize(
    ("dialect", "written"),
    [
        ("postgres", ""),
        ("postgres", "a."),
        ("postgres", ".a"),
        ("postgres", "a..b"),
        ("postgres", '"a'),
        ("postgres", '"a"b'),
        ("postgres", '""'),
        ("postgres", "a\0b"),
        ("tsql", "[a]]"),
        ("mysql", "`a`b.c"),
    ],
)
def test_table_parts_refuses_what_is_no_name(dialect, written):
    with pytest.raises(ConfigError, match="name"):
        table_parts(written, dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(parts=st.lists(NAMES, min_size=1, max_size=3).map(tuple))
def test_a_quoted_name_comes_apart_as_it_was(dialect, parts):
    assert table_parts(quote_table(parts, dialect), dialect) == parts


@pytest.mark.slow
@given(name=NAMES)
def test_sqlite_and_duckdb_read_a_quoted_name_as_one_column(name):
    lite = sqlite3.connect(":memory:").execute(f"SELECT 1 AS {quote(name, 'sqlite')}")
    assert lite.description[0][0] == name
    duck = duckdb.connect().execute(f"SELECT 1 AS {quote(name, 'duckdb')}")
    assert duck.description[0][0] == name


def test_fold_is_what_the_database_makes_of_a_bare_name():
    assert fold("UpdatedAt", "postgres") == "updatedat"
    assert fold("UpdatedAt", "oracle") == "UPDATEDAT"
    assert fold("UpdatedAt", "tsql") == "UpdatedAt"


def test_trap_44_a_cursor_column_is_always_quoted():
    cursor = CursorExpression("UpdatedAt", "ID")
    assert cursor.sql("postgres") == 'COALESCE("UpdatedAt", "ID")'
    assert cursor.sql("tsql") == "COALESCE([UpdatedAt], [ID])"
    assert cursor.label == "COALESCE(UpdatedAt, ID)"
    assert CursorExpression("UpdatedAt").label == "UpdatedAt"


@pytest.mark.parametrize(
    ("date_format", "text", "iso"),
    [
        ("%d.%m.%Y", "31.12.2024", "2024-12-31"),
        ("%d.%m.%Y %H:%M:%S", "31.12.2024 23:59:01", "2024-12-31 23:59:01"),
        ("%Y%m%d%H%M%S%f", "20241231235901123456", "2024-12-31 23:59:01.123456"),
        ("%m/%d/%Y %H%%", "12/31/2024 23%", "2024-12-31 23:00"),
        ("%Y-%m-%dT%H:%M", "2024-12-31T23:59", "2024-12-31 23:59"),
    ],
)
@pytest.mark.parametrize("dialect", ["sqlite", "duckdb"])
def test_date_format_makes_iso_text(dialect, date_format, text, iso):
    sql = (
        f"SELECT {CursorExpression('c', 'd', date_format).sql(dialect)} FROM (SELECT NULL AS c, ? AS d) AS t"
    )
    connection = sqlite3.connect(":memory:") if dialect == "sqlite" else duckdb.connect()
    assert connection.execute(sql, [text]).fetchall() == [(iso,)]
    assert connection.execute(sql, [None]).fetchall() == [(None,)]


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        (
            "postgres",
            """(SUBSTRING("c", 7, 4) || '-' || SUBSTRING("c", 4, 2) || '-' || SUBSTRING("c", 1, 2))""",
        ),
        ("tsql", "(SUBSTRING([c], 7, 4) + '-' + SUBSTRING([c], 4, 2) + '-' + SUBSTRING([c], 1, 2))"),
        ("mysql", "CONCAT(SUBSTRING(`c`, 7, 4), '-', SUBSTRING(`c`, 4, 2), '-', SUBSTRING(`c`, 1, 2))"),
        (
            "oracle",
            ORACLE,
        ),
    ],
)
def test_date_format_in_the_spelling_of_a_dialect(dialect, sql):
    assert CursorExpression("c", None, "%d.%m.%Y").sql(dialect) == sql


@pytest.mark.parametrize(
    ("date_format", "message"),
    [
        ("%d.%m.%y", "%y, whose values have no fixed width"),
        ("%d %b %Y", "%b"),
        ("%Y-%m-%d %I:%M %p", "%I"),
        ("%Y-%m", "lacks %d"),
        ("%Y-%m-%d %S", "lacks %M"),
        ("%Y-%m-%d %d", "twice"),
        ("%Y-%m-%d %", "holds %"),
    ],
)
def test_date_format_refuses_what_does_not_order_as_text(date_format, message):
    with pytest.raises(ConfigError, match=message):
        CursorExpression("c", None, date_format).sql("postgres")


def test_iso_parts_are_slices_counted_from_0():
    assert CursorExpression("c", None, "%d.%m.%Y %H").iso_parts() == (
        (6, 4),
        "-",
        (3, 2),
        "-",
        (0, 2),
        " ",
        (11, 2),
        ":",
        "00",
    )
    assert CursorExpression("c").iso_parts() == ()


PLAIN_TABLE = """
from hwm_magics.core.decided import Window
from hwm_magics.core.query import display, prepare
from hwm_magics.core.specs import CursorSpec, ReadSpec, WriteSpec
write = WriteSpec("l", path="p", register_table="raw.orders", first_run_query="SELECT * FROM dbo.orders")
query = prepare(ReadSpec("c", table="dbo.orders", cursor=CursorSpec("u")), write, "tsql")
display(query.rows(first_run=False, window=Window()))
"""


@pytest.mark.parametrize(
    "code", ["import hwm_magics.core.decided", "import hwm_magics.core.query", PLAIN_TABLE]
)
def test_a_plain_table_needs_no_sqlglot(code):
    script = f"{code}\nimport sys\nassert 'sqlglot' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
