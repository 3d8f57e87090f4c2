"""The project's first document, word for word: the Orders Pipeline and the quick start, end to end."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from deltalake import DeltaTable

import hwm_magics
from hwm_magics import cli
from hwm_magics.errors import ConfigError

HERE = Path(__file__).parent
PIPELINE = HERE / "orders_pipeline.yaml"
QUICK_START = HERE / "quick_start.yaml"
COLUMNS = "order_id, customer, amount, order_date, updated_at"
ORDER = "({n}, 'customer {n}', {n}.50, '2024-06-0{n}', '2024-06-0{n} 12:00:00.123456')"


@dataclass(slots=True)
class Shop:
    """A database that has `dbo.orders`, an hwm.yaml that calls it `sql_server`, and a lake called `adls`."""

    connection: Any
    folder: Path
    sql_server: str

    def add(self, *numbers: int) -> None:
        """Add orders, one a day."""
        rows = ", ".join(ORDER.format(n=n) for n in numbers)
        self.connection.execute(f"INSERT INTO dbo.orders ({COLUMNS}) VALUES {rows}")

    def configure(self, defaults: str = "") -> None:
        """Write the hwm.yaml."""
        text = f"connections:\n  sql_server: {self.sql_server}\n  adls: {{type: local, root: ./lake}}\n"
        (self.folder / "hwm.yaml").write_text(text + defaults)

    @property
    def target(self) -> DeltaTable:
        return DeltaTable(self.folder / "lake" / "raw" / "orders")

    def ids(self) -> list[int]:
        """The orders in the lake."""
        return sorted(self.target.to_pyarrow_table()["order_id"].to_pylist())


@pytest.fixture(params=["postgres", "sqlite", "sql_server"])
def shop(request, tmp_path, monkeypatch):
    """An empty one, in each of the databases."""
    monkeypatch.chdir(tmp_path)
    for name in ("HWM_MAGICS_MODE", "HWM_MAGICS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    if request.param == "postgres":
        database = request.getfixturevalue("pg_database")
        connection = database.connect()
        connection.execute("CREATE SCHEMA dbo")
        kinds = "order_id int, customer text, amount numeric(9, 2), order_date date, updated_at timestamp"
        connection.execute(f"CREATE TABLE dbo.orders ({kinds})")
        settings = (
            f"{{type: postgres, host: {database.host}, port: {database.port}, database: {database.dbname},"
            f" username: {database.user}, password: {database.password}}}"
        )
    elif request.param == "sql_server":
        erp = request.getfixturevalue("erp")
        kinds = "order_id int", "customer nvarchar(40)", "amount decimal(9, 2)", "order_date date"
        erp.create("dbo.orders", *kinds, "updated_at datetime2(6)")
        connection = erp.connect()
        settings = json.dumps(erp.settings)
    else:
        sqlite3.connect(tmp_path / "shop.db").close()
        connection = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
        connection.execute("ATTACH 'erp.db' AS dbo")
        kinds = "order_id INTEGER, customer TEXT, amount DECIMAL(9, 2), order_date DATE, updated_at TIMESTAMP"
        connection.execute(f"CREATE TABLE dbo.orders ({kinds})")
        settings = "{type: sqlite, database: shop.db, attach: {dbo: erp.db}}"
    with closing(connection):
        made = Shop(connection, tmp_path, settings)
        made.configure()
        yield made


def by_call(text):
    """Load it with the Python API."""
    return hwm_magics.load(text)


def by_command(text):
    """Load it with the command."""
    Path("pipeline.yaml").write_text(text)
    outcome = CliRunner().invoke(cli.cli, ["run", "pipeline.yaml", "--json"])
    assert outcome.exit_code == 0, outcome.output


def by_cell(text):
    """Load it in a cell of a real IPython shell."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    try:
        shell = InteractiveShell.instance(config=config, ipython_dir=str(Path("ipython").absolute()))
        shell.run_line_magic("load_ext", "hwm_magics")
        with capture_output():
            outcome = shell.run_cell(f"%%hwm_load --run\n{text}", store_history=False)
        outcome.raise_error()
    finally:
        InteractiveShell.clear_instance()


def test_the_files_are_the_documents_own_words():
    text = PIPELINE.read_bytes()
    assert text.count(b"SELECT * FROM dbo.orders \n") == 1  # with the blank at its end
    assert (
        hashlib.sha256(text).hexdigest() == "9e443a24bd0156a6a5b4559b64b627a514570ca4b26759855889d63abe7bbaee"
    )
    assert (
        hashlib.sha256(QUICK_START.read_bytes()).hexdigest()
        == "7fd7fc1b307973ca379bee52a653b3f2606d7aa63f3fcbc719b78935172d5abb"
    )


@pytest.mark.parametrize("load", [by_call, by_command, by_cell])
def test_day_one_loads_everything_and_day_two_only_what_is_newer(shop, load):
    text = PIPELINE.read_text()
    shop.add(1, 2, 3)
    load(text)
    assert shop.ids() == [1, 2, 3]
    assert hwm_magics.table_exists("adls", "raw.orders")
    registered = [json.loads(path.read_text()) for path in (shop.folder / "lake/_hwm_catalog").glob("*.json")]
    assert [(entry["name"], entry["path"]) for entry in registered] == [("raw.orders", "raw/orders")]

    shop.add(4, 5)
    load(text)
    assert shop.ids() == [1, 2, 3, 4, 5]
    newest = hwm_magics.history(text)[0]
    assert (newest.kind, newest.node) == ("incremental", "load_orders")
    assert newest.metrics["num_added_rows"] == 2

    before = shop.target.version()
    load(text)
    assert shop.ids() == [1, 2, 3, 4, 5]
    assert shop.target.version() == before


def test_the_subquery_is_evaluated_on_the_target_and_its_value_bound(shop):
    text = PIPELINE.read_text()
    shop.add(1, 2, 3)
    first = hwm_magics.plan(text)
    assert first.decision == "FIRST RUN"
    hwm_magics.load(text)
    shop.add(4)
    plan = hwm_magics.plan(text)
    assert plan.decision == "INCREMENTAL"
    assert [str(param.value) for param in plan.incremental_statement.params] == ["2024-06-03 12:00:00.123456"]
    assert "raw.orders" not in "".join(
        part for part in plan.incremental_statement.parts if isinstance(part, str)
    )
    result = hwm_magics.load(text)
    assert (result.rows_read, result.rows_written) == (1, 1), "the source sent the new row and no other"


def test_the_operator_is_the_users_so_a_tie_is_not_read_and_the_plan_says_so(shop):
    text = PIPELINE.read_text()
    shop.add(1)
    hwm_magics.load(text)
    shop.add(1)
    plan = hwm_magics.plan(text)
    assert any("ties" in note for note in plan.notes), plan.notes
    assert hwm_magics.load(text).rows_read == 0


def test_the_tables_options_are_carried_out_or_said_to_be_beyond_the_engine(shop):
    shop.add(1)
    plan = hwm_magics.plan(PIPELINE.read_text())
    assert any("cluster_by order_date" in note and "z-order" in note for note in plan.notes), plan.notes


def test_an_empty_source_makes_an_empty_table_that_the_next_run_fills(shop):
    text = PIPELINE.read_text()
    hwm_magics.load(text)
    shop.add(1, 2)
    hwm_magics.load(text)
    assert shop.ids() == [1, 2]


def test_the_quick_start_block_alone_is_told_what_to_add(shop):
    shop.add(1)
    with pytest.raises(ConfigError) as caught:
        hwm_magics.load(QUICK_START.read_text())
    told = str(caught.value)
    for line in (
        "read:",
        "connection: sql_server",
        "table: dbo.orders",
        "incremental:",
        "column: updated_at",
    ):
        assert line in told, told
    assert "write.connection" in told
    assert "connection: it is missing" in told
    assert not (shop.folder / "lake").exists()


def test_the_quick_start_block_works_as_it_stands_with_the_projects_defaults(shop):
    shop.configure(
        "defaults:\n"
        "  read: {connection: sql_server, incremental: {column: updated_at}}\n"
        "  write: {connection: adls}\n"
    )
    text = QUICK_START.read_text()
    shop.add(1, 2)
    assert hwm_magics.load(text).rows_written == 2
    shop.add(3)
    result = hwm_magics.load(text)
    assert (result.decision, result.rows_written) == ("INCREMENTAL", 1)
    assert hwm_magics.load(text).status == "nothing_new"
    assert shop.ids() == [1, 2, 3]


def test_what_the_quick_start_is_told_to_add_is_enough(shop):
    """The answer, followed to the letter, loads."""
    shop.add(1)
    with pytest.raises(ConfigError) as caught:
        hwm_magics.load(QUICK_START.read_text())
    lines = str(caught.value).splitlines()
    start = next(n for n, line in enumerate(lines) if line.strip() == "read:")
    indent = len(lines[start]) - len(lines[start].lstrip())
    block = [lines[start]]
    for line in lines[start + 1 :]:
        if len(line) - len(line.lstrip()) <= indent:
            break
        block.append(line)
    read = "\n".join(line[indent:] for line in block)
    text = read + "\n" + QUICK_START.read_text().replace("write:\n", "write:\n  connection: adls\n")
    hwm_magics.load(text)
    shop.add(2)
    assert hwm_magics.load(text).decision == "INCREMENTAL"
    assert shop.ids() == [1, 2]
