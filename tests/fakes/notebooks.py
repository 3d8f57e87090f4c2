"""Notebooks as files of nbformat 4, made from the texts of their cells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOAD_EXT = "%load_ext hwm_magics"
CONNECTIONS = """\
%%hwm_connections
shop: {type: sqlite, database: shop.db}
lake: {type: local, root: lake}"""
ORDERS = """\
%%hwm_load
read:
  connection: shop
  table: orders
  incremental: {column: updated_at}
write:
  connection: lake
  path: raw/orders
  mode: upsert
  keys: [order_id]"""


def tagged(source: str, tag: str = "parameters") -> dict:
    return {"source": source, "tags": [tag]}


def markdown(source: str) -> dict:
    return {"source": source, "cell_type": "markdown"}


def as_json(*cells: str | dict, **metadata) -> str:
    """The JSON of a notebook: texts become code cells."""
    made = []
    for number, given in enumerate(cells):
        cell = {"source": given} if isinstance(given, str) else dict(given)
        kind = cell.get("cell_type", "code")
        whole = {"cell_type": kind, "id": f"cell-{number:02}", "metadata": {}, "source": cell["source"]}
        if "tags" in cell:
            whole["metadata"]["tags"] = cell["tags"]
        if kind == "code":
            whole |= {"execution_count": cell.get("execution_count"), "outputs": cell.get("outputs", [])}
        made.append(whole)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps(
        {"cells": made, "metadata": {"kernelspec": kernel, **metadata}, "nbformat": 4, "nbformat_minor": 5},
        indent=1,
    )


def write(path: Path, *cells: str | dict) -> Path:
    path.write_text(as_json(*cells), encoding="utf-8")
    return path
