"""The contract of an engine: open a target once, tell what it is, and carry out a plan in one commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from hwm_magics.core.cursor import CursorType, CursorValue, Scalar
from hwm_magics.core.decided import LoadPlan, LoadResult, Window
from hwm_magics.core.observed import CommitRecord, TargetState
from hwm_magics.core.query import CursorExpression
from hwm_magics.core.specs import LoadSpec
from hwm_magics.core.steps import Abilities
from hwm_magics.errors import LoadCancelled

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from hwm_magics.stream import BatchStream, SparkRead

__all__ = ["Engine", "Failpoint", "OpenTarget", "Progress", "RunContext", "TableFiles", "Upkeep"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load has come.

    Attributes:
        phase: ``reading``; ``committing`` once every row was read; ``verifying`` while the target's log is
            asked what came of the commit; ``finishing`` after it.
        rows: Rows read so far.
        bytes: Their size in memory, in bytes.
        total: Rows expected; None when unknown.
        tasks_done, tasks: How many of the job's tasks are done, and how many are known so far, where
            the engine works in tasks; 0 elsewhere.
        chunk, chunks: Of a first load in chunks: which one it is at, and how many there are at most; 0 elsewhere.
            Rows and bytes are then those of all chunks so far.
    """

    phase: str
    rows: int = 0
    bytes: int = 0
    total: int | None = None
    tasks_done: int = 0
    tasks: int = 0
    chunk: int = 0
    chunks: int = 0


Failpoint = Callable[[str], None]
"""Called with the name of each place where a crash must cost nothing: ``after_handle``,
``after_clock``, ``mid_read``, ``after_read``, ``before_put``, ``before_acknowledgement``,
``after_commit``."""


def _no_failpoint(_name: str) -> None:
    return None


@dataclass(slots=True)
class RunContext:
    """What one attempt carries along.

    Attributes:
        run_id: The attempt's UUID.
        cancelled: Set by whoever wants the load to stop; looked at before every batch.
        on_progress: Told how far it has come, from the thread that loads.
        transform: The user's function; None for none.
        dry_run: Read and check the first batch, write nothing.
        failpoint: See :data:`Failpoint`.
        last: What was told last.
    """

    run_id: str
    cancelled: threading.Event = field(default_factory=threading.Event)
    on_progress: Callable[[Progress], None] = field(default=lambda _progress: None)
    transform: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    dry_run: bool = False
    failpoint: Failpoint = _no_failpoint
    last: Progress = Progress("reading")

    def tell(self, progress: Progress) -> None:
        """Tell how far it has come."""
        self.last = progress
        self.on_progress(progress)

    def enter(self, phase: str) -> None:
        """Tell that another phase begins."""
        self.tell(replace(self.last, phase=phase))

    def check(self) -> None:
        """Raise :class:`LoadCancelled` when somebody cancelled."""
        if self.cancelled.is_set():
            raise LoadCancelled("the load was cancelled; nothing was written")


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The data files that a table consists of.

    Attributes:
        count: How many there are.
        bytes: Their size, in bytes.
        small: How many of them are small.
    """

    count: int
    bytes: int
    small: int


class Upkeep(Protocol):
    """The care of a table beyond its loads. Whatever fails raises a :class:`~hwm_magics.errors.CommitError`."""

    def files(self) -> TableFiles:
        """The files that the table consists of."""
        ...

    def order(self, columns: tuple[str, ...]) -> None:
        """Write the files anew, ordered by some columns; a clustered table by those of its own."""
        ...

    def compact(self) -> None:
        """Write small files together."""
        ...

    def vacuum(self, older: timedelta, *, dry_run: bool) -> int:
        """Remove files that no version younger than a time needs.

        Args:
            older: The time; refused where it is shorter than the table's own retention.
            dry_run: Only count them.

        Returns:
            How many there are; 0 where the engine does not tell.
        """
        ...

    def restore(self, version: int) -> int:
        """Make an earlier version the newest one.

        Returns:
            The version that this made.

        Raises:
            StalePlanError: Somebody committed since the target was opened.
        """
        ...


class OpenTarget(Protocol):
    """A target opened at one version. Everything a load does happens on this one handle."""

    state: TargetState
    """What was observed when it was opened, with ``max_cursor`` where the plan will need it."""

    def evaluate(self, queries: tuple[str, ...]) -> tuple[CursorValue | Scalar, ...]:
        """Evaluate scalar queries over the target.

        Args:
            queries: SELECTs in the engine's SQL, with the target named ``hwm_target``.

        Returns:
            One value a query, in their order: a cursor value for numbers, dates and times, a
            plain text otherwise, None for NULL.

        Raises:
            TargetReadError: The target's data can't be read.
            QueryError: The query is not one that the engine can evaluate.
        """
        ...

    def maximum(self, cursor: CursorExpression) -> CursorValue | None:
        """MAX(cursor) over the target's data; None when there is none.

        Raises:
            TargetReadError: The target's data can't be read.
        """
        ...

    def cursor_type(self, cursor: CursorExpression) -> CursorType | None:
        """The type of the cursor column in the target; None when it has no such column."""
        ...

    def count(self, window: Window, cursor: CursorExpression) -> int:
        """How many rows lie in a window of the cursor.

        Raises:
            TargetReadError: The target's data can't be read.
        """
        ...

    def select(self, columns: Sequence[str], window: Window, cursor: CursorExpression) -> pa.Table:
        """Some columns of the rows in a window, in the target's own types.

        Raises:
            TargetReadError: The target's data can't be read.
        """
        ...

    @property
    def upkeep(self) -> Upkeep:
        """The care of the table; it must be there."""
        ...

    def execute(self, plan: LoadPlan, stream: BatchStream | SparkRead, run: RunContext) -> LoadResult:
        """Carry out a plan's steps: one read, one commit.

        The commit is a compare-and-set on this handle's version.

        Args:
            plan: A plan made from :attr:`state`, with steps.
            stream: The rows of its statement; those that Spark reads by itself come only to an
                engine whose :attr:`~hwm_magics.core.steps.Abilities.parallel_reads` is true.
            run: The attempt.

        Raises:
            CommitConflictError: Another load of the node committed since; nothing was written.
            CommitError: The commit failed; nothing was written.
            CommitOutcomeUnknownError: It can't be told whether it landed.
            SchemaMismatchError: The rows don't fit; nothing was written.
            LoadCancelled: Somebody cancelled; nothing was written.
        """
        ...


class Engine(Protocol):
    """Reads and writes Delta tables below the connections it was made with."""

    capabilities: Abilities
    """What it can't do, as data: a plan that needs it is BLOCKED, or says what is done instead."""

    def open(self, spec: LoadSpec, cursor: CursorExpression | None = None) -> OpenTarget:
        """Open a load's target and observe it.

        Args:
            spec: The load.
            cursor: The cursor that its query names; by default the one in ``read.incremental``.

        Never raises for what it finds: what can't be told comes back as a state of
        :attr:`~hwm_magics.core.observed.Existence.UNKNOWN` with its evidence.

        Raises:
            ConfigError: The target's address itself is refused (it leaves the connection's root).
        """
        ...

    def table_exists(self, connection: str, table: str | None = None, path: str | None = None) -> bool:
        """Whether a Delta table is there.

        Args:
            connection: The connection's name.
            table: A registered name; or
            path: a folder below the connection's root.

        Raises:
            TargetUnknownError: It can't be told.
        """
        ...

    def set_watermark(self, spec: LoadSpec, record: CommitRecord) -> int:
        """Commit a watermark without rows.

        Args:
            spec: The load.
            record: What the commit says of itself; its transaction version is set here.

        Returns:
            The version that it made.

        Raises:
            CommitError: The commit failed.
        """
        ...

    def history(
        self, spec: LoadSpec, limit: int = 20, *, within: int | None = None
    ) -> tuple[CommitRecord, ...]:
        """The loads that the target's own log knows, newest first, of all nodes.

        Args:
            spec: The load.
            limit: At most so many.
            within: Look through so many commits at most; None for all that there are.
        """
        ...

    def catalog(self, connection: str) -> dict[str, str]:
        """Registered names of a connection and the locations they stand for, by name."""
        ...
