"""Credentials that stand literally in a notebook or a YAML file: where, never what."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from hwm_magics.config.yaml_loader import Document, Path, format_path, load_yaml
from hwm_magics.connections.secrets import MASK, looks_secret, scrub_url
from hwm_magics.errors import ConfigError
from hwm_magics.jobs.notebook_cells import Cell, CellKind, Notebook
from hwm_magics.jobs.self_contained import without_magics

__all__ = ["Finding", "in_code", "in_notebook", "in_outputs", "in_values", "in_yaml"]

_REFERENCE = re.compile(r"\$\{[^{}]*\}")
_USER_INFO = re.compile(r"[a-zA-Z][\w+.\-]*://[^\s:/?#@'\"<>]*:(?!\*+@)[^\s'\"@<>{}]+@[\w\[]")
_NAMED = re.compile(
    r"(?i)(?:^|_)(?:password|passwd|passphrase|pwd|pw|secret|token|credentials?|sas|api_?key|account_?key|access_?key|"
    r"shared_?key|private_?key|connection_?string|conn_?str)$"
)
_ENVIRONMENT = re.compile(r"^\s*%(?:env|set_env)\s+(\w+)[\s=]+(\S.*)$", re.MULTILINE)
_ASSIGNED = re.compile(r"^\s*(\w+)\s*=\s*[rbuf]?([\"'])(?!\2)")
_ADDRESSES = frozenset({"url", "uri", "connection_string", "dsn_string"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One literal credential.

    Attributes:
        what: Its name or kind, without the value.
        line: 1-based, in the cell or file; None when it is not in a line.
        cell: The cell's number; None outside of notebooks.
        file: The file's name.
    """

    what: str
    line: int | None = None
    cell: int | None = None
    file: str = ""

    def __str__(self) -> str:
        cell = f"cell {self.cell}" if self.cell is not None else ""
        line = f"line {self.line}" if self.line is not None else ""
        place = ", ".join(part for part in (self.file, cell, line) if part)
        return f"{place}: {self.what}" if place else self.what


def in_yaml(text: str, *, offset: int = 0, connections: bool = False) -> tuple[Finding, ...]:
    """The literal credentials of a YAML text.

    Args:
        text: The text; one that is no YAML is searched for URLs with a password.
        offset: Lines above it in what the user sees.
        connections: Whether it holds connections, where every secret-like setting counts; a load's own
            SQL may compare a column named ``token``.
    """
    try:
        document = load_yaml(text, offset=offset, sensitive=True)
    except ConfigError:
        return tuple(_in_text(text, offset))
    found = list(_in_value(document, document.value, (), connections=connections))
    seen = {each.line for each in found}
    # Comments are no values, and are read by whoever gets the file.
    found += [each for each in _in_text(text, offset) if each.line not in seen]
    return tuple(sorted(found, key=lambda each: each.line or 0))


def in_notebook(notebook: Notebook) -> tuple[Finding, ...]:
    """The literal credentials of a notebook's cells; outputs are not looked at."""
    found: list[Finding] = []
    for cell in notebook.cells:
        if cell.kind is CellKind.CONNECTIONS:
            each = in_yaml(cell.body, offset=cell.offset, connections=True)
        elif cell.kind is CellKind.LOAD:
            each = (*_in_words(cell.line), *in_yaml(cell.body, offset=cell.offset))
        elif cell.kind is CellKind.TEXT:
            each = tuple(_in_text(cell.source, 0))
        else:
            each = tuple(in_code(cell))
        found += [replace(one, cell=cell.number) for one in each]
    return tuple(found)


def in_values(params: Mapping[str, object]) -> Iterator[Finding]:
    """The literal credentials among params from a command line."""
    for name, value in params.items():
        if _NAMED.search(name) or _USER_INFO.search(str(value)):
            yield Finding(f"-p {name} is a literal credential")


def in_outputs(outputs: Mapping[int, str]) -> tuple[Finding, ...]:
    """The credentials that cells' outputs show, in URLs.

    Args:
        outputs: Texts by the numbers of their cells.
    """
    return tuple(
        Finding("its output shows a URL with a password", cell=number)
        for number, text in outputs.items()
        if _USER_INFO.search(text)
    )


def _in_words(line: str) -> Iterator[Finding]:
    for found in re.finditer(r"(\w+)=(\S+)", line):
        if _NAMED.search(found[1]) or _USER_INFO.search(found[2]):
            yield Finding(f"--param {found[1]} is a literal credential", 1)


def _in_value(document: Document, value: object, path: Path, *, connections: bool) -> Iterator[Finding]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _in_value(document, one, (*path, str(key)), connections=connections)
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from _in_value(document, one, (*path, place), connections=connections)
    elif value is not None and not isinstance(value, bool):
        told = _told(
            value, next((str(part) for part in reversed(path) if isinstance(part, str)), ""), connections
        )
        if told:
            yield Finding(f"{format_path(path)} {told}", document.problem(path, "").line)


def _told(value: object, key: str, connections: bool) -> str:  # noqa: FBT001 - of this module only
    """What is literal in a scalar; "" for nothing."""
    text = _REFERENCE.sub(MASK, str(value))
    if _USER_INFO.search(text):
        return "holds a password in its URL"
    if connections:
        if key.lower() in _ADDRESSES:
            return "holds a literal credential" if scrub_url(text) != text else ""
        secret = looks_secret(key)
    else:
        secret = isinstance(value, str) and _NAMED.search(key) is not None
    return "is a literal credential" if secret and text.replace(MASK, "").strip() else ""


def _in_text(text: str, offset: int) -> Iterator[Finding]:
    for number, line in enumerate(text.split("\n"), offset + 1):
        if _USER_INFO.search(_REFERENCE.sub(MASK, line)):
            yield Finding("a URL holds a password", number)


def in_code(cell: Cell) -> Iterator[Finding]:
    """The literal credentials of a cell of Python, by their lines in the cell."""
    lines: dict[int, str] = {}
    for found in _ENVIRONMENT.finditer(cell.source):
        if _NAMED.search(found[1]):
            lines[cell.source[: found.start(1)].count("\n") + 1] = (
                f"{found[1]} is set to a literal credential"
            )
    try:
        tree = ast.parse(without_magics(cell.body))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        for number, line in enumerate(cell.source.split("\n"), 1):
            assigned = _ASSIGNED.match(line)
            if assigned is not None and _NAMED.search(assigned[1]):
                lines[number] = f"{assigned[1]} is a literal credential"
    else:
        for node in ast.walk(tree):
            for name, value in _named(node):
                if isinstance(value, ast.Constant) and isinstance(value.value, str | bytes) and value.value:
                    text = value.value if isinstance(value.value, str) else ""
                    if _NAMED.search(name) and not _is_reference(text):
                        lines[value.lineno + cell.offset] = f"{name} is a literal credential"
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_address(node.value):
                lines.setdefault(node.lineno + cell.offset, "a connection string holds a password")
    for each in _in_text(cell.source, 0):
        lines.setdefault(each.line or 1, each.what)
    for number in sorted(lines):
        yield Finding(lines[number], number)


def _named(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Values that a node gives a name: assignments, keyword arguments, items of dictionaries."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            name = _name_of(target)
            if name:
                yield name, node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield _name_of(node.target), node.value
    elif isinstance(node, ast.keyword) and node.arg:
        yield node.arg, node.value
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, value


def _name_of(target: ast.expr) -> str:
    if isinstance(target, ast.Name):
        return target.id
    if isinstance(target, ast.Attribute):
        return target.attr
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        return str(target.slice.value)
    return ""


def _is_reference(text: str) -> bool:
    return not _REFERENCE.sub("", text).strip() or set(text) == {"*"}


def _is_address(text: str) -> bool:
    """Whether a text is a connection string with a password in it."""
    shaped = text.count("=") > 1 and ";" in text
    return (
        shaped
        and re.search(r"(?i)(?:^|;)\s*(?:pwd|password|accountkey|sharedaccesskey)\s*=\s*[^;\s{}]", text)
        is not None
    )
