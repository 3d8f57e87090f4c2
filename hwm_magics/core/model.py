"""The nouns: what was asked for, what was observed, what was decided, what happened. All frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, TypeVar

from hwm_magics.core.cursor import CursorType, CursorValue, Scalar

T = TypeVar("T")


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


class SchemaPolicy(StrEnum):
    """Whether new source columns are added to the target."""

    EVOLVE = "evolve"
    STRICT = "strict"


class Existence(StrEnum):
    """Whether the target is there. UNKNOWN is neither of the others."""

    EXISTS = "exists"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Decision(StrEnum):
    """What a plan came to."""

    FIRST_RUN = "FIRST RUN"
    INCREMENTAL = "INCREMENTAL"
    NO_CHANGES = "NO CHANGES"
    FULL_RELOAD = "FULL RELOAD"
    BACKFILL = "BACKFILL"
    BLOCKED = "BLOCKED"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a source or a target.

    Attributes:
        name: Its name, case kept.
        type: Its Delta Lake type: ``long``, ``integer``, ``short``, ``byte``, ``double``, ``float``,
            ``decimal(p,s)``, ``string``, ``binary``, ``boolean``, ``date``, ``timestamp``,
            ``timestamp_ntz``, ``array<…>``, ``map<…>``, ``struct<…>``.
        nullable: Whether it may hold NULL, as far as its owner says.
        native: The owner's own name of the type.
    """

    name: str
    type: str
    nullable: bool = True
    native: str = ""


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


@dataclass(frozen=True, slots=True)
class ReadSpec:
    """Where rows come from: one of ``table`` and ``query``.

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

    @property
    def label(self) -> str:
        """The source as a sentence names it."""
        return self.table or "the query"


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


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """Which database a source is.

    Attributes:
        strong: What can't change without it being another database (PostgreSQL's system
            identifier with the database's name, a server's name with the database); "" when the
            source has nothing of the kind.
        epoch: What changes when the same database was restored or failed over (PostgreSQL's
            timeline); "" when unknown.
        text: For people, without credentials.
    """

    strong: str = ""
    epoch: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Watermark:
    """The highest cursor value that committed loads have covered.

    Attributes:
        column: The cursor column (``COALESCE(a, b)`` when there is a fallback).
        value: The value.
        origin: Where it was found: ``commit`` (our commit info), ``data`` (MAX over the target),
            ``set`` (a person set it).
    """

    column: str
    value: CursorValue
    origin: Literal["commit", "data", "set"] = "commit"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """What one of our commits said about itself.

    Attributes:
        version: The target's version that it made.
        committed_at: When, by the writer's clock; None when the log does not say.
        node: The load's name.
        run_id: The attempt.
        kind: What it was: ``first_run``, ``incremental``, ``full_reload``, ``backfill``, ``mark``,
            ``create``, ``optimize`` …
        seq: The transaction version that the commit carries.
        low, high: The window it covered; None where it had none.
        watermark: The mark after it; None for loads whose query reads the target itself.
        source: The source's identity.
        plan_hash: The plan's hash.
        metrics: The commit's own metrics (rows, files, bytes …).
        asked_at: When its source was asked, by the writer's clock; None when it was not.
    """

    version: int
    committed_at: datetime | None
    node: str
    run_id: str
    kind: str
    seq: int
    low: CursorValue | None = None
    high: CursorValue | None = None
    watermark: Watermark | None = None
    source: SourceIdentity = field(default_factory=SourceIdentity)
    plan_hash: str = ""
    metrics: Mapping[str, object] = field(default_factory=dict)
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ForeignEvent:
    """A commit by others, after our last load, that changed the target's rows.

    Attributes:
        version: The version it made.
        operation: As the log names it: ``WRITE``, ``DELETE``, ``MERGE``, ``UPDATE`` …
        effect: ``adds`` (rows came), ``removes`` (rows went or changed), ``replaces`` (all of them).
        text: One line for people.
    """

    version: int
    operation: str
    effect: Literal["adds", "removes", "replaces"]
    text: str


@dataclass(frozen=True, slots=True)
class TargetState:
    """What was observed of the target.

    Attributes:
        existence: Whether it is there.
        evidence: How that was established; for UNKNOWN, what went wrong.
        location: Its address, for people.
        version: Its version; None when it is not there.
        table_id: The table's own id.
        columns: Its columns, in order.
        partition_by: Its partition columns.
        properties: Its ``delta.*`` properties.
        has_rows: Whether it holds rows; None when that could not be told.
        loads: Our node's commits that still hold, newest first: the last one, and on to one that
            is older than the default lag.
        seq: The last transaction version that the table holds for our node; 0 for none.
        other_nodes: Names of other nodes that have loaded into it.
        replaced: Our node's newest commit whose rows others have since replaced, when no later one
            holds; None otherwise.
        created: Whether our node created it and has no load in it that holds.
        events: What others did to its rows after our last load, newest first.
        restores: RESTOREs that the search for the mark followed, as sentences.
        max_cursor: MAX(cursor) over its rows, where that was needed; None otherwise or when all
            are NULL.
        registered_as: The location that the name to register stands for already; None when free.
        hint: For UNKNOWN, what to do.
        unsupported: Why the engine can't write this table; "" when it can.
    """

    existence: Existence
    evidence: str
    location: str = ""
    version: int | None = None
    table_id: str = ""
    columns: tuple[Column, ...] = ()
    partition_by: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    has_rows: bool | None = None
    loads: tuple[CommitRecord, ...] = ()
    seq: int = 0
    other_nodes: tuple[str, ...] = ()
    events: tuple[ForeignEvent, ...] = ()
    restores: tuple[str, ...] = ()
    max_cursor: CursorValue | None = None
    registered_as: str | None = None
    hint: str = ""
    unsupported: str = ""
    replaced: CommitRecord | None = None
    created: bool = False

    @property
    def last_load(self) -> CommitRecord | None:
        """Our node's newest commit that still holds."""
        return self.loads[0] if self.loads else None


@dataclass(frozen=True, slots=True)
class Param:
    """A value that stands in a statement.

    Attributes:
        name: Its name in what people are shown.
        value: The value: a cursor value, or a plain scalar from the user's ``params``.
    """

    name: str
    value: CursorValue | Scalar


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with its values apart from its text.

    Attributes:
        parts: Pieces of SQL text in the source's dialect, with a :class:`Param` wherever a value
            belongs. A source renders it with its driver's placeholders and hands over
            the values apart, or, where its protocol has no parameters, as typed literals.
    """

    parts: tuple[str | Param, ...]

    @property
    def params(self) -> tuple[Param, ...]:
        """The values, in the order of the text (one that stands twice comes twice)."""
        return tuple(part for part in self.parts if isinstance(part, Param))


@dataclass(frozen=True, slots=True)
class SourceState:
    """What was observed of the source, in one statement on the connection that will read.

    Attributes:
        identity: Which database it is.
        dialect: The sqlglot dialect that its SQL was written in.
        columns: The columns of the rows that will be read, in order, with the types that they will
            arrive in.
        cursor_type: The cursor's type; None without a cursor.
        now: The source's own clock, in the cursor's type; None for cursors that are no times.
        high: The highest cursor value that may be read: at or below the fence, and for times at or
            below the clock less ``settle``; None when there is no row or no cursor.
        top: The highest cursor value of all, future rows included.
        count: Rows at or above the low bound, up to ``high``; None when not counted.
        nulls: Rows whose cursor is NULL; None when not counted.
        future: Rows above the clock; None when not counted.
        below: When nothing lies at or above the low bound: the highest value below it.
        unique_keys: Whether the source guarantees that the declared keys are unique and not NULL;
            None when that can't be told.
        fence: What bounds ``high`` besides the clock, in words; "".
        projection: The select expressions that give ``columns`` in types that Delta Lake has (a
            uuid as text, say); None when the columns arrive fit as they are.
        later_projection: The same for ``later_columns``.
        later_columns: On a first run with a ``first_run_query``: the columns that later runs will
            read, so that the two can be compared before anything is written; None otherwise.
        warnings: Sentences for the plan.
        asked_at: When it was asked, by this machine's clock; the caller sets it.
    """

    identity: SourceIdentity = field(default_factory=SourceIdentity)
    dialect: str = ""
    columns: tuple[Column, ...] = ()
    later_columns: tuple[Column, ...] | None = None
    projection: tuple[str, ...] | None = None
    later_projection: tuple[str, ...] | None = None
    cursor_type: CursorType | None = None
    now: CursorValue | None = None
    high: CursorValue | None = None
    top: CursorValue | None = None
    count: int | None = None
    nulls: int | None = None
    future: int | None = None
    below: CursorValue | None = None
    unique_keys: bool | None = None
    fence: str = ""
    warnings: tuple[str, ...] = ()
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """The cursor values that one load covers.

    Attributes:
        low: The low bound; None for none.
        high: The high bound, always inclusive; None for none.
        low_inclusive: Whether ``low`` itself is read.
    """

    low: CursorValue | None = None
    high: CursorValue | None = None
    low_inclusive: bool = True

    def __str__(self) -> str:
        left = "(-∞" if self.low is None else f"{'[' if self.low_inclusive else '('}{self.low}"
        right = "+∞)" if self.high is None else f"{self.high}]"
        return f"{left}, {right}"


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """How the source's columns differ from the target's.

    Attributes:
        added: Source columns that the target lacks.
        missing: Target columns that the source lacks; they become NULL.
        casts: Columns whose values are cast without loss: (name, source type, target type).
        conflicts: Differences that lose something, in words; any of them blocks.
    """

    added: tuple[Column, ...] = ()
    missing: tuple[Column, ...] = ()
    casts: tuple[tuple[str, str, str], ...] = ()
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CreateTable:
    """Create the empty table; exactly one of several racing loads does."""

    columns: tuple[Column, ...]
    partition_by: tuple[str, ...]
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReadRows:
    """Read the source once, as a stream."""

    statement: Statement


@dataclass(frozen=True, slots=True)
class ApplyTransform:
    """Pass every chunk through the user's function."""

    name: str


@dataclass(frozen=True, slots=True)
class CheckSchema:
    """Fit the stream's columns to the target's, without loss.

    Attributes:
        change: How they differ, as far as it is known before a transform has run.
        needed: Columns that the rows must have after it: later steps rest on them.
    """

    change: SchemaChange
    needed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deduplicate:
    """Keep the newest row of each key; refuse NULL keys and undecidable duplicates."""

    keys: tuple[str, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class RecogniseRows:
    """Drop rows that the target holds already.

    Attributes:
        low: Target rows at or above this cursor value are compared; None for all.
        columns: The columns that make two rows the same; empty for all columns.
        nulls: Whether target rows with a NULL cursor are compared too.
        cursor, fallback: The cursor column(s) by which the target's rows are chosen.
    """

    low: CursorValue | None
    columns: tuple[str, ...]
    cursor: str
    fallback: str | None = None
    nulls: bool = False
    date_format: str | None = None


@dataclass(frozen=True, slots=True)
class AppendRows:
    """Append the rows."""


@dataclass(frozen=True, slots=True)
class MergeRows:
    """MERGE the rows on ``keys``; with ``insert_only``, rows whose keys exist are left alone."""

    keys: tuple[str, ...]
    insert_only: bool = False


@dataclass(frozen=True, slots=True)
class ReplaceTable:
    """Replace all of the target's rows."""


@dataclass(frozen=True, slots=True)
class ReplaceWindow:
    """Replace the target's rows whose cursor lies in the window."""

    window: Window
    cursor: str
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit rows, transaction id and watermark at once, on the version that was planned with."""

    seq: int
    watermark: Watermark | None


@dataclass(frozen=True, slots=True)
class RegisterTable:
    """Register the path under a name in the catalog."""

    name: str


@dataclass(frozen=True, slots=True)
class OptimizeTable:
    """Compact or order the files after the commit."""

    z_order: tuple[str, ...] = ()


Step = (
    CreateTable
    | ReadRows
    | ApplyTransform
    | CheckSchema
    | Deduplicate
    | RecogniseRows
    | AppendRows
    | MergeRows
    | ReplaceTable
    | ReplaceWindow
    | Commit
    | RegisterTable
    | OptimizeTable
)


@dataclass(frozen=True, slots=True)
class Blocker:
    """Why a plan is BLOCKED.

    Attributes:
        message: What stands in the way, with the evidence.
        hint: What to do.
        error: The class in :mod:`hwm_magics.errors` to raise.
    """

    message: str
    hint: str
    error: str = "BlockedError"


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """The decision, with everything it rests on.

    Attributes:
        spec: What was asked for.
        target, source: What was observed. The source is None when the plan was blocked before
            it was asked.
        decision: What will be done.
        reason: Why, in one sentence.
        steps: What execution does, in order; empty when nothing will be done.
        window: The cursor values that will be read; None when the query itself says.
        before, after: The watermark before and after.
        warnings: Sentences.
        notes: Facts worth knowing that warn of nothing.
        blocker: Set when the decision is BLOCKED.
        first_run_statement, incremental_statement: Both readings side by side, for people; None
            where there is none.
        hash: Changes when the kind of plan changes (decision, mode, target, columns, keys), not
            when only the window moved.
    """

    spec: LoadSpec
    target: TargetState
    source: SourceState | None
    decision: Decision
    reason: str
    steps: tuple[Step, ...] = ()
    window: Window | None = None
    before: Watermark | None = None
    after: Watermark | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    blocker: Blocker | None = None
    first_run_statement: Statement | None = None
    incremental_statement: Statement | None = None
    hash: str = ""

    @property
    def writes(self) -> bool:
        """Whether carrying it out can change the target."""
        return bool(self.steps)

    def step(self, kind: type[T]) -> T | None:
        """The plan's step of one kind, or None."""
        return next((step for step in self.steps if isinstance(step, kind)), None)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What happened.

    Attributes:
        node: The load's name.
        decision: What the plan came to.
        status: ``loaded`` (rows were committed), ``nothing_new``, ``already_loaded`` (another run
            had loaded the window), ``dry_run``.
        run_id: The attempt.
        rows_read: Rows that the source sent.
        rows_recognised: Rows that the target held already.
        rows_written: Rows that the commit holds (for a MERGE: inserted and updated).
        rows_updated: Of those, rows that replaced another.
        late_rows: Rows at or below the old watermark that were not in the target.
        lateness: How far below the old watermark the latest of them lay.
        version_before, version_after: The target's versions; equal when nothing was committed.
        watermark_before, watermark_after: The marks.
        files, bytes: What the commit added.
        seconds: How long it took.
        retries: How often it began again after losing a race.
        warnings: Sentences.
    """

    node: str
    decision: Decision
    status: Literal["loaded", "nothing_new", "already_loaded", "dry_run"]
    run_id: str = ""
    rows_read: int = 0
    rows_recognised: int = 0
    rows_written: int = 0
    rows_updated: int = 0
    late_rows: int = 0
    lateness: timedelta | int | None = None
    version_before: int | None = None
    version_after: int | None = None
    watermark_before: Watermark | None = None
    watermark_after: Watermark | None = None
    files: int | None = None
    bytes: int | None = None
    seconds: float = 0.0
    retries: int = 0
    warnings: tuple[str, ...] = ()
