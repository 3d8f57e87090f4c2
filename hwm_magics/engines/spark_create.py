"""Brings a load's table into being on Spark, and its name into the catalog."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hwm_magics.core.commit_info import encode
from hwm_magics.core.decided import CreateTable
from hwm_magics.core.observed import Column, CommitRecord
from hwm_magics.engines.delta_open import local_absence
from hwm_magics.engines.spark_commit import USER_METADATA, TakenError
from hwm_magics.engines.spark_open import SparkAddress, location_of, plain_location
from hwm_magics.engines.spark_sql import ddl, name_of, properties_clause, quote, text
from hwm_magics.errors import BlockedError, CommitConflictError
from hwm_magics.spark.running import isolated

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["create", "register"]


def create(
    session: SparkSession,
    address: SparkAddress,
    step: CreateTable,
    columns: Sequence[Column],
    cluster_by: Sequence[str],
    record: CommitRecord,
    run: Callable[[Callable[[], None]], None],
) -> None:
    """Create an empty table; exactly one of several racing loads does.

    Args:
        session: The session that creates it.
        address: The table.
        step: How it is partitioned, and its properties.
        columns: Its columns.
        cluster_by: The columns that it is clustered by.
        record: What the commit says of itself.
        run: Runs something on Spark.

    Raises:
        CommitConflictError: Another load was first.
    """
    partitions = ", ".join(map(quote, step.partition_by))
    clusters = ", ".join(map(quote, cluster_by))
    layout = f" PARTITIONED BY ({partitions})" if partitions else ""
    layout += f" CLUSTER BY ({clusters})" if clusters else ""
    statement = (
        f"CREATE TABLE {address.reference} ({ddl(columns, nullable=True)}) USING delta{layout}"
        f"{properties_clause(dict(step.properties))}"
    )

    def make() -> None:
        with isolated(session, None, "", storage=address.folder is None) as (other, _):
            if address.path is None:
                _create_schema(other, address.reference)
            other.conf.set(USER_METADATA, encode(record))
            other.sql(statement).collect()

    try:
        run(make)
    except TakenError as error:
        folder = address.folder
        if folder is None or not local_absence(folder):
            raise CommitConflictError("another load created the table first; nothing was written") from error
        # A creation that died before its commit left its log folder, which Spark takes for a table.
        shutil.rmtree(folder / "_delta_log", ignore_errors=True)
        run(make)


def register(session: SparkSession, address: SparkAddress, name: str) -> None:
    """Give a table that has a path a name as well.

    Args:
        session: The session whose catalog takes the name.
        address: The table.
        name: The name.

    Raises:
        BlockedError: The name is another table's.
    """
    if address.path is None:
        return
    if address.catalog is not None and address.folder is not None:
        address.catalog.register(name, address.folder)
    quoted = name_of(name)
    _create_schema(session, quoted)
    session.sql(f"CREATE TABLE IF NOT EXISTS {quoted} USING delta LOCATION {text(address.path)}").collect()
    there = location_of(session, quoted)
    if there != plain_location(address.path):
        raise BlockedError(
            f"{name} is registered for {there}, and not for {address.path}; the rows are committed",
            hint="choose another register_table, or drop that registration",
        )


def _create_schema(session: SparkSession, name: str) -> None:
    schema = name.rpartition(".")[0]
    if schema:
        session.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}").collect()
