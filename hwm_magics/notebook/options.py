"""The options of the magics, as data, and how a method that takes them becomes a magic."""

from __future__ import annotations

import argparse
import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from IPython.core import magic_arguments
from IPython.core.error import UsageError
from IPython.core.magic import line_magic, no_var_expand

from hwm_magics.errors import ConfigError, HwmError
from hwm_magics.jobs.export import TARGETS
from hwm_magics.jobs.load_options import HELP, LOAD, NODE, PARAM, Option, flag, option, words
from hwm_magics.notebook.manual import page
from hwm_magics.notebook.session import Session, say

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
    "show_help",
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


class Sharing(Protocol):
    """Magics that have a part in a session."""

    @property
    def session(self) -> Session: ...


S = TypeVar("S", bound=Sharing)


def magic(
    kind: object, *options: Option
) -> Callable[
    [Callable[Concatenate[S, argparse.Namespace, P], R]], Callable[Concatenate[S, str, P], R | None]
]:
    """Make a method that takes options a magic that takes a line.

    Its docstring begins the magic's manual page, which ``--help`` and ``%name?`` show. Errors leave it as a few
    clean lines without secrets, and are kept for ``%hwm_debug``.

    Args:
        kind: IPython's ``line_magic``, ``cell_magic`` or ``line_cell_magic``.
        options: Its options, in the order in which help lists them; ``HELP`` is one.
    """
    argument: Any = magic_arguments.argument
    finish: Any = magic_arguments.magic_arguments
    mark: Any = kind
    sign = "%" if kind is line_magic else "%%"

    def decorate(
        method: Callable[Concatenate[S, argparse.Namespace, P], R],
    ) -> Callable[Concatenate[S, str, P], R | None]:
        @functools.wraps(method)
        def call(magics: S, line: str, *args: P.args, **kwargs: P.kwargs) -> R | None:
            from hwm_magics.jobs.failures import sealed

            try:
                given = arguments(made, line)
                if given.help:
                    show_help(made)
                    return None
                return method(magics, given, *args, **kwargs)
            except KeyboardInterrupt:
                raise
            except UsageError as error:
                # A UsageError reaches a runner of notebooks without its message.
                told: HwmError = ConfigError(str(error), hint=f"%{made.__name__} --help shows the options")
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not leave as it is
                told = sealed(error)
            magics.session.last_error = told
            raise told

        made: Any = call
        summary = (method.__doc__ or "").strip()
        for names, settings in reversed(options):
            made = argument(*names, **settings)(made)
        made = finish()(made)
        made.__doc__ = page(made.__name__, sign, summary, options)
        # IPython must leave `{}` and `$` alone: they are the YAML's and the query's.
        made = no_var_expand(mark(made))
        finished: Callable[Concatenate[S, str, P], R | None] = made
        return finished

    return decorate


def show_help(method: object) -> None:
    """Print a magic's manual page."""
    say(inspect.getdoc(method) or "")


def arguments(method: Any, line: str) -> argparse.Namespace:
    """Read a magic's line.

    Raises:
        ConfigError: Its quotes don't close.
        UsageError: An option is not known, or lacks its value.
    """
    parsed: argparse.Namespace = method.parser.parse_args(words(line))
    return parsed
