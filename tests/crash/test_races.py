"""Two loaders of the same load, in two processes, released at once: every row once, whoever wins."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack

import pytest
from crash.processes import ENVIRONMENT, HERE, HWM
from traps.naive import rows_of

pytestmark = pytest.mark.slow


class Racer:
    """See `racer.py`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "racer.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )

    def say(self, line: str) -> None:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def racers():
    """Two, and no more than two."""
    with ExitStack() as stack:
        yield [_entered(stack, Racer()) for _ in range(2)]


def _entered(stack, racer):
    stack.callback(racer.close)
    return racer


def race(racers, ours, place):
    """One round; what came of it for each."""
    order = json.dumps({"spec": ours.spec(), "connections": ours.connections, "place": place})
    for racer in racers:
        racer.say(order)
    assert [racer.hear() for racer in racers] == ["ready", "ready"]
    for racer in racers:
        racer.say("go")
    return [json.loads(racer.hear()) for racer in racers]


def judged(outcomes):
    """What each did, having checked that one loaded, and that the other noticed."""
    told = []
    for outcome in outcomes:
        if "error" in outcome:
            assert outcome["error"] == "CommitConflictError", outcome
            told.append("refused")
        elif outcome["status"] == "loaded":
            told.append("loaded")
        else:
            assert outcome["status"] in ("already_loaded", "nothing_new"), outcome
            assert outcome["status"] == "nothing_new" or outcome["retries"], outcome
            told.append("retried" if outcome["retries"] else "came late")
    assert told.count("loaded") == 1, outcomes
    return told


@pytest.mark.parametrize(("mode", "rounds"), [("append", 100), ("upsert", 20)])
def test_first_runs_that_race_load_every_row_once(racers, shop, mode, rounds):
    shop.add(20)
    places = ("after_clock", "start", "after_handle")
    seen = Counter()
    for number in range(rounds):
        ours = shop.ours(mode, f"lake{number}")
        seen.update(judged(race(racers, ours, places[number % len(places)])))
        assert ours.rows("id", "v") == shop.rows()
    assert seen["loaded"] == rounds
    assert seen["retried"] + seen["refused"] >= rounds / 2, seen


@pytest.mark.parametrize(("mode", "rounds"), [("append", 100), ("upsert", 20)])
def test_increments_that_race_load_every_row_once(racers, shop, mode, rounds):
    shop.add(5)
    places = ("before_put", "after_clock", "start", "after_handle")
    seen = Counter()
    for number in range(rounds):
        if number % 20 == 0:  # of a table of many versions, each round would take longer than the one before
            ours = shop.ours(mode, f"lake{number}")
            ours.load()
        shop.add(3)
        if mode == "upsert":
            shop.update(1 + number)
        seen.update(judged(race(racers, ours, places[number % len(places)])))
        if number % 10 == 9:  # a look at all files costs more than the race
            assert rows_of(ours.target, "id", "v") == shop.rows()
    assert seen["loaded"] == rounds
    assert seen["retried"] + seen["refused"] >= rounds / 2, seen


def test_two_schedulers_that_start_the_same_job_at_once_both_succeed(shop):
    shop.add(20)
    ours = shop.ours("append")
    file = shop.file(ours, "t.ipynb")
    for _ in range(2):
        started = [
            subprocess.Popen(
                [HWM, "run", file.name],
                cwd=file.parent,
                env=ENVIRONMENT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(2)
        ]
        told = [process.communicate()[0] for process in started]
        assert [process.returncode for process in started] == [0, 0], told
        assert sum("rows written" in each for each in told) == 1, told
        assert ours.rows("id", "v") == shop.rows()
        shop.add(5)
