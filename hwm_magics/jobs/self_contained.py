"""Whether a notebook's loads say all that they need, or use names that only its Python code gives."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from hwm_magics.config.project import under_connections
from hwm_magics.config.yaml_loader import as_mapping, load_yaml
from hwm_magics.errors import ConfigError
from hwm_magics.jobs.notebook_cells import Cell, CellKind, Notebook

__all__ = [
    "Parameters",
    "assigned_names",
    "kernel_reasons",
    "literal_parameters",
    "literal_values",
    "nodes_of",
    "references",
    "without_magics",
]

_REFERENCE = re.compile(r"(?<!\$)\$\{\s*([A-Za-z_]\w*)\s*\}")
_ENVIRONMENT = re.compile(r"(?<!\$)\$\{\s*env:\s*([^{}\s]+)\s*\}")
_ASSIGNED_MAGIC = re.compile(r"(\s*[A-Za-z_][\w, ]*=)\s*[%!].*")
_PYTHON_MAGICS = frozenset({"time", "timeit", "capture", "prun", "python", "python3"})
_SILENT_MAGICS = frozenset({"bash", "sh", "script", "html", "HTML", "markdown", "latex", "javascript", "js", "svg",
                            "writefile", "file"})  # fmt: skip
_OPAQUE_LINE = re.compile(r"^\s*%(run|store|load_ext(?!\s+hwm_magics)|dotenv|env|set_env)\b", re.MULTILINE)
_WRITING = re.compile(
    r"^\s*(%hwm_(?:rollback|backfill|maintain|watermark[^\n]*--(?:set|adopt))[^\n]*)", re.MULTILINE
)
_INNER_LOAD = re.compile(r"^\s*%%hwm_(?:load|connections)\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The notebook's parameters cell.

    Attributes:
        values: Its names and their values, as far as they are written as plain values.
        computed: Its other names: what they are, only the code can tell.
    """

    values: Mapping[str, object] = field(default_factory=dict)
    computed: tuple[str, ...] = ()


def literal_parameters(notebook: Notebook) -> Parameters:
    """What the cell tagged ``parameters`` sets, and below it the one that papermill injected."""
    values: dict[str, object] = {}
    computed: list[str] = []
    for cell in notebook.of(CellKind.PARAMETERS, CellKind.INJECTED):
        found = _Code(cell)
        for name in found.names:
            values.pop(name, None)
            if name in found.values:
                values[name] = found.values[name]
                computed = [each for each in computed if each != name]
            elif name not in computed:
                computed.append(name)
    return Parameters(values, tuple(computed))


def kernel_reasons(
    notebook: Notebook, *, connections: Collection[str] = (), params: Collection[str] = ()
) -> tuple[str, ...]:
    """Why the notebook's loads can't be run without its other code.

    Args:
        notebook: The notebook.
        connections: The connections that are known without it: those of ``hwm.yaml``.
        params: The params that are given from outside.

    Returns:
        Sentences; none when its cells of connections and loads are enough.
    """
    return tuple(dict.fromkeys(_Reasons(notebook, connections, params).all()))


def assigned_names(cell: Cell) -> tuple[str, ...]:
    """The names that a cell of Python gives a value."""
    return tuple(dict.fromkeys(_Code(cell).names))


def literal_values(text: str) -> Mapping[str, object]:
    """The names that a text of Python sets to plain values, and these."""
    return _Code(Cell(0, CellKind.CODE, text, body=text)).values


def references(value: object) -> set[str]:
    """The names of all ``${name}`` in a YAML's values."""
    return {found[1] for text in _texts(value) for found in _REFERENCE.finditer(text)}


class _Code:
    """What one cell of Python gives to the cells below it."""

    def __init__(self, cell: Cell) -> None:
        self.number = cell.number
        self.names: list[str] = []
        self.values: dict[str, object] = {}
        self.texts: set[str] = set()
        self.imports: set[str] = set()
        self.opaque = bool(_OPAQUE_LINE.search(cell.source))
        if cell.magic and cell.magic not in _PYTHON_MAGICS:
            self.opaque = cell.magic not in _SILENT_MAGICS
            return
        try:
            tree = ast.parse(without_magics(cell.body))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self.opaque = True
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                self.opaque |= node.func.id in ("exec", "globals", "get_ipython")
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self.texts.add(node.value)
        for statement in tree.body:
            self._statement(statement)

    def _statement(self, statement: ast.stmt) -> None:
        stored = [name for node in _here(statement) for name in _stored(node)]
        self.names += stored
        for name in stored:
            self.values.pop(name, None)
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        if value is not None and len(stored) == 1:
            try:
                self.values[stored[0]] = ast.literal_eval(value)
            except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                return

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        origin = node.module if isinstance(node, ast.ImportFrom) else None
        self.imports.update({origin} if origin else {each.name for each in node.names})
        for each in node.names:
            self.opaque |= each.name == "*"


def _stored(node: ast.AST) -> Iterator[str]:
    """The names that one node gives a value."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (each.asname or each.name.partition(".")[0] for each in node.names)


def _here(statement: ast.AST) -> Iterator[ast.AST]:
    """A statement's nodes, without those whose names are a function's own."""
    yield statement
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return
    for child in ast.iter_child_nodes(statement):
        yield from _here(child)


def without_magics(text: str) -> str:
    """Python with IPython's line magics and shell lines taken out."""
    lines = []
    for line in text.split("\n"):
        assigned = _ASSIGNED_MAGIC.fullmatch(line)
        stripped = line.lstrip()
        if assigned is not None:
            lines.append(f"{assigned[1]} {'None' if ',' not in assigned[1] else '()'}")
        elif stripped.startswith(("%", "!")) or re.fullmatch(r"\s*\??[\w.]+\?{1,2}\s*|\s*\?[\w.]+\s*", line):
            lines.append(f"{line[: len(line) - len(stripped)]}pass")
        else:
            lines.append(line)
    return "\n".join(lines)


class _Reasons:
    def __init__(self, notebook: Notebook, connections: Collection[str], params: Collection[str]) -> None:
        self.notebook = notebook
        self.connections = set(connections)
        self.given = set(params)
        self.parameters = literal_parameters(notebook)
        cells = notebook.of(CellKind.CODE, CellKind.PARAMETERS, CellKind.INJECTED)
        read = [_Code(cell) for cell in cells]
        # Of parameters only those that can't be read are code that has to run.
        self.code = [
            each for cell, each in zip(cells, read, strict=True) if cell.kind is CellKind.CODE or each.opaque
        ]

    def all(self) -> Iterator[str]:
        for cell in self.notebook.cells:
            if cell.kind is CellKind.CODE:
                yield from self._code(cell)
            elif cell.kind is CellKind.CONNECTIONS:
                yield from self._connections(cell)
            elif cell.kind is CellKind.LOAD:
                yield from self._load(cell)

    def _code(self, cell: Cell) -> Iterator[str]:
        if cell.magic and _INNER_LOAD.search(cell.body):
            yield f"cell {cell.number} holds a load below %%{cell.magic}"
        for found in _WRITING.finditer(cell.source):
            yield f"cell {cell.number} says {found[1].strip()}"
        code = next(each for each in self.code if each.number == cell.number)
        if any(name.partition(".")[0] == "hwm_magics" for name in code.imports):
            yield f"cell {cell.number} uses hwm_magics from Python"
        elif code.opaque and "run_cell_magic" in cell.source and "hwm_" in cell.source:
            yield f"cell {cell.number} runs a magic from Python"

    def _connections(self, cell: Cell) -> Iterator[str]:
        value = _yaml(cell)
        self.connections.update(as_mapping(under_connections(value)))
        yield from self._references(cell, value, {})

    def _load(self, cell: Cell) -> Iterator[str]:
        value = _yaml(cell)
        try:
            given = {text.partition("=")[0] for text in cell.options.param}
        except ConfigError:
            given = set()
        declared: dict[str, object] = {}
        for node in nodes_of(value):
            declared.update(as_mapping(node.get("params")))
        declared.update(as_mapping(as_mapping(value).get("params")))
        for node in nodes_of(value):
            yield from self._node(cell, node)
        for name in sorted(given):
            declared.pop(name, None)
        yield from self._references(cell, value, declared, given)

    def _node(self, cell: Cell, node: Mapping[str, object]) -> Iterator[str]:
        transform = node.get("transform")
        if isinstance(transform, str) and ":" not in transform:
            yield f"cell {cell.number}: transform: {transform} is a function of the notebook"
        for side in ("read", "write"):
            name = as_mapping(node.get(side)).get("connection")
            if not isinstance(name, str) or name in self.connections or "${" in name:
                continue
            where = self._where(cell, name)
            if where:
                yield f"cell {cell.number}: {side}.connection: {name} is a variable {where}"

    def _references(
        self, cell: Cell, value: object, declared: Mapping[str, object], given: Collection[str] = ()
    ) -> Iterator[str]:
        """What the cell's references need; a notebook's variable wins over a default of ``params:``."""
        for text in _texts(value):
            for found in _ENVIRONMENT.finditer(text):
                setter = self._environment(cell, found[1])
                if setter:
                    yield f"cell {cell.number}: {found[0]} may be set {setter}"
        names = references(value)
        for name in sorted((names | set(declared)) - self.given - set(given)):
            used = name in names
            if name in self.parameters.computed:
                yield f"cell {cell.number}: ${{{name}}} is computed in the parameters cell"
                continue
            where = self._where(cell, name, certain=name in declared or name in self.parameters.values)
            if where:
                told = f"${{{name}}}" if used else f"the param {name}"
                yield f"cell {cell.number}: {told} is a variable {where}"

    def _where(self, cell: Cell, name: str, *, certain: bool = False) -> str:
        """Where code above a cell gives a name its value; "" for nowhere."""
        above = [code for code in self.code if code.number < cell.number]
        for code in reversed(above):
            if name in code.names:
                return f"of cell {code.number}"
        for code in reversed(above):
            if code.opaque and not certain:
                return f"that cell {code.number} may set"
        return ""

    def _environment(self, cell: Cell, name: str) -> str:
        for code in self.code:
            source = self.notebook.cells[code.number - 1].source
            above = code.number < cell.number
            if above and (
                name in code.texts or re.search(rf"%(?:env|set_env)\s+{re.escape(name)}\b", source)
            ):
                return f"in cell {code.number}"
            if above and ("dotenv" in code.imports or "%dotenv" in source):
                return f"by cell {code.number} (dotenv)"
        return ""


def _yaml(cell: Cell) -> object:
    """A cell's body as values; None where it is no YAML, which whoever runs it will tell."""
    try:
        return load_yaml(cell.body, offset=cell.offset, sensitive=True).value
    except ConfigError:
        return None


def nodes_of(value: object) -> Iterator[Mapping[str, object]]:
    """The blocks of single loads in a body of any shape."""
    nodes: object = [value]
    if isinstance(value, list):
        nodes = value
    elif isinstance(value, Mapping) and "nodes" in value:
        inner = value["nodes"]
        nodes = list(inner.values()) if isinstance(inner, Mapping) else inner
    for node in nodes if isinstance(nodes, list) else ():
        if isinstance(node, Mapping):
            yield node


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value
