"""``hwm plan`` and ``hwm run``: in this process, or a whole notebook in a kernel."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwm_magics.cli.base import (
    Opened,
    command,
    fail,
    file_options,
    in_shell,
    load_options,
    open_file,
    print_json,
    read_loads,
)
from hwm_magics.cli.until_end import wait_for
from hwm_magics.errors import ConfigError, HwmError, named

if TYPE_CHECKING:
    from hwm_magics.core.decided import LoadPlan
    from hwm_magics.jobs.load_jobs import LoadJobs
    from hwm_magics.jobs.retries import Retry
    from hwm_magics.jobs.run_log import RunLog
    from hwm_magics.jobs.states import Loader

__all__ = ["plan", "run"]


@click.command()
@file_options
@load_options
@click.option(
    "--detailed-exitcode",
    is_flag=True,
    help="Exit with 0: nothing to load, 1: error or BLOCKED, 2: something to load. Where nothing lies above the "
    "watermark it is 0, though rows that came late may be found by the next run.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PLAN",
    help="Write the plans for `hwm run --approved PLAN`.",
)
@click.option("--quiet", is_flag=True, help="Print nothing; the exit code tells.")
@command
def plan(
    file: Path,
    *,
    params: tuple[str, ...],
    as_json: bool,
    detailed_exitcode: bool,
    out: Path | None,
    quiet: bool,
    **flags: Any,
) -> int:
    """Show what a run would do now. Nothing is written."""
    from hwm_magics.core.render import to_text
    from hwm_magics.jobs.report import error_to_json, plan_to_json, plan_told

    opened = open_file(file)
    if needs_kernel(opened, params):
        in_kernel(file, "plan", params, quiet=quiet, refused={**flags, "json": as_json, "out": out})
        return 0
    context, loads = read_loads(opened, params, **flags)
    plans: list[LoadPlan] = []
    told: list[object] = []
    codes: list[int] = []
    writes = False
    for number, load in enumerate(loads):
        try:
            found = context.workspace.plan(load)
        except HwmError as error:
            told.append({"node": load.node, "error": error_to_json(error)})
            codes.append(fail(error, f"{load.node}: not planned"))
            continue
        plans.append(found)
        told.append(plan_to_json(found))
        writes = writes or (found.writes and not found.looks_again)
        if found.blocker is not None:
            codes.append(named(found.blocker.error).exit_code)
        if found.blocker is not None and (as_json or quiet):
            click.echo(f"{load.node}: {found.decision.value}", err=True)
        if not (as_json or quiet):
            click.echo(("\n" if number else "") + in_shell(to_text(plan_told(found))))
    if as_json:
        print_json({"nodes": told}, quiet=quiet)
    if out is not None and not codes:
        from hwm_magics.jobs.approvals import approvals_to_json

        out.write_text(
            json.dumps(approvals_to_json(plans), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    if detailed_exitcode:
        return 1 if codes else 2 if writes else 0
    return codes[0] if codes else 0


@click.command()
@file_options
@load_options
@click.option("--dry-run", is_flag=True, help="Read and check the first rows, and write nothing.")
@click.option(
    "--approved",
    type=click.Path(path_type=Path),
    metavar="PLAN",
    help="Refuse to do anything but what `hwm plan --out PLAN` showed; a window may have moved.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="How often to try again what may pass: a lost connection, a time-out.",
)
@click.option(
    "--timeout",
    metavar="DURATION",
    help="Stop, before a commit, what still runs after so long: 90s, 20m, 2h.",
)
@click.option(
    "--max-parallel",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="So many nodes at most run side by side.",
)
@click.option(
    "--log",
    "log_as",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: one line an event on the standard output.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="IPYNB",
    help="Keep a notebook that was run in a kernel as it was executed.",
)
@click.option("--report", type=click.Path(path_type=Path), metavar="HTML", help="Write the run as a page.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@command
def run(
    file: Path,
    *,
    params: tuple[str, ...],
    as_json: bool,
    dry_run: bool,
    approved: Path | None,
    retries: int,
    timeout: str | None,
    max_parallel: int,
    log_as: str,
    output: Path | None,
    report: Path | None,
    quiet: bool,
    **flags: Any,
) -> int:
    """Load what is new. Nodes run in the order of their dependencies, independent ones side by side.

    Several nodes are all planned before the first of them writes. A run that failed in part is
    repeated as it is: what was loaded is not loaded again.

    An interrupt (SIGINT, SIGTERM) stops the load before its commit; when it commits already, it
    finishes and says so.
    """
    from hwm_magics.jobs.context import read_duration
    from hwm_magics.jobs.load_job import LoadJob
    from hwm_magics.jobs.load_jobs import LoadJobs
    from hwm_magics.jobs.retries import Retried
    from hwm_magics.jobs.run_log import JsonLog, TextLog
    from hwm_magics.jobs.run_report import page, summary

    if as_json and log_as == "json":
        raise ConfigError("--json and --log json both want the standard output", hint="give one of them")
    limit = read_duration("--timeout", timeout, example="2h") if timeout is not None else None
    opened = open_file(file)
    if needs_kernel(opened, params):
        refused = {
            **flags,
            "json": as_json,
            "log": log_as == "json",
            "approved": approved,
            "report": report,
        }
        mode = "dry-run" if dry_run else "run"
        in_kernel(file, mode, params, output=output, limit=limit, quiet=quiet, refused=refused)
        return 0
    context, loads = read_loads(opened, params, **flags)
    loader: Loader = context.workspace
    if approved is not None:
        from hwm_magics.jobs.approvals import Approved, read_approvals

        loader = Approved(loader, read_approvals(approved))
    retried: list[Retry] = []
    loader = Retried(loader, retries, retried.append)
    made = [LoadJob(loader, load, dry_run=dry_run) for load in loads]
    jobs = LoadJobs(made, background=True, max_parallel=max_parallel, plan_first=len(made) > 1)
    log: RunLog
    if log_as == "json":
        log = JsonLog(jobs, retried, click.echo)
    else:
        log = TextLog(
            jobs,
            retried,
            say=lambda text: click.echo(in_shell(text)),
            fail=fail,
            note=lambda text: click.echo(text, err=True),
            quiet=quiet or as_json,
        )
    with log.showing() as tell:
        wait_for(jobs, limit, tell=tell)
    log.follow()
    _tell_too_late(jobs)
    if as_json:
        print_json(jobs.to_dict(), quiet=quiet)
    elif log_as == "text" and len(jobs) > 1 and not quiet:
        click.echo(summary(jobs).text)
    if report is not None:
        report.write_text(page(jobs, file.name), encoding="utf-8")
    if jobs.error is None:
        return 0
    return jobs.error.exit_code if isinstance(jobs.error, HwmError) else 1


def needs_kernel(opened: Opened, params: tuple[str, ...]) -> bool:
    """Whether a file is a notebook whose loads need its other code; says which way it will go."""
    if opened.notebook is None:
        return False
    from hwm_magics.jobs.context import read_params
    from hwm_magics.jobs.notebook_loads import why_a_kernel

    reasons = why_a_kernel(opened.context, opened.notebook, read_params(params))
    told = (
        f"the whole notebook, in a kernel: {'; '.join(reasons)}"
        if reasons
        else "its load cells, without a kernel"
    )
    click.echo(f"{opened.file.name}: {told}", err=True)
    return bool(reasons)


def in_kernel(
    file: Path,
    mode: str,
    params: tuple[str, ...],
    *,
    output: Path | None = None,
    limit: timedelta | None = None,
    quiet: bool,
    refused: dict[str, Any],
) -> None:
    """Run a whole notebook in a kernel, up to its end, a failure, or a request to stop."""
    from hwm_magics.jobs.context import read_params
    from hwm_magics.jobs.notebook_kernel import NotebookRun

    given = [f"--{name.replace('_', '-')}" for name, value in refused.items() if value]
    if given:
        raise ConfigError(
            f"{', '.join(given)} can't be used where the whole notebook runs in a kernel",
            hint="leave it away, or give the load cells what they need: transform: module:function, "
            "connections in hwm.yaml",
        )
    work = NotebookRun(file, mode=mode, params=read_params(params), output=output)
    wait_for(work, limit, end_at_once=work.kill)
    work.finish(say=(lambda _text: None) if quiet else click.echo)
    if work.stopping:
        click.echo(f"too late to stop {file.name}: it had come to its end", err=True)


def _tell_too_late(jobs: LoadJobs) -> None:
    """Name what was asked to stop and had come to its commit."""
    for job in jobs:
        result = job.result
        if job.cancelling and result is not None and result.version_after != result.version_before:
            click.echo(
                f"too late to stop {job.spec.node}: its commit was made, version {result.version_after}",
                err=True,
            )
