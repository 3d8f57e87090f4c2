"""A connection string or URL that a notebook variable holds, as a connection."""

from __future__ import annotations

from hwm_magics.connections.base import DatabaseConnection
from hwm_magics.connections.odbc import OdbcConnection
from hwm_magics.connections.secrets import Secret
from hwm_magics.connections.sql import DIALECTS, SqlConnection
from hwm_magics.connections.sql_server import SqlServerConnection, odbc_keywords

__all__ = ["connection_of_text"]


def connection_of_text(name: str, text: object) -> DatabaseConnection | None:
    """The text as a connection, or None when it is nothing of the kind.

    Args:
        name: The variable's name.
        text: Anything. An ODBC connection string that names neither another driver nor a data source
            leads to SQL Server.
    """
    if not isinstance(text, str):
        return None
    plain = text.reveal() if isinstance(text, Secret) else text
    scheme, found, _ = plain.partition("://")
    if found and scheme.partition("+")[0].lower() in DIALECTS:
        return SqlConnection(name=name, url=Secret.of_address(plain))
    told = odbc_keywords(plain)
    if not {"server", "driver", "dsn"} & told.keys():
        return None
    driver = told.get("driver", "").lower()
    is_sql_server = "sql server" in driver or "msodbcsql" in driver or not ("driver" in told or "dsn" in told)
    if is_sql_server:
        return SqlServerConnection(name=name, connection_string=Secret.of_address(plain))
    return OdbcConnection(name=name, connection_string=Secret.of_address(plain))
