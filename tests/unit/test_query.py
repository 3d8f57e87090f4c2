"""What is made of the user's SQL: how it says what is new, and the texts that result."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hwm_magics.core.cursor import CursorKind, CursorType
from hwm_magics.core.decided import Window
from hwm_magics.core.query import CursorExpression, Way, display, prepare
from hwm_magics.core.specs import CursorSpec, ReadSpec, WriteSpec
from hwm_magics.core.sql_reader import SqlReader
from hwm_magics.core.sql_text import everything
from hwm_magics.core.statement import Param, Statement
from hwm_magics.errors import ConfigError, QueryError

DIALECTS = ["postgres", "sqlite", "tsql", "mysql", "oracle", "duckdb"]
TIME = CursorType(CursorKind.TIMESTAMP, 6)
LOW, HIGH = TIME.value("2024-06-01"), TIME.value("2024-06-02")
WINDOW = Window(LOW, HIGH)
CURSOR = CursorSpec("updated_at")
TARGET = WriteSpec("lake", path="raw/orders", register_table="raw.orders")
SEED = """\
SELECT * FROM dbo.orders 
WHERE updated_at > (
  SELECT COALESCE(MAX(updated_at), '1900-01-01') 
  FROM raw.orders
)
"""  # noqa: W291 - the seed's own text


def prepared(dialect="postgres", write=TARGET, **given):
    return prepare(ReadSpec("source", **given), write, dialect)


def rows(query, *, first_run=False, window=WINDOW, **options):
    return display(query.rows(first_run=first_run, window=window, **options))


def test_a_table_is_read_directly():
    query = prepared(table="dbo.orders", cursor=CURSOR)
    assert query.way is Way.WINDOW
    assert query.base_table == '"dbo"."orders"'
    statement = query.rows(first_run=False, window=WINDOW)
    assert statement.parts == (
        'SELECT * FROM "dbo"."orders" WHERE "updated_at" >= ',
        Param("low", LOW),
        ' AND "updated_at" <= ',
        Param("high", HIGH),
    )


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        ("postgres", 'SELECT "id" FROM "dbo"."orders" WHERE COALESCE("updated_at", "b") > '),
        ("tsql", "SELECT [id] FROM [dbo].[orders] WHERE COALESCE([updated_at], [b]) > "),
        ("mysql", "SELECT `id` FROM `dbo`.`orders` WHERE COALESCE(`updated_at`, `b`) > "),
        ("oracle", 'SELECT "id" FROM "dbo"."orders" WHERE COALESCE("updated_at", "b") > '),
    ],
)
def test_columns_fallback_and_an_exclusive_bound(dialect, sql):
    cursor = CursorSpec("updated_at", fallback="b")
    query = prepared(dialect, table="dbo.orders", columns=("id",), cursor=cursor)
    statement = query.rows(first_run=False, window=Window(LOW, None, low_inclusive=False))
    assert statement.parts == (sql, Param("low", LOW))


@pytest.mark.parametrize(
    ("window", "nulls", "where"),
    [
        (None, False, ""),
        (None, True, ""),
        (Window(), True, ""),
        (Window(LOW, None), False, """ WHERE "updated_at" >= '2024-06-01 00:00:00'"""),
        (Window(None, HIGH), False, """ WHERE "updated_at" <= '2024-06-02 00:00:00'"""),
        (
            Window(None, HIGH),
            True,
            """ WHERE (("updated_at" <= '2024-06-02 00:00:00') OR "updated_at" IS NULL)""",
        ),
    ],
)
def test_bounds_that_are_open_are_left_out(window, nulls, where):
    query = prepared(table="t", cursor=CURSOR)
    assert rows(query, window=window, nulls=nulls) == f'SELECT * FROM "t"{where}'


def test_a_null_test_asks_the_column_and_not_its_iso_text():
    query = prepared(table="t", cursor=CursorSpec("c", date_format="%Y%m%d"))
    assert rows(query, window=Window(None, HIGH), nulls=True).endswith('OR "c" IS NULL)')


def test_projection_and_limit_zero():
    query = prepared(table="t", cursor=CURSOR)
    assert rows(query, projection=['"u"::text'], window=None) == 'SELECT "u"::text FROM "t"'
    assert rows(query, limit_zero=True) == 'SELECT * FROM "t" WHERE 1 = 0'
    plain = prepared(query="SELECT 1 AS a")
    assert rows(plain, window=None, projection=["a"]) == "SELECT a FROM (\nSELECT 1 AS a\n) AS hwm_rows"


def test_a_table_is_probed_directly_so_that_an_index_serves():
    query = prepared(table="t", cursor=CURSOR, columns=("id",))
    statement = query.probe(("MAX({cursor})", "COUNT(*)"), first_run=False, window=Window(LOW, None))
    assert statement.parts == (
        'SELECT MAX("updated_at"), COUNT(*) FROM "t" WHERE "updated_at" >= ',
        Param("low", LOW),
    )


def test_a_probe_for_the_cursor_needs_one():
    query = prepared(table="t")
    assert query.way is Way.PLAIN
    assert display(query.probe(("COUNT(*)",), first_run=False)) == 'SELECT COUNT(*) FROM "t"'
    with pytest.raises(ConfigError, match="no cursor"):
        query.probe(("MAX({cursor})",), first_run=False)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_query_stays_verbatim(dialect):
    text = "SELECT  a,\t'x;  --:nope %s ?' AS b -- why\n  FROM  t /* :watermark; {target} */ WHERE a<>1"
    assert rows(prepared(dialect, query=text), window=None) == text
    alias = "hwm_rows" if dialect == "oracle" else "AS hwm_rows"
    wrapped = rows(prepared(dialect, query=text, cursor=CursorSpec("a")), window=Window(LOW, None))
    assert wrapped.startswith(f"SELECT * FROM (\n{text}\n) {alias} WHERE ")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("SELECT a FROM t;", "SELECT a FROM t"),
        ("SELECT a FROM t ; ; -- end;", "SELECT a FROM t   -- end;"),
        (";WITH c AS (SELECT a FROM t) SELECT a FROM c;\n", "WITH c AS (SELECT a FROM t) SELECT a FROM c"),
    ],
)
def test_trap_43_semicolons_go(dialect, text, kept):
    assert rows(prepared(dialect, query=text), window=None) == kept


def test_t_sql_has_its_with_in_front_and_its_option_at_the_end():
    text = (
        "WITH a AS (SELECT id, u FROM t), b AS (SELECT * FROM a) -- two\n"
        "SELECT TOP 5 id, u FROM b WITH (NOLOCK) ORDER BY u OPTION (RECOMPILE);"
    )
    query = prepared("tsql", query=text, cursor=CursorSpec("u"))
    assert rows(query, window=Window(LOW, None)) == (
        "WITH a AS (SELECT id, u FROM t), b AS (SELECT * FROM a) -- two\n"
        "SELECT * FROM (\nSELECT TOP 5 id, u FROM b WITH (NOLOCK) ORDER BY u\n) AS hwm_rows "
        "WHERE [u] >= '2024-06-01 00:00:00'\nOPTION (RECOMPILE)"
    )
    assert rows(prepared("tsql", query=text), window=None) == text.rstrip(";")


def test_t_sql_with_before_a_select_in_brackets():
    text = "WITH a AS (SELECT 1 AS u) (SELECT u FROM a) UNION ALL (SELECT u FROM a)"
    assert rows(prepared("tsql", query=text, cursor=CursorSpec("u")), window=Window(LOW, None)).startswith(
        "WITH a AS (SELECT 1 AS u)\nSELECT * FROM (\n(SELECT u FROM a) UNION ALL (SELECT u FROM a)\n)"
    )


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("SELECT u FROM t ORDER BY u DESC, id -- last", "SELECT u FROM t  -- last"),
        (
            "SELECT u FROM t UNION ALL SELECT u FROM s ORDER BY 1;",
            "SELECT u FROM t UNION ALL SELECT u FROM s",
        ),
        (
            "SELECT u, ROW_NUMBER() OVER (ORDER BY u) AS n FROM t",
            "SELECT u, ROW_NUMBER() OVER (ORDER BY u) AS n FROM t",
        ),
    ],
)
def test_an_outer_order_by_goes(dialect, text, inside):
    query = prepared(dialect, query=text, cursor=CursorSpec("u"))
    assert rows(query, window=Window(LOW, None)).startswith(f"SELECT * FROM (\n{inside}\n)")


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("postgres", "SELECT u FROM t ORDER BY u LIMIT 5"),
        ("postgres", "SELECT DISTINCT ON (id) u FROM t ORDER BY id, u DESC"),
        ("tsql", "SELECT TOP 5 u FROM t ORDER BY u"),
        ("tsql", "SELECT u FROM t ORDER BY u OFFSET 5 ROWS FETCH NEXT 5 ROWS ONLY"),
        ("oracle", "SELECT u FROM t ORDER BY u FETCH FIRST 5 ROWS ONLY"),
        ("mysql", "SELECT u FROM t UNION SELECT u FROM s ORDER BY 1 LIMIT 5"),
    ],
)
def test_an_order_by_that_chooses_rows_stays(dialect, text):
    query = prepared(dialect, query=text, cursor=CursorSpec("u"))
    assert rows(query, window=Window(LOW, None)).startswith(f"SELECT * FROM (\n{text}\n)")


def test_a_where_is_bracketed_and_its_comment_ends():
    query = prepared(table="t", where="a = 1 OR b = 2", cursor=CURSOR)
    assert rows(query, window=Window(LOW, None)) == (
        """SELECT * FROM "t" WHERE (a = 1 OR b = 2) AND "updated_at" >= '2024-06-01 00:00:00'"""
    )
    query = prepared(query="SELECT * FROM t", where="a = 1; -- one")
    assert (
        rows(query, window=None) == "SELECT * FROM (\nSELECT * FROM t\n) AS hwm_rows WHERE (a = 1 -- one\n)"
    )


def test_the_query_wins_over_the_table():
    assert rows(prepared(table="dbo.orders", query="SELECT 1 AS a"), window=None) == "SELECT 1 AS a"


@pytest.mark.parametrize(
    ("dialect", "text", "table"),
    [
        ("postgres", "SELECT * FROM Sales.Orders o WHERE a = 1 ORDER BY a", '"sales"."orders"'),
        ("oracle", "SELECT id, u FROM sales.orders", '"SALES"."ORDERS"'),
        ("tsql", "SELECT * FROM [dbo].[Odd ]] one] WITH (NOLOCK)", "[dbo].[Odd ]] one]"),
        ("postgres", "SELECT * FROM t WHERE u > :watermark", '"t"'),
        ("tsql", SEED, "[dbo].[orders]"),
        ("postgres", "SELECT * FROM t, s", None),
        ("postgres", "SELECT * FROM t JOIN s ON t.a = s.a", None),
        ("postgres", "SELECT DISTINCT a FROM t", None),
        ("postgres", "SELECT a FROM t GROUP BY a", None),
        ("postgres", "SELECT MAX(a) FROM t", None),
        ("postgres", "SELECT a FROM t LIMIT 5", None),
        ("tsql", "SELECT TOP 5 a FROM t", None),
        ("postgres", "WITH t AS (SELECT 1 AS a) SELECT a FROM t", None),
        ("postgres", "SELECT a FROM t UNION SELECT a FROM s", None),
        ("postgres", "SELECT * FROM generate_series(1, 5)", None),
        ("postgres", "SELECT * FROM (SELECT * FROM t) AS x", None),
        ("postgres", "SELECT 1 AS a", None),
        ("postgres", "SELECT * FROM t TABLESAMPLE SYSTEM (1)", None),
    ],
)
def test_base_table(dialect, text, table):
    assert prepared(dialect, query=text, cursor=CursorSpec("u")).base_table == table


@pytest.mark.parametrize("dialect", [*DIALECTS, "snowflake", "spark"])
@pytest.mark.parametrize("text", ["SELECT * FROM a.B", " select *\n\tfrom  t ; ", "SELECT * FROM x_1.y.z;"])
def test_the_short_cut_reads_as_the_parser_does(dialect, text):
    short = everything(text, "read.query", dialect)
    assert short is not None
    assert short[0] == SqlReader(dialect, frozenset(), {}).query(text, "read.query")


@pytest.mark.parametrize(
    "text",
    ["SELECT * FROM t x", "SELECT * FROM t--", "SELECT * FROM [t]", "SELECT a FROM t", "SELECT * FROM 1t"],
)
def test_the_short_cut_is_for_nothing_else(text):
    assert everything(text, "read.query", "tsql") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 1; SELECT 2", "more than one statement"),
        ("SELECT 1; DROP TABLE t", "more than one statement"),
        ("DELETE FROM t", "is not a SELECT: it begins with DELETE"),
        ("EXEC sp_who", "is not a SELECT: it begins with EXEC"),
        ("(DELETE FROM t)", "begins with DELETE"),
        ("((", r"begins with \("),
        ("VALUES (1)", "begins with VALUES"),
        ("FROM t", "begins with FROM"),
        ("WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d", "holds DELETE: a source is only read"),
        ("SELECT * INTO s FROM t", "holds INTO"),
        ("SELECT a FROM t WHERE\n  a = = 1", "line 2, column 7, at '=': something is missing here"),
        ("SELECT a FROM t GROUP a", "line 1, column 23, at 'a': not expected here"),
        ("SELECT (1", r"line 1, column \d+.*expecting \)"),
        ("SELECT a,\n  'b FROM t", "line 2, column 3: a quoted text begins here and has no ' at its end"),
        ("SELECT 1 /* open", "a comment or a quoted text is not closed"),
        ("SELECT " + "(" * 500 + "1" + ")" * 500, "nested too deeply"),
    ],
)
def test_a_query_that_is_not_one_select(text, message):
    with pytest.raises(QueryError, match=message) as raised:
        prepared(query=text)
    assert "read.query" in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("a = 1) OR (1 = 1", "line 1, column 6, at '\\)'"),
        ("a = 1 ORDER BY a", "column 7, at 'ORDER BY'"),
        ("WHERE a = 1", "without the word WHERE"),
        ("a = 1; b = 2", "more than one"),
    ],
)
def test_a_where_that_is_no_condition(where, message):
    with pytest.raises(QueryError, match=message):
        prepared(table="t", where=where)


@pytest.mark.parametrize(
    "given",
    [
        {"query": ""},
        {"query": " ; "},
        {"query": "-- nothing"},
        {"table": "t", "where": ""},
        {"table": "t", "write": WriteSpec("l", path="p", first_run_query="  ")},
    ],
)
def test_an_empty_text(given):
    with pytest.raises(ConfigError, match="is empty"):
        prepared(**given)


def test_neither_table_nor_query():
    with pytest.raises(ConfigError, match="neither a table nor a query"):
        prepared()


def test_first_run_query_is_checked_too():
    with pytest.raises(QueryError, match=r"write\.first_run_query is not valid SQL"):
        prepared(table="t", write=WriteSpec("l", path="p", first_run_query="SELECT FROM WHERE"))


def test_a_name_or_date_format_that_can_not_be_used():
    with pytest.raises(ConfigError, match="is not a name"):
        prepared(table="t", cursor=CursorSpec(""))
    with pytest.raises(ConfigError, match="date_format"):
        prepared(table="t", cursor=CursorSpec("c", date_format="%x"))


def test_the_seed_query():
    write = WriteSpec(
        "adls", path="raw/orders", register_table="raw.orders", first_run_query="SELECT * FROM dbo.orders"
    )
    query = prepared("tsql", write, table="dbo.orders", query=SEED)
    assert query.way is Way.TARGET
    assert query.cursor == CursorExpression("updated_at")
    assert query.operator == ">"
    assert query.target_queries == ('SELECT MAX("updated_at") FROM "hwm_target"',)
    assert query.first_run_needs == ""
    statement = query.rows(first_run=False, values=(Param("target_1", LOW),))
    assert statement.parts == ("SELECT * FROM dbo.orders \nWHERE updated_at > ", Param("target_1", LOW))
    assert display(query.rows(first_run=True)) == "SELECT * FROM dbo.orders"


def test_without_first_run_query_the_literal_of_the_coalesce_is_the_value():
    query = prepared("tsql", query=SEED)
    assert query.first_run_values == (Param("target_1", "1900-01-01"),)
    assert query.first_run_needs == ""
    first = "SELECT * FROM dbo.orders \nWHERE updated_at > '1900-01-01'"
    assert display(query.rows(first_run=True)) == first
    assert display(query.rows(first_run=True, values=query.first_run_values)) == first
    # A target without a value in the column: the engine answers NULL.
    assert display(query.rows(first_run=False, values=(Param("target_1", None),))) == first
    # Nobody asked the target: the place stays open, and no literal passes for an answer.
    assert display(query.rows(first_run=False)).endswith("> :target_1")


@pytest.mark.parametrize(
    ("dialect", "expression", "asked", "fallback"),
    [
        ("tsql", "(SELECT MAX(u) FROM raw.orders)", 'MAX("u") FROM "hwm_target"', None),
        ("tsql", "(SELECT MAX([U]) FROM [RAW].[Orders])", 'MAX("U") FROM "hwm_target"', None),
        ("tsql", '(SELECT MAX(u) FROM "raw".orders WITH (NOLOCK))', 'MAX("u") FROM "hwm_target"', None),
        ("mysql", "(SELECT MAX(`u`) FROM `raw`.`orders`)", 'MAX("u") FROM "hwm_target"', None),
        ("postgres", "(SELECT MAX(Updated) FROM raw.orders)", 'MAX("updated") FROM "hwm_target"', None),
        ("oracle", "(SELECT MAX(u) FROM raw.orders)", 'MAX("U") FROM "hwm_target"', None),
        ("tsql", "(SELECT MAX(u) FROM {target})", 'MAX("u") FROM "hwm_target"', None),
        ("tsql", "(SELECT MAX(T.u) FROM {target} AS t)", 'MAX("t"."u") FROM "hwm_target" AS "t"', None),
        ("tsql", "(SELECT MAX(orders.u) FROM raw.orders)", 'MAX("u") FROM "hwm_target"', None),
        (
            "tsql",
            "(SELECT MAX(u) AS m FROM {target} WHERE region = 'EU' AND u < GETDATE())",
            'MAX("u") AS "m" FROM "hwm_target" WHERE "region" = \'EU\' AND "u" < CURRENT_TIMESTAMP',
            None,
        ),
        (
            "tsql",
            "(SELECT ISNULL(MAX(u), '19000101') FROM {target})",
            'MAX("u") FROM "hwm_target"',
            "19000101",
        ),
        (
            "tsql",
            "ISNULL((SELECT MAX(u) FROM {target}), N'19000101')",
            'MAX("u") FROM "hwm_target"',
            "19000101",
        ),
        (
            "oracle",
            "(SELECT NVL(MAX(u), DATE '1900-01-01') FROM {target})",
            'MAX("U") FROM "hwm_target"',
            "1900-01-01",
        ),
        ("sqlite", "(SELECT IFNULL(MAX(u), -1) FROM {target})", 'MAX("u") FROM "hwm_target"', -1),
        (
            "postgres",
            "coalesce((SELECT MAX(u) FROM {target}), 1.5)",
            'MAX("u") FROM "hwm_target"',
            Decimal("1.5"),
        ),
        (
            "tsql",
            "(SELECT CAST(ISNULL(MAX(u), '19000101') AS datetime2(7)) FROM {target})",
            'CAST(MAX("u") AS TIMESTAMP(6)) FROM "hwm_target"',
            "19000101",
        ),
        (
            "tsql",
            "(SELECT COALESCE(MAX(a), MAX(b), 0) FROM {target})",
            'COALESCE(MAX("a"), MAX("b")) FROM "hwm_target"',
            0,
        ),
        (
            "tsql",
            "(SELECT DATEADD(day, -3, MAX(u)) FROM {target})",
            'MAX("u") + INTERVAL \'-3 DAY\' FROM "hwm_target"',
            None,
        ),
        # A literal that is not the value for an empty target stays where it is.
        (
            "postgres",
            "(SELECT COALESCE(MAX(u), 0) FROM {target} GROUP BY r LIMIT 1)",
            'COALESCE(MAX("u"), 0) FROM "hwm_target" GROUP BY "r" LIMIT 1',
            None,
        ),
        (
            "postgres",
            "(SELECT COALESCE(u, 0) FROM {target} LIMIT 1)",
            'COALESCE("u", 0) FROM "hwm_target" LIMIT 1',
            None,
        ),
        (
            "postgres",
            "(SELECT MAX(m) FROM (SELECT MAX(u) AS m FROM {target} GROUP BY r) AS x)",
            'MAX("m") FROM (SELECT MAX("u") AS "m" FROM "hwm_target" GROUP BY "r") AS "x"',
            None,
        ),
        (
            "postgres",
            "(WITH x AS (SELECT u FROM {target}) SELECT MAX(u) FROM x)",
            'MAX("u") FROM "x"',
            None,
        ),
        (
            "postgres",
            "(SELECT MAX(u) FROM {target} WHERE d = (SELECT MAX(d) FROM {target}) AND r = :region)",
            'MAX("u") FROM "hwm_target" WHERE "d" = (SELECT MAX("d") FROM "hwm_target") AND "r" = \'O\'\'Neil\'',
            None,
        ),
        ("tsql", "(SELECT TOP 1 u FROM {target} ORDER BY u DESC)", "LIMIT 1", None),
    ],
)
def test_a_scalar_subquery_is_cut_out(dialect, expression, asked, fallback):
    text = f"SELECT * FROM src WHERE (u >= {expression}) -- end"
    query = prepared(dialect, query=text, params={"region": "O'Neil"})
    assert query.way is Way.TARGET
    assert query.operator == ">="
    assert len(query.target_queries) == 1
    assert asked in query.target_queries[0]
    statement = query.rows(first_run=False, values=(Param("target_1", 7),))
    assert statement.parts == ("SELECT * FROM src WHERE (u >= ", Param("target_1", 7), ") -- end")
    assert query.first_run_values == (() if fallback is None else (Param("target_1", fallback),))
    assert bool(query.first_run_needs) == (fallback is None)


def test_several_subqueries_also_in_a_with():
    text = """WITH new AS (
      SELECT * FROM src WHERE u > (SELECT MAX(u) FROM raw.orders) OR (SELECT MAX(u) FROM raw.orders) IS NULL
    ) SELECT * FROM new JOIN (SELECT 1 AS b) x ON 1 = 1 WHERE id > CAST((SELECT MAX(id) FROM {target}) AS INT) + 1"""
    query = prepared(query=text)
    assert query.target_queries == (
        'SELECT MAX("u") FROM "hwm_target"',
        'SELECT MAX("id") FROM "hwm_target"',
    )
    assert query.cursor is None  # two columns
    statement = query.rows(first_run=False, values=(Param("target_1", 1), Param("target_2", 2)))
    assert [param.value for param in statement.params] == [1, 1, 2]
    assert "WHERE u > 1 OR 1 IS NULL" in display(statement)
    assert "id > CAST(2 AS INT) + 1" in display(statement)


def test_equal_subqueries_with_other_literals_are_two():
    maximum = "(SELECT MAX(a) FROM {target})"
    text = f"SELECT * FROM s WHERE a > COALESCE({maximum}, 1) AND a > COALESCE({maximum}, 2)"
    query = prepared(query=text)
    assert query.first_run_values == (Param("target_1", 1), Param("target_2", 2))


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        ("u > (SELECT MAX(u) FROM {target})", ">"),
        ("u >= (SELECT MAX(u) FROM {target})", ">="),
        ("(SELECT MAX(u) FROM {target}) < u", ">"),
        ("(SELECT MAX(u) FROM {target}) <= u", ">="),
        ("u BETWEEN (SELECT MAX(u) FROM {target}) AND now()", ">="),
        ("u > (SELECT MAX(u) FROM {target}) - INTERVAL '1 day'", ">"),
        ("u = (SELECT MAX(u) FROM {target})", ""),
        ("NOT (u > (SELECT MAX(u) FROM {target}))", ""),
        ("u > now() - (SELECT MAX(u) FROM {target})", ""),
    ],
)
def test_the_operator_around_a_subquery(text, operator):
    assert prepared(query=f"SELECT * FROM s WHERE {text}").operator == operator


@pytest.mark.parametrize(
    ("select", "maximum", "cursor"),
    [
        ("*", "MAX(u)", CursorExpression("u")),
        ("id, u", "MAX(U)", CursorExpression("u")),
        ('id, x AS "U"', "MAX(u)", CursorExpression("U")),
        ("id", "MAX(u)", None),
        ("*", "MAX(COALESCE(u, c))", CursorExpression("u", "c")),
        ("u, c", "MAX(COALESCE(u, c))", CursorExpression("u", "c")),
        ("*", "MAX(u + 1)", None),
        ("*", "COUNT(*)", None),
    ],
)
def test_the_cursor_is_the_column_whose_max_is_asked(select, maximum, cursor):
    query = prepared(query=f"SELECT {select} FROM s WHERE u > (SELECT {maximum} FROM raw.orders)")
    assert query.cursor == cursor


def test_a_given_cursor_is_kept():
    query = prepared(query=SEED, cursor=CursorSpec("modified"))
    assert query.way is Way.TARGET
    assert query.cursor == CursorExpression("modified")


def test_the_target_in_a_where_around_a_table():
    query = prepared("tsql", table="dbo.orders", where="u > (SELECT MAX(u) FROM {target})")
    assert query.way is Way.TARGET
    assert query.cursor == CursorExpression("u")
    assert (
        rows(query, window=None, values=(Param("target_1", 5),))
        == "SELECT * FROM [dbo].[orders] WHERE (u > 5)"
    )


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (
            "SELECT s.* FROM s LEFT JOIN raw.orders o ON o.id = s.id WHERE o.id IS NULL",
            "raw.orders in a JOIN",
        ),
        ("SELECT * FROM s, {target}", r"\{target\} in a JOIN"),
        ("SELECT * FROM {target}", r"\{target\} in its FROM"),
        ("SELECT * FROM (SELECT * FROM raw.orders) x", "in its FROM"),
        ("WITH m AS (SELECT MAX(u) AS m FROM raw.orders) SELECT s.* FROM s, m WHERE u > m", "in a WITH"),
        ("SELECT * FROM s WHERE NOT EXISTS (SELECT 1 FROM raw.orders o WHERE o.id = s.id)", "in an EXISTS"),
        ("SELECT * FROM s WHERE id NOT IN (SELECT id FROM raw.orders)", "in an IN, ANY or ALL"),
        ("SELECT * FROM s WHERE u > ALL (SELECT u FROM raw.orders)", "in an IN, ANY or ALL"),
        (
            "SELECT * FROM s WHERE u > (SELECT MAX(o.u) FROM raw.orders o WHERE o.id = s.id)",
            r"in a correlated subquery \(it refers to s.id outside\)",
        ),
        (
            "SELECT * FROM s WHERE u > (SELECT MAX(o.u) FROM raw.orders o JOIN s ON o.id = s.id)",
            "in a subquery that reads s too",
        ),
        ("SELECT * FROM s WHERE u > (SELECT MAX(u) FROM raw.orders WHERE u < :high)", "holds :high"),
        ("SELECT * FROM s WHERE u > (SELECT u, id FROM raw.orders)", "it gives not one column"),
        (
            "SELECT * FROM s WHERE u > (SELECT MAX(u) FROM raw.orders UNION SELECT 1)",
            "a subquery that is not a plain SELECT",
        ),
    ],
)
def test_any_other_mention_of_the_target_is_refused(text, how):
    with pytest.raises(ConfigError, match=f"reads the target .*{how}") as raised:
        prepared(query=text)
    assert "SELECT MAX(updated_at) FROM" in raised.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "SELECT '{target}' AS a, 'raw.orders' AS b FROM s /* raw.orders {target} */ -- {target}",
        "SELECT * FROM other.raw.orders",
        "SELECT * FROM orders",
        'SELECT * FROM "raw.orders"',
        "SELECT raw.orders FROM raw",
    ],
)
def test_what_is_no_mention_of_the_target(text):
    assert prepared(query=text).way is Way.PLAIN


def test_a_cte_named_like_the_target_is_not_the_target():
    write = WriteSpec("l", path="p", register_table="orders")
    text = "WITH orders AS (SELECT * FROM s) SELECT * FROM s JOIN orders ON s.id = orders.id"
    assert prepared(query=text, write=write).way is Way.PLAIN
    with pytest.raises(ConfigError, match="in a JOIN"):
        prepared(query=text.replace("WITH orders", "WITH others"), write=write)


def test_a_source_table_named_like_the_target():
    write = WriteSpec("l", path="p", register_table="orders")
    assert prepared(query="SELECT * FROM orders o WHERE a = 1", write=write).way is Way.PLAIN
    query = prepared(query="SELECT * FROM orders WHERE u > (SELECT MAX(u) FROM orders)", write=write)
    assert query.way is Way.TARGET
    assert rows(query, window=None, values=(Param("target_1", 5),)) == "SELECT * FROM orders WHERE u > 5"
    with pytest.raises(ConfigError, match="in its FROM"):
        # Spark may see the target's own catalog: that would append a table to itself.
        prepared("spark", query="SELECT * FROM orders", write=write)


def test_first_run_query_may_read_the_target_too():
    write = WriteSpec(
        "l", path="p", first_run_query="SELECT * FROM s WHERE u > (SELECT COALESCE(MAX(u), 5) FROM {target})"
    )
    query = prepared(query="SELECT * FROM s", write=write)
    assert query.way is Way.PLAIN
    assert query.target_queries == ()
    assert rows(query, first_run=True, window=None) == "SELECT * FROM s WHERE u > 5"
    write = WriteSpec(
        "l", path="p", first_run_query="SELECT * FROM s WHERE u > (SELECT MAX(u) FROM {target})"
    )
    query = prepared(query="SELECT * FROM s", write=write)
    assert "write.first_run_query compares with a subquery" in query.first_run_needs
    write = WriteSpec("l", path="p", first_run_query="SELECT * FROM s JOIN {target} t ON 1 = 1")
    with pytest.raises(ConfigError, match=r"write\.first_run_query reads the target"):
        prepared(query="SELECT * FROM s", write=write)


def test_a_first_run_that_can_not_be_derived_is_not_read():
    query = prepared(query="SELECT * FROM s WHERE u > (SELECT MAX(u) FROM {target})")
    assert "no COALESCE" in query.first_run_needs
    with pytest.raises(ConfigError, match="no COALESCE") as raised:
        query.rows(first_run=True)
    assert "first_run_query" in raised.value.hint
    assert "> :target_1" in display(query.rows(first_run=True, limit_zero=True))


def test_target_sql_spells_names_like_the_target():
    query = prepared(
        query="""SELECT * FROM s WHERE u > (SELECT MAX(UpdatedAt) FROM {target} WHERE r = 'a"u"')"""
    )
    assert query.target_queries == ("""SELECT MAX("updatedat") FROM "hwm_target" WHERE "r" = 'a"u"'""",)
    assert query.target_sql(["UpdatedAt", "R"]) == (
        """SELECT MAX("UpdatedAt") FROM "hwm_target" WHERE "R" = 'a"u"'""",
    )
    assert query.target_sql(["updatedat", "r"], "spark") == (
        """SELECT MAX(`updatedat`) FROM `hwm_target` WHERE `r` = 'a"u"'""",
    )


def test_watermark_and_high_are_bound():
    text = "SELECT id, u FROM t WHERE u > :watermark AND u <= :high -- :watermark"
    query = prepared(query=text)
    assert query.way is Way.PARAMETERS
    assert query.cursor == CursorExpression("u")
    assert query.operator == ">"
    assert query.names_high
    assert query.rows(first_run=False, window=WINDOW).parts == (
        "SELECT id, u FROM t WHERE u > ",
        Param("watermark", LOW),
        " AND u <= ",
        Param("high", HIGH),
        " -- :watermark",
    )
    assert display(query.rows(first_run=False)) == text


def test_without_high_in_the_query_the_bound_goes_around_and_keeps_the_querys_nulls():
    query = prepared(query="SELECT * FROM t WHERE u > :low OR u IS NULL")
    assert not query.names_high
    assert rows(query) == (
        "SELECT * FROM (\nSELECT * FROM t WHERE u > '2024-06-01 00:00:00' OR u IS NULL\n) AS hwm_rows "
        """WHERE (("u" <= '2024-06-02 00:00:00') OR "u" IS NULL)"""
    )


@pytest.mark.parametrize(
    ("where", "probed"),
    [
        ("u > :watermark AND u <= :high", "u > 1 AND 1 = 1"),
        ("t.u <= :high AND u > :watermark", "1 = 1 AND u > 1"),
        ('(s."t".u <= :high) AND u > :watermark', "(1 = 1) AND u > 1"),
        ("u BETWEEN :watermark AND :high", "u >= 1"),
        ("(u BETWEEN :watermark AND :high)", "(u >= 1 )"),
        ("u >= :watermark AND u < :high", "u >= 1 AND 1 = 1"),
        ("u > :watermark AND u <= :high AND u <= :high", "u > 1 AND 1 = 1 AND 1 = 1"),
    ],
)
def test_a_probe_leaves_high_out(where, probed):
    low = CursorType(CursorKind.INTEGER).value(1)
    query = prepared(query=f"SELECT * FROM s.t WHERE {where}")
    told = display(query.probe(("MAX({cursor})",), first_run=False, window=Window(low, None)))
    body = f"SELECT * FROM s.t WHERE {probed}".rstrip()
    assert told == f'SELECT MAX("u") FROM (\n{body}\n) AS hwm_rows'
    assert rows(query, window=Window(low, None)) == body


@pytest.mark.parametrize(
    "where",
    [
        "u > :watermark AND u <= CAST(:high AS date)",
        "u > :watermark AND u - 1 <= :high",
        "u > :watermark AND u <= :high + 1",
        "u > :watermark AND u NOT BETWEEN 1 AND :high",
        "u > :watermark AND :high >= u",
    ],
)
def test_a_probe_that_can_not_leave_high_out_says_so(where):
    query = prepared(query=f"SELECT * FROM t WHERE {where}")
    with pytest.raises(ConfigError, match="uses :high in another way"):
        query.probe(("MAX({cursor})",), first_run=False, window=Window(LOW, None))
    query.probe(("COUNT(*)",), first_run=False, window=WINDOW)


@pytest.mark.parametrize(
    ("select", "where", "cursor"),
    [
        ("*", "updated_at > :watermark", CursorExpression("updated_at")),
        ("*", "UpdatedAt > :watermark", CursorExpression("updatedat")),
        ("*", '"UpdatedAt" >= :watermark', CursorExpression("UpdatedAt")),
        ("*", ":watermark < o.u", CursorExpression("u")),
        ("*", "u > CAST(:watermark AS timestamp) - INTERVAL '1 day'", CursorExpression("u")),
        ("*", "COALESCE(u, c) > :watermark", CursorExpression("u", "c")),
        ("id, u AS ts", "u > :watermark", CursorExpression("ts")),
        ("id, COALESCE(u, c) AS ts", "COALESCE(u, c) > :watermark", CursorExpression("ts")),
        ("o.u, p.u AS other", "p.u > :watermark", CursorExpression("other")),
        ("*", "u > :watermark OR (u = :watermark AND id > 5)", CursorExpression("u")),
    ],
)
def test_the_cursor_is_inferred_from_the_comparison(select, where, cursor):
    assert prepared(query=f"SELECT {select} FROM o WHERE {where}").cursor == cursor


@pytest.mark.parametrize(
    ("select", "where"),
    [
        ("id", "u > :watermark"),
        ("id, CAST(u AS date) AS d", "u > :watermark"),
        ("*", "f(u) > :watermark"),
        ("*", "u = :watermark"),
        ("*", "u > :watermark OR c > :watermark"),
    ],
)
def test_a_cursor_that_can_not_be_inferred(select, where):
    text = f"SELECT {select} FROM o WHERE {where}"
    with pytest.raises(ConfigError, match="can't be told which of its columns is the cursor"):
        prepared(query=text)
    assert prepared(query=text, cursor=CursorSpec("u")).cursor == CursorExpression("u")


def test_oracle_makes_upper_case_of_an_inferred_cursor():
    assert prepared("oracle", query="SELECT * FROM o WHERE u > :watermark").cursor == CursorExpression("U")


def test_bounds_that_leave_out_their_own_rows_are_refused():
    with pytest.raises(ConfigError, match="rows equal to a bound are never read"):
        prepared(query="SELECT * FROM t WHERE u > :watermark AND u < :high")


def test_high_without_watermark():
    query = prepared(query="SELECT * FROM t WHERE u <= :high", cursor=CursorSpec("u"))
    assert query.way is Way.WINDOW
    assert rows(query) == (
        "SELECT * FROM (\nSELECT * FROM t WHERE u <= '2024-06-02 00:00:00'\n) AS hwm_rows "
        """WHERE "u" >= '2024-06-01 00:00:00'"""
    )
    with pytest.raises(ConfigError, match="names :high, and there is no cursor"):
        prepared(query="SELECT * FROM t WHERE u <= :high")


def test_both_ways_at_once_are_refused():
    with pytest.raises(ConfigError, match="in one way"):
        prepared(query="SELECT * FROM t WHERE u > (SELECT MAX(u) FROM {target}) AND u > :watermark")


def test_other_parameters_take_their_values_from_params():
    query = prepared(
        query="SELECT * FROM t WHERE a = :a AND b IN (:b, :a) AND c = :none",
        where="d > :a",
        params={"a": "x'; DROP TABLE t; --", "b": 5, "none": None, "unused": 1},
    )
    assert query.way is Way.PLAIN
    statement = query.rows(first_run=False)
    assert [param.name for param in statement.params] == ["a", "b", "a", "none", "a"]
    assert "a = 'x''; DROP TABLE t; --' AND b IN (5, 'x''" in display(statement)
    assert "c = NULL" in display(statement)
    assert not any("DROP" in part for part in statement.parts if isinstance(part, str))


@pytest.mark.parametrize(
    ("text", "params", "hint"),
    [
        ("SELECT * FROM t WHERE a > :watermrk", {}, "did you mean :watermark?"),
        ("SELECT * FROM t WHERE a > :sinse", {"since": 1}, "did you mean :since?"),
        ("SELECT * FROM t\nWHERE a > :qqq", {}, "params: {qqq: …}"),
    ],
)
def test_a_parameter_without_a_value(text, params, hint):
    with pytest.raises(ConfigError, match=r"read\.query, line \d, column \d+: the parameter") as raised:
        prepared(query=text, params=params)
    assert hint in raised.value.hint


@pytest.mark.parametrize("name", ["watermark", "low", "high", "target_1"])
def test_names_that_are_taken(name):
    with pytest.raises(ConfigError, match=f":{name} is taken"):
        prepared(query=f"SELECT * FROM t WHERE a = :{name}", params={name: 1}, cursor=CURSOR)


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("postgres", "SELECT a::int, b::watermark, '12:00', TIME '12:00' FROM t"),
        ("postgres", "SELECT arr[1:n], arr[:n], arr[n:m] FROM t"),
        ("postgres", "SELECT * FROM t WHERE data ? 'k' AND data @> '{}' AND data #>> '{a}' = 'x'"),
        ("postgres", "SELECT $$it's :watermark$$, E'a\\'b:x', U&'x' FROM t"),
        ("postgres", "SELECT \":watermark\", 1 % 2, 'a%sb' FROM t"),
        ("duckdb", "SELECT {'key':v, 'other': w}, arr[1:n] FROM t"),
        ("snowflake", "SELECT v:watermark.b, v:a::int FROM t"),
        ("databricks", "SELECT v:a.b FROM t"),
        ("tsql", "SELECT @x, N':watermark', [a:b] FROM t WHERE a > @watermark"),
        ("mysql", 'SELECT @x, ":watermark", `:high` FROM t # :watermark\n'),
        ("oracle", "SELECT q'[it's :watermark]' AS a /*+ INDEX(:t) */ FROM t"),
    ],
)
def test_what_is_no_parameter(dialect, text):
    query = prepared(dialect, query=text)
    assert query.way is Way.PLAIN
    assert query.rows(first_run=False).parts == (text.rstrip(),)


def test_a_parameter_beside_brackets_and_casts():
    query = prepared(
        query="SELECT ARRAY[:a, :b], a::date FROM t WHERE x >:a AND (:b)::int = -:b", params={"a": 1, "b": 2}
    )
    assert [param.name for param in query.rows(first_run=False).params] == ["a", "b", "a", "b", "b"]


def test_a_question_mark_is_refused():
    with pytest.raises(ConfigError, match="holds a \\?"):
        prepared(query="SELECT * FROM t WHERE a = ?")


def test_a_first_run_of_a_query_with_watermark():
    text = "SELECT * FROM t WHERE u > :watermark"
    query = prepared(query=text)
    assert "read.query names :watermark" in query.first_run_needs
    with pytest.raises(ConfigError, match="there is no watermark"):
        query.rows(first_run=True, window=Window(None, HIGH))

    query = prepared(query=text, cursor=CursorSpec("u", initial_value="2020-01-01"))
    assert query.first_run_needs == ""
    assert "u > '2020-01-01'" in rows(query, first_run=True, window=Window(None, HIGH))
    assert "u > '2024-06-01 00:00:00'" in rows(query, first_run=True, window=WINDOW)

    query = prepared(query=text, write=WriteSpec("l", path="p", first_run_query="SELECT * FROM t"))
    assert query.first_run_needs == ""
    assert rows(query, first_run=True, window=Window(None, HIGH), nulls=True) == (
        """SELECT * FROM (\nSELECT * FROM t\n) AS hwm_rows WHERE (("u" <= '2024-06-02 00:00:00') OR "u" IS NULL)"""
    )


def test_a_query_that_says_itself_what_a_missing_watermark_means():
    query = prepared(query="SELECT * FROM t WHERE u > COALESCE(:watermark, DATE '1900-01-01')")
    assert query.first_run_needs == ""
    assert rows(query, first_run=True, window=None) == "SELECT * FROM t WHERE u > '1900-01-01'"
    assert "u > '2024-06-01 00:00:00'" in rows(query)
    query = prepared(query="SELECT * FROM t WHERE :watermark IS NULL OR u > :watermark")
    assert query.first_run_needs == ""
    assert query.rows(first_run=True).params == (Param("watermark", None),) * 2


def test_a_missing_watermark_is_never_bound_as_null_where_rows_are_read():
    query = prepared(query="SELECT * FROM t WHERE u > :watermark")
    with pytest.raises(ConfigError, match="no value"):
        query.rows(first_run=False, window=Window(None, HIGH))
    with pytest.raises(ConfigError, match="no value"):
        query.probe(("MAX({cursor})",), first_run=False)
    assert "u > :watermark" in display(query.rows(first_run=False, window=Window()))
    assert "1 = 0" in display(query.rows(first_run=False, window=Window(None, HIGH), limit_zero=True))


def test_a_probe_without_the_targets_answer_is_refused():
    query = prepared(query=SEED)
    with pytest.raises(ConfigError, match="the target was not asked"):
        query.probe(("COUNT(*)",), first_run=False)
    query.probe(("COUNT(*)",), first_run=False, values=(Param("target_1", None),))
    query.probe(("COUNT(*)",), first_run=True)


def test_watermark_in_a_where_around_a_table():
    query = prepared("tsql", table="dbo.orders", where="u > :watermark")
    assert query.way is Way.PARAMETERS
    assert query.cursor == CursorExpression("u")
    assert (
        rows(query, window=Window(LOW, None))
        == "SELECT * FROM [dbo].[orders] WHERE (u > '2024-06-01 00:00:00')"
    )


def test_columns_and_where_do_not_bend_first_run_query():
    write = WriteSpec("l", path="p", first_run_query="SELECT * FROM archive")
    query = prepared(table="t", where="a = 1", columns=("id",), cursor=CURSOR, write=write)
    assert rows(query, first_run=True, window=None) == "SELECT * FROM archive"


def test_display_writes_values_as_literals():
    rowversion = CursorType(CursorKind.ROWVERSION).value("07D1")
    instant = CursorType(CursorKind.TIMESTAMP_TZ).value("2024-06-01T12:00:00+02:00")
    values = ["a'; DROP TABLE x; --", 5, True, Decimal("1.50"), None, LOW, rowversion, instant]
    values += [CursorType(CursorKind.INTEGER).value(7), CursorType(CursorKind.TEXT).value("it's")]
    parts = [part for value in values for part in (" ", Param("p", value))]
    assert display(Statement(tuple(parts))) == (
        " 'a''; DROP TABLE x; --' 5 TRUE 1.50 NULL '2024-06-01 00:00:00' 0x00000000000007D1"
        " '2024-06-01 10:00:00+00:00' 7 'it''s'"
    )


@pytest.mark.parametrize("name", ["low", "high", "watermark", "target_3"])
def test_display_shows_an_open_bound_by_its_name(name):
    assert display(Statement(("u > ", Param(name, None)))) == f"u > :{name}"
