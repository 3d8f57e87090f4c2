"""SQLite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from hwm_magics.connections.base import DatabaseConnection

__all__ = ["SqliteConnection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteConnection(DatabaseConnection):
    """A SQLite file.

    Attributes:
        database: The file's absolute path, or ``:memory:``.
        attach: Further files by the schema name that they get: ``{dbo: /…/erp.db}`` makes its
            table ``orders`` readable as ``dbo.orders``.
    """

    type: ClassVar[str] = "sqlite"
    database: str
    attach: Mapping[str, str] = field(default_factory=dict)

    @property
    def dialect(self) -> str:
        return "sqlite"
