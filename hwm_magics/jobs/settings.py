"""What a load's configuration comes to, and how it differs from what it came to before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING

from hwm_magics.connections.secrets import scrub
from hwm_magics.errors import HwmError

if TYPE_CHECKING:
    from hwm_magics.connections.registry import Connections
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.jobs.states import Loader

__all__ = ["Reread", "Settings", "changed", "settings_of"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a load's configuration comes to.

    Attributes:
        loader: Plans and loads with it.
        spec: What is asked for.
        told: Every setting by its name, as text, without secrets.
    """

    loader: Loader
    spec: LoadSpec
    told: Mapping[str, str]


Reread = Callable[[], Settings]
"""Reads a load's configuration anew."""


def settings_of(loader: Loader, connections: Connections, spec: LoadSpec) -> Settings:
    """The settings of a load and of its two connections."""
    told = dict(_flat("", spec))
    for name in dict.fromkeys((spec.read.connection, spec.write.connection)):
        try:
            described = connections.get(name).describe()
        except HwmError as error:
            described = {"problem": error.message}
        told.update({f"connection {name}, {key}": value for key, value in described.items()})
    return Settings(loader, spec, {key: scrub(value) for key, value in told.items()})


def changed(before: Settings, now: Settings) -> tuple[tuple[str, str, str], ...]:
    """What is set otherwise now: the setting, as it was, as it is."""
    names = dict.fromkeys((*before.told, *now.told))
    told = ((name, before.told.get(name, "none"), now.told.get(name, "none")) for name in names)
    return tuple(each for each in told if each[1] != each[2])


def _flat(name: str, value: object) -> Iterator[tuple[str, str]]:
    if is_dataclass(value):
        for each in fields(value):
            yield from _flat(f"{name}.{each.name}" if name else each.name, getattr(value, each.name))
    elif isinstance(value, Mapping) and value:
        for key, one in value.items():
            yield from _flat(f"{name}.{key}", one)
    elif value is not None and value not in ("", (), {}):
        yield name, ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
