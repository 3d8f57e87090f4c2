"""A small shop database in SQLite, for the notebooks: five years of orders, and what a day does to them."""

from __future__ import annotations

import random
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

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


def a_day_passes(path: str | Path = "shop.db", new: int = 2_000, changed: int = 1_000) -> tuple[int, int]:
    """Place new orders, and change the status of some that are there.

    Args:
        path: The database.
        new: How many orders come.
        changed: How many orders change.

    Returns:
        Both numbers.
    """
    now = _now()
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
