"""Short ways to say a load, a target and a source in tests of the plan."""

from __future__ import annotations

from datetime import UTC, datetime

from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue
from hwm_magics.core.observed import (
    Column,
    CommitRecord,
    Existence,
    ForeignEvent,
    SourceState,
    TargetState,
    Watermark,
)
from hwm_magics.core.query import SourceQuery, prepare
from hwm_magics.core.specs import CursorSpec, LoadSpec, ReadSpec, SchemaPolicy, WriteMode, WriteSpec

TIME = CursorType(CursorKind.TIMESTAMP, 6, "timestamp")
NUMBER = CursorType(CursorKind.INTEGER, 0, "bigint")
COLUMNS = (Column("id", "long"), Column("u", "timestamp_ntz"), Column("v", "string"))
COMMITTED = datetime(2024, 6, 1, 12, tzinfo=UTC)
CURSOR = CursorSpec("u")


def at(clock: str, day: int = 1) -> CursorValue:
    """A moment of June 2024."""
    return TIME.value(f"2024-06-{day:02d} {clock}")


def a_spec(
    mode: str = "append",
    *,
    node: str = "orders",
    cursor: CursorSpec | None = CURSOR,
    keys: tuple[str, ...] = (),
    table: str | None = "orders",
    query: str | None = None,
    transform: str | None = None,
    force: bool = False,
    backfill: tuple[str, str] | None = None,
    schema: str = "evolve",
    **write: object,
) -> LoadSpec:
    """A load of the source's orders into the lake's orders."""
    if not keys and mode in ("upsert", "append_once"):
        keys = ("id",)
    return LoadSpec(
        node=node,
        read=ReadSpec("shop", table=None if query else table, query=query, cursor=cursor),
        write=WriteSpec(
            "lake",
            path=str(write.pop("path", "orders")),
            mode=WriteMode(mode),
            keys=keys,
            schema=SchemaPolicy(schema),
            **write,
        ),
        transform=transform,
        force_first_run=force,
        backfill=backfill,
    )


def parsed(spec: LoadSpec, dialect: str = "sqlite") -> SourceQuery:
    """The load's query as its source would parse it."""
    return prepare(spec.read, spec.write, dialect)


def a_load(
    mark: CursorValue | None, *, version: int = 3, kind: str = "incremental", **changes
) -> CommitRecord:
    """One of the node's commits, with its mark."""
    watermark = None
    if mark is not None:
        origin = "set" if kind == "mark" else "commit"
        watermark = Watermark(changes.pop("column", "u"), mark, origin)
    kept = {"asked_at": COMMITTED, **changes}
    return CommitRecord(
        version, COMMITTED, "orders", f"run-{version}", kind, version, watermark=watermark, **kept
    )


def absent() -> TargetState:
    """No table, positively."""
    return TargetState(Existence.ABSENT, "there is no folder /lake/orders", location="/lake/orders")


def unknown(evidence: str = "permission denied") -> TargetState:
    """Nobody can tell."""
    return TargetState(Existence.UNKNOWN, evidence, location="/lake/orders", hint="check the rights")


def there(*loads: CommitRecord, rows: bool = True, **changes) -> TargetState:
    """A table at version 5."""
    kept = {"seq": loads[0].seq if loads else 0, "columns": COLUMNS, **changes}
    return TargetState(
        Existence.EXISTS,
        "its log is at version 5",
        location="/lake/orders",
        version=5,
        table_id="t",
        has_rows=rows,
        loads=loads,
        **kept,
    )


def an_event(operation: str, effect: str, version: int = 5) -> ForeignEvent:
    """What somebody else did."""
    return ForeignEvent(version, operation, effect, f"version {version} ({operation}) {effect} rows")


def a_source(high: CursorValue | None = None, **changes) -> SourceState:
    """What the source answered; by default at noon of 2 June."""
    kept = {
        "dialect": "sqlite",
        "columns": COLUMNS,
        "cursor_type": TIME,
        "now": at("12:00:00", 2),
        "count": 7 if high is not None else 0,
        "nulls": 0,
        "future": 0,
        "top": high,
        **changes,
    }
    return SourceState(high=high, **kept)
