"""The options of ``%%hwm_load``, as data: the magic and whoever reads a notebook without a kernel share them."""

from __future__ import annotations

import argparse
import shlex
from typing import Any, NamedTuple, NoReturn

from hwm_magics.errors import ConfigError

__all__ = ["HELP", "LOAD", "NODE", "PARAM", "Option", "flag", "option", "read_line", "several", "words"]


class Option(NamedTuple):
    """One option or argument, as argparse takes it."""

    names: tuple[str, ...]
    settings: dict[str, Any]


def option(*names: str, **settings: Any) -> Option:
    """One option or argument."""
    return Option(names, settings)


def flag(name: str, told: str) -> Option:
    """An option without a value."""
    return option(name, action="store_true", help=told)


def several(name: str, metavar: str, told: str) -> Option:
    """An option that takes values, and may be repeated."""
    return option(name, nargs="+", action="extend", default=[], metavar=metavar, help=told)


PARAM = several("--param", "K=V", "values for ${K}")
NODE = several("--node", "NAME", "these nodes only")

HELP = flag("--help", "show this page")

LOAD = (
    option("var", nargs="?", help="the variable that gets the LoadJob; name it before the options"),
    flag("--plan", "show the plan, and neither ask nor write"),
    flag("--dry-run", "read and check the first rows, and write nothing"),
    flag("--run", "load at once, without asking"),
    flag("--ask", "show the plan, and ask before it is carried out"),
    option("--engine", metavar="E", help="pandas, spark or auto"),
    NODE,
    PARAM,
    flag("--force-first-run", "replace all rows of the target, in one commit"),
    option("--backfill", metavar="LOW..HIGH", help="load this window again; the watermark stays"),
    option(
        "--sample",
        type=int,
        nargs="?",
        const=5,
        metavar="N",
        help="show some rows of what will be read with the plan (5); they are stored with the notebook",
    ),
    several("--mask", "COLUMN", "columns of the sample whose values are not shown; * for all"),
    flag("--fail-if-stale", "when running: fail if a race changes what was planned"),
    flag("--quiet", "don't give the job as the cell's value"),
    HELP,
)


def words(line: str) -> list[str]:
    """A magic's line as words, quotes taken off.

    Raises:
        ConfigError: Its quotes don't close.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise ConfigError(f"the magic's line can't be read: {error}", hint="close the quotes") from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message, hint="%%hwm_load --help shows the options")


def read_line(line: str) -> argparse.Namespace:
    """The options of a ``%%hwm_load`` line, as the magic itself reads them.

    Raises:
        ConfigError: An option is not known, or lacks its value.
    """
    parser = _Parser(prog="%%hwm_load", add_help=False, allow_abbrev=True)
    for names, settings in LOAD:
        parser.add_argument(*names, **settings)
    return parser.parse_args(words(line))
