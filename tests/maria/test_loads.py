"""Loads from MariaDB: every row once, whatever its times are like, and by every door."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from integration.test_source_ways import observed, read_all
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from maria.ways import ours
from mariadb_server import DRIVER
from servers import require_odbc_driver
from traitlets.config import Config

import hwm_magics
from hwm_magics import cli
from hwm_magics.core.decided import Window
from hwm_magics.core.specs import CursorSpec, ReadSpec
from hwm_magics.errors import LoadCancelled
from hwm_magics.sources.factory import open_source

# The test server's own zone is two hours ahead of UTC.
ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, amount decimal(12,2), changed datetime(6) NOT NULL, KEY (changed))"
# What MySQL does unasked.
ROUNDING = "SET sql_mode = 'TIME_ROUND_FRACTIONAL'"
FIRST = "INSERT INTO orders VALUES (1, 1.10, '2024-06-01 12:00:00.000001'), (2, 2.20, '2024-06-01 12:00:00.000002')"


@pytest.fixture
def orders(maria):
    maria.run(ORDERS, FIRST)
    return maria


@pytest.mark.parametrize("driver", ["pymysql", DRIVER, "odbc"])
def test_first_run_ties_late_rows_and_nothing_new(orders, load, driver):
    if driver != "pymysql":
        require_odbc_driver(DRIVER)
    made = load(table="orders", incremental={"column": "changed", "lag": "1m"}, source={"driver": driver})
    assert made.run().rows_written == 2
    # A tie with the mark, a row within the lag, one that is new, one beyond the lag.
    orders.run(
        "INSERT INTO orders VALUES (3, 3, '2024-06-01 12:00:00.000002'), (4, 4, '2024-06-01 11:59:30'), "
        "(5, 5, '2024-06-01 12:00:00.000003'), (6, 6, '2024-06-01 11:58:59')"
    )
    plan = made.plan()
    assert (plan.decision, plan.window.low.text) == ("INCREMENTAL", "2024-06-01 11:59:00.000002")
    assert made.run().rows_written == 3
    assert made.rows("id", "amount") == [(1, Decimal("1.10")), (2, Decimal("2.20"))] + [
        (number, Decimal(number)) for number in (3, 4, 5)
    ]
    assert made.run().rows_written == 0


def test_parts_go_by_the_primary_key_only(orders, load):
    orders.run("INSERT INTO orders SELECT id + 2, amount, changed FROM orders")
    parts = load(table="orders", incremental={"column": "changed"}, partition={"column": "id", "count": 3})
    assert parts.run().rows_written == 4
    assert parts.rows("id") == [(1,), (2,), (3,), (4,)]
    refused = load(table="orders", partition={"column": "amount", "count": 3}, write={"mode": "overwrite"})
    assert refused.plan().decision == "BLOCKED"


@pytest.mark.parametrize("driver", ["pymysql", "odbc"])
@pytest.mark.parametrize(("column", "chunk"), [("changed", "1d"), ("id", 3)])
def test_a_first_load_in_chunks_goes_on_where_it_broke_off(maria, load, driver, column, chunk):
    if driver == "odbc":
        require_odbc_driver(DRIVER)
    maria.run(
        ORDERS,
        "INSERT INTO orders SELECT seq, seq / 100, '2024-06-01' + INTERVAL (seq * 8) HOUR FROM seq_1_to_10",
    )
    first = {"first_run": {"chunk": chunk}}
    made = load(table="orders", incremental={"column": column}, write=first, source={"driver": driver})
    job = made.job()
    commits = []

    def breaks(name):
        commits.extend([name] if name == "before_put" else [])
        if len(commits) == 3:
            raise KeyboardInterrupt

    job._loader.failpoint = breaks
    with pytest.raises(LoadCancelled, match="its first load is committed up to"):
        job.run()
    before = made.rows("id")
    assert 0 < len(before) < 10
    plan = made.plan()
    assert plan.decision == "RESUME"
    resumed = made.run()
    assert resumed.rows_read == 10 - len(before)
    assert made.rows("id") == [(number,) for number in range(1, 11)]
    assert made.run().status == "nothing_new"


def test_an_upsert_takes_what_changed(maria, load):
    maria.run(
        "CREATE TABLE stock (sku varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, n int, "
        "changed timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6))",
        "INSERT INTO stock (sku, n) VALUES ('a', 1), ('b', 2)",
    )
    made = load(table="stock", incremental={"column": "changed"}, write={"mode": "upsert", "keys": ["sku"]})
    made.run()
    maria.run("UPDATE stock SET n = 3 WHERE sku = 'b'", "INSERT INTO stock (sku, n) VALUES ('c', 4)")
    made.run()
    assert made.rows("sku", "n") == [("a", 1), ("b", 3), ("c", 4)]


def test_a_fraction_that_the_column_rounds_up_waits_and_is_read_once(maria, load):
    """Trap 13: DATETIME(0) stores 0.6 s as the next second, and a row of 1.2 s ties with it then."""
    maria.run(
        "CREATE TABLE t (id int PRIMARY KEY, c datetime NOT NULL, KEY (c))",
        ROUNDING,
        "INSERT INTO t VALUES (1, '2024-06-01 12:00:00.6')",
    )
    made = load(table="t", incremental={"column": "c"})
    assert made.run().rows_written == 1
    maria.run(ROUNDING, "INSERT INTO t VALUES (2, '2024-06-01 12:00:01.2')")
    assert made.run().rows_written == 1
    assert [moment.second for _, moment in made.rows("id", "c")] == [1, 1]


def test_the_clock_is_that_of_the_columns_zone(maria, load):
    maria.run(
        "CREATE TABLE t (id int PRIMARY KEY, d datetime(6) NOT NULL, s timestamp(6) NOT NULL)",
        # As a session of the server's own zone writes them: two hours ahead of UTC.
        "INSERT INTO t VALUES (1, NOW(6) - INTERVAL 1 MINUTE, NOW(6) - INTERVAL 1 MINUTE), "
        "(2, NOW(6) + INTERVAL 1 HOUR, NOW(6) + INTERVAL 1 HOUR)",
    )
    for column in ("d", "s"):
        made = load(table="t", incremental={"column": column}, write={"path": f"raw/{column}"})
        assert made.run().rows_written == 1, column
    utc = load(table="t", incremental={"column": "d"}, source={"timezone": "UTC"}, write={"path": "raw/utc"})
    assert utc.run().rows_written == 0, "by the clock of UTC both rows of wall clock time are in the future"


def test_an_unsigned_number_beyond_63_bits_bounds_a_read_exactly(maria):
    maria.run(
        "CREATE TABLE t (id bigint unsigned PRIMARY KEY)",
        "INSERT INTO t VALUES (1), (18446744073709551613), (18446744073709551614), (18446744073709551615)",
    )
    read = ReadSpec("shop", table="t", cursor=CursorSpec("id", lag=0))
    with open_source(ours(maria), read) as source:
        high = observed(source, read).high
        assert high.text == "18446744073709551615"
        found = read_all(source, read, Window(high.minus(1), high), first_run=False)
    assert found.column("id").to_pylist() == [Decimal(2**64 - 2), Decimal(2**64 - 1)]


@pytest.mark.parametrize("given", ["engine", "connection"])
def test_the_notebooks_own_connection_sees_what_was_committed_since(orders, load, given):
    """A transaction that the reading began must not stay open: its snapshot would hide later rows."""
    import sqlalchemy

    options = {"init_command": "SET time_zone = '+00:00'"}
    if given == "engine":
        source = sqlalchemy.create_engine(orders.url(), connect_args=options)
    else:
        source = orders.connect(autocommit=False, **options)
    made = load(table="orders", incremental={"column": "changed"}, source=source)
    try:
        assert made.run().rows_written == 2
        orders.run("INSERT INTO orders VALUES (3, 3, '2024-06-02')")
        assert made.run().rows_written == 1
    finally:
        source.dispose() if given == "engine" else source.close()


def test_an_instant_is_refused_on_a_connection_of_another_zone(maria, load):
    maria.run("CREATE TABLE t (id int PRIMARY KEY, s timestamp(6) NOT NULL)")
    with closing(maria.connect()) as source:
        made = load(table="t", incremental={"column": "s"}, source=source)
        with pytest.raises(Exception, match=r"time zone (SYSTEM|\+02:00), and s") as caught:
            made.run()
    assert "SET time_zone = '+00:00'" in str(caught.value)
    assert not made.is_there


def test_plain_odbc_wants_to_know_the_zone_of_times(orders, load):
    require_odbc_driver(DRIVER)
    source = {"type": "odbc", "connection_string": orders.odbc}

    def settings(**more):
        return {
            "read": {"connection": "shop", "table": "orders", "incremental": {"column": "changed"}},
            **more,
        }

    made = load()
    lake = {"type": "local", "root": str(made.root)}
    spec = settings(write={"connection": "lake", "path": "raw/t", "mode": "append"})
    with pytest.raises(Exception, match="does not tell a DATETIME from a TIMESTAMP"):
        hwm_magics.load(spec, connections={"shop": source, "lake": lake})
    source["timezone"] = "Europe/Zurich"
    hwm_magics.load(spec, connections={"shop": source, "lake": lake})
    orders.run("INSERT INTO orders VALUES (3, 3, '2024-06-02')")
    hwm_magics.load(spec, connections={"shop": source, "lake": lake})
    assert made.rows("id") == [(1,), (2,), (3,)]


def test_what_the_catalog_proves(maria, load):
    maria.run(
        "CREATE TABLE t (id int NOT NULL, a int NOT NULL, b int NULL, s varchar(50) NOT NULL, c datetime(6) NOT NULL, "
        "u datetime(6) NOT NULL, PRIMARY KEY (id), UNIQUE (a, b), UNIQUE (s(10)), KEY (c, a), KEY ((0)))".replace(
            ", KEY ((0))", ""
        ),
        "CREATE VIEW v AS SELECT * FROM t",
    )
    from hwm_magics.sources.dialects import dialect_of

    dialect = dialect_of("mysql")
    facts = dialect.facts(maria.run, "`t`")
    assert facts.not_null == {"id", "a", "s", "c", "u"}
    assert facts.indexed == {"id", "a", "c"}
    assert facts.keeps_unique(["id"])
    assert not facts.keeps_unique(["a", "b"]), "b may be NULL, and two NULLs are equal to no index"
    assert not facts.keeps_unique(["s"]), "an index of the first ten characters"
    assert dialect.facts(maria.run, f"`{maria.database}`.`t`") == facts
    assert dialect.facts(maria.run, "`v`") is None


def test_rows_of_the_window_are_counted_by_an_index_and_another_database_is_another_source(orders, load):
    made = load(table="orders", incremental={"column": "changed"})
    made.run()
    orders.run("INSERT INTO orders VALUES (3, 3, '2024-06-02'), (4, 4, '2024-06-03')")
    assert "3" in made.plan().to_text() if hasattr(made.plan(), "to_text") else True
    with orders.new_database() as other:
        other.run(ORDERS, FIRST, "INSERT INTO orders VALUES (3, 3, '2024-06-02')")
        made.source = {"database": other.database}
        assert made.plan().decision == "BLOCKED"


def test_a_query_of_the_users_own_with_a_subquery_over_the_target(orders, load):
    made = load(
        query="SELECT id, `changed` FROM orders -- % of all\nWHERE changed > "
        "(SELECT COALESCE(MAX(changed), '1900-01-01') FROM {target})"
    )
    made.run()
    orders.run("INSERT INTO orders VALUES (3, 3, '2024-06-02')")
    assert made.run().rows_written == 1
    assert made.rows("id", "changed")[-1] == (3, datetime(2024, 6, 2))


CELL = """%%hwm_load --run job
read:
  connection: shop
  format: mysql
  table: orders
  incremental: {column: changed}
write: {connection: lake, path: raw/t, mode: append}
"""


@pytest.fixture
def folder(orders, tmp_path, monkeypatch):
    """A project's folder, with a lake."""
    monkeypatch.chdir(tmp_path)
    for name in ("HWM_MAGICS_MODE", "HWM_MAGICS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHOP_PASSWORD", orders.password)
    settings = {**orders.settings, "password": "${env:SHOP_PASSWORD}"}
    (tmp_path / "hwm.yaml").write_text(
        f"connections:\n  shop: {json.dumps(settings)}\n  lake: {{type: local, root: ./lake}}\n"
    )
    return tmp_path


def test_a_cell_and_then_the_command_carry_on_from_each_other(orders, load, folder, monkeypatch):
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config, ipython_dir=str(folder / "ipython"))
    try:
        shell.run_line_magic("load_ext", "hwm_magics")
        with capture_output() as shown:
            shell.run_cell(CELL, store_history=False).raise_error()
    finally:
        InteractiveShell.clear_instance()
    assert "FIRST RUN" in shown.stdout + "".join(repr(each.data) for each in shown.outputs)
    orders.run("INSERT INTO orders VALUES (3, 3, '2024-06-02')")
    Path("orders.yaml").write_text(CELL.partition("\n")[2])
    outcome = CliRunner().invoke(cli.cli, ["run", "orders.yaml"])
    assert outcome.exit_code == 0, outcome.output
    assert load().rows("id") == [(1,), (2,), (3,)]
    monkeypatch.setenv("SHOP_PASSWORD", "an0ther-one")
    outcome = CliRunner().invoke(cli.cli, ["run", "orders.yaml"])
    assert outcome.exit_code == 4
    assert "an0ther-one" not in outcome.output
    assert orders.password not in outcome.output
