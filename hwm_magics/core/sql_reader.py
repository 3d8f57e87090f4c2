"""Reading the user's SQL: checked with sqlglot, and marked where a value belongs or something must go."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from hwm_magics.core.cursor import Scalar
from hwm_magics.core.sql_expressions import PLAIN_TABLE, columns_of, comparison, given, name_of
from hwm_magics.core.sql_names import quote
from hwm_magics.core.sql_target import TargetFinder
from hwm_magics.core.sql_text import LOW_NAMES, RESERVED_NAMES, Columns, Hole, SqlText, is_target_hole
from hwm_magics.core.sql_tokens import SqlTokens
from hwm_magics.errors import ConfigError, QueryError

__all__ = ["SqlReader"]

_HOISTS = frozenset({"tsql", "fabric"})
_OPERANDS = frozenset(
    {
        TokenType.VAR,
        TokenType.IDENTIFIER,
        TokenType.NUMBER,
        TokenType.STRING,
        TokenType.R_PAREN,
        TokenType.R_BRACKET,
    }
)
_BEFORE_PREDICATE = frozenset({TokenType.WHERE, TokenType.AND, TokenType.OR, TokenType.ON, TokenType.L_PAREN})
_AFTER_PREDICATE = frozenset(
    {
        TokenType.AND,
        TokenType.OR,
        TokenType.R_PAREN,
        TokenType.SEMICOLON,
        TokenType.GROUP_BY,
        TokenType.ORDER_BY,
        TokenType.HAVING,
        TokenType.LIMIT,
        TokenType.OFFSET,
        TokenType.UNION,
        TokenType.OPTION,
    }
)
_PLAIN_SELECT = frozenset({"expressions", "from_", "where", "order", "hint", "kind", "options"})
_WRITES = (
    exp.Insert,
    exp.Update,
    exp.Delete,
    exp.Merge,
    exp.Create,
    exp.Drop,
    exp.Alter,
    exp.Command,
    exp.Into,
)


@dataclass(slots=True)
class SqlReader:
    """Reads the texts of one load.

    Attributes:
        dialect: The sqlglot dialect of the source.
        names: The target's names, each in lower-case parts.
        params: The user's parameters.
        targets: The scalar queries over the target that were found, each once, with their literals.
    """

    dialect: str
    names: frozenset[tuple[str, ...]]
    params: Mapping[str, Scalar]
    targets: list[tuple[str, Scalar]] = field(default_factory=list)

    def query(self, text: str, label: str) -> SqlText:
        """Read a SELECT.

        Raises:
            ConfigError: It is empty, names an unknown parameter, or reads the target in a way that
                can't be evaluated there.
            QueryError: It is not one valid SELECT.
        """
        return self._reading(text, label).query()

    def condition(self, text: str, label: str) -> SqlText:
        """Read a condition; raises what :meth:`query` raises."""
        return self._reading(text, label).condition()

    def _reading(self, text: str, label: str) -> _Reading:
        sql = SqlTokens(text, label, self.dialect)
        return _Reading(sql, self.params, TargetFinder(sql, self.names, self.params, self.targets))


class _Reading:
    """One text while it is being read."""

    def __init__(self, sql: SqlTokens, params: Mapping[str, Scalar], target: TargetFinder) -> None:
        self.sql = sql
        self.params = params
        self.target = target
        self.kept = [at for at, token in enumerate(sql.tokens) if token.token_type is not TokenType.SEMICOLON]
        if self.kept[-1] - self.kept[0] + 1 != len(self.kept):
            raise QueryError(
                f"{sql.label} holds more than one statement", hint="write one, without a semicolon"
            )

    def query(self) -> SqlText:
        label = self.sql.label
        first = next((at for at in self.kept if self.sql.kind(at) is not TokenType.L_PAREN), self.kept[0])
        allowed = {TokenType.SELECT, TokenType.WITH}
        if self.sql.dialect_name == "duckdb":
            allowed.add(TokenType.FROM)
        if self.sql.kind(first) not in allowed:
            begin = self.sql.tokens[first].text.upper()
            raise QueryError(
                f"{label} is not a SELECT: it begins with {begin}",
                hint="write one SELECT; it may begin with WITH",
            )
        root = self.sql.parse(self.kept[0], self.kept[-1])
        if not isinstance(root, exp.Select | exp.SetOperation | exp.Subquery):
            raise QueryError(f"{label} is not a SELECT", hint="write one SELECT; it may begin with WITH")
        if writes := next(root.find_all(*_WRITES), None):
            raise QueryError(
                f"{label} holds {writes.key.upper()}: a source is only read",
                hint="write one SELECT that changes nothing",
            )
        body = self._body(self.kept[0])
        return self._text(root, body=body, order=self._order(root, body), tail=self._tail(root))

    def condition(self) -> SqlText:
        root = self.sql.parse_condition(self.kept[0], self.kept[-1])
        return self._text(root, body=0, order=None, tail=len(self.sql.text))

    def _text(self, root: exp.Expr, *, body: int, order: tuple[int, int] | None, tail: int) -> SqlText:
        targets, compared = self.target.find(root)
        holes = targets + self._parameters(targets)
        holes.sort(key=lambda hole: hole.start)
        null_is_checked = self._bounds(root, compared)
        lows = {columns and self._selected(root, columns) for columns, _ in compared}
        operators = {operator for _, operator in compared if operator}
        has_fallback = all(hole.fallback is not None for hole in holes if hole.name == "watermark")
        return SqlText(
            text=self.sql.text,
            label=self.sql.label,
            holes=tuple(holes),
            semicolons=tuple(
                token.start for token in self.sql.tokens if token.token_type is TokenType.SEMICOLON
            ),
            body=body,
            order=order,
            tail=tail,
            without_high=self._without_high(holes),
            low=lows.pop() if len(lows) == 1 else None,
            operator=operators.pop() if len(operators) == 1 else "",
            optional_low=null_is_checked or has_fallback,
            base_table=self._base_table(root),
        )

    def _body(self, first: int) -> int:
        """Where the SELECT behind a leading WITH begins, for dialects that must have the WITH in front."""
        if self.sql.dialect_name not in _HOISTS or self.sql.kind(first) is not TokenType.WITH:
            return 0
        for at in range(first, len(self.sql.tokens)):
            if self.sql.enclosing[at] == -1 and (
                self.sql.kind(at) is TokenType.SELECT
                or (self.sql.kind(at) is TokenType.L_PAREN and self.sql.kind(at - 1) is TokenType.R_PAREN)
            ):
                return self.sql.tokens[at].start
        return 0

    def _order(self, root: exp.Expr, body: int) -> tuple[int, int] | None:
        distinct = root.args.get("distinct")
        decides = isinstance(distinct, exp.Distinct) and distinct.args.get("on")
        if not root.args.get("order") or root.args.get("limit") or root.args.get("offset") or decides:
            return None
        kinds = (TokenType.ORDER_BY, TokenType.ORDER_SIBLINGS_BY)
        outer = self.sql.outermost(body)
        orders = [at for at in outer if self.sql.kind(at) in kinds]
        if not orders:
            return None
        stops = (TokenType.FOR, TokenType.OPTION, TokenType.SEMICOLON)
        behind = (at for at in outer if at > orders[-1] and self.sql.kind(at) in stops)
        last = next(behind, len(self.sql.tokens)) - 1
        return self.sql.tokens[orders[-1]].start, self.sql.tokens[last].end + 1

    def _tail(self, root: exp.Expr) -> int:
        if self.sql.dialect_name in _HOISTS and root.args.get("options"):
            for at in range(len(self.sql.tokens) - 1, -1, -1):
                if self.sql.enclosing[at] == -1 and self.sql.kind(at) is TokenType.OPTION:
                    return self.sql.tokens[at].start
        return len(self.sql.text)

    def _selected(self, root: exp.Expr, columns: Columns) -> Columns | None:
        """The columns by the names that they have in the query's rows; None when they aren't there."""
        dialect = self.sql.dialect_name
        while isinstance(root, exp.SetOperation | exp.Subquery):
            root = root.left if isinstance(root, exp.SetOperation) else root.this
        if not isinstance(root, exp.Select) or root.is_star:
            return Columns(columns.column, columns.fallback)
        outputs = []
        for shown in root.expressions:
            named = shown.args.get("alias") or (shown.this if isinstance(shown, exp.Column) else None)
            if isinstance(named, exp.Identifier):
                plain = shown.unalias()
                # A cast column is another value than the one compared.
                source = columns_of(plain, dialect) if isinstance(plain, exp.Column | exp.Coalesce) else None
                outputs.append((name_of(named, dialect), source))
        for name, source in outputs:
            if source is not None and source.same(columns):
                return Columns(name)
        found = []
        for wanted in (columns.column, columns.fallback):
            plain = Columns(wanted, None, columns.qualifier) if wanted else None
            by_source = [name for name, source in outputs if plain and source and source.same(plain)]
            by_name = [name for name, _ in outputs if wanted and name.lower() == wanted.lower()]
            if wanted and not (by_source or by_name):
                return None
            found.append((by_source or by_name)[0] if wanted else None)
        return Columns(str(found[0]), found[1])

    def _base_table(self, root: exp.Expr) -> str | None:
        if not isinstance(root, exp.Select):
            return None
        source = root.args.get("from_")
        table = source.this if source is not None else None
        if not isinstance(table, exp.Table) or given(root) - _PLAIN_SELECT or given(table) - PLAIN_TABLE:
            return None
        parts = table.parts
        if not all(isinstance(part, exp.Identifier) for part in parts):
            return None
        if any(shown.find(exp.AggFunc, exp.Explode, exp.Unnest) for shown in root.expressions):
            return None
        dialect = self.sql.dialect_name
        return ".".join(quote(name_of(part, dialect), dialect) if part.name else "" for part in parts)

    def _parameters(self, targets: list[Hole]) -> list[Hole]:
        holes = []
        for at, token in enumerate(self.sql.tokens):
            inside = any(hole.start <= token.start < hole.end for hole in targets)
            name = "" if inside else self._parameter(at)
            if name:
                holes.append(self._parameter_hole(at, name))
        return holes

    def _parameter(self, at: int) -> str:
        """The name of the parameter whose colon stands here; "" for any other use of a colon."""
        if self.sql.kind(at) is not TokenType.COLON or at + 1 >= len(self.sql.tokens):
            return ""
        colon, word = self.sql.tokens[at], self.sql.tokens[at + 1]
        name = self.sql.text[word.start : word.end + 1]
        if word.start != colon.end + 1 or not re.fullmatch(r"[A-Za-z_]\w*", name):
            return ""
        before = self.sql.kind(at - 1)
        adjacent = at > 0 and self.sql.tokens[at - 1].end + 1 == colon.start
        if before in (TokenType.STRING, TokenType.NUMBER) or (before in _OPERANDS and adjacent):
            return ""  # arr[1:n], {'key':value}, value:path
        if before is TokenType.L_BRACKET and name not in RESERVED_NAMES and name not in self.params:
            return ""  # arr[:n]
        return name

    def _parameter_hole(self, at: int, name: str) -> Hole:
        token = self.sql.tokens[at]
        params = self.params
        if name in RESERVED_NAMES or is_target_hole(name):
            if name in params or name not in RESERVED_NAMES:
                raise ConfigError(
                    f"{self.sql.at(token)}: the name :{name} is taken by the load's own values",
                    hint="give the parameter another name",
                )
            fallback = self.sql.coalesced(at, at + 1) if name in LOW_NAMES else None
            if fallback is not None:
                return Hole(fallback[0], fallback[1], "watermark", fallback[2])
            return Hole(
                token.start, self.sql.tokens[at + 1].end + 1, "high" if name == "high" else "watermark"
            )
        if name not in params:
            near = difflib.get_close_matches(name, [*params, *sorted(RESERVED_NAMES)], n=1)
            hint = f"did you mean :{near[0]}?" if near else f"give it a value: params: {{{name}: …}}"
            raise ConfigError(f"{self.sql.at(token)}: the parameter :{name} has no value", hint=hint)
        return Hole(token.start, self.sql.tokens[at + 1].end + 1, name)

    def _bounds(self, root: exp.Expr, compared: list[tuple[Columns | None, str]]) -> bool:
        """Find what ``:watermark`` and ``:high`` are compared with.

        Returns:
            Whether the text asks ``:watermark IS NULL``.
        """
        highs = set()
        nulls_checked = False
        for node in root.find_all(exp.Placeholder):
            if not node.this:
                raise ConfigError(
                    f"{self.sql.label} holds a ?, and values are bound by name",
                    hint="write :name, and give the value under params",
                )
            operator, other = comparison(node)
            if node.name in LOW_NAMES:
                nulls_checked = nulls_checked or isinstance(node.parent, exp.Is)
                if operator in (">", ">="):
                    compared.append((columns_of(other, self.sql.dialect_name), operator))
            elif node.name == "high":
                highs.add(operator)
        if "<" in highs and ">" in {operator for _, operator in compared}:
            raise ConfigError(
                f"{self.sql.label} reads rows above :watermark and below :high: rows equal to a bound are never read",
                hint="write column > :watermark AND column <= :high",
            )
        return nulls_checked

    def _without_high(self, holes: list[Hole]) -> tuple[tuple[int, int, str], ...] | None:
        edits: list[tuple[int, int, str]] = []
        starts = {hole.start for hole in holes if hole.name == "high"}
        for at, token in enumerate(self.sql.tokens):
            if token.start in starts:
                found = self._drop_comparison(at) or self._drop_between(at)
                if found is None:
                    return None
                edits.extend(found)
        return tuple(edits)

    def _drop_comparison(self, at: int) -> list[tuple[int, int, str]] | None:
        """Make ``column <= :high`` true."""
        after = self.sql.kind(at + 2)
        if self.sql.kind(at - 1) not in (TokenType.LTE, TokenType.LT):
            return None
        if after and after not in _AFTER_PREDICATE:
            return None
        first = at - 2
        while self.sql.kind(first - 1) is TokenType.DOT:
            first -= 2
        names = (TokenType.VAR, TokenType.IDENTIFIER)
        before = self.sql.kind(first - 1)
        if self.sql.kind(first) not in names or (before and before not in _BEFORE_PREDICATE):
            return None
        return [(self.sql.tokens[first].start, self.sql.tokens[at + 1].end + 1, "1 = 1")]

    def _drop_between(self, at: int) -> list[tuple[int, int, str]] | None:
        """Make ``column BETWEEN low AND :high`` read ``column >= low``."""
        after = self.sql.kind(at + 2)
        if self.sql.kind(at - 1) is not TokenType.AND or (after and after not in _AFTER_PREDICATE):
            return None
        level = self.sql.enclosing[at]
        for earlier in range(at - 2, level, -1):
            if self.sql.enclosing[earlier] != level:
                continue
            if self.sql.kind(earlier) in (TokenType.AND, TokenType.OR, TokenType.WHERE):
                return None
            if self.sql.kind(earlier) is TokenType.BETWEEN:
                if self.sql.kind(earlier - 1) is TokenType.NOT:
                    return None
                between, ends = self.sql.tokens[earlier], self.sql.tokens[at + 1]
                return [
                    (between.start, between.end + 1, ">="),
                    (self.sql.tokens[at - 1].start, ends.end + 1, ""),
                ]
        return None
