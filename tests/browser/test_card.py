"""The card in a real JupyterLab: shown, approved by keyboard, watched, cancelled, saved, reopened."""

from __future__ import annotations

import re
from itertools import pairwise

from browser.conftest import BODY
from deltalake import DeltaTable
from playwright.sync_api import expect

CARD = f"%%hwm_load job\n{BODY}"
LOADED = re.compile("SUCCEEDED")


def version(shop) -> int | None:
    """The target's version; None when there is no table."""
    folder = shop.folder / "lake" / "raw" / "orders"
    return DeltaTable(folder).version() if (folder / "_delta_log").exists() else None


def test_a_card_appears_and_the_keyboard_alone_runs_it(nb, book, shop):
    nb.open_here(book(CARD))
    nb.run(0)
    expect(nb.button(0, "Run")).to_be_visible()
    expect(nb.find(0, ".hwm-badge").first).to_have_text("FIRST RUN")
    order = []
    for _ in range(20):
        nb.page.keyboard.press("Tab")
        order.append(nb.focused())
        if order[-1] == "Cancel":
            break
    names = ("Run", "Dry run", "Refresh", "Count", "Cancel")
    assert [each for each in order if each in names] == list(names)
    assert "Steps of this load" in order
    for _ in range(4):
        nb.page.keyboard.press("Shift+Tab")
    assert nb.focused() == "Run"
    outline = nb.button(0, "Run").evaluate("button => getComputedStyle(button).outlineStyle")
    assert outline != "none"
    nb.page.keyboard.press("Enter")
    expect(nb.status(0)).to_have_text(LOADED)
    assert shop.ids() == [1, 2, 3]
    nb.assert_clean()


def test_progress_moves_while_another_cell_runs_and_the_receipt_stays(nb, book, large_shop):
    shop = large_shop
    nb.open_here(book(CARD, "print('another', 6 * 7, job.status)"))
    nb.run(0)
    before = len(nb.save().cells[0].outputs)
    nb.button(0, "Count").click()
    expect(nb.output(0)).to_contain_text("2,000,000, counted just now")
    # Every text that the line takes, kept by the page itself: looking from here would miss some.
    nb.page.evaluate(
        """() => { window.lines = []; const card = document.querySelector('.hwm-card');
        new MutationObserver(() => { const line = card.querySelector('.hwm-line');
            if (line && window.lines.at(-1) !== line.innerText) window.lines.push(line.innerText) })
            .observe(card, {subtree: true, childList: true, characterData: true}) }"""
    )
    nb.button(0, "Run").click()
    expect(nb.find(0, ".hwm-meter")).to_be_visible()
    nb.run(1)
    assert "another 42 RUNNING" in nb.output(1).inner_text()
    nb.shot("card-running", 0)
    expect(nb.status(0)).to_have_text(LOADED, timeout=120_000)
    assert DeltaTable(shop.folder / "lake" / "raw" / "orders").count() == 2_000_000
    lines = nb.page.evaluate("() => window.lines")
    rows = [int(found[1].replace(",", "")) for line in lines if (found := re.search(r"([\d,]+) rows", line))]
    assert len(set(rows)) >= 4, lines
    assert all(low <= high for low, high in pairwise(rows)), lines
    assert any("of about 2,000,000" in line for line in lines)
    saved = nb.save()
    assert len(saved.cells[0].outputs) == before
    summary = saved.cells[0].outputs[1].data
    assert "2,000,000 written" in summary["text/html"]
    assert "SUCCEEDED" in summary["text/plain"]
    size = sum(len(str(each)) for each in saved.cells[0].outputs)
    assert size < 60_000, size
    assert "widgets" not in saved.metadata
    nb.assert_clean()
    nb.reopen()
    expect(nb.find(0, ".hwm-static").first).to_contain_text("2,000,000 written")
    expect(nb.status(0)).to_have_text(LOADED)
    nb.assert_clean()
    nb.reopen(kernel=False)
    expect(nb.find(0, ".hwm-static").first).to_contain_text("2,000,000 written")
    assert "widget" not in nb.output(0).inner_text().lower()
    assert "model" not in nb.output(0).inner_text().lower()
    nb.shot("receipt-without-a-kernel", 0)


def test_cancel_leaves_the_target_as_it_was(nb, book, large_shop):
    shop = large_shop
    few = CARD.replace("table: orders", "query: SELECT * FROM orders WHERE id <= 3")
    nb.open_here(book(few.replace("%%hwm_load", "%%hwm_load --run"), CARD))
    nb.run(0)
    was = version(shop)
    nb.run(1)
    nb.button(1, "Run").click()
    expect(nb.find(1, ".hwm-line")).to_contain_text("reading")
    nb.button(1, "Cancel").click()
    expect(nb.status(1)).to_have_text(re.compile("CANCELLED.*nothing was written"), timeout=60_000)
    assert version(shop) == was == 1
    assert shop.ids() == [1, 2, 3]
    expect(nb.find(1, ".hwm-badge").first).to_have_text("CANCELLED")
    nb.shot("card-cancelled", 1)
    nb.assert_clean()


def test_a_double_click_loads_once(nb, book, shop):
    nb.open_here(book(CARD))
    nb.run(0)
    nb.button(0, "Run").dblclick()
    expect(nb.status(0)).to_have_text(LOADED)
    assert version(shop) == 1
    assert shop.ids() == [1, 2, 3]
    nb.assert_clean()


def test_a_target_that_moved_makes_the_card_stale_and_refresh_plans_anew(nb, book, shop):
    nb.open_here(book(CARD, f"%%hwm_load other --run\n{BODY.replace('load_orders', 'other_orders')}"))
    nb.run(0)
    nb.run(1)
    nb.button(0, "Run").click()
    expect(nb.status(0)).to_contain_text("STALE")
    moved = nb.find(0, ".hwm-static table").first
    expect(moved).to_contain_text("What moved")
    expect(moved).to_contain_text("version")
    nb.shot("card-stale", 0)
    nb.button(0, "Refresh").click()
    expect(nb.find(0, ".hwm-badge").first).to_have_text("BLOCKED")
    expect(nb.button(0, "Run")).to_have_count(0)
    nb.assert_clean()


def test_a_changed_hwm_yaml_makes_the_card_stale(nb, book, shop):
    nb.open_here(book(CARD))
    nb.run(0)
    (shop.folder / "hwm.yaml").write_text(
        "connections:\n  shop: {type: sqlite, database: shop.db}\n  lake: {type: local, root: ./elsewhere}\n"
    )
    nb.button(0, "Run").click()
    expect(nb.status(0)).to_contain_text("STALE")
    expect(nb.find(0, ".hwm-static").first).to_contain_text("elsewhere")
    nb.button(0, "Refresh").click()
    expect(nb.button(0, "Run")).to_be_visible()
    nb.button(0, "Run").click()
    expect(nb.status(0)).to_have_text(LOADED)
    assert shop.ids() == []
    assert (shop.folder / "elsewhere" / "raw" / "orders" / "_delta_log").exists()
    nb.assert_clean()


def test_a_full_reload_is_planned_shown_and_typed(nb, book, shop):
    nb.open_here(book(CARD))
    nb.run(0)
    nb.button(0, "Run").click()
    expect(nb.status(0)).to_have_text(LOADED)
    shop.add(4)
    nb.run(0)
    nb.button(0, "Full reload…").click()
    expect(nb.find(0, ".hwm-badge").first).to_have_text("FULL RELOAD")
    nb.button(0, "Replace all rows").click()
    expect(nb.status(0)).to_contain_text("Not started: type raw/orders")
    assert version(shop) == 1
    field = nb.output(0).get_by_label("Target:")
    field.click()
    # The letters are Lab's shortcuts too: they must reach the field, and leave the notebook alone.
    nb.page.keyboard.type("raw/orders")
    assert field.input_value() == "raw/orders"
    nb.shot("card-full-reload", 0)
    nb.page.keyboard.press("Tab")
    assert nb.focused() == "Replace all rows"
    nb.page.keyboard.press("Space")
    expect(nb.status(0)).to_have_text(LOADED)
    assert version(shop) == 2
    assert shop.ids() == [1, 2, 3, 4]
    assert nb.cells.count() == 1
    nb.assert_clean()


def test_a_dry_run_writes_nothing(nb, book, shop):
    nb.open_here(book(CARD))
    nb.run(0)
    nb.button(0, "Dry run").click()
    expect(nb.status(0)).to_contain_text("nothing written")
    expect(nb.button(0, "Run")).to_be_visible()
    assert version(shop) is None
    nb.assert_clean()


def test_a_cell_that_is_run_again_has_one_card(nb, book, shop):
    nb.open_here(book(CARD))
    nb.run(0)
    nb.run(0)
    expect(nb.button(0, "Run")).to_have_count(1)
    nb.button(0, "Run").click()
    expect(nb.status(0)).to_have_text(LOADED)
    assert version(shop) == 1
    nb.assert_clean()


HELD = """\
import threading
gate = threading.Event()
def held(rows):
    gate.wait(60)
    return rows"""


def test_an_interrupt_of_the_kernel_leaves_a_load_that_a_click_began_alone(nb, book, shop):
    nb.open_here(book(HELD, f"{CARD}transform: held\n", "job.wait()", "gate.set()"))
    nb.run(0)
    nb.run(1)
    nb.button(1, "Run").click()
    expect(nb.find(1, ".hwm-line")).to_contain_text("reading")
    nb.run(2, wait=False)
    nb.command("notebook:interrupt-kernel")
    expect(nb.output(2)).to_contain_text("KeyboardInterrupt")
    expect(nb.find(1, ".hwm-line")).to_contain_text("reading")
    nb.run(3)
    expect(nb.status(1)).to_have_text(LOADED)
    assert shop.ids() == [1, 2, 3]
    nb.assert_clean()


def test_a_card_whose_kernel_was_restarted_says_so_and_has_no_buttons(nb, book, shop):
    nb.open_here(book(CARD))
    nb.run(0)
    expect(nb.button(0, "Run")).to_be_visible()
    nb.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    nb.wait_idle()
    expect(nb.button(0, "Run")).to_be_hidden()
    said = nb.find(0, ".hwm-card").evaluate("card => getComputedStyle(card, '::before').content")
    assert "Run the cell again" in said
    nb.shot("card-of-a-kernel-that-ended", 0)
    nb.run(0)
    expect(nb.button(0, "Run")).to_be_visible()


def test_hostile_names_and_values_are_text(nb, lab, book, shop):
    import sqlite3

    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    with sqlite3.connect(shop.folder / "shop.db") as db:
        db.execute(f'CREATE TABLE "{evil}" (id INTEGER PRIMARY KEY, "{evil}" TEXT, updated_at TIMESTAMP)')
        db.execute(f'INSERT INTO "{evil}" VALUES (1, ?, ?)', (evil, "2024-06-01 12:00:00.000000"))
    db.close()
    body = BODY.replace("table: orders", f"table: '\"{evil}\"'").replace(
        "name: load_orders", f"name: '{evil}'"
    )
    broken = body.replace("column: updated_at", f"column: '{evil}x'")
    nb.open_here(book(f"%%hwm_load job --sample\n{body}", f"%%hwm_load\n{broken}"))
    nb.run(0)
    expect(nb.button(0, "Run")).to_be_visible()
    assert nb.output(0).inner_text().count(evil) >= 5
    nb.shot("hostile-plan", 0)
    width = nb.find(0, ".hwm-static").first.evaluate("card => card.scrollWidth - card.clientWidth")
    assert width <= 0
    nb.button(0, "Run").click()
    expect(nb.status(0)).to_have_text(LOADED)
    nb.run(1)
    expect(nb.output(1)).to_contain_text("onerror")
    assert nb.page.locator("img[src='x']").count() == 0
    nb.assert_clean()
