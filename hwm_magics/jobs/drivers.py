"""Which packages a connection or an engine needs, and how they are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass

from hwm_magics.connections.sql import OTHER_DRIVERS

__all__ = ["ENGINES", "EXTRAS", "Need", "extra_needs", "needs_of"]


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

ENGINES: Mapping[str, str] = {"spark": "spark", "files": "files"}
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


def extra_needs(extra: str) -> tuple[Need, ...]:
    """The packages of an extra; none for one that brings nothing."""
    return EXTRAS.get(extra, ())


def needs_of(kind: str, settings: Mapping[str, object]) -> tuple[str, tuple[Need, ...]]:
    """What a connection needs.

    Args:
        kind: Its type.
        settings: Its settings as written; a ``url`` names its driver.

    Returns:
        The extra, "" for none, and the packages that have to be there.
    """
    extra = _OF_TYPES.get(kind, "")
    if kind == "adls":
        return ("azure", extra_needs("azure")) if settings.get("auth") == "azure_default" else ("", ())
    if kind == "sql_server" and settings.get("authentication") == "azure_default":
        return "sqlserver", (*extra_needs("sqlserver"), *extra_needs("azure"))
    if kind == "sql_server" and ("driver" in settings or "connection_string" in settings):
        extra = "odbc"
    if extra:
        return extra, extra_needs(extra)
    driver = ""
    if kind == "mysql":
        driver = str(settings.get("driver") or "pymysql")
        if driver not in OTHER_DRIVERS:
            return "mysql", (*extra_needs("mysql"), *(() if driver == "pymysql" else extra_needs("odbc")))
    if kind == "sql":
        address = settings.get("url")
        scheme = str(getattr(address, "masked", address)).partition("://")[0].lower()
        family, _, driver = scheme.partition("+")
        if family in ("postgresql", "postgres") and not driver:
            return "postgres", extra_needs("postgres")
        driver = driver or {"mysql": "mysqldb", "oracle": "oracledb", "duckdb": "duckdb"}.get(family, "")
    found = _PACKAGES.get(driver)
    return (found.extra, (found,)) if found is not None else ("", ())
