"""Microsoft SQL Server and Azure SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwm_magics.connections.base import DatabaseConnection, odbc_string
from hwm_magics.connections.secrets import Secret

__all__ = ["SqlServerConnection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlServerConnection(DatabaseConnection):
    """A SQL Server database, reached through ODBC.

    Attributes:
        driver: The ODBC driver's registered name, or the path of its library; None for the newest
            one that is installed.
        connection_string: A ready connection string in the place of all other attributes.
        trusted: Whether to log in as the operating system's user.
        encrypt: ``yes``, ``no``, ``optional``, ``mandatory`` or ``strict``; None for the driver's own.
        trust_server_certificate: Whether a certificate that nobody signed is accepted.
        options: Further keywords of the connection string, such as ``ApplicationIntent``.
    """

    type: ClassVar[str] = "sql_server"
    host: str | None = None
    database: str | None = None
    port: int | None = None
    username: str | None = None
    password: Secret | None = None
    driver: str | None = None
    connection_string: Secret | None = None
    trusted: bool = False
    encrypt: str | None = None
    trust_server_certificate: bool = False

    @property
    def dialect(self) -> str:
        return "tsql"

    def odbc(self, driver: str | None = None) -> Secret:
        """The connection string.

        Args:
            driver: The driver to name when the connection names none.
        """
        if self.connection_string is not None:
            return self.connection_string
        settings: dict[str, str] = {}
        chosen = self.driver or driver
        if chosen is not None:
            settings["DRIVER"] = chosen
        server = self.host or ""
        settings["SERVER"] = f"{server},{self.port}" if self.port is not None else server
        if self.database is not None:
            settings["DATABASE"] = self.database
        if self.trusted:
            settings["Trusted_Connection"] = "yes"
        if self.username is not None:
            settings["UID"] = self.username
        if self.password is not None:
            settings["PWD"] = self.password.reveal()
        if self.encrypt is not None:
            settings["Encrypt"] = self.encrypt
        if self.trust_server_certificate:
            settings["TrustServerCertificate"] = "yes"
        return Secret.of_address(odbc_string(settings | self.revealed_options()))
