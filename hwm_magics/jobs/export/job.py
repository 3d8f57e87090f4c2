"""What an export is made from: loads, connections, params and code of a notebook or a YAML file, checked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwm_magics.core.cursor import Scalar
from hwm_magics.jobs.drivers import Need
from hwm_magics.jobs.notebook_cells import CellKind
from hwm_magics.version import __version__

__all__ = ["Job", "Node", "Options", "Piece", "slug"]


def slug(text: str) -> str:
    """A name that schedulers, file systems and Python take: small letters, digits and underscores."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return name if name and not name[0].isdigit() else f"job_{name}".rstrip("_")


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller says beside the file.

    Attributes:
        params: Values for ``${name}``, which become the artefact's defaults.
        schedule: When it runs, as cron says it.
        timezone: The IANA zone of the schedule.
        package: What pip is to install in the place of ``hwm-magics[…]==version``; "" for that.
        task: Databricks' kind of task: ``notebook`` or ``wheel``.
        folder: Where the artefact will stand; its own paths are below it.
    """

    params: Mapping[str, Scalar] = field(default_factory=dict)
    schedule: str = "0 6 * * *"
    timezone: str = "UTC"
    package: str = ""
    task: str = "notebook"
    folder: Path = Path()


@dataclass(frozen=True, slots=True)
class Piece:
    """One cell of the artefact.

    Attributes:
        kind: What it is for.
        text: Its text: a load's or connections' YAML, code, or markdown.
        line: A load's options, with the mode taken out.
        number: The number of the cell that it comes from; 0 for none.
    """

    kind: CellKind
    text: str
    line: str = ""
    number: int = 0

    @property
    def source(self) -> str:
        """The text of a notebook's cell, the mode explicit."""
        if self.kind is CellKind.LOAD:
            words = shlex.split(self.line)
            variable = words[:1] if words and not words[0].startswith("-") else []
            rest = words[len(variable) :]
            return f"%%hwm_load {shlex.join([*variable, '--run', *rest])}\n{self.text}"
        if self.kind is CellKind.CONNECTIONS:
            return f"%%hwm_connections\n{self.text}"
        return self.text


@dataclass(frozen=True, slots=True)
class Node:
    """One load of the job.

    Attributes:
        name: Its name.
        depends_on: The nodes of the same job that must have succeeded before.
    """

    name: str
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """A job to export.

    Attributes:
        name: Its name, fit for every scheduler.
        file: The file that it comes from.
        pieces: Its cells, in order; a YAML file has one load.
        connections: The connections of ``hwm.yaml`` that it uses, as written, local paths absolute.
        params: Its params and their defaults.
        parameters: The text of a notebook's own parameters cell; "" without one.
        nodes: Its loads; empty when only the notebook's code can tell.
        reasons: Why the notebook's code has to run; empty when its loads are enough.
        environment: The environment variables that it names.
        secrets: The secrets that it names, as ``scope/key``.
        local: Its connections that lie on this machine's disks.
        extras: The extras of hwm-magics that it needs.
        packages: Packages that no extra brings.
        notes: What whoever runs it should know.
        notebook: Whether the file is a notebook.
        modules: Python files beside it that its transforms come from.
    """

    name: str
    file: Path
    pieces: tuple[Piece, ...]
    connections: Mapping[str, Mapping[str, Any]]
    params: Mapping[str, object]
    parameters: str = ""
    nodes: tuple[Node, ...] = ()
    reasons: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    packages: tuple[Need, ...] = ()
    notes: tuple[str, ...] = ()
    notebook: bool = False
    modules: tuple[Path, ...] = ()

    def requirements(self, package: str = "", *extras: str) -> tuple[str, ...]:
        """What pip installs for it, the version of this package pinned.

        Args:
            package: What to install in the place of this package, such as a wheel's path.
            extras: Further extras.
        """
        every = sorted({*self.extras, *extras})
        mine = package or f"hwm-magics{'[' + ','.join(every) + ']' if every else ''}=={__version__}"
        return (mine, *(need.package for need in self.packages))

    @property
    def scalars(self) -> Mapping[str, str]:
        """The params that a command line can give, and their defaults as it would write them."""
        return {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in self.params.items()
            if isinstance(value, str | int | float) and value is not None
        }

    @property
    def parallel(self) -> bool:
        """Whether a scheduler can run each node as a task of its own."""
        names = [node.name for node in self.nodes]
        return bool(names) and not self.reasons and len(set(names)) == len(names)
