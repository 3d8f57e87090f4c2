"""What each family of connections hands to the libraries, and where paths may lead."""

from __future__ import annotations

import os
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.connections import secrets
from hwm_magics.connections.adls import AdlsConnection
from hwm_magics.connections.base import odbc_string, path_problem
from hwm_magics.connections.gcs import GcsConnection
from hwm_magics.connections.local import LocalConnection
from hwm_magics.connections.odbc import OdbcConnection
from hwm_magics.connections.postgres import PostgresConnection
from hwm_magics.connections.s3 import S3Connection
from hwm_magics.connections.secrets import Secret
from hwm_magics.connections.sql import DuckDbConnection, MySqlConnection, OracleConnection, SqlConnection
from hwm_magics.connections.sql_server import SqlServerConnection
from hwm_magics.connections.sqlite import SqliteConnection
from hwm_magics.connections.strings import connection_of_text
from hwm_magics.errors import ConfigError, EngineNotInstalledError


@pytest.fixture(autouse=True)
def _secrets_of_its_own():
    """A test must not pass because another one made its secret known, nor mask what another one looks for."""
    kept = secrets._known.copy()
    secrets._known.clear()
    yield
    secrets._known.clear()
    secrets._known.update(kept)


PASSWORD = Secret("p@ss:w/rd;x")


class TestLocal:
    @pytest.fixture
    def lake(self, tmp_path: Path) -> LocalConnection:
        root = tmp_path / "lake"
        (root / "raw").mkdir(parents=True)
        (tmp_path / "outside").mkdir()
        return LocalConnection(name="lake", root=str(root))

    @pytest.mark.parametrize("path", ["raw/orders", "raw//orders/", "./raw/orders", "raw/./orders"])
    def test_a_path_lies_below_the_root(self, lake, path):
        assert lake.confine(path) == Path(lake.root) / "raw" / "orders"
        assert lake.uri(path) == str(Path(lake.root) / "raw" / "orders")
        assert lake.storage_options() == {}

    def test_an_absolute_path_below_the_root_is_fine(self, lake):
        assert lake.confine(f"{lake.root}/raw/x") == Path(lake.root) / "raw" / "x"

    def test_the_root_need_not_exist(self, tmp_path):
        lake = LocalConnection(name="lake", root=str(tmp_path / "later"))
        assert lake.confine("a") == tmp_path / "later" / "a"

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("/etc/passwd", "absolute path outside"),
            ("../outside", "holds '..'"),
            ("raw/../raw/x", "holds '..'"),
            ("raw\\..\\..\\x", "holds '..'"),
            ("", "is empty"),
            ("  ", "is empty"),
            (".", "root itself"),
            ("./", "root itself"),
            ("s3://bucket/x", "is a URL"),
            ("file:///etc", "is a URL"),
            ("~/x", "begins with '~'"),
            ("a\x00b", "control character"),
            ("a\nb", "control character"),
        ],
    )
    def test_a_path_that_leaves_is_refused(self, lake, path, words):
        with pytest.raises(ConfigError) as caught:
            lake.uri(path)
        assert words in str(caught.value)

    def test_the_root_by_its_own_name_is_refused(self, lake):
        with pytest.raises(ConfigError, match="name a folder below it"):
            lake.confine(lake.root)

    def test_a_link_out_is_refused(self, lake, tmp_path):
        (Path(lake.root) / "door").symlink_to(tmp_path / "outside")
        for path in ("door", "door/x", "door/x/y"):
            with pytest.raises(ConfigError, match="symbolic link"):
                lake.confine(path)

    def test_a_link_within_is_fine(self, lake):
        (Path(lake.root) / "alias").symlink_to(Path(lake.root) / "raw")
        assert lake.confine("alias/x") == Path(lake.root) / "raw" / "x"

    def test_a_root_that_is_a_link_is_fine(self, lake, tmp_path):
        (tmp_path / "link").symlink_to(lake.root)
        linked = LocalConnection(name="lake", root=str(tmp_path / "link"))
        assert linked.confine("raw/x") == Path(lake.root) / "raw" / "x"

    @pytest.mark.parametrize("path", ["_hwm_catalog", "_hwm_catalog/x", "raw/_delta_log"])
    def test_the_catalogs_folder_and_a_log_hold_no_tables(self, lake, path):
        with pytest.raises(ConfigError, match="holds no tables"):
            lake.confine(path)

    def test_no_table_lies_inside_of_another(self, lake):
        (Path(lake.root) / "raw" / "orders" / "_delta_log").mkdir(parents=True)
        assert lake.confine("raw/orders")
        with pytest.raises(ConfigError, match="inside of the Delta table raw/orders"):
            lake.confine("raw/orders/sub")

    def test_a_ring_of_links_is_refused(self, lake):
        (Path(lake.root) / "a").symlink_to(Path(lake.root) / "b")
        (Path(lake.root) / "b").symlink_to(Path(lake.root) / "a")
        try:
            confined = lake.confine("a/x")
        except ConfigError as error:
            assert "can't be followed" in str(error)  # noqa: PT017 - or, on newer Pythons, it stays inside
        else:
            assert confined.is_relative_to(lake.root)

    @given(st.text(max_size=20))
    def test_no_text_leads_out(self, path):
        lake = LocalConnection(name="lake", root="/srv/lake")
        try:
            found = lake.confine(path)
        except ConfigError:
            return
        assert os.path.commonpath([found, "/srv/lake"]) == "/srv/lake"
        assert str(found) != "/srv/lake"


class TestObjectStores:
    ADLS = AdlsConnection(name="x", account="acc", container="lake", root="bronze/")
    S3 = S3Connection(name="x", bucket="bucket", root="/a/b")
    GCS = GcsConnection(name="x", bucket="bucket")

    def test_addresses_lie_below_the_root(self):
        assert self.ADLS.uri("raw//orders/") == "abfss://lake@acc.dfs.core.windows.net/bronze/raw/orders"
        assert self.S3.uri("raw/orders") == "s3://bucket/a/b/raw/orders"
        assert self.GCS.uri("raw/orders") == "gs://bucket/raw/orders"

    @pytest.mark.parametrize("connection", [ADLS, S3, GCS], ids=["adls", "s3", "gcs"])
    @pytest.mark.parametrize(
        "path", ["../x", "/x", "\\x", "C:/x", "a/../../x", "", ".", "s3://other/x", "a\rb"]
    )
    def test_a_path_that_leaves_is_refused(self, connection, path):
        with pytest.raises(ConfigError):
            connection.uri(path)

    def test_adls_options(self):
        def options(**settings):
            return AdlsConnection(name="x", account="acc", container="c", **settings).storage_options()

        assert options() == {"account_name": "acc"}
        assert options(auth="cli") == {"account_name": "acc", "use_azure_cli": "true"}
        assert options(auth="key", account_key=PASSWORD)["account_key"] == "p@ss:w/rd;x"
        assert options(auth="sas", sas_token=Secret("?sv=1&sig=2"))["sas_token"] == "sv=1&sig=2"
        assert options(
            auth="client_secret",
            client_id="i",
            client_secret=PASSWORD,
            tenant_id="t",
            allow_http=True,
            endpoint="http://e",
        ) == {
            "account_name": "acc",
            "client_id": "i",
            "client_secret": "p@ss:w/rd;x",
            "tenant_id": "t",
            "allow_http": "true",
            "azure_storage_endpoint": "http://e",
        }

    def test_s3_options(self):
        connection = S3Connection(
            name="x",
            bucket="b",
            region="eu-1",
            access_key_id="i",
            secret_access_key=PASSWORD,
            session_token=Secret("t-t-t"),
            endpoint="http://e",
            allow_http=True,
            options={"AWS_CONDITIONAL_PUT": "etag", "secret_thing": Secret("s-s-s"), "flag": True},
        )
        assert connection.storage_options() == {
            "AWS_REGION": "eu-1",
            "AWS_ACCESS_KEY_ID": "i",
            "AWS_SECRET_ACCESS_KEY": "p@ss:w/rd;x",
            "AWS_SESSION_TOKEN": "t-t-t",
            "AWS_ENDPOINT_URL": "http://e",
            "AWS_ALLOW_HTTP": "true",
            "AWS_CONDITIONAL_PUT": "etag",
            "secret_thing": "s-s-s",
            "flag": "true",
        }

    def test_gcs_options(self):
        assert self.GCS.storage_options() == {}
        both = GcsConnection(name="x", bucket="b", service_account="/k.json", service_account_key=PASSWORD)
        assert both.storage_options() == {
            "google_service_account": "/k.json",
            "google_service_account_key": "p@ss:w/rd;x",
        }


class TestDatabases:
    def test_postgres_by_its_parts(self):
        connection = PostgresConnection(
            name="x",
            host="h",
            port=5433,
            database="sales db",
            username="lo@der",
            password=PASSWORD,
            options={"sslmode": "require"},
        )
        assert connection.uri().reveal() == (
            "postgresql://lo%40der:p%40ss%3Aw%2Frd%3Bx@h:5433/sales%20db?sslmode=require"
        )
        assert connection.uri().masked == "postgresql://lo%40der:***@h:5433/sales%20db?sslmode=require"
        assert connection.sqlalchemy_url().reveal().startswith("postgresql+psycopg://lo%40der:")
        assert connection.dialect == "postgres"

    @pytest.mark.parametrize(
        ("settings", "uri"),
        [
            ({"host": "::1", "database": "d"}, "postgresql://[::1]/d"),
            ({"host": "/run/pg", "database": "d"}, "postgresql:///d?host=%2Frun%2Fpg"),
            (
                {"host": "/run/pg", "port": 5433, "database": "d", "username": "u"},
                "postgresql://u@/d?host=%2Frun%2Fpg&port=5433",
            ),
            ({"host": "h", "database": "d", "password": Secret("p-p-p")}, "postgresql://h/d?password=p-p-p"),
            ({"url": Secret("postgresql+psycopg://u:p@h/d")}, "postgresql://u:p@h/d"),
            ({"url": Secret("postgres://h/d")}, "postgresql://h/d"),
        ],
    )
    def test_postgres_in_other_ways(self, settings, uri):
        assert PostgresConnection(name="x", **settings).uri().reveal() == uri

    def test_sqlalchemy_reads_the_urls(self):
        make_url = pytest.importorskip("sqlalchemy").make_url
        login = {"host": "h", "username": "u@x", "password": PASSWORD}
        for connection, expected in [
            (
                PostgresConnection(name="x", database="my d", **login),
                ("postgresql+psycopg", "h", None, "my d"),
            ),
            (MySqlConnection(name="x", database="d", **login), ("mysql+pymysql", "h", 3306, "d")),
            (OracleConnection(name="x", sid="s", **login), ("oracle+oracledb", "h", 1521, "s")),
        ]:
            url = make_url(connection.sqlalchemy_url().reveal())
            assert (url.drivername, url.host, url.port, url.database) == expected
            assert (url.username, url.password) == ("u@x", "p@ss:w/rd;x")
        oracle = make_url(OracleConnection(name="x", service_name="svc", **login).sqlalchemy_url().reveal())
        assert oracle.query == {"service_name": "svc"}
        duck = make_url(DuckDbConnection(name="x", database="/data/my shop.db").sqlalchemy_url().reveal())
        assert duck.database == "/data/my shop.db"
        memory = make_url(DuckDbConnection(name="x", database=":memory:").sqlalchemy_url().reveal())
        assert memory.database == ":memory:"

    @pytest.mark.parametrize(
        ("url", "dialect"),
        [
            ("postgresql+psycopg2://u:p@h/d", "postgres"),
            ("mssql+pyodbc://h/d", "tsql"),
            ("MySQL://h/d", "mysql"),
            ("mariadb+pymysql://h/d", "mysql"),
            ("snowflake://a/d", "snowflake"),
            ("exotic://h", ""),
        ],
    )
    def test_a_urls_scheme_tells_the_dialect(self, url, dialect):
        connection = SqlConnection(name="x", url=Secret.of_address(url))
        assert connection.dialect == dialect
        assert connection.sqlalchemy_url() is connection.url

    def test_dialects(self):
        assert SqlServerConnection(name="x").dialect == "tsql"
        assert MySqlConnection(name="x", host="h", database="d").dialect == "mysql"
        assert OracleConnection(name="x", host="h").dialect == "oracle"
        assert DuckDbConnection(name="x", database="d").dialect == "duckdb"
        assert SqliteConnection(name="x", database="d").dialect == "sqlite"
        assert OdbcConnection(name="x", dsn="d").dialect == ""
        assert OdbcConnection(name="x", dsn="d", sql_dialect="tsql").dialect == "tsql"

    def test_sql_server_by_its_parts(self):
        connection = SqlServerConnection(
            name="x",
            host="erp",
            port=1433,
            database="sales",
            username="loader",
            password=PASSWORD,
            encrypt="strict",
            trust_server_certificate=True,
            options={"ApplicationIntent": "ReadOnly"},
        )
        assert connection.odbc("ODBC Driver 18 for SQL Server").reveal() == (
            "DRIVER=ODBC Driver 18 for SQL Server;SERVER=erp,1433;DATABASE=sales;UID=loader;"
            "PWD={p@ss:w/rd;x};Encrypt=strict;TrustServerCertificate=yes;APP=hwm_magics;ApplicationIntent=ReadOnly;"
        ).replace("SERVER=erp,1433", "SERVER={erp,1433}")
        assert "PWD=***" in connection.odbc().masked

    def test_sql_server_in_other_ways(self):
        usual = "Encrypt=yes;ApplicationIntent=ReadOnly;APP=hwm_magics;"
        trusted = SqlServerConnection(name="x", host="h", database="d", driver="/lib/x.so", trusted=True)
        assert trusted.names_driver
        assert trusted.odbc("other").reveal() == (
            f"DRIVER=/lib/x.so;SERVER=h;DATABASE=d;Trusted_Connection=yes;{usual}"
        )
        ready = SqlServerConnection(name="x", connection_string=Secret("SERVER=h;PWD=p"))
        assert not ready.names_driver
        assert ready.odbc("other").reveal() == f"SERVER=h;PWD=p;DRIVER=other;{usual}"
        told = SqlServerConnection(
            name="x", connection_string=Secret("Driver={d;x};encrypt=no;APPLICATIONINTENT=ReadWrite;App=me;")
        )
        assert told.names_driver
        assert told.odbc().reveal() == "Driver={d;x};encrypt=no;APPLICATIONINTENT=ReadWrite;App=me;"
        source = SqlServerConnection(name="x", connection_string=Secret("DSN=erp"))
        assert source.names_driver
        assert source.odbc().reveal() == "DSN=erp"

    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ({}, ""),
            ({"authentication": "integrated"}, "Trusted_Connection=yes;"),
            ({"authentication": "managed_identity"}, "Authentication=ActiveDirectoryMsi;"),
            (
                {"authentication": "managed_identity", "username": "id"},
                "Authentication=ActiveDirectoryMsi;UID=id;",
            ),
            (
                {"authentication": "service_principal", "username": "app", "password": Secret("s3cret")},
                "Authentication=ActiveDirectoryServicePrincipal;UID=app;PWD=s3cret;",
            ),
            ({"authentication": "sql", "username": "u", "password": Secret("pppp")}, "UID=u;PWD=pppp;"),
        ],
    )
    def test_sql_servers_ways_to_log_in(self, said, expected):
        string = SqlServerConnection(name="x", host="h", database="d", **said).odbc().reveal()
        assert (
            string == f"SERVER=h;DATABASE=d;{expected}Encrypt=yes;ApplicationIntent=ReadOnly;APP=hwm_magics;"
        )

    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            ("SERVER=h;DATABASE=d;UID=u;PWD={a;b}", SqlServerConnection),
            ("Driver={ODBC Driver 18 for SQL Server};Server=h", SqlServerConnection),
            ("DRIVER=/x/libmsodbcsql-18.6.so.2.1;SERVER=h", SqlServerConnection),
            ("DRIVER={PostgreSQL Unicode};SERVER=h;PWD=p", OdbcConnection),
            ("DSN=erp;PWD=p", OdbcConnection),
            ("postgresql+psycopg://u:p@h/d", SqlConnection),
            ("hello=world", None),
            ("SELECT a FROM b WHERE server=1 OR 2", None),
            ("s3://bucket/path", None),
            (42, None),
        ],
    )
    def test_a_text_that_is_a_connection(self, text, kind):
        found = connection_of_text("x", text)
        assert (found if found is None else type(found)) is kind
        assert "p@" not in str(found)
        assert "a;b" not in str(found)

    def test_odbc(self):
        dsn = OdbcConnection(name="x", dsn="erp", username="u", password=PASSWORD, options={"MARS": True})
        assert dsn.odbc().reveal() == "DSN=erp;UID=u;PWD={p@ss:w/rd;x};MARS=true;"
        string = OdbcConnection(name="x", connection_string=Secret("DSN=erp"), password=Secret("pppp"))
        assert string.odbc().reveal() == "DSN=erp;PWD=pppp;"
        assert OdbcConnection(name="x", connection_string=Secret("DSN=erp")).odbc().reveal() == "DSN=erp"

    @given(
        st.dictionaries(st.sampled_from(["UID", "PWD", "DSN"]), st.text(min_size=1, max_size=12), min_size=1)
    )
    def test_an_odbc_string_gives_its_values_back(self, settings):
        read, rest = {}, odbc_string(settings)
        while rest:
            key, _, rest = rest.partition("=")
            if rest.startswith("{"):
                end = 1
                while rest[end] != "}" or rest[end + 1] == "}":
                    end += 2 if rest[end] == "}" else 1
                read[key], rest = rest[1:end].replace("}}", "}"), rest[end + 2 :]
            else:
                read[key], _, rest = rest.partition(";")
        assert read == settings


class TestDescriptions:
    def test_hold_what_is_set_and_mask_what_is_secret(self):
        connection = PostgresConnection(
            name="erp",
            host="h",
            database="d",
            username="u",
            password=PASSWORD,
            options={"sslmode": "require", "token": "t"},
        )
        assert connection.describe() == {
            "name": "erp",
            "type": "postgres",
            "options": "{'sslmode': 'require', 'token': '***'}",
            "host": "h",
            "database": "d",
            "username": "u",
            "password": "***",
        }

    def test_show_urls_without_their_passwords(self):
        connection = SqlConnection(name="x", url=Secret.of_address("mysql://u:planted@h/d"))
        assert connection.describe()["url"] == "mysql://u:***@h/d"

    def test_connections_do_not_change(self):
        with pytest.raises(FrozenInstanceError):
            SqliteConnection(name="x", database="d").database = "e"


@given(st.text(max_size=15))
def test_a_path_is_fine_or_has_a_problem_in_words(path):
    problem = path_problem(path)
    assert problem is None or len(problem) > 10


class TestEntra:
    def test_a_storage_token_is_fetched_for_each_opening(self, monkeypatch):
        import azure.identity as azure

        tokens = iter(["planted-one", "planted-two"])

        class Credential:
            def __init__(self, **options):
                assert options == {}

            def get_token(self, scope):
                assert scope == "https://storage.azure.com/.default"
                return type("Token", (), {"token": next(tokens)})

            def close(self):
                pass

        monkeypatch.setattr(azure, "DefaultAzureCredential", Credential)
        lake = AdlsConnection(name="lake", account="a", container="c", auth="azure_default")
        assert lake.storage_options() == {"account_name": "a", "bearer_token": "planted-one"}
        assert lake.storage_options()["bearer_token"] == "planted-two"
        assert "planted" not in repr(lake) + str(lake.describe())

    def test_azure_identity_is_named_with_its_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "azure.identity", None)
        lake = AdlsConnection(name="lake", account="a", container="c", auth="azure_default")
        with pytest.raises(EngineNotInstalledError, match="azure-identity") as caught:
            lake.storage_options()
        assert "hwm-magics[azure]" in caught.value.hint
