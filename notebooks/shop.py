"""A small shop database in SQLite, for the notebooks: five years of orders, and what happens to them and to loads."""

from __future__ import annotations

import os
import random
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

ORDERS = 200_000
YEARS = 5
STATUSES = ("open", "paid", "shipped", "returned")
SCHEMA = """
CREATE TABLE orders (
    order_id   INTEGER PRIMARY KEY,
    customer   TEXT NOT NULL,
    status     TEXT NOT NULL,
    amount     DECIMAL(12, 2) NOT NULL,
    order_date DATE NOT NULL,
    updated_at TIMESTAMP NOT NULL
);
CREATE INDEX orders_updated_at ON orders (updated_at);
"""


def make(path: str | Path = "shop.db", orders: int = ORDERS, until: datetime | None = None) -> int:
    """Make the database anew.

    Args:
        path: The file; one that is there is replaced.
        orders: How many orders.
        until: When the newest order was placed; an hour ago by default.

    Returns:
        How many orders were made.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).unlink(missing_ok=True)
    chance = random.Random(42)
    end = until or _now() - timedelta(hours=1)
    step = timedelta(days=365 * YEARS) / orders
    start = end - step * orders
    with sqlite3.connect(path) as shop:
        shop.executescript(SCHEMA)
        shop.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)",
            (_order(number, start + step * number, chance) for number in range(1, orders + 1)),
        )
    shop.close()
    return orders


def a_day_passes(
    path: str | Path = "shop.db", new: int = 2_000, changed: int = 1_000, at: datetime | None = None
) -> tuple[int, int]:
    """Place new orders, and change the status of some that are there.

    Args:
        path: The database.
        new: How many orders come.
        changed: How many orders change.
        at: When; now by default.

    Returns:
        Both numbers.
    """
    now = at or _now()
    with sqlite3.connect(path) as shop:
        (last,) = shop.execute("SELECT MAX(order_id) FROM orders").fetchone()
        chance = random.Random(last)
        shop.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)",
            (
                _order(last + number, now - timedelta(milliseconds=new - number), chance)
                for number in range(1, new + 1)
            ),
        )
        shop.executemany(
            "UPDATE orders SET status = ?, updated_at = ? WHERE order_id = ?",
            [("shipped", _text(now), number) for number in chance.sample(range(1, last), changed)],
        )
    shop.close()
    return new, changed


def orders_come_late(path: str | Path, orders: int, late: timedelta) -> int:
    """Commit new orders whose ``updated_at`` was set a while ago, as a slow transaction does.

    Args:
        path: The database.
        orders: How many.
        late: How long ago.

    Returns:
        How many.
    """
    a_day_passes(path, new=orders, changed=0, at=_now() - late)
    return orders


def compare(path: str | Path, folder: str | Path) -> str:
    """Hold the shop against the lake, row by row.

    Args:
        path: The database.
        folder: The Delta table.

    Returns:
        What is missing in the lake, twice in it, or no longer as it is in the shop, in words.
    """
    from deltalake import DeltaTable

    with closing(sqlite3.connect(path)) as shop:
        here = Counter(shop.execute("SELECT order_id, status, updated_at FROM orders"))
    columns = DeltaTable(folder).to_pyarrow_table(columns=["order_id", "status", "updated_at"])
    rows = zip(*(columns.column(name).to_pylist() for name in columns.column_names), strict=True)
    there = Counter((number, status, _text(moment)) for number, status, moment in rows)
    missing = sum((here - there).values())
    twice = sum(times - 1 for times in there.values())
    older = sum((there - here).values()) - twice
    told = f"{sum(here.values()):,} orders in the shop, {sum(there.values()):,} rows in the lake: "
    parts = ((missing, "missing"), (twice, "twice"), (older, "as they were before"))
    return told + ", ".join(f"{number:,} {what}" if number else f"none {what}" for number, what in parts)


_batches = count(1)


def power_cut(frame: pd.DataFrame) -> pd.DataFrame:
    """End this process as a power cut would, in the midst of a load: at the third batch of rows.

    It is for ``transform: shop:power_cut``.
    """
    if next(_batches) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return frame


def run(command: str) -> None:
    """Run a command of this Python environment as a shell would, and show what it prints and how it ends.

    Args:
        command: Such as ``hwm plan orders.yaml``.
    """
    name, *rest = shlex.split(command)
    module = {"hwm": "hwm_magics.cli"}.get(name, name)
    environ = os.environ | {"HWM_MAGICS_MODE": "", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-m", module, *rest], capture_output=True, text=True, check=False, env=environ
    )
    print(f"$ {command}")
    code = done.returncode
    # Of a command that went well, what runners and kernels say on the side is of no interest.
    for text in (done.stdout, done.stderr if code else ""):
        if text.strip():
            print(text.rstrip())
    print(f"(killed by signal {-code})" if code < 0 else f"(exit code {code})")


def _order(number: int, moment: datetime, chance: random.Random) -> tuple[int, str, str, str, str, str]:
    amount = f"{chance.randint(100, 100_000) / 100:.2f}"
    customer = f"customer {chance.randint(1, 20_000):05d}"
    return number, customer, chance.choice(STATUSES), amount, f"{moment:%Y-%m-%d}", _text(moment)


def _now() -> datetime:
    # SQLite's own clock is UTC, and so are these times.
    with sqlite3.connect(":memory:") as clock:
        (text,) = clock.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')").fetchone()
    clock.close()
    return datetime.fromisoformat(text)


def _text(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="microseconds")
