"""A database's address for JDBC, by which Spark reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from hwm_magics.connections.base import Connection
from hwm_magics.connections.postgres import PostgresConnection
from hwm_magics.connections.sql_server import SqlServerConnection
from hwm_magics.core.specs import ReadSpec

__all__ = ["JdbcAddress", "jdbc_address", "jdbc_options"]

_POSTGRES_DRIVER = "org.postgresql.Driver"
_SQL_SERVER_DRIVER = "com.microsoft.sqlserver.jdbc.SQLServerDriver"
# libpq's words and the JDBC driver's.
_POSTGRES_WORDS = {
    "sslmode": "sslmode",
    "sslrootcert": "sslrootcert",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
    "connect_timeout": "connectTimeout",
    "application_name": "ApplicationName",
    "options": "options",
    "target_session_attrs": "targetServerType",
}
_SQL_SERVER_WORDS = {"ApplicationIntent": "applicationIntent", "MultiSubnetFailover": "multiSubnetFailover"}


@dataclass(frozen=True, slots=True)
class JdbcAddress:
    """Where JDBC finds a database.

    Attributes:
        url: The JDBC URL, without credentials.
        driver: The driver's Java class.
        properties: The driver's properties, credentials among them.
    """

    url: str
    driver: str
    properties: dict[str, str] = field(repr=False, default_factory=dict)


def jdbc_address(connection: Connection) -> JdbcAddress | None:
    """The address of a connection for JDBC; None when it has none that is sure to be right.

    Args:
        connection: A connection. Ready connection strings and integrated logins are ODBC's own, and
            Unix sockets libpq's; such a connection is read through this process.
    """
    if isinstance(connection, PostgresConnection):
        return _postgres(connection.uri().reveal())
    if isinstance(connection, SqlServerConnection):
        return _sql_server(connection)
    return None


def _postgres(url: str) -> JdbcAddress | None:
    parts = urlsplit(url)
    if not parts.hostname or "," in parts.netloc:
        return None
    given = dict(parse_qsl(parts.query))
    if any(word not in _POSTGRES_WORDS and word not in ("user", "password") for word in given):
        return None
    properties = {_POSTGRES_WORDS.get(word, word): value for word, value in given.items()}
    if parts.username is not None:
        properties["user"] = unquote(parts.username)
    if parts.password is not None:
        properties["password"] = unquote(parts.password)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = f"{host}:{parts.port}" if parts.port is not None else host
    return JdbcAddress(f"jdbc:postgresql://{place}/{parts.path.lstrip('/')}", _POSTGRES_DRIVER, properties)


def _sql_server(connection: SqlServerConnection) -> JdbcAddress | None:
    options = connection.revealed_options()
    if connection.connection_string is not None or not connection.host:
        return None
    if connection.integrated or connection.authentication not in (None, "sql"):
        return None
    if any(word not in _SQL_SERVER_WORDS for word in options):
        return None
    properties = {_SQL_SERVER_WORDS[word]: value for word, value in options.items()}
    if connection.database is not None:
        properties["databaseName"] = connection.database
    if connection.username is not None:
        properties["user"] = connection.username
    if connection.password is not None:
        properties["password"] = connection.password.reveal()
    if connection.access_token is not None:
        properties["accessToken"] = connection.access_token.reveal()
    intent = "ReadWrite" if connection.application_intent == "read_write" else "ReadOnly"
    properties.setdefault("applicationIntent", intent)
    encrypt = connection.encrypt or "yes"
    words = {"yes": "true", "no": "false", "optional": "false", "mandatory": "true"}
    properties["encrypt"] = words.get(encrypt, encrypt)
    if connection.trust_server_certificate:
        properties["trustServerCertificate"] = "true"
    host, _, instance = connection.host.partition("\\")
    place = f"{host}\\{instance}" if instance else host
    place = f"{place}:{connection.port}" if connection.port is not None else place
    return JdbcAddress(f"jdbc:sqlserver://{place}", _SQL_SERVER_DRIVER, properties)


def jdbc_options(address: JdbcAddress, read: ReadSpec, timezone: str | None) -> dict[str, str]:
    """The options of Spark's JDBC reader.

    Args:
        address: The database.
        read: What is read; ``options.fetch_size`` is taken from it.
        timezone: The zone of times without one; None for the session's.
    """
    options = {
        "url": address.url,
        "driver": address.driver,
        # Times without a zone stay what they are, whatever zone Spark is in.
        "preferTimestampNTZ": "true",
        "fetchsize": str(read.options.get("fetch_size", 10_000)),
        **address.properties,
    }
    if address.driver == _POSTGRES_DRIVER:
        zone = "" if timezone is None else "; SET TIME ZONE '" + timezone.replace("'", "''") + "'"
        options["sessionInitStatement"] = f"SET default_transaction_read_only = on{zone}"
    return options
