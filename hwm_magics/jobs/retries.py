"""Tries a load again when what failed may pass: a server restarts, a network was cut, a store throttles."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from hwm_magics.core.decided import Decision, LoadResult
from hwm_magics.errors import (
    CommitError,
    CommitOutcomeUnknownError,
    EngineError,
    IncompleteReadError,
    LoginError,
)
from hwm_magics.jobs.failures import sealed
from hwm_magics.jobs.states import LoaderAround

if TYPE_CHECKING:
    from hwm_magics.core.decided import LoadPlan
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.engines.base import Progress
    from hwm_magics.jobs.states import Loader

__all__ = ["RETRIES", "Retried", "Retry", "passes"]

T = TypeVar("T")

RETRIES = 2
"""How often a job tries again unless it is told otherwise."""

FIRST_WAIT = 1.0
"""Seconds before the second attempt; each further wait doubles, with some jitter."""

LONGEST_WAIT = 30.0

_PASSING = re.compile(
    r"connection (?:refused|reset|aborted|was lost|timed out|is closed|not open)|connect(?:ion)? time-?out|timed out|"
    r"timeout expired|broken pipe|server closed the connection|closed the connection unexpectedly|"
    r"terminating connection|the database system is (?:starting up|shutting down|not yet accepting)|"
    r"could not serialize|deadlock|too many (?:connections|clients|requests)|slow ?down|throttl|"
    r"temporary failure in name resolution|temporarily unavailable|service unavailable|no route to host|"
    r"network is unreachable|communication link|gone away|error sending request|\b(?:408|429|500|502|503|504)\b",
    re.IGNORECASE,
)


def passes(error: BaseException) -> bool:
    """Whether an error may be gone when the same is tried again.

    Args:
        error: What ended an attempt. Only failures of source and storage can pass, and of these the ones
            whose message tells of a connection, a time-out, a conflict or an overload.
    """
    if isinstance(error, IncompleteReadError | CommitOutcomeUnknownError):
        return True
    if isinstance(error, LoginError) or not isinstance(error, EngineError | CommitError):
        return False
    return _PASSING.search(error.message) is not None


@dataclass(frozen=True, slots=True)
class Retry:
    """An attempt that failed, and the wait before the next.

    Attributes:
        node: The load.
        attempt: Which attempt it was, from 1.
        error: Its error, in one line.
        wait: Seconds until the next.
    """

    node: str
    attempt: int
    error: str
    wait: float

    def __str__(self) -> str:
        return f"{self.node}: attempt {self.attempt} failed: {self.error}; again in {self.wait:.1f} s"


class Retried(LoaderAround):
    """A loader that tries again, each attempt with a look of its own at target and source.

    Args:
        loader: Who plans and loads.
        times: How often it tries again.
        tell: Told of each attempt that failed, before the wait.
        first_wait: Seconds before the second attempt; None for :data:`FIRST_WAIT`.
    """

    def __init__(
        self,
        loader: Loader,
        times: int,
        tell: Callable[[Retry], object] = lambda _retry: None,
        *,
        first_wait: float | None = None,
    ) -> None:
        super().__init__(loader)
        self._times = times
        self._tell = tell
        self._first_wait = FIRST_WAIT if first_wait is None else first_wait

    def plan(self, spec: LoadSpec) -> LoadPlan:
        """Plan; see :meth:`hwm_magics.app.Workspace.plan`."""
        return self._attempts(spec, lambda: self._loader.plan(spec), threading.Event())

    def load(
        self,
        spec: LoadSpec,
        *,
        approved: LoadPlan | None = None,
        dry_run: bool = False,
        cancelled: threading.Event | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_plan: Callable[[LoadPlan], None] | None = None,
    ) -> LoadResult:
        """Load; see :meth:`hwm_magics.app.Workspace.load`.

        Where an attempt could not tell whether its commit had landed, the log is asked before the next:
        what is there needs no other attempt.
        """
        unknown: list[str] = []

        def attempt() -> LoadResult:
            if unknown and (landed := self._landed(spec, unknown[-1])) is not None:
                return landed
            try:
                return self._loader.load(
                    spec,
                    approved=approved,
                    dry_run=dry_run,
                    cancelled=cancelled,
                    on_progress=on_progress,
                    on_plan=on_plan,
                )
            except CommitOutcomeUnknownError as error:
                unknown.append(error.run_id)
                raise

        return self._attempts(spec, attempt, cancelled or threading.Event())

    def _attempts(self, spec: LoadSpec, attempt: Callable[[], T], cancelled: threading.Event) -> T:
        try:
            return attempt()
        except Exception as error:
            if not self._times or cancelled.is_set() or not passes(error):
                raise
            first = error
        return self._again(spec, attempt, cancelled, first)

    def _again(
        self, spec: LoadSpec, attempt: Callable[[], T], cancelled: threading.Event, first: Exception
    ) -> T:
        """What follows on a first attempt that failed. Loads that need no second don't pay for the library."""
        import tenacity

        failed: list[Exception] = [first]

        def each() -> T:
            # Its first call is the attempt that was made already.
            if failed:
                raise failed.pop()
            return attempt()

        def tell(state: tenacity.RetryCallState) -> None:
            failure = state.outcome.exception() if state.outcome is not None else None
            wait = state.next_action.sleep if state.next_action is not None else 0.0
            if failure is not None:
                self._tell(Retry(spec.node, state.attempt_number, sealed(failure).message, wait))

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: passes(error) and not cancelled.is_set()),
            stop=tenacity.stop_after_attempt(self._times + 1),
            wait=tenacity.wait_exponential(self._first_wait, LONGEST_WAIT)
            + tenacity.wait_random(0, self._first_wait),
            # A cancel ends the wait, and the next attempt then stops before it has read anything.
            sleep=tenacity.sleep_using_event(cancelled),
            before_sleep=tell,
            reraise=True,
        )(each)

    def _landed(self, spec: LoadSpec, run_id: str) -> LoadResult | None:
        from hwm_magics.core.commit_info import written

        found = next((each for each in self._loader.history(spec, 50) if each.run_id == run_id), None)
        if found is None:
            return None
        told = written(found.metrics)
        return LoadResult(
            spec.node,
            Decision(found.kind.replace("_", " ").upper()),
            "loaded",
            run_id=run_id,
            rows_read=told.rows or 0,
            rows_written=told.rows or 0,
            rows_updated=told.updated or 0,
            version_before=found.version - 1,
            version_after=found.version,
            watermark_after=found.watermark,
            files=told.files,
            chunks=1 if found.first_load is not None else 0,
            warnings=("the commit's answer was lost; its rows were found in the target's log",),
        )
