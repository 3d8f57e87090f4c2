"""What may pass is tried again, within bounds; a cancel ends the wait; a lost answer is looked up."""

from __future__ import annotations

import threading

import pytest

from hwm_magics.core.decided import Decision, LoadResult
from hwm_magics.core.observed import CommitRecord
from hwm_magics.errors import (
    BlockedError,
    CommitError,
    CommitOutcomeUnknownError,
    ConfigError,
    IncompleteReadError,
    LoginError,
    QueryError,
    SourceConnectionError,
    TargetReadError,
)
from hwm_magics.jobs.retries import Retried, passes

LOADED = LoadResult("orders", Decision.INCREMENTAL, "loaded", rows_written=1)
DOWN = SourceConnectionError("connecting to shop: connection refused")


class Spec:
    node = "orders"


class Loader:
    """Fails as often as it is told to."""

    def __init__(self, *failures, records=()):
        self.failures = list(failures)
        self.records = records
        self.attempts = 0

    def load(self, _spec, **_options):
        self.attempts += 1
        if self.failures:
            raise self.failures.pop(0)
        return LOADED

    plan = load

    def history(self, _spec, limit=20):
        return self.records[:limit]


def retried(loader, times=2, told=None):
    return Retried(loader, times, (told if told is not None else []).append, first_wait=0.001)


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (DOWN, True),
        (SourceConnectionError("connecting to shop: file not found"), False),
        (IncompleteReadError("reading: the stream ended"), True),
        (QueryError("reading: could not serialize access due to concurrent update"), True),
        (QueryError('relation "x" does not exist'), False),
        (LoginError("connection refused by pg_hba"), False),
        (TargetReadError("Generic S3 error: 503 Slow Down"), True),
        (CommitError("the disk is full"), False),
        (CommitError("error sending request for url"), True),
        (CommitOutcomeUnknownError("can't be told", "run-1"), True),
        (ConfigError("connection refused"), False),
        (BlockedError("timed out"), False),
        (ValueError("connection refused"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error, may):
    assert passes(error) == may
    loader = Loader(error)
    if may:
        assert retried(loader).plan(Spec) == LOADED
    else:
        with pytest.raises(type(error)):
            retried(loader).plan(Spec)
    assert loader.attempts == (2 if may else 1)


def test_the_last_failure_leaves_as_it_is():
    loader, told = Loader(DOWN, DOWN, DOWN, DOWN), []
    with pytest.raises(SourceConnectionError) as caught:
        retried(loader, told=told).load(Spec)
    assert caught.value is DOWN
    assert loader.attempts == 3
    assert [each.attempt for each in told] == [1, 2]
    assert "attempt 1 failed: connecting to shop: connection refused; again in" in str(told[0])


def test_none_is_tried_again_when_none_is_asked_for():
    loader = Loader(DOWN)
    with pytest.raises(SourceConnectionError):
        retried(loader, times=0).load(Spec)
    assert loader.attempts == 1


def test_a_cancel_ends_the_wait():
    cancelled = threading.Event()
    loader = Loader(DOWN, DOWN, DOWN)
    patient = Retried(loader, 5, lambda _retry: cancelled.set(), first_wait=3600)
    with pytest.raises(SourceConnectionError):
        patient.load(Spec, cancelled=cancelled)
    assert loader.attempts == 2


@pytest.mark.parametrize("landed", [True, False])
def test_a_commit_whose_answer_was_lost_is_looked_up_before_it_is_tried_again(landed):
    record = CommitRecord(7, None, "orders", "run-1", "incremental", 3, metrics={"num_added_rows": 5})
    loader = Loader(CommitOutcomeUnknownError("no answer", "run-1"), records=(record,) if landed else ())
    result = retried(loader).load(Spec)
    if landed:
        assert (result.status, result.rows_written, result.version_after) == ("loaded", 5, 7)
        assert loader.attempts == 1
    else:
        assert result is LOADED
        assert loader.attempts == 2
