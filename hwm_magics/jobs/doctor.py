"""What keeps a machine, its connections and a file's loads from working, and what to do about each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hwm_magics.connections.secrets import scrub
from hwm_magics.connections.sql import SqlConnection
from hwm_magics.core.cursor import Scalar
from hwm_magics.core.observed import Existence
from hwm_magics.core.words import counted
from hwm_magics.errors import ConfigError, CursorColumnError, HwmError
from hwm_magics.jobs.checks import Check, State
from hwm_magics.jobs.context import LoadContext
from hwm_magics.jobs.drivers import EXTRAS, Need, all_needs
from hwm_magics.jobs.examined import Examined, read_examined
from hwm_magics.jobs.failures import sealed
from hwm_magics.jobs.machine import extras, machine, package
from hwm_magics.jobs.tables import Table

if TYPE_CHECKING:
    from hwm_magics.core.specs import LoadSpec

__all__ = ["Health", "examine"]

PATIENCE = 30.0
"""How long a connection may take to answer, in seconds."""


@dataclass(frozen=True, slots=True)
class Health:
    """What a look at everything gave.

    Attributes:
        checks: Every check, in the order in which things depend on each other.
    """

    checks: tuple[Check, ...] = field(default_factory=tuple)

    @property
    def well(self) -> bool:
        """Whether nothing is bad."""
        return all(check.state is not State.BAD for check in self.checks)

    @property
    def table(self) -> Table:
        """The checks as a table, secrets masked."""
        rows = [
            tuple(" ".join(scrub(cell).split()) for cell in (c.state.value, c.area, c.name, c.seen, c.do))
            for c in self.checks
        ]
        bad = sum(check.state is State.BAD for check in self.checks)
        title = "All is well" if not bad else f"{counted(bad, 'thing')} to see to"
        return Table(title, ("state", "of", "what", "seen", "what to do"), tuple(rows))

    @property
    def text(self) -> str:
        """The checks as plain text, a line each, with what to do below it; secrets masked."""
        table = self.table
        width = max((len(row[1]) for row in table.rows), default=0)
        lines = [table.title]
        for state, area, name, seen, do in table.rows:
            lines.append(f"  {state:<4}  {area.ljust(width)}  {name}: {seen}")
            lines += [f"        {' ' * width}  → {do}"] if do else []
        return "\n".join(lines)

    def to_dict(self) -> dict[str, object]:
        """The checks as JSON-ready values, secrets masked."""
        told = [
            {
                "state": check.state.value,
                "area": check.area,
                "name": check.name,
                "seen": scrub(check.seen),
                "do": scrub(check.do),
            }
            for check in self.checks
        ]
        return {"well": self.well, "checks": told}


def examine(
    file: Path | None = None,
    *,
    params: Mapping[str, Scalar] | None = None,
    context: Callable[[Callable[[str], object] | None], LoadContext] | None = None,
    loads: Iterable[LoadSpec] = (),
    patience: float = PATIENCE,
) -> Health:
    """Look at this machine, and at a file where one is named. Nothing is written.

    Args:
        file: A notebook or a YAML file; None for the machine and the connections alone.
        params: Values for ``${name}``.
        context: Makes the surroundings of the loads, given where names are looked up; default: hwm.yaml's.
        loads: Loads that are known already, to look at where no file is named.
        patience: How long a connection may take to answer, in seconds.
    """
    return Health(tuple(_Doctor(file, params or {}, context, tuple(loads), patience).checks()))


class _Doctor:
    def __init__(
        self,
        file: Path | None,
        params: Mapping[str, Scalar],
        context: Callable[[Callable[[str], object] | None], LoadContext] | None,
        loads: tuple[LoadSpec, ...],
        patience: float,
    ) -> None:
        self.file = file
        self.params = params
        self.make = context or self._context
        self.given = loads
        self.patience = patience

    def _context(self, lookup: Callable[[str], object] | None) -> LoadContext:
        return LoadContext(self.file.absolute().parent if self.file is not None else None, lookup=lookup)

    def checks(self) -> Iterator[Check]:
        yield from machine()
        try:
            found = read_examined(self.file, self.make, self.params)
        except HwmError as error:
            yield from extras(frozenset())
            yield _failed("project" if self.file is None else "file", _name(self.file), error)
            return
        loads = found.loads or self.given
        names = self._names(found, loads)
        needed, packages = self._needed(found, loads, names)
        yield from extras(needed)
        yield from (package(need) for need in packages)
        yield self._project(found)
        yield from self._file(found)
        reached = dict(self._reach(found.context, names))
        yield from (
            Check("connection", name, State.OK if told == "ok" else State.BAD, told)
            for name, told in reached.items()
        )
        for spec in loads:
            yield from self._load(found.context, spec, reached)

    def _names(self, found: Examined, loads: tuple[LoadSpec, ...]) -> tuple[str, ...]:
        """The connections in question: those of the loads, or all where there is none."""
        if self.file is None and not loads:
            return found.context.connections.names
        used = [name for spec in loads for name in (spec.read.connection, spec.write.connection)]
        return tuple(dict.fromkeys((*found.added, *used)))

    def _needed(
        self, found: Examined, loads: tuple[LoadSpec, ...], names: tuple[str, ...]
    ) -> tuple[frozenset[str], tuple[Need, ...]]:
        engines = [spec.engine for spec in loads]
        if any(spec.read.path is not None and spec.engine != "spark" for spec in loads):
            engines.append("files")
        connections: list[tuple[str, Mapping[str, object]]] = []
        for name in names:
            if name in found.context.connections:
                try:
                    connection = found.context.connections.get(name)
                except ConfigError:
                    continue
                settings = (
                    {"url": connection.url}
                    if isinstance(connection, SqlConnection)
                    else connection.describe()
                )
                connections.append((connection.type, settings))
        extras, packages = all_needs(connections, engines)
        return extras & EXTRAS.keys(), packages

    def _project(self, found: Examined) -> Check:
        path = found.context.project.path
        if path is None:
            return Check("project", "hwm.yaml", State.NOTE, f"none at or above {found.context.start}")
        return Check("project", "hwm.yaml", State.OK, str(path))

    def _file(self, found: Examined) -> Iterator[Check]:
        for where, finding in found.credentials:
            yield Check(
                "credentials",
                where,
                State.BAD,
                str(finding),
                "write ${env:NAME} or ${secret:scope/key}, and change the credential",
            )
        if self.file is None:
            return
        if not found.credentials:
            yield Check("credentials", self.file.name, State.OK, "no literal ones")
        if found.notebook is not None:
            told = "its loads are enough for a job, without a kernel"
            if found.reasons:
                told = f"a job runs all its code in a kernel: {found.reasons[0]}"
            yield Check("file", self.file.name, State.OK, told)
        for error in found.errors:
            yield _failed("file", self.file.name, error)
        for name in found.skipped:
            yield Check(
                "file", self.file.name, State.NOTE, f"{name}: not looked at, because it needs the notebook's code",
                "%hwm_doctor in the notebook looks at it",
            )  # fmt: skip

    def _reach(self, context: LoadContext, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """Try all at once: one that does not answer must not hide the others."""
        answers: dict[str, str] = {}

        def ask(name: str) -> None:
            answers[name] = context.test(name)

        # Daemons: a driver that never gives up must not keep this process from ending.
        threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in names]
        for thread in threads:
            thread.start()
        end = time.monotonic() + self.patience
        for name, thread in zip(names, threads, strict=True):
            thread.join(max(0.0, end - time.monotonic()))
            yield name, answers.get(name, f"no answer within {self.patience:g} s")

    def _load(self, context: LoadContext, spec: LoadSpec, reached: Mapping[str, str]) -> Iterator[Check]:
        area = f"load {spec.node}"
        lost = [name for name in (spec.read.connection, spec.write.connection) if reached.get(name) != "ok"]
        if spec.read.connection not in lost:
            yield from _source(context, spec, area)
        if spec.write.connection not in lost:
            yield _target(context, spec, area)
        for name in dict.fromkeys(lost):
            yield Check(area, "source" if name == spec.read.connection else "target", State.NOTE,
                        f"not looked at: see connection {name}")  # fmt: skip


def _name(file: Path | None) -> str:
    return file.name if file is not None else "hwm.yaml"


def _failed(area: str, name: str, error: BaseException) -> Check:
    told = sealed(error)
    seen = told.message
    if isinstance(told, ConfigError) and told.problems:
        seen = "; ".join(
            f"{seen}: {each.message} (line {each.line})" if each.line else each.message
            for each in told.problems
        )
    return Check(area, name, State.BAD, seen, (told.hint or "").replace("\n", " "))


def _source(context: LoadContext, spec: LoadSpec, area: str) -> Iterator[Check]:
    from hwm_magics.jobs.cursor_report import cursor_report

    try:
        with context.workspace.source(spec) as source:
            remarks = cursor_report(spec, source)
    except CursorColumnError as error:
        yield _failed(area, "cursor column", error)
        return
    except Exception as error:  # noqa: BLE001 - every outcome is a row of the table
        yield _failed(area, "source", error)
        return
    column = spec.read.cursor.column if spec.read.cursor is not None else ""
    for each in remarks:
        name = f"{column} {each.what}".strip()
        state = State.BAD if each.bad else State.NOTE if each.do else State.OK
        yield Check(area, name, state, each.seen, each.do)


def _target(context: LoadContext, spec: LoadSpec, area: str) -> Check:
    try:
        status = context.workspace.status(spec)
    except Exception as error:  # noqa: BLE001 - every outcome is a row of the table
        return _failed(area, "target", error)
    if status.existence is Existence.UNKNOWN:
        return Check(
            area, "target", State.BAD, f"{status.location}: {status.evidence}", "mend what the evidence names"
        )
    mark = (
        f"; watermark {status.watermark.column} = {status.watermark}" if status.watermark is not None else ""
    )
    version = f", version {status.version}" if status.version is not None else ""
    return Check(area, "target", State.OK, f"{status.location}: {status.existence.value}{version}{mark}")
