"""What SQLite's drivers don't do: tell declared types, and, through ODBC, send values whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from hwm_magics.core.observed import Column
from hwm_magics.core.statement import Statement
from hwm_magics.errors import SourceError
from hwm_magics.sources.wire import Described, Wire, unreadable

__all__ = ["SqliteTypes", "of_text", "texts_of"]

_VIEW = "hwm_magics_describes"
_LOOKED_AT = 10_000
"""Rows whose values tell the type of an expression."""
# What a view shows for expressions, and for columns of tables that declare no type.
_UNSURE = frozenset({"", "NUM", "BLOB", "ANY"})
_CLASSES = {"integer": "INTEGER", "real": "REAL", "text": "TEXT", "blob": "BLOB"}


@dataclass(slots=True)
class SqliteTypes:
    """Describes queries over one connection.

    A view of the connection's own, in memory and gone at once, makes SQLite say what it knows of
    the columns' origins. What it does not know is told by an outermost CAST, and then by the values.

    Attributes:
        run: Runs SQL that gives no rows.
        ask: Gives the rows of a query.
        guessed: Types that the values told, by name, so that a later and empty window has them too.
    """

    run: Callable[[str], None]
    ask: Callable[[str], list[tuple[Any, ...]]]
    guessed: dict[str, str] = field(default_factory=dict)

    def describe(self, sql: str) -> tuple[Described, ...]:
        """The columns of a query.

        Args:
            sql: The query, its values written as literals.
        """
        self.run(f"CREATE TEMP VIEW {_VIEW} AS {sql}\n")
        try:
            rows = self._columns(sql)
        finally:
            self.run(f"DROP VIEW temp.{_VIEW}")
        names = {str(name).lower() for name, _ in rows}
        found = [(_original(str(name), names), " ".join(str(kind).split())) for name, kind in rows]
        unsure = [name for name, kind in found if kind.upper() in _UNSURE]
        told = self._cast(sql) if unsure else {}
        unsure = [name for name in unsure if name not in told]
        seen = self._seen(sql, unsure)
        return tuple(
            Described(name, told.get(name) or seen.get(name) or ("" if kind in ("NUM", "ANY") else kind))
            for name, kind in found
        )

    def _columns(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return self.ask(f"SELECT name, type FROM pragma_table_xinfo('{_VIEW}', 'temp')")  # noqa: S608 - a constant
        except SourceError:
            # A view may name what is not there; what that is, only the query itself tells.
            self.ask(f"SELECT * FROM (\n{sql}\n) LIMIT 0")  # noqa: S608 - the user's own query
            raise

    def _seen(self, sql: str, names: list[str]) -> dict[str, str]:
        """What the values are; a mixture of whole and floating point numbers is the latter."""
        missing = [name for name in names if name not in self.guessed]
        if missing:
            quoted = ['"' + name.replace('"', '""') + '"' for name in missing]
            classes = ", ".join(f"group_concat(DISTINCT typeof({name}))" for name in quoted)
            columns = ", ".join(quoted)
            asked = f"SELECT {classes} FROM (SELECT {columns} FROM (\n{sql}\n) LIMIT {_LOOKED_AT})"  # noqa: S608 - quoted
            for name, found in zip(missing, self.ask(asked)[0], strict=True):
                kinds = set(str(found or "null").split(",")) - {"null"}
                if kinds == {"integer", "real"}:
                    kinds = {"real"}
                if len(kinds) == 1:
                    self.guessed[name] = _CLASSES[kinds.pop()]
        return {name: self.guessed[name] for name in names if name in self.guessed}

    def _cast(self, sql: str) -> dict[str, str]:
        """Types that the query's own casts name."""
        if "cast" not in sql.lower():
            return {}
        import sqlglot
        from sqlglot import exp
        from sqlglot.errors import SqlglotError

        try:
            tree: exp.Expr | None = sqlglot.parse_one(sql, dialect="sqlite")
        except SqlglotError:
            return {}
        while True:
            if isinstance(tree, exp.SetOperation):
                tree = tree.left
            elif isinstance(tree, exp.Subquery):
                tree = tree.this
            elif (
                isinstance(tree, exp.Select)
                and tree.is_star
                and isinstance(tree.args["from_"].this, exp.Subquery)
            ):
                tree = tree.args["from_"].this
            else:
                break
        if not isinstance(tree, exp.Select):
            return {}
        casts = ((selected.alias, selected.unalias()) for selected in tree.expressions)
        return {name: cast.to.sql(dialect="") for name, cast in casts if name and isinstance(cast, exp.Cast)}


def _original(name: str, names: set[str]) -> str:
    """A column's own name: a view calls the second of two like-named columns ``name:1``."""
    base, _, number = name.rpartition(":")
    return base if number.isdigit() and base.lower() in names else name


def texts_of(statement: Statement, wires: Sequence[Wire]) -> Statement:
    """A statement whose columns are all text: SQLite's ODBC driver gives whole numbers 32 bits."""
    selected = []
    for at, kind in enumerate(kind for wire in wires for kind in wire.types):
        column = f'"c{at}"'
        if kind == pa.float64():
            number = f"typeof({column}) IN ('real', 'integer')"
            # Beyond 1e150 SQLite's own digits were seen to be wrong: said as text, it is refused.
            huge = f"WHEN {number} AND abs({column}) > 1e100 THEN printf('%!.17g (not exact)', {column})"
            selected.append(
                f"CASE {huge} WHEN {number} THEN printf('%!.17g', {column}) ELSE CAST({column} AS TEXT) END"
            )
        elif kind == pa.binary():
            selected.append(f"CASE WHEN {column} IS NOT NULL THEN hex({column}) END")
        else:
            selected.append(f"CAST({column} AS TEXT)")
    return Statement((f"SELECT {', '.join(selected)} FROM (\n", *statement.parts, "\n) AS hwm_texts"))  # noqa: S608 - quoted


def of_text(column: pa.Array, kind: pa.DataType, owner: Column) -> pa.Array:
    """Values of a type, from the texts that :func:`texts_of` makes of them."""
    if kind == pa.binary():
        return pa.array([None if text is None else bytes.fromhex(text) for text in column.to_pylist()], kind)
    try:
        return column.cast(kind)
    except pa.ArrowInvalid as error:
        raise unreadable(column, kind, owner) from error
