"""YAML written so that the strict loader reads back exactly what was meant."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import yaml

from hwm_magics.config.yaml_loader import ExactDecimal, ExactInt, read_scalar

__all__ = ["below", "to_yaml"]


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    if "\n" in value:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|")
    # PyYAML quotes what YAML 1.1 would misread; the strict loader has numbers of its own.
    style = None if isinstance(read_scalar(value), str) and "${" not in value else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _number(dumper: yaml.SafeDumper, value: ExactInt | Decimal) -> yaml.Node:
    tag = "int" if isinstance(value, ExactInt) else "float"
    raw = value.raw if isinstance(value, ExactInt | ExactDecimal) else str(value)
    return dumper.represent_scalar(f"tag:yaml.org,2002:{tag}", raw)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(ExactInt, _number)
_Dumper.add_representer(ExactDecimal, _number)
_Dumper.add_representer(Decimal, _number)


def to_yaml(value: object) -> str:
    """A value as YAML text, keys in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2)


def below(own: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with what they leave open taken from defaults, block by block."""
    merged: dict[str, Any] = dict(own)
    for key, value in default.items():
        mine = merged.get(key)
        if key not in merged:
            merged[key] = value
        elif isinstance(mine, Mapping) and isinstance(value, Mapping):
            merged[key] = below(mine, value)
    return merged
