"""The command ``hwm``: its help, how soon a job asks its source, and a notebook's run beside that of the same YAML.

The notebook and the YAML file load the same increment, each into a copy of the table of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import nbformat
import ours
from common import done, job
from nbformat.v4 import new_code_cell, new_notebook

QUESTIONS = (b"Q", b"P")
"""How a client's question begins in PostgreSQL's protocol, simple or prepared."""


class Listener:
    """A proxy before the source, which notes when the first question passes."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.asked = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            server = socket.create_connection(self._upstream)
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with closing(sink):
            while data := source.recv(65536):
                if not self.asked and sink.getpeername() == self._upstream and data[:1] in QUESTIONS:
                    self.asked = time.perf_counter()
                sink.sendall(data)

    def close(self) -> None:
        self._server.close()


def hwm(folder: Path, *words: str) -> tuple[float, float]:
    """Run the command; when it began, and its seconds."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "hwm_magics.cli", *words],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    return began, time.perf_counter() - began


def folder_of(task: dict[str, Any], root: Path, name: str, connection: dict[str, Any]) -> Path:
    """A folder with a project file, and the load as YAML and as a notebook."""
    folder = Path(task["scratch"], name)
    folder.mkdir()
    named = {"pg": connection, "lake": {"type": "local", "root": str(root)}}
    (folder / "hwm.yaml").write_text(json.dumps({"connections": named}))
    (folder / "load.yaml").write_text(ours.text(task))
    cells = [new_code_cell("%load_ext hwm_magics"), new_code_cell(f"%%hwm_load\n{ours.text(task)}")]
    nbformat.write(new_notebook(cells=cells), folder / "load.ipynb")
    return folder


task = job()
direct = task["connection"]
yaml_root = Path(task["scratch"], "lake-of-yaml")
shutil.copytree(task["root"], yaml_root)
listener = Listener(direct["host"], int(direct["port"]))
proxied = folder_of(
    task, Path(task["root"]), "proxied", {**direct, "host": "127.0.0.1", "port": listener.port}
)
_, help_seconds = hwm(proxied, "--help")
planned, _ = hwm(proxied, "plan", "load.ipynb")
listener.close()
runs = [
    ("notebook", folder_of(task, Path(task["root"]), "notebook", direct), "load.ipynb"),
    ("yaml", folder_of(task, yaml_root, "yaml", direct), "load.yaml"),
]
seconds = {
    name: hwm(folder, "run", file)[1] for name, folder, file in (runs if os.getpid() % 2 else runs[::-1])
}
done(
    help=round(help_seconds, 4),
    first_question=round(listener.asked - planned, 4),
    ratio=round(seconds["notebook"] / seconds["yaml"], 4),
    **{name: round(value, 4) for name, value in seconds.items()},
)
