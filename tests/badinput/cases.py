"""Bad input: how it comes about, and what has to be said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from badinput.conftest import Project

__all__ = ["CASES", "Case"]

BASE = """\
name: orders
read:
  connection: shop
  table: orders
  incremental: {column: updated_at}
write:
  connection: lake
  path: raw/orders
"""


def _nothing(_project: Project) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Case:
    """One bad input.

    Attributes:
        name: What is wrong.
        error: The error's class.
        words: What its text has to hold.
        text: The YAML.
        line: The line of the YAML that is wrong; None where there is none.
        arrange: What has happened before.
    """

    name: str
    error: str
    words: tuple[str, ...]
    text: str = BASE
    line: int | None = None
    arrange: Callable[[Project], None] = _nothing


def changed(old: str, new: str) -> str:
    """The good YAML with one thing changed."""
    assert old in BASE
    return BASE.replace(old, new)


def query(sql: str, incremental: str = "{column: updated_at}") -> str:
    """The good YAML with a query."""
    lines = "\n".join(f"    {line}" for line in sql.splitlines())
    return changed(
        "  table: orders\n  incremental: {column: updated_at}\n",
        f"  query: |\n{lines}\n  incremental: {incremental}\n",
    )


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

YAML = [
    Case(
        "a key twice",
        "ConfigError",
        ("table", "twice"),
        changed("  table: orders\n", "  table: orders\n  table: customers\n"),
        5,
    ),
    Case("a tab", "ConfigError", ("tab",), changed("  connection: shop", "\tconnection: shop"), 3),
    Case("an unknown key", "ConfigError", ("'tabel'", "'table'"), changed("  table:", "  tabel:"), 4),
    Case("a wrong type", "ConfigError", ("mode", "3"), BASE + "  mode: 3\n", 9),
    Case("a wrong word", "ConfigError", ("upsertt", "upsert"), BASE + "  mode: upsertt\n  keys: [id]\n", 9),
    Case(
        "a duration that is none",
        "ConfigError",
        ("lag", "soon"),
        changed("updated_at}", "updated_at, lag: soon}"),
        5,
    ),
    Case("a bomb of aliases", "ConfigError", ("alias",), BOMB + BASE),
    Case("an empty text", "ConfigError", ("empty",), "\n"),
    Case("a text that is no mapping", "ConfigError", ("read:",), "load everything please\n"),
    Case(
        "an unknown connection",
        "ConfigError",
        ("'shopp'", "'shop'"),
        changed("connection: shop", "connection: shopp"),
        3,
    ),
    Case(
        "a storage to read from",
        "ConfigError",
        ("storage", "database"),
        changed("connection: shop", "connection: lake"),
        3,
    ),
    Case(
        "an unset environment variable",
        "ConfigError",
        ("NO_SUCH_VARIABLE",),
        changed("path: raw", "path: ${env:NO_SUCH_VARIABLE}"),
        8,
    ),
    Case("no keys for an upsert", "ConfigError", ("keys",), BASE + "  mode: upsert\n", 9),
    Case("a path with dots", "ConfigError", ("'..'",), changed("raw/orders", "raw/../../outside"), 8),
    Case("a path from the root", "ConfigError", ("root",), changed("raw/orders", "/outside/orders"), 8),
    Case("a path to the root itself", "ConfigError", ("root",), changed("raw/orders", "."), 8),
    Case("a URL for a path", "ConfigError", ("URL",), changed("raw/orders", "s3://bucket/orders"), 8),
]


def _loaded_by_id(project: Project) -> None:
    project.load(changed("column: updated_at", "column: id"))


SOURCES = [
    Case(
        "a wrong password",
        "LoginError",
        ("password",),
        changed("connection: shop", "connection: wrong_password"),
    ),
    Case(
        "a wrong password by ODBC",
        "LoginError",
        ("password",),
        changed("connection: shop", "connection: odbc_wrong"),
    ),
    Case(
        "a host that is down",
        "SourceConnectionError",
        ("refused",),
        changed("connection: shop", "connection: host_down"),
    ),
    Case(
        "a host that is down by URL",
        "SourceConnectionError",
        ("refused",),
        changed("connection: shop", "connection: url_down"),
    ),
    Case(
        "a host that is down by ODBC",
        "SourceConnectionError",
        ("refused",),
        changed("connection: shop", "connection: odbc_down"),
    ),
    Case(
        "a database file that is not there",
        "SourceConnectionError",
        ("not-there.db",),
        changed("connection: shop", "connection: no_file"),
    ),
    Case("a missing table", "QueryError", ("ordrs", "orders"), changed("table: orders", "table: ordrs")),
    Case(
        "a missing cursor column",
        "QueryError",
        ("updatd_at", "updated_at"),
        changed("column: updated_at", "column: updatd_at"),
    ),
    Case(
        "a missing column",
        "QueryError",
        ("wrds",),
        changed("  table: orders\n", "  table: orders\n  columns: [id, updated_at, wrds]\n"),
    ),
    Case(
        "a missing column in a condition",
        "QueryError",
        ("wrds",),
        changed("  table: orders\n", "  table: orders\n  where: wrds = 'x'\n"),
    ),
    Case("two statements", "QueryError", ("one",), query("SELECT * FROM orders; DELETE FROM orders")),
    Case("a statement that is no SELECT", "QueryError", ("SELECT",), query("DELETE FROM orders RETURNING *")),
    Case("a syntax error", "QueryError", (), query("SELEC * FRM orders")),
    Case("an unclosed bracket", "QueryError", (), query("SELECT * FROM orders WHERE (id > 1")),
    *(
        Case(
            f"a cursor of type {kind}",
            "CursorColumnError",
            (name,),
            changed("column: updated_at", f"column: {name}"),
        )
        for name, kind in (
            ("price", "real"),
            ("at_time", "time"),
            ("tag", "uuid"),
            ("flag", "boolean"),
            ("doc", "json"),
            ("blob", "bytea"),
            ("words", "text that is no time"),
        )
    ),
    Case(
        "a lag of the wrong kind",
        "CursorColumnError",
        ("lag",),
        changed("column: updated_at", "column: id, lag: 10m"),
        arrange=_loaded_by_id,
    ),
    Case(
        "a key column that is not read",
        "SchemaMismatchError",
        ("'order_id'",),
        BASE + "  mode: upsert\n  keys: [order_id]\n",
    ),
]


def _loaded(project: Project) -> None:
    project.load()


def _a_log_that(change: Callable[[Path], None]) -> Callable[[Project], None]:
    """Load twice, and have something happen to the log."""

    def arrange(project: Project) -> None:
        project.load()
        project.run("INSERT INTO orders (id, updated_at) VALUES (4, '2024-06-05')")
        project.load()
        change(project.target / "_delta_log")

    return arrange


def _files(project: Project) -> None:
    project.target.mkdir(parents=True)
    (project.target / "orders.csv").write_text("id\n1\n")


def _a_file(project: Project) -> None:
    project.target.parent.mkdir(parents=True)
    project.target.write_text("not a folder")


def _cut(log: Path) -> None:
    last = max(log.glob("*.json"))
    last.write_bytes(last.read_bytes()[:-20])


def _emptied(log: Path) -> None:
    max(log.glob("*.json")).write_text("")


def _garbled(log: Path) -> None:
    min(log.glob("*.json")).write_text("these are no actions\n")


def _gap(log: Path) -> None:
    sorted(log.glob("*.json"))[1].unlink()


def _all_gone(log: Path) -> None:
    for path in log.iterdir():
        path.unlink()


def _damaged_info(log: Path) -> None:
    last = max(log.glob("*.json"))
    last.write_text(last.read_text().replace('\\"kind\\":', '\\"sort\\":'))


def _newer_info(log: Path) -> None:
    last = max(log.glob("*.json"))
    last.write_text(last.read_text().replace('\\"hwm_magics\\":1,', '\\"hwm_magics\\":99,'))


def _without_data(project: Project) -> None:
    project.load()
    project.run("INSERT INTO orders (id, updated_at) VALUES (4, '2024-06-05')")
    for path in project.target.glob("*.parquet"):
        path.unlink()


def _with_features(writer: list[str], reader: list[str] | None = None) -> Callable[[Project], None]:
    def arrange(project: Project) -> None:
        project.load()
        readers = ["timestampNtz", *(reader or [])]
        protocol = {"minReaderVersion": 3, "minWriterVersion": 7}
        protocol |= {"readerFeatures": readers, "writerFeatures": [*readers, *writer]}
        log = project.target / "_delta_log"
        number = len(list(log.glob("*.json")))
        info = {"commitInfo": {"timestamp": 1, "operation": "SET TBLPROPERTIES", "operationParameters": {}}}
        text = "\n".join(json.dumps(action) for action in ({"protocol": protocol}, info))
        (log / f"{number:020d}.json").write_text(text + "\n")

    return arrange


def _a_link_out(project: Project) -> None:
    outside = project.folder / "outside"
    outside.mkdir()
    (project.lake / "raw").mkdir(parents=True)
    (project.lake / "raw" / "orders").symlink_to(outside)


def _then(*statements: str) -> Callable[[Project], None]:
    def arrange(project: Project) -> None:
        project.load()
        project.run(*statements)

    return arrange


def _registered_elsewhere(project: Project) -> None:
    project.load(BASE.replace("raw/orders", "raw/first") + "  register_table: raw.orders\n")


TARGETS = [
    Case(
        "nothing says what is new",
        "BlockedError",
        ("three ways",),
        changed("  incremental: {column: updated_at}\n", ""),
        arrange=_loaded,
    ),
    Case("a folder of other files", "TargetUnknownError", ("orders.csv",), arrange=_files),
    Case("a file for a folder", "TargetUnknownError", ("is a file",), arrange=_a_file),
    Case("a commit cut short", "TargetUnknownError", ("orders",), arrange=_a_log_that(_cut)),
    Case("an empty commit", "TargetUnknownError", ("is empty",), arrange=_a_log_that(_emptied)),
    Case("a commit of garbage", "TargetUnknownError", ("orders",), arrange=_a_log_that(_garbled)),
    Case("a gap in the log", "TargetUnknownError", ("orders",), arrange=_a_log_that(_gap)),
    Case("a log without files", "TargetUnknownError", ("orders",), arrange=_a_log_that(_all_gone)),
    Case("a damaged commit info", "TargetUnknownError", ("damaged",), arrange=_a_log_that(_damaged_info)),
    Case(
        "a commit info of a newer version", "TargetUnknownError", ("newer",), arrange=_a_log_that(_newer_info)
    ),
    Case("a missing data file", "TargetReadError", ("data file",), arrange=_without_data),
    Case(
        "liquid clustering",
        "UnsupportedByEngineError",
        ("clustering", "spark"),
        arrange=_with_features(["clustering", "domainMetadata"]),
    ),
    Case(
        "row tracking",
        "UnsupportedByEngineError",
        ("rowTracking",),
        arrange=_with_features(["rowTracking", "domainMetadata"]),
    ),
    Case(
        "a feature that nobody knows",
        "TargetUnknownError",
        ("fromTheFuture",),
        arrange=_with_features([], ["fromTheFuture"]),
    ),
    Case(
        "a whole number that became wider",
        "SchemaMismatchError",
        ("'id'", "long"),
        arrange=_then("ALTER TABLE orders ALTER id TYPE bigint"),
    ),
    Case(
        "a decimal that became wider",
        "SchemaMismatchError",
        ("'amount'",),
        arrange=_then("ALTER TABLE orders ALTER amount TYPE numeric(12, 4)"),
    ),
    Case(
        "a text that became a number",
        "SchemaMismatchError",
        ("'words'",),
        arrange=_then("ALTER TABLE orders ALTER words TYPE int USING 1"),
    ),
    Case(
        "a name that changed its case",
        "SchemaMismatchError",
        ("case",),
        arrange=_then('ALTER TABLE orders RENAME words TO "Words"'),
    ),
    Case(
        "a new column where the schema is strict",
        "SchemaMismatchError",
        ("'more'", "strict"),
        BASE + "  schema: strict\n",
        arrange=_then("ALTER TABLE orders ADD more int"),
    ),
    Case("a link out of the lake", "ConfigError", ("symbolic link",), line=8, arrange=_a_link_out),
    Case(
        "a name that stands for another folder",
        "BlockedError",
        ("raw.orders", "raw/first"),
        BASE + "  register_table: raw.orders\n",
        arrange=_registered_elsewhere,
    ),
    Case(
        "a mark above everything there is",
        "WatermarkAheadError",
        ("2024-06-04",),
        arrange=_then("DELETE FROM orders WHERE id > 1"),
    ),
]

CASES = {case.name: case for case in (*YAML, *SOURCES, *TARGETS)}
