"""Columns: new, missing, of other types, and made by a transform. Nothing is ever rounded."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from contract.cases import each, in_order
from fakes.builders import COLUMNS, a_spec
from fakes.source import FakeDatabase

from hwm_magics.core.observed import Column
from hwm_magics.core.specs import CursorSpec
from hwm_magics.errors import CommitError, ConfigError, SchemaMismatchError
from hwm_magics.jobs.marks import settle

MINUTE = timedelta(minutes=1)
WIDER = (*COLUMNS, Column("w", "long"))


def a_row(db, number=1, text="a", **more):
    return {"id": number, "u": db.stamp(), "v": text, **more}


@pytest.fixture
def loaded(case, bench, db):
    """A target with one load."""
    db.insert(a_row(db, 1))
    case.begin("one row", lambda: bench.load(a_spec()))
    db.advance(MINUTE)


def changed(db, columns, *rows):
    db.alter(columns)
    db.insert(*rows)


# --- New and missing columns -----------------------------------------------------------------------


@each("mode", ["append", "upsert", "append_once"], on_spark=["append", "upsert"])
def test_a_new_column_is_added_and_is_null_in_older_rows(case, bench, db, mode):
    db.insert(a_row(db, 1))
    bench.load(a_spec(mode))
    db.advance(MINUTE)
    changed(db, WIDER, a_row(db, 2, w=7))
    result = bench.load(a_spec(mode))
    assert result.rows_written >= 1
    assert [(row["id"], row["w"]) for row in case.rows()] == [(1, None), (2, 7)]
    assert case.columns()["w"] == "long"
    assert bench.load(a_spec(mode)).rows_written == 0


def filled(db, columns, **values):
    """Add columns as a database does that fills them in all rows at once, cursors untouched."""
    db.alter(columns)
    for number in list(db.rows):
        db.change(db.rows[number]["id"], values)


def ids(case):
    return sorted(row["id"] for row in case.rows())


def test_rows_that_were_loaded_before_a_column_came_are_recognised_ever_after(case, bench, db):
    db.insert(a_row(db, 1), a_row(db, 2))
    bench.load(a_spec())
    filled(db, WIDER, w=7)
    db.advance(MINUTE)
    db.insert(a_row(db, 3, w=7))
    assert bench.load(a_spec()).rows_written == 1
    for number in (4, 5):
        assert bench.load(a_spec()).rows_written == 0
        db.advance(MINUTE)
        db.insert(a_row(db, number, w=None))
        assert bench.load(a_spec()).rows_written == 1
    assert ids(case) == [1, 2, 3, 4, 5]


def test_two_columns_may_come_one_after_the_other(case, bench, db):
    wider, widest = WIDER, (*WIDER, Column("x", "string"))
    db.insert(a_row(db, 1))
    bench.load(a_spec())
    db.advance(MINUTE)
    filled(db, wider, w=7)
    db.insert(a_row(db, 2, w=7))
    bench.load(a_spec())
    db.advance(MINUTE)
    filled(db, widest, x="x")
    db.insert(a_row(db, 3, w=7, x="x"))
    for _ in range(3):
        bench.load(a_spec())
    assert ids(case) == [1, 2, 3]


def test_a_row_that_differs_in_a_late_column_alone_is_no_twin_of_a_newer_one(case, bench, db):
    db.insert(a_row(db, 1))
    bench.load(a_spec())
    db.advance(MINUTE)
    filled(db, WIDER, w=7)
    db.insert(a_row(db, 2, w=None))
    bench.load(a_spec())
    db.insert(a_row(db, 2, w=8))
    assert bench.load(a_spec()).rows_written == 1
    assert [(row["id"], row["w"]) for row in case.rows()] == [(1, None), (2, 8), (2, None)]


def test_rows_are_recognised_after_a_column_went_and_after_it_came_back(case, bench, db):
    db.insert(a_row(db, 1), a_row(db, 2))
    bench.load(a_spec())
    db.alter(COLUMNS[:2])
    assert bench.load(a_spec()).rows_written == 0
    db.advance(MINUTE)
    db.insert({"id": 3, "u": db.stamp()})
    assert bench.load(a_spec()).rows_written == 1
    assert bench.load(a_spec()).rows_written == 0
    filled(db, COLUMNS, v="back")
    db.change(1, {"v": "a"})
    db.change(2, {"v": "a"})
    assert bench.load(a_spec()).rows_written == 0
    db.advance(MINUTE)
    db.insert(a_row(db, 4))
    assert bench.load(a_spec()).rows_written == 1
    assert ids(case) == [1, 2, 3, 4]


@pytest.mark.parametrize("between", [0, 60], ids=["within the lag", "long before"])
def test_rows_that_lack_a_column_are_recognised_after_the_mark_was_set_back(case, bench, db, between):
    db.insert(a_row(db, 1))
    bench.load(a_spec())
    filled(db, WIDER, w=7)
    for number in (2, 3):
        db.advance((1 + between) * MINUTE)
        db.insert(a_row(db, number, w=7))
        bench.load(a_spec())
    settle(bench, a_spec(), "2024-01-01")
    for _ in range(2):
        assert bench.load(a_spec()).rows_written == 0
    assert ids(case) == [1, 2, 3]


def test_an_upsert_brings_a_new_columns_value_of_a_row_that_it_looks_at_again(case, bench, db):
    spec = a_spec("upsert")
    db.insert(a_row(db, 1))
    bench.load(spec)
    db.alter(WIDER)
    db.change(1, {"w": 7})
    bench.load(spec)
    assert [(row["id"], row["w"]) for row in case.rows()] == [(1, 7)]


@pytest.mark.usefixtures("loaded")
def test_strict_refuses_a_new_column_and_writes_nothing(case, bench, db):
    changed(db, WIDER, a_row(db, 2, w=7))
    before = case.state()
    with pytest.raises(SchemaMismatchError, match="'w'"):
        bench.load(a_spec(schema="strict"))
    assert case.state() == before


@pytest.mark.usefixtures("loaded")
def test_a_column_that_went_becomes_null_with_a_warning(case, bench, db):
    changed(db, COLUMNS[:2], {"id": 2, "u": db.stamp()})
    result = bench.load(a_spec())
    assert any("no longer has v" in text for text in result.warnings)
    assert (2, None) in [(row["id"], row["v"]) for row in case.rows()]
    assert case.columns() == {column.name: column.type for column in COLUMNS}


def test_a_missing_column_that_may_not_be_null_is_refused(case, bench, db):
    db.insert(a_row(db, 1))
    case.make((*COLUMNS, Column("must", "long", nullable=False)))
    before = case.state()
    with pytest.raises(SchemaMismatchError, match="NOT NULL"):
        bench.load(a_spec())
    assert case.state() == before


@pytest.mark.usefixtures("loaded")
def test_the_order_of_columns_does_not_matter(case, bench, db):
    changed(db, COLUMNS[::-1], a_row(db, 2))
    assert bench.load(a_spec()).rows_written == 1
    assert [(row["id"], row["v"]) for row in case.rows()] == [(1, "a"), (2, "a")]


@pytest.mark.usefixtures("loaded")
def test_names_that_differ_in_case_only_are_refused(case, bench, db):
    changed(db, (*COLUMNS[:2], Column("V", "string")), {"id": 2, "u": db.stamp(), "V": "a"})
    before = case.state()
    with pytest.raises(SchemaMismatchError, match="case"):
        bench.load(a_spec())
    assert case.state() == before


# --- Types -----------------------------------------------------------------------------------------

FITS = [
    ("integer", 2**31 - 1, "long", 2**31 - 1),
    ("byte", -128, "short", -128),
    ("short", 7, "decimal(10,2)", Decimal("7.00")),
    ("float", 0.5, "double", 0.5),
    ("integer", 2**31 - 1, "double", 2.0**31 - 1),
    ("decimal(10,2)", Decimal("12345678.91"), "decimal(12,4)", Decimal("12345678.9100")),
    ("date", date(2024, 2, 29), "timestamp_ntz", datetime(2024, 2, 29)),
]
LOSES = [
    ("double", 1.0, "long"),
    ("double", 1.9, "long"),
    ("long", 1, "integer"),
    ("long", 1, "double"),
    ("decimal(12,4)", Decimal(1), "decimal(10,2)"),
    ("string", "1", "long"),
    ("long", 1, "string"),
    ("timestamp_ntz", datetime(2024, 6, 1), "date"),
    ("timestamp_ntz", datetime(2024, 6, 1), "timestamp"),
    ("timestamp", datetime(2024, 6, 1, tzinfo=UTC), "timestamp_ntz"),
    ("boolean", True, "long"),
]


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_narrower_types_fit_without_loss(case, sources, bench, mode):
    sourced, values, types, kept = (
        {f"x{number}": part for number, part in enumerate(parts)} for parts in zip(*FITS, strict=True)
    )
    database = FakeDatabase((*COLUMNS[:2], *(Column(*pair) for pair in sourced.items())))
    sources.database = database
    case.make((*COLUMNS[:2], *(Column(*pair) for pair in types.items())))
    nothing = dict.fromkeys(types)
    database.insert({"id": 1, "u": database.stamp(), **values}, {"id": 2, "u": database.stamp(), **nothing})
    bench.load(a_spec(mode))
    assert [{name: row[name] for name in types} for row in case.rows()] == [kept, nothing]
    assert types.items() <= case.columns().items()
    assert bench.load(a_spec(mode)).rows_written == 0
    database.close()


@pytest.mark.parametrize(("source", "value", "target"), LOSES, ids=[f"{s}→{t}" for s, _, t in LOSES])
@each("mode", ["append", "upsert", "overwrite"], on_spark=["append"])
def test_a_type_that_could_lose_something_is_refused_and_nothing_written(
    case, sources, bench, source, value, target, mode
):
    database = FakeDatabase((*COLUMNS[:2], Column("x", source)))
    sources.database = database
    case.make((*COLUMNS[:2], Column("x", target)))
    database.insert({"id": 1, "u": database.stamp(), "x": value})
    before = case.state()
    with pytest.raises(SchemaMismatchError, match="'x'") as caught:
        bench.load(a_spec(mode))
    assert caught.value.hint
    assert sources.reads == 0
    assert case.state() == before
    database.close()


EXACT = [
    Column("big", "long"),
    Column("small", "byte"),
    Column("price", "decimal(38,18)"),
    Column("ratio", "double"),
    Column("rough", "float"),
    Column("flag", "boolean"),
    Column("raw", "binary"),
    Column("day", "date"),
    Column("moment", "timestamp"),
    Column("text", "string"),
    Column("many", "array<long>"),
    Column("pair", "struct<a:long,b:string>"),
]


def test_values_of_every_type_arrive_as_they_were(case, sources, bench):
    database = FakeDatabase((*COLUMNS[:2], *EXACT))
    sources.database = database
    database.insert(
        {
            "id": 1,
            "u": database.stamp(),
            "big": 2**63 - 1,
            "small": -128,
            "price": Decimal("12345678901234567890.123456789012345678"),
            "ratio": 0.1,
            "rough": 0.5,
            "flag": True,
            "raw": b"\x00\xff",
            "day": date(1, 1, 1),
            "moment": datetime(2024, 6, 1, 12, 0, 0, 1, tzinfo=UTC),
            "text": "ünï\U0001f600\n'\"",
            "many": [1, None, 3],
            "pair": {"a": 1, "b": None},
        },
        {"id": 2, "u": database.stamp()},
    )
    bench.load(a_spec())
    assert case.rows() == in_order(database.rows.values())
    assert bench.load(a_spec()).rows_recognised == 2
    assert case.columns() == {column.name: column.type for column in database.columns}
    database.close()


def test_floats_are_recognised_bit_by_bit(case, sources, bench):
    database = FakeDatabase((*COLUMNS[:2], Column("x", "double")))
    sources.database = database
    for number, value in enumerate([0.1, float("nan"), -0.0, float("inf"), 5e-324]):
        database.insert({"id": number, "u": database.stamp(), "x": value})
    bench.load(a_spec())
    result = bench.load(a_spec())
    assert (result.rows_recognised, result.rows_written) == (5, 0)
    database.close()


# --- Transforms ------------------------------------------------------------------------------------


def with_function(bench, function):
    bench.lookup = {"f": function}.__getitem__
    return a_spec(transform="f", keys=("id",))


def test_a_transform_sees_every_chunk_and_its_types_are_exact(case, bench, db):
    seen = []

    def function(frame):
        seen.append(case.frames.count(frame))
        return case.frames.upper(frame)

    spec = with_function(bench, function)
    db.insert(*(a_row(db, 2**53 + number, "a") for number in range(1, 8)))
    bench.load(spec)
    assert seen == ([3, 3, 1] if case.frames.chunked else [7])
    assert [(row["id"], row["v"]) for row in case.rows()] == [(2**53 + n, "A") for n in range(1, 8)]
    assert case.columns() == {column.name: column.type for column in COLUMNS}


def test_a_transform_may_drop_rows_and_add_columns(case, bench, db):
    def function(frame):
        return case.frames.doubled(case.frames.above(frame, 2))

    spec = with_function(bench, function)
    db.insert(*(a_row(db, number) for number in range(1, 6)))
    bench.load(spec)
    assert [(row["id"], row["double"]) for row in case.rows()] == [(3, 6), (4, 8), (5, 10)]
    db.advance(MINUTE)
    db.insert(a_row(db, 9))
    bench.load(spec)
    assert len(case.rows()) == 4


def test_what_a_transform_drops_altogether_still_moves_the_mark(case, bench, db):
    spec = with_function(bench, lambda frame: case.frames.below(frame, 5))
    db.insert(a_row(db, 1))
    bench.load(spec)
    db.advance(30 * MINUTE)
    db.insert(a_row(db, 9))
    result = bench.load(spec)
    assert (result.rows_written, str(result.watermark_after)) == (0, str(db.clock))
    assert str(bench.plan(spec).before) == str(db.clock)


def test_a_transform_without_keys_loads_each_row_once(case, bench, db):
    bench.lookup = {"f": lambda frame: case.frames.constant(frame, "x")}.__getitem__
    spec = a_spec(transform="f")
    for number in range(1, 4):
        db.insert(a_row(db, number))
        assert bench.load(spec).rows_written == 1
        assert bench.load(spec).rows_written == 0
        db.advance(MINUTE)
    assert [row["id"] for row in case.rows()] == [1, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.rename(columns={"v": "w"}),
        lambda frame: frame.assign(v=1.5),
        lambda frame: frame[["id", "u"]],
    ],
    ids=["renamed", "retyped", "dropped"],
)
def test_a_transform_that_changes_its_mind_in_mid_stream_is_refused(case, bench, db, change):
    calls = []

    def function(frame):
        calls.append(frame)
        return frame if not case.frames.chunked or 1 in frame["id"].tolist() else change(frame)

    spec = with_function(bench, function)
    db.insert(*(a_row(db, number) for number in range(9, 0, -1)))
    if not case.frames.chunked:  # then it is asked once, for all rows, and has no chance to
        bench.load(spec)
        assert len(calls) == 1
        return
    with pytest.raises((SchemaMismatchError, CommitError)) as caught:
        bench.load(spec)
    assert isinstance(caught.value, SchemaMismatchError)
    assert caught.value.hint
    assert case.version() <= 0


@pytest.mark.parametrize("result", [None, [1], "text"])
def test_a_transform_must_give_a_frame(case, bench, db, result):
    db.insert(a_row(db, 1))
    with pytest.raises(SchemaMismatchError, match="DataFrame"):
        bench.load(with_function(bench, lambda _frame: result))
    assert case.version() <= 0


@pytest.mark.usefixtures("loaded")
def test_a_transform_whose_types_do_not_fit_the_target_is_refused(case, bench, db):
    db.insert(a_row(db, 2))
    before = case.state()
    with pytest.raises(SchemaMismatchError, match="'v'"):
        bench.load(with_function(bench, lambda frame: case.frames.constant(frame, 1.5)))
    assert case.state() == before


def test_a_transform_that_loses_the_key_or_the_cursor_is_refused(case, bench, db):
    db.insert(a_row(db, 1))
    bench.load(a_spec(keys=("id",)))
    db.advance(MINUTE)
    db.insert(a_row(db, 2))
    version = case.version()
    for name in ("id", "u"):
        with pytest.raises(SchemaMismatchError, match=f"'{name}'"):
            bench.load(with_function(bench, lambda frame, name=name: case.frames.without(frame, name)))
    assert case.version() == version


def test_a_transform_that_is_not_there_is_a_mistake_in_the_settings(bench, db):
    db.insert(a_row(db, 1))
    for name in ("missing", "no.such:function"):
        with pytest.raises(ConfigError, match=name.split(":")[0]):
            bench.load(a_spec(transform=name))


def test_an_empty_chunk_is_no_trouble(case, bench, db):
    spec = with_function(bench, lambda frame: frame)
    assert bench.load(spec).status == "nothing_new"
    db.insert(a_row(db, 1))
    bench.load(spec)
    assert len(case.rows()) == 1


def test_a_text_cursor_of_one_form_works(case, sources, bench):
    database = FakeDatabase((Column("id", "long"), Column("t", "string")))
    sources.database = database
    spec = a_spec(cursor=CursorSpec("t"))
    database.insert({"id": 1, "t": "2024-06-01T12:00:00Z"})
    bench.load(spec)
    database.insert({"id": 2, "t": "2024-06-01T12:00:00Z"}, {"id": 3, "t": "2024-06-01T12:00:01Z"})
    assert bench.load(spec).rows_written == 2
    assert bench.load(spec).rows_written == 0
    assert case.rows() == in_order(database.rows.values())
    database.close()
