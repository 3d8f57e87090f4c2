"""TLS in its three ways, and pooled connections."""

from __future__ import annotations

import pyodbc
import pytest
from tds_facade import ServerProcess
from tds_facade.drivers import msodbcsql


@pytest.fixture(scope="module", params=["optional", "required"])
def secure(request):
    with ServerProcess(encryption=request.param) as server:
        server.mode = request.param
        yield server


def attempt(server, **options):
    """What was encrypted: the login, and then a query."""
    server.clear()
    with pyodbc.connect(server.odbc(msodbcsql(), **options), timeout=10) as connection:
        assert connection.execute("SELECT 1").fetchval() == 1
        assert len(connection.execute("SELECT ?", "x" * 200_000).fetchval()) == 200_000
    return [r.encrypted for r in server.requests if r.kind in ("login", "batch")]


def test_client_insists(secure):
    assert attempt(secure, Encrypt="yes", TrustServerCertificate="yes") == [True, True]


def test_client_does_not_care(secure):
    if secure.mode == "optional":
        assert attempt(secure, Encrypt="no") == [True, False]
    else:
        assert attempt(secure, Encrypt="no", TrustServerCertificate="yes") == [True, True]


def test_strict(secure):
    certificate = str(secure.certificate)
    assert attempt(secure, Encrypt="strict", ServerCertificate=certificate) == [True, True]


def test_certificate_is_checked(secure):
    with pytest.raises(pyodbc.Error, match="certificate verify failed"):
        attempt(secure, Encrypt="yes")


def test_unencrypted_server(server):
    assert attempt(server, Encrypt="no") == [False, False]
    with pytest.raises(pyodbc.Error, match="Encryption not supported"):
        attempt(server, Encrypt="yes", TrustServerCertificate="yes")
