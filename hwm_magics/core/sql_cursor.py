"""The cursor as SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from hwm_magics.core.specs import CursorSpec
from hwm_magics.core.sql_names import quote
from hwm_magics.errors import ConfigError

__all__ = ["CursorExpression"]

_SUBSTR = frozenset({"oracle", "sqlite", "bigquery"})
_CONCAT = frozenset({"mysql", "spark", "spark2", "databricks", "hive", "bigquery"})
_PLUS = frozenset({"tsql", "fabric"})
_WIDTHS = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "f": 6, "%": 1}


@dataclass(frozen=True, slots=True)
class CursorExpression:
    """The one expression that stands for the cursor wherever it is used, at the source and on the target.

    Attributes:
        column: The cursor column.
        fallback: A column to use where it is NULL.
        date_format: The strptime format of a text cursor that is not ISO-8601 (fixed width only).
    """

    column: str
    fallback: str | None = None
    date_format: str | None = None

    @classmethod
    def of(cls, settings: CursorSpec) -> Self:
        """The expression of ``read.incremental``."""
        return cls(settings.column, settings.fallback, settings.date_format)

    @property
    def label(self) -> str:
        """For people: ``updated_at`` or ``COALESCE(updated_at, created_at)``."""
        return f"COALESCE({self.column}, {self.fallback})" if self.fallback else self.column

    def sql(self, dialect: str) -> str:
        """The expression in a dialect, identifiers quoted.

        With a ``date_format`` it is an ISO-8601 text, which orders as the time does.
        """
        plain = self.plain(dialect)
        if self.date_format is None:
            return plain
        function = "SUBSTR" if dialect in _SUBSTR else "SUBSTRING"
        pieces = [
            f"'{part}'" if isinstance(part, str) else f"{function}({plain}, {part[0] + 1}, {part[1]})"
            for part in self.iso_parts()
        ]
        if dialect in _CONCAT:
            return f"CONCAT({', '.join(pieces)})"
        text = f"({(' + ' if dialect in _PLUS else ' || ').join(pieces)})"
        # To Oracle a NULL is an empty text, which would leave the separators alone.
        return f"CASE WHEN {plain} IS NULL THEN NULL ELSE {text} END" if dialect == "oracle" else text

    def iso_parts(self) -> tuple[str | tuple[int, int], ...]:
        """How a text of ``date_format`` becomes ISO-8601, piece by piece.

        Returns:
            Separators, and slices of the text as (start, width), counted from 0; empty without a
            ``date_format``.

        Raises:
            ConfigError: The format has no fixed width, or does not say a time.
        """
        if self.date_format is None:
            return ()
        starts = _starts(self.date_format)
        parts: list[str | tuple[int, int]] = []
        for separator, code in zip(("", "-", "-", " ", ":", ":", "."), "YmdHMSf", strict=True):
            if code in starts:
                parts += [separator, (starts[code], _WIDTHS[code])]
            elif code == "M" and "H" in starts:
                parts += [separator, "00"]  # ISO-8601 writes no hour alone
        return tuple(parts[1:])

    def plain(self, dialect: str) -> str:
        """The expression without ``date_format``: the column's own value."""
        column = quote(self.column, dialect)
        return f"COALESCE({column}, {quote(self.fallback, dialect)})" if self.fallback else column


def _starts(date_format: str) -> dict[str, int]:
    """Where each strptime code of a fixed-width format begins, counted from 0."""
    starts: dict[str, int] = {}
    at = 0
    for code, character in re.findall(r"%(.)|([^%]|%$)", date_format, re.DOTALL):
        if character == "%" or (code and code not in _WIDTHS):
            raise ConfigError(
                f"date_format {date_format!r} holds %{code}, whose values have no fixed width or don't order as text",
                hint="only %Y %m %d %H %M %S %f can be used; make a view with a real time column otherwise",
            )
        if code and code != "%":
            if code in starts:
                raise ConfigError(f"date_format {date_format!r} holds %{code} twice")
            starts[code] = at
        at += _WIDTHS[code] if code else 1
    needed = {"H": "Ymd", "M": "H", "S": "M", "f": "S"}
    missing = {part for code in starts for part in needed.get(code, "") if part not in starts}
    missing |= {part for part in "Ymd" if part not in starts}
    if missing:
        raise ConfigError(
            f"date_format {date_format!r} lacks {' '.join(f'%{part}' for part in sorted(missing))}, "
            "so its values don't say a time",
            hint="write the whole format, such as %d.%m.%Y %H:%M:%S",
        )
    return starts
