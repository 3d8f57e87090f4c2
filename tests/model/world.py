"""A source with writers, a target, and loads that are stopped, killed and woken up between their steps.

Only one thread runs at any time, so that a schedule is the same each time it is played.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from contract.cases import Case, FakeCase
from fakes.builders import COLUMNS, a_spec
from fakes.engine import FakeLake
from fakes.source import FakeDatabase, Transaction, source_of
from fakes.workspace import Bench

from hwm_magics.core.observed import Column
from hwm_magics.core.specs import CursorSpec, LoadSpec, NullPolicy
from hwm_magics.errors import CommitConflictError, CommitError
from hwm_magics.jobs.chunks import InChunks
from hwm_magics.jobs.marks import settle

LAG = timedelta(minutes=10)
MINUTE = timedelta(minutes=1)
PATIENCE = 60
"""Seconds after which a load that neither stops nor ends is taken for hung."""
NEVER = timedelta(days=2000)

SPECS: dict[str, LoadSpec] = {
    "append": a_spec(cursor=CursorSpec("u", nulls=NullPolicy.READ)),
    "keyed append": a_spec(keys=("id",), cursor=CursorSpec("u", nulls=NullPolicy.READ)),
    "upsert": a_spec("upsert", cursor=CursorSpec("u", nulls=NullPolicy.READ)),
    "append without NULLs": a_spec(),
    "append by number": a_spec(cursor=CursorSpec("id")),
    "append in chunks": a_spec(cursor=CursorSpec("u", nulls=NullPolicy.READ), chunk=timedelta(minutes=2)),
    "append by number in chunks": a_spec(cursor=CursorSpec("id"), chunk=2),
}
NUMBERED = (Column("id", "long"), Column("v", "string"))


class Crash(BaseException):
    """The process is gone."""


class Load(Protocol):
    """One attempt to load, which stops between its steps."""

    @property
    def over(self) -> bool:
        """Whether it has ended, in whichever way."""

    def step(self) -> None:
        """Go on to the next place."""

    def crash(self) -> None:
        """Die where it stands."""


class Target(Protocol):
    """What a schedule does to a target behind the loads' backs."""

    def rows(self) -> list[dict[str, Any]]:
        """Its rows."""

    def version(self) -> int:
        """Its newest version; -1 when it is not there."""

    def append(self, *rows: dict[str, Any]) -> None:
        """Append as others do."""

    def restore(self, version: int) -> None:
        """Restore a version."""

    def compact(self) -> None:
        """Compact its files."""


class ThreadedLoad:
    """The application's load, on a thread that waits at each named place."""

    def __init__(self, make: Callable[[Callable[[str], None]], Bench], spec: LoadSpec) -> None:
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self._dying = False
        self.over = False
        self.place = "start"
        self.error: BaseException | None = None
        self._bench, self._spec = make(self._wait), spec
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._await()

    def _wait(self, place: str) -> None:
        self.place = place
        self._stopped.release()
        self._go.acquire()
        if self._dying:
            raise Crash(place)

    def _run(self) -> None:
        try:
            self._wait("start")
            InChunks(self._bench).load(self._spec)
        except BaseException as error:  # noqa: BLE001 - the world looks at it
            self.error = error
        self.over = True
        self._stopped.release()

    def _await(self) -> None:
        assert self._stopped.acquire(timeout=PATIENCE), f"the load hangs after {self.place}"

    def step(self) -> None:
        """Go on to the next place, or to the end."""
        self._go.release()
        self._await()
        if self.over:
            self._thread.join(PATIENCE)
            allowed = (CommitConflictError,) if not self._dying else (Crash, CommitError)
            if self.error is not None and not isinstance(self.error, allowed):
                raise self.error

    def crash(self) -> None:
        """Die at the next place that it passes."""
        self._dying = True
        while not self.over:
            self.step()


class World:
    """Everything that happens in one schedule.

    Args:
        mode: A key of :data:`SPECS`.
        case: The engine and its lake.
        naive: Whether the loads are those of :class:`NaiveLoad`, on a target of their own.
    """

    def __init__(self, mode: str, case: Case | None = None, *, naive: bool = False) -> None:
        self.mode = mode
        self.spec = SPECS[mode]
        self.numbered = mode.startswith("append by number")
        self.unique = mode in ("keyed append", "upsert")
        self.db = FakeDatabase(NUMBERED if self.numbered else COLUMNS)
        if case is None:
            case = FakeCase(lake=FakeLake(self.clock))
        self.target: Target = NaiveTarget() if naive else case
        self._case = None if naive else case
        self.open: list[tuple[Transaction, datetime]] = []
        self.loads: list[Load] = []
        self._next = 0

    def clock(self) -> datetime:
        """The world's time: every clock but the skewed writers' shows it."""
        return self.db.clock.replace(tzinfo=UTC)

    def close(self) -> None:
        """End what is still running."""
        for load in self.loads:
            if not load.over:
                load.crash()
        self.db.close()

    def _row(self, tick: timedelta, skew: timedelta, *, repeat: bool = False) -> dict[str, Any]:
        if not (repeat and self._next) or self.unique or self.numbered:
            self._next += 1
        row = {"id": self._next, "v": "a"}
        return row if self.numbered else {**row, "u": self.db.stamp(tick, skew)}

    def insert(self, tick: timedelta, skew: timedelta, *, repeat: bool = False) -> None:
        """A row that everybody sees at once."""
        self.db.insert(self._row(tick, skew, repeat=repeat))

    def begin(self, tick: timedelta, skew: timedelta) -> None:
        """A row in a transaction that stays open."""
        taken = self.db.clock - skew
        self.open.append(
            (self.db.begin().insert(self._row(tick, skew)), min(taken, self.db.stamp(tick, skew)))
        )

    def update(self, which: int, tick: timedelta, skew: timedelta, *, later: bool) -> None:
        """Change a row, at once or in a transaction that stays open."""
        numbers = [row["id"] for row in self.db.rows.values()]
        if not numbers or self.mode != "upsert":
            return
        number, stamp = numbers[which % len(numbers)], self.db.stamp(tick, skew)
        self._next += 1
        change = {"v": f"changed {self._next}", "u": stamp}
        if later:
            self.open.append((self.db.begin().update(number, change), stamp))
        else:
            self.db.change(number, change)

    def end(self, which: int, *, commit: bool) -> None:
        """Commit or roll back an open transaction."""
        if self.open:
            transaction, _ = self.open.pop(which % len(self.open))
            transaction.commit() if commit else transaction.rollback()

    def insert_null(self) -> None:
        """A row without a cursor value."""
        if not self.numbered:
            self.db.insert({**self._row(MINUTE, timedelta(0)), "u": None})

    def insert_future(self, ahead: timedelta) -> None:
        """A row that is dated after the clock."""
        if not self.numbered:
            self.db.insert({**self._row(MINUTE, timedelta(0)), "u": self.db.clock + ahead})

    def advance(self, by: timedelta) -> None:
        """Move the clock. What would be open for longer than the promise allows commits before."""
        for entry in list(self.open):
            if entry[1] + LAG <= self.db.clock + by:
                entry[0].commit()
                self.open.remove(entry)
        self.db.advance(by)

    def advance_to_the_brink(self) -> None:
        """Move the clock to where the oldest open transaction just keeps the promise's limit."""
        limit = min((taken + LAG for _, taken in self.open), default=self.db.clock)
        self.advance(max(limit - self.db.clock - timedelta(microseconds=1), timedelta(0)))

    def start(self) -> None:
        """Begin a load; at most three are under way."""
        self.loads = [load for load in self.loads if not load.over]
        if len(self.loads) >= 3:
            return
        if isinstance(self.target, NaiveTarget):
            self.loads.append(NaiveLoad(self.db, self.target))
        else:
            self.loads.append(ThreadedLoad(self._bench, self.spec))

    def _bench(self, failpoint: Callable[[str], None]) -> Bench:
        assert self._case is not None
        return Bench(
            self._case.engine, lambda spec: source_of(self.db, spec, batch=2), failpoint, clock=self.clock
        )

    def step(self, which: int) -> None:
        """Let one load go on to its next place."""
        running = [load for load in self.loads if not load.over]
        if running:
            running[which % len(running)].step()

    def run(self, which: int) -> None:
        """Let one load go on to its end."""
        running = [load for load in self.loads if not load.over]
        if running:
            load = running[which % len(running)]
            while not load.over:
                load.step()

    def crash(self, which: int) -> None:
        """Kill one load where it stands."""
        running = [load for load in self.loads if not load.over]
        if running:
            running[which % len(running)].crash()

    def _is_loaded(self) -> bool:
        if self._case is None:
            return bool(self.target.rows())
        return self._case.engine.open(self.spec).state.last_load is not None

    def append_foreign(self) -> None:
        """Somebody else appends a row of their own."""
        if self.target.version() >= 0 and self._is_loaded():
            self._next += 1
            row = {"id": -self._next, "v": "theirs"}
            self.target.append(row if self.numbered else {**row, "u": self.db.clock - 3 * MINUTE})

    def restore(self, version: int) -> None:
        """Somebody restores an earlier version."""
        newest = self.target.version()
        if newest > 0:
            self.target.restore(version % newest)

    def _run_once(self, spec: LoadSpec, decision: str) -> None:
        """Carry out a load of another kind, if that is what it comes to."""
        if self._case is not None and self._bench(lambda place: None).plan(spec).decision == decision:
            load = ThreadedLoad(self._bench, spec)
            while not load.over:
                load.step()

    def backfill(self, before: timedelta, after: timedelta) -> None:
        """Somebody loads a window again."""
        window = (str(self.db.clock - before), str(self.db.clock + after))
        self._run_once(replace(self.spec, backfill=("0", "999999") if self.numbered else window), "BACKFILL")

    def reload(self) -> None:
        """Somebody reloads everything."""
        self._run_once(replace(self.spec, force_first_run=True), "FULL RELOAD")

    def set_mark(self) -> None:
        """Somebody sets the mark below all rows: everything is to be looked at again."""
        if self._case is not None and self.target.version() >= 0:
            settle(self._bench(lambda place: None), self.spec, "0" if self.numbered else "2024-01-01")

    def truncate(self) -> None:
        """Somebody empties the target."""
        if self._case is not None and self.target.version() >= 0 and self.target.rows():
            self._case.delete()

    def compact(self) -> None:
        """Somebody compacts the files."""
        if self.target.version() >= 0:
            self.target.compact()

    def finish(self) -> None:
        """Everything comes to rest: transactions commit, loads end, and one more runs."""
        for transaction, _ in self.open:
            transaction.commit()
        self.open.clear()
        for load in self.loads:
            while not load.over:
                load.step()
        # What came above the goal of a first load in chunks is of the load after it.
        for _ in range(1 if self.spec.write.chunk is None else 2):
            self.db.advance(MINUTE)
            self.start()
            self.run(0)

    def verdict(self) -> tuple[list[str], list[str]]:
        """Rows that were lost, and rows that were doubled or are stale."""
        expected, optional = Counter[str](), Counter[str]()
        for row in self.db.rows.values():
            moment = row.get("u", row["id"])
            if moment is None and self.mode == "append without NULLs":
                optional[_told(row)] += 1
            elif moment is None or isinstance(moment, int) or moment <= self.db.clock:
                expected[_told(row)] += 1
        rows = self.target.rows() if self.target.version() >= 0 else []
        found = Counter(_told(row) for row in rows if row["id"] > 0)
        lost = expected - found
        more = found - expected - optional
        return sorted(lost.elements()), sorted(more.elements())


def _told(row: dict[str, Any]) -> str:
    return f"{row['id']} {row.get('u')} {row['v']}"


class NaiveTarget:
    """A target that keeps its versions, and compares nothing."""

    def __init__(self) -> None:
        self.versions: list[list[dict[str, Any]]] = []

    def rows(self) -> list[dict[str, Any]]:
        """Its rows."""
        return self.versions[-1] if self.versions else []

    def version(self) -> int:
        """Its newest version."""
        return len(self.versions) - 1

    def append(self, *rows: dict[str, Any]) -> None:
        """Append."""
        self.versions.append([*self.rows(), *rows])

    def restore(self, version: int) -> None:
        """Restore a version."""
        self.versions.append(self.versions[version])

    def compact(self) -> None:
        """Nothing to see."""


class NaiveLoad:
    """``WHERE u > (SELECT MAX(u) FROM target)``, appended without looking again."""

    def __init__(self, db: FakeDatabase, target: NaiveTarget) -> None:
        self.over = False
        self._steps = self._load(db, target)

    @staticmethod
    def _load(db: FakeDatabase, target: NaiveTarget) -> Iterator[None]:
        def stamp(row: dict[str, Any]) -> Any:
            return row["u"] if "u" in row else row["id"]

        yield
        known = [stamp(row) for row in target.rows() if stamp(row) is not None]
        high = max(known, default=None)
        yield
        rows = [
            dict(row)
            for row in db.rows.values()
            if not target.versions or (stamp(row) is not None and (high is None or stamp(row) > high))
        ]
        yield
        if rows:
            target.append(*rows)
        yield

    def step(self) -> None:
        """Go on to the next place."""
        if next(self._steps, self) is self:
            self.over = True

    def crash(self) -> None:
        """Die where it stands."""
        self.over = True
