"""The hwm command, as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.shop import ORDERS, PIPELINE, Project

SECRET = "hunter2-Tr0ub4dor"
PATIENCE = 60
CHECKOUT = Path(__file__).parents[2]


def environment(*folders: str, **more: str) -> dict[str, str]:
    """The environment of a process that finds the package, installed or not."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*folders, str(CHECKOUT)]), **more}


class Hwm(Project):
    """A project with a file that loads its orders, and the command run in its folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file(ORDERS)

    def __call__(self, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hwm_magics.cli", *words],
            cwd=self.folder,
            env=environment(**(env or {})),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


@pytest.fixture
def hwm(tmp_path) -> Hwm:
    return Hwm(tmp_path)


def test_help_lists_the_commands_and_imports_nothing_slow(hwm):
    done = hwm("--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0
    for command in ("plan", "run", "status", "history", "watermark", "export", "doctor"):
        assert command in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "click" in imported
    assert not imported & {
        "pandas",
        "pyarrow",
        "deltalake",
        "pyspark",
        "pydantic",
        "sqlglot",
        "yaml",
        "IPython",
    }


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands_and_options(hwm, shell):
    for words, expected in (("hwm rec", "reconcile"), ("hwm run --max", "--max-parallel")):
        # fish gives the word itself, the others its number.
        at = words.split()[-1] if shell == "fish" else str(words.count(" "))
        env = {"_HWM_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": at}
        assert expected in hwm(env=env).stdout


def test_version_is_the_packages(hwm):
    import hwm_magics

    assert hwm("--version").stdout.strip() == f"hwm {hwm_magics.__version__}"


@pytest.mark.parametrize("command", ["plan", "run", "status", "history", "watermark", "export", "doctor"])
def test_every_option_of_every_command_is_explained(command):
    import click

    from hwm_magics.cli import cli

    for each in cli.commands[command].params:
        assert isinstance(each, click.Argument) or each.help, each.name


def test_a_file_that_is_not_there_exits_with_2_and_says_so(hwm):
    done = hwm("run", "nothing.yaml")
    assert done.returncode == 2
    assert "nothing.yaml can't be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_named_like_a_notebook_and_is_none_is_refused(hwm):
    hwm.file("{}", "load.ipynb")
    done = hwm("run", "load.ipynb")
    assert done.returncode == 2
    assert "is no notebook" in done.stderr


def test_a_wrong_file_exits_with_2_and_names_the_line(hwm):
    hwm.file(ORDERS.replace("table:", "tabel:"))
    done = hwm("plan", "orders.yaml")
    assert done.returncode == 2
    assert "line 4" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--node", "load_order"), "did you mean 'load_orders'?"),
        (("-p", "since"), "is not NAME=VALUE"),
        (("-p", "since=1"), "no param 'since'"),
        (("--backfill", "2024"), "is not LOW..HIGH"),
        (("--engine", "panda"), "did you mean 'pandas'?"),
    ],
)
def test_wrong_options_exit_with_2_and_say_what_to_write(hwm, words, told):
    done = hwm("run", "orders.yaml", *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert hwm.ids() == []


def test_a_watermark_needs_to_be_told_what_to_do(hwm):
    assert hwm("watermark", "orders.yaml").returncode == 2


@pytest.mark.slow
def test_plan_tells_by_its_exit_code_whether_there_is_something_to_load(hwm):
    assert hwm("plan", "orders.yaml", "--detailed-exitcode").returncode == 2
    done = hwm("plan", "orders.yaml")
    assert done.returncode == 0
    assert "FIRST RUN" in done.stdout
    assert hwm.ids() == []
    hwm("run", "orders.yaml")
    again = hwm("plan", "orders.yaml", "--detailed-exitcode")
    assert again.returncode == 0
    assert "Nothing lies above the watermark" in again.stdout
    hwm.file(ORDERS.replace("updated_at}", "updated_at, lag: 0s, boundary: exclusive}"))
    assert hwm("plan", "orders.yaml", "--detailed-exitcode").returncode == 0
    hwm.file(ORDERS.replace("table: orders", "table: oders"))
    assert hwm("plan", "orders.yaml", "--detailed-exitcode").returncode == 1
    assert hwm("plan", "orders.yaml").returncode == 4


@pytest.mark.slow
def test_run_loads_and_tells_plan_and_receipt(hwm):
    done = hwm("run", "orders.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("FIRST RUN · load_orders")
    assert "3 rows written" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert hwm.ids() == [1, 2, 3]
    hwm.add(4)
    assert "1 row written" in hwm("run", "orders.yaml").stdout
    assert hwm("run", "orders.yaml", "--quiet").stdout == ""
    assert hwm.ids() == [1, 2, 3, 4]


@pytest.mark.slow
def test_json_is_json_for_every_command(hwm):
    plan = json.loads(hwm("plan", "orders.yaml", "--json").stdout)
    assert plan["nodes"][0]["decision"] == "FIRST RUN"
    run = json.loads(hwm("run", "orders.yaml", "--json").stdout)
    assert run["status"] == "SUCCEEDED"
    assert run["nodes"][0]["result"]["rows"]["written"] == 3
    assert json.loads(hwm("status", "orders.yaml", "--json").stdout)["nodes"][0]["existence"] == "exists"
    history = json.loads(hwm("history", "orders.yaml", "--json").stdout)["loads"]
    assert history[0]["node"] == "load_orders"
    mark = json.loads(hwm("watermark", "orders.yaml", "--adopt", "--json").stdout)
    assert mark["watermark"] == "2024-06-03 12:00:00"


@pytest.mark.slow
def test_status_history_and_watermark_are_tables_of_text(hwm):
    hwm("run", "orders.yaml")
    assert "2024-06-03 12:00:00" in hwm("status", "orders.yaml").stdout
    assert "first_run" in hwm("history", "orders.yaml").stdout
    done = hwm("watermark", "orders.yaml", "--set", "2024-06-01")
    assert "the watermark is now updated_at = 2024-06-01" in done.stdout
    assert "next: INCREMENTAL" in done.stdout
    done = hwm("watermark", "orders.yaml", "--set", "2204-06-01")
    assert "next: BLOCKED" in done.stdout
    assert "above everything that the source has" in done.stdout


@pytest.mark.slow
def test_hints_name_what_is_typed_in_a_shell(hwm):
    hwm("run", "orders.yaml")
    hwm.file(ORDERS.replace("updated_at", "id"))
    for command in ("plan", "run"):
        done = hwm(command, "orders.yaml")
        assert done.returncode == 3
        assert "run hwm watermark orders.yaml --adopt" in done.stdout + done.stderr
        assert "%hwm" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_node_that_cannot_be_planned_hides_none_of_the_others(hwm):
    hwm.file(PIPELINE.replace("table: orders,", "table: oders,", 1))
    done = hwm("plan", "orders.yaml", "--json")
    assert done.returncode == 4
    told = {each["node"]: each for each in json.loads(done.stdout)["nodes"]}
    assert told["second"]["error"]["class"] == "QueryError"
    assert told["first"]["decision"] == "FIRST RUN"
    done = hwm("plan", "orders.yaml")
    assert "FIRST RUN · first" in done.stdout
    assert "second: not planned" in done.stderr


@pytest.mark.slow
def test_a_pipeline_runs_in_order_and_goes_on_past_a_failure(hwm):
    hwm.file(PIPELINE)
    done = hwm("run", "orders.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("first · ") < done.stdout.index("second · ")
    hwm.file(PIPELINE.replace("raw/first", "raw/third").replace("table: orders,", "table: oders,", 2))
    done = hwm("run", "orders.yaml")
    assert done.returncode == 4
    assert "first: FAILED" in done.stderr
    assert "second was not started" in done.stderr
    assert "0 of 2 loads succeeded" in done.stdout
    done = hwm("run", "orders.yaml", "--node", "second")
    assert "second: FAILED" in done.stderr


@pytest.mark.slow
def test_dry_run_reload_and_backfill_do_what_they_say(hwm):
    assert "nothing written" in hwm("run", "orders.yaml", "--dry-run").stdout
    assert hwm.ids() == []
    hwm("run", "orders.yaml")
    assert "FULL RELOAD" in hwm("run", "orders.yaml", "--force-first-run").stdout
    assert "BACKFILL" in hwm("run", "orders.yaml", "--backfill", "2024-06-01..2024-06-02").stdout
    assert hwm.ids() == [1, 2, 3]


@pytest.mark.slow
def test_params_reach_the_yaml(hwm):
    hwm.file(ORDERS.replace("path: raw/orders", "path: ${folder}/orders"))
    assert hwm("run", "orders.yaml", "-p", "folder=bronze").returncode == 0
    assert hwm.ids("bronze/orders") == [1, 2, 3]


@pytest.mark.slow
def test_a_blocked_plan_exits_with_the_code_of_its_class(hwm):
    (hwm.folder / "lake" / "raw" / "orders").mkdir(parents=True)
    (hwm.folder / "lake" / "raw" / "orders" / "notes.txt").write_text("mine")
    done = hwm("plan", "orders.yaml")
    assert "BLOCKED" in done.stdout
    assert done.returncode == 4
    assert hwm("plan", "orders.yaml", "--detailed-exitcode").returncode == 1
    done = hwm("run", "orders.yaml")
    assert done.returncode == 4
    assert "TargetUnknownError" in done.stderr


@pytest.mark.slow
def test_debug_shows_the_traceback_and_a_failure_without_it_does_not(hwm):
    hwm.file(ORDERS.replace("table: orders", "table: oders"))
    for command in ("plan", "run"):
        assert "Traceback" not in hwm(command, "orders.yaml").stderr
        assert "Traceback" in hwm(command, "orders.yaml", "--debug").stderr


@pytest.mark.slow
def test_a_secret_is_in_no_output(hwm):
    hwm.file(
        "connections:\n"
        "  shop: {type: postgres, host: 127.0.0.1, port: 9, database: x, username: u, password: '${env:PW}'}\n"
        "  lake: {type: local, root: ./lake}\n",
        "hwm.yaml",
    )
    for words in (
        ("plan",),
        ("run",),
        ("run", "--json", "--retries", "0"),
        ("run", "--debug", "--retries", "0"),
        ("plan", "--debug"),
        ("status",),
    ):
        done = hwm(words[0], "orders.yaml", *words[1:], env={"PW": SECRET})
        assert SECRET not in done.stdout + done.stderr
        assert done.returncode == (0 if words == ("status",) else 4)
