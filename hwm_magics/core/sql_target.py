"""The target in the user's SQL: scalar subqueries over it are cut out, any other mention is refused."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import NoReturn

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from hwm_magics.core.cursor import Scalar
from hwm_magics.core.sql_expressions import comparison, scalar_position, translate
from hwm_magics.core.sql_text import RESERVED_NAMES, Columns, Hole
from hwm_magics.core.sql_tokens import SqlTokens
from hwm_magics.errors import ConfigError

__all__ = ["TargetFinder"]

_SEES_TARGET = frozenset({"spark", "spark2", "databricks"})
_SCALAR_FORM = "write it as a scalar subquery: WHERE updated_at > (SELECT MAX(updated_at) FROM {target})"


class TargetFinder:
    """Finds the target in one text.

    Args:
        sql: The text.
        names: The target's names, each in lower-case parts.
        params: The user's parameters.
        queries: Takes the scalar queries over the target with their literals, each once.
    """

    def __init__(
        self,
        sql: SqlTokens,
        names: frozenset[tuple[str, ...]],
        params: Mapping[str, Scalar],
        queries: list[tuple[str, Scalar]],
    ) -> None:
        self.sql = sql
        self.dialect = sql.dialect_name
        self.names = names
        self.params = params
        self.queries = queries

    def _is_target(self, table: exp.Table) -> bool:
        parts = table.parts
        if not all(isinstance(part, exp.Identifier) for part in parts):
            return False
        names = tuple(part.name.lower() for part in parts)
        if self.sql.marker and names == (self.sql.marker,):
            return True
        return names in self.names and not _is_cte(table)

    def find(self, root: exp.Expr) -> tuple[list[Hole], list[tuple[Columns | None, str]]]:
        """Find the scalar subqueries over the target.

        Returns:
            Their places, and for each the column whose MAX it is and how it is compared.

        Raises:
            ConfigError: The target is read in another way.
        """
        holes: list[Hole] = []
        compared: list[tuple[Columns | None, str]] = []
        done: set[int] = set()
        tables = [table for table in root.find_all(exp.Table) if self._is_target(table)]
        for table in sorted(tables, key=_offset):
            if self._is_own_table(table, root):
                continue
            subquery = self._scalar_over_target(table)
            if id(subquery) not in done:
                done.add(id(subquery))
                hole, columns = self._target_hole(table, subquery)
                holes.append(hole)
                operator, _ = comparison(subquery)
                compared.append((columns, operator if operator in (">", ">=") else ""))
        return holes, compared

    def _is_own_table(self, table: exp.Table, root: exp.Expr) -> bool:
        """Whether a table called like the target is the source's own: the one that the query selects from.

        Nothing is loaded from a target into itself. Only where the source sees the target's
        catalog can the name not be told apart.
        """
        if table.name == self.sql.marker or self.dialect in _SEES_TARGET:
            return False
        pending: list[exp.Expr] = [root]
        while pending:
            query = pending.pop()
            if isinstance(query, exp.SetOperation):
                pending += [query.left, query.right]
            elif isinstance(query, exp.Subquery):
                pending.append(query.this)
            elif isinstance(query, exp.Select):
                source = query.args.get("from_")
                if source is not None and source.this is table:
                    return True
        return False

    def _scalar_over_target(self, table: exp.Table) -> exp.Subquery:
        found: exp.Subquery | None = None
        reason = ""
        node: exp.Expr | None = table
        while node is not None:
            if isinstance(node, exp.Subquery) and scalar_position(node):
                trouble = self._foreign(node)
                found = found if trouble else node
                reason = reason or trouble
            node = node.parent
        if found is None:
            self._refuse(table, reason or _way_of_reading(table))
        return found

    def _refuse(self, table: exp.Table, reason: str) -> NoReturn:
        written = ".".join(part.sql(self.dialect, comments=False) for part in table.parts)
        name = "{target}" if table.name == self.sql.marker else written
        hint = _SCALAR_FORM
        if name != "{target}":
            hint = _SCALAR_FORM.replace("{target}", name)
            hint += f". If {name} is a table of the source, write its name in another way, such as with its schema"
        raise ConfigError(
            f"{self.sql.label} reads the target {name} {reason}; only a scalar subquery can be evaluated on the target",
            hint=hint,
        )

    def _foreign(self, subquery: exp.Subquery) -> str:
        """What in a subquery needs more than the target; "" when nothing does."""
        select = subquery.this
        if not isinstance(select, exp.Select):
            return "in a subquery that is not a plain SELECT"
        known = {alias.this.name.lower() for alias in select.find_all(exp.TableAlias) if alias.this}
        for table in select.find_all(exp.Table):
            if not self._is_target(table) and not (len(table.parts) == 1 and table.name.lower() in known):
                return f"in a subquery that reads {table.name} too"
            known.add(table.alias_or_name.lower())
        for column in select.find_all(exp.Column):
            if column.table and column.table.lower() not in known:
                return f"in a correlated subquery (it refers to {column.sql(self.dialect)} outside)"
        for parameter in select.find_all(exp.Placeholder, exp.Parameter):
            if parameter.name in RESERVED_NAMES or parameter.name not in self.params:
                sign = ":" if isinstance(parameter, exp.Placeholder) else "@"
                return f"in a subquery that holds {sign}{parameter.name}"
        return ""

    def _target_hole(self, table: exp.Table, subquery: exp.Subquery) -> tuple[Hole, Columns | None]:
        first, last = self._span(table, subquery)
        try:
            query, fallback, columns = translate(subquery.this, self.dialect, self._is_target, self.params)
        except ValueError as error:
            self._refuse(table, f"in a subquery that can't be evaluated there ({error})")
        around = self.sql.coalesced(first, last)
        if around is not None and fallback is None:
            start, end, fallback = around
        else:
            start, end = self.sql.tokens[first].start, self.sql.tokens[last].end + 1
        # A literal that stands in for a NULL belongs to its place: other literals make other values.
        if (query, fallback) not in self.queries:
            self.queries.append((query, fallback))
        return Hole(start, end, f"target_{self.queries.index((query, fallback)) + 1}", fallback), columns

    def _span(self, table: exp.Table, subquery: exp.Subquery) -> tuple[int, int]:
        """The tokens of a subquery's brackets, found outwards from a table in it."""
        levels = 0
        node: exp.Expr = table
        while node is not subquery and node.parent is not None:
            bracketed = isinstance(node, exp.Query) and not isinstance(node, exp.Subquery)
            levels += bracketed and not isinstance(node.parent, exp.SetOperation)
            node = node.parent
        at = bisect_right([token.start for token in self.sql.tokens], _offset(table)) - 1
        starts = (TokenType.SELECT, TokenType.WITH, TokenType.FROM)
        while levels and at != -1:
            at = self.sql.enclosing[at]
            levels -= at != -1 and self.sql.kind(at + 1) in starts
        last = self.sql.closing.get(at, -1)
        again = self.sql.parse(at, last) if last > 0 else None
        if not isinstance(again, exp.Subquery) or again.this != subquery.this:
            self._refuse(table, "in a subquery that can't be told from its surroundings")
        return at, last


def _offset(table: exp.Table) -> int:
    return int(table.parts[-1].meta["start"])


def _is_cte(table: exp.Table) -> bool:
    """Whether the name is that of a common table expression in scope."""
    if len(table.parts) != 1:
        return False
    inside: set[int] = set()
    node: exp.Expr | None = table
    while node is not None:
        inside.add(id(node))
        with_ = node.args.get("with_")
        if with_ is not None:
            for cte in with_.expressions:
                own = id(cte) in inside and not with_.args.get("recursive")
                if cte.alias.lower() == table.name.lower() and not own:
                    return True
        node = node.parent
    return False


def _way_of_reading(table: exp.Table) -> str:
    node = table.parent
    while node is not None:
        if isinstance(node, exp.Exists):
            return "in an EXISTS"
        if isinstance(node, exp.In | exp.Any | exp.All):
            return "in an IN, ANY or ALL"
        if isinstance(node, exp.CTE):
            return "in a WITH"
        if isinstance(node, exp.Join):
            return "in a JOIN"
        node = node.parent
    return "in its FROM"
