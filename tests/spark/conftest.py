"""The session that the process's Spark tests share, and a folder with an hwm.yaml of its own."""

from __future__ import annotations

import pytest


@pytest.fixture
def project(tmp_path, monkeypatch, pg_database):
    """A folder with a lake, and the run's PostgreSQL as the connection `shop`; it is the current one."""
    monkeypatch.chdir(tmp_path)
    for name in ("HWM_MAGICS_MODE", "HWM_MAGICS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "hwm.yaml").write_text(
        "connections:\n"
        f"  shop: {{type: postgres, host: {pg_database.host}, port: {pg_database.port}, "
        f"database: {pg_database.dbname}, username: {pg_database.user}, password: '{pg_database.password}'}}\n"
        "  lake: {type: local, root: ./lake}\n"
    )
    return tmp_path
