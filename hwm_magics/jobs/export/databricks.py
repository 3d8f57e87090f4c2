"""Databricks: a bundle and the same job as JSON for the Jobs API, with a notebook's task or a wheel's."""

from __future__ import annotations

import json
from typing import Any

from hwm_magics.connections.secrets import secret_variable
from hwm_magics.errors import ConfigError
from hwm_magics.jobs.export.artefact import Artefact, File
from hwm_magics.jobs.export.common import job_files, module_files, notes, requirements_file
from hwm_magics.jobs.export.job import Job, Options
from hwm_magics.jobs.export.notebook import notebook_text
from hwm_magics.jobs.export.schedule import read_schedule
from hwm_magics.jobs.export.yaml_text import to_yaml
from hwm_magics.version import __version__

__all__ = ["TASKS", "export"]

TASKS = ("notebook", "wheel")
_RUNTIME = "16.4.x-scala2.12"
_NODE_TYPE = "Standard_D4ds_v5"
_TIMEOUT = 6 * 60 * 60
_HEADER = f"""\
# Written by `hwm export` of hwm-magics {__version__}. Deploy it with: databricks bundle deploy --target prod
# job.json is the same job for: databricks jobs create --json @job.json (it expects the files in the workspace folder
# that it names).
"""


def export(job: Job, options: Options) -> Artefact:
    """The bundle, the job's JSON, and what the task runs.

    Raises:
        ConfigError: A wheel's task is asked for where the notebook's code has to run.
    """
    if options.task not in TASKS:
        raise ConfigError(f"--task {options.task!r} is unknown", hint=f"one of {', '.join(TASKS)}")
    if options.task == "wheel" and job.reasons:
        raise ConfigError(
            f"a wheel's task has no kernel, and the notebook needs one: {job.reasons[0]}",
            hint="--task notebook",
        )
    files: tuple[File, ...]
    if options.task == "notebook":
        name = f"{job.name}.ipynb"
        notebook = File(name, notebook_text(job, run="databricks", widgets=True))
        files = (notebook, requirements_file(job, options), *module_files(job))
    else:
        name, files = job_files(job, options)
    bundle = _bundle(job, options, name)
    folder = f"/Workspace/Shared/{job.name}"
    settings = _settings(job, options, f"{folder}/{name}", _RUNTIME, _NODE_TYPE)
    made = (
        File("databricks.yml", _HEADER + to_yaml(bundle)),
        File("job.json", json.dumps(settings, indent=2, ensure_ascii=False) + "\n"),
    )
    told = ["node_type_id and spark_version are variables of the bundle: see that your workspace has them"]
    if job.environment:
        told.append(f"each of {', '.join(job.environment)} is read from the secret scope {job.name}")
    return Artefact((*made, *files), (*notes(job, elsewhere=True), *told))


def _bundle(job: Job, options: Options, name: str) -> dict[str, Any]:
    path = f"./{name}" if options.task == "notebook" else "${workspace.file_path}/" + name
    return {
        "bundle": {"name": job.name},
        "variables": {
            "spark_version": {"description": "The runtime of the job's cluster.", "default": _RUNTIME},
            "node_type_id": {"description": "The machine of the job's cluster.", "default": _NODE_TYPE},
        },
        "targets": {
            "dev": {"mode": "development", "default": True},
            "prod": {
                "mode": "production",
                "workspace": {"root_path": f"/Workspace/Shared/.bundle/{job.name}"},
            },
        },
        "resources": {
            "jobs": {job.name: _settings(job, options, path, "${var.spark_version}", "${var.node_type_id}")}
        },
    }


def _settings(job: Job, options: Options, path: str, runtime: str, node_type: str) -> dict[str, Any]:
    """The job as the Jobs API takes it."""
    schedule = read_schedule(options.schedule, options.timezone)
    settings: dict[str, Any] = {
        "name": job.name,
        "description": f"The loads of {job.file.name}",
        "max_concurrent_runs": 1,
        "timeout_seconds": _TIMEOUT,
        "schedule": {
            "quartz_cron_expression": schedule.quartz,
            "timezone_id": schedule.timezone,
            "pause_status": "UNPAUSED",
        },
    }
    if job.scalars:
        settings["parameters"] = [{"name": name, "default": value} for name, value in job.scalars.items()]
    settings["tasks"] = [
        {
            "task_key": "load",
            # A load that was committed is recognised when it runs again: retries double nothing.
            "max_retries": 2,
            "min_retry_interval_millis": 300_000,
            "job_cluster_key": "load",
            "libraries": [_library(each) for each in _requirements(job, options)],
            **_task(job, options, path),
        }
    ]
    settings["job_clusters"] = [{"job_cluster_key": "load", "new_cluster": _cluster(job, runtime, node_type)}]
    return settings


def _task(job: Job, options: Options, path: str) -> dict[str, Any]:
    if options.task == "notebook":
        given = {name: f"{{{{job.parameters.{name}}}}}" for name in job.scalars}
        return {"notebook_task": {"notebook_path": path, **({"base_parameters": given} if given else {})}}
    words = ["run", path]
    for name in job.scalars:
        words += ["-p", f"{name}={{{{job.parameters.{name}}}}}"]
    # Not the console command: an exit code of 0 is an exception too, and here any is a failure.
    return {"python_wheel_task": {"package_name": "hwm_magics", "entry_point": "task", "parameters": words}}


def _requirements(job: Job, options: Options) -> tuple[str, ...]:
    """What the cluster installs; Spark and a store of secrets it has."""
    there = {"spark", "keyring"}
    if options.package:
        return job.requirements(options.package)
    extras = sorted(
        (set(job.extras) | ({"jobs"} if options.task == "wheel" and job.notebook else set())) - there
    )
    mine = f"hwm-magics{'[' + ','.join(extras) + ']' if extras else ''}=={__version__}"
    return (mine, *(need.package for need in job.packages))


def _library(requirement: str) -> dict[str, Any]:
    if requirement.endswith(".whl"):
        return {"whl": requirement}
    return {"pypi": {"package": requirement}}


def _cluster(job: Job, runtime: str, node_type: str) -> dict[str, Any]:
    cluster: dict[str, Any] = {
        "spark_version": runtime,
        "node_type_id": node_type,
        "data_security_mode": "SINGLE_USER",
    }
    if "spark" in job.extras:
        cluster["num_workers"] = 2
    else:
        cluster |= {
            "num_workers": 0,
            "spark_conf": {"spark.databricks.cluster.profile": "singleNode", "spark.master": "local[*, 4]"},
            "custom_tags": {"ResourceClass": "SingleNode"},
        }
    variables = {name: f"{{{{secrets/{job.name}/{name}}}}}" for name in job.environment}
    variables |= {
        secret_variable(scope, key): f"{{{{secrets/{scope}/{key}}}}}"
        for scope, _, key in (each.partition("/") for each in job.secrets)
    }
    if variables:
        cluster["spark_env_vars"] = variables
    return cluster
