"""Rules between the settings of one load, and the load spec that obeys them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from hwm_magics.config.defaults import Defaults
from hwm_magics.config.durations import parse_duration
from hwm_magics.config.models import FILE_FORMATS, Format, NodeModel, ReadModel, WriteModel
from hwm_magics.config.resolved import Read, Write, below, resolve_read, resolve_write
from hwm_magics.config.validation import validate
from hwm_magics.config.yaml_loader import Document, Path
from hwm_magics.connections.base import StorageConnection, path_problem
from hwm_magics.connections.registry import Connections
from hwm_magics.connections.words import did_you_mean, listed
from hwm_magics.core.cursor import Scalar
from hwm_magics.core.file_options import Changed, FileOptions
from hwm_magics.core.specs import LoadSpec, ReadSpec, SchemaPolicy, WriteMode, WriteSpec
from hwm_magics.errors import ConfigError

__all__ = ["NodeContext", "build_load", "default_name", "simple_table"]

_PART = r"(?:\"[^\"]+\"|\[[^\]]+\]|`[^`]+`|[\w$#]+)"
_SIMPLE = re.compile(rf"\s*SELECT\s+\*\s+FROM\s+({_PART}(?:\.{_PART}){{0,3}})\s*;?\s*", re.IGNORECASE)
_TRANSFORM = re.compile(r"[A-Za-z_][\w.]*(?::[A-Za-z_][\w.]*)?")
_TABLE = re.compile(r"[\w$\-]+(?:\.[\w$\-]+){0,2}")
_LATER = "is not in this version yet"


@dataclass(slots=True)
class NodeContext:
    """What a node's rules need to know beside the node.

    Attributes:
        document: Takes the problems.
        path: Where the node stands.
        defaults: Of ``hwm.yaml``.
        failed: Paths whose values were wrong; rules about them are not judged.
        params: Values that the node's SQL names.
        engine: The pipeline's engine.
        connections: The known connections, so that an unknown name is found with its line; None to
            leave that to whoever uses the name.
        notes: Takes what is worth knowing.
    """

    document: Document
    path: Path
    defaults: Defaults
    failed: frozenset[Path]
    params: Mapping[str, Scalar]
    engine: str | None = None
    connections: Connections | None = None
    notes: list[tuple[Path, str]] = field(default_factory=list)

    def report(self, place: Path, message: str) -> None:
        """Note a problem, unless the value in question was wrong in itself."""
        if not self.touched(place):
            self.document.problems.append(self.document.problem(place, message))

    def note(self, place: Path, message: str) -> None:
        """Note something worth knowing."""
        self.notes.append((place, message))

    def touched(self, place: Path) -> bool:
        """Whether the value there, or the block it stands in, was wrong."""
        return any(place[: len(each)] == each for each in self.failed)

    def inside(self, place: Path) -> bool:
        """Whether anything in that block was wrong."""
        return any(each[: len(place)] == place for each in self.failed)


def simple_table(query: str | None) -> str | None:
    """The table of a plain ``SELECT * FROM table``, or None."""
    found = _SIMPLE.fullmatch(query) if query is not None else None
    return found[1] if found is not None else None


def default_name(path: str | None, table: str | None) -> str:
    """The name of a load that has none: its path with dots for slashes (``raw.orders``), else its table.

    The path comes first because a load keeps its watermark under its name: registering the same
    folder under another name later must not start it anew.
    """
    if path is not None:
        return ".".join(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))
    return table or ""


def build_load(node: NodeModel, name: str, context: NodeContext) -> LoadSpec | None:
    """Judge a node by the rules between its settings.

    Args:
        node: The node without what was wrong in it.
        name: Its name.
        context: What else counts; takes problems and notes.

    Returns:
        The load; None when anything is wrong in the document.
    """
    read_path, write_path = (*context.path, "read"), (*context.path, "write")
    write = _write(node.write, write_path, context)
    read = _read(node.read, read_path, write, context)
    _check_connections(node, read, write, context)
    if write is not None:
        _check_write(write, write_path, context)
    if read is not None and write is not None:
        _check_both(node, read, write, context)
    if node.transform is not None and not _TRANSFORM.fullmatch(node.transform):
        context.report(
            (*context.path, "transform"),
            f"{node.transform!r} is no function's name: write one of the notebook's, or module:function",
        )
    if read is None or write is None or read.connection is None or write.connection is None:
        return None
    if context.document.problems:
        return None
    engine = (
        node.engine.value if node.engine is not None else context.engine or context.defaults.engine or "auto"
    )
    return LoadSpec(
        name,
        _read_spec(read, read.connection, context),
        _write_spec(write, write.connection),
        engine,
        node.transform,
        node.depends_on or (),
    )


def _read_spec(read: Read, connection: str, context: NodeContext) -> ReadSpec:
    return ReadSpec(
        connection,
        read.format or "",
        # A query is the more exact of the two: with both, as in Odibi's examples, it wins.
        None if read.query is not None else read.table,
        read.query,
        read.columns or (),
        read.where,
        read.cursor.spec() if read.cursor is not None else None,
        dict(context.params),
        read.options,
        read.partition,
        read.path,
        _line(context),
    )


def _line(context: NodeContext) -> int | None:
    """Where the query or table stands, for what the source will say of it."""
    read = (*context.path, "read")
    places = ((*read, "query"), (*read, "options", "query"), (*read, "table"))
    marks = context.document.marks
    return next((marks[place].line for place in places if place in marks), None)


def _write_spec(write: Write, connection: str) -> WriteSpec:
    return WriteSpec(
        connection,
        write.path,
        write.table,
        write.mode or WriteMode.APPEND,
        write.keys or (),
        write.register_table,
        write.first_run_query,
        write.schema or SchemaPolicy.EVOLVE,
        write.partition_by or (),
        write.cluster_by or (),
        bool(write.optimize_write),
        write.properties,
        write.chunk,
    )


def _write(model: WriteModel | None, path: Path, context: NodeContext) -> Write | None:
    default = Write()
    if context.defaults.write:
        # It was judged when hwm.yaml was read.
        quiet = Document(None)
        default = resolve_write(
            validate(WriteModel, context.defaults.write, (), quiet)[0], (), lambda *_: None
        )
    if model is None:
        if not context.inside(path):
            context.report(path, _NO_WRITE)
        return None
    own = resolve_write(model, path, context.report)
    if own.partition_by is not None or own.cluster_by is not None:
        default.partition_by = default.cluster_by = None
    if model.format is not None and model.format.lower() != "delta":
        tail = (
            did_you_mean(model.format, ("delta",))
            or ": targets are Delta tables, so write delta or leave it away"
        )
        context.report((*path, "format"), f"{model.format!r} is not supported{tail}")
    if model.first_run is not None and own.chunk is None and not context.inside((*path, "first_run")):
        context.report((*path, "first_run"), "it says nothing: add chunk: 30d, or leave first_run away")
    if own.mode is WriteMode.OVERWRITE:
        default.chunk = None
    return _with_places(below(own, default), own)


def _with_places(merged: Write, own: Write) -> Write:
    merged.places = own.places
    return merged


def _read(model: ReadModel | None, path: Path, write: Write | None, context: NodeContext) -> Read | None:
    default = Read()
    if context.defaults.read:
        quiet = Document(None)
        parsed = validate(ReadModel, context.defaults.read, (), quiet)[0]
        default = resolve_read(parsed, (), lambda *_: None, lambda *_: None)
    if model is None:
        if context.touched(path):
            return None
        if default.connection is None:
            context.report(path, _no_read(write))
            return None
        own = Read()
    else:
        _not_yet(model, path, context)
        own = resolve_read(model, path, context.report, context.note)
    has_own = own.table is not None or own.query is not None or own.path is not None
    if has_own:
        default.table = default.query = default.path = None
    if _brings_its_own_window(own, write):
        default.cursor = None
    read = below(own, default)
    if read.table is None and read.query is None and read.path is None and not _source_failed(path, context):
        first = write.first_run_query if write is not None else None
        if first is None:
            context.report(
                path, "it names nothing to read: add table: dbo.orders, query: SELECT …, or path: for files"
            )
        elif simple_table(first) is not None:
            read.table = simple_table(first)
            context.note(path, f"it names no table, so later runs read that of first_run_query: {read.table}")
        else:
            read.query = first
            context.note(path, "it names no table or query, so later runs use first_run_query too")
    return read


def _source_failed(path: Path, context: NodeContext) -> bool:
    places = (("table",), ("query",), ("path",), ("options",), ("options", "query"))
    return any(context.touched((*path, *place)) for place in places) or context.touched((*path[:-1], "write"))


def _brings_its_own_window(own: Read, write: Write | None) -> bool:
    """Whether a default for ``read.incremental`` would be a second answer to the same question."""
    if write is not None and write.mode is WriteMode.OVERWRITE:
        return True
    query = own.query or ""
    if re.search(r"(?<!:):(?:watermark|high)\b", query) or "{target}" in query:
        return True
    names = [name for name in ((write.register_table, write.table) if write is not None else ()) if name]
    return any(re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", query, re.IGNORECASE) for name in names)


def _not_yet(model: ReadModel, path: Path, context: NodeContext) -> None:
    if model.format is Format.JDBC:
        context.report(
            (*path, "format"),
            f"jdbc {_LATER}: write sql_server, postgres, sqlite, odbc or sql, as the connection is",
        )


def _check_connections(node: NodeModel, read: Read | None, write: Write | None, context: NodeContext) -> None:
    for block, settings, model in (("read", read, node.read), ("write", write, node.write)):
        place = (*context.path, block, "connection")
        if settings is None or context.touched(place):
            continue
        known = context.connections
        if settings.connection is None:
            # Without a read block its absence was reported already.
            if model is not None:
                names = f" (known: {listed(known.names)})" if known is not None and known.names else ""
                context.report(
                    place,
                    f"it is missing{names}: name a connection of hwm.yaml or of a %%hwm_connections cell",
                )
        elif known is not None:
            try:
                if block == "read":
                    if read is not None and read.path is not None:
                        known.storage(settings.connection, "read.connection, for files,")
                    else:
                        known.database(settings.connection)
                    continue
                storage = known.storage(settings.connection)
            except ConfigError as error:
                context.report(place, f"{error.message}" + (f" ({error.hint})" if error.hint else ""))
                continue
            if write is not None and write.path is not None and path_problem(write.path) is None:
                _check_place(storage, write.path, (*context.path, "write", "path"), context)


def _check_place(storage: StorageConnection, path: str, place: Path, context: NodeContext) -> None:
    """A path that leaves its root, by being absolute or through a link, is told with its line."""
    try:
        storage.uri(path)
    except ConfigError as error:
        context.report(place, error.message)


def _check_write(write: Write, path: Path, context: NodeContext) -> None:
    if write.path is None and write.table is None:
        if not (context.touched((*path, "path")) or context.touched((*path, "table"))):
            context.report(path, "it names no target: add path: raw/orders, or table: raw.orders")
    elif write.path is not None and (problem := path_problem(write.path)) is not None:
        context.report((*path, "path"), problem)
    for name in ("table", "register_table"):
        value = getattr(write, name)
        if value is not None and not _TABLE.fullmatch(value):
            context.report(
                (*path, name), f"{value!r} is no table's name: write name, schema.name or catalog.schema.name"
            )
    if write.table and write.register_table and write.table != write.register_table:
        context.report(
            (*path, "register_table"),
            f"it differs from table ({write.table}): a target has one name, keep one of them",
        )
    if write.partition_by and write.cluster_by:
        context.report(
            write.places["cluster_by"],
            "a table is either partitioned or clustered: keep cluster_by, or partition_by",
        )
    needs_keys = write.mode in (WriteMode.UPSERT, WriteMode.APPEND_ONCE)
    if needs_keys and not write.keys and not _keys_failed(path, context):
        context.report(
            (*path, "mode"), f"mode: {write.mode} needs the columns that identify a row: add keys: [order_id]"
        )


def _keys_failed(path: Path, context: NodeContext) -> bool:
    places = (("keys",), ("merge_keys",), ("options", "keys"), ("options", "merge_keys"))
    return any(context.touched((*path, *place)) for place in places)


_SUFFIXES = {
    "csv": "csv",
    "json": "json",
    "jsonl": "json",
    "ndjson": "json",
    "parquet": "parquet",
    "orc": "orc",
}


def _check_files(read: Read, write: Write, context: NodeContext) -> None:
    """Rules of files as a source."""
    path = (*context.path, "read")
    files = {each.value for each in FILE_FORMATS}
    if read.path is None:
        if read.format in files:
            context.report((*path, "path"), f"files ({read.format}) need it: add path: landing/orders/*.csv")
        return
    if (problem := path_problem(read.path)) is not None:
        context.report((*path, "path"), problem)
    for name in ("table", "query"):
        if getattr(read, name) is not None:
            context.report((*path, name), "there is a path, too: read one of them")
    if read.format is None:
        plain = re.sub(r"\.(gz|bz2|zst|lz4)$", "", read.path.lower())
        read.format = _SUFFIXES.get(plain.rpartition(".")[2])
    if read.format not in files:
        told = "it is missing" if read.format is None else f"{read.format} is no kind of file"
        context.report((*path, "format"), f"{told}: write csv, json, parquet, delta or orc")
    _check_file_options(read, write, (*path, "options"), context)


def _check_file_options(read: Read, write: Write, path: Path, context: NodeContext) -> None:
    settle = read.options.get("settle")
    if isinstance(settle, str):
        try:
            read.options["settle"] = parse_duration(settle)
        except ValueError as error:
            context.report((*path, "settle"), str(error))
            return
    try:
        options = FileOptions.of(
            ReadSpec("", read.format or "", path=read.path, options=read.options), engine=""
        )
    except ConfigError as error:
        name = re.match(r"read\.options\.(\w+)", error.message)
        place = (*path, name[1]) if name else path
        context.report(place, error.message + (f" ({error.hint})" if error.hint else ""))
        return
    if read.format == Format.DELTA and "changed" in read.options and options.changed is not Changed.IGNORE:
        context.report(
            (*path, "changed"),
            "of a Delta table there is only changed: ignore, which passes over versions that changed rows; left away, "
            "they are read again by mode: upsert and append_once, and stop a load in mode: append",
        )
        return
    if options.changed is Changed.LOAD and write.mode in (None, WriteMode.APPEND):
        context.report(
            (*path, "changed"),
            "in mode: append the rows of a changed file would double: use mode: upsert with keys, or changed: error",
        )


def _check_both(node: NodeModel, read: Read, write: Write, context: NodeContext) -> None:
    path = (*context.path, "read")
    _check_files(read, write, context)
    incremental = (*path, "incremental")
    own_cursor = node.read is not None and node.read.incremental is not None
    if write.mode is WriteMode.OVERWRITE and own_cursor:
        context.report(
            incremental,
            "mode: overwrite re-reads everything and replaces the target, so nothing about it is incremental: "
            "use append or upsert, or leave incremental away",
        )
    if (
        read.cursor is not None
        and read.cursor.column is None
        and not (context.touched((*incremental, "column")) or context.touched((*incremental, "key_column")))
    ):
        context.report(incremental, "the cursor column is missing: add column: updated_at")
    _check_chunk(node, read, write, context)
    if read.query is not None and read.columns:
        context.report(
            (*path, "columns"),
            "it is for a table; name the columns in the query itself, and leave columns away",
        )


def _check_chunk(node: NodeModel, read: Read, write: Write, context: NodeContext) -> None:
    """Rules of a first load in chunks; what only the source can tell is judged by the plan."""
    own = node.write is not None and node.write.first_run is not None
    place = (*context.path, "write", "first_run")
    if write.chunk is None or context.inside(place):
        return
    if write.mode is WriteMode.OVERWRITE:
        context.report(
            place if own else (*context.path, "write", "mode"),
            "mode: overwrite replaces all rows in one commit, each time, so it can't load in chunks: use append or "
            "upsert, or leave first_run away",
        )
    elif read.cursor is None and own and not context.inside((*context.path, "read")):
        context.report(
            place,
            "windows are laid along a cursor column: add read.incremental: {column: updated_at}, or leave first_run "
            "away",
        )
    elif read.cursor is None:
        write.chunk = None  # a default suits the loads that it can suit


_NO_WRITE = """there is no write: block, so it can't be told where rows go. Add:
        write:
          connection: lake        # a storage connection
          path: raw/orders        # a folder below its root
          mode: append            # append | upsert | append_once | overwrite"""


def _no_read(write: Write | None) -> str:
    first = write.first_run_query if write is not None else None
    table = simple_table(first)
    if first is not None and table is None:
        source = "query: SELECT …          # what to read from the second run on"
    else:
        source = f"table: {table or 'dbo.orders'}".ljust(24) + "# or query: SELECT …"
    return f"""there is no read: block, so it can't be told where rows come from, or which are new. Add:
        read:
          connection: sql_server  # a database connection
          {source}
          incremental:
            column: updated_at    # says how new a row is
      or name a default in hwm.yaml, under defaults: read:"""
