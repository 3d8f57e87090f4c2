"""One SQL statement with its values apart from its text. Frozen."""

from __future__ import annotations

from dataclasses import dataclass

from hwm_magics.core.cursor import CursorValue, Scalar


@dataclass(frozen=True, slots=True)
class Param:
    """A value that stands in a statement.

    Attributes:
        name: Its name in what people are shown.
        value: The value: a cursor value, or a plain scalar from the user's ``params``.
    """

    name: str
    value: CursorValue | Scalar


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with its values apart from its text.

    Attributes:
        parts: Pieces of SQL text in the source's dialect, with a :class:`Param` wherever a value
            belongs. A source renders it with its driver's placeholders and hands over
            the values apart, or, where its protocol has no parameters, as typed literals.
    """

    parts: tuple[str | Param, ...]

    @property
    def params(self) -> tuple[Param, ...]:
        """The values, in the order of the text (one that stands twice comes twice)."""
        return tuple(part for part in self.parts if isinstance(part, Param))
