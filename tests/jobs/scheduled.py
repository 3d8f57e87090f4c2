"""Has Jupyter Scheduler run notebooks, as its dialog in JupyterLab does, and prints what came of them as JSON.

Run by the Python of Jupyter Scheduler's own environment. Its argument is JSON: `root`, the folder that the server
shows; `jobs`, notebooks in it with their parameters; and `home`, for its database and its copies.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from jupyter_scheduler.environments import StaticEnvironmentManager
from jupyter_scheduler.models import CreateJob, Status
from jupyter_scheduler.orm import create_tables
from jupyter_scheduler.scheduler import Scheduler

PATIENCE = 120


def main() -> None:
    """Run it."""
    order = json.loads(sys.argv[1])
    home = Path(order["home"])
    database = f"sqlite:///{home / 'scheduler.sqlite'}"
    create_tables(database)
    scheduler = Scheduler(
        order["root"], StaticEnvironmentManager(), database, staging_path=str(home / "staging")
    )
    jobs = [
        scheduler.create_job(
            CreateJob(
                name=notebook,
                input_uri=notebook,
                runtime_environment_name="",
                output_formats=["ipynb"],
                parameters=parameters,
                package_input_folder=True,
            )
        )
        for notebook, parameters in order["jobs"].items()
    ]
    print(json.dumps([ended(scheduler, job_id) for job_id in jobs]))


def ended(scheduler: Scheduler, job_id: str) -> dict[str, object]:
    """How a job ended."""
    end = time.monotonic() + PATIENCE
    while (job := scheduler.get_job(job_id, job_files=False)).status not in (Status.COMPLETED, Status.FAILED):
        assert time.monotonic() < end, job
        time.sleep(0.1)
    # Its name holds a time, which differs between a job that was made and one that began.
    files = Path(scheduler.get_staging_paths(job)["input"]).parent.glob("*-*.ipynb")
    made = [file.read_text() for file in files]
    return {"status": job.status.value, "message": job.status_message, "notebooks": made}


if __name__ == "__main__":
    main()
