"""How the card looks: light and dark, wide and 400 pixels narrow, with pictures to be looked at."""

from __future__ import annotations

import re

import pytest
from browser.conftest import BODY
from playwright.sync_api import expect

CARD = f"%%hwm_load job\n{BODY}"
WIDTH = 1180

# The contrast of every visible text against what lies behind it, by WCAG's formula.
CONTRASTS = """node => {
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
        if (c.length < 4 || c[3] > 0) return c } return [255, 255, 255] };
    const found = [];
    const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) { const e = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || e.closest('style') || !e.getClientRects().length) continue;
        const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
        found.push([(a + 0.05) / (b + 0.05), walker.currentNode.data.trim().slice(0, 40)]) }
    return found }"""


@pytest.fixture
def waiting(nb, book, shop):
    """A card with everything on it: earlier loads, a new column, a warning, a sample."""
    import sqlite3

    load = f"%%hwm_load --run\n{BODY}"
    nb.open_here(book(load, f"%%hwm_load job --sample 3 --mask amount\n{BODY}"))
    nb.run(0)
    shop.add(4, 5)
    nb.run(0)
    db = sqlite3.connect(shop.folder / "shop.db")
    with db:
        db.execute("ALTER TABLE orders ADD COLUMN customer TEXT")
        db.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?)",
            [(n, n * 1.5, f"2024-06-{n:02d} 12:00:00.000000", f"customer {n}") for n in range(6, 20)],
        )
        db.execute("INSERT INTO orders VALUES (99, 1.5, NULL, 'nobody')")
    db.close()
    nb.run(1)
    expect(nb.button(1, "Run")).to_be_visible()
    yield nb
    nb.theme("JupyterLab Light")


def legible(nb, number: int) -> None:
    for part in (".hwm-static", ".hwm-card"):
        contrasts = nb.find(number, part).first.evaluate(CONTRASTS)
        assert contrasts
        assert min(contrasts)[0] >= 4.5, min(contrasts)


def test_it_can_be_read_in_light_and_dark_wide_and_narrow(waiting):
    nb = waiting
    nb.page.set_viewport_size({"width": WIDTH, "height": 1400})
    card = nb.find(1, ".hwm-static").first
    for part in (
        "INCREMENTAL",
        "▶ Incremental (chosen)",
        "First run (not chosen)",
        "+ customer",
        "Recent loads",
        "Warning:",
        "amount masked",
    ):
        expect(card).to_contain_text(part)
    legible(nb, 1)
    nb.output(1).screenshot(path=str(nb.shots / "card-light.png"))
    nb.theme("JupyterLab Dark")
    legible(nb, 1)
    nb.output(1).screenshot(path=str(nb.shots / "card-dark.png"))
    boxes = [each.bounding_box() for each in nb.find(1, ".hwm-sides td").all()]
    assert boxes[0]["y"] == boxes[1]["y"], "first run and incremental are not side by side"
    wide = nb.find(1, ".hwm-card").bounding_box()["width"]
    nb.page.set_viewport_size({"width": int(WIDTH - wide + 400), "height": 1800})
    nb.page.wait_for_function(
        "() => document.querySelector('.hwm-card').getBoundingClientRect().width <= 401"
    )
    for part in (".hwm-static", ".hwm-card"):
        over = nb.find(1, part).first.evaluate("card => card.scrollWidth - card.clientWidth")
        assert over <= 0, part
    boxes = [each.bounding_box() for each in nb.find(1, ".hwm-sides td").all()]
    assert boxes[0]["y"] < boxes[1]["y"], "in 400 pixels they stand one below the other"
    for cell in nb.find(1, ".hwm-loads td").all():
        assert cell.bounding_box()["height"] < 30, "a cell of the recent loads is broken"
    for name in ("Run", "Dry run", "Refresh", "Count", "Full reload…", "Cancel"):
        box, text = nb.button(1, name).bounding_box(), nb.button(1, name)
        assert box["height"] >= 24
        assert text.evaluate("button => button.scrollWidth - button.clientWidth") <= 0
    nb.output(1).screenshot(path=str(nb.shots / "card-narrow-dark.png"))
    nb.theme("JupyterLab Light")
    nb.output(1).screenshot(path=str(nb.shots / "card-narrow.png"))
    nb.page.set_viewport_size({"width": WIDTH, "height": 1000})
    nb.button(1, "Run").click()
    expect(nb.status(1)).to_have_text(re.compile("SUCCEEDED"))
    nb.output(1).screenshot(path=str(nb.shots / "receipt.png"))
    nb.assert_clean()
