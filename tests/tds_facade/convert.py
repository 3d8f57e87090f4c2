"""Typed nodes and conversions between SQL Server types, as DuckDB expressions.

A lowered node carries its SQL Server type (``kind``) and, when it is a constant, its stored value
(``const``) in ``meta``.  Constants are converted here and now, with SQL Server's rounding and error
numbers; the rest becomes DuckDB SQL over the macros that :mod:`database` defines.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal

from sqlglot import exp

from .types import (
    BINARY,
    CHARACTER,
    EXACT,
    INTEGERS,
    MAX,
    TEMPORAL,
    TICKED,
    SqlError,
    SqlType,
    overflow,
    to_storage,
    unsupported,
)  # fmt: skip

INT, BIGINT, FLOAT = SqlType("int"), SqlType("bigint"), SqlType("float")
DATE, DATETIME, GUID = SqlType("date"), SqlType("datetime"), SqlType("uniqueidentifier")
DATETIME2, NVARCHAR = SqlType("datetime2", scale=7), SqlType("nvarchar", length=4000)
DATETIMEOFFSET = SqlType("datetimeoffset", scale=7)
NUMBERS = EXACT | set(INTEGERS) | {"bit", "real", "float"}
DAY, TICKS_1900, OFFSETS = 864_000_000_000, 599_266_080_000_000_000, 2048

_STYLES = {  # CONVERT styles: strftime format, and whether fraction digits follow
    0: ("%b %d %Y %I:%M%p", False), 20: ("%Y-%m-%d %H:%M:%S", False), 23: ("%Y-%m-%d", False),
    21: ("%Y-%m-%d %H:%M:%S", True), 101: ("%m/%d/%Y", False), 103: ("%d/%m/%Y", False),
    104: ("%d.%m.%Y", False), 108: ("%H:%M:%S", False), 112: ("%Y%m%d", False),
    114: ("%H:%M:%S", True), 120: ("%Y-%m-%d %H:%M:%S", False),
    121: ("%Y-%m-%d %H:%M:%S", True), 126: ("%Y-%m-%dT%H:%M:%S", True),
}  # fmt: skip


def kind_of(node: exp.Expr) -> SqlType | None:
    """The SQL Server type given to a node."""
    found = node.meta.get("kind")
    return found if isinstance(found, SqlType) else None


def mark(node: exp.Expr, kind: SqlType | None, **extra: object) -> exp.Expr:
    """Give a node its type."""
    node.meta["kind"] = kind
    node.meta.update(extra)
    return node


def call(name: str, *args: exp.Expr | int | str) -> exp.Expr:
    """A DuckDB function call."""
    return exp.Anonymous(this=name, expressions=[_node(arg) for arg in args])


def cast(node: exp.Expr, storage: str) -> exp.Expr:
    """A DuckDB cast."""
    return exp.Cast(this=node, to=exp.DataType.build(storage, dialect="duckdb"))


def arith(op: type[exp.Binary], left: exp.Expr, right: exp.Expr | int) -> exp.Expr:
    """A DuckDB operation, in parentheses."""
    return exp.Paren(this=op(this=left, expression=_node(right)))


def _node(value: exp.Expr | int | str) -> exp.Expr:
    if isinstance(value, exp.Expr):
        return value
    return exp.Literal.number(value) if isinstance(value, int) else exp.Literal.string(value)


def merge(kinds: Iterable[SqlType | None]) -> SqlType | None:
    """The common type of several, by precedence."""
    known = [kind for kind in kinds if kind is not None]
    if not known:
        return None
    best = max(known, key=lambda kind: kind.rank)
    if best.name in CHARACTER:
        alike = [kind for kind in known if kind.name in CHARACTER]
        huge = any(kind.length == MAX for kind in alike)
        varied = any(kind.name != best.name for kind in alike) and "var" not in best.name
        name = best.name.replace("char", "varchar") if varied else best.name
        longest = min(max(kind.length for kind in alike), 4000 if name[0] == "n" else 8000)
        return SqlType(name, length=MAX if huge else longest)
    if best.name in ("decimal", "numeric"):
        pairs = [_digits(kind) for kind in known if kind.name in EXACT or kind.name in INTEGERS]
        scale = max(s for _, s in pairs)
        whole = max(p - s for p, s in pairs)
        return SqlType(best.name, precision=min(38, whole + scale), scale=scale)
    if best.name in ("datetime2", "time", "datetimeoffset"):
        scales = (3 if kind.name == "datetime" else kind.scale for kind in known)
        return SqlType(best.name, scale=max(scales))
    return best


def _digits(kind: SqlType) -> tuple[int, int]:
    fixed = {"bit": (1, 0), "tinyint": (3, 0), "smallint": (5, 0), "int": (10, 0),
             "bigint": (19, 0), "money": (19, 4), "smallmoney": (10, 4)}  # fmt: skip
    return fixed.get(kind.name, (kind.precision, kind.scale))


def arithmetic_type(op: type[exp.Expr], a: SqlType, b: SqlType) -> SqlType:
    """The type of ``a op b``, with SQL Server's precision rules."""
    best = merge((a, b)) or INT
    if best.name not in ("decimal", "numeric"):
        return INT if best.name == "bit" else best
    (p1, s1), (p2, s2) = _digits(a), _digits(b)
    if op is exp.Mul:
        p, s = p1 + p2 + 1, s1 + s2
    elif op is exp.Div:
        s = max(6, s1 + p2 + 1)
        p = p1 - s1 + s2 + s
    else:
        s = max(s1, s2)
        p = max(p1 - s1, p2 - s2) + s + (op is not exp.Mod)
    if p > 38:  # keep the whole part, but at least six decimals
        p, s = 38, max(min(s, 6), s - (p - 38))
    return SqlType(best.name, precision=p, scale=s)


def differs(kind: SqlType, target: SqlType) -> bool:
    """Whether DuckDB needs help to compare values of two types."""
    alike = (CHARACTER, BINARY, TICKED, NUMBERS)
    together = any(kind.name in group and target.name in group for group in alike)
    return kind.name != target.name and not together


class Converter:
    """Makes constants and conversions; collects the values to bind."""

    def __init__(self) -> None:
        self.args: dict[str, object] = {}
        self.inferred: dict[str, SqlType] = {}  # of parameters that have no type yet

    def bind(self, value: object, kind: SqlType) -> exp.Expr:
        """A constant of a type, passed to DuckDB as a bound parameter."""
        name = f"b{len(self.args)}"
        self.args[name] = str(value) if kind.storage == "HUGEINT" and value is not None else value
        return mark(cast(exp.Placeholder(this=name), kind.storage), kind, const=value)

    def convert(
        self, node: exp.Expr, target: SqlType, style: int | None = None, *, explicit: bool = False
    ) -> exp.Expr:
        """Convert a lowered node to a type; an ``explicit`` conversion may cut a string."""
        kind = kind_of(node)
        parameter = node.meta.get("parameter")
        if parameter:
            self.inferred[str(parameter).lower()] = target
            return mark(cast(exp.Null(), target.storage), target)
        if kind == target:
            return node
        if kind is None:
            return mark(cast(node, target.storage), target)
        if style is None and "const" in node.meta and _foldable(kind, target):
            value = node.meta["const"]
            if explicit and isinstance(value, str) and 0 < target.length < len(value):
                value = value[: target.length]
            return self.bind(_from_constant(value, kind, target), target)
        return mark(_convert(node, kind, target, style), target)

    def timestamp(self, node: exp.Expr) -> exp.Expr:
        """A DuckDB TIMESTAMP (microseconds) of a temporal value, for DuckDB's date functions."""
        kind = kind_of(node)
        if kind is not None and kind.name in CHARACTER:
            node, kind = self.convert(node, DATETIME2), DATETIME2
        if kind is None or kind.name not in TEMPORAL:
            return node
        return cast(node, "TIMESTAMP") if kind == DATE else call("mss_ts", _ticks(node, kind))


def _foldable(kind: SqlType, target: SqlType) -> bool:
    if kind.name in CHARACTER:
        return target.name not in BINARY
    if kind.name in TEMPORAL:
        return target.name in TEMPORAL and kind.name not in ("time", "datetimeoffset")
    return kind.name in NUMBERS and target.name in NUMBERS and kind.name not in ("real", "float")


def _from_constant(value: object, kind: SqlType, target: SqlType) -> object:
    """Convert a constant as SQL Server would, with its error numbers."""
    if isinstance(value, str) and target.name in NUMBERS - {"bit"}:
        try:
            number = Decimal(value.strip() or "0")
        except ArithmeticError:
            number = Decimal("NaN")
        whole = target.name in INTEGERS
        if number.is_nan() or (whole and number != int(number)):
            text = f"the {kind.name} value '{value}' to data type {target.name}."
            raise SqlError(245 if whole else 8114, f"Conversion failed when converting {text}")
        return to_storage(number, target)
    if isinstance(value, str) and target == GUID:
        try:
            return to_storage(value, target)
        except ValueError as error:
            text = "Conversion failed when converting from a character string to uniqueidentifier."
            raise SqlError(8169, text) from error
    if target.name == "datetimeoffset" and isinstance(value, int):
        return value * OFFSETS + OFFSETS // 2
    if target.name == "datetimeoffset" and isinstance(value, dt.date):
        value = dt.datetime.combine(value, dt.time())
    if target.name in INTEGERS and isinstance(value, Decimal) and not -(2**63) <= value < 2**63:
        raise overflow(target)
    return to_storage(value, target)


def _convert(node: exp.Expr, kind: SqlType, target: SqlType, style: int | None) -> exp.Expr:
    source, name = kind.name, target.name
    if name == source == "date":
        return node
    if name in TICKED:
        return _round(_ticks(node, kind, name), kind, target)
    if name == "date":
        return call("mss_date", _ticks(node, kind))
    if name == "time":
        ticks = arith(exp.Mod, node if source == name else _ticks(node, kind), DAY)
        return arith(exp.Mod, call("mss_round", ticks, 10 ** (7 - target.scale)), DAY)
    if name == "datetimeoffset":
        ticks = node if source == name else cast(_ticks(node, kind), "HUGEINT")
        return node if source == name else arith(
            exp.Add, arith(exp.Mul, ticks, OFFSETS), OFFSETS // 2)  # fmt: skip
    if name in CHARACTER:
        return _to_character(node, kind, target, style)
    if name in BINARY and source in INTEGERS:
        own = {"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}[source]
        size = 8 if name == "rowversion" else own if name == "varbinary" else target.length
        return call("mss_binary", cast(node, "BIGINT"), size)
    if name in BINARY:
        raw = call("encode", node) if source in CHARACTER else node
        return call("mss_padded", raw, target.length) if name == "binary" else raw
    if source in BINARY and name in INTEGERS:
        return cast(call("mss_integer", node), target.storage)
    if source in TEMPORAL:
        raise unsupported(f"converting {source} to {name}")
    if name == "bit" and source not in CHARACTER:
        return exp.Paren(this=exp.NEQ(this=node, expression=_node(0)))
    if name in INTEGERS and source in EXACT | {"real", "float"}:
        return cast(call("trunc", node), target.storage)
    return cast(node, target.storage)


def _ticks(node: exp.Expr, kind: SqlType, target: str = "datetime2") -> exp.Expr:
    """Ticks since 0001-01-01 of a value, in its own time zone."""
    if kind.name in TICKED:
        return node
    if kind.name == "date":
        return call("mss_date_ticks", node)
    if kind.name == "time":
        return arith(exp.Add, node, TICKS_1900)
    if kind.name == "datetimeoffset":
        return call("mss_local", node)
    if kind.name in CHARACTER:
        return call("mss_parse", node, 3 if target == "datetime" else 7)
    if target in ("datetime", "smalldatetime"):  # a number of days since 1900
        ticks = cast(arith(exp.Mul, cast(node, "DOUBLE"), DAY), "BIGINT")
        return arith(exp.Add, ticks, TICKS_1900)
    raise SqlError(529, f"Explicit conversion from data type {kind} to {target} is not allowed.")


def _round(ticks: exp.Expr, kind: SqlType, target: SqlType) -> exp.Expr:
    if target.name in ("datetime", "smalldatetime"):
        return ticks if kind.name == target.name else call(f"mss_{target.name}", ticks)
    exact = kind.name == "date" or (kind.name == "datetime2" and kind.scale <= target.scale)
    if exact or target.scale == 7:
        return ticks
    return call("mss_round", ticks, 10 ** (7 - target.scale))


def _to_character(node: exp.Expr, kind: SqlType, target: SqlType, style: int | None) -> exp.Expr:
    name = kind.name
    text = node
    if name in TEMPORAL:
        digits = {"datetime": 3, "smalldatetime": 0, "date": 0}.get(name, kind.scale)
        usual = {"date": 23, "time": 114, "datetime": 0, "smalldatetime": 0}.get(name, 121)
        found = _STYLES.get(usual if style is None else style)
        if found is None:
            raise unsupported(f"CONVERT style {style}")
        layout, fraction = found
        if name == "time":  # the other part of a style is left out
            layout = layout.replace("T", " ").rpartition("%d ")[2] or "%H:%M:%S"
        elif name == "date":
            layout, fraction = layout.replace("T", " ").partition(" %H")[0], False
        ticks = _ticks(node, kind)
        if name == "datetime":
            ticks = call("mss_round", ticks, 10_000)
        text = call("mss_text", ticks, digits if fraction else 0, layout)
        if name == "datetimeoffset" and layout.startswith("%Y-%m-%d "):
            text = exp.DPipe(this=text, expression=call("mss_offset", node.copy()))
    elif name in BINARY:
        text = call("hex", node) if style in (1, 2) else call("decode", node)
        text = exp.DPipe(this=_node("0x"), expression=text) if style == 1 else text
    elif name == "bit":
        text = cast(cast(node, "INTEGER"), "VARCHAR")
    elif name == "uniqueidentifier":
        text = call("upper", cast(node, "VARCHAR"))
    elif name not in CHARACTER:
        text = cast(node, "VARCHAR")
    if target.name in ("char", "nchar"):
        return call("rpad", text, target.length, " ")
    narrower = name not in CHARACTER or kind.length == MAX or kind.length > target.length
    return call("left", text, target.length) if narrower and target.length > 0 else text
