"""Runs the quick-start notebook headless in a folder of its own, and tells what came of it."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import time
from pathlib import Path

import nbformat
from deltalake import DeltaTable, QueryBuilder
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parent / "notebooks"
RUN = HERE / "run"


def main() -> int:
    """Run the demo.

    Returns:
        The exit code: 0 when every order is in the lake once.
    """
    started = time.perf_counter()
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir()
    for name in ("quickstart.ipynb", "shop.py"):
        shutil.copy(NOTEBOOKS / name, RUN)
    notebook = nbformat.read(RUN / "quickstart.ipynb", as_version=4)
    print("Running notebooks/quickstart.ipynb headless …\n")
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(RUN)}}
    ).execute()
    nbformat.write(notebook, RUN / "quickstart.ipynb")
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.startswith("%%hwm_load"):
            print(_told(cell))
    exact = _every_order_once()
    print(f"Every order is in the lake exactly once, as it is in the shop: {'yes' if exact else 'NO'}")
    print(f"Done in {time.perf_counter() - started:.0f} s. Look at:")
    print(f"  {RUN / 'quickstart.ipynb'}   the executed notebook")
    print(f"  {RUN / 'scratch' / 'lake' / 'raw' / 'orders'}   the Delta table")
    print(f"  {RUN / 'scratch' / 'shop.db'}   the source")
    return 0 if exact else 1


def _told(cell: nbformat.NotebookNode) -> str:
    texts = []
    for output in cell.outputs:
        data = output.get("data", {})
        text = output.get("text") or data.get("text/plain") or ""
        texts += [line for line in text.splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in texts) + "\n"


def _every_order_once() -> bool:
    with sqlite3.connect(RUN / "scratch" / "shop.db") as shop:
        source = shop.execute(
            "SELECT COUNT(*), SUM(order_id), COUNT(DISTINCT updated_at) FROM orders"
        ).fetchone()
    shop.close()
    lake = DeltaTable(RUN / "scratch" / "lake" / "raw" / "orders")
    sql = "SELECT COUNT(*), SUM(order_id), COUNT(DISTINCT updated_at) FROM orders"
    found = QueryBuilder().register("orders", lake).execute(sql).read_all()
    return tuple(found.column(number)[0].as_py() for number in range(3)) == source


if __name__ == "__main__":
    sys.exit(main())
