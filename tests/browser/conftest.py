"""One JupyterLab and one Chromium for all browser tests; a kernel and a folder of its own for each."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from fakes.shop import Project
from servers import missing

_NUMBERS = count(1)
ROOT = Path(__file__).parents[2]
SHOTS = Path(os.environ.get("HWM_BROWSER_SHOTS", Path(__file__).parent / "shots"))
VIEWPORT = {"width": 1180, "height": 900}
BODY = """\
name: load_orders
read:
  connection: shop
  table: orders
  incremental: {column: updated_at}
write:
  connection: lake
  path: raw/orders
"""


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        missing("Chromium")
    return found


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> Path:
    """What installing the wheel of this checkout puts below ``share/jupyter``."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        mark = ".data/data/share/jupyter/"
        for name in archive.namelist():
            if mark in name and not name.endswith("/"):
                target = folder / "jupyter" / name.partition(mark)[2]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
    return folder / "jupyter"


@pytest.fixture(scope="session")
def lab(chromium, installed):
    from browser.lab import LabServer

    with LabServer(installed) as server:
        yield server


@pytest.fixture(scope="session")
def browser(chromium):
    from browser.lab import PATIENCE, launch
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE * 1000)

    with sync_playwright() as playwright:
        started = launch(playwright, chromium)
        yield started
        started.close()


def new_page(browser):
    return browser.new_context(viewport=VIEWPORT, reduced_motion="reduce").new_page()


@pytest.fixture(scope="session")
def loaded_page(lab, browser):
    """A page with Lab loaded: a test that opens its notebook there waits a second instead of five."""
    from browser.lab import LabPage

    made = LabPage(new_page(browser), lab, SHOTS)
    yield made
    made.page.context.close()


@pytest.fixture
def nb(loaded_page, lab, request):
    """The shared page; each test has a fresh kernel. What a failed test saw is kept."""
    yield loaded_page
    keep_failure(request, loaded_page)
    loaded_page.page.set_viewport_size(VIEWPORT)
    if loaded_page.page.evaluate("() => window.jupyterapp !== undefined"):
        loaded_page.reset()
    lab.end_kernels()


@pytest.fixture
def own(lab, browser, request):
    """A page of its own, for tests that load it anew."""
    from browser.lab import LabPage

    made = LabPage(new_page(browser), lab, SHOTS)
    yield made
    keep_failure(request, made)
    made.page.context.close()
    lab.end_kernels()


def keep_failure(request, page) -> None:
    report = getattr(request.node, "report_of_call", None)
    if report is not None and report.failed:
        SHOTS.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.-]+", "_", request.node.name)
        page.page.screenshot(path=str(SHOTS / f"FAILED-{name}.png"))
        (SHOTS / f"FAILED-{name}.txt").write_text("\n".join(page.console))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.report_of_call = report


@pytest.fixture
def shop(lab) -> Project:
    """A project in a folder of its own below Lab's; its shop has three orders."""
    folder = lab.root / f"shop{next(_NUMBERS)}"
    folder.mkdir()
    return Project(folder)


@pytest.fixture(scope="session")
def two_million(tmp_path_factory) -> Path:
    """A shop with two million orders, made once."""
    path = tmp_path_factory.mktemp("large") / "shop.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, amount REAL, updated_at TIMESTAMP)")
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) "
            "INSERT INTO orders SELECT i, i * 1.5, "
            "strftime('%Y-%m-%d %H:%M:%S.000000', 1717200000 + i, 'unixepoch') FROM n"
        )
    return path


@pytest.fixture
def large_shop(shop, two_million) -> Project:
    """A project whose shop has two million orders."""
    shutil.copyfile(two_million, shop.folder / "shop.db")
    return shop


@pytest.fixture
def book(lab, shop):
    """A notebook in the project's folder, from its cells."""

    def make(*cells: str, name: str = "book.ipynb") -> str:
        return lab.notebook(f"{shop.folder.name}/{name}", *cells)

    return make
