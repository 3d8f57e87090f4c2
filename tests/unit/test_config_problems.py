"""What is wrong in a load's YAML: all of it at once, each with its line, its path and what to write instead."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.config.defaults import Defaults
from hwm_magics.config.schema import read_body
from hwm_magics.connections import secrets
from hwm_magics.connections.local import LocalConnection
from hwm_magics.connections.registry import Connections
from hwm_magics.connections.sqlite import SqliteConnection
from hwm_magics.errors import ConfigError, Problem


@pytest.fixture(autouse=True)
def _secrets_of_its_own():
    """A test must not pass because another one made its secret known, nor mask what another one looks for."""
    kept = secrets._known.copy()
    secrets._known.clear()
    yield
    secrets._known.clear()
    secrets._known.update(kept)


def problems(text, **options) -> list[Problem]:
    """Everything that is wrong with a text."""
    with pytest.raises(ConfigError) as caught:
        read_body(text, **({"params": {}, "defaults": Defaults()} | options))
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


def one(text, **options) -> Problem:
    """The only thing that is wrong with it."""
    (found,) = problems(text, **options)
    return found


def reading(settings: str) -> str:
    return f"read: {{connection: c, {settings}}}\nwrite: {{connection: l, path: p}}\n"


def incremental(settings: str) -> str:
    return reading(f"table: t, incremental: {{{settings}}}")


def writing(settings: str) -> str:
    return f"read: {{connection: c, table: t}}\nwrite: {{connection: l, {settings}}}\n"


NODE = "read: {connection: c, table: t}\nwrite: {connection: l, path: p}\n"


def test_all_problems_come_at_once_in_the_order_of_the_text():
    found = problems("""\
name: orders
name: again
engin: pandas
read:
  conection: erp
  format: postgress
  table: true
  columns: [a, a]
  incremental:
    lag: 5x
    nulls: warm
    settle: 30
write:
  connection: lake
  pth: raw/orders
  mode: upsrt
  optimize_write: yes
  keys: []
  delta.appendOnly: true
  options:
    cluster_by: a
    partition_by: b
    vacuum: true
transform: "1x"
params: {a: "${oops}"}
""")
    assert [each.line for each in found] == [
        3,
        4,
        6,
        7,
        8,
        9,
        10,
        11,
        12,
        13,
        16,
        17,
        18,
        19,
        20,
        22,
        24,
        25,
        26,
    ]
    text = "\n".join(str(each) for each in found)
    for words in [
        "line 3: name: the key 'name' stands here twice; the first is on line 2",
        "line 4: engin: the key 'engin' is not known: did you mean 'engine'?",
        "line 6: read.conection: the key 'conection' is not known: did you mean 'connection'?",
        "line 7: read.format: 'postgress' is not known: did you mean 'postgres'?",
        "line 8: read.table: it must be a text, and true is a truth value: put it in quotes",
        "line 9: read.columns: a stands in the list twice",
        "line 10: read.incremental: the cursor column is missing: add column: updated_at",
        "line 11: read.incremental.lag: '5x': 'x' is no unit of time",
        "line 12: read.incremental.nulls: 'warm' is not known: did you mean 'warn'?",
        "line 13: read.incremental.settle: '30' has no unit: write 30s, 30m, 30h or 30d",
        "line 16: write.pth: the key 'pth' is not known: did you mean 'path'?",
        "line 17: write.mode: 'upsrt' is not known: did you mean 'upsert'?",
        "line 18: write.optimize_write: it must be true or false, and this is 'yes': write true",
        "line 19: write.keys: the list is empty",
        "line 20: write.delta.appendOnly: the table property 'delta.appendOnly' belongs under write.options",
        "line 22: write.options.cluster_by: a table is either partitioned or clustered",
        "line 24: write.options.vacuum: 'vacuum' is not known here",
        "line 25: transform: '1x' is no function's name",
        "line 26: params.a: ${oops} is not a param",
    ]:
        assert words in text
    # Each with the text of its line.
    assert "\n      mode: upsrt" in text


def test_the_message_says_how_many_and_lists_them():
    with pytest.raises(ConfigError) as caught:
        read_body("reed: {}\nwrite: {}", params={}, defaults=Defaults(), what="orders.yaml", line_offset=0)
    text = str(caught.value)
    assert text.startswith("3 problems in orders.yaml\n")
    assert "\n  · line 1: reed: the key 'reed' is not known: did you mean 'read'?\n      reed: {}" in text


def test_nothing_of_pydantic_or_pyyaml_shows():
    text = "\n".join(
        str(each) for each in problems("read: [1]\nwrite: {path: {a: 1}, properties: 5, mode: 3}\nx: 1")
    )
    for noise in ("pydantic", "Input should", "type=", "http", "Extra inputs", "Value error", "<", "yaml."):
        assert noise not in text


@pytest.mark.parametrize("text", ["", "# nothing", "---"])
def test_an_empty_cell_shows_the_shortest_load(text):
    with pytest.raises(ConfigError, match="the cell is empty") as caught:
        read_body(text, params={}, defaults=Defaults())
    assert "table: dbo.orders" in str(caught.value)
    assert "incremental: {column: updated_at}" in str(caught.value)


@pytest.mark.parametrize("text", ["just words", "5", "[]", "- 5", "nodes: []", "pipeline: p", "nodes: 5"])
def test_other_shapes_are_refused(text):
    assert problems(text)[0].line == 2


class TestBlocks:
    def test_the_seeds_quick_start_is_told_exactly_what_to_add(self):
        text = (
            "write:\n  path: raw/orders\n  mode: append\n  first_run_query: SELECT * FROM dbo.orders  # all\n"
        )
        read, connection = problems(text)
        assert read.message == (
            "there is no read: block, so it can't be told where rows come from, or which are new. Add:\n"
            "        read:\n"
            "          connection: sql_server  # a database connection\n"
            "          table: dbo.orders       # or query: SELECT …\n"
            "          incremental:\n"
            "            column: updated_at    # says how new a row is\n"
            "      or name a default in hwm.yaml, under defaults: read:"
        )
        assert (connection.path, connection.line) == ("write.connection", 2)

    def test_a_first_query_that_is_no_plain_table_asks_for_a_query(self):
        text = "write: {connection: l, path: p, first_run_query: SELECT a FROM b}"
        assert "query: SELECT …          # what to read from the second run on" in one(text).message

    def test_a_load_without_a_target_is_told_what_to_add(self):
        found = one("read: {connection: c, table: t}")
        assert "path: raw/orders        # a folder" in found.message

    @pytest.mark.parametrize(
        ("text", "path", "words"),
        [
            ("read: {table: t}\nwrite: {connection: l, path: p}", "read.connection", "it is missing"),
            ("read: {connection: c}\nwrite: {connection: l, path: p}", "read", "names nothing to read"),
            ("read: {connection: c, table: t}\nwrite: {path: p}", "write.connection", "it is missing"),
            ("read: {connection: c, table: t}\nwrite: {connection: l}", "write", "names no target"),
            ("read:\nwrite: {connection: l, path: p}", "read", "there is no value"),
            ("read: 5\nwrite: {connection: l, path: p}", "read", "must be a block of settings"),
            (
                "read: {connection: c, table: }\nwrite: {connection: l, path: p}",
                "read.table",
                "there is no value",
            ),
            ("read: {connection: c, table: ' '}\nwrite: {connection: l, path: p}", "read.table", "is empty"),
            ("read: {connection: c, table: [a]}\nwrite: {connection: l, path: p}", "read.table", "is a list"),
        ],
    )
    def test_that_lack_something_say_what(self, text, path, words):
        found = problems(text)
        assert any(each.path == path and words in each.message for each in found)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (NODE + "keys: [a]", "'keys' is not known here: it belongs under write"),
            (NODE + "table: x", "it belongs under read"),
            (NODE + "first_run_query: x", "it belongs under write"),
            (writing("path: p, incremental: {column: x}"), "it belongs under read"),
            (writing("path: p, unique_key: x"), "the columns that identify a row are write.keys"),
            (reading("table: t, cursor_column: x"), "the cursor column is read.incremental.column"),
            (writing("path: p, zorder_by: x"), "write cluster_by instead"),
            (reading("table: t, sql_file: x"), "not in this version yet"),
            (NODE + "connections: {}", "%%hwm_connections"),
            (reading("table: t, zzz: x"), "there are connection, format, table, query"),
        ],
    )
    def test_keys_of_another_block_or_tool_are_sent_home(self, text, words):
        assert words in one(text).message


class TestRules:
    @pytest.mark.parametrize(
        ("text", "path", "words"),
        [
            (writing("path: p, mode: upsert"), "write.mode", "add keys: [order_id]"),
            (writing("path: p, mode: append_once"), "write.mode", "add keys: [order_id]"),
            (writing("path: p, format: parquet"), "write.format", "targets are Delta tables"),
            (
                writing("path: p, cluster_by: a, partition_by: b"),
                "write.cluster_by",
                "either partitioned or clustered",
            ),
            (writing("path: ../p"), "write.path", "holds '..'"),
            (writing("path: a/../../p"), "write.path", "holds '..'"),
            (writing("path: 's3://b/p'"), "write.path", "is a URL"),
            (writing("path: ~/p"), "write.path", "begins with '~'"),
            (writing("path: /"), "write.path", "root itself"),
            (writing("table: 'a b'"), "write.table", "is no table's name"),
            (writing("table: a.b.c.d"), "write.table", "is no table's name"),
            (writing("path: p, register_table: ../x"), "write.register_table", "is no table's name"),
            (writing("table: a, register_table: b"), "write.register_table", "a target has one name"),
            (writing("path: p, keys: [a], options: {keys: [b]}"), "write.options.keys", "keep one of them"),
            (
                writing("path: p, partition_by: a, options: {partition_by: b}"),
                "write.options.partition_by",
                "keep one",
            ),
            (writing("path: p, partition_by: ''"), "write.partition_by", "empty"),
            (
                writing("path: p, schema: strict, merge_schema: true"),
                "write.merge_schema",
                "keep one of them",
            ),
            (
                writing("path: p, properties: {appendOnly: true}"),
                "write.properties.appendOnly",
                "delta.… table prop",
            ),
            (
                writing("path: p, options: {optimise_write: true}"),
                "write.options.optimise_write",
                "'optimize_write'?",
            ),
            (
                writing("path: p, options: {delta.x: [1]}"),
                "write.options.delta.x",
                "must be a text, a number",
            ),
            (
                writing("path: p, options: {delta.x: 1}, properties: {delta.x: 2}"),
                "write.options.delta.x",
                "set twice, to 2 and to 1",
            ),
            (incremental("lag: 5m"), "read.incremental", "add column: updated_at"),
            (incremental("column: a, lag: -5"), "read.incremental.lag", "so write 5"),
            (incremental("column: a, lag: -5m"), "read.incremental.lag", "negative"),
            (
                incremental("column: a, lag: 5m, watermark_lag: 6m"),
                "read.incremental.watermark_lag",
                "keep one",
            ),
            (incremental("column: a, lag: true"), "read.incremental.lag", "a duration (30m) or a count"),
            (
                incremental("column: a, mode: rolling"),
                "read.incremental.mode",
                "did you mean 'rolling_window'?",
            ),
            (
                incremental("column: a, mode: rolling_window"),
                "read.incremental.lookback",
                "lookback: 3 with unit",
            ),
            (
                incremental("column: a, mode: stateful, lookback: 3"),
                "read.incremental.lookback",
                "rolling_window",
            ),
            (incremental("column: a, unit: day"), "read.incremental.unit", "add lookback: 1"),
            (
                incremental("column: a, lookback: 3, unit: dya"),
                "read.incremental.unit",
                "did you mean 'day'?",
            ),
            (
                incremental("column: a, lookback: 3d, unit: day"),
                "read.incremental.unit",
                "has its unit already",
            ),
            (incremental("column: a, lookback: 0"), "read.incremental.lookback", "more than 0"),
            (
                incremental("column: a, fallback_column: a"),
                "read.incremental.fallback_column",
                "cursor column itself",
            ),
            (
                incremental("column: a, date_format: oracle"),
                "read.incremental.date_format",
                "as strptime does",
            ),
            (
                incremental("column: a, date_format: is"),
                "read.incremental.date_format",
                "did you mean 'iso'?",
            ),
            (
                incremental("column: a, initial_value: true"),
                "read.incremental.initial_value",
                "put it in quotes",
            ),
            (incremental("column: a, initial_value: [1]"), "read.incremental.initial_value", "of type list"),
            (incremental("column: a, future: capp"), "read.incremental.future", "did you mean 'cap'?"),
            (reading("query: SELECT 1, columns: [a]"), "read.columns", "in the query itself"),
            (
                reading("query: SELECT 1, options: {query: SELECT 2}"),
                "read.options.query",
                "keep one of them",
            ),
            (NODE + "transform: {steps: []}", "transform", "is a mapping"),
            (NODE + "engine: polars", "engine", "write one of auto, pandas, spark"),
            (NODE + "depends_on: [x]\nname: y", "depends_on[0]", "no node named 'x': there are y"),
            (NODE + "params: {high: 1}", "params", "'high' is taken"),
            (NODE + "params: {a-b: 1}", "params", "is no name"),
        ],
    )
    def test_between_and_within_settings(self, text, path, words):
        found = one(text)
        assert found.path == path
        assert words in found.message
        assert found.line is not None

    def test_overwrite_is_not_incremental(self):
        text = incremental("column: x").replace("path: p", "path: p, mode: overwrite")
        assert "overwrite re-reads everything" in one(text).message

    @pytest.mark.parametrize(
        ("given", "path", "words"),
        [
            ("{column: id}", "read.partition", "needs both"),
            ("{count: 8}", "read.partition", "needs both"),
            ("{column: id, count: 0}", "read.partition.count", "write 1 or more"),
            ("by pages", "read.partition", "it must be auto, or a block"),
            ("[id, 8]", "read.partition", "it must be auto, or a block"),
        ],
    )
    def test_parallel_parts_need_a_column_and_a_count(self, given, path, words):
        found = one(reading(f"table: t, partition: {given}"))
        assert (found.path, words in found.message) == (path, True)

    @pytest.mark.parametrize(
        ("text", "path"),
        [
            (reading("table: t, format: jdbc"), "read.format"),
        ],
    )
    def test_what_comes_later_is_said_in_so_many_words(self, text, path):
        found = problems(text)
        assert "is not in this version yet" in found[0].message
        assert found[0].path == path

    @pytest.mark.parametrize(
        ("first_run", "path", "words"),
        [
            ("{}", "write.first_run", "it says nothing: add chunk: 30d"),
            ("{chunk: 0}", "write.first_run.chunk", "is no step"),
            ("{chunk: 0d}", "write.first_run.chunk", "is no step"),
            ("{chunk: -5}", "write.first_run.chunk", "is no step"),
            ("{chunk: 3 months}", "write.first_run.chunk", "no fixed length"),
            ("{chunk: [1]}", "write.first_run.chunk", "a duration (30d) or a count (1000000)"),
            ("{chunks: 30d}", "write.first_run.chunks", "did you mean 'chunk'"),
        ],
    )
    def test_a_chunk_reaches_further_than_nothing(self, first_run, path, words):
        text = (
            "read: {connection: c, table: t, incremental: {column: u}}\n"
            f"write: {{connection: l, path: p, first_run: {first_run}}}\n"
        )
        found = one(text)
        assert (found.path, found.line) == (path, 3)
        assert words in found.message

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (writing("path: p, first_run: {chunk: 30d}"), "along a cursor column: add read.incremental"),
            (
                writing("path: p, mode: overwrite, first_run: {chunk: 30d}"),
                "mode: overwrite replaces all rows",
            ),
        ],
    )
    def test_a_first_run_in_chunks_needs_a_cursor_and_a_table_that_grows(self, text, words):
        found = one(text)
        assert found.path == "write.first_run"
        assert words in found.message

    @pytest.mark.parametrize(
        ("given", "path", "words"),
        [
            (
                "path: t, format: delta, options: {changed: error}",
                "read.options.changed",
                "of a Delta table there is only changed: ignore",
            ),
            ("path: '*.csv', options: {settle: soon}", "read.options.settle", "is no duration"),
            (
                "path: '*.csv', options: {changed: maybe}",
                "read.options.changed",
                "write error, load or ignore",
            ),
            ("path: '*.csv', options: {changed: load}", "read.options.changed", "would double"),
            ("path: '*.csv', options: {types: 3}", "read.options.types", "write column: type"),
            (
                "path: landing, incremental: {column: u}",
                "read.format",
                "write csv, json, parquet, delta or orc",
            ),
            ("path: l, format: postgres, incremental: {column: u}", "read.format", "no kind of file"),
            ("path: ../*.csv, incremental: {column: u}", "read.path", "'..'"),
            ("path: a.csv, table: t, incremental: {column: u}", "read.table", "there is a path, too"),
            ("table: t, format: csv", "read.path", "add path"),
            ("table: t, format: delta", "read.path", "add path"),
        ],
    )
    def test_files_are_judged_by_what_can_be_read_of_them(self, given, path, words):
        found = problems(reading(given))[0]
        assert (found.path, words in found.message) == (path, True)


class TestBetweenNodes:
    def pipeline(self, *nodes: str) -> str:
        rows = "".join(
            f"  - {{{node}, read: {{connection: c, table: t}}, write: {{connection: l, path: p}}}}\n"
            for node in nodes
        )
        return f"pipeline: p\nnodes:\n{rows}"

    def test_names_are_unique(self):
        found = one(self.pipeline("name: a", "name: b", "name: a"))
        assert (found.line, found.path) == (6, "nodes[2].name")
        assert "the first is on line 4" in found.message

    def test_names_that_come_from_targets_are_unique_too(self):
        assert "two nodes are named 'p'" in one(self.pipeline("engine: auto", "engine: auto")).message

    def test_nodes_that_are_waited_for_exist(self):
        found = one(self.pipeline("name: load_orders", "name: b, depends_on: [load_order]"))
        assert "did you mean 'load_orders'?" in found.message
        assert found.path == "nodes[1].depends_on[0]"

    @pytest.mark.parametrize(
        ("nodes", "ring"),
        [
            (["name: a, depends_on: [a]"], "a → a"),
            (
                ["name: a, depends_on: [b]", "name: b, depends_on: [c]", "name: c, depends_on: [a]"],
                "a → b → c → a",
            ),
            (
                ["name: x, depends_on: [a]", "name: a, depends_on: [b]", "name: b, depends_on: [a]"],
                "a → b → a",
            ),
        ],
    )
    def test_nodes_do_not_wait_for_each_other(self, nodes, ring):
        assert ring in one(self.pipeline(*nodes)).message

    def test_a_diamond_is_no_ring(self):
        nodes = [
            "name: a",
            "name: b, depends_on: [a]",
            "name: c, depends_on: [a]",
            "name: d, depends_on: [b, c]",
        ]
        assert len(read_body(self.pipeline(*nodes), params={}, defaults=Defaults()).loads) == 4

    def test_problems_of_all_nodes_come_together(self):
        found = problems(self.pipeline("name: a, engine: x", "name: b, transfrom: y"))
        assert [each.path for each in found] == ["nodes[0].engine", "nodes[1].transfrom"]


class TestReferences:
    def test_in_sql_are_found_on_their_own_line(self):
        text = "read:\n  connection: c\n  query: |\n    SELECT *\n    FROM t\n    WHERE a > ${sinc}\n"
        text += "write: {connection: l, path: p}\n"
        found = one(text + "params: {since: 1}")
        assert (found.line, found.excerpt) == (7, "WHERE a > ${sinc}")
        assert "did you mean 'since'?" in found.message

    @pytest.mark.parametrize("reference", ["${env:HOME}", "${secret:a/b}"])
    @pytest.mark.parametrize("place", ["query", "where", "filter", "options: {query", "first"])
    def test_credentials_do_not_belong_in_any_sql(self, reference, place):
        sql = f'"SELECT 1 WHERE a = {reference}"'
        if place == "first":
            text = writing(f"path: p, first_run_query: {sql}")
        else:
            text = reading(f"table: t, {place}: {sql}" + ("}" if "{" in place else ""))
        assert "does not belong in SQL" in one(text).message

    @pytest.mark.parametrize("place", ["table: '${secret:a/b}'", "table: 'x${secret:a/b}'"])
    def test_a_secret_does_not_belong_where_it_would_show(self, place):
        assert "a credential (${secret:…}) does not belong here" in one(reading(place)).message

    def test_an_unknown_name_is_reported_once_and_spares_what_uses_it(self):
        text = "params: {a: '${oops}'}\n" + reading("table: '${a}', query: 'SELECT 1 WHERE x > ${a}'")
        assert one(text).path == "params.a"

    def test_a_variable_of_the_wrong_kind_is_refused(self):
        variables = {"df": object(), "s": {"a": 1}}
        found = problems(reading("table: 'x${df}', columns: '${s}'"), lookup=variables.__getitem__)
        assert {each.path for each in found} == {"read.table", "read.columns"}

    def test_a_variable_without_a_value_is_refused(self):
        found = one(reading("table: '${t}'"), lookup={"t": None}.__getitem__)
        assert "there is no value" in found.message

    def test_a_param_of_the_wrong_type_is_refused(self):
        text = "params: {n: 5}\n" + incremental("column: a, lag: '${n}'")
        assert "of another type" in one(text, params={"n": "many"}).message


class TestConnections:
    CONNECTIONS = Connections(
        {
            "shop": SqliteConnection(name="shop", database="/x.db"),
            "lake": LocalConnection(name="lake", root="/lake"),
        }
    )

    def test_unknown_ones_are_found_with_their_line(self):
        text = "read:\n  connection: shpo\n  table: t\nwrite:\n  connection: late\n  path: p\n"
        read, write = problems(text, connections=self.CONNECTIONS)
        assert (read.line, write.line) == (3, 6)
        assert "did you mean 'shop'?" in read.message
        assert "did you mean 'lake'?" in write.message
        assert "known: lake, shop" in read.message

    def test_storage_and_databases_are_told_apart(self):
        text = "read: {connection: lake, table: t}\nwrite: {connection: shop, path: p}"
        read, write = problems(text, connections=self.CONNECTIONS)
        assert "is storage (local), and read.connection must be a database" in read.message
        assert "is a database (sqlite), and write.connection must be storage" in write.message

    def test_missing_ones_are_listed(self):
        found = problems("read: {table: t}\nwrite: {connection: lake, path: p}", connections=self.CONNECTIONS)
        assert "(known: lake, shop)" in found[0].message


class TestNothingLeaks:
    @pytest.mark.parametrize(
        "line",
        [
            "  password: [planted-secret]",
            "  options: {PWD: planted-secret, x: [}",
            "  connection_string: 'Driver=x;PWD=planted-secret;' y",
            "  url: postgresql://u:planted-secret@h/d\n  urll: 5",
            "  token : planted-secret\n  : x",
        ],
    )
    def test_no_excerpt_shows_a_credential(self, line):
        with pytest.raises(ConfigError) as caught:
            read_body(f"read:\n  connection: c\n{line}\nwrite: {{}}\n", params={}, defaults=Defaults())
        assert "planted-secret" not in str(caught.value)
        assert "planted-secret" not in repr(caught.value.problems)


KEYS = "read write nodes name params incremental column lag table query path options keys mode connection"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*KEYS.split(), "depends_on", "schema", "delta.x"]), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@given(VALUES)
def test_whatever_is_written_gives_loads_or_a_config_error(value):
    try:
        found = read_body(value, params={}, defaults=Defaults())
    except ConfigError as error:
        assert not re.search(r"pydantic|Input should|Traceback", str(error))  # noqa: PT017
    else:
        assert found.loads
