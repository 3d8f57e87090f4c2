"""The magics: their options, and which use case each of them calls. Everything heavy is imported later."""

from __future__ import annotations

import argparse
import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class
from traitlets import Unicode

from hwm_magics.errors import ConfigError, HwmError
from hwm_magics.notebook import completion
from hwm_magics.notebook.options import (
    CONNECTIONS,
    DOCTOR,
    EXAMPLE,
    EXPORT,
    HELP,
    HISTORY,
    LOAD,
    MARK,
    WHICH,
    arguments,
    magic,
)

if TYPE_CHECKING:
    from hwm_magics.connections.base import Connection
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.jobs.context import Asked, LoadContext
    from hwm_magics.jobs.load_job import LoadJob, Sampling
    from hwm_magics.jobs.load_jobs import LoadJobs
    from hwm_magics.jobs.settings import Settings
    from hwm_magics.jobs.states import Loader
    from hwm_magics.jobs.tables import Table
    from hwm_magics.notebook.card import Card
    from hwm_magics.notebook.cell import Front
    from hwm_magics.notebook.mode import Choice

__all__ = ["HwmMagics", "guarded", "load", "say", "unload"]

P = ParamSpec("P")
R = TypeVar("R")

_MOST_SAMPLED = 20
_MODES = ("plan", "dry_run", "run", "ask")


def guarded(method: Callable[P, R]) -> Callable[P, R]:
    """Let errors leave as a few clean lines without secrets, and keep them for ``%hwm_debug``."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        from hwm_magics.jobs.failures import sealed

        magics: Any = args[0]
        try:
            return method(*args, **kwargs)
        except KeyboardInterrupt:
            raise
        except UsageError as error:
            # A UsageError reaches a runner of notebooks without its message.
            told: HwmError = ConfigError(str(error), hint=f"%{method.__name__} --help shows the options")
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not leave as it is
            told = sealed(error)
        magics.last_error = told
        raise told

    return call


@magics_class
class HwmMagics(Magics):
    """Incremental loads from SQL into Delta Lake."""

    mode = Unicode(
        "",
        help="What a load cell does without a flag: ask, run, plan or dry-run. Empty: it depends on who is there.",
    ).tag(config=True)

    def __init__(self, shell: Any, **kwargs: Any) -> None:
        super().__init__(shell, **kwargs)
        self._names: dict[str, Any] = shell.user_ns
        self.last_error: HwmError | None = None
        self.last_jobs: LoadJobs | None = None
        self.last_loads: tuple[LoadSpec, ...] = ()
        self.seen: dict[str, LoadSpec] = {}
        self.added: dict[str, Connection] = {}
        self.cards: list[Card] = []
        completion.install(shell, self._context)

    @magic(line_cell_magic, *LOAD)
    @guarded
    def hwm_load(self, line: str, cell: str | None = None) -> LoadJob | LoadJobs | None:
        """Load what is new from a SQL source into a Delta table. The cell's body is YAML."""
        options = arguments(self.hwm_load, line)
        if options.help or not (cell if cell is not None else line).strip():
            self.show_help(self, "hwm_load")
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
            if options.var is not None and self.last_jobs is None:
                self._names[options.var] = failed_jobs(error)
            raise

    def _load(self, options: argparse.Namespace, cell: str) -> LoadJob | LoadJobs | None:
        from hwm_magics.jobs.context import Overrides, read_params, read_window
        from hwm_magics.notebook.cell import make_jobs, perform
        from hwm_magics.notebook.mode import Mode

        self.last_jobs = self.last_error = None
        context = self._context()
        flags = tuple(flag.replace("_", "-") for flag in _MODES if getattr(options, flag))
        choice = self._choice(flags, context)
        say(choice.line)
        backfill = read_window(options.backfill) if options.backfill else None
        overrides = Overrides(tuple(options.node), options.engine, options.force_first_run, backfill)
        params = read_params(options.param)

        def read(context: LoadContext) -> Asked:
            return context.read(
                cell, overrides, params=params, line_offset=1, others=self.seen, what="the cell"
            )

        asked = read(context)
        self._remember(asked)
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
        self.last_jobs = jobs
        if options.var is not None:
            self._names[options.var] = self._value()
        front = self._front(options.var or "")
        self._retire([load.node for load in asked.loads], front.cell)
        card = perform(jobs, choice, front, plan_first=options.fail_if_stale)
        if card is not None:
            self.cards.append(card)
        if options.quiet:
            return None
        value = self._value()
        if value is not None:
            value.brief = True
        return value

    def _value(self) -> LoadJob | LoadJobs | None:
        """What stands for the last cell's jobs: the one, or all of them."""
        jobs = self.last_jobs
        return jobs[0] if jobs is not None and len(jobs) == 1 else jobs

    def _remember(self, asked: Asked) -> None:
        self.last_loads = asked.loads
        self.seen.update({load.node: load for load in (*asked.known, *asked.loads)})
        for note in asked.notes:
            say(f"Note: {note}")

    def _rereader(self, read: Callable[[LoadContext], Asked]) -> Callable[[str], Settings]:
        """Read the cell once more, with the hwm.yaml, connections and variables of that moment."""
        from hwm_magics.jobs.settings import settings_of

        def reread(node: str) -> Settings:
            context = self._context()
            for load in read(context).loads:
                if load.node == node:
                    return settings_of(context.workspace, context.connections, load)
            raise ConfigError(f"the cell has no node named {node!r} any more", hint="run the cell again")

        return reread

    def _retire(self, nodes: list[str], cell: str) -> None:
        """Put away earlier cards of the same nodes, and of the same cell."""
        kept = []
        for card in self.cards:
            theirs = {job.spec.node for job in card.jobs}
            same = theirs if cell and card.cell == cell else theirs & set(nodes)
            if same and card.jobs.status.value == "RUNNING":
                say(f"Note: an earlier load of {', '.join(sorted(same))} still runs; its own card tells.")
            elif same:
                card.retire()
            if card.jobs.status.value in ("PLANNED", "RUNNING", "STALE"):
                kept.append(card)
        self.cards = kept

    @magic(line_magic, *WHICH)
    @guarded
    def hwm_plan(self, line: str) -> LoadJob | LoadJobs | None:
        """Show what a load would do now. Nothing is written."""
        from hwm_magics.notebook.cell import make_jobs, perform
        from hwm_magics.notebook.mode import Choice, Mode

        options = arguments(self.hwm_plan, line)
        if options.help:
            self.show_help(self, "hwm_plan")
            return None
        context, loads = self.loads_of(options)
        choice = Choice(Mode.PLAN, "%hwm_plan")
        jobs = make_jobs(context.workspace, loads, choice, strict=True)
        perform(jobs, choice, self._front())
        value = jobs[0] if len(jobs) == 1 else jobs
        value.brief = True
        return value

    @magic(line_magic, *WHICH)
    @guarded
    def hwm_status(self, line: str) -> Table | None:
        """Show how a load's target stands: version, watermark, last load. The source is not asked."""
        from hwm_magics.jobs.tables import status_table

        options = arguments(self.hwm_status, line)
        if options.help:
            self.show_help(self, "hwm_status")
            return None
        context, loads = self.loads_of(options)
        return status_table([context.workspace.status(load) for load in loads])

    @magic(line_magic, *HISTORY, *WHICH)
    @guarded
    def hwm_history(self, line: str) -> Table | None:
        """Show the loads that a target's own log knows, newest first."""
        from hwm_magics.jobs.tables import history_table

        options = arguments(self.hwm_history, line)
        if options.help:
            self.show_help(self, "hwm_history")
            return None
        context, loads = self.loads_of(options)
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
    @guarded
    def hwm_watermark(self, line: str) -> Table | None:
        """Show a load's watermark, or settle it by hand."""
        from hwm_magics.jobs.context import only
        from hwm_magics.jobs.report import next_load
        from hwm_magics.jobs.tables import settled_words, status_table

        options = arguments(self.hwm_watermark, line)
        if options.help:
            self.show_help(self, "hwm_watermark")
            return None
        if options.adopt and options.value is not None:
            raise ConfigError("--set and --adopt contradict each other", hint="give one of them")
        context, loads = self.loads_of(options)
        if options.adopt or options.value is not None:
            load = only(loads, "a watermark belongs to one node")
            record = context.workspace.set_watermark(load, options.value)
            say(f"{record.node}: {settled_words(record)}")
            say(next_load(context.workspace, load))
            return None
        return status_table([context.workspace.status(load) for load in loads])

    @magic(line_cell_magic, *CONNECTIONS)
    @guarded
    def hwm_connections(self, line: str, cell: str | None = None) -> Table | None:
        """Add connections (YAML, as in hwm.yaml), or list or test those that there are."""
        from hwm_magics.connections.words import did_you_mean
        from hwm_magics.jobs.tables import connections_table

        options = arguments(self.hwm_connections, line)
        if options.help or (cell is not None and not cell.strip()):
            self.show_help(self, "hwm_connections")
            return None
        context = self._context()
        if cell is not None:
            made = context.add_connections(cell)
            self.added.update({each.name: each for each in made})
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
    @guarded
    def hwm_export(self, line: str) -> None:
        """Write a notebook's loads as something that others run: parameterised, pinned, no credentials."""
        from hwm_magics.jobs.context import read_params
        from hwm_magics.jobs.export.targets import export
        from hwm_magics.jobs.this_notebook import find_notebook

        options = arguments(self.hwm_export, line)
        if options.help or options.target is None:
            self.show_help(self, "hwm_export")
            return
        given = {
            key: value for key, value in vars(options).items() if key not in ("help", "file", "param", "out")
        }
        file = Path(options.file) if options.file else find_notebook(self._names)
        out = Path(options.out) if options.out else None
        files, notes = export(file, read_params(options.param), out=out, **given)
        say("\n".join([*map(str, files), *(f"Note: {each}" for each in notes)]))

    @magic(line_magic, *DOCTOR)
    @guarded
    def hwm_doctor(self, line: str) -> Table | None:
        """Look for what keeps loads from working: machine, connections, credentials, cursor columns."""
        from hwm_magics.jobs.context import read_params
        from hwm_magics.jobs.doctor import examine

        options = arguments(self.hwm_doctor, line)
        if options.help:
            self.show_help(self, "hwm_doctor")
            return None
        file = Path(options.file) if options.file else None
        # A notebook's variables are here, so every load can be looked at.
        return examine(
            file,
            params=read_params(options.param),
            context=lambda _values: self._context(),
            loads=tuple(self.seen.values()),
        ).table

    @magic(line_magic, *EXAMPLE)
    @guarded
    def hwm_example(self, line: str) -> Table | None:
        """List working examples of load cells, or make one of them the next cell."""
        from hwm_magics.connections.words import did_you_mean
        from hwm_magics.jobs.tables import Table
        from hwm_magics.notebook.examples import EXAMPLES

        options = arguments(self.hwm_example, line)
        if options.help:
            self.show_help(self, "hwm_example")
            return None
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
    @guarded
    def hwm_debug(self, line: str) -> None:
        """Show the whole traceback of the last error, with what caused it, without secrets."""
        if arguments(self.hwm_debug, line).help:
            self.show_help(self, "hwm_debug")
            return
        from hwm_magics.jobs.failures import debug_text

        jobs = self.last_jobs
        error = self.last_error or (jobs.error if jobs is not None else None)
        say(debug_text(error) if error is not None else "There was no error.")

    def show_help(self, owner: Magics, name: str) -> None:
        """Print a magic's manual page."""
        say(inspect.getdoc(getattr(owner, name)) or "")

    def load_again(
        self, options: argparse.Namespace, spec: LoadSpec, window: tuple[str, str]
    ) -> LoadJob | None:
        """Load a window of a load again: with a card, or at once, as a cell would."""
        from hwm_magics.notebook.cell import make_jobs, perform

        self.last_jobs = self.last_error = None
        context = self._context()
        choice = self._choice(("run",) if options.run else (), context)
        say(choice.line)
        jobs = make_jobs(context.workspace, (replace(spec, backfill=window),), choice, strict=False)
        self.last_jobs = jobs
        front = self._front()
        self._retire([spec.node], front.cell)
        card = perform(jobs, choice, front)
        if card is not None:
            self.cards.append(card)
        jobs[0].brief = True
        return jobs[0]

    def _context(self) -> LoadContext:
        from hwm_magics.jobs.context import LoadContext

        return LoadContext(lookup=self._names.__getitem__, added=self.added.values())

    def _choice(self, flags: tuple[str, ...], context: LoadContext) -> Choice:
        from hwm_magics.notebook.mode import VARIABLE, Surroundings, choose

        kernel = getattr(self.shell, "kernel", None)
        return choose(
            Surroundings(
                flags=flags,
                environment=os.environ.get(VARIABLE, ""),
                config=self.mode,
                project=context.project.defaults.mode or "",
                kernel=kernel is not None,
                allow_stdin=_allow_stdin(kernel),
                terminal=sys.stdin is not None and sys.stdin.isatty(),
            )
        )

    def _front(self, variable: str = "") -> Front:
        from hwm_magics.notebook.cell import Front
        from hwm_magics.notebook.summary import kernel_publisher

        kernel = getattr(self.shell, "kernel", None)
        return Front(
            kernel_publisher, say, input, live=kernel is not None, variable=variable, cell=_cell_id(kernel)
        )

    def loads_of(self, options: argparse.Namespace) -> tuple[LoadContext, tuple[LoadSpec, ...]]:
        """The loads that a line magic is about."""
        from hwm_magics.jobs.context import Overrides, read_params
        from hwm_magics.jobs.load_job import LoadJob
        from hwm_magics.jobs.load_jobs import LoadJobs

        context = self._context()
        overrides = Overrides(tuple(options.node))
        which = options.which
        held = self._names.get(which) if which is not None else None
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
    from hwm_magics.notebook.upkeep_magics import UpkeepMagics

    unload(shell)
    shell.register_magics(HwmMagics)
    loads = shell.magics_manager.registry[HwmMagics.__name__]
    shell.register_magics(UpkeepMagics(shell, loads))
    shell.input_transformers_cleanup.append(keep_bodies)


def unload(shell: Any) -> None:
    """Take them out again, with their configuration."""
    completion.uninstall(shell)
    manager = shell.magics_manager
    for kind in ("line", "cell"):
        for name in [name for name in manager.magics[kind] if name.startswith("hwm_")]:
            del manager.magics[kind][name]
    ours = (HwmMagics.__name__, "UpkeepMagics")
    for name in ours:
        manager.registry.pop(name, None)
    shell.configurables[:] = [each for each in shell.configurables if type(each).__name__ not in ours]
    cleanup = shell.input_transformers_cleanup
    cleanup[:] = [each for each in cleanup if getattr(each, "__name__", "") != keep_bodies.__name__]
