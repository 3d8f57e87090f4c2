"""The options of the magics, as data, and how a magic's line is read."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

from IPython.core import magic_arguments
from IPython.core.magic import line_magic, no_var_expand

from hwm_magics.errors import ConfigError
from hwm_magics.notebook.manual import page

__all__ = [
    "CONNECTIONS",
    "EXAMPLE",
    "HELP",
    "HISTORY",
    "LOAD",
    "MARK",
    "WHICH",
    "Option",
    "arguments",
    "magic",
    "option",
]

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
HELP = _flag("--help", "show this page")

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
    _flag("--fail-if-stale", "when running: fail if a race changes what was planned"),
    _flag("--quiet", "don't give the job as the cell's value"),
    HELP,
)

WHICH = (
    option(
        "which",
        nargs="?",
        help="a variable that holds a LoadJob, or a YAML file; default: the last cell that loads",
    ),
    _NODE,
    _PARAM,
    HELP,
)

MARK = (
    option("--set", metavar="V", dest="value", help="count everything at or below V as loaded"),
    _flag("--adopt", "count everything up to the target's highest value as loaded"),
)

HISTORY = (
    option("--limit", type=int, default=20, metavar="N", help="at most so many, newest first (20)"),
    _flag("--plot", "show a picture as well; needs hwm-magics[plot]"),
)

EXAMPLE = (
    option("name", nargs="?", help="the example that becomes the next cell; without it they are listed"),
    HELP,
)

CONNECTIONS = (
    option("action", nargs="?", default="list", help="list (the default) or test"),
    HELP,
)


def magic(kind: object, *options: Option) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a method a magic with options, whose docstring is its manual page: ``%name?`` shows it.

    Args:
        kind: IPython's ``line_magic``, ``cell_magic`` or ``line_cell_magic``.
        options: Its options, in the order in which help lists them.
    """
    argument: Any = magic_arguments.argument
    finish: Any = magic_arguments.magic_arguments
    mark: Any = kind
    sign = "%" if kind is line_magic else "%%"

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        made: Any = method
        summary = (method.__doc__ or "").strip()
        for names, settings in reversed(options):
            made = argument(*names, **settings)(made)
        made = finish()(made)
        made.__doc__ = page(made.__name__, sign, summary, options)
        # IPython must leave `{}` and `$` alone: they are the YAML's and the query's.
        finished: Callable[P, R] = no_var_expand(mark(made))
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
