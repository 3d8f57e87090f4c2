"""What fits at a place of a load's YAML, told from the models: keys, words, and which kind of name is meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from hwm_magics.config.connection_models import TYPES
from hwm_magics.config.fields import Flag, Names
from hwm_magics.config.models import (
    IncrementalModel,
    NodeModel,
    PipelineModel,
    ReadModel,
    WriteModel,
    WriteOptionsModel,
)
from hwm_magics.config.yaml_place import Outline, Path, Place, Role

__all__ = ["Fit", "Key", "Kind", "connection_fit", "load_fit", "node_path"]


class Kind(Enum):
    """Names that the models do not know."""

    DATABASE = "database"
    STORAGE = "storage"
    TABLE = "table"
    COLUMN = "column"
    SQL = "sql"
    """Text in which tables and columns are named."""
    NODE = "node"
    FUNCTION = "function"


@dataclass(frozen=True, slots=True)
class Key:
    """A key that may be written.

    Attributes:
        name: As it stands in YAML.
        block: Whether settings stand below it.
    """

    name: str
    block: bool = False


@dataclass(frozen=True, slots=True)
class Fit:
    """What fits at a place.

    Attributes:
        keys: Keys that are not there yet, in the order of the reference.
        words: The words that a setting takes.
        kind: What else is named there; None for nothing that could be looked up.
        taken: What stands in the same list already.
    """

    keys: tuple[Key, ...] = ()
    words: tuple[str, ...] = ()
    kind: Kind | None = None
    taken: frozenset[str] = frozenset()


_NOTHING = Fit()
# Spellings that are accepted and not recommended, and what can't be used yet.
_NOT_OFFERED = re.compile(r"Another (spelling|place|way)|without effect")
_WORDS: dict[tuple[type[BaseModel], str], tuple[str, ...]] = {
    (WriteModel, "format"): ("delta",),
    (ReadModel, "partition"): ("auto",),
    (IncrementalModel, "unit"): ("hour", "day", "week", "month", "year"),
}
_KINDS: dict[tuple[str, ...], Kind] = {
    ("read", "connection"): Kind.DATABASE,
    ("read", "table"): Kind.TABLE,
    ("read", "columns"): Kind.COLUMN,
    ("read", "partition", "column"): Kind.COLUMN,
    ("read", "incremental", "column"): Kind.COLUMN,
    ("read", "incremental", "key_column"): Kind.COLUMN,
    ("read", "incremental", "fallback_column"): Kind.COLUMN,
    ("read", "query"): Kind.SQL,
    ("read", "where"): Kind.SQL,
    ("read", "filter"): Kind.SQL,
    ("read", "options", "query"): Kind.SQL,
    ("read", "options", "filter"): Kind.SQL,
    ("write", "first_run_query"): Kind.SQL,
    ("write", "connection"): Kind.STORAGE,
    ("depends_on",): Kind.NODE,
    ("transform",): Kind.FUNCTION,
    **{
        ("write", *place, name): Kind.COLUMN
        for place in ((), ("options",))
        for name in ("keys", "merge_keys", "partition_by", "cluster_by")
    },
}
_BLOCKS = frozenset({"nodes", "params", "properties"})
_PROPERTY_BLOCKS = ("properties", "table_properties")
# What a Delta table's properties are mostly set to.
_PROPERTIES = (
    "delta.enableChangeDataFeed",
    "delta.logRetentionDuration",
    "delta.deletedFileRetentionDuration",
    "delta.checkpointInterval",
    "delta.appendOnly",
)


def node_path(path: Path) -> Path:
    """The path of the node that a path belongs to: of a list's node, a pipeline's, or the text itself."""
    if path and isinstance(path[0], int):
        return path[:1]
    return path[:2] if path[:1] == ("nodes",) else ()


def load_fit(place: Place, told: Outline) -> Fit:
    """What fits at a place of a load cell.

    Args:
        place: The place.
        told: What the whole text says.
    """
    if place.role is Role.NOWHERE:
        return _NOTHING
    path, node = place.path, node_path(place.path)
    if len(path) == len(node):
        if place.role is Role.VALUE or path == ("nodes",):
            return _NOTHING
        return _node_keys(path, told)
    if path[0] in ("pipeline", "nodes") and not node:
        return _NOTHING
    root = PipelineModel if not node and told.keys(()) & {"pipeline", "nodes"} else NodeModel
    inner: Path = path[len(node) :]
    if place.role is Role.KEY:
        return _keys(_model_at(root, inner), path, told)
    if isinstance(inner[-1], int):
        fit = _value(root, inner[:-1])
        siblings = frozenset(told.text((*path[:-1], each)) for each in told.keys(path[:-1]) - {path[-1]})
        return Fit(words=fit.words, kind=fit.kind, taken=siblings) if _listed(root, inner[:-1]) else _NOTHING
    model = _model_at(root, inner)
    if model is not None or inner[-1] in _PROPERTY_BLOCKS:
        return _keys(model, path, told) if place.role is Role.EITHER else _NOTHING
    return _value(root, inner)


def connection_fit(place: Place, told: Outline) -> Fit:
    """What fits at a place of a cell of connections, or below ``connections:``."""
    path = place.path[1:] if place.path[:1] == ("connections",) else place.path
    whole: Path = place.path[: len(place.path) - len(path)]
    if place.role is Role.NOWHERE or not path or isinstance(path[0], int):
        return _NOTHING
    kind = told.text((*whole, path[0], "type"))
    model = TYPES[kind][0] if kind in TYPES else None
    at_name = len(path) == 1
    if at_name and place.role is not Role.VALUE:
        there = told.keys(place.path)
        keys = (() if "type" in there else (Key("type"),)) + _keys(model, place.path, told).keys
        return Fit(keys=keys)
    if path[1:] == ("type",) and place.role is Role.VALUE:
        return Fit(words=tuple(TYPES))
    return _value(model, path[1:]) if model is not None and place.role is Role.VALUE else _NOTHING


def _node_keys(path: Path, told: Outline) -> Fit:
    there = told.keys(path)
    if path:
        return _keys(NodeModel, path, told)
    if there & {"pipeline", "nodes"}:
        return Fit(keys=(*_keys(PipelineModel, path, told).keys,))
    pipeline = () if there else (Key("pipeline"), Key("nodes", block=True))
    return Fit(keys=_keys(NodeModel, path, told).keys + pipeline)


def _keys(model: type[BaseModel] | None, path: Path, told: Outline) -> Fit:
    if model is None:
        names = _PROPERTIES if path[-1] in _PROPERTY_BLOCKS else ()
        return Fit(keys=tuple(Key(name) for name in names if name not in told.keys(path)))
    there = told.keys(path)
    return Fit(keys=tuple(each for each in _offered(model) if each.name not in there))


@cache
def _offered(model: type[BaseModel]) -> tuple[Key, ...]:
    keys = []
    for name, field in model.model_fields.items():
        below = _model_of(field.annotation)
        if _NOT_OFFERED.search(field.description or "") or (below is not None and not _offered(below)):
            continue
        keys.append(Key(field.alias or name, below is not None or name in _BLOCKS))
    if model is WriteOptionsModel:
        keys += [Key(name) for name in _PROPERTIES]
    return tuple(keys)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _first(annotation: Any, fits: Callable[[Any], bool]) -> Any:
    return next((part for part in _parts(annotation) if fits(part)), None)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    found: type[BaseModel] | None = _first(
        annotation, lambda part: isinstance(part, type) and issubclass(part, BaseModel)
    )
    return found


def _field(root: type[BaseModel], path: Path) -> tuple[type[BaseModel], str, Any] | None:
    """The model, the name and the annotation of a setting."""
    model: type[BaseModel] | None = root
    found = None
    for part in path:
        if model is None:
            return None
        named = {field.alias or name: field for name, field in model.model_fields.items()}
        field = named.get(str(part))
        if field is None:
            return None
        found = (model, str(part), field.annotation)
        model = _model_of(field.annotation)
    return found


def _model_at(root: type[BaseModel], path: Path) -> type[BaseModel] | None:
    if not path:
        return root
    field = _field(root, path)
    return None if field is None else _model_of(field[2])


def _listed(root: type[BaseModel], path: Path) -> bool:
    """Whether a setting takes a list of names."""
    field = _field(root, path)
    if field is None:
        return False
    return Names in get_args(field[2]) or _kind(path) is Kind.NODE


def _kind(path: Path) -> Kind | None:
    return _KINDS.get(tuple(str(part) for part in path))


def _value(root: type[BaseModel], path: Path) -> Fit:
    field = _field(root, path)
    if field is None:
        return _NOTHING
    model, name, annotation = field
    words = _WORDS.get((model, name), ())
    enum = _first(annotation, lambda part: isinstance(part, type) and issubclass(part, StrEnum))
    if enum is not None:
        words = tuple(str(each) for each in enum)
        if (model, name) == (ReadModel, "format"):
            words = tuple(each for each in words if each not in ("csv", "json", "parquet", "delta", "jdbc"))
    elif Flag in get_args(annotation):
        words = ("true", "false")
    return Fit(words=words, kind=_kind(path))
