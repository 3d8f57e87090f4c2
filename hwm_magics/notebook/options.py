"""The options of the magics, as data, and how a magic's line is read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from IPython.core import magic_arguments
from IPython.core.magic import no_var_expand

from hwm_magics.jobs.export import TARGETS
from hwm_magics.jobs.load_options import LOAD, NODE, PARAM, Option, flag, option, words

__all__ = [
    "CONNECTIONS",
    "DOCTOR",
    "EXPORT",
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


_HELP = flag("--help", "show these options")

WHICH = (
    option(
        "which",
        nargs="?",
        help="a variable that holds a LoadJob, or a YAML file; default: the last cell that loads",
    ),
    NODE,
    PARAM,
    _HELP,
)

MARK = (
    option("--set", metavar="V", dest="value", help="count everything at or below V as loaded"),
    flag("--adopt", "count everything up to the target's highest value as loaded"),
)

EXPORT = (
    option("file", nargs="?", help="a notebook or a YAML file; default: this notebook, as it was last saved"),
    option("--to", dest="target", metavar="TARGET", help=f"one of {', '.join(TARGETS)}"),
    option("--out", metavar="FOLDER", help="where to; default: NAME-TARGET beside the file"),
    PARAM,
    option("--schedule", default="0 6 * * *", help="when it runs, as cron says it, in quotes"),
    option("--timezone", default="UTC", help="the zone of --schedule"),
    option("--package", default="", metavar="SPEC", help="what pip installs for hwm-magics"),
    option("--task", default="notebook", help="for databricks: notebook or wheel"),
    flag("--overwrite", "replace files that are there"),
    _HELP,
)

DOCTOR = (
    option("file", nargs="?", help="a notebook or a YAML file; default: the loads of this session's cells"),
    PARAM,
    _HELP,
)

CONNECTIONS = (
    option("action", nargs="?", default="list", help="list (the default) or test"),
    flag("--help", "show these options and an example"),
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
    parsed: argparse.Namespace = method.parser.parse_args(words(line))
    return parsed
