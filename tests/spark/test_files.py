"""Files as a source: read by Spark below a storage connection's root, told apart by a cursor column inside of them."""

from __future__ import annotations

import pytest
from deltalake import DeltaTable

import hwm_magics
from hwm_magics.core.explain import explain
from hwm_magics.errors import BlockedError, ConfigError, QueryError, UnsupportedByEngineError

pytestmark = pytest.mark.usefixtures("spark")

EVENTS = """
read: {{connection: landing, format: {kind}, path: "{path}", incremental: {{column: at}}{more}}}
write: {{connection: lake, path: events, mode: append}}
"""


@pytest.fixture
def landing(tmp_path, monkeypatch):
    """A folder for files, and a lake; gives the folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hwm.yaml").write_text(
        "connections:\n  landing: {type: local, root: ./landing}\n  lake: {type: local, root: ./lake}\n"
    )
    folder = tmp_path / "landing"
    (folder / "events").mkdir(parents=True)
    return folder


def text(kind="csv", path="events/*.csv", more=""):
    return EVENTS.format(kind=kind, path=path, more=more)


def rows(landing):
    table = DeltaTable(landing.parent / "lake/events").to_pyarrow_table()
    return table.sort_by("id").to_pylist()


def put(landing, name, *numbers):
    lines = ["id,name,at", *(f'{n},"name, {n}",2024-06-0{n} 10:00:00.12345{n}' for n in numbers)]
    (landing / "events" / name).write_text("\n".join(lines) + "\n")


def test_new_rows_of_csv_files_are_loaded_once(landing, spark):
    put(landing, "a.csv", 1, 2)
    plan = hwm_magics.plan(text())
    assert plan.decision == "FIRST RUN"
    assert ("Columns", "id integer, name string, at timestamp") in explain(plan).facts
    assert hwm_magics.load(text()).rows_written == 2
    put(landing, "b.csv", 3)
    (landing / "events" / "_half-written.csv").write_text("id,na")
    second = hwm_magics.load(text())
    assert (second.rows_written, str(second.watermark_after)) == (1, "2024-06-03 10:00:00.123453+00:00")
    assert hwm_magics.load(text()).status == "nothing_new"
    assert [(row["id"], row["name"]) for row in rows(landing)] == [(n, f"name, {n}") for n in (1, 2, 3)]
    assert not [view.name for view in spark.catalog.listTables() if view.name.startswith("files_")]


def test_declared_columns_are_taken_as_they_are_declared(landing):
    put(landing, "a.csv", 1)
    more = ', options: {schema: "id BIGINT, name STRING, at TIMESTAMP_NTZ"}'
    hwm_magics.load(text(more=more))
    assert str(rows(landing)[0]["at"]) == "2024-06-01 10:00:00.123451"


@pytest.mark.parametrize(
    "content",
    [
        "id,name,at\n1,a,2024-06-01 10:00:00\nx,b,2024-06-02 10:00:00\n",
        "name,id,at\na,1,2024-06-01 10:00:00\n",
    ],
    ids=["a value that does not fit", "another header"],
)
def test_a_file_that_does_not_fit_is_an_error_and_nothing_is_written(landing, content):
    (landing / "events" / "a.csv").write_text(content)
    more = ', options: {schema: "id BIGINT, name STRING, at TIMESTAMP_NTZ"}'
    with pytest.raises(QueryError, match="does not fit its columns"):
        hwm_magics.load(text(more=more))
    assert hwm_magics.plan(text(more=more)).decision == "FIRST RUN"


def test_json_parquet_orc_and_delta_files_are_sources_too(landing, spark):
    frame = spark.sql("SELECT 1 AS id, 'a' AS name, TIMESTAMP_NTZ'2024-06-01 10:00:00' AS at")
    for number, kind in enumerate(("json", "parquet", "orc", "delta")):
        frame.write.format(kind).save(str(landing / kind))
        node = f"name: node{number}\n" + text(kind, kind).replace("path: events,", f"path: e{number},")
        more = node.replace(
            "column: at}", "column: at}, options: {schema: 'id INT, name STRING, at TIMESTAMP_NTZ'}"
        )
        assert hwm_magics.load(more if kind == "json" else node).rows_written == 1, kind


def test_a_parquet_file_with_a_new_column_brings_it(landing, spark):
    one = spark.sql("SELECT 1 AS id, TIMESTAMP_NTZ'2024-06-01 10:00:00' AS at")
    one.write.parquet(str(landing / "p"))
    hwm_magics.load(text("parquet", "p"))
    two = spark.sql("SELECT 2 AS id, TIMESTAMP_NTZ'2024-06-02 10:00:00' AS at, 'new' AS note")
    two.write.mode("append").parquet(str(landing / "p"))
    hwm_magics.load(text("parquet", "p"))
    assert [row["note"] for row in rows(landing)] == [None, "new"]


def whole(kind="csv", path="events/*.csv", more=", settle: 0s", write=""):
    """A load of whole files."""
    read = f"{{connection: landing, format: {kind}, path: '{path}', options: {{changed: error{more}}}}}"
    return f"read: {read}\nwrite: {{connection: lake, path: events{write}}}\n"


def test_without_a_cursor_column_each_file_is_loaded_once(landing, spark):
    put(landing, "a.csv", 1, 2)
    first = hwm_magics.load(whole(), engine="spark")
    assert first.rows_written == 2
    assert hwm_magics.plan(whole(), engine="spark").decision == "NO CHANGES"
    put(landing, "b.csv", 3)
    put(landing, "c.csv.tmp", 9)
    put(landing, "none.csv")
    second = hwm_magics.load(whole(), engine="spark")
    assert (second.rows_written, len(second.warnings)) == (1, 0)
    assert hwm_magics.load(whole(), engine="spark").status == "nothing_new"
    put(landing, "a.csv", 1)
    with pytest.raises(BlockedError, match=r"changed since loaded: events/a\.csv"):
        hwm_magics.load(whole(), engine="spark")
    assert [row["id"] for row in rows(landing)] == [1, 2, 3]
    assert not [view.name for view in spark.catalog.listTables() if view.name.startswith("files_")]


def test_the_record_of_loaded_files_is_for_both_engines(landing):
    for number, engine in enumerate(("pandas", "spark", "pandas", "spark"), 1):
        put(landing, f"{number}.csv", number)
        assert hwm_magics.load(whole(), engine=engine).rows_written == 1, engine
    assert [row["id"] for row in rows(landing)] == [1, 2, 3, 4]
    (landing / "events" / "5.csv").write_text("id,name,at\n5,55,2024-06-05 10:00:00\n")
    assert hwm_magics.load(whole(), engine="spark").rows_written == 1
    assert rows(landing)[-1]["name"] == "55"


def test_upserts_and_overwrites_keep_the_record_too(landing):
    put(landing, "a.csv", 1, 2)
    once = whole(write=", mode: append_once, keys: [id]")
    assert hwm_magics.load(whole(write=", mode: overwrite"), engine="spark").rows_written == 2
    put(landing, "b.csv", 2, 3)
    assert hwm_magics.load(once, engine="spark").rows_written == 1
    assert [row["id"] for row in rows(landing)] == [1, 2, 3]


def test_what_files_cannot_do_is_said_with_what_to_do_instead(landing):
    put(landing, "a.csv", 1)
    with pytest.raises(UnsupportedByEngineError, match="Spark reads all files that it finds"):
        hwm_magics.load(text(more=", options: {settle: 5m}"))
    with pytest.raises(UnsupportedByEngineError, match="no column for a file's name"):
        hwm_magics.load(whole(more=", file_column: f"), engine="spark")
    with pytest.raises(ConfigError, match="pandas engine only"):
        hwm_magics.load(whole(more=", types: {id: long}"), engine="spark")
    (landing / "events" / "x[1].csv").write_text("id\n1\n")
    with pytest.raises(UnsupportedByEngineError, match="take its name for a pattern"):
        hwm_magics.load(whole(), engine="spark")
    with pytest.raises(ConfigError, match=r"'\.\.'"):
        hwm_magics.load(text(path="../secret.csv"))
    with pytest.raises(ConfigError, match=r"options\.path"):
        hwm_magics.load(text(more=", options: {path: /etc/passwd}"))
    with pytest.raises(ConfigError, match="write csv, json"):
        hwm_magics.load(text("postgres"))
    with pytest.raises(QueryError, match="nowhere"):
        hwm_magics.load(text(path="nowhere/*.csv"))
