"""What the target decides where its record, and no cursor column, tells what is new: of files, or of versions."""

from __future__ import annotations

from hwm_magics.core.decided import Decision
from hwm_magics.core.intended import Intent, block
from hwm_magics.core.observed import TargetState
from hwm_magics.core.specs import LoadSpec, WriteMode
from hwm_magics.core.versions import VERSION_COLUMN
from hwm_magics.core.words import counted

__all__ = ["from_manifest", "from_version"]

_SETTLE_FILES = (
    "run %hwm_watermark --adopt to count all files that are there now as loaded, or reload with "
    "--force-first-run"
)


def from_manifest(spec: LoadSpec, target: TargetState) -> Intent:
    """Go on where the record of loaded files ends; without it nothing tells which files are new."""
    write, manifest = spec.write, target.manifest
    told = "; ".join(event.text for event in target.events[:3])
    if target.replaced is not None:
        return block(
            f"others replaced all rows of {write.label} since its last load ({told}): whether its files should be "
            "loaded again can't be told",
            _SETTLE_FILES,
        )
    if manifest is None and target.last_load is not None and target.last_load.files is None:
        return block(
            f"{write.label} holds rows, and its last load (version {target.last_load.version}) did not keep which "
            "files they are of",
            _SETTLE_FILES,
        )
    if manifest is None:
        gone = bool(target.seq or target.forgotten or target.last_load is not None)
        why = (
            "the log that told which files were loaded has expired"
            if gone
            else (f"no load of {spec.node} is recorded in its log")
        )
        return block(
            f"{write.label} holds rows, and {why}: which files of {spec.read.label} are new can't be told",
            _SETTLE_FILES,
        )
    altered = [event.text for event in target.events if event.effect != "adds"]
    changes = "; ".join(altered[:3])
    return Intent(
        Decision.INCREMENTAL,
        f"{write.label} is at version {target.version}, which holds {counted(len(manifest.files), 'file')}",
        warnings=(
            f"others changed the target since the last load, whose files are not read again: {changes}",
        )
        if altered
        else (),
    )


_SETTLE_VERSIONS = (
    "run %hwm_watermark --adopt to count the source's newest version as loaded, or --set VERSION; or reload with "
    "--force-first-run; or use mode: upsert with keys"
)


def from_version(spec: LoadSpec, target: TargetState) -> Intent:
    """Go on above the version that was loaded last; where that is not known, keys tell which rows are new."""
    write, last = spec.write, target.last_load
    mark = last.watermark if last is not None else None
    label = spec.read.label
    told = "; ".join(event.text for event in target.events[:3])
    if target.replaced is not None:
        why = f"others replaced all rows of {write.label} since its last load ({told})"
    elif mark is None or mark.column != VERSION_COLUMN:
        if mark is not None:
            why = f"{write.label} has a watermark of {mark.column}, and none that is a version of {label}"
        elif target.seq or target.forgotten or last is not None:
            why = f"the log of {write.label} no longer tells which version of {label} was loaded"
        else:
            why = f"{write.label} holds rows, and no load of {spec.node} is recorded in its log"
    else:
        altered = "; ".join(event.text for event in target.events if event.effect != "adds")
        unread = (
            f"others changed the target since the last load, and rows are not read again for that: {altered}"
        )
        return Intent(
            Decision.INCREMENTAL,
            f"{write.label} is at version {target.version}, which holds version {mark} of {label}",
            before=mark,
            warnings=(unread,) if altered else (),
        )
    if write.mode is WriteMode.APPEND:
        return block(f"{why}: which rows of {label} are new can't be told", _SETTLE_VERSIONS)
    return Intent(Decision.INCREMENTAL, f"{why}: all rows of {label} are compared by their keys")
