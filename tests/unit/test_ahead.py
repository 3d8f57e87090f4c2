"""Reading ahead: in order, never far ahead, and with an end that is always told."""

from __future__ import annotations

import threading

import pytest

from hwm_magics.sources.ahead import Ahead


def test_items_come_in_their_order_and_end():
    assert list(Ahead(iter(range(1000)))) == list(range(1000))
    assert list(Ahead(iter(()))) == []


def test_an_error_is_raised_behind_the_items_before_it():
    def failing():
        yield 1
        raise OSError("gone")

    ahead = Ahead(failing())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="gone"):
        next(ahead)
    assert list(ahead) == []


def test_a_slow_taker_holds_the_reading_up():
    made = []
    third = threading.Event()

    def items():
        for number in range(10):
            made.append(number)
            if number == 2:
                third.set()
            yield number

    ahead = Ahead(items())
    assert next(ahead) == 0
    assert third.wait(10)
    assert made == [0, 1, 2]  # one held, one on its way
    ahead.stop()
    assert made == [0, 1, 2]


def test_stopping_ends_the_thread_and_may_be_repeated():
    names = {thread.name for thread in threading.enumerate()}
    assert "hwm-read" not in names
    ahead = Ahead(iter(range(10)))
    assert next(ahead) == 0
    ahead.stop()
    ahead.stop()
    assert "hwm-read" not in {thread.name for thread in threading.enumerate()}
    assert list(ahead) == []


def test_the_first_item_is_made_before_anybody_asks_for_it():
    made = threading.Event()

    def items():
        made.set()
        yield 1

    ahead = Ahead(items())
    assert made.wait(10)
    assert list(ahead) == [1]


def test_stopping_before_anything_was_taken_ends_the_thread_and_gives_nothing():
    ahead = Ahead(iter(range(3)))
    ahead.stop()
    assert "hwm-read" not in {thread.name for thread in threading.enumerate()}
    assert list(ahead) == []
