"""A storage's address and credentials as the settings of Hadoop's clients, by which Spark reaches it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hwm_magics.connections.adls import AdlsConnection
from hwm_magics.connections.base import Connection, StorageConnection
from hwm_magics.connections.s3 import S3Connection

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["CONNECTORS", "HadoopAccess", "connectors", "hadoop_access", "hand_over", "spark_uri"]

CONNECTORS: Mapping[str, str] = {
    "adls": "org.apache.hadoop:hadoop-azure:3.5.0",
    "s3": "org.apache.hadoop:hadoop-aws:3.5.0",
}
"""The connector of a type of storage, by Maven coordinates; its version is that of the Hadoop in Spark 4.2."""

_AZURE_LOGIN = "https://login.microsoftonline.com"
_TOKENS = "org.apache.hadoop.fs.azurebfs.oauth2"
_S3_KEYS = "org.apache.hadoop.fs.s3a"


@dataclass(frozen=True, slots=True)
class HadoopAccess:
    """How Hadoop's client reaches a storage.

    Attributes:
        settings: Settings for this bucket or account alone, credentials among them.
        problem: Why there are none; "" where there are.
    """

    settings: Mapping[str, str] = field(repr=False, default_factory=dict)
    problem: str = ""


def hadoop_access(storage: StorageConnection, environ: Mapping[str, str] | None = None) -> HadoopAccess:
    """How Hadoop's client reaches a storage as its connection says.

    Args:
        storage: The storage.
        environ: The environment, in which ADLS's ``auth: default`` looks; None for the process's own.
    """
    if isinstance(storage, S3Connection):
        return HadoopAccess(_s3(storage))
    if isinstance(storage, AdlsConnection):
        return _adls(storage, os.environ if environ is None else environ)
    return HadoopAccess(problem=f"credentials of type {storage.type} are not handed to Spark")


def spark_uri(storage: StorageConnection, path: str) -> str:
    """A path below a connection's root as Spark spells it.

    Raises:
        ConfigError: It leaves the root.
    """
    uri = storage.uri(path)
    if isinstance(storage, AdlsConnection) and storage.allow_http:
        return f"abfs{uri.removeprefix('abfss')}"  # the other scheme is TLS, whatever else is set
    return f"s3a{uri.removeprefix('s3')}" if uri.startswith("s3:") else uri


def connectors(connections: Iterable[Connection]) -> tuple[str, ...]:
    """The connectors that a session needs for some connections, by Maven coordinates."""
    return tuple(sorted({CONNECTORS[each.type] for each in connections if each.type in CONNECTORS}))


def hand_over(storage: StorageConnection, session: SparkSession) -> str:
    """Tell Spark of a storage, where the session is hwm_magics' own; nothing is set on one that is the user's.

    Args:
        storage: The storage.
        session: The session that is to reach it.

    Returns:
        What to do where Spark can't reach it all the same, without a secret in it.
    """
    from hwm_magics.spark.session import is_own

    access = hadoop_access(storage)
    connector = CONNECTORS.get(storage.type)
    if access.problem:
        return f"{access.problem}: give them to the session or its cluster"
    if not is_own(session):
        told = f"set those of the connection {storage.name!r} on it: {', '.join(access.settings) or 'none'}"
        return (
            f"nothing is set on a Spark session that is yours: {told} (by spark.conf.set, or as spark.hadoop.… where "
            f"the session is built), and have {connector} among its spark.jars.packages"
        )
    for key, value in access.settings.items():
        session.conf.set(key, value)
    return (
        f"check the connection {storage.name!r}; if its connector is missing, start the kernel again: a session that "
        f"starts after the connection is known fetches {connector}"
    )


def _s3(storage: S3Connection) -> dict[str, str]:
    told: dict[str, str] = {}
    if storage.access_key_id is not None and storage.secret_access_key is not None:
        told["access.key"] = storage.access_key_id
        told["secret.key"] = storage.secret_access_key.reveal()
        told["aws.credentials.provider"] = f"{_S3_KEYS}.SimpleAWSCredentialsProvider"
        if storage.session_token is not None:
            told["session.token"] = storage.session_token.reveal()
            told["aws.credentials.provider"] = f"{_S3_KEYS}.TemporaryAWSCredentialsProvider"
    if storage.region is not None:
        told["endpoint.region"] = storage.region
    if storage.endpoint is not None:
        told["endpoint"] = storage.endpoint
        # Stores beside Amazon's own seldom have a host name for each bucket.
        told["path.style.access"] = "true"
    if storage.allow_http:
        told["connection.ssl.enabled"] = "false"
    return {f"fs.s3a.bucket.{storage.bucket}.{key}": value for key, value in told.items()}


def _adls(storage: AdlsConnection, environ: Mapping[str, str]) -> HadoopAccess:
    if storage.auth == "cli":
        return HadoopAccess(problem="Hadoop's client has no way to the login of az (auth: cli)")
    host = f"{storage.account}.dfs.core.windows.net"
    told: dict[str, str] = {}
    if storage.account_key is not None:
        told["account.auth.type"] = "SharedKey"
        told["account.key"] = storage.account_key.reveal()
    elif storage.sas_token is not None:
        told["account.auth.type"] = "SAS"
        told["sas.fixed.token"] = storage.sas_token.reveal().removeprefix("?")
    else:
        told |= _oauth(storage, environ)
    settings = {f"fs.azure.{key}.{host}": value for key, value in told.items()}
    if storage.endpoint is not None:
        # An emulator: the blob service, whose host name is no account's.
        settings |= {
            "fs.azure.abfs.endpoint": urlsplit(storage.endpoint).netloc or storage.endpoint,
            f"fs.azure.fns.account.service.type.{host}": "BLOB",
            f"fs.azure.account.hns.enabled.{host}": "false",
            "fs.azure.networking.library": "JDK_HTTP_URL_CONNECTION",
        }
    if storage.allow_http:
        settings["fs.azure.always.use.https"] = "false"
    return HadoopAccess(settings)


def _oauth(storage: AdlsConnection, environ: Mapping[str, str]) -> dict[str, str]:
    """Who logs in to Entra ID: whom the connection names, else whom the environment names, else this machine."""
    given = storage.client_secret.reveal() if storage.client_secret is not None else None
    secret = given or environ.get("AZURE_CLIENT_SECRET")
    client = storage.client_id or environ.get("AZURE_CLIENT_ID")
    tenant = storage.tenant_id or environ.get("AZURE_TENANT_ID")
    federated = environ.get("AZURE_FEDERATED_TOKEN_FILE")
    told = {"account.auth.type": "OAuth"}
    if client is not None:
        told["account.oauth2.client.id"] = client
    if secret and client and tenant:
        told["account.oauth.provider.type"] = f"{_TOKENS}.ClientCredsTokenProvider"
        told["account.oauth2.client.secret"] = secret
        told["account.oauth2.client.endpoint"] = f"{_AZURE_LOGIN}/{tenant}/oauth2/token"
    elif federated and client and tenant:
        told["account.oauth.provider.type"] = f"{_TOKENS}.WorkloadIdentityTokenProvider"
        told["account.oauth2.token.file"] = federated
        told["account.oauth2.msi.tenant"] = tenant
    else:
        told["account.oauth.provider.type"] = f"{_TOKENS}.MsiTokenProvider"
        if tenant is not None:
            told["account.oauth2.msi.tenant"] = tenant
    return told
