"""Databases that are reached through SQLAlchemy: by URL, and MySQL, Oracle and DuckDB by their parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote, urlencode

from hwm_magics.connections.base import DatabaseConnection, odbc_string
from hwm_magics.connections.secrets import Secret

__all__ = [
    "DIALECTS",
    "OTHER_DRIVERS",
    "SSL_MODES",
    "DuckDbConnection",
    "MySqlConnection",
    "OracleConnection",
    "SqlConnection",
    "build_url",
]

SSL_MODES = {
    "disabled": "never encrypted",
    "preferred": "encrypted where the server can, by whatever certificate",
    "required": "encrypted, by whatever certificate",
    "verify_ca": "encrypted, by a certificate of an authority that is known",
    "verify_identity": "likewise, and the certificate is the host's",
}
"""MySQL's own words for ways to encrypt a session, and what they mean."""

OTHER_DRIVERS = frozenset({"mysqldb", "mysqlconnector", "mariadbconnector", "cymysql", "pyodbc"})
"""MySQL's drivers that are reached through SQLAlchemy, by its names."""

DIALECTS = {
    "bigquery": "bigquery",
    "clickhouse": "clickhouse",
    "databricks": "databricks",
    "db2": "",
    "duckdb": "duckdb",
    "mariadb": "mysql",
    "mssql": "tsql",
    "mysql": "mysql",
    "oracle": "oracle",
    "postgres": "postgres",
    "postgresql": "postgres",
    "redshift": "redshift",
    "snowflake": "snowflake",
    "sqlite": "sqlite",
    "trino": "trino",
}
"""SQLAlchemy's names of dialects, and sqlglot's."""


def build_url(
    driver: str,
    *,
    host: str | None = None,
    port: int | None = None,
    username: str | None = None,
    password: Secret | None = None,
    database: str | None = None,
    query: dict[str, str] | None = None,
) -> Secret:
    """A database URL with every part quoted as its reader unquotes it."""
    user = ""
    if username is not None:
        user = quote(username, safe="")
        if password is not None:
            user += ":" + quote(password.reveal(), safe="")
        user += "@"
    place = host or ""
    if ":" in place and not place.startswith("["):
        place = f"[{place}]"
    if port is not None:
        place += f":{port}"
    # SQLAlchemy takes the database's name as it stands; libpq unquotes it.
    name = quote(database or "", safe="/") if driver == "postgresql" else database
    tail = f"/{name}" if database is not None else ""
    if query:
        tail += "?" + urlencode(query, quote_via=quote)
    return Secret.of_address(f"{driver}://{user}{place}{tail}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlConnection(DatabaseConnection):
    """Any database that SQLAlchemy has a dialect for.

    Attributes:
        url: The SQLAlchemy URL.
        options: Arguments of ``create_engine``'s ``connect_args``.
    """

    type: ClassVar[str] = "sql"
    url: Secret

    @property
    def dialect(self) -> str:
        scheme = self.url.masked.partition("://")[0]
        return DIALECTS.get(scheme.partition("+")[0].lower(), "")

    def sqlalchemy_url(self) -> Secret:
        """The URL for ``create_engine``."""
        return self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class MySqlConnection(DatabaseConnection):
    """MySQL or MariaDB.

    Attributes:
        host: A host, or a Unix socket's path.
        driver: ``pymysql``; one of :data:`OTHER_DRIVERS`, whose URL has the options as its parameters; or
            ``odbc`` or the name of an ODBC driver, through which the rows are read then.
        ssl_mode: A key of :data:`SSL_MODES`; None for ``verify_identity`` where ``ssl_ca`` is named, else
            for ``preferred``.
        ssl_ca: A file with the authorities that may have signed the server's certificate; None for the
            system's.
        ssl_cert, ssl_key: Files with the certificate that this side shows, and its key.
        options: Further arguments of ``pymysql.connect``.
    """

    type: ClassVar[str] = "mysql"
    host: str
    database: str
    port: int = 3306
    username: str | None = None
    password: Secret | None = None
    driver: str = "pymysql"
    ssl_mode: str | None = None
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None

    @property
    def dialect(self) -> str:
        return "mysql"

    @property
    def encryption(self) -> str:
        """The way in which the session is encrypted, a key of :data:`SSL_MODES`."""
        return self.ssl_mode or ("verify_identity" if self.ssl_ca is not None else "preferred")

    @property
    def by_odbc(self) -> str | None:
        """The ODBC driver that reads the rows, ``odbc`` for whichever is there; None where none does."""
        return None if self.driver == "pymysql" or self.driver in OTHER_DRIVERS else self.driver

    def odbc(self, driver: str) -> Secret:
        """The ODBC connection string.

        Args:
            driver: The driver's registered name. MariaDB's and MySQL's each pass over the other's words.
        """
        socket = self.host.startswith("/")
        settings = {"DRIVER": driver, "SOCKET" if socket else "SERVER": self.host}
        if not socket:
            settings["PORT"] = str(self.port)
        settings["DATABASE"] = self.database
        if self.username is not None:
            settings["UID"] = self.username
        if self.password is not None:
            settings["PWD"] = self.password.reveal()
        if self.encryption not in ("disabled", "preferred"):
            settings["FORCETLS"] = "1"
        if self.encryption in ("verify_ca", "verify_identity"):
            settings["SSLVERIFY"] = "1"
        files = {"SSLCA": self.ssl_ca, "SSLCERT": self.ssl_cert, "SSLKEY": self.ssl_key}
        settings |= {key: file for key, file in files.items() if file is not None}
        settings["SSLMODE"] = self.encryption.upper()
        return Secret.of_address(odbc_string(settings))

    def sqlalchemy_url(self) -> Secret:
        """The URL for ``create_engine``."""
        return build_url(
            f"mysql+{self.driver}",
            host=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            database=self.database,
            query=self.revealed_options(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleConnection(DatabaseConnection):
    """Oracle.

    Attributes:
        service_name: The service; or
        sid: the older name of an instance.
        options: Parameters of the URL.
    """

    type: ClassVar[str] = "oracle"
    host: str
    service_name: str | None = None
    sid: str | None = None
    port: int = 1521
    username: str | None = None
    password: Secret | None = None

    @property
    def dialect(self) -> str:
        return "oracle"

    def sqlalchemy_url(self) -> Secret:
        """The URL for ``create_engine``."""
        query = self.revealed_options()
        if self.service_name is not None:
            query["service_name"] = self.service_name
        return build_url(
            "oracle+oracledb",
            host=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            database=self.sid if self.sid is not None else "",
            query=query,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DuckDbConnection(DatabaseConnection):
    """A DuckDB file.

    Attributes:
        database: The file's absolute path, or ``:memory:``.
        options: DuckDB's settings.
    """

    type: ClassVar[str] = "duckdb"
    database: str

    @property
    def dialect(self) -> str:
        return "duckdb"

    def sqlalchemy_url(self) -> Secret:
        """The URL for ``create_engine``."""
        return build_url("duckdb", database=self.database)
