"""The contract on Spark Connect, in a process of its own: the two kinds of session can't live in one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

TESTS = Path(__file__).parents[1]
CONTRACT = TESTS / "contract"

CHOSEN = {
    "test_columns.py": ("test_a_transform_may_drop_rows_and_add_columns[spark]",),
    "test_chunks.py": ("test_windows_of_which_nothing_is_left_move_the_mark_all_the_same[spark]",),
    "test_detection.py": (
        "test_nothing_there_is_absent_with_evidence[spark]",
        "test_a_missing_data_file_is_found_when_rows_are_compared_and_nothing_is_written[spark]",
        "test_a_new_table_has_the_columns_partitions_and_properties_asked_for[spark]",
    ),
    "test_disk.py": (
        "test_folders_without_a_table_and_without_anything_else_are_absent[spark-two creations that died]",
    ),
    "test_log.py": ("test_after_a_restore_what_it_undid_is_loaded_again[spark-restore]",),
    "test_races.py": (
        "test_of_two_plans_on_one_version_one_commits_and_the_other_is_refused[spark-append]",
        "test_a_crash_at_any_place_costs_nothing[spark-append-before_acknowledgement-first run]",
    ),
    "test_writes.py": (
        "test_a_first_run_loads_everything_and_increments_only_what_is_new[spark]",
        "test_an_upsert_keeps_the_latest_version_of_each_row[spark]",
        "test_a_backfill_replaces_its_window_and_nothing_else[spark]",
        "test_a_cancel_leaves_nothing[spark-append-2]",
    ),
}
"""A case of each kind of behaviour of the engine: all 255 take many minutes there, most of it the way
to the server and back. `HWM_TEST_SPARK=connect pytest -k spark tests/contract` runs them all."""


def test_every_file_of_the_contract_has_its_part_on_connect():
    assert set(CHOSEN) == {file.name for file in CONTRACT.glob("test_*.py")}


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.timeout(1500)  # beside another Spark on two cores
def test_the_contract_holds_on_spark_connect(tmp_path):
    cases = [f"{CONTRACT / file}::{name}" for file, names in CHOSEN.items() for name in names]
    told = tmp_path / "told.xml"
    # What a classic session of this process has left there would go against a session of Connect.
    ours = ("MASTER", "PYSPARK_", "PYTEST_", "SPARK_")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    made = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={told}", *cases],
        env={**bare, "HWM_TEST_SPARK": "connect"},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout[-5000:] + made.stderr[-2000:]
    (suite,) = ET.parse(told).getroot().iter("testsuite")
    counted = {name: int(suite.get(name, "-1")) for name in ("tests", "skipped", "failures", "errors")}
    assert counted == {"tests": len(cases), "skipped": 0, "failures": 0, "errors": 0}
