"""A notebook's loads without a kernel: its cells of connections and loads, read as the magics read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hwm_magics.core.cursor import Scalar
from hwm_magics.errors import ConfigError, Problem
from hwm_magics.jobs.context import (
    Asked,
    LoadContext,
    Overrides,
    check_params,
    override,
    read_params,
    read_window,
)
from hwm_magics.jobs.notebook_cells import Cell, CellKind, Notebook
from hwm_magics.jobs.order import in_order
from hwm_magics.jobs.self_contained import kernel_reasons, literal_parameters

if TYPE_CHECKING:
    from hwm_magics.core.specs import LoadSpec

__all__ = ["read_loads", "why_a_kernel"]


def why_a_kernel(context: LoadContext, notebook: Notebook, params: Mapping[str, Scalar]) -> tuple[str, ...]:
    """Why a notebook's loads need its other code; none where its cells of connections and loads are enough."""
    known = [each["name"] for each in context.connections.describe()]
    return kernel_reasons(notebook, connections=known, params=tuple(params))


def read_loads(
    context: LoadContext, notebook: Notebook, overrides: Overrides, params: Mapping[str, Scalar]
) -> Asked:
    """The loads of a notebook whose load cells need none of its other code.

    All its cells count as one pipeline: what must run before what, ``depends_on`` says.

    Args:
        context: Takes the connections of the notebook's cells.
        notebook: The notebook.
        overrides: What flags say.
        params: Values for ``${name}``; they win over the notebook's parameters cell.

    Raises:
        ConfigError: A cell can't be understood, asks to be asked, or loads a node that another cell loads.
    """
    values = literal_parameters(notebook).values
    places: dict[str, int] = {}
    found: list[LoadSpec] = []
    notes: list[Problem] = []
    names: set[str] = set(values)
    for cell in notebook.of(CellKind.CONNECTIONS, CellKind.LOAD):
        if not cell.body.strip():
            continue
        what = f"cell {cell.number}"
        if cell.kind is CellKind.CONNECTIONS:
            context.add_connections(cell.body, line_offset=cell.offset, what=what)
            continue
        if told := _left_out(cell):
            notes.append(Problem(f"{what} says {told}, and is left out", what))
            continue
        options = cell.options
        window = read_window(options.backfill) if options.backfill else None
        own = Overrides(tuple(options.node), options.engine, options.force_first_run, window)
        given = read_params(options.param)
        body = context.body(
            cell.body,
            params={**given, **{name: value for name, value in params.items() if name not in given}},
            line_offset=cell.offset,
            lookup=values.__getitem__,
            others=places,
            what=what,
        )
        check_params(given, body.names, what)
        names |= body.names
        notes += body.notes
        for load in override(body.loads, own):
            if load.node in places:
                raise ConfigError(
                    f"cells {places[load.node]} and {cell.number} both load {load.node}",
                    hint="give one of them another name:, or run the notebook with papermill",
                )
            places[load.node] = cell.number
            found.append(load)
    if not found:
        raise ConfigError(f"{notebook.name} has no cell that loads", hint="name another file")
    check_params(params, frozenset(names), notebook.name)
    return Asked(in_order(override(tuple(found), overrides)), tuple(found), tuple(notes))


def _left_out(cell: Cell) -> str:
    """The flag for which a cell is not run; "" for none."""
    options = cell.options
    if options.ask:
        raise ConfigError(
            f"cell {cell.number} says --ask, and nobody can be asked here", hint="take the flag off the cell"
        )
    return "--plan" if options.plan else "--dry-run" if options.dry_run else "--help" if options.help else ""
