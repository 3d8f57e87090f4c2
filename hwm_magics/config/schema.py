"""From the text of a cell, a file or a mapping to load specs: the whole of the YAML's rules in one call.

Which settings there are stands in ``models``, what values they take in ``fields``, and the rules
between them in ``rules``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwm_magics.config.defaults import Defaults
from hwm_magics.config.excerpts import show_value
from hwm_magics.config.interpolation import Names, interpolate
from hwm_magics.config.models import NodeModel, PipelineModel
from hwm_magics.config.rules import NodeContext, build_load, default_name
from hwm_magics.config.sql_references import bind_references
from hwm_magics.config.validation import drop_nothings, raise_problems, validate
from hwm_magics.config.yaml_loader import Document, Path, as_mapping, as_yaml, load_yaml
from hwm_magics.connections.registry import Connections
from hwm_magics.connections.secrets import Secret
from hwm_magics.connections.words import did_you_mean, listed
from hwm_magics.core.cursor import Scalar
from hwm_magics.core.specs import LoadSpec
from hwm_magics.errors import ConfigError, Problem

__all__ = ["EXAMPLE", "Body", "parse", "read_body"]

EXAMPLE = """\
read:
  connection: sql_server
  table: dbo.orders
  incremental: {column: updated_at}
write:
  connection: lake
  path: raw/orders
"""
"""The shortest load that does the whole job."""

_SQL: tuple[Path, ...] = (
    ("read", "query"),
    ("read", "where"),
    ("read", "filter"),
    ("read", "options", "query"),
    ("read", "options", "filter"),
    ("write", "first_run_query"),
)


@dataclass(frozen=True, slots=True)
class Body:
    """What a text asks for.

    Attributes:
        loads: The loads, in the order of the text.
        pipeline: The pipeline's name; None without one.
        notes: What is worth knowing and no error: settings without effect, or taken in one of
            several senses.
        names: The names that the text declares under ``params:`` or refers to, so that a misspelled
            ``--param`` can be told.
    """

    loads: tuple[LoadSpec, ...]
    pipeline: str | None
    notes: tuple[Problem, ...]
    names: frozenset[str]


def parse(
    text: str | Mapping[str, Any] | Sequence[Any],
    *,
    params: Mapping[str, Scalar],
    defaults: Defaults,
    line_offset: int = 1,
    lookup: Callable[[str], object] | None = None,
    connections: Connections | None = None,
    what: str = "the cell",
) -> tuple[LoadSpec, ...]:
    """The loads that a text asks for, in its order; see :func:`read_body`."""
    return read_body(
        text,
        params=params,
        defaults=defaults,
        line_offset=line_offset,
        lookup=lookup,
        connections=connections,
        what=what,
    ).loads


def read_body(
    text: str | Mapping[str, Any] | Sequence[Any],
    *,
    params: Mapping[str, Scalar],
    defaults: Defaults,
    line_offset: int = 1,
    lookup: Callable[[str], object] | None = None,
    connections: Connections | None = None,
    others: Collection[str] = (),
    what: str = "the cell",
) -> Body:
    """Everything that a text asks for.

    Args:
        text: YAML, or the mapping or list that it would give.
        params: Values for ``${name}`` that win over notebook variables and over ``params:``.
        defaults: Of ``hwm.yaml``.
        line_offset: Lines above the text in what the user sees: 1 for a cell's body, 0 for a file.
        lookup: Gives a notebook variable by its name, or raises LookupError.
        connections: The known connections, so that an unknown one is reported with its line.
        others: Names of loads that stand elsewhere, and may be depended on.
        what: What the text is, for messages.

    Returns:
        The loads, valid in themselves and among each other.

    Raises:
        ConfigError: With everything that is wrong.
    """
    document = (
        load_yaml(text, offset=line_offset, what=what) if isinstance(text, str) else Document(as_yaml(text))
    )
    if document.value is None and not document.problems:
        raise ConfigError(f"{what} is empty", hint="the shortest load:\n" + _indented(EXAMPLE))
    body = _Body(document, Names(params, lookup), defaults, connections, others)
    loads = body.read()
    raise_problems(document.problems, what)
    notes = tuple(document.problem(place, message, key=True) for place, message in body.notes)
    return Body(loads, body.pipeline, notes, frozenset(body.known))


def _indented(text: str) -> str:
    return "\n".join(f"      {line}" for line in text.splitlines())


class _Body:
    """One reading of a document."""

    def __init__(
        self,
        document: Document,
        names: Names,
        defaults: Defaults,
        connections: Connections | None,
        others: Collection[str],
    ) -> None:
        self.document = document
        self.names = names
        self.defaults = defaults
        self.connections = connections
        self.others = others
        self.pipeline: str | None = None
        self.engine: str | None = None
        self.notes: list[tuple[Path, str]] = []
        self.known: set[str] = names.used
        self._found: list[tuple[str, Path, tuple[str, ...]]] = []

    def _problem(self, path: Path, message: str, *, key: bool = False) -> None:
        self.document.problems.append(self.document.problem(path, message, key=key))

    def read(self) -> tuple[LoadSpec, ...]:
        """Every load; problems go to the document."""
        loads = [self._node(raw, path, named) for path, raw, named in self._nodes()]
        self._check_names()
        return tuple(load for load in loads if load is not None)

    def _nodes(self) -> Iterator[tuple[Path, Mapping[str, Any], str | None]]:
        value = self.document.value
        if isinstance(value, Mapping) and ("nodes" in value or "pipeline" in value):
            yield from self._pipeline(value)
        elif isinstance(value, Mapping):
            yield (), value, None
        elif isinstance(value, list):
            yield from self._each((), value)
        elif value is not None:
            self._problem((), f"it is {show_value(value)}, and no load: write read: and write: blocks")

    def _pipeline(self, value: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any], str | None]]:
        raw = dict(value)
        nodes = raw.pop("nodes", None)
        settings = interpolate(raw, (), self.names, self.document)
        kept, _ = drop_nothings(dict(as_mapping(settings)), (), self.document)
        model, _ = validate(PipelineModel, kept, (), self.document)
        self.pipeline = model.pipeline
        self.engine = model.engine.value if model.engine is not None else None
        self.names = self.names.declaring(model.params or {})
        self.known.update(model.params or {})
        if isinstance(nodes, Mapping) and nodes:
            # An older way of writing: the names as keys.
            for name, node in nodes.items():
                yield from self._each(("nodes",), [node], name)
        elif isinstance(nodes, list) and nodes:
            yield from self._each(("nodes",), nodes)
        else:
            self._problem(
                ("nodes",), "a pipeline needs nodes: a list of loads, each beginning with '- '", key=True
            )

    def _each(
        self, path: Path, nodes: list[Any], named: str | None = None
    ) -> Iterator[tuple[Path, Mapping[str, Any], str | None]]:
        if not nodes:
            self._problem(path, "the list is empty: it needs at least one load")
        for place, node in enumerate(nodes):
            here = (*path, place if named is None else named)
            if isinstance(node, Mapping):
                yield here, node, named
            else:
                self._problem(here, f"it is {show_value(node)}, and no load: write read: and write: blocks")

    def _node(self, raw: Mapping[str, Any], path: Path, named: str | None) -> LoadSpec | None:
        names = self._declared(raw, path)
        sql = {(*path, *place) for place in _SQL}
        skip = frozenset({*sql, (*path, "params")})
        resolved = interpolate(raw, path, names, self.document, skip)
        bound = self._bind(resolved, path, names)
        kept, nothings = drop_nothings(dict(as_mapping(resolved)), path, self.document)
        if named is not None:
            kept.setdefault("name", named)
        node, failed = validate(NodeModel, kept, path, self.document)
        if self.document.lines:
            failed |= nothings
        context = NodeContext(
            self.document, path, self.defaults, failed, bound, self.engine, self.connections, self.notes
        )
        write = node.write
        name = node.name or (default_name(write.path, write.table) if write is not None else "")
        if name:
            self._found.append((name, path, node.depends_on or ()))
        return build_load(node, name, context)

    def _declared(self, raw: Mapping[str, Any], path: Path) -> Names:
        params = raw.get("params")
        if not isinstance(params, Mapping):
            return self.names
        found = interpolate(params, (*path, "params"), self.names, self.document)
        self.known.update(params)
        return self.names.declaring(dict(as_mapping(found)))

    def _bind(self, node: object, path: Path, names: Names) -> dict[str, Scalar]:
        """Put parameters into the node's SQL, in place, and give their values."""
        bound: dict[str, Scalar] = {}
        for place in _SQL:
            owner = node
            for part in place[:-1]:
                owner = owner.get(part) if isinstance(owner, dict) else None
            if not isinstance(owner, dict):
                continue
            sql = owner.get(place[-1])
            if not isinstance(sql, str) or isinstance(sql, Secret):
                continue
            result = bind_references(sql, names)
            bound |= result.params
            for message, near in result.problems:
                self.document.problems.append(self.document.problem((*path, *place), message, near=near))
            owner[place[-1]] = result.sql
        return bound

    def _check_names(self) -> None:
        seen: dict[str, Path] = {}
        for name, path, _ in self._found:
            if name in seen:
                mark = self.document.problem(seen[name], "").line
                where = f" (the first is on line {mark})" if mark is not None else ""
                self._problem((*path, "name"), f"two nodes are named {name!r}{where}: give each its own name")
            seen.setdefault(name, path)
        for name, path, needs in self._found:
            for place, other in enumerate(needs):
                if other not in seen and other not in self.others:
                    known = {**dict.fromkeys(self.others), **seen}
                    tail = did_you_mean(other, known.keys() - {name}) or f": there are {listed(known)}"
                    self._problem((*path, "depends_on", place), f"there is no node named {other!r}{tail}")
        first: dict[str, tuple[str, ...]] = {}
        for name, _, needs in self._found:
            first.setdefault(name, needs)
        self._check_cycles(first, seen)

    def _check_cycles(self, needs: Mapping[str, tuple[str, ...]], places: Mapping[str, Path]) -> None:
        done: set[str] = set()

        def walk(name: str, above: list[str]) -> None:
            if name in above:
                ring = [*above[above.index(name) :], name]
                done.update(ring)
                self._problem(
                    (*places[name], "depends_on"), f"nodes wait for each other: {' → '.join(ring)}", key=True
                )
            elif name not in done:
                for other in needs.get(name, ()):
                    walk(other, [*above, name])
                done.add(name)

        for name in needs:
            walk(name, [])
