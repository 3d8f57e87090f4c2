"""Local folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hwm_magics.connections.base import StorageConnection, path_problem
from hwm_magics.errors import ConfigError

__all__ = ["LocalConnection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalConnection(StorageConnection):
    """A folder on this machine, or on a file system that it mounts.

    Attributes:
        root: The folder's absolute path. It need not exist yet.
    """

    type: ClassVar[str] = "local"

    def confine(self, path: str) -> Path:
        """The absolute path of a folder below the root.

        An absolute path is accepted when it lies below the root. Links are followed.

        Args:
            path: The path as written.

        Raises:
            ConfigError: It leaves the root: by being absolute, by ``..``, or through a symbolic link.
        """
        problem = path_problem(path)
        if problem is not None:
            raise ConfigError(f"{problem} (connection {self.name!r}, root {self.root})")
        root = Path(self.root)
        wanted = root / path
        try:
            real_root, real = root.resolve(), wanted.resolve()
        except (OSError, RuntimeError) as error:
            raise ConfigError(f"the path {path!r} can't be followed below {self.root}: {error}") from None
        if real == real_root:
            raise ConfigError(
                f"the path {path!r} is the root of connection {self.name!r}: name a folder below it"
            )
        if not real.is_relative_to(real_root):
            if wanted.is_relative_to(root):
                why = f"leads out of it through a symbolic link, to {real}"
            else:
                why = "is an absolute path outside of it"
            raise ConfigError(
                f"the path {path!r} must stay below the root of connection {self.name!r} ({self.root}), and {why}",
                hint="write a path below the root, such as raw/orders, or give the connection another root",
            )
        if taken := {"_hwm_catalog", "_delta_log"} & set(real.relative_to(real_root).parts):
            raise ConfigError(
                f"the path {path!r} leads into {', '.join(taken)}, which holds no tables: name another folder"
            )
        above = [each for each in real.parents if each != real_root and each.is_relative_to(real_root)]
        if inside := next((each for each in above if _is_table(each)), None):
            raise ConfigError(
                f"the path {path!r} lies inside of the Delta table {inside.relative_to(real_root)}, whose VACUUM "
                "would remove its files: name a folder beside it"
            )
        return real

    def uri(self, path: str) -> str:
        return str(self.confine(path))


def _is_table(folder: Path) -> bool:
    """Whether a folder holds a Delta log; a folder that can't be looked into is the engine's to tell of."""
    try:
        return (folder / "_delta_log").is_dir()
    except OSError:
        return False
