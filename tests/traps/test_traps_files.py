"""Files that come late, change, or are half-written: trap 48."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable
from traps.naive import append, rows_of

import hwm_magics
from hwm_magics.errors import BlockedError, QueryError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class NaiveFiles:
    """It loads the files that are younger than the youngest it has loaded, and keeps that time beside the table."""

    folder: Path
    target: Path
    mark: float = -1.0
    loaded: list[str] = field(default_factory=list)

    def load(self) -> None:
        new = sorted((file.stat().st_mtime, file) for file in self.folder.glob("*.csv"))
        for moment, file in new:
            if moment > self.mark:
                lines = file.read_text().splitlines()[1:]
                append(self.target, [{"id": int(line)} for line in lines if line.strip()])
        self.mark = max([self.mark, *(moment for moment, _ in new)])


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "landing"
    made.mkdir()
    return made


@pytest.fixture
def both(folder, tmp_path):
    """The naive loader, and ours."""
    connections = {
        "landing": {"type": "local", "root": str(folder)},
        "lake": {"type": "local", "root": str(tmp_path / "lake")},
    }
    spec = {
        "read": {"connection": "landing", "path": "*.csv", "options": {"settle": "0s"}},
        "write": {"connection": "lake", "path": "t"},
    }
    naive = NaiveFiles(folder, tmp_path / "naive")

    def ours(settle="0s"):
        spec["read"]["options"]["settle"] = settle
        return hwm_magics.load(spec, connections=connections, engine="pandas")

    return naive, ours


def put(folder, name, *ids, at=None):
    file = folder / name
    file.write_text("".join(f"{line}\n" for line in ("id", *ids)))
    if at is not None:
        os.utime(file, (at, at))
    return file


def ids(place):
    return sorted(row[0] for row in rows_of(place, "id"))


def test_48_a_file_that_kept_its_old_time_is_loaded(folder, both, tmp_path):
    naive, ours = both
    put(folder, "b.csv", 2, at=2_000)
    naive.load()
    ours()
    put(folder, "a.csv", 1, at=1_000)
    naive.load()
    ours()
    assert ids(naive.target) == [2], "the naive loader loses it"
    assert ids(tmp_path / "lake/t") == [1, 2]


def test_48_another_file_of_the_same_name_time_and_size_is_not_passed_over(folder, both, tmp_path):
    naive, ours = both
    put(folder, "a.csv", 1, at=1_000)
    naive.load()
    ours()
    put(folder, "a.csv", 7, at=1_000)
    naive.load()
    assert ids(naive.target) == [1], "the naive loader sees nothing"
    with pytest.raises(BlockedError, match=r"changed since loaded: a\.csv"):
        ours()


def test_48_a_half_written_file_waits(folder, both, tmp_path):
    naive, ours = both
    put(folder, "a.csv", 1, 2)
    whole = folder / "a.csv"
    whole.write_text(whole.read_text()[:-2])
    naive.load()
    with pytest.raises(QueryError, match="can be read yet"):
        ours(settle="1h")
    before = whole.stat().st_mtime
    put(folder, "a.csv", 1, 2, at=before)
    naive.load()
    ours()
    assert ids(naive.target) == [1], "the naive loader has half of it for good"
    assert ids(tmp_path / "lake/t") == [1, 2]


def test_48_the_record_is_in_the_commit_with_the_rows(folder, both, tmp_path):
    naive, ours = both
    put(folder, "a.csv", 1, at=1_000)
    naive.load()
    ours()
    put(folder, "b.csv", 2, at=2_000)
    naive.load()
    ours()
    DeltaTable(naive.target).restore(0)
    DeltaTable(tmp_path / "lake/t").restore(1)
    naive.load()
    ours()
    assert ids(naive.target) == [1], "the naive loader's mark did not go back with the table"
    assert ids(tmp_path / "lake/t") == [1, 2]
