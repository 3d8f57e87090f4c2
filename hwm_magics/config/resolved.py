"""A load's settings under one name each, whatever spelling they were written in, with defaults below them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, TypeVar

from hwm_magics.config.durations import span
from hwm_magics.config.excerpts import show_value
from hwm_magics.config.fields import option_value
from hwm_magics.config.models import (
    AutoPartition,
    IncrementalMode,
    IncrementalModel,
    PartitionModel,
    ReadModel,
    WriteModel,
)
from hwm_magics.config.yaml_loader import Path, format_path
from hwm_magics.connections.words import did_you_mean, listed
from hwm_magics.core.cursor import Scalar
from hwm_magics.core.specs import (
    Boundary,
    CursorSpec,
    FencePolicy,
    FuturePolicy,
    NullPolicy,
    Partition,
    SchemaPolicy,
    WriteMode,
)

__all__ = ["Cursor", "Read", "Report", "Write", "below", "resolve_read", "resolve_write"]

T = TypeVar("T")
Report = Callable[[Path, str], None]

_DATE_FORMATS = {"iso": None, "sql_server": None, "us": "%m/%d/%Y", "eu": "%d/%m/%Y"}
"""Odibi's names; None for texts that are ISO-8601, which need no format."""


@dataclass(slots=True)
class Cursor:
    """``read.incremental``; attributes as of :class:`~hwm_magics.core.specs.CursorSpec`."""

    column: str | None = None
    fallback: str | None = None
    lag: timedelta | int | None = None
    settle: timedelta | None = None
    initial_value: Scalar = None
    boundary: Boundary | None = None
    future: FuturePolicy | None = None
    nulls: NullPolicy | None = None
    lookback: timedelta | None = None
    date_format: str | None = None
    fence: FencePolicy | None = None

    def spec(self) -> CursorSpec:
        """The cursor as core knows it; the column must be there."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return CursorSpec(**{name: value for name, value in given.items() if value is not None})


@dataclass(slots=True)
class Read:
    """``read``; attributes as of :class:`~hwm_magics.core.specs.ReadSpec`."""

    connection: str | None = None
    format: str | None = None
    table: str | None = None
    query: str | None = None
    columns: tuple[str, ...] | None = None
    where: str | None = None
    cursor: Cursor | None = None
    options: dict[str, object] = field(default_factory=dict)
    partition: Partition | None = None
    path: str | None = None


@dataclass(slots=True)
class Write:
    """``write``; ``places`` says where a setting with several spellings stands."""

    connection: str | None = None
    path: str | None = None
    table: str | None = None
    mode: WriteMode | None = None
    keys: tuple[str, ...] | None = None
    register_table: str | None = None
    first_run_query: str | None = None
    schema: SchemaPolicy | None = None
    partition_by: tuple[str, ...] | None = None
    cluster_by: tuple[str, ...] | None = None
    optimize_write: bool | None = None
    properties: dict[str, str] = field(default_factory=dict)
    chunk: timedelta | int | None = None
    places: dict[str, Path] = field(default_factory=dict)


def below(own: T, default: T) -> T:
    """``own`` with what it leaves open taken from ``default``, block by block."""
    merged: dict[str, Any] = {}
    for each in fields(own):  # type: ignore[arg-type]  # always one of the dataclasses above
        mine, theirs = getattr(own, each.name), getattr(default, each.name)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            merged[each.name] = {**theirs, **mine}
        elif isinstance(mine, Cursor) and isinstance(theirs, Cursor):
            merged[each.name] = below(mine, theirs)
        else:
            merged[each.name] = theirs if mine is None else mine
    return type(own)(**merged)


def _one(report: Report, spellings: Sequence[tuple[Path, T | None]]) -> tuple[T | None, Path]:
    """The value of a setting that can be written in several places."""
    given = [(place, value) for place, value in spellings if value is not None]
    if not given:
        return None, spellings[0][0]
    first_place, first = given[0]
    for place, value in given[1:]:
        if value != first:
            name = format_path(first_place)
            report(
                place, f"it says {show_value(value)}, and {name} says {show_value(first)}: keep one of them"
            )
    return first, first_place


def resolve_read(model: ReadModel, path: Path, report: Report, note: Report) -> Read:
    """``read`` under one name for each setting."""
    options = model.options
    inner = options.query if options is not None else None
    query, _ = _one(report, [((*path, "query"), model.query), ((*path, "options", "query"), inner)])
    where, _ = _one(
        report,
        [
            ((*path, "where"), model.where),
            ((*path, "filter"), model.filter),
            ((*path, "options", "filter"), options.filter if options else None),
        ],
    )
    cursor = None
    if model.incremental is not None:
        cursor = _cursor(model.incremental, (*path, "incremental"), report, note)
    return Read(
        model.connection,
        model.format.value if model.format is not None else None,
        model.table,
        query,
        model.columns,
        where,
        cursor,
        {key: option_value(key, value) for key, value in ((options and options.model_extra) or {}).items()},
        _partition(model.partition, (*path, "partition"), report),
        model.path,
    )


def _partition(model: PartitionModel | None, path: Path, report: Report) -> Partition | None:
    if model is None:
        return None
    if isinstance(model, AutoPartition):
        return Partition(None, 0)
    if model.column is None or model.count is None:
        report(path, "a read in parallel parts needs both: {column: id, count: 8}")
        return None
    if model.count < 1:
        report((*path, "count"), f"{model.count} parts can't be read: write 1 or more")
        return None
    return Partition(model.column, model.count)


def _cursor(model: IncrementalModel, path: Path, report: Report, note: Report) -> Cursor:
    column, _ = _one(report, [((*path, "column"), model.column), ((*path, "key_column"), model.key_column)])
    lags: list[tuple[Path, timedelta | int | None]] = [
        ((*path, "lag"), model.lag),
        ((*path, "watermark_lag"), model.watermark_lag),
    ]
    lag: timedelta | int | None
    lag, lag_place = _one(report, lags)
    if model.state_key is not None:
        note(
            (*path, "state_key"),
            "it has no effect: the watermark is kept in the target, under the node's name",
        )
    if model.fallback_column is not None and model.fallback_column == column:
        report((*path, "fallback_column"), f"it is the cursor column itself ({column}): leave it away")
    lookback = _lookback(model, path, report, note)
    if lookback is not None and lag:
        note(lag_place, "it has no effect with mode: rolling_window, whose window is the lookback")
    return Cursor(
        column,
        model.fallback_column,
        lag,
        model.settle,
        model.initial_value,
        model.boundary,
        model.future,
        model.nulls,
        lookback,
        _date_format(model.date_format, (*path, "date_format"), report),
        model.fence,
    )


def _lookback(model: IncrementalModel, path: Path, report: Report, note: Report) -> timedelta | None:
    here = (*path, "lookback")
    if model.mode is IncrementalMode.STATEFUL:
        for name in ("lookback", "unit"):
            if getattr(model, name) is not None:
                report((*path, name), "it belongs to mode: rolling_window; with mode: stateful write lag")
        return None
    if model.lookback is None:
        if model.mode is IncrementalMode.ROLLING_WINDOW:
            report(here, "mode: rolling_window needs a lookback, such as lookback: 3 with unit: day")
        elif model.unit is not None:
            report(
                (*path, "unit"),
                f"it is the unit of lookback, which is missing: add lookback: 1 for one {model.unit}",
            )
        return None
    if isinstance(model.lookback, timedelta):
        if not model.lookback:
            report(here, "it must be more than 0")
        elif model.unit is not None:
            report(
                (*path, "unit"),
                "lookback has its unit already: leave unit away, or write lookback as a number",
            )
        return model.lookback
    unit = model.unit or "day"
    if model.unit is None:
        note(here, f"it has no unit and is taken as {model.lookback} days")
    try:
        length = span(model.lookback, unit)
    except ValueError as error:
        word = "unit" if "unit" in str(error) else "lookback"
        tail = did_you_mean(unit, ("minute", "hour", "day", "week", "month", "year"))
        report((*path, word), f"{unit!r} is not known{tail}" if tail else str(error))
        return None
    if unit.strip().lower().removesuffix("s") in ("month", "year"):
        note(
            (*path, "unit"),
            f"{model.lookback} {unit} is taken as {length.days} days, the longest that it can be",
        )
    return length


def _date_format(text: str | None, path: Path, report: Report) -> str | None:
    if text is None or "%" in text:
        return text
    name = text.strip().lower()
    if name in _DATE_FORMATS:
        return _DATE_FORMATS[name]
    known = [*_DATE_FORMATS]
    if name.startswith("oracle"):
        report(
            path,
            f"{text!r} does not say how the text is laid out: write it as strptime does, such as '%d-%b-%y'",
        )
    else:
        tail = did_you_mean(text, known)
        report(
            path, f"{text!r} is no format{tail or f': write one such as %Y%m%d, or one of {listed(known)}'}"
        )
    return None


def resolve_write(model: WriteModel, path: Path, report: Report) -> Write:
    """``write`` under one name for each setting."""
    options = model.options
    inside = (*path, "options")

    def both(name: str) -> list[tuple[Path, Any]]:
        inner = getattr(options, name) if options is not None else None
        return [((*path, name), getattr(model, name)), ((*inside, name), inner)]

    keys, keys_place = _one(report, [*both("keys"), *both("merge_keys")])
    partition_by, partition_place = _one(report, both("partition_by"))
    cluster_by, cluster_place = _one(report, both("cluster_by"))
    optimize_write, _ = _one(report, both("optimize_write"))
    merge = options.mergeSchema if options is not None else None
    evolves, _ = _one(
        report, [((*path, "merge_schema"), model.merge_schema), ((*inside, "mergeSchema"), merge)]
    )
    meant = None if evolves is None else SchemaPolicy.EVOLVE if evolves else SchemaPolicy.STRICT
    schema, _ = _one(report, [((*path, "schema"), model.schema_), ((*path, "merge_schema"), meant)])
    return Write(
        model.connection,
        model.path,
        model.table,
        model.mode,
        keys,
        model.register_table,
        model.first_run_query,
        schema,
        partition_by,
        cluster_by,
        optimize_write,
        _properties(model, path, report),
        model.first_run.chunk if model.first_run is not None else None,
        {"keys": keys_place, "partition_by": partition_place, "cluster_by": cluster_place},
    )


def _properties(model: WriteModel, path: Path, report: Report) -> dict[str, str]:
    found: dict[str, str] = {}
    inside: Mapping[str, str] = (model.options.model_extra if model.options is not None else None) or {}
    groups = (
        ((*path, "properties"), model.properties or {}),
        ((*path, "table_properties"), model.table_properties or {}),
        ((*path, "options"), inside),
    )
    known = ("partition_by", "cluster_by", "optimize_write", "keys", "merge_keys", "mergeSchema")
    for place, group in groups:
        for key, value in group.items():
            here = (*place, key)
            if not re.fullmatch(r"delta\.[\w.\-]+", key):
                options = known if place[-1] == "options" else ()
                tail = (
                    did_you_mean(key, options)
                    or f": there are {listed((*options, 'delta.… table properties'))}"
                )
                report(here, f"{key!r} is not known here{tail}")
            elif found.get(key, value) != value:
                report(here, f"the property {key} is set twice, to {found[key]} and to {value}")
            else:
                found[key] = value
    return found
