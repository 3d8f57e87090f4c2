"""The magics that load, and those around a notebook's loads. Everything heavy is imported later."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class
from traitlets import Unicode

from hwm_magics.errors import ConfigError
from hwm_magics.notebook import completion
from hwm_magics.notebook.options import (
    CONNECTIONS,
    DOCTOR,
    EXAMPLE,
    EXPORT,
    HELP,
    LOAD,
    WHICH,
    magic,
    show_help,
)
from hwm_magics.notebook.session import Session, say

if TYPE_CHECKING:
    from hwm_magics.jobs.context import Asked, LoadContext
    from hwm_magics.jobs.load_job import LoadJob, Sampling
    from hwm_magics.jobs.load_jobs import LoadJobs
    from hwm_magics.jobs.settings import Settings
    from hwm_magics.jobs.states import Loader
    from hwm_magics.jobs.tables import Table

__all__ = ["HwmMagics", "load", "unload"]

_MOST_SAMPLED = 20
_MODES = ("plan", "dry_run", "run", "ask")


@magics_class
class HwmMagics(Magics):
    """Incremental loads from SQL into Delta Lake."""

    mode = Unicode(
        "",
        help="What a load cell does without a flag: ask, run, plan or dry-run. Empty: it depends on who is there.",
    ).tag(config=True)

    def __init__(self, shell: Any, **kwargs: Any) -> None:
        super().__init__(shell, **kwargs)
        self.session = Session(shell, lambda: self.mode)
        completion.install(shell, self.session.context)

    @magic(line_cell_magic, *LOAD)
    def hwm_load(self, options: argparse.Namespace, cell: str | None = None) -> LoadJob | LoadJobs | None:
        """Load what is new from a database or from files into a Delta table. The cell's body is YAML."""
        if cell is not None and not cell.strip():
            show_help(self.hwm_load)
            return None
        if cell is None:
            raise ConfigError(
                "%hwm_load is a line without a body, so there is nothing to load",
                hint="write %%hwm_load, and the YAML below it; %hwm_example shows some",
            )
        if options.var is not None and not options.var.isidentifier():
            raise ConfigError(
                f"{options.var!r} can't be the name of a variable",
                hint="write %%hwm_load NAME --run, for example",
            )
        from hwm_magics.notebook.cell import failed_jobs

        try:
            return self._load(options, cell)
        except Exception as error:
            # Also on failure: a later cell must not mistake an older job for this one.
            if options.var is not None and self.session.last_jobs is None:
                self.session.names[options.var] = failed_jobs(error)
            raise

    def _load(self, options: argparse.Namespace, cell: str) -> LoadJob | LoadJobs | None:
        from hwm_magics.jobs.context import Overrides, read_params, read_window
        from hwm_magics.notebook.cell import make_jobs
        from hwm_magics.notebook.mode import Mode

        self.session.last_jobs = self.session.last_error = None
        context = self.session.context()
        flags = tuple(flag.replace("_", "-") for flag in _MODES if getattr(options, flag))
        choice = self.session.choice(flags, context)
        backfill = read_window(options.backfill) if options.backfill else None
        overrides = Overrides(tuple(options.node), options.engine, options.force_first_run, backfill)
        params = read_params(options.param)

        def read(context: LoadContext) -> Asked:
            return context.read(
                cell, overrides, params=params, line_offset=1, others=self.session.seen, what="the cell"
            )

        asked = read(context)
        self.session.remember(asked)
        loader: Loader = context.workspace
        if choice.mode is Mode.RUN:
            from hwm_magics.jobs.retries import RETRIES, Retried

            loader = Retried(loader, RETRIES, lambda retry: say(str(retry)))
        jobs = make_jobs(
            loader,
            asked.loads,
            choice,
            strict=options.fail_if_stale,
            reread=self._rereader(read) if choice.mode is Mode.ASK else None,
            sampling=_sampling(options),
        )
        self.session.last_jobs = jobs
        if options.var is not None:
            self.session.names[options.var] = self.session.value()
        self.session.perform(
            jobs, choice, self.session.front(options.var or ""), plan_first=options.fail_if_stale
        )
        if options.quiet:
            return None
        value = self.session.value()
        if value is not None:
            value.brief = True
        return value

    def _rereader(self, read: Callable[[LoadContext], Asked]) -> Callable[[str], Settings]:
        """Read the cell once more, with the hwm.yaml, connections and variables of that moment."""
        from hwm_magics.jobs.settings import settings_of

        def reread(node: str) -> Settings:
            context = self.session.context()
            for load in read(context).loads:
                if load.node == node:
                    return settings_of(context.workspace, context.connections, load)
            raise ConfigError(f"the cell has no node named {node!r} any more", hint="run the cell again")

        return reread

    @magic(line_magic, *WHICH)
    def hwm_plan(self, options: argparse.Namespace) -> LoadJob | LoadJobs | None:
        """Show what a load would do now. Nothing is written."""
        from hwm_magics.notebook.cell import make_jobs, perform
        from hwm_magics.notebook.mode import Choice, Mode

        context, loads = self.session.loads_of(options)
        choice = Choice(Mode.PLAN, "%hwm_plan")
        jobs = make_jobs(context.workspace, loads, choice, strict=True)
        perform(jobs, choice, self.session.front())
        value = jobs[0] if len(jobs) == 1 else jobs
        value.brief = True
        return value

    @magic(line_cell_magic, *CONNECTIONS)
    def hwm_connections(self, options: argparse.Namespace, cell: str | None = None) -> Table | None:
        """Add connections (YAML, as in hwm.yaml), or list or test those that there are."""
        from hwm_magics.connections.words import did_you_mean
        from hwm_magics.jobs.tables import connections_table

        if cell is not None and not cell.strip():
            show_help(self.hwm_connections)
            return None
        context = self.session.context()
        if cell is not None:
            made = context.add_connections(cell)
            self.session.added.update({each.name: each for each in made})
            described = [
                each for each in context.connections.describe() if each["name"] in {c.name for c in made}
            ]
            return connections_table(described)
        if options.action not in ("list", "test"):
            raise ConfigError(
                f"%hwm_connections {options.action}: unknown{did_you_mean(options.action, ('list', 'test'))}",
                hint="%hwm_connections list, or %hwm_connections test",
            )
        described = list(context.connections.describe())
        if options.action == "list":
            return connections_table(described)
        return connections_table(described, {each["name"]: context.test(each["name"]) for each in described})

    @magic(line_magic, *EXPORT)
    def hwm_export(self, options: argparse.Namespace) -> None:
        """Write a notebook's loads as something that others run: parameterised, pinned, no credentials."""
        from hwm_magics.jobs.context import read_params
        from hwm_magics.jobs.export.targets import export
        from hwm_magics.jobs.this_notebook import find_notebook

        if options.target is None:
            show_help(self.hwm_export)
            return
        given = {
            key: value for key, value in vars(options).items() if key not in ("help", "file", "param", "out")
        }
        file = Path(options.file) if options.file else find_notebook(self.session.names)
        out = Path(options.out) if options.out else None
        files, notes = export(file, read_params(options.param), out=out, **given)
        say("\n".join([*map(str, files), *(f"Note: {each}" for each in notes)]))

    @magic(line_magic, *DOCTOR)
    def hwm_doctor(self, options: argparse.Namespace) -> Table | None:
        """Look for what keeps loads from working: machine, connections, credentials, cursor columns."""
        from hwm_magics.jobs.context import read_params
        from hwm_magics.jobs.doctor import examine

        file = Path(options.file) if options.file else None
        # A notebook's variables are here, so every load can be looked at.
        return examine(
            file,
            params=read_params(options.param),
            context=lambda _values: self.session.context(),
            loads=tuple(self.session.seen.values()),
        ).table

    @magic(line_magic, *EXAMPLE)
    def hwm_example(self, options: argparse.Namespace) -> Table | None:
        """List working examples of load cells, or make one of them the next cell."""
        from hwm_magics.connections.words import did_you_mean
        from hwm_magics.jobs.tables import Table
        from hwm_magics.notebook.examples import EXAMPLES

        if options.name is None:
            rows = tuple((each.name, each.told) for each in EXAMPLES)
            return Table("Examples, for %hwm_example NAME", ("name", "what it shows"), rows)
        cells = {each.name: each.cell for each in EXAMPLES}
        if options.name not in cells:
            raise ConfigError(
                f"there is no example named {options.name!r}{did_you_mean(options.name, cells)}",
                hint="%hwm_example lists them",
            )
        shell: Any = self.shell
        shell.set_next_input(cells[options.name])
        return None

    @magic(line_magic, HELP)
    def hwm_debug(self, options: argparse.Namespace) -> None:  # noqa: ARG002 - it has none but --help
        """Show the whole traceback of the last error, with what caused it, without secrets."""
        from hwm_magics.jobs.failures import debug_text

        jobs = self.session.last_jobs
        error = self.session.last_error or (jobs.error if jobs is not None else None)
        say(debug_text(error) if error is not None else "There was no error.")


def _sampling(options: argparse.Namespace) -> Sampling | None:
    """What the options say about sample rows."""
    from hwm_magics.jobs.load_job import Sampling

    if options.sample is None:
        if options.mask:
            raise ConfigError("--mask is about a sample, and none is asked for", hint="add --sample")
        return None
    if not 1 <= options.sample <= _MOST_SAMPLED:
        raise ConfigError(
            f"--sample {options.sample}: the rows are stored with the notebook", hint=f"1 to {_MOST_SAMPLED}"
        )
    return Sampling(options.sample, tuple(options.mask))


def keep_bodies(lines: list[str]) -> list[str]:
    """Give a cell that is nothing but ``%%hwm_… options`` a body, so that the magic can show its help.

    IPython refuses a cell magic without one before the magic is asked.
    """
    if len(lines) == 1 and lines[0].startswith("%%hwm_") and "?" not in lines[0]:
        return [lines[0] if lines[0].endswith("\n") else f"{lines[0]}\n", "\n"]
    return lines


# Otherwise a terminal would ask it whether a cell is complete, and end every cell at its first line.
keep_bodies.has_side_effects = True  # type: ignore[attr-defined]


def load(shell: Any) -> None:
    """Put the magics into a shell; a second time is the same as once."""
    from hwm_magics.notebook.target_magics import TargetMagics

    unload(shell)
    shell.register_magics(HwmMagics)
    loads = shell.magics_manager.registry[HwmMagics.__name__]
    shell.register_magics(TargetMagics(shell, loads.session))
    shell.input_transformers_cleanup.append(keep_bodies)


def unload(shell: Any) -> None:
    """Take them out again, with their configuration."""
    completion.uninstall(shell)
    manager = shell.magics_manager
    for kind in ("line", "cell"):
        for name in [name for name in manager.magics[kind] if name.startswith("hwm_")]:
            del manager.magics[kind][name]
    ours = (HwmMagics.__name__, "TargetMagics")
    for name in ours:
        manager.registry.pop(name, None)
    shell.configurables[:] = [each for each in shell.configurables if type(each).__name__ not in ours]
    cleanup = shell.input_transformers_cleanup
    cleanup[:] = [each for each in cleanup if getattr(each, "__name__", "") != keep_bodies.__name__]
