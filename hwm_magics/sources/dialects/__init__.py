"""What databases differ in, one module a database."""

from __future__ import annotations

from hwm_magics.sources.dialects.base import Ask, Clock, Dialect, TableFacts

__all__ = ["Ask", "Clock", "Dialect", "TableFacts", "dialect_of"]


def dialect_of(name: str, *, odbc: bool = False) -> Dialect:
    """A database's dialect.

    Args:
        name: The sqlglot dialect; "" for plain SQL.
        odbc: Whether ODBC is what it is reached by.
    """
    if name in ("postgres", "redshift"):
        from hwm_magics.sources.dialects.postgres import Postgres

        return Postgres(name, exact_times=not odbc)
    if name == "sqlite":
        from hwm_magics.sources.dialects.sqlite import Sqlite

        return Sqlite(name)
    if name == "tsql":
        from hwm_magics.sources.dialects.tsql import TSql

        return TSql(name)
    if name == "mysql":
        from hwm_magics.sources.dialects.mysql import MySql

        return MySql(name, odbc=odbc, instants=not odbc)
    from hwm_magics.sources.dialects import others

    known = {
        "oracle": others.Oracle,
        "duckdb": others.DuckDb,
        "spark": others.Spark,
    }
    return known.get(name, Dialect)(name)
