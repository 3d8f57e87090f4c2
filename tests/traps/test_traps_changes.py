"""Rows that change or go, and keys that don't identify: traps 22 to 24, 46, 47."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from traps.naive import Naive, rows_of

from hwm_magics.errors import SchemaMismatchError

NOON = "2024-06-01 12:00:00"


class MergingNaive(Naive):
    """It merges on `id`, and looks ten minutes below the mark."""

    def mark(self):
        mark = Naive.mark(self)
        return mark and mark - timedelta(minutes=10)

    def append(self, rows):
        if not DeltaTable.is_deltatable(str(self.target)):
            return Naive.append(self, rows)
        table = DeltaTable(self.target)
        source = pa.Table.from_pylist(rows, schema=pa.schema(table.schema().to_arrow()))
        merger = table.merge(source, "t.id = s.id", source_alias="s", target_alias="t")
        merger.when_matched_update_all().when_not_matched_insert_all().execute()
        return len(rows)


class GuardedNaive(MergingNaive):
    """It believes the cursor: only a newer row replaces another."""

    def append(self, rows):
        if not DeltaTable.is_deltatable(str(self.target)):
            return Naive.append(self, rows)
        table = DeltaTable(self.target)
        source = pa.Table.from_pylist(rows, schema=pa.schema(table.schema().to_arrow()))
        merger = table.merge(source, "t.id = s.id", source_alias="s", target_alias="t")
        merger.when_matched_update_all("s.u > t.u").when_not_matched_insert_all().execute()
        return len(rows)


def test_trap_22_a_deleted_row_stays_as_a_ghost(pg):
    pg.run("CREATE TABLE t (id int, u timestamp)", f"INSERT INTO t VALUES (1, '{NOON}'), (2, '{NOON}')")
    loaders = pg.loaders()
    loaders.load()
    pg.run("DELETE FROM t WHERE id = 2")
    loaders.load()
    # No window of a cursor column shows a delete: it is the one promise that is not made.
    assert loaders.doubled(loaders.strict) == loaders.doubled(loaders.ours) == [(2,)]
    loaders.ours.load(force_first_run=True)
    loaders.assert_ours_exact()


def test_trap_22_a_soft_delete_is_an_update_and_arrives(pg):
    pg.run("CREATE TABLE t (id int, u timestamp, deleted boolean)")
    pg.run(f"INSERT INTO t VALUES (1, '{NOON}', false), (2, '{NOON}', false)")
    loaders = pg.loaders(write={"mode": "upsert", "keys": ["id"]})
    loaders.load()
    pg.run("UPDATE t SET deleted = true, u = '2024-06-01 12:01:00' WHERE id = 2")
    loaders.load()
    loaders.assert_ours_exact()


def test_trap_23_an_update_in_append_mode_is_one_more_version_and_in_upsert_none(pg):
    pg.run("CREATE TABLE t (id int, u timestamp, v text)", f"INSERT INTO t VALUES (1, '{NOON}', 'old')")
    naive = pg.naive()
    append, upsert = pg.ours(name="append"), pg.ours(name="upsert", write={"mode": "upsert", "keys": ["id"]})
    for loader in (naive, append, upsert):
        loader.load()
    pg.run("UPDATE t SET v = 'new', u = '2024-06-01 12:01:00'")
    for loader in (naive, append, upsert, naive, append, upsert):
        loader.load()
    assert rows_of(naive.target, "id", "v") == append.rows("id", "v") == [(1, "new"), (1, "old")]
    assert upsert.rows("id", "v") == [(1, "new")]


def test_trap_24_an_update_that_bypasses_the_trigger_needs_a_backfill(pg, pg_database):
    pg.run("CREATE TABLE t (id int, u timestamp, v text)")
    pg.run(
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN NEW.u = clock_timestamp(); RETURN NEW; END'",
        "CREATE TRIGGER touch BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch()",
        f"INSERT INTO t VALUES (1, '{NOON}', 'old'), (2, '2024-06-02', 'old')",
    )
    loaders = pg.loaders(write={"mode": "upsert", "keys": ["id"]})
    loaders.load()
    with pg_database.as_superuser().connect() as bulk:
        bulk.execute("SET session_replication_role = replica")
        bulk.execute("UPDATE t SET v = 'new' WHERE id = 1")
    loaders.load()
    assert ("old",) in rows_of(loaders.strict.target, "v")
    assert loaders.ours.rows("id", "v") == [(1, "old"), (2, "old")]
    loaders.ours.load(backfill="2024-06-01..2024-06-01 23:59:59")
    loaders.assert_ours_exact()


def test_trap_46_a_merge_inserts_two_rows_of_a_new_key(pg):
    pg.run("CREATE TABLE t (id int, u timestamp, v text)", f"INSERT INTO t VALUES (1, '{NOON}', 'first')")
    naive, ours = (
        MergingNaive(pg.reading, pg.folder / "naive"),
        pg.ours(write={"mode": "upsert", "keys": ["id"]}),
    )
    naive.load()
    ours.load()
    pg.run("INSERT INTO t VALUES (2, '2024-06-01 12:01:00', 'old'), (2, '2024-06-01 12:02:00', 'new')")
    naive.load()
    ours.load()
    assert rows_of(naive.target, "id", "v") == [(1, "first"), (2, "new"), (2, "old")]
    assert ours.rows("id", "v") == [(1, "first"), (2, "new")]


def test_trap_46_a_merge_inserts_a_row_without_a_key_on_every_run(pg):
    pg.run("CREATE TABLE t (id int, u timestamp, v text)", f"INSERT INTO t VALUES (1, '{NOON}', 'first')")
    naive, ours = (
        MergingNaive(pg.reading, pg.folder / "naive"),
        pg.ours(write={"mode": "upsert", "keys": ["id"]}),
    )
    naive.load()
    ours.load()
    pg.run("INSERT INTO t VALUES (NULL, '2024-06-01 12:01:00', 'no key')")
    naive.load()
    naive.load()
    assert rows_of(naive.target, "v").count(("no key",)) == 2
    with pytest.raises(SchemaMismatchError, match="NULL in the key 'id'"):
        ours.load()
    assert ours.rows("id", "v") == [(1, "first")]


def test_trap_46_two_rows_of_one_key_that_are_equally_new_are_refused(pg):
    pg.run("CREATE TABLE t (id int, u timestamp, v text)")
    pg.run(f"INSERT INTO t VALUES (1, '{NOON}', 'one'), (1, '{NOON}', 'other')")
    ours = pg.ours(write={"mode": "upsert", "keys": ["id"]})
    with pytest.raises(SchemaMismatchError, match="equally new"):
        ours.load()
    assert ours.rows() == []


def test_trap_47_newer_wins_keeps_a_stale_row(pg):
    pg.run("CREATE TABLE t (id int PRIMARY KEY, u timestamp, v text)")
    pg.run("INSERT INTO t VALUES (1, '2024-06-01 12:00:05', 'by a writer whose clock is fast')")
    naive, ours = (
        GuardedNaive(pg.reading, pg.folder / "naive"),
        pg.ours(write={"mode": "upsert", "keys": ["id"]}),
    )
    naive.load()
    ours.load()
    pg.there.execute("UPDATE t SET u = '2024-06-01 12:00:02', v = 'the last word'")
    for _ in range(2):
        naive.load()
        ours.load()
    assert rows_of(naive.target, "v") == [("by a writer whose clock is fast",)]
    assert ours.rows("v") == [("the last word",)]
