"""The options of the magics, as data, and how a magic's line is read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from IPython.core import magic_arguments
from IPython.core.magic import line_magic, no_var_expand

from hwm_magics.jobs.export import TARGETS
from hwm_magics.jobs.load_options import HELP, LOAD, NODE, PARAM, Option, flag, option, words
from hwm_magics.notebook.manual import page

__all__ = [
    "BACKFILL",
    "CONNECTIONS",
    "DOCTOR",
    "EXAMPLE",
    "EXPORT",
    "HELP",
    "HISTORY",
    "LOAD",
    "MAINTAIN",
    "MARK",
    "RECONCILE",
    "ROLLBACK",
    "WHICH",
    "Option",
    "arguments",
    "magic",
    "option",
]

P = ParamSpec("P")
R = TypeVar("R")


WHICH = (
    option(
        "which",
        nargs="?",
        help="a variable that holds a LoadJob, or a YAML file; default: the last cell that loads",
    ),
    NODE,
    PARAM,
    HELP,
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
    HELP,
)

HISTORY = (
    option("--limit", type=int, default=20, metavar="N", help="at most so many, newest first (20)"),
    flag("--plot", "show a picture as well; needs hwm-magics[plot]"),
)

EXAMPLE = (
    option("name", nargs="?", help="the example that becomes the next cell; without it they are listed"),
    HELP,
)

_RUN = flag("--run", "do it; without this it is only shown")

BACKFILL = (
    option("window", nargs="?", metavar="LOW..HIGH", help="the values of the cursor column to load again"),
    flag("--run", "load at once, without asking"),
)

ROLLBACK = (
    option("--to", type=int, metavar="VERSION", help="the version; default: the one before the last load"),
    _RUN,
)

MAINTAIN = (
    flag("--compact", "write small files together, also when there are few"),
    flag("--order", "write all files anew, ordered by write.options.cluster_by"),
    flag("--vacuum", "remove files that no younger version needs"),
    option(
        "--older",
        default="7d",
        metavar="DURATION",
        help="with --vacuum: how young a version keeps its files (7d)",
    ),
    _RUN,
)

RECONCILE = (flag("--keys", "compare keys everywhere, and not only where counts differ"),)

DOCTOR = (
    option("file", nargs="?", help="a notebook or a YAML file; default: the loads of this session's cells"),
    PARAM,
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
    parsed: argparse.Namespace = method.parser.parse_args(words(line))
    return parsed
