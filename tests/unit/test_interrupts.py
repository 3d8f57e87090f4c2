"""What waits for other threads is hit by no interrupt, and told of each."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from hwm_magics.interrupts import noted

pytestmark = pytest.mark.usefixtures("interruptible")


def test_interrupts_are_counted_and_hit_nothing():
    with noted() as interrupts:
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
    assert len(interrupts) == 3
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_sigterm_that_is_an_interrupt_is_noted_as_one():
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with noted() as interrupts:
            signal.raise_signal(signal.SIGTERM)
        assert interrupts == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_one_within_another_is_told_to_both():
    with noted(raised=True) as outer:
        with noted() as inner:
            signal.raise_signal(signal.SIGINT)
        assert (len(outer), len(inner)) == (1, 1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (len(outer), len(inner)) == (2, 1)


def test_an_interrupt_of_another_handler_that_raises_nothing_is_none():
    seen = []
    signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    with noted() as interrupts:
        signal.raise_signal(signal.SIGINT)
    assert (interrupts, seen) == ([], [1])


def test_ignored_interrupts_stay_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with noted() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
    assert interrupts == []
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_the_handler_is_left_alone_in_other_threads_and_after_an_error():
    found = []

    def look():
        with noted():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
    with pytest.raises(ZeroDivisionError), noted():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
