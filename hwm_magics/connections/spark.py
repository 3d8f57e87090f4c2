"""Tables and SQL of Spark's own catalog, in the session that loads run in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwm_magics.connections.base import DatabaseConnection

__all__ = ["SparkConnection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkConnection(DatabaseConnection):
    """The catalog of the process's Spark session; where there is none, of the one that ``engine: spark`` starts."""

    type: ClassVar[str] = "spark"

    @property
    def dialect(self) -> str:
        return "spark"
