"""Files without a cursor column: each is loaded once, whatever happens to it or to the table."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime, timedelta

import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake

import hwm_magics
from hwm_magics.core.explain import explain
from hwm_magics.errors import BlockedError, ConfigError, QueryError, UnsupportedByEngineError
from hwm_magics.jobs.tables import history_table, record_to_dict, status_table


def facts(plan):
    return dict(explain(plan).facts)


def test_each_file_is_loaded_once(landing):
    landing.put("a.csv", 1, 2)
    first = landing.plan()
    assert first.decision == "FIRST RUN"
    assert "1 file to read" in facts(first)["Files"]
    assert facts(first)["Columns"] == "id long, name string, at timestamp_ntz"
    assert any("inferred from the beginning of one file" in note for note in first.notes)
    assert landing.load().rows_written == 2
    assert landing.plan().decision == "NO CHANGES"
    landing.put("b.csv", 3)
    plan = landing.plan()
    assert facts(plan)["Files"] == "1 file to read, 50 B: orders/b.csv; 1 loaded before"
    assert "1 new file of orders/*.csv" in explain(plan).sentence
    assert landing.load().rows_written == 1
    assert landing.load().status == "nothing_new"
    assert landing.ids() == [1, 2, 3]


def test_the_record_travels_in_the_commit_and_is_shown(landing):
    landing.put("a.csv", 1)
    landing.put("b.csv", 2)
    landing.load()
    newest = hwm_magics.history(landing.text())[0]
    assert (newest.files.count, newest.files.new) == (2, 2)
    assert {one.path for one in newest.files.files} == {"orders/a.csv", "orders/b.csv"}
    status = hwm_magics.status(landing.text())
    assert (status.files, status.watermark) == (2, None)
    assert "2 files" in status_table([status]).text
    assert "2 new of 2 files" in history_table([newest]).text
    assert record_to_dict(newest)["files"] == {"new": 2, "loaded": 2}


def test_half_written_files_are_left_alone_and_loaded_later(landing):
    landing.put("a.csv", 1)
    landing.load()
    for name in ("_b.csv", ".c.csv", "d.csv.tmp", "e.part"):
        landing.put(name, 9)
    (landing.files / "empty.csv").write_text("")
    young = landing.put("young.csv", 2)
    plan = landing.plan("orders/*", settle="1h")
    told = dict(plan.source.files.waiting)
    assert told.pop("orders/young.csv").startswith("it was written")
    assert told == {
        "orders/_b.csv": "_b.csv begins with _",
        "orders/.c.csv": ".c.csv begins with .",
        "orders/d.csv.tmp": "its name ends in .tmp",
        "orders/e.part": "its name ends in .part",
        "orders/empty.csv": "it is empty",
    }
    assert plan.decision == "NO CHANGES"
    assert any("left alone" in note for note in plan.notes)
    assert young.exists()
    assert landing.load("orders/*").rows_written == 1
    assert landing.ids() == [1, 2]


def test_files_wait_a_minute_unless_told_otherwise(landing):
    landing.put("a.csv", 1)
    text = landing.text().replace("options: {settle: 0s}", "options: {}")
    with pytest.raises(
        QueryError, match=r"can be read yet: orders/a\.csv: it was written .* waits for 1 min"
    ):
        hwm_magics.load(text, engine="pandas")


def test_a_changed_file_blocks_the_load_and_is_named(landing):
    landing.put("a.csv", 1)
    landing.load()
    landing.put("a.csv", 1, 2)
    landing.put("b.csv", 3)
    with pytest.raises(BlockedError, match=r"1 file changed since loaded: orders/a\.csv"):
        landing.load()
    ignoring = landing.load(options=", changed: ignore")
    assert (ignoring.rows_written, len(ignoring.warnings)) == (1, 1)
    assert landing.ids() == [1, 3]


def test_a_changed_file_is_read_again_by_an_upsert(landing):
    landing.put("a.csv", 1)
    keyed = {"write": ", mode: upsert, keys: [id]", "options": ", changed: load"}
    landing.load(**keyed)
    landing.put("a.csv", 1, 2)
    assert landing.load(**keyed).rows_read == 2
    assert landing.ids() == [1, 2]
    assert landing.load(**keyed).status == "nothing_new"
    with pytest.raises(ConfigError, match="would double"):
        landing.load(options=", changed: load")


def test_another_file_of_the_same_time_and_size_is_noticed(landing):
    file = landing.put("a.csv", 1)
    landing.load()
    before = file.stat()
    file.write_text(file.read_text().replace("name, 1", "else, 1"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    with pytest.raises(BlockedError, match="changed since loaded"):
        landing.load()


def test_a_file_that_was_only_touched_is_the_same_file(landing):
    file = landing.put("a.csv", 1)
    landing.load()
    os.utime(file)
    file.chmod(0o600)
    assert landing.plan().decision == "NO CHANGES"
    landing.put("b.csv", 2)
    landing.load()
    assert landing.plan().source.files.touched == ()
    assert landing.ids() == [1, 2]


def test_an_old_file_that_comes_later_is_loaded(landing):
    landing.put("b.csv", 2)
    landing.load()
    os.utime(landing.put("a.csv", 1), (1_000_000, 1_000_000))
    assert landing.load().rows_written == 1


def test_files_that_are_gone_stay_loaded_and_do_not_come_again(landing):
    landing.put("a.csv", 1).unlink()
    landing.put("b.csv", 2)
    landing.load()
    moved = (landing.files / "b.csv").rename(landing.root / "b.csv")
    landing.put("c.csv", 3)
    landing.load()
    moved.rename(landing.files / "b.csv")
    assert landing.load().status == "nothing_new"
    assert landing.ids() == [2, 3]


def test_a_file_without_rows_is_loaded_too(landing):
    landing.put("a.csv", 1)
    landing.load()
    landing.put("none.csv")
    assert landing.load().rows_written == 0
    assert landing.load().status == "nothing_new"


def test_all_new_files_are_one_commit(landing):
    for number in range(1, 8):
        landing.put(f"{number}.csv", number)
    landing.load()
    assert len(DeltaTable(landing.root / "lake/raw/orders").history()) == 2


def test_two_loaders_at_once_load_each_file_once(landing):
    landing.put("a.csv", 1)
    landing.load()
    landing.put("b.csv", 2)
    both = threading.Barrier(2)

    found = []

    def load():
        met = []

        def meet(name):
            if name == "after_clock" and not met:
                met.append(name)
                both.wait(60)

        job = hwm_magics.job(landing.text(), engine="pandas")
        job._loader.failpoint = meet
        found.append(job.run().wait().status)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert landing.ids() == [1, 2]
    assert sorted(found) == ["already_loaded", "loaded"]


@pytest.mark.parametrize(
    "where", ["after_clock", "mid_read", "after_read", "before_acknowledgement", "after_commit"]
)
def test_a_load_that_dies_anywhere_doubles_nothing(landing, where):
    landing.put("a.csv", 1)
    landing.load()
    landing.put("b.csv", 2)

    def die(name):
        if name == where:
            raise KeyboardInterrupt(name)

    job = hwm_magics.job(landing.text(), engine="pandas")
    job._loader.failpoint = die
    with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever it dies of
        job.run().wait()
    landing.load()
    assert landing.ids() == [1, 2]


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_load(landing):
    landing.put("a.csv", 1)
    landing.load()
    growing = landing.put("b.csv", 2)
    landing.put("c.csv", 3)
    written = []

    def grow(name):
        if name == "after_clock" and not written:
            written.append(name)
            with growing.open("a") as file:
                file.write('4,"name, 4",2024-06-04 10:00:00\n')

    job = hwm_magics.job(landing.text(), engine="pandas")
    job._loader.failpoint = grow
    assert job.run().wait().rows_written == 3
    assert landing.ids() == [1, 2, 3, 4]


def test_a_restored_table_loads_again_what_it_no_longer_holds(landing):
    landing.put("a.csv", 1)
    landing.load()
    before = DeltaTable(landing.root / "lake/raw/orders").version()
    landing.put("b.csv", 2)
    landing.load()
    DeltaTable(landing.root / "lake/raw/orders").restore(before)
    assert landing.ids() == [1]
    assert landing.load().rows_written == 1
    assert landing.ids() == [1, 2]


def test_an_emptied_table_gets_all_files_again(landing):
    landing.put("a.csv", 1)
    landing.load()
    DeltaTable(landing.root / "lake/raw/orders").delete()
    assert landing.plan().decision == "FIRST RUN"
    assert landing.load().rows_written == 1


def test_rows_that_others_replaced_block_the_load(landing):
    landing.put("a.csv", 1)
    landing.load()
    place = landing.root / "lake/raw/orders"
    write_deltalake(place, DeltaTable(place).to_pyarrow_table(), mode="overwrite")
    with pytest.raises(BlockedError, match="others replaced all rows"):
        landing.load()


def test_rows_that_others_deleted_do_not_come_back(landing):
    landing.put("a.csv", 1, 2)
    landing.load()
    DeltaTable(landing.root / "lake/raw/orders").delete("id = 1")
    landing.put("b.csv", 3)
    result = landing.load()
    assert any("not read again" in warning for warning in result.warnings)
    assert landing.ids() == [2, 3]


def log(landing):
    return sorted((landing.root / "lake/raw/orders/_delta_log").glob("*.json"))


def test_a_record_that_the_log_has_forgotten_blocks_until_it_is_settled(landing):
    landing.put("a.csv", 1)
    landing.load()
    place = landing.root / "lake/raw/orders"
    DeltaTable(place).optimize.compact()
    write_deltalake(place, DeltaTable(place).to_pyarrow_table().slice(0, 0), mode="append")
    DeltaTable(place).create_checkpoint()
    for commit in log(landing)[:-1]:
        commit.unlink()
    landing.put("b.csv", 2)
    with pytest.raises(BlockedError, match="the log that told which files were loaded has expired"):
        landing.load()
    hwm_magics.watermark(landing.text(), adopt=True)
    assert landing.plan().decision == "NO CHANGES"
    landing.put("c.csv", 3)
    assert landing.load().rows_written == 1
    assert landing.ids() == [1, 3]


def test_the_record_is_written_again_before_the_log_forgets_it(landing):
    landing.put("a.csv", 1)
    landing.load()
    newest = log(landing)[-1]
    lines = [json.loads(line) for line in newest.read_text().splitlines()]
    for line in lines:
        if "commitInfo" in line:
            old = datetime.now(UTC) - timedelta(days=8)
            line["commitInfo"]["timestamp"] = int(old.timestamp() * 1000)
    newest.write_text("\n".join(map(json.dumps, lines)) + "\n")
    plan = landing.plan()
    assert plan.decision == "INCREMENTAL"
    assert "before the log forgets it" in plan.reason
    result = landing.load()
    assert (result.rows_written, result.version_after) == (0, 2)
    assert landing.plan().decision == "NO CHANGES"


def test_a_table_of_others_is_not_filled_by_guess(landing):
    landing.put("a.csv", 1)
    landing.load()
    with pytest.raises(BlockedError, match="no load of other is recorded"):
        hwm_magics.load("name: other\n" + landing.text(), engine="pandas")


def test_a_load_that_had_a_cursor_does_not_guess_which_files_it_loaded(landing):
    landing.put("a.csv", 1)
    landing.load(read=", incremental: {column: at}")
    with pytest.raises(BlockedError, match="did not keep which files"):
        landing.load()
    hwm_magics.watermark(landing.text(), adopt=True)
    landing.put("b.csv", 2)
    assert landing.load().rows_written == 1


def test_a_reload_reads_all_files_and_keeps_the_record(landing):
    landing.put("a.csv", 1)
    landing.load()
    assert hwm_magics.load(landing.text(), engine="pandas", force_first_run=True).rows_written == 1
    assert landing.load().status == "nothing_new"
    assert landing.load(write=", mode: overwrite").rows_written == 1
    landing.put("b.csv", 2)
    assert landing.load().rows_written == 1
    assert landing.ids() == [1, 2]


def test_an_overwrite_without_any_file_replaces_nothing(landing):
    file = landing.put("a.csv", 1)
    landing.load(write=", mode: overwrite")
    file.unlink()
    with pytest.raises(QueryError, match="no file matches"):
        landing.load(write=", mode: overwrite")
    assert landing.ids() == [1]


def test_folders_of_any_depth_and_patterns(landing):
    for name in ("2024/01/a.csv", "2024/02/b.csv", "c.csv", "2024/_tmp/d.csv"):
        landing.put(name, len(name))
    assert {one.path for one in landing.plan("orders/*/*/*.csv").source.files.new} == {
        "orders/2024/01/a.csv",
        "orders/2024/02/b.csv",
    }
    assert len(landing.plan("orders/**/[bc].csv").source.files.new) == 2
    assert len(landing.plan("orders/2024/0?/*.csv").source.files.new) == 2
    assert len(landing.plan("orders").source.files.new) == 3


def test_files_outside_of_the_root_are_never_read(landing):
    (landing.root / "secret.csv").write_text("id\n1\n")
    (landing.files / "link.csv").symlink_to(landing.root / "secret.csv")
    with pytest.raises(ConfigError, match="leads out of the connection's root"):
        landing.load()
    for path in ("../*.csv", "/etc/*.csv", "orders/../../x.csv"):
        with pytest.raises(ConfigError, match=r"must stay below|'\.\.'|absolute"):
            landing.load(path)


def test_the_files_of_a_delta_table_are_not_its_rows(landing):
    import pyarrow as pa

    write_deltalake(landing.files / "t", pa.table({"id": [1]}))
    for path in ("orders/t/*.parquet", "orders/**/*.parquet"):
        with pytest.raises(QueryError, match="write format: delta"):
            landing.load(path)


def test_a_file_name_can_be_a_column(landing):
    landing.put("a.csv", 1)
    landing.put("b.csv", 2)
    landing.load(options=", file_column: _file")
    assert [row["_file"] for row in landing.rows()] == ["orders/a.csv", "orders/b.csv"]
    landing.put("c.csv", 3)
    landing.load(options=", file_column: _file", read=", where: \"_file LIKE '%c.csv'\"")
    assert landing.ids() == [1, 2, 3]


def test_counting_and_sampling_read_the_plans_own_files(landing):
    landing.put("a.csv", 1, 2)
    landing.load()
    landing.put("b.csv", 3, 4, 5)
    job = hwm_magics.job(landing.text(), engine="pandas")
    job.prepare()
    job.count_rows()
    assert job.counted == 3
    assert job._loader.sample(job.plan, 2).num_rows == 2


def test_a_window_of_files_cannot_be_backfilled(landing):
    landing.put("a.csv", 1)
    landing.load()
    with pytest.raises(BlockedError, match="needs read"):
        hwm_magics.load(landing.text(), engine="pandas", backfill=("1", "2"))


def test_the_plan_is_json_too(landing):
    landing.put("a.csv", 1)
    landing.put("b.csv.tmp", 1)
    job = hwm_magics.job(landing.text("orders/*"), engine="pandas")
    job.prepare()
    from hwm_magics.core.explain import plan_to_dict

    told = plan_to_dict(job.plan)["files"]
    assert told["new"] == ["orders/a.csv"]
    assert told["left_alone"] == {"orders/b.csv.tmp": "its name ends in .tmp"}


def test_orc_is_for_spark_and_braces_are_for_nobody(landing):
    with pytest.raises(UnsupportedByEngineError, match="write engine: spark"):
        landing.load("orders/*.orc")
    with pytest.raises(ConfigError, match="braces"):
        landing.load("orders/{a,b}.csv")


def test_the_table_tells_nothing_to_other_readers(landing):
    landing.put("a.csv", 1)
    landing.load()
    table = DeltaTable(landing.root / "lake/raw/orders")
    found = QueryBuilder().register("t", table).execute("SELECT COUNT(*) AS n FROM t").read_all()
    assert found.column("n")[0].as_py() == 1
