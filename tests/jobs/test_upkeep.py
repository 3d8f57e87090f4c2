"""Going back, care for files, and comparing with the source: planned first, then done, on both engines."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from deltalake import DeltaTable
from fakes.shop import ORDERS, Project

from hwm_magics.errors import BlockedError, CommitError, ConfigError, StalePlanError, TargetUnknownError
from hwm_magics.jobs.context import LoadContext, Overrides
from hwm_magics.jobs.reconcile import reconcile
from hwm_magics.jobs.upkeep import plan_maintenance, plan_rollback

KEYED = ORDERS + "  mode: upsert\n  keys: [id]\n"


class Loads(Project):
    """A project whose load is loaded, looked after and compared."""

    engine = "pandas"

    def __init__(self, folder):
        super().__init__(folder)
        self.text = KEYED

    @property
    def workspace(self):
        return LoadContext(self.folder).workspace

    def spec(self):
        asked = LoadContext(self.folder).read(self.text, Overrides(engine=self.engine))
        return asked.loads[0]

    def load(self, *new):
        self.add(*new)
        return self.workspace.load(self.spec())

    def sql(self, statement, *values):
        with closing(sqlite3.connect(self.folder / "shop.db")) as shop, shop:
            shop.execute(statement, values)

    @property
    def table(self):
        return DeltaTable(self.folder / "lake" / "raw" / "orders")


@pytest.fixture
def loads(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Loads(tmp_path)
    made.engine = getattr(request, "param", "pandas")
    if made.engine == "spark":
        request.getfixturevalue("spark")
    return made


on_both_engines = pytest.mark.parametrize(
    "loads", ["pandas", pytest.param("spark", marks=pytest.mark.slow)], indirect=True
)


# Rollback


@on_both_engines
def test_a_rollback_undoes_the_last_load_and_the_next_one_brings_its_rows_again(loads):
    loads.load()
    loads.load(4, 5)
    plan = plan_rollback(loads.workspace, loads.spec())
    assert "undoes version" in plan.text
    assert "2 rows" in plan.text
    assert loads.ids() == [1, 2, 3, 4, 5]
    assert f"as it was at version {plan.to}" in plan.run()
    assert loads.ids() == [1, 2, 3]
    assert str(loads.workspace.status(loads.spec()).watermark) == "2024-06-03 12:00:00"
    loads.load()
    assert loads.ids() == [1, 2, 3, 4, 5]


def test_a_rollback_may_name_its_version_and_can_be_undone(loads):
    loads.load()
    loads.load(4)
    newest = loads.table.version()
    plan_rollback(loads.workspace, loads.spec(), 0).run()
    assert loads.ids() == []
    plan_rollback(loads.workspace, loads.spec(), newest).run()
    assert loads.ids() == [1, 2, 3, 4]
    assert loads.load().rows_written == 0


@pytest.mark.parametrize("to", [-1, 99])
def test_a_version_that_is_none_is_refused(loads, to):
    loads.load()
    with pytest.raises(ConfigError, match="can't go back"):
        plan_rollback(loads.workspace, loads.spec(), to)


@on_both_engines
def test_a_table_that_moved_since_the_plan_is_not_rolled_back(loads):
    loads.load()
    plan = plan_rollback(loads.workspace, loads.spec())
    loads.load(4)
    with pytest.raises(StalePlanError):
        plan.run()
    assert loads.ids() == [1, 2, 3, 4]


def test_there_is_nothing_to_roll_back_without_a_table_or_a_load(loads):
    with pytest.raises(BlockedError, match="no table"):
        plan_rollback(loads.workspace, loads.spec())
    folder = loads.folder / "lake" / "raw" / "orders"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(TargetUnknownError):
        plan_rollback(loads.workspace, loads.spec())


@on_both_engines
def test_a_version_whose_files_are_gone_is_an_error_and_nothing_changes(loads):
    loads.load()
    first = loads.table.file_uris()
    loads.text = ORDERS.replace("  incremental: {column: updated_at}\n", "") + "  mode: overwrite\n"
    loads.load(4)
    for uri in first:
        (loads.folder / "lake" / "raw" / "orders" / uri.rpartition("/")[2]).unlink()
    version = loads.table.version()
    with pytest.raises(CommitError):
        plan_rollback(loads.workspace, loads.spec(), version - 1).run()
    assert loads.ids() == [1, 2, 3, 4]


# Maintenance


@on_both_engines
def test_small_files_are_written_together_when_asked_for(loads):
    for number in range(4, 8):
        loads.load(number)
    before = len(loads.table.file_uris())
    assert not plan_maintenance(loads.workspace, loads.spec()).does_something
    plan = plan_maintenance(loads.workspace, loads.spec(), compact=True)
    assert "write small files together" in plan.text
    plan.run()
    assert len(loads.table.file_uris()) < before
    assert loads.ids() == [1, 2, 3, 4, 5, 6, 7]
    assert loads.load(8).rows_written == 1


@on_both_engines
def test_files_are_ordered_by_the_clustering_columns(loads):
    loads.load()
    loads.load(4)
    with pytest.raises(ConfigError, match="no columns"):
        plan_maintenance(loads.workspace, loads.spec(), order=True)
    loads.text = loads.text + "  cluster_by: [id]\n"
    plan = plan_maintenance(loads.workspace, loads.spec(), order=True)
    assert "ordered by id" in plan.text
    plan.run()
    assert len(loads.table.file_uris()) == 1
    assert loads.ids() == [1, 2, 3, 4]


@on_both_engines
def test_a_vacuum_counts_first_and_keeps_what_the_retention_says(loads):
    loads.load()
    plan_maintenance(loads.workspace, loads.spec(), compact=True).run()
    plan = plan_maintenance(loads.workspace, loads.spec(), vacuum=True)
    assert plan.removable == 0
    with pytest.raises(CommitError, match=r"(?i)retention"):
        plan_maintenance(loads.workspace, loads.spec(), vacuum=True, older=timedelta(0))


def test_a_vacuum_removes_what_no_version_needs(loads):
    loads.text += "  properties: {delta.deletedFileRetentionDuration: interval 0 hours}\n"
    loads.load()
    loads.load(4)
    plan_maintenance(loads.workspace, loads.spec(), compact=True).run()
    files = loads.folder / "lake" / "raw" / "orders"
    before = len(list(files.glob("*.parquet")))
    plan = plan_maintenance(loads.workspace, loads.spec(), vacuum=True, older=timedelta(0))
    assert plan.removable
    assert "can't be read or restored afterwards" in plan.text
    plan.run()
    assert len(list(files.glob("*.parquet"))) == before - plan.removable
    assert loads.ids() == [1, 2, 3, 4]


# Reconcile


def compare(loads, **options):
    return reconcile(loads.workspace, loads.spec(), **options)


def test_a_target_that_holds_what_its_source_has_agrees(loads):
    loads.load()
    loads.load(4)
    loads.add(5)
    for by_keys in (False, True):
        found = compare(loads, by_keys=by_keys)
        assert found.agrees, found.text
        assert (found.source, found.target, found.upto) == (4, 4, "2024-06-04 12:00:00")
    assert found.text.startswith("AGREES")


@on_both_engines
def test_rows_that_are_missing_or_too_many_are_found_by_their_keys_in_small_windows(loads):
    loads.load(*range(4, 29))
    loads.sql("DELETE FROM orders WHERE id = 7")
    loads.sql("INSERT INTO orders VALUES (100, 1, '2024-06-20 12:00:00.000000')")
    loads.sql("INSERT INTO orders VALUES (101, 1, '2024-06-21 12:00:00.000000')")
    found = compare(loads, chunk=4)
    assert not found.agrees
    assert sum(gap.missing for gap in found.gaps) == 2
    assert sum(gap.extra for gap in found.gaps) == 1
    assert {text for gap in found.gaps for text in gap.shown} == {"−100", "−101", "+7"}
    assert all(max(gap.source, gap.target) <= 4 for gap in found.gaps)


def test_equal_counts_hide_nothing_when_keys_are_compared(loads):
    loads.load()
    loads.sql("UPDATE orders SET id = 9 WHERE id = 2")
    assert compare(loads).agrees
    found = compare(loads, by_keys=True)
    assert (found.gaps[0].missing, found.gaps[0].extra) == (1, 1)


def test_a_row_that_changed_since_is_waiting_and_not_wrong(loads):
    loads.load()
    loads.sql("UPDATE orders SET updated_at = '2024-06-09 12:00:00.000000' WHERE id = 2")
    found = compare(loads)
    assert found.agrees
    assert found.gaps[0].changed == 1
    loads.load()
    assert compare(loads).gaps == []


def test_a_load_without_keys_is_compared_by_counts(loads):
    loads.text = ORDERS
    loads.load(4)
    loads.sql("DELETE FROM orders WHERE id = 2")
    found = compare(loads, by_keys=True, chunk=1)
    assert not found.agrees
    assert [(gap.source, gap.target, gap.missing) for gap in found.gaps] == [(0, 1, None)]
    assert any("no write.keys" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (KEYED + "transform: os:getcwd\n", "passes its rows through"),
        (KEYED.replace("  incremental: {column: updated_at}\n", ""), "no read.incremental"),
        (KEYED, "no table to compare"),
    ],
    ids=["a transform", "no cursor", "no table"],
)
def test_what_can_not_be_compared_is_said(loads, text, told):
    loads.text = text
    with pytest.raises(BlockedError, match=told):
        compare(loads)
