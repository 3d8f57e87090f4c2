"""Completion in load cells, from the models, the notebook and the source. ``|^`` is the cursor."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from IPython.core.completer import provisionalcompleter

from hwm_magics.connections.sqlite import SqliteConnection
from hwm_magics.jobs.lookups import Lookups

SECRET = "hunter2-Tr0ub4dor"


@pytest.fixture
def complete(shell, project, monkeypatch):
    """What the shell proposes for the body of a cell, however busy the machine is."""
    monkeypatch.setattr("hwm_magics.jobs.lookups.PATIENCE", 60)

    def ask(body: str, head: str = "%%hwm_load\n") -> list[str]:
        marked = head + body
        offset = marked.index("|^")
        text = marked.replace("|^", "")
        with provisionalcompleter():
            found = list(shell.shell.Completer.completions(text, offset))
        assert all(text[: each.start] + text[each.start : each.end] == text[:offset] for each in found)
        return [each.text for each in found]

    return ask


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("re|^", ["read:"]),
        ("read:\n  conn|^", ["connection: "]),
        ("read: {conn|^}", ["connection: "]),
        ("read:\n  conn|^: shop", ["connection"]),
        ("read:\n  connection: |^", ["shop"]),
        ("write:\n  connection: |^", ["lake"]),
        ("write: {mode: up|^}", ["upsert"]),
        ("write:\n  mode: |^", ["append", "overwrite", "upsert", "append_once"]),
        ("engine: |^", ["auto", "pandas", "spark"]),
        ("write:\n  optimize_write: |^", ["true", "false"]),
        ("read: {connection: shop, table: |^}", ["orders"]),
        ("read:\n  connection: shop\n  table: '|^'", ["orders"]),
        (
            "read:\n  connection: shop\n  table: orders\n  incremental:\n    column: |^",
            ["id", "amount", "updated_at"],
        ),
        (
            "read: {connection: shop, table: orders}\nwrite:\n  keys:\n  - id\n  - |^",
            ["amount", "updated_at"],
        ),
        ("read: {connection: shop, table: orders}\nwrite: {keys: [id, |^]}", ["amount", "updated_at"]),
        (
            "read:\n  incremental: {column: upd|^}\n  connection: shop\n  query: SELECT * FROM orders",
            ["updated_at"],
        ),
        ("read:\n  connection: shop\n  query: |\n    SELECT *\n    FROM o|^", ["orders"]),
        (
            "read:\n  connection: shop\n  query: |\n    SELECT o.am|^\n    FROM orders o\n",
            ["o.amount"],
        ),
        ("nodes:\n- name: first\n- name: second\n  depends_on: [|^]", ["first"]),
        ("nodes:\n  - read: {table: x}\n    wri|^", ["write:"]),
        ("write:\n  properties:\n    delta.app|^", ["delta.appendOnly: "]),
        ("pip|^", ["pipeline: "]),
        ("# one\u2028line\x0b\nread:\n  conn|^", ["connection: "]),
    ],
)
def test_what_fits_at_the_cursor_is_proposed(complete, body, expected):
    assert complete(body) == expected


def test_keys_that_are_there_already_are_not_proposed_again_wherever_they_stand(complete):
    found = complete("read:\n  connection: shop\n  |^\n  table: orders\n")
    assert "where: " in found
    assert not {"connection: ", "table: "} & set(found)


def test_old_spellings_are_accepted_and_not_proposed(complete):
    proposed = set(complete("write:\n  |^"))
    assert "merge_keys: " not in proposed
    assert "first_run:" in proposed
    assert complete("write:\n  first_run:\n    |^") == ["chunk: "]
    assert "filter: " not in complete("read:\n  |^")


def test_where_nothing_fits_python_is_not_proposed_instead(complete, shell):
    shell.names["lambda_of_mine"] = 1
    assert complete("name: la|^") == ["la"]
    assert complete("# la|^") in ([""], ["la"])


def test_names_of_the_notebook_are_proposed_where_they_are_meant(complete, shell, project):
    shell("import sqlalchemy\ndef clean(frame):\n    return frame")
    shell(f"warehouse = sqlalchemy.create_engine('sqlite:///{project.folder}/shop.db')")
    assert complete("transform: |^") == ["clean"]
    assert complete("read:\n  connection: ware|^") == ["warehouse"]
    assert complete("read: {connection: warehouse, table: |^}") == ["orders"]
    shell("warehouse.dispose()")


def test_connections_of_the_session_are_proposed_and_their_cells_completed(complete, shell):
    shell("%%hwm_connections\nother: {type: sqlite, database: other.db}")
    assert complete("read: {connection: |^}") == ["other", "shop"]
    assert complete("new: {type: sqli|^}", "%%hwm_connections\n") == ["sqlite"]
    assert "host: " in complete("new:\n  type: postgres\n  |^", "%%hwm_connections\n")


def test_options_are_proposed_on_the_magics_own_line(complete):
    assert complete("%%hwm_load job --d|^", "") == ["--dry-run"]
    assert complete("%hwm_example ups|^", "") == ["upsert"]


def test_other_cells_are_left_to_python(complete, shell):
    shell.names["reading_list"] = [1]
    assert "reading_list" in complete("reading_l|^", "")
    assert complete("rea|^", "%%bash\n") != ["read:"]


def test_a_name_that_yaml_would_read_otherwise_is_proposed_in_quotes(complete, project):
    with closing(sqlite3.connect(project.folder / "shop.db")) as shop, shop:
        shop.execute('CREATE TABLE odd ("the: \\ ""day""" DATE, "yes" INTEGER)')
    assert complete("read: {connection: shop, table: odd}\nwrite: {keys: [|^]}") == [
        '"the: \\\\ \\"day\\""',
        '"yes"',
    ]


def test_a_wrong_hwm_yaml_and_a_wrong_connection_propose_nothing_and_raise_nothing(complete, project):
    assert complete("read: {connection: nowhere, table: |^}") == [""]
    (project.folder / "hwm.yaml").write_text("connections: [")
    assert complete("read: {connection: s|^}") in ([""], ["s"])
    assert complete("re|^") == ["read:"]


class Silent:
    """A server that takes connections and never says a word."""

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        return self

    def __exit__(self, *_error):
        self.socket.close()


def test_a_server_that_never_answers_is_not_waited_for(complete, shell, monkeypatch):
    pytest.importorskip("adbc_driver_postgresql")
    monkeypatch.setattr("hwm_magics.jobs.lookups.PATIENCE", 0.2)
    with Silent() as server:
        place = f"host: 127.0.0.1, port: {server.port}, database: x, username: u, password: {SECRET}"
        assert shell(f"%%hwm_connections\ndead: {{type: postgres, {place}}}").error is None
        assert complete("read: {connection: dead, table: |^}") == [""]
        waiting = [each for each in threading.enumerate() if each.name == "hwm_magics lookup"]
        assert waiting, "it should still be waiting for the server, and nobody for it"
        assert complete("read: {connection: dead, tab|^}") == ["table: "]
        assert SECRET not in repr(complete("read: {connection: |^}"))
        # Closing the server's end lets the thread go.
    for thread in waiting:
        thread.join(30)
        assert not thread.is_alive()


def test_an_answer_that_comes_late_is_there_for_the_next_time(project, monkeypatch):
    gate, asked = threading.Event(), []
    connection = SqliteConnection(name="shop", database=str(project.folder / "shop.db"))

    class Slow:
        def __enter__(self):
            asked.append(1)
            assert gate.wait(30)
            return self

        def __exit__(self, *_error):
            return None

        def tables(self):
            return ("orders",)

    monkeypatch.setattr("hwm_magics.sources.factory.open_source", lambda *_: Slow())
    lookups = Lookups(patience=0.05)
    assert lookups.tables(connection) == ()
    assert lookups.tables(connection) == ()
    thread = next(each for each in threading.enumerate() if each.name == "hwm_magics lookup")
    gate.set()
    thread.join(30)
    assert lookups.tables(connection) == ("orders",)
    assert asked == [1], "one question is asked once"


def test_a_live_connection_of_the_notebook_is_never_used_from_another_thread(project):
    from hwm_magics.connections.objects import recognise

    with closing(sqlite3.connect(project.folder / "shop.db")) as live:
        assert Lookups().tables(recognise("live", live)) == ()


@pytest.mark.slow
def test_a_kernel_completes_while_it_is_asked_by_a_front_end(project):
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", cwd=str(project.folder))
    try:
        client.execute_interactive("%load_ext hwm_magics", timeout=60, output_hook=lambda _message: None)

        def ask(marked: str) -> tuple[list[str], str]:
            code = "%%hwm_load job\n" + marked.replace("|^", "")
            offset = len("%%hwm_load job\n") + marked.index("|^")
            told = client.complete(code, offset, reply=True, timeout=60)["content"]
            return told["matches"], code[told["cursor_start"] : told["cursor_end"]]

        assert ask("wri|^") == (["write:"], "wri")
        assert ask("write:\n  mode: app|^") == (["append", "append_once"], "app")
        assert ask("read:\n  connection: |^") == (["shop"], "")
        # On a busy machine the first answer may come too late; then it is there for a later question.
        end = time.monotonic() + 60
        while ask("read: {connection: shop, table: ord|^}") != (["orders"], "ord"):
            assert time.monotonic() < end
        while ask("read: {connection: shop, table: orders}\nwrite: {keys: am|^}") != (["amount"], "am"):
            assert time.monotonic() < end
        body = "# größer: 日本語 🙂\nread: {connection: shop, table: orders, incremental: {column: upd|^}}"
        assert ask(body) == (["updated_at"], "upd")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
