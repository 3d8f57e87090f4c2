"""Whether rows fit a table without loss: every pair of types, proved on values."""

from __future__ import annotations

import math
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest

from hwm_magics.arrow import arrow_type, cast_array
from hwm_magics.core.observed import Column
from hwm_magics.core.schema import clashes, compare, lossless
from hwm_magics.core.specs import SchemaPolicy
from hwm_magics.errors import SchemaMismatchError

EXACT = Context(prec=38)
INTEGERS = {"byte": 8, "short": 16, "integer": 32, "long": 64}
DECIMALS = [
    "decimal(3,0)",
    "decimal(5,0)",
    "decimal(10,0)",
    "decimal(19,0)",
    "decimal(20,0)",
    "decimal(10,2)",
]
DECIMALS += [
    "decimal(12,2)",
    "decimal(12,4)",
    "decimal(38,0)",
    "decimal(38,18)",
    "decimal(38,38)",
    "decimal(5,2)",
]
NUMBERS = [*INTEGERS, "float", "double", *DECIMALS]
OTHERS = [
    "boolean",
    "string",
    "binary",
    "date",
    "timestamp",
    "timestamp_ntz",
    "array<long>",
    "struct<a:long>",
]


def precision_and_scale(name: str) -> tuple[int, int]:
    precision, scale = name[8:-1].split(",")
    return int(precision), int(scale)


def extremes(name: str) -> list[int | float | Fraction]:
    """Values of a type that are the hardest to keep."""
    if name in INTEGERS:
        top = 2 ** (INTEGERS[name] - 1) - 1
        return [
            value
            for value in (0, 1, -1, top, -top - 1, 2**24 + 1, 2**53 + 1, 99, 100)
            if -top - 1 <= value <= top
        ]
    if name == "float":
        return [
            0.0,
            0.5,
            float(np.float32(0.1)),
            float(np.finfo(np.float32).max),
            math.inf,
            math.nan,
            float(np.float32(1e-40)),
        ]
    if name == "double":
        return [0.0, 0.5, 0.1, 1e300, 5e-324, -math.inf, math.nan, 2.0**53]
    precision, scale = precision_and_scale(name)
    unit = Fraction(1, 10**scale)
    return [Fraction(0), unit, -unit, (10**precision - 1) * unit, -(10**precision - 1) * unit]


def holds(name: str, value: float | Fraction) -> bool:
    """Whether a type has an equal of a value, by arithmetic alone."""
    if isinstance(value, float) and not math.isfinite(value):
        return name in ("float", "double")
    exact = Fraction(value)
    if name in INTEGERS:
        bound = 2 ** (INTEGERS[name] - 1)
        return exact.denominator == 1 and -bound <= exact < bound
    if name == "double":
        return abs(exact) < Fraction(2) ** 1024 and Fraction(float(exact)) == exact
    if name == "float":
        with np.errstate(over="ignore"):
            near = np.float32(float(exact))
        return bool(np.isfinite(near)) and Fraction(float(near)) == exact
    precision, scale = precision_and_scale(name)
    scaled = exact * 10**scale
    return scaled.denominator == 1 and abs(scaled) < 10**precision


@pytest.mark.parametrize("source", NUMBERS)
def test_a_cast_between_numbers_is_lossless_exactly_when_every_value_has_an_equal(source):
    for target in NUMBERS:
        if source in DECIMALS and target in ("float", "double"):
            assert not lossless(source, target), target
        else:
            assert lossless(source, target) == all(holds(target, value) for value in extremes(source)), target


@pytest.mark.parametrize("source", NUMBERS)
def test_lossless_casts_are_made_by_arrow_and_come_back_as_they_were(source):
    kind = arrow_type(source)
    values = [_scaled(value, source) if isinstance(value, Fraction) else value for value in extremes(source)]
    array = pa.array([*values, None], kind)
    for target in NUMBERS:
        if not lossless(source, target):
            continue
        there = cast_array(array, arrow_type(target), "c")
        assert there.type == arrow_type(target)
        for value, again in zip(array.to_pylist(), there.to_pylist(), strict=True):
            assert value == again or (math.isnan(value) and math.isnan(again)), target


def _scaled(value: Fraction, name: str) -> Decimal:
    _, scale = precision_and_scale(name)
    return Decimal(int(value * 10**scale)).scaleb(-scale, EXACT)


@pytest.mark.parametrize("source", [*NUMBERS, *OTHERS])
def test_types_that_mean_different_things_never_become_each_other(source):
    for target in [*NUMBERS, *OTHERS]:
        alike = source == target or (source in NUMBERS and target in NUMBERS)
        if not alike and (source, target) != ("date", "timestamp_ntz"):
            assert not lossless(source, target), target


def test_a_date_becomes_its_midnight():
    assert lossless("date", "timestamp_ntz")
    days = pa.array(["0001-01-01", "2024-02-29", "9999-12-31"]).cast(pa.date32())
    assert cast_array(days, pa.timestamp("us"), "d").cast(pa.date32()) == days


@pytest.mark.parametrize("name", [*NUMBERS, *OTHERS])
def test_every_type_is_lossless_to_itself(name):
    assert lossless(name, name)


@pytest.mark.parametrize(
    ("value", "source", "target"),
    [
        (1.9, pa.float64(), pa.int64()),
        (2**53 + 1, pa.int64(), pa.float64()),
        (300, pa.int64(), pa.int8()),
        (0.1, pa.float64(), pa.float32()),
        ("1", pa.string(), pa.int64()),
        (1, pa.int64(), pa.string()),
    ],
)
def test_a_value_that_has_no_equal_is_refused_and_never_rounded(value, source, target):
    with pytest.raises(SchemaMismatchError, match="'c'"):
        cast_array(pa.array([value], source), target, "c")


ID, NAME = Column("id", "long"), Column("name", "string")


def test_equal_columns_differ_in_nothing():
    change = compare([ID, NAME], [NAME, ID], SchemaPolicy.STRICT)
    assert (change.added, change.missing, change.casts, change.conflicts) == ((), (), (), ())


def test_a_new_column_is_added_and_may_be_null():
    change = compare([ID, Column("age", "short", nullable=False)], [ID], SchemaPolicy.EVOLVE)
    assert [(column.name, column.type, column.nullable) for column in change.added] == [
        ("age", "short", True)
    ]
    assert change.conflicts == ()


def test_strict_refuses_new_and_missing_columns():
    change = compare([ID, Column("age", "short")], [ID, NAME], SchemaPolicy.STRICT)
    assert ["'age'" in told or "'name'" in told for told in change.conflicts] == [True, True]
    assert change.added == ()


def test_a_missing_column_becomes_null_unless_the_target_forbids_it():
    assert compare([ID], [ID, NAME], SchemaPolicy.EVOLVE).missing == (NAME,)
    assert compare([ID], [ID, NAME], SchemaPolicy.EVOLVE).conflicts == ()
    strict = compare([ID], [ID, Column("name", "string", nullable=False)], SchemaPolicy.EVOLVE)
    assert "NOT NULL" in strict.conflicts[0]


def test_a_lossless_cast_is_named_and_a_lossy_one_refused():
    change = compare(
        [Column("a", "integer"), Column("b", "double")],
        [Column("a", "long"), Column("b", "long")],
        SchemaPolicy.EVOLVE,
    )
    assert change.casts == (("a", "integer", "long"),)
    assert ["'b'" in told for told in change.conflicts] == [True]


@pytest.mark.parametrize("policy", list(SchemaPolicy))
def test_names_that_differ_in_case_only_are_refused(policy):
    change = compare([Column("ID", "long")], [ID], policy)
    assert len(change.conflicts) == 1
    assert "case" in change.conflicts[0]
    assert (change.added, change.missing) == ((), ())


@pytest.mark.parametrize("other", ["id", "ID"])
def test_two_columns_of_one_name_are_refused_in_new_tables_too(other):
    assert len(clashes([ID, Column(other, "long")])) == 1
    assert clashes([ID, NAME]) == ()
    assert compare([ID, Column(other, "long")], [ID], SchemaPolicy.EVOLVE).conflicts
