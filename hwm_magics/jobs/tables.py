"""Small tables for people: how targets stand, which loads they hold, which connections there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from typing import TYPE_CHECKING

from hwm_magics.connections.secrets import scrub
from hwm_magics.core.commit_info import written
from hwm_magics.core.moments import has_zone, moment, span
from hwm_magics.core.words import counted

if TYPE_CHECKING:
    from hwm_magics.app import TargetStatus
    from hwm_magics.core.observed import CommitRecord

__all__ = [
    "Table",
    "connections_table",
    "history_table",
    "record_to_dict",
    "settled_words",
    "status_table",
    "status_to_dict",
]

_WIDEST = 130
_CELL = "text-align:left;vertical-align:top;padding:.1em 1em .1em 0"
_LONG_WORD = 24
_BROKEN = ";overflow-wrap:anywhere;min-width:10em"
"""For paths and their like: whole, they push the last columns out of sight."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under headings.

    Attributes:
        title: What it is.
        headings: One a column.
        rows: As many texts each as there are headings.
        empty: What to say without rows.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str = "nothing"

    @property
    def text(self) -> str:
        """As plain text: in aligned columns, or upright where that would be too wide to read."""
        if not self.rows:
            return f"{self.title}: {self.empty}"
        widths = [
            max(len(row[place]) for row in (self.headings, *self.rows)) for place in range(len(self.headings))
        ]
        if sum(widths) + 2 * len(widths) > _WIDEST:
            return "\n".join([self.title, *(line for row in self.rows for line in self._upright(row))])
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (self.headings, *self.rows)
        ]
        return "\n".join([self.title, *(f"  {line}" for line in lines)])

    def _upright(self, row: tuple[str, ...]) -> list[str]:
        first, *rest = row
        width = max(len(heading) for heading in self.headings[1:])
        pairs = zip(self.headings[1:], rest, strict=True)
        return [f"  {first}", *(f"    {heading.ljust(width)}  {cell}" for heading, cell in pairs if cell)]

    @property
    def html(self) -> str:
        """As an HTML table, escaped."""
        head = "".join(f'<th scope="col" style="{_CELL}">{escape(text)}</th>' for text in self.headings)
        body = "".join(
            "<tr>" + "".join(f'<td style="{_style(text)}">{escape(text)}</td>' for text in row) + "</tr>"
            for row in self.rows
        )
        if not self.rows:
            return f"<p>{escape(self.title)}: {escape(self.empty)}</p>"
        return (
            f'<table class="hwm-table"><caption style="text-align:left">{escape(self.title)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    @property
    def markdown(self) -> str:
        """As a markdown table."""
        if not self.rows:
            return f"{_md(self.title)}: {_md(self.empty)}"
        lines = [
            f"**{_md(self.title)}**",
            "",
            _row(self.headings),
            _row(["---"] * len(self.headings), raw=True),
        ]
        return "\n".join([*lines, *(_row(row) for row in self.rows)])

    def __str__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, **_asked: object) -> dict[str, str]:
        return {"text/html": self.html, "text/markdown": self.markdown, "text/plain": self.text}


def _style(text: str) -> str:
    return _CELL + _BROKEN if any(len(word) > _LONG_WORD for word in text.split()) else _CELL


def _row(cells: Iterable[str], *, raw: bool = False) -> str:
    return "| " + " | ".join(cell if raw else _md(cell) for cell in cells) + " |"


def _md(text: str) -> str:
    flat = " ".join(escape(text, quote=False).split())
    for mark in "\\|*_`[]#$":
        flat = flat.replace(mark, f"\\{mark}")
    return flat


def status_table(statuses: Sequence[TargetStatus], now: datetime | None = None) -> Table:
    """How targets stand, one row a load.

    Args:
        statuses: How they stand.
        now: The clock that ages are told by; this machine's by default.
    """
    now = now or datetime.now(UTC)
    rows = []
    zoned = True
    for each in statuses:
        mark = f"{each.watermark.column} = {each.watermark}" if each.watermark is not None else "none"
        if each.files is not None:
            mark = counted(each.files, "file")
        if each.watermark is not None and each.watermark.origin == "data":
            mark += " (from the data)"
        time = moment(each.watermark.value) if each.watermark is not None else None
        if each.watermark is not None and time is not None:
            zoned = zoned and has_zone(each.watermark.value)
        last, ago = "none", ""
        if each.last is not None:
            last = f"{each.last.told}, version {each.last.version}{_when(each.last)}"
            ago = _age(each.last.committed_at, now)
        told = "; ".join((each.evidence, *each.events))
        version = "" if each.version is None else str(each.version)
        rows.append(
            _clean(
                each.node,
                each.existence.value,
                version,
                mark,
                _age(time, now),
                last,
                ago,
                each.location,
                told,
            )
        )
    title = f"Targets at {now:%Y-%m-%d %H:%M:%S} UTC"
    if not zoned:
        title += "; a mark without a zone is taken as UTC"
    headings = (
        "node",
        "target",
        "version",
        "watermark",
        "mark's age",
        "last load",
        "load's age",
        "location",
        "seen",
    )
    return Table(title, headings, tuple(rows))


def _age(then: datetime | None, now: datetime) -> str:
    if then is None:
        return ""
    length = now - then
    return span(length) if length >= timedelta() else f"{span(length)} ahead of the clock"


def history_table(records: Sequence[CommitRecord], title: str = "Loads, newest first") -> Table:
    """The loads that a target's log knows, one row each."""
    rows = [
        _clean(
            str(each.version),
            _when(each).removeprefix(", "),
            each.node,
            each.told,
            _rows_written(each.metrics),
            _mark(each),
            each.run_id,
        )
        for each in records
    ]
    headings = ("version", "committed (UTC)", "node", "kind", "rows", "watermark", "run id")
    return Table(title, headings, tuple(rows), "no load of ours is recorded")


def _mark(record: CommitRecord) -> str:
    """What a load says of how far it came: its watermark, or its files."""
    if record.watermark is not None:
        return str(record.watermark)
    files = record.files
    return f"{files.new:,} new of {counted(files.count, 'file')}" if files is not None else ""


def settled_words(record: CommitRecord) -> str:
    """What a mark that was set says, as a sentence."""
    if record.files is not None:
        return f"{counted(record.files.count, 'file')} count as loaded now (version {record.version})"
    mark = record.watermark
    told = f"{mark.column} = {mark}" if mark is not None else "none"
    return f"the watermark is now {told} (version {record.version})"


def connections_table(
    described: Sequence[Mapping[str, str]], outcomes: Mapping[str, str] | None = None
) -> Table:
    """The known connections, one row each.

    Args:
        described: What may be shown of each.
        outcomes: What testing them came to, by name; None when they were not tested.
    """
    rows = []
    for each in described:
        fixed = {"name", "type", "origin"}
        settings = ", ".join(f"{key}: {value}" for key, value in each.items() if key not in fixed)
        tail = [outcomes.get(each["name"], "")] if outcomes is not None else []
        rows.append(_clean(each["name"], each["type"], settings, each.get("origin", ""), *tail))
    headings = ("name", "type", "settings", "from", *(["test"] if outcomes is not None else []))
    return Table("Connections", headings, tuple(rows), "none; add one with %%hwm_connections or in hwm.yaml")


def _clean(*cells: str) -> tuple[str, ...]:
    return tuple(" ".join(scrub(cell).split()) for cell in cells)


def _when(record: CommitRecord) -> str:
    return f", {record.committed_at:%Y-%m-%d %H:%M:%S}" if record.committed_at is not None else ""


def _rows_written(metrics: Mapping[str, object]) -> str:
    rows = written(metrics).rows
    return "" if rows is None else f"{rows:,}"


def status_to_dict(status: TargetStatus) -> dict[str, object]:
    """A status as JSON-ready values."""
    mark = status.watermark
    return {
        "node": status.node,
        "location": scrub(status.location),
        "existence": status.existence.value,
        "evidence": scrub(status.evidence),
        "version": status.version,
        "watermark": None
        if mark is None
        else {"column": mark.column, "value": str(mark), "origin": mark.origin},
        "files": status.files,
        "last": None if status.last is None else record_to_dict(status.last),
        "events": [scrub(event) for event in status.events],
    }


def record_to_dict(record: CommitRecord) -> dict[str, object]:
    """One load of the history as JSON-ready values."""
    return {
        "version": record.version,
        "committed_at": record.committed_at.isoformat() if record.committed_at is not None else None,
        "node": record.node,
        "run_id": record.run_id,
        "kind": record.kind,
        "first_load": None
        if record.first_load is None
        else {
            "chunk": record.first_load.chunk,
            "goal": str(record.first_load.goal),
            "unfinished": record.unfinished is not None,
        },
        "low": None if record.low is None else str(record.low),
        "high": None if record.high is None else str(record.high),
        "watermark": None if record.watermark is None else str(record.watermark),
        "files": None if record.files is None else {"new": record.files.new, "loaded": record.files.count},
        "source": scrub(record.source.text),
        "metrics": {
            key: value for key, value in record.metrics.items() if isinstance(value, int | float | str)
        },
    }
