"""The user's SQL texts with what was found in them: where values belong, and what can go.

The texts stay as they were written. What is done to them is done by offsets, so that hints,
comments, casts and whitespace survive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hwm_magics.core.cursor import Scalar
from hwm_magics.core.sql_names import fold, quote_table
from hwm_magics.core.statement import Param

__all__ = ["LOW_NAMES", "RESERVED_NAMES", "Columns", "Hole", "SqlText", "everything", "is_target_hole"]

LOW_NAMES = frozenset({"watermark", "low"})
"""The parameters that stand for the low bound."""
RESERVED_NAMES = LOW_NAMES | {"high"}
"""The parameters whose values the load gives."""

_TARGET_HOLE = re.compile(r"target_\d+")

_EVERYTHING = re.compile(r"\s*SELECT\s+\*\s+FROM\s+([A-Z_]\w*(?:\.[A-Z_]\w*)*)\s*;?\s*", re.IGNORECASE)

_Edit = tuple[int, int, str | Param]


def is_target_hole(name: str) -> bool:
    """Whether a value of this name comes from a subquery over the target."""
    return _TARGET_HOLE.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Columns:
    """A cursor as it stands in SQL: a column, or COALESCE of two.

    Attributes:
        column: Its name as the database has it.
        fallback: The second one of a COALESCE.
        qualifier: What stands before the column's name; "" for nothing.
    """

    column: str
    fallback: str | None = None
    qualifier: str = ""

    def same(self, other: Columns) -> bool:
        """Whether both stand for one column, case and a missing qualifier aside."""
        mine = (self.column.lower(), (self.fallback or "").lower())
        theirs = (other.column.lower(), (other.fallback or "").lower())
        qualifiers = {self.qualifier.lower(), other.qualifier.lower()} - {""}
        return mine == theirs and len(qualifiers) < 2  # noqa: PLR2004 - a pair


@dataclass(frozen=True, slots=True)
class Hole:
    """A place where a value belongs.

    Attributes:
        start, end: The text that the value replaces.
        name: ``watermark``, ``high``, ``target_1`` … or the name of a user's parameter.
        fallback: The value where there is none, from ``COALESCE(…, literal)``; None without one.
    """

    start: int
    end: int
    name: str
    fallback: Scalar = None


@dataclass(frozen=True, slots=True)
class SqlText:
    """One text, checked.

    Attributes:
        text: As the user wrote it.
        label: Where it stands in the YAML, such as ``read.query``.
        holes: Where values belong, in order.
        semicolons: Offsets of semicolons to leave out.
        body: Where the SELECT behind a WITH begins, when the WITH can't go into a derived table.
        order: The outermost ORDER BY, when it decides nothing.
        tail: Where ``OPTION (…)`` begins; the length of the text without one.
        without_high: Replacements that make the text do without ``:high``; None when that can't
            be done by replacing.
        low: What is compared with the low bound (with ``:watermark``, or with the target).
        operator: By ``>`` or ``>=``; "" when unknown.
        optional_low: Whether a missing ``:watermark`` does no harm: the text says what it means, or
            names none.
        base_table: The quoted table when the text reads one table and nothing else is done.
    """

    text: str
    label: str
    holes: tuple[Hole, ...] = ()
    semicolons: tuple[int, ...] = ()
    body: int = 0
    order: tuple[int, int] | None = None
    tail: int = 0
    without_high: tuple[tuple[int, int, str], ...] | None = ()
    low: Columns | None = None
    operator: str = ""
    optional_low: bool = True
    base_table: str | None = None

    def names(self, *names: str) -> bool:
        """Whether a value of one of the names belongs into the text."""
        return any(hole.name in names for hole in self.holes)

    @property
    def target_holes(self) -> tuple[Hole, ...]:
        """The places of subqueries over the target."""
        return tuple(hole for hole in self.holes if is_target_hole(hole.name))

    @property
    def has_low(self) -> bool:
        """Whether the text says for itself what is new."""
        return self.names("watermark") or bool(self.target_holes)

    def whole(self, bind: Callable[[Hole], Param], *, without_high: bool = False) -> list[str | Param]:
        """The statement as it stands, with its values in place and without semicolons."""
        cuts = list(self.without_high or ()) if without_high else []
        return _strip(list(self._slice(0, len(self.text), self._edits(bind, cuts))))

    def pieces(
        self, bind: Callable[[Hole], Param], *, without_high: bool = False
    ) -> tuple[list[str | Param], list[str | Param], list[str | Param]]:
        """The text for use in a derived table or in brackets, with its values in place.

        Args:
            bind: Gives the value of a hole.
            without_high: Whether ``:high`` is left out.

        Returns:
            What goes before the derived table (WITH), into it, and behind the statement (OPTION).
        """
        cuts = list(self.without_high or ()) if without_high else []
        if self.order:
            cuts.append((*self.order, ""))
        edits = self._edits(bind, cuts)
        bounds = (0, self.body, self.tail, len(self.text))
        head, body, tail = (_strip(list(self._slice(*span, edits))) for span in pairwise(bounds))
        return head, body, tail

    def _edits(self, bind: Callable[[Hole], Param], cuts: Sequence[tuple[int, int, str]]) -> list[_Edit]:
        edits: list[_Edit] = [*cuts, *((at, at + 1, "") for at in self.semicolons)]
        edits.extend(
            (hole.start, hole.end, bind(hole))
            for hole in self.holes
            if not any(start <= hole.start and hole.end <= end for start, end, _ in cuts)
        )
        return sorted(edits, key=lambda edit: edit[0])

    def _slice(self, start: int, end: int, edits: list[_Edit]) -> Iterator[str | Param]:
        for first, last, replacement in edits:
            if start <= first and last <= end:
                yield self.text[start:first]
                yield replacement
                start = last
        yield self.text[start:end]


def _strip(parts: list[str | Param]) -> list[str | Param]:
    """Drop what is empty, and the whitespace around."""
    kept = [part for part in parts if part != ""]
    if kept and isinstance(kept[0], str):
        kept[0] = kept[0].lstrip()
    if kept and isinstance(kept[-1], str):
        kept[-1] = kept[-1].rstrip()
    return [part for part in kept if part != ""]


def everything(text: str, label: str, dialect: str) -> tuple[SqlText, tuple[str, ...]] | None:
    """Read ``SELECT * FROM some.table`` without a parser.

    Nothing else is as common under ``first_run_query``, and sqlglot takes 0.1 s to import.

    Returns:
        The text and the table's parts; None for any other text.
    """
    found = _EVERYTHING.fullmatch(text)
    if found is None:
        return None
    parts = tuple(found[1].split("."))
    table = quote_table(tuple(fold(part, dialect) for part in parts), dialect)
    semicolons = (text.index(";"),) if ";" in text else ()
    return SqlText(text, label, semicolons=semicolons, tail=len(text), base_table=table), parts
