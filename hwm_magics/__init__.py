"""Jupyter cells, and calls, that load SQL incrementally and exactly once into Delta Lake.

``%load_ext hwm_magics`` puts ``%%hwm_load`` and its sisters into a notebook. The same as calls::

    import hwm_magics

    plan = hwm_magics.plan("orders.yaml")
    result = hwm_magics.load("orders.yaml", params={"since": "2024-01-01"})
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hwm_magics.version import __version__

if TYPE_CHECKING:
    from hwm_magics import errors
    from hwm_magics.api import (
        describe,
        doctor,
        export,
        history,
        job,
        load,
        maintain,
        plan,
        reconcile,
        rollback,
        status,
        table_exists,
        watermark,
    )
    from hwm_magics.jobs.load_job import LoadJob
    from hwm_magics.jobs.load_jobs import LoadJobs

__all__ = [
    "LoadJob",
    "LoadJobs",
    "__version__",
    "describe",
    "doctor",
    "errors",
    "export",
    "history",
    "job",
    "load",
    "load_ipython_extension",
    "maintain",
    "plan",
    "reconcile",
    "rollback",
    "status",
    "table_exists",
    "unload_ipython_extension",
    "watermark",
]

# Everything is imported when it is first asked for: loading the extension must stay quick.
_HOMES = {
    "LoadJob": "hwm_magics.jobs.load_job",
    "LoadJobs": "hwm_magics.jobs.load_jobs",
    "describe": "hwm_magics.api",
    "doctor": "hwm_magics.api",
    "export": "hwm_magics.api",
    "history": "hwm_magics.api",
    "job": "hwm_magics.api",
    "load": "hwm_magics.api",
    "maintain": "hwm_magics.api",
    "plan": "hwm_magics.api",
    "reconcile": "hwm_magics.api",
    "rollback": "hwm_magics.api",
    "status": "hwm_magics.api",
    "table_exists": "hwm_magics.api",
    "task": "hwm_magics.cli",
    "watermark": "hwm_magics.api",
}


def __getattr__(name: str) -> object:
    if name == "errors":
        return importlib.import_module("hwm_magics.errors")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext hwm_magics``."""
    from hwm_magics.notebook import magics

    magics.load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext hwm_magics``."""
    from hwm_magics.notebook import magics

    magics.unload(shell)
