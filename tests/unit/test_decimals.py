"""Decimals read by whole columns are those that a cast of each text gives, or none."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.arrow import decimals
from hwm_magics.arrow.decimals import lines_to_decimals, lines_to_texts, texts_to_decimals


@pytest.fixture(autouse=True)
def by_columns_from_the_first_row(monkeypatch):
    monkeypatch.setattr(decimals, "_FEW", 1)


@st.composite
def columns(draw, least=1):
    """Types of one scale, and texts of their values as PostgreSQL writes them."""
    scale = draw(st.integers(0, 9))
    kinds = [
        pa.decimal128(draw(st.integers(max(scale, 1), 18)), scale) for _ in range(draw(st.integers(least, 4)))
    ]
    rows = draw(st.integers(1, 8))
    texts = [
        [
            None if units is None else f"{Decimal(units).scaleb(-scale):f}"
            for units in draw(
                st.lists(
                    st.none() | st.integers(1 - 10**kind.precision, 10**kind.precision - 1),
                    min_size=rows,
                    max_size=rows,
                )
            )
        ]
        for kind in kinds
    ]
    return kinds, texts


@given(columns(), st.integers(0, 3))
def test_texts_become_what_a_cast_makes_of_them(given_columns, cut):
    for kind, texts in zip(*given_columns, strict=True):
        array = pa.array([*["9"] * cut, *texts, None], pa.string()).slice(cut)
        found = texts_to_decimals(array, kind)
        found.validate(full=True)
        assert found.equals(array.cast(kind))


@given(columns(least=2), st.integers(0, 3))
def test_lines_become_what_a_cast_of_their_parts_makes(given_columns, cut):
    kinds, texts = given_columns
    lines = [",".join(part or "" for part in row) + "\n" for row in zip(*texts, strict=True)]
    array = pa.array([*["9,9\n"] * cut, *lines], pa.string()).slice(cut)
    found = lines_to_decimals(array, kinds)
    for column, kind, wanted in zip(found, kinds, texts, strict=True):
        column.validate(full=True)
        assert column.equals(pa.array(wanted, pa.string()).cast(kind))
    assert [column.to_pylist() for column in lines_to_texts(array, len(kinds))] == texts


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1.234", "123.00", "1.2.3"])
def test_what_is_no_number_of_the_type_is_an_error(text):
    kind = pa.decimal128(4, 2)
    with pytest.raises(pa.ArrowInvalid):
        texts_to_decimals(pa.array(["1.00", text]), kind)
    with pytest.raises(pa.ArrowInvalid):
        lines_to_decimals(pa.array(["1.00,2.00\n", f"1.00,{text}\n"]), [kind, kind])


def test_other_digits_than_the_types_are_read_one_by_one():
    kind = pa.decimal128(5, 2)
    texts = pa.array(["1.5", "2", None, "1.50"])
    assert texts_to_decimals(texts, kind).to_pylist() == [
        Decimal("1.50"), Decimal("2.00"), None, Decimal("1.50")
    ]  # fmt: skip
    lines = pa.array(["1.5,2.00\n", ",3\n"])
    assert [column.to_pylist() for column in lines_to_decimals(lines, [kind, kind])] == [
        [Decimal("1.50"), None], [Decimal("2.00"), Decimal("3.00")]
    ]  # fmt: skip


def test_no_rows_are_no_rows():
    kind = pa.decimal128(5, 2)
    none = pa.array([], pa.string())
    assert texts_to_decimals(none, kind).type == kind
    assert [column.type for column in lines_to_decimals(none, [kind, kind])] == [kind, kind]
