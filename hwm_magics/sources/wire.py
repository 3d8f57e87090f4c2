"""How a column travels: what is selected for it, what arrives, and how that becomes its exact Arrow type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from hwm_magics.arrow import arrow_type, cast_array
from hwm_magics.core.observed import Column
from hwm_magics.core.statement import Statement
from hwm_magics.errors import QueryError, SchemaMismatchError

__all__ = [
    "Described",
    "Pack",
    "UnmappedError",
    "Wire",
    "as_is",
    "check_names",
    "check_times",
    "collect",
    "decode",
    "parsed",
    "projection",
    "schema_of",
    "unreadable",
    "wrapped",
]

Decoder = Callable[[Sequence[pa.Array], Column], pa.Array]


@dataclass(frozen=True, slots=True)
class Described:
    """A column of a query, as its database describes it.

    Attributes:
        name: Its name.
        native: The database's own name of its type, with precision where that is known.
        arrow: The Arrow type in which the driver would deliver it; None when the driver does not say.
        nullable: Whether it may hold NULL, as far as the database says.
    """

    name: str
    native: str = ""
    arrow: pa.DataType | None = None
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Pack:
    """How columns travel together, as one text a row. Columns whose packs are equal do.

    Attributes:
        join: SQL for the text that holds the given expressions' values.
        split: The columns of such texts.
    """

    join: Callable[[Sequence[str]], str]
    split: Callable[[pa.Array, Sequence[Column]], Sequence[pa.Array]]


@dataclass(frozen=True, slots=True)
class Wire:
    """How one column travels.

    Attributes:
        column: The column, with the type that it ends up in.
        decode: Makes its Arrow array of what arrives.
        types: The Arrow types of what arrives.
        expressions: What is selected, when that is not the column itself; one a type.
        cast: The SELECT expression that changes what the column means (a uuid to its text), which
            people should see; "" where nothing is changed but the way it travels.
        pack: How it travels where others with the same pack are read beside it; None for alone.
    """

    column: Column
    decode: Decoder
    types: tuple[pa.DataType, ...]
    expressions: tuple[str, ...] = field(default=())
    cast: str = ""
    pack: Pack | None = None


class UnmappedError(Exception):
    """Delta Lake has no type for a column; the message says what to write instead."""


def as_is(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
    """The array, with its layout changed where that loses nothing."""
    try:
        return cast_array(arrays[0], arrow_type(column.type), column.name)
    except SchemaMismatchError as error:
        # Not a mismatch of schemas: the source sent what its own type does not allow.
        raise QueryError(error.message, hint=f"cast {column.name} in the query") from error


def parsed(arrays: Sequence[pa.Array], column: Column) -> pa.Array:
    """Values of the column's type, from their texts."""
    dtype = arrow_type(column.type)
    try:
        return arrays[0].cast(dtype)
    except pa.ArrowInvalid as error:
        raise unreadable(arrays[0], dtype, column) from error


def unreadable(texts: pa.Array, dtype: pa.DataType, column: Column) -> QueryError:
    """The error for the first text that is no value of a type."""
    shown = next((text for text in texts if text.is_valid and not _reads(text, dtype)), pa.scalar("?"))
    return QueryError(
        f"column {column.name!r} holds {str(shown)!r}, which is no value of {column.type} (the source calls the "
        f"column {column.native or 'of no type'})",
        hint=f"leave such rows out with read.where, or cast {column.name} to text in the query",
    )


def _reads(text: pa.Scalar, dtype: pa.DataType) -> bool:
    try:
        text.cast(dtype)
    except pa.ArrowInvalid:
        return False
    return True


# 0001-01-01 and the first moment after 9999-12-31, in days and microseconds since 1970.
_DAYS = (-719162, 2932897)
_MICROS = (_DAYS[0] * 86_400_000_000, _DAYS[1] * 86_400_000_000)


def check_times(array: pa.Array, column: Column) -> pa.Array:
    """The dates or times, none of them outside of the years 1 to 9999.

    PostgreSQL's infinities arrive as far-away numbers, and neither Spark nor Python can hold them.
    """
    import pyarrow.compute as pc

    days = pa.types.is_date(array.type)
    numbers = array.view(pa.int32() if days else pa.int64())
    low, high = _DAYS if days else _MICROS
    found = pc.min_max(numbers)
    if not found["min"].is_valid or (found["min"].as_py() >= low and found["max"].as_py() < high):
        return array
    raise QueryError(
        f"column {column.name!r} ({column.native}) holds an infinite date, or one outside of the years 1 to 9999",
        hint=f"leave such rows out with read.where, or write NULLIF({column.name}, 'infinity') AS {column.name} "
        "in the query",
    )


def collect(described: Iterable[Described], make: Callable[[Described], Wire]) -> tuple[Wire, ...]:
    """The ways of all columns.

    Args:
        described: The columns.
        make: Gives one column's way, or raises :class:`UnmappedError`.

    Raises:
        QueryError: Two columns have one name (whatever its case, since Delta Lake ignores it), or
            some have types that Delta Lake lacks; all of them are named.
    """
    described = tuple(described)
    check_names([each.name for each in described])
    wires: list[Wire] = []
    refused: list[str] = []
    for each in described:
        try:
            wires.append(make(each))
        except UnmappedError as error:
            refused.append(f"{each.name} ({each.native or each.arrow}): {error}")
    if refused:
        raise QueryError(
            f"Delta Lake has no type for {len(refused)} of the query's columns:\n  " + "\n  ".join(refused),
            hint="select the columns with the casts named above",
        )
    return tuple(wires)


def check_names(names: Sequence[str]) -> None:
    """Refuse columns without a name, and names that differ in case at most.

    Raises:
        QueryError: There are some.
    """
    seen: dict[str, str] = {}
    doubled = []
    for name in names:
        if not name:
            raise QueryError("a column of the query has no name", hint="give it one with AS")
        other = seen.setdefault(name.lower(), name)
        if seen[name.lower()] is not name or names.count(name) > 1:
            doubled.append(name if other == name else f"{other} and {name}")
    if doubled:
        raise QueryError(
            f"the query gives more than one column called {', '.join(dict.fromkeys(doubled))}; Delta Lake tells names "
            "apart by more than their case",
            hint="give each column a name of its own with AS",
        )


def projection(wires: Sequence[Wire], quote: Callable[[str], str]) -> tuple[str, ...] | None:
    """The SELECT expressions that change what columns mean; None when there are none."""
    if not any(wire.cast for wire in wires):
        return None
    return tuple(
        f"{wire.cast} AS {quote(wire.column.name)}" if wire.cast else quote(wire.column.name)
        for wire in wires
    )


def wrapped(
    statement: Statement,
    wires: Sequence[Wire],
    quote: Callable[[str], str],
    *,
    projected: bool,
    alias: str = "AS hwm_wire",
) -> Statement:
    """The statement with each column selected as it travels; itself when all travel as they are.

    Args:
        statement: The statement.
        wires: Its columns' ways.
        quote: Quotes a name.
        projected: Whether its columns went through :func:`projection` already.
        alias: How the derived table is named.
    """
    if not any(wire.expressions or (wire.cast and not projected) for wire in wires):
        return statement
    selected: list[str] = []
    for group in _groups(wires):
        pack = wires[group[0]].pack
        if pack is not None and len(group) > 1:
            selected.append(pack.join([quote(wires[at].column.name) for at in group]))
            continue
        wire = wires[group[0]]
        cast = "" if projected else wire.cast
        selected += wire.expressions or (cast or quote(wire.column.name),)
    named = ", ".join(f"{part} AS {quote(f'c{at}')}" for at, part in enumerate(selected))
    # The line breaks end a comment on the statement's last line.
    return Statement((f"SELECT {named} FROM (\n", *statement.parts, f"\n) {alias}"))  # noqa: S608 - quoted


def schema_of(wires: Sequence[Wire]) -> pa.Schema:
    """The schema of decoded batches."""
    return pa.schema([pa.field(wire.column.name, arrow_type(wire.column.type)) for wire in wires])


def decode(arrays: Sequence[pa.Array], wires: Sequence[Wire], schema: pa.Schema) -> pa.RecordBatch:
    """A batch in its final types, from the columns as they arrived."""
    decoded: list[pa.Array | None] = [None] * len(wires)
    at = 0
    for group in _groups(wires):
        pack = wires[group[0]].pack
        if pack is not None and len(group) > 1:
            columns = pack.split(arrays[at], [wires[number].column for number in group])
            for number, column in zip(group, columns, strict=True):
                decoded[number] = column
            at += 1
            continue
        wire = wires[group[0]]
        count = len(wire.types)
        decoded[group[0]] = wire.decode(arrays[at : at + count], wire.column)
        at += count
    return pa.RecordBatch.from_arrays(decoded, schema=schema)


def _groups(wires: Sequence[Wire]) -> list[list[int]]:
    """The columns in the order in which they travel, those that travel together as one."""
    groups: list[list[int]] = []
    packed: dict[Pack, list[int]] = {}
    for number, wire in enumerate(wires):
        group = packed.get(wire.pack) if wire.pack is not None else None
        if group is not None and len(group) < _MOST_PACKED:
            group.append(number)
            continue
        groups.append([number])
        if wire.pack is not None:
            packed[wire.pack] = groups[-1]
    return groups


_MOST_PACKED = 40
"""PostgreSQL's functions take 100 arguments, and each column needs two."""
