"""A session: runs batches and procedure calls against the database and yields what happened."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import NamedTuple

import duckdb
import pyarrow as pa
from sqlglot import exp

from . import system
from .batch import Dialect, If, Statement, parse, parse_parameters, split, syntax_error
from .convert import NVARCHAR
from .database import ColumnDef, Database, TableDef, arrow_array
from .tokens import ENV_BEGIN, ENV_COMMIT, ENV_DATABASE, ENV_ROLLBACK, Column, Param, RpcCall
from .tsql import Info, Translation, Translator
from .types import (
    MAX,
    TICKED,
    SqlError,
    SqlType,
    datetime_ticks,
    overflow,
    pack_offset,
    parse_type,
    round_ticks,
    to_storage,
    unsupported,
)  # fmt: skip

INT = SqlType("int")
BATCH_ROWS = 4096
SELECTED, INSERTED, DELETED, UPDATED = 0xC1, 0xC3, 0xC4, 0xC5  # what a DONE token says was run


@dataclass
class Rows:
    """A result set; ``batches`` is to be read once, before the next event."""

    columns: list[Column]
    batches: Iterator[list[tuple[object, ...]]]


class Done(NamedTuple):
    """The end of a statement: rows affected, and what it was (as the DONE token has it)."""

    rows: int | None = None
    command: int = 0


class Notice(NamedTuple):
    """An INFO message."""

    number: int
    text: str
    severity: int = 0
    state: int = 1


class Env(NamedTuple):
    """An ENVCHANGE."""

    kind: int
    new: str | bytes
    old: str | bytes = b""


class ReturnValue(NamedTuple):
    """An output parameter."""

    name: str
    type: SqlType
    value: object


Event = Rows | Done | Notice | Env | ReturnValue
Variables = dict[str, tuple[SqlType | None, object]]


class Cancelled(Exception):
    """The client sent an attention signal, or has gone."""


class Prepared(NamedTuple):
    """A prepared statement."""

    text: str
    declared: dict[str, SqlType]


class Session:
    """One connection's state; the environment of the statements it runs."""

    db: Database
    user: str
    host: str
    app: str
    database: str
    spid: int
    trancount: int
    isolation: int
    rowcount: int
    identity: object

    def __init__(self, db: Database, user: str, host: str = "", app: str = "") -> None:
        self.db, self.user, self.host, self.app = db, user, host, app
        self.database = db.name
        self.duck = db.duck.cursor()
        self.attentions = self.acknowledged = 0
        self.gone = self.broken = False
        self.trancount, self.implicit, self.isolation = 0, False, 2
        self.rowcount, self.identity = 0, None
        self.options: dict[str, str] = {}
        self.prepared: dict[int, Prepared] = {}
        self._handles = count(1)
        self._transactions = count(1)
        self._views = count(1)
        self._descriptor = 0
        self._opened = False
        self.first_row_version: bytes | None = None
        self._variables: Variables = {}
        self.spid = db.register(self)

    def close(self) -> None:
        """End the session."""
        self.db.sessions.pop(self.spid, None)
        self.duck.close()

    def reset(self) -> Iterator[Event]:
        """What a pooled connection asks for before its next use."""
        yield from self.rollback()
        self.implicit, self.isolation = False, 2
        self.options.clear()

    @property
    def cancelled(self) -> bool:
        """Whether an attention signal waits for its acknowledgement, or the client has gone."""
        return self.gone or self.attentions > self.acknowledged

    def cancel(self, *, gone: bool = False) -> int:
        """Stop what runs now (called from the reader thread); the attention's number."""
        self.attentions += 1
        self.gone = self.gone or gone
        with contextlib.suppress(duckdb.Error):  # closed already
            self.duck.interrupt()
        return self.attentions

    # -- transactions --------------------------------------------------------------------------

    @property
    def descriptor(self) -> bytes:
        """The open transaction's descriptor."""
        return struct.pack("<Q", self._descriptor)

    def begin(self) -> Iterator[Event]:
        """BEGIN TRANSACTION."""
        self.trancount += 1
        if self.trancount == 1:
            self._descriptor = (self.spid << 32) + next(self._transactions)
            if self.isolation > 2:  # above READ COMMITTED
                self._open()
            yield Env(ENV_BEGIN, self.descriptor)

    def commit(self) -> Iterator[Event]:
        """COMMIT."""
        if not self.trancount:
            text = "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION."
            raise SqlError(3902, text)
        self.trancount -= 1
        if not self.trancount:
            self._close("COMMIT")
            yield Env(ENV_COMMIT, b"", self.descriptor)

    def rollback(self) -> Iterator[Event]:
        """ROLLBACK, of the whole transaction; nothing when none is open."""
        if self.trancount:
            self.trancount = 0
            self._close("ROLLBACK")
            yield Env(ENV_ROLLBACK, b"", self.descriptor)

    def settle(self) -> Iterator[Event]:
        """After an error: DuckDB has aborted the transaction, so it ends (as XACT_ABORT ON)."""
        if self.broken:
            yield from self.rollback()
        self.broken = False

    def _failed(self, error: duckdb.Error) -> Exception:
        self.broken = True
        return translate_error(error, self.cancelled)

    def _implicit_begin(self) -> Iterator[Event]:
        if self.implicit and not self.trancount:
            yield from self.begin()

    def _before_change(self) -> Iterator[Event]:
        yield from self._implicit_begin()
        if self.trancount:
            self._open()
            if self.first_row_version is None:
                self.first_row_version = self.db.row_version(1)

    def _open(self) -> None:
        """Begin DuckDB's transaction: late, as it reads a snapshot and READ COMMITTED does not."""
        if not self._opened:
            self.duck.execute("BEGIN TRANSACTION")
            self._opened = True

    def _close(self, verb: str) -> None:
        if self._opened:
            self._opened = False
            self.duck.execute(verb)
        self.first_row_version = None

    # -- what the translator asks --------------------------------------------------------------

    def find_table(self, schema: str, name: str, args: Sequence[object] = ()) -> TableDef | None:
        """A table or system table."""
        if schema.lower() in ("sys", "information_schema"):
            found = system.table(self, schema.lower(), name.lower())
            if name.lower() == "mss_changes()":
                return system.changes(self, str(args[0]), args[1])
            if found is not None and name.lower() == "dm_exec_describe_first_result_set()":
                found.rows = lambda: system.described(self, str(args[0]))
            return found
        return self.db.find(schema, name)

    def view(self, found: TableDef) -> str:
        """A system table's rows, as a view of this session."""
        rows = [
            [to_storage(cell, column.type) for cell, column in zip(row, found.columns.values(), strict=True)]
            for row in (found.rows() if found.rows else [])
        ]
        arrays = {
            key: arrow_array([row[at] for row in rows], column.type)
            for at, (key, column) in enumerate(found.columns.items())
        }
        name = f"mss_view_{next(self._views)}"
        self.duck.register(name, pa.table(arrays))
        return name

    def variable(self, name: str) -> tuple[SqlType | None, object]:
        """A variable; error 137 when it was not declared."""
        found = self._variables.get(name.lower())
        if found is None:
            raise SqlError(137, f'Must declare the scalar variable "{name}".', severity=15)
        return found

    def system(self, name: str, args: Sequence[object]) -> tuple[SqlType, object] | None:
        """The value of a system function or @@variable."""
        return system.value(self, name, args)

    def now(self, kind: SqlType) -> object:
        """The clock, in storage form."""
        moment = self.db.now()
        ticks = round_ticks(datetime_ticks(moment), kind)
        return pack_offset(ticks, 0) if kind.name == "datetimeoffset" else ticks

    # -- batches -------------------------------------------------------------------------------

    def fetch(self, text: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Run a batch to its end; the rows of its last result set."""
        variables: Variables = {}
        for i, value in enumerate(values):
            text = text.replace("?", f"@v{i}", 1)
            kind = _python_type(value)
            variables[f"@v{i}"] = (kind, to_storage(value, kind))
        rows: list[tuple[object, ...]] = []
        for event in self.run(text, variables):
            if isinstance(event, Rows):
                rows = [row for batch in event.batches for row in batch]
        return rows

    def run(self, text: str, variables: Variables | None = None) -> Iterator[Event]:
        """Run a batch."""
        outer, self._variables = self._variables, dict(variables or {})
        try:
            for statement in split(text):
                yield from self._step(statement)
        except duckdb.Error as error:
            raise self._failed(error) from error
        finally:
            self._variables = outer

    def _step(self, statement: Statement | If) -> Iterator[Event]:
        if isinstance(statement, Statement):
            yield from self._statement(statement.text)
            return
        probe = f"SELECT CASE WHEN {statement.condition} THEN 1 ELSE 0 END"
        held = self._first(Translator(self).query(parse(probe)))
        for inner in statement.then if held else statement.otherwise:
            yield from self._step(inner)

    def _statement(self, text: str) -> Iterator[Event]:
        word = re.match(r"\s*([A-Za-z]*)\s*(.*)", text, re.DOTALL)
        special = _BY_WORD.get(word[1].lower()) if word else None
        if special is not None and word is not None:
            yield from special(self, word[2])
            return
        tree = parse(text)
        if isinstance(tree, exp.Query):
            yield from self._query(tree)
            return
        handler = _BY_TREE.get(type(tree))
        if handler is None:
            raise unsupported(f"this statement: {text.strip()[:60]}")
        yield from handler(self, tree)

    def _first(self, made: Translation) -> object:
        """The first value of a translated query."""
        (value,) = self.duck.execute(made.sql, made.args).fetchone() or (None,)
        return value

    def _query(self, tree: exp.Query) -> Iterator[Event]:
        if tree.args.get("into") is not None:
            raise unsupported("SELECT ... INTO")
        assigned = [e.this.name for e in tree.selects if isinstance(e, exp.EQ)]
        if assigned:
            yield from self._assign(tree, assigned)
            return
        translation = Translator(self).query(tree)
        if self.options.get("fmtonly") == "on":
            yield Rows(translation.described(), iter(()))
            yield Done(0)
            return
        if translation.reads_tables:
            yield from self._implicit_begin()
        yield from self._rows(translation)

    def _assign(self, tree: exp.Query, names: list[str]) -> Iterator[Event]:
        """SELECT @name = value: each variable takes its value of the last row, in its type."""
        for item in list(tree.selects):
            kind, _ = self.variable("@" + item.this.name)
            cast = exp.Cast(this=item.expression.copy(), to=exp.DataType.build(str(kind), Dialect))
            item.replace(exp.alias_(cast, f"v_{item.this.name}"))
        translation = Translator(self).query(tree)
        rows = self.duck.execute(translation.sql, translation.args).fetchall()
        for name, value in zip(names, rows[-1] if rows else ()):
            self._variables["@" + name.lower()] = (self.variable("@" + name)[0], value)
        yield Done()

    def _rows(self, translation: Translation) -> Iterator[Event]:
        cursor = self.duck.execute(translation.sql, translation.args)
        columns, fixes = finish_columns(translation.columns, cursor.description or [])
        self.rowcount = 0

        def batches() -> Iterator[list[tuple[object, ...]]]:
            while True:
                try:
                    batch = cursor.fetchmany(BATCH_ROWS)
                except duckdb.Error as error:
                    raise self._failed(error) from error
                if self.cancelled:
                    raise Cancelled
                if not batch:
                    return
                self.rowcount += len(batch)
                if fixes:
                    batch = [
                        tuple(
                            fixes[i](cell) if i in fixes and cell is not None else cell
                            for i, cell in enumerate(row)
                        )
                        for row in batch
                    ]
                yield batch

        yield Rows(columns, batches())
        yield Done(self.rowcount, SELECTED)

    # -- changes and definitions ---------------------------------------------------------------

    def _changed(self, translation: Translation, command: int) -> Iterator[Event]:
        yield from self._before_change()
        if translation.columns:  # OUTPUT
            yield from self._rows(translation)
            return
        self.rowcount = int(str(self._first(translation) or 0))
        yield Done(self.rowcount, command)

    def _insert(self, tree: exp.Expr) -> Iterator[Event]:
        assert isinstance(tree, exp.Insert)
        translator = Translator(self)
        table = translator.target(tree.this)
        yield from self._changed(translator.insert(tree), INSERTED)
        if any(column.identity for column in table.columns.values()):
            probe = f"SELECT currval('mss_identity_{table.object_id}')"
            self.identity = self._first(Translation(probe, {}))

    def _change(self, tree: exp.Expr) -> Iterator[Event]:
        assert isinstance(tree, exp.Update | exp.Delete)
        command = UPDATED if isinstance(tree, exp.Update) else DELETED
        yield from self._changed(Translator(self).change(tree), command)

    def _create(self, tree: exp.Expr) -> Iterator[Event]:
        kind = str(tree.args.get("kind")).upper()
        yield from self._before_change()
        if kind == "TABLE" and isinstance(tree.this, exp.Schema):
            table = tree.this.this
            if isinstance(table.this, exp.Identifier) and table.this.args.get("temporary"):
                raise unsupported("temporary tables")
            keys = {
                part.name.lower()
                for key in tree.this.find_all(exp.PrimaryKey)
                for part in key.find_all(exp.Identifier)
            }
            items = [item for item in tree.this.expressions if isinstance(item, exp.ColumnDef)]
            columns = [self._column(item, keys) for item in items]
            self.db.define(table.db or "dbo", table.name, columns, connection=self.duck)
        elif kind == "SCHEMA":
            name = (tree.this.db or tree.this.name).lower()
            self.duck.execute(f'CREATE SCHEMA IF NOT EXISTS "{name}"')
            self.db.schemas.append(name)
        elif kind != "INDEX":  # an index changes no answer
            raise unsupported(f"CREATE {kind}")
        yield Done()

    def _column(self, item: exp.ColumnDef, keys: set[str]) -> ColumnDef:
        column = ColumnDef(item.name, parse_type(item.args["kind"].sql(dialect=Dialect)))
        constraints = [c.args["kind"] for c in item.args.get("constraints") or []]
        for kind in constraints:
            if isinstance(kind, exp.NotNullColumnConstraint):
                column.nullable = bool(kind.args.get("allow_null"))
            elif isinstance(kind, exp.DefaultColumnConstraint):
                made = Translator(self).query(exp.select(exp.cast(kind.this, "varchar(max)")))
                text = str(self._first(made)).replace("'", "''")
                column.default = f"'{text}'::{column.type.storage}"
            elif isinstance(
                kind, exp.GeneratedAsIdentityColumnConstraint | exp.AutoIncrementColumnConstraint
            ):
                column.identity = True
            elif isinstance(kind, exp.PrimaryKeyColumnConstraint):
                column.primary_key = True
        column.primary_key = column.primary_key or item.name.lower() in keys
        if column.primary_key or column.identity or column.type.name == "rowversion":
            column.nullable = False
        return column

    def _drop(self, tree: exp.Expr) -> Iterator[Event]:
        if str(tree.args.get("kind")).upper() != "TABLE":
            raise unsupported(f"DROP {tree.args.get('kind')}")
        yield from self._before_change()
        for node in tree.args.get("tables") or [tree.this]:
            if self.find_table(node.db, node.name) is not None:
                self.db.drop_table(f"{node.db or 'dbo'}.{node.name}", connection=self.duck)
            elif not tree.args.get("exists"):
                text = f"Cannot drop the table '{node.name}', because it does not exist."
                raise SqlError(3701, text, severity=11)
        yield Done()

    def _truncate(self, tree: exp.Expr) -> Iterator[Event]:
        yield from self._before_change()
        for node in tree.expressions:
            self.duck.execute(f"DELETE FROM {Translator(self).target(node).duck_name}")
        yield Done()

    # -- statements known by their first word ----------------------------------------------------

    def _use(self, rest: str) -> Iterator[Event]:
        name = rest.strip('[]"; ')
        if name.lower() not in (self.db.name.lower(), "master", "tempdb"):
            raise SqlError(911, f"Database '{name}' does not exist.")
        old, self.database = self.database, name
        yield Env(ENV_DATABASE, name, old)
        yield Notice(5701, f"Changed database context to '{name}'.", state=2)
        yield Done()

    def _set(self, rest: str) -> Iterator[Event]:
        if rest.startswith("@"):
            yield from self._statement("SELECT " + rest)
            return
        words = rest.lower().replace(",", " ").split()
        if len(words) < 2:
            raise syntax_error("SET")
        if words[0] == "transaction":
            levels = {"uncommitted": 1, "committed": 2, "read": 3, "serializable": 4, "snapshot": 5}
            self.isolation = levels.get(words[-1], 2)
        elif words[0] == "implicit_transactions":
            self.implicit = words[-1] == "on"
        else:
            self.options[words[0]] = words[-1]
        yield Done()

    def _begin(self, rest: str) -> Iterator[Event]:
        yield from self.begin()
        yield Done()

    def _commit(self, rest: str) -> Iterator[Event]:
        yield from self.commit()
        yield Done()

    def _rollback(self, rest: str) -> Iterator[Event]:
        if not self.trancount:
            text = "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION."
            raise SqlError(3903, text)
        yield from self.rollback()
        yield Done()

    def _declare(self, tree: exp.Expr) -> Iterator[Event]:
        for item in tree.expressions:
            if not isinstance(item.args.get("kind"), exp.DataType):
                raise unsupported("table variables")
            kind = parse_type(item.args["kind"].sql(dialect=Dialect))
            for target in item.this if isinstance(item.this, list) else [item.this]:
                self._variables["@" + target.name.lower()] = (kind, None)
                default = item.args.get("default")
                if default:
                    assigned = exp.select(exp.EQ(this=target.copy(), expression=default))
                    for _ in self._assign(assigned, [target.name]):
                        pass
        yield Done()

    # -- procedures ----------------------------------------------------------------------------

    def call(self, rpc: RpcCall) -> Iterator[Event]:
        """Run a procedure call."""
        handler = _PROCEDURES.get(rpc.name)
        if handler is None and rpc.name.startswith("sp_cursor"):
            raise unsupported(f"server-side cursors ({rpc.name})")
        if handler is None:
            raise SqlError(2812, f"Could not find stored procedure '{rpc.proc}'.")
        yield from handler(self, rpc)

    def shown(self, rpc: RpcCall) -> tuple[str, list[Param]]:
        """The SQL a call runs and the parameters bound in it, for the record."""
        params = rpc.params
        if rpc.name == "sp_executesql":
            return str(params[0].raw), params[2:]
        if rpc.name in ("sp_prepexec", "sp_prepare"):
            return str(params[2].raw), params[3:] if rpc.name == "sp_prepexec" else []
        if rpc.name == "sp_execute":
            statement = self.prepared.get(_handle(rpc))
            return statement.text if statement else "", params[1:]
        return rpc.proc, params

    def _bound(self, declared: dict[str, SqlType], params: list[Param]) -> Variables:
        """Parameters as variables of their declared types."""
        out: Variables = {}
        names = iter(declared)
        for param in params:
            name = param.name.lower() or next(names, "")
            kind = declared.get(name)
            if kind is None:
                raise SqlError(8145, f"{param.name} is not a parameter for procedure .")
            param.declared = str(kind)
            out[name] = (kind, param.raw if kind == param.type else _recast(param, kind))
        missing = [name for name in declared if name not in out]
        if missing:
            text = f"The parameterized query expects the parameter '{missing[0]}'."
            raise SqlError(8178, text)
        return out

    def _execute_sql(self, rpc: RpcCall) -> Iterator[Event]:
        types = parse_parameters(rpc.params[1].raw if len(rpc.params) > 1 else None)
        yield from self.run(str(rpc.params[0].raw), self._bound(types, rpc.params[2:]))

    def _prepare(self, rpc: RpcCall) -> tuple[ReturnValue, Prepared]:
        handle = next(self._handles)
        self.prepared.pop(_handle(rpc), None)  # the driver's earlier one, now replaced
        statement = Prepared(str(rpc.params[2].raw), parse_parameters(rpc.params[1].raw))
        self.prepared[handle] = statement
        return ReturnValue(rpc.params[0].name, INT, handle), statement

    def _sp_prepare(self, rpc: RpcCall) -> Iterator[Event]:
        output, statement = self._prepare(rpc)
        declared: Variables = {name: (kind, None) for name, kind in statement.declared.items()}
        described, _ = self._describe(statement.text, declared)
        if described:
            yield Rows(described, iter(()))
            yield Done(0)
        yield output

    def _sp_prepexec(self, rpc: RpcCall) -> Iterator[Event]:
        output, statement = self._prepare(rpc)
        bound = self._bound(statement.declared, rpc.params[3:])
        yield from self.run(statement.text, bound)
        yield output

    def _sp_execute(self, rpc: RpcCall) -> Iterator[Event]:
        statement = self.prepared.get(_handle(rpc))
        if statement is None:
            text = f"Could not find prepared statement with handle {rpc.params[0].raw}."
            raise SqlError(8179, text)
        yield from self.run(statement.text, self._bound(statement.declared, rpc.params[1:]))

    def _sp_unprepare(self, rpc: RpcCall) -> Iterator[Event]:
        self.prepared.pop(_handle(rpc), None)
        yield Done()

    def describe(self, text: str) -> list[Column]:
        """The columns of a batch's first query, which is not run."""
        try:
            return self._describe(text, {})[0]
        except duckdb.Error as error:
            raise translate_error(error, cancelled=False) from error

    def _describe(self, text: str, variables: Variables) -> tuple[list[Column], dict[str, SqlType]]:
        """The first query's columns, and the types inferred for parameters; nothing is run."""
        outer, self._variables = self._variables, variables
        columns: list[Column] = []
        translator = Translator(self)
        try:
            for statement in split(text):
                tree = parse(statement.text) if isinstance(statement, Statement) else None
                if isinstance(tree, exp.Query) and not columns:
                    columns = translator.query(tree).described()
                elif isinstance(tree, exp.Insert):
                    translator.insert(tree)
                elif isinstance(tree, exp.Update | exp.Delete):
                    translator.change(tree)
        finally:
            self._variables = outer
        return columns, translator.inferred

    def _sp_describe_undeclared(self, rpc: RpcCall) -> Iterator[Event]:
        text = str(rpc.argument(0, "@tsql"))
        known = parse_parameters(rpc.argument(1, "@params"))
        variables: Variables = {name: (kind, None) for name, kind in known.items()}
        names = dict.fromkeys(m.lower() for m in re.findall(r"(?<!@)@\w+", text))
        unknown = [name for name in names if name not in known]
        variables.update(dict.fromkeys(unknown, (None, None)))
        _, inferred = self._describe(text, variables)
        kinds = [(name, inferred.get(name.lstrip("@"), NVARCHAR)) for name in unknown]
        yield from _table(*system.describe_parameters(kinds))

    def _sp_datatype_info(self, rpc: RpcCall) -> Iterator[Event]:
        yield from _table(*system.datatype_info(rpc))


def _table(columns: list[ColumnDef], rows: Sequence[tuple[object, ...]]) -> Iterator[Event]:
    """A result set made here."""
    stored = [
        tuple(to_storage(cell, column.type) for cell, column in zip(row, columns, strict=True))
        for row in rows
    ]
    described = [Column(column.name, column.type, column.nullable) for column in columns]
    yield Rows(described, iter([stored] if stored else []))
    yield Done(len(stored), SELECTED)


def _handle(rpc: RpcCall) -> int:
    value = rpc.params[0].raw
    return value if isinstance(value, int) else 0


def _recast(param: Param, kind: SqlType) -> object:
    """A wire value in its declared type (``datetime2(3)`` sent for ``datetime2``)."""
    value = param.raw
    if value is None or (param.type.name == kind.name and kind.name == "datetimeoffset"):
        return value
    both = kind.name in TICKED and param.type.name in TICKED
    if isinstance(value, int) and (both or kind.name == param.type.name == "time"):
        return round_ticks(value, kind)
    return to_storage(value, kind)


def _python_type(value: object) -> SqlType:
    """The type a Python value is bound as by ``Database.sql``."""
    if isinstance(value, bool):
        return SqlType("bit")
    if isinstance(value, int):
        return SqlType("bigint") if abs(value) >= 2**31 else INT
    if isinstance(value, float):
        return SqlType("float")
    if isinstance(value, Decimal):
        _, digits, exponent = value.as_tuple()
        scale = max(-exponent, 0) if isinstance(exponent, int) else 0
        return SqlType("decimal", precision=min(38, max(len(digits), scale + 1)), scale=scale)
    if isinstance(value, dt.datetime):
        return SqlType("datetimeoffset" if value.tzinfo else "datetime2", scale=7)
    if isinstance(value, dt.date):
        return SqlType("date")
    return SqlType("varbinary" if isinstance(value, bytes) else "nvarchar", length=MAX)


_DUCK_TYPES = {
    "BOOLEAN": SqlType("bit"), "UTINYINT": SqlType("tinyint"), "TINYINT": SqlType("smallint"),
    "SMALLINT": SqlType("smallint"), "INTEGER": INT, "BIGINT": SqlType("bigint"),
    "FLOAT": SqlType("real"), "DOUBLE": SqlType("float"), "DATE": SqlType("date"),
    "HUGEINT": SqlType("decimal", precision=38), "BLOB": SqlType("varbinary", length=MAX),
    "TIMESTAMP": SqlType("datetime2", scale=7), "TIME": SqlType("time", scale=7),
    "UUID": SqlType("uniqueidentifier"),
}  # fmt: skip
_WHOLE = {"TINYINT", "UTINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"}


def finish_columns(
    infos: list[Info], description: Sequence[Sequence[object]]
) -> tuple[list[Column], dict[int, Callable[[object], object]]]:
    """Result columns, with a conversion for each whose DuckDB type is not the storage type."""
    columns: list[Column] = []
    fixes: dict[int, Callable[[object], object]] = {}
    for i, (info, described) in enumerate(zip(infos, description, strict=True)):
        duck = str(described[1])
        digits = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", duck)
        kind = info.type
        if kind is None and digits:
            kind = SqlType("decimal", precision=int(digits[1]), scale=int(digits[2]))
        elif kind is None:
            kind = _DUCK_TYPES.get(duck, NVARCHAR)
        wanted = kind.storage
        same = wanted == duck or (wanted in _WHOLE and duck in _WHOLE)
        if not same and not (digits and wanted.startswith("DECIMAL")):
            fixes[i] = _fixer(kind)
        columns.append(Column(info.name, kind, info.nullable, info.identity))
    return columns, fixes


def _fixer(kind: SqlType) -> Callable[[object], object]:
    return lambda value: to_storage(value, kind)


# DuckDB's message, the SQL Server number, and its text (with the match's first group)
_ERRORS = [
    (r"Table with name (\S+) does not exist", 208, "Invalid object name '{0}'."),
    (r'Referenced column "([^"]*)" not found', 207, "Invalid column name '{0}'."),
    (r"Function with name (\S+) does not exist", 195,
     "'{0}' is not a recognized built-in function name."),
    (r'column "([^"]*)" must appear in the GROUP BY', 8120,
     "Column '{0}' is invalid in the select list because it is not contained in either an aggregate"
     " function or the GROUP BY clause."),
    (r"Could not convert string '(.*)' to U?INT", 245,
     "Conversion failed when converting the varchar value '{0}' to data type int."),
    (r"Could not convert string '(.*)' to", 8114, "Error converting data type varchar: '{0}'."),
    (r"NOT NULL constraint failed: \S+\.(\S+)", 515,
     "Cannot insert the value NULL into column '{0}'; column does not allow nulls. INSERT fails."),
    (r"[Dd]uplicate key \"([^\"]*)\"", 2627,
     "Violation of PRIMARY KEY constraint. The duplicate key value is ({0})."),
    (r"([Cc]onflict)", 3960, "Snapshot isolation transaction aborted due to update conflict."),
    (r"([Oo]ut of range|[Oo]verflow)", 8115, overflow(INT).text),
]  # fmt: skip


def translate_error(error: duckdb.Error, cancelled: bool) -> Exception:
    """The SQL Server error that a DuckDB error stands for."""
    text = str(error).split("\n")[0]
    made = re.search(r"SQL(\d+)\|(.*)", text)  # by the mss_fail macro
    if made:
        return SqlError(int(made[1]), made[2])
    if cancelled or isinstance(error, duckdb.InterruptException):
        return Cancelled()
    if isinstance(error, duckdb.ParserException):
        near = re.search(r'at or near "([^"]*)"', text)
        return syntax_error(near[1] if near else "")
    for pattern, number, message in _ERRORS:
        match = re.search(pattern, text)
        if match:
            return SqlError(number, message.format(match[1]))
    return unsupported(f"this query; DuckDB says: {text}")


_BY_WORD: dict[str, Callable[[Session, str], Iterator[Event]]] = {
    "use": Session._use, "set": Session._set, "begin": Session._begin,
    "commit": Session._commit, "rollback": Session._rollback,
}  # fmt: skip
_BY_TREE: dict[type[exp.Expr], Callable[[Session, exp.Expr], Iterator[Event]]] = {
    exp.Insert: Session._insert, exp.Update: Session._change, exp.Delete: Session._change,
    exp.Create: Session._create, exp.Drop: Session._drop, exp.Declare: Session._declare,
    exp.TruncateTable: Session._truncate,
}  # fmt: skip
_PROCEDURES: dict[str, Callable[[Session, RpcCall], Iterator[Event]]] = {
    "sp_executesql": Session._execute_sql, "sp_prepare": Session._sp_prepare,
    "sp_prepexec": Session._sp_prepexec, "sp_execute": Session._sp_execute,
    "sp_unprepare": Session._sp_unprepare, "sp_datatype_info": Session._sp_datatype_info,
    "sp_datatype_info_100": Session._sp_datatype_info,
    "sp_describe_undeclared_parameters": Session._sp_describe_undeclared,
}  # fmt: skip
