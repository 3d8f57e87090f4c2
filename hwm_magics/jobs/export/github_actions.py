"""GitHub Actions: a workflow with a schedule and a button, laid out as a repository has it."""

from __future__ import annotations

from hwm_magics.errors import ConfigError
from hwm_magics.jobs.export.artefact import Artefact, File
from hwm_magics.jobs.export.common import job_files, notes, secret_variables
from hwm_magics.jobs.export.job import Job, Options
from hwm_magics.jobs.export.rendering import render
from hwm_magics.jobs.export.schedule import read_schedule

__all__ = ["export"]


def export(job: Job, options: Options) -> Artefact:
    """The workflow, and the folder of what it runs.

    Raises:
        ConfigError: The schedule is meant in another zone than GitHub's.
    """
    schedule = read_schedule(options.schedule, options.timezone)
    if schedule.timezone.upper() not in ("UTC", "ETC/UTC"):
        raise ConfigError(
            f"GitHub runs schedules in UTC, and --timezone says {schedule.timezone}",
            hint="leave it away, and give --schedule in UTC",
        )
    foreign = [name for name in job.scalars if not name.isascii()]
    if foreign:
        raise ConfigError(
            f"GitHub takes no input named {foreign[0]!r}", hint="give the param a name of ASCII letters"
        )
    folder = f"jobs/{job.name}"
    name, files = job_files(job, options, f"{folder}/")
    variables = secret_variables(job)
    told = [f"Repository secrets that it needs: {', '.join(variables)}."] if variables else []
    text = render(
        "github_workflow.yml.j2",
        name=job.name,
        title=f"The loads of {job.file.name}",
        notes=told,
        schedule=schedule,
        params=list(job.scalars.items()),
        secrets=variables,
        folder=folder,
        file=name,
    )
    workflow = File(f".github/workflows/{job.name}.yml", text)
    return Artefact(
        (workflow, *files), (*notes(job, elsewhere=True), "copy the folder into the repository's root")
    )
