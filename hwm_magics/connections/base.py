"""What every connection is: a name, a family, and what may be shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import PurePosixPath
from typing import ClassVar

from hwm_magics.connections.secrets import MASK, Secret, looks_secret
from hwm_magics.errors import ConfigError

__all__ = [
    "Connection",
    "DatabaseConnection",
    "StorageConnection",
    "odbc_string",
    "path_problem",
    "relative_parts",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A named way to a database or to storage.

    Attributes:
        name: Its name in ``hwm.yaml``, in ``%%hwm_connections``, or of the notebook variable.
        type: Its family, as ``type:`` spells it.
    """

    type: ClassVar[str] = ""
    name: str

    def describe(self) -> dict[str, str]:
        """What may be shown of it: every setting that is set, credentials masked."""
        shown: dict[str, str] = {"name": self.name, "type": self.type}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in shown or not each.repr or value is None or value in ("", {}, ()):
                continue
            if isinstance(value, Mapping):
                value = {key: MASK if looks_secret(str(key)) else _shown(one) for key, one in value.items()}
            shown[each.name] = _shown(value)
        return shown


def _shown(value: object) -> str:
    return value.masked if isinstance(value, Secret) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseConnection(Connection):
    """A database to read from.

    Attributes:
        timezone: The IANA zone that times without a zone are in; None when it does not matter.
        options: Options for the driver, as the family's class says.
    """

    timezone: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def dialect(self) -> str:
        """The sqlglot dialect of its SQL; "" when only the database itself can tell."""
        raise NotImplementedError

    def revealed_options(self) -> dict[str, str]:
        """The options as texts, credentials included: for the driver only."""
        return {
            key: value.reveal() if isinstance(value, Secret) else _plain(value)
            for key, value in self.options.items()
        }


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageConnection(Connection):
    """Storage that holds Delta tables; its ``root`` bounds every path beneath it.

    Attributes:
        root: The folder that every path is below.
        options: Further storage options of the delta-rs library.
    """

    root: str = ""
    options: Mapping[str, object] = field(default_factory=dict)

    def uri(self, path: str) -> str:
        """The address of a folder below the root.

        Args:
            path: A relative path.

        Raises:
            ConfigError: The path leaves the root.
        """
        raise NotImplementedError

    def storage_options(self) -> dict[str, str]:
        """Options for delta-rs, credentials revealed: hand them over and keep them nowhere."""
        return {
            key: value.reveal() if isinstance(value, Secret) else _plain(value)
            for key, value in self.options.items()
        }

    def _below_root(self, path: str) -> str:
        """``root/path`` with single slashes, for object stores."""
        below = relative_parts(path, self.name)
        root = [part for part in PurePosixPath(self.root).parts if part != "/"]
        return "/".join([*root, *below])


def path_problem(path: str) -> str | None:
    """What is wrong with a path that must stay below a root, or None.

    Looks at the text only; :meth:`~hwm_magics.connections.local.LocalConnection.confine` looks at
    the disk as well.
    """
    if not path.strip():
        return "the path is empty: name a folder below the connection's root"
    if any(ord(letter) < ord(" ") for letter in path):
        return f"the path {path!r} holds a control character"
    if "://" in path:
        return f"the path {path!r} is a URL: write a path below the connection's root, such as raw/orders"
    parts = path.replace("\\", "/").split("/")
    if ".." in parts:
        return f"the path {path!r} holds '..': a path must stay below the connection's root"
    if path.startswith("~"):
        return (
            f"the path {path!r} begins with '~': write a path below the connection's root, such as raw/orders"
        )
    if not any(part not in ("", ".") for part in parts):
        return f"the path {path!r} is the connection's root itself: name a folder below it"
    return None


def relative_parts(path: str, connection: str) -> list[str]:
    """The parts of a relative path.

    Raises:
        ConfigError: It is absolute, or leaves its root.
    """
    problem = path_problem(path)
    if problem is None and (path.startswith(("/", "\\")) or path[1:2] == ":"):
        problem = f"the path {path!r} is absolute: write a path below the connection's root"
    if problem is not None:
        raise ConfigError(f"{problem} (connection {connection!r})")
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]


def odbc_string(settings: Mapping[str, str]) -> str:
    """An ODBC connection string, with values put in braces where they need them."""
    return "".join(f"{key}={_braced(value)};" for key, value in settings.items())


def _braced(value: str) -> str:
    if value[:1] != "{" and not any(letter in value for letter in ";{}[](),?*=!@") and value == value.strip():
        return value
    return "{" + value.replace("}", "}}") + "}"
