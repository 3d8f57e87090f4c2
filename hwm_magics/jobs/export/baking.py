"""The defaults of ``hwm.yaml`` written into loads, so that an export does not depend on that file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hwm_magics.config.defaults import Defaults
from hwm_magics.config.schema import Body, read_body
from hwm_magics.config.yaml_loader import as_mapping
from hwm_magics.connections.registry import Connections
from hwm_magics.core.cursor import Scalar
from hwm_magics.errors import ConfigError
from hwm_magics.jobs.context import Overrides, override
from hwm_magics.jobs.export.job import Node
from hwm_magics.jobs.export.params import Asked
from hwm_magics.jobs.export.written import Written
from hwm_magics.jobs.export.yaml_text import below, to_yaml
from hwm_magics.jobs.order import in_order

__all__ = ["Baked", "Baking"]


@dataclass(frozen=True, slots=True)
class Baked:
    """A load that says all by itself.

    Attributes:
        text: Its YAML.
        nodes: Its loads, in their order; empty when only the notebook's code can tell.
        engines: The engines that they name, and ``files`` where some read files.
        modules: The modules of their transforms.
    """

    text: str
    nodes: tuple[Node, ...]
    engines: frozenset[str]
    modules: tuple[str, ...]


class Baking:
    """Puts the defaults of ``hwm.yaml`` into loads, and sees that they still say the same."""

    def __init__(
        self,
        project: Written,
        known: Connections,
        params: Mapping[str, object],
        reasons: tuple[str, ...],
    ) -> None:
        self.project = project
        self.known = known
        self.params = params
        self.reasons = reasons
        self.defaults = project.read().defaults

    def bake(self, one: Asked, line: argparse.Namespace) -> Baked:
        """The load with the defaults in it.

        Raises:
            ConfigError: It can't be understood, or would say something else with them written into it.
        """
        text = one.cell.body
        before = self._read(one, text, self.defaults)
        if any(self.project.defaults.get(key) for key in ("engine", "read", "write")):
            text = to_yaml(self._merged(one.value))
            after = self._read(one, text, Defaults())
            if before is None or after is None or before.loads != after.loads:
                raise ConfigError(
                    f"the defaults of {self.project.path} can't be written into the load"
                    + (f" of cell {one.cell.number}" if one.line.var is not None or one.cell.magic else ""),
                    hint="write what it takes from them into the load itself",
                )
        if before is None:
            return Baked(text, (), frozenset(), ())
        loads = override(before.loads, Overrides(tuple(line.node), line.engine))
        nodes = tuple(Node(load.node, load.depends_on) for load in in_order(loads))
        here = {node.name for node in nodes}
        return Baked(
            text,
            tuple(replace(node, depends_on=tuple(n for n in node.depends_on if n in here)) for node in nodes),
            frozenset(load.engine for load in loads)
            | {"files" for load in loads if load.read.path is not None and load.engine != "spark"},
            tuple(
                load.transform.partition(":")[0] for load in loads if load.transform and ":" in load.transform
            ),
        )

    def _read(self, one: Asked, text: str, defaults: Defaults) -> Body | None:
        """The body read; None where only the notebook's code can complete it."""
        given: dict[str, Scalar] = {}
        for each in one.line.param:
            name, _, value = each.partition("=")
            given[name] = value
        values: dict[str, Any] = dict(self.params)
        try:
            return read_body(
                text,
                params=given,
                defaults=defaults,
                line_offset=one.cell.offset,
                lookup=values.__getitem__,
                connections=None if self.reasons else self.known,
                what=f"cell {one.cell.number}" if one.cell.magic else "the file",
            )
        except ConfigError:
            if self.reasons:
                return None
            raise

    def _merged(self, value: object) -> object:
        plain = {key: as_mapping(self.project.defaults.get(key)) for key in ("read", "write")}
        engine = self.project.defaults.get("engine")

        def node(raw: Any, *, engine_known: bool) -> Any:
            if not isinstance(raw, Mapping):
                return raw
            merged = dict(raw)
            if engine and not engine_known:
                merged.setdefault("engine", engine)
            for key, default in plain.items():
                if default:
                    merged[key] = below(as_mapping(raw.get(key)), default)
            return merged

        if isinstance(value, list):
            return [node(each, engine_known=False) for each in value]
        if isinstance(value, Mapping) and "nodes" in value:
            nodes, known = value["nodes"], "engine" in value
            if isinstance(nodes, Mapping):
                return {
                    **value,
                    "nodes": {name: node(each, engine_known=known) for name, each in nodes.items()},
                }
            return {**value, "nodes": [node(each, engine_known=known) for each in nodes or ()]}
        return node(value, engine_known=False)
