"""A notebook's cells by what they are for: loads, connections, parameters, other code. Pure: text in, cells out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from hwm_magics.config.yaml_loader import as_mapping
from hwm_magics.errors import ConfigError
from hwm_magics.jobs.load_options import read_line

if TYPE_CHECKING:
    import argparse

__all__ = ["Cell", "CellKind", "Notebook", "read_notebook"]

_FORMAT = 4
_MAGIC = re.compile(r"%%(?P<name>[\w.]+)[^\S\n]*(?P<line>[^\n]*)(?:\n(?P<body>.*))?\Z", re.DOTALL)
_LOAD_EXT = re.compile(r"%(?:load_ext|reload_ext)\s+hwm_magics(?:\s+#.*)?")


class CellKind(StrEnum):
    """What a cell is for."""

    LOAD_EXT = "load_ext"
    """``%load_ext hwm_magics`` and nothing else."""
    CONNECTIONS = "connections"
    LOAD = "load"
    PARAMETERS = "parameters"
    """papermill's cell of defaults, by its tag."""
    INJECTED = "injected"
    """What papermill wrote below it in a notebook that it has run."""
    CODE = "code"
    TEXT = "text"
    """Markdown, raw cells, and code cells without content."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        number: 1-based, markdown cells counted, as a person counts them.
        kind: What it is for.
        source: Its text.
        line: The rest of a cell magic's own line; "" otherwise.
        body: What stands below that line; the source where there is no cell magic.
        magic: The cell magic's name; "" without one.
        offset: Lines of the cell above the body, so that a line of the body can be named as in the cell.
        id: The cell's own id; "" in notebooks older than format 4.5.
    """

    number: int
    kind: CellKind
    source: str
    line: str = ""
    body: str = ""
    magic: str = ""
    offset: int = 0
    id: str = ""

    @property
    def options(self) -> argparse.Namespace:
        """The options on a load cell's line, as the magic reads them.

        Raises:
            ConfigError: It has some that the magic does not know.
        """
        return read_line(self.line)


@dataclass(frozen=True, slots=True)
class Notebook:
    """What a notebook consists of.

    Attributes:
        name: What to call it in messages.
        cells: Its cells, in order.
        language: The language of its kernel; "" when it does not say.
        kernel: The name of its kernel; "" when it does not say.
    """

    name: str
    cells: tuple[Cell, ...]
    language: str = ""
    kernel: str = ""

    def of(self, *kinds: CellKind) -> tuple[Cell, ...]:
        """The cells of some kinds, in order."""
        return tuple(cell for cell in self.cells if cell.kind in kinds)

    @property
    def loads(self) -> tuple[Cell, ...]:
        """The cells that load; one without a body only shows help, and is none."""
        return tuple(cell for cell in self.of(CellKind.LOAD) if cell.body.strip())

    @property
    def connections(self) -> tuple[Cell, ...]:
        """The cells that add connections."""
        return tuple(cell for cell in self.of(CellKind.CONNECTIONS) if cell.body.strip())


def read_notebook(text: str, name: str = "the notebook") -> Notebook:
    """Read a notebook.

    Args:
        text: What the ``.ipynb`` file holds: JSON of nbformat 4.
        name: What to call it in messages.

    Raises:
        ConfigError: It is no notebook, or one of an older format.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name} is no notebook: {error}", hint="a notebook is a JSON file") from None
    if not isinstance(found, Mapping) or not isinstance(found.get("nbformat"), int):
        raise ConfigError(f"{name} is no notebook: it has no nbformat", hint="name a .ipynb file")
    if found["nbformat"] != _FORMAT:
        raise ConfigError(
            f"{name} is a notebook of format {found['nbformat']}, and format {_FORMAT} is read",
            hint=f"jupyter nbconvert --to notebook --nbformat {_FORMAT} converts it",
        )
    cells = found.get("cells")
    if not isinstance(cells, list) or not all(isinstance(each, Mapping) for each in cells):
        raise ConfigError(
            f"{name} is no notebook: its cells are no list", hint="open it in Jupyter and save it"
        )
    metadata = as_mapping(found.get("metadata"))
    spec = as_mapping(metadata.get("kernelspec"))
    language = spec.get("language") or as_mapping(metadata.get("language_info")).get("name") or ""
    return Notebook(name, tuple(_cells(cells)), str(language).lower(), str(spec.get("name") or ""))


def _cells(raw: list[Mapping[str, Any]]) -> Iterator[Cell]:
    for number, each in enumerate(raw, 1):
        source = each.get("source", "")
        text = "".join(map(str, source)) if isinstance(source, list) else str(source)
        told = as_mapping(each.get("metadata")).get("tags")
        tags = told if isinstance(told, list) else []
        identity = str(each.get("id") or "")
        if each.get("cell_type") != "code" or not text.strip():
            yield Cell(number, CellKind.TEXT, text, body=text, id=identity)
        else:
            yield _code(number, text, tags, identity)


def _code(number: int, text: str, tags: list[object], identity: str) -> Cell:
    # As IPython does, which looks for a cell magic below empty lines.
    shown = text.lstrip("\n")
    above = len(text) - len(shown)
    shown = "\n".join(line.rstrip("\r") for line in shown.split("\n"))
    found = _MAGIC.match(shown)
    if "injected-parameters" in tags:
        return Cell(number, CellKind.INJECTED, text, body=text, id=identity)
    if "parameters" in tags and found is None:
        return Cell(number, CellKind.PARAMETERS, text, body=text, id=identity)
    if found is None:
        lines = [line.strip() for line in shown.split("\n")]
        code = [line for line in lines if line and not line.startswith("#")]
        alone = bool(code) and all(_LOAD_EXT.fullmatch(line) for line in code)
        return Cell(number, CellKind.LOAD_EXT if alone else CellKind.CODE, text, body=text, id=identity)
    kind = {"hwm_load": CellKind.LOAD, "hwm_connections": CellKind.CONNECTIONS}.get(
        found["name"], CellKind.CODE
    )
    return Cell(
        number, kind, text, found["line"].strip(), found["body"] or "", found["name"], above + 1, identity
    )
