"""The script: the loads as calls of the Python API, with the notebook's code where they need it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from hwm_magics.config.project import under_connections
from hwm_magics.config.yaml_loader import as_mapping, load_yaml
from hwm_magics.errors import ConfigError
from hwm_magics.jobs.export.artefact import Artefact, File
from hwm_magics.jobs.export.common import module_files, needed, notes, requirements_file
from hwm_magics.jobs.export.job import Job, Options, Piece
from hwm_magics.jobs.export.rendering import python_value, render
from hwm_magics.jobs.export.yaml_text import to_yaml
from hwm_magics.jobs.load_options import read_line
from hwm_magics.jobs.notebook_cells import Cell, CellKind
from hwm_magics.jobs.self_contained import assigned_names, nodes_of, references

__all__ = ["export"]

_LOAD_EXT = re.compile(r"^\s*%(?:re)?load_ext\s+hwm_magics.*$", re.MULTILINE)
_IPYTHON = re.compile(r"^\s*[%!?]|\bget_ipython\(|(?<![\w.])display\(", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Load:
    name: str
    text: str


def export(job: Job, options: Options) -> Artefact:
    """The script, with what to install.

    Raises:
        ConfigError: The notebook's code is no plain Python.
    """
    writer = _Writer(job)
    body = list(writer.body())
    text = render(
        "script.py.j2",
        title=f"The loads of {job.file.name}",
        needed=needed(job),
        params=list(job.params.items()),
        connections=[(name, _plain(each)) for name, each in job.connections.items()],
        loads=writer.loads,
        body=body,
    )
    files = (File(f"{job.name}.py", text), requirements_file(job, options), *module_files(job))
    return Artefact(files, notes(job, elsewhere=False))


class _Writer:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.loads: list[_Load] = []
        self.known: set[str] = set(job.connections)
        self.assigned: set[str] = set()

    def body(self) -> Iterator[str]:
        if self.job.reasons:
            for name in self.job.params:
                yield f"{name} = PARAMS[{python_value(name)}]"
            if self.job.params:
                yield ""
        for piece in self.job.pieces:
            if piece.kind is CellKind.LOAD:
                yield from self._load(piece)
            elif piece.kind is CellKind.CONNECTIONS:
                yield from self._connections(piece)
            elif piece.kind is CellKind.CODE:
                yield from self._code(piece)

    def _code(self, piece: Piece) -> Iterator[str]:
        text = _LOAD_EXT.sub("", piece.text).strip("\n")
        found = _IPYTHON.search(text)
        if found is not None:
            line = text[: found.end()].count("\n") + 1
            raise ConfigError(
                f"cell {piece.number} can't become part of a script: its line {line} is IPython's, not Python's",
                hint="--to ipynb keeps it as it is",
            )
        self.assigned.update(assigned_names(Cell(piece.number, CellKind.CODE, text, body=text)))
        yield f"# Cell {piece.number}\n{text}\n"

    def _connections(self, piece: Piece) -> Iterator[str]:
        inner = as_mapping(under_connections(load_yaml(piece.text, sensitive=True).value))
        names = references(inner)
        if names:
            raise ConfigError(
                f"cell {piece.number}: ${{{min(names)}}} in a connection can't be resolved in a script",
                hint="write ${env:NAME} or ${secret:scope/key}; or --to ipynb",
            )
        self.known.update(inner)
        yield f"CONNECTIONS |= {python_value(_plain(inner))}"

    def _load(self, piece: Piece) -> Iterator[str]:
        options = read_line(piece.line)
        value = load_yaml(piece.text).value
        name = f"LOAD_{len(self.loads) + 1}"
        self.loads.append(_Load(name, self._text(piece.text, value)))
        words = [name, self._params(options.param, value)]
        if options.node:
            words.append(f"node={python_value(list(options.node))}")
        if options.engine:
            words.append(f"engine={python_value(options.engine)}")
        variables = sorted(self._variables(value))
        if variables:
            words.append(
                f"connections={{{', '.join(f'{python_value(each)}: {each}' for each in variables)}}}"
            )
        target = f"{options.var} = " if options.var else ""
        yield f"{target}run({', '.join(words)})"

    def _params(self, line: list[str], value: object) -> str:
        declared = {str(name) for node in nodes_of(value) for name in as_mapping(node.get("params"))}
        declared |= set(as_mapping(as_mapping(value).get("params")))
        given = {name: python_value(text) for name, _, text in (each.partition("=") for each in line)}
        for name in sorted(references(value) | declared):
            if self.job.reasons and (name in self.job.params or name in self.assigned):
                given.setdefault(name, name)
            elif name in self.job.params:
                given.setdefault(name, f"PARAMS[{python_value(name)}]")
        return f"{{{', '.join(f'{python_value(name)}: {each}' for name, each in given.items())}}}"

    def _variables(self, value: object) -> set[str]:
        """The connections that are variables of the code above."""
        named = {
            str(as_mapping(node.get(side)).get("connection"))
            for node in nodes_of(value)
            for side in ("read", "write")
        }
        return {name for name in named if name not in self.known and name in self.assigned}

    def _text(self, text: str, value: object) -> str:
        """The load, its transforms found in the script where they were found in the notebook."""
        changed = False
        for node in nodes_of(value):
            transform = node.get("transform")
            if isinstance(transform, str) and ":" not in transform and isinstance(node, dict):
                node["transform"] = f"__main__:{transform}"
                changed = True
        return to_yaml(value) if changed else text


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, Decimal) else str(value)
