"""The contract of a source: observe it once, then read one statement as a stream of exact Arrow batches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from hwm_magics.core.cursor import CursorValue, Scalar
from hwm_magics.core.decided import ReadParts
from hwm_magics.core.manifest import Manifest
from hwm_magics.core.observed import Column, SourceState
from hwm_magics.core.specs import Partition
from hwm_magics.core.statement import Param, Statement
from hwm_magics.stream import BatchStream, SparkRead

if TYPE_CHECKING:
    from hwm_magics.core.query import SourceQuery

__all__ = ["BatchStream", "Source", "SourceRequest"]


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """What to ask a source before a plan is made.

    Attributes:
        query: The user's reading, parsed for the source's dialect.
        first_run: Whether the first run's query is meant, or the later runs'.
        low: The low bound that the load will have; None for none.
        initial_value: On a first run, ``initial_value`` as written, to be read as the cursor's type.
        target_values: What the query's subqueries over the target came to, in their order.
        keys: Columns whose uniqueness is of interest; empty when it is not.
        lowest: Whether the lowest cursor value is wanted, too.
        goal: Of a first load that goes on: where it ends. Only the lowest value above ``low`` is asked for then,
            up to there.
        target_columns: The target's columns, where the rows are to be of their types: files may not tell them.
        manifest: For files without a cursor column: those that the target holds; None where all are read.
        since: Of a Delta table without a cursor column: the version that the target holds; None where all is read.
        compared: Whether rows read again are told by their keys.
        partition: How the rows are to be read in parts through this process; None for one part.
        looks_back: How far below its mark the next load will look again; None where no fence is of use.
    """

    query: SourceQuery
    first_run: bool
    low: CursorValue | None = None
    initial_value: Scalar = None
    target_values: tuple[Param, ...] = ()
    keys: tuple[str, ...] = ()
    lowest: bool = False
    goal: CursorValue | None = None
    target_columns: tuple[Column, ...] = ()
    manifest: Manifest | None = None
    since: int | None = None
    compared: bool = False
    partition: Partition | None = None
    looks_back: timedelta | None = None


class Source(Protocol):
    """One connection to one source, used from one thread at a time.

    ``observe`` and ``open`` use the same connection, so that the high bound and the rows come from
    the same server. All methods raise errors of the :class:`~hwm_magics.errors.SourceError`
    family only, without connection strings or credentials in them.
    """

    dialect: str
    """The sqlglot dialect of its SQL."""

    def observe(self, request: SourceRequest) -> SourceState:
        """Ask everything that a plan needs.

        The high bound is fixed here, before a row is read: the highest cursor value at or below
        the source's own clock less ``settle`` (times with ``future: cap``) and any fence that the
        source has. Nothing is written, no temporary object is made.

        Raises:
            LoginError, SourceConnectionError: The source can't be reached.
            QueryError: A table or column is not there, or the query is refused.
            CursorColumnError: The cursor column can't serve as one.
            BlockedError: The source has forgotten changes above the low bound.
        """
        ...

    def resume(self, state: SourceState) -> None:
        """Stand for what a plan has chosen, on a connection of its own, without looking for what came later.

        Args:
            state: What :meth:`observe` told of it.
        """
        ...

    def open(self, statement: Statement) -> BatchStream:
        """Run one statement and stream its rows.

        Column names, their order and types are those that :meth:`observe` gave for the same query.

        Raises:
            QueryError: The statement is refused.
            BlockedError: The source has forgotten changes since it was observed.
        """
        ...

    def open_parts(self, statement: Statement, parts: ReadParts) -> BatchStream:
        """Read the rows of a statement in parts side by side, as one stream.

        The stream holds back whoever reads faster than its rows are taken. An error in one part is the stream's;
        :meth:`~hwm_magics.stream.BatchStream.close` stops all parts, and closes what was opened for them.

        Args:
            statement: The statement that gives all rows.
            parts: The same rows in parts, for a request with ``partition``.

        Raises:
            QueryError: The statement is refused.
            BlockedError: The source has forgotten changes since it was observed.
        """
        ...

    def spark_read(self, statement: Statement) -> SparkRead | None:
        """One statement as something that Spark reads by itself; None where Spark has no way to this source.

        Column names, their order and types are those that :meth:`observe` gave for the same query.
        """
        ...

    def scalar(self, statement: Statement) -> int | str | None:
        """Run a statement that gives one row of one column, such as a COUNT."""
        ...

    def close(self) -> None:
        """Close the connection, unless it was the user's own object. May be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
