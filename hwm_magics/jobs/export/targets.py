"""The one call that exports: reads the file, asks the target's module, writes what it gives."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hwm_magics.connections.words import did_you_mean
from hwm_magics.core.cursor import Scalar
from hwm_magics.errors import ConfigError
from hwm_magics.jobs.export import TARGETS
from hwm_magics.jobs.export.artefact import Artefact, write
from hwm_magics.jobs.export.job import Options
from hwm_magics.jobs.export.reading import read_job

__all__ = ["export"]

_MODULES = {"ipynb": "notebook", "py": "script", "github-actions": "github_actions"}


def export(
    file: Path,
    params: Mapping[str, Scalar],
    *,
    target: str,
    out: Path | None = None,
    schedule: str = "0 6 * * *",
    timezone: str = "UTC",
    package: str = "",
    task: str = "notebook",
    overwrite: bool = False,
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Export the loads of a file.

    Args:
        file: A notebook or a YAML file.
        params: Values for ``${name}``, which become the artefact's defaults.
        target: One of :data:`TARGETS`.
        out: The artefact's folder; default: ``NAME-TARGET`` beside the file.
        schedule: When it runs, as cron says it.
        timezone: The IANA zone of the schedule.
        package: What pip installs for this package; "" for this version of it.
        task: Databricks' kind of task: ``notebook`` or ``wheel``.
        overwrite: Whether files that are there and differ may be replaced.

    Returns:
        The files that were written, the main one first, and what whoever runs them should know.

    Raises:
        ConfigError: The file can't be understood, or must not be exported as it is.
    """
    if target not in TARGETS:
        raise ConfigError(
            f"--to {target!r} is unknown{did_you_mean(target, TARGETS)}", hint=f"one of {', '.join(TARGETS)}"
        )
    options = Options(params, schedule, timezone, package, task)
    job = read_job(file, options)
    folder = (out if out is not None else file.absolute().parent / f"{job.name}-{target}").absolute()
    module = importlib.import_module(f"hwm_magics.jobs.export.{_MODULES.get(target, target)}")
    artefact: Artefact = module.export(job, replace(options, folder=folder))
    return write(artefact, folder, overwrite=overwrite), artefact.notes
