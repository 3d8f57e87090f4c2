"""``hwm backfill``, ``rollback``, ``maintain`` and ``reconcile``: shown first, done with --yes or when asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwm_magics.cli.base import command, file_options, in_shell, print_json, read_loads
from hwm_magics.cli.running import run

if TYPE_CHECKING:
    from hwm_magics.jobs.upkeep import Maintenance, Rollback

__all__ = ["backfill", "maintain", "reconcile", "rollback"]

_yes = click.option("--yes", is_flag=True, help="Do it, without asking.")


def _carry_out(plan: Rollback | Maintenance, *, as_json: bool, yes: bool) -> None:
    """Show a plan, have it agreed to, and do it; without a terminal only ``--yes`` agrees."""
    if as_json:
        done = plan.run() if yes and plan.does_something else None
        print_json({**plan.to_dict(), "done": done})
        return
    click.echo(in_shell(plan.text))
    if not plan.does_something:
        return
    if not yes and not sys.stdin.isatty():
        click.echo("nothing was done: --yes does it", err=True)
    elif yes or click.confirm("Do it?", default=False):
        click.echo(plan.run())


@click.command()
@click.argument("window", metavar="LOW..HIGH")
@click.option("--dry-run", is_flag=True, help="Read and check the first rows, and write nothing.")
@file_options
@click.pass_context
def backfill(
    context: click.Context,
    window: str,
    *,
    file: Path,
    params: tuple[str, ...],
    nodes: tuple[str, ...],
    as_json: bool,
    dry_run: bool,
) -> None:
    """Load a window again; the watermark stays. The same as `hwm run FILE --backfill LOW..HIGH`."""
    context.invoke(
        run, file=file, params=params, nodes=nodes, as_json=as_json, backfill=window, dry_run=dry_run
    )


@click.command()
@file_options
@click.option(
    "--to",
    type=click.IntRange(min=0),
    metavar="VERSION",
    help="Default: the one before the node's last load.",
)
@_yes
@command
def rollback(
    file: Path, *, params: tuple[str, ...], nodes: tuple[str, ...], as_json: bool, to: int | None, yes: bool
) -> int:
    """Restore a node's target to an earlier version; the next load goes on from the watermark of that version."""
    from hwm_magics.jobs.context import only
    from hwm_magics.jobs.upkeep import plan_rollback

    context, loads = read_loads(file, params, nodes=nodes)
    load = only(loads, "a rollback is of one node")
    _carry_out(plan_rollback(context.workspace, load, to), as_json=as_json, yes=yes)
    return 0


@click.command()
@file_options
@click.option("--compact", is_flag=True, help="Write small files together, also when there are few.")
@click.option("--order", is_flag=True, help="Write all files anew, ordered by write.options.cluster_by.")
@click.option("--vacuum", is_flag=True, help="Remove files that no younger version needs.")
@click.option(
    "--older",
    metavar="DURATION",
    default="7d",
    show_default=True,
    help="With --vacuum: what versions younger than this need stays.",
)
@_yes
@command
def maintain(
    file: Path,
    *,
    params: tuple[str, ...],
    nodes: tuple[str, ...],
    as_json: bool,
    compact: bool,
    order: bool,
    vacuum: bool,
    older: str,
    yes: bool,
) -> int:
    """Look after the files of the targets: write small ones together, order them, remove what is old."""
    from hwm_magics.jobs.context import read_duration
    from hwm_magics.jobs.upkeep import plan_maintenance

    kept = read_duration("--older", older, example="7d")
    context, loads = read_loads(file, params, nodes=nodes)
    for load in loads:
        plan = plan_maintenance(
            context.workspace, load, compact=compact or None, order=order, vacuum=vacuum, older=kept
        )
        _carry_out(plan, as_json=as_json, yes=yes)
    return 0


@click.command()
@file_options
@click.option(
    "--keys", "by_keys", is_flag=True, help="Compare keys everywhere, not only where counts differ."
)
@command
def reconcile(file: Path, *, params: tuple[str, ...], as_json: bool, by_keys: bool, **which: Any) -> int:
    """Compare the targets with their sources, up to the watermark. Exits with 1 where they differ."""
    from hwm_magics.jobs.reconcile import reconcile as compare

    context, loads = read_loads(file, params, **which)
    found = [compare(context.workspace, load, by_keys=by_keys) for load in loads]
    if as_json:
        print_json({"nodes": [each.to_dict() for each in found]})
    else:
        click.echo("\n".join(each.text for each in found))
    return 0 if all(each.agrees for each in found) else 1
