"""SQL Server's types, with what each value must become."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa

MAX_MONEY = "922337203685477.5807"
# Declaration, literals (the third row is NULL where nothing stands), Arrow's type, what must arrive.
TYPES = {
    "c_bigint": (
        "bigint",
        ("9223372036854775807", "-9223372036854775808"),
        pa.int64(),
        (2**63 - 1, -(2**63)),
    ),
    "c_int": ("int", ("2147483647", "-2147483648"), pa.int32(), (2**31 - 1, -(2**31))),
    "c_smallint": ("smallint", ("32767", "-32768"), pa.int16(), (32767, -32768)),
    "c_tinyint": ("tinyint", ("255", "0"), pa.int16(), (255, 0)),
    "c_bit": ("bit", ("1", "0"), pa.bool_(), (True, False)),
    "c_decimal": (
        "decimal(38,10)",
        ("1234567890123456789012345678.0123456789", "-0.0000000001"),
        pa.decimal128(38, 10),
        (Decimal("1234567890123456789012345678.0123456789"), Decimal("-0.0000000001")),
    ),
    "c_numeric": ("numeric(5,0)", ("99999", "-1"), pa.decimal128(5, 0), (Decimal(99999), Decimal(-1))),
    "c_money": (
        "money",
        (MAX_MONEY, "-0.0001"),
        pa.decimal128(19, 4),
        (Decimal(MAX_MONEY), Decimal("-0.0001")),
    ),
    "c_smallmoney": (
        "smallmoney",
        ("214748.3647", "-214748.3648"),
        pa.decimal128(10, 4),
        (Decimal("214748.3647"), Decimal("-214748.3648")),
    ),
    "c_float": ("float", ("0.1E0", "-1.7976931348623157E308"), pa.float64(), (0.1, -1.7976931348623157e308)),
    "c_real": ("real", ("0.5E0", "-16777216E0"), pa.float32(), (0.5, -16777216.0)),
    "c_date": ("date", ("'9999-12-31'", "'0001-01-01'"), pa.date32(), (date(9999, 12, 31), date(1, 1, 1))),
    "c_datetime": (
        "datetime",
        ("'9999-12-31 23:59:59.997'", "'1753-01-01 00:00:00.003'"),
        pa.timestamp("us"),
        (datetime(9999, 12, 31, 23, 59, 59, 997000), datetime(1753, 1, 1, 0, 0, 0, 3000)),
    ),
    "c_smalldatetime": (
        "smalldatetime",
        ("'2079-06-06 23:59'", "'1900-01-01'"),
        pa.timestamp("us"),
        (datetime(2079, 6, 6, 23, 59), datetime(1900, 1, 1)),
    ),
    "c_datetime2_0": (
        "datetime2(0)",
        ("'2024-06-01 12:00:01'", "'0001-01-01'"),
        pa.timestamp("us"),
        (datetime(2024, 6, 1, 12, 0, 1), datetime(1, 1, 1)),
    ),
    # The last digit can't be held, and is cut.
    "c_datetime2": (
        "datetime2(7)",
        ("'9999-12-31 23:59:59.9999999'", "'0001-01-01 00:00:00.0000009'"),
        pa.timestamp("us"),
        (datetime(9999, 12, 31, 23, 59, 59, 999999), datetime(1, 1, 1)),
    ),
    "c_datetimeoffset": (
        "datetimeoffset(7)",
        ("'2024-06-01 12:00:00.1234567 +05:30'", "'1969-12-31 23:59:59.9999999 -14:00'"),
        pa.timestamp("us", "UTC"),
        (
            datetime(2024, 6, 1, 6, 30, 0, 123456, tzinfo=UTC),
            datetime(1970, 1, 1, 13, 59, 59, 999999, tzinfo=UTC),
        ),
    ),
    "c_time": (
        "time(7)",
        ("'23:59:59.9999999'", "'00:00:00'"),
        pa.string(),
        ("23:59:59.9999999", "00:00:00.0000000"),
    ),
    "c_time_0": ("time(0)", ("'23:59:59'", "'00:00:00'"), pa.string(), ("23:59:59", "00:00:00")),
    "c_char": ("char(4)", ("'ab'", "''"), pa.string(), ("ab  ", "    ")),
    "c_varchar": ("varchar(20)", ("'caf\u00e9 \u20ac'", "' x '"), pa.string(), ("café €", " x ")),
    "c_nchar": ("nchar(3)", ("N'\u00e9'", "N'abc'"), pa.string(), ("é  ", "abc")),
    "c_nvarchar": (
        "nvarchar(4000)",
        ("N'\u4f60\u597d \U0001f600 it''s'", f"N'{'x' * 4000}'"),
        pa.string(),
        ("你好 \U0001f600 it's", "x" * 4000),
    ),
    "c_nvarchar_max": ("nvarchar(max)", (f"N'{'é' * 20000}'", "N''"), pa.string(), ("é" * 20000, "")),
    "c_varchar_max": ("varchar(max)", (f"'{'y' * 30000}'", "''"), pa.string(), ("y" * 30000, "")),
    "c_uniqueidentifier": (
        "uniqueidentifier",
        ("'6F9619FF-8B86-D011-B42D-00C04FC964FF'", "'00000000-0000-0000-0000-000000000000'"),
        pa.string(),
        ("6f9619ff-8b86-d011-b42d-00c04fc964ff", "00000000-0000-0000-0000-000000000000"),
    ),
    "c_binary": ("binary(3)", ("0x01", "0xFFFFFF"), pa.binary(), (b"\x01\x00\x00", b"\xff\xff\xff")),
    "c_varbinary": (
        "varbinary(20)",
        ("0x00FF00", "CAST('' AS varbinary(20))"),
        pa.binary(),
        (b"\x00\xff\x00", b""),
    ),
    "c_varbinary_max": (
        "varbinary(max)",
        ("0x" + "AB" * 20000, "0x00"),
        pa.binary(),
        (b"\xab" * 20000, b"\x00"),
    ),
}
