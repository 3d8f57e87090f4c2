"""The card in other places: Notebook 7, a page made by nbconvert, a page that is not trusted, another kernel."""

from __future__ import annotations

import re
import subprocess
import sys

import nbformat
import pytest
from browser.conftest import BODY, SHOTS, new_page
from browser.lab import KERNEL_IS_THERE, LabPage
from fakes.shop import Project
from playwright.sync_api import expect

CARD = f"%%hwm_load job\n{BODY}"
DEAD = re.compile("loading widget|model not found|error displaying widget", re.IGNORECASE)


@pytest.fixture(scope="module")
def saved(lab, browser) -> str:
    """A saved notebook with a receipt in its first cell and a waiting card in its second; its kernel has ended."""
    folder = lab.root / "saved"
    folder.mkdir()
    Project(folder)
    again = CARD.replace("load_orders", "again").replace("raw/orders", "raw/again")
    nb = LabPage(new_page(browser), lab, SHOTS).open(lab.notebook("saved/book.ipynb", CARD, again))
    nb.run(0)
    nb.button(0, "Run").click()
    expect(nb.status(0)).to_contain_text("SUCCEEDED")
    nb.run(1)
    expect(nb.button(1, "Run")).to_be_visible()
    nb.save()
    nb.page.context.close()
    lab.end_kernels()
    return nb.path


def whole(nb) -> None:
    """Both summaries can be read, and nothing dead stands beside them."""
    expect(nb.find(0, ".hwm-static").first).to_contain_text("3 written")
    expect(nb.find(1, ".hwm-static").first).to_contain_text("FIRST RUN")
    for number in (0, 1):
        assert not DEAD.search(nb.output(number).inner_text())


def test_a_reopened_notebook_shows_both_summaries_without_a_kernel_and_with_a_new_one(own, saved):
    nb = own
    nb.open(saved, kernel=False)
    whole(nb)
    nb.open(saved)  # the new kernel knows no card
    whole(nb)
    nb.shot("reopened-with-another-kernel")


def test_a_notebook_that_is_not_trusted_shows_the_summaries_without_their_styles(own, saved, lab):
    nb = own
    # Jupyter trusts what its own signature stands for, and this is another document.
    document = lab.read(saved)
    document.metadata["from"] = "somebody else"
    nbformat.write(document, lab.root / "saved" / "copy.ipynb")
    nb.open("saved/copy.ipynb", kernel=False)
    whole(nb)
    assert nb.output(0).locator("style").count() == 0
    nb.shot("not-trusted")


def test_notebook_7_runs_a_card(own, lab, shop, book):
    page = own.page
    page.goto(f"{lab.url}notebooks/{book(CARD)}?token={lab.token}")
    cell = page.locator(".jp-Cell").first
    expect(cell).to_be_visible()
    page.wait_for_function("() => window.jupyterapp !== undefined")
    page.evaluate(KERNEL_IS_THERE)
    own.errors.clear()  # what Notebook itself complains of while it starts
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".hwm-status")).to_contain_text("SUCCEEDED")
    assert shop.ids() == [1, 2, 3]
    own.shot("notebook-7")
    own.assert_clean()


def test_a_page_made_by_nbconvert_shows_the_receipt_and_no_widget(saved, lab, browser):
    path = lab.root / saved
    subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "html", "--log-level", "ERROR", str(path)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    page = new_page(browser)
    # Scripts of elsewhere (MathJax, RequireJS) can't be reached here, and the page must do without.
    page.route(re.compile(r"^https?://"), lambda route: route.abort())
    page.goto(path.with_suffix(".html").as_uri())
    summaries = page.locator(".hwm-static")
    expect(summaries.first).to_contain_text("3 written")
    expect(page.locator("body")).to_contain_text("FIRST RUN")
    assert not DEAD.search(page.locator("body").inner_text())
    page.screenshot(path=str(SHOTS / "nbconvert.png"))
    page.context.close()
