"""Microsoft SQL Server and Azure SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from hwm_magics.connections.base import DatabaseConnection, odbc_string
from hwm_magics.connections.entra import DATABASE, token_for
from hwm_magics.connections.secrets import Secret

__all__ = ["AUTHENTICATIONS", "SqlServerConnection", "odbc_keywords"]

AUTHENTICATIONS = {
    "sql": "",
    "integrated": "",
    "service_principal": "ActiveDirectoryServicePrincipal",
    "managed_identity": "ActiveDirectoryMsi",
    "entra_password": "ActiveDirectoryPassword",
    "entra_integrated": "ActiveDirectoryIntegrated",
    "entra_interactive": "ActiveDirectoryInteractive",
    "azure_default": "",
}
"""Our words for ways to log in, and the ODBC driver's for its keyword Authentication; "" where it has none."""

_INTENTS = {"read_only": "ReadOnly", "read_write": "ReadWrite"}
_APP = "hwm_magics"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlServerConnection(DatabaseConnection):
    """A SQL Server database, reached through ODBC.

    Attributes:
        driver: The ODBC driver's registered name, or the path of its library; None for the newest
            one that there is.
        connection_string: A ready connection string in the place of all other attributes but the token.
        authentication: How to log in, a key of :data:`AUTHENTICATIONS`; None for what the rest says. With
            ``azure_default`` the username is a user-assigned managed identity's client id.
        trusted: Whether to log in as the operating system's user: another word for ``integrated``.
        access_token: A token of Microsoft Entra ID for ``https://database.windows.net/``.
        application_intent: ``read_only`` or ``read_write``; None for read_only.
        encrypt: ``yes``, ``no``, ``optional``, ``mandatory`` or ``strict``; None for yes.
        trust_server_certificate: Whether a certificate that nobody signed is accepted.
        options: Further keywords of the connection string. One that is said here already is
            taken from here.
    """

    type: ClassVar[str] = "sql_server"
    host: str | None = None
    database: str | None = None
    port: int | None = None
    username: str | None = None
    password: Secret | None = None
    driver: str | None = None
    connection_string: Secret | None = None
    authentication: str | None = None
    trusted: bool = False
    access_token: Secret | None = None
    application_intent: str | None = None
    encrypt: str | None = None
    trust_server_certificate: bool = False

    @property
    def dialect(self) -> str:
        return "tsql"

    @property
    def integrated(self) -> bool:
        """Whether the operating system's user logs in."""
        return self.trusted or self.authentication == "integrated"

    def token(self) -> Secret | None:
        """The access token to log in with, fetched anew for ``azure_default``; None where something else logs in.

        Raises:
            EngineNotInstalledError, LoginError: There is no such token.
        """
        if self.authentication != "azure_default":
            return self.access_token
        doing = f"connecting to {self.host}/{self.database}"
        return token_for(DATABASE, doing=doing, client_id=self.username)

    @property
    def names_driver(self) -> bool:
        """Whether the driver is said, by its name or by a data source's."""
        told = odbc_keywords(self.connection_string.reveal()) if self.connection_string is not None else {}
        options = {key.lower() for key in self.options}
        return self.driver is not None or bool({"driver", "dsn"} & (told.keys() | options))

    def odbc(self, driver: str | None = None) -> Secret:
        """The connection string.

        Args:
            driver: The driver to name when the connection names none.
        """
        given = self.connection_string.reveal() if self.connection_string is not None else None
        options = self.revealed_options()
        said = {key.lower() for key in options}
        settings = self._defaults(driver) if given is None else self._usual(driver, odbc_keywords(given))
        # The first of two equal keywords counts: ours would win over the user's.
        settings = {key: value for key, value in settings.items() if key.lower() not in said} | options
        if given is None:
            return Secret.of_address(odbc_string(settings))
        given = given.strip()
        return Secret.of_address(
            given + (";" if settings and not given.endswith(";") else "") + odbc_string(settings)
        )

    def _defaults(self, driver: str | None) -> dict[str, str]:
        settings: dict[str, str] = {}
        chosen = self.driver or driver
        if chosen is not None:
            settings["DRIVER"] = chosen
        server = self.host or ""
        settings["SERVER"] = f"{server},{self.port}" if self.port is not None else server
        if self.database is not None:
            settings["DATABASE"] = self.database
        if self.integrated:
            settings["Trusted_Connection"] = "yes"
        elif AUTHENTICATIONS.get(str(self.authentication)):
            settings["Authentication"] = AUTHENTICATIONS[str(self.authentication)]
        if self.username is not None and self.authentication != "azure_default":
            settings["UID"] = self.username
        if self.password is not None:
            settings["PWD"] = self.password.reveal()
        settings["Encrypt"] = self.encrypt or "yes"
        if self.trust_server_certificate:
            settings["TrustServerCertificate"] = "yes"
        settings["ApplicationIntent"] = _INTENTS[self.application_intent or "read_only"]
        settings["APP"] = _APP
        return settings

    def _usual(self, driver: str | None, told: dict[str, str]) -> dict[str, str]:
        """What a ready connection string leaves unsaid; a data source may say it, and is left alone."""
        if "dsn" in told:
            return {}
        usual = {"DRIVER": driver} if driver is not None else {}
        usual |= {"Encrypt": "yes", "ApplicationIntent": "ReadOnly", "APP": _APP}
        return {key: value for key, value in usual.items() if key.lower() not in told}


_KEYWORD = re.compile(r"\s*([^=;]+?)\s*=\s*(\{(?:[^}]|\}\})*\}|[^;]*)(?:;|$)")


def odbc_keywords(text: str) -> dict[str, str]:
    """The keywords of an ODBC connection string, in lower case, and their values; empty for other texts."""
    found: dict[str, str] = {}
    at = 0
    text = text.strip().rstrip(";")
    while at < len(text):
        part = _KEYWORD.match(text, at)
        if part is None:
            return {}
        value = part[2].strip()
        if value[:1] == "{" and value[-1:] == "}":
            value = value[1:-1].replace("}}", "}")
        found.setdefault(part[1].lower(), value)
        at = part.end()
    return found
