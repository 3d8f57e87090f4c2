"""What was observed of a target, with the commits in its log, and of a source. All frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from hwm_magics.core.cursor import CursorType, CursorValue
from hwm_magics.core.manifest import FileRecord, FilesSeen, Manifest, added_up
from hwm_magics.core.versions import VersionsSeen


class Existence(StrEnum):
    """Whether the target is there. UNKNOWN is neither of the others."""

    EXISTS = "exists"
    ABSENT = "absent"
    UNKNOWN = "unknown"


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
class LateColumn:
    """A column that came when rows were there already, or was away for a while.

    Attributes:
        name: The column.
        upto: Rows of the target up to this cursor value may hold NULL in it where the source has a value.
    """

    name: str
    upto: CursorValue


@dataclass(frozen=True, slots=True)
class FirstLoad:
    """What a commit says of the first load that it is a chunk of.

    Attributes:
        goal: The cursor value at which the first load ends; what came meanwhile above it is a later load's.
        chunk: Which chunk the commit brought, from 1.
    """

    goal: CursorValue
    chunk: int


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
        late_columns: Columns that some of the target's rows may lack, the latest last.
        floor: What a person set as loaded; no later window looks below it again. None when nobody did.
        first_load: The first load in chunks that it belongs to; None for every other load.
        files: The files that it loaded, where these tell what is new; None elsewhere.
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
    late_columns: tuple[LateColumn, ...] = ()
    floor: CursorValue | None = None
    first_load: FirstLoad | None = None
    files: FileRecord | None = None

    @property
    def unfinished(self) -> FirstLoad | None:
        """The first load that it leaves unfinished; None when it leaves none."""
        first, mark = self.first_load, self.watermark
        return first if first is not None and mark is not None and mark.value < first.goal else None

    @property
    def told(self) -> str:
        """What it was, with the number of a chunk."""
        chunk = "" if self.first_load is None else f", chunk {self.first_load.chunk}"
        return f"{self.kind}{chunk}"


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
        forgotten: Whether the log's beginning has expired and what is left tells of no load of ours,
            where the engine has no other way to tell that there was none.
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
    forgotten: bool = False

    @property
    def last_load(self) -> CommitRecord | None:
        """Our node's newest commit that still holds."""
        return self.loads[0] if self.loads else None

    @property
    def manifest(self) -> Manifest | None:
        """The files that our node's loads have brought; None when the log does not tell all of them."""
        return added_up([(load.files, load.committed_at) for load in self.loads])


@dataclass(frozen=True, slots=True)
class Split:
    """A way to read a source in parts side by side, as far as the source tells.

    Attributes:
        column: The column to split by; "" for the pages that the rows lie in (PostgreSQL's ``ctid``).
        sql: It, as a condition spells it.
        least, greatest: Its bounds; None where there are none.
        nulls: Whether it may hold NULL.
        pages: How many pages the table has; 0 for a split by a column.
        page_bytes: The size of a page, in bytes.
        rows: About how many rows will be read; None when unknown.
        shared: Whether all connections can be made to see one snapshot.
        key: Whether the column belongs to the table's primary key.
        refusal: Why the rows can't be read in parts, in words; "" when they can.
        hint: What to do about it.
    """

    column: str = ""
    sql: str = ""
    least: CursorValue | None = None
    greatest: CursorValue | None = None
    nulls: bool = True
    pages: int = 0
    page_bytes: int = 0
    rows: int | None = None
    shared: bool = False
    key: bool = False
    refusal: str = ""
    hint: str = ""


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
        until: Nothing above this may be read, be it the clock less ``settle`` or a fence; None for no such bound.
        projection: The select expressions that give ``columns`` in types that Delta Lake has (a
            uuid as text, say); None when the columns arrive fit as they are.
        later_projection: The same for ``later_columns``.
        later_columns: On a first run with a ``first_run_query``: the columns that later runs will
            read, so that the two can be compared before anything is written; None otherwise.
        lowest: The lowest cursor value that will be read, where a first load in chunks needs it: from it the
            windows are counted. None when it was not asked for, or there is no row.
        split: How its rows can be read in parts; None where nobody asked for parts.
        warnings: Sentences for the plan.
        asked_at: When it was asked, by this machine's clock; the caller sets it.
        files: For files: which of them will be read, and which are left alone; None for other sources.
        versions: For a Delta table: its versions, and what those that are not loaded added; None for other sources.
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
    lowest: CursorValue | None = None
    until: CursorValue | None = None
    split: Split | None = None
    warnings: tuple[str, ...] = ()
    asked_at: datetime | None = None
    files: FilesSeen | None = None
    versions: VersionsSeen | None = None
