"""The clean notebook: parameters first, connections inside, every load with its mode, no outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hwm_magics.jobs.export.artefact import Artefact, File
from hwm_magics.jobs.export.common import module_files, needed, notes, requirements_file
from hwm_magics.jobs.export.job import Job, Options
from hwm_magics.jobs.export.rendering import needs_jobs_extra, python_value
from hwm_magics.jobs.export.yaml_text import to_yaml
from hwm_magics.jobs.notebook_cells import CellKind
from hwm_magics.jobs.self_contained import literal_values
from hwm_magics.version import __version__

__all__ = ["export", "notebook_text"]

_TEXTS = {
    int: "int({})",
    float: "float({})",
    bool: '{}.lower() == "true"',
}


def export(job: Job, options: Options) -> Artefact:
    """The notebook alone, with what to install."""
    requirements = requirements_file(job, options, "jobs")
    notebook = File(f"{job.name}.ipynb", notebook_text(job, run="papermill"))
    return Artefact((notebook, requirements, *module_files(job)), notes(job, elsewhere=False))


def notebook_text(job: Job, *, run: str, widgets: bool = False) -> str:
    """The notebook's JSON.

    Args:
        job: The job.
        run: What runs it, for its first cell: ``papermill``, ``hwm`` or ``databricks``.
        widgets: Whether params come as Databricks' widgets.
    """
    cells = list(_cells(job, run=run, widgets=widgets))
    for number, cell in enumerate(cells, 1):
        cell["id"] = f"cell-{number:02}"
    found: dict[str, Any] = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "hwm_magics": {"version": __version__, "exported_from": job.file.name},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    with needs_jobs_extra("exporting a notebook"):
        import nbformat
    nbformat.validate(found)
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _cells(job: Job, *, run: str, widgets: bool) -> Iterator[dict[str, Any]]:
    yield _text(_header(job, run))
    if job.params or job.parameters:
        yield _code(_parameters(job), "parameters")
    if widgets and job.scalars:
        yield _code("\n".join(_widgets(job)))
    yield _code("%load_ext hwm_magics")
    if job.connections:
        yield _code(f"%%hwm_connections\n{to_yaml(job.connections).rstrip()}")
    for piece in job.pieces:
        source = piece.source.rstrip("\n")
        yield _text(source) if piece.kind is CellKind.TEXT else _code(source)


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": "", "metadata": {}, "source": source.splitlines(keepends=True)}


def _code(source: str, *tags: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": "",
        "metadata": {"tags": list(tags)} if tags else {},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }


def _header(job: Job, run: str) -> str:
    given = next(iter(job.scalars.items()), None)
    lines = [
        f"# {job.name}",
        "",
        (
            f"Written by `hwm export` of hwm-magics {__version__} from `{job.file.name}`. It asks nobody, and a "
            "load that fails fails its cell."
        ),
    ]
    if run == "papermill":
        example = f" -p {given[0]} {given[1]}" if given else ""
        lines += [
            "",
            f"`pip install -r requirements.txt`, then `papermill {job.name}.ipynb out.ipynb{example}`",
        ]
    if needed(job):
        lines += ["", f"The environment must give: {', '.join(f'`{each}`' for each in needed(job))}."]
    return "\n".join(lines)


def _parameters(job: Job) -> str:
    """The notebook's own cell where it says the same, and what else there is below it."""
    own = job.parameters.rstrip()
    said = literal_values(own)
    more = [
        f"{name} = {python_value(value)}"
        for name, value in job.params.items()
        if said.get(name, ...) != value
    ]
    return "\n".join(each for each in (own, *more) if each)


def _widgets(job: Job) -> Iterator[str]:
    yield "# On Databricks a job's parameters arrive as widgets."
    for name, default in job.scalars.items():
        got = f"dbutils.widgets.get({python_value(name)})"
        yield f"dbutils.widgets.text({python_value(name)}, {python_value(default)})"
        yield f"{name} = {_TEXTS.get(type(job.params[name]), '{}').format(got)}"
