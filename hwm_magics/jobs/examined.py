"""A file as the doctor sees it: everything that can be read of it, and everything that can't, side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hwm_magics.config.yaml_loader import load_yaml
from hwm_magics.core.cursor import Scalar
from hwm_magics.core.specs import LoadSpec
from hwm_magics.errors import ConfigError
from hwm_magics.jobs.context import LoadContext, Overrides, read_params
from hwm_magics.jobs.credentials import Finding, in_notebook, in_outputs, in_yaml
from hwm_magics.jobs.notebook_cells import Cell, CellKind, Notebook, read_notebook
from hwm_magics.jobs.self_contained import kernel_reasons, literal_parameters, nodes_of, references

__all__ = ["Examined", "read_examined"]


@dataclass(slots=True)
class Examined:
    """What was found.

    Attributes:
        context: The surroundings of the loads, with the notebook's connections.
        notebook: The notebook; None for a YAML file or for none.
        loads: The loads that could be read.
        added: Connections that the notebook adds.
        skipped: Cells that need the notebook's code.
        errors: Why cells could not be read.
        reasons: Why the notebook needs its kernel.
        credentials: Literal credentials, with the file that they stand in.
    """

    context: LoadContext
    notebook: Notebook | None = None
    loads: tuple[LoadSpec, ...] = ()
    added: tuple[str, ...] = ()
    skipped: list[str] = field(default_factory=list)
    errors: list[ConfigError] = field(default_factory=list)
    reasons: tuple[str, ...] = ()
    credentials: list[tuple[str, Finding]] = field(default_factory=list)


def read_examined(
    file: Path | None,
    make: Callable[[Callable[[str], object] | None], LoadContext],
    params: Mapping[str, Scalar],
) -> Examined:
    """Read a file as far as possible.

    Args:
        file: A notebook or a YAML file; None for none.
        make: Makes the surroundings, given where names are looked up.
        params: Values for ``${name}``.

    Raises:
        ConfigError: The file can't be read at all, or hwm.yaml is wrong.
    """
    if file is None:
        found = Examined(make(None))
        found.credentials += _project_credentials(found.context)
        return found
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} can't be read: {error}", hint=f"the current folder is {Path.cwd()}"
        ) from None
    if file.suffix.lower() != ".ipynb":
        found = Examined(make(None))
        found.credentials += [(file.name, each) for each in in_yaml(text)]
        found.loads = _loads(found, Cell(1, CellKind.LOAD, text, body=text), params, {})
    else:
        notebook = read_notebook(text, file.name)
        values = dict(literal_parameters(notebook).values)
        found = Examined(make(values.__getitem__), notebook)
        found.credentials += [
            (file.name, each) for each in (*in_notebook(notebook), *in_outputs(_outputs(text)))
        ]
        found.reasons = kernel_reasons(notebook, connections=found.context.connections.names, params=params)
        _notebook(found, notebook, params, values)
    found.credentials += _project_credentials(found.context)
    return found


def _notebook(
    found: Examined, notebook: Notebook, params: Mapping[str, Scalar], values: Mapping[str, object]
) -> None:
    for cell in notebook.cells:
        mine = f"cell {cell.number}"
        needs_code = any(reason.startswith(f"{mine}:") for reason in found.reasons)
        if cell.kind is CellKind.CONNECTIONS and cell.body.strip():
            try:
                made = found.context.add_connections(cell.body, line_offset=cell.offset)
            except ConfigError as error:
                _note(found, mine, error, needs_code=needs_code)
                continue
            found.added = (*found.added, *(each.name for each in made))
        elif cell.kind is CellKind.LOAD and cell.body.strip():
            loads = _loads(found, cell, params, values, needs_code=needs_code)
            found.loads = (*found.loads, *(load for load in loads if load not in found.loads))


def _note(found: Examined, cell: str, error: ConfigError, *, needs_code: bool) -> None:
    if needs_code:
        found.skipped.append(cell)
    else:
        found.errors.append(error)


def _loads(
    found: Examined,
    cell: Cell,
    params: Mapping[str, Scalar],
    values: Mapping[str, object],
    *,
    needs_code: bool = False,
) -> tuple[LoadSpec, ...]:
    what = f"cell {cell.number}" if cell.magic else "the file"
    try:
        options = cell.options if cell.magic else None
        value = load_yaml(cell.body, offset=cell.offset, what=what).value
        names = references(value) | {
            str(name) for node in nodes_of(value) for name in _names(node.get("params"))
        }
        names |= set(_names(value.get("params"))) if isinstance(value, Mapping) else set()
        given = {name: one for name, one in params.items() if name in names or not values}
        line = read_params(options.param) if options is not None else {}
        overrides = Overrides(tuple(options.node), options.engine) if options is not None else None
        return found.context.read(
            cell.body, overrides, params={**line, **given}, line_offset=cell.offset, what=what
        ).loads
    except ConfigError as error:
        _note(found, what, error, needs_code=needs_code)
        return ()


def _names(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from map(str, value)


def _project_credentials(context: LoadContext) -> Iterator[tuple[str, Finding]]:
    path = context.project.path
    if path is not None:
        for each in in_yaml(path.read_text(encoding="utf-8-sig"), connections=True):
            yield path.name, each


def _outputs(text: str) -> dict[int, str]:
    """The text of each cell's outputs, as JSON has it."""
    cells = json.loads(text)["cells"]
    return {
        number: json.dumps(cell.get("outputs", []))
        for number, cell in enumerate(cells, 1)
        if cell.get("outputs")
    }
