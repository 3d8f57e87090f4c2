"""The history in pictures and words, and how targets stand with their ages."""

from __future__ import annotations

import base64
import io
import re
import sys
from datetime import UTC, datetime, timedelta

import pytest
from fakes.shop import ORDERS

from hwm_magics.app import TargetStatus
from hwm_magics.core.cursor import CursorKind, CursorType, TextForm
from hwm_magics.core.moments import moment, span
from hwm_magics.core.observed import CommitRecord, Existence, Watermark
from hwm_magics.errors import EngineNotInstalledError
from hwm_magics.jobs.series import series_of
from hwm_magics.jobs.tables import Table, status_table
from hwm_magics.notebook.history_view import pictures

LOCAL = CursorType(CursorKind.TIMESTAMP, 6, "timestamp")
INSTANT = CursorType(CursorKind.TIMESTAMP_TZ, 6, "timestamptz")
NANOS = CursorType(CursorKind.TIMESTAMP, 9)
NUMBER = CursorType(CursorKind.INTEGER)
TEXT = CursorType(CursorKind.TEXT, form=TextForm("T", 0, "Z"))
START = datetime(2024, 6, 1, 3, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>"


def record(version, at, mark=None, *, kind="incremental", rows=1000, node="orders", column="updated_at"):
    return CommitRecord(
        version,
        at,
        node,
        f"run-{version}",
        kind,
        version,
        watermark=None if mark is None else Watermark(column, mark),
        metrics={} if rows is None else {"num_added_rows": rows},
    )


def daily(count, behind=timedelta(hours=2), kind=INSTANT, **settings):
    days = [START + timedelta(days=day) for day in range(count)]
    return [
        record(day, at, kind.value((at - behind).replace(tzinfo=None)), **settings)
        for day, at in enumerate(days, 1)
    ]


def test_a_history_is_told_in_words_with_what_its_picture_shows():
    records = daily(5)
    records.append(record(9, START + timedelta(days=20), INSTANT.value("2024-06-20 22:00"), rows=50))
    (series,) = series_of(reversed(records))
    assert series.text == (
        "6 loads of orders, 2024-06-01 03:00 to 2024-06-21 03:00 UTC: 5,050 rows, 50 to 1,000 a load; "
        "the mark of updated_at from 2024-06-01 01:00 to 2024-06-20 22:00; "
        "it was 5 h behind the clock at the last load, and 5 h behind it at most; "
        "1 long pause, at most 16 d from 2024-06-05 03:00."
    )


def test_marks_without_a_zone_are_told_with_their_condition_and_marks_that_count_without_an_age():
    (local,) = series_of(daily(2, kind=LOCAL))
    assert "if its clock is UTC" in local.text
    numbers = [
        record(day, START + timedelta(days=day), NUMBER.value(day * 100), column="id") for day in (1, 2)
    ]
    (series,) = series_of(numbers)
    assert "the mark of id from 100 to 200" in series.text
    assert "behind" not in series.text
    assert not series.timed


def test_each_node_of_a_target_has_its_own_series_and_loads_without_a_time_are_left_out():
    records = [*daily(2), *daily(3, node="other"), record(7, None)]
    assert [(each.node, len(each.points)) for each in series_of(records)] == [("orders", 2), ("other", 3)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (LOCAL.value("2024-06-01 12:00:00.123456"), datetime(2024, 6, 1, 12, 0, 0, 123456, tzinfo=UTC)),
        (INSTANT.value("2024-06-01 12:00:00+02:00"), datetime(2024, 6, 1, 10, tzinfo=UTC)),
        (NANOS.value("2024-06-01 12:00:00.123456789"), datetime(2024, 6, 1, 12, 0, 0, 123456, tzinfo=UTC)),
        (CursorType(CursorKind.DATE).value("2024-06-01"), datetime(2024, 6, 1, tzinfo=UTC)),
        (TEXT.value("2024-06-01T12:00:00Z"), datetime(2024, 6, 1, 12, tzinfo=UTC)),
        (NUMBER.value(5), None),
    ],
)  # fmt: skip
def test_a_mark_stands_for_a_moment_when_it_is_a_time(value, expected):
    assert moment(value) == expected


def test_spans_are_told_in_two_units():
    assert span(timedelta(seconds=3)) == "a few seconds"
    assert span(timedelta(hours=2, minutes=10, seconds=5)) == "2 h 10 min"
    assert span(timedelta(days=-4, seconds=-5)) == "4 d"
    assert span(timedelta(seconds=59)) == "59 s"


def picture_of(png: bytes):
    from PIL import Image

    return Image.open(io.BytesIO(png))


@pytest.mark.slow
@pytest.mark.parametrize(
    "records",
    [
        daily(24),
        daily(1),
        daily(300, kind=LOCAL),
        daily(3, behind=timedelta(hours=-5)),
        [record(1, START, NUMBER.value(0), column="id")],
        [record(1, START, None, rows=None, kind="full_reload")],
        [record(day, START, INSTANT.value("2024-01-01"), rows=0) for day in range(1, 5)],
        daily(2, node="$x^{2$ 注文", column="$\\frac{"),
    ],
    ids=["many", "one", "hundreds", "ahead", "counting", "bare", "same moment", "odd names"],
)
def test_any_history_is_a_small_picture(records):
    (made,) = pictures(records)
    picture = picture_of(made.png)
    assert picture.format == "PNG"
    assert picture.width == 800
    assert len(made.png) < 45_000
    # More than a white page: there are bars and axes on it.
    assert len(picture.getcolors()) > 5


def test_a_picture_leaves_the_notebooks_own_settings_alone_and_does_not_heed_them():
    import matplotlib as mpl

    (before,) = pictures(daily(3))
    with mpl.rc_context({"axes.facecolor": "black", "text.usetex": True}):
        (after,) = pictures(daily(3))
        assert mpl.rcParams["axes.facecolor"] == "black"
    assert after.png == before.png


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(EngineNotInstalledError) as caught:
        pictures(daily(1))
    assert "pip install 'hwm-magics[plot]'" in caught.value.hint


def test_plot_shows_the_picture_its_words_and_the_table(shell, project):
    shell(f"%%hwm_load\n{ORDERS}")
    project.add(4)
    shell(f"%%hwm_load\n{ORDERS}")
    cell = shell("%hwm_history --plot")
    assert cell.error is None, cell.everything
    (shown,) = cell.shown[:1]
    assert picture_of(base64.b64decode(shown["image/png"])).format == "PNG"
    assert "2 loads of load_orders" in cell.printed
    assert shown["text/plain"] in cell.printed
    assert len(cell.value.rows) == 2


@pytest.mark.slow
def test_in_a_terminal_plot_tells_the_words_once(shell, project):
    shell(f"%%hwm_load\n{ORDERS}")
    shell.front(allow_stdin=None)
    cell = shell("%hwm_history --plot")
    assert cell.printed.count("1 load of load_orders") == 1
    assert not [each for each in cell.shown if "image/png" in each]


def status(mark=None, last=None, **changes):
    settings = {
        "node": "orders",
        "location": "/lake/raw/orders",
        "existence": Existence.EXISTS,
        "evidence": "its log is at version 17",
        "version": 17,
        "watermark": mark,
        "last": last,
    }
    return TargetStatus(**(settings | changes))


def cells(table) -> list[dict[str, str]]:
    return [dict(zip(table.headings, row, strict=True)) for row in table.rows]


def test_status_tells_the_marks_and_the_last_loads_ages():
    mark = Watermark("updated_at", INSTANT.value("2024-06-01 00:30"))
    now = START + timedelta(minutes=5)
    table = status_table([status(mark, record(17, START))], now)
    (row,) = cells(table)
    assert row["watermark"] == "updated_at = 2024-06-01 00:30:00+00:00"
    assert row["mark's age"] == "2 h 35 min"
    assert row["load's age"] == "5 min"
    assert "without a zone" not in table.title
    assert "2024-06-01 03:05:00 UTC" in table.title


def test_status_says_what_an_age_of_a_mark_without_a_zone_rests_on_and_when_a_mark_is_ahead():
    mark = Watermark("updated_at", LOCAL.value("2024-06-01 05:00"))
    table = status_table([status(mark)], START)
    assert cells(table)[0]["mark's age"] == "2 h ahead of the clock"
    assert "a mark without a zone is taken as UTC" in table.title


def test_status_of_a_target_that_is_not_there_has_no_ages():
    table = status_table([status(existence=Existence.ABSENT, version=None, evidence="no log there")], START)
    assert table.rows[0][:7] == ("orders", "absent", "", "none", "", "none", "")


def test_status_stands_upright_as_text_where_columns_would_be_too_wide_to_read():
    far = "/lake/" + "/".join(["deep"] * 10)
    text = status_table([status(location=far), status(node="items", location=far)], START).text
    lines = text.splitlines()
    assert "  orders" in lines
    assert "  items" in lines
    assert any(line.split() == ["location", far] for line in lines)
    assert max(len(line) for line in lines) < 90
    narrow = status_table([status(location="x", evidence="y")], START).text
    assert len(narrow.splitlines()) == 3


def test_status_is_escaped_in_every_form():
    table = status_table([status(node=HOSTILE, location=HOSTILE, evidence=f"{HOSTILE} | *")], START)
    bundle = table._repr_mimebundle_()
    assert "<script>" not in bundle["text/html"]
    assert "<script>" not in bundle["text/markdown"]
    assert "\\| \\*" in bundle["text/markdown"]
    assert HOSTILE in bundle["text/plain"]


def test_a_long_path_may_be_broken_and_words_may_not():
    table = Table("Targets", ("node", "location"), (("load_orders of today", f"/lake/{'deep/' * 10}orders"),))
    words, path = re.findall(r"<td style=\"([^\"]*)\"", table.html)
    assert "overflow-wrap:anywhere" in path
    assert "overflow-wrap" not in words
