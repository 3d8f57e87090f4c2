"""``hwm status``, ``history``, ``watermark``, ``export`` and ``doctor``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from hwm_magics.cli.base import command, file_options, in_shell, print_json, read_loads
from hwm_magics.errors import ConfigError
from hwm_magics.jobs.export import TARGETS

__all__ = ["doctor", "export", "history", "status", "watermark"]


@click.command()
@file_options
@command
def status(file: Path, *, params: tuple[str, ...], nodes: tuple[str, ...], as_json: bool) -> int:
    """Show how the targets stand: version, watermark, last load. Sources are not asked."""
    from hwm_magics.jobs.tables import status_table, status_to_dict

    context, loads = read_loads(file, params, nodes=nodes)
    found = [context.workspace.status(load) for load in loads]
    if as_json:
        print_json({"nodes": [status_to_dict(each) for each in found]})
    else:
        click.echo(status_table(found).text)
    return 0


@click.command()
@file_options
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many a target."
)
@command
def history(file: Path, *, params: tuple[str, ...], nodes: tuple[str, ...], as_json: bool, limit: int) -> int:
    """Show the loads that the targets' own logs know, newest first."""
    from hwm_magics.jobs.tables import history_table, record_to_dict

    context, loads = read_loads(file, params, nodes=nodes)
    label, records = context.history(loads, limit)
    if as_json:
        print_json({"loads": [record_to_dict(each) for each in records]})
    else:
        click.echo(history_table(records, f"Loads into {label}, newest first").text)
    return 0


@click.command()
@file_options
@click.option("--set", "value", metavar="V", help="Count everything at or below V as loaded.")
@click.option("--adopt", is_flag=True, help="Count everything up to the target's highest value as loaded.")
@command
def watermark(
    file: Path,
    *,
    params: tuple[str, ...],
    nodes: tuple[str, ...],
    as_json: bool,
    value: str | None,
    adopt: bool,
) -> int:
    """Settle a node's watermark by hand: with --set or --adopt."""
    from hwm_magics.jobs.context import only
    from hwm_magics.jobs.marks import settle
    from hwm_magics.jobs.report import next_load
    from hwm_magics.jobs.tables import record_to_dict, settled_words

    if adopt == (value is not None):
        raise ConfigError("one of --set V and --adopt is needed", hint="hwm status shows the watermark")
    context, loads = read_loads(file, params, nodes=nodes)
    load = only(loads, "a watermark is of one node")
    record = settle(context.workspace, load, value)
    if as_json:
        print_json(record_to_dict(record))
    else:
        click.echo(f"{record.node}: {settled_words(record)}")
        click.echo(in_shell(next_load(context.workspace, load)))
    return 0


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, metavar="TARGET", help=f"One of {', '.join(TARGETS)}.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="The folder; default: NAME-TARGET beside FILE."
)
@click.option("-p", "--param", "params", multiple=True, metavar="K=V", help="A default for ${K}; repeatable.")
@click.option("--schedule", default="0 6 * * *", show_default=True, help="When it runs, as cron says it.")
@click.option("--timezone", default="UTC", show_default=True, help="The zone of --schedule.")
@click.option(
    "--package", default="", metavar="SPEC", help="What pip installs for hwm-magics, such as a wheel's path."
)
@click.option("--task", default="notebook", show_default=True, help="For databricks: notebook or wheel.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@command
def export(file: Path, *, as_json: bool, **options: Any) -> int:
    """Write the loads of a notebook or YAML file as something that others run: parameterised, pinned, no credentials.

    ipynb: a clean notebook. py: a script. airflow: a DAG. databricks: a bundle and a job's JSON.
    github-actions: a workflow. cron: a script, a crontab, and a systemd timer.
    """
    from hwm_magics.jobs.context import read_params
    from hwm_magics.jobs.export.targets import export as make

    files, notes = make(file, read_params(options.pop("params")), **options)
    if as_json:
        print_json({"files": [str(each) for each in files], "notes": notes})
    else:
        click.echo("\n".join([*map(str, files), *(f"note: {each}" for each in notes)]))
    return 0


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("-p", "--param", "params", multiple=True, metavar="K=V", help="A value for ${K}; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@command
def doctor(file: Path | None, *, params: tuple[str, ...], as_json: bool) -> int:
    """Look for what keeps loads from working: this machine, and with FILE a notebook's or YAML file's loads.

    Versions, extras, connections, literal credentials, and each load's cursor column at its real source.
    Nothing is written. Exit codes: 0 all is well, 1 something is to be seen to.
    """
    from hwm_magics.jobs.context import read_params
    from hwm_magics.jobs.doctor import examine

    if file is not None:
        sys.path.append(str(file.absolute().parent))
    health = examine(file, params=read_params(params))
    if as_json:
        print_json(health.to_dict())
    else:
        click.echo(in_shell(health.text))
    return 0 if health.well else 1
