"""Oracle, for which no server can run here: what is sent to python-oracledb, and what becomes of what it answers."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal

import oracledb
import pytest
import sqlglot
from integration.test_source_ways import observed, read_all

from hwm_magics.connections.objects import ObjectConnection
from hwm_magics.connections.secrets import Secret
from hwm_magics.connections.sql import OracleConnection
from hwm_magics.core.decided import Window
from hwm_magics.core.specs import CursorSpec, ReadSpec
from hwm_magics.errors import LoginError, QueryError, SourceConnectionError
from hwm_magics.sources.dialects import dialect_of
from hwm_magics.sources.factory import open_source
from hwm_magics.sources.failures import failure

# As python-oracledb documents a description: name, type, display and internal size, precision, scale, NULL.
COLUMNS = [
    ("ID", oracledb.DB_TYPE_NUMBER, 11, None, 10, 0, False),
    ("AMOUNT", oracledb.DB_TYPE_NUMBER, 15, None, 12, 2, True),
    ("DAY", oracledb.DB_TYPE_DATE, 23, None, None, None, True),
    ("CHANGED", oracledb.DB_TYPE_TIMESTAMP, 23, None, 0, 9, False),
    ("AT", oracledb.DB_TYPE_TIMESTAMP_TZ, 23, None, 0, 6, True),
    ("NOTE", oracledb.DB_TYPE_VARCHAR, 20, 20, None, None, True),
    ("RAW", oracledb.DB_TYPE_RAW, 4, 4, None, None, True),
]
ROW = (
    1, Decimal("2.50"), datetime(2024, 6, 1, 12, 30), datetime(2024, 6, 1, 12, 0, 0, 123456),
    datetime(2024, 6, 1, 10), "é", b"\x00",
)  # fmt: skip
ANSWERS = [
    (r"DB_UNIQUE_NAME", [("PROD", "shop")]),
    (r"FROM ALL_TABLES", [(7,)]),
    (r"FROM ALL_TAB_COLUMNS", [(name, "N" if not null else "Y") for name, *_, null in COLUMNS]),
    (r"FROM ALL_INDEXES", [("PK", "UNIQUE", "NORMAL", "ID"), ("BY_TIME", "NONUNIQUE", "NORMAL", "CHANGED"),
                           ("F", "UNIQUE", "FUNCTION-BASED NORMAL", "SYS_NC1$")]),
    (r"MAX\(.*SYSTIMESTAMP", [("2024-06-01 12:00:00.123456789", "2024-06-02 00:00:00.000000000")]),
    (r"COUNT\(", [(1, 0)]),
    (r"FROM dual", [(1,)]),
]  # fmt: skip


class Cursor:
    def __init__(self, sent):
        self.sent, self.description, self.waiting = sent, None, []

    def execute(self, sql, values=()):
        # What Oracle would not even parse must not be sent.
        sqlglot.parse_one(re.sub(r":(\d+)", r":p\1", sql), dialect="oracle")
        assert " AS hwm_" not in sql, "Oracle knows no AS before a table's alias"
        self.sent.append((sql, list(values)))
        found = next((rows for shape, rows in ANSWERS if re.search(shape, sql, re.DOTALL)), None)
        self.description = COLUMNS if found is None else [("C",)] * len(found[0])
        self.waiting = [] if "1 = 0" in sql else [ROW] if found is None else list(found)

    def fetchmany(self, count):
        some, self.waiting = self.waiting[:count], self.waiting[count:]
        return some

    def close(self):
        pass


class Connection:
    __module__ = "oracledb.connection"
    autocommit = False
    transaction_in_progress = False

    def __init__(self):
        self.sent = []

    def cursor(self):
        return Cursor(self.sent)

    def rollback(self):
        self.sent.append(("ROLLBACK", []))


READ = ReadSpec("ora", table="ORDERS", cursor=CursorSpec("CHANGED"))


@pytest.fixture
def connection():
    return Connection()


@pytest.fixture
def source(connection):
    given = ObjectConnection(name="ora", obj=connection, kind="dbapi", dialect="oracle")
    with open_source(given, READ) as opened:
        yield opened


def test_what_a_plan_asks_and_reads(source, connection):
    state = observed(source, READ)
    assert [(column.name, column.type) for column in state.columns] == [
        ("ID", "decimal(10,0)"), ("AMOUNT", "decimal(12,2)"), ("DAY", "timestamp_ntz"), ("CHANGED", "timestamp_ntz"),
        ("AT", "timestamp"), ("NOTE", "string"), ("RAW", "binary"),
    ]  # fmt: skip
    assert state.high.text == "2024-06-01 12:00:00.123456789", (
        "all nine digits: a shorter bound would leave out its row"
    )
    assert state.identity.strong == "oracle/PROD/shop"
    connection.sent.clear()
    low = state.high
    (row,) = read_all(source, READ, Window(low, state.high), first_run=False).to_pylist()
    assert (row["ID"], row["AMOUNT"], row["NOTE"], row["DAY"]) == (1, Decimal("2.50"), "é", ROW[2])
    assert row["AT"].isoformat() == "2024-06-01T10:00:00+00:00"
    reading, values = next(each for each in connection.sent if "SYS_EXTRACT_UTC" in each[0])
    assert "TO_TIMESTAMP(:1, 'YYYY-MM-DD HH24:MI:SS.FF9')" in reading
    assert values == ["2024-06-01 12:00:00.123456789"] * 2
    assert connection.sent[-1][0] == "ROLLBACK", "a transaction that the reading began is ended"


def test_the_catalog_tells_of_indexes_and_a_view_of_nothing():
    dialect = dialect_of("oracle")

    def ask(sql):
        sqlglot.parse_one(sql, dialect="oracle")
        return next(rows for shape, rows in ANSWERS if re.search(shape, sql))

    facts = dialect.facts(ask, '"SHOP"."ORDERS"')
    assert (facts.not_null, facts.indexed, facts.rows) == ({"ID", "CHANGED"}, {"ID", "CHANGED"}, 7)
    assert facts.unique == (frozenset({"ID"}),)
    assert dialect.facts(lambda _: [], '"V"') is None

    def denied(_):
        raise QueryError("ORA-00942")

    assert dialect.facts(denied, '"V"') is None


@pytest.mark.parametrize(
    ("column", "instead"),
    [
        (("N", oracledb.DB_TYPE_NUMBER, 127, None, 0, -127, True), 'CAST("N" AS NUMBER(38,9)) AS "N"'),
        (("C", oracledb.DB_TYPE_CLOB, None, None, None, None, True), 'DBMS_LOB.SUBSTR("C", 4000, 1) AS "C"'),
    ],
)
def test_types_that_are_refused_with_what_to_write(source, monkeypatch, column, instead):
    monkeypatch.setitem(globals(), "COLUMNS", [column])
    with pytest.raises(QueryError) as caught:
        observed(source, ReadSpec("ora", table="ORDERS"))
    assert instead in caught.value.message


@pytest.mark.parametrize(
    ("told", "kind", "connecting"),
    [
        ("ORA-01017: invalid credential or not authorized; logon denied", LoginError, True),
        ("ORA-28000: The account is locked.", LoginError, True),
        ("DPY-6005: cannot connect to database", SourceConnectionError, True),
        ("DPY-4011: the database or network closed the connection", SourceConnectionError, False),
        ("ORA-03113: end-of-file on communication channel", SourceConnectionError, False),
        ('ORA-00904: "CHNGED": invalid identifier', QueryError, False),
        ("ORA-00942: table or view does not exist", QueryError, False),
    ],
)
def test_oracles_errors_by_their_codes(told, kind, connecting):
    error = failure(oracledb.DatabaseError(told), doing="connecting to x" if connecting else "asking x")
    assert type(error) is kind
    assert told.partition(":")[0] in error.message


def test_a_near_miss_of_a_column():
    def ask(sql):
        return [("CHANGED",), ("ID",)]

    error = oracledb.DatabaseError('ORA-00904: "O"."CHNGED": invalid identifier')
    assert dialect_of("oracle").advice(error, ask) == "did you mean CHANGED?"


def test_nobody_listens_and_the_real_driver_says_so():
    given = OracleConnection(
        name="ora",
        host="127.0.0.1",
        port=1,
        service_name="s",
        username="u",
        password=Secret("pl4nted-s3cret"),
    )
    with pytest.raises(SourceConnectionError) as caught:
        open_source(given, READ)
    assert "pl4nted" not in "\n".join(caught.value.lines())
