"""The connections that a session knows, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from hwm_magics.connections.base import Connection, DatabaseConnection, StorageConnection
from hwm_magics.connections.objects import ObjectConnection, recognise
from hwm_magics.connections.strings import connection_of_text
from hwm_magics.connections.words import did_you_mean, listed
from hwm_magics.errors import ConfigError

__all__ = ["Connections", "UnusableConnection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusableConnection(Connection):
    """A connection of ``hwm.yaml`` that can't be made here, such as one whose environment variable
    is not set. Only a load that uses it fails.

    Attributes:
        error: What to raise then.
    """

    type: ClassVar[str] = "unusable"
    error: ConfigError


class Connections:
    """Names and the connections they stand for.

    A name of this session wins over the same name in ``hwm.yaml``, and both win over a notebook
    variable.

    Args:
        project: The connections of ``hwm.yaml``.
        lookup: Gives a notebook variable by its name, or raises KeyError; None when there is no
            notebook.
    """

    def __init__(
        self, project: Mapping[str, Connection] | None = None, lookup: Callable[[str], object] | None = None
    ) -> None:
        self._project = dict(project or {})
        self._session: dict[str, Connection] = {}
        self._lookup = lookup

    def add(self, *connections: Connection) -> None:
        """Add connections for this session; one of the same name is replaced."""
        self._session.update({each.name: each for each in connections})

    def remove(self, name: str) -> None:
        """Forget a connection of this session; one of ``hwm.yaml`` comes back into sight."""
        self._session.pop(name, None)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, in order; notebook variables are not among them."""
        return tuple(sorted(self._project.keys() | self._session.keys()))

    def __iter__(self) -> Iterator[Connection]:
        return iter([self._found(name) for name in self.names])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._session or name in self._project)

    def _found(self, name: str) -> Connection:
        return self._session[name] if name in self._session else self._project[name]

    def get(self, name: str) -> Connection:
        """The connection of a name.

        Raises:
            ConfigError: There is none, or it can't be used here.
        """
        if name in self:
            found = self._found(name)
            if isinstance(found, UnusableConnection):
                raise found.error
            return found
        why = ""
        if self._lookup is not None:
            try:
                value = self._lookup(name)
            except LookupError:
                pass
            else:
                found_object = recognise(name, value) or connection_of_text(name, value)
                if found_object is not None:
                    return found_object
                why = f" (the variable {name!r} is a {type(value).__name__}, which is no connection)"
        raise ConfigError(
            f"there is no connection named {name!r}{why}{did_you_mean(name, self.names)}",
            hint=f"known: {listed(self.names)}" if self.names else _HOW_TO_ADD,
        )

    def database(self, name: str) -> DatabaseConnection | ObjectConnection:
        """A connection to read from.

        Raises:
            ConfigError: There is none of that name, or it is storage.
        """
        found = self.get(name)
        if isinstance(found, DatabaseConnection | ObjectConnection):
            return found
        raise ConfigError(
            f"connection {name!r} is storage ({found.type}), and read.connection must be a database",
            hint=self._instead(DatabaseConnection, _HOW_TO_ADD),
        )

    def storage(self, name: str, setting: str = "write.connection") -> StorageConnection:
        """A connection to write to, or to read files from.

        Args:
            name: The connection's name.
            setting: What names it, for messages.

        Raises:
            ConfigError: There is none of that name, or it is a database.
        """
        found = self.get(name)
        if isinstance(found, StorageConnection):
            return found
        raise ConfigError(
            f"connection {name!r} is a database ({found.type}), and {setting} must be storage: "
            "local, adls, s3 or gcs",
            hint=self._instead(StorageConnection, "add one, such as lake: {type: local, root: ./lake}"),
        )

    def _instead(self, family: type[Connection], otherwise: str) -> str:
        names = [each.name for each in self if isinstance(each, family)]
        return f"known: {listed(names)}" if names else otherwise

    def describe(self) -> tuple[dict[str, str], ...]:
        """Every connection as it may be shown, credentials masked, with where it comes from."""
        return tuple(self._described(self.names))

    def _described(self, names: Iterable[str]) -> Iterator[dict[str, str]]:
        for name in names:
            origin = "this session" if name in self._session else "hwm.yaml"
            found = self._found(name)
            if isinstance(found, UnusableConnection):
                yield {"name": name, "type": found.type, "origin": origin, "problem": found.error.message}
            else:
                yield found.describe() | {"origin": origin}


_HOW_TO_ADD = "add it to hwm.yaml under connections:, or to a %%hwm_connections cell"
