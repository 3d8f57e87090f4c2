"""A real JupyterLab in a real Chromium: start a server, open a notebook, run cells, press buttons, save, reopen.

Nothing in here knows the extension under test, except that kernels load it. Nothing but loopback is reached.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

import nbformat
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Playwright

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
    # No name but loopback resolves: nothing leaves the machine even if a page asks.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
# Lab's own noise; everything else in the console is an error of ours.
IGNORED = re.compile(r"ResizeObserver loop|Failed to load resource.*(404|403)|favicon")
PATIENCE = 60
"""Seconds that what has to come may take on a busy machine; what is there is seen at once."""
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    "@jupyterlab/completer-extension:manager": {"providerTimeout": PATIENCE * 1000},
}
"""No news and no notices over the page, nothing saved unasked, and time for completions on a busy machine."""

# The indicator says "idle" before there is a kernel, and a key that is pressed then is lost.
KERNEL_IS_THERE = """async () => {
    const widget = window.jupyterapp.shell.currentWidget;
    await widget.context.ready; await widget.sessionContext.ready;
    await widget.sessionContext.session.kernel.info }"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as made:
        made.bind((HOST, 0))
        return made.getsockname()[1]


class LabServer:
    """JupyterLab, and Notebook 7 beside it, on a loopback port in a folder of its own; a context manager.

    Args:
        jupyter_path: A folder with what packages install below ``share/jupyter``; it comes before the
            environment's own.
    """

    def __init__(self, jupyter_path: Path | None = None) -> None:
        self._jupyter_path = jupyter_path
        self._folder = tempfile.TemporaryDirectory(prefix="hwm-lab-", ignore_cleanup_errors=True)
        self.home = Path(self._folder.name)
        self.root = self.home / "root"
        self.token = secrets.token_hex(16)
        self.port = free_port()
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/"

    @property
    def environment(self) -> dict[str, str]:
        """An environment in which Jupyter finds nothing of the machine's user."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("JUPYTER", "JPY_", "IPYTHON", "HWM_"))
        }
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "IPYTHONDIR": "ipython",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        }
        path = {"JUPYTER_PATH": str(self._jupyter_path)} if self._jupyter_path is not None else {}
        return (
            kept
            | {name: str(self.home / folder) for name, folder in folders.items()}
            | path
            | {
                "NO_PROXY": f"{HOST},localhost",
                "PYDEVD_DISABLE_FILE_VALIDATION": "1",
                "PYTHONPATH": str(ROOT),
            }
        )

    def __enter__(self) -> Self:
        startup = self.home / "ipython" / "profile_default" / "startup"
        for each in (self.root, startup):
            each.mkdir(parents=True, exist_ok=True)
        for plugin, value in SETTINGS.items():
            package, name = plugin.rsplit(":", 1)
            file = self.home / "settings" / package / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(value))
        (startup / "00-load.ipy").write_text("%load_ext hwm_magics\n")
        self._log = (self.home / "jupyter.log").open("wb")
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterlab",
                "--no-browser",
                "--allow-root",
                f"--ip={HOST}",
                f"--port={self.port}",
                "--ServerApp.port_retries=0",
                f"--IdentityProvider.token={self.token}",
                f"--ServerApp.root_dir={self.root}",
                "--ServerApp.terminals_enabled=False",
                # Each application then shows itself to its page.
                "--LabApp.expose_app_in_browser=True",
                "--JupyterNotebookApp.expose_app_in_browser=True",
                "--LabApp.extension_manager=readonly",
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                "--LabApp.news_url=None",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=self.root,
            env=self.environment,
        )
        end = time.monotonic() + 2 * PATIENCE
        while True:
            try:
                self.api("GET", "api/status")
            except OSError:
                if self._process.poll() is not None or time.monotonic() > end:
                    told = (self.home / "jupyter.log").read_text(errors="replace")[-3000:]
                    self.__exit__()
                    raise RuntimeError(f"JupyterLab did not start:\n{told}") from None
                time.sleep(0.1)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(Exception):
                self.end_kernels()
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        self._log.close()
        self._folder.cleanup()

    def api(self, method: str, path: str, body: object = None) -> object:
        """A call of the server's own interface."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            data = answer.read()
        return json.loads(data) if data else None

    def kernels(self) -> list[str]:
        """The ids of the kernels that run."""
        return [each["id"] for each in self.api("GET", "api/kernels")]

    def end_kernels(self) -> None:
        """End every kernel, so that the next test gets one of its own."""
        for each in self.api("GET", "api/sessions"):
            self.api("DELETE", f"api/sessions/{each['id']}")

    def notebook(self, name: str, *cells: str) -> str:
        """Write a notebook; what it gives is what :meth:`Page.open` takes."""
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(made, self.root / name)
        return name

    def read(self, name: str) -> nbformat.NotebookNode:
        """A saved notebook."""
        return nbformat.read(self.root / name, as_version=4)


def launch(playwright: Playwright, chromium: str) -> Browser:
    """Chromium, with a profile of its own."""
    return playwright.chromium.launch(executable_path=chromium, headless=True, args=CHROMIUM_ARGS)


class LabPage:
    """One notebook open in Lab. Cells and outputs count from 0.

    Args:
        page: The browser's page.
        lab: The server.
        shots: Where pictures go.
    """

    def __init__(self, page: Page, lab: LabServer, shots: Path) -> None:
        self.page, self.lab, self.shots = page, lab, shots
        self.errors: list[str] = []
        self.console: list[str] = []
        self.outside: list[str] = []
        self.path = ""
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(f"pageerror: {error.stack or error}"))
        page.on("dialog", lambda dialog: (self.errors.append(f"dialog: {dialog.message}"), dialog.accept()))
        page.route(
            lambda url: (
                not re.match(r"^(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|^(data|blob|about):", url)
            ),
            self._refuse,
        )

    def _on_console(self, message) -> None:
        self.console.append(f"{message.type}: {message.text}")
        if message.type == "error" and not IGNORED.search(message.text):
            self.errors.append(f"console: {message.text}")

    def _refuse(self, route) -> None:
        self.outside.append(route.request.url)
        route.abort()

    def assert_clean(self) -> None:
        """No error in the console, no dead widget, no script of a stranger, no request beyond loopback."""
        expect(self.panel.get_by_text("Loading widget...")).to_have_count(0)
        expect(self.panel.get_by_text("Error displaying widget")).to_have_count(0)
        self._settle()
        assert not self.errors, "\n".join(self.errors)
        assert not self.outside, self.outside

    def _settle(self) -> None:
        """Let what the page has begun come to an end; Playwright hands events over inside its own calls only."""
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")

    def open(self, path: str, *, kernel: bool = True) -> LabPage:
        """Load Lab anew with a notebook; without a kernel it is what a reader sees first."""
        self.path = path
        tree = f"/tree/{quote(path)}" if kernel else ""
        # A workspace of its own: no layout is left over from another test.
        where = f"lab/workspaces/w{secrets.token_hex(3)}{tree}?reset&token={self.lab.token}"
        self.page.goto(self.lab.url + where)
        self.page.wait_for_function("() => window.jupyterapp !== undefined")
        self.page.evaluate("() => window.jupyterapp.restored")
        if not kernel:
            preference = {
                "shouldStart": False,
                "canStart": False,
                "autoStartDefault": False,
                "skipKernelRestart": True,
            }
            self.command(
                "docmanager:open", {"path": path, "factory": "Notebook", "kernelPreference": preference}
            )
        return self._ready(kernel=kernel)

    def open_here(self, path: str) -> LabPage:
        """Open in the Lab that is loaded already; loads one if there is none."""
        if not self.page.evaluate("() => window.jupyterapp !== undefined"):
            return self.open(path)
        self.path = path
        self.command("docmanager:open", {"path": path, "factory": "Notebook"})
        return self._ready()

    def reset(self) -> None:
        """Close every tab, and forget the console."""
        self.page.evaluate("""() => { for (const each of [...window.jupyterapp.shell.widgets('main')]) {
            if (each.context?.model) each.context.model.dirty = false; each.close(); } }""")
        self._settle()  # an error that comes late would be the next test's
        self.errors, self.console, self.outside = [], [], []

    def _ready(self, *, kernel: bool = True) -> LabPage:
        expect(self.panel).to_be_visible()
        expect(self.cells.first).to_be_visible()
        self._no_splash()
        if kernel:
            self.page.evaluate(KERNEL_IS_THERE)
            self.wait_idle()
        else:
            # Jupyter's widget manager logs an error of its own then: it asks a session that isn't there for its kernel.
            self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.ready")
        return self

    def _no_splash(self) -> None:
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)

    def reopen(self, *, kernel: bool = True) -> LabPage:
        """Load the page anew from the saved file; without a kernel, the old one is ended too."""
        if not kernel:
            self.page.goto("about:blank")  # a page whose session dies under it logs errors of its own
            self.lab.end_kernels()
        return self.open(self.path, kernel=kernel)

    def command(self, name: str, args: object = None) -> None:
        """Run one of Lab's commands."""
        self.page.evaluate(
            "async ([name, args]) => { await window.jupyterapp.commands.execute(name, args); return null }",
            [name, args or {}],
        )

    def save(self) -> nbformat.NotebookNode:
        """Save, and give the saved notebook."""
        self.command("docmanager:save")
        return self.lab.read(self.path)

    def theme(self, name: str) -> None:
        """Change Lab's theme: ``JupyterLab Light`` or ``JupyterLab Dark``."""
        self.command("apputils:change-theme", {"theme": name})
        expect(self.page.locator(f"body[data-jp-theme-name='{name}']")).to_be_attached()
        self._no_splash()

    @property
    def panel(self) -> Locator:
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    @property
    def cells(self) -> Locator:
        return self.panel.locator(".jp-WindowedPanel-viewport > .jp-Cell")

    def cell(self, number: int) -> Locator:
        return self.cells.nth(number)

    def output(self, number: int) -> Locator:
        """All outputs of a cell."""
        return self.cell(number).locator(".jp-Cell-outputArea")

    def find(self, number: int, selector: str) -> Locator:
        return self.output(number).locator(selector)

    def button(self, number: int, name: str) -> Locator:
        return self.output(number).get_by_role("button", name=name, exact=True)

    def status(self, number: int) -> Locator:
        """The sentence that screen readers read out."""
        return self.find(number, ".hwm-status")

    def wait_idle(self) -> None:
        expect(self.panel.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute(
            "data-status", "idle", timeout=2 * PATIENCE * 1000
        )

    def run(self, number: int, *, wait: bool = True) -> None:
        """Click into a cell and press Ctrl+Enter; with ``wait``, until it has run."""
        prompt = self.cell(number).locator(".jp-InputPrompt").first
        before = prompt.inner_text()
        self.cell(number).locator(".jp-InputArea-editor .cm-content").click()
        self.page.keyboard.press("Control+Enter")
        expect(prompt).not_to_have_text(before)
        if wait:
            expect(prompt).to_have_text(re.compile(r"\[\d+\]:"), timeout=2 * PATIENCE * 1000)
            self.wait_idle()

    def focused(self) -> str:
        """The text of what has the keyboard's focus."""
        return self.page.evaluate(
            "() => (document.activeElement.innerText || document.activeElement.title || '').trim()"
        )

    def shot(self, name: str, number: int | None = None) -> Path:
        """A picture of the window, or of a cell."""
        self.shots.mkdir(parents=True, exist_ok=True)
        file = self.shots / f"{name}.png"
        (self.page if number is None else self.cell(number)).screenshot(path=str(file))
        return file
