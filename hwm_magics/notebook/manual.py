"""The magics' manual pages: what ``%%hwm_load?`` shows and ``--help`` prints, made of their options."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hwm_magics.notebook.examples import EXAMPLES

if TYPE_CHECKING:
    from hwm_magics.notebook.options import Option

__all__ = ["page"]

_WIDTH = 80
"""Lab wraps longer lines in the middle of a word, beside its file list on a common screen."""
_COLUMN = 26

_WHAT = {
    "hwm_load": """\
The first run of a load copies everything; a later run copies what lies above the watermark, the highest value of \
the cursor column that committed loads have covered. Rows and watermark go into the target in one commit, so a load \
that is killed and run again loses nothing and doubles nothing.

The plan comes first: what will be written, why, the window, the SQL with its bound values, and how the schemas \
differ. In a notebook the plan waits for a click. In a job (papermill, jupyter execute, nbconvert), with --run, or \
with HWM_MAGICS_MODE=run, the load goes ahead, and an error fails the cell. The first line of the output says which, \
and why.

The body has three shapes: one load (read:, write:), a list of loads, or pipeline: with nodes:. Values may hold \
${name}, ${env:NAME} and ${secret:scope/key}. Connections are those of hwm.yaml and of %%hwm_connections cells, and \
variables that hold an SQLAlchemy engine or a database connection.

The cell's value, and VAR, is a LoadJob: .plan .status .result .error .wait() .run() .cancel() .to_dict(). For \
several loads it is a sequence of them.""",
    "hwm_connections": """\
As a cell it adds connections for this session: a name a line, and its settings as in hwm.yaml. As a line it lists \
the connections that there are (list), or tries each of them (test). Passwords are never shown; write them as \
${env:NAME} or ${secret:scope/key}.""",
    "hwm_plan": "WHICH is planned anew, on what target and source hold now.",
    "hwm_status": """\
The mark is the highest cursor value that committed loads have covered. Its age is told where its column holds times; \
times without a zone are taken as UTC. Where the log no longer holds the last load, the mark is the highest value in \
the target's data, and is shown as such.""",
    "hwm_history": """\
The history is the target's own log: every load is one commit in it. --plot adds a picture of rows a load, of the \
watermark's progress against the wall clock, and of how far the watermark was behind the clock at each commit.""",
    "hwm_watermark": """\
Without options it shows the mark. --set and --adopt settle it where a plan is BLOCKED because the mark can't be \
told: they commit a new mark to the target, and no rows.""",
    "hwm_backfill": """\
All rows of the window are read again: with keys they are merged, without keys they replace the target's rows of \
that window, whoever wrote them. The watermark stays where it is. In a notebook the plan waits for a click, unless \
--run is given.""",
    "hwm_rollback": """\
The target is restored to an earlier version in a commit of its own, so a rollback can be undone as well. The next \
load goes on from the watermark of the version that comes back, and brings the undone rows again. Without --run it \
only shows what would be undone.""",
    "hwm_maintain": """\
Small files are written together when there are many of them. A vacuum removes files that no version within its \
time needs; older versions can't be read or restored afterwards. Without --run it only shows what would be done.""",
    "hwm_reconcile": """\
Counts are compared by windows of the cursor column, up to the watermark, and keys in the windows that differ. Rows \
that changed in the source since the last load are told apart: they wait for the next one. Nothing is written.""",
    "hwm_example": """\
Without NAME the examples are listed. With it, the example becomes the next cell, to be changed and run. All of them \
work as they stand where the connections shop and lake are those of the example "connections", and shop holds the \
table of notebooks/shop.py.""",
}
# Where the line and the cell of one name take different things.
_CALLS = {
    "hwm_load": ("%%hwm_load [VAR] [OPTIONS]", "%hwm_load --help"),
    "hwm_connections": ("%%hwm_connections", "%hwm_connections [ACTION]"),
}
_EXAMPLES = {
    "hwm_load": next(each.cell for each in EXAMPLES if each.name == "upsert"),
    "hwm_connections": next(each.cell for each in EXAMPLES if each.name == "connections"),
    "hwm_plan": "%hwm_plan job\n",
    "hwm_status": "%hwm_status job\n",
    "hwm_history": "%hwm_history --plot --limit 50\n",
    "hwm_watermark": "%hwm_watermark --set 2024-06-01 job\n",
    "hwm_backfill": "%hwm_backfill 2024-06-01..2024-06-30 job\n",
    "hwm_rollback": "%hwm_rollback job --run\n",
    "hwm_maintain": "%hwm_maintain job --vacuum --run\n",
    "hwm_reconcile": "%hwm_reconcile job\n",
    "hwm_example": "%hwm_example upsert\n",
}
_MORE = {
    "hwm_load": (
        ("%hwm_example", "working examples, one for each thing that people want"),
        ("%hwm_plan", "what a load would do now"),
        ("%hwm_status, %hwm_history", "how a target stands, and what was loaded into it"),
        ("%hwm_debug", "the whole traceback of the last error"),
        ("Tab in the body", "keys, words, connections, tables and columns"),
        ("docs/reference.md", "every key of the YAML"),
        ("docs/how-it-works.md", "what is promised, and its limits"),
    ),
    "hwm_connections": (("docs/reference.md", "the types and their settings"),),
    "hwm_watermark": (("docs/how-it-works.md", "when a mark must be settled by hand"),),
}


def page(name: str, sign: str, summary: str, options: Sequence[Option]) -> str:
    """A magic's manual page.

    Args:
        name: Its name, without percent signs.
        sign: ``%`` or ``%%``.
        summary: What it does, in a line.
        options: Its options and arguments.
    """
    positional = [each for each in options if not each.names[0].startswith("-")]
    flags = [each for each in options if each.names[0].startswith("-")]
    arguments = "".join(f" [{_argument(each)}]" for each in positional)
    call = f"{sign}{name}{arguments}{' [OPTIONS]' if flags else ''}"
    parts = ["\n".join(_CALLS.get(name, (call,))), textwrap.fill(summary, _WIDTH)]
    if name in _WHAT:
        parts.append(_section("What it does", _filled(_WHAT[name])))
    if positional:
        parts.append(
            _section("Arguments", _rows((_argument(each), each.settings["help"]) for each in positional))
        )
    if flags:
        parts.append(_section("Options", _rows((_flag(each), each.settings["help"]) for each in flags)))
    if name in _EXAMPLES:
        parts.append(_section("Example", _EXAMPLES[name]))
    if name in _MORE:
        parts.append(_section("More", _rows(_MORE[name])))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _section(title: str, text: str) -> str:
    return f"{title}:\n\n{textwrap.indent(text, '    ')}"


def _filled(text: str) -> str:
    return "\n\n".join(textwrap.fill(part, _WIDTH - 4) for part in text.split("\n\n"))


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    lines = []
    for left, right in rows:
        told = textwrap.wrap(right, _WIDTH - 4 - _COLUMN)
        if len(left) >= _COLUMN:
            lines.append(left)
        else:
            told[0] = left.ljust(_COLUMN) + told[0]
            lines.append(told.pop(0))
        lines += [" " * _COLUMN + line for line in told]
    return "\n".join(lines)


def _argument(each: Option) -> str:
    return each.names[0].upper()


def _flag(each: Option) -> str:
    takes = each.settings.get("action") != "store_true"
    value = each.settings.get("metavar") or each.names[0].lstrip("-").upper()
    dots = " …" if each.settings.get("nargs") == "+" else ""
    return each.names[0] + (f" {value}{dots}" if takes else "")
