"""The body of a load cell has YAML's colours in a real JupyterLab, from what the wheel installs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from browser.highlighting_lab import (
    build_wheel,
    environment,
    open_page,
    require_chromium,
    running_lab,
    unpack_data,
    write_notebook,
)

pytestmark = pytest.mark.slow

LOAD = """\
%%hwm_load job
# for people
read:
  connection: shop
  query: |
    SELECT * FROM orders WHERE status in (1) and not 3
write: {connection: lake, path: raw/orders, optimize_write: true}
"""
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


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """What the built wheel puts below share/jupyter."""
    folder = tmp_path_factory.mktemp("wheel")
    return unpack_data(build_wheel(folder), folder / "jupyter")


def test_lab_lists_the_extension_of_the_wheel_as_ok(installed, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "jupyter", "labextension", "list"],
        env=environment(tmp_path, installed),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    (line,) = [each for each in (done.stdout + done.stderr).splitlines() if "hwm-magics" in each]
    assert "enabled" in line
    assert "OK" in line


def test_the_body_of_a_load_cell_has_yamls_colours_and_python_keeps_its_own(installed, tmp_path):
    require_chromium()
    root = tmp_path / "root"
    root.mkdir()
    write_notebook(root / "colours.ipynb", LOAD, PYTHON)
    with (
        running_lab(tmp_path, root, installed) as address,
        open_page(address, "colours.ipynb") as (page, errors),
    ):
        editors = page.locator(".jp-Notebook .cm-content")
        load, python = editors.nth(0), editors.nth(1)
        load.locator(".hwm-yaml").first.wait_for()
        # Python's own colours come once the kernel has said what it speaks.
        python.locator("span").first.wait_for()
        pieces = load.evaluate(PIECES)

        def look(word: str) -> str:
            (colour,) = {each["color"] for each in pieces if each["text"].strip(" :") == word}
            return colour

        keys = {look(word) for word in ("read", "write", "query", "connection", "path")}
        assert len(keys) == 1, "all keys look the same"
        assert look("# for people") not in keys
        assert look("shop") not in keys
        assert look("not") == look("FROM orders WHERE status"), "SQL's words are no Python keywords"
        assert {each["weight"] for each in pieces if each["text"].strip() not in ("true", "")} == {"400"}
        head = next(each for each in pieces if "hwm_load" in each["text"])
        assert not head["yaml"]
        assert all(each["yaml"] for each in pieces[pieces.index(head) + 1 :])

        assert python.locator(".hwm-yaml").count() == 0
        colours = {each["text"].strip(): each["color"] for each in python.evaluate(PIECES)}
        assert colours["for"] != colours["read"]

        shots = Path(os.environ.get("BROWSER_SHOTS", tmp_path))
        shots.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(shots / "highlighting.png"))

        # What is typed is coloured at once; a cell that is no load cell any more has its Python colours back.
        load.click()
        page.keyboard.press("Control+End")
        page.keyboard.insert_text("transform: clean\n")
        load.locator(".hwm-yaml:text-is('transform')").wait_for()
        page.keyboard.press("Control+Home")
        page.keyboard.insert_text("# ")
        load.locator(".hwm-yaml").first.wait_for(state="detached")
        assert errors == []
