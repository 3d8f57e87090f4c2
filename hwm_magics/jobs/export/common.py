"""What all exports share: the file of the loads itself, connections, what to install, what to set."""

from __future__ import annotations

from hwm_magics.connections.secrets import secret_variable
from hwm_magics.jobs.export.artefact import File
from hwm_magics.jobs.export.job import Job, Options
from hwm_magics.jobs.export.rendering import render
from hwm_magics.jobs.export.yaml_text import to_yaml

__all__ = ["job_files", "module_files", "needed", "notes", "requirements_file", "secret_variables"]


def needed(job: Job) -> tuple[str, ...]:
    """The environment variables and secrets that the job reads."""
    return (*job.environment, *(f"the secret {each}" for each in job.secrets))


def secret_variables(job: Job) -> tuple[str, ...]:
    """The environment variables that give the job all its credentials, secrets included."""
    told = (each.partition("/") for each in job.secrets)
    return tuple(dict.fromkeys((*job.environment, *(secret_variable(scope, key) for scope, _, key in told))))


def requirements_file(job: Job, options: Options, *extras: str, folder: str = "") -> File:
    """``requirements.txt``."""
    text = render(
        "requirements.txt.j2", name=job.name, requirements=job.requirements(options.package, *extras)
    )
    return File(f"{folder}requirements.txt", text)


def module_files(job: Job, folder: str = "") -> tuple[File, ...]:
    """The Python files that its transforms come from."""
    return tuple(File(f"{folder}{path.name}", path.read_text(encoding="utf-8")) for path in job.modules)


def job_files(job: Job, options: Options, folder: str = "") -> tuple[str, tuple[File, ...]]:
    """What ``hwm run`` runs: the notebook, or the YAML with its connections.

    Returns:
        The name of the file to run, and the files, with what to install.
    """
    from hwm_magics.jobs.export.notebook import notebook_text

    if job.notebook:
        name = f"{job.name}.ipynb"
        return name, (
            File(f"{folder}{name}", notebook_text(job, run="hwm")),
            requirements_file(job, options, "jobs", folder=folder),
            *module_files(job, folder),
        )
    name = f"{job.name}.yaml"
    text = job.pieces[0].text
    files = [File(f"{folder}{name}", text if text.endswith("\n") else f"{text}\n")]
    if job.connections:
        files.append(File(f"{folder}hwm.yaml", to_yaml({"connections": dict(job.connections)})))
    return name, (*files, requirements_file(job, options, folder=folder), *module_files(job, folder))


def notes(job: Job, *, elsewhere: bool) -> tuple[str, ...]:
    """What whoever runs it should know.

    Args:
        job: The job.
        elsewhere: Whether it runs on another machine than this.
    """
    told = list(job.notes)
    if job.reasons:
        told.append(f"the notebook's own code runs with it: {job.reasons[0]}")
    if job.local and elsewhere:
        told.append(
            f"on this machine's disks, and not where it will run: {', '.join(job.local)}; give "
            "them places that it can reach"
        )
    if needed(job):
        told.append(f"the environment must give: {', '.join(needed(job))}")
    return tuple(told)
