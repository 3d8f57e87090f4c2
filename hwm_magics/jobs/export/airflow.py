"""Airflow: a DAG file with one task a load, or one for the whole notebook where its code has to run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hwm_magics.jobs.export.artefact import Artefact, File
from hwm_magics.jobs.export.common import job_files, notes, secret_variables
from hwm_magics.jobs.export.job import Job, Options, slug
from hwm_magics.jobs.export.rendering import render
from hwm_magics.jobs.export.schedule import read_schedule

__all__ = ["export"]


@dataclass(frozen=True, slots=True)
class _Task:
    id: str
    variable: str
    nodes: list[str]
    after: tuple[str, ...]


def export(job: Job, options: Options) -> Artefact:
    """The DAG file, beside what its tasks run."""
    name, files = job_files(job, options)
    extras = ("jobs",) if job.notebook else ()
    text = render(
        "airflow_dag.py.j2",
        name=job.name,
        title=f"The loads of {job.file.name}",
        needed=secret_variables(job),
        file=name,
        requirements=list(job.requirements(options.package, *extras)),
        schedule=read_schedule(options.schedule, options.timezone),
        params=[(each, value, _kind(value)) for each, value in job.params.items() if each in job.scalars],
        tasks=_tasks(job),
    )
    return Artefact((File(f"{job.name}_dag.py", text), *files), notes(job, elsewhere=True))


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "string"


def _tasks(job: Job) -> list[_Task]:
    if not job.parallel:
        return [_Task("load", "load_all", [], ())]
    variables: dict[str, str] = {}
    for node in job.nodes:
        variable = f"load_{slug(node.name)}"
        while variable in variables.values():
            variable += "_"
        variables[node.name] = variable
    return [
        _Task(
            re.sub(r"[^\w.\-]", "_", node.name, flags=re.ASCII),
            variables[node.name],
            [node.name],
            tuple(variables[before] for before in node.depends_on),
        )
        for node in job.nodes
    ]
