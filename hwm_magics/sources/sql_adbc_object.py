"""An ADBC connection that the notebook made, which stays open."""

from __future__ import annotations

from typing import Any

from hwm_magics.errors import UnsupportedByEngineError
from hwm_magics.sources.sql import Driver

__all__ = ["of_object"]


def of_object(connection: Any, name: str, timezone: str | None) -> Driver:
    """The driver for a connection of ADBC's DB-API layer.

    Args:
        connection: The connection.
        name: The variable's name.
        timezone: The zone of times without one.

    Raises:
        UnsupportedByEngineError: Its database is neither PostgreSQL nor SQLite.
    """
    vendor = str(connection.adbc_get_info().get("vendor_name", ""))
    if "postgres" in vendor.lower():
        from adbc_driver_manager import AdbcConnection

        from hwm_magics.sources.sql_adbc_postgres import AdbcPostgres

        # A second connection to the same database: the user's own may be in the midst of a transaction.
        return AdbcPostgres(AdbcConnection(connection.adbc_database), None, name, timezone)
    if "sqlite" in vendor.lower():
        from hwm_magics.sources.sql_adbc_sqlite import AdbcSqlite

        return AdbcSqlite(connection.adbc_connection, None, name)
    raise UnsupportedByEngineError(
        f"the variable {name!r} is an ADBC connection to {vendor or 'an unknown database'}",
        hint="ADBC connections to PostgreSQL and SQLite can be read; use a SQLAlchemy engine for others",
    )
