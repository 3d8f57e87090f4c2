"""The user's SQL, parsed: how it says what is new, and the statements that are made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from itertools import starmap
from typing import TYPE_CHECKING

from hwm_magics.core.cursor import CursorKind, CursorValue, Scalar
from hwm_magics.core.decided import Window
from hwm_magics.core.specs import ReadSpec, WriteSpec
from hwm_magics.core.sql_cursor import CursorExpression
from hwm_magics.core.sql_names import quote, quote_table, split_name, table_parts
from hwm_magics.core.sql_statement import Draft, Reading
from hwm_magics.core.sql_text import RESERVED_NAMES, SqlText, everything, is_target_hole
from hwm_magics.core.statement import Param, Statement
from hwm_magics.errors import ConfigError

if TYPE_CHECKING:
    from hwm_magics.core.sql_reader import SqlReader

__all__ = ["CursorExpression", "SourceQuery", "Way", "display", "prepare", "quote", "table_parts"]


class Way(StrEnum):
    """How a load says what is new."""

    WINDOW = "read.incremental"
    """We build the window around the table or query."""
    TARGET = "a subquery over the target"
    """The query reads the target; that part is evaluated on the target."""
    PARAMETERS = ":watermark in the query"
    """The query names the bounds itself."""
    PLAIN = "nothing"
    """Nothing says what is new: a rolling-window query, or a table to copy whole."""


@dataclass(frozen=True, slots=True)
class SourceQuery:
    """A reading of a source, parsed and checked, from which statements are made.

    Attributes:
        dialect: The sqlglot dialect of the source.
        way: How it says what is new.
        cursor: The cursor; given by ``read.incremental`` or inferred from the query (from
            ``MAX(column)`` over the target, or from ``column > :watermark``); None when unknown.
        target_queries: Scalar queries over the target that must be evaluated there first, in the
            target engine's SQL (DataFusion: PostgreSQL's dialect), the target named ``hwm_target``.
            Where the query says ``COALESCE(MAX(…), literal)`` only the MAX is asked for: for a NULL
            :meth:`rows` puts in the literal.
        operator: For ``TARGET`` and ``PARAMETERS``: the comparison as written (``>`` or ``>=``);
            "" when there is none to be found.
        names_high: Whether the query names ``:high`` itself.
        base_table: The table's quoted name when the relation is one table (``table:``, or
            ``SELECT … FROM one_table [WHERE …]`` without grouping, distinct, limit or joins); None otherwise.
        first_run_needs: Why a first run can't be derived from what was given, as a sentence; "" when it can.
        first_run_values: On a first run, what stands for the subqueries over a target that is not there.
    """

    dialect: str
    way: Way
    cursor: CursorExpression | None
    target_queries: tuple[str, ...]
    operator: str
    names_high: bool
    base_table: str | None
    first_run_needs: str = ""
    first_run_values: tuple[Param, ...] = ()
    _reading: Reading = field(default_factory=Reading, repr=False)

    @property
    def first_run_is_open(self) -> bool:
        """Whether what a first run reads names no bound itself, so that windows can be put around it."""
        return not any(
            text.has_low or text.target_holes or text.names("watermark") or text.names("high")
            for text in self._reading.first_texts
        )

    def rows(
        self,
        *,
        first_run: bool,
        window: Window | None = None,
        nulls: bool = False,
        values: tuple[Param, ...] = (),
        projection: Sequence[str] | None = None,
        limit_zero: bool = False,
        part: Sequence[str | Param] = (),
    ) -> Statement:
        """The statement that reads the rows.

        Args:
            first_run: Whether ``first_run_query``, if there is one, takes the query's place.
            window: The bounds: conditions around the query, except for those that the query names
                itself. None leaves them open, with NULL for the ones named: good to be shown,
                not to be run.
            nulls: Whether rows with a NULL cursor are read beside the window's. A query that says
                for itself what is new keeps those that it gives.
            values: What the subqueries over the target came to.
            projection: SELECT expressions in the source's dialect, instead of all columns.
            limit_zero: Whether only the columns are asked for, and no row.
            part: A condition that chooses one part of the rows; empty for all.

        Raises:
            ConfigError: ``:watermark`` has no value, or a first run can't be derived.
        """
        draft = self._draft(first_run=first_run, window=window, values=values, describing=limit_zero)
        selected = list(projection or (quote(name, self.dialect) for name in draft.columns))
        conditions = [["1 = 0"]] if limit_zero else draft.window(nulls=nulls)
        return draft.statement(selected, [*conditions, *([list(part)] if part else [])])

    def one_table(self, *, first_run: bool) -> tuple[str, str | None] | None:
        """The one table whose rows are read, each by itself, and the text that reads it.

        Args:
            first_run: Whether ``first_run_query``, if there is one, takes the query's place.

        Returns:
            The table's quoted name, and the query (None where a table was named); None for a query that
            does more than choose rows and columns of one table.
        """
        reading = self._reading
        text = reading.first if first_run and reading.first is not None else reading.query
        if text is None:
            return reading.table, None
        return (text.base_table, text.text) if text.base_table is not None else None

    def probe(
        self,
        expressions: Sequence[str],
        *,
        first_run: bool,
        window: Window | None = None,
        nulls: bool = False,
        values: tuple[Param, ...] = (),
    ) -> Statement:
        """The statement that asks something of the rows that would be read.

        Args:
            expressions: SELECT expressions in the source's dialect; ``{cursor}`` in them becomes the cursor's SQL.
            first_run: As for :meth:`rows`.
            window: As for :meth:`rows`. Without a high bound the query's own ``:high`` is left out.
                A query that names ``:watermark`` must be given a low bound, on a first run the initial
                value: with NULL there it would give no row, and everything would seem loaded.
            nulls: As for :meth:`rows`.
            values: As for :meth:`rows`.

        Raises:
            ConfigError: ``:watermark`` or a subquery over the target has no value, ``:high`` has none
                and can't be left out, or there is no cursor to put in.
        """
        draft = self._draft(first_run=first_run, window=window, values=values, probing=True)
        selected = []
        for expression in expressions:
            if "{cursor}" in expression and self.cursor is None:
                raise ConfigError(
                    "the query has no cursor column", hint="name it under read.incremental.column"
                )
            cursor = self.cursor.sql(self.dialect) if self.cursor is not None else ""
            selected.append(expression.replace("{cursor}", cursor))
        return draft.statement(selected, draft.window(nulls=nulls), wrap=True)

    def _draft(
        self,
        *,
        first_run: bool,
        window: Window | None,
        values: tuple[Param, ...],
        describing: bool = False,
        probing: bool = False,
    ) -> Draft:
        return Draft(
            self._reading,
            self.dialect,
            self.cursor,
            first_run=first_run,
            window=window,
            values=values,
            needs=self.first_run_needs,
            describing=describing,
            probing=probing,
        )

    def target_sql(self, columns: Sequence[str], dialect: str = "postgres") -> tuple[str, ...]:
        """The :attr:`target_queries` for a target with known columns.

        Args:
            columns: The target's columns. A name that differs from one of them in case only is
                spelled like it, since the source may not care about case.
            dialect: The sqlglot dialect to write in.
        """
        by_case = {name.lower(): name for name in columns}

        def respell(found: re.Match[str]) -> str:
            name = (found[1] or "").replace('""', '"')
            if not found[1] or name in columns:
                return found[0]
            return quote(by_case.get(name.lower(), name), "postgres")

        pattern = re.compile(r"""'(?:[^']|'')*'|"((?:[^"]|"")+)\"""")
        queries = tuple(pattern.sub(respell, query) for query in self.target_queries)
        if dialect == "postgres" or not queries:
            return queries
        import sqlglot

        return tuple(sqlglot.transpile(query, read="postgres", write=dialect)[0] for query in queries)


def prepare(read: ReadSpec, write: WriteSpec, dialect: str) -> SourceQuery:
    """Parse and check what the user wrote; nothing is asked of any database.

    Args:
        read: Where rows come from. With a query, ``read.table`` is only a label.
        write: Where rows go: its names, as far as the query speaks of the target, and
            ``first_run_query``.
        dialect: The sqlglot dialect of the source.

    Raises:
        ConfigError: A text is empty, a parameter has no value, a name is none, or the query reads
            the target or the bounds in a way that can't be carried out.
        QueryError: A text is not one valid SELECT of the dialect.
    """
    given = read.cursor
    cursor = CursorExpression.of(given) if given else None
    if cursor is not None:
        cursor.sql(dialect)  # refuses a name or a date_format that can't be used
    reading, targets = _read(read, write, dialect)
    texts = reading.texts
    way = _way(texts, cursor, targets)
    if way in (Way.TARGET, Way.PARAMETERS) and cursor is None:
        cursor = _inferred(texts, way)
    names_high = any(text.names("high") for text in texts)
    if cursor is None and (names_high or any(text.names("high") for text in reading.first_texts)):
        raise ConfigError(
            "the query names :high, and there is no cursor column to take it from",
            hint="name it under read.incremental.column",
        )
    operators = {text.operator for text in texts if text.has_low}
    fallbacks = {hole.name: hole.fallback for text in reading.first_texts for hole in text.target_holes}
    return SourceQuery(
        dialect=dialect,
        way=way,
        cursor=cursor,
        target_queries=targets,
        operator=operators.pop() if len(operators) == 1 else "",
        names_high=names_high,
        base_table=reading.table or (reading.query.base_table if reading.query else None),
        first_run_needs=_first_run_needs(reading),
        first_run_values=tuple(Param(name, value) for name, value in fallbacks.items() if value is not None),
        _reading=reading,
    )


def _read(read: ReadSpec, write: WriteSpec, dialect: str) -> tuple[Reading, tuple[str, ...]]:
    """What the user wrote, and the scalar queries over the target in what later runs read."""
    table = ""
    if read.query is None:
        relation = read.relation
        if relation is None:
            raise ConfigError("read has neither a table nor a query", hint="write read.table or read.query")
        table = quote_table(table_parts(relation, dialect), dialect)
    plain = Reading(
        table,
        columns=read.columns,
        params=tuple(starmap(Param, read.params.items())),
        initial=read.cursor.initial_value if read.cursor is not None else None,
    )
    names = frozenset(tuple(part.lower() for part in split_name(name)) for name in write.names)
    reader = _Reader(dialect, names, read.params)
    query = reader.query(read.query, "read.query") if read.query is not None else None
    where = reader.full().condition(read.where, "read.where") if read.where is not None else None
    first = None
    if write.first_run_query is not None:
        # A reader of its own: what it finds of the target is never asked, as there is no target then.
        first = _Reader(dialect, names, read.params).query(write.first_run_query, "write.first_run_query")
    return replace(plain, query=query, where=where, first=first), reader.targets


class _Reader:
    """Reads texts, with sqlglot only where one needs it: its import takes 0.1 s."""

    def __init__(self, dialect: str, names: frozenset[tuple[str, ...]], params: Mapping[str, Scalar]) -> None:
        self.dialect = dialect
        self.names = names
        self.params = params
        self._full: SqlReader | None = None

    def full(self) -> SqlReader:
        if self._full is None:
            from hwm_magics.core.sql_reader import SqlReader

            self._full = SqlReader(self.dialect, self.names, self.params)
        return self._full

    def query(self, text: str, label: str) -> SqlText:
        found = everything(text, label, self.dialect)
        if found is not None and tuple(part.lower() for part in found[1]) not in self.names:
            return found[0]
        return self.full().query(text, label)

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(query for query, _ in self._full.targets) if self._full is not None else ()


def _way(texts: Sequence[SqlText], cursor: CursorExpression | None, targets: tuple[str, ...]) -> Way:
    names_watermark = any(text.names("watermark") for text in texts)
    if targets and names_watermark:
        raise ConfigError(
            "the query reads the target and names :watermark too",
            hint="say what is new in one way: leave one of them out",
        )
    if targets:
        return Way.TARGET
    if names_watermark:
        return Way.PARAMETERS
    return Way.WINDOW if cursor is not None else Way.PLAIN


def _inferred(texts: Sequence[SqlText], way: Way) -> CursorExpression | None:
    found = {text.low for text in texts if text.has_low}
    low = found.pop() if len(found) == 1 else None
    if low is not None:
        return CursorExpression(low.column, low.fallback)
    if way is Way.TARGET:
        return None
    raise ConfigError(
        "the query names :watermark, and it can't be told which of its columns is the cursor",
        hint="compare one column that the query selects with it, or name the column under read.incremental.column",
    )


def _first_run_needs(reading: Reading) -> str:
    for text in reading.first_texts:
        if any(hole.fallback is None for hole in text.target_holes):
            return (
                f"on a first run there is no target, and {text.label} compares with a subquery over it that "
                "has no COALESCE(…, literal)"
            )
        if text.names("watermark") and not text.optional_low and reading.initial is None:
            return f"on a first run there is no watermark, and {text.label} names :watermark"
    return ""


def display(statement: Statement) -> str:
    """The statement for people: values as literals in their places.

    A bound that is still open is shown by its name, such as ``:watermark``.
    """
    return "".join(part if isinstance(part, str) else _shown(part) for part in statement.parts)


def _shown(param: Param) -> str:
    value = param.value
    if value is None:
        is_open = param.name in RESERVED_NAMES or is_target_hole(param.name)
        return f":{param.name}" if is_open else "NULL"
    if isinstance(value, CursorValue):
        if value.type.kind in (CursorKind.INTEGER, CursorKind.DECIMAL, CursorKind.ROWVERSION):
            return str(value)
    elif isinstance(value, bool):
        return str(value).upper()
    elif isinstance(value, int | Decimal):
        return str(value)
    text = str(value)
    return "'" + text.replace("'", "''") + "'"
