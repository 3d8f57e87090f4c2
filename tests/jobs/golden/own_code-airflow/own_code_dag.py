"""The loads of own_code.ipynb, as an Airflow DAG: one task a load, each `hwm run`.

Written by `hwm export` of hwm-magics VERSION. The files beside this one belong to it: put the folder into
Airflow's DAG folder as it is. Each task runs in an environment of its own: HWM_PYTHON names an interpreter that
has requirements.txt installed; without it workers make such environments (HWM_VENV_CACHE keeps them).
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pendulum
from airflow.sdk import DAG, Param, task

FILE = Path(__file__).resolve().parent / "own_code.ipynb"
REQUIREMENTS = ["hwm-magics[jobs]==VERSION"]
PYTHON = os.environ.get("HWM_PYTHON", "")


def load(file: str, nodes: list, values: dict) -> None:
    """Run the loads as a process; its exit code is the task's."""
    import subprocess
    import sys

    command = [sys.executable, "-m", "hwm_magics.cli", "run", file]
    for node in nodes:
        command += ["--node", node]
    for name, value in values.items():
        command += ["-p", f"{name}={value}"]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise SystemExit(code)


# Airflow ships the function above as text, so its decorator stands here and not on it.
isolated = (
    task.external_python(python=PYTHON, expect_airflow=False)
    if PYTHON
    else task.virtualenv(
        requirements=REQUIREMENTS,
        system_site_packages=False,
        venv_cache_path=os.environ.get("HWM_VENV_CACHE"),
    )
)
load_isolated = isolated(load)

with DAG(
    dag_id="own_code",
    description="The loads of own_code.ipynb",
    schedule="0 6 * * *",
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    # A load that was committed is recognised when it runs again: retries double nothing.
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5), "execution_timeout": timedelta(hours=6)},
    params={
        "first_id": Param("7", type="string"),
        "limit": Param(100, type="integer"),
    },
    tags=["hwm_magics"],
) as dag:
    VALUES = {
        "first_id": "{{ params[\"first_id\"] }}",
        "limit": "{{ params[\"limit\"] }}",
    }
    load_all = load_isolated.override(task_id="load")(file=str(FILE), nodes=[], values=VALUES)
