"""A disk that is full, or a folder that can't be written: refused, and a later load makes it good."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from badinput.conftest import BASE, assert_readable

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent.parent), str(HERE.parent)])}
MANY = 60_000
GROW = (
    "INSERT INTO orders (id, updated_at, words) SELECT n, timestamp '2024-07-01' + n * interval '1 s',"
    f" md5(n::text) || md5((-n)::text) FROM generate_series(4, {MANY}) n"
)


@functools.cache
def namespace() -> tuple[str, ...]:
    """The command that gives a process file systems of its own to mount; none where that is not permitted."""
    way = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--mount")
    if shutil.which("unshare") is None:
        return ()
    probe = [*way, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    done = subprocess.run(probe, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return way if done.returncode == 0 else ()


def load(project, how, before):
    """What `cramped.py` tells, and what else it said."""
    way = namespace() if how in ("small", "mounted read-only") else ()
    if how in ("small", "mounted read-only") and not way:
        pytest.skip("mounting is not permitted here")
    order = {
        "yaml": BASE,
        "folder": str(project.folder),
        "lake": str(project.lake),
        "how": how,
        "before": before,
        "database": project.database.url,
    }
    done = subprocess.run(
        [*way, sys.executable, str(HERE / "cramped.py"), json.dumps(order)],
        check=False,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    project.said += [done.stdout, done.stderr]
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def assert_refused(told, error, *words):
    assert told["error"] == error, told
    assert_readable(told["lines"])
    text = "\n".join(told["lines"])
    for word in words:
        assert word in text, text
    assert told["changed"] == []
    assert told["rows_as_they_were"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["small", "limited"])
def test_a_disk_that_is_full_during_an_increment(project, how):
    told, stderr = load(project, how, GROW)
    assert_refused(
        told, "CommitError", "disk is full" if how == "small" else "too large", "nothing was written"
    )
    assert told["log_as_it_was"]
    assert told["later"] == ["loaded", MANY]
    assert len(stderr.splitlines()) <= 8, stderr


@pytest.mark.slow
def test_a_disk_that_is_full_during_a_first_run(project):
    project.run(GROW)
    told, _ = load(project, "small", "")
    assert_refused(told, "CommitError", "disk is full", "nothing was written")
    assert told["later"] == ["loaded", MANY]


@pytest.mark.slow
@pytest.mark.parametrize("run", ["first run", "increment"])
@pytest.mark.parametrize("how", ["mounted read-only", "no rights"])
def test_a_folder_that_can_not_be_written(project, how, run):
    one_more = "INSERT INTO orders (id, updated_at) VALUES (4, '2024-06-05')"
    told, stderr = load(project, how, one_more if run == "increment" else "")
    assert_refused(told, "CommitError", "can't be written", "nothing was written")
    assert told["new"] == []
    assert told["later"] == ["loaded", 4 if run == "increment" else 3]
    assert len(stderr.splitlines()) <= 8, stderr


@pytest.mark.slow
def test_a_folder_that_can_not_be_looked_into_is_not_taken_for_an_empty_one(project):
    """An error is not an absence: nothing begins a first run on a guess."""
    script = """
import os, sys
from badinput.cramped import obey_permissions
import hwm_magics
obey_permissions()
hwm_magics.load(sys.argv[1])
os.chmod("lake/raw", 0)
try:
    plan = hwm_magics.plan(sys.argv[1])
finally:
    os.chmod("lake/raw", 0o755)
print(plan.decision, plan.blocker.error, plan.blocker.message, plan.blocker.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, BASE],
        check=True,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=project.folder,
    )
    assert done.stdout.startswith("BLOCKED TargetUnknownError"), done.stdout
    assert "Permission denied" in done.stdout
    project.said += [done.stdout, done.stderr]
