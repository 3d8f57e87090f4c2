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
TIMED = [mode for mode in SPECS if mode != "append by number"]

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

    @rule(tick=ticks, skew=skews, repeat=st.booleans())
    def insert(self, tick, skew, repeat):
        self.world.insert(tick, skew, repeat=repeat)

    @rule(tick=ticks, skew=skews)
    def insert_and_commit_late(self, tick, skew):
        self.world.begin(tick, skew)

    @rule(number=which, tick=ticks, skew=skews, later=st.booleans())
    def update(self, number, tick, skew, later):
        self.world.update(number, tick, skew, later=later)

    @rule(number=which, commit=st.booleans())
    def end_transaction(self, number, commit):
        self.world.end(number, commit=commit)

    @rule()
    def insert_without_cursor(self):
        self.world.insert_null()

    @rule(ahead=st.sampled_from([2 * MINUTE, NEVER]))
    def insert_from_the_future(self, ahead):
        self.world.insert_future(ahead)

    @rule(minutes=st.sampled_from([0.01, 1, 5, 9, 25]))
    def advance(self, minutes):
        self.world.advance(minutes * MINUTE)

    @rule()
    def start_load(self):
        self.world.start()

    @rule(number=which)
    def step_load(self, number):
        self.world.step(number)

    @rule(number=which)
    def run_load(self, number):
        self.world.run(number)

    @rule(number=which)
    def crash_load(self, number):
        self.world.crash(number)

    @rule()
    def append_foreign(self):
        self.world.append_foreign()

    @rule(version=st.integers(0, 9))
    def restore(self, version):
        self.world.restore(version)

    @rule()
    def compact(self):
        self.world.compact()

    @rule(before=st.sampled_from([MINUTE, 90 * MINUTE]), after=st.sampled_from([timedelta(0), 90 * MINUTE]))
    def backfill(self, before, after):
        self.world.backfill(before, after)

    @rule()
    def reload(self):
        self.world.reload()

    @rule()
    def truncate(self):
        self.world.truncate()

    @rule()
    def set_mark(self):
        self.world.set_mark()

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
    run_state_machine_as_test(Loop, settings=budget(120, 50, fixed=True))


def test_every_row_is_there_exactly_once_on_disk_too():
    run_state_machine_as_test(PandasLoop, settings=budget(20, 40, fixed=True, on_disk=True))


@pytest.mark.slow
def test_every_row_is_there_exactly_once_in_many_more_histories():
    run_state_machine_as_test(Loop, settings=budget(1500, 60))


@pytest.mark.slow
def test_every_row_is_there_exactly_once_on_disk_in_many_more_histories():
    run_state_machine_as_test(PandasLoop, settings=budget(150, 40, on_disk=True))


# --- Schedules drawn from a seed, and the naive pattern in them ---------------------------------------


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
        (4, lambda: world.advance(rng.choice([0.01, 1, 5, 9]) * MINUTE)),
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
def test_the_protocol_loses_and_doubles_nothing_in_a_thousand_schedules(mode):
    for seed in range(1000, 2000):
        assert play(World(mode), seed).verdict() == ([], []), seed
