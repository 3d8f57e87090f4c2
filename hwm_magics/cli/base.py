"""What the commands have in common: their options, how an error ends one, and how its file is read."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.jobs.context import LoadContext, Overrides
    from hwm_magics.jobs.notebook_cells import Notebook

__all__ = [
    "INTERRUPTED",
    "Opened",
    "command",
    "fail",
    "file_options",
    "in_shell",
    "load_options",
    "open_file",
    "print_json",
    "read_loads",
]

INTERRUPTED = 130
_DEBUG = "hwm.debug"
_MAGIC = re.compile(r"%{1,2}hwm_(\w+)")
Command = Callable[..., int]


def fail(error: BaseException, head: str = "") -> int:
    """Tell an error on the standard error, and give the exit code of its class."""
    from hwm_magics.jobs.failures import debug_text, sealed

    told = sealed(error)
    lines = [head, *(f"  {line}" for line in told.lines())] if head else told.lines()
    click.echo(in_shell("\n".join(lines)), err=True)
    if click.get_current_context().meta.get(_DEBUG):
        click.echo(debug_text(error), err=True)
    return told.exit_code


def in_shell(text: str) -> str:
    """A text with the commands that do here what the magics that it names do in a notebook."""
    file = click.get_current_context().params.get("file") or "FILE"
    words = {"debug": "--debug", "load": f"hwm run {file}"}
    return _MAGIC.sub(lambda found: words.get(found[1], f"hwm {found[1]} {file}"), text)


def command(function: Command) -> Callable[..., NoReturn]:
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
            code = fail(error)
            if options.get("detailed_exitcode"):
                code = 1
        sys.exit(code)

    return call


def _last_of_each(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    """Of several values for one name the last counts: a script that gives some of its own can be given others."""
    return tuple({text.partition("=")[0]: text for text in given}.values())


def file_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command says about its file."""
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--node", "nodes", multiple=True, metavar="NAME", help="This node only; repeatable."),
        click.option(
            "-p",
            "--param",
            "params",
            multiple=True,
            metavar="K=V",
            callback=_last_of_each,
            help="A value for ${K}; repeatable.",
        ),
        click.argument("file", type=click.Path(path_type=Path)),
    ):
        function = decorate(function)
    return function


def load_options(function: Callable[..., Any]) -> Callable[..., Any]:
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


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that a command is about, with its surroundings.

    Attributes:
        file: Its path.
        context: The hwm.yaml in force, and its connections.
        notebook: What it holds, when it is a notebook.
    """

    file: Path
    context: LoadContext
    notebook: Notebook | None = None


def open_file(file: Path) -> Opened:
    """Read a file's surroundings, and the file itself when it is a notebook.

    Raises:
        ConfigError: It can't be read, or is no notebook though its name says so; or hwm.yaml can't be understood.
    """
    from hwm_magics.jobs.context import LoadContext, is_notebook, read_file

    text = read_file(file)  # whether it is there at all is the first thing to tell
    notebook = None
    if is_notebook(file):
        from hwm_magics.jobs.notebook_cells import read_notebook

        notebook = read_notebook(text, file.name)
    # Behind everything else: a function of a module beside the file can be its transform.
    sys.path.append(str(file.absolute().parent))
    return Opened(file, LoadContext(file.absolute().parent), notebook)


def read_loads(
    opened: Opened | Path,
    params: tuple[str, ...],
    *,
    nodes: tuple[str, ...] = (),
    engine: str | None = None,
    force_first_run: bool = False,
    backfill: str | None = None,
) -> tuple[LoadContext, tuple[LoadSpec, ...]]:
    """The loads that a command is about."""
    from hwm_magics.jobs.context import Overrides, read_params, read_window

    found = open_file(opened) if isinstance(opened, Path) else opened
    window = read_window(backfill) if backfill is not None else None
    overrides: Overrides = Overrides(nodes, engine, force_first_run, window)
    source = found.notebook or found.file
    asked = found.context.read(source, overrides, params=read_params(params))
    for note in asked.notes:
        click.echo(f"note: {note}", err=True)
    return found.context, asked.loads


def print_json(value: object, *, quiet: bool = False) -> None:
    """Print a value as JSON."""
    if not quiet:
        click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))
