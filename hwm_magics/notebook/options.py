"""The options of the magics, as data, and how a magic's line is read."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

from IPython.core import magic_arguments
from IPython.core.magic import no_var_expand

from hwm_magics.errors import ConfigError

__all__ = ["CONNECTIONS", "LOAD", "MARK", "WHICH", "Option", "arguments", "magic", "option"]

P = ParamSpec("P")
R = TypeVar("R")


class Option(NamedTuple):
    """One option or argument, as argparse takes it."""

    names: tuple[str, ...]
    settings: dict[str, Any]


def option(*names: str, **settings: Any) -> Option:
    """One option or argument."""
    return Option(names, settings)


def _flag(name: str, told: str) -> Option:
    return option(name, action="store_true", help=told)


def _several(name: str, metavar: str, told: str) -> Option:
    return option(name, nargs="+", action="extend", default=[], metavar=metavar, help=told)


_PARAM = _several("--param", "K=V", "values for ${K}")
_NODE = _several("--node", "NAME", "these nodes only")
_HELP = _flag("--help", "show these options")

LOAD = (
    option("var", nargs="?", help="the variable that gets the LoadJob; name it before the options"),
    _flag("--plan", "show the plan, and neither ask nor write"),
    _flag("--dry-run", "read and check the first rows, and write nothing"),
    _flag("--run", "load at once, without asking"),
    _flag("--ask", "show the plan, and ask before it is carried out"),
    option("--engine", metavar="E", help="pandas, spark or auto"),
    _NODE,
    _PARAM,
    _flag("--force-first-run", "replace all rows of the target, in one commit"),
    option("--backfill", metavar="LOW..HIGH", help="load this window again; the watermark stays"),
    option(
        "--sample",
        type=int,
        nargs="?",
        const=5,
        metavar="N",
        help="show some rows of what will be read with the plan (5); they are stored with the notebook",
    ),
    _several("--mask", "COLUMN", "columns of the sample whose values are not shown; * for all"),
    _flag("--fail-if-stale", "when running: fail if a race changes what was planned"),
    _flag("--quiet", "don't give the job as the cell's value"),
    _flag("--help", "show these options and an example"),
)

WHICH = (
    option(
        "which",
        nargs="?",
        help="a variable that holds a LoadJob, or a YAML file; default: the last cell that loads",
    ),
    _NODE,
    _PARAM,
    _HELP,
)

MARK = (
    option("--set", metavar="V", dest="value", help="count everything at or below V as loaded"),
    _flag("--adopt", "count everything up to the target's highest value as loaded"),
)

CONNECTIONS = (
    option("action", nargs="?", default="list", help="list (the default) or test"),
    _flag("--help", "show these options and an example"),
)


def magic(kind: object, *options: Option) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a method a magic with options; ``%name?`` documents them.

    Args:
        kind: IPython's ``line_magic``, ``cell_magic`` or ``line_cell_magic``.
        options: Its options, in the order in which help lists them.
    """
    argument: Any = magic_arguments.argument
    finish: Any = magic_arguments.magic_arguments
    mark: Any = kind

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        made: Any = method
        for names, settings in reversed(options):
            made = argument(*names, **settings)(made)
        # IPython must leave `{}` and `$` alone: they are the YAML's and the query's.
        finished: Callable[P, R] = no_var_expand(mark(finish()(made)))
        return finished

    return decorate


def arguments(method: Any, line: str) -> argparse.Namespace:
    """Read a magic's line.

    Raises:
        ConfigError: Its quotes don't close.
        UsageError: An option is not known, or lacks its value.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ConfigError(f"the magic's line can't be read: {error}", hint="close the quotes") from None
    parsed: argparse.Namespace = method.parser.parse_args(words)
    return parsed
