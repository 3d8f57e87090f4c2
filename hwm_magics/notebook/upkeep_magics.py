"""The magics that look after a load's target: shown first, done with ``--run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class

from hwm_magics.notebook.magics import guarded, say
from hwm_magics.notebook.options import BACKFILL, MAINTAIN, RECONCILE, ROLLBACK, WHICH, arguments, magic

if TYPE_CHECKING:
    from hwm_magics.jobs.load_job import LoadJob
    from hwm_magics.jobs.load_jobs import LoadJobs
    from hwm_magics.jobs.upkeep import Maintenance, Rollback
    from hwm_magics.notebook.magics import HwmMagics

__all__ = ["UpkeepMagics"]

_ONE = "this is for one node"


@magics_class
class UpkeepMagics(Magics):
    """Going back, loading a window again, care for files, and comparing with the source."""

    def __init__(self, shell: Any, loads: HwmMagics, **kwargs: Any) -> None:
        super().__init__(shell, **kwargs)
        self._loads = loads

    @property
    def last_error(self) -> object:
        """The last error, for ``%hwm_debug``: it is the one of all magics."""
        return self._loads.last_error

    @last_error.setter
    def last_error(self, error: Any) -> None:
        self._loads.last_error = error

    @magic(line_magic, *BACKFILL, *WHICH)
    @guarded
    def hwm_backfill(self, line: str) -> LoadJob | LoadJobs | None:
        """Load a window of the cursor again; the watermark stays."""
        from hwm_magics.jobs.context import only, read_window

        options = arguments(self.hwm_backfill, line)
        if options.help or options.window is None:
            self._loads.show_help(self, "hwm_backfill")
            return None
        window = read_window(options.window)
        _, loads = self._loads.loads_of(options)
        return self._loads.load_again(options, only(loads, _ONE), window)

    @magic(line_magic, *ROLLBACK, *WHICH)
    @guarded
    def hwm_rollback(self, line: str) -> None:
        """Restore a load's target to an earlier version."""
        from hwm_magics.jobs.context import only
        from hwm_magics.jobs.upkeep import plan_rollback

        options = arguments(self.hwm_rollback, line)
        if options.help:
            self._loads.show_help(self, "hwm_rollback")
            return
        context, loads = self._loads.loads_of(options)
        self._carry_out(plan_rollback(context.workspace, only(loads, _ONE), options.to), run=options.run)

    @magic(line_magic, *MAINTAIN, *WHICH)
    @guarded
    def hwm_maintain(self, line: str) -> None:
        """Look after the files of a load's target."""
        from hwm_magics.jobs.context import read_duration
        from hwm_magics.jobs.upkeep import plan_maintenance

        options = arguments(self.hwm_maintain, line)
        if options.help:
            self._loads.show_help(self, "hwm_maintain")
            return
        older = read_duration("--older", options.older, example="7d")
        context, loads = self._loads.loads_of(options)
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
    @guarded
    def hwm_reconcile(self, line: str) -> None:
        """Compare a load's target with its source, up to the watermark."""
        from hwm_magics.jobs.reconcile import reconcile

        options = arguments(self.hwm_reconcile, line)
        if options.help:
            self._loads.show_help(self, "hwm_reconcile")
            return
        context, loads = self._loads.loads_of(options)
        for load in loads:
            say(reconcile(context.workspace, load, by_keys=options.keys).text)

    def _carry_out(self, plan: Rollback | Maintenance, *, run: bool) -> None:
        say(plan.text)
        if not plan.does_something:
            return
        say(plan.run() if run else "Nothing was done: --run does it.")
