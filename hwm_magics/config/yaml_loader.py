"""YAML read strictly: lines kept, duplicate keys refused, scalars exact, aliases bounded."""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NoReturn, Self, TypeAlias

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hwm_magics.config.excerpts import safe_excerpt
from hwm_magics.config.yaml_words import plain_words
from hwm_magics.connections.secrets import Secret
from hwm_magics.errors import ConfigError, Problem

__all__ = [
    "Document",
    "ExactDecimal",
    "ExactInt",
    "Mark",
    "Path",
    "as_mapping",
    "as_yaml",
    "format_path",
    "load_yaml",
    "plain",
    "read_scalar",
]

Path: TypeAlias = tuple[str | int, ...]

MAX_CHARACTERS = 500_000
MAX_DEPTH = 32
MAX_ALIASES = 64
MAX_NODES = 50_000

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_UNQUOTED = "unquoted"
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
# Bounded, so that no number is a bomb of its own (1e999999999 as a whole number).
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,99})")
_FLOAT = re.compile(
    r"[-+]?(?:(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{0,99})?|\.[0-9]{1,99})(?:[eE][-+]?[0-9]{1,3})?"
)


class ExactInt(int):
    """A whole number that remembers how it was written."""

    raw: str

    def __new__(cls, raw: str) -> Self:
        self = super().__new__(cls, raw)
        self.raw = raw
        return self


class ExactDecimal(Decimal):
    """A number with a fraction, exact, that remembers how it was written (``1.10``)."""

    raw: str

    def __new__(cls, raw: str) -> Self:
        self = super().__new__(cls, raw)
        self.raw = raw
        return self


def read_scalar(text: str) -> object:
    """An unquoted scalar's value: null, true or false, a number, or the text itself.

    Dates, ``on``, ``yes``, ``0123``, ``1_000`` and ``12:30:00`` stay texts.
    """
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return ExactInt(text)
    if _FLOAT.fullmatch(text):
        return ExactDecimal(text)
    return text


def as_mapping(value: object) -> Mapping[str, Any]:
    """A value that should be a mapping; an empty one where it is not, which is told elsewhere."""
    return value if isinstance(value, Mapping) else {}


def plain(value: object) -> object:
    """The value without its memory of how it was written."""
    if isinstance(value, ExactInt):
        return int(value)
    if isinstance(value, ExactDecimal):
        return Decimal(value)
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a value stands.

    Attributes:
        line: 1-based, in what the user sees.
        column: 1-based.
        last: The line of its end.
    """

    line: int
    column: int
    last: int


@dataclass(slots=True)
class Document:
    """A YAML text's content, and where everything stands in it.

    Attributes:
        value: Mappings, lists, texts, exact numbers, booleans and None.
        marks: Where values stand.
        keys: Where their keys stand.
        problems: What is wrong and did not stop the reading.
    """

    value: object
    marks: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    offset: int = 0
    sensitive: bool = False

    def problem(self, path: Path, message: str, *, key: bool = False, near: str = "") -> Problem:
        """A problem at a path, with its line and excerpt where there is a text.

        Args:
            path: Where; the nearest path above it that stands in the text gives the line.
            message: What is wrong.
            key: Whether the key is meant, not its value.
            near: A piece of text to look for from there on, such as ``${name}``.
        """
        mark = self._mark(path, key=key)
        if mark is None:
            return Problem(message, format_path(path))
        line = mark.line
        if near:
            line = next((n for n in range(mark.line, mark.last + 1) if near in self._text(n)), line)
        return Problem(message, format_path(path), line, self.excerpt(line))

    def excerpt(self, line: int) -> str:
        """One line's text, credentials masked."""
        return safe_excerpt(self._text(line), strict=self.sensitive)

    def _text(self, line: int) -> str:
        index = line - 1 - self.offset
        return self.lines[index] if 0 <= index < len(self.lines) else ""

    def _mark(self, path: Path, *, key: bool) -> Mark | None:
        for end in range(len(path), -1, -1):
            here = path[:end]
            exact = end == len(path)
            # A mapping or list begins on the line after its key: people look for the key.
            if here in self.keys and ((key and exact) or not self._is_scalar(here)):
                return self.keys[here]
            if here in self.marks:
                return self.marks[here]
        return None

    def _is_scalar(self, path: Path) -> bool:
        value = self.value
        for part in path:
            try:
                value = value[part]  # type: ignore[index]  # whatever has no such part ends here
            except (LookupError, TypeError):
                return False
        return not isinstance(value, Mapping | list)


def as_yaml(value: object) -> object:
    """A Python value as YAML would have given it."""
    if isinstance(value, Mapping):
        return {str(key): as_yaml(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_yaml(one) for one in value]
    if isinstance(value, float):
        return ExactDecimal(repr(value))
    if value is None or isinstance(value, str | int | Decimal | date | timedelta | Secret):
        return value
    # Paths, enumerations and the like.
    return str(value)


def format_path(path: Path) -> str:
    """``nodes[0].write.mode``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader as far as the node tree, with bounds on depth and aliases."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.aliases = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > MAX_ALIASES:
                self._refuse(f"more than {MAX_ALIASES} aliases")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self._refuse(f"nested deeper than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def resolve(self, kind: type[Node], value: str | None, implicit: Any) -> str:
        """Leave unquoted scalars to `read_scalar`; PyYAML would follow YAML 1.1."""
        if kind is ScalarNode and isinstance(implicit, tuple) and implicit[0]:
            return _MERGE if value == "<<" else _UNQUOTED
        return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]

    def _refuse(self, why: str) -> NoReturn:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        raise yaml.composer.ComposerError(None, None, why, event.start_mark)


def load_yaml(text: str, *, offset: int = 0, what: str = "the text", sensitive: bool = False) -> Document:
    """Read one YAML document.

    Args:
        text: The text.
        offset: Lines that stand above it in what the user sees: 1 for the body of a cell.
        what: What the text is, for messages.
        sensitive: Whether it may hold credentials, so that excerpts show known settings only.

    Returns:
        The document; its ``problems`` hold what did not stop the reading. A text without content
        gives the value None.

    Raises:
        ConfigError: It is no YAML, too large, too deep, or holds several documents.
    """
    lines = text.split("\n")
    document = Document(None, lines=lines, offset=offset, sensitive=sensitive)
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"{what} has {len(text):,} characters; the most that is read is {MAX_CHARACTERS:,}")
    try:
        # Already here PyYAML looks for characters that YAML does not allow.
        loader = _StrictLoader(text)
        node = loader.get_single_node()
    except (yaml.YAMLError, ValueError) as error:
        problems = plain_words(error, text, document)
        raise ConfigError(f"{what} is not valid YAML", problems) from None
    if node is not None:
        _Reader(document, text).read(node)
    return document


class _TooMuchError(Exception):
    pass


class _Reader:
    """Turns PyYAML's nodes into values, noting where each stands."""

    def __init__(self, document: Document, text: str) -> None:
        self._document = document
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._count = 0
        self._above: list[int] = []

    def read(self, node: Node) -> None:
        try:
            self._document.value = self._value(node, ())
        except _TooMuchError:
            self._document.value = None
            raise ConfigError(
                f"the YAML's aliases (*name) expand to more than {MAX_NODES:,} values",
                hint="write the values out, or use fewer aliases",
            ) from None

    def _mark(self, node: Node) -> Mark:
        # Counted by "\n" as editors do; PyYAML also counts line separators that editors don't show.
        start, end = node.start_mark.index, node.end_mark.index
        line = bisect.bisect_right(self._starts, start)
        last = bisect.bisect_right(self._starts, max(start, end - 1))
        offset = self._document.offset
        return Mark(line + offset, start - self._starts[line - 1] + 1, last + offset)

    def _add(self, node: Node, path: Path, message: str) -> None:
        line = self._mark(node).line
        self._document.problems.append(
            Problem(message, format_path(path), line, self._document.excerpt(line))
        )

    def _value(self, node: Node, path: Path) -> object:
        self._count += 1
        if self._count > MAX_NODES:
            raise _TooMuchError
        if id(node) in self._above:
            self._add(node, path, "an alias (*name) stands inside of what it stands for")
            return None
        self._document.marks[path] = self._mark(node)
        self._above.append(id(node))
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, path)
            if isinstance(node, SequenceNode):
                if node.tag != f"{_TAG}seq":
                    self._refuse_tag(node, path)
                return [self._value(each, (*path, place)) for place, each in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._above.pop()

    def _refuse_tag(self, node: Node, path: Path) -> None:
        tag = node.tag.replace(_TAG, "!!")
        self._add(node, path, f"the YAML tag {tag} is not supported: leave it away")

    def _scalar(self, node: Node, path: Path) -> object:
        text = str(node.value)
        if node.tag in (_UNQUOTED, _MERGE):
            return read_scalar(text)
        kind = node.tag.removeprefix(_TAG)
        if kind == "str":
            return text
        # An explicit tag, as in `!!int 5`.
        value = read_scalar(text)
        expected = {"int": ExactInt, "float": ExactDecimal | ExactInt, "bool": bool, "null": type(None)}.get(
            kind
        )
        if expected is None:
            self._refuse_tag(node, path)
            return text
        if not isinstance(value, expected):
            self._add(node, path, f"{text!r} is not what its tag !!{kind} says")
        return value

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, object]:
        if node.tag != f"{_TAG}map":
            self._refuse_tag(node, path)
        found: dict[str, object] = {}
        first: dict[str, int] = {}
        merges: list[Node] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._add(
                    key_node,
                    path,
                    "a key must be a text (for a value that stands for a name write ${name}, not {{name}})",
                )
                continue
            if key_node.tag == _MERGE:
                merges.append(value_node)
                continue
            key = str(key_node.value)
            here = (*path, key)
            mark = self._mark(key_node)
            if key in first:
                self._add(
                    key_node, here, f"the key {key!r} stands here twice; the first is on line {first[key]}"
                )
                continue
            first[key] = mark.line
            self._document.keys[here] = mark
            found[key] = self._value(value_node, here)
        for merged in merges:
            self._merge(merged, path, found)
        return found

    def _merge(self, node: Node, path: Path, found: dict[str, object]) -> None:
        each = node.value if isinstance(node, SequenceNode) else [node]
        for one in each:
            if not isinstance(one, MappingNode):
                self._add(one, path, "<<: takes an alias of a mapping, or a list of them")
                continue
            if id(one) in self._above:
                self._add(one, path, "an alias (*name) stands inside of what it stands for")
                continue
            for key_node, value_node in one.value:
                if isinstance(key_node, ScalarNode) and key_node.tag == _MERGE:
                    self._merge(value_node, path, found)
                elif isinstance(key_node, ScalarNode) and key_node.value not in found:
                    here = (*path, str(key_node.value))
                    self._document.keys[here] = self._mark(key_node)
                    found[str(key_node.value)] = self._value(value_node, here)
