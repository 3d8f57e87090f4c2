"""One statement put together from the user's texts, the bounds of a load and what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwm_magics.core.cursor import CursorValue, Scalar
from hwm_magics.core.decided import Window
from hwm_magics.core.sql_cursor import CursorExpression
from hwm_magics.core.sql_text import Hole, SqlText
from hwm_magics.core.statement import Param, Statement
from hwm_magics.errors import ConfigError

__all__ = ["FIRST_RUN_HINT", "Draft", "Reading"]

FIRST_RUN_HINT = (
    "give write.first_run_query, a COALESCE(…, literal) in the query, or read.incremental.initial_value"
)

_Parts = list[str | Param]


@dataclass(frozen=True, slots=True)
class Reading:
    """What the user wrote, read.

    Attributes:
        table: The quoted table; "" when a query is given.
        query, where: The query and the condition.
        first: ``first_run_query``, which replaces both on a first run.
        columns: Names of the columns to read; empty for all.
        params: The user's parameters.
        initial: ``initial_value``, the low bound of a first run.
    """

    table: str = ""
    query: SqlText | None = None
    where: SqlText | None = None
    first: SqlText | None = None
    columns: tuple[str, ...] = ()
    params: tuple[Param, ...] = ()
    initial: Scalar = None

    @property
    def texts(self) -> tuple[SqlText, ...]:
        """What later runs read."""
        return tuple(text for text in (self.query, self.where) if text is not None)

    @property
    def first_texts(self) -> tuple[SqlText, ...]:
        """What a first run reads."""
        return (self.first,) if self.first is not None else self.texts


class Draft:
    """One statement in the making.

    Args:
        reading: What the user wrote.
        dialect: Its dialect.
        cursor: The cursor; None when unknown.
        first_run: Whether the first run's texts are meant.
        window: The bounds; None when they are not known yet.
        values: What the subqueries over the target came to.
        needs: Why a first run can't be derived; "" when it can.
        describing: Whether only the columns are asked for.
        probing: Whether the highest value may be asked for.

    Raises:
        ConfigError: A value is missing without which the statement would silently give no rows.
    """

    def __init__(
        self,
        reading: Reading,
        dialect: str,
        cursor: CursorExpression | None,
        *,
        first_run: bool,
        window: Window | None,
        values: tuple[Param, ...],
        needs: str = "",
        describing: bool = False,
        probing: bool = False,
    ) -> None:
        replaced = first_run and reading.first is not None
        self.dialect = dialect
        self.cursor = cursor
        self.table = reading.table
        self.text = reading.first if replaced else reading.query
        self.where = None if replaced else reading.where
        self.columns = () if replaced else reading.columns
        self.texts = reading.first_texts if first_run else reading.texts
        self.first_run = first_run
        self.low = window.low if window else None
        self.high = window.high if window else None
        self.low_sign = ">=" if window is None or window.low_inclusive else ">"
        self.mark: CursorValue | Scalar = self.low
        if self.mark is None and first_run:
            self.mark = reading.initial
        self.values = {param.name: param.value for param in (*reading.params, *values)}
        # Without a high bound the query's own is left out: with NULL in it there would be no row.
        self.without_high = (probing or window is not None) and self.high is None
        if describing:
            return
        if first_run and needs and not values and self.low is None:
            raise ConfigError(needs, hint=FIRST_RUN_HINT)
        optional = first_run and all(text.optional_low for text in self.texts)
        if (
            self._name("watermark")
            and self.mark is None
            and not optional
            and (probing or self.high is not None)
        ):
            raise ConfigError("the query names :watermark, and there is no value for it", hint=FIRST_RUN_HINT)
        asked = {hole.name for text in self.texts for hole in text.target_holes}
        if probing and not first_run and asked - self.values.keys():
            raise ConfigError("the query compares with the target, and the target was not asked")
        if probing and self.without_high and any(text.without_high is None for text in self.texts):
            raise ConfigError(
                "the highest value can't be found, because the query uses :high in another way than column <= :high",
                hint="write column <= :high or BETWEEN … AND :high, or leave :high out: it is added around the query",
            )

    def _name(self, name: str) -> bool:
        return any(text.names(name) for text in self.texts)

    def window(self, *, nulls: bool) -> list[_Parts]:
        """The bounds that the texts don't name themselves, as conditions."""
        if self.cursor is None:
            return []
        sql = self.cursor.sql(self.dialect)
        bounds: _Parts = []
        if self.low is not None and not self._name("watermark"):
            bounds += [f"{sql} {self.low_sign} ", Param("low", self.low)]
        if self.high is not None and not self._name("high"):
            bounds += [f"{' AND ' if bounds else ''}{sql} <= ", Param("high", self.high)]
        if not bounds:
            return []
        # A query that says for itself what is new keeps the NULLs that it gives.
        if nulls or any(text.has_low for text in self.texts):
            bounds = ["((", *bounds, f") OR {self.cursor.plain(self.dialect)} IS NULL)"]
        return [bounds]

    def statement(
        self, selected: Sequence[str], conditions: list[_Parts], *, wrap: bool = False
    ) -> Statement:
        """Put the statement together.

        Args:
            selected: SELECT expressions; all columns when empty.
            conditions: Conditions beside the user's own.
            wrap: Whether a query must stand in a derived table even if nothing is asked of it.
        """
        if self.where is not None:
            _, condition, _ = self.where.pieces(self.bind, without_high=self.without_high)
            may_hold_comment = any(mark in self.where.text for mark in ("--", "#", "//"))
            conditions = [["(", *condition, "\n)" if may_hold_comment else ")"], *conditions]
        if self.text is not None and not (selected or conditions or wrap):
            return Statement(_joined(self.text.whole(self.bind, without_high=self.without_high)))
        head: _Parts = []
        tail: _Parts = []
        parts: _Parts = ["SELECT ", ", ".join(selected) or "*", " FROM "]
        if self.text is None:
            parts.append(self.table)
        else:
            head, body, tail = self.text.pieces(self.bind, without_high=self.without_high)
            alias = "hwm_rows" if self.dialect == "oracle" else "AS hwm_rows"
            # The line breaks end a comment on the text's last line.
            parts += ["(\n", *body, f"\n) {alias}"]
        for number, condition in enumerate(conditions):
            parts += [" AND " if number else " WHERE ", *condition]
        return Statement(
            _joined([*head, *(["\n"] if head else []), *parts, *(["\n"] if tail else []), *tail])
        )

    def bind(self, hole: Hole) -> Param:
        """The value that belongs into a hole."""
        if hole.name == "high":
            return Param("high", self.high)
        value = self.mark if hole.name == "watermark" else self.values.get(hole.name)
        # The literal of a COALESCE stands for a value that is NULL, not for one that nobody asked for.
        if value is None and (self.first_run or hole.name in self.values):
            value = hole.fallback
        return Param(hole.name, value)


def _joined(parts: _Parts) -> tuple[str | Param, ...]:
    """Neighbouring texts as one."""
    joined: _Parts = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, str) and isinstance(last, str):
            joined[-1] = last + part
        elif part != "":
            joined.append(part)
    return tuple(joined)
