"""An explanation as plain text, markdown and HTML: complete in itself, escaped, and without script."""

from __future__ import annotations

import re
from html import escape as html_escape

from hwm_magics.core.explain import Explanation, Side

__all__ = ["bundle", "to_html", "to_markdown", "to_text"]

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that move a terminal's cursor, break a line or turn text round: a name may hold them."""

_STYLE = (
    ".hwm-static{font-family:var(--jp-ui-font-family,sans-serif);font-size:13px;line-height:1.45;max-width:60em}"
    ".hwm-static table{border-collapse:collapse;margin:.4em 0}"
    ".hwm-static th{text-align:left;font-weight:600;vertical-align:top;padding:.1em 1em .1em 0;white-space:nowrap}"
    ".hwm-static td{text-align:left;vertical-align:top;padding:.1em 0;overflow-wrap:anywhere}"
    ".hwm-static pre{margin:.2em 0;padding:.4em .6em;white-space:pre-wrap;overflow-wrap:anywhere;user-select:all;"
    "border:1px solid var(--jp-border-color2,#8888);background:transparent;color:inherit}"
    ".hwm-badge{border:1px solid currentColor;border-radius:3px;padding:0 .5em;font-weight:700}"
    ".hwm-sides{display:flex;flex-wrap:wrap;gap:.8em}.hwm-sides>div{flex:1 1 20em;min-width:0}"
    ".hwm-chosen{border-left:3px solid var(--jp-brand-color1,currentColor);padding-left:.6em}"
)


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
    lines += [f"  ! {text}" for text in told.warnings]
    lines += [f"  · {text}" for text in told.notes]
    for side in told.sides:
        lines.append(
            f"  {'▶' if side.chosen else ' '} {side.title}{' (chosen)' if side.chosen else ''}: {side.why}"
        )
        lines += [f"      {row}" for row in _rows(side)]
    if told.steps:
        lines.append("  Steps:")
        lines += [f"    {number}. {text}" for number, text in enumerate(told.steps, 1)]
    return "\n".join(_seen(line) for line in lines)


def _seen(text: str) -> str:
    return _UNSEEN.sub(lambda found: " " if found[0] in "\t\r\n" else "\ufffd", text)


def _rows(side: Side) -> list[str]:
    return [_seen(row) for row in side.sql.splitlines() if row.strip()]


def escape(text: str) -> str:
    """For HTML, quotes included."""
    return html_escape(_seen(text))


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
    lines += [f"- {_md(text)}" for text in told.notes]
    for side in told.sides:
        lines += ["", f"**{side.title}{' (chosen)' if side.chosen else ''}**: {_md(side.why)}", ""]
        lines += [f"    {row}" for row in _rows(side)]
    if told.steps:
        lines += ["", "Steps:", ""]
        lines += [f"{number}. {_md(text)}" for number, text in enumerate(told.steps, 1)]
    return "\n".join(lines)


def _md(text: str) -> str:
    flat = " ".join(html_escape(_seen(text), quote=False).split())
    for mark in ("\\", "|", "*", "_", "`", "[", "]", "#", "$"):
        flat = flat.replace(mark, f"\\{mark}")
    return flat


def to_html(told: Explanation) -> str:
    """For notebooks."""
    parts = [
        f'<div class="hwm-static" role="region" aria-label="Load plan"><style>{_STYLE}</style>',
        f'<p><span class="hwm-badge">{escape(told.badge)}</span> {escape(told.title)}</p>',
        f"<p><strong>{escape(told.sentence)}</strong></p>",
    ]
    if told.hint:
        parts.append(f"<p>→ {escape(told.hint)}</p>")
    if told.facts:
        rows = "".join(
            f'<tr><th scope="row">{escape(label)}</th><td>{escape(value)}</td></tr>'
            for label, value in told.facts
        )
        parts.append(f"<table><tbody>{rows}</tbody></table>")
    sentences = [f"<li><strong>Warning:</strong> {escape(text)}</li>" for text in told.warnings]
    sentences += [f"<li>{escape(text)}</li>" for text in told.notes]
    if sentences:
        parts.append(f"<ul>{''.join(sentences)}</ul>")
    if told.sides:
        parts.append(f'<div class="hwm-sides">{"".join(_side_html(side) for side in told.sides)}</div>')
    if told.steps:
        steps = "".join(f"<li>{escape(text)}</li>" for text in told.steps)
        parts.append(f"<details><summary>Steps</summary><ol>{steps}</ol></details>")
    return "".join(parts) + "</div>"


def _side_html(side: Side) -> str:
    chosen = ' class="hwm-chosen"' if side.chosen else ""
    mark = " (chosen)" if side.chosen else ""
    sql = f"<pre>{html_escape(chr(10).join(_rows(side)))}</pre>" if side.sql else ""
    return f"<div{chosen}><p><strong>{escape(side.title)}{mark}</strong>: {escape(side.why)}</p>{sql}</div>"
