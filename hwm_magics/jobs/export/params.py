"""The params of a job: which can be given from outside, and their defaults."""

from __future__ import annotations

import argparse
import keyword
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hwm_magics.config.interpolation import BadReferenceError, param_like
from hwm_magics.config.yaml_loader import ExactDecimal, ExactInt
from hwm_magics.core.cursor import Scalar
from hwm_magics.errors import ConfigError
from hwm_magics.jobs.notebook_cells import Cell
from hwm_magics.jobs.self_contained import Parameters, nodes_of, references

__all__ = ["Asked", "Settled", "settle"]

_UNKNOWN = object()


@dataclass(frozen=True, slots=True)
class Asked:
    """One load text.

    Attributes:
        cell: Where it stands.
        line: Its options.
        value: Its YAML's value.
    """

    cell: Cell
    line: argparse.Namespace
    value: Any

    def declared(self) -> Iterator[tuple[str, object]]:
        """The names under ``params:``, with their defaults."""
        blocks = (
            [self.value, *nodes_of(self.value)]
            if isinstance(self.value, Mapping)
            else [*nodes_of(self.value)]
        )
        for number, block in enumerate(blocks):
            params = block.get("params")
            if isinstance(params, Mapping) and (number == 0 or block is not self.value):
                yield from params.items()


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of it.

    Attributes:
        values: The params that can be given from outside, with their defaults.
        taken: Those of them that no load's own line may give any more.
        notes: What is worth knowing.
    """

    values: Mapping[str, object]
    taken: frozenset[str]
    notes: tuple[str, ...]


def settle(
    asked: Sequence[Asked], parameters: Parameters | None, given: Mapping[str, Scalar], *, patient: bool
) -> Settled:
    """Find the params' defaults.

    A param whose default differs from load to load stays as it is written.

    Args:
        asked: The loads.
        parameters: The notebook's parameters cell.
        given: Values from the caller, which become the defaults.
        patient: Whether names without a default may be left to the notebook's code.

    Raises:
        ConfigError: A name has no default, or a value is of another type than its default.
    """
    cell_values = parameters.values if parameters is not None else {}
    found: dict[str, list[object]] = {}
    for one in asked:
        for name, value in _effective(one, cell_values, given):
            found.setdefault(name, []).append(value)
    for name, value in cell_values.items():
        found.setdefault(name, [_typed(name, given[name], value) if name in given else value])
    values: dict[str, object] = {}
    notes: list[str] = []
    for name, each in found.items():
        plain = [_plain(value) for value in each]
        if any(value is _UNKNOWN for value in each):
            if not patient:
                raise ConfigError(
                    f"${{{name}}} has no default", hint=f"give one: -p {name}=VALUE, or under params:"
                )
        elif any(value is _UNKNOWN for value in plain):
            continue
        elif any(value != plain[0] or type(value) is not type(plain[0]) for value in plain):
            notes.append(f"the param {name} has several defaults, and stays as it is written")
        else:
            values[name] = plain[0]
    for name in [name for name in values if keyword.iskeyword(name)]:
        del values[name]
        notes.append(f"the param {name} is a word of Python's, and stays as it is written")
    unknown = [name for name in given if name not in found]
    if unknown:
        raise ConfigError(
            f"there is no param {unknown[0]!r}", hint=f"its params: {', '.join(sorted(found)) or 'none'}"
        )
    return Settled(values, frozenset(values), tuple(notes))


def _effective(
    one: Asked, cell: Mapping[str, object], given: Mapping[str, Scalar]
) -> Iterator[tuple[str, object]]:
    """A load's names with the values that they have without being given: as the load itself would find them."""
    line = dict(text.partition("=")[::2] for text in one.line.param)
    declared: dict[str, list[object]] = {}
    for name, value in one.declared():
        declared.setdefault(str(name), []).append(value)
    for name in sorted(references(one.value) | set(declared)):
        defaults = declared.get(name, [_UNKNOWN])
        for default in defaults:
            known = None if default is _UNKNOWN else default
            if name in given:
                yield (
                    name,
                    _typed(name, given[name], cell[name] if name in cell and name not in line else known),
                )
            elif name in line:
                yield name, _typed(name, line[name], known)
            else:
                yield name, cell.get(name, default)


def _typed(name: str, given: Scalar, default: object) -> object:
    """A value from a command line, of its default's type."""
    try:
        return param_like(name, given, default)
    except BadReferenceError as error:
        raise ConfigError(str(error), hint=f"give -p {name} a value of its default's type") from None


def _plain(value: object) -> object:
    """A default as Python writes it; ``_UNKNOWN`` for what only the load's own YAML can say."""
    if isinstance(value, str):
        return _UNKNOWN if "${" in value else str(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | ExactInt):
        return int(value)
    if isinstance(value, Decimal | ExactDecimal):
        number = float(value)
        return number if Decimal(repr(number)) == value else _UNKNOWN
    if isinstance(value, float):
        return value
    if isinstance(value, list | tuple):
        each = [_plain(one) for one in value]
        return _UNKNOWN if any(one is _UNKNOWN for one in each) else each
    return _UNKNOWN
