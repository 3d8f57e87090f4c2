"""What a shell's magics share: the loads that its cells have named, their cards, and who is there to be asked."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwm_magics.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwm_magics.connections.base import Connection
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.errors import HwmError
    from hwm_magics.jobs.context import Asked, LoadContext
    from hwm_magics.jobs.load_job import LoadJob
    from hwm_magics.jobs.load_jobs import LoadJobs
    from hwm_magics.notebook.card import Card
    from hwm_magics.notebook.cell import Front
    from hwm_magics.notebook.mode import Choice

__all__ = ["Session", "say"]


class Session:
    """What the magics of a shell know of each other's doings. Everything heavy is imported later.

    Args:
        shell: The shell.
        mode: Gives what ``%config`` says about the mode; "" for nothing.

    Attributes:
        names: The notebook's variables.
        last_error: What the last magic that failed raised; None when it did not.
        last_jobs: The last cell's loads; None before the first, and where it could not be read.
        last_loads: What they were asked to do.
        seen: Every load that a cell has named, by its node.
        added: The connections that cells have added, by name.
        cards: Cards that still wait or run.
    """

    def __init__(self, shell: Any, mode: Callable[[], str]) -> None:
        self._shell = shell
        self._mode = mode
        self.names: dict[str, Any] = shell.user_ns
        self.last_error: HwmError | None = None
        self.last_jobs: LoadJobs | None = None
        self.last_loads: tuple[LoadSpec, ...] = ()
        self.seen: dict[str, LoadSpec] = {}
        self.added: dict[str, Connection] = {}
        self.cards: list[Card] = []

    @property
    def kernel(self) -> Any:
        """The kernel that runs the cells; None in a terminal."""
        return getattr(self._shell, "kernel", None)

    def context(self) -> LoadContext:
        """What loads are read with at this moment: hwm.yaml, connections and variables."""
        from hwm_magics.jobs.context import LoadContext

        return LoadContext(lookup=self.names.__getitem__, added=self.added.values())

    def choice(self, flags: tuple[str, ...], context: LoadContext) -> Choice:
        """What a cell does, and how that came about; its reader is told.

        Args:
            flags: The mode flags on its line, without dashes.
            context: Its configuration.
        """
        from hwm_magics.notebook.mode import VARIABLE, Surroundings, choose

        chosen = choose(
            Surroundings(
                flags=flags,
                environment=os.environ.get(VARIABLE, ""),
                config=self._mode(),
                project=context.project.defaults.mode or "",
                kernel=self.kernel is not None,
                allow_stdin=_allow_stdin(self.kernel),
                terminal=sys.stdin is not None and sys.stdin.isatty(),
            )
        )
        say(chosen.line)
        return chosen

    def front(self, variable: str = "") -> Front:
        """What stands between the cell that runs and its reader."""
        from hwm_magics.notebook.cell import Front
        from hwm_magics.notebook.summary import kernel_publisher

        live = self.kernel is not None
        return Front(kernel_publisher, say, input, live=live, variable=variable, cell=_cell_id(self.kernel))

    def value(self) -> LoadJob | LoadJobs | None:
        """What stands for the last cell's jobs: the one, or all of them."""
        jobs = self.last_jobs
        return jobs[0] if jobs is not None and len(jobs) == 1 else jobs

    def remember(self, asked: Asked) -> None:
        """Keep what a cell has named, and tell its notes."""
        self.last_loads = asked.loads
        self.seen.update({load.node: load for load in (*asked.known, *asked.loads)})
        for note in asked.notes:
            say(f"Note: {note}")

    def perform(self, jobs: LoadJobs, choice: Choice, front: Front, *, plan_first: bool = False) -> None:
        """Do what the mode says, in the place of what earlier cards of the same nodes or the same cell offer."""
        from hwm_magics.notebook.cell import perform

        self._retire({job.spec.node for job in jobs}, front.cell)
        card = perform(jobs, choice, front, plan_first=plan_first)
        if card is not None:
            self.cards.append(card)

    def _retire(self, nodes: set[str], cell: str) -> None:
        kept = []
        for card in self.cards:
            theirs = {job.spec.node for job in card.jobs}
            same = theirs if cell and card.cell == cell else theirs & nodes
            if same and card.jobs.status.value == "RUNNING":
                say(f"Note: an earlier load of {', '.join(sorted(same))} still runs; its own card tells.")
            elif same:
                card.retire()
            if card.jobs.status.value in ("PLANNED", "RUNNING", "STALE"):
                kept.append(card)
        self.cards = kept

    def loads_of(self, options: argparse.Namespace) -> tuple[LoadContext, tuple[LoadSpec, ...]]:
        """The loads that a line magic is about.

        Raises:
            ConfigError: There is none, or none of that name.
        """
        from hwm_magics.jobs.context import Overrides, read_params
        from hwm_magics.jobs.load_job import LoadJob
        from hwm_magics.jobs.load_jobs import LoadJobs

        context = self.context()
        overrides = Overrides(tuple(options.node))
        which = options.which
        held = self.names.get(which) if which is not None else None
        if isinstance(held, LoadJob):
            return context, (held.spec,)
        if isinstance(held, LoadJobs):
            loads = tuple(job.spec for job in held if not options.node or job.spec.node in options.node)
        elif which is not None and which.lower().endswith((".yaml", ".yml", ".ipynb")):
            loads = context.read(Path(which), overrides, params=read_params(options.param)).loads
        elif which is not None:
            raise ConfigError(
                f"{which!r} is neither a variable that holds a LoadJob nor a YAML file",
                hint="leave it out for the last cell",
            )
        elif options.node:
            loads = self._seen(options.node)
        else:
            loads = self.last_loads
        if not loads:
            raise ConfigError(
                "there is no load to look at yet", hint="run a %%hwm_load cell first, or name a YAML file"
            )
        return context, loads

    def _seen(self, names: list[str]) -> tuple[LoadSpec, ...]:
        from hwm_magics.connections.words import did_you_mean, listed

        for name in names:
            if name not in self.seen:
                raise ConfigError(
                    f"no cell has loaded a node named {name!r}{did_you_mean(name, self.seen)}",
                    hint=f"known: {listed(self.seen) or 'none yet'}",
                )
        return tuple(self.seen[name] for name in names)


def say(line: str) -> None:
    """Print for the reader of the cell."""
    print(line, flush=True)  # noqa: T201 - a cell's plain output is print's


def _cell_id(kernel: Any) -> str:
    """The front end's id of the cell that runs; "" when it gives none."""
    if kernel is None:
        return ""
    parent = kernel.get_parent("shell") or {}
    return str((parent.get("metadata") or {}).get("cellId") or "")


def _allow_stdin(kernel: Any) -> bool | None:
    """What the front end said when it sent the cell."""
    if kernel is None:
        return None
    try:
        allowed = kernel.get_parent("shell")["content"]["allow_stdin"]
    except (AttributeError, KeyError, TypeError):
        return None
    return bool(allowed)
