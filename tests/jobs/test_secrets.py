"""A password that works is in nothing that a job says or leaves behind."""

from __future__ import annotations

import nbformat
import pytest
from click.testing import CliRunner

from hwm_magics import cli
from hwm_magics.jobs.export import TARGETS

CELL = """\
%%hwm_load
name: orders
read: {connection: shop, table: orders, incremental: {column: updated_at}}
write: {connection: lake, path: raw/orders, mode: upsert, keys: [id]}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, pg_database):
    """A project whose source wants a password, which only the environment holds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_PASSWORD", pg_database.password)
    with pg_database.connect() as db:
        db.execute("CREATE TABLE orders (id int PRIMARY KEY, updated_at timestamp NOT NULL)")
        db.execute("INSERT INTO orders VALUES (1, '2024-06-01')")
    (tmp_path / "hwm.yaml").write_text(
        "connections:\n"
        f"  shop: {{type: postgres, host: {pg_database.host}, port: {pg_database.port},"
        f" database: {pg_database.dbname}, username: {pg_database.user}, password: '${{env:SHOP_PASSWORD}}'}}\n"
        "  lake: {type: local, root: ./lake}\n"
    )
    cells = [nbformat.v4.new_code_cell(text) for text in ("%load_ext hwm_magics", CELL)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "orders.ipynb")
    return tmp_path


def left_behind(folder):
    """What all files hold, the target's data aside."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".parquet"]
    return {path: path.read_bytes() for path in files}


def test_no_command_says_it_and_no_file_keeps_it(folder, pg_database):
    secret = pg_database.password
    commands = [
        ("plan", "--out", "plan.json"),
        ("run", "--approved", "plan.json", "--report", "run.html"),
        ("run", "--log", "json"),
        ("run", "--json", "--debug"),
        ("status", "--json"),
        ("history", "--json"),
        ("watermark", "--adopt"),
        ("reconcile", "--keys", "--json"),
        ("rollback", "--yes"),
        ("maintain", "--compact", "--yes"),
        *(("export", "--to", target) for target in TARGETS),
    ]
    for command, *words in commands:
        done = CliRunner().invoke(cli.cli, [command, "orders.ipynb", *words])
        assert done.exit_code == 0, (command, words, done.output)
        assert secret not in done.output
    assert secret not in CliRunner().invoke(cli.cli, ["doctor", "orders.ipynb", "--json"]).output
    kept = left_behind(folder)
    assert {"plan.json", "run.html"} <= {path.name for path in kept}
    for path, text in kept.items():
        assert secret.encode() not in text, path


def test_a_refused_login_does_not_show_what_was_refused(folder, monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", "planted-Tr0ub4dor")
    for command, *words in (
        ("plan",),
        ("run", "--log", "json"),
        ("run", "--report", "run.html"),
        ("doctor", "--json"),
    ):
        done = CliRunner().invoke(cli.cli, [command, "orders.ipynb", *words, "--debug"])
        assert done.exit_code != 0
        assert "planted-Tr0ub4dor" not in done.output
    for path, text in left_behind(folder).items():
        assert b"planted-Tr0ub4dor" not in text, path
