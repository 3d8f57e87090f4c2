"""SQL Server types: on the wire (TYPE_INFO and values), in storage (DuckDB), and from Python.

Storage keeps what DuckDB's own types would lose.  ``datetime``, ``smalldatetime`` and
``datetime2(n)`` are a BIGINT of 100 ns ticks since 0001-01-01; ``time(n)`` is ticks since midnight;
``datetimeoffset(n)`` is a HUGEINT, ``utc_ticks * 2048 + offset_minutes + 1024``.  A ``datetime``
value is held already expanded to seven digits (.0033333, .0066667), which is what SQL Server 2016
and later compare it as when the other side is a ``datetime2``.
"""

from __future__ import annotations

import datetime as dt
import operator
import re
import struct
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation

COLLATION = bytes.fromhex("0904d00034")  # SQL_Latin1_General_CP1_CI_AS
MAX = -1
DAY = 864_000_000_000  # ticks
DAYS_1900 = 693_595  # from 0001-01-01 to 1900-01-01
DAYS_1753 = 639_905
LAST_DAY = 3_652_058  # 9999-12-31
WIDE = Context(prec=76, rounding=ROUND_HALF_UP)

INTEGERS = {"tinyint": (0, 255), "smallint": (-(2**15), 2**15 - 1),
            "int": (-(2**31), 2**31 - 1), "bigint": (-(2**63), 2**63 - 1)}  # fmt: skip
TICKED = frozenset({"datetime", "smalldatetime", "datetime2"})
TEMPORAL = TICKED | {"date", "time", "datetimeoffset"}
CHARACTER = frozenset({"char", "varchar", "nchar", "nvarchar"})
BINARY = frozenset({"binary", "varbinary", "rowversion"})
EXACT = frozenset({"decimal", "numeric", "money", "smallmoney"})
# Lowest to highest; the higher type wins an implicit conversion.
PRECEDENCE = (
    "binary", "varbinary", "char", "varchar", "nchar", "nvarchar", "uniqueidentifier", "rowversion",
    "bit", "tinyint", "smallint", "int", "bigint", "smallmoney", "money", "numeric", "decimal",
    "real", "float", "time", "date", "smalldatetime", "datetime", "datetime2", "datetimeoffset",
)  # fmt: skip


class SqlError(Exception):
    """An error to report to the client with a SQL Server number."""

    def __init__(self, number: int, text: str, *, severity: int = 16, state: int = 1) -> None:
        super().__init__(f"[{number}] {text}")
        self.number, self.text, self.severity, self.state = number, text, severity, state

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.number, self.text)


def unsupported(feature: str) -> SqlError:
    """The error for what this server does not do."""
    return SqlError(40510, f"tds_facade does not support {feature}.")


@dataclass(frozen=True)
class SqlType:
    """A SQL Server type: its name with a length, a precision or a scale where it has one."""

    name: str
    length: int = 0  # characters or bytes; MAX for (max)
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        if self.name in CHARACTER or self.name in ("binary", "varbinary"):
            return f"{self.name}({'max' if self.length == MAX else self.length})"
        if self.name in ("decimal", "numeric"):
            return f"{self.name}({self.precision},{self.scale})"
        if self.name in ("time", "datetime2", "datetimeoffset"):
            return f"{self.name}({self.scale})"
        return self.name

    @property
    def storage(self) -> str:
        """The DuckDB type that holds it."""
        if self.name in TICKED or self.name == "time":
            return "BIGINT"
        if self.name in ("decimal", "numeric"):
            return f"DECIMAL({self.precision},{self.scale})"
        if self.name in CHARACTER:
            return "VARCHAR"
        if self.name in BINARY:
            return "BLOB"
        return {
            "bit": "BOOLEAN", "tinyint": "UTINYINT", "smallint": "SMALLINT", "int": "INTEGER",
            "bigint": "BIGINT", "real": "FLOAT", "float": "DOUBLE", "money": "DECIMAL(19,4)",
            "smallmoney": "DECIMAL(10,4)", "date": "DATE", "datetimeoffset": "HUGEINT",
            "uniqueidentifier": "UUID",
        }[self.name]  # fmt: skip

    @property
    def rank(self) -> int:
        """Its place in the order of precedence."""
        return PRECEDENCE.index(self.name)


_ALIASES = {
    "integer": "int", "dec": "decimal", "timestamp": "rowversion", "boolean": "bit",
    "double precision": "float", "double": "float", "text": "varchar(max)",
    "sysname": "nvarchar(128)",
    "ntext": "nvarchar(max)", "image": "varbinary(max)", "uuid": "uniqueidentifier",
    "character varying": "varchar", "character": "char",
}  # fmt: skip
_DECLARED = re.compile(r"\s*([a-z_][a-z_0-9]*(?: precision| varying)?)\s*(?:\(([^)]*)\))?\s*", re.IGNORECASE)


def parse_type(text: str) -> SqlType:
    """A declared type, such as ``nvarchar(50)`` or ``decimal(10, 2)``."""
    match = _DECLARED.fullmatch(text.replace("[", "").replace("]", ""))
    if match is None:
        raise SqlError(2715, f"Cannot find data type {text}.")
    name = match[1].lower()
    name = name.removeprefix("sys.")
    if name in _ALIASES:
        alias = _ALIASES[name]
        if "(" in alias:
            return parse_type(alias)
        name = alias
    args = [part.strip().lower() for part in match[2].split(",")] if match[2] else []
    first = MAX if args and args[0] == "max" else int(args[0]) if args else None
    if name in CHARACTER or name in ("binary", "varbinary"):
        return SqlType(name, length=1 if first is None else first)
    if name in ("decimal", "numeric"):
        return SqlType(name, precision=first or 18, scale=int(args[1]) if len(args) > 1 else 0)
    if name in ("time", "datetime2", "datetimeoffset"):
        return SqlType(name, scale=7 if first is None else first)
    if name == "float" and first is not None and first <= 24:
        return SqlType("real")
    if name not in PRECEDENCE:
        raise SqlError(2715, f"Cannot find data type {name}.")
    return SqlType(name)


# -- ticks ---------------------------------------------------------------------------------------

_STAMP = re.compile(
    r"\s*(?:(\d{4})-(\d{1,2})-(\d{1,2})|(\d{4})(\d{2})(\d{2}))?(?:[T ]*(\d{1,2}):(\d{2})"
    r"(?::(\d{2})(?:\.(\d+))?)?\s*(AM|PM)?)?\s*(Z|[+-]\d{2}:\d{2})?\s*",
    re.IGNORECASE,
)


def conversion_failed() -> SqlError:
    """Error 241, for a string that is no date."""
    return SqlError(241, "Conversion failed when converting date and/or time from character string.")


def _parse_stamp(text: str, most_digits: int) -> tuple[int, int]:
    """Ticks since 0001-01-01 and the offset in minutes of a date or time in a string."""
    match = _STAMP.fullmatch(text)
    if match is None or not text.strip() or (match[10] and len(match[10]) > most_digits):
        raise conversion_failed()
    year, month, day = (int(match[i] or match[i + 3] or 0) for i in (1, 2, 3))
    try:
        date = dt.date(year, month, day) if year else dt.date(1900, 1, 1)
        hour = int(match[7] or 0)
        if match[11]:
            hour = hour % 12 + (12 if match[11].upper() == "PM" else 0)
        dt.time(hour, int(match[8] or 0), int(match[9] or 0))
    except ValueError as error:
        raise conversion_failed() from error
    ticks = (date.toordinal() - 1) * DAY
    ticks += (hour * 3600 + int(match[8] or 0) * 60 + int(match[9] or 0)) * 10_000_000
    ticks += int((match[10] or "").ljust(7, "0")[:7] or 0)
    zone = match[12]
    if not zone or zone in "Zz":
        return ticks, 0
    minutes = int(zone[1:3]) * 60 + int(zone[4:])
    return ticks, -minutes if zone[0] == "-" else minutes


def datetime_ticks(value: dt.datetime) -> int:
    """Ticks of a Python datetime (its zone, if any, ignored)."""
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return (value.toordinal() - 1) * DAY + seconds * 10_000_000 + value.microsecond * 10


def time_ticks(value: dt.time) -> int:
    """Ticks since midnight."""
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return seconds * 10_000_000 + value.microsecond * 10


def round_ticks(ticks: int, target: SqlType) -> int:
    """Round ticks as a conversion to ``target`` would; error 242 outside its range."""
    day = ticks // DAY
    if target.name == "datetime":
        units = (ticks * 3 + 50_000) // 100_000  # 1/300 s
        ticks = (units * 200_000 + 3) // 6  # back, to the nearest 100 ns
        low, high = DAYS_1753, LAST_DAY
    elif target.name == "smalldatetime":
        # The seconds round at 29.998 s, after a rounding to the millisecond.
        ticks = (ticks + 300_010_000) // 600_000_000 * 600_000_000
        low, high = DAYS_1900, DAYS_1900 + 65_535
    else:
        step = 10 ** (7 - target.scale)
        ticks = (ticks + step // 2) // step * step
        low, high = 0, LAST_DAY
        if target.name == "time":
            return ticks % DAY
        if ticks // DAY > LAST_DAY:  # .9999999 of the last day never rounds up
            ticks = (LAST_DAY + 1) * DAY - step
    if not low <= day <= high or not low <= ticks // DAY <= high:
        raise SqlError(
            242,
            f"The conversion to a {target.name} data type resulted in an out-of-range value.",
        )
    return ticks


def pack_offset(utc_ticks: int, minutes: int) -> int:
    """The storage form of a datetimeoffset."""
    return utc_ticks * 2048 + minutes + 1024


def unpack_offset(value: int) -> tuple[int, int]:
    """UTC ticks and offset minutes of a stored datetimeoffset."""
    utc_ticks, low = divmod(value, 2048)
    return utc_ticks, low - 1024


def format_ticks(ticks: int, scale: int = 7) -> str:
    """``YYYY-MM-DD hh:mm:ss.fffffff`` with ``scale`` digits."""
    days, rest = divmod(ticks, DAY)
    return f"{dt.date.fromordinal(days + 1).isoformat()} {format_time(rest, scale)}"


def format_time(ticks: int, scale: int = 7) -> str:
    """``hh:mm:ss.fffffff`` with ``scale`` digits."""
    seconds, fraction = divmod(ticks, 10_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{fraction:07}"[: 9 + scale] if scale else text


def to_text(value: object, kind: SqlType) -> str:
    """A stored temporal value as exact text; other values through ``str``."""
    if kind.name == "datetimeoffset":
        utc, minutes = unpack_offset(int(value))  # type: ignore[call-overload]
        sign = "-" if minutes < 0 else "+"
        local = format_ticks(utc + minutes * 600_000_000, kind.scale)
        return f"{local} {sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    if kind.name in TICKED:
        scale = {"datetime": 3, "smalldatetime": 0}.get(kind.name, kind.scale)
        ticks = int(value)  # type: ignore[call-overload]
        # .0033333 shows as .003 and .0066667 as .007
        return format_ticks((ticks + 5_000) // 10_000 * 10_000 if scale == 3 else ticks, scale)
    if kind.name == "time":
        return format_time(int(value), kind.scale)  # type: ignore[call-overload]
    return str(value)


# -- Python to storage ---------------------------------------------------------------------------


def overflow(target: SqlType, source: str = "expression") -> SqlError:
    """Error 8115."""
    return SqlError(8115, f"Arithmetic overflow error converting {source} to data type {target.name}.")


def to_storage(value: object, target: SqlType) -> object:
    """Convert a Python value to the storage form of ``target``, with SQL Server's rounding."""
    if value is None:
        return None
    name = target.name
    if name in TEMPORAL:
        return _to_temporal(value, target)
    if name in CHARACTER:
        text = value if isinstance(value, str) else str(value)
        if name in ("char", "nchar"):
            text = text.ljust(target.length)
        if target.length != MAX and len(text) > target.length:
            raise SqlError(8152, "String or binary data would be truncated.")
        return text
    if name in BINARY:
        size = 8 if name == "rowversion" else target.length
        if isinstance(value, int):
            return (value % 256**size).to_bytes(size, "big")
        raw = value.encode("utf-16-le") if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]
        return raw.ljust(size, b"\0")[:size] if name != "varbinary" else raw
    if name == "uniqueidentifier":
        return value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))
    if name == "bit":
        if isinstance(value, str):
            return value.strip().lower() not in ("0", "false")
        return bool(value)
    if name in ("real", "float"):
        return float(value)  # type: ignore[arg-type]
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value).strip() or "0")
    except InvalidOperation as error:
        text = f"Error converting data type {type(value).__name__} to {name}."
        raise SqlError(8114, text) from error
    if isinstance(value, bool):
        number = Decimal(int(value))
    if name in INTEGERS:
        low, high = INTEGERS[name]
        whole = int(number)
        if not low <= whole <= high:
            raise overflow(target)
        return whole
    scale = 4 if name in ("money", "smallmoney") else target.scale
    digits = {"money": 19, "smallmoney": 10}.get(name, target.precision)
    number = number.quantize(Decimal(1).scaleb(-scale), context=WIDE)
    if number.copy_abs() >= Decimal(10) ** (digits - scale):
        raise overflow(target)
    return number


def _to_temporal(value: object, target: SqlType) -> object:
    minutes = 0
    if isinstance(value, str):
        ticks, minutes = _parse_stamp(value, 3 if target.name == "datetime" else 7)
    elif isinstance(value, dt.datetime):
        ticks = datetime_ticks(value)
        shift = value.utcoffset()
        minutes = int(shift.total_seconds() // 60) if shift is not None else 0
    elif isinstance(value, dt.date):
        ticks = (value.toordinal() - 1) * DAY
    elif isinstance(value, dt.time):
        ticks = time_ticks(value) + (0 if target.name == "time" else DAYS_1900 * DAY)
    elif isinstance(value, int):  # already ticks
        if target.name == "datetimeoffset":
            return value
        ticks = value
    else:
        raise SqlError(206, f"Operand type clash: {type(value).__name__} and {target.name}.")
    if target.name == "date":
        return dt.date.fromordinal(ticks // DAY + 1)
    if target.name == "time":
        return round_ticks(ticks % DAY, target)
    if target.name == "datetimeoffset":
        return pack_offset(round_ticks(ticks - minutes * 600_000_000, target), minutes)
    return round_ticks(ticks, target)


# -- the wire: types -----------------------------------------------------------------------------

_FIXED = {
    0x30: "tinyint", 0x32: "bit", 0x34: "smallint", 0x38: "int", 0x3A: "smalldatetime",
    0x3B: "real", 0x3C: "money", 0x3D: "datetime", 0x3E: "float", 0x7A: "smallmoney",
    0x7F: "bigint",
}  # fmt: skip
_SIZED = {
    (0x26, 1): "tinyint", (0x26, 2): "smallint", (0x26, 4): "int", (0x26, 8): "bigint",
    (0x68, 1): "bit", (0x6D, 4): "real", (0x6D, 8): "float", (0x6E, 8): "money",
    (0x6E, 4): "smallmoney", (0x6F, 8): "datetime", (0x6F, 4): "smalldatetime",
    (0x24, 16): "uniqueidentifier",
}  # fmt: skip
_SIZE_OF = {name: key for key, name in _SIZED.items()}
_FIXED_OF = {name: code for code, name in _FIXED.items()}
_STRINGS = {
    0xA5: "varbinary", 0xAD: "binary", 0xA7: "varchar", 0xAF: "char", 0xE7: "nvarchar",
    0xEF: "nchar",
}  # fmt: skip
_STRING_OF = {name: code for code, name in _STRINGS.items()}
_SCALED = {0x29: "time", 0x2A: "datetime2", 0x2B: "datetimeoffset"}
_SCALED_OF = {name: code for code, name in _SCALED.items()}
_REFUSED = {0x62: "sql_variant", 0xF0: "CLR types", 0xF3: "table-valued parameters", 0xF1: "xml"}


def _decimal_bytes(precision: int) -> int:
    return 4 if precision <= 9 else 8 if precision <= 19 else 12 if precision <= 28 else 16


def _time_bytes(scale: int) -> int:
    return 3 if scale <= 2 else 4 if scale <= 4 else 5


def type_info(kind: SqlType, nullable: bool = True) -> bytes:
    """TYPE_INFO of a type; columns that are not nullable have a form of their own for some types.

    The drivers take nullability of a number from that form, not from the flag in the metadata.
    """
    name = kind.name
    if not nullable and name in _FIXED_OF:
        return bytes([_FIXED_OF[name]])
    if name == "rowversion":
        return b"\xad\x08\x00"
    if name in _SIZE_OF:
        return bytes(_SIZE_OF[name])
    if name in ("decimal", "numeric"):
        code = 0x6A if name == "decimal" else 0x6C
        return bytes([code, _decimal_bytes(kind.precision) + 1, kind.precision, kind.scale])
    if name == "date":
        return b"\x28"
    if name in _SCALED_OF:
        return bytes([_SCALED_OF[name], kind.scale])
    width = 2 if name in ("nchar", "nvarchar") else 1
    size = 0xFFFF if kind.length == MAX else max(kind.length, 1) * width
    return struct.pack("<BH", _STRING_OF[name], size) + (COLLATION if name in CHARACTER else b"")


def read_typed(data: bytes, at: int) -> tuple[SqlType, object, int]:
    """A TYPE_INFO and the value that follows it: type, stored value, position after both."""
    code = data[at]
    at += 1
    if code == 0x1F:  # the NULL type: no value at all
        return SqlType("nvarchar", length=1), None, at
    if code in _FIXED:  # no length byte
        kind = SqlType(_FIXED[code])
        size = 1 if kind.name == "bit" else _SIZE_OF[kind.name][1]
        return kind, _decode(data[at : at + size], kind), at + size
    if code in (0x23, 0x63, 0x22):  # text, ntext, image: a four-byte length
        kind = SqlType({0x23: "varchar", 0x63: "nvarchar", 0x22: "varbinary"}[code], length=MAX)
        at += 4 if code == 0x22 else 9
        (size,) = struct.unpack_from("<i", data, at)
        at += 4
        raw = None if size < 0 else data[at : at + size]
        return kind, _decode_string(raw, kind), at + max(size, 0)
    if code in _STRINGS:
        (size,) = struct.unpack_from("<H", data, at)
        name = _STRINGS[code]
        width = 2 if name in ("nchar", "nvarchar") else 1
        kind = SqlType(name, length=MAX if size == 0xFFFF else size // width)
        raw, at = _read_string(data, at + 2 + (5 if name in CHARACTER else 0), kind.length)
        return kind, _decode_string(raw, kind), at
    if code == 0x28:
        kind = SqlType("date")
    elif code in _SCALED:
        kind = SqlType(_SCALED[code], scale=data[at])
        at += 1
    elif code in (0x6A, 0x6C, 0x37, 0x3F):
        name = "decimal" if code in (0x6A, 0x37) else "numeric"
        kind = SqlType(name, precision=data[at + 1], scale=data[at + 2])
        at += 3
    elif (code, data[at]) in _SIZED:
        kind = SqlType(_SIZED[code, data[at]])
        at += 1
    else:
        raise unsupported(_REFUSED.get(code, f"wire type 0x{code:02x}"))
    size = data[at]
    at += 1
    return kind, _decode(data[at : at + size], kind) if size else None, at + size


# -- the wire: values ----------------------------------------------------------------------------


def _decode_string(raw: bytes | None, kind: SqlType) -> object:
    if raw is None or kind.name not in CHARACTER:
        return raw
    return raw.decode("utf-16-le" if kind.name[0] == "n" else "cp1252", "replace")


def _read_string(data: bytes, at: int, length: int) -> tuple[bytes | None, int]:
    if length != MAX:
        (size,) = struct.unpack_from("<H", data, at)
        at += 2
        return (None, at) if size == 0xFFFF else (data[at : at + size], at + size)
    (total,) = struct.unpack_from("<Q", data, at)
    at += 8
    if total == 2**64 - 1:
        return None, at
    parts: list[bytes] = []
    while True:
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        if size == 0:
            return b"".join(parts), at
        parts.append(data[at : at + size])
        at += size


def _decode(raw: bytes, kind: SqlType) -> object:
    name = kind.name
    if name == "bit":
        return raw[0] != 0
    if name in INTEGERS:
        return int.from_bytes(raw, "little", signed=name != "tinyint")
    if name in ("real", "float"):
        return struct.unpack("<f" if name == "real" else "<d", raw)[0]
    if name in ("decimal", "numeric"):
        number = Decimal(int.from_bytes(raw[1:], "little"))
        return WIDE.scaleb(number if raw[0] else number.copy_negate(), -kind.scale)
    if name == "money":
        high, low = struct.unpack("<iI", raw)
        return WIDE.scaleb(Decimal(high * 2**32 + low), -4)
    if name == "smallmoney":
        return WIDE.scaleb(Decimal(int.from_bytes(raw, "little", signed=True)), -4)
    if name == "uniqueidentifier":
        return uuid.UUID(bytes_le=raw)
    if name == "datetime":
        days, units = struct.unpack("<iI", raw)
        return (days + DAYS_1900) * DAY + (units * 200_000 + 3) // 6
    if name == "smalldatetime":
        days, minutes = struct.unpack("<HH", raw)
        return (days + DAYS_1900) * DAY + minutes * 600_000_000
    if name == "date":
        return dt.date.fromordinal(int.from_bytes(raw, "little") + 1)
    size = _time_bytes(kind.scale)
    ticks = int.from_bytes(raw[:size], "little") * 10 ** (7 - kind.scale)
    if name == "time":
        return ticks
    ticks += int.from_bytes(raw[size : size + 3], "little") * DAY
    if name == "datetime2":
        return ticks
    return pack_offset(ticks, int.from_bytes(raw[-2:], "little", signed=True))


Encoder = Callable[[Sequence[object]], list[bytes]]


def encoder(kind: SqlType, nullable: bool = True) -> Encoder:
    """A function from a column of stored values to their wire forms."""
    one = _encode_one(kind)
    name = kind.name
    if not nullable and name in _FIXED_OF:  # no length byte
        return lambda values: [one(value)[1:] for value in values]
    if name in CHARACTER or name in BINARY:
        null = b"\xff" * 8 if kind.length == MAX else b"\xff\xff"
    else:
        null = b"\0"
    return lambda values: [null if value is None else one(value) for value in values]


def _encode_one(kind: SqlType) -> Callable[..., bytes]:
    name = kind.name
    if name == "bit":
        return lambda value: b"\x01\x01" if value else b"\x01\x00"
    if name in INTEGERS or name in ("real", "float"):
        codes = {"tinyint": "B", "smallint": "h", "int": "i", "bigint": "q", "real": "f"}
        pack = struct.Struct("<B" + codes.get(name, "d")).pack
        size = _SIZE_OF[name][1]
        if name in ("real", "float"):
            return lambda value: pack(size, value)

        def integer(value: int) -> bytes:
            try:
                return pack(size, value)
            except struct.error as error:
                raise overflow(kind) from error

        return integer
    if name in ("decimal", "numeric"):
        size, factor = _decimal_bytes(kind.precision), Decimal(10) ** kind.scale
        prefixes = bytes([size + 1, 0]), bytes([size + 1, 1])
        multiply = WIDE.multiply if kind.precision > 28 else operator.mul

        def number(value: Decimal) -> bytes:
            whole = int(multiply(value, factor).to_integral_value(ROUND_HALF_UP))
            try:
                return prefixes[whole >= 0] + abs(whole).to_bytes(size, "little")
            except OverflowError as error:
                raise overflow(kind) from error

        return number
    if name in ("money", "smallmoney"):

        def money(value: Decimal) -> bytes:
            whole = int(WIDE.to_integral_value(WIDE.scaleb(value, 4)))
            try:
                if name == "smallmoney":
                    return b"\x04" + struct.pack("<i", whole)
                return b"\x08" + struct.pack("<iI", whole >> 32, whole & 0xFFFFFFFF)
            except struct.error as error:
                raise overflow(kind) from error

        return money
    if name == "uniqueidentifier":
        return lambda value: b"\x10" + bytes(value.bytes_le)
    if name == "date":
        return lambda value: b"\x03" + int(value.toordinal() - 1).to_bytes(3, "little")
    if name in TEMPORAL:
        return _encode_ticks(kind)
    prefix = struct.Struct("<H").pack
    if kind.length == MAX:

        def plp(raw: bytes) -> bytes:
            if not raw:
                return bytes(12)
            return struct.pack("<QI", len(raw), len(raw)) + raw + b"\0\0\0\0"

        if name in BINARY:
            return plp
        code = "utf-16-le" if name[0] == "n" else "cp1252"
        return lambda value: plp(value.encode(code, "replace"))
    if name in BINARY:
        return lambda value: prefix(len(value)) + value
    code = "utf-16-le" if name[0] == "n" else "cp1252"

    def string(value: str) -> bytes:
        raw = value.encode(code, "replace")
        return prefix(len(raw)) + raw

    return string


def _encode_ticks(kind: SqlType) -> Callable[..., bytes]:
    if kind.name == "datetime":
        pack = struct.Struct("<BiI").pack

        def classic(value: int) -> bytes:
            days, ticks = divmod(value, DAY)
            return pack(8, days - DAYS_1900, (ticks * 3 + 50_000) // 100_000)

        return classic
    if kind.name == "smalldatetime":
        pack_small = struct.Struct("<BHH").pack
        return lambda value: pack_small(4, value // DAY - DAYS_1900, value % DAY // 600_000_000)
    size, step = _time_bytes(kind.scale), 10 ** (7 - kind.scale)
    if kind.name == "time":
        head = bytes([size])
        return lambda value: head + int(value // step).to_bytes(size, "little")
    head, shift, total = bytes([size + 3]), 8 * size, size + 3

    def stamp(value: int) -> bytes:
        days, ticks = divmod(value, DAY)
        if not 0 <= days <= LAST_DAY:
            text = f"Adding a value to a '{kind.name}' column caused an overflow."
            raise SqlError(517, text)
        return head + int(ticks // step | days << shift).to_bytes(total, "little")

    if kind.name == "datetime2":
        return stamp
    head = bytes([size + 5])

    def offset(value: int) -> bytes:
        utc, minutes = unpack_offset(value)
        return head + stamp(utc)[1:] + struct.pack("<h", minutes)

    return offset
