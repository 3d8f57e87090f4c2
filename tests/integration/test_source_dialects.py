"""Databases that no server runs here for: what is sent to them; and DuckDB, which runs in the process."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from integration.test_source_ways import observed, read_all

from hwm_magics.connections.objects import recognise
from hwm_magics.connections.sql import DuckDbConnection
from hwm_magics.core.cursor import CursorKind, CursorType, TextForm
from hwm_magics.core.decided import Window
from hwm_magics.core.observed import Column
from hwm_magics.core.specs import CursorSpec, ReadSpec
from hwm_magics.core.statement import Param, Statement
from hwm_magics.errors import CursorColumnError, QueryError, SourceConnectionError
from hwm_magics.sources.descriptions import described
from hwm_magics.sources.dialects import dialect_of
from hwm_magics.sources.dialects.tsql import described as tsql_described
from hwm_magics.sources.dialects.tsql import with_natives
from hwm_magics.sources.factory import open_source
from hwm_magics.sources.failures import told
from hwm_magics.sources.rendering import in_form, instant, render, with_literals
from hwm_magics.sources.rows import arrays_of
from hwm_magics.sources.wire import Described, Wire, as_is, check_names, decode, schema_of


def value(kind: CursorKind, text: str, native: str = "", digits: int = 9):
    return CursorType(kind, digits, native).value(text)


BOUND = [
    (
        "tsql",
        value(CursorKind.TIMESTAMP, "2024-06-01 12:00:00.0049", "datetime"),
        "CAST(? AS datetime)",
        "2024-06-01 12:00:00.003",
    ),
    (
        "tsql",
        value(CursorKind.TIMESTAMP, "2024-06-01 12:00:00.002", "datetime"),
        "CAST(? AS datetime)",
        "2024-06-01 12:00:00.000",
    ),
    (
        "tsql",
        value(CursorKind.TIMESTAMP, "2024-06-01 12:00:00.999", "datetime"),
        "CAST(? AS datetime)",
        "2024-06-01 12:00:00.997",
    ),
    (
        "tsql",
        value(CursorKind.TIMESTAMP, "2024-06-01 12:00:00.1234567", "datetime2(7)"),
        "CAST(? AS datetime2(7))",
        "2024-06-01 12:00:00.1234567",
    ),
    (
        "tsql",
        value(CursorKind.TIMESTAMP, "2024-06-01 12:00:00.1239", "datetime2(3)"),
        "CAST(? AS datetime2(3))",
        "2024-06-01 12:00:00.123",
    ),
    (
        "tsql",
        value(CursorKind.TIMESTAMP, "2024-06-01 12:00:59", "smalldatetime"),
        "CAST(? AS smalldatetime)",
        "2024-06-01 12:00:59",
    ),
    (
        "tsql",
        value(CursorKind.TIMESTAMP, "2024-06-01 12:00:00.5"),
        "CAST(? AS datetime2(7))",
        "2024-06-01 12:00:00.5",
    ),
    (
        "tsql",
        value(CursorKind.TIMESTAMP_TZ, "2024-06-01 12:00:00+02", "datetimeoffset(7)"),
        "CAST(? AS datetimeoffset(7))",
        "2024-06-01 10:00:00 +00:00",
    ),
    (
        "tsql",
        value(CursorKind.ROWVERSION, "0x7D1", "rowversion"),
        "CAST(CAST(? AS bigint) AS binary(8))",
        "2001",
    ),
    (
        "tsql",
        value(CursorKind.ROWVERSION, "0x" + "F" * 16, "timestamp"),
        "CAST(CAST(? AS bigint) AS binary(8))",
        "-1",
    ),
    ("tsql", True, "CAST(? AS bit)", "1"),
    (
        "postgres",
        value(CursorKind.TIMESTAMP, "2024-06-01 12:00:00.1234567"),
        "CAST(? AS timestamp)",
        "2024-06-01 12:00:00.123456",
    ),
    (
        "postgres",
        value(CursorKind.TIMESTAMP_TZ, "2024-06-01 12:00:00"),
        "CAST(? AS timestamptz)",
        "2024-06-01 12:00:00+00:00",
    ),
    ("postgres", value(CursorKind.INTEGER, "5"), "CAST(? AS BIGINT)", "5"),
    ("postgres", value(CursorKind.INTEGER, str(2**70)), "CAST(? AS numeric)", str(2**70)),
    ("postgres", value(CursorKind.DECIMAL, "1.50"), "CAST(? AS numeric)", "1.5"),
    ("postgres", value(CursorKind.DATE, "2024-06-01"), "CAST(? AS DATE)", "2024-06-01"),
    ("postgres", value(CursorKind.TEXT, "a'b"), "?", "a'b"),
    ("postgres", False, "CAST(? AS BOOLEAN)", "false"),
    ("postgres", None, "NULL", None),
    ("postgres", datetime(2024, 6, 1, tzinfo=UTC), "CAST(? AS timestamptz)", "2024-06-01 00:00:00+00:00"),
    ("postgres", date(2024, 6, 1), "CAST(? AS DATE)", "2024-06-01"),
    ("sqlite", value(CursorKind.TIMESTAMP, "2024-06-01 12:00:00.5"), "?", "2024-06-01 12:00:00.5"),
    ("sqlite", value(CursorKind.INTEGER, "5"), "CAST(? AS INTEGER)", "5"),
    ("sqlite", datetime(2024, 6, 1), "?", "2024-06-01 00:00:00"),
    ("sqlite", date(2024, 6, 1), "?", "2024-06-01"),
    ("sqlite", True, "CAST(? AS INTEGER)", "1"),
    (
        "mysql",
        value(CursorKind.TIMESTAMP_TZ, "2024-06-01 12:00:00"),
        "CAST(? AS DATETIME(6))",
        "2024-06-01 12:00:00",
    ),
    ("mysql", Decimal("1.25"), "CAST(? AS DECIMAL(65, 2))", "1.25"),
    ("mysql", True, "CAST(? AS SIGNED)", "1"),
    (
        "oracle",
        value(CursorKind.TIMESTAMP, "2024-06-01 12:00:00.123456789"),
        "TO_TIMESTAMP(?, 'YYYY-MM-DD HH24:MI:SS.FF9')",
        "2024-06-01 12:00:00.123456789",
    ),
    (
        "oracle",
        value(CursorKind.TIMESTAMP_TZ, "2024-06-01 12:00:00"),
        "TO_TIMESTAMP_TZ(?, 'YYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM')",
        "2024-06-01 12:00:00.000000000 +00:00",
    ),
    ("oracle", value(CursorKind.DATE, "2024-06-01"), "TO_DATE(?, 'YYYY-MM-DD')", "2024-06-01"),
    ("oracle", True, "TO_NUMBER(?)", "1"),
    ("", value(CursorKind.DECIMAL, "1.25"), "CAST(? AS DECIMAL(38, 2))", "1.25"),
    (
        "",
        value(CursorKind.TIMESTAMP_TZ, "2024-06-01"),
        "CAST(? AS TIMESTAMP WITH TIME ZONE)",
        "2024-06-01 00:00:00+00:00",
    ),
]


@pytest.mark.parametrize(("dialect", "bound", "sql", "text"), BOUND)
def test_values_are_bound_in_their_own_type_and_never_above_it(dialect, bound, sql, text):
    made = dialect_of(dialect).bind(bound)
    assert (made.sql, made.text) == (sql, text)


def test_placeholders_of_every_style():
    statement = Statement(
        ("SELECT 5 % 2 WHERE a = ", Param("a", "x"), " AND b > ", Param("b", None), " OR c < ", Param("c", 3))
    )
    bind = dialect_of("").bind
    assert render(statement, bind) == (
        "SELECT 5 % 2 WHERE a = ? AND b > NULL OR c < CAST(? AS BIGINT)",
        ["x", "3"],
    )
    assert (
        render(statement, bind, "pyformat")[0]
        == "SELECT 5 %% 2 WHERE a = %s AND b > NULL OR c < CAST(%s AS BIGINT)"
    )
    assert (
        render(statement, bind, "named")[0]
        == "SELECT 5 % 2 WHERE a = :1 AND b > NULL OR c < CAST(:2 AS BIGINT)"
    )
    assert render(Statement(("SELECT 5 % 2 -- 5%",)), bind, "format") == ("SELECT 5 % 2 -- 5%\n", [])


@pytest.mark.parametrize(
    ("dialect", "text", "literal"),
    [
        ("postgres", "it's", "'it''s'"),
        ("postgres", "a\\'b", "E'a\\\\''b'"),
        ("sqlite", "a\\'b", "'a\\''b'"),
        ("tsql", "it's", "'it''s'"),
        ("tsql", "café", "N'café'"),
    ],
)
def test_literals_are_escaped(dialect, text, literal):
    made = dialect_of(dialect)
    assert (
        with_literals(Statement(("SELECT ", Param("a", text))), made.bind, made.literal)
        == f"SELECT {literal}"
    )


def test_no_literal_holds_a_nul():
    made = dialect_of("postgres")
    with pytest.raises(QueryError, match="NUL"):
        with_literals(Statement((Param("a", "x\0y"),)), made.bind, made.literal)


@pytest.mark.parametrize(
    ("text", "form", "written"),
    [
        ("2024-06-01 12:00:00.5", TextForm("T", 3, "Z"), "2024-06-01T12:00:00.500Z"),
        ("2024-06-01 23:30:00", TextForm(" ", 0, "+02:00"), "2024-06-02 01:30:00+02:00"),
        ("2024-06-01 12:00:59", TextForm(" ", 0, "", seconds=False), "2024-06-01 12:00"),
        ("2024-06-01 12:00:00", TextForm("", 0), "2024-06-01"),
        ("2024-06-01", TextForm(" ", 6), "2024-06-01 00:00:00.000000"),
        ("2024-06-01 12:00:00.1239", TextForm(" ", 3), "2024-06-01 12:00:00.123"),
    ],
)
def test_times_in_a_columns_own_form(text, form, written):
    assert in_form(text, form) == written


def test_a_zone_that_there_is_not():
    assert instant("2024-06-01 12:00:00.5", "Europe/Zurich") == "2024-06-01 14:00:00.5"
    with pytest.raises(QueryError, match="'Nowhere/City' is not a time zone"):
        instant("2024-06-01 12:00:00", "Nowhere/City")


@pytest.mark.parametrize(
    ("native", "kind", "cast"),
    [
        ("bigint", "long", ""),
        ("tinyint", "short", ""),
        ("bit", "boolean", ""),
        ("decimal(12,2)", "decimal(12,2)", ""),
        ("money", "decimal(19,4)", ""),
        ("datetime", "timestamp_ntz", ""),
        ("datetime2(3)", "timestamp_ntz", ""),
        ("datetime2(7)", "timestamp_ntz", ""),
        ("datetimeoffset(7)", "timestamp", "CONVERT(varchar(34), [c], 121)"),
        ("uniqueidentifier", "string", "LOWER(CONVERT(varchar(36), [c]))"),
        ("time(7)", "string", "CONVERT(varchar(16), [c], 121)"),
        ("xml", "string", "CAST([c] AS nvarchar(max))"),
        ("nvarchar(max)", "string", ""),
        ("timestamp", "binary", ""),
    ],
)
def test_sql_servers_types(native, kind, cast):
    wire = dialect_of("tsql").wire(Described("c", native))
    assert (wire.column.type, wire.cast) == (kind, cast)


@pytest.mark.parametrize(
    ("native", "cursor", "digits"),
    [
        ("datetime", CursorKind.TIMESTAMP, 3),
        ("smalldatetime", CursorKind.TIMESTAMP, 0),
        ("datetime2(7)", CursorKind.TIMESTAMP, 7),
        ("datetimeoffset(3)", CursorKind.TIMESTAMP_TZ, 3),
        ("rowversion", CursorKind.ROWVERSION, 0),
        ("nvarchar(30)", CursorKind.TEXT, 0),
    ],
)
def test_sql_servers_cursors(native, cursor, digits):
    dialect = dialect_of("tsql")
    found = dialect.cursor_type(dialect.wire(Described("c", native)))
    assert (found.kind, found.digits, found.native) == (cursor, digits, native)


@pytest.mark.parametrize("native", ["float", "uniqueidentifier", "time(7)", "bit", "varbinary(8)", "xml"])
def test_sql_server_types_that_are_no_cursors(native):
    dialect = dialect_of("tsql")
    with pytest.raises(CursorColumnError):
        dialect.cursor_type(dialect.wire(Described("c", native)))


def test_sql_servers_instants_with_seven_digits():
    dialect = dialect_of("tsql")
    wire = dialect.wire(Described("c", "datetimeoffset(7)"))
    texts = pa.array(["2024-06-01 12:00:00.1234567 +02:00", "2024-06-01 12:00:00 -05:30", None])
    batch = decode([texts], [wire], schema_of([wire]))
    assert batch.column(0).to_pylist() == [
        datetime(2024, 6, 1, 10, 0, 0, 123456, tzinfo=UTC),
        datetime(2024, 6, 1, 17, 30, tzinfo=UTC),
        None,
    ]


def test_sql_servers_own_names_of_types():
    def ask(sql):
        assert "TABLE_NAME = N'it''s'" in sql
        assert "TABLE_SCHEMA = N'dbo'" in sql
        return [("d", "datetime2", None, None, 3, 1), ("n", "decimal", 12, 2, None, 0)]

    given = (Described("n", "", pa.decimal128(12, 2)), Described("d", "", pa.timestamp("ms")))
    found = with_natives(ask, "SELECT * FROM [dbo].[it's] WHERE 1 = 0", given)
    assert [(each.name, each.native, each.nullable) for each in found] == [
        ("n", "decimal(12,2)", False),
        ("d", "datetime2(3)", True),
    ]
    assert with_natives(ask, "SELECT * FROM (SELECT 1 AS n) AS q", given) == given


def test_sql_server_describes_a_query_without_running_it():
    asked = []

    def ask(sql):
        asked.append(sql)
        return [("n", "decimal(12,2)", 0, None), (None, "datetime", 1, None)]

    found = tsql_described(ask, "SELECT 'it''s'")
    assert found == (Described("n", "decimal(12,2)", None, nullable=False), Described("", "datetime"))
    assert "N'SELECT ''it''''s'''" in asked[0]


@pytest.mark.parametrize("answer", [[(None, None, None, 208)], []], ids=["a wrong query", "nothing"])
def test_what_sql_server_can_not_describe_is_left_to_the_driver(answer):
    assert tsql_described(lambda _: answer, "SELECT 1") is None

    def synapse(_sql):
        raise QueryError("Invalid object name 'sys.dm_exec_describe_first_result_set'")

    assert tsql_described(synapse, "SELECT 1") is None


class Code:
    def __init__(self, name):
        self.name = name


@pytest.mark.parametrize(
    ("dialect", "column", "arrow"),
    [
        ("oracle", ("c", Code("DB_TYPE_NUMBER"), 13, None, 12, 2, True), pa.decimal128(12, 2)),
        ("oracle", ("c", Code("DB_TYPE_NUMBER"), 127, None, 0, -127, True), None),
        ("oracle", ("c", Code("DB_TYPE_DATE"), 23, None, None, None, False), pa.timestamp("us")),
        ("oracle", ("c", Code("DB_TYPE_CLOB"), None, None, None, None, True), None),
        ("", ("c", int, None, 10, 10, 0, True), pa.int32()),
        ("", ("c", Decimal, None, 12, 12, 2, True), pa.decimal128(12, 2)),
        ("", ("c", object, None, None, None, None, True), None),
        ("", ("c",), None),
    ],
)
def test_cursors_descriptions(dialect, column, arrow):
    (found,) = described([column], dialect)
    assert found.arrow == arrow


@pytest.mark.parametrize(
    ("kind", "arrow", "values", "arrived"),
    [
        ("long", pa.int64(), [1, Decimal(2), None], [1, 2, None]),
        ("boolean", pa.bool_(), [1, False, b"\x01"], [True, False, True]),
        ("decimal(5,2)", pa.decimal128(5, 2), [1, Decimal("1.5")], [Decimal("1.00"), Decimal("1.50")]),
        ("date", pa.date32(), [datetime(2024, 1, 1), date(2024, 1, 2)], [date(2024, 1, 1), date(2024, 1, 2)]),
        ("timestamp_ntz", pa.timestamp("us"), [date(2024, 1, 1)], [datetime(2024, 1, 1)]),
        ("binary", pa.binary(), [memoryview(b"a"), bytearray(b"b")], [b"a", b"b"]),
        ("double", pa.float64(), [1, Decimal("0.5")], [1.0, 0.5]),
    ],
)
def test_python_values_of_declared_types(kind, arrow, values, arrived):
    wire = Wire(Column("c", kind), as_is, (arrow,))
    assert arrays_of([(each,) for each in values], [wire])[0].to_pylist() == arrived
    assert len(arrays_of([], [wire])[0]) == 0


@pytest.mark.parametrize(
    ("kind", "arrow", "odd"),
    [
        ("long", pa.int64(), 1.0),
        ("long", pa.int64(), "1"),
        ("long", pa.int64(), 2**63),
        ("long", pa.int64(), Decimal("1.5")),
        ("decimal(5,2)", pa.decimal128(5, 2), 1.5),
        ("decimal(5,2)", pa.decimal128(5, 2), Decimal("1.555")),
        ("string", pa.string(), 5),
        ("boolean", pa.bool_(), 2),
        ("date", pa.date32(), datetime(2024, 1, 1, 12)),
        ("timestamp_ntz", pa.timestamp("us"), datetime(2024, 1, 1, tzinfo=UTC)),
        ("binary", pa.binary(), "text"),
    ],
)
def test_python_values_of_other_types_are_named(kind, arrow, odd):
    wire = Wire(Column("amount", kind), as_is, (arrow,))
    with pytest.raises(QueryError, match="column 'amount'"):
        arrays_of([(None,), (odd,)], [wire])


def test_a_column_needs_a_name():
    with pytest.raises(QueryError, match="has no name"):
        check_names(["a", ""])


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (
            (
                'NOT_FOUND: Failed to prepare query: ERROR:  relation "x" does not exist\nLINE 1: select\n   ^\n\n'
                "Query was: select"
            ),
            'relation "x" does not exist',
        ),
        (
            (
                "ODBC emitted an error calling 'SQLExecDirect':\nState: 42S02, Native error: 208, Message: [Microsoft]"
                "[ODBC Driver 18 for SQL Server][SQL Server]Invalid object name 'x'."
            ),
            "Invalid object name 'x'.",
        ),
        ("connect failed: PWD=hunter22;SERVER=x", "connect failed: PWD=***;SERVER=x"),
        ("", "it gave no reason"),
    ],
)
def test_messages_are_one_clean_line(raw, clean):
    assert told(raw) == clean


EVENTS = (
    "CREATE TABLE t AS SELECT i AS id, CAST(i * 1.5 AS DECIMAL(12,2)) AS amount, "
    "timestamp '2024-06-01' + i * INTERVAL 1 HOUR AS c, "
    "[i, NULL] AS l, {'a': i} AS s FROM range(1, 11) r(i)"
)
READ = ReadSpec("d", table="t", cursor=CursorSpec("c"))


@pytest.fixture
def duck(tmp_path):
    path = tmp_path / "x.duckdb"
    with contextlib.closing(duckdb.connect(str(path))) as db:
        db.execute(EVENTS)
    return path


def test_duckdb_speaks_arrow(duck):
    with open_source(DuckDbConnection(name="d", database=str(duck)), READ) as source:
        state = observed(source, READ)
        low = value(CursorKind.TIMESTAMP, "2024-06-01 09:30:00")
        table = read_all(source, READ, Window(low, state.high), first_run=False)
    assert [(c.name, c.type) for c in state.columns] == [
        ("id", "long"),
        ("amount", "decimal(12,2)"),
        ("c", "timestamp_ntz"),
        ("l", "array<long>"),
        ("s", "struct<a:long>"),
    ]
    assert (state.high.text, state.nulls, state.future) == ("2024-06-01 10:00:00", 0, 0)
    assert table.to_pylist() == [
        {"id": 10, "amount": Decimal("15.00"), "c": datetime(2024, 6, 1, 10), "l": [10, None], "s": {"a": 10}}
    ]


def test_a_duckdb_connection_of_the_notebook(duck):
    with contextlib.closing(duckdb.connect(str(duck))) as db:
        with open_source(recognise("db", db), READ) as source:
            stream = source.open(Statement(("SELECT * FROM t",)))
            next(stream.batches)
            stream.close()
            assert read_all(source, READ).num_rows == 10
        assert db.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("kind", ["UUID", "TIME", "INTERVAL", "DOUBLE"])
def test_duckdb_columns_that_are_no_cursors(kind, tmp_path):
    path = tmp_path / "x.duckdb"
    with contextlib.closing(duckdb.connect(str(path))) as db:
        db.execute(f"CREATE TABLE t (c {kind})")
    with (
        open_source(DuckDbConnection(name="d", database=str(path)), READ) as source,
        pytest.raises((CursorColumnError, QueryError), match=r"no type|can't be the cursor"),
    ):
        observed(source, READ)


def test_duckdb_errors(duck, tmp_path):
    with open_source(DuckDbConnection(name="d", database=str(duck)), READ) as source:
        with pytest.raises(QueryError, match="nowhere"):
            observed(source, ReadSpec("d", table="nowhere"))
        with pytest.raises(QueryError, match=r"[Rr]ead-only"):
            source.scalar(Statement(("CREATE TABLE u (a INTEGER)",)))
    other = tmp_path / "text.duckdb"
    other.write_text("no database")
    with pytest.raises(SourceConnectionError):
        open_source(DuckDbConnection(name="d", database=str(other)), READ)


def test_duckdbs_constraints_prove_keys(tmp_path):
    path = tmp_path / "x.duckdb"
    with contextlib.closing(duckdb.connect(str(path))) as db:
        db.execute(
            "CREATE SCHEMA s; CREATE TABLE s.t (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER NOT NULL UNIQUE)"
        )
        db.execute("CREATE VIEW v AS SELECT * FROM s.t")
    with open_source(DuckDbConnection(name="d", database=str(path)), READ) as source:
        facts = dialect_of("duckdb").facts(source.ask, '"s"."t"')
        assert facts.not_null == {"id", "b"}
        assert [facts.keeps_unique([name]) for name in ("id", "a", "b")] == [True, False, True]
        assert dialect_of("duckdb").facts(source.ask, '"v"') is None
