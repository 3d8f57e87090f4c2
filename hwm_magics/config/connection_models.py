"""Connections as ``hwm.yaml`` and ``%%hwm_connections`` write them, made into the dataclasses that the rest uses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from hwm_magics.config.fields import Address, Flag, Options, SecretText, SettingError, Text, of
from hwm_magics.config.models import Strict
from hwm_magics.config.validation import validate
from hwm_magics.config.yaml_loader import Document, Path
from hwm_magics.connections.adls import AdlsConnection
from hwm_magics.connections.base import Connection
from hwm_magics.connections.gcs import GcsConnection
from hwm_magics.connections.local import LocalConnection
from hwm_magics.connections.odbc import OdbcConnection
from hwm_magics.connections.postgres import PostgresConnection
from hwm_magics.connections.s3 import S3Connection
from hwm_magics.connections.secrets import Secret
from hwm_magics.connections.spark import SparkConnection
from hwm_magics.connections.sql import (
    DIALECTS,
    OTHER_DRIVERS,
    SSL_MODES,
    DuckDbConnection,
    MySqlConnection,
    OracleConnection,
    SqlConnection,
)
from hwm_magics.connections.sql_server import AUTHENTICATIONS, SqlServerConnection
from hwm_magics.connections.sqlite import SqliteConnection
from hwm_magics.connections.words import did_you_mean, listed

__all__ = ["TYPES", "connection_from"]

_HIGHEST_PORT = 65_535
_AUTHS = {
    "default": None,
    "cli": None,
    "azure_default": None,
    "key": "account_key",
    "sas": "sas_token",
    "client_secret": "client_secret",
}


def _timezone(value: object) -> str:
    name = str(value)
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingError(f"{name!r} is no time zone: write one such as Europe/Berlin or UTC") from None
    return name


def _port(value: object) -> int:
    text = str(getattr(value, "raw", value))
    if (
        isinstance(value, bool | Secret)
        or not re.fullmatch(r"\d{1,5}", text)
        or not 0 < int(text) <= _HIGHEST_PORT
    ):
        raise SettingError("it must be a port's number, from 1 to 65535")
    return int(text)


def _auth(value: object) -> str:
    if isinstance(value, str) and not isinstance(value, Secret) and value in _AUTHS:
        return value
    tail = did_you_mean(str(value), _AUTHS) or f": write one of {listed(_AUTHS)}"
    raise SettingError(f"it is not known{tail}")


def _one_of(*known: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if isinstance(value, str) and not isinstance(value, Secret) and value.lower() in known:
            return value.lower()
        tail = did_you_mean(str(value), known) or f": write one of {listed(known)}"
        raise SettingError(f"it is not known{tail}")

    return read


def _encrypt(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    known = ("yes", "no", "optional", "mandatory", "strict")
    if isinstance(value, str) and not isinstance(value, Secret) and value.lower() in known:
        return value.lower()
    raise SettingError(f"it must be one of {listed(known)}")


def _files(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise SettingError("it must be a mapping of schema names to files, such as {dbo: erp.db}")
    for name, file in value.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", str(name)) or str(name).lower() in ("main", "temp"):
            raise SettingError(f"{name!r} can't be a schema's name: use letters, digits and underscores")
        if not isinstance(file, str) or isinstance(file, Secret) or not file.strip():
            raise SettingError(f"{name} must be a file's path")
    return {str(name): str(file) for name, file in value.items()}


_Zone = Annotated[str, of(_timezone)]
_Port = Annotated[int, of(_port)]


class _Storage(Strict):
    root: Text | None = Field(None, description="The folder that bounds every path.")
    base_path: Text | None = Field(None, description="Another spelling of `root`.")
    options: Options | None = Field(None, description="Further storage options of delta-rs.")


class LocalModel(_Storage):
    """``type: local``."""


class AdlsModel(_Storage):
    """``type: adls``."""

    account: Text | None = Field(None, description="The storage account.")
    account_name: Text | None = Field(None, description="Another spelling of `account`.")
    container: Text | None = Field(None, description="The container.")
    auth: Annotated[str, of(_auth)] | None = Field(
        None, description="default, cli, azure_default, key, sas or client_secret."
    )
    account_key: SecretText | None = Field(None, description="For `auth: key`.")
    sas_token: SecretText | None = Field(None, description="For `auth: sas`.")
    client_id: Text | None = Field(None, description="For `auth: client_secret`.")
    client_secret: SecretText | None = Field(None, description="For `auth: client_secret`.")
    tenant_id: Text | None = Field(None, description="For `auth: client_secret`.")
    endpoint: Text | None = Field(None, description="Another service's address.")
    allow_http: Flag | None = Field(None, description="Whether it may be spoken to without TLS.")


class S3Model(_Storage):
    """``type: s3``."""

    bucket: Text | None = Field(None, description="The bucket.")
    region: Text | None = Field(None, description="Its region.")
    access_key_id: Text | None = Field(None, description="The key's id.")
    secret_access_key: SecretText | None = Field(None, description="The key.")
    session_token: SecretText | None = Field(None, description="For temporary credentials.")
    endpoint: Text | None = Field(None, description="Another service's address.")
    allow_http: Flag | None = Field(None, description="Whether it may be spoken to without TLS.")


class GcsModel(_Storage):
    """``type: gcs``."""

    bucket: Text | None = Field(None, description="The bucket.")
    service_account: Text | None = Field(None, description="A key file's path.")
    service_account_key: SecretText | None = Field(None, description="A key file's text.")


class _Database(Strict):
    timezone: _Zone | None = Field(None, description="The zone of times without one.")
    options: Options | None = Field(None, description="Options for the driver.")


class _Server(_Database):
    host: Text | None = Field(None, description="The host.")
    server: Text | None = Field(None, description="Another spelling of `host`.")
    port: _Port | None = Field(None, description="The port.")
    username: Text | None = Field(None, description="Who logs in.")
    user: Text | None = Field(None, description="Another spelling of `username`.")
    password: SecretText | None = Field(None, description="The password.")


class SqlModel(_Database):
    """``type: sql``."""

    url: Address | None = Field(None, description="A SQLAlchemy URL.")


class PostgresModel(_Server):
    """``type: postgres``."""

    database: Text | None = Field(None, description="The database.")
    url: Address | None = Field(None, description="A ready URL in the place of the rest.")


class SqlServerModel(_Server):
    """``type: sql_server``."""

    database: Text | None = Field(None, description="The database.")
    driver: Text | None = Field(None, description="The ODBC driver's name or library.")
    connection_string: Address | None = Field(None, description="A ready connection string.")
    authentication: Annotated[str, of(_one_of(*AUTHENTICATIONS))] | None = Field(
        None, description=f"How to log in: {', '.join(AUTHENTICATIONS)}."
    )
    trusted: Flag | None = Field(None, description="Another spelling of `authentication: integrated`.")
    access_token: SecretText | None = Field(
        None, description="A token of Microsoft Entra ID for https://database.windows.net/."
    )
    application_intent: Annotated[str, of(_one_of("read_only", "read_write"))] | None = Field(
        None, description="read_only (the default) or read_write."
    )
    encrypt: Annotated[str, of(_encrypt)] | None = Field(
        None, description="yes (the default), no, optional, mandatory, strict."
    )
    trust_server_certificate: Flag | None = Field(None, description="Accept any certificate.")


class MySqlModel(_Server):
    """``type: mysql``."""

    database: Text | None = Field(None, description="The database.")
    driver: Text | None = Field(
        None, description="pymysql (the default), another one by SQLAlchemy's name, odbc, or an ODBC driver."
    )
    ssl_mode: Annotated[str, of(_one_of(*SSL_MODES))] | None = Field(
        None, description=f"How to encrypt: {', '.join(SSL_MODES)}."
    )
    ssl_ca: Text | None = Field(None, description="A file with the authorities that are trusted.")
    ssl_cert: Text | None = Field(None, description="A file with a certificate to show.")
    ssl_key: Text | None = Field(None, description="The file with its key.")


class OracleModel(_Server):
    """``type: oracle``."""

    service_name: Text | None = Field(None, description="The service.")
    sid: Text | None = Field(None, description="The instance.")


class SqliteModel(_Database):
    """``type: sqlite``."""

    database: Text | None = Field(None, description="The file.")
    attach: Annotated[dict[str, str], of(_files)] | None = Field(
        None, description="Further files by schema name."
    )


class DuckDbModel(_Database):
    """``type: duckdb``."""

    database: Text | None = Field(None, description="The file.")


class OdbcModel(_Database):
    """``type: odbc``."""

    dsn: Text | None = Field(None, description="A data source's name.")
    connection_string: Address | None = Field(None, description="A connection string.")
    username: Text | None = Field(None, description="Who logs in.")
    user: Text | None = Field(None, description="Another spelling of `username`.")
    password: SecretText | None = Field(None, description="The password.")
    dialect: Text | None = Field(None, description="sqlglot's name of the SQL dialect.")


class SparkModel(Strict):
    """``type: spark``: Spark's own catalog. It needs no settings."""


TYPES: dict[str, tuple[type[Strict], Callable[..., Connection], tuple[str, ...]]] = {
    "local": (LocalModel, LocalConnection, ("root",)),
    "adls": (AdlsModel, AdlsConnection, ("account", "container")),
    "s3": (S3Model, S3Connection, ("bucket",)),
    "gcs": (GcsModel, GcsConnection, ("bucket",)),
    "sql": (SqlModel, SqlConnection, ("url",)),
    "postgres": (PostgresModel, PostgresConnection, ("host|url", "database|url")),
    "sql_server": (
        SqlServerModel,
        SqlServerConnection,
        ("host|connection_string", "database|connection_string"),
    ),
    "mysql": (MySqlModel, MySqlConnection, ("host", "database")),
    "sqlite": (SqliteModel, SqliteConnection, ("database",)),
    "oracle": (OracleModel, OracleConnection, ("host", "service_name|sid")),
    "duckdb": (DuckDbModel, DuckDbConnection, ("database",)),
    "odbc": (OdbcModel, OdbcConnection, ("dsn|connection_string",)),
    "spark": (SparkModel, SparkConnection, ()),
}
"""Every type: its settings, its class, and what it can't do without (``a|b``: one of them)."""

_OTHER_NAMES = {
    "azure_blob": "adls", "azure": "adls", "abfss": "adls", "aws": "s3", "gs": "gcs", "google": "gcs",
    "mssql": "sql_server", "sqlserver": "sql_server", "azure_sql": "sql_server", "postgresql": "postgres",
    "mariadb": "mysql", "file": "local", "sqlalchemy": "sql", "databricks": "spark", "unity_catalog": "spark",
    "hive": "spark",
}  # fmt: skip
_SPELLINGS = {"base_path": "root", "account_name": "account", "server": "host", "user": "username"}


def connection_from(
    name: str, raw: Mapping[str, object], path: Path, document: Document, base: FilePath
) -> Connection | None:
    """A connection from its settings.

    Args:
        name: Its name.
        raw: Its settings, references resolved.
        path: Where they stand.
        document: Takes the problems.
        base: The folder that relative local paths are relative to.

    Returns:
        The connection, or None when something is wrong.
    """
    before = len(document.problems)
    kind = raw.get("type")
    known = kind if isinstance(kind, str) and kind in TYPES else None
    if known is None:
        document.problems.append(document.problem((*path, "type"), _unknown_type(kind)))
        return None
    model, make, needed = TYPES[known]
    rest = {key: value for key, value in raw.items() if key != "type"}
    parsed, failed = validate(model, rest, path, document, hide=True)
    values: dict[str, Any] = {key: getattr(parsed, key) for key in parsed.model_fields_set}
    for other, usual in _SPELLINGS.items():
        if other in values:
            if usual in values:
                message = f"it is another spelling of {usual}, which is there too: keep one of them"
                document.problems.append(document.problem((*path, other), message))
            values[usual] = values.pop(other)
    for each in needed:
        names = each.split("|")
        if not any(one in values or (*path, one) in failed for one in names):
            message = f"type {known} needs {' or '.join(dict.fromkeys(names))}: it is missing"
            document.problems.append(document.problem((*path, names[0]), message, key=True))
    _check(known, values, failed, path, document)
    if failed or len(document.problems) > before:
        return None
    return make(name=name, **_placed(known, values, base))


def _unknown_type(kind: object) -> str:
    if kind is None:
        return f"it is missing: write one of {listed(TYPES, 20)}"
    if not isinstance(kind, str) or isinstance(kind, Secret):
        return f"it must be one of {listed(TYPES, 20)}"
    other = _OTHER_NAMES.get(kind.lower())
    tail = f": did you mean {other!r}?" if other else did_you_mean(kind, TYPES)
    return f"the type {kind!r} is not known{tail or f': write one of {listed(TYPES, 20)}'}"


def _check(
    kind: str, values: dict[str, Any], failed: frozenset[Path], path: Path, document: Document
) -> None:
    """Rules between a connection's settings."""

    def report(key: str, message: str) -> None:
        if (*path, key) not in failed:
            document.problems.append(document.problem((*path, key), message))

    if kind == "adls":
        given = [auth for auth, key in _AUTHS.items() if key is not None and key in values]
        auth = values.get("auth")
        if auth is None and len(given) == 1:
            values["auth"] = given[0]
        elif auth is None and len(given) > 1:
            report("auth", f"there are credentials of several kinds: write auth: {' or '.join(given)}")
        elif auth is not None and (key := _AUTHS[auth]) is not None and key not in values:
            report(key, f"auth: {auth} needs {key}: it is missing")
        if values.get("auth") == "client_secret":
            for key in ("client_id", "tenant_id"):
                if key not in values:
                    report(key, f"auth: client_secret needs {key}: it is missing")
    if kind == "odbc":
        if "dsn" in values and "connection_string" in values:
            report("dsn", "a connection string stands beside it: keep one of them")
        dialect = values.pop("dialect", None)
        if dialect is not None:
            spoken = DIALECTS.get(dialect, dialect)
            every = sorted({each for each in DIALECTS.values() if each})
            if spoken not in every:
                tail = did_you_mean(dialect, every) or f": there are {listed(every, 20)}"
                report("dialect", f"{dialect!r} is no SQL dialect{tail}")
            values["sql_dialect"] = spoken
    if kind == "sql_server":
        _check_login(values, report)
    if kind == "mysql":
        _check_encryption(values, report)
    whole = {"postgres": "url", "sql_server": "connection_string"}.get(kind)
    if whole is not None and whole in values:
        for key in _SAID_BY_THE_WHOLE:
            if key in values:
                report(key, f"{whole} says that already: keep one of them")
    if kind in ("sql", "postgres") and "url" in values and "://" not in values["url"].masked:
        report("url", "it is no URL: write one such as postgresql+psycopg://user:password@host/database")


_SAID_BY_THE_WHOLE = (
    "host", "database", "port", "username", "password", "driver", "authentication", "trusted", "encrypt",
    "trust_server_certificate", "application_intent",
)  # fmt: skip


def _check_encryption(values: dict[str, Any], report: Callable[[str, str], None]) -> None:
    """Files that the way to encrypt has a use for, and a driver of ours that reads them."""
    files: tuple[str, ...] = tuple(key for key in ("ssl_ca", "ssl_cert", "ssl_key") if key in values)
    if values.get("ssl_mode") in ("disabled", "preferred"):
        for key in files:
            report(key, f"ssl_mode: {values['ssl_mode']} has no use for it: keep one of them")
    if "ssl_key" in values and "ssl_cert" not in values:
        report("ssl_key", "the certificate that belongs to it is missing: write ssl_cert")
    driver = values.get("driver", "pymysql")
    if driver in OTHER_DRIVERS:
        for key in (*files, *(("ssl_mode",) if "ssl_mode" in values else ())):
            report(key, f"the driver {driver} has words of its own for it: write them under options")


def _check_login(values: dict[str, Any], report: Callable[[str, str], None]) -> None:
    """One way to log in to SQL Server, and what it needs."""
    way = values.get("authentication")
    if values.get("trusted") and way not in (None, "integrated"):
        report("trusted", f"authentication: {way} stands beside it: keep one of them")
    if "access_token" in values:
        for key in ("username", "password", "authentication", "trusted"):
            if values.get(key):
                report(key, "the access token says who logs in: keep one of them")
    elif way == "integrated" or values.get("trusted"):
        for key in ("username", "password"):
            if key in values:
                report(key, "the operating system's user logs in: leave it out, or the integrated login")
    elif way == "azure_default":
        if "password" in values:
            report("password", "azure-identity finds who logs in: leave it out, or use service_principal")
        if "connection_string" in values:
            report("authentication", "a connection string stands beside it: keep one of them")
    elif way in ("sql", "service_principal", "entra_password"):
        for key in ("username", "password"):
            if key not in values:
                report(key, f"authentication: {way} needs {key}: it is missing")


def _placed(kind: str, values: dict[str, Any], base: FilePath) -> dict[str, Any]:
    """Local paths made absolute, from the folder of the file that they stand in."""
    if kind == "local":
        values["root"] = _absolute(values["root"], base)
    if kind in ("sqlite", "duckdb") and not values["database"].startswith(":memory:"):
        values["database"] = _absolute(values["database"], base)
    if kind == "sqlite" and "attach" in values:
        values["attach"] = {name: _absolute(file, base) for name, file in values["attach"].items()}
    if kind == "mysql":
        values |= {
            key: _absolute(values[key], base) for key in ("ssl_ca", "ssl_cert", "ssl_key") if key in values
        }
    if kind == "gcs" and "service_account" in values:
        values["service_account"] = _absolute(values["service_account"], base)
    return values


def _absolute(path: str, base: FilePath) -> str:
    return str((base / FilePath(path).expanduser()).absolute())
