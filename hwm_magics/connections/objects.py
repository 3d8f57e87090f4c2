"""Connections that the notebook made itself: engines, DBAPI connections, Spark sessions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from hwm_magics.connections.base import Connection
from hwm_magics.connections.sql import DIALECTS

__all__ = ["ObjectConnection", "recognise"]

# Where a class comes from tells what it is, without importing the library: the beginning of the
# module's name, the classes that count, what they are, and the dialect where it is always the same.
_KINDS: tuple[tuple[str, frozenset[str], str, str], ...] = (
    ("sqlalchemy", frozenset({"Engine", "Connection"}), "sqlalchemy", ""),
    ("sqlite3", frozenset({"Connection"}), "sqlite3", "sqlite"),
    ("pyodbc", frozenset({"Connection"}), "pyodbc", ""),
    ("mssql_python", frozenset({"Connection"}), "dbapi", "tsql"),
    ("adbc_driver_manager", frozenset({"Connection"}), "adbc", ""),
    ("psycopg", frozenset({"Connection"}), "dbapi", "postgres"),
    ("psycopg2", frozenset({"connection"}), "dbapi", "postgres"),
    ("duckdb", frozenset({"DuckDBPyConnection"}), "duckdb", "duckdb"),
    ("_duckdb", frozenset({"DuckDBPyConnection"}), "duckdb", "duckdb"),
    ("oracledb", frozenset({"Connection"}), "dbapi", "oracle"),
    ("pymysql", frozenset({"Connection"}), "dbapi", "mysql"),
    ("MySQLdb", frozenset({"Connection"}), "dbapi", "mysql"),
    ("mysql", frozenset({"MySQLConnection", "CMySQLConnection"}), "dbapi", "mysql"),
    ("pyspark", frozenset({"SparkSession"}), "spark", "spark"),
    ("databricks", frozenset({"DatabricksSession", "SparkSession"}), "spark", "spark"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectConnection(Connection):
    """An object of the notebook that serves as a connection. It is never closed here.

    Attributes:
        name: The variable's name.
        obj: The object.
        kind: ``sqlalchemy``, ``sqlite3``, ``pyodbc``, ``adbc``, ``duckdb``, ``dbapi`` (any other
            PEP 249 connection) or ``spark``.
        dialect: The sqlglot dialect of its SQL; "" when only the database itself can tell.
    """

    type: ClassVar[str] = "object"
    # Its repr is its library's business, and may hold a password.
    obj: Any = field(repr=False, compare=False)
    kind: str
    dialect: str = ""
    timezone: str | None = None

    @property
    def shared(self) -> bool:
        """Whether several loads may use it at the same time: an engine or a session, not one connection."""
        return self.kind == "spark" or type(self.obj).__name__ == "Engine"


def recognise(name: str, obj: object) -> ObjectConnection | None:
    """The object as a connection, or None when it is nothing of the kind.

    Args:
        name: The variable's name.
        obj: Anything.
    """
    for each in type(obj).__mro__:
        package = each.__module__.partition(".")[0]
        for prefix, classes, kind, dialect in _KINDS:
            if package == prefix and each.__name__ in classes:
                spoken = dialect if kind != "sqlalchemy" else _sqlalchemy_dialect(obj)
                return ObjectConnection(name=name, obj=obj, kind=kind, dialect=spoken)
    return None


def _sqlalchemy_dialect(obj: object) -> str:
    return DIALECTS.get(str(getattr(getattr(obj, "dialect", None), "name", "")), "")
