"""Whether rows of one schema fit a table of another without loss."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hwm_magics.core.decided import SchemaChange
from hwm_magics.core.observed import Column
from hwm_magics.core.specs import SchemaPolicy

__all__ = ["clashes", "compare", "lossless", "of_types"]

_INTEGERS = {"byte": 3, "short": 5, "integer": 10, "long": 19}
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")
_EXACT_IN = {"float": {"byte", "short"}, "double": {"byte", "short", "integer", "float"}}


def lossless(source: str, target: str) -> bool:
    """Whether every value of one Delta type has an equal value in another.

    Args:
        source: A Delta type, such as ``decimal(10,2)``.
        target: Another.

    Returns:
        True when no cast of ``source`` to ``target`` can change a value. Text is never made of
        other types, nor a time with a zone of one without, nor a floating point number of a
        decimal: that changes what the value means.
    """
    if source == target:
        return True
    if source in _INTEGERS and target in _INTEGERS:
        return _INTEGERS[source] <= _INTEGERS[target]
    if target in _EXACT_IN:
        return source in _EXACT_IN[target]
    narrow, wide = _DECIMAL.fullmatch(source), _DECIMAL.fullmatch(target)
    if narrow and target in _INTEGERS:
        return int(narrow[2]) == 0 and int(narrow[1]) < _INTEGERS[target]
    if wide:
        precision, scale = int(wide[1]), int(wide[2])
        if source in _INTEGERS:
            return precision - scale >= _INTEGERS[source]
        return (
            narrow is not None
            and scale >= int(narrow[2])
            and precision - scale >= int(narrow[1]) - int(narrow[2])
        )
    return source == "date" and target == "timestamp_ntz"


def clashes(columns: Sequence[Column]) -> tuple[str, ...]:
    """Columns whose names Delta Lake takes for the same, as sentences: it does not look at case."""
    seen: dict[str, str] = {}
    told = []
    for column in columns:
        other = seen.get(column.name.lower())
        if other == column.name:
            told.append(f"two columns are named {other!r}; give one an alias in the query")
        elif other is not None:
            told.append(
                f"columns {other!r} and {column.name!r} differ in case only; give one an alias in the query"
            )
        seen.setdefault(column.name.lower(), column.name)
    return tuple(dict.fromkeys(told))


def of_types(columns: Sequence[Column], names: Sequence[str], types: str) -> tuple[str, ...]:
    """Which of some columns are of some types.

    Args:
        columns: All columns.
        names: Those that are looked at.
        types: A regular expression of Delta types; "" for none.

    Returns:
        They, each with its type, in the order of ``names``.
    """
    there = {column.name: column.type for column in columns}
    return tuple(
        f"{name} ({there[name]})" for name in names if re.fullmatch(types, there.get(name, "") or " ")
    )


def compare(source: Sequence[Column], target: Sequence[Column], policy: SchemaPolicy) -> SchemaChange:
    """Compare the columns that will be read with those of the target.

    Args:
        source: The columns of the rows to write.
        target: The table's columns.
        policy: ``evolve`` adds new columns, ``strict`` refuses them.

    Returns:
        The differences. Any entry in ``conflicts`` means that the rows must not be written.
    """
    by_name = {column.name: column for column in target}
    by_lower = {column.name.lower(): column for column in target}
    added: list[Column] = []
    casts: list[tuple[str, str, str]] = []
    conflicts = list(clashes(source))
    for column in source:
        there = by_name.get(column.name)
        if there is None:
            other = by_lower.get(column.name.lower())
            if other is not None:
                conflicts.append(
                    f"column {column.name!r} differs from the target's {other.name!r} in case only; "
                    f"give it an alias in the query"
                )
            elif policy is SchemaPolicy.STRICT:
                conflicts.append(
                    f"column {column.name!r} ({column.type}) is not in the target, and schema is strict"
                )
            else:
                added.append(Column(column.name, column.type, nullable=True, native=column.native))
        elif there.type != column.type:
            if lossless(column.type, there.type):
                casts.append((column.name, column.type, there.type))
            else:
                conflicts.append(
                    f"column {column.name!r} is {column.type} in the source and {there.type} in the target; "
                    f"that cast could lose something"
                )
    names = {column.name.lower() for column in source}
    missing = [column for column in target if column.name.lower() not in names]
    conflicts.extend(
        f"column {column.name!r} is not in the source, and the target declares it NOT NULL"
        for column in missing
        if not column.nullable
    )
    if policy is SchemaPolicy.STRICT:
        conflicts.extend(
            f"column {column.name!r} is not in the source, and schema is strict" for column in missing
        )
    return SchemaChange(tuple(added), tuple(missing), tuple(casts), tuple(dict.fromkeys(conflicts)))
