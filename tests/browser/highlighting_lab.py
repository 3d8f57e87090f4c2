"""A JupyterLab that finds the wheel's lab extension, and a notebook of it open in Chromium."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), "")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--force-color-profile=srgb",
    # Nothing but loopback has an address, whatever a page asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
PATIENCE = 60
# A key that is pressed before there is a kernel is lost.
KERNEL_IS_THERE = """async () => {
  const panel = window.jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
}"""


def require_chromium() -> str:
    """The browser's path; without one the test is skipped, and fails where CI=true."""
    if CHROMIUM and Path(CHROMIUM).exists():
        return CHROMIUM
    if os.environ.get("CI") == "true":
        pytest.fail("Chromium is missing: install it, or name it in the variable CHROMIUM")
    pytest.skip("needs Chromium")


def in_a_thread(look: Callable[[], None]) -> None:
    """Run what uses a browser in a thread of its own.

    Playwright's sync API can be started once a thread, and other tests may hold this one's.
    """
    with ThreadPoolExecutor(1) as pool:
        pool.submit(look).result()


def build_wheel(folder: Path) -> Path:
    """The package's wheel, built from this checkout."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def unpack_data(wheel: Path, folder: Path) -> Path:
    """What installing the wheel puts below ``share/jupyter``, in a folder for JUPYTER_PATH."""
    with zipfile.ZipFile(wheel) as archive:
        mark = ".data/data/share/jupyter/"
        for name in archive.namelist():
            if mark in name and not name.endswith("/"):
                target = folder / name.partition(mark)[2]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
    return folder


def environment(home: Path, jupyter_path: Path) -> dict[str, str]:
    """An environment in which Jupyter finds the data of the wheel, and nothing of the machine's user."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("JUPYTER", "JPY_", "IPYTHON"))
    }
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    return (
        kept | {key: str(home / name) for key, name in folders.items()} | {"JUPYTER_PATH": str(jupyter_path)}
    )


def settings(home: Path) -> None:
    """Let Lab show no news and no notices over the page, and wait for completions on a busy machine."""
    told: dict[str, dict[str, object]] = {
        "apputils-extension/notification": {
            "fetchNews": "false",
            "checkForUpdates": False,
            "doNotDisturbMode": True,
        },
        "completer-extension/manager": {"providerTimeout": PATIENCE * 1000},
    }
    for name, values in told.items():
        path = home / "settings/@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values))


@contextlib.contextmanager
def running_lab(home: Path, root: Path, jupyter_path: Path) -> Iterator[str]:
    """A JupyterLab on a free loopback port.

    Yields:
        Its address, with a place for the path, and with its token.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    settings(home)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.root_dir={root}", "--LabApp.expose_app_in_browser=True"]
    command += ["--LabApp.extension_manager=readonly", "--LabApp.news_url=None"]
    log = home / "lab.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, env=environment(home, jupyter_path), cwd=root, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            _wait_until_up(f"http://127.0.0.1:{port}/api/status?token={token}", server, log)
            yield f"http://127.0.0.1:{port}/{{path}}?reset&token={token}"
        finally:
            server.terminate()
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(5)


def _wait_until_up(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        if server.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def write_notebook(path: Path, *cells: str) -> None:
    """A notebook of code cells."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, path)


@contextlib.contextmanager
def open_page(address: str, path: str) -> Iterator[tuple[Page, list[str]]]:
    """A notebook in Chromium.

    Yields:
        The page, and the errors that its console has shown so far.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=require_chromium(), args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1000, "height": 760})
            page.set_default_timeout(PATIENCE * 1000)
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on(
                "console", lambda message: errors.append(message.text) if message.type == "error" else None
            )
            page.goto(address.format(path=f"lab/tree/{path}"))
            page.wait_for_function("() => window.jupyterapp !== undefined")
            page.evaluate("() => window.jupyterapp.restored")
            page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
            page.locator("#jupyterlab-splash").wait_for(state="detached")
            page.evaluate(KERNEL_IS_THERE)
            yield page, errors
        finally:
            browser.close()
