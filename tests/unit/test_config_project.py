"""hwm.yaml and %%hwm_connections cells."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hwm_magics.config.defaults import Defaults
from hwm_magics.config.project import Project, find_file, find_project, read_connections, read_project
from hwm_magics.config.schema import parse
from hwm_magics.connections import secrets
from hwm_magics.connections.adls import AdlsConnection
from hwm_magics.connections.gcs import GcsConnection
from hwm_magics.connections.local import LocalConnection
from hwm_magics.connections.odbc import OdbcConnection
from hwm_magics.connections.postgres import PostgresConnection
from hwm_magics.connections.registry import Connections, UnusableConnection
from hwm_magics.connections.s3 import S3Connection
from hwm_magics.connections.secrets import Secret
from hwm_magics.connections.sql import DuckDbConnection, MySqlConnection, OracleConnection, SqlConnection
from hwm_magics.connections.sql_server import SqlServerConnection
from hwm_magics.connections.sqlite import SqliteConnection
from hwm_magics.errors import ConfigError


@pytest.fixture(autouse=True)
def _secrets_of_its_own():
    """A test must not pass because another one made its secret known, nor mask what another one looks for."""
    kept = secrets._known.copy()
    secrets._known.clear()
    yield
    secrets._known.clear()
    secrets._known.update(kept)


def project(tmp_path: Path, text: str, **environ: str) -> Project:
    """The project of a file with this text."""
    (tmp_path / "hwm.yaml").write_text(text, encoding="utf-8")
    return read_project(tmp_path / "hwm.yaml", environ)


def problems(tmp_path: Path, text: str, **environ: str) -> list[str]:
    """What is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        project(tmp_path, text, **environ)
    return [str(each) for each in caught.value.problems] or [str(caught.value)]


def one(settings: str, tmp_path: Path):
    """The connection with these settings."""
    (found,) = read_connections(f"x: {{{settings}}}", folder=tmp_path)
    return found


class TestFinding:
    def test_looks_upwards(self, tmp_path):
        (tmp_path / "hwm.yaml").write_text("defaults: {engine: pandas}")
        folder = tmp_path / "a" / "b"
        folder.mkdir(parents=True)
        assert find_file(folder, {}) == tmp_path / "hwm.yaml"
        assert find_project(folder, {}).defaults.engine == "pandas"

    def test_the_nearest_file_counts(self, tmp_path):
        folder = tmp_path / "a"
        folder.mkdir()
        for each in (tmp_path, folder):
            (each / "hwm.yaml").write_text("")
        assert find_file(folder, {}) == folder / "hwm.yaml"

    def test_the_variable_names_another(self, tmp_path):
        other = tmp_path / "prod.yaml"
        other.write_text("defaults: {engine: spark}")
        (tmp_path / "hwm.yaml").write_text("")
        environ = {"HWM_MAGICS_CONFIG": str(other)}
        assert find_project(tmp_path, environ) == Project(other, {}, Defaults(engine="spark"))

    def test_the_variable_must_name_a_file(self, tmp_path):
        with pytest.raises(ConfigError, match="there is no such file"):
            find_file(tmp_path, {"HWM_MAGICS_CONFIG": str(tmp_path / "nothing.yaml")})

    def test_without_a_file_there_is_an_empty_project(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Path, "is_file", lambda _path: False)
        assert find_project(tmp_path, {}) == Project()

    @pytest.mark.parametrize("text", ["", "# later", "connections:", "connections: {}", "\ufeffdefaults:\n"])
    def test_an_empty_file_is_fine(self, tmp_path, text):
        assert project(tmp_path, text).connections == {}

    def test_a_file_that_can_not_be_read_is_named(self, tmp_path):
        (tmp_path / "hwm.yaml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ConfigError, match=r"hwm\.yaml can't be read"):
            read_project(tmp_path / "hwm.yaml", {})

    def test_neither_yaml_nor_pydantic_is_imported_for_nothing(self, tmp_path):
        code = (
            "import sys; from pathlib import Path; from hwm_magics.config.project import find_project\n"
            "from hwm_magics.connections.registry import Connections\n"
            "Path.is_file = lambda self: False\n"
            f"find_project({str(tmp_path)!r}, {{}})\n"
            "heavy = {'yaml', 'pydantic', 'sqlglot', 'sqlalchemy', 'keyring', 'IPython', 'pyarrow', 'pandas'}\n"
            "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


class TestFile:
    TEXT = """\
connections:
  sql_server: {type: sql_server, host: erp, database: sales, username: loader, password: "${env:ERP_PASSWORD}"}
  adls: {type: adls, account: acc, container: lake, root: bronze}
  shop: {type: sqlite, database: shop.db, attach: {dbo: data/erp.db}}
  lake: {type: local, root: ./lake}
defaults:
  engine: auto
  mode: plan
  read: {connection: sql_server, incremental: {column: updated_at}}
  write: {connection: adls, mode: append}
"""

    def test_is_read_whole(self, tmp_path):
        found = project(tmp_path, self.TEXT, ERP_PASSWORD="planted-secret")
        assert found.path == tmp_path / "hwm.yaml"
        assert list(found.connections) == ["sql_server", "adls", "shop", "lake"]
        assert found.defaults == Defaults(
            "auto",
            "plan",
            {"connection": "sql_server", "incremental": {"column": "updated_at"}},
            {"connection": "adls", "mode": "append"},
        )
        assert found.connections["sql_server"].password.reveal() == "planted-secret"
        # Local paths begin where the file is.
        assert found.connections["lake"].root == str(tmp_path / "lake")
        assert found.connections["shop"].database == str(tmp_path / "shop.db")
        assert found.connections["shop"].attach == {"dbo": str(tmp_path / "data" / "erp.db")}

    def test_its_defaults_serve_the_seeds_quick_start(self, tmp_path):
        defaults = project(tmp_path, self.TEXT, ERP_PASSWORD="x").defaults
        text = "write:\n  path: raw/orders\n  mode: append\n  first_run_query: SELECT * FROM dbo.orders\n"
        (spec,) = parse(text, params={}, defaults=defaults)
        assert (spec.read.connection, spec.read.table, spec.read.cursor.column) == (
            "sql_server",
            "dbo.orders",
            "updated_at",
        )

    def test_a_variable_that_is_not_set_spoils_only_the_connection_that_needs_it(self, tmp_path):
        found = project(tmp_path, self.TEXT)
        assert isinstance(found.connections["sql_server"], UnusableConnection)
        connections = Connections(found.connections)
        assert connections.storage("lake").root == str(tmp_path / "lake")
        with pytest.raises(ConfigError) as caught:
            connections.database("sql_server")
        assert "ERP_PASSWORD is not set" in caught.value.message

    def test_a_secret_is_not_fetched_before_it_is_needed(self, tmp_path):
        text = "connections:\n  x: {type: postgres, host: h, database: d, username: u, password: '${secret:no/where}'}"
        assert project(tmp_path, text).connections["x"].password.masked == "***"

    def test_everything_wrong_comes_at_once_with_the_lines_of_the_file(self, tmp_path):
        found = problems(
            tmp_path,
            """\
conections: {}
connections:
  erp: {type: sql_srver, host: h}
  shop:
    type: sqlite
    databse: x
  lake: {type: local}
  bad: 5
  pg: {type: postgres, host: h, port: 99999, timezone: Berlin}
  pg: {type: local, root: x}
defaults:
  engine: panda
  mode: runn
  read: {conection: x}
  write: {keys: [a], merge_keys: [b]}
  other: 1
""",
        )
        text = "\n".join(found)
        for words in [
            "line 1: conections: the key 'conections' is not known: did you mean 'connections'?",
            "line 3: connections.erp.type: the type 'sql_srver' is not known: did you mean 'sql_server'?",
            "line 6: connections.shop.databse: the key 'databse' is not known: did you mean 'database'?",
            "line 7: connections.lake.root: type local needs root: it is missing",
            "line 8: connections.bad: it must be a block of settings",
            "line 9: connections.pg.port: it must be a port's number",
            "line 9: connections.pg.database: type postgres needs database or url",
            "line 9: connections.pg.timezone: 'Berlin' is no time zone",
            "line 10: connections.pg: the key 'pg' stands here twice",
            "line 12: defaults.engine: 'panda' is not known: did you mean 'pandas'?",
            "line 13: defaults.mode: 'runn' is not known: did you mean 'run'?",
            "line 14: defaults.read.conection: the key 'conection' is not known",
            "line 15: defaults.write.merge_keys: it says [b], and defaults.write.keys says [a]: keep one of them",
            "line 16: defaults.other: the key 'other' is not known here: there are engine, mode, read, write",
        ]:
            assert words in text
        assert len(found) == 14

    @pytest.mark.parametrize("text", ["- a", "5", "words"])
    def test_other_shapes_are_refused(self, tmp_path, text):
        assert "must hold connections and defaults" in problems(tmp_path, text)[0]

    def test_a_name_is_no_reference_in_a_file(self, tmp_path):
        text = "defaults: {write: {mode: '${mode}'}}"
        assert "${mode} is not a param" in problems(tmp_path, text)[0]

    @pytest.mark.parametrize("word", ["dry-run", "dry_run"])
    def test_both_spellings_of_a_dry_run_are_known(self, tmp_path, word):
        assert project(tmp_path, f"defaults: {{mode: {word}}}").defaults.mode == "dry-run"


class TestCell:
    def test_is_read_with_and_without_the_heading(self, tmp_path):
        text = "lake: {type: local, root: lake}\n"
        expected = (LocalConnection(name="lake", root=str(tmp_path / "lake")),)
        assert read_connections(text, folder=tmp_path) == expected
        assert read_connections("connections:\n  " + text, folder=tmp_path) == expected
        assert (
            read_connections({"lake": {"type": "local", "root": Path("lake")}}, folder=tmp_path) == expected
        )

    def test_takes_notebook_variables(self, tmp_path):
        text = "erp: {type: postgres, host: '${host}', database: d, username: u, password: '${pw}'}"
        variables = {"host": "erp.example", "pw": "planted-secret"}
        (found,) = read_connections(text, folder=tmp_path, lookup=variables.__getitem__)
        assert found.host == "erp.example"
        assert found.password.reveal() == "planted-secret"

    def test_a_variable_of_the_environment_must_be_set(self, tmp_path):
        with pytest.raises(ConfigError) as caught:
            read_connections("a:\n  type: local\n  root: ${env:NOPE}\n", folder=tmp_path, environ={})
        assert caught.value.problems[0].line == 4

    def test_an_empty_one_shows_an_example(self, tmp_path):
        with pytest.raises(ConfigError, match="the cell is empty") as caught:
            read_connections("\n", folder=tmp_path)
        assert "{type: local, root: ./lake}" in str(caught.value)

    def test_a_list_is_refused(self, tmp_path):
        with pytest.raises(ConfigError) as caught:
            read_connections("- a", folder=tmp_path)
        assert "it must be a mapping" in caught.value.problems[0].message


class TestFamilies:
    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ("type: adls, account: a, container: c", AdlsConnection(name="x", account="a", container="c")),
            (
                "type: adls, account_name: a, container: c, root: b, account_key: k123",
                AdlsConnection(
                    name="x", account="a", container="c", root="b", auth="key", account_key=Secret("k123")
                ),
            ),
            (
                "type: adls, account: a, container: c, auth: cli, endpoint: 'http://127.0.0.1:1/a', allow_http: true",
                AdlsConnection(
                    name="x",
                    account="a",
                    container="c",
                    auth="cli",
                    endpoint="http://127.0.0.1:1/a",
                    allow_http=True,
                ),
            ),
            (
                "type: s3, bucket: b, root: r, region: eu-1, options: {AWS_X: 1}",
                S3Connection(name="x", bucket="b", root="r", region="eu-1", options={"AWS_X": 1}),
            ),
            ("type: gcs, bucket: b", GcsConnection(name="x", bucket="b")),
            (
                "type: sql, url: 'mysql+pymysql://h/d'",
                SqlConnection(name="x", url=Secret("mysql+pymysql://h/d")),
            ),
            (
                "type: postgres, server: h, port: 5433, database: d, user: u, timezone: Europe/Berlin",
                PostgresConnection(
                    name="x", host="h", port=5433, database="d", username="u", timezone="Europe/Berlin"
                ),
            ),
            (
                "type: postgres, url: 'postgresql://h/d'",
                PostgresConnection(name="x", url=Secret("postgresql://h/d")),
            ),
            (
                "type: sql_server, host: h, database: d, trusted: true, encrypt: strict, driver: D",
                SqlServerConnection(
                    name="x", host="h", database="d", trusted=True, encrypt="strict", driver="D"
                ),
            ),
            (
                "type: sql_server, connection_string: 'SERVER=h'",
                SqlServerConnection(name="x", connection_string=Secret("SERVER=h")),
            ),
            ("type: mysql, host: h, database: d", MySqlConnection(name="x", host="h", database="d")),
            (
                "type: oracle, host: h, service_name: s",
                OracleConnection(name="x", host="h", service_name="s"),
            ),
            ("type: sqlite, database: ':memory:'", SqliteConnection(name="x", database=":memory:")),
            ("type: duckdb, database: ':memory:'", DuckDbConnection(name="x", database=":memory:")),
            (
                "type: odbc, dsn: erp, dialect: postgresql, password: 1234",
                OdbcConnection(name="x", dsn="erp", sql_dialect="postgres", password=Secret("1234")),
            ),
        ],
    )
    def test_are_made_from_their_settings(self, settings, expected, tmp_path):
        assert one(settings, tmp_path) == expected

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ("host: h", "write one of local, adls, s3, gcs, sql, postgres"),
            ("type: 5", "it must be one of local"),
            ("type: mssql", "did you mean 'sql_server'?"),
            ("type: azure_blob", "did you mean 'adls'?"),
            ("type: avro", "is not known: write one of"),
            ("type: adls, account: a, container: c, auth: keys", "did you mean 'key'?"),
            ("type: adls, account: a, container: c, auth: key", "auth: key needs account_key"),
            ("type: adls, account: a, container: c, client_secret: s", "needs client_id"),
            ("type: adls, account: a, container: c, sas_token: s, account_key: k", "write auth: key or sas"),
            ("type: adls, account: a, account_name: b, container: c", "another spelling of account"),
            ("type: odbc", "needs dsn or connection_string"),
            ("type: odbc, dsn: a, connection_string: b", "keep one of them"),
            ("type: odbc, dsn: a, dialect: tsq", "did you mean 'tsql'?"),
            ("type: postgres, url: 'postgresql://h/d', host: h", "url says that already"),
            ("type: sql, url: nonsense", "it is no URL"),
            (
                "type: sql_server, host: h, database: d, encrypt: perhaps",
                "yes, no, optional, mandatory, strict",
            ),
            ("type: sqlite, database: a, attach: {main: b}", "can't be a schema's name"),
            ("type: sqlite, database: a, attach: {'a;b': b}", "can't be a schema's name"),
            ("type: sqlite, database: a, attach: b.db", "mapping of schema names"),
            ("type: oracle, host: h", "needs service_name or sid"),
            ("type: local, root: ", "there is no value"),
            ("type: local, root: '${secret:a/b}'", "a credential"),
        ],
    )
    def test_are_refused_in_words_that_help(self, settings, words, tmp_path):
        with pytest.raises(ConfigError) as caught:
            one(settings, tmp_path)
        assert words in str(caught.value)


class TestNothingLeaks:
    SETTINGS = (
        "type: postgres, host: h, database: d, username: u, password: planted-secret",
        "type: sql, url: 'postgresql://u:planted-secret@h/d?sslmode=require'",
        "type: sql, url: 'mssql+pyodbc:///?odbc_connect=DRIVER=x;PWD=planted-secret'",
        "type: odbc, connection_string: 'DSN=x;UID=u;PWD=planted-secret'",
        "type: odbc, dsn: x, options: {PWD: planted-secret}",
        "type: adls, account: a, container: c, account_key: planted-secret",
        "type: adls, account: a, container: c, sas_token: '?sig=planted-secret'",
        "type: s3, bucket: b, access_key_id: i, secret_access_key: planted-secret, session_token: planted-secret",
        "type: s3, bucket: b, options: {aws_secret_access_key: planted-secret}",
        'type: gcs, bucket: b, service_account_key: \'{"private_key": "planted-secret"}\'',
    )

    @pytest.mark.parametrize("settings", SETTINGS)
    def test_by_looking_at_a_connection(self, settings, tmp_path):
        found = one(settings, tmp_path)
        connections = Connections({"x": found})
        for shown in (repr(found), str(found), str(found.describe()), str(connections.describe())):
            assert "planted-secret" not in shown
            assert "***" in shown

    @pytest.mark.parametrize(
        "line",
        [
            "    password: [planted-secret]",
            "    pasword: planted-secret",
            "    pwrd: planted-secret",
            "    pw: 'planted-secret",
            "    x: planted-secret: y",
            "    encrypt: planted-secret",
            "    url: nonsense-planted-secret",
            "    password: planted-secret\n    password: planted-secret",
            "    options: planted-secret",
            "    options: {PWD: planted-secret",
            "    attach: {x: [planted-secret]}",
            "    planted-secret",
            "    password: |\n     planted-secret\n    x",
            "    password: !x planted-secret",
            "    password: &planted-secret\n      a: 1",
            '    password: "planted-secret\\q"',
            "\tpassword: planted-secret",
            "    password: planted-secret\x01",
        ],
    )
    @pytest.mark.parametrize("kind", ["postgres", "sql", "adls", "sql_server", "sqlite", "nothing"])
    def test_by_a_mistake_in_the_file(self, line, kind, tmp_path):
        text = f"connections:\n  erp:\n    type: {kind}\n{line}\n"
        found = problems(tmp_path, text)
        assert found
        assert "planted-secret" not in "\n".join(found)

    def test_by_an_error_about_an_unset_variable(self, tmp_path):
        text = "connections:\n  erp: {type: sql, url: 'postgresql://u:planted-secret@${env:NOPE}/d'}\n"
        found = project(tmp_path, text).connections["erp"]
        assert "planted-secret" not in str(found.error)
        assert "planted-secret" not in repr(found)
