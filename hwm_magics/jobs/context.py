"""Where loads are made: the hwm.yaml in force, the connections, and where names are looked up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwm_magics.config.durations import parse_duration
from hwm_magics.config.project import Project, find_project, read_connections
from hwm_magics.connections.base import Connection, DatabaseConnection
from hwm_magics.connections.objects import ObjectConnection, recognise
from hwm_magics.connections.registry import Connections
from hwm_magics.connections.strings import connection_of_text
from hwm_magics.connections.words import did_you_mean, listed
from hwm_magics.core.cursor import Scalar
from hwm_magics.core.observed import CommitRecord
from hwm_magics.core.specs import LoadSpec, ReadSpec
from hwm_magics.core.statement import Statement
from hwm_magics.errors import ConfigError, HwmError, Problem
from hwm_magics.jobs.notebook_cells import Notebook, read_notebook
from hwm_magics.jobs.order import in_order

if TYPE_CHECKING:
    from hwm_magics.app import Workspace
    from hwm_magics.config.schema import Body

__all__ = [
    "Asked",
    "LoadContext",
    "Overrides",
    "as_connection",
    "check_params",
    "is_notebook",
    "only",
    "override",
    "read_duration",
    "read_file",
    "read_params",
    "read_window",
]

ENGINES = ("auto", "pandas", "spark")


@dataclass(frozen=True, slots=True)
class Overrides:
    """What flags say about loads beside their YAML.

    Attributes:
        nodes: The nodes to take; all when empty.
        engine: Another engine; None for the one written.
        force_first_run: Replace all rows of the target.
        backfill: The window to load again; None for none.
    """

    nodes: tuple[str, ...] = ()
    engine: str | None = None
    force_first_run: bool = False
    backfill: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a text asks for.

    Attributes:
        loads: The loads, each behind those that it depends on.
        known: All of the text's loads, also those that were not taken.
        notes: What is worth knowing and no error.
    """

    loads: tuple[LoadSpec, ...]
    known: tuple[LoadSpec, ...]
    notes: tuple[Problem, ...] = ()


def read_params(given: Iterable[str]) -> dict[str, Scalar]:
    """``K=V`` texts as a mapping. Values stay texts: what they stand for in the YAML gives their type.

    Raises:
        ConfigError: A text has no ``=``, or a name comes twice.
    """
    params: dict[str, Scalar] = {}
    for text in given:
        name, found, value = text.partition("=")
        if not found or not name.isidentifier():
            raise ConfigError(
                f"--param {text!r} is not NAME=VALUE", hint="for example: --param since=2024-01-01"
            )
        if name in params:
            raise ConfigError(f"--param {name} is given twice", hint="keep one of them")
        params[name] = value
    return params


def read_window(text: str) -> tuple[str, str]:
    """``LOW..HIGH`` as two bounds.

    Raises:
        ConfigError: It is not of that form.
    """
    low, found, high = text.partition("..")
    low, high = low.strip(), high.strip()
    if not found or not low or not high or ".." in high:
        raise ConfigError(
            f"--backfill {text!r} is not LOW..HIGH", hint="for example: --backfill 2024-01-01..2024-01-31"
        )
    return low, high


def read_duration(flag: str, text: str, *, example: str) -> timedelta:
    """What a flag says as a duration, such as ``90s`` or ``7d``.

    Raises:
        ConfigError: It is none.
    """
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{flag} {text!r}: {error}", hint=f"for example: {flag} {example}") from None


def only(loads: Sequence[LoadSpec], told: str, *, choose: str = "add --node,") -> LoadSpec:
    """The one load that something is about.

    Args:
        loads: The loads that were taken.
        told: What is wrong where there are several.
        choose: How one of them is chosen.

    Raises:
        ConfigError: There are several.
    """
    if len(loads) != 1:
        raise ConfigError(told, hint=f"{choose} one of {', '.join(load.node for load in loads)}")
    return loads[0]


def as_connection(name: str, given: object) -> Connection | None:
    """An object as a connection; None for a mapping, which has to be read."""
    if isinstance(given, Connection):
        return given
    if isinstance(given, Mapping):
        return None
    found = recognise(name, given) or connection_of_text(name, given)
    if found is None:
        raise ConfigError(
            f"connection {name!r} is a {type(given).__name__}, which is no connection",
            hint="give a mapping as in hwm.yaml, a connection string, an SQLAlchemy engine, or a database connection",
        )
    return found


class LoadContext:
    """Everything around a load.

    Args:
        start: The folder from which hwm.yaml is looked for, upwards; default: the current one.
        lookup: Gives a notebook variable by its name, or raises LookupError.
        connections: More connections by name: mappings as in hwm.yaml, or live objects.
        added: Connections made earlier, such as by another cell.

    Raises:
        ConfigError: hwm.yaml, or a connection, can't be understood.
    """

    def __init__(
        self,
        start: Path | None = None,
        *,
        lookup: Callable[[str], object] | None = None,
        connections: Mapping[str, object] | None = None,
        added: Iterable[Connection] = (),
    ) -> None:
        self.start = (start or Path.cwd()).absolute()
        self.lookup = lookup
        self.project: Project = find_project(self.start)
        self.connections = Connections(self.project.connections, lookup)
        self.connections.add(*added)
        if connections:
            self.add_connections(connections)

    @property
    def workspace(self) -> Workspace:
        """The use cases, on these connections."""
        from hwm_magics.app import Workspace

        return Workspace(self.connections, self.lookup)

    def add_connections(
        self, given: Mapping[str, object] | str, *, line_offset: int = 1, what: str = "the connections"
    ) -> tuple[Connection, ...]:
        """Add connections.

        Args:
            given: YAML text, or mappings and live objects by name.
            line_offset: Lines above the text in what the user sees.
            what: What the text is, for messages.

        Returns:
            Those that were added.

        Raises:
            ConfigError: One can't be understood.
        """
        made: list[Connection] = []
        unread: Mapping[str, object] | str = given
        if not isinstance(given, str):
            objects = {name: as_connection(name, value) for name, value in given.items()}
            made = [each for each in objects.values() if each is not None]
            unread = {name: given[name] for name, each in objects.items() if each is None}
        if unread:
            read = read_connections(
                unread, folder=self.start, line_offset=line_offset, lookup=self.lookup, what=what
            )
            made += read
        self.connections.add(*made)
        return tuple(made)

    def read(
        self,
        source: object,
        overrides: Overrides | None = None,
        *,
        params: Mapping[str, Scalar] | None = None,
        line_offset: int = 0,
        others: Collection[str] = (),
        what: str = "the text",
    ) -> Asked:
        """The loads that a text, file, mapping or spec asks for.

        Args:
            source: YAML text, a path to a YAML file or a notebook, what a notebook holds, a mapping or list, or a
                :class:`LoadSpec`.
            overrides: What flags say beside it.
            params: Values for ``${name}``.
            line_offset: Lines above the text in what the user sees: 1 for a cell's body.
            others: Names of loads that stand elsewhere, and may be depended on.
            what: What it is, for messages.

        Raises:
            ConfigError: It can't be understood.
        """
        flags = overrides or Overrides()
        if isinstance(source, LoadSpec):
            return Asked(in_order(override((source,), flags)), (source,))
        text: Any = source
        if isinstance(source, Path) or (isinstance(source, str) and _is_path(source)):
            path = Path(source)
            text, what = read_file(path), path.name
            if is_notebook(path):
                text = read_notebook(text, what)
        if isinstance(text, Notebook):
            from hwm_magics.jobs.notebook_loads import read_loads

            return read_loads(self, text, flags, params or {})
        body = self.body(
            text,
            params=params or {},
            line_offset=line_offset,
            lookup=self.lookup,
            others=others,
            what=what,
        )
        check_params(params or {}, body.names, what)
        return Asked(in_order(override(body.loads, flags)), body.loads, body.notes)

    def body(
        self,
        text: Any,
        *,
        params: Mapping[str, Scalar],
        line_offset: int,
        lookup: Callable[[str], object] | None,
        others: Collection[str] = (),
        what: str,
    ) -> Body:
        """Everything that a text asks for; arguments as of :func:`hwm_magics.config.schema.read_body`."""
        from hwm_magics.config.schema import read_body

        return read_body(
            text,
            params=params,
            defaults=self.project.defaults,
            line_offset=line_offset,
            lookup=lookup,
            connections=self.connections,
            others=others,
            what=what,
        )

    def history(self, loads: Iterable[LoadSpec], limit: int) -> tuple[str, tuple[CommitRecord, ...]]:
        """What the loads' targets are called, and the loads that their own logs know, newest first.

        Args:
            loads: Loads; a target that several of them share is looked at once.
            limit: At most so many a target.
        """
        targets = {(load.write.connection, load.write.label): load for load in loads}
        workspace = self.workspace
        records = [record for load in targets.values() for record in workspace.history(load, limit)]
        return ", ".join(load.write.label for load in targets.values()), tuple(records)

    def table_exists(self, connection: str, table: str | None = None, path: str | None = None) -> bool:
        """Whether a Delta table is there; see :meth:`hwm_magics.engines.base.Engine.table_exists`."""
        return self.workspace.table_exists(connection, table=table, path=path)

    def test(self, name: str) -> str:
        """Try a connection.

        Returns:
            ``ok``, or what went wrong in one line.
        """
        from hwm_magics.jobs.failures import sealed

        try:
            connection = self.connections.get(name)
            if isinstance(connection, DatabaseConnection | ObjectConnection):
                from hwm_magics.sources.factory import open_source

                with open_source(connection, ReadSpec(name)) as source:
                    dual = " FROM dual" if source.dialect == "oracle" else ""
                    source.scalar(Statement((f"SELECT 1{dual}",)))
            else:
                self.table_exists(name, path="hwm_magics_connection_test")
        except Exception as error:  # noqa: BLE001 - every outcome is a row of the table
            told: HwmError = sealed(error)
            return " ".join(told.message.split())
        return "ok"


def check_params(given: Iterable[str], known: frozenset[str], what: str) -> None:
    """Refuse a param that nothing uses: it is misspelled.

    Raises:
        ConfigError: There is one.
    """
    for name in given:
        if name not in known:
            raise ConfigError(
                f"{what} has no param {name!r}{did_you_mean(name, known)}",
                hint=f"its params: {listed(sorted(known)) or 'none'}",
            )


def is_notebook(path: Path) -> bool:
    """Whether a file is a notebook, by its name."""
    return path.suffix.lower() == ".ipynb"


def _is_path(text: str) -> bool:
    return "\n" not in text and text.strip().lower().endswith((".yaml", ".yml", ".ipynb"))


def read_file(path: Path) -> str:
    """The text of a YAML file or a notebook.

    Raises:
        ConfigError: It can't be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text", hint="name a YAML file or a notebook") from None
    except OSError as error:
        raise ConfigError(
            f"{path} can't be read: {error.strerror or error}", hint=f"the current folder is {Path.cwd()}"
        ) from None


def override(loads: tuple[LoadSpec, ...], flags: Overrides) -> tuple[LoadSpec, ...]:
    """Take the named nodes, and change them as the flags say.

    Raises:
        ConfigError: There is no such node or engine, or the flags don't go together.
    """
    names = [load.node for load in loads]
    for name in flags.nodes:
        if name not in names:
            raise ConfigError(
                f"there is no node named {name!r}{did_you_mean(name, names)}", hint=f"known: {listed(names)}"
            )
    taken = [load for load in loads if not flags.nodes or load.node in flags.nodes]
    if flags.engine is not None and flags.engine not in ENGINES:
        raise ConfigError(
            f"--engine {flags.engine!r} is unknown{did_you_mean(flags.engine, ENGINES)}",
            hint="pandas, spark or auto",
        )
    if flags.force_first_run and flags.backfill is not None:
        raise ConfigError("--force-first-run and --backfill contradict each other", hint="give one of them")
    if (flags.force_first_run or flags.backfill is not None) and len(taken) > 1:
        flag = "--force-first-run" if flags.force_first_run else "--backfill"
        raise ConfigError(
            f"{flag} is for one node, and there are {len(taken)}", hint=f"add --node, one of {listed(names)}"
        )
    changed = []
    for load in taken:
        made = load if flags.engine is None else replace(load, engine=flags.engine)
        if flags.force_first_run:
            made = replace(made, force_first_run=True)
        if flags.backfill is not None:
            made = replace(made, backfill=flags.backfill)
        changed.append(made)
    return tuple(changed)
