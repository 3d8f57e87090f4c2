"""The ``hwm`` command: plan, run and look at the loads of a YAML file. What is slow is imported when it is needed."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from hwm_magics import __version__
from hwm_magics.errors import ConfigError, HwmError, named
from hwm_magics.jobs.export import TARGETS

if TYPE_CHECKING:
    from hwm_magics.core.decided import LoadPlan
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.jobs.context import LoadContext, Overrides
    from hwm_magics.jobs.load_jobs import LoadJobs
    from hwm_magics.jobs.retries import Retry
    from hwm_magics.jobs.run_log import RunLog
    from hwm_magics.jobs.states import Loader

INTERRUPTED = 130
POLL = 0.25
_DEBUG = "hwm.debug"
_MAGIC = re.compile(r"%{1,2}hwm_(\w+)")
Command = Callable[..., int]


def _fail(error: BaseException, head: str = "") -> int:
    """Tell an error on the standard error, and give the exit code of its class."""
    from hwm_magics.jobs.failures import debug_text, sealed

    told = sealed(error)
    lines = [head, *(f"  {line}" for line in told.lines())] if head else told.lines()
    click.echo(_in_shell("\n".join(lines)), err=True)
    if click.get_current_context().meta.get(_DEBUG):
        click.echo(debug_text(error), err=True)
    return told.exit_code


def _in_shell(text: str) -> str:
    """A text with the commands that do here what the magics that it names do in a notebook."""
    file = click.get_current_context().params.get("file", "FILE")
    words = {"debug": "--debug", "load": f"hwm run {file}"}
    return _MAGIC.sub(lambda found: words.get(found[1], f"hwm {found[1]} {file}"), text)


def _command(function: Command) -> Callable[..., NoReturn]:
    """Turn what a command returns or raises into its exit code."""

    @click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
    @functools.wraps(function)
    def call(*, debug: bool, **options: Any) -> NoReturn:
        click.get_current_context().meta[_DEBUG] = debug
        try:
            code = function(**options)
        except KeyboardInterrupt:
            click.echo("interrupted; nothing was written", err=True)
            code = INTERRUPTED
        except BrokenPipeError:
            # Whoever read the output has seen enough, as in `hwm plan … | head`.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 1
        except Exception as error:  # noqa: BLE001 - every error ends as lines and an exit code
            code = _fail(error)
            if options.get("detailed_exitcode"):
                code = 1
        sys.exit(code)

    return call


def _file(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command says about its file."""
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--node", "nodes", multiple=True, metavar="NAME", help="This node only; repeatable."),
        click.option(
            "-p", "--param", "params", multiple=True, metavar="K=V", help="A value for ${K}; repeatable."
        ),
        click.argument("file", type=click.Path(path_type=Path)),
    ):
        function = decorate(function)
    return function


def _flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """What plan and run say about the load."""
    for decorate in (
        click.option("--backfill", metavar="LOW..HIGH", help="Load this window again; the watermark stays."),
        click.option(
            "--force-first-run", is_flag=True, help="Replace all rows of the target, in one commit."
        ),
        click.option("--engine", metavar="E", help="pandas, spark or auto."),
    ):
        function = decorate(function)
    return function


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hwm", message="%(prog)s %(version)s")
def cli() -> None:
    """Load SQL incrementally, and exactly once, into Delta Lake.

    FILE is a notebook, or a YAML file with a load or a pipeline. Connections come from hwm.yaml, looked for from
    FILE's folder upwards.

    Exit codes: 0 done, 2 not understood, 3 must not be done, 4 a source or target failed, 5 the
    commit failed, 130 cancelled, 1 anything else.
    """


@cli.command()
@_file
@_flags
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
@_command
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

    if _needs_kernel(file, params):
        _in_kernel(file, "plan", params, None, quiet=quiet, refused={**flags, "json": as_json, "out": out})
        return 0
    context, loads = _loads(file, params, **flags)
    plans: list[LoadPlan] = []
    told: list[object] = []
    codes: list[int] = []
    writes = False
    for number, load in enumerate(loads):
        try:
            found = context.workspace.plan(load)
        except HwmError as error:
            told.append({"node": load.node, "error": error_to_json(error)})
            codes.append(_fail(error, f"{load.node}: not planned"))
            continue
        plans.append(found)
        told.append(plan_to_json(found))
        writes = writes or (found.writes and not found.looks_again)
        if found.blocker is not None:
            codes.append(named(found.blocker.error).exit_code)
        if found.blocker is not None and (as_json or quiet):
            click.echo(f"{load.node}: {found.decision.value}", err=True)
        if not (as_json or quiet):
            click.echo(("\n" if number else "") + _in_shell(to_text(plan_told(found))))
    if as_json:
        _print_json({"nodes": told}, quiet=quiet)
    if out is not None and not codes:
        from hwm_magics.jobs.approvals import approvals_to_json

        out.write_text(
            json.dumps(approvals_to_json(plans), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    if detailed_exitcode:
        return 1 if codes else 2 if writes else 0
    return codes[0] if codes else 0


@cli.command()
@_file
@_flags
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
@_command
def run(
    file: Path,
    *,
    params: tuple[str, ...],
    as_json: bool,
    dry_run: bool,
    approved: Path | None,
    retries: int,
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
    from hwm_magics.jobs.load_job import LoadJob
    from hwm_magics.jobs.load_jobs import LoadJobs
    from hwm_magics.jobs.retries import Retried
    from hwm_magics.jobs.run_log import JsonLog, TextLog
    from hwm_magics.jobs.run_report import page, summary

    if as_json and log_as == "json":
        raise ConfigError("--json and --log json both want the standard output", hint="give one of them")
    if _needs_kernel(file, params):
        refused = {**flags, "json": as_json, "log": log_as == "json", "approved": approved, "report": report}
        _in_kernel(file, "dry-run" if dry_run else "run", params, output, quiet=quiet, refused=refused)
        return 0
    context, loads = _loads(file, params, **flags)
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
            say=lambda text: click.echo(_in_shell(text)),
            fail=_fail,
            note=lambda text: click.echo(text, err=True),
            quiet=quiet or as_json,
        )
    _run_to_end(jobs, log)
    if as_json:
        _print_json(jobs.to_dict(), quiet=quiet)
    elif log_as == "text" and len(jobs) > 1 and not quiet:
        click.echo(summary(jobs).text)
    if report is not None:
        report.write_text(page(jobs, file.name), encoding="utf-8")
    if jobs.error is None:
        return 0
    return jobs.error.exit_code if isinstance(jobs.error, HwmError) else 1


@cli.command()
@_file
@_command
def status(file: Path, *, params: tuple[str, ...], nodes: tuple[str, ...], as_json: bool) -> int:
    """Show how the targets stand: version, watermark, last load. Sources are not asked."""
    from hwm_magics.jobs.tables import status_table, status_to_dict

    context, loads = _loads(file, params, nodes=nodes)
    found = [context.workspace.status(load) for load in loads]
    if as_json:
        _print_json({"nodes": [status_to_dict(each) for each in found]})
    else:
        click.echo(status_table(found).text)
    return 0


@cli.command()
@_file
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many a target."
)
@_command
def history(file: Path, *, params: tuple[str, ...], nodes: tuple[str, ...], as_json: bool, limit: int) -> int:
    """Show the loads that the targets' own logs know, newest first."""
    from hwm_magics.jobs.tables import history_table, record_to_dict

    context, loads = _loads(file, params, nodes=nodes)
    label, records = context.history(loads, limit)
    if as_json:
        _print_json({"loads": [record_to_dict(each) for each in records]})
    else:
        click.echo(history_table(records, f"Loads into {label}, newest first").text)
    return 0


@cli.command()
@_file
@click.option("--set", "value", metavar="V", help="Count everything at or below V as loaded.")
@click.option("--adopt", is_flag=True, help="Count everything up to the target's highest value as loaded.")
@_command
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
    from hwm_magics.jobs.report import next_load
    from hwm_magics.jobs.tables import record_to_dict

    if adopt == (value is not None):
        raise ConfigError("one of --set V and --adopt is needed", hint="hwm status shows the watermark")
    context, loads = _loads(file, params, nodes=nodes)
    if len(loads) != 1:
        raise ConfigError(
            "a watermark belongs to one node",
            hint=f"add --node, one of {', '.join(load.node for load in loads)}",
        )
    record = context.workspace.set_watermark(loads[0], value)
    if as_json:
        _print_json(record_to_dict(record))
    else:
        column = f"{record.watermark.column} = {record.watermark}" if record.watermark is not None else "none"
        click.echo(f"{record.node}: the watermark is now {column} (version {record.version})")
        click.echo(_in_shell(next_load(context.workspace, loads[0])))
    return 0


@cli.command()
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
@_command
def export(file: Path, *, as_json: bool, **options: Any) -> int:
    """Write the loads of a notebook or YAML file as something that others run: parameterised, pinned, no credentials.

    ipynb: a clean notebook. py: a script. airflow: a DAG. databricks: a bundle and a job's JSON.
    github-actions: a workflow. cron: a script, a crontab, and a systemd timer.
    """
    from hwm_magics.jobs.context import read_params
    from hwm_magics.jobs.export.targets import export as make

    files, notes = make(file, read_params(options.pop("params")), **options)
    if as_json:
        _print_json({"files": [str(each) for each in files], "notes": notes})
    else:
        click.echo("\n".join([*map(str, files), *(f"note: {each}" for each in notes)]))
    return 0


def _loads(
    file: Path,
    params: tuple[str, ...],
    *,
    nodes: tuple[str, ...] = (),
    engine: str | None = None,
    force_first_run: bool = False,
    backfill: str | None = None,
) -> tuple[LoadContext, tuple[LoadSpec, ...]]:
    """The loads that a command is about."""
    from hwm_magics.jobs.context import LoadContext, Overrides, read_file, read_params, read_window

    read_file(file)  # whether it is there at all is the first thing to tell
    window = read_window(backfill) if backfill is not None else None
    # Behind everything else: a function of a module beside the file can be its transform.
    sys.path.append(str(file.absolute().parent))
    overrides: Overrides = Overrides(nodes, engine, force_first_run, window)
    context = LoadContext(file.absolute().parent)
    asked = context.read(file, overrides, params=read_params(params))
    for note in asked.notes:
        click.echo(f"note: {note}", err=True)
    return context, asked.loads


def _needs_kernel(file: Path, params: tuple[str, ...]) -> bool:
    """Whether a file is a notebook whose loads need its other code; says which way it will go."""
    from hwm_magics.jobs.context import LoadContext, is_notebook, read_file, read_params

    if not is_notebook(file):
        return False
    from hwm_magics.jobs.notebook_loads import why_a_kernel

    read_file(file)
    reasons = why_a_kernel(LoadContext(file.absolute().parent), file, read_params(params))
    told = (
        f"the whole notebook, in a kernel: {'; '.join(reasons)}"
        if reasons
        else "its load cells, without a kernel"
    )
    click.echo(f"{file.name}: {told}", err=True)
    return bool(reasons)


def _in_kernel(
    file: Path,
    mode: str,
    params: tuple[str, ...],
    output: Path | None,
    *,
    quiet: bool,
    refused: dict[str, Any],
) -> None:
    from hwm_magics.jobs.context import read_params
    from hwm_magics.jobs.notebook_kernel import run_notebook

    given = [f"--{name.replace('_', '-')}" for name, value in refused.items() if value]
    if given:
        raise ConfigError(
            f"{', '.join(given)} can't be used where the whole notebook runs in a kernel",
            hint="leave it away, or give the load cells what they need: transform: module:function, "
            "connections in hwm.yaml",
        )
    say = (lambda _text: None) if quiet else click.echo
    run_notebook(file, mode=mode, params=read_params(params), output=output, say=say)


def _print_json(value: object, *, quiet: bool = False) -> None:
    if not quiet:
        click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def _run_to_end(jobs: LoadJobs, log: RunLog) -> None:
    """Run the jobs in a thread, and turn signals into a cancel here.

    An exception thrown into the thread that loads could hit it between the commit and its own
    account of it; a flag can't.
    """
    asked: list[int] = []

    def note(number: int, _frame: object) -> None:
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        jobs.start()
        seen = 0
        with log.showing() as tell:
            while not jobs.join(POLL):
                tell()
                if len(asked) > seen:
                    seen = len(asked)
                    _stop(jobs, seen)
        if len(asked) > seen:
            jobs.cancel()
        log.follow()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(jobs: LoadJobs, times: int) -> None:
    if times == 1:
        jobs.cancel()
        click.echo("stopping before the commit; once more to end at once", err=True)
        return
    click.echo("ended without waiting: the target is as it was, or whole with the load in it", err=True)
    os._exit(INTERRUPTED)


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


if __name__ == "__main__":
    main()
