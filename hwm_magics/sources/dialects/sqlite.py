"""SQLite: columns of declared types, values of any; what does not fit its column's declaration is refused."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa

from hwm_magics.arrow import MAX_PRECISION, arrow_type
from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue, Scalar
from hwm_magics.core.observed import Column, SourceIdentity
from hwm_magics.core.sql_names import table_parts
from hwm_magics.errors import QueryError
from hwm_magics.sources.dialects.base import Ask, Clock, Dialect, TableFacts
from hwm_magics.sources.rendering import Bound, bind_by_text, in_form
from hwm_magics.sources.wire import Described, UnmappedError, Wire, parsed

__all__ = ["Sqlite", "declared_kind"]

_CASTS = {CursorKind.INTEGER: "CAST(? AS INTEGER)", CursorKind.DECIMAL: "CAST(? AS NUMERIC)"}
_EXACT_DIGITS = 15
"""A double and a decimal of so many digits belong to each other, one to one."""
_NAMED = {
    "DATE": "date",
    "DATETIME": "timestamp_ntz",
    "SMALLDATETIME": "timestamp_ntz",
    "DATETIME2": "timestamp_ntz",
    "TIMESTAMP": "timestamp_ntz",
    "TIMESTAMP WITHOUT TIME ZONE": "timestamp_ntz",
    "TIMESTAMPTZ": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
    "DATETIMEOFFSET": "timestamp",
    "TIME": "string",
    "JSON": "string",
    "JSONB": "binary",
    "UUID": "string",
    "GUID": "string",
    "STRING": "string",
    "XML": "string",
    "BOOL": "boolean",
    "BOOLEAN": "boolean",
    # What SQLite itself calls the affinities of expressions.
    "INT": "long",
    "NUM": "",
}
_BY_AFFINITY = (
    ("INT", "long"),
    ("CHAR", "string"),
    ("CLOB", "string"),
    ("TEXT", "string"),
    ("BLOB", "binary"),
    ("BINARY", "binary"),
    ("REAL", "double"),
    ("FLOA", "double"),
    ("DOUB", "double"),
)
_CLASSES = {1: "a whole number", 2: "a floating point number", 3: "text", 4: "bytes"}


def declared_kind(native: str) -> str:
    """The Delta type of a declared type; "" when the declaration does not say.

    Raises:
        UnmappedError: A decimal without a precision.
    """
    name = " ".join(re.sub(r"\(.*?\)", "", native).upper().split())
    number = re.match(
        r"(?:DECIMAL|NUMERIC|NUMBER|DEC)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?",
        native.strip(),
        re.IGNORECASE,
    )
    if number:
        if number[1] is None:
            raise UnmappedError("it has no precision")
        precision, scale = int(number[1]), int(number[2] or 0)
        if precision > MAX_PRECISION or scale > precision:
            raise UnmappedError(f"Delta Lake has {MAX_PRECISION} digits at most")
        return f"decimal({precision},{scale})"
    if name in _NAMED:
        return _NAMED[name]
    return next((kind for word, kind in _BY_AFFINITY if word in name), "")


@dataclass(frozen=True, slots=True)
class Sqlite(Dialect):
    """SQLite."""

    types_by_value: bool = True

    def bind(self, value: CursorValue | Scalar) -> Bound:
        if isinstance(value, bool):
            return Bound("CAST(? AS INTEGER)", str(int(value)))
        if isinstance(value, CursorValue) and value.type.is_time and value.type.kind is not CursorKind.TEXT:
            form = value.type.form
            return Bound("?", in_form(value.text, form) if form else value.text)
        if isinstance(value, date):
            # Their texts: a cast to SQLite's idea of TIMESTAMP would make numbers of them.
            return Bound("?", value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat())
        return bind_by_text(value, _CASTS)

    def exact(self, expression: str, cursor_type: CursorType) -> str:
        if cursor_type.kind is CursorKind.DECIMAL:
            return f"printf('%!.{_EXACT_DIGITS}g', {expression})"
        return f"CAST({expression} AS TEXT)"

    def wire(self, described: Described) -> Wire:
        name = self.quote(described.name)
        try:
            kind = declared_kind(described.native)
        except UnmappedError as error:
            raise UnmappedError(
                f"{error}; write CAST({name} AS DECIMAL(18, 4)) AS {name}, with the digits that it needs"
            ) from None
        if not kind:
            raise UnmappedError(
                f"neither a declaration nor a value says its type; write CAST({name} AS INTEGER) AS {name}, say"
            )
        column = Column(described.name, kind, described.nullable, described.native)
        if kind == "long":
            return Wire(column, _first, (pa.int64(),), (name,))
        if kind == "boolean":
            return Wire(column, _boolean, (pa.int64(),), (name,))
        if kind == "double":
            # An integer beyond 2^53 in a column without REAL's affinity would be rounded.
            guard = (
                f"CASE WHEN typeof({name}) = 'integer' AND abs({name}) > 9007199254740992 THEN 1 ELSE 0 END"
            )
            return Wire(column, _guarded, (pa.float64(), pa.int64()), (name, guard))
        if kind == "string":
            guard = f"CASE typeof({name}) WHEN 'blob' THEN 4 WHEN 'real' THEN 2 ELSE 0 END"
            return Wire(column, _guarded, (pa.string(), pa.int64()), (f"CAST({name} AS TEXT)", guard))
        if kind == "binary":
            guard = (
                f"CASE typeof({name}) WHEN 'text' THEN 3 WHEN 'integer' THEN 1 WHEN 'real' THEN 2 ELSE 0 END"
            )
            return Wire(column, _guarded, (pa.binary(), pa.int64()), (f"CAST({name} AS BLOB)", guard))
        if kind.startswith("decimal"):
            return Wire(column, _decimal, (pa.int64(), pa.float64(), pa.string()), (
                f"CASE typeof({name}) WHEN 'integer' THEN {name} END",
                f"CASE typeof({name}) WHEN 'real' THEN {name} END",
                f"CASE WHEN typeof({name}) IN ('text', 'blob') THEN CAST({name} AS TEXT) END",
            ))  # fmt: skip
        return Wire(column, _time, (pa.string(), pa.string()), (
            f"CASE typeof({name}) WHEN 'text' THEN {name} END",
            f"CASE WHEN typeof({name}) IN ('integer', 'real', 'blob') THEN CAST({name} AS TEXT) END",
        ))  # fmt: skip

    def as_text(self, name: str) -> str:
        return f"CAST({self.quote(name)} AS TEXT) AS {self.quote(name)}"

    def is_text(self, native: str) -> bool:
        name = native.upper()
        return not any(word in name for word in ("JSON", "UUID", "GUID", "XML")) and name.strip() != "TIME"

    def clock(self, kind: CursorKind, timezone: str | None) -> Clock:
        del kind, timezone
        return Clock("strftime('%Y-%m-%d %H:%M:%f', 'now')", utc=True, digits=3)

    def unlike(self, expression: str, pattern: str) -> str:
        return f"{expression} NOT GLOB '{pattern.replace('9', '[0-9]')}'"

    def strays(self, expression: str, cursor_type: CursorType) -> str:
        kind = cursor_type.kind
        fit = {CursorKind.INTEGER: "'integer'", CursorKind.DECIMAL: "'integer', 'real'"}.get(kind, "'text'")
        found = f"typeof({expression})"
        return f"MAX(CASE WHEN {found} NOT IN ('null', {fit}) THEN {found} END)"

    def identity(self, ask: Ask, place: str) -> SourceIdentity:
        del ask
        return SourceIdentity(text=f"SQLite database {place}")

    def server(self, ask: Ask) -> str:
        # No server: whoever opens the file has the same one.
        return ", ".join(str(file) for _, _, file in ask("SELECT * FROM pragma_database_list") if file)

    def facts(self, ask: Ask, table: str) -> TableFacts | None:
        parts = table_parts(table, "sqlite")
        where = self.literal(parts[-1]) + (f", {self.literal(parts[0])}" if len(parts) > 1 else "")
        columns = ask(f'SELECT name, "notnull", pk, upper(type) FROM pragma_table_xinfo({where})')  # noqa: S608 - quoted
        if not columns:
            return None
        not_null = {str(name) for name, declared, _, _ in columns if int(declared)}
        keys = [str(name) for _, name in sorted((int(pk), name) for name, _, pk, _ in columns if int(pk))]
        rowid = next((str(name) for name, _, pk, kind in columns if int(pk) and kind == "INTEGER"), None)
        indexes: dict[str, list[str | None]] = {}
        unique = set()
        for index, column, is_unique in ask(
            'SELECT l.name, i.name, l."unique" FROM pragma_index_list(' + where + ") AS l, "  # noqa: S608 - quoted
            f"pragma_index_info(l.name{f', {self.literal(parts[0])}' if len(parts) > 1 else ''}) AS i "
            "WHERE NOT l.partial ORDER BY l.name, i.seqno"
        ):
            indexes.setdefault(index, []).append(column)
            if int(is_unique):
                unique.add(index)
        sets = [
            frozenset(str(name) for name in indexes[index]) for index in unique if None not in indexes[index]
        ]
        first = {str(names[0]) for names in indexes.values() if names[0] is not None}
        if len(keys) == 1 and rowid is not None:
            # An INTEGER PRIMARY KEY is the row's id: unique, never NULL and in order, with no index of its own.
            not_null.add(rowid)
            first.add(rowid)
            sets.append(frozenset({rowid}))
        return TableFacts(frozenset(not_null), frozenset(first), tuple(sets), primary=frozenset(keys))

    def tables(self, ask: Ask) -> tuple[str, ...]:
        found: list[str] = []
        for _, schema, *_ in ask("SELECT * FROM pragma_database_list"):
            prefix = "" if schema == "main" else f"{schema}."
            names = ask(
                f"SELECT name FROM {self.quote(str(schema))}.sqlite_master WHERE type IN ('table', 'view')"  # noqa: S608 - quoted
            )
            found += [f"{prefix}{name}" for (name,) in names]
        return tuple(found)


def _stray(column: Column, what: str) -> QueryError:
    return QueryError(
        f"column {column.name!r} is declared {column.native or column.type}, and holds {what}",
        hint=f"mend such rows, or write CAST({column.name} AS TEXT) AS {column.name} in the query",
    )


def _first(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
    del column
    return arrays[0]


def _guarded(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
    import pyarrow.compute as pc

    worst = pc.max(arrays[1]).as_py()
    if worst:
        raise _stray(column, _CLASSES[worst])
    if column.type == "string":
        try:
            arrays[0].validate(full=True)
        except pa.ArrowInvalid as error:
            raise _stray(column, "text that is not UTF-8") from error
    return arrays[0]


def _boolean(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
    import pyarrow.compute as pc

    found = pc.min_max(arrays[0])
    for bound in (found["min"], found["max"]):
        if bound.is_valid and bound.as_py() not in (0, 1):
            raise _stray(column, f"{bound}, which is neither 0 nor 1")
    return arrays[0].cast(pa.bool_())


def _decimal(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
    """A decimal of the whole numbers and doubles that SQLite made of it.

    A double stands for the decimal of the column's digits that is nearest to it, if that has no more
    than 15 digits in all, and is that double again: up to there the two belong to each other.
    """
    import pyarrow.compute as pc

    whole, real, text = arrays
    dtype = arrow_type(column.type)
    if text.null_count < len(text):
        raise _stray(column, f"the text {str(text.drop_null()[0])!r}")
    try:
        numbers = whole.cast(pa.decimal128(19, 0)).cast(dtype)
    except pa.ArrowInvalid as error:
        raise _stray(
            column, f"a whole number with more than {dtype.precision - dtype.scale} digits"
        ) from error
    if real.null_count == len(real):
        return numbers
    factor = _double(10.0**dtype.scale)
    units = pc.round(pc.multiply(real, factor))
    digits = min(_EXACT_DIGITS, dtype.precision)
    fits = pc.and_(pc.less(pc.abs(units), _double(10.0**digits)), pc.equal(pc.divide(units, factor), real))
    strays = real.filter(pc.invert(fits))
    if len(strays) or dtype.scale > _EXACT_DIGITS:
        shown = strays[0] if len(strays) else real.drop_null()[0]
        raise _stray(
            column,
            f"the floating point number {shown!s}, which is no decimal of {dtype.scale} places to 15 digits",
        )
    counted = units.cast(pa.int64()).cast(pa.decimal128(19, 0))
    # The same digits, with the point where it belongs.
    wide = pa.Array.from_buffers(
        pa.decimal128(MAX_PRECISION, dtype.scale), len(counted), counted.buffers(), offset=counted.offset
    )
    return pc.coalesce(wide.cast(dtype), numbers)


def _double(value: float) -> pa.Scalar:
    # Not by pa.scalar, which imports pandas to look at what it gets.
    return pa.Array.from_buffers(pa.float64(), 1, [None, pa.py_buffer(struct.pack("=d", value))])[0]


def _time(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
    texts, others = arrays
    if others.null_count < len(others):
        raise _stray(column, f"{str(others.drop_null()[0])!r}, which is no text")
    return parsed([texts], column)
