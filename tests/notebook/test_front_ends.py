"""The outputs of a real cell, as front ends that can't run here choose and clean them: each shows the whole plan."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import bleach
import nbformat
import pytest
from fakes.shop import ORDERS, Project
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

# Visual Studio Code sorts an output's MIME types so, and shows the first: `orderOfMimeTypes` in
# extensions/ipynb/src/deserializers.ts of microsoft/vscode. A `*` stands for any rest.
VS_CODE = (
    "application/vnd.*", "application/vdom.*", "application/geo+json", "application/x-nteract-model-debug+json",
    "text/html", "application/javascript", "image/gif", "text/latex", "text/markdown", "image/png",
    "image/svg+xml", "image/jpeg", "application/json", "text/plain",
)  # fmt: skip
# Colab and Databricks show core widgets through managers of their own, and otherwise the richest type they know.
WITH_WIDGETS = (WIDGET_VIEW, "text/html", "text/markdown", "image/png", "text/plain")
# Code-hosting pages know no widgets.
PAGES = ("text/html", "text/markdown", "image/png", "text/plain")
ORDERS_OF = {
    "vs code": VS_CODE, "colab": WITH_WIDGETS, "databricks": WITH_WIDGETS, "github": PAGES, "gitlab": PAGES,
}  # fmt: skip

# What GitHub leaves of HTML: no styles, classes, ids, roles or labels (jupyter/nbviewer#450; the list is a part of
# that of github/html-pipeline, which it documents as its own).
LEFT_TAGS = {
    "b", "br", "caption", "code", "details", "div", "em", "h1", "h2", "h3", "h4", "hr", "i", "li", "ol", "p", "pre",
    "span", "strong", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
}  # fmt: skip
LEFT_ATTRIBUTES = ["align", "colspan", "rowspan", "scope", "title", "width"]

DEAD = re.compile(
    "loading widget|model not found|error displaying widget|error creating widget", re.IGNORECASE
)
PERSON = """\
%load_ext hwm_magics
kernel = get_ipython().kernel
def with_input(channel=None, ask=kernel.get_parent):
    parent = ask(channel)
    return {**parent, 'content': {**parent['content'], 'allow_stdin': True}}
kernel.get_parent = with_input"""
GROW = """\
import sqlite3
with sqlite3.connect("shop.db") as db:
    db.execute("ALTER TABLE orders ADD COLUMN customer TEXT")
    db.execute("INSERT INTO orders VALUES (4, 9.5, '2024-06-04 12:00:00.000000', 'Ada <script>alert(1)</script>')")
    db.execute("INSERT INTO orders VALUES (5, 9.5, NULL, 'nobody')")
db.close()"""
TOLD = """\
import dataclasses, json
from hwm_magics.jobs.report import job_told
print(json.dumps(dataclasses.asdict(job_told(job)), default=str))"""
CLICK = """\
get_ipython().magics_manager.registry['HwmMagics'].session.cards[-1].buttons['Run'].click()
print(done.wait(60).rows_written)"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A notebook with a waiting card, what its plan has to say, and a load that was clicked."""
    project = Project(tmp_path_factory.mktemp("shop"))
    other = ORDERS.replace("load_orders", "other").replace("raw/orders", "raw/other")
    cells = [
        PERSON,
        f"%%hwm_load --run\n{ORDERS}",
        GROW,
        f"%%hwm_load job --sample\n{ORDERS}",
        TOLD,
        f"%%hwm_load done\n{other}",
        CLICK,
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(project.folder)}}
    ).execute()
    return notebook


class Visible(HTMLParser):
    """The text of a page as a reader sees it, and its tables' rows."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self._hidden = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self._hidden += tag == "style"
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._hidden -= tag == "style"

    def handle_data(self, data):
        if not self._hidden:
            self.words.append(data)
            if self.rows and self.rows[-1]:
                self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return flat(" ".join(self.words))


def flat(text: str) -> str:
    return re.sub(r"\s+", "", text)


def shown(output, order) -> tuple[str, str]:
    """The MIME type that a front end shows of an output, and its data."""
    for wanted in order:
        for mime, data in output["data"].items():
            if mime == wanted or (wanted.endswith("*") and mime.startswith(wanted[:-1])):
                return mime, data
    raise AssertionError(f"nothing to show of {sorted(output['data'])}")


def displays(cell):
    """A cell's displays, without what it printed."""
    return [each for each in cell.outputs if each.output_type in ("display_data", "execute_result")]


def cleaned(page: str) -> str:
    """What a code-hosting page leaves of HTML."""
    without = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return bleach.clean(without, LEFT_TAGS, dict.fromkeys(LEFT_TAGS, LEFT_ATTRIBUTES), strip=True)


def said(made) -> list[str]:
    """All that the plan has to say, text by text."""
    told = json.loads(made.cells[4].outputs[0].text)
    texts: list[str] = []

    def collect(value):
        if isinstance(value, dict):
            for each in value.values():
                collect(each)
        elif isinstance(value, list):
            for each in value:
                collect(each)
        elif isinstance(value, str) and value:
            texts.append(value)

    # The reason is the chosen side's, and a load's kind is shown in words.
    for key in (
        "badge",
        "title",
        "sentence",
        "facts",
        "sides",
        "warnings",
        "notes",
        "changes",
        "steps",
        "sample",
    ):
        collect(told[key])
    assert len(texts) > 30
    return texts


@pytest.mark.parametrize("front_end", ORDERS_OF)
@pytest.mark.parametrize("cell", [3, 5])
def test_the_summary_comes_first_and_is_shown_as_html_and_nothing_dead_in_its_place(made, front_end, cell):
    summary, controls = displays(made.cells[cell])[:2]
    mime, page = shown(summary, ORDERS_OF[front_end])
    assert mime == "text/html"
    assert not DEAD.search(page)
    mime, data = shown(controls, ORDERS_OF[front_end])
    # Where widgets are not known, the second output shows as nothing at all.
    assert (
        mime == WIDGET_VIEW if front_end not in ("github", "gitlab") else (mime, data) == ("text/plain", "")
    )
    for text in controls["data"].values():
        assert not DEAD.search(str(text))


def test_html_markdown_and_text_each_tell_the_whole_plan(made):
    data = displays(made.cells[3])[0]["data"]
    page = Visible(data["text/html"]).text
    markdown = flat(re.sub(r"\\(.)", r"\1", data["text/markdown"]).replace("&lt;", "<").replace("&gt;", ">"))
    text = flat(data["text/plain"])
    for each in said(made):
        for where in (page, markdown, text):
            assert flat(each) in where, each


def test_a_page_without_styles_and_classes_still_tells_the_whole_plan(made):
    data = displays(made.cells[3])[0]["data"]
    left = cleaned(data["text/html"])
    assert "style" not in left.replace("<script>", "")
    assert "class=" not in left
    seen = Visible(left)
    for each in said(made):
        assert flat(each) in seen.text, each
    assert seen.text == Visible(data["text/html"]).text
    sides = next(row for row in seen.rows if "(chosen)" in "".join(row))
    assert [("▶" in side, "(chosen)" in side) for side in sides] == [(False, False), (True, True)]
    assert any(row[:1] == ["Watermark"] and "2024-06-03 12:00:00" in row[1] for row in seen.rows)
    assert any("3 rows" in row[-1] for row in seen.rows if "first run" in row), (
        "numbers stand beside the bars"
    )


def test_a_receipt_without_styles_and_classes_tells_what_was_written_and_how_to_undo_it(made):
    data = displays(made.cells[5])[0]["data"]
    seen = Visible(cleaned(data["text/html"]))
    for words in ("SUCCEEDED", "5 rows written", "To undo it:", "%hwm_rollback --node other", "updated_at:"):
        assert flat(words) in seen.text
        assert words in data["text/plain"]
        assert words in data["text/markdown"].replace("\\", "")


@pytest.mark.parametrize("cell", [1, 3, 5])
def test_no_script_runs_and_nothing_is_fetched_from_elsewhere(made, cell):
    for output in displays(made.cells[cell]):
        page = output["data"].get("text/html", "")
        tags = re.findall(r"<[a-z][^>]*>", page)
        assert not [
            tag for tag in tags if re.match(r"<(script|iframe|object|embed|link|img|form|svg)\b", tag)
        ]
        assert not [tag for tag in tags if re.search(r"\s(on\w+|src|href|action)\s*=", tag)]
        assert not re.search(r"url\(|@import", page)


def test_the_controls_are_core_widgets_only(made):
    """Colab asks its users to enable any other, VS Code and Databricks fetch them from elsewhere."""
    state = made.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert state
    assert {each["model_module"] for each in state.values()} <= {
        "@jupyter-widgets/base",
        "@jupyter-widgets/controls",
    }
    assert "OutputModel" not in {each["model_name"] for each in state.values()}


@pytest.mark.parametrize("cell", [1, 3, 5])
def test_plain_text_can_be_read_in_any_log(made, cell):
    text = displays(made.cells[cell])[0]["data"]["text/plain"]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", text)
    assert not re.search(r"</?(div|table|td|span|p|li|pre)\b", text)
