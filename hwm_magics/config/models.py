"""The settings of a load, as pydantic models: which keys there are and what values they take.

Rules between settings stand in ``rules``; these models judge each setting alone. Every setting is
optional here, because ``hwm.yaml`` may hold defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from hwm_magics.config.excerpts import show_value
from hwm_magics.config.fields import (
    Duration,
    Flag,
    InitialValue,
    Lag,
    Names,
    Params,
    SettingError,
    Step,
    Text,
    Whole,
    choice,
    of,
)
from hwm_magics.connections.secrets import Secret
from hwm_magics.core.specs import Boundary, FencePolicy, FuturePolicy, NullPolicy, SchemaPolicy, WriteMode

__all__ = [
    "FILE_FORMATS",
    "AutoPartition",
    "Engine",
    "FirstRunModel",
    "Format",
    "IncrementalMode",
    "IncrementalModel",
    "NodeModel",
    "PartitionModel",
    "PipelineModel",
    "ReadModel",
    "RunMode",
    "Strict",
    "WriteModel",
    "WriteOptionsModel",
    "block",
]


class Engine(StrEnum):
    """What reads and writes."""

    AUTO = "auto"
    PANDAS = "pandas"
    SPARK = "spark"


class RunMode(StrEnum):
    """What a cell does when nothing else says."""

    ASK = "ask"
    PLAN = "plan"
    DRY_RUN = "dry-run"
    RUN = "run"


class Format(StrEnum):
    """Where rows come from; the connection's own type decides how they are read."""

    SQL = "sql"
    SQL_SERVER = "sql_server"
    POSTGRES = "postgres"
    MYSQL = "mysql"
    SQLITE = "sqlite"
    ORACLE = "oracle"
    DUCKDB = "duckdb"
    ODBC = "odbc"
    JDBC = "jdbc"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"
    DELTA = "delta"
    ORC = "orc"
    SPARK = "spark"


FILE_FORMATS = frozenset({Format.CSV, Format.JSON, Format.PARQUET, Format.DELTA, Format.ORC})

_FORMAT_SPELLINGS = {
    "mssql": "sql_server",
    "sqlserver": "sql_server",
    "azure_sql": "sql_server",
    "postgresql": "postgres",
    "mariadb": "mysql",
}


class IncrementalMode(StrEnum):
    """How a window is chosen."""

    STATEFUL = "stateful"
    ROLLING_WINDOW = "rolling_window"


class Strict(BaseModel):
    """A block that refuses keys it does not know."""

    # Built when first used: of a dozen families of connections a project uses two.
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, defer_build=True)


def block(what: str) -> BeforeValidator:
    """Refuses anything but a mapping for a block of settings."""

    def check(value: object) -> object:
        if not isinstance(value, Mapping):
            raise SettingError(f"it must be a block of settings ({what}), and this is {show_value(value)}")
        return value

    return BeforeValidator(_guarded(check))


def _guarded(check: Any) -> Any:
    # The checks for "reported already" and "no value" are the same as a plain setting's.
    return of(check).func


class IncrementalModel(Strict):
    """``read.incremental``."""

    column: Text | None = Field(None, description="The cursor column: says how new a row is.")
    key_column: Text | None = Field(None, description="Another spelling of `column`.")
    fallback_column: Text | None = Field(None, description="Used where the cursor column is NULL.")
    lag: Lag | None = Field(None, description="How far below the watermark to look again (30m, or a count).")
    watermark_lag: Lag | None = Field(None, description="Another spelling of `lag`.")
    settle: Duration | None = Field(None, description="Rows younger than this wait for the next run.")
    initial_value: InitialValue | None = Field(None, description="A low bound for the first run.")
    boundary: Annotated[Boundary, choice(Boundary)] | None = Field(
        None, description="Whether rows at the low bound itself are read again."
    )
    future: Annotated[FuturePolicy, choice(FuturePolicy)] | None = Field(
        None, description="What to do with rows dated after the source's clock."
    )
    nulls: Annotated[NullPolicy, choice(NullPolicy)] | None = Field(
        None, description="What later runs do with rows whose cursor is NULL."
    )
    mode: Annotated[IncrementalMode, choice(IncrementalMode)] | None = Field(
        None, description="`stateful` (the default) or `rolling_window`."
    )
    lookback: Lag | None = Field(None, description="With rolling_window: how far back from now.")
    unit: Text | None = Field(None, description="The unit of `lookback`: hour, day, month, year.")
    state_key: Text | None = Field(None, description="Accepted, without effect: the mark is in the target.")
    date_format: Text | None = Field(None, description="The strptime format of a text cursor.")
    fence: Annotated[FencePolicy, choice(FencePolicy)] | None = Field(
        None, description="Whether a load stops below what open transactions may still add (PostgreSQL)."
    )


class PartitionModel(Strict):
    """``read.partition``."""

    column: Text | None = Field(None, description="The column to split by.")
    count: Whole | None = Field(None, description="How many parts.")


class AutoPartition(PartitionModel):
    """``read.partition: auto``: the plan chooses."""


def _or_auto(value: object) -> object:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, str) and not isinstance(value, Secret) and value.strip().lower() == "auto":
        return AutoPartition(column=None, count=None)
    raise SettingError(
        f"it must be auto, or a block of settings (column: …, count: …), and this is {show_value(value)}"
    )


_partition = BeforeValidator(_guarded(_or_auto))


class ReadOptionsModel(BaseModel):
    """``read.options``: what is known here; everything else goes to the source."""

    model_config = ConfigDict(extra="allow", arbitrary_types_allowed=True, defer_build=True)

    query: Text | None = Field(None, description="Another place for `read.query`.")
    filter: Text | None = Field(None, description="Another place for `read.where`.")


class ReadModel(Strict):
    """``read``."""

    connection: Text | None = Field(None, description="A connection's name, or a notebook variable's.")
    format: Annotated[Format, choice(Format, _FORMAT_SPELLINGS)] | None = Field(
        None, description="What the source is; the connection's own type decides."
    )
    table: Text | None = Field(None, description="The table to read.")
    query: Text | None = Field(None, description="A SELECT, in the place of `table`.")
    path: Text | None = Field(None, description="Files to read, below the connection's root: `orders/*.csv`.")
    columns: Names | None = Field(None, description="The table's columns to read; all without it.")
    where: Text | None = Field(None, description="A condition on the rows.")
    filter: Text | None = Field(None, description="Another spelling of `where`.")
    incremental: Annotated[IncrementalModel | None, block("column: …")] = Field(
        None, description="How to tell what is new."
    )
    partition: Annotated[PartitionModel | None, _partition] = Field(
        None, description="Reading in parallel parts: `auto`, or a block with `column` and `count`."
    )
    options: Annotated[ReadOptionsModel | None, block("key: value")] = Field(
        None, description="Options for the source."
    )


class FirstRunModel(Strict):
    """``write.first_run``."""

    chunk: Step | None = Field(
        None,
        description="How far one commit of a first load reaches: a duration (30d), or a count (1000000).",
    )


def _property(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping | list | tuple | Secret):
        raise SettingError(f"it must be a text, a number, true or false, and this is {show_value(value)}")
    raw = getattr(value, "raw", None)
    return raw if isinstance(raw, str) else str(value)


_Property = Annotated[str, of(_property)]


class WriteOptionsModel(BaseModel):
    """``write.options``: options of the write, and the table's ``delta.…`` properties."""

    # Anything else than these is judged in `rules`, which knows the delta.… properties.
    model_config = ConfigDict(extra="allow", arbitrary_types_allowed=True, defer_build=True)
    __pydantic_extra__: dict[str, _Property]

    partition_by: Names | None = Field(None, description="Partition columns of a new table.")
    cluster_by: Names | None = Field(None, description="Clustering columns.")
    optimize_write: Flag | None = Field(None, description="Compact small files after the load.")
    keys: Names | None = Field(None, description="Another place for `write.keys`.")
    merge_keys: Names | None = Field(None, description="Another place for `write.keys`.")
    mergeSchema: Flag | None = Field(None, description="Another way to say `schema: evolve`.")  # noqa: N815 - Spark's word


class WriteModel(Strict):
    """``write``."""

    connection: Text | None = Field(None, description="The storage connection's name.")
    format: Text | None = Field(None, description="`delta`, the only one.")
    path: Text | None = Field(None, description="The table's folder, below the connection's root.")
    table: Text | None = Field(None, description="The table's registered name.")
    mode: Annotated[WriteMode, choice(WriteMode, {"merge": "upsert"})] | None = Field(
        None, description="What happens to the target's rows."
    )
    keys: Names | None = Field(None, description="Columns that identify a row.")
    merge_keys: Names | None = Field(None, description="Another spelling of `keys`.")
    register_table: Text | None = Field(None, description="A name to register the path under.")
    first_run_query: Text | None = Field(None, description="A SELECT for the first run.")
    first_run: Annotated[FirstRunModel | None, block("chunk: 30d")] = Field(
        None, description="A huge first load, window by window, each a commit."
    )
    schema_: Annotated[SchemaPolicy, choice(SchemaPolicy, {"enforce": "strict"})] | None = Field(
        None, alias="schema", description="Whether new source columns are added."
    )
    merge_schema: Flag | None = Field(None, description="Another way to say `schema: evolve`.")
    partition_by: Names | None = Field(None, description="Partition columns of a new table.")
    cluster_by: Names | None = Field(None, description="Clustering columns.")
    optimize_write: Flag | None = Field(None, description="Compact small files after the load.")
    properties: dict[str, _Property] | None = Field(None, description="`delta.…` properties of a new table.")
    table_properties: dict[str, _Property] | None = Field(
        None, description="Another spelling of `properties`."
    )
    options: Annotated[WriteOptionsModel | None, block("key: value")] = Field(
        None, description="Table options and `delta.…` properties."
    )


def _dependencies(value: object) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list | tuple) or not all(isinstance(each, str) for each in found):
        raise SettingError("it must be a list of nodes' names")
    return tuple(found)


class NodeModel(Strict):
    """One load."""

    name: Text | None = Field(None, description="The load's name; from the target without it.")
    description: Text | None = Field(None, description="For people.")
    engine: Annotated[Engine, choice(Engine)] | None = Field(None, description="What reads and writes.")
    depends_on: Annotated[tuple[str, ...], of(_dependencies)] | None = Field(
        None, description="Nodes that must have succeeded before."
    )
    params: Params | None = Field(None, description="Values for `${name}`, unless given otherwise.")
    read: Annotated[ReadModel | None, block("connection, table or query, …")] = Field(
        None, description="Where rows come from."
    )
    transform: Text | None = Field(None, description="A function of the notebook, or module:function.")
    write: Annotated[WriteModel | None, block("connection, path, mode, …")] = Field(
        None, description="Where rows go."
    )


class PipelineModel(Strict):
    """Several loads with a name. Its nodes are judged one by one."""

    pipeline: Text | None = Field(None, description="The pipeline's name.")
    description: Text | None = Field(None, description="For people.")
    engine: Annotated[Engine, choice(Engine)] | None = Field(None, description="For nodes that name none.")
    params: Params | None = Field(None, description="Values for `${name}` in every node.")
    nodes: Annotated[Any, PlainValidator(lambda value: value)] = Field(None, description="The loads.")
