"""The loads of own_code.ipynb, as a script. Written by `hwm export` of hwm-magics VERSION.

Install requirements.txt, then run it; --help tells its options. It exits with 0, or with the code of the error.
"""

import argparse
import signal
import sys
from pathlib import Path

import hwm_magics
from hwm_magics import errors

PARAMS = {
    "first_id": "7",
    "limit": 100,
}

CONNECTIONS = {
}

LOAD_1 = """\
transform: __main__:clean
read:
  connection: shop
  query: "SELECT * FROM orders WHERE id >= ${first_id} AND amount < ${limit}"
  incremental:
    column: updated_at
write:
  connection: lake
  path: raw/orders
  mode: append
"""


def arguments():
    """The options; params given by -p take the place of their defaults."""
    parser = argparse.ArgumentParser(description="The loads of own_code.ipynb")
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

first_id = PARAMS["first_id"]
limit = PARAMS["limit"]

# Cell 4
def clean(frame):
    return frame[frame.id > 1]

CONNECTIONS |= {"shop": {"type": "sqlite", "database": "/project/shop.db"}, "lake": {"type": "local", "root": "/project/lake"}}
job = run(LOAD_1, {"first_id": first_id, "limit": limit}, node=["raw.orders"])
# Cell 7
print(job.result.rows_written)

