"""From a cell's text to load specs: what is understood, and every spelling of it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from hwm_magics.config.defaults import Defaults
from hwm_magics.config.schema import EXAMPLE, parse, read_body
from hwm_magics.connections import secrets
from hwm_magics.connections.secrets import Secret
from hwm_magics.core.specs import (
    Boundary,
    CursorSpec,
    FuturePolicy,
    LoadSpec,
    NullPolicy,
    Partition,
    ReadSpec,
    SchemaPolicy,
    WriteMode,
    WriteSpec,
)


@pytest.fixture(autouse=True)
def _secrets_of_its_own():
    """A test must not pass because another one made its secret known, nor mask what another one looks for."""
    kept = secrets._known.copy()
    secrets._known.clear()
    yield
    secrets._known.clear()
    secrets._known.update(kept)


SEED = Path(__file__).with_name("data") / "seed_orders.yaml"
QUICK_START = """\
write:
  path: raw/orders
  mode: append
  first_run_query: SELECT * FROM dbo.orders  # Full load on first run
"""


def load(text, **options) -> LoadSpec:
    """The one load of a text."""
    (found,) = parse(text, **({"params": {}, "defaults": Defaults()} | options))
    return found


def body(text, **options):
    return read_body(text, **({"params": {}, "defaults": Defaults()} | options))


def incremental(settings: str) -> CursorSpec:
    """The cursor of a load with these incremental settings, in flow style."""
    text = f"read:\n  connection: c\n  table: t\n  incremental: {{{settings}}}\nwrite: {{connection: l, path: p}}\n"
    found = load(text).read.cursor
    assert found is not None
    return found


def write(settings: str, read: str = "") -> WriteSpec:
    """The target of a load with these write settings, in flow style."""
    return load(
        f"read: {{connection: c, table: t{read}}}\nwrite: {{connection: l, path: p, {settings}}}\n"
    ).write


class TestSeed:
    def test_the_orders_pipeline_is_read_as_it_stands(self):
        found = body(SEED.read_text())
        assert found.pipeline == "daily_orders"
        assert found.notes == ()
        (spec,) = found.loads
        assert spec.node == "load_orders"
        assert spec.read.connection == "sql_server"
        assert spec.read.format == "sql_server"
        # The query wins over the table beside it, and stays as it was written.
        assert spec.read.table is None
        as_yaml = yaml.safe_load(SEED.read_text())["nodes"][0]["read"]["options"]["query"]
        assert spec.read.query == as_yaml.strip()
        assert spec.read.cursor is None
        assert spec.write == WriteSpec(
            "adls",
            path="raw/orders",
            register_table="raw.orders",
            first_run_query="SELECT * FROM dbo.orders",
            cluster_by=("order_date",),
            optimize_write=True,
        )

    def test_the_quick_start_works_with_defaults_for_reading(self):
        defaults = Defaults(
            read={"connection": "erp", "incremental": {"column": "updated_at", "lag": "1h"}},
            write={"connection": "lake"},
        )
        found = body(QUICK_START, defaults=defaults)
        (spec,) = found.loads
        assert spec.read == ReadSpec(
            "erp", table="dbo.orders", cursor=CursorSpec("updated_at", lag=timedelta(hours=1))
        )
        assert spec.write.connection == "lake"
        assert "later runs read that of first_run_query: dbo.orders" in found.notes[0].message

    @pytest.mark.parametrize(
        ("query", "table"),
        [
            ("SELECT * FROM dbo.orders;", "dbo.orders"),
            ("select  *\n from [dbo].[my orders]", "[dbo].[my orders]"),
            ('SELECT * FROM "Shop"."Orders"', '"Shop"."Orders"'),
            ("SELECT * FROM a JOIN b ON 1=1", None),
            ("SELECT * FROM orders WHERE x = 1", None),
            ("SELECT id FROM orders", None),
        ],
    )
    def test_a_table_is_taken_from_a_simple_first_query_only(self, query, table):
        spec = load(
            {"write": {"path": "x/y", "first_run_query": query}},
            defaults=Defaults(read={"connection": "c"}, write={"connection": "l"}),
        )
        assert spec.read.table == table
        assert spec.read.query == (None if table else query)

    def test_the_example_that_an_empty_cell_shows_works(self):
        assert load(EXAMPLE).node == "raw.orders"


class TestShapes:
    NODE = "read: {connection: c, table: t}\nwrite: {connection: l, path: raw/t}\n"

    def test_one_node(self):
        assert load(self.NODE) == LoadSpec("raw.t", ReadSpec("c", table="t"), WriteSpec("l", path="raw/t"))

    def test_a_bare_list(self):
        text = "- read: {connection: c, table: t}\n  write: {connection: l, path: b}\n"
        found = body(text + text.replace("path: b", "path: a"))
        # In the order of the text.
        assert [spec.node for spec in found.loads] == ["b", "a"]
        assert found.pipeline is None

    def test_a_pipeline_whose_engine_and_params_hold_for_its_nodes(self):
        text = """
pipeline: p
description: nightly
engine: pandas
params: {root: raw, since: 2024-01-01}
nodes:
  - {name: a, read: {connection: c, query: "SELECT 1 WHERE d > ${since}"}, write: {connection: l, path: "${root}/a"}}
  - name: b
    engine: spark
    depends_on: a
    params: {root: other}
    read: {connection: c, table: t}
    write: {connection: l, path: "${root}/b"}
"""
        found = body(text)
        a, b = found.loads
        assert found.pipeline == "p"
        assert (a.engine, b.engine) == ("pandas", "spark")
        assert (a.write.path, b.write.path) == ("raw/a", "other/b")
        assert a.read.params == {"since": "2024-01-01"}
        assert b.read.params == {}
        assert b.depends_on == ("a",)
        assert found.names == {"root", "since"}

    def test_a_pipeline_with_its_nodes_by_name(self):
        found = body(
            "nodes:\n  load_orders:\n    read: {connection: c, table: t}\n    write: {connection: l, path: p}"
        )
        assert [spec.node for spec in found.loads] == ["load_orders"]

    def test_a_mapping_or_list_from_python(self):
        spec = load(
            {
                "read": {
                    "connection": "c",
                    "table": "t",
                    "query": None,
                    "incremental": {"column": "x", "lag": timedelta(minutes=5), "initial_value": 1.5},
                },
                "write": {"connection": "l", "path": Path("raw") / "t", "keys": ("a", "b")},
            }
        )
        assert spec.read.cursor == CursorSpec("x", lag=timedelta(minutes=5), initial_value=Decimal("1.5"))
        assert spec.write.path == "raw/t"
        assert spec.write.keys == ("a", "b")
        assert len(parse([{**yaml.safe_load(self.NODE)}], params={}, defaults=Defaults())) == 1

    @pytest.mark.parametrize(
        ("settings", "name"),
        [
            ("path: raw/orders", "raw.orders"),
            ("path: ./raw//orders/", "raw.orders"),
            ("path: raw/orders, register_table: shop.o", "raw.orders"),
            ("path: raw/orders, table: shop.o", "raw.orders"),
            ("table: shop.orders", "shop.orders"),
        ],
    )
    def test_a_node_without_a_name_is_named_after_where_its_rows_are(self, settings, name):
        assert load(f"read: {{connection: c, table: t}}\nwrite: {{connection: l, {settings}}}").node == name

    def test_everything_at_once(self):
        spec = load("""
name: orders
description: all of it
engine: pandas
read:
  connection: erp
  format: PostgreSQL
  table: dbo.orders
  columns: [id, "updated_at"]
  where: status <> 'x' AND region = '${region}'
  options: {fetch_size: 500, token: abcdef, query_timeout: 1.50}
  incremental:
    column: updated_at
    fallback_column: created_at
    lag: 30m
    settle: 10s
    initial_value: 2020-01-01
    boundary: exclusive
    future: error
    nulls: first_run_only
    mode: stateful
    date_format: "%Y%m%d"
transform: jobs.clean:orders
params: {region: eu}
write:
  connection: lake
  format: delta
  path: raw/orders
  table: raw.orders
  mode: upsert
  keys: [id]
  first_run_query: SELECT * FROM dbo.orders WHERE region = ${region}
  schema: strict
  options:
    {partition_by: [d], optimize_write: false, delta.appendOnly: true, delta.logRetentionDuration: interval 7 days}
""")
        assert spec.node == "orders"
        assert spec.engine == "pandas"
        assert spec.transform == "jobs.clean:orders"
        options = spec.read.options
        assert isinstance(options["token"], Secret)
        assert {**options, "token": ""} == {"fetch_size": 500, "token": "", "query_timeout": Decimal("1.50")}
        assert type(options["fetch_size"]) is int
        assert spec.read.format == "postgres"
        assert spec.read.columns == ("id", "updated_at")
        assert spec.read.where == "status <> 'x' AND region = :region"
        assert spec.read.params == {"region": "eu"}
        assert spec.read.cursor == CursorSpec(
            "updated_at",
            "created_at",
            timedelta(minutes=30),
            timedelta(seconds=10),
            "2020-01-01",
            Boundary.EXCLUSIVE,
            FuturePolicy.ERROR,
            NullPolicy.FIRST_RUN_ONLY,
            None,
            "%Y%m%d",
        )
        assert spec.write == WriteSpec(
            "lake",
            "raw/orders",
            "raw.orders",
            WriteMode.UPSERT,
            ("id",),
            first_run_query="SELECT * FROM dbo.orders WHERE region = :region",
            schema=SchemaPolicy.STRICT,
            partition_by=("d",),
            properties={"delta.appendOnly": "true", "delta.logRetentionDuration": "interval 7 days"},
        )


class TestSpellings:
    @pytest.mark.parametrize(
        ("settings", "lag"),
        [
            ("lag: 30m", timedelta(minutes=30)),
            ("watermark_lag: 2h", timedelta(hours=2)),
            ("lag: 2h, watermark_lag: 120m", timedelta(hours=2)),
            ('lag: "1h30m"', timedelta(minutes=90)),
            ("lag: PT30M", timedelta(minutes=30)),
            ("lag: 1000", 1000),
            ("lag: 0", timedelta()),
            ("lag: 0s", timedelta()),
            ("mode: stateful", None),
        ],
    )
    def test_of_lag(self, settings, lag):
        found = incremental(f"column: x, {settings}").lag
        assert found == lag
        assert type(found) is type(lag)

    def test_of_the_cursor_column(self):
        assert incremental("key_column: x") == incremental("column: x")

    @pytest.mark.parametrize(
        ("settings", "days"),
        [
            ("mode: rolling_window, lookback: 3, unit: day", 3),
            ("lookback: 3, unit: days", 3),
            ("mode: rolling_window, lookback: 3", 3),
            ("mode: rolling_window, lookback: 2, unit: month", 62),
            ("mode: rolling_window, lookback: 1, unit: year", 366),
            ("mode: rolling_window, lookback: 3d", 3),
            ("mode: rolling_window, lookback: 48, unit: hour", 2),
        ],
    )
    def test_of_a_rolling_window(self, settings, days):
        assert incremental(f"column: x, {settings}").lookback == timedelta(days=days)

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ("state_key: my_orders", "it has no effect"),
            ("mode: rolling_window, lookback: 3", "taken as 3 days"),
            ("mode: rolling_window, lookback: 3, unit: month", "taken as 93 days"),
            (
                "mode: rolling_window, lookback: 3, unit: day, watermark_lag: 2h",
                "no effect with mode: rolling_window",
            ),
        ],
    )
    def test_that_mean_less_than_they_say_are_noted_with_their_line(self, settings, words):
        text = f"read:\n  connection: c\n  table: t\n  incremental: {{column: x, {settings}}}\n"
        (note,) = body(text + "write: {connection: l, path: p}").notes
        assert words in note.message
        assert note.line == 5
        assert note.path.startswith("read.incremental.")

    @pytest.mark.parametrize(
        ("written", "format_"),
        [("iso", None), ("sql_server", None), ("us", "%m/%d/%Y"), ("eu", "%d/%m/%Y"), ('"%Y%m%d"', "%Y%m%d")],
    )
    def test_of_date_formats(self, written, format_):
        assert incremental(f"column: x, date_format: {written}").date_format == format_

    @pytest.mark.parametrize(
        ("written", "value"),
        [
            ("2024-01-01", "2024-01-01"),
            ("'2024-01-01 00:00:00.1234567'", "2024-01-01 00:00:00.1234567"),
            ("1000", 1000),
            ("1.10", Decimal("1.10")),
            ("0x00000000000007D1", "0x00000000000007D1"),
            ("0123", "0123"),
        ],
    )
    def test_of_initial_values_are_exact(self, written, value):
        found = incremental(f"column: x, initial_value: {written}").initial_value
        assert found == value
        assert type(found) is type(value)

    @pytest.mark.parametrize(
        "read",
        [
            "query: SELECT 1",
            "options: {query: SELECT 1}",
            "query: SELECT 1, options: {query: SELECT 1}",
            "table: t, options: {query: SELECT 1}",
        ],
    )
    def test_of_the_query(self, read):
        found = load(f"read: {{connection: c, {read}}}\nwrite: {{connection: l, path: p}}").read
        assert (found.query, found.table, found.options) == ("SELECT 1", None, {})

    @pytest.mark.parametrize("read", ["where: a = 1", "filter: a = 1", "options: {filter: a = 1}"])
    def test_of_the_condition(self, read):
        found = load(f"read: {{connection: c, table: t, {read}}}\nwrite: {{connection: l, path: p}}").read
        assert (found.where, found.options) == ("a = 1", {})

    @pytest.mark.parametrize(
        "settings",
        [
            "keys: [a, b]",
            "keys: 'a, b'",
            "merge_keys: [a, b]",
            "options: {keys: [a, b]}",
            "options: {merge_keys: [a, b]}",
            "keys: [a, b], options: {keys: [a, b]}",
        ],
    )
    @pytest.mark.parametrize("mode", ["upsert", "append_once", "append", "merge"])
    def test_of_keys(self, settings, mode):
        found = write(f"mode: {mode}, {settings}")
        assert found.keys == ("a", "b")
        assert found.properties == {}

    @pytest.mark.parametrize(
        "settings", ["{name}: d", "{name}: [d]", "options: {{{name}: d}}", "options: {{{name}: [d]}}"]
    )
    @pytest.mark.parametrize("name", ["partition_by", "cluster_by"])
    def test_of_the_layout(self, settings, name):
        assert getattr(write(settings.format(name=name)), name) == ("d",)

    @pytest.mark.parametrize(
        ("given", "meant"),
        [("auto", Partition(None, 0)), ("{column: id, count: 8}", Partition("id", 8))],
    )
    def test_of_parts(self, given, meant):
        text = f"read: {{connection: s, table: t, partition: {given}}}\nwrite: {{connection: l, path: p}}"
        assert load(text).read.partition == meant

    @pytest.mark.parametrize("word", ["auto", "off", "require", "xid"])
    def test_of_fences(self, word):
        text = (
            f"read: {{connection: s, table: t, incremental: {{column: u, fence: {word}}}}}\n"
            "write: {connection: l, path: p}"
        )
        assert load(text).read.cursor.fence == word

    @pytest.mark.parametrize("settings", ["optimize_write: true", "options: {optimize_write: true}"])
    def test_of_optimized_writes(self, settings):
        assert write(settings).optimize_write is True

    @pytest.mark.parametrize(
        "settings",
        [
            "options: {delta.appendOnly: true}",
            "properties: {delta.appendOnly: 'true'}",
            "table_properties: {delta.appendOnly: true}",
        ],
    )
    def test_of_table_properties(self, settings):
        assert write(settings).properties == {"delta.appendOnly": "true"}

    @pytest.mark.parametrize(
        ("settings", "policy"),
        [
            ("schema: strict", SchemaPolicy.STRICT),
            ("schema: evolve", SchemaPolicy.EVOLVE),
            ("merge_schema: true", SchemaPolicy.EVOLVE),
            ("merge_schema: false", SchemaPolicy.STRICT),
            ("options: {mergeSchema: true}", SchemaPolicy.EVOLVE),
            ("mode: append", SchemaPolicy.EVOLVE),
        ],
    )
    def test_of_the_schema_policy(self, settings, policy):
        assert write(settings).schema is policy

    @pytest.mark.parametrize("mode", list(WriteMode))
    def test_of_modes(self, mode):
        assert write(f"mode: {mode}, keys: [a]").mode is mode

    @pytest.mark.parametrize(
        "format_",
        [
            "sql",
            "sql_server",
            "postgres",
            "mysql",
            "sqlite",
            "oracle",
            "duckdb",
            "odbc",
            "mssql",
            "postgresql",
        ],
    )
    def test_of_sources(self, format_):
        assert load(
            f"read: {{connection: c, table: t, format: {format_}}}\nwrite: {{connection: l, path: p}}"
        )

    @pytest.mark.parametrize("engine", ["auto", "pandas", "spark"])
    def test_of_engines(self, engine):
        assert load(f"engine: {engine}\n{TestShapes.NODE}").engine == engine

    def test_numbers_where_a_text_is_wanted_are_taken_as_written(self):
        spec = load("name: 1.10\nread: {connection: 007, table: 2024_01}\nwrite: {connection: l, path: 0123}")
        assert (spec.node, spec.read.connection, spec.write.path) == ("1.10", "007", "0123")


class TestDefaults:
    TEXT = "read: {connection: c, table: t}\nwrite: {connection: l, path: p}"

    def test_fill_what_is_open_and_nothing_else(self):
        defaults = Defaults(
            engine="pandas",
            read={
                "connection": "other",
                "incremental": {"column": "updated_at", "lag": "1h", "nulls": "error"},
            },
            write={
                "connection": "other",
                "mode": "upsert",
                "keys": ["id"],
                "options": {"delta.appendOnly": "true"},
            },
        )
        text = """
read: {connection: c, table: t, incremental: {watermark_lag: 5m}}
write: {connection: l, path: p, options: {delta.dataSkippingNumIndexedCols: 5}}
"""
        spec = load(text, defaults=defaults)
        assert spec.engine == "pandas"
        assert spec.read == ReadSpec(
            "c", table="t", cursor=CursorSpec("updated_at", lag=timedelta(minutes=5), nulls=NullPolicy.ERROR)
        )
        assert spec.write.connection == "l"
        assert spec.write.mode is WriteMode.UPSERT
        assert spec.write.properties == {"delta.appendOnly": "true", "delta.dataSkippingNumIndexedCols": "5"}

    def test_a_query_of_the_nodes_own_replaces_a_default_table(self):
        text = "read: {query: SELECT 1}\nwrite: {connection: l, path: p}"
        found = load(text, defaults=Defaults(read={"connection": "c", "table": "t"})).read
        assert (found.query, found.table) == ("SELECT 1", None)

    def test_a_clustering_of_the_nodes_own_replaces_a_default_partitioning(self):
        text = "read: {connection: c, table: t}\nwrite: {path: p, cluster_by: a}"
        found = load(text, defaults=Defaults(write={"connection": "l", "partition_by": ["d"]})).write
        assert (found.partition_by, found.cluster_by) == ((), ("a",))

    @pytest.mark.parametrize(
        ("query", "mode"),
        [
            ("SELECT * FROM o WHERE u > :watermark", "append"),
            ("SELECT * FROM o WHERE u > (SELECT MAX(u) FROM RAW.orders)", "append"),
            ("SELECT * FROM o WHERE u > (SELECT MAX(u) FROM {target})", "append"),
            ("SELECT * FROM o", "overwrite"),
        ],
    )
    def test_a_default_cursor_gives_way_to_another_answer(self, query, mode):
        raw = {
            "read": {"query": query},
            "write": {"path": "raw/orders", "register_table": "raw.orders", "mode": mode},
        }
        defaults = Defaults(
            read={"connection": "c", "incremental": {"column": "u"}}, write={"connection": "l"}
        )
        assert load(raw, defaults=defaults).read.cursor is None

    def test_a_default_cursor_holds_for_any_other_query(self):
        raw = {
            "read": {"query": "SELECT * FROM raw.orders_2 WHERE a::high > 1"},
            "write": {"path": "raw/orders"},
        }
        defaults = Defaults(
            read={"connection": "c", "incremental": {"column": "u"}}, write={"connection": "l"}
        )
        assert load(raw, defaults=defaults).read.cursor == CursorSpec("u")


class TestReferences:
    TEXT = """\
read:
  connection: "${conn}"
  table: ${table}
  incremental: {column: u, lag: "${lag}"}
write:
  connection: l
  path: raw/${table}
  keys: ${keys}
  mode: upsert
params: {table: orders, lag: 10}
"""

    def test_take_values_type_and_all(self):
        found = body(self.TEXT, lookup={"conn": "erp", "keys": ["a", "b"]}.__getitem__, params={"lag": 5})
        (spec,) = found.loads
        assert (spec.read.connection, spec.read.table, spec.write.path) == ("erp", "orders", "raw/orders")
        assert spec.write.keys == ("a", "b")
        assert spec.read.cursor.lag == 5
        assert found.names == {"conn", "table", "lag", "keys"}

    def test_params_may_be_made_of_the_environment(self, monkeypatch):
        monkeypatch.setenv("HWM_TEST_SINCE", "2024-05-01")
        text = "params: {since: '${env:HWM_TEST_SINCE}'}\nread: {connection: c, query: 'SELECT 1 WHERE d > ${since}'}\n"
        assert load(text + "write: {connection: l, path: p}").read.params == {"since": "2024-05-01"}

    def test_the_escape_gives_the_characters(self):
        assert (
            load("read: {connection: c, table: 'a$${b}'}\nwrite: {connection: l, path: p}").read.table
            == "a${b}"
        )
