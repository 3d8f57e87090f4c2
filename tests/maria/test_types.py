"""Types of MySQL and MariaDB and what becomes of them: exactly, by every way."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from integration.test_source_ways import observed, read_all
from maria.ways import WAYS, to_maria

from hwm_magics.core.specs import ReadSpec

# Declared type, a value as SQL, Delta's type, the value that arrives.
MAPPING = [
    ("tinyint", "-128", "short", -128),
    ("tinyint(1)", "2", "short", 2),
    ("boolean", "true", "short", 1),
    ("tinyint unsigned", "255", "short", 255),
    ("smallint", "-32768", "short", -32768),
    ("smallint unsigned", "65535", "integer", 65535),
    ("mediumint", "-8388608", "integer", -8388608),
    ("mediumint unsigned", "16777215", "integer", 16777215),
    ("int", "2147483647", "integer", 2147483647),
    ("int unsigned", "4294967295", "long", 4294967295),
    ("int(7) zerofill", "42", "long", 42),
    ("bigint", "-9223372036854775808", "long", -(2**63)),
    ("bigint unsigned", "18446744073709551615", "decimal(20,0)", Decimal(2**64 - 1)),
    ("decimal(12,2)", "-1234567890.50", "decimal(12,2)", Decimal("-1234567890.50")),
    ("decimal(12,2) unsigned", "1234567890.50", "decimal(12,2)", Decimal("1234567890.50")),
    ("decimal(38,10)", "1234567890123456789012345678.0123456789", "decimal(38,10)",
     Decimal("1234567890123456789012345678.0123456789")),
    ("decimal(5,0)", "99999", "decimal(5,0)", Decimal(99999)),
    ("float", "0.1", "float", 0.10000000149011612),
    ("float(7,3)", "1234.567", "float", 1234.5670166015625),
    ("double", "0.1", "double", 0.1),
    ("double", "1.7976931348623157e308", "double", 1.7976931348623157e308),
    ("double", "5e-324", "double", 5e-324),
    ("bit(1)", "b'1'", "boolean", True),
    ("bit(9)", "b'100000001'", "long", 257),
    ("bit(64)", "18446744073709551615", "decimal(20,0)", Decimal(2**64 - 1)),
    ("date", "'2024-02-29'", "date", date(2024, 2, 29)),
    ("date", "'9999-12-31'", "date", date(9999, 12, 31)),
    ("datetime", "'2024-02-29 23:59:59'", "timestamp_ntz", datetime(2024, 2, 29, 23, 59, 59)),
    ("datetime(3)", "'2024-02-29 23:59:59.123'", "timestamp_ntz", datetime(2024, 2, 29, 23, 59, 59, 123000)),
    ("datetime(6)", "'1000-01-01 00:00:00.000001'", "timestamp_ntz", datetime(1000, 1, 1, 0, 0, 0, 1)),
    ("datetime(6)", "'9999-12-31 23:59:59.999999'", "timestamp_ntz", datetime(9999, 12, 31, 23, 59, 59, 999999)),
    ("timestamp(6) NULL", "'2024-02-29 23:59:59.999999'", "timestamp",
     datetime(2024, 2, 29, 21, 59, 59, 999999, tzinfo=UTC)),
    ("time(3)", "'-838:59:58.999'", "string", "-838:59:58.999"),
    ("year", "2155", "integer", 2155),
    ("varchar(20)", "'é🙂\\n \\\\%s'", "string", "é🙂\n \\%s"),
    ("char(5)", "'ab'", "string", "ab"),
    ("varchar(9) CHARACTER SET latin1", "'é'", "string", "é"),
    ("varchar(9) COLLATE utf8mb4_bin", "'a '", "string", "a "),
    ("longtext", "REPEAT('ö', 100000)", "string", "ö" * 100_000),
    ("enum('sad','glad')", "'glad'", "string", "glad"),
    ("set('x','y')", "'y,x'", "string", "x,y"),
    ("json", "'{\"a\":  1.10}'", "string", '{"a":  1.10}'),
    ("uuid", "'AAAAAAAA-2222-3333-4444-555555555555'", "string", "aaaaaaaa-2222-3333-4444-555555555555"),
    ("inet6", "'2001:db8::1'", "string", "2001:db8::1"),
    ("binary(4)", "x'00ff'", "binary", b"\x00\xff\x00\x00"),
    ("varbinary(9)", "x'00ff'", "binary", b"\x00\xff"),
    ("blob", "x'00ff27'", "binary", b"\x00\xff'"),
    ("longblob", "REPEAT(x'ff', 100000)", "binary", b"\xff" * 100_000),
]  # fmt: skip
TABLE = ReadSpec("shop", table="kinds", options={"max_text_size": "500000"})


def same(value, wanted) -> bool:
    if type(value) is not type(wanted) or value != wanted:
        return False
    return not isinstance(wanted, float) or math.copysign(1, wanted) == math.copysign(1, value)


@pytest.fixture
def kinds(maria):
    columns = ", ".join(f"c{n} {kind}" for n, (kind, *_) in enumerate(MAPPING))
    values = ", ".join(value for _, value, *_ in MAPPING)
    maria.run(
        f"CREATE TABLE kinds (id integer PRIMARY KEY, {columns})",
        # NULL comes first, since drivers that guess by the first row would guess wrong.
        "INSERT INTO kinds (id) VALUES (1)",
        f"INSERT INTO kinds VALUES (2, {values})",
        "INSERT INTO kinds (id) VALUES (3)",
    )
    return maria


@pytest.mark.parametrize("way", WAYS)
def test_every_type_is_mapped_and_exact(way, kinds):
    with to_maria(way, kinds) as opens, opens(TABLE) as source:
        state = observed(source, TABLE)
        rows = sorted(read_all(source, TABLE).to_pylist(), key=lambda row: row["id"])
    first, second, third = rows
    wanted = {"id": "integer", **{f"c{n}": kind for n, (_, _, kind, _) in enumerate(MAPPING)}}
    values = [value for *_, value in MAPPING]
    if way == "plain odbc":
        # Its driver does not tell an instant.
        at = next(n for n, (kind, *_) in enumerate(MAPPING) if kind.startswith("timestamp"))
        wanted[f"c{at}"], values[at] = "timestamp_ntz", values[at].replace(tzinfo=None)
    found = {column.name: column.type for column in state.columns}
    assert {MAPPING[int(n[1:])][0] if n != "id" else n: (kind, found.get(n)) for n, kind in wanted.items()
            if kind != found.get(n)} == {}  # fmt: skip
    wrong = {
        MAPPING[n][0]: second[f"c{n}"] for n, value in enumerate(values) if not same(second[f"c{n}"], value)
    }
    assert wrong == {}
    assert set(first.values()) == {1, None}
    assert set(third.values()) == {3, None}
