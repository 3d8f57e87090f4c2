"""Settles the watermark of a load by hand: in a commit without rows."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hwm_magics.core.by_version import version_mark
from hwm_magics.core.cursor import CursorType, CursorValue
from hwm_magics.core.intent import cursor_spec
from hwm_magics.core.manifest import FileRecord
from hwm_magics.core.observed import CommitRecord, LateColumn, TargetState, Watermark
from hwm_magics.core.query import CursorExpression, SourceQuery, prepare
from hwm_magics.core.specs import LoadSpec
from hwm_magics.engines.base import Engine, OpenTarget
from hwm_magics.errors import BlockedError, ConfigError, CursorColumnError, UnsupportedByEngineError

if TYPE_CHECKING:
    from hwm_magics.app import Workspace

__all__ = ["settle"]


def settle(workspace: Workspace, spec: LoadSpec, value: str | None) -> CommitRecord:
    """Settle the watermark: what lies at or below it counts as loaded from now on.

    Args:
        workspace: Where it is loaded from.
        spec: The load.
        value: The new mark as written; None adopts the highest value in the target's data.

    Returns:
        The commit that carries it.

    Raises:
        BlockedError: The target does not exist, or there is nothing to adopt.
        CursorColumnError: The value is not of the cursor's type.
        ConfigError: The load has no cursor column.
    """
    engine = workspace.engine(spec)
    if spec.by_files:
        return _files(workspace, spec, engine, value)
    if spec.by_versions:
        return _numbered(workspace, spec, engine, value)
    query = _query(workspace, spec)
    cursor = cursor_spec(spec, query) if query else spec.read.cursor
    if cursor is None:
        raise ConfigError(
            f"{spec.node} has no cursor column, so it has no watermark to set",
            hint="add read.incremental {column: …}",
        )
    target = workspace.existing(spec, "to set a watermark of")
    state = target.state
    expression = CursorExpression.of(cursor)
    mark = _adopted(target, expression, spec) if value is None else _given(value, target, expression, state)
    record = _by_hand(
        spec,
        state,
        watermark=Watermark(expression.label, mark, "set"),
        late_columns=_still_late(target, expression),
    )
    return _settled(engine, spec, record)


def _files(workspace: Workspace, spec: LoadSpec, engine: Engine, value: str | None) -> CommitRecord:
    """Count the files that are there now as loaded."""
    if value is not None:
        raise ConfigError(
            f"{spec.node} has no cursor column: the record of loaded files tells what is new",
            hint="--adopt counts all files that are there now as loaded",
        )
    from hwm_magics.sources.files import FilesSource

    state = workspace.existing(spec, "to set a watermark of").state
    with workspace.source(spec) as source:
        if not isinstance(source, FilesSource):
            raise UnsupportedByEngineError(
                f"{spec.read.format} has no record of loaded files", hint="use mode: overwrite"
            )
        files = source.present()
    record = _by_hand(
        spec, state, files=FileRecord(files, full=True, count=len(files)), asked_at=workspace.now()
    )
    return _settled(engine, spec, record)


def _numbered(workspace: Workspace, spec: LoadSpec, engine: Engine, value: str | None) -> CommitRecord:
    """Count a version of the source as loaded: one that is named, or the newest."""
    from hwm_magics.sources.delta_versions import DeltaSource

    state = workspace.existing(spec, "to set a watermark of").state
    with workspace.source(spec) as source:
        if not isinstance(source, DeltaSource):
            raise UnsupportedByEngineError(
                f"the {engine.capabilities.engine} engine has no record of versions",
                hint="use engine: pandas",
            )
        newest, identity = source.present()
    number = newest if value is None else _version(value, newest)
    mark = replace(version_mark(number), origin="set")
    return _settled(
        engine, spec, _by_hand(spec, state, watermark=mark, source=identity, asked_at=workspace.now())
    )


def _query(workspace: Workspace, spec: LoadSpec) -> SourceQuery | None:
    if spec.read.cursor is not None:
        return None
    with workspace.source(spec) as source:
        return prepare(spec.read, spec.write, source.dialect)


def _by_hand(spec: LoadSpec, state: TargetState, **given: Any) -> CommitRecord:
    """The record of a mark that a person settles."""
    return CommitRecord(-1, None, spec.node, str(uuid.uuid4()), "mark", state.seq + 1, **given)


def _settled(engine: Engine, spec: LoadSpec, record: CommitRecord) -> CommitRecord:
    """Commit it; what it says then."""
    return replace(record, version=engine.set_watermark(spec, record), committed_at=datetime.now(UTC))


def _version(value: str, newest: int) -> int:
    if not value.isascii() or not value.isdigit() or int(value) > newest:
        raise CursorColumnError(
            f"{value!r} is no version of the source, whose newest is {newest}",
            hint="without a cursor column the watermark is a version; --adopt takes the newest",
        )
    return int(value)


def _still_late(target: OpenTarget, cursor: CursorExpression) -> tuple[LateColumn, ...]:
    """The columns that rows may lack, in terms of the cursor that the mark is of."""
    last = target.state.last_load
    if last is None or not last.late_columns:
        return ()
    if last.watermark is not None and last.watermark.column == cursor.label:
        return last.late_columns
    highest = target.maximum(cursor)
    return tuple(replace(each, upto=highest) for each in last.late_columns) if highest is not None else ()


def _adopted(target: OpenTarget, cursor: CursorExpression, spec: LoadSpec) -> CursorValue:
    found = target.maximum(cursor)
    if found is None:
        raise BlockedError(
            f"{spec.write.label} holds no value in {cursor.label} to adopt",
            hint="set one with %hwm_watermark --set VALUE",
        )
    return found


def _given(value: str, target: OpenTarget, cursor: CursorExpression, state: TargetState) -> CursorValue:
    last = state.last_load
    kind: CursorType | None = None
    if last is not None and last.watermark is not None and last.watermark.column == cursor.label:
        kind = last.watermark.value.type
    if kind is None:
        kind = target.cursor_type(cursor)
    if kind is None:
        raise CursorColumnError(
            f"the target has no column {cursor.column!r}, so the type of its watermark can't be told",
            hint="run the load once, or correct read.incremental.column",
        )
    return kind.value(value)
