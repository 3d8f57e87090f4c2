"""``hwm.yaml``: the connections and defaults of a project.

PyYAML and pydantic are imported only when there is such a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hwm_magics.config.defaults import Defaults
from hwm_magics.connections.base import Connection
from hwm_magics.connections.registry import UnusableConnection
from hwm_magics.errors import ConfigError

if TYPE_CHECKING:
    from hwm_magics.config.interpolation import Names
    from hwm_magics.config.yaml_loader import Document
    from hwm_magics.config.yaml_loader import Path as YamlPath

__all__ = [
    "CONFIG_VARIABLE",
    "FILE_NAME",
    "Project",
    "find_file",
    "find_project",
    "read_connections",
    "read_project",
    "under_connections",
]

FILE_NAME = "hwm.yaml"
CONFIG_VARIABLE = "HWM_MAGICS_CONFIG"
_WHAT_THERE_IS = "connections and defaults"


@dataclass(frozen=True, slots=True)
class Project:
    """What ``hwm.yaml`` says.

    Attributes:
        path: The file; None when there is none.
        connections: Its connections by name. One whose environment variables are not set here is a
            :class:`~hwm_magics.connections.registry.UnusableConnection`.
        defaults: Its defaults.
    """

    path: Path | None = None
    connections: Mapping[str, Connection] = field(default_factory=dict)
    defaults: Defaults = field(default_factory=Defaults)


def find_file(folder: Path | str, environ: Mapping[str, str] | None = None) -> Path | None:
    """The project's file.

    Args:
        folder: Where to begin; the folders above it are looked through as well.
        environ: The environment; ``HWM_MAGICS_CONFIG`` names another file.

    Returns:
        Its absolute path, or None when there is none.

    Raises:
        ConfigError: ``HWM_MAGICS_CONFIG`` names a file that is not there.
    """
    named = (os.environ if environ is None else environ).get(CONFIG_VARIABLE, "").strip()
    if named:
        path = Path(named).expanduser().absolute()
        if not path.is_file():
            raise ConfigError(
                f"{CONFIG_VARIABLE} names {path}, and there is no such file",
                hint=f"correct it, or unset it to look for {FILE_NAME} above the notebook's folder",
            )
        return path
    start = Path(folder).absolute()
    return next((each / FILE_NAME for each in (start, *start.parents) if (each / FILE_NAME).is_file()), None)


def find_project(folder: Path | str, environ: Mapping[str, str] | None = None) -> Project:
    """Find and read the project's file.

    Args:
        folder: Where to begin looking.
        environ: The environment.

    Raises:
        ConfigError: With everything that is wrong in it.
    """
    path = find_file(folder, environ)
    return Project() if path is None else read_project(path, environ)


def read_project(path: Path, environ: Mapping[str, str] | None = None) -> Project:
    """Read one file.

    Raises:
        ConfigError: It can't be read, or with everything that is wrong in it.
    """
    from hwm_magics.config.interpolation import Names
    from hwm_magics.config.validation import raise_problems
    from hwm_magics.config.yaml_loader import load_yaml
    from hwm_magics.connections.words import did_you_mean

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from None
    what = str(path)
    document = load_yaml(text, what=what, sensitive=True)
    value = document.value if document.value is not None else {}
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{what} must hold {_WHAT_THERE_IS}", hint="write connections: and below it a name a line"
        )
    known = ("connections", "defaults")
    for key in value:
        if key not in known:
            tail = did_you_mean(key, known) or f": there are {_WHAT_THERE_IS}"
            document.problems.append(
                document.problem((key,), f"the key {key!r} is not known{tail}", key=True)
            )
    names = Names(environ=os.environ if environ is None else environ)
    connections = _connections(
        value.get("connections"), ("connections",), names, document, path.parent, what, patient=True
    )
    defaults = _defaults(value.get("defaults"), names, document)
    raise_problems(document.problems, what)
    return Project(path, connections, defaults)


def under_connections(value: object) -> object:
    """What a ``%%hwm_connections`` cell holds, which may stand under ``connections:``."""
    if isinstance(value, Mapping) and set(value) == {"connections"}:
        return value["connections"]
    return value


def read_connections(
    text: str | Mapping[str, object],
    *,
    folder: Path | str,
    line_offset: int = 1,
    lookup: Callable[[str], object] | None = None,
    params: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    what: str = "the cell",
) -> tuple[Connection, ...]:
    """The connections of a ``%%hwm_connections`` cell.

    Args:
        text: YAML: a name and its settings, with or without ``connections:`` above them; or the
            mapping that it would give.
        folder: The folder that relative local paths are relative to.
        line_offset: Lines above the text in what the user sees.
        lookup: Gives a notebook variable by its name, or raises LookupError.
        params: Values for ``${name}``.
        environ: The environment.
        what: What the text is, for messages.

    Raises:
        ConfigError: With everything that is wrong, unset environment variables included.
    """
    from hwm_magics.config.interpolation import Names
    from hwm_magics.config.validation import raise_problems
    from hwm_magics.config.yaml_loader import Document, as_yaml, load_yaml

    if isinstance(text, str):
        document = load_yaml(text, offset=line_offset, what=what, sensitive=True)
    else:
        document = Document(as_yaml(text), sensitive=True)
    value = document.value
    if value is None:
        raise ConfigError(
            f"{what} is empty", hint="write, for example:\n      lake: {type: local, root: ./lake}"
        )
    path = ("connections",) if under_connections(value) is not value else ()
    value = under_connections(value)
    names = Names(
        declared=dict(params or {}), lookup=lookup, environ=os.environ if environ is None else environ
    )
    connections = _connections(value, path, names, document, Path(folder).absolute(), what, patient=False)
    raise_problems(document.problems, what)
    return tuple(connections.values())


def _connections(
    value: object,
    path: YamlPath,
    names: Names,
    document: Document,
    base: Path,
    what: str,
    *,
    patient: bool,
) -> dict[str, Connection]:
    """Every connection; with ``patient``, an unset variable spoils only the connection that names it."""
    from hwm_magics.config.connection_models import TYPES, connection_from
    from hwm_magics.config.interpolation import interpolate
    from hwm_magics.config.validation import drop_nothings

    found: dict[str, Connection] = {}
    if value is None:
        return found
    if not isinstance(value, Mapping):
        message = "it must be a mapping: a name, and below it the connection's settings"
        document.problems.append(document.problem(path, message))
        return found
    for name, raw in value.items():
        here = (*path, name)
        if not isinstance(raw, Mapping):
            example = f"{name}: {{type: {next(iter(TYPES))}, …}}"
            document.problems.append(
                document.problem(here, f"it must be a block of settings, such as {example}")
            )
            continue
        before = len(document.problems)
        resolved = interpolate(raw, here, names, document)
        unresolved = document.problems[before:]
        if unresolved and patient:
            del document.problems[before:]
            why = "; ".join(problem.message for problem in unresolved)
            error = ConfigError(f"connection {name!r} of {what} can't be used here: {why}")
            found[name] = UnusableConnection(name=name, error=error)
            continue
        kept, _ = drop_nothings(resolved if isinstance(resolved, dict) else {}, here, document)
        connection = connection_from(name, kept, here, document, base)
        if connection is not None:
            found[name] = connection
    return found


def _defaults(value: object, names: Names, document: Document) -> Defaults:
    from hwm_magics.config.defaults_model import DefaultsModel
    from hwm_magics.config.interpolation import interpolate
    from hwm_magics.config.resolved import resolve_read, resolve_write
    from hwm_magics.config.validation import drop_nothings, validate

    if value is None:
        return Defaults()
    path = ("defaults",)
    if not isinstance(value, Mapping):
        document.problems.append(document.problem(path, "it must be a block: engine, mode, read, write"))
        return Defaults()
    resolved = interpolate(value, path, names, document)
    raw, _ = drop_nothings(resolved if isinstance(resolved, dict) else {}, path, document)
    model, failed = validate(DefaultsModel, raw, path, document)

    def report(place: YamlPath, message: str) -> None:
        if place not in failed:
            document.problems.append(document.problem(place, message))

    if model.read is not None:
        resolve_read(model.read, (*path, "read"), report, lambda *_: None)
    if model.write is not None:
        resolve_write(model.write, (*path, "write"), report)
    read, write = raw.get("read"), raw.get("write")
    return Defaults(
        model.engine.value if model.engine is not None else None,
        model.mode.value if model.mode is not None else None,
        read if isinstance(read, dict) else {},
        write if isinstance(write, dict) else {},
    )
