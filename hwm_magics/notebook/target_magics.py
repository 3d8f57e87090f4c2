"""The magics that look at a load's target, and after it: what changes it is shown first, and done with ``--run``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class

from hwm_magics.errors import ConfigError
from hwm_magics.notebook.options import (
    BACKFILL,
    HISTORY,
    MAINTAIN,
    MARK,
    RECONCILE,
    ROLLBACK,
    WHICH,
    magic,
    show_help,
)
from hwm_magics.notebook.session import Session, say

if TYPE_CHECKING:
    from hwm_magics.jobs.load_job import LoadJob
    from hwm_magics.jobs.tables import Table
    from hwm_magics.jobs.upkeep import Maintenance, Rollback

__all__ = ["TargetMagics"]

_ONE = "this is for one node"


@magics_class
class TargetMagics(Magics):
    """Going back, loading a window again, care for files, and comparing with the source."""

    def __init__(self, shell: Any, session: Session, **kwargs: Any) -> None:
        super().__init__(shell, **kwargs)
        self.session = session

    @magic(line_magic, *WHICH)
    def hwm_status(self, options: argparse.Namespace) -> Table | None:
        """Show how a load's target stands: version, watermark, last load. The source is not asked."""
        from hwm_magics.jobs.tables import status_table

        context, loads = self.session.loads_of(options)
        return status_table([context.workspace.status(load) for load in loads])

    @magic(line_magic, *HISTORY, *WHICH)
    def hwm_history(self, options: argparse.Namespace) -> Table | None:
        """Show the loads that a target's own log knows, newest first."""
        from hwm_magics.jobs.tables import history_table

        context, loads = self.session.loads_of(options)
        label, records = context.history(loads, options.limit)
        if options.plot:
            from hwm_magics.notebook.history_view import pictures

            shell: Any = self.shell
            for picture in pictures(records):
                say(picture.text)
                if getattr(shell, "kernel", None) is not None:
                    shell.display_pub.publish(*picture.bundle)
        return history_table(records, f"Loads into {label}, newest first")

    @magic(line_magic, *MARK, *WHICH)
    def hwm_watermark(self, options: argparse.Namespace) -> Table | None:
        """Show a load's watermark, or settle it by hand."""
        from hwm_magics.jobs.context import only
        from hwm_magics.jobs.marks import settle
        from hwm_magics.jobs.report import next_load
        from hwm_magics.jobs.tables import settled_words, status_table

        if options.adopt and options.value is not None:
            raise ConfigError("--set and --adopt contradict each other", hint="give one of them")
        context, loads = self.session.loads_of(options)
        if options.adopt or options.value is not None:
            load = only(loads, "a watermark belongs to one node")
            record = settle(context.workspace, load, options.value)
            say(f"{record.node}: {settled_words(record)}")
            say(next_load(context.workspace, load))
            return None
        return status_table([context.workspace.status(load) for load in loads])

    @magic(line_magic, *BACKFILL, *WHICH)
    def hwm_backfill(self, options: argparse.Namespace) -> LoadJob | None:
        """Load a window of the cursor again; the watermark stays."""
        from hwm_magics.jobs.context import only, read_window
        from hwm_magics.notebook.cell import make_jobs

        if options.window is None:
            show_help(self.hwm_backfill)
            return None
        window = read_window(options.window)
        _, loads = self.session.loads_of(options)
        load = replace(only(loads, _ONE), backfill=window)
        self.session.last_jobs = self.session.last_error = None
        context = self.session.context()
        choice = self.session.choice(("run",) if options.run else (), context)
        jobs = make_jobs(context.workspace, (load,), choice, strict=False)
        self.session.last_jobs = jobs
        self.session.perform(jobs, choice, self.session.front())
        jobs[0].brief = True
        return jobs[0]

    @magic(line_magic, *ROLLBACK, *WHICH)
    def hwm_rollback(self, options: argparse.Namespace) -> None:
        """Restore a load's target to an earlier version."""
        from hwm_magics.jobs.context import only
        from hwm_magics.jobs.upkeep import plan_rollback

        context, loads = self.session.loads_of(options)
        self._carry_out(plan_rollback(context.workspace, only(loads, _ONE), options.to), run=options.run)

    @magic(line_magic, *MAINTAIN, *WHICH)
    def hwm_maintain(self, options: argparse.Namespace) -> None:
        """Look after the files of a load's target."""
        from hwm_magics.jobs.context import read_duration
        from hwm_magics.jobs.upkeep import plan_maintenance

        older = read_duration("--older", options.older, example="7d")
        context, loads = self.session.loads_of(options)
        for load in loads:
            plan = plan_maintenance(
                context.workspace,
                load,
                compact=options.compact or None,
                order=options.order,
                vacuum=options.vacuum,
                older=older,
            )
            self._carry_out(plan, run=options.run)

    @magic(line_magic, *RECONCILE, *WHICH)
    def hwm_reconcile(self, options: argparse.Namespace) -> None:
        """Compare a load's target with its source, up to the watermark."""
        from hwm_magics.jobs.reconcile import reconcile

        context, loads = self.session.loads_of(options)
        for load in loads:
            say(reconcile(context.workspace, load, by_keys=options.keys).text)

    def _carry_out(self, plan: Rollback | Maintenance, *, run: bool) -> None:
        say(plan.text)
        if not plan.does_something:
            return
        say(plan.run() if run else "Nothing was done: --run does it.")
