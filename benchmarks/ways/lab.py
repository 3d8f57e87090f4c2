"""A notebook of load cells in a real JupyterLab and Chromium, driven by the harness of the tests."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ours
from playwright.sync_api import expect, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from browser.lab import PATIENCE, LabPage, LabServer, launch

if TYPE_CHECKING:
    from collections.abc import Iterator

WATCH_PAGE = """() => { window.shown = null;
    const old = new Set(document.querySelectorAll('.hwm-card'));
    const watch = new MutationObserver(() => {
        const cards = [...document.querySelectorAll('.hwm-card')].filter(each => !old.has(each));
        const buttons = cards.flatMap(each => [...each.querySelectorAll('button')]);
        if (!buttons.some(each => each.innerText === 'Run')) return;
        watch.disconnect();
        // The frame after the next one has it on the screen.
        requestAnimationFrame(() => requestAnimationFrame(() => { window.shown = Date.now() / 1000 })) });
    watch.observe(document.body, {subtree: true, childList: true, characterData: true, attributes: true}) }"""
"""Keeps the moment in which a new card's Run button is on the screen, in seconds since 1970."""


@contextmanager
def notebook(task: dict[str, Any], *cells: str) -> Iterator[LabPage]:
    """A notebook open in Lab, with a kernel of its own; the connections of the job are its project's."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("FileNotFoundError: Chromium, which the bars of the card need")
    expect.set_options(timeout=PATIENCE * 1000)
    with LabServer() as server, sync_playwright() as playwright:
        browser = launch(playwright, chromium)
        # JSON is YAML.
        (server.root / "hwm.yaml").write_text(json.dumps({"connections": ours.connections(task)}))
        made = browser.new_context(viewport={"width": 1180, "height": 900}).new_page()
        page = LabPage(made, server, Path(task["scratch"]))
        yield page.open(server.notebook("bench.ipynb", *cells))
        browser.close()


def figures(page: LabPage, cell: int) -> Any:
    """Run a cell that prints one line of JSON, and give what it printed."""
    page.run(cell)
    return json.loads(page.output(cell).inner_text())
