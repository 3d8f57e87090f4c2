"""Whether a Delta table is there: yes, no, or unknown with evidence, and never a guess."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from hwm_magics.engines.delta_log import LogReader
from hwm_magics.engines.local_catalog import LocalCatalog
from hwm_magics.errors import TargetUnknownError, clean_message

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["Address", "local_absence", "open_table"]

_STAGED = re.compile(r"0{20}\.json#\d+|\.{1,2}0{20}\.json\.[\w-]+\.tmp(\.crc)?")
"""What a creation leaves that died just before its commit, by delta-rs or by Spark: the first commit under a
name that is no commit's."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a table lies.

    Attributes:
        uri: What delta-rs opens.
        options: Its storage options.
        folder: The folder, for local storage; None elsewhere.
        catalog: The catalog beside it; None where there is none.
        name: The name to register it under; None for none.
    """

    uri: str
    options: dict[str, str]
    folder: Path | None
    catalog: LocalCatalog | None
    name: str | None


def open_table(address: Address) -> tuple[DeltaTable | None, str]:
    """Open a table.

    Returns:
        The handle and "", or None and how its absence was established.

    Raises:
        TargetUnknownError: Neither its presence nor its absence is certain.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    if address.folder is not None:
        absent = local_absence(address.folder)
        if absent:
            return None, absent
    try:
        table = DeltaTable(address.uri, storage_options=address.options or None)
    except TableNotFoundError as error:
        if address.folder is None:
            return None, f"the storage holds no Delta log at {address.uri}"
        raise TargetUnknownError(
            f"{address.folder} has a _delta_log folder that holds no table: {clean_message(error)}",
            hint="restore the log from a backup, or move the folder away for a first run",
        ) from error
    except Exception as error:
        raise TargetUnknownError(
            f"opening {address.uri} failed: {_told(error)}",
            hint="mend what the message names; a first run is never started on a guess",
        ) from error
    last = LogReader(table).entry(table.version())
    if last is None and table.version() == 0:
        raise TargetUnknownError(
            f"{address.uri} has a log without commits", hint="restore the log from a backup"
        )
    return table, ""


def _told(error: BaseException) -> str:
    """What is wrong with a log, without the reader's own structures."""
    text = clean_message(error, 10_000)
    ends = re.findall(r"\bversion: (\d+)", text)
    if "found gap" in text and len(ends) > 1:
        return f"its log has a gap: commits are missing between version {ends[0]} and version {ends[1]}"
    return clean_message(text)


def local_absence(folder: Path) -> str:
    """How the absence of a local table is established; "" when something is there."""
    try:
        if not folder.exists():
            top = next(parent for parent in folder.parents if parent.exists())
            next(iter(top.iterdir()), None)
            return f"there is no folder {folder}"
        if not folder.is_dir():
            raise TargetUnknownError(f"{folder} is a file, and no Delta table", hint="choose another path")
        names = [entry.name for entry in islice(folder.iterdir(), 1000)]
        if "_delta_log" in names:
            commits = [entry.name for entry in islice((folder / "_delta_log").iterdir(), 1000)]
            if len(names) == 1 and all(_STAGED.fullmatch(name) for name in commits):
                return f"the folder {folder} holds a _delta_log without a commit, and nothing else"
            return ""
    except OSError as error:
        raise TargetUnknownError(
            f"looking at {folder} failed: {error.strerror or error}", hint="check the rights on the folder"
        ) from error
    if names:
        raise TargetUnknownError(
            f"{folder} holds {len(names)} entries ({', '.join(sorted(names)[:3])} …) and no _delta_log: "
            "it is no Delta table",
            hint="choose another path, or move the files away",
        )
    return f"the folder {folder} is empty"
