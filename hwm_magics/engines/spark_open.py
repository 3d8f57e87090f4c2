"""Where a target lies for Spark, and whether it is there: yes, no, or unknown with evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from hwm_magics.engines.delta_open import local_absence
from hwm_magics.engines.local_catalog import LocalCatalog
from hwm_magics.errors import TargetUnknownError
from hwm_magics.spark.failures import condition, first_line

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["SparkAddress", "location_of", "plain_location", "presence"]

_ABSENT = frozenset({"DELTA_MISSING_DELTA_TABLE", "DELTA_TABLE_NOT_FOUND"})
_NO_PATH = frozenset({"PATH_NOT_FOUND", "DELTA_PATH_DOES_NOT_EXIST"})


@dataclass(frozen=True, slots=True)
class SparkAddress:
    """Where a table lies.

    Attributes:
        reference: What Spark's SQL calls it.
        label: What people call it: its path or its name.
        path: Its path; None for a table that the catalog places.
        folder: The same as a folder of this machine, where Spark runs here; None elsewhere.
        catalog: The local catalog beside it; None where there is none.
        name: The name to register it under; None for none.
        reach: What to do where Spark can't reach its storage; "" for storage of this machine and of a catalog.
    """

    reference: str
    label: str
    path: str | None = None
    folder: Path | None = None
    catalog: LocalCatalog | None = None
    name: str | None = None
    reach: str = ""


def presence(session: SparkSession, address: SparkAddress) -> str:
    """Whether a table is there.

    Args:
        session: The session that is asked.
        address: The table.

    Returns:
        "" when a Delta table is there; otherwise how its absence was established.

    Raises:
        TargetUnknownError: Neither its presence nor its absence is certain.
    """
    if address.folder is not None:
        absent = local_absence(address.folder)
        if absent:
            return absent
        _check_newest(address.folder)
    try:
        there = session.catalog.tableExists(address.reference)
    except Exception as error:
        name = condition(error)
        if name in _ABSENT and address.path is not None:
            return _empty(session, address)
        raise _unknown(address, error) from error
    if not there:
        return f"the catalog has no table {address.label}"
    if address.path is None:
        _require_delta(session, address)
    return ""


def _check_newest(folder: Path) -> None:
    """Refuse a log whose newest commit is empty: Spark would take it for a commit without actions."""
    newest = max((folder / "_delta_log").glob("*.json"), default=None)
    if newest is not None and not newest.stat().st_size:
        raise TargetUnknownError(
            f"{newest.name} is empty", hint="the log is damaged; restore the file from a backup"
        )


def _empty(session: SparkSession, address: SparkAddress) -> str:
    """How the absence of a table at a path is established; files that are no table are no absence."""
    if address.folder is not None:
        raise TargetUnknownError(
            f"{address.folder} has a _delta_log folder that holds no table",
            hint="restore the log from a backup, or move the folder away for a first run",
        )
    try:
        files = session.read.format("binaryFile").option("recursiveFileLookup", "true").load(address.path)
        found = files.select("path").limit(3).collect()
    except Exception as error:
        if condition(error) in _NO_PATH:
            return f"there is nothing at {address.path}"
        raise _unknown(address, error) from error
    if found:
        names = ", ".join(str(row[0]).rpartition("/")[2] for row in found)
        raise TargetUnknownError(
            f"{address.path} holds files ({names} …) and no Delta log: it is no Delta table",
            hint="choose another path, or move the files away",
        )
    return f"the folder {address.path} is empty"


def _require_delta(session: SparkSession, address: SparkAddress) -> None:
    """Views and tables of other formats answer to a name as well."""
    try:
        rows = session.sql(f"DESCRIBE TABLE EXTENDED {address.reference}").collect()
    except Exception as error:
        raise _unknown(address, error) from error
    told = {str(row[0]).strip(): str(row[1]).strip() for row in rows}
    kind, provider = told.get("Type", "").upper(), told.get("Provider", "").lower()
    if kind.endswith("VIEW") or (not provider and "Is_managed_location" not in told and "View Text" in told):
        raise TargetUnknownError(f"{address.label} is a view, and no Delta table", hint="choose another name")
    if not provider:
        raise TargetUnknownError(
            f"{address.label} is a temporary view, and no Delta table", hint="choose another name"
        )
    if provider != "delta":
        raise TargetUnknownError(
            f"{address.label} is a table in the format {provider}, and no Delta table",
            hint="choose another name",
        )


def _unknown(address: SparkAddress, error: Exception) -> TargetUnknownError:
    name = condition(error)
    text = first_line(error)
    hint = "mend what the message names; a first run is never started on a guess"
    if name == "DELTA_PATH_DOES_NOT_EXIST":
        text = f"the catalog knows it, and its files are gone: {text}"
        hint = "restore the files, or drop the table from the catalog for a first run"
    elif address.reach:
        hint = address.reach
    return TargetUnknownError(f"opening {address.label} failed: {text}", hint=hint)


def location_of(session: SparkSession, name: str) -> str | None:
    """The location that a catalog name stands for; None when the name is free.

    Args:
        session: The session that is asked.
        name: A quoted name.

    Raises:
        TargetUnknownError: It can't be told.
    """
    try:
        if not session.catalog.tableExists(name):
            return None
        rows = session.sql(f"DESCRIBE TABLE EXTENDED {name}").collect()
    except Exception as error:
        if condition(error) in ("SCHEMA_NOT_FOUND", "TABLE_OR_VIEW_NOT_FOUND"):
            return None
        raise TargetUnknownError(
            f"looking up {name} failed: {first_line(error)}", hint="check the catalog"
        ) from error
    found = next((str(row[1]) for row in rows if str(row[0]).strip() == "Location"), None)
    return plain_location(found) if found else f"a view or table named {name}"


def plain_location(uri: str) -> str:
    """A location without the scheme of local files, to be compared."""
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme == "file" else uri.rstrip("/")
