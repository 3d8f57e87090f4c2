"""Which packages a connection or an engine needs, and how they are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hwm_magics.connections.sql import OTHER_DRIVERS

__all__ = ["EXTRAS", "Need", "all_needs"]


@dataclass(frozen=True, slots=True)
class Need:
    """One package.

    Attributes:
        package: The name under which pip knows it.
        module: The name under which Python imports it.
        extra: The extra of hwm-magics that brings it; "" when none does.
    """

    package: str
    module: str
    extra: str = ""

    @property
    def there(self) -> bool:
        """Whether it can be imported here; it is looked for, not imported."""
        try:
            return importlib.util.find_spec(self.module) is not None
        except (ImportError, ValueError):
            return False

    @property
    def line(self) -> str:
        """What to type to install it."""
        return f"pip install 'hwm-magics[{self.extra}]'" if self.extra else f"pip install {self.package}"


EXTRAS: Mapping[str, tuple[Need, ...]] = {
    "postgres": (Need("adbc-driver-postgresql", "adbc_driver_postgresql", "postgres"),),
    "odbc": (Need("arrow-odbc", "arrow_odbc", "odbc"), Need("pyodbc", "pyodbc", "odbc")),
    "sqlserver": (
        Need("arrow-odbc", "arrow_odbc", "sqlserver"),
        Need("pyodbc", "pyodbc", "sqlserver"),
        Need("mssql-python-odbc", "mssql_python_odbc", "sqlserver"),
    ),
    "mysql": (Need("PyMySQL", "pymysql", "mysql"),),
    "oracle": (Need("oracledb", "oracledb", "oracle"),),
    "duckdb": (Need("duckdb", "duckdb", "duckdb"),),
    "azure": (Need("azure-identity", "azure.identity", "azure"),),
    "plot": (Need("matplotlib", "matplotlib", "plot"),),
    "files": (Need("duckdb", "duckdb", "files"),),
    "keyring": (Need("keyring", "keyring", "keyring"),),
    "spark": (Need("pyspark", "pyspark", "spark"), Need("delta-spark", "delta", "spark")),
    "jobs": (
        Need("nbclient", "nbclient", "jobs"),
        Need("papermill", "papermill", "jobs"),
        Need("ipykernel", "ipykernel", "jobs"),
        Need("Jinja2", "jinja2", "jobs"),
        Need("croniter", "croniter", "jobs"),
    ),
    "otel": (Need("opentelemetry-api", "opentelemetry.trace", "otel"),),
}
"""What each extra brings. ``s3`` brings nothing: delta-rs has a client of its own."""

_ENGINES: Mapping[str, str] = {"spark": "spark", "files": "files"}
"""The extra that an engine needs, and that files need as a source."""

_OF_TYPES = {
    "postgres": "postgres", "odbc": "odbc", "sql_server": "sqlserver", "s3": "s3", "oracle": "oracle",
    "duckdb": "duckdb",
}  # fmt: skip
_PACKAGES = {
    "pymysql": Need("PyMySQL", "pymysql", "mysql"),
    "mysqlconnector": Need("mysql-connector-python", "mysql.connector"),
    "oracledb": Need("oracledb", "oracledb", "oracle"),
    "duckdb": Need("duckdb", "duckdb", "duckdb"),
    "psycopg": Need("psycopg[binary]", "psycopg"),
    "psycopg2": Need("psycopg2-binary", "psycopg2"),
    "pyodbc": Need("pyodbc", "pyodbc", "odbc"),
}


def all_needs(
    connections: Iterable[tuple[str, Mapping[str, object]]], engines: Iterable[str]
) -> tuple[frozenset[str], tuple[Need, ...]]:
    """What connections and engines need.

    Args:
        connections: Type and settings of each, as written; a ``url`` names its driver.
        engines: The engines, and ``files`` where the pandas engine reads some.

    Returns:
        The extras, and the packages that no extra brings.
    """
    extras = {_ENGINES[engine] for engine in engines if engine in _ENGINES}
    packages: dict[str, Need] = {}
    for kind, settings in connections:
        mine, needs = _needs(kind, settings)
        extras.update(mine)
        packages.update({need.package: need for need in needs if not need.extra})
    return frozenset(extras), tuple(packages.values())


def _needs(kind: str, settings: Mapping[str, object]) -> tuple[tuple[str, ...], tuple[Need, ...]]:
    """The extras of a connection, and a package that is needed by itself."""
    if kind == "adls":
        return (("azure",) if settings.get("auth") == "azure_default" else ()), ()
    if kind == "sql_server" and settings.get("authentication") == "azure_default":
        return ("sqlserver", "azure"), ()
    if kind == "sql_server" and ("driver" in settings or "connection_string" in settings):
        return ("odbc",), ()
    if kind in _OF_TYPES:
        return (_OF_TYPES[kind],), ()
    driver = ""
    if kind == "mysql":
        driver = str(settings.get("driver") or "pymysql")
        if driver not in OTHER_DRIVERS:
            return (("mysql",) if driver == "pymysql" else ("mysql", "odbc")), ()
    if kind == "sql":
        address = settings.get("url")
        scheme = str(getattr(address, "masked", address)).partition("://")[0].lower()
        family, _, driver = scheme.partition("+")
        if family in ("postgresql", "postgres") and not driver:
            return ("postgres",), ()
        driver = driver or {"mysql": "mysqldb", "oracle": "oracledb", "duckdb": "duckdb"}.get(family, "")
    found = _PACKAGES.get(driver)
    if found is None:
        return (), ()
    return ((found.extra,), ()) if found.extra else ((), (found,))
