"""PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwm_magics.connections.base import DatabaseConnection
from hwm_magics.connections.secrets import Secret
from hwm_magics.connections.sql import build_url

__all__ = ["PostgresConnection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresConnection(DatabaseConnection):
    """A PostgreSQL database.

    Attributes:
        host: A host, or the folder of a Unix socket.
        url: A ready libpq URL in the place of all other attributes.
        options: Further libpq parameters, such as ``sslmode`` or ``connect_timeout``.
    """

    type: ClassVar[str] = "postgres"
    host: str | None = None
    database: str | None = None
    port: int | None = None
    username: str | None = None
    password: Secret | None = None
    url: Secret | None = None

    @property
    def dialect(self) -> str:
        return "postgres"

    def uri(self) -> Secret:
        """The URL as libpq reads it (``postgresql://…``)."""
        if self.url is not None:
            _, separator, rest = self.url.reveal().partition("://")
            # A driver's name is SQLAlchemy's own way of writing.
            return Secret.of_address(f"postgresql{separator}{rest}")
        return self._build("postgresql")

    def sqlalchemy_url(self) -> Secret:
        """The URL for ``create_engine``, with the psycopg driver."""
        if self.url is not None:
            _, separator, rest = self.url.reveal().partition("://")
            return Secret.of_address(f"postgresql+psycopg{separator}{rest}")
        return self._build("postgresql+psycopg")

    def _build(self, driver: str) -> Secret:
        query = self.revealed_options()
        host, port = self.host, self.port
        if host is not None and host.startswith("/"):
            query = {"host": host} | ({"port": str(port)} if port is not None else {}) | query
            host = port = None
        if self.username is None and self.password is not None:
            query["password"] = self.password.reveal()
        return build_url(
            driver,
            host=host,
            port=port,
            username=self.username,
            password=self.password,
            database=self.database or "",
            query=query,
        )
