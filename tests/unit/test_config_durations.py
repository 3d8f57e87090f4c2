"""Durations as people write them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.config.durations import parse_duration, parse_lag, span

M = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30m", 30 * M),
        ("1h30m", 90 * M),
        ("90s", 1.5 * M),
        ("2d", timedelta(days=2)),
        ("1w", timedelta(weeks=1)),
        ("500ms", timedelta(milliseconds=500)),
        ("1.5h", 90 * M),
        ("1d 2h, 3m", timedelta(days=1, hours=2, minutes=3)),
        ("10 minutes", 10 * M),
        ("1 hour", 60 * M),
        ("2 Days", timedelta(days=2)),
        ("15 min", 15 * M),
        ("0s", timedelta()),
        ("0", timedelta()),
        (" 5m ", 5 * M),
        ("PT30M", 30 * M),
        ("P1DT2H", timedelta(days=1, hours=2)),
        ("P1W", timedelta(weeks=1)),
        ("PT0.5S", timedelta(milliseconds=500)),
        ("pt1h", 60 * M),
    ],
)
def test_is_read(text, length):
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("30", "write 30s, 30m, 30h or 30d"),
        ("30M", "M could be minutes or months"),
        ("2 months", "no fixed length"),
        ("1y", "no fixed length"),
        ("P1M", "no fixed length"),
        ("P1Y", "no fixed length"),
        ("-5m", "negative"),
        ("5x", "'x' is no unit of time"),
        ("soon", "no duration"),
        ("5m!", "no duration"),
        ("P", "no duration"),
        ("PT", "no duration"),
        ("999999999999d", "too long"),
    ],
)
def test_is_refused_in_words_that_help(text, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_duration(text)


@pytest.mark.parametrize(
    ("value", "lag"),
    [
        (1000, 1000),
        ("1000", 1000),
        ("30m", 30 * M),
        (30 * M, 30 * M),
        ("0s", timedelta()),
        # 0 suits times and counts alike, and only the duration does so further down.
        (0, timedelta()),
        ("0", timedelta()),
    ],
)
def test_a_lag_is_a_duration_or_a_count(value, lag):
    found = parse_lag(value)
    assert found == lag
    assert type(found) is type(lag)


@pytest.mark.parametrize("value", [-5, "-5", "-5m", True, 1.5, timedelta(minutes=-1)])
def test_a_lag_looks_back_only(value):
    with pytest.raises(ValueError, match=r"negative|neither"):
        parse_lag(value)


def test_a_month_and_a_year_are_as_long_as_they_can_be():
    assert span(2, "month") == timedelta(days=62)
    assert span(1, "years") == timedelta(days=366)
    assert span(3, "Day") == timedelta(days=3)


@pytest.mark.parametrize("unit", ["fortnight", ""])
def test_an_unknown_unit_is_refused(unit):
    with pytest.raises(ValueError, match="is no unit"):
        span(1, unit)


@given(st.integers(0, 500), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_both_notations_say_the_same(days, hours, minutes, seconds, millis):
    expected = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=millis)
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s{millis}ms") == expected
    assert parse_duration(f"P{days}DT{hours}H{minutes}M{seconds}.{millis:03d}S") == expected


@given(st.text(max_size=20))
def test_any_other_text_is_refused_politely(text):
    try:
        assert parse_duration(text) >= timedelta()
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either outcome is fine
