"""Loads, writers and accidents in any order: in the end every row is there exactly once.

The promise has a limit, and so have the schedules: a row commits within ten minutes of its cursor value.
"""

from __future__ import annotations

import random
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from contract.cases import PandasCase
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from model.world import MINUTE, NEVER, SPECS, World

TICKS = [timedelta(microseconds=1), timedelta(seconds=1), MINUTE]
SKEWS = [timedelta(0), timedelta(0), timedelta(seconds=5), 4 * MINUTE]
TIMED = [mode for mode in SPECS if not mode.startswith("append by number")]

ticks, skews = st.sampled_from(TICKS), st.sampled_from(SKEWS)
which = st.integers(0, 5)


class Loop(RuleBasedStateMachine):
    """Rules over a world; what they come to is looked at in the end."""

    modes = st.sampled_from(list(SPECS))
    world: World

    def make(self, mode: str) -> World:
        """A world over the engine in memory."""
        return World(mode)

    @initialize(mode=modes)
    def begin_world(self, mode):
        self.world = self.make(mode)

    @rule(how=st.sampled_from(["now", "again", "late", "late"]), tick=ticks, skew=skews)
    def insert(self, how, tick, skew):
        if how == "late":
            self.world.begin(tick, skew)
        else:
            self.world.insert(tick, skew, repeat=how == "again")

    @rule(number=which, tick=ticks, skew=skews, later=st.booleans())
    def update(self, number, tick, skew, later):
        self.world.update(number, tick, skew, later=later)

    @rule(kind=st.sampled_from(["null", "soon", "never"]))
    def insert_oddly(self, kind):
        if kind == "null":
            self.world.insert_null()
        else:
            self.world.insert_future(2 * MINUTE if kind == "soon" else NEVER)

    @rule(number=which, commit=st.sampled_from([True, True, True, False]))
    def end_transaction(self, number, commit):
        self.world.end(number, commit=commit)

    @rule(minutes=st.sampled_from([None, None, 0.01, 1, 5, 25]))
    def advance(self, minutes):
        if minutes is None:
            self.world.advance_to_the_brink()
        else:
            self.world.advance(minutes * MINUTE)

    @rule()
    def start_load(self):
        self.world.start()

    @rule(number=which, steps=st.integers(1, 4))
    def step_load(self, number, steps):
        for _ in range(steps):
            self.world.step(number)

    @rule()
    def load(self):
        self.world.start()
        self.world.run(-1)

    @rule(number=which, ends=st.sampled_from(["done", "done", "dead"]))
    def end_load(self, number, ends):
        if ends == "done":
            self.world.run(number)
        else:
            self.world.crash(number)

    @rule(
        what=st.sampled_from(
            ["append_foreign", "restore", "restore", "truncate", "compact", "backfill", "reload", "set_mark"]
        ),
        number=st.integers(0, 9),
    )
    def meddle(self, what, number):
        if what == "restore":
            self.world.restore(number)
        elif what == "backfill":
            self.world.backfill((1 + 89 * (number % 2)) * MINUTE, 90 * MINUTE * (number > 4))
        else:
            getattr(self.world, what)()

    @invariant()
    def nothing_is_doubled_meanwhile(self):
        """A row that is there twice stays there twice, so this may be asked at any time."""
        if hasattr(self, "world") and self.world.mode == "keyed append":
            _, more = self.world.verdict()
            assert not [told for told in more if more.count(told) > 1]

    def teardown(self):
        if not hasattr(self, "world"):
            return
        try:
            self.world.finish()
            assert self.world.verdict() == ([], [])
        finally:
            self.world.close()


class PandasLoop(Loop):
    """The same over the pandas engine, on disk."""

    modes = st.sampled_from(TIMED)

    def make(self, mode: str) -> World:
        self.folder = tempfile.TemporaryDirectory(prefix="hwm-loop-")
        return World(mode, PandasCase(Path(self.folder.name)))

    @initialize(mode=modes)
    def begin_world(self, mode):
        self.world = self.make(mode)

    def teardown(self):
        try:
            super().teardown()
        finally:
            if hasattr(self, "folder"):
                self.folder.cleanup()


def budget(examples: int, steps: int, *, fixed: bool = False, on_disk: bool = False) -> settings:
    """How long to look. On disk nothing is made smaller: that takes minutes."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        suppress_health_check=list(HealthCheck),
        derandomize=fixed,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate] if on_disk else [Phase.generate, Phase.shrink],
    )


def test_every_row_is_there_exactly_once_whatever_happens():
    run_state_machine_as_test(Loop, settings=budget(60, 50, fixed=True))


def test_every_row_is_there_exactly_once_on_disk_too():
    run_state_machine_as_test(PandasLoop, settings=budget(12, 40, fixed=True, on_disk=True))


@pytest.mark.slow
def test_every_row_is_there_exactly_once_in_many_more_histories():
    run_state_machine_as_test(Loop, settings=budget(150, 60))


@pytest.mark.slow
def test_every_row_is_there_exactly_once_on_disk_in_many_more_histories():
    run_state_machine_as_test(PandasLoop, settings=budget(30, 40, on_disk=True))


def play(world: World, seed: int, length: int = 40) -> World:
    """Play a schedule to its end."""
    rng = random.Random(seed)
    tick, skew = rng.choice(TICKS), rng.choice(SKEWS)
    actions = [
        (6, lambda: world.insert(rng.choice([tick, TICKS[0]]), skew, repeat=rng.random() < 0.3)),
        (4, lambda: world.begin(tick, skew)),
        (2, lambda: world.update(rng.randrange(9), tick, skew, later=rng.random() < 0.5)),
        (4, lambda: world.end(rng.randrange(9), commit=rng.random() < 0.8)),
        (1, world.insert_null),
        (1, lambda: world.insert_future(rng.choice([2 * MINUTE, NEVER]))),
        (3, lambda: world.advance(rng.choice([0.01, 1, 5]) * MINUTE)),
        (2, world.advance_to_the_brink),
        (4, world.start),
        (8, lambda: world.step(rng.randrange(9))),
        (3, lambda: world.run(rng.randrange(9))),
        (1, lambda: world.crash(rng.randrange(9))),
        (1, world.append_foreign),
        (1, lambda: world.restore(rng.randrange(9))),
        (1, world.compact),
        (1, lambda: world.backfill(rng.choice([1, 90]) * MINUTE, rng.choice([0, 90]) * MINUTE)),
        (0.5, world.reload),
        (0.5, world.set_mark),
        (0.5, world.truncate),
    ]
    weights = [weight for weight, _ in actions]
    try:
        for _ in range(length):
            rng.choices(actions, weights)[0][1]()
        world.finish()
    finally:
        world.close()
    return world


def test_the_naive_pattern_loses_and_doubles_rows_in_most_schedules():
    """So the simulation can fail: the same schedules, and a loader that trusts MAX and appends."""
    verdicts = [play(World("append without NULLs", naive=True), seed).verdict() for seed in range(200)]
    lost = sum(1 for missing, _ in verdicts if missing)
    doubled = sum(1 for _, more in verdicts if more)
    assert lost > 120, lost
    assert doubled > 60, doubled


@pytest.mark.parametrize("mode", list(SPECS))
def test_the_protocol_loses_and_doubles_nothing_in_the_same_schedules(mode):
    for seed in range(40):
        assert play(World(mode), seed).verdict() == ([], []), seed


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(SPECS))
def test_the_protocol_loses_and_doubles_nothing_in_many_schedules(mode):
    for seed in range(1000, 1100):
        assert play(World(mode), seed).verdict() == ([], []), seed
