"""Everything that SQLAlchemy reaches, with a server-side cursor where its driver has them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from hwm_magics.connections.secrets import Secret, scrub_url
from hwm_magics.connections.sql import DIALECTS
from hwm_magics.errors import ConfigError, EngineNotInstalledError
from hwm_magics.sources.dialects import dialect_of
from hwm_magics.sources.failures import failure
from hwm_magics.sources.mysql_types import description_of, leave_the_rest
from hwm_magics.sources.sql_dbapi import PythonDriver, Rows

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

__all__ = ["connect", "of_object"]

_BUFFERED_ROWS = 1_000
"""More are fetched no faster, and wide rows take memory."""
_CONNECT_SECONDS = 10
# Each driver spells its time-out in its own way.
_TIMEOUTS = {
    "psycopg": "connect_timeout",
    "psycopg2": "connect_timeout",
    "pymysql": "connect_timeout",
    "mysqldb": "connect_timeout",
    "mysqlconnector": "connection_timeout",
    "pyodbc": "timeout",
    "oracledb": "tcp_connect_timeout",
}
_INSTALL = {
    "pymysql": "pip install 'hwm-magics[mysql]'",
    "oracledb": "pip install 'hwm-magics[oracle]'",
}


def connect(
    url: Secret, arguments: Mapping[str, object] | None = None, timezone: str | None = None
) -> PythonDriver:
    """Connect by a SQLAlchemy URL.

    Args:
        url: The URL.
        arguments: The driver's own arguments.
        timezone: The zone of times without one; None for the session's own.

    Raises:
        LoginError, SourceConnectionError: The database can't be reached, or refuses the user.
        EngineNotInstalledError: SQLAlchemy lacks the dialect or the driver.
        ConfigError: It is no URL.
    """
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    place = scrub_url(url.masked)
    try:
        parsed = sqlalchemy.make_url(url.reveal())
        known = {
            name: _CONNECT_SECONDS for driver, name in _TIMEOUTS.items() if driver == parsed.get_driver_name()
        }
        known |= {"check_same_thread": False} if parsed.get_backend_name() == "sqlite" else {}
        engine = sqlalchemy.create_engine(
            parsed, poolclass=NullPool, hide_parameters=True, connect_args={**known, **(arguments or {})}
        )
    except NoSuchModuleError as error:
        name = str(error).rpartition(":")[2]
        raise EngineNotInstalledError(
            f"SQLAlchemy has no dialect called {name}", hint=f"install the package that brings {name}"
        ) from None
    except ArgumentError:
        raise ConfigError(
            f"{place} is no SQLAlchemy URL", hint="write it as dialect://user@host/database"
        ) from None
    except ImportError as error:
        raise EngineNotInstalledError(
            f"the driver that {place.partition('://')[0]} needs is not installed: {error}",
            hint=_INSTALL.get(str(error.name), f"pip install {error.name}"),
        ) from None
    driver = _driver(_connected(engine, place), place, ours=True)
    driver.set_zone(timezone)
    return driver


def _connected(engine: Engine, place: str) -> Connection:
    try:
        return engine.connect()
    except Exception as error:  # noqa: BLE001 - each driver has exceptions of its own
        raise failure(error, doing=f"connecting to {place}") from None


def of_object(given: Engine | Connection, name: str) -> PythonDriver:
    """An engine or connection of the notebook, which stays open.

    Args:
        given: It.
        name: The variable's name.
    """
    from sqlalchemy.engine import Engine

    if isinstance(given, Engine):
        return _driver(_connected(given, name), name, ours=True)
    return _driver(given, name, ours=False)


def _driver(connection: Connection, place: str, *, ours: bool) -> PythonDriver:
    dialect = connection.dialect
    # A transaction that was open before is the user's, and so is how it ends.
    inside = connection.in_transaction()

    def execute(sql: str, values: list[str], many: bool) -> Rows:  # noqa: FBT001 - a callback's signature
        options: dict[str, Any] = {"no_parameters": not values}
        if many:
            options |= {"stream_results": True, "yield_per": _BUFFERED_ROWS}
        result = connection.exec_driver_sql(sql, tuple(values) or None, execution_options=options)
        if not result.returns_rows:
            return Rows((), lambda _count: [], result.close)
        return Rows(
            description_of(result.cursor),
            result.fetchmany,
            result.close,
            partial(leave_the_rest, result.cursor),
        )

    def settle() -> None:
        if not inside and not connection.closed:
            connection.rollback()

    name = DIALECTS.get(dialect.name, "")
    driver = PythonDriver(
        dialect_of(name, odbc=dialect.driver == "pyodbc"), place, dialect.paramstyle, execute, settle
    )
    if ours:
        driver.finish = connection.close
        driver.keep = connection.commit
    return driver
