"""The source that SQL Server's drivers read: the tests' server, which speaks SQL Server's protocol over DuckDB.

It sends a statement's rows as it has encoded them the first time, so that the clients are what is measured.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).resolve().parents[1] / "tests"
USER = "bench"
# As PostgreSQL's tables, and datetime2 as everybody declares it.
ORDERS = {
    "o_orderkey": "bigint not null primary key",
    "o_custkey": "bigint not null",
    "o_orderstatus": "char(1) not null",
    "o_totalprice": "decimal(15,2) not null",
    "o_orderdate": "date not null",
    "o_orderpriority": "char(15) not null",
    "o_clerk": "char(15) not null",
    "o_shippriority": "int not null",
    "o_comment": "varchar(79) not null",
    "updated_at": "datetime2(7) not null",
}
FILL = (
    "SELECT o_orderkey, o_custkey, o_orderstatus, o_totalprice, o_orderdate, rpad(o_orderpriority, 15, ' '), "
    "rpad(o_clerk, 15, ' '), o_shippriority, o_comment, "
    "o_orderdate::TIMESTAMP + to_microseconds(o_orderkey * 48271 % 86399999983) "
    "FROM read_csv('{file}', header = true) ORDER BY o_orderkey"
)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, as its clients address it."""

    port: int
    driver: str
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """An ODBC connection string."""
        return (
            f"DRIVER={{{self.driver}}};SERVER=127.0.0.1,{self.port};DATABASE=testdb;UID={USER};"
            f"PWD={self.password};Encrypt=no;"
        )

    @property
    def connection(self) -> dict[str, Any]:
        """The same as the settings of a connection of hwm_magics."""
        return {
            "type": "sql_server",
            "host": "127.0.0.1",
            "port": self.port,
            "database": "testdb",
            "username": USER,
            "password": self.password,
            "encrypt": "no",
        }


@contextmanager
def running(cache: Path) -> Iterator[Server]:
    """Start the server with the orders in it, and stop it afterwards."""
    sys.path.insert(0, str(TESTS))
    from tds_facade import ServerProcess
    from tds_facade.drivers import msodbcsql

    file = _orders(cache)
    password = secrets.token_hex(12)
    with ServerProcess() as server:
        server.database.users = {USER: password}
        server.database.create_table("dbo.orders", ORDERS)
        server.database.fill("dbo.orders", FILL.format(file=file))
        server.replay()
        yield Server(server.port, msodbcsql(), password)


def _orders(cache: Path) -> Path:
    """TPC-H's orders at scale factor 1, as the benchmarks' PostgreSQL has them."""
    folder = cache / "csv"
    file = folder / "orders.csv"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        tpchgen = str(Path(sys.executable).with_name("tpchgen-cli"))
        subprocess.run([tpchgen, "csv", "-s", "1", "-T", "orders", "-o", str(folder), "--quiet"], check=True)
    return file
