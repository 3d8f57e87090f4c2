"""How we log in to SQL Server: what the driver sends, as the server saw it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import ClassVar

import pytest
from sqlserver import erp as erps

from hwm_magics.errors import ConfigError, CursorColumnError, LoginError, SourceConnectionError

TOKEN = "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.a-made-up-t0ken"


@pytest.fixture
def orders(erp):
    erp.create("dbo.orders", "id int NOT NULL", "changed datetime2(3) NOT NULL", "v rowversion")
    erp.insert("dbo.orders", (1, "'2024-06-01'"), columns="id, changed")
    return erp


@pytest.fixture
def made(orders, load):
    return load(table="dbo.orders", incremental={"column": "changed"})


@pytest.fixture
def encrypting(tmp_path):
    """A server that can encrypt, and whose certificate nobody has signed."""
    erps.only_the_facade("its certificate is its own affair")
    with erps.start("optional") as server, erps.opened(server) as opened:
        opened.create("dbo.orders", "id int NOT NULL", "changed datetime2(3) NOT NULL")
        opened.insert("dbo.orders", (1, "'2024-06-01'"))
        server.clear()
        yield opened


def logins(server):
    return [request for request in server.requests if request.kind == "login"]


def without(settings, *names):
    return {key: value for key, value in settings.items() if key not in names}


def test_a_login_says_that_it_only_reads_and_who_it_is(facade, made):
    facade.clear()
    made.run()
    assert [(login.read_only, login.proc) for login in logins(facade)] == [(True, "hwm_magics")]


@pytest.mark.parametrize(
    "said",
    [{"application_intent": "read_write"}, {"options": {"applicationintent": "ReadWrite", "APP": "nightly"}}],
    ids=["a setting", "an option"],
)
def test_what_the_connection_says_counts(facade, made, said):
    made.source = {**made.erp.settings, **said}
    facade.clear()
    made.run()
    (login,) = logins(facade)
    assert not login.read_only
    assert login.proc == ("nightly" if "options" in said else "hwm_magics")


@pytest.mark.parametrize("as_string", [False, True], ids=["settings", "a connection string"])
def test_the_session_is_encrypted_and_the_certificate_checked_unless_told_otherwise(
    encrypting, load, as_string
):
    made = load(table="dbo.orders", incremental={"column": "changed"})
    settings = without(encrypting.settings, "encrypt")
    made.source = settings
    if as_string:
        made.source = (
            f"SERVER=127.0.0.1,{settings['port']};DATABASE=testdb;UID=loader;PWD={settings['password']}"
        )
    with pytest.raises(SourceConnectionError, match="trust_server_certificate: true") as caught:
        made.run()
    assert "certificate" in caught.value.message
    assert not made.is_there
    if as_string:
        made.source += ";TrustServerCertificate=yes"
    else:
        made.source = {**settings, "trust_server_certificate": True}
    made.run()
    reading = encrypting.server.queries("ROWCOUNT_BIG")[-1]
    assert reading.encrypted
    assert all(login.read_only for login in logins(encrypting.server))


def test_an_access_token_is_all_that_a_login_needs(encrypting, load):
    encrypting.server.database.tokens = {TOKEN}
    settings = without(encrypting.settings, "encrypt", "username", "password")
    made = load(table="dbo.orders", incremental={"column": "changed"})
    made.source = {**settings, "trust_server_certificate": True, "access_token": TOKEN}
    assert made.run().rows_written == 1
    (login,) = {(each.token, each.text, each.read_only, each.encrypted) for each in logins(encrypting.server)}
    assert login == (TOKEN, "", True, True)

    made.source["access_token"] = TOKEN + "-of-yesterday"
    with pytest.raises(LoginError, match="fetch a new access token") as caught:
        made.run()
    assert "t0ken" not in "\n".join(caught.value.lines()) + repr(caught.value.__cause__)


@pytest.fixture
def credential(monkeypatch):
    """A made-up credential in the place of azure-identity's, which notes what it was asked."""
    import azure.identity as azure

    class Credential:
        token = TOKEN
        asked: ClassVar[list] = []

        def __init__(self, **options):
            self.asked.append(options)

        def get_token(self, *scopes):
            self.asked.append(scopes)
            if self.token is None:
                raise azure.CredentialUnavailableError(
                    "DefaultAzureCredential failed\nEnvironmentCredential: …"
                )
            return SimpleNamespace(token=self.token, expires_on=0)

        def close(self):
            self.asked.append("closed")

    Credential.asked.clear()
    monkeypatch.setattr(azure, "DefaultAzureCredential", Credential)
    return Credential


def test_azure_identitys_token_is_fetched_when_it_is_needed_and_for_each_connection(
    encrypting, load, credential
):
    encrypting.server.database.tokens = {TOKEN, "a-n3w-t0ken"}
    settings = without(encrypting.settings, "encrypt", "username", "password")
    made = load(table="dbo.orders", incremental={"column": "changed"})
    made.source = {
        **settings, "trust_server_certificate": True, "authentication": "azure_default", "username": "an-id",
    }  # fmt: skip
    assert credential.asked == []
    assert made.run().rows_written == 1
    options, scopes = credential.asked[:2]
    assert (options, scopes) == (
        {"managed_identity_client_id": "an-id"},
        ("https://database.windows.net/.default",),
    )
    credential.token = "a-n3w-t0ken"
    plan = made.plan()
    assert [login.token for login in logins(encrypting.server)][-1] == "a-n3w-t0ken"
    assert {login.text for login in logins(encrypting.server)} == {""}
    assert "t0ken" not in repr(plan) + str(made.root.joinpath("raw", "t", "_delta_log").exists())

    credential.token = None
    with pytest.raises(LoginError, match=r"no token for https://database\.windows\.net") as caught:
        made.run()
    assert "az login" in caught.value.hint
    assert len(caught.value.lines()) < 5


def test_an_integrated_login_asks_for_the_systems_own_ticket(facade, made, monkeypatch, tmp_path):
    """Without a Kerberos ticket the driver gives up by itself, before it sends anything that could be a login."""
    monkeypatch.setenv("KRB5CCNAME", str(tmp_path / "no-tickets"))
    made.source = {**without(made.erp.settings, "username", "password"), "authentication": "integrated"}
    facade.clear()
    with pytest.raises(LoginError, match="kinit"):
        made.run()
    assert logins(facade) == []


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"access_token": TOKEN}, "the access token says who logs in"),
        ({"authentication": "integrated"}, "the operating system's user logs in"),
        ({"authentication": "kerberos"}, "it is not known"),
        ({"application_intent": "readonly"}, "did you mean 'read_only'"),
        ({"trusted": True, "authentication": "managed_identity"}, "keep one of them"),
        ({"authentication": "azure_default"}, "azure-identity finds who logs in"),
    ],
)
def test_logins_that_contradict_themselves_are_refused(made, said, problem):
    made.source = {**made.erp.settings, **said}
    with pytest.raises(ConfigError, match=problem) as caught:
        made.plan()
    assert "t0ken" not in str(caught.value)


def test_the_replicas_of_a_group_are_one_database(facade, made):
    facade.database.group_id = "0F3A1B2C-0000-4000-8000-00000000000A"
    facade.database.server_name = "replica-1"
    made.run()
    facade.database.server_name = "replica-2"
    made.erp.insert("dbo.orders", (2, "'2024-06-02'"), columns="id, changed")
    assert made.run().rows_written == 1


def test_another_server_is_another_database(facade, made):
    facade.database.server_name = "erp-1"
    made.run()
    facade.database.server_name = "erp-2"
    plan = made.plan()
    assert plan.decision == "BLOCKED"


def test_a_rowversion_is_not_read_from_a_copy_that_knows_of_no_open_transactions(facade, made):
    facade.database.read_only = True
    made.read["incremental"] = {"column": "v"}
    with pytest.raises(CursorColumnError, match="application_intent: read_write"):
        made.run()
    assert not made.is_there
    made.read["incremental"] = {"column": "v", "lag": 1000}
    assert made.run().rows_written == 1
