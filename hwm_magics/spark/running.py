"""One job on Spark: run aside, watched, and stopped when somebody asks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hwm_magics.interrupts import noted
from hwm_magics.spark.session import is_connect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["isolated", "run_job"]

T = TypeVar("T")
Tasks = Callable[[int, int], None]
"""Told how many of a job's tasks are done, and how many there are so far."""

_TICK = 0.05
_LOOK = 0.5


class _Control(Protocol):
    """How a running job is named, watched and stopped."""

    def begin(self) -> None:
        """Name what this thread starts."""
        ...

    def end(self) -> None:
        """Name nothing any more."""
        ...

    def look(self) -> tuple[int, int]:
        """Tasks that are done, and that are known."""
        ...

    def cancel(self) -> None:
        """Stop it."""
        ...


class _Classic:
    def __init__(self, session: SparkSession, tag: str) -> None:
        self._context = session.sparkContext
        self._tag = tag

    def begin(self) -> None:
        self._context.setJobGroup(self._tag, "hwm_magics", interruptOnCancel=False)

    def end(self) -> None:
        for name in ("spark.jobGroup.id", "spark.job.description", "spark.job.interruptOnCancel"):
            # None removes a property; the signature knows only of texts.
            self._context.setLocalProperty(name, None)  # type: ignore[arg-type]

    def look(self) -> tuple[int, int]:
        tracker = self._context.statusTracker()
        done = known = 0
        for job in tracker.getJobIdsForGroup(self._tag):
            info = tracker.getJobInfo(job)
            for number in info.stageIds if info else ():
                stage = tracker.getStageInfo(number)
                if stage is not None:
                    done += stage.numCompletedTasks
                    known += stage.numTasks
        return done, known

    def cancel(self) -> None:
        self._context.cancelJobGroup(self._tag)


class _Connect:
    def __init__(self, session: SparkSession, tag: str) -> None:
        self._session = session
        self._tag = tag
        self._seen = (0, 0)

    def begin(self) -> None:
        self._session.addTag(self._tag)
        self._session.registerProgressHandler(self._progress)  # type: ignore[arg-type]  # called by name

    def end(self) -> None:
        self._session.removeProgressHandler(self._progress)  # type: ignore[arg-type]  # as above
        self._session.removeTag(self._tag)

    def _progress(self, *, stages: Any = (), **_rest: object) -> None:
        stages = list(stages or ())
        if stages:
            self._seen = sum(s.num_completed_tasks for s in stages), sum(s.num_tasks for s in stages)

    def look(self) -> tuple[int, int]:
        return self._seen

    def cancel(self) -> None:
        self._session.interruptTag(self._tag)


def run_job(
    session: SparkSession,
    action: Callable[[], T],
    *,
    tag: str,
    cancelled: threading.Event,
    on_tasks: Tasks = lambda _done, _known: None,
) -> T:
    """Run something on Spark in a thread of its own, so that an interrupt can stop it.

    Args:
        session: The session in which it runs.
        action: What is run.
        tag: A name of its own for what it starts.
        cancelled: Set by whoever wants it to stop; an interrupt of this thread sets it too.
        on_tasks: Told how far it has come, about twice a second.

    Returns:
        What the action returned.

    Raises:
        BaseException: What the action raised; after a cancel, Spark's error of a cancelled job.
    """
    from pyspark import InheritableThread

    control: _Control = _Connect(session, tag) if is_connect(session) else _Classic(session, tag)
    results: list[T] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            control.begin()
            try:
                results.append(action())
            finally:
                control.end()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            failures.append(error)
        finally:
            done.set()

    thread = InheritableThread(target=work, session=session)
    thread.daemon = True
    with noted() as interrupts:
        thread.start()
        looked = time.monotonic()
        while not done.wait(_TICK):
            if interrupts:
                cancelled.set()
            if time.monotonic() - looked < _LOOK:
                continue
            looked = time.monotonic()
            # Asked for again and again: what is cancelled before its first job begins would run on.
            if cancelled.is_set():
                control.cancel()
            else:
                on_tasks(*control.look())
    if failures:
        raise failures[0]
    return results[0]


@contextmanager
def isolated(
    session: SparkSession, frame: DataFrame | None, view: str, *, storage: bool = False
) -> Iterator[tuple[SparkSession, str]]:
    """A session whose settings are nobody else's, with a frame of the first as a view.

    Settings such as a commit's transaction id hold for everything that a session does, the user's own
    writes in another cell included; so a statement that needs them gets a session of its own.

    Args:
        session: The session that the frame belongs to.
        frame: The rows that the statement reads; None for none.
        view: A name for them that nothing else has.
        storage: Whether the statement needs what the first session was told of storage while it ran.

    Yields:
        The other session, and the view's name in it.
    """
    connect = is_connect(session)
    name = view if connect else f"global_temp.{view}"
    if frame is not None and connect:
        frame.createOrReplaceTempView(view)
    elif frame is not None:
        frame.createOrReplaceGlobalTempView(view)
    # A clone knows the views that were there when it was made; classic Spark has no clones.
    other: SparkSession = session.cloneSession() if connect else session.newSession()  # type: ignore[attr-defined]
    try:
        if storage and not connect:
            for key, value in session.conf.getAll.items():
                if key.startswith("fs."):
                    other.conf.set(key, value)
        yield other, name
    finally:
        if frame is not None and connect:
            session.catalog.dropTempView(view)
        elif frame is not None:
            session.catalog.dropGlobalTempView(view)
        if connect:
            # Not stop(): that ends a server which was started by this process, and the first session with it.
            with suppress(Exception):
                other.client.release_session()
