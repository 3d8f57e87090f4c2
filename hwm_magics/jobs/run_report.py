"""A run of several loads as a whole: a short table for the end of a log, and a page to keep."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from html import escape
from typing import TYPE_CHECKING

from hwm_magics.connections.secrets import scrub
from hwm_magics.core.receipt import duration
from hwm_magics.jobs.report import jobs_bundle
from hwm_magics.jobs.tables import Table

if TYPE_CHECKING:
    from hwm_magics.jobs.load_job import LoadJob

__all__ = ["page", "summary"]

_PAGE = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>
body{{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color-scheme:light dark}}</style></head>
<body><h1>{title}</h1><p>Written {written}.</p>{table}{jobs}</body></html>
"""


def summary(jobs: Iterable[LoadJob]) -> Table:
    """One row a node: how it ended, its rows, its watermark, how long it took."""
    every = list(jobs)
    rows = []
    for job in every:
        result = job.result
        rows.append(
            (
                job.spec.node,
                job.status.value,
                f"{result.rows_written:,}" if result is not None else "",
                str(result.watermark_after or "") if result is not None else "",
                duration(timedelta(seconds=job.seconds)),
            )
        )
    ended = [job for job in every if job.error is None]
    title = f"{len(ended)} of {len(every)} loads succeeded"
    return Table(title, ("node", "status", "rows", "watermark", "took"), tuple(rows))


def page(jobs: Iterable[LoadJob], name: str) -> str:
    """The run as a page of HTML, complete in itself and without script or secrets.

    Args:
        jobs: The jobs, ended.
        name: What was run.
    """
    every = list(jobs)
    return _PAGE.format(
        title=escape(scrub(name)),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        table=summary(every).html,
        jobs=jobs_bundle(every)["text/html"],
    )
