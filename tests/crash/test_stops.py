"""Loads and jobs that are asked to stop, and loads that are killed while they write."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager

import pyarrow.compute as pc
import pytest
from crash.processes import ENVIRONMENT, HERE, HWM, armed
from deltalake import DeltaTable
from traps.loaders import Ours


@contextmanager
def started(ours, place):
    """A process that loads; see `stopped.py`."""
    order = json.dumps({"spec": ours.spec(), "connections": ours.connections, "place": place})
    process = subprocess.Popen(
        [sys.executable, str(HERE / "stopped.py"), order],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("run", ["first run", "increment"])
def test_an_interrupt_while_rows_are_read_writes_nothing(shop, run):
    shop.add(10)
    ours = shop.ours("append")
    if run == "increment":
        ours.load()
        shop.add(10)
    before = ours.rows()
    with started(ours, "mid_read") as process:
        assert process.stdout.readline().strip() == "mid_read"
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate()
    assert process.returncode == 130
    assert "LoadCancelled" in told
    assert "nothing was written" in told
    assert "Traceback" not in told
    assert ours.rows() == before
    assert ours.load().status == "loaded"
    assert ours.rows("id", "v") == shop.rows()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_after_the_last_row_comes_too_late_and_the_load_says_so(shop, number):
    shop.add(10)
    ours = shop.ours("append")
    with started(ours, "after_read") as process:
        assert process.stdout.readline().strip() == "after_read"
        process.send_signal(number)
        told, _ = process.communicate()
    assert (process.returncode, told) == (0, "loaded\n")
    assert ours.rows("id", "v") == shop.rows()
    assert ours.load().status == "nothing_new"


def test_an_interrupt_hits_no_place_that_leaves_the_write_to_itself(shop):
    shop.add(10)
    ours = shop.ours("append")
    with started(ours, "after_read") as process:
        assert process.stdout.readline().strip() == "after_read"
        # Of so many, some come while others are still being handled.
        for _ in range(20_000):
            process.send_signal(signal.SIGINT)
        told, _ = process.communicate()
    assert (process.returncode, told) == (0, "loaded\n")
    assert ours.rows("id", "v") == shop.rows()


@contextmanager
def job(file, place, what):
    """`hwm run FILE` in a process, at the place; see `armed.py`."""
    process = subprocess.Popen(
        [HWM, "run", file.name, "--quiet"],
        cwd=file.parent,
        env=armed(place, what),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline().strip() == place
            yield process
        finally:
            process.kill()


def test_a_job_that_is_interrupted_while_it_reads_writes_nothing(nursery, shop):
    shop.add(10)
    ours = shop.ours("append")
    file = shop.file(ours)
    with job(file, "mid_read", "wait") as process:
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert process.returncode == 130
    assert "stopping before the commit" in told
    assert "CANCELLED" in told
    assert "nothing was written" in told
    assert "Traceback" not in told
    assert ours.rows() == []
    assert nursery.run(file)[0] == 0
    assert ours.rows("id", "v") == shop.rows()


def test_a_job_that_is_asked_twice_ends_at_once_and_costs_nothing(nursery, shop):
    shop.add(10)
    ours = shop.ours("append")
    file = shop.file(ours)
    with job(file, "after_read", "stay") as process:
        process.send_signal(signal.SIGTERM)
        assert "stopping before the commit" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate()
    assert process.returncode == 130
    assert "ended without waiting" in told
    assert ours.rows() == []
    assert nursery.run(file)[0] == 0
    assert ours.rows("id", "v") == shop.rows()


@pytest.mark.slow
@pytest.mark.parametrize("run", ["first run", "increment"])
def test_a_big_load_that_is_killed_while_it_writes_is_run_again(pg_database, tmp_path, run):
    rows = 400_000
    ours = Ours(pg_database.settings, tmp_path / "lake")
    with pg_database.connect() as connection:
        connection.execute("CREATE TABLE t (id int, u timestamp, v text)")
        insert = (
            "INSERT INTO t SELECT n, timestamp '2024-01-01' + n * interval '1 s', md5(n::text) || md5((n + 1)::text)"
            " FROM generate_series(%s::int, %s::int) n"
        )
        expected = rows
        if run == "increment":
            connection.execute(insert, (rows + 1, rows + 10))
            connection.execute("UPDATE t SET u = u - interval '1 year'")
            ours.load()
            expected += 10
        connection.execute(insert, (1, rows))
    before = len(ours.rows("id"))
    with started(ours, "rows") as process:
        read = 0
        while read < rows // 2:
            phase, _, number = process.stdout.readline().partition(" ")
            assert phase == "reading"
            read = int(number)
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(ours.rows("id")) == before
    assert ours.load().rows_written == rows
    ids = DeltaTable(ours.target).to_pyarrow_table(columns=["id"])["id"]
    assert len(ids) == pc.count_distinct(ids).as_py() == expected
