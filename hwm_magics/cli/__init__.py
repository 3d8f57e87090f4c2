"""The ``hwm`` command. What is slow is imported when it is needed."""

from __future__ import annotations

import click

from hwm_magics import __version__
from hwm_magics.cli import running, targets, upkeep

__all__ = ["cli", "main", "task"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hwm", message="%(prog)s %(version)s")
def cli() -> None:
    """Load SQL incrementally, and exactly once, into Delta Lake.

    FILE is a notebook, or a YAML file with a load or a pipeline. Connections come from hwm.yaml, looked for from
    FILE's folder upwards.

    Exit codes: 0 done, 2 not understood, 3 must not be done, 4 a source or target failed, 5 the
    commit failed, 130 cancelled, 1 anything else.
    """


for _each in (
    running.plan,
    running.run,
    targets.status,
    targets.history,
    targets.watermark,
    targets.export,
    targets.doctor,
    upkeep.backfill,
    upkeep.rollback,
    upkeep.maintain,
    upkeep.reconcile,
):
    cli.add_command(_each)


def main() -> None:
    """The entry point."""
    cli(prog_name="hwm")


def task() -> None:
    """The entry point for Databricks' wheel tasks, which take any exit for a failure: it returns when all is well."""
    try:
        main()
    except SystemExit as done:
        if done.code:
            raise
