"""Cells that work as they stand on the shop of the notebooks, one for each thing that people want from a load."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EXAMPLES", "Example"]


@dataclass(frozen=True, slots=True)
class Example:
    """One cell.

    Attributes:
        name: What it is asked for by.
        told: What it shows, in one line.
        cell: The cell.
    """

    name: str
    told: str
    cell: str


EXAMPLES = tuple(
    Example(name, told, cell)
    for name, told, cell in (
        (
            "connections",
            "where from and where to; the other examples need these two",
            """\
%%hwm_connections
shop: {type: sqlite, database: shop.db}
lake: {type: local, root: ./lake}
""",
        ),
        (
            "append",
            "the rows that are new, at the end of the table",
            """\
%%hwm_load job
read:
  connection: shop
  table: orders
  incremental: {column: updated_at}
write:
  connection: lake
  path: raw/order_events
  mode: append
""",
        ),
        (
            "upsert",
            "one row a key: new ones are added, changed ones replaced",
            """\
%%hwm_load job
read:
  connection: shop
  table: orders
  incremental: {column: updated_at}
write:
  connection: lake
  path: raw/orders
  mode: upsert
  keys: [order_id]
""",
        ),
        (
            "append-once",
            "rows whose key is not there yet; those that are there stay as they are",
            """\
%%hwm_load job
read:
  connection: shop
  table: orders
  incremental: {column: order_id}
write:
  connection: lake
  path: raw/first_seen
  mode: append_once
  keys: [order_id]
""",
        ),
        (
            "overwrite",
            "a small table as it is now, each time anew",
            """\
%%hwm_load job
read:
  connection: shop
  query: SELECT status, COUNT(*) AS orders FROM orders GROUP BY status
write:
  connection: lake
  path: marts/orders_by_status
  mode: overwrite
""",
        ),
        (
            "query",
            "a query that asks the target itself how far it has come",
            """\
%%hwm_load job
read:
  connection: shop
  query: |
    SELECT * FROM orders
    WHERE updated_at > (SELECT COALESCE(MAX(updated_at), '1900-01-01') FROM raw.orders_by_query)
write:
  connection: lake
  path: raw/orders_by_query
  mode: append
  register_table: raw.orders_by_query
  first_run_query: SELECT * FROM orders
""",
        ),
        (
            "watermark",
            "a query with the bounds of the window as its parameters",
            """\
%%hwm_load job
read:
  connection: shop
  query: |
    SELECT o.order_id, o.status, o.customer, o.updated_at
    FROM orders AS o
    WHERE o.updated_at >= :watermark AND o.updated_at <= :high
  incremental: {column: updated_at, initial_value: 2000-01-01}
write:
  connection: lake
  path: raw/order_customers
  mode: append
""",
        ),
        (
            "files",
            "files that land in a folder, each once (put some CSV files into lake/landing first)",
            """\
%%hwm_load job
read:
  connection: lake
  path: landing/*.csv             # csv, json or parquet; ** for folders of any depth
  options: {settle: 0s}           # 1 min without it: files that may still be written to wait
write:
  connection: lake
  path: raw/landed
  mode: append
""",
        ),
        (
            "versions",
            "what was added to another Delta table, each version once (run the example append first)",
            """\
%%hwm_load job
read:
  connection: lake
  format: delta
  path: raw/order_events
write:
  connection: lake
  path: marts/events
  mode: append
""",
        ),
        (
            "params",
            "values from the command line, the notebook or the cell",
            """\
%%hwm_load job --param status=paid
params: {status: open, folder: by_status}
read:
  connection: shop
  table: orders
  where: status = ${status}
  incremental: {column: updated_at}
write:
  connection: lake
  path: ${folder}/${status}
""",
        ),
        (
            "late-rows",
            "rows that come late, or are dated in the future",
            """\
%%hwm_load job
read:
  connection: shop
  table: orders
  incremental:
    column: updated_at
    lag: 2h                       # looks again so far below the watermark
    settle: 30s                   # rows younger than this wait for the next run
    future: cap                   # rows dated after the source's clock wait
    nulls: warn
write:
  connection: lake
  path: raw/orders_late
  mode: upsert
  keys: [order_id]
""",
        ),
        (
            "rolling-window",
            "the last days again at every run, whatever was loaded before",
            """\
%%hwm_load job
read:
  connection: shop
  table: orders
  incremental: {column: updated_at, mode: rolling_window, lookback: 3, unit: day}
write:
  connection: lake
  path: raw/last_days
  mode: upsert
  keys: [order_id]
""",
        ),
        (
            "partitions",
            "a partitioned table with properties of its own",
            """\
%%hwm_load job
read:
  connection: shop
  table: orders
  columns: [order_id, status, amount, updated_at]
  incremental: {column: updated_at}
write:
  connection: lake
  path: raw/orders_by_partition
  partition_by: [status]
  optimize_write: true
  properties: {delta.logRetentionDuration: interval 90 days}
""",
        ),
        (
            "pipeline",
            "several loads, in the order of their dependencies",
            """\
%%hwm_load jobs
pipeline: daily_orders
nodes:
  - name: orders
    read: {connection: shop, table: orders, incremental: {column: updated_at}}
    write: {connection: lake, path: daily/orders, mode: upsert, keys: [order_id]}
  - name: paid_orders
    depends_on: [orders]
    read:
      connection: shop
      table: orders
      where: status = 'paid'
      incremental: {column: updated_at}
    write: {connection: lake, path: daily/paid_orders, mode: upsert, keys: [order_id]}
""",
        ),
        (
            "plan",
            "what a load would do now; nothing is written",
            """\
%%hwm_load --plan
read: {connection: shop, table: orders, incremental: {column: updated_at}}
write: {connection: lake, path: raw/orders, mode: upsert, keys: [order_id]}
""",
        ),
        (
            "backfill",
            "a window again; the watermark stays where it is",
            """\
%%hwm_load job --backfill 2024-01-01..2024-01-31
read: {connection: shop, table: orders, incremental: {column: updated_at}}
write: {connection: lake, path: raw/orders, mode: upsert, keys: [order_id]}
""",
        ),
    )
)
