"""The doctor names what keeps a load from working or from being right, at the real source, and shows no secret."""

from __future__ import annotations

import importlib.util
import json
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner
from deltalake import write_deltalake
from fakes import notebooks
from fakes.notebooks import CONNECTIONS, LOAD_EXT, tagged
from fakes.shop import ORDERS, PIPELINE, Project

import hwm_magics
from hwm_magics.cli import cli
from hwm_magics.jobs.checks import State
from hwm_magics.jobs.doctor import examine

SECRET = "hunter2-Tr0ub4dor"


@pytest.fixture
def shop(tmp_path, monkeypatch) -> Project:
    monkeypatch.delenv("HWM_MAGICS_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


def sql(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as shop, shop:
        for each in statements:
            shop.execute(each)


def found(health, name: str, area: str = ""):
    """The one check of that name."""
    (check,) = [each for each in health.checks if each.name == name and area in each.area]
    return check


def bad(health) -> list[tuple[str, str]]:
    return [(each.area, each.name) for each in health.checks if each.state is State.BAD]


def test_a_sound_load_is_well_and_every_part_of_it_was_looked_at(shop):
    sql(shop.folder, "CREATE INDEX newest ON orders (updated_at)")
    file = shop.file(PIPELINE)
    health = examine(file)
    assert health.well, health.table.text
    assert found(health, "shop", "connection").seen == "ok"
    assert found(health, "lake", "connection").seen == "ok"
    seen = {each.name: each.seen for each in health.checks if each.area == "load first"}
    assert seen["updated_at type"] == "TIMESTAMP"
    assert seen["updated_at precision"] == "6 digits of a second"
    assert seen["updated_at NULLs"] == "none"
    assert seen["updated_at ties"] == "one row at the maximum, 2024-06-03 12:00:00"
    assert seen["updated_at future rows"] == "none"
    assert seen["updated_at index"].startswith("one begins with updated_at")
    assert seen["target"].endswith("raw/first: absent")
    assert not (shop.folder / "lake").exists()
    hwm_magics.load(file, node="first")
    target = found(examine(file), "target", "load first")
    assert target.seen.endswith("exists, version 1; watermark updated_at = 2024-06-03 12:00:00")


def test_nulls_ties_and_future_rows_are_counted_and_advised_on(shop):
    sql(
        shop.folder,
        "INSERT INTO orders VALUES (7, 1, NULL), (8, 1, NULL)",
        "INSERT INTO orders VALUES (9, 1, '2999-01-01 00:00:00.000000'), (10, 1, '2999-01-01 00:00:00.000000')",
    )
    health = examine(shop.file())
    assert bad(health) == [("load load_orders", "updated_at NULLs")]
    nulls = found(health, "updated_at NULLs")
    assert nulls.seen == "2 rows have no value"
    assert "fallback_column" in nulls.do
    assert found(health, "updated_at ties").seen == (
        "2 rows at the maximum, 2999-01-01 00:00:00; they are read again and recognised"
    )
    future = found(health, "updated_at future rows")
    assert (
        future.seen == "2 rows lie above the source's clock, up to 2999-01-01 00:00:00; they wait until then"
    )
    assert future.state is State.NOTE


@pytest.mark.parametrize(
    ("settings", "extra", "name", "do"),
    [
        ("future: accept", "", "updated_at future rows", "future: cap"),
        ("future: error", "", "updated_at future rows", "stops each run"),
        ("boundary: exclusive", "", "updated_at ties", "boundary: inclusive"),
        ("nulls: warn", "transform: mod:f\n", "updated_at ties", "declare write.keys"),
    ],
)
def test_settings_that_would_lose_rows_here_are_bad(shop, settings, extra, name, do):
    sql(
        shop.folder,
        "INSERT INTO orders VALUES (9, 1, '2999-01-01 00:00:00.000000'), (10, 1, '2999-01-01 00:00:00.000000')",
    )
    file = shop.file(extra + ORDERS.replace("{column: updated_at}", f"{{column: updated_at, {settings}}}"))
    check = found(examine(file), name)
    assert check.state is State.BAD
    assert do in check.do


def test_a_first_run_that_reads_rows_without_a_cursor_is_no_complaint(shop):
    sql(shop.folder, "INSERT INTO orders VALUES (7, 1, NULL)")
    file = shop.file(ORDERS.replace("{column: updated_at}", "{column: updated_at, nulls: first_run_only}"))
    assert examine(file).well


@pytest.mark.parametrize(
    ("column", "values", "seen", "state"),
    [
        ("at DATE", "'2024-06-01'), (2, '2024-06-01'", "at precision: a day", State.OK),
        ("at INTEGER", "5), (2, 6", "at precision: whole numbers", State.OK),
        ("at REAL", "1.5), (2, 2.5", "cursor column: ", State.BAD),
        (
            "at TEXT",
            "'2024-06-01T10:00:00Z'), (2, '2024-06-02T10:00:00Z'",
            "at precision: a second",
            State.OK,
        ),
        ("at TEXT", "'2024-06-01'), (2, '01/07/2024'", "cursor column: ", State.BAD),
    ],
)
def test_each_type_of_cursor_is_told_with_its_precision(shop, column, values, seen, state):
    sql(
        shop.folder, f"CREATE TABLE things (id INTEGER, {column})", f"INSERT INTO things VALUES (1, {values})"
    )
    health = examine(shop.file(ORDERS.replace("table: orders", "table: things").replace("updated_at", "at")))
    name, _, what = seen.partition(": ")
    check = found(health, name)
    assert check.state is state
    assert check.seen.startswith(what)
    if state is State.BAD:
        assert check.do


def test_an_integer_cursor_of_an_upsert_is_remarked_on(shop):
    file = shop.file(ORDERS.replace("updated_at", "id").rstrip() + "\n  mode: upsert\n  keys: [id]\n")
    assert "no changes of old ones" in found(examine(file), "id type").seen


def test_loads_without_a_cursor_are_told_by_their_way(shop):
    text = ORDERS.replace("  incremental: {column: updated_at}\n", "")
    assert found(examine(shop.file(text)), "cursor").state is State.BAD
    assert examine(shop.file(text + "  mode: overwrite\n")).well
    query = text.replace(
        "table: orders", "query: SELECT * FROM orders WHERE id > (SELECT MAX(id) FROM {target})"
    )
    assert "follow it as written" in found(examine(shop.file(query)), "cursor").seen
    rows = shop.folder / "lake/landing"
    write_deltalake(rows / "t", pa.table({"id": [1]}))
    (rows / "a.csv").write_text("id\n1\n")
    for path, told in (
        ("landing/t, format: delta", "the table's versions"),
        ("landing/a.csv", "loaded files"),
    ):
        moved = f"read: {{connection: lake, path: {path}}}\nwrite: {{connection: lake, path: copy}}\n"
        assert told in found(examine(shop.file(moved)), "cursor").seen


def test_postgresql_tells_index_and_rows_and_a_refused_login_shows_no_password(shop, pg_database):
    with pg_database.connect() as connection:
        connection.execute("CREATE TABLE items (id int PRIMARY KEY, at timestamptz, late timestamp)")
        connection.execute(
            "INSERT INTO items SELECT n, now() - n * interval '1 s', now() FROM generate_series(1, 150000) n"
        )
        connection.execute("CREATE INDEX ON items (at)")
        connection.execute("ANALYZE items")
    (shop.folder / "hwm.yaml").write_text(
        "connections:\n"
        "  erp: {type: sql, url: '${env:ERP_URL}'}\n"
        f"  locked: {{type: postgres, host: 127.0.0.1, port: {pg_database.port}, database: {pg_database.dbname}, "
        "username: loader, password: '${env:ERP_PASSWORD}'}\n"
        "  lake: {type: local, root: ./lake}\n"
    )
    load = ORDERS.replace("connection: shop", "connection: erp").replace(
        "table: orders", "table: public.items"
    )
    file = shop.file(load.replace("updated_at", "at"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ERP_URL", pg_database.url)
        patch.setenv("ERP_PASSWORD", SECRET)
        health = examine(file)
        assert health.well, health.table.text
        assert found(health, "at precision").seen == "6 digits of a second"
        assert found(health, "at index").seen == "one begins with at (about 150,000 rows)"
        late = found(examine(shop.file(load.replace("updated_at", "late"))), "late index")
        assert late.do.startswith("each run reads the whole table: CREATE INDEX")
        every = examine()
        locked = found(every, "locked", "connection")
        assert locked.state is State.BAD
        assert "\n" not in locked.seen
        assert found(every, "erp", "connection").seen == "ok"
    told = every.table.text + json.dumps(every.to_dict()) + health.table.html
    assert SECRET not in told
    assert pg_database.password not in told


def test_a_server_that_never_answers_hides_nothing_else(shop):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (shop.folder / "hwm.yaml").write_text(
            "connections:\n"
            "  silent: {type: postgres, host: 127.0.0.1, database: d, username: u, "
            f"port: {silent.getsockname()[1]}}}\n"
            "  shop: {type: sqlite, database: shop.db}\n"
        )
        health = examine(patience=0.5)
    assert found(health, "silent").seen == "no answer within 0.5 s"
    assert found(health, "shop").seen == "ok"
    assert not health.well


def test_a_connection_that_fails_is_told_once_and_its_loads_refer_to_it(shop):
    (shop.folder / "shop.db").unlink()
    health = examine(shop.file())
    assert bad(health) == [("connection", "shop")]
    assert found(health, "source", "load").seen == "not looked at: see connection shop"
    assert found(health, "target", "load").state is State.OK


def test_a_variable_that_is_not_set_is_told_with_its_connection(shop, monkeypatch):
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    (shop.folder / "hwm.yaml").write_text(
        "connections:\n  erp: {type: postgres, host: h, database: d, username: u, password: '${env:NOT_SET_HERE}'}\n"
    )
    assert "NOT_SET_HERE is not set" in found(examine(), "erp").seen


def test_what_can_not_be_read_is_told_and_the_rest_is_looked_at(shop):
    file = notebooks.write(
        shop.folder / "nb.ipynb",
        CONNECTIONS,
        "%%hwm_load\nread: {connection: shop, tabel: orders}\nwrite: {connection: lake, path: a/b}",
        "%%hwm_load --rum\nread: {}",
        f"%%hwm_load\n{ORDERS}",
    )
    health = examine(file)
    errors = [each.seen for each in health.checks if each.area == "file" and each.state is State.BAD]
    assert len(errors) == 2
    assert "did you mean 'table'" in errors[0]
    assert found(health, "updated_at type").seen == "TIMESTAMP"


def test_a_file_that_is_no_notebook_or_not_there_is_one_line(shop):
    (shop.folder / "broken.ipynb").write_text("{}")
    for name in ("broken.ipynb", "nothing.yaml"):
        health = examine(shop.folder / name)
        assert bad(health) == [("file", name)]


def test_credentials_in_cells_outputs_and_hwm_yaml_are_found_and_not_shown(shop):
    (shop.folder / "hwm.yaml").write_text(
        f"connections:\n  erp: {{type: postgres, host: h, database: d, username: u, password: {SECRET}}}\n"
    )
    shown = {"output_type": "stream", "name": "stdout", "text": f"postgresql://u:{SECRET}@h/d"}
    file = notebooks.write(
        shop.folder / "nb.ipynb",
        f"password = '{SECRET}'",
        {"source": "print(url)", "outputs": [shown], "execution_count": 1},
        CONNECTIONS,
        f"%%hwm_load\n{ORDERS}",
    )
    health = examine(file)
    told = [each.seen for each in health.checks if each.area == "credentials"]
    assert told == [
        "cell 1, line 1: password is a literal credential",
        "cell 2: its output shows a URL with a password",
        "line 2: connections.erp.password is a literal credential",
    ]
    assert SECRET not in health.table.text + health.table.html + json.dumps(health.to_dict())


def test_a_notebook_that_needs_its_code_is_looked_at_as_far_as_that_goes(shop):
    few = ORDERS.replace("load_orders", "few").replace(
        "table: orders", "query: SELECT * FROM orders WHERE id < ${most}"
    )
    file = notebooks.write(
        shop.folder / "nb.ipynb",
        LOAD_EXT,
        tagged("most = 2"),
        "source = connect()",
        CONNECTIONS,
        f"%%hwm_load\n{ORDERS.replace('connection: shop', 'connection: source')}",
        f"%%hwm_load\n{few}",
    )
    health = examine(file)
    assert any(each.seen.endswith("source is a variable of cell 3") for each in health.checks)
    assert any("cell 5: not looked at" in each.seen for each in health.checks)
    assert found(health, "updated_at ties", "few").seen == "one row at the maximum, 2024-06-01 12:00:00"
    assert health.well, health.table.text


def test_an_extra_that_is_missing_is_bad_only_where_it_is_needed(shop, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "adbc_driver_postgresql" else real(name, *rest),
    )
    file = shop.file()
    postgres = found(examine(file), "postgres", "extra")
    assert (postgres.state, postgres.do) == (State.NOTE, "pip install 'hwm-magics[postgres]'")
    (shop.folder / "hwm.yaml").write_text(
        "connections:\n  shop: {type: sql, url: 'postgresql://127.0.0.1:1/d'}\n  lake: {type: local, root: ./lake}\n"
    )
    assert found(examine(file), "postgres", "extra").state is State.BAD


def test_hwm_doctor_prints_a_table_or_json_and_ends_with_0_or_1(shop):
    runner = CliRunner()
    file = str(shop.file())
    done = runner.invoke(cli, ["doctor", file])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("All is well\n")
    assert "updated_at ties" in done.stdout
    sql(shop.folder, "INSERT INTO orders VALUES (7, 1, NULL)")
    done = runner.invoke(cli, ["doctor", file, "--json"])
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["well"] is False
    assert {"state": "BAD", "area": "load load_orders", "name": "updated_at NULLs"}.items() <= next(
        each for each in told["checks"] if each["state"] == "BAD"
    ).items()
    assert runner.invoke(cli, ["doctor", file]).stdout.startswith("1 thing to see to\n")
    health = hwm_magics.doctor(file)
    assert not health.well


def test_the_magic_looks_at_the_loads_of_this_session_with_its_variables(shop):
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    try:
        shell.run_line_magic("load_ext", "hwm_magics")
        shell.user_ns["source"] = sqlite3.connect(shop.folder / "shop.db", check_same_thread=False)
        shell.user_ns["clean"] = lambda frame: frame
        text = "transform: clean\n" + ORDERS.replace("connection: shop", "connection: source")
        shell.run_cell_magic("hwm_load", "--plan --quiet", text)
        table = shell.run_line_magic("hwm_doctor", "")
        assert "load load_orders" in table.text
        assert "updated_at ties" in table.text
    finally:
        shell.user_ns["source"].close()
        shell.run_line_magic("unload_ext", "hwm_magics")
