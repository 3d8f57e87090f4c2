"""The body of a load cell has YAML's colours in a real JupyterLab, from what the wheel installs."""

from __future__ import annotations

import contextlib
import subprocess
import sys

from playwright.sync_api import TimeoutError as NotThereError

LOAD = """\
%%hwm_load job
# for people
read:
  connection: shop
  query: |
    SELECT * FROM orders WHERE status in (1) and not 3
write: {connection: lake, path: raw/orders, optimize_write: true}
"""
UNFINISHED = """\
%%hwm_load job
read:
  connection: shop
  table: orders
  incremental: {column: updated_at}
write:
  mode: """
PYTHON = "read = [each for each in (1, 2) if not each]\n"

# Each piece of text in an editor, with how it looks.
PIECES = """editor => {
  const found = [];
  const walker = document.createTreeWalker(editor, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const owner = walker.currentNode.parentElement;
    const style = getComputedStyle(owner);
    found.push({text: walker.currentNode.data, color: style.color, weight: style.fontWeight,
                yaml: !!owner.closest('.hwm-yaml')});
  }
  return found;
}"""


def test_lab_lists_the_extension_of_the_wheel_as_ok(lab):
    done = subprocess.run(
        [sys.executable, "-m", "jupyter", "labextension", "list"],
        env=lab.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    (line,) = [each for each in (done.stdout + done.stderr).splitlines() if "hwm-magics" in each]
    assert "enabled" in line
    assert "OK" in line


def test_the_body_of_a_load_cell_has_yamls_colours_and_python_keeps_its_own(nb, book):
    nb.open_here(book(LOAD, PYTHON))
    load, python = (nb.cell(number).locator(".cm-content") for number in (0, 1))
    load.locator(".hwm-yaml").first.wait_for()
    # Python's own colours come once the kernel has said what it speaks.
    python.locator("span").first.wait_for()
    pieces = load.evaluate(PIECES)

    def colour_of(word: str) -> str:
        (colour,) = {each["color"] for each in pieces if each["text"].strip(" :") == word}
        return colour

    keys = {colour_of(word) for word in ("read", "write", "query", "connection", "path")}
    assert len(keys) == 1, "all keys look the same"
    assert colour_of("# for people") not in keys
    assert colour_of("shop") not in keys
    assert colour_of("not") == colour_of("FROM orders WHERE status"), "SQL's words are no Python keywords"
    assert {each["weight"] for each in pieces if each["text"].strip() not in ("true", "")} == {"400"}
    head = next(each for each in pieces if "hwm_load" in each["text"])
    assert not head["yaml"]
    assert all(each["yaml"] for each in pieces[pieces.index(head) + 1 :])

    assert python.locator(".hwm-yaml").count() == 0
    others = {each["text"].strip(): each["color"] for each in python.evaluate(PIECES)}
    assert others["for"] != others["read"]
    nb.shot("highlighting")

    # What is typed is coloured at once; a cell that is no load cell any more has its Python colours back.
    load.click()
    nb.page.keyboard.press("Control+End")
    nb.page.keyboard.insert_text("transform: clean\n")
    load.locator(".hwm-yaml:text-is('transform')").wait_for()
    nb.page.keyboard.press("Control+Home")
    nb.page.keyboard.insert_text("# ")
    load.locator(".hwm-yaml").first.wait_for(state="detached")
    nb.assert_clean()


def tab_until(page, item) -> None:
    """Press Tab until something is proposed: a database that answers late has its answer there the next time."""
    for _ in range(20):
        page.keyboard.press("Tab")
        with contextlib.suppress(NotThereError):
            item.wait_for(timeout=3000)
            return
    item.wait_for()


def test_tab_in_the_body_of_a_load_cell_proposes_what_fits(nb, book, shop):
    nb.open_here(book(UNFINISHED))
    load = nb.cell(0).locator(".cm-content")
    load.click()
    nb.page.keyboard.press("Control+End")
    nb.page.keyboard.press("Tab")
    items = nb.page.locator(".jp-Completer .jp-Completer-match")
    items.first.wait_for()
    # Below them Lab lists the words of the cell, as it does everywhere.
    assert items.all_inner_texts()[:4] == ["append", "overwrite", "upsert", "append_once"]
    nb.page.keyboard.press("Escape")
    nb.page.keyboard.insert_text("upsert\n  keys: [am")
    tab_until(nb.page, items.filter(has_text="amount"))
    nb.shot("completion")
    nb.page.keyboard.press("Enter")
    load.locator(".cm-line", has_text="keys: [amount").wait_for()
    nb.assert_clean()
