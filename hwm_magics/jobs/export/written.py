"""The connections of an export as they are written: those of ``hwm.yaml`` and of cells, local paths absolute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwm_magics.config.project import Project, find_file, read_project, under_connections
from hwm_magics.config.yaml_loader import as_mapping, load_yaml
from hwm_magics.jobs.export.params import Asked
from hwm_magics.jobs.self_contained import nodes_of

__all__ = [
    "AnyEnvironment",
    "Written",
    "absolute",
    "is_local",
    "read_written",
    "settings_of",
    "used",
]

_PATHS = {
    "local": ("root", "base_path"),
    "sqlite": ("database",),
    "duckdb": ("database",),
    "gcs": ("service_account",),
}


class AnyEnvironment(dict[str, str]):
    """Has a value for every variable: what matters here is how connections are written, not what they hold."""

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 - the signature of dict.get
        return "1"


@dataclass(frozen=True, slots=True)
class Written:
    """``hwm.yaml`` as it is written."""

    path: Path | None = None
    connections: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder that its relative paths are relative to."""
        return self.path.parent if self.path is not None else Path()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its connections."""
        return tuple(map(str, self.connections))

    def read(self) -> Project:
        """The file as loads see it; its environment variables need not be set.

        Raises:
            ConfigError: With everything that is wrong in it.
        """
        return Project() if self.path is None else read_project(self.path, AnyEnvironment())


def read_written(folder: Path) -> Written:
    """Read the ``hwm.yaml`` in force for a folder."""
    path = find_file(folder)
    if path is None:
        return Written()
    value = load_yaml(path.read_text(encoding="utf-8-sig"), what=str(path), sensitive=True).value
    found = as_mapping(value)
    return Written(path, as_mapping(found.get("connections")), as_mapping(found.get("defaults")))


def absolute(settings: Any, base: Path) -> Mapping[str, Any]:
    """A connection with its local paths absolute: relative ones would mean another place from elsewhere."""
    found = dict(as_mapping(settings))
    for key in _PATHS.get(str(found.get("type")), ()):
        if key in found:
            found[key] = _place(found[key], base)
    if found.get("type") == "sqlite" and isinstance(found.get("attach"), Mapping):
        found["attach"] = {name: _place(each, base) for name, each in found["attach"].items()}
    return found


def _place(value: Any, base: Path) -> Any:
    if not isinstance(value, str) or "${" in value or value.startswith(":memory:"):
        return value
    return str((base / Path(value).expanduser()).resolve())


def is_local(settings: Mapping[str, Any]) -> bool:
    """Whether it lies on this machine's disks."""
    return any(
        key in settings and "${" not in str(settings[key]) and not str(settings[key]).startswith(":memory:")
        for key in _PATHS.get(str(settings.get("type")), ())
    )


def used(asked: list[Asked], project: Written) -> tuple[str, ...]:
    """The connections of ``hwm.yaml`` that the loads name."""
    names: set[str] = set()
    for side in ("read", "write"):
        default = as_mapping(project.defaults.get(side)).get("connection")
        for one in asked:
            for node in nodes_of(one.value):
                name = str(as_mapping(node.get(side)).get("connection", default))
                if "${" in name:
                    return project.names
                names.add(name)
    return tuple(name for name in project.names if name in names)


def settings_of(text: str) -> Iterator[tuple[str, Any]]:
    """The connections of a ``%%hwm_connections`` cell, as written."""
    found = as_mapping(under_connections(load_yaml(text, sensitive=True).value))
    for name, each in found.items():
        yield str(name), as_mapping(each)
