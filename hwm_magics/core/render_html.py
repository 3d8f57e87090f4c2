"""An explanation or a receipt as HTML: escaped, without script, and readable where its styles are taken away."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape as html_escape

from hwm_magics.core.explain import Change, Explanation, PastLoad, Sample, Side
from hwm_magics.core.receipt import Receipt
from hwm_magics.core.render import escape, mark, sample_title, seen, share, sql_rows, value_of

__all__ = ["plan_to_html", "receipt_to_html"]

# A front end that does not trust a page drops style elements, roles and labels, and keeps the tables: so what
# belongs side by side is a table, and nothing is told by looks alone. Colours come from the front end's own
# theme; without one the text's colour serves. The doubled class outweighs JupyterLab's styles for tables.
_STYLE = """\
.hwm-static.hwm-static{font-family:var(--jp-ui-font-family,sans-serif);font-size:13px;line-height:1.45;\
max-width:64em;color:var(--jp-ui-font-color1,inherit);overflow-wrap:anywhere}
.hwm-static.hwm-static p{margin:.35em 0}
.hwm-static.hwm-static ul,.hwm-static.hwm-static ol{margin:.35em 0;padding-left:1.4em}
.hwm-static.hwm-static table{border-collapse:collapse;margin:.5em 0;font-size:inherit;table-layout:auto;\
color:inherit;border:0;line-height:inherit}
.hwm-static.hwm-static caption{text-align:left;font-weight:600;padding:0 0 .2em;color:inherit}
.hwm-static.hwm-static tbody tr:nth-child(n),.hwm-static.hwm-static tbody tr:hover,.hwm-static.hwm-static thead tr\
{background:transparent;border:0;line-height:inherit}
.hwm-static.hwm-static th,.hwm-static.hwm-static td{text-align:left;vertical-align:top;padding:.12em 1em .12em 0;\
border:0;max-width:none;white-space:normal;color:inherit;line-height:inherit}
.hwm-static.hwm-static th{font-weight:600;white-space:nowrap}
.hwm-static.hwm-static pre{margin:.3em 0 0;padding:.45em .6em;white-space:pre-wrap;word-break:normal;\
overflow-wrap:anywhere;user-select:all;font-family:var(--jp-code-font-family,monospace);font-size:12px;line-height:1.4;\
border:1px solid var(--jp-border-color2,rgba(128,128,128,.5));background:transparent;color:inherit}
.hwm-static.hwm-static .hwm-head{margin-top:0}
.hwm-static.hwm-static .hwm-badge{display:inline-block;border:1.5px solid var(--jp-brand-color1,currentColor);\
border-radius:3px;padding:0 .5em;font-weight:700;letter-spacing:.03em;margin-right:.35em}
.hwm-static.hwm-static .hwm-stop{border-color:var(--jp-error-color1,currentColor)}
.hwm-static.hwm-static .hwm-care{border-color:var(--jp-warn-color0,currentColor)}
.hwm-static.hwm-static .hwm-good{border-color:var(--jp-success-color1,currentColor)}
.hwm-static.hwm-static .hwm-say{font-size:14px}
.hwm-static.hwm-static .hwm-warn{list-style:none;padding:.3em .7em;border-left:3px solid \
var(--jp-warn-color0,currentColor)}
.hwm-static.hwm-static .hwm-sides,.hwm-static.hwm-static .hwm-sides>tbody{display:block;width:100%}
.hwm-static.hwm-static .hwm-sides>tbody>tr{display:flex;flex-wrap:wrap;gap:.8em}
.hwm-static.hwm-static .hwm-sides>tbody>tr>td{display:block;flex:1 1 19em;min-width:0;padding:.1em 0 .1em .7em;\
border-left:3px solid var(--jp-border-color2,rgba(128,128,128,.5))}
.hwm-static.hwm-static .hwm-sides>tbody>tr>td.hwm-chosen{border-left-color:var(--jp-brand-color1,currentColor)}
.hwm-static.hwm-static .hwm-number{text-align:right;font-variant-numeric:tabular-nums}
.hwm-static.hwm-static .hwm-wide{overflow-x:auto}
.hwm-static.hwm-static .hwm-wide td,.hwm-static.hwm-static .hwm-wide th{white-space:nowrap}
.hwm-static.hwm-static .hwm-plain{list-style:none;padding-left:0}
.hwm-static.hwm-static .hwm-loads{width:100%;max-width:36em}
.hwm-static.hwm-static .hwm-loads td{white-space:nowrap;padding-right:.8em}
.hwm-static.hwm-static .hwm-loads td div{margin-top:.35em}
.hwm-static.hwm-static .hwm-sign{font-family:var(--jp-code-font-family,monospace);font-weight:700}
.hwm-static.hwm-static summary{cursor:pointer}
.hwm-static.hwm-static summary:focus-visible{outline:2px solid var(--jp-brand-color1,currentColor)}
"""
_TONES = {
    "BLOCKED": " hwm-stop",
    "FAILED": " hwm-stop",
    "STALE": " hwm-care",
    "CANCELLED": " hwm-care",
    "FULL RELOAD": " hwm-care",
    "SUCCEEDED": " hwm-good",
}
_BAR = "height:10px;min-width:1px;background-color:#7a8ba0"


def plan_to_html(told: Explanation) -> str:
    """A plan, for notebooks.

    Args:
        told: The plan in words.

    Returns:
        One element.
    """
    parts = [
        _opened(f"Plan: {told.title}"),
        _head(told.badge, escape(told.title)),
        f'<p class="hwm-say"><strong>{escape(told.sentence)}</strong></p>',
    ]
    if told.hint:
        parts.append(f"<p>→ {escape(told.hint)}</p>")
    parts.append(_warnings(told.warnings))
    if told.sides:
        cells = "".join(_side(side) for side in told.sides)
        parts.append(f'<table class="hwm-sides" role="presentation"><tbody><tr>{cells}</tr></tbody></table>')
    parts.append(_facts(told.facts))
    if told.notes:
        parts.append(f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in told.notes)}</ul>")
    if told.changes:
        rows = "".join(_change(one) for one in told.changes)
        parts.append(f'<p><strong>Columns that differ</strong></p><ul class="hwm-plain">{rows}</ul>')
    if told.loads:
        parts.append(_loads(told.loads))
    if told.sample is not None:
        parts.append(_sample(told.sample))
    if told.steps:
        steps = "".join(f"<li>{escape(text)}</li>" for text in told.steps)
        parts.append(f"<details><summary>Steps of this load</summary><ol>{steps}</ol></details>")
    return "".join(parts) + "</div>"


def receipt_to_html(told: Receipt) -> str:
    """What came of a load, for notebooks.

    Args:
        told: The receipt.

    Returns:
        One element.
    """
    parts = [_opened("Receipt"), _head(told.badge, f"<strong>{escape(told.headline)}</strong>")]
    if told.hint:
        parts.append(f"<p>→ {escape(told.hint)}</p>")
    if told.moves:
        rows = "".join(
            f'<tr><th scope="row">{escape(what)}</th><td>{escape(before)}</td><td>{escape(now)}</td></tr>'
            for what, before, now in told.moves
        )
        heads = "".join(
            f'<th scope="col">{text}</th>' for text in ("What moved", "When the plan was made", "Now")
        )
        parts.append(f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>")
    parts += [_facts(told.facts), _warnings(told.warnings)]
    if told.undo:
        parts.append(f"<p><strong>To undo it:</strong> {escape(told.undo)}</p>")
    if told.undo_code:
        parts.append(_pre(told.undo_code))
    if told.onwards:
        parts.append(f"<p>{escape(told.onwards)}</p>")
    return "".join(parts) + "</div>"


def _opened(label: str) -> str:
    return f'<div class="hwm-static" role="region" aria-label="{escape(label)}"><style>{_STYLE}</style>'


def _head(badge: str, after: str) -> str:
    return f'<p class="hwm-head"><span class="hwm-badge{_TONES.get(badge, "")}">{escape(badge)}</span> {after}</p>'


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    rows = "".join(f"<li><strong>Warning:</strong> {escape(text)}</li>" for text in warnings)
    return f'<ul class="hwm-warn">{rows}</ul>'


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    if not facts:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td>{escape(value)}</td></tr>' for label, value in facts
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _side(side: Side) -> str:
    chosen = ' class="hwm-chosen"' if side.chosen else ""
    sign = "▶ " if side.chosen else ""
    sql = _pre(side.sql) if side.sql else ""
    return f"<td{chosen}><p><strong>{sign}{escape(side.title)}{mark(side)}</strong>: {escape(side.why)}</p>{sql}</td>"


def _pre(code: str) -> str:
    return f"<pre>{html_escape(chr(10).join(sql_rows(code)))}</pre>"


def _change(one: Change) -> str:
    return (
        f'<li><span class="hwm-sign">{escape(one.sign)}</span> {escape(one.name)}: {escape(one.words)}</li>'
    )


def _loads(loads: Sequence[PastLoad]) -> str:
    rows = "".join(
        f"<tr><td>{escape(each.when)}</td><td>{escape(each.kind)}</td>"
        f'<td style="width:40%"><div aria-hidden="true" style="width:{share(each, loads):.1%};{_BAR}"></div></td>'
        f'<td class="hwm-number">{"" if each.rows is None else f"{each.rows:,} rows"}</td></tr>'
        for each in loads
    )
    return f'<table class="hwm-loads"><caption>Recent loads, newest first (UTC)</caption><tbody>{rows}</tbody></table>'


def _sample(sample: Sample) -> str:
    title = escape(sample_title(sample))
    if not sample.rows:
        return f"<p>{title}</p>"
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in sample.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(seen(value_of(each)))}</td>' for each in row)}</tr>"
        for row in sample.rows
    )
    return (
        f'<p><strong>{title}</strong></p><div class="hwm-wide"><table aria-label="Sample"><thead>'
        f"<tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
