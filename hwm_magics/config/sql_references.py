"""``${name}`` in SQL: never pasted, always a parameter."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hwm_magics.config.interpolation import AlreadyReportedError, BadReferenceError, Names, scalar_of
from hwm_magics.core.cursor import Scalar

__all__ = ["RESERVED", "BoundSql", "bind_references"]

RESERVED = frozenset({"watermark", "low", "high"})
"""Parameters that the load itself gives a value."""

_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<escape> \$\$\{ )
    | (?P<dollar> \$(?P<tag>[A-Za-z_]\w*|)\$ .*? \$(?P=tag)\$ )
    | (?P<text> '(?:[^']|'')*(?:'|\Z) )
    | (?P<name> "(?:[^"]|"")*(?:"|\Z) | `[^`]*(?:`|\Z) | (?<![\w\]])\[[^\]\n]*\] )
    | (?P<reference> \$\{(?P<inner>[^{}]*)\} )
    | (?P<open> \$\{ )
    | (?P<parameter> (?<![:\w\])'"\[.]) : (?P<word>[A-Za-z_]\w*) )
    """,
    re.VERBOSE | re.DOTALL,
)
_INSIDE = re.compile(r"(?<!\$)\$\{([^{}]*)\}")
_TYPED = re.compile(r"(?i)\b(DATE|TIMESTAMP|TIMESTAMPTZ|DATETIME|TIME|INTERVAL)(\s*)$")
_BEFORE_A_NAME = re.compile(r"(?i)\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+$")


@dataclass(slots=True)
class BoundSql:
    """A SQL text and the values of its parameters.

    Attributes:
        sql: The text, with ``:name`` wherever a value belongs.
        params: The values.
        problems: What can't be bound: (message, the piece of text that it is about).
    """

    sql: str
    params: dict[str, Scalar] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)


def bind_references(sql: str, names: Names) -> BoundSql:
    """Turn the references of a SQL text into parameters.

    ``${since}`` and ``'${since}'`` become ``:since``. A ``:name`` that stands in the text already gets
    the value of a param of that name, but of no notebook variable. Comments and ordinary quoted texts
    are left alone; ``$${`` stands for ``${``.

    Args:
        sql: The text.
        names: Where values come from.
    """
    bound = BoundSql(sql)
    whole = re.fullmatch(r"\s*\$\{([^{}]*)\}\s*", sql)
    if whole is not None:
        message = (
            f"the SQL as a whole can't be ${{{whole[1]}}}, because values are bound, never pasted: "
            "write the SQL here, and ${name} for the values in it"
        )
        bound.problems.append((message, whole[0].strip()))
        return bound
    pieces: list[str] = []
    place = 0
    for found in _TOKEN.finditer(sql):
        pieces.append(sql[place : found.start()])
        place = found.end()
        try:
            pieces.append(_replace(found, sql, pieces, names, bound))
        except AlreadyReportedError:
            pieces.append("NULL")
        except BadReferenceError as problem:
            token = _INSIDE.search(found[0])
            bound.problems.append((str(problem), token[0] if token else found[0]))
            pieces.append("NULL")
    pieces.append(sql[place:])
    bound.sql = "".join(pieces)
    return bound


def _replace(found: re.Match[str], sql: str, pieces: list[str], names: Names, bound: BoundSql) -> str:
    token = found[0]
    if found["comment"] is not None:
        return token
    if found["escape"] is not None:
        return "${"
    if found["open"] is not None:
        raise BadReferenceError(
            "'${' begins a reference, and its '}' is missing: write ${name}, or $${ for the characters themselves"
        )
    if found["parameter"] is not None:
        return _parameter(found["word"], names, bound)
    if found["reference"] is not None:
        name = _name(found["inner"])
        _refuse_as_a_name(name, sql, found)
        return _bind(name, names, bound)
    inside = _INSIDE.search(token)
    if inside is None:
        return token.replace("$${", "${")
    name = _name(inside[1])
    if found["name"] is not None:
        raise BadReferenceError(
            f"${{{name}}} stands in quotes that make it a name; a value can't be a column's or table's name: "
            f"write ${{{name}}} alone for a value, and names into the SQL themselves"
        )
    if found["text"] is None or token != f"'{inside[0]}'":
        raise BadReferenceError(
            f"${{{name}}} is part of a longer quoted text, and values are bound, never pasted: "
            f"join them in SQL, as in 'text' || ${{{name}}}, or give the whole text as the value"
        )
    return _unquoted(name, found, sql, pieces, names, bound)


def _unquoted(
    name: str, found: re.Match[str], sql: str, pieces: list[str], names: Names, bound: BoundSql
) -> str:
    parameter = _bind(name, names, bound)
    before = "".join(pieces)
    typed = _TYPED.search(before)
    if typed is not None:
        # Not rewritten into a cast silently: SQLite casts a text to DATE by taking its year.
        raise BadReferenceError(
            f"{typed[1]} '${{{name}}}' can hold no parameter: write CAST(${{{name}}} AS {typed[1]}), "
            f"or ${{{name}}} alone"
        )
    prefix = re.search(r"(?<!\w)[NnEe]$", before)
    if prefix is not None:
        pieces[:] = [before[: prefix.start()]]
    elif re.search(r"\w$", before) or re.match(r"\w", sql[found.end() :]):
        raise BadReferenceError(f"'${{{name}}}' is joined to other text: leave a space around it")
    return parameter


def _name(inner: str) -> str:
    kind, separator, rest = inner.strip().partition(":")
    if separator and kind in ("env", "secret"):
        raise BadReferenceError(
            f"${{{kind}:{rest}}} does not belong in SQL: credentials go into a connection"
            + (f", other values into params: {{name: ${{env:{rest}}}}}" if kind == "env" else "")
        )
    if not re.fullmatch(r"[A-Za-z_]\w*", inner.strip()):
        raise BadReferenceError(
            f"${{{inner}}} is no name: write ${{name}} with letters, digits and underscores, "
            "or $${ for the characters themselves"
        )
    return inner.strip()


def _refuse_as_a_name(name: str, sql: str, found: re.Match[str]) -> None:
    before, after = sql[: found.start()], sql[found.end() :]
    joined = re.search(r"[\w.$:@\"`\]]$", before) or re.match(r"[\w.$\"`\[]", after)
    if joined or _BEFORE_A_NAME.search(before):
        raise BadReferenceError(
            f"${{{name}}} stands where a name does, and values are bound, never pasted: write the name itself, "
            "or use read.table, where ${name} may stand"
        )


def _parameter(word: str, names: Names, bound: BoundSql) -> str:
    # What is no param may be no parameter either, but a slice or a path: the SQL's parser can tell.
    if word.lower() in RESERVED or not names.has(word):
        return f":{word}"
    return _bind(word, names, bound, written=f":{word}")


def _bind(name: str, names: Names, bound: BoundSql, written: str = "") -> str:
    if name.lower() in RESERVED:
        raise BadReferenceError(
            f"${{{name}}}: the load itself gives {name!r} its value: write :{name} for that, or use another name"
        )
    value = names.value(name)
    bound.params[name] = scalar_of(value, written or f"${{{name}}}")
    return f":{name}"
