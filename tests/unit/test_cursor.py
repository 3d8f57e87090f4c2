"""Cursor values: exact, ordered by what they mean, shifted downwards only."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue, TextForm
from hwm_magics.errors import CursorColumnError

NTZ = CursorType(CursorKind.TIMESTAMP, 6)
NTZ_MS = CursorType(CursorKind.TIMESTAMP, 3)
NTZ_NS = CursorType(CursorKind.TIMESTAMP, 9)
TZ = CursorType(CursorKind.TIMESTAMP_TZ, 6)
DATE = CursorType(CursorKind.DATE)
INTEGER = CursorType(CursorKind.INTEGER)
DECIMAL = CursorType(CursorKind.DECIMAL, 2)
ROWVERSION = CursorType(CursorKind.ROWVERSION)

moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))
lags = st.timedeltas(timedelta(0), timedelta(days=4000))
wide_decimals = st.decimals(
    allow_nan=False, allow_infinity=False, places=6, max_value=10**32, min_value=-(10**32)
)


def text_type(example: str) -> CursorType:
    return CursorType(CursorKind.TEXT, 0, "text", TextForm.of(example))


@given(moments)
def test_a_datetime_keeps_every_microsecond(moment):
    assert datetime.fromisoformat(NTZ.value(moment).text) == moment


@given(moments)
def test_a_datetime_and_its_text_are_the_same_value(moment):
    assert NTZ.value(moment) == NTZ.value(moment.isoformat()) == NTZ.value(moment.isoformat(sep=" "))
    assert hash(NTZ.value(moment)) == hash(NTZ.value(moment.isoformat()))


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("2024-06-01", "2024-06-01 00:00:00"),
        ("2024-06-01T12:30", "2024-06-01 12:30:00"),
        ("2024-06-01 12:30:05.100000", "2024-06-01 12:30:05.1"),
        ("2024-06-01 12:30:05.123456789", "2024-06-01 12:30:05.123456789"),
        ("0001-01-01 00:00:00", "0001-01-01 00:00:00"),
        ("0999-12-31 23:59:59", "0999-12-31 23:59:59"),
        ("9999-12-31 23:59:59.999999999", "9999-12-31 23:59:59.999999999"),
        (date(2024, 6, 1), "2024-06-01 00:00:00"),
    ],
)
def test_a_local_time_has_one_text(written, text):
    assert NTZ_NS.value(written).text == text


@pytest.mark.parametrize(
    "written",
    [
        "2024-06-01 14:00:00+02:00",
        "2024-06-01 14:00:00 +0200",
        "2024-06-01T14:00:00+02",
        "2024-06-01T12:00:00Z",
        "2024-06-01 12:00:00 UTC",
        "2024-06-01 12:00:00",
        "2024-05-31 22:30:00-13:30",
        datetime(2024, 6, 1, 14, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_an_instant_is_kept_in_utc(written):
    value = TZ.value(written)
    assert value.text == "2024-06-01 12:00:00"
    assert str(value) == "2024-06-01 12:00:00+00:00"


@given(st.integers())
def test_integers_of_any_size_are_exact(number):
    assert INTEGER.value(number) == INTEGER.value(str(number))
    assert int(INTEGER.value(number).text) == number


def test_integers_never_pass_through_a_float():
    assert INTEGER.value(2**53 + 3).text == "9007199254740995"
    assert INTEGER.value(2**53 + 3) < INTEGER.value(2**53 + 4)


@given(wide_decimals)
def test_decimals_of_38_digits_are_exact(number):
    assert Decimal(DECIMAL.value(number).text) == number
    assert "e" not in DECIMAL.value(number).text.lower()


@pytest.mark.parametrize(
    ("written", "text"), [("1.50", "1.5"), ("100", "100"), ("1E+3", "1000"), ("-0.00", "0")]
)
def test_a_decimal_has_one_text(written, text):
    assert DECIMAL.value(written).text == text


@pytest.mark.parametrize("written", ["0x7D1", "00000000000007d1", "7D1", "0X00000000000007D1"])
def test_a_rowversion_has_one_text(written):
    assert ROWVERSION.value(written).text == "00000000000007D1"
    assert str(ROWVERSION.value(written)) == "0x00000000000007D1"


def test_rowversions_order_as_unsigned_numbers():
    assert ROWVERSION.value("0x7FFFFFFFFFFFFFFF") < ROWVERSION.value("0x8000000000000000")
    assert ROWVERSION.value("0x9") < ROWVERSION.value("0x10")


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (INTEGER, "12.5"),
        (INTEGER, "x"),
        (INTEGER, True),
        (INTEGER, None),
        (INTEGER, "9" * 5000),
        (DECIMAL, "NaN"),
        (DECIMAL, "Infinity"),
        (DECIMAL, "one"),
        (NTZ, "12:00"),
        (NTZ, "infinity"),
        (NTZ, "2024-13-01"),
        (NTZ, "2023-02-29"),
        (NTZ, "0000-01-01"),
        (NTZ, "2024-06-01 12:00:00+02:00"),
        (NTZ, "2024-06-01 25:00:00"),
        (NTZ, "9/1/2024"),
        (NTZ, "2024-06-01 12:00:00.1234567890"),
        (TZ, "2024-06-01 12:00:00+99:00"),
        (TZ, "0001-01-01 00:00:00+02:00"),
        (TZ, "9999-12-31 23:59:59-01:00"),
        (DATE, "2024-06-01Z"),
        (ROWVERSION, "0x" + "1" * 17),
        (ROWVERSION, "g"),
    ],
)
def test_what_is_no_value_of_the_type_is_refused_with_an_example(kind, raw):
    with pytest.raises(CursorColumnError) as caught:
        kind.value(raw)
    assert caught.value.hint


@given(st.sampled_from([NTZ, NTZ_NS, TZ, DATE]), moments)
def test_a_value_survives_the_commit_info(kind, moment):
    value = kind.value(moment)
    again = CursorValue.from_json(json.loads(json.dumps(value.to_json())))
    assert (again, again.type, again.text) == (value, value.type, value.text)


def test_a_text_cursor_keeps_its_form_in_the_commit_info():
    value = text_type("2024-06-01T12:00:00.123Z").value("2024-06-01T12:00:00.123Z")
    assert CursorValue.from_json(json.loads(json.dumps(value.to_json()))).type.form == value.type.form


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (NTZ, "yesterday"),
        (NTZ, ""),
        (INTEGER, "1.5"),
        (DECIMAL, "NaN"),
        (ROWVERSION, "xyz"),
        (TZ, "0000-01-01 00:00:00"),
    ],
)
def test_a_damaged_value_is_found_when_it_is_read_and_not_when_it_is_compared(kind, text):
    with pytest.raises(ValueError, match="not a value"):
        CursorValue.from_json({"type": kind.to_json(), "value": text})


@given(moments, moments)
def test_times_order_as_the_times_do(one, other):
    assert (NTZ.value(one) < NTZ.value(other)) == (one < other)
    assert (NTZ.value(one) == NTZ.value(other)) == (one == other)


@given(st.lists(st.integers(0, 999_999_999), min_size=2, max_size=6))
def test_times_order_across_precisions(fractions):
    values = [
        CursorType(CursorKind.TIMESTAMP, digits).value(
            f"2024-06-01 12:00:00.{fraction:09d}"[: 20 + (digits or 1)]
        )
        for fraction, digits in zip(fractions, [9, 6, 3, 9, 7, 1], strict=False)
    ]
    exact = sorted(int(value.text[20:].ljust(9, "0") or 0) for value in values)
    assert [int(value.text[20:].ljust(9, "0") or 0) for value in sorted(values)] == exact


def test_trailing_zeros_and_precision_make_no_difference():
    assert NTZ_MS.value("2024-06-01 12:00:00.1") == NTZ_NS.value("2024-06-01 12:00:00.100000000")
    assert NTZ.value("2024-06-01 12:00:00.1234") < NTZ_NS.value("2024-06-01 12:00:00.123400001")


def test_a_date_stands_for_its_midnight():
    assert DATE.value("2024-06-01") == NTZ.value("2024-06-01 00:00:00")
    assert DATE.value("2024-06-01") < NTZ.value("2024-06-01 00:00:00.000001")


@given(wide_decimals, wide_decimals)
def test_decimals_order_exactly(one, other):
    assert (DECIMAL.value(one) < DECIMAL.value(other)) == (one < other)


def test_whole_numbers_and_decimals_compare():
    assert INTEGER.value(5) == DECIMAL.value("5.00")
    assert hash(INTEGER.value(5)) == hash(DECIMAL.value("5.00"))
    assert INTEGER.value(5) < DECIMAL.value("5.01")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (NTZ.value("2024-06-01"), TZ.value("2024-06-01")),
        (INTEGER.value(1), NTZ.value("2024-06-01")),
        (INTEGER.value(1), ROWVERSION.value("0x1")),
        (text_type("2024-06-01").value("2024-06-01"), DATE.value("2024-06-01")),
    ],
)
def test_values_that_mean_different_things_are_unequal_and_have_no_order(one, other):
    assert one != other
    assert not one.comparable(other)
    with pytest.raises(CursorColumnError):
        _ = one < other
    with pytest.raises(CursorColumnError):
        one.distance(other)


def test_a_value_is_no_plain_number():
    assert INTEGER.value(1) != 1


@given(st.sampled_from([NTZ, NTZ_MS, NTZ_NS, TZ, CursorType(CursorKind.TIMESTAMP, 0)]), moments, lags)
def test_a_lag_is_never_rounded_up(kind, moment, lag):
    assume(moment - datetime(1, 1, 1) > lag)
    value = kind.value(moment)
    low = value.minus(lag)
    exact = NTZ.value(moment - lag)
    low_as_local, unit = NTZ_NS.value(low.text), timedelta(microseconds=max(1, 10 ** (6 - kind.digits)))
    assert low_as_local <= exact
    assert exact.distance(low_as_local) < unit
    assert low.type == kind


@given(moments, lags)
def test_a_lag_on_dates_is_never_rounded_up(moment, lag):
    assume(moment - datetime(1, 1, 1) > lag)
    low = DATE.value(moment).minus(lag)
    midnight = datetime.combine(moment.date(), datetime.min.time())
    assert low.text == (midnight - lag).date().isoformat()


@given(wide_decimals, st.integers(0, 10**9))
def test_a_lag_on_decimals_is_exact(number, lag):
    value = DECIMAL.value(number)
    low = value.minus(lag)
    assert Fraction(low.text) + lag == Fraction(number)
    assert value.distance(low) == lag


def test_a_lag_on_a_decimal_of_38_digits_loses_no_digit():
    assert DECIMAL.value("99999999999999999999999999999999999999").minus(1).text == "9" * 37 + "8"


@given(st.integers(), st.integers(0, 10**12))
def test_a_lag_on_integers_is_exact(number, lag):
    assert int(INTEGER.value(number).minus(lag).text) == number - lag


@pytest.mark.parametrize("kind", [NTZ, TZ, DATE])
def test_a_lag_stops_at_the_first_day_that_the_type_has(kind):
    assert kind.value("0001-01-02").minus(timedelta(days=10)).text.startswith("0001-01-01")


def test_a_lag_on_a_rowversion_stops_at_zero():
    assert ROWVERSION.value("0x5").minus(9).text == "0" * 16


@pytest.mark.parametrize(
    ("text", "lag", "low"),
    [
        ("2024-06-01T12:00:00.123Z", timedelta(minutes=10), "2024-06-01T11:50:00.123Z"),
        ("2024-06-01T12:00:00.123Z", timedelta(microseconds=1), "2024-06-01T12:00:00.122Z"),
        ("2024-06-01 00:05", timedelta(minutes=10), "2024-05-31 23:55"),
        ("2024-06-01 00:05", timedelta(seconds=1), "2024-06-01 00:04"),
        ("2024-03-01", timedelta(seconds=1), "2024-02-29"),
        ("2024-06-01T12:00:00+02:00", timedelta(hours=1), "2024-06-01T11:00:00+02:00"),
        ("0001-01-01 00:00:00", timedelta(hours=1), "0001-01-01 00:00:00"),
    ],
)
def test_a_lag_on_text_keeps_its_form(text, lag, low):
    lowered = text_type(text).value(text).minus(lag)
    assert lowered.text == low
    assert lowered <= text_type(text).value(text)


@given(
    moments,
    lags,
    st.sampled_from(["%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M", "%Y-%m-%d"]),
)
def test_a_lag_on_text_of_any_form_never_rounds_up(moment, lag, shape):
    assume(moment.year >= 1000)
    assume(moment - datetime(1001, 1, 1) > lag)
    text = moment.strftime(shape)
    exact = datetime.strptime(text, shape) - lag
    lowered = text_type(text).value(text).minus(lag).text
    assert TextForm.of(lowered) == TextForm.of(text)
    assert lowered == exact.strftime(shape)


def test_without_a_lag_text_of_any_form_stays_as_it_is():
    value = CursorType(CursorKind.TEXT).value("v1.2")
    assert value.minus(timedelta(0)) == value


def test_a_lag_on_text_that_is_no_time_is_refused():
    with pytest.raises(CursorColumnError, match="not ISO-8601"):
        CursorType(CursorKind.TEXT).value("v1.2").minus(timedelta(minutes=10))


@pytest.mark.parametrize(("kind", "raw", "lag"), [(NTZ, "2024-06-01", 5), (INTEGER, 5, timedelta(minutes=1))])
def test_a_lag_of_the_wrong_kind_is_refused_with_a_hint(kind, raw, lag):
    with pytest.raises(CursorColumnError) as caught:
        kind.value(raw).minus(lag)
    assert "lag" in (caught.value.hint or "")


def test_a_duration_of_nothing_suits_numbers_too():
    assert INTEGER.value(5).minus(timedelta(0)) == INTEGER.value(5)


@given(moments, st.integers(0, 9))
def test_flooring_cuts_and_never_rounds(moment, digits):
    value = NTZ_NS.value(f"{moment.isoformat(sep=' ', timespec='microseconds')}789")
    floored = value.floored(digits)
    assert floored <= value
    assert value.distance(floored) < timedelta(microseconds=max(1, 10 ** (6 - digits)))
    assert len(floored.text[20:]) <= digits


@given(moments, moments)
def test_a_distance_between_times_is_a_duration(one, other):
    assert NTZ.value(one).distance(NTZ.value(other)) == one - other


def test_distances_by_kind():
    assert INTEGER.value(7).distance(INTEGER.value(4)) == 3
    assert ROWVERSION.value("0x10").distance(ROWVERSION.value("0x1")) == 15
    assert (
        text_type("2024-06-01").value("2024-06-02").distance(text_type("2024-06-01").value("2024-06-01"))
        is None
    )


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("2024-06-01", TextForm("", 0, "", True)),
        ("2024-06-01 12:00", TextForm(" ", 0, "", False)),
        ("2024-06-01 12:00:00", TextForm(" ", 0, "", True)),
        ("2024-06-01T12:00:00.123456", TextForm("T", 6, "", True)),
        ("2024-06-01T12:00:00Z", TextForm("T", 0, "Z", True)),
        ("2024-06-01T12:00:00.5+02:00", TextForm("T", 1, "+02:00", True)),
    ],
)
def test_a_form_is_read_off_a_text(text, form):
    assert TextForm.of(text) == form


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9/1/2024",
        " 2024-06-01",
        "2024-06-01 ",
        "2024-06-01 12:00:00 Z",
        "20240601",
        "2024-6-1",
        "noon",
        "\u0662\u0660\u0662\u0664-06-01",
    ],
)
def test_what_does_not_order_as_text_has_no_form(text):
    assert TextForm.of(text) is None


@given(
    st.lists(moments, min_size=2, max_size=5),
    st.sampled_from(["T", " "]),
    st.sampled_from(["", "Z", "+02:00"]),
)
def test_texts_of_one_form_order_as_their_times(found, separator, suffix):
    texts = [moment.isoformat(sep=separator, timespec="microseconds") + suffix for moment in found]
    assert len({TextForm.of(text) for text in texts}) == 1
    kind = text_type(texts[0])
    assert [value.text for value in sorted(kind.value(text) for text in texts)] == [
        moment.isoformat(sep=separator, timespec="microseconds") + suffix for moment in sorted(found)
    ]


def test_only_times_lag_by_a_duration():
    assert [kind.is_time for kind in (NTZ, TZ, DATE, text_type("2024-06-01"))] == [True] * 4
    assert [kind.is_time for kind in (INTEGER, DECIMAL, ROWVERSION)] == [False] * 3


def test_the_zone_of_a_datetime_is_kept_apart_from_its_absence():
    aware = datetime(2024, 6, 1, 12, tzinfo=UTC)
    assert TZ.value(aware) == TZ.value("2024-06-01 12:00:00Z")
    with pytest.raises(CursorColumnError):
        NTZ.value(aware)
