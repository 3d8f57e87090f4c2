"""A text as sqlglot's tokens, with brackets matched and errors that a person can use."""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, SqlglotError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

from hwm_magics.core.cursor import Scalar
from hwm_magics.core.sql_expressions import literal
from hwm_magics.errors import ConfigError, QueryError

__all__ = ["SqlTokens"]

_TARGET = "{target}"
_BRACED = (TokenType.L_BRACE, TokenType.VAR, TokenType.R_BRACE)
_COALESCE = frozenset({"COALESCE", "ISNULL", "IFNULL", "NVL"})
_HINT = "correct it; if the source itself accepts it, make it a view there and read that as table:"


class SqlTokens:
    """One text.

    Attributes:
        text: As the user wrote it.
        clean: The same, with a name of the same length for every ``{target}``.
        marker: That name; "" when there is none.
        label: Where the text stands in the YAML.
        tokens: The tokens of ``clean``.
        enclosing: For every token, the opening bracket around it; -1 for none.
        closing: For every opening bracket, the closing one.
    """

    def __init__(self, text: str, label: str, dialect: str) -> None:
        self.text = self.clean = text
        self.label = label
        self.dialect_name = dialect
        self.dialect = Dialect.get_or_raise(dialect)
        self.marker = ""
        self.tokens = self._tokenize()
        self._mark_target()
        if all(token.token_type is TokenType.SEMICOLON for token in self.tokens):
            raise ConfigError(f"{label} is empty", hint="write it, or leave the key out")
        self.enclosing: list[int] = []
        self.closing: dict[int, int] = {}
        stack = [-1]
        for at, token in enumerate(self.tokens):
            if token.token_type is TokenType.R_PAREN and len(stack) > 1:
                self.closing[stack.pop()] = at
            self.enclosing.append(stack[-1])
            if token.token_type is TokenType.L_PAREN:
                stack.append(at)

    def _tokenize(self) -> list[Token]:
        try:
            return list(self.dialect.tokenize(self.clean))
        except TokenError as error:
            found = re.match(r"Missing (.+) from \d+:(\d+)", str(error.__cause__))
            what = "a comment or a quoted text is not closed"
            if found:
                what = (
                    f"{self.place(int(found[2]))}: a quoted text begins here and has no {found[1]} at its end"
                )
            raise QueryError(f"{self.label} is not valid SQL: {what}", hint=_HINT) from error

    def _mark_target(self) -> None:
        starts = [
            one.start
            for one, two, three in zip(self.tokens, self.tokens[1:], self.tokens[2:], strict=False)
            if (one.token_type, two.token_type, three.token_type) == _BRACED
            and self.text[one.start : three.end + 1] == _TARGET
        ]
        if starts:
            self.marker = next(
                name for name in (f"hwm__{n:03}" for n in range(1000)) if name not in self.text
            )
            for start in starts:
                self.clean = self.clean[:start] + self.marker + self.clean[start + len(_TARGET) :]
            self.tokens = self._tokenize()

    def kind(self, at: int) -> TokenType | None:
        """The type of a token; None before the first and after the last."""
        return self.tokens[at].token_type if 0 <= at < len(self.tokens) else None

    def outermost(self, start: int = 0) -> list[int]:
        """The tokens that stand in no brackets, from an offset on."""
        return [
            at for at, token in enumerate(self.tokens) if self.enclosing[at] == -1 and token.start >= start
        ]

    def place(self, offset: int) -> str:
        """An offset as line and column."""
        before = self.text[:offset]
        return f"line {before.count(chr(10)) + 1}, column {offset - before.rfind(chr(10))}"

    def at(self, token: Token) -> str:
        """A token's place with the text's label."""
        return f"{self.label}, {self.place(token.start)}"

    def parse(self, first: int, last: int) -> exp.Expr:
        """Parse some tokens as a statement.

        Raises:
            QueryError: They are none.
        """
        # sqlglot does not know CHANGETABLE(CHANGES t, n), and reads CHANGETABLE(t, n).
        tokens = [self.tokens[at] for at in range(first, last + 1) if not self._is_changes(at)]
        return self._parsed(lambda: self.dialect.parser().parse(tokens, self.clean))

    def _is_changes(self, at: int) -> bool:
        return (
            self.tokens[at].text.upper() == "CHANGES"
            and at > 1
            and self.kind(at - 1) is TokenType.L_PAREN
            and self.tokens[at - 2].text.upper() == "CHANGETABLE"
        )

    def parse_condition(self, first: int, last: int) -> exp.Expr:
        """Parse some tokens as a condition.

        Raises:
            QueryError: They are none.
        """
        tokens = self.tokens[first : last + 1]
        return self._parsed(lambda: self.dialect.parser().parse_into(exp.Condition, tokens, self.clean))

    def _parsed(self, parse: Callable[[], list[exp.Expr | None]]) -> exp.Expr:
        try:
            roots = parse()
        except RecursionError as error:
            raise QueryError(f"{self.label} is nested too deeply to be read", hint=_HINT) from error
        except ParseError as error:
            raise self._syntax_error(error) from error
        except SqlglotError as error:
            raise QueryError(f"{self.label} can't be read as SQL: {error}", hint=_HINT) from error
        root = roots[0] if len(roots) == 1 else None
        if root is None:
            raise QueryError(f"{self.label} is not one expression", hint=_HINT)
        return root

    def _syntax_error(self, error: ParseError) -> QueryError:
        details = error.errors[0] if error.errors else {}
        seen = str(details.get("highlight") or "")
        line = int(str(details.get("line") or 1))
        # sqlglot gives the column of the token's last character.
        column = max(1, int(str(details.get("col") or 1)) - len(seen) + 1)
        what = str(details.get("description") or error).split("\n", 1)[0].rstrip(".")
        if "Required keyword" in what:
            what = "something is missing here"
        what = what.replace("Invalid expression / Unexpected token", "not expected here")
        place = f"line {line}, column {column}" + (f", at {seen.splitlines()[0]!r}" if seen.strip() else "")
        hint = _HINT
        if seen.upper() == "WHERE" and self.label.endswith("where"):
            hint = "write the condition alone, without the word WHERE"
        return QueryError(
            f"{self.label} is not valid SQL for {self.dialect_name}: {place}: {what[:1].lower()}{what[1:]}",
            hint=hint,
        )

    def coalesced(self, first: int, last: int) -> tuple[int, int, Scalar] | None:
        """The span and the literal of a ``COALESCE(…, literal)`` around some tokens; None when there is none."""
        name, bracket = first - 2, first - 1
        if name < 0 or self.tokens[name].text.upper() not in _COALESCE:
            return None
        if self.kind(bracket) is not TokenType.L_PAREN or self.kind(last + 1) is not TokenType.COMMA:
            return None
        close = self.closing.get(bracket, -1)
        try:
            value = literal(self.parse_condition(last + 2, close - 1)) if close > last + 2 else None
        except QueryError:
            return None
        return None if value is None else (self.tokens[name].start, self.tokens[close].end + 1, value)
