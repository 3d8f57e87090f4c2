"""From a notebook or a YAML file to the job that an export is made from; what must not be exported is refused."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hwm_magics.config.project import read_connections
from hwm_magics.config.yaml_loader import load_yaml
from hwm_magics.connections.registry import Connections
from hwm_magics.errors import ConfigError, Problem
from hwm_magics.jobs.credentials import Finding, in_code, in_notebook, in_values, in_yaml
from hwm_magics.jobs.drivers import all_needs
from hwm_magics.jobs.export.baking import Baking
from hwm_magics.jobs.export.job import Job, Options, Piece, slug
from hwm_magics.jobs.export.params import Asked, settle
from hwm_magics.jobs.export.written import (
    AnyEnvironment,
    Written,
    absolute,
    is_local,
    read_written,
    settings_of,
    used,
)
from hwm_magics.jobs.export.yaml_text import to_yaml
from hwm_magics.jobs.load_options import read_line
from hwm_magics.jobs.notebook_cells import Cell, CellKind, Notebook, read_notebook
from hwm_magics.jobs.self_contained import kernel_reasons, literal_parameters

__all__ = ["read_job"]

_ENVIRONMENT = re.compile(r"(?<!\$)\$\{\s*env:\s*([^{}\s]+)\s*\}")
_SECRET = re.compile(r"(?<!\$)\$\{\s*secret:\s*([^{}\s]+)\s*\}")


def read_job(file: Path, options: Options) -> Job:
    """Read what is to be exported.

    Args:
        file: A notebook or a YAML file, saved.
        options: What the caller says beside it.

    Raises:
        ConfigError: It can't be understood, holds literal credentials, or would do at every run what was
            meant for once.
    """
    text = _text(file)
    folder = file.absolute().parent
    notebook = read_notebook(text, file.name) if file.suffix.lower() == ".ipynb" else None
    loads = notebook.loads if notebook is not None else (Cell(1, CellKind.LOAD, text, body=text),)
    if not loads:
        raise ConfigError(f"{file.name} has no load cell", hint="a load cell begins with %%hwm_load")
    _refuse(in_notebook(notebook) if notebook is not None else in_yaml(text), file.name)
    _refuse(tuple(in_values(options.params)), "the job")
    project = read_written(folder)
    known = Connections(project.read().connections)
    reasons: tuple[str, ...] = ()
    if notebook is not None:
        for cell in notebook.connections:
            known.add(*_connections(cell, folder))
        reasons = kernel_reasons(notebook, connections=project.names, params=options.params)
    asked = [
        Asked(cell, _line(cell), load_yaml(cell.body, offset=cell.offset, what=_called(cell)).value)
        for cell in loads
    ]
    parameters = literal_parameters(notebook) if notebook is not None else None
    params = settle(asked, parameters, options.params, patient=bool(reasons))
    baking = Baking(project, known, params.values, reasons)
    baked = {one.cell.number: baking.bake(one, _without_params(one.line, params.taken)) for one in asked}
    pieces = {
        one.cell.number: Piece(
            CellKind.LOAD,
            baked[one.cell.number].text,
            _words(_without_params(one.line, params.taken)),
            one.cell.number,
        )
        for one in asked
    }
    # A name of a cell above hides the same name in hwm.yaml.
    hidden = {
        name
        for cell in (notebook.connections if notebook is not None else ())
        if cell.number < loads[0].number
        for name, _ in settings_of(cell.body)
    }
    names = tuple(name for name in used(asked, project) if name not in hidden)
    connections = {name: absolute(project.connections[name], project.folder) for name in names}
    _refuse_project(project, names)
    cells = tuple(pieces.values())
    if notebook is not None:
        cells = _cells(notebook, pieces, folder, keep_code=bool(reasons))
    mine = dict(connections)
    for piece in cells:
        if piece.kind is CellKind.CONNECTIONS:
            mine.update(settings_of(piece.text))
    every = "\n".join([*(piece.text for piece in cells), to_yaml(connections)])
    secrets = tuple(dict.fromkeys(_SECRET.findall(every)))
    extras, packages = all_needs(
        ((str(settings.get("type")), settings) for settings in mine.values()),
        (engine for each in baked.values() for engine in each.engines),
    )
    modules, missing = _modules([name for each in baked.values() for name in each.modules], folder)
    return Job(
        _name(file, asked),
        file.absolute(),
        cells,
        connections,
        params.values,
        _parameters_text(notebook),
        () if reasons else tuple(node for each in baked.values() for node in each.nodes),
        reasons,
        tuple(dict.fromkeys(_ENVIRONMENT.findall(every))),
        secrets,
        tuple(sorted(name for name, each in mine.items() if is_local(each))),
        tuple(sorted({*extras, *(["keyring"] if secrets else [])})),
        packages,
        (
            *params.notes,
            *_left_out(notebook, reasons),
            *(f"the module {name} must be importable" for name in missing),
        ),
        notebook is not None,
        modules,
    )


def _called(cell: Cell) -> str:
    return f"cell {cell.number}" if cell.magic else "the file"


def _name(file: Path, asked: list[Asked]) -> str:
    value = asked[0].value
    pipeline = value.get("pipeline") if isinstance(value, Mapping) and len(asked) == 1 else None
    return slug(pipeline if isinstance(pipeline, str) and "${" not in pipeline else file.stem)


def _left_out(notebook: Notebook | None, reasons: tuple[str, ...]) -> Iterator[str]:
    numbers = (
        [str(cell.number) for cell in notebook.of(CellKind.CODE)]
        if notebook is not None and not reasons
        else []
    )
    if numbers:
        yield f"code that no load needs was left out: cell{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8 text", hint="name a notebook or a YAML file") from None
    except OSError as error:
        raise ConfigError(
            f"{file} can't be read: {error.strerror or error}", hint=f"the current folder is {Path.cwd()}"
        ) from None


def _refuse(findings: tuple[Finding, ...], what: str) -> None:
    if findings:
        problems = tuple(
            Problem(each.what, f"cell {each.cell}" if each.cell is not None else "", each.line)
            for each in findings
        )
        raise ConfigError(
            f"{what} is not exported, because it holds literal credentials",
            problems,
            hint="write ${env:NAME} or ${secret:scope/key} in a connection; in Python read os.environ",
        )


def _line(cell: Cell) -> argparse.Namespace:
    options = cell.options if cell.magic else read_line("")
    for flag in ("force_first_run", "backfill"):
        if getattr(options, flag):
            word = f"--{flag.replace('_', '-')}"
            raise ConfigError(
                f"cell {cell.number} says {word}, and a job would do that at every run",
                hint=f"take {word} out; it is for once: hwm run FILE {word}",
            )
    return options


def _without_params(options: argparse.Namespace, taken: frozenset[str]) -> argparse.Namespace:
    """A load's options without the params that the artefact gives from outside."""
    kept = [text for text in options.param if text.partition("=")[0] not in taken]
    return argparse.Namespace(**{**vars(options), "param": kept})


def _words(options: argparse.Namespace) -> str:
    words = [options.var] if options.var else []
    words += ["--engine", options.engine] if options.engine else []
    words += ["--node", *options.node] if options.node else []
    words += ["--param", *options.param] if options.param else []
    words += [f"--{flag.replace('_', '-')}" for flag in ("fail_if_stale", "quiet") if getattr(options, flag)]
    return shlex.join(words)


def _refuse_project(project: Written, used: tuple[str, ...]) -> None:
    """The literal credentials of the connections that go along."""
    if project.path is None:
        return
    found = in_yaml(project.path.read_text(encoding="utf-8-sig"), connections=True)
    mine = tuple(each for each in found if any(f"connections.{name}." in each.what for name in used))
    _refuse(mine, str(project.path))


def _connections(cell: Cell, folder: Path) -> Iterator[Any]:
    """A cell's connections, to know their names; where they need the notebook's variables, none."""
    try:
        yield from read_connections(
            cell.body,
            folder=folder,
            line_offset=cell.offset,
            lookup=lambda _name: "1",
            environ=AnyEnvironment(),
            what=f"cell {cell.number}",
        )
    except ConfigError:
        if "${" not in cell.body:
            raise


def _cells(
    notebook: Notebook, loads: Mapping[int, Piece], folder: Path, *, keep_code: bool
) -> tuple[Piece, ...]:
    """The notebook's cells as the artefact has them; the parameters cell is written anew."""
    pieces: list[Piece] = []
    for cell in notebook.cells:
        if cell.number in loads:
            pieces.append(loads[cell.number])
        elif cell.kind is CellKind.CONNECTIONS and cell.body.strip():
            pieces.append(Piece(cell.kind, _connections_text(cell, folder), number=cell.number))
        elif (cell.kind is CellKind.CODE and keep_code) or (
            cell.kind is CellKind.TEXT and cell.source.strip()
        ):
            pieces.append(Piece(cell.kind, cell.source, number=cell.number))
    return tuple(pieces)


def _connections_text(cell: Cell, folder: Path) -> str:
    written = dict(settings_of(cell.body))
    made = {name: absolute(each, folder) for name, each in written.items()}
    return cell.body if made == written else to_yaml(made)


def _parameters_text(notebook: Notebook | None) -> str:
    cells = notebook.of(CellKind.PARAMETERS) if notebook is not None else ()
    return "\n".join(cell.source for cell in cells)


def _modules(names: list[str], folder: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The modules of transforms: those that lie beside the file, and the others."""
    found: list[Path] = []
    missing: list[str] = []
    for name in dict.fromkeys(names):
        path = folder / f"{name}.py"
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            _refuse(tuple(in_code(Cell(0, CellKind.CODE, text, body=text))), path.name)
            found.append(path)
        else:
            missing.append(name)
    return tuple(found), tuple(missing)
