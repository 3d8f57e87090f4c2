"""What was decided, as a plan with its steps, and what came of it. All frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal, TypeVar

from hwm_magics.core.cursor import CursorValue
from hwm_magics.core.manifest import FileRecord
from hwm_magics.core.observed import Column, LateColumn, SourceState, TargetState, Watermark
from hwm_magics.core.specs import LoadSpec, NullPolicy
from hwm_magics.core.statement import Statement

T = TypeVar("T")


class Decision(StrEnum):
    """What a plan came to."""

    FIRST_RUN = "FIRST RUN"
    RESUME = "RESUME"
    INCREMENTAL = "INCREMENTAL"
    NO_CHANGES = "NO CHANGES"
    FULL_RELOAD = "FULL RELOAD"
    BACKFILL = "BACKFILL"
    BLOCKED = "BLOCKED"

    @property
    def anew(self) -> bool:
        """Whether everything is read, and nothing of the target stays."""
        return self in (Decision.FIRST_RUN, Decision.FULL_RELOAD)


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
class Chunk:
    """The window of a first load that one commit brings; the plan's window is its window.

    Attributes:
        number: Which one it is, from 1.
        goal: Where the first load ends, fixed before its first row was read.
        step: How far a window reaches: a duration or a count; None for all that is left.
        left: So many windows follow, less those in which the source has no row.
        following: The next window; None for the last.
    """

    number: int
    goal: CursorValue
    step: timedelta | int | None = None
    left: int = 0
    following: Window | None = None


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
class ReadParts:
    """The parts of one reading, each a statement of its own; every row belongs to exactly one.

    Attributes:
        statements: One a part.
        by: What they are split by, in words.
        at_once: How many connections read side by side.
        shared: Whether all of them see one snapshot of the source.
    """

    statements: tuple[Statement, ...]
    by: str
    at_once: int
    shared: bool


@dataclass(frozen=True, slots=True)
class ReadRows:
    """Read the source once, as a stream.

    Attributes:
        statement: What gives all rows.
        parts: The same rows in parts that are read side by side; None for one part.
    """

    statement: Statement
    parts: ReadParts | None = None


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
        late_columns: Columns that older rows of the target may lack, the latest come last.
    """

    low: CursorValue | None
    columns: tuple[str, ...]
    cursor: str
    fallback: str | None = None
    nulls: bool = False
    date_format: str | None = None
    late_columns: tuple[LateColumn, ...] = ()

    def groups(self, compared: Sequence[str]) -> tuple[tuple[tuple[str, ...], tuple[LateColumn, ...]], ...]:
        """Whose rows are compared by what, where columns came when rows were there already.

        Args:
            compared: The columns that make two rows the same.

        Returns:
            For each number of the latest columns, from none to all: the columns that are compared, and
            those that a row of the target lacks. A row belongs to the last group that fits it: it holds NULL
            in all of these, and its cursor value lies at or below the ``upto`` of the first of them.
        """
        late = [each for each in self.late_columns if each.name in compared and not self.columns]
        cuts = [tuple(late[len(late) - count :]) for count in range(len(late) + 1)]
        return tuple(
            (tuple(name for name in compared if name not in {each.name for each in cut}), cut) for cut in cuts
        )


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
    """Commit rows, transaction id and watermark at once, on the version that was planned with.

    Attributes:
        seq: The transaction's version.
        watermark: The mark after it; None without one.
        files: Where files tell what is new: those that are loaded after it.
    """

    seq: int
    watermark: Watermark | None
    files: FileRecord | None = None


@dataclass(frozen=True, slots=True)
class RegisterTable:
    """Register the path under a name in the catalog."""

    name: str


SMALL_FILE = 16 * 1024 * 1024
"""Bytes below which a data file counts as small."""

MANY_SMALL_FILES = 20
"""So many of them are worth compacting."""


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


@dataclass(frozen=True, slots=True, repr=False)
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
        count_statement: Counts the rows that would be read; None where nothing would.
        hash: Changes when the kind of plan changes (decision, mode, target, columns, keys), not
            when only the window moved.
        engine: The engine that it was made for.
        chunk: Which part of a first load in chunks its window is; None for every other load.
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
    count_statement: Statement | None = None
    hash: str = ""
    engine: str = ""
    chunk: Chunk | None = None

    def __repr__(self) -> str:
        return f"<LoadPlan {self.spec.node}: {self.decision.value}>"

    @property
    def writes(self) -> bool:
        """Whether carrying it out can change the target."""
        return bool(self.steps)

    @property
    def looks_again(self) -> bool:
        """Whether nothing lies above the watermark, so that only rows that came late can be found."""
        cursor, before, after = self.spec.read.cursor, self.before, self.after
        return (
            self.decision is Decision.INCREMENTAL
            and before is not None
            and after is not None
            and before.value == after.value
            and not self.target.events
            and (cursor is None or (cursor.lookback is None and cursor.nulls is not NullPolicy.READ))
        )

    @property
    def goal(self) -> CursorValue | None:
        """Up to where it reads: with all the chunks of a first load that follow."""
        if self.chunk is not None:
            return self.chunk.goal
        return self.window.high if self.window is not None else None

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
        chunks: How many chunks of a first load were committed, each a version of its own; 0 for every other load.
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
    chunks: int = 0
