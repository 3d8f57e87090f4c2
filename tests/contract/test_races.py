"""Two loads at once: one commits, and the other is told; nothing is lost and nothing doubled."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from contract.cases import CASES, each, in_order
from fakes.builders import a_spec
from fakes.workspace import Bench

from hwm_magics.app import MOST_RETRIES
from hwm_magics.core.decided import ReadRows
from hwm_magics.engines.base import RunContext
from hwm_magics.errors import CommitConflictError, HwmError

MINUTE = timedelta(minutes=1)
SPECS = {
    "append": a_spec(),
    "keyed append": a_spec(keys=("id",)),
    "upsert": a_spec("upsert"),
    "append_once": a_spec("append_once"),
}
EARLY = ("after_handle", "after_clock")
TWO = ("append", "upsert")
FEW = pytest.mark.parametrize("spec", TWO, indirect=True)
"""Where how rows are recognised makes no difference."""


def at_each(places, decisive, modes=tuple(SPECS)):
    """Every mode at every place. Spark takes seconds for each: one mode does, and all at the decisive place."""
    return pytest.mark.parametrize(
        ("case", "spec", "place"),
        [
            pytest.param(engine, mode, place, id=f"{engine}-{mode}-{place}")
            for engine in CASES
            for mode in modes
            for place in places
            if engine != "spark" or mode == "append" or place == decisive
        ],
        indirect=["case", "spec"],
    )


def a_row(db, number=1, text="a"):
    return {"id": number, "u": db.stamp(), "v": text}


def everything(db):
    return in_order(db.rows.values())


def aside(action) -> None:
    """Do something on another thread: inside of a write delta-rs allows no second call on its own."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    if failed:
        raise failed[0]


def once_at(name, action):
    """A failpoint that does something the first time it is passed."""
    left = [name]

    def failpoint(passed: str) -> None:
        if passed in left:
            left.remove(passed)
            aside(action)

    return failpoint


@pytest.fixture(params=list(SPECS))
def spec(request):
    """One of the incremental modes."""
    return SPECS[request.param]


@pytest.fixture
def loaded(case, bench, db, spec):
    """A target with a load, and newer rows in the source."""
    db.insert(a_row(db, 1), a_row(db, 2))
    case.begin(f"two rows, {spec.write.mode} {spec.write.keys}", lambda: bench.load(spec))
    db.advance(30 * MINUTE)
    db.insert(a_row(db, 3), a_row(db, 4))


def execute(ready, run_id):
    stream = ready.source.open(ready.plan.step(ReadRows).statement)
    return ready.target.execute(ready.plan, stream, RunContext(run_id))


@pytest.mark.usefixtures("loaded")
def test_of_two_plans_on_one_version_one_commits_and_the_other_is_refused(case, bench, db, spec):
    with bench.prepared(spec) as one, bench.prepared(spec) as other:
        assert execute(other, "run-other").rows_written == 2
        version = case.version()
        with pytest.raises(CommitConflictError):
            execute(one, "run-one")
    assert case.version() == version
    assert case.rows() == everything(db)


@FEW
@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("kind", ["overwrite", "force", "backfill"])
def test_replacing_rows_is_refused_too_when_a_load_came_between(case, bench, db, spec, kind):
    replacing = {
        "overwrite": a_spec("overwrite"),
        "force": a_spec(force=True),
        "backfill": a_spec(backfill=("2024-06-01", "2024-06-02")),
    }[kind]
    with bench.prepared(replacing) as ready:
        assert ready.plan.writes
        bench.load(spec)
        rows = case.rows()
        with pytest.raises(CommitConflictError):
            execute(ready, "run-late")
    assert case.rows() == rows


@pytest.mark.usefixtures("loaded")
@at_each([*EARLY, "mid_read", "after_read", "before_put"], decisive="before_put")
def test_a_load_that_sleeps_and_wakes_up_last_finds_its_window_loaded(case, sources, db, spec, place):
    other = Bench(case.engine, sources)
    sleepy = Bench(case.engine, sources, once_at(place, lambda: other.load(spec)))
    result = sleepy.load(spec)
    assert case.rows() == everything(db)
    if place == "after_handle":
        assert result.status in ("nothing_new", "already_loaded")
    else:
        assert (result.status, result.retries) == ("already_loaded", 1)


@pytest.mark.usefixtures("loaded")
@at_each([*EARLY, "mid_read", "after_read", "before_put"], decisive="before_put")
def test_what_the_faster_load_could_not_see_yet_is_loaded_by_the_slower(case, sources, db, spec, place):
    other = Bench(case.engine, sources)

    def between() -> None:
        other.load(spec)
        db.advance(MINUTE)
        db.insert(a_row(db, 5))

    result = Bench(case.engine, sources, once_at(place, between)).load(spec)
    assert case.rows() == everything(db)
    assert (result.status, result.rows_written) == ("loaded", 1)


@FEW
@pytest.mark.parametrize("place", EARLY)
def test_of_two_first_runs_one_creates_and_the_other_finds_the_table(case, sources, db, spec, place):
    db.insert(a_row(db, 1), a_row(db, 2))
    other = Bench(case.engine, sources)
    result = Bench(case.engine, sources, once_at(place, lambda: other.load(spec))).load(spec)
    assert result.retries == 1
    assert case.rows() == everything(db)


@each("spec", SPECS, on_spark=["append"])
@pytest.mark.usefixtures("loaded")
def test_a_load_that_loses_every_race_says_so_and_writes_nothing(case, sources, db, spec):
    other = Bench(case.engine, sources)
    number = [10]

    def always(name: str) -> None:
        if name == "after_handle":
            number[0] += 1
            db.advance(MINUTE)
            db.insert(a_row(db, number[0]))
        elif name == "after_clock":
            other.load(spec)

    with pytest.raises(CommitConflictError):
        Bench(case.engine, sources, always).load(spec)
    assert number[0] == 11 + MOST_RETRIES
    assert case.rows() == everything(db)


FOREIGN = {
    "append": lambda case, db: case.append({"id": 90, "u": None, "v": "theirs"}),
    "compaction": lambda case, db: case.compact(),
    "vacuum": lambda case, db: case.vacuum(),
}


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("place", [*EARLY, "after_read"])
@pytest.mark.parametrize("what", list(FOREIGN))
@each("spec", {mode: SPECS[mode] for mode in TWO}, on_spark=["append"])
def test_what_others_commit_meanwhile_stays_and_so_does_the_load(case, sources, db, spec, place, what):
    Bench(case.engine, sources, once_at(place, lambda: FOREIGN[what](case, db))).load(spec)
    mine = [row for row in case.rows() if row["v"] != "theirs"]
    assert mine == everything(db)
    assert len(case.rows()) - len(mine) == (1 if what == "append" else 0)


@pytest.mark.usefixtures("loaded")
@at_each([*EARLY, "after_read"], decisive="after_read", modes=TWO)
def test_rows_that_others_delete_meanwhile_are_not_taken_for_loaded(case, sources, db, spec, place):
    """The load has recognised row 2 already; whoever deletes it then, the load must look again."""
    db.insert({**a_row(db, 5), "u": db.stamp() - 29 * MINUTE})
    bench = Bench(case.engine, sources, once_at(place, lambda: case.delete(2)))
    result = bench.load(spec)
    assert result.status == "loaded"
    assert {3, 4} <= {row["id"] for row in case.rows()}
    assert len({row["id"] for row in case.rows()}) == len(case.rows())


@pytest.mark.usefixtures("loaded")
@at_each([*EARLY, "after_read"], decisive="after_read", modes=TWO)
def test_a_restore_meanwhile_makes_the_load_start_again(case, sources, db, spec, place):
    version = case.version()
    other = Bench(case.engine, sources)
    db.insert(a_row(db, 6))
    other.load(spec)
    db.advance(30 * MINUTE)
    db.insert(a_row(db, 7))
    bench = Bench(case.engine, sources, once_at(place, lambda: case.restore(version)))
    bench.load(spec)
    assert case.rows() == everything(db)


@FEW
def test_the_sequence_counts_every_commit_of_the_node(case, bench, db, spec):
    for number in range(4):
        db.insert(a_row(db, number))
        db.advance(30 * MINUTE)
        bench.load(spec)
    assert [record.seq for record in bench.history(spec)] == [4, 3, 2, 1]
    assert case.engine.open(spec).state.seq == 4


# --- Crashes -----------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process is gone; what follows is another one."""


FAILPOINTS = (
    "after_handle",
    "after_clock",
    "mid_read",
    "after_read",
    "before_put",
    "before_acknowledgement",
    "after_commit",
)


@pytest.mark.parametrize("first", [True, False], ids=["first run", "later"])
@at_each(FAILPOINTS, decisive="before_acknowledgement")
def test_a_crash_at_any_place_costs_nothing(case, sources, db, spec, first, place):
    db.insert(*(a_row(db, number) for number in range(5)))
    if not first:
        case.begin(
            f"five rows, {spec.write.mode} {spec.write.keys}", lambda: Bench(case.engine, sources).load(spec)
        )
        db.advance(30 * MINUTE)
        db.insert(*(a_row(db, number) for number in range(5, 10)))

    def crash(name: str) -> None:
        if name == place:
            raise Crash(name)

    with pytest.raises((Crash, HwmError)):
        Bench(case.engine, sources, crash).load(spec)
    committed = place in ("before_acknowledgement", "after_commit")
    if case.version() >= 0:
        assert (case.rows() == everything(db)) == committed
    after = Bench(case.engine, sources).load(spec)
    assert (after.rows_written == 0) == committed
    assert case.rows() == everything(db)


@each("spec", SPECS, on_spark=TWO)
def test_every_load_passes_the_seven_places_in_their_order(case, sources, db, spec):
    passed: list[str] = []
    db.insert(a_row(db, 1))
    for _ in range(2):
        passed.clear()
        Bench(case.engine, sources, passed.append).load(spec)
        assert tuple(passed) == FAILPOINTS
        db.advance(MINUTE)
        db.insert(a_row(db, 2))
