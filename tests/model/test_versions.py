"""A Delta table as a source, written, compacted, changed and loaded in any order: its added rows come once each.

What an append may do is counted by a model: it loads what versions added, refuses where one of them changed rows, and
passes over that one where it was told to. An upsert ends with the rows that the source has, whatever happened.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

import hwm_magics
from hwm_magics.errors import BlockedError

SPEC = """
read: {{connection: lake, format: delta, path: t{read}}}
write: {{connection: lake, path: {path}, {mode}}}
"""
IGNORE = ", options: {changed: ignore}"


class Versions(RuleBasedStateMachine):
    """A source table, an append and an upsert of it, and what an append should hold."""

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.ids = 0
        self.held: Counter[int] = Counter()
        self.added: list[int] = []
        self.changed = False
        self.loaded = False

    def teardown(self):
        shutil.rmtree(self.root)

    @property
    def source(self):
        return DeltaTable(self.root / "t")

    def load(self, path, mode, read=""):
        lake = {"lake": {"type": "local", "root": str(self.root)}}
        text = SPEC.format(path=path, mode=mode, read=read)
        return hwm_magics.load(text, connections=lake, engine="pandas")

    def rows(self, path):
        return pa.table(DeltaTable(self.root / path).scan()).select(["id", "n"]).to_pylist()

    def new(self, count):
        ids = list(range(self.ids, self.ids + count))
        self.ids += count
        self.added += ids
        return pa.table({"id": pa.array(ids, pa.int64()), "n": pa.array([0] * count, pa.int64())})

    @initialize(count=st.integers(0, 2))
    def begin(self, count):
        write_deltalake(self.root / "t", self.new(count), partition_by=None)

    @rule(count=st.integers(0, 3))
    def append(self, count):
        write_deltalake(self.root / "t", self.new(count), mode="append")

    @rule()
    def insert_by_merge(self):
        rows = self.new(1)
        merge = self.source.merge(rows, "s.id = t.id", source_alias="s", target_alias="t")
        merge.when_not_matched_insert_all().execute()

    @rule(ordered=st.booleans())
    def write_files_anew(self, ordered):
        if ordered:
            self.source.optimize.z_order(["id"])
        else:
            self.source.optimize.compact()

    @rule()
    def note_a_checkpoint(self):
        self.source.create_checkpoint()

    @rule(deletes=st.booleans(), number=st.integers(0, 5))
    def change(self, deletes, number):
        before = self.source.version()
        if deletes:
            self.source.delete(f"id % 6 = {number}")
        else:
            self.source.update({"n": "n + 1"}, predicate=f"id % 6 = {number}")
        self.changed = self.changed or self.source.version() > before

    @precondition(lambda self: self.changed)
    @rule()
    def bring_back(self):
        self.source.restore(max(0, self.source.version() - 1))

    @rule()
    def load_by_append(self):
        if self.loaded and self.changed:
            with pytest.raises(BlockedError, match="changed or removed rows"):
                self.load("a", "mode: append")
            self.load("a", "mode: append", IGNORE)
        else:
            self.load("a", "mode: append")
        if self.loaded:
            self.held.update(self.added)
        else:
            self.held.update(row["id"] for row in self.rows("t"))
        self.loaded, self.changed, self.added = True, False, []
        assert Counter(row["id"] for row in self.rows("a")) == self.held
        assert self.load("a", "mode: append").status == "nothing_new"

    @rule()
    def load_by_upsert(self):
        self.load("u", "mode: upsert, keys: [id]")
        there = {row["id"]: row["n"] for row in self.rows("u")}
        assert len(there) == len(self.rows("u"))
        for row in self.rows("t"):
            assert there[row["id"]] == row["n"]


def test_what_versions_added_comes_once_whatever_happens_between():
    run_state_machine_as_test(
        Versions,
        settings=settings(
            max_examples=25, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
