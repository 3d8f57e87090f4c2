"""Runs the notebooks headless, each in a fresh copy of this folder, and saves them with their outputs.

``python notebooks/execute.py [NAME …]``: all of them by default. What is saved is fit to be read on a
code-hosting page: no state of widgets, no path of this machine.
"""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
TIMEOUT = 300


def execute(notebook: Path, folder: Path) -> nbformat.NotebookNode:
    """Run a notebook beside a copy of the shop.

    Args:
        notebook: The notebook; it is left as it is.
        folder: Where it runs, and where what it makes will be.

    Returns:
        It with its outputs.
    """
    shutil.copy(HERE / "shop.py", folder)
    made = nbformat.read(notebook, as_version=4)
    client = NotebookClient(
        made,
        timeout=TIMEOUT,
        kernel_name="python3",
        coalesce_streams=True,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    return made


def cleaned(made: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """The notebook as it is saved.

    Args:
        made: An executed notebook.
        folder: Where it ran; its address becomes a relative one.
    """
    text = nbformat.writes(made).replace(f"{folder}/", "").replace(str(folder), ".")
    if folder.name in text:
        raise SystemExit(f"{folder} is still named in the outputs")
    saved = nbformat.reads(text, as_version=4)
    saved.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"file_extension": ".py", "name": "python"},
        }
    )
    return saved


def main(names: list[str]) -> int:
    """Execute and save.

    Args:
        names: Which; all when empty.
    """
    for path in sorted(HERE.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        # Letters and digits only: whatever else a name holds, markdown and HTML would write in their own way.
        folder = Path(tempfile.gettempdir()).resolve() / f"notebook{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        try:
            made = cleaned(execute(path, folder), folder)
        finally:
            shutil.rmtree(folder)
        nbformat.write(made, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
