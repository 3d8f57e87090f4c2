"""Completion in load cells, by IPython's matcher API: what fits at the cursor, in the words of this notebook."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)

from hwm_magics.notebook.examples import EXAMPLES
from hwm_magics.notebook.options import LOAD

if TYPE_CHECKING:
    from hwm_magics.config.offers import Fit
    from hwm_magics.config.yaml_place import Outline, Place
    from hwm_magics.jobs.context import LoadContext
    from hwm_magics.jobs.lookups import Lookups

__all__ = ["install", "uninstall"]

_IDENTIFIER = "hwm_magics.completion"
_HEAD = re.compile(r"%%(hwm_load|hwm_connections)\b[^\n]*\n")
_EXAMPLE = re.compile(r"%hwm_example\s+([\w-]*)\Z")
_OPTIONS = re.compile(r"%%?hwm_load\b[^\n]*\s(--?[\w-]*)\Z")
_BARE = re.compile(r"[A-Za-z_][\w.$-]*")
_NOT_BARE = frozenset({"true", "false", "null", "yes", "no", "on", "off"})
_WORD = re.compile(r"[\w$.]*\Z")
_TABLES = re.compile(r"\b(?:FROM|JOIN)\s+([\w$.\"`\[\]]+)", re.IGNORECASE)
_MOST = 300
_MOST_TABLES = 8


def install(shell: Any, context: Callable[[], LoadContext]) -> None:
    """Let a shell complete load cells; a second time is the same as once.

    Args:
        shell: The shell.
        context: Gives the connections and variables that the cell would see now.
    """
    uninstall(shell)
    completer = getattr(shell, "Completer", None)
    if completer is not None:
        completer.custom_matchers.append(_matcher(context, shell.user_ns))


def uninstall(shell: Any) -> None:
    """Take the completion out again."""
    completer = getattr(shell, "Completer", None)
    if completer is not None:
        completer.custom_matchers[:] = [
            each
            for each in completer.custom_matchers
            if getattr(each, "matcher_identifier", "") != _IDENTIFIER
        ]


def _matcher(
    context: Callable[[], LoadContext], variables: Mapping[str, object]
) -> Callable[[CompletionContext], SimpleMatcherResult]:
    lookups: list[Lookups] = []

    def matcher(asked: CompletionContext) -> SimpleMatcherResult:
        text = asked.full_text
        lines = text.split("\n")
        offset = sum(len(line) + 1 for line in lines[: asked.cursor_line]) + asked.cursor_position
        example = _EXAMPLE.match(text[:offset])
        if example is not None:
            return _result(example[1], [SimpleCompletion(each.name, type="example") for each in EXAMPLES])
        option = _OPTIONS.match(text[:offset]) if "\n" not in text[:offset] else None
        if option is not None:
            names = [name for each in LOAD for name in each.names if name.startswith("--")]
            return _result(option[1], [SimpleCompletion(name, type="option") for name in names])
        head = _HEAD.match(text)
        if head is None or offset < head.end():
            return SimpleMatcherResult(completions=[])
        try:
            from hwm_magics.jobs.lookups import Lookups

            if not lookups:
                lookups.append(Lookups())
            at = offset - head.end()
            return _Cell(head[1], text[head.end() :], at, context, variables, lookups[0]).result()
        except Exception:  # noqa: BLE001 - whoever types is not to be told; running the cell tells
            return _result("", [])

    # Above Jedi, which takes the YAML for Python.
    declare: Any = context_matcher(identifier=_IDENTIFIER, priority=1000)
    made: Callable[[CompletionContext], SimpleMatcherResult] = declare(matcher)
    return made


def _result(fragment: str, found: Iterable[SimpleCompletion]) -> SimpleMatcherResult:
    folded = fragment.casefold()
    fitting = [each for each in found if each.text.casefold().startswith(folded)][:_MOST]
    # IPython lets Python's names in when there is nothing: what stands there changes nothing.
    return SimpleMatcherResult(
        completions=fitting or [SimpleCompletion(fragment, type="text")],
        matched_fragment=fragment,
        suppress=True,
        ordered=True,
    )


class _Cell:
    """One question about one cell.

    Args:
        magic: The cell's magic.
        body: Its YAML.
        offset: The cursor in the YAML.
        context: Gives the connections.
        names: The notebook's variables.
        lookups: Asks databases.
    """

    def __init__(
        self,
        magic: str,
        body: str,
        offset: int,
        context: Callable[[], LoadContext],
        names: Mapping[str, object],
        lookups: Lookups,
    ) -> None:
        from hwm_magics.config.yaml_place import outline, place_at

        self._magic = magic
        self._after = body[offset:]
        self._place: Place = place_at(body, offset)
        self._told: Outline = outline(body)
        self._make_context = context
        self._made: LoadContext | None = None
        self._names = names
        self._lookups = lookups

    @property
    def _context(self) -> LoadContext:
        if self._made is None:
            self._made = self._make_context()
        return self._made

    def result(self) -> SimpleMatcherResult:
        """What fits."""
        from hwm_magics.config.offers import Kind, connection_fit, load_fit

        fit = (load_fit if self._magic == "hwm_load" else connection_fit)(self._place, self._told)
        written = self._place.written
        if fit.kind is Kind.SQL:
            word = _WORD.search(written)
            fragment = word[0] if word is not None else ""
            return _result(fragment, self._in_sql(written[: len(written) - len(fragment)], fragment))
        fragment = written.rpartition("\n")[2].lstrip()
        found = [*self._keys(fit), *self._words(fit)]
        return _result(fragment, found)

    def _keys(self, fit: Fit) -> Iterator[SimpleCompletion]:
        colon = re.match(r"[^\S\n]*:", self._after) is not None
        for key in fit.keys:
            # A block goes on in the next line, unless it stands in braces.
            tail = "" if colon else ":" if key.block and not self._place.flow else ": "
            yield SimpleCompletion(key.name + tail, type="key")

    def _words(self, fit: Fit) -> Iterator[SimpleCompletion]:
        for word in fit.words:
            yield SimpleCompletion(word, type="value")
        kind = fit.kind.value if fit.kind is not None else ""
        for name in self._named(fit):
            if name not in fit.taken and (written := self._as_yaml(name)) is not None:
                yield SimpleCompletion(written, type=kind)

    def _as_yaml(self, name: str) -> str | None:
        """A name as it can stand there."""
        quote = self._place.quote
        if any(ord(letter) < ord(" ") for letter in name):
            return None
        if quote == "'":
            return name.replace("'", "''")
        if not quote and _BARE.fullmatch(name) and name.lower() not in _NOT_BARE:
            return name
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return escaped if quote else f'"{escaped}"'

    def _named(self, fit: Fit) -> Iterable[str]:
        from hwm_magics.config.offers import Kind

        if fit.kind in (Kind.DATABASE, Kind.STORAGE):
            return self._connections(storage=fit.kind is Kind.STORAGE)
        if fit.kind is Kind.TABLE:
            return self._lookups.tables(self._connection())
        if fit.kind is Kind.COLUMN:
            return self._columns()
        if fit.kind is Kind.NODE:
            return self._nodes()
        return self._functions() if fit.kind is Kind.FUNCTION else ()

    def _connections(self, *, storage: bool) -> Iterator[str]:
        from hwm_magics.connections.base import DatabaseConnection, StorageConnection
        from hwm_magics.connections.objects import recognise
        from hwm_magics.connections.registry import UnusableConnection

        wanted = StorageConnection if storage else DatabaseConnection
        known = self._context.connections
        yield from (each.name for each in known if isinstance(each, wanted | UnusableConnection))
        if not storage:
            yield from (
                name
                for name, value in self._variables()
                if name not in known and recognise(name, value) is not None
            )

    def _variables(self) -> list[tuple[str, object]]:
        # A copy: a load in the background may add to them.
        return [(name, value) for name, value in list(self._names.items()) if not name.startswith("_")]

    def _functions(self) -> Iterator[str]:
        for name, value in self._variables():
            if inspect.isfunction(value) and value.__module__ == "__main__":
                yield name

    def _nodes(self) -> Iterator[str]:
        from hwm_magics.config.offers import node_path

        here = node_path(self._place.path)
        for path, text in self._told.values.items():
            if (
                path[-1:] == ("name",)
                and path[:-1] not in ((), here)
                and path[:-1] == node_path(path)
                and text
            ):
                yield text

    def _setting(self, *path: str) -> str:
        from hwm_magics.config.offers import node_path

        return self._told.text((*node_path(self._place.path), *path)).strip()

    def _connection(self) -> object:
        name = self._setting("read", "connection")
        if not name:
            name = str(self._context.project.defaults.read.get("connection") or "")
        return self._context.connections.database(name)

    def _columns(self) -> list[str]:
        """Columns of the table that is read, or of the tables that the query names."""
        table = self._setting("read", "table")
        tables = [table] if table else _named_tables(self._queries())
        connection = self._connection()
        found: dict[str, None] = {}
        for each in tables[:_MOST_TABLES]:
            found.update(dict.fromkeys(self._lookups.columns(connection, each)))
        return list(found)

    def _queries(self) -> str:
        places = (("read", "query"), ("read", "options", "query"), ("write", "first_run_query"))
        return "\n".join(self._setting(*place) for place in places)

    def _in_sql(self, before: str, fragment: str) -> Iterator[SimpleCompletion]:
        if not re.search(r"\b(?:FROM|JOIN)\s+\Z", before, re.IGNORECASE):
            # `o.upd`: an alias and the beginning of a column.
            owner, dot, _ = fragment.rpartition(".")
            for name in self._columns():
                if _BARE.fullmatch(name):
                    yield SimpleCompletion(f"{owner}{dot}{name}", type="column")
        for name in self._lookups.tables(self._connection()):
            if re.fullmatch(r"[\w$.]+", name):
                yield SimpleCompletion(name, type="table")


def _named_tables(sql: str) -> list[str]:
    return list(dict.fromkeys(_TABLES.findall(sql)))
