"""Every export is taken by what it is for, and where that runs here it loads, once."""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fakes import notebooks
from fakes.notebooks import CONNECTIONS, LOAD_EXT, tagged
from fakes.shop import Project
from servers import missing

from hwm_magics.jobs.export.targets import export

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PATIENCE = 120
SECRET = "hunter2-Tr0ub4dor"
DAILY = """\
pipeline: daily
params: {upto: "2024-06-02 23:59", most: 100}
nodes:
  - name: first
    read:
      connection: shop
      query: SELECT * FROM orders WHERE updated_at <= ${upto} AND id < ${most}
      incremental: {column: updated_at}
    write: {connection: lake, path: raw/first, mode: upsert, keys: [id]}
  - name: second
    depends_on: [first]
    read: {connection: shop, table: orders, incremental: {column: updated_at}}
    write: {connection: lake, path: raw/second}
"""
LOAD = """\
%%hwm_load job --ask
name: load_orders
read:
  connection: shop
  query: SELECT * FROM orders WHERE id <= ${most}
  incremental: {column: updated_at}
write: {connection: lake, path: raw/orders, mode: upsert, keys: [id]}"""
OWN_CODE = [
    LOAD_EXT,
    tagged("most = 1"),
    "import sqlite3\nsource = sqlite3.connect('shop.db')\n\n\ndef clean(frame):\n    return frame[frame.id > 1]",
    CONNECTIONS,
    LOAD.replace("connection: shop", "connection: source").replace("read:\n", "transform: clean\nread:\n", 1),
    "print('written:', job.result.rows_written)",
]


@pytest.fixture
def shop(tmp_path, monkeypatch) -> Project:
    monkeypatch.delenv("HWM_MAGICS_CONFIG", raising=False)
    project = Project(tmp_path)
    project.file(DAILY, "daily.yaml")
    notebooks.write(
        tmp_path / "orders.ipynb", LOAD_EXT, tagged("most = 1"), "raise SystemExit", CONNECTIONS, LOAD
    )
    notebooks.write(tmp_path / "own_code.ipynb", *OWN_CODE)
    return project


def made(shop: Project, file: str, target: str, **options) -> Path:
    """The artefact's folder; away from the project, so that nothing is found by being near."""
    out = shop.folder.parent / f"{shop.folder.name}-out" / target
    export(shop.folder / file, {}, target=target, out=out, **options)
    return out


def run(*command: str | Path, cwd: Path, code: int = 0, **more: str) -> str:
    """What a command prints; it must end with `code`."""
    command_folder = cwd / ".bin"
    command_folder.mkdir(exist_ok=True)
    hwm = command_folder / "hwm"
    hwm.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hwm_magics.cli "$@"\n')
    hwm.chmod(0o755)
    path = os.pathsep.join([str(command_folder), os.environ["PATH"]])
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, **more},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_papermill_runs_the_clean_notebook_with_its_params_and_a_second_run_doubles_nothing(shop):
    import papermill

    out = made(shop, "orders.ipynb", "ipynb")
    for most, ids in ((2, [1, 2]), (9, [1, 2, 3])):
        papermill.execute_notebook(
            str(out / "orders.ipynb"),
            str(out / "ran.ipynb"),
            {"most": most},
            progress_bar=False,
            cwd=str(out),
        )
        assert shop.ids() == ids
    assert "--run" in (out / "ran.ipynb").read_text()


def test_papermill_runs_a_notebook_whose_loads_need_its_code(shop):
    import papermill

    out = made(shop, "own_code.ipynb", "ipynb")
    # Its code opens shop.db by a relative path: that is the notebook's own affair.
    papermill.execute_notebook(
        str(out / "own_code.ipynb"),
        str(out / "ran.ipynb"),
        {"most": 3},
        progress_bar=False,
        cwd=str(shop.folder),
    )
    assert shop.ids() == [2, 3]
    assert "written: 2" in (out / "ran.ipynb").read_text()


def test_the_script_loads_with_its_params_and_says_what_it_did(shop):
    out = made(shop, "daily.yaml", "py")
    py_compile.compile(str(out / "daily.py"), doraise=True)
    run(sys.executable, "daily.py", "--dry-run", cwd=out)
    assert shop.ids("raw/first") == []
    run(sys.executable, "daily.py", cwd=out)
    assert shop.ids("raw/first") == [1, 2]
    assert "first: SUCCEEDED, 1 row written" in run(
        sys.executable, "daily.py", "-p", "upto=2024-07-01", "--param", "most=50", cwd=out
    )
    assert shop.ids("raw/first") == shop.ids("raw/second") == [1, 2, 3]
    assert "is no param" in run(sys.executable, "daily.py", "-p", "uptoo=1", cwd=out, code=2)
    assert "of another type" in run(sys.executable, "daily.py", "-p", "most=many", cwd=out, code=2)


def test_the_script_carries_the_notebooks_code(shop):
    out = made(shop, "own_code.ipynb", "py")
    said = run(sys.executable, out / "own_code.py", "-p", "most=3", cwd=shop.folder)
    assert shop.ids() == [2, 3]
    assert "written: 2" in said


def test_the_script_ends_with_the_code_of_its_error_and_shows_no_secret(shop):
    (shop.folder / "hwm.yaml").write_text(
        "connections:\n  shop: {type: postgres, host: 127.0.0.1, port: 1, database: d, username: u, "
        'password: "${env:SHOP_PASSWORD}"}\n  lake: {type: local, root: ./lake}\n'
    )
    out = made(shop, "daily.yaml", "py")
    said = run(sys.executable, "daily.py", cwd=out, code=4, SHOP_PASSWORD=SECRET)
    assert "SourceConnectionError" in said
    assert SECRET not in said


def test_the_crontab_names_the_script_and_the_script_loads(shop):
    out = made(shop, "daily.yaml", "cron", schedule="*/15 6-20 * * mon-fri", timezone="Europe/Berlin")
    script = out / "daily.sh"
    assert script.stat().st_mode & stat.S_IXUSR
    run("sh", "-n", script, cwd=out)
    (out / "daily.env").write_text("HWM_TOLD='2024'\n")
    assert "raw/first" in run(script, "--dry-run", cwd=shop.folder)
    run(script, cwd=shop.folder)
    assert shop.ids("raw/first") == [1, 2]
    *_, line = (out / "daily.crontab").read_text().splitlines()
    assert line == f"*/15 6-20 * * mon-fri {script}"


def test_systemd_takes_the_units_and_their_calendar(shop):
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze")
    out = made(shop, "daily.yaml", "cron", schedule="*/15 6-20 * * mon-fri", timezone="Europe/Berlin")
    run("systemd-analyze", "verify", out / "daily.service", out / "daily.timer", cwd=out)
    calendar = next(each for each in (out / "daily.timer").read_text().splitlines() if "OnCalendar" in each)
    run("systemd-analyze", "calendar", calendar.partition("=")[2], cwd=out)


def test_github_takes_the_workflow_and_its_command_loads(shop):
    out = made(shop, "daily.yaml", "github-actions")
    workflow = out / ".github" / "workflows" / "daily.yml"
    run(
        sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", workflow, cwd=out
    )  # fmt: skip
    step = yaml.safe_load(workflow.read_text())["jobs"]["load"]["steps"][-1]
    assert step["env"]["PARAM_upto"] == "${{ inputs.upto || '2024-06-02 23:59' }}"
    # What a person types into the form is a value, whatever it holds.
    hostile = '2024-06-01 12:00:00"; touch hacked; "$(touch hacked)'
    run("sh", "-ec", step["run"], cwd=out, PARAM_upto=hostile, PARAM_most="100")
    assert not (out / "hacked").exists()
    run("sh", "-ec", step["run"], cwd=out, PARAM_upto="2024-06-01 23:59", PARAM_most="100")
    assert shop.ids("raw/first") == [1]


@pytest.mark.parametrize(
    ("file", "task"), [("daily.yaml", "notebook"), ("daily.yaml", "wheel"), ("own_code.ipynb", "notebook")]
)
def test_databricks_own_package_takes_the_job(shop, file, task):
    from databricks.bundles.jobs import Job

    out = made(shop, file, "databricks", task=task)
    bundle = yaml.safe_load((out / "databricks.yml").read_text())
    (name,) = bundle["resources"]["jobs"]
    # It refuses what it does not know, at any depth.
    for settings in (bundle["resources"]["jobs"][name], json.loads((out / "job.json").read_text())):
        job = Job.from_dict(settings)
        assert job.schedule.quartz_cron_expression == "0 0 6 * * ?"
        assert job.tasks[0].job_cluster_key == job.job_clusters[0].job_cluster_key


def test_a_wheels_task_loads_with_the_jobs_parameters_and_returns(shop):
    out = made(shop, "daily.yaml", "databricks", task="wheel")
    task = json.loads((out / "job.json").read_text())["tasks"][0]["python_wheel_task"]
    words = [word.replace("{{job.parameters.upto}}", "2024-06-01 23:59") for word in task["parameters"]]
    words = [word.replace("{{job.parameters.most}}", "100") for word in words]
    words = [str(out / "daily.yaml") if word.endswith("/daily.yaml") else word for word in words]
    name = task["package_name"]
    call = f"import sys, {name}; sys.argv[1:] = {words!r}; {name}.{task['entry_point']}(); print('returned')"
    assert "returned" in run(sys.executable, "-c", call, cwd=out)
    assert shop.ids("raw/first") == [1]


def test_the_notebook_for_databricks_takes_its_params_from_widgets(shop):
    """The cell alone, with what dbutils promises: there is no workspace here."""
    out = made(shop, "daily.yaml", "databricks")
    cells = ["".join(cell["source"]) for cell in json.loads((out / "daily.ipynb").read_text())["cells"]]
    given = {"upto": "2025", "most": "7"}

    class Widgets:
        text = staticmethod(given.setdefault)
        get = staticmethod(given.__getitem__)

    names = {"dbutils": type("dbutils", (), {"widgets": Widgets})}
    exec("\n".join(cells[1:3]), names)
    assert (names["upto"], names["most"]) == ("2025", 7)


def airflow_python() -> Path:
    """The Python of Airflow's own environment."""
    found = Path(os.environ.get("HWM_AIRFLOW_PYTHON") or ROOT / ".venv-airflow" / "bin" / "python")
    if not found.exists():
        missing("Airflow")
    return found


def test_airflow_reads_the_dags_and_their_order(shop, tmp_path):
    python = airflow_python()
    folder = made(shop, "daily.yaml", "airflow").parent
    export(shop.folder / "own_code.ipynb", {}, target="airflow", out=folder / "own_code")
    read = """
import json, sys
from airflow.dag_processing.dagbag import DagBag

bag = DagBag(sys.argv[1])
dags = {
    name: {
        "tasks": {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks},
        "params": dag.params.dump(),
        "retries": [task.retries for task in dag.tasks],
        "schedule": dag.schedule,
        "kinds": sorted({type(task).__name__ for task in dag.tasks}),
    }
    for name, dag in bag.dags.items()
}
print(json.dumps({"errors": bag.import_errors, "dags": dags}))
"""
    home = tmp_path / "airflow"
    found = run(
        python,
        "-c",
        read,
        folder,
        cwd=tmp_path,
        PYTHONPATH="",
        AIRFLOW_HOME=str(home),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
    )
    told = json.loads(next(line for line in found.splitlines() if line.startswith('{"errors"')))
    assert told["errors"] == {}
    daily = told["dags"]["daily"]
    assert daily["tasks"] == {"first": ["second"], "second": []}
    assert daily["params"] == {"upto": "2024-06-02 23:59", "most": 100}
    assert (daily["retries"], daily["schedule"]) == ([2, 2], "0 6 * * *")
    assert daily["kinds"] == ["_PythonVirtualenvDecoratedOperator"]
    # Where the notebook's code has to run, it runs once and as a whole.
    assert told["dags"]["own_code"]["tasks"] == {"load": []}


def test_hwm_run_takes_the_clean_notebook(shop):
    out = made(shop, "orders.ipynb", "cron")
    run(out / "orders.sh", "-p", "most=2", cwd=shop.folder)
    assert shop.ids() == [1, 2]
