"""pydantic's verdicts as problems with lines and plain words, all of them, and what is left without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hwm_magics.config.excerpts import SHOWABLE, show_value
from hwm_magics.config.models import (
    IncrementalModel,
    NodeModel,
    PipelineModel,
    ReadModel,
    WriteModel,
    WriteOptionsModel,
)
from hwm_magics.config.yaml_loader import Document, Path
from hwm_magics.connections.secrets import MASK
from hwm_magics.connections.words import listed, near_miss
from hwm_magics.errors import ConfigError, Problem

__all__ = ["drop_nothings", "raise_problems", "unknown_key", "validate"]

M = TypeVar("M", bound=BaseModel)

_FREE = frozenset({"params", "options"})

_HOMES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("the pipeline", PipelineModel),
    ("the node", NodeModel),
    ("read", ReadModel),
    ("read.incremental", IncrementalModel),
    ("write", WriteModel),
    ("write.options", WriteOptionsModel),
)

_ELSEWHERE = {
    "source": "the source is described under read:",
    "target": "the target is described under write:",
    "destination": "the target is described under write:",
    "sink": "the target is described under write:",
    "cursor": "the cursor column is read.incremental.column",
    "cursor_column": "the cursor column is read.incremental.column",
    "cursor_field": "the cursor column is read.incremental.column",
    "watermark_column": "the cursor column is read.incremental.column",
    "hwm_column": "the cursor column is read.incremental.column",
    "watermark": "the cursor column is read.incremental.column",
    "unique_key": "the columns that identify a row are write.keys",
    "primary_key": "the columns that identify a row are write.keys",
    "key": "the columns that identify a row are write.keys",
    "upsert_keys": "the columns that identify a row are write.keys",
    "zorder_by": "write cluster_by instead",
    "z_order": "write cluster_by instead",
    "auto_optimize": "write optimize_write: true instead",
    "overwrite_schema": "it has no counterpart: a changed type is never written over silently",
    "sql_file": "it is not in this version yet: put the SQL under read.query",
    "streaming": "it is not in this version yet",
    "time_travel": "it is not in this version yet",
    "schema_ddl": "it is not in this version yet",
    "archive_options": "it is not in this version yet",
    "add_metadata": "it is not in this version yet",
    "skip_if_unchanged": "it has no counterpart: a load with nothing new commits nothing",
    "delete_detection": "it is not in this version yet",
    "delete_missing": "it is not in this version yet",
    "transformer": "it has no counterpart: transform: names a function",
    "validation": "it is not in this version yet",
    "connections": "connections stand in hwm.yaml or in a %%hwm_connections cell",
    "defaults": "defaults stand in hwm.yaml",
}


def raise_problems(problems: Iterable[Problem], what: str, hint: str | None = None) -> None:
    """Raise what is wrong, in the order of the text; nothing when nothing is."""
    unique = list(dict.fromkeys(problems))
    if not unique:
        return
    unique.sort(key=lambda each: each.line if each.line is not None else 1 << 30)
    count = "one problem" if len(unique) == 1 else f"{len(unique)} problems"
    raise ConfigError(f"{count} in {what}", tuple(unique), hint=hint)


def drop_nothings(
    raw: Mapping[str, object], path: Path, document: Document
) -> tuple[dict[str, object], set[Path]]:
    """Take out the settings that have no value; in a text each is a problem.

    Returns:
        The others, and where those without a value stand.
    """
    nothings: set[Path] = set()
    kept = _dropped(raw, path, nothings)
    if document.lines:
        for place in sorted(nothings, key=str):
            message = "there is no value: give one, or leave the line away"
            document.problems.append(document.problem(place, message, key=True))
    return (kept if isinstance(kept, dict) else {}), nothings


def _dropped(raw: object, path: Path, nothings: set[Path]) -> object:
    if isinstance(raw, list):
        return [_dropped(each, (*path, place), nothings) for place, each in enumerate(raw)]
    if not isinstance(raw, Mapping):
        return raw
    nothings.update((*path, key) for key, value in raw.items() if value is None)
    return {
        key: value if key in _FREE else _dropped(value, (*path, key), nothings)
        for key, value in raw.items()
        if value is not None
    }


def validate(
    model: type[M], raw: Mapping[str, object], path: Path, document: Document, *, hide: bool = False
) -> tuple[M, frozenset[Path]]:
    """Judge a block of settings.

    Args:
        model: What the block may hold.
        raw: The block.
        path: Where it stands.
        document: Takes the problems.
        hide: Whether values may be credentials, so that no message repeats one.

    Returns:
        The block without what was wrong in it, and the paths of that, so that rules between
        settings can still be judged.
    """
    failed: set[Path] = set()
    rest: Any = _copied(raw)
    while True:
        try:
            return model.model_validate(rest), frozenset(failed)
        except ValidationError as error:
            for each in error.errors(include_url=False):
                here = (*path, *each["loc"])
                failed.add(here)
                if each["type"] == "extra_forbidden":
                    message, meant = unknown_key(model, each["loc"])
                    document.problems.append(document.problem(here, message, key=True))
                    # What was misspelled is not missing as well.
                    failed.add((*here[:-1], meant or here[-1]))
                elif each["type"] != "reported":
                    document.problems.append(
                        document.problem(here, _message(each, hide=hide and here[-1] not in SHOWABLE))
                    )
            for each in error.errors(include_url=False, include_input=False):
                _remove(rest, each["loc"])


def _copied(raw: object) -> object:
    if isinstance(raw, Mapping):
        return {key: _copied(value) for key, value in raw.items()}
    return [_copied(value) for value in raw] if isinstance(raw, list) else raw


def _remove(raw: Any, loc: tuple[int | str, ...]) -> None:
    """Take a value out; of a list, the whole list."""
    for part in loc[:-1]:
        if isinstance(raw, dict) and isinstance(raw.get(part), dict):
            raw = raw[part]
        else:
            raw.pop(part, None)
            return
    if isinstance(raw, dict):
        raw.pop(loc[-1], None)


def _message(error: Any, *, hide: bool) -> str:
    shown = show_value(error["input"])
    if error["type"] == "value_error":
        message = str(error["ctx"]["error"])
        return message.replace(shown, MASK).replace(str(error["input"]), MASK) if hide else message
    if error["type"] in ("dict_type", "mapping_type", "model_type"):
        return "it must be a block of settings (key: value)" + ("" if hide else f", and this is {shown}")
    return "it can't be understood"


def unknown_key(model: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[str, str | None]:
    """What to say about a key that a block does not know, and the key that was probably meant."""
    key, owner = str(loc[-1]), _owner(model, loc[:-1])
    known = [field.alias or name for name, field in owner.model_fields.items()]
    found = near_miss(key, known)
    if found is not None:
        return f"the key {key!r} is not known: did you mean {found!r}?", found
    return _not_here(key, owner, known), None


def _not_here(key: str, owner: type[BaseModel], known: list[str]) -> str:
    if key in _ELSEWHERE and owner in {home for _, home in _HOMES}:
        return f"the key {key!r} is not known here: {_ELSEWHERE[key]}"
    if key.startswith("delta.") and owner in (WriteModel, NodeModel):
        return f"the table property {key!r} belongs under write.options"
    for where, home in _HOMES:
        if home is not owner and key in {field.alias or name for name, field in home.model_fields.items()}:
            if owner in {other for _, other in _HOMES}:
                return f"the key {key!r} is not known here: it belongs under {where}"
            break
    return f"the key {key!r} is not known here: there are {listed(known, 24)}"


def _owner(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    for part in loc:
        found = next(
            (field for name, field in model.model_fields.items() if part in (name, field.alias)), None
        )
        inner = _model_in(found.annotation) if found is not None else None
        if inner is None:
            return model
        model = inner
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in getattr(annotation, "__args__", ()) if (found := _model_in(each))), None)
