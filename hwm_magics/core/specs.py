"""What was asked for: a load with its reading and its writing, valid in itself. All frozen."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from hwm_magics.core.cursor import Scalar


class WriteMode(StrEnum):
    """What happens to the target's rows."""

    APPEND = "append"
    OVERWRITE = "overwrite"
    UPSERT = "upsert"
    APPEND_ONCE = "append_once"


class Boundary(StrEnum):
    """Whether rows at the low bound itself are read again (and recognised)."""

    INCLUSIVE = "inclusive"
    EXCLUSIVE = "exclusive"


class FuturePolicy(StrEnum):
    """What to do with rows dated after the source's own clock."""

    CAP = "cap"
    ACCEPT = "accept"
    ERROR = "error"


class NullPolicy(StrEnum):
    """What later runs do with rows whose cursor is NULL. The first run reads them."""

    WARN = "warn"
    ERROR = "error"
    FIRST_RUN_ONLY = "first_run_only"
    READ = "read"


class FencePolicy(StrEnum):
    """Whether a load stops below what transactions that are still open may yet add."""

    AUTO = "auto"
    OFF = "off"
    REQUIRE = "require"
    XID = "xid"
    """The cursor column holds transaction ids, which PostgreSQL fences exactly."""


class SchemaPolicy(StrEnum):
    """Whether new source columns are added to the target."""

    EVOLVE = "evolve"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class CursorSpec:
    """How a load tells what is new.

    Attributes:
        column: The cursor column.
        fallback: A column to use where the cursor is NULL (one COALESCE everywhere).
        lag: How far below the watermark to look again: a duration for times, a count for numbers;
            None for the default.
        settle: Rows younger than this are left for the next run.
        initial_value: A low bound for the first run.
        boundary: Whether the low bound is inclusive; None for the default.
        future: What to do with rows dated after the source's clock.
        nulls: What later runs do with NULL cursors.
        lookback: With ``mode: rolling_window``, the window below the source's clock.
        date_format: For text cursors that are not ISO-8601, their strptime format.
        fence: What to do about transactions that are open for longer than the lag, where the source tells of them.
    """

    column: str
    fallback: str | None = None
    lag: timedelta | int | None = None
    settle: timedelta = timedelta()
    initial_value: Scalar = None
    boundary: Boundary | None = None
    future: FuturePolicy = FuturePolicy.CAP
    nulls: NullPolicy = NullPolicy.WARN
    lookback: timedelta | None = None
    date_format: str | None = None
    fence: FencePolicy = FencePolicy.AUTO


@dataclass(frozen=True, slots=True)
class Partition:
    """How a read is split into parallel parts.

    Attributes:
        column: The column to split by: a number, a date or a time; None to have it chosen, if it is worth it.
        count: How many parts; 0 to have that chosen, too.
    """

    column: str | None
    count: int

    @property
    def auto(self) -> bool:
        """Whether the plan chooses."""
        return self.column is None


@dataclass(frozen=True, slots=True)
class ReadSpec:
    """Where rows come from: one of ``table``, ``query`` and ``path``.

    Attributes:
        connection: The connection's name.
        format: The format as written; empty for the connection's own.
        table: A table's name in the source's own spelling.
        query: A SELECT in the source's dialect.
        columns: Columns of ``table`` to read; all when empty.
        where: A condition on ``table`` or ``query``, in the source's dialect.
        cursor: How to tell what is new; None when the query itself says, or nothing does.
        params: Values for ``:name`` parameters of the query.
        options: Options handed to the source.
        partition: How to read in parallel; None for one part.
        path: Files below the connection's root, ``*`` for parts of names; ``format`` says which kind.
        line: The line where ``query`` or ``table`` stands in the text that it was read from; None without one.
    """

    connection: str
    format: str = ""
    table: str | None = None
    query: str | None = None
    columns: tuple[str, ...] = ()
    where: str | None = None
    cursor: CursorSpec | None = None
    params: Mapping[str, Scalar] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    partition: Partition | None = None
    path: str | None = None
    line: int | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """The source as a sentence names it."""
        return self.table or self.path or "the query"

    @property
    def relation(self) -> str | None:
        """What a SELECT calls the rows: the table, or the view that stands for files; None for a query."""
        if self.path is None:
            return self.table
        told = repr((self.connection, self.format, self.path, sorted(self.options.items())))
        word = re.sub(r"\W+", "_", self.path).strip("_").lower()
        return f"files_{word}_{hashlib.sha256(told.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class WriteSpec:
    """Where rows go.

    Attributes:
        connection: The connection's name.
        path: The table's folder, below the connection's root.
        table: The table's registered name.
        mode: What happens to the target's rows.
        keys: Columns that identify a row.
        register_table: A name to register the path under.
        first_run_query: A SELECT that replaces the query on a first run.
        chunk: How far one commit of a first load reaches: a duration for times, a count for numbers; None for a
            first load in one commit.
        schema: Whether new columns are added.
        partition_by: Partition columns of a new table.
        cluster_by: Clustering columns.
        optimize_write: Whether small files are compacted after the load.
        properties: ``delta.*`` table properties of a new table.
    """

    connection: str
    path: str | None = None
    table: str | None = None
    mode: WriteMode = WriteMode.APPEND
    keys: tuple[str, ...] = ()
    register_table: str | None = None
    first_run_query: str | None = None
    schema: SchemaPolicy = SchemaPolicy.EVOLVE
    partition_by: tuple[str, ...] = ()
    cluster_by: tuple[str, ...] = ()
    optimize_write: bool = False
    properties: Mapping[str, str] = field(default_factory=dict)
    chunk: timedelta | int | None = None

    @property
    def label(self) -> str:
        """The target as a sentence names it."""
        return self.path or self.table or "?"

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which the load's own query may speak of the target."""
        return tuple(name for name in (self.register_table, self.table) if name)


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """What was asked for, valid in itself.

    Attributes:
        node: The load's name; its watermark belongs to it.
        read: Where rows come from.
        write: Where rows go.
        engine: ``auto``, ``pandas`` or ``spark``.
        transform: The name of a function that every chunk passes through.
        depends_on: Nodes that must have succeeded before.
        force_first_run: Reload everything, replacing the target's rows.
        backfill: The closed window to load again, as written.
    """

    node: str
    read: ReadSpec
    write: WriteSpec
    engine: str = "auto"
    transform: str | None = None
    depends_on: tuple[str, ...] = ()
    force_first_run: bool = False
    backfill: tuple[str, str] | None = None

    @property
    def by_files(self) -> bool:
        """Whether the record of loaded files tells what is new: files are read, and no column inside of them tells.

        A Delta table's files are not its rows: they are written anew by others.
        """
        return self.read.path is not None and self.read.cursor is None and self.read.format != "delta"

    @property
    def by_versions(self) -> bool:
        """Whether the versions of a Delta table tell what is new: no column does, and not all is replaced."""
        without = self.read.format == "delta" and self.read.path is not None and self.read.cursor is None
        return without and self.write.mode is not WriteMode.OVERWRITE

    @property
    def recorded(self) -> bool:
        """Whether a record of what was loaded, and no column, tells what is new."""
        return self.by_files or self.by_versions

    @property
    def recognisable(self) -> bool:
        """Whether rows read again can be told from new ones: after a transform, by their keys alone."""
        return self.transform is None or bool(self.write.keys)
