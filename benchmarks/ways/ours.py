"""How hwm_magics is called. Everything that depends on its public API stands here."""

from __future__ import annotations

from typing import Any

CURSORS = {"orders": "updated_at", "orders_growing": "updated_at"}
"""Cursor columns of the tables; the others are loaded once, with ``mode: overwrite``."""


def text(task: dict[str, Any]) -> str:
    """The YAML of a job."""
    cursor = CURSORS.get(task["table"])
    incremental = f"  incremental:\n    column: {cursor}\n" if cursor else ""
    return (
        "read:\n"
        "  connection: pg\n"
        f"  table: {task['schema']}.{task['table']}\n"
        f"{incremental}"
        "write:\n"
        "  connection: lake\n"
        f"  path: {task['path']}\n"
        f"  mode: {'append' if cursor else 'overwrite'}\n"
    )


def connections(task: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The connections that the YAML names."""
    return {"pg": task["connection"], "lake": {"type": "local", "root": task["root"]}}


def load(task: dict[str, Any]) -> None:
    """Plan and run."""
    import hwm_magics

    hwm_magics.load(text(task), connections=connections(task))


def plan(task: dict[str, Any]) -> str:
    """Plan only; the decision, as text."""
    import hwm_magics

    return str(hwm_magics.plan(text(task), connections=connections(task)).decision)


WATCH_PLANNING = """\
from hwm_magics.jobs.load_jobs import LoadJobs
def watched_prepare(jobs, prepare=LoadJobs.prepare):
    start = time.time()
    prepare(jobs)
    watched.append((start, time.time()))
LoadJobs.prepare = watched_prepare"""
"""For a kernel: appends to ``watched`` when planning began and ended, in seconds since 1970."""
WATCH_PAINTING = """\
from hwm_magics.notebook.card import Card
def watched_change(card, change=Card._changed):
    start = time.perf_counter()
    change(card)
    watched.append(time.perf_counter() - start)
Card._changed = watched_change"""
"""For a kernel: appends to ``watched`` for how many seconds each change of a load kept a card busy."""
