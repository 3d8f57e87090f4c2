"""cron and systemd: a script that runs the job, a line for a crontab, a service and its timer."""

from __future__ import annotations

from hwm_magics.jobs.export.artefact import Artefact, File
from hwm_magics.jobs.export.common import job_files, notes, secret_variables
from hwm_magics.jobs.export.job import Job, Options
from hwm_magics.jobs.export.rendering import render
from hwm_magics.jobs.export.schedule import read_schedule

__all__ = ["export"]


def export(job: Job, options: Options) -> Artefact:
    """Both ways to run it on this machine; its own folder stands in them."""
    schedule = read_schedule(options.schedule, options.timezone)
    name, files = job_files(job, options)
    script = str(options.folder / f"{job.name}.sh")
    values = {
        "name": job.name,
        "title": f"The loads of {job.file.name}",
        "needed": secret_variables(job),
        "schedule": schedule,
        "file": name,
        "script": script,
        "quoted": _systemd_word(script),
        "params": list(job.scalars.items()),
    }
    made = [File(f"{job.name}.sh", render("job.sh.j2", **values), executable=True)]
    made += [
        File(f"{job.name}.{kind}", render(f"job.{kind}.j2", **values))
        for kind in ("crontab", "service", "timer")
    ]
    told = (
        f"with cron: crontab -l | cat - {options.folder / f'{job.name}.crontab'} | crontab -",
        (
            f"or with systemd: systemctl link {options.folder / f'{job.name}.service'}, then "
            f"systemctl enable --now {options.folder / f'{job.name}.timer'}"
        ),
    )
    return Artefact((*made, *files), (*notes(job, elsewhere=False), *told))


def _systemd_word(text: str) -> str:
    """A path as one word of a unit file."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return (
        f'"{escaped}"' if escaped != text or any(letter.isspace() for letter in text) or "'" in text else text
    )
