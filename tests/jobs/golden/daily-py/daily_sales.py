"""The loads of daily.yaml, as a script. Written by `hwm export` of hwm-magics VERSION.

Install requirements.txt, then run it; --help tells its options. It exits with 0, or with the code of the error.
The environment must give: ERP_PASSWORD, the secret vault/pw.
"""

import argparse
import signal
import sys
from pathlib import Path

import hwm_magics
from hwm_magics import errors

PARAMS = {
    "first_id": "7",
    "ids": [1, 2],
    "limit": 1000,
    "since": "2024-01-01",
    "strict": True,
}

CONNECTIONS = {
    "erp": {"type": "postgres", "host": "erp", "database": "sales", "username": "loader", "password": "${env:ERP_PASSWORD}"},
    "vault": {"type": "sql_server", "host": "v", "database": "d", "username": "u", "password": "${secret:vault/pw}"},
    "lake": {"type": "local", "root": "/project/lake"},
}

LOAD_1 = """\
pipeline: daily sales
params:
  since: '2024-01-01'
  limit: 1000
  strict: true
  ids:
  - 1
  - 2
nodes:
- name: customers
  read:
    connection: vault
    table: dbo.customers
    incremental:
      column: row_version
  write:
    path: raw/customers
    keys:
    - id
    connection: lake
    mode: upsert
- name: raw.orders
  depends_on:
  - customers
  read:
    query: |
      SELECT * FROM public.orders
      WHERE placed_on >= ${since} AND id < ${limit} AND id IN (${first_id})
    incremental:
      column: updated_at
      lag: 30m
    connection: erp
  write:
    path: raw/orders
    keys:
    - order_id
    connection: lake
    mode: upsert
"""


def arguments():
    """The options; params given by -p take the place of their defaults."""
    parser = argparse.ArgumentParser(description="The loads of daily.yaml")
    parser.add_argument(
        "-p",
        "--param",
        action="append",
        default=[],
        metavar="K=V",
        help=f"a value for a param; repeatable; the params: {', '.join(PARAMS) or 'none'}",
    )
    parser.add_argument("--dry-run", action="store_true", help="read and check the first rows, and write nothing")
    options = parser.parse_args()
    for given in options.param:
        name, found, text = given.partition("=")
        if not found or name not in PARAMS:
            parser.error(f"{name} is no param; there are: {', '.join(PARAMS) or 'none'}")
        kind = type(PARAMS[name])
        try:
            PARAMS[name] = text.lower() == "true" if kind is bool else kind(text)
        except ValueError:
            parser.error(f"-p {given}: its default is {PARAMS[name]!r}, and {text!r} is of another type")
    return options


def run(text, params, *, node=None, engine=None, connections=None):
    """Load what is new; an error ends the script with its exit code."""
    try:
        job = hwm_magics.job(
            text,
            connections={**CONNECTIONS, **(connections or {})},
            params=params,
            node=node,
            engine=engine,
            dry_run=OPTIONS.dry_run,
        )
        try:
            job.run()
        finally:
            print(job, flush=True)
    except errors.HwmError as error:
        sys.exit(stop(error))
    return job


def stop(error):
    """Tell an error, and give its exit code."""
    print("\n".join(error.lines()), file=sys.stderr)
    return error.exit_code


OPTIONS = arguments()
# Modules beside this file can be transforms.
sys.path.append(str(Path(__file__).resolve().parent))
# As an interrupt does, SIGTERM stops a load before its commit, or lets it finish that.
signal.signal(signal.SIGTERM, signal.default_int_handler)

run(LOAD_1, {"first_id": PARAMS["first_id"], "ids": PARAMS["ids"], "limit": PARAMS["limit"], "since": PARAMS["since"], "strict": PARAMS["strict"]})
