"""Any database with an ODBC driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwm_magics.connections.base import DatabaseConnection, odbc_string
from hwm_magics.connections.secrets import Secret

__all__ = ["OdbcConnection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OdbcConnection(DatabaseConnection):
    """A data source of the ODBC driver manager, or a connection string.

    Attributes:
        dsn: The data source's name; or
        connection_string: a connection string.
        username, password: Added to either.
        sql_dialect: The sqlglot dialect, where it is known.
        options: Further keywords of the connection string.
    """

    type: ClassVar[str] = "odbc"
    dsn: str | None = None
    connection_string: Secret | None = None
    username: str | None = None
    password: Secret | None = None
    sql_dialect: str = ""

    @property
    def dialect(self) -> str:
        return self.sql_dialect

    def odbc(self) -> Secret:
        """The connection string for the driver manager."""
        settings: dict[str, str] = {}
        if self.dsn is not None:
            settings["DSN"] = self.dsn
        if self.username is not None:
            settings["UID"] = self.username
        if self.password is not None:
            settings["PWD"] = self.password.reveal()
        settings |= self.revealed_options()
        given = self.connection_string.reveal() if self.connection_string is not None else ""
        if given and settings and not given.rstrip().endswith(";"):
            given += ";"
        return Secret.of_address(given + odbc_string(settings))
