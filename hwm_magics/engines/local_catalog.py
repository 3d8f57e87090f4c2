"""Names for tables below a local lake root, in files that people and other engines can read."""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hwm_magics.errors import BlockedError, ConfigError, TargetUnknownError

if TYPE_CHECKING:
    from hwm_magics.connections.local import LocalConnection
    from hwm_magics.core.specs import WriteSpec

__all__ = ["FOLDER", "LocalCatalog", "target_folder"]

FOLDER = "_hwm_catalog"
_NAME = re.compile(r"[^\s./\\'\"`\[\];]+(\.[^\s./\\'\"`\[\];]+){0,2}")


@dataclass(frozen=True, slots=True)
class LocalCatalog:
    """One JSON file a name under ``<root>/_hwm_catalog``, and two listings made of them.

    A name is claimed by creating its file exclusively, so two loads can't register one name for
    two tables. ``spark.sql`` and ``duckdb.sql`` beside the files register all names in a Spark
    session or a DuckDB database.

    Attributes:
        root: The lake's root folder.
    """

    root: Path

    def location(self, name: str) -> Path | None:
        """The folder that a name stands for; None when it is free.

        Raises:
            ConfigError: It is no name.
            TargetUnknownError: The catalog can't be read.
        """
        entry = self._file(name)
        try:
            kept = json.loads(entry.read_text(encoding="utf-8"))
            return (self.root / str(kept["path"])).resolve()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TargetUnknownError(
                f"the catalog entry {entry} can't be read: {error}", hint="mend or remove the file"
            ) from error

    def register(self, name: str, location: Path) -> None:
        """Register a folder under a name; again is fine.

        Args:
            name: ``table``, ``schema.table`` or ``catalog.schema.table``, compared without case.
            location: The table's folder, below the root.

        Raises:
            BlockedError: The name stands for another folder.
        """
        entry = self._file(name)
        entry.parent.mkdir(parents=True, exist_ok=True)
        path = os.path.relpath(location.resolve(), self.root.resolve())
        text = json.dumps({"name": name, "path": path, "format": "delta"}, indent=2) + "\n"
        # A hard link publishes the whole file at once, and only when the name is free.
        handle, temporary = tempfile.mkstemp(dir=entry.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            try:
                os.link(temporary, entry)
            except FileExistsError:
                there = self.location(name)
                if there != location.resolve():
                    raise BlockedError(
                        f"{name} is registered already, for {there}",
                        hint="choose another register_table, or write to the registered path",
                    ) from None
        finally:
            Path(temporary).unlink()
        self._write_listings()

    def names(self) -> dict[str, str]:
        """All names and the folders they stand for, by name."""
        found = {}
        for entry in sorted((self.root / FOLDER).glob("*.json")):
            kept = json.loads(entry.read_text(encoding="utf-8"))
            found[str(kept["name"])] = str((self.root / str(kept["path"])).resolve())
        return found

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} is no table name",
                hint="write table, schema.table or catalog.schema.table, without quotes",
            )
        return self.root / FOLDER / f"{name.lower()}.json"

    def _write_listings(self) -> None:
        spark, duckdb = [], ["INSTALL delta; LOAD delta;"]
        for name, location in self.names().items():
            parts = name.split(".")
            ticked = ".".join(f"`{part}`" for part in parts[-2:])
            quoted = ".".join(f'"{part}"' for part in parts[-2:])
            path = location.replace("'", "''")
            if len(parts) > 1:
                spark.append(f"CREATE SCHEMA IF NOT EXISTS `{parts[-2]}`;")
                duckdb.append(f'CREATE SCHEMA IF NOT EXISTS "{parts[-2]}";')
            spark.append(f"CREATE TABLE IF NOT EXISTS {ticked} USING DELTA LOCATION '{path}';")
            duckdb.append(f"CREATE OR REPLACE VIEW {quoted} AS SELECT * FROM delta_scan('{path}');")  # noqa: S608 - quoted above
        for name, rows in (("spark.sql", spark), ("duckdb.sql", duckdb)):
            handle, temporary = tempfile.mkstemp(dir=self.root / FOLDER, prefix=".new-")
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write("\n".join(dict.fromkeys(rows)) + "\n")
            Path(temporary).replace(self.root / FOLDER / name)


def target_folder(storage: LocalConnection, catalog: LocalCatalog, write: WriteSpec) -> Path:
    """The folder of a target: by its path, or by its name where the catalog or the name itself tells.

    Raises:
        ConfigError: It leaves the storage's root, or neither is given.
    """
    if write.path is not None:
        return storage.confine(write.path)
    if write.table is None:
        raise ConfigError("the target has neither write.path nor write.table")
    there = catalog.location(write.table)
    return there if there is not None else storage.confine("/".join(write.table.lower().split(".")))
