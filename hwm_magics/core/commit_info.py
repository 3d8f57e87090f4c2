"""What a load writes into the target's log about itself, and how the log is walked back to find it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from hwm_magics.core.cursor import CursorValue
from hwm_magics.core.manifest import FileRecord
from hwm_magics.core.observed import (
    CommitRecord,
    FirstLoad,
    ForeignEvent,
    LateColumn,
    SourceIdentity,
    Watermark,
)
from hwm_magics.core.versions import VERSION_COLUMN
from hwm_magics.errors import TargetUnknownError

__all__ = [
    "FORMAT",
    "SETTLED",
    "LogEntry",
    "Walk",
    "Written",
    "app_id",
    "decode",
    "encode",
    "loads",
    "other_nodes",
    "settled",
    "walk",
    "written",
]

FORMAT = 1
"""The version of the commit info's format. A reader refuses newer ones: it would misread the mark."""

SETTLED = timedelta(minutes=10)
"""How long a transaction may stay open after it took its id, for cursors that count."""

_BEGINNING = '{"hwm_magics"'
_MOST_LOADS = 500

_KEEPS_ROWS = frozenset(
    {
        "OPTIMIZE",
        "VACUUM START",
        "VACUUM END",
        "SET TBLPROPERTIES",
        "UNSET TBLPROPERTIES",
        "ADD COLUMNS",
        "ADD COLUMN",
        "CHANGE COLUMN",
        "CHANGE COLUMNS",
        "RENAME COLUMN",
        "DROP COLUMNS",
        "REPLACE COLUMNS",
        "UPDATE COLUMN METADATA",
        "UPDATE SCHEMA",
        "UPDATE FIELD METADATA",
        "UPDATE TABLE METADATA",
        "ADD CONSTRAINT",
        "DROP CONSTRAINT",
        "ADD FEATURE",
        "DROP FEATURE",
        "UPGRADE PROTOCOL",
        "SET TABLE PROPERTIES",
        "CLUSTER BY",
        "COMPUTE STATS",
        "ANALYZE",
        "REORG",
        "REORG TABLE UPGRADE UNIFORM",
        "CREATE TABLE",
        "EMPTY COMMIT",
    }
)
_REPLACES = frozenset(
    {
        "TRUNCATE",
        "REPLACE TABLE",
        "CREATE OR REPLACE TABLE",
        "REPLACE TABLE AS SELECT",
        "CREATE OR REPLACE TABLE AS SELECT",
        "CLONE",
    }
)


def app_id(node: str) -> str:
    """The Delta transaction's application id of a node."""
    return f"hwm_magics/{node}"


BOOKKEEPING = frozenset({"create", "anchor"})
"""Kinds of our commits that load nothing: the empty table of a first run, and a sequence started anew."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One commit of a Delta log, as far as the walk needs it.

    Attributes:
        version: The version it made.
        timestamp: When, by its writer's clock; None when it does not say.
        operation: Its operation, in capitals; "" when it does not say.
        parameters: Its operation's parameters.
        user_metadata: What it says about itself.
        metrics: Its operation's metrics.
        adds, removes: Whether files with row changes were added and removed. None when the reader
            did not look; the operation's name decides then.
        added_bytes: The size of the files that it added; None when the reader did not look.
    """

    version: int
    timestamp: datetime | None
    operation: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    user_metadata: str | None = None
    metrics: Mapping[str, object] = field(default_factory=dict)
    adds: bool | None = None
    removes: bool | None = None
    added_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Walk:
    """What walking the log back found.

    Attributes:
        loads: The node's commits that still hold, newest first.
        replaced: The node's newest commit whose rows others have since replaced; None when there
            is none.
        events: What others did to the rows since the newest of ``loads`` (or ever, when there are
            none), newest first.
        restores: RESTOREs passed on the way, as sentences.
        other_nodes: Other nodes whose commits were met.
        created: Whether the node's own creation of the empty table was met.
    """

    loads: tuple[CommitRecord, ...] = ()
    replaced: CommitRecord | None = None
    events: tuple[ForeignEvent, ...] = ()
    restores: tuple[str, ...] = ()
    other_nodes: tuple[str, ...] = ()
    created: bool = False


def encode(record: CommitRecord) -> str:
    """The commit info of a commit to be made, as one line of JSON.

    Everything in it is known before the first row is read; counts come from the commit's own
    metrics. The result goes under ``userMetadata``, which Spark and delta-rs both keep and show.
    """
    mark = record.watermark
    kept: dict[str, object] = {
        "hwm_magics": FORMAT,
        "node": record.node,
        "run_id": record.run_id,
        "kind": record.kind,
        "seq": record.seq,
        "low": record.low.to_json() if record.low else None,
        "high": record.high.to_json() if record.high else None,
        "watermark": {"column": mark.column, **mark.value.to_json(), "set": mark.origin == "set"}
        if mark
        else None,
        "source": {"strong": record.source.strong, "epoch": record.source.epoch, "text": record.source.text},
        "plan": record.plan_hash,
        "asked": record.asked_at.isoformat() if record.asked_at else None,
    }
    if record.late_columns:
        kept["late"] = [{"column": each.name, **each.upto.to_json()} for each in record.late_columns]
    if record.floor is not None:
        kept["floor"] = record.floor.to_json()
    if record.first_load is not None:
        first = record.first_load
        kept["first_load"] = {"goal": first.goal.to_json(), "chunk": first.chunk}
    if record.files is not None:
        kept["files"] = record.files.to_json()
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=False)


def decode(entry: LogEntry) -> CommitRecord | None:
    """Read a commit's info.

    Args:
        entry: The commit.

    Returns:
        What it says, or None when the commit is not of hwm_magics.

    Raises:
        TargetUnknownError: It is, and its info is of a newer format or damaged.
    """
    text = entry.user_metadata
    if not text or '"hwm_magics"' not in text:
        return None
    try:
        kept = json.loads(text)
    except ValueError as error:
        # Others' free text may speak of us; what begins as ours is ours.
        if not text.startswith(_BEGINNING):
            return None
        raise _damaged(entry, error) from error
    if not isinstance(kept, dict) or "hwm_magics" not in kept:
        return None
    if kept["hwm_magics"] != FORMAT:
        raise TargetUnknownError(
            f"version {entry.version} was committed by a newer hwm_magics (commit info format "
            f"{kept['hwm_magics']}, this one reads {FORMAT})",
            hint="upgrade with: pip install -U hwm-magics",
        )
    try:
        return _record(entry, kept)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(entry, error) from error


def _damaged(entry: LogEntry, error: Exception) -> TargetUnknownError:
    return TargetUnknownError(
        f"the commit info of version {entry.version} is damaged: {error!r}",
        hint="restore the table to the version before it, or the log from a backup",
    )


def _record(entry: LogEntry, kept: dict[str, object]) -> CommitRecord:
    def value(key: str) -> CursorValue | None:
        raw = kept.get(key)
        return CursorValue.from_json(raw) if isinstance(raw, dict) else None

    mark = value("watermark")
    raw_mark, raw_source = kept.get("watermark"), kept.get("source")
    column = str(raw_mark["column"]) if isinstance(raw_mark, dict) else ""
    source = raw_source if isinstance(raw_source, dict) else {}
    kind = str(kept["kind"])
    by_hand = kind == "mark" or (isinstance(raw_mark, dict) and raw_mark.get("set") is True)
    origin: Literal["commit", "set"] = "set" if by_hand else "commit"
    late = kept.get("late")
    return CommitRecord(
        version=entry.version,
        committed_at=entry.timestamp,
        node=str(kept["node"]),
        run_id=str(kept["run_id"]),
        kind=kind,
        seq=int(str(kept["seq"])),
        low=value("low"),
        high=value("high"),
        watermark=Watermark(column, mark, origin) if mark else None,
        source=SourceIdentity(
            str(source.get("strong", "")), str(source.get("epoch", "")), str(source.get("text", ""))
        ),
        plan_hash=str(kept.get("plan", "")),
        asked_at=datetime.fromisoformat(str(kept["asked"])) if kept.get("asked") else None,
        metrics=dict(entry.metrics),
        late_columns=tuple(
            LateColumn(str(each["column"]), CursorValue.from_json(each))
            for each in (late if isinstance(late, list) else ())
        ),
        floor=value("floor"),
        first_load=_first_load(kept.get("first_load")),
        files=FileRecord.from_json(files) if isinstance(files := kept.get("files"), dict) else None,
    )


def _first_load(raw: object) -> FirstLoad | None:
    if not isinstance(raw, dict):
        return None
    return FirstLoad(CursorValue.from_json(raw["goal"]), int(str(raw["chunk"])))


@dataclass(frozen=True, slots=True)
class Written:
    """What a commit's own metrics say that it wrote; None where they don't say.

    Attributes:
        rows: Rows written (for a MERGE: inserted and updated).
        updated: Of those, rows that replaced another.
        files: Files added.
    """

    rows: int | None
    updated: int | None
    files: int | None


def written(metrics: Mapping[str, object]) -> Written:
    """Read a commit's metrics, as delta-rs or Spark write them."""

    def number(*names: str) -> int | None:
        found = next((metrics[name] for name in names if metrics.get(name) is not None), None)
        return None if found is None else int(str(found))

    inserted = number("num_target_rows_inserted", "numTargetRowsInserted")
    updated = number("num_target_rows_updated", "numTargetRowsUpdated")
    rows = number("num_added_rows", "numOutputRows") if inserted is None else inserted + (updated or 0)
    files = number("num_added_files", "num_target_files_added", "numFiles", "numTargetFilesAdded")
    return Written(rows, updated, files)


def walk(entries: Iterable[LogEntry], node: str) -> Walk:
    """Walk a log back from a version to the node's last load that still holds.

    A commit of the node gives the mark. A RESTORE to version n continues at n; one to a moment
    continues there too, and is noted as a change as well, since writers differ on which clock
    and zone tells the version. What keeps the rows (OPTIMIZE, VACUUM, property changes) is passed
    over; what others did to the rows is noted; where others replaced all rows, loads before that
    hold no longer. Where files tell what is new, the walk goes on to the load that names all of
    them. For cursors that count, the walk goes on to a load that was committed
    :data:`SETTLED` before the newest one asked its source.

    Args:
        entries: The log's commits, newest first, without gaps.
        node: The node.

    Returns:
        What was found.

    Raises:
        TargetUnknownError: A commit's info can't be read.
    """
    loads: list[CommitRecord] = []
    events: list[ForeignEvent] = []
    restores: list[str] = []
    others: list[str] = []
    replaced: CommitRecord | None = None
    cut = False
    created = False
    for entry in _holding(entries, restores):
        record = decode(entry)
        if record is not None and record.node != node and record.node not in others:
            others.append(record.node)
        if record is not None and record.node == node:
            if record.kind in BOOKKEEPING:
                created = created or record.kind == "create"
                continue
            if cut:
                replaced = record
                break
            loads.append(record)
            if record.kind in ("full_reload", "first_run") or _enough(loads):
                break
            continue
        event = _event(entry)
        if event is None:
            continue
        if not loads:
            events.append(event)
        if event.effect == "replaces":
            if loads:
                break
            cut = True
    return Walk(tuple(loads), replaced, tuple(events), tuple(restores), tuple(others), created)


def loads(entries: Iterable[LogEntry]) -> Iterator[CommitRecord]:
    """The loads that a log tells of, of all nodes, in its order."""
    records = (decode(entry) for entry in entries)
    return (record for record in records if record is not None and record.kind not in BOOKKEEPING)


def other_nodes(entries: Iterable[LogEntry], node: str) -> tuple[str, ...]:
    """All other nodes that a log tells of, newest first, whether or not their rows still stand."""
    records = (decode(entry) for entry in entries)
    return tuple(
        dict.fromkeys(record.node for record in records if record is not None and record.node != node)
    )


def _enough(loads: list[CommitRecord]) -> bool:
    if loads[0].files is not None:
        oldest = loads[-1].files
        return oldest is None or oldest.full
    mark = loads[0].watermark
    if (
        mark is None
        or mark.column == VERSION_COLUMN
        or mark.value.type.is_time
        or loads[-1].kind == "mark"
        or len(loads) >= _MOST_LOADS
    ):
        return True
    return settled(loads) is not None


def settled(loads: Sequence[CommitRecord]) -> CommitRecord | None:
    """The newest load below whose mark no transaction can still have been open.

    Whatever was open when the newest load asked its source may commit later with an id below that
    load's mark. Its id was taken at most :data:`SETTLED` before that moment, and so after any load
    that had been committed by then.

    Args:
        loads: The node's loads, newest first.

    Returns:
        The load; None when none is old enough.
    """
    # A backfill reads another window, so it has not seen what was open above it.
    reading = [load for load in loads if load.kind != "backfill"]
    asked = reading[0].asked_at if reading else None
    if asked is None:
        return None
    old = (
        load
        for load in reading[1:]
        if load.watermark is not None
        and load.committed_at is not None
        and asked - load.committed_at >= SETTLED
    )
    return next(old, None)


def _holding(entries: Iterable[LogEntry], restores: list[str]) -> Iterator[LogEntry]:
    """The commits that the newest version rests on: a RESTORE skips those it undid."""
    upto: int | None = None
    since: datetime | None = None
    for entry in entries:
        if upto is not None and entry.version > upto:
            continue
        if since is not None and entry.timestamp is not None and entry.timestamp > since:
            continue
        if entry.operation != "RESTORE":
            yield entry
            continue
        version = entry.parameters.get("version")
        if version not in (None, "", "null"):
            upto = int(str(version))
            restores.append(f"version {entry.version} restored version {upto}")
            continue
        moment = entry.parameters.get("timestamp") or entry.parameters.get("datetime")
        since = _moment(moment, entry)
        restores.append(f"version {entry.version} restored the table as of {since:%Y-%m-%d %H:%M:%S.%f}")
        yield entry


def _moment(raw: object, entry: LogEntry) -> datetime:
    text = str(raw)
    try:
        if text.isdigit():
            return datetime.fromtimestamp(
                int(text) / 1000, tz=entry.timestamp.tzinfo if entry.timestamp else None
            )
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise TargetUnknownError(
            f"version {entry.version} is a RESTORE to {text!r}, which names no version",
            hint="restore the table once more, to the same version by its number",
        ) from None
    if moment.tzinfo is None and entry.timestamp is not None:
        moment = moment.replace(tzinfo=entry.timestamp.tzinfo)
    return moment


def _event(entry: LogEntry) -> ForeignEvent | None:
    effect = _effect(entry)
    if effect is None:
        return None
    when = f" at {entry.timestamp:%Y-%m-%d %H:%M:%S}" if entry.timestamp else ""
    words = {"adds": "added rows", "removes": "changed or removed rows", "replaces": "replaced all rows"}
    text = f"version {entry.version} ({entry.operation or 'unnamed operation'}{when}) {words[effect]}"
    return ForeignEvent(entry.version, entry.operation, effect, text)


def _effect(entry: LogEntry) -> Literal["adds", "removes", "replaces"] | None:
    operation = entry.operation
    if operation in _KEEPS_ROWS:
        return None
    if operation in _REPLACES:
        return "replaces"
    if operation in ("WRITE", "CREATE TABLE AS SELECT", "STREAMING UPDATE", "COPY INTO", "CONVERT"):
        mode = str(entry.parameters.get("mode") or entry.parameters.get("outputMode") or "").lower()
        if mode in ("overwrite", "complete"):
            partial = _given(entry.parameters.get("predicate")) or _given(
                entry.parameters.get("partitionOverwriteMode")
            )
            return "removes" if partial else "replaces"
        return None if entry.adds is False else "adds"
    if operation == "RESTORE":
        return "removes"
    if operation == "DELETE":
        return "removes" if _given(entry.parameters.get("predicate")) else "replaces"
    if entry.adds is None and entry.removes is None:
        return "removes"
    if entry.removes:
        return "removes"
    return "adds" if entry.adds else None


def _given(predicate: object) -> bool:
    return str(predicate if predicate is not None else "").strip().lower() not in (
        "", "[]", "null", "none", "true", '["true"]', "static",
    )  # fmt: skip
