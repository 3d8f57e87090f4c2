"""A notebook needs its kernel exactly when one of its loads uses a name that only its code gives."""

from __future__ import annotations

import pytest
from fakes.notebooks import CONNECTIONS, LOAD_EXT, ORDERS, as_json, markdown, tagged

from hwm_magics.jobs.notebook_cells import read_notebook
from hwm_magics.jobs.self_contained import kernel_reasons, literal_parameters


def load(extra="", *, connection="shop", line="", where=""):
    return (
        f"%%hwm_load{line}\n{extra}read:\n  connection: {connection}\n  table: orders\n{where}"
        "  incremental: {column: updated_at}\nwrite: {connection: lake, path: raw/orders}"
    )


SINCE = '  where: "placed_on >= ${since}"\n'


def reasons(*cells, **given):
    return kernel_reasons(read_notebook(as_json(*cells)), **given)


@pytest.mark.parametrize(
    "cells",
    [
        [LOAD_EXT, CONNECTIONS, ORDERS],
        [LOAD_EXT, CONNECTIONS, markdown("text"), "import shop\nshop.make('shop.db')", ORDERS, "job.result"],
        [CONNECTIONS, load("params: {since: 2024-01-01}\n", where=SINCE)],
        [CONNECTIONS, load(line=" --param since=2024-01-01", where=SINCE), "since = 1"],
        [CONNECTIONS, "since = 1", load("params: {since: 1}\n", line=" --param since=2024", where=SINCE)],
        [tagged("since = '2024-01-01'\nlimit: int = 5"), CONNECTIONS, load(where=SINCE)],
        [CONNECTIONS, load("transform: shop_rules:clean\n")],
        [CONNECTIONS, load(where='  where: "a = 1 -- $${since}"\n'), "since = 1"],
        [CONNECTIONS, load(where=SINCE), "since = 1  # below the load"],
        [CONNECTIONS, "def since():\n    shop = 1", "%%bash\nsince=1", ORDERS],
        [CONNECTIONS, "%hwm_watermark", "%hwm_history --limit 3", ORDERS],
    ],
)
def test_loads_that_say_all_they_need_need_no_kernel(cells):
    assert reasons(*cells) == ()


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([CONNECTIONS, load("transform: clean\n")], "cell 2: transform: clean is a function of the notebook"),
        (["engine = make()", CONNECTIONS, load(connection="engine")],
         "cell 3: read.connection: engine is a variable of cell 1"),
        (["with make() as engine:\n    pass", load(connection="engine")],
         "cell 2: read.connection: engine is a variable of cell 1"),
        (["from mine import *", CONNECTIONS, load(connection="engine")],
         "cell 3: read.connection: engine is a variable that cell 1 may set"),
        (["%run setup.ipynb", CONNECTIONS, load(connection="engine")],
         "cell 3: read.connection: engine is a variable that cell 1 may set"),
        (["since = today()", CONNECTIONS, load(where=SINCE)], "cell 3: ${since} is a variable of cell 1"),
        (["since = today()", CONNECTIONS, load("params: {since: 1}\n", where=SINCE)],
         "cell 3: ${since} is a variable of cell 1"),
        (["since = !date", CONNECTIONS, load(where=SINCE)], "cell 3: ${since} is a variable of cell 1"),
        (["%%time\nsince = 1", CONNECTIONS, load(where=SINCE)], "cell 3: ${since} is a variable of cell 1"),
        (["%%sql since <<\nSELECT 1", CONNECTIONS, load(where=SINCE)],
         "cell 3: ${since} is a variable that cell 1 may set"),
        (["x = (", CONNECTIONS, load(where=SINCE)], "cell 3: ${since} is a variable that cell 1 may set"),
        ([tagged("since = today()"), CONNECTIONS, load(where=SINCE)],
         "cell 3: ${since} is computed in the parameters cell"),
        ([tagged("since = 1\nsince += 1"), CONNECTIONS, load(where=SINCE)],
         "cell 3: ${since} is computed in the parameters cell"),
        ([tagged("since = 1"), "since = since or 2", CONNECTIONS, load(where=SINCE)],
         "cell 4: ${since} is a variable of cell 2"),
        (["name = 'a'", "%%hwm_connections\nlake: {type: local, root: '${name}'}", ORDERS],
         "cell 2: ${name} is a variable of cell 1"),
        (["import os\nos.environ['PW'] = ask()", "%%hwm_connections\nshop: {type: postgres, password: '${env:PW}'}"],
         "cell 2: ${env:PW} may be set in cell 1"),
        (["%env PW=1", "%%hwm_connections\nshop: {type: postgres, password: '${env:PW}'}"],
         "cell 2: ${env:PW} may be set in cell 1"),
        (["from dotenv import load_dotenv\nload_dotenv()",
          "%%hwm_connections\nshop: {type: postgres, password: '${env:PW}'}"],
         "cell 2: ${env:PW} may be set by cell 1 (dotenv)"),
        ([CONNECTIONS, f"%%time\n{ORDERS}"], "cell 2 holds a load below %%time"),
        ([CONNECTIONS, ORDERS, "%hwm_watermark --set 5"], "cell 3 says %hwm_watermark --set 5"),
        ([CONNECTIONS, ORDERS, "%hwm_rollback"], "cell 3 says %hwm_rollback"),
        ([CONNECTIONS, ORDERS, "import hwm_magics\nhwm_magics.load('a.yaml')"],
         "cell 3 uses hwm_magics from Python"),
        ([CONNECTIONS, "get_ipython().run_cell_magic('hwm_load', '', text)"],
         "cell 2 runs a magic from Python"),
    ],
)  # fmt: skip
def test_each_use_of_the_notebooks_code_is_told_with_its_cell(cells, told):
    assert told in reasons(*cells)


def test_a_name_given_from_outside_needs_no_code():
    cells = ["since = today()", CONNECTIONS, load(where=SINCE)]
    assert reasons(*cells)
    assert reasons(*cells, params={"since"}) == ()


def test_a_connection_of_hwm_yaml_wins_over_a_variable_of_its_name():
    cells = ["shop = make()", load()]
    assert reasons(*cells)
    assert reasons(*cells, connections={"shop", "lake"}) == ()


def test_a_connections_cell_counts_only_for_the_loads_below_it():
    assert reasons("shop = make()\nlake = make()", ORDERS, CONNECTIONS)
    assert reasons("shop = make()\nlake = make()", CONNECTIONS, ORDERS) == ()


def test_every_node_of_a_pipeline_is_looked_at():
    nodes = f"%%hwm_load\npipeline: p\nnodes:\n- {{transform: one, {ORDERS.splitlines()[0][2:]}: 1}}\n- transform: two"
    assert len([each for each in reasons(nodes) if "transform" in each]) == 2
    assert len(reasons("%%hwm_load\n- transform: one\n- transform: two")) == 2


def test_yaml_that_cant_be_read_is_left_to_the_run_that_tells_why():
    assert reasons("shop = 1", "%%hwm_load\nread: [", "%%hwm_load --no-such\nread: {connection: lake}") == ()


def test_the_parameters_cell_gives_its_plain_values_and_the_injected_cell_wins():
    notebook = read_notebook(
        as_json(
            tagged(
                "since = '2024-01-01'\nlimit = 5\nratio: float = -0.5\ntoday = date.today()\nimport datetime"
            ),
            tagged("limit = 9", "injected-parameters"),
        )
    )
    found = literal_parameters(notebook)
    assert found.values == {"since": "2024-01-01", "limit": 9, "ratio": -0.5}
    assert found.computed == ("today", "datetime")
