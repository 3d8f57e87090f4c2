"""Names in SQL: quoted in the spelling of a dialect, and taken apart. Needs no parser."""

from __future__ import annotations

import re

from hwm_magics.errors import ConfigError

__all__ = ["fold", "quote", "quote_table", "split_name", "table_parts"]

_BACKTICKS = frozenset(
    {
        "bigquery",
        "clickhouse",
        "databricks",
        "doris",
        "hive",
        "mysql",
        "singlestore",
        "spark",
        "spark2",
        "starrocks",
    }
)
_BRACKETS = frozenset({"tsql", "fabric"})
_FOLDS_DOWN = frozenset({"postgres", "redshift", "materialize", "risingwave"})
_FOLDS_UP = frozenset({"oracle", "snowflake", "exasol"})
_CLOSING = {'"': '"', "`": "`", "[": "]"}


def quote(name: str, dialect: str) -> str:
    """Quote one identifier exactly as it is spelled.

    Args:
        name: The identifier, without quotes of its own.
        dialect: The sqlglot dialect to write in.

    Returns:
        The quoted identifier, with the closing quote doubled inside.

    Raises:
        ConfigError: The name is empty or holds a NUL character.
    """
    if not name or "\0" in name:
        raise ConfigError(f"{name!r} is not a name", hint="write the column's or table's name")
    if dialect in _BRACKETS:
        return f"[{name.replace(']', ']]')}]"
    if dialect in _BACKTICKS:
        return f"`{name.replace('`', '``')}`"
    return '"' + name.replace('"', '""') + '"'


def fold(name: str, dialect: str) -> str:
    """What a database makes of an identifier that stands unquoted in SQL.

    Args:
        name: The identifier as written.
        dialect: The sqlglot dialect of the SQL.

    Returns:
        The name in lower case for PostgreSQL, in upper case for Oracle and Snowflake, as written
        for databases that keep or ignore case.
    """
    if dialect in _FOLDS_DOWN:
        return name.lower()
    return name.upper() if dialect in _FOLDS_UP else name


def split_name(name: str, quotes: str = '"`[') -> tuple[str, ...]:
    """Take a dotted name apart.

    Args:
        name: Parts divided by dots, each bare or quoted.
        quotes: The opening quotes to recognise; other characters are part of the names.

    Returns:
        The parts without their quotes; a part left out (``db..table``) is "".

    Raises:
        ConfigError: A quote is not closed, or something stands between it and the next dot.
    """
    parts: list[str] = []
    rest = name.strip()
    while True:
        closing = _CLOSING[rest[0]] if rest and rest[0] in quotes else ""
        if closing:
            end = re.escape(closing)
            found = re.match(rf".((?:[^{end}]|{end}{end})*){end}\s*(?=\.|$)", rest, re.DOTALL)
            if found is None:
                raise ConfigError(
                    f"{name!r} is not a name: the quote {rest[0]} is not closed before the next dot",
                    hint=f"double a {closing} that belongs to the name",
                )
            parts.append(found[1].replace(closing * 2, closing))
            rest = rest[found.end() :]
        else:
            bare = rest.split(".", 1)[0]
            parts.append(bare.strip())
            rest = rest[len(bare) :]
        if not rest:
            return tuple(parts)
        rest = rest[1:].lstrip()


def table_parts(name: str, dialect: str) -> tuple[str, ...]:
    """Take a table's name apart, as a person writes it under ``table:``.

    Parts are exact spellings, quoted or not: quotes only serve names with dots in them.

    Args:
        name: Such as ``dbo.orders``, ``[dbo].[odd ]] name]`` or ``"Mixed"."Case"``.
        dialect: The sqlglot dialect, which says what quotes there are.

    Returns:
        The parts, outermost first. T-SQL's ``db..table`` has an empty one.

    Raises:
        ConfigError: It is not a name.
    """
    quotes = '"'
    if dialect in _BRACKETS:
        quotes += "["
    elif dialect in _BACKTICKS:
        quotes += "`"
    elif dialect == "sqlite":
        quotes += "[`"
    parts = split_name(name, quotes)
    may_be_empty = dialect in _BRACKETS
    if not parts[-1] or not parts[0] or (not all(parts) and not may_be_empty) or "\0" in name:
        raise ConfigError(f"{name!r} is not a table's name", hint="write it as schema.table")
    return parts


def quote_table(parts: tuple[str, ...], dialect: str) -> str:
    """Write a table's name from its parts."""
    return ".".join(quote(part, dialect) if part else "" for part in parts)
