"""A plan, and what came of it, in words: every decision, and names that mean harm."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from fakes.builders import (
    COLUMNS,
    TIME,
    a_load,
    a_source,
    a_spec,
    absent,
    an_event,
    at,
    parsed,
    there,
    unknown,
)
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.core.decided import Decision, LoadResult
from hwm_magics.core.explain import Sample, explain, plan_to_dict
from hwm_magics.core.intent import intend
from hwm_magics.core.observed import Column, SourceIdentity, Watermark
from hwm_magics.core.plan import plan_load
from hwm_magics.core.receipt import Receipt, duration, receipt, result_to_dict, tell_result
from hwm_magics.core.render import bundle, receipt_to_markdown, to_html, to_markdown, to_text
from hwm_magics.core.render_html import receipt_to_html
from hwm_magics.core.specs import CursorSpec

MARK, HIGH = at("09:00:00"), at("11:59:00", 2)
LOADED = there(a_load(MARK))


def plan_of(spec, target, source=None):
    query = parsed(spec)
    intent = intend(spec, query, target)
    asked = None if intent.blocker else (source or a_source(HIGH, identity=SourceIdentity(text="shop.db")))
    return plan_load(spec, query, target, asked)


DECISIONS = {
    "FIRST RUN": (
        a_spec(),
        absent(),
        None,
        "Will create orders with the rows of orders with u up to 2024-06-02",
    ),
    "FIRST RUN into an empty table": (a_spec(), there(rows=False), None, "Will fill the empty orders"),
    "INCREMENTAL": (
        a_spec(),
        LOADED,
        None,
        "Will append the rows of orders with u from 2024-06-01 08:50:00 up to 2024-06-02 11:59:00 to orders",
    ),
    "INCREMENTAL, upsert": (a_spec("upsert"), LOADED, None, "Will merge on id the rows of orders"),
    "INCREMENTAL, append_once": (a_spec("append_once"), LOADED, None, "Will insert, where id is new,"),
    "NO CHANGES": (a_spec(), LOADED, a_source(None, below=MARK), "Nothing to load into orders (version 5)"),
    "FULL RELOAD": (a_spec(force=True), LOADED, None, "Will replace all rows of orders (version 5)"),
    "FULL RELOAD by mode": (a_spec("overwrite"), LOADED, None, "Will replace all rows of orders (version 5)"),
    "BACKFILL": (a_spec(backfill=("2024-05-01", "2024-05-02")), LOADED, None, "replace them in"),
    "BACKFILL, upsert": (
        a_spec("upsert", backfill=("2024-05-01", "2024-05-02")),
        LOADED,
        None,
        "and merge them in",
    ),
    "BLOCKED": (a_spec(), unknown(), None, "Nothing will be written to orders"),
}


@pytest.mark.parametrize(
    ("badge", "spec", "target", "source", "sentence"),
    [
        pytest.param(name.split(",")[0].split(" into")[0].split(" by")[0], *given, id=name)
        for name, given in DECISIONS.items()
    ],
)
def test_every_decision_has_its_badge_and_one_sentence(badge, spec, target, source, sentence):
    plan = plan_of(spec, target, source)
    told = explain(plan)
    assert told.badge == badge
    assert sentence in told.sentence
    assert told.sentence.endswith(".")
    assert told.title == f"orders · pandas · {spec.write.mode}"
    for text in bundle(told).values():
        assert badge in text
        assert len(told.steps) == len(plan.steps)


def test_the_facts_say_where_everything_was_found():
    facts = dict(explain(plan_of(a_spec(keys=("id",), register_table="raw.orders"), LOADED)).facts)
    assert facts["Source"] == "orders on shop (shop.db)"
    assert facts["Target"] == "/lake/orders; exists: its log is at version 5"
    assert facts["Watermark"] == "u = 2024-06-01 09:00:00 (timestamp; recorded by version 3)"
    assert facts["Watermark after"] == "u = 2024-06-02 11:59:00"
    assert facts["Keys"] == "id"
    assert facts["Registered as"] == "raw.orders"
    assert facts["Source's clock"] == "2024-06-02 12:00:00"


def test_first_run_and_increment_stand_side_by_side_with_the_chosen_one_marked():
    for plan, chosen in [
        (plan_of(a_spec(), absent()), "First run"),
        (plan_of(a_spec(), LOADED), "Incremental"),
    ]:
        sides = explain(plan).sides
        assert [side.title for side in sides] == ["First run", "Incremental"]
        assert [side.title for side in sides if side.chosen] == [chosen]
        assert all(side.sql and side.why for side in sides)


def test_a_blocked_plan_says_what_to_do_in_every_form():
    plan = plan_of(a_spec(), unknown("permission denied"))
    for text in bundle(explain(plan)).values():
        assert "permission denied" in text
        assert "check the rights" in text
    assert explain(plan).sides == ()


def test_schema_differences_have_signs_and_words():
    columns = (Column("id", "integer"), COLUMNS[1], Column("w", "long"))
    told = explain(plan_of(a_spec(), LOADED, a_source(HIGH, columns=columns)))
    assert [(one.sign, one.name) for one in told.changes] == [("+", "w"), ("−", "v"), ("~", "id")]
    assert "+ w: long, added to the target" in to_text(told)
    assert "− v: no longer in the source: NULL is written" in to_markdown(told)
    assert "</span> id: integer is cast to long, without loss" in to_html(told)


def test_warnings_are_called_warnings():
    told = explain(plan_of(a_spec(), LOADED, a_source(HIGH, nulls=3)))
    assert "! u is NULL in 3 rows" in to_text(told)
    assert "Warning: u is NULL in 3 rows" in to_markdown(told)
    assert "<strong>Warning:</strong> u is NULL in 3 rows" in to_html(told)


def test_an_adopted_mark_and_one_set_by_hand_are_told_apart():
    assert "adopted" in dict(explain(plan_of(a_spec(), there(max_cursor=MARK))).facts)["Watermark"]
    assert (
        "set by hand" in dict(explain(plan_of(a_spec(), there(a_load(MARK, kind="mark")))).facts)["Watermark"]
    )


def test_an_event_and_a_restore_are_named():
    target = there(
        a_load(MARK),
        events=(an_event("DELETE", "removes"),),
        max_cursor=MARK,
        restores=("version 5 restored version 3",),
    )
    told = explain(plan_of(a_spec(), target))
    assert any("DELETE" in text for text in told.warnings)
    assert ("Restored", "version 5 restored version 3") in told.facts


def test_a_plan_is_json():
    for spec, target, source, _ in DECISIONS.values():
        kept = json.loads(json.dumps(plan_to_dict(plan_of(spec, target, source))))
        assert kept["decision"] == explain(plan_of(spec, target, source)).badge


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "</td></table><h1>done",
    "&lt;b&gt;",
    "a|b",
    "[click](javascript:alert(1))",
    "`code` *bold* _it_ # $x$",
    "two\nlines",
    "\x1b[2J\x1b[31mred",
    "\u202egnp.elif",
]
ALLOWED = {"div", "style", "p", "span", "strong", "table", "tbody", "tr", "th", "td", "ul", "li", "pre"}
ALLOWED |= {"details", "summary", "ol", "caption", "thead"}
ATTRIBUTES = {"class", "role", "aria-label", "aria-hidden", "scope", "style"}


class Elements(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def a_hostile_plan(name: str):
    spec = a_spec(node=name, table=name, path="orders", keys=("id",), cursor=CursorSpec("u"))
    spec = replace(spec, read=replace(spec.read, connection=name), write=replace(spec.write, path=name))
    target = replace(LOADED, location=f"/lake/{name}", evidence=name, restores=(name,))
    columns = (*COLUMNS, Column(name, "string"))
    source = a_source(HIGH, columns=columns, nulls=1, warnings=(name,), identity=SourceIdentity(text=name))
    return plan_load(spec, parsed(a_spec(keys=("id",))), target, source)


def hostile(name: str):
    """A plan in words with everything beside it, all of it named by somebody who means harm."""
    sample = Sample(("id", name), (("1", name), ("2", None)), (name,))
    return explain(a_hostile_plan(name), recent=(a_load(MARK, kind=name),), sample=sample)


def a_hostile_receipt(name: str) -> Receipt:
    result = a_result(warnings=(name,), run_id=name)
    told = tell_result("SUCCEEDED", result, a_hostile_plan(name))
    return replace(told, hint=name, moves=((name, name, name),), onwards=name)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_in_a_receipt(name):
    found = Elements(receipt_to_html(a_hostile_receipt(name)))
    assert set(found.tags) <= ALLOWED
    assert found.attributes <= ATTRIBUTES
    assert not found.open
    page = receipt_to_markdown(a_hostile_receipt(name))
    assert "<" not in "\n".join(line for line in page.splitlines() if not line.startswith("    "))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_in_html(name):
    page = to_html(hostile(name))
    found = Elements(page)
    assert set(found.tags) <= ALLOWED
    assert found.attributes <= ATTRIBUTES
    assert not found.open
    visible = re.sub("[\x00-\x1f\u202e]", "", name)
    assert visible[:3] in re.sub("[\x00-\x1f\u202e\ufffd]", "", found.text)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_in_markdown(name):
    page = to_markdown(hostile(name))
    prose = "\n".join(line for line in page.splitlines() if not line.startswith("    "))
    assert "<" not in prose
    assert "](javascript" not in prose.replace("\\]", "")
    for table in re.findall(r"(?m)(?:^\|.*\n?)+", prose):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_cannot_steer_a_terminal(name):
    text = to_text(hostile(name))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    plain = to_text(hostile("plain"))
    assert len(text.splitlines()) == len(plain.splitlines())


@given(st.text(max_size=30))
def test_whatever_a_name_holds_the_page_stays_whole(name):
    found = Elements(to_html(hostile(name)))
    assert set(found.tags) <= ALLOWED
    assert not found.open


def test_the_page_holds_no_script_and_no_address():
    page = to_html(explain(plan_of(a_spec(), LOADED)))
    assert "<script" not in page
    assert "http" not in page


def a_result(**changes) -> LoadResult:
    before, after = Watermark("u", MARK), Watermark("u", HIGH)
    kept = {
        "rows_read": 1200,
        "rows_recognised": 200,
        "rows_written": 1000,
        "version_before": 5,
        "version_after": 6,
        "watermark_before": before,
        "watermark_after": after,
        "run_id": "r-1",
        "seconds": 1.5,
        **changes,
    }
    return LoadResult("orders", Decision.INCREMENTAL, kept.pop("status", "loaded"), **kept)


def test_a_receipt_tells_rows_mark_and_version():
    text = receipt(a_result(late_rows=2, lateness=timedelta(minutes=3), warnings=("look",)))
    for part in (
        "1,000 rows written",
        "version 5 → 6",
        "1,200 read, 200 recognised",
        "r-1",
        "2 of them came late",
        "! look",
    ):
        assert part in text
    assert "2024-06-01 09:00:00 → 2024-06-02 11:59:00" in text


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("nothing_new", "nothing new"),
        ("already_loaded", "another run had loaded the window already"),
        ("dry_run", "nothing written"),
    ],
)
def test_a_receipt_of_a_load_that_wrote_nothing_says_so(status, words):
    result = a_result(status=status, rows_written=0, version_after=5, watermark_after=Watermark("u", MARK))
    assert words in receipt(result)
    assert "rows written" not in receipt(result)


def test_a_result_is_json():
    kept = json.loads(json.dumps(result_to_dict(a_result(lateness=timedelta(minutes=3), late_rows=1))))
    assert kept["rows"] == {"read": 1200, "recognised": 200, "written": 1000, "updated": 0, "late": 1}
    assert kept["lateness"] == 180
    assert kept["watermark"]["after"] == str(TIME.value("2024-06-02 11:59:00"))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.314, "0.31 s"),
        (12, "12 s"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (352_800, "4 d 2 h"),
        (60, "1 min"),
        (59.9, "1 min"),
    ],
)
def test_durations_read_well(seconds, words):
    assert duration(timedelta(seconds=seconds)) == words
