"""The ``hwm`` command: plan, run and look at the loads of a YAML file. What is slow is imported when it is needed."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from hwm_magics import __version__
from hwm_magics.errors import ConfigError, HwmError, named
from hwm_magics.jobs.export import TARGETS

if TYPE_CHECKING:
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.jobs.context import LoadContext, Overrides
    from hwm_magics.jobs.load_job import LoadJob
    from hwm_magics.jobs.load_jobs import LoadJobs

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

    FILE is a YAML file with a load or a pipeline. Connections come from hwm.yaml, looked for from
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
@click.option("--quiet", is_flag=True, help="Print nothing; the exit code tells.")
@_command
def plan(
    file: Path, *, params: tuple[str, ...], as_json: bool, detailed_exitcode: bool, quiet: bool, **flags: Any
) -> int:
    """Show what a run would do now. Nothing is written."""
    from hwm_magics.core.render import to_text
    from hwm_magics.jobs.report import error_to_json, plan_to_json, plan_told

    context, loads = _loads(file, params, **flags)
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
    if detailed_exitcode:
        return 1 if codes else 2 if writes else 0
    return codes[0] if codes else 0


@cli.command()
@_file
@_flags
@click.option("--dry-run", is_flag=True, help="Read and check the first rows, and write nothing.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@_command
def run(
    file: Path, *, params: tuple[str, ...], as_json: bool, dry_run: bool, quiet: bool, **flags: Any
) -> int:
    """Load what is new. Nodes run in the order of their dependencies.

    An interrupt (SIGINT, SIGTERM) stops the load before its commit; when it commits already, it
    finishes and says so.
    """
    from hwm_magics.jobs.load_job import LoadJob
    from hwm_magics.jobs.load_jobs import LoadJobs

    context, loads = _loads(file, params, **flags)
    workspace = context.workspace
    jobs = LoadJobs([LoadJob(workspace, load, dry_run=dry_run) for load in loads], background=True)
    log = _Log(jobs, quiet=quiet or as_json)
    _run_to_end(jobs, log)
    if as_json:
        _print_json(jobs.to_dict(), quiet=quiet)
    if jobs.error is None:
        return 0
    failed = [job for job in jobs if job.error is not None]
    if len(failed) > 1:
        names = ", ".join(job.spec.node for job in failed)
        click.echo(f"{len(failed)} of {len(jobs)} nodes did not load: {names}", err=True)
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


@cli.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("-p", "--param", "params", multiple=True, metavar="K=V", help="A value for ${K}; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_command
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
        _print_json(health.to_dict())
    else:
        click.echo(_in_shell(health.table.text))
    return 0 if health.well else 1


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


def _print_json(value: object, *, quiet: bool = False) -> None:
    if not quiet:
        click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


class _Log:
    """Tells each job's plan and outcome once, as they come; progress only on a terminal."""

    def __init__(self, jobs: LoadJobs, *, quiet: bool) -> None:
        self._jobs = jobs
        self._quiet = quiet
        self._told: set[tuple[str, str]] = set()

    def follow(self) -> None:
        """Tell what is new."""
        from hwm_magics.core.render import to_text
        from hwm_magics.jobs.report import outcome, plan_told

        for job in self._jobs:
            # Read once: the job's thread goes on meanwhile.
            status, plan_now = job.status, job.plan
            if plan_now is not None and not self._quiet and self._first(job, "plan"):
                click.echo(_in_shell(to_text(plan_told(plan_now))))
            if status.ended and self._first(job, "end"):
                if job.error is not None:
                    _fail(job.error, f"{job.spec.node}: {status.value}")
                elif not self._quiet:
                    click.echo(f"{status.value} · " + "\n".join(outcome(job)))

    def _news(self) -> bool:
        return any(
            (job.plan is not None and (job.spec.node, "plan") not in self._told)
            or (job.status.ended and (job.spec.node, "end") not in self._told)
            for job in self._jobs
        )

    def _first(self, job: LoadJob, what: str) -> bool:
        key = (job.spec.node, what)
        new = key not in self._told
        self._told.add(key)
        return new

    @contextmanager
    def showing(self) -> Iterator[Callable[[], None]]:
        """Give a function to call now and then: it tells what is new, and shows the progress."""
        if self._quiet or not sys.stderr.isatty():
            yield self.follow
            return
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner
        from rich.text import Text

        from hwm_magics.jobs.report import progress_line
        from hwm_magics.jobs.states import JobStatus

        spinner = Spinner("dots")
        console = Console(stderr=True, markup=False, highlight=False)
        # Nothing is redirected: what belongs to the standard output must arrive there.
        live = Live(spinner, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)

        def tell() -> None:
            if self._news():
                live.stop()
                self.follow()
                live.start()
            running = [progress_line(job) for job in self._jobs if job.status is JobStatus.RUNNING]
            spinner.update(text=Text("; ".join(running)))

        with live:
            yield tell


def _run_to_end(jobs: LoadJobs, log: _Log) -> None:
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
