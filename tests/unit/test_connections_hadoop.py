"""What Spark's storage clients are told of a connection, and what is said where nothing may be set."""

from __future__ import annotations

import re

import pytest

from hwm_magics.connections.adls import AdlsConnection
from hwm_magics.connections.gcs import GcsConnection
from hwm_magics.connections.hadoop import connectors, hadoop_access, hand_over
from hwm_magics.connections.local import LocalConnection
from hwm_magics.connections.s3 import S3Connection
from hwm_magics.connections.secrets import Secret
from hwm_magics.spark.session import SETTINGS

HIDDEN = "n0t-t0-be-seen"
SECRET = Secret(HIDDEN)
HOST = "acme.dfs.core.windows.net"
OAUTH = "org.apache.hadoop.fs.azurebfs.oauth2"


def adls(**told):
    return AdlsConnection(name="lake", account="acme", container="raw", **told)


def s3(**told):
    return S3Connection(name="lake", bucket="acme-lake", **told)


class Session:
    """A session's settings."""

    def __init__(self, **there):
        self.there = there
        self.conf = self

    def get(self, key, default):
        return self.there.get(key, default)

    def set(self, key, value):
        self.there[key] = value


def test_s3_is_told_for_its_bucket_alone():
    told = hadoop_access(s3(access_key_id="AKIA0", secret_access_key=SECRET, region="eu-central-1")).settings
    assert told == {
        "fs.s3a.bucket.acme-lake.access.key": "AKIA0",
        "fs.s3a.bucket.acme-lake.secret.key": HIDDEN,
        "fs.s3a.bucket.acme-lake.aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
        "fs.s3a.bucket.acme-lake.endpoint.region": "eu-central-1",
    }


def test_s3_with_a_session_token_at_another_address():
    keys = {"access_key_id": "AKIA0", "secret_access_key": SECRET, "session_token": Secret("t0ken")}
    told = hadoop_access(s3(**keys, endpoint="http://127.0.0.1:5000", allow_http=True)).settings
    mine = {key.removeprefix("fs.s3a.bucket.acme-lake."): value for key, value in told.items()}
    assert mine["session.token"] == "t0ken"
    assert mine["aws.credentials.provider"].endswith("TemporaryAWSCredentialsProvider")
    assert (mine["endpoint"], mine["path.style.access"]) == ("http://127.0.0.1:5000", "true")
    assert mine["connection.ssl.enabled"] == "false"


def test_s3_without_keys_leaves_it_to_the_environment():
    assert hadoop_access(s3()).settings == {}


@pytest.mark.parametrize(
    ("told", "environ", "expected"),
    [
        ({"auth": "key", "account_key": SECRET}, {}, {"auth.type": "SharedKey", "key": HIDDEN}),
        (
            {"auth": "client_secret", "client_secret": SECRET, "client_id": "c", "tenant_id": "t"},
            {},
            {
                "auth.type": "OAuth",
                "oauth.provider.type": f"{OAUTH}.ClientCredsTokenProvider",
                "oauth2.client.id": "c",
                "oauth2.client.secret": HIDDEN,
                "oauth2.client.endpoint": "https://login.microsoftonline.com/t/oauth2/token",
            },
        ),
        (
            {},
            {"AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t", "AZURE_CLIENT_SECRET": HIDDEN},
            {
                "auth.type": "OAuth",
                "oauth.provider.type": f"{OAUTH}.ClientCredsTokenProvider",
                "oauth2.client.id": "c",
                "oauth2.client.secret": HIDDEN,
                "oauth2.client.endpoint": "https://login.microsoftonline.com/t/oauth2/token",
            },
        ),
        (
            {},
            {"AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t", "AZURE_FEDERATED_TOKEN_FILE": "/run/token"},
            {
                "auth.type": "OAuth",
                "oauth.provider.type": f"{OAUTH}.WorkloadIdentityTokenProvider",
                "oauth2.client.id": "c",
                "oauth2.token.file": "/run/token",
                "oauth2.msi.tenant": "t",
            },
        ),
        ({}, {}, {"auth.type": "OAuth", "oauth.provider.type": f"{OAUTH}.MsiTokenProvider"}),
    ],
    ids=["key", "client_secret", "the environment's secret", "the environment's token", "a managed identity"],
)
def test_adls_is_told_for_its_account_alone(told, environ, expected):
    settings = hadoop_access(adls(**told), environ).settings
    assert settings == {f"fs.azure.account.{key}.{HOST}": value for key, value in expected.items()}


def test_adls_by_a_sas_and_at_an_emulator():
    told = adls(
        auth="sas", sas_token=Secret("?sv=1&sig=x"), endpoint="http://127.0.0.1:1000/acme", allow_http=True
    )
    settings = hadoop_access(told, {}).settings
    assert settings[f"fs.azure.sas.fixed.token.{HOST}"] == "sv=1&sig=x"
    assert settings["fs.azure.abfs.endpoint"] == "127.0.0.1:1000"
    assert settings["fs.azure.always.use.https"] == "false"


@pytest.mark.parametrize(
    "storage", [adls(auth="cli"), GcsConnection(name="lake", bucket="b")], ids=["az", "gcs"]
)
def test_what_spark_has_no_way_to_is_said(storage):
    assert hadoop_access(storage).settings == {}
    assert "give them to the session or its cluster" in hand_over(storage, Session())


def test_nothing_is_set_on_a_session_of_the_users_and_the_settings_are_named_without_their_values():
    session = Session()
    told = hand_over(s3(access_key_id="AKIA0", secret_access_key=SECRET), session)
    assert session.there == {}
    assert "fs.s3a.bucket.acme-lake.secret.key" in told
    assert "org.apache.hadoop:hadoop-aws:3.5.0" in told
    assert HIDDEN not in told + repr(hadoop_access(s3(access_key_id="A", secret_access_key=SECRET)))


def test_a_session_of_our_own_is_told():
    session = Session(**{"spark.hwm_magics.own": "true"})
    told = hand_over(adls(auth="key", account_key=SECRET), session)
    assert session.there[f"fs.azure.account.key.{HOST}"] == HIDDEN
    assert HIDDEN not in told


def test_every_secret_is_one_that_spark_never_shows():
    """Spark's own words leave out the key of a storage account."""
    hidden = re.compile(SETTINGS["spark.redaction.regex"])
    keys = {"access_key_id": "AKIA0", "secret_access_key": SECRET, "session_token": SECRET}
    storages = (
        s3(**keys),
        adls(account_key=SECRET),
        adls(sas_token=SECRET),
        adls(client_secret=SECRET, client_id="c", tenant_id="t"),
    )
    for storage in storages:
        settings = hadoop_access(storage, {}).settings
        assert HIDDEN in settings.values()
        assert all(hidden.search(key) for key, value in settings.items() if value == HIDDEN)


def test_a_session_has_the_connectors_of_the_storages_that_are_known():
    known = [adls(), s3(), LocalConnection(name="here", root="/lake")]
    assert connectors(known) == ("org.apache.hadoop:hadoop-aws:3.5.0", "org.apache.hadoop:hadoop-azure:3.5.0")
    assert connectors(known[2:]) == ()
