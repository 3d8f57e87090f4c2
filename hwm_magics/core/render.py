"""An explanation or a receipt as plain text and markdown: complete in itself, and escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape as html_escape

from hwm_magics.core.explain import Explanation, PastLoad, Sample, Side
from hwm_magics.core.receipt import Receipt
from hwm_magics.core.words import counted

__all__ = [
    "WIDEST_VALUE",
    "bundle",
    "escape",
    "mark",
    "receipt_to_markdown",
    "sample_title",
    "seen",
    "share",
    "sql_rows",
    "to_html",
    "to_markdown",
    "to_text",
    "value_of",
]

WIDEST_VALUE = 60
"""Characters of a sample's value that are shown."""

_BLOCKS = " ▏▎▍▌▋▊▉█"
_BAR = 16

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that move a terminal's cursor, break a line or turn text round: a name may hold them."""


def to_html(told: Explanation) -> str:
    """For notebooks; see :mod:`hwm_magics.core.render_html`."""
    from hwm_magics.core.render_html import plan_to_html

    return plan_to_html(told)


def bundle(told: Explanation) -> dict[str, str]:
    """The explanation in the three forms that front ends choose between.

    Returns:
        MIME types ``text/html``, ``text/markdown`` and ``text/plain`` with their texts.
    """
    return {"text/html": to_html(told), "text/markdown": to_markdown(told), "text/plain": to_text(told)}


def to_text(told: Explanation) -> str:
    """For terminals and logs."""
    lines = [f"{told.badge} · {told.title}", told.sentence]
    if told.hint:
        lines.append(f"→ {told.hint}")
    width = max((len(label) for label, _ in told.facts), default=0)
    lines += [f"  {label.ljust(width)}  {value}" for label, value in told.facts]
    lines += [f"  {one.sign} {one.name}: {one.words}" for one in told.changes]
    lines += [f"  ! {text}" for text in told.warnings]
    lines += [f"  · {text}" for text in told.notes]
    for side in told.sides:
        lines.append(f"  {'▶' if side.chosen else ' '} {side.title}{mark(side)}: {side.why}")
        lines += [f"      {row}" for row in sql_rows(side.sql)]
    if told.loads:
        lines.append("  Recent loads, newest first:")
        lines += [f"    {row}" for row in _columns(_loads(told.loads), right=3)]
    if told.sample is not None:
        lines.append(f"  {sample_title(told.sample)}:")
        lines += [f"    {row}" for row in _columns(_sampled(told.sample))]
    if told.steps:
        lines.append("  Steps:")
        lines += [f"    {number}. {text}" for number, text in enumerate(told.steps, 1)]
    return "\n".join(seen(line) for line in lines)


def seen(text: str) -> str:
    """A text with everything in it that would steer what shows it made visible or harmless."""
    return _UNSEEN.sub(lambda found: " " if found[0] in "\t\r\n" else "\ufffd", text)


def sql_rows(sql: str) -> list[str]:
    """The lines of a SQL text."""
    return [seen(row) for row in sql.splitlines() if row.strip()]


def value_of(text: str | None) -> str:
    """A sample's value as it is shown."""
    if text is None:
        return "NULL"
    flat = " ".join(text.split()) or "''"
    return flat if len(flat) <= WIDEST_VALUE else flat[: WIDEST_VALUE - 1] + "…"


def share(load: PastLoad, loads: Iterable[PastLoad]) -> float:
    """A load's rows as a share of the largest one's."""
    most = max((each.rows or 0 for each in loads), default=0)
    return (load.rows or 0) / most if most else 0.0


def _bar(part: float) -> str:
    """A share as a bar of block characters."""
    eighths = max(round(part * _BAR * 8), 1 if part > 0 else 0)
    return "█" * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def _loads(loads: Sequence[PastLoad]) -> list[list[str]]:
    return [
        [
            each.when or "?",
            f"version {each.version}",
            each.kind,
            "" if each.rows is None else f"{each.rows:,}",
            _bar(share(each, loads)),
        ]
        for each in loads
    ]


def _columns(rows: Sequence[Sequence[str]], right: int | None = None) -> list[str]:
    """Rows as aligned text."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))] if rows else []
    return [
        "  ".join(
            cell.rjust(width) if place == right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _sampled(sample: Sample) -> list[list[str]]:
    return [[seen(each) for each in sample.columns]] + [
        [seen(value_of(each)) for each in row] for row in sample.rows
    ]


def mark(side: Side) -> str:
    """What tells the chosen side from the other, in words."""
    return " (chosen)" if side.chosen else " (not chosen)"


def sample_title(sample: Sample) -> str:
    """What stands above a sample."""
    if not sample.rows:
        return "Sample: there are no rows"
    masked = f"; {', '.join(sample.masked)} masked" if sample.masked else ""
    return f"Sample of what will be read, {counted(len(sample.rows), 'row')}{masked}"


def escape(text: str) -> str:
    """For HTML, quotes included."""
    return html_escape(seen(text))


def to_markdown(told: Explanation) -> str:
    """For code-hosting pages and front ends that show no HTML."""
    lines = [f"**{_md(told.badge)}** · {_md(told.title)}", "", _md(told.sentence), ""]
    if told.hint:
        lines += [f"→ {_md(told.hint)}", ""]
    if told.facts:
        lines += ["| | |", "|---|---|"]
        lines += [f"| **{_md(label)}** | {_md(value)} |" for label, value in told.facts]
        lines.append("")
    lines += [f"- ⚠ Warning: {_md(text)}" for text in told.warnings]
    lines += [f"- {one.sign} {_md(one.name)}: {_md(one.words)}" for one in told.changes]
    lines += [f"- {_md(text)}" for text in told.notes]
    for side in told.sides:
        lines += ["", f"**{side.title}{mark(side)}**: {_md(side.why)}", ""]
        lines += [f"    {row}" for row in sql_rows(side.sql)]
    if told.loads:
        titles = ("committed (UTC)", "version", "kind", "rows", "")
        lines += ["", "Recent loads, newest first:", "", *_md_table(titles, _loads(told.loads))]
    if told.sample is not None:
        heads, *rows = _sampled(told.sample)
        lines += ["", f"{_md(sample_title(told.sample))}:", "", *_md_table(heads, rows)]
    if told.steps:
        lines += ["", "Steps:", ""]
        lines += [f"{number}. {_md(text)}" for number, text in enumerate(told.steps, 1)]
    return "\n".join(lines)


def _md_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def row(cells: Iterable[str]) -> str:
        return "| " + " | ".join(_md(cell) for cell in cells) + " |"

    return [row(heads), "|" + "---|" * len(heads), *(row(each) for each in rows)]


def receipt_to_markdown(told: Receipt) -> str:
    """For code-hosting pages and front ends that show no HTML."""
    lines = [f"**{_md(told.badge)}** · {_md(told.headline)}", ""]
    if told.hint:
        lines += [f"→ {_md(told.hint)}", ""]
    if told.moves:
        lines += [*_md_table(("", "when the plan was made", "now"), told.moves), ""]
    if told.facts:
        lines += ["| | |", "|---|---|"]
        lines += [f"| **{_md(label)}** | {_md(value)} |" for label, value in told.facts]
        lines.append("")
    lines += [f"- ⚠ Warning: {_md(text)}" for text in told.warnings]
    if told.undo:
        lines += ["", f"To undo it: {_md(told.undo)}"]
    if told.undo_code:
        lines += ["", f"    {seen(told.undo_code)}"]
    if told.onwards:
        lines += ["", _md(told.onwards)]
    return "\n".join(lines).rstrip()


def _md(text: str) -> str:
    flat = " ".join(html_escape(seen(text), quote=False).split())
    for mark in ("\\", "|", "*", "_", "`", "[", "]", "#", "$"):
        flat = flat.replace(mark, f"\\{mark}")
    return flat
