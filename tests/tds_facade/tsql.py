"""T-SQL to DuckDB: sqlglot parses, qualifies and generates; this module types and lowers.

Every expression gets the SQL Server type it would have, scope by scope, because storage alone does
not tell a ``datetime`` from a ``bigint``.  The types decide the result columns, the implicit
conversions of comparisons (by SQL Server's precedence) and how tick-stored values meet DuckDB's own
date functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from sqlglot import exp
from sqlglot.errors import OptimizeError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, traverse_scope

from .batch import Dialect
from .convert import (
    BIGINT,
    DATE,
    DATETIME,
    DATETIME2,
    DATETIMEOFFSET,
    DAY,
    FLOAT,
    GUID,
    INT,
    NVARCHAR,
    OFFSETS,
    Converter,
    arith,
    arithmetic_type,
    call,
    cast,
    differs,
    kind_of,
    mark,
    merge,
)  # fmt: skip
from .database import ColumnDef, TableDef
from .tokens import Column
from .types import (
    BINARY,
    CHARACTER,
    EXACT,
    INTEGERS,
    MAX,
    TEMPORAL,
    TICKED,
    SqlError,
    SqlType,
    parse_type,
    unsupported,
)  # fmt: skip

# DATEADD in ticks for units of a fixed length, in months for the others.
_TICKS = {
    "microsecond": 10, "millisecond": 10_000, "second": 10_000_000, "minute": 600_000_000,
    "hour": 36_000_000_000, "day": DAY, "week": 7 * DAY,
}  # fmt: skip
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_UNITS = {
    "mcs": "microsecond", "ms": "millisecond", "ss": "second", "s": "second", "mi": "minute",
    "n": "minute", "hh": "hour", "dd": "day", "d": "day", "dy": "day", "dayofyear": "day",
    "wk": "week", "ww": "week", "mm": "month", "m": "month", "qq": "quarter", "q": "quarter",
    "yy": "year", "yyyy": "year",
}  # fmt: skip


class Environment(Protocol):
    """What a statement may ask of the session that runs it."""

    def find_table(self, schema: str, name: str, args: Sequence[object] = ()) -> TableDef | None:
        """A table by name; a table-valued function by its name, parentheses and arguments."""

    def view(self, found: TableDef) -> str:
        """The name under which DuckDB finds the rows of a system table."""

    def variable(self, name: str) -> tuple[SqlType | None, object]:
        """A variable's or parameter's type and stored value; no type while describing."""

    def system(self, name: str, args: Sequence[object]) -> tuple[SqlType, object] | None:
        """The value of a system function or @@variable; None when it is not one."""


@dataclass
class Info:
    """A column as a scope sees it."""

    name: str
    type: SqlType | None
    nullable: bool = True
    identity: bool = False


@dataclass
class Translation:
    """A statement ready for DuckDB; ``columns`` are those of its result."""

    sql: str
    args: dict[str, object]
    columns: list[Info] = field(default_factory=list)
    reads_tables: bool = False

    def __post_init__(self) -> None:
        # Folding leaves constants behind that the text no longer uses; DuckDB refuses those.
        used = set(re.findall(r"\$(b\d+)\b", self.sql))
        self.args = {name: value for name, value in self.args.items() if name in used}

    def described(self) -> list[Column]:
        """The columns, untyped ones as nvarchar."""
        return [Column(c.name, c.type or NVARCHAR, c.nullable, c.identity) for c in self.columns]


class Translator(Converter):
    """Translates one statement."""

    def __init__(self, env: Environment) -> None:
        super().__init__()
        self.env = env
        self.reads_tables = False
        self._outputs: dict[int, list[Info]] = {}  # of each query, by its id
        self._scope: Scope | None = None
        self._aliases: dict[str, SqlType | None] = {}

    def query(self, tree: exp.Expr) -> Translation:
        """Translate a SELECT or a set operation."""
        tree = self._lowered(tree)
        outputs = self._outputs[id(tree)]
        return Translation(self.generate(tree), self.args, outputs, self.reads_tables)

    def generate(self, tree: exp.Expr) -> str:
        """DuckDB text of a lowered tree."""
        return tree.sql(dialect="duckdb", identify=True)

    # -- preparation ---------------------------------------------------------------------------

    def _lowered(self, tree: exp.Expr) -> exp.Expr:
        for part in tree.find_all(*_REFUSED):
            raise unsupported(_REFUSED[type(part)])
        for query in tree.find_all(exp.Query):
            _check_place(query, inner=query is not tree)
        for select in tree.find_all(exp.Select):
            select.set("options", None)
            for projection in select.expressions:  # qualify() renames: keep the names to show
                named = isinstance(projection, exp.Alias | exp.Column | exp.Dot)
                inner = projection.unalias()
                shown = projection.alias_or_name if named else ""
                inner.meta["out"] = None if inner.is_star else shown
        tree = tree.transform(self._bound, copy=False)
        schema: dict[str, object] = {}
        self._collect_tables(tree, schema)
        try:
            tree = qualify(
                tree, schema=schema, dialect=Dialect, quote_identifiers=False,
                validate_qualify_columns=False, allow_partial_qualification=True,
            )  # fmt: skip
        except OptimizeError as error:
            raise unsupported(f"this query ({error})") from error
        for scope in traverse_scope(tree):
            self._scope = scope
            self._lower_scope(scope)
        return tree

    def _bound(self, node: exp.Expr) -> exp.Expr:
        """Turn parameters, variables and system functions into typed bound values."""
        bound = self._bind_value(node)
        if bound is not node and "out" in node.meta:
            bound.meta["out"] = node.meta["out"]
        return bound

    def _bind_value(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Parameter) and isinstance(node.this, exp.Parameter):
            found = self.env.system("@@" + node.this.name.lower(), [])
            if found is None:
                raise unsupported(f"@@{node.this.name}")
            return self.bind(found[1], found[0])
        if isinstance(node, exp.Parameter):
            kind, value = self.env.variable("@" + node.name)
            if kind is None:
                return mark(exp.Placeholder(this="undeclared"), None, parameter=node.name)
            return self.bind(value, kind)
        if isinstance(node, exp.National):
            kind = SqlType("nvarchar", length=max(len(node.name), 1))
            return mark(exp.Literal.string(node.name), kind, const=node.name)
        if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Anonymous):
            node = node.expression  # a function under its schema's name
        if isinstance(node, exp.Func) and not isinstance(node.parent, exp.Table):
            anonymous = isinstance(node, exp.Anonymous)
            args = node.expressions if anonymous else list(node.iter_expressions())
            values = [self._argument(part) for part in args]
            name = node.name if anonymous else node.sql_name()
            found = self.env.system(name.lower(), values)
            if found is not None:
                return self.bind(found[1], found[0])
        return node

    def _argument(self, node: exp.Expr) -> object:
        """The value of a system function's argument; None for what is not a constant."""
        if isinstance(node, exp.Literal | exp.National):
            return node.this
        return self._bind_value(node).meta.get("const") if isinstance(node, exp.Func) else None

    def _collect_tables(self, tree: exp.Expr, schema: dict[str, object]) -> None:
        """Resolve every table; fill the schema that sqlglot needs to qualify columns."""
        ctes = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
        database = str((self.env.system("db_name", []) or (None, ""))[1]).lower()
        for node in tree.find_all(exp.Table):
            name, owner = node.name.lower(), node.db.lower()
            if name in ctes and not owner:
                continue
            args: list[object] = []
            if isinstance(node.this, exp.Anonymous):
                given = node.this.expressions
                args = [None if isinstance(a, exp.Null) else a.meta.get("const", a.name) for a in given]
                name, owner = node.this.name.lower() + "()", owner or "sys"
            elif not isinstance(node.this, exp.Identifier):
                raise unsupported(f"{type(node.this).__name__.upper()} as a table")
            elif node.this.args.get("temporary"):
                raise unsupported("temporary tables")
            found = self.env.find_table(owner, name, args)
            if found is None or node.catalog.lower() not in ("", database):
                shown = ".".join(part.name for part in node.parts)
                raise SqlError(208, f"Invalid object name '{shown}'.")
            self.reads_tables = True
            if not node.alias:
                node.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
            node.set("this", exp.to_identifier(name, quoted=True))
            node.set("db", exp.to_identifier(found.schema.lower(), quoted=True))
            node.set("catalog", None)
            node.set("hints", None)
            node.meta["table"] = found
            tables = schema.setdefault(found.schema.lower(), {})
            assert isinstance(tables, dict)
            tables[name] = dict.fromkeys(found.columns, "int")

    # -- scopes --------------------------------------------------------------------------------

    def _lower_scope(self, scope: Scope) -> None:
        node = scope.expression
        if isinstance(node, exp.SetOperation):
            self._lower_set_operation(node)
        elif isinstance(node, exp.Select):
            self._lower_select(node)
        elif isinstance(node, exp.Values):
            self._lower_values(node)
        else:
            raise unsupported(type(node).__name__)

    def _lower_values(self, node: exp.Values) -> None:
        rows: list[list[exp.Expr]] = [
            [self.lower(cell) for cell in row.expressions] for row in node.expressions
        ]
        columns: list[Info] = []
        names = [c.name for c in node.args["alias"].columns] if node.args.get("alias") else []
        for i, column in enumerate(zip(*rows, strict=True)):
            name = names[i] if i < len(names) else f"col{i}"
            columns.append(Info(name, merge(kind_of(cell) for cell in column)))
        for row, cells in zip(node.expressions, rows, strict=True):
            converted = [
                self.convert(cell, info.type) if info.type else cell
                for cell, info in zip(cells, columns, strict=True)
            ]
            row.set("expressions", converted)
        self._outputs[id(node)] = columns

    def _lower_select(self, select: exp.Select) -> None:
        limit = select.args.get("limit")
        options = limit.args.get("limit_options") if limit is not None else None
        if options is not None and (options.args.get("percent") or options.args.get("with_ties")):
            raise unsupported("TOP ... PERCENT / WITH TIES")
        outputs: list[Info] = []
        projections: list[exp.Expr] = []
        for projection in select.expressions:
            inner, alias = projection.unalias(), projection.args.get("alias")
            if isinstance(projection, exp.Subquery):  # it would write its alias, too
                projection.set("alias", None)
            source = self._column_info(inner) if isinstance(inner, exp.Column) else None
            source = source or Info(alias.name if alias else projection.alias_or_name, None)
            shown = inner.meta.get("out")
            lowered = self.lower(inner)
            name = source.name if shown is None else str(shown)
            outputs.append(Info(name, kind_of(lowered), source.nullable, source.identity))
            projections.append(exp.Alias(this=lowered, alias=alias) if alias else lowered)
        select.set("expressions", projections)
        self._outputs[id(select)] = outputs
        labels = (projection.alias_or_name.lower() for projection in projections)
        self._aliases = {label: info.type for label, info in zip(labels, outputs, strict=True)}
        sources = [select.args.get("from_"), *(select.args.get("joins") or [])]
        for join in sources[1:]:
            if join.args.get("on") is not None:
                join.set("on", self.lower(join.args["on"]))
        for key in ("where", "group", "having", "order", "limit", "offset", "distinct"):
            part = select.args.get(key)
            if isinstance(part, exp.Expr):
                self.lower_children(part)
        for holder in sources:
            table = holder.this if holder is not None else None
            found = table.meta.get("table") if isinstance(table, exp.Table) else None
            if table is not None and isinstance(found, TableDef) and found.rows is not None:
                view = exp.to_identifier(self.env.view(found), quoted=True)
                table.replace(exp.Table(this=view, alias=table.args.get("alias")))
        self._aliases = {}

    def _lower_set_operation(self, node: exp.SetOperation) -> None:
        sides = [node.left.unnest(), node.right.unnest()]
        left, right = (self._outputs[id(side)] for side in sides)
        if len(left) != len(right):
            text = "All queries combined using a UNION, INTERSECT or EXCEPT operator must have an"
            raise SqlError(205, f"{text} equal number of expressions in their target lists.")
        self._outputs[id(node)] = []
        for i, pair in enumerate(zip(left, right, strict=True)):
            kind = merge(info.type for info in pair)
            nullable = any(info.nullable for info in pair)
            self._outputs[id(node)].append(Info(pair[0].name, kind, nullable))
            for side, info in zip(sides, pair, strict=True):
                if isinstance(side, exp.Select) and kind and info.type and kind != info.type:
                    projection = side.expressions[i]
                    changed = self.convert(projection.unalias().copy(), kind)
                    alias = projection.alias_or_name
                    projection.replace(exp.alias_(changed, alias, quoted=True))
        for key in ("order", "limit", "offset"):
            part = node.args.get(key)
            if isinstance(part, exp.Expr):
                self.lower_children(part)

    def _column_info(self, column: exp.Column) -> Info | None:
        """What a column refers to, in this scope or one around it."""
        scope, name = self._scope, column.name.lower()
        while scope is not None and column.table not in scope.sources:
            scope = scope.parent
        if scope is None:
            return None
        source = scope.sources[column.table]
        info: Info | None = None
        if isinstance(source, Scope):
            outputs = self._outputs.get(id(source.expression), [])
            pairs = zip(_labels(source, outputs), outputs)
            info = next((info for label, info in pairs if label == name), None)
        else:
            found = source.meta.get("table")
            c = found.columns.get(name) if isinstance(found, TableDef) else None
            if c is not None:
                info = Info(c.name, c.type, c.nullable, c.identity)
        if info is not None and _makes_nulls(scope):
            return Info(info.name, info.type, True, info.identity)
        return info

    # -- expressions ---------------------------------------------------------------------------

    def lower_children(self, node: exp.Expr) -> None:
        """Lower every argument of a node in place."""
        for key, value in list(node.args.items()):
            if isinstance(value, exp.Expr):
                node.set(key, self.lower(value))
            elif isinstance(value, list):
                node.set(key, [self.lower(v) if isinstance(v, exp.Expr) else v for v in value])

    def lower(self, node: exp.Expr) -> exp.Expr:
        """The node's DuckDB form, typed."""
        if "kind" in node.meta:  # a bound value, or lowered already
            return node
        if isinstance(node, exp.Anonymous) and node.name.lower() == "switchoffset":
            return self._switch_offset(node)
        rule = _RULES.get(type(node))
        if rule is not None:
            return rule(self, node)
        if isinstance(node, exp.Query):  # a scope of its own, lowered before this one
            outputs = self._outputs.get(id(node.unnest()), [])
            return mark(node, outputs[0].type if outputs else None)
        if isinstance(node, exp.Identifier | exp.Var | exp.DataType | exp.TableAlias):
            return node
        return self._generic(node)

    def _generic(self, node: exp.Expr) -> exp.Expr:
        """Anything without a rule: DuckDB's own function, fed timestamps instead of ticks."""
        self.lower_children(node)
        children = list(node.iter_expressions())
        kinds = [kind for kind in map(kind_of, children) if kind is not None]
        if isinstance(node, exp.Func) and not isinstance(node, exp.Connector):
            for child in children:
                kind = kind_of(child)
                if kind is not None and kind.name in TICKED | {"datetimeoffset"}:
                    child.replace(mark(self.timestamp(child.copy()), None))
        kind = BIGINT if node.args.get("big_int") else _RETURNS.get(type(node))
        if kind is None and isinstance(node, _LIKE_THIS):
            kind = kind_of(node.this)
        if kind is None and isinstance(node, _STRINGS):
            texts = [k for k in kinds if k.name in CHARACTER]
            wide = any(k.name[0] == "n" for k in texts)
            huge = any(k.length == MAX for k in texts)
            length = MAX if huge else 4000 if wide else 8000
            kind = SqlType("nvarchar" if wide else "varchar", length=length)
        return mark(cast(node, "DATE") if kind == DATE else node, kind)

    def _column(self, node: exp.Expr) -> exp.Expr:
        assert isinstance(node, exp.Column)
        info = self._column_info(node)
        if info is not None:
            return mark(node, info.type)
        if not node.table and node.name.lower() in self._aliases:
            return mark(node, self._aliases[node.name.lower()])
        raise SqlError(207, f"Invalid column name '{node.name}'.")

    def _literal(self, node: exp.Expr) -> exp.Expr:
        text: str = node.this
        if node.is_string:
            return mark(node, SqlType("varchar", length=max(len(text), 1)), const=text)
        if "e" in text.lower():
            return mark(node, FLOAT, const=float(text))
        whole, _, fraction = text.partition(".")
        if not fraction and int(text.rstrip(".")) < 2**31:
            return mark(node, INT, const=int(text.rstrip(".")))
        size = max(len(whole.lstrip("0")) + len(fraction), 1)
        kind = SqlType("numeric", precision=size, scale=len(fraction))
        return mark(node, kind, const=Decimal(text))

    def _hex(self, node: exp.Expr) -> exp.Expr:
        raw = bytes.fromhex(node.name.zfill(len(node.name) + len(node.name) % 2))
        return self.bind(raw, SqlType("varbinary", length=max(len(raw), 1)))

    def unify(self, nodes: list[exp.Expr], *, compare: bool = False) -> list[exp.Expr]:
        """Bring operands to one type, as SQL Server's implicit conversions would."""
        kinds = [kind_of(node) for node in nodes]
        target = merge(kinds)
        if target is None:
            return nodes
        if compare and target.name == "datetime2":
            target = DATETIME2
        if compare and target.name in INTEGERS and any(k and k.name in BINARY for k in kinds):
            target = BIGINT
        padded = any(k and k.name in ("char", "nchar") for k in kinds)
        out: list[exp.Expr] = []
        for node, kind in zip(nodes, kinds, strict=True):
            if node.meta.get("parameter") or (kind is not None and differs(kind, target)):
                node = self.convert(node, target)
            if compare and target.name == "datetimeoffset":  # the instant, whatever the offset
                node = mark(arith(exp.IntDiv, node, OFFSETS), None)
            elif compare and padded and target.name in CHARACTER:  # trailing blanks do not count
                node = mark(call("rtrim", node), target)
            out.append(node)
        return out

    def _compare(self, node: exp.Expr) -> exp.Expr:
        keys = [key for key in ("this", "expression", "low", "high") if node.args.get(key)]
        operands = [self.lower(node.args[key]) for key in keys]
        for key, operand in zip(keys, self.unify(operands, compare=True), strict=True):
            node.set(key, operand)
        return mark(node, None)

    def _in(self, node: exp.Expr) -> exp.Expr:
        operands = [self.lower(part) for part in [node.this, *node.expressions]]
        first, *rest = self.unify(operands, compare=True)
        node.set("this", first)
        node.set("expressions", rest)
        return mark(node, None)

    def _arithmetic(self, node: exp.Expr) -> exp.Expr:
        left, right = self.lower(node.this), self.lower(node.expression)
        a, b, op = kind_of(left), kind_of(right), type(node)
        assert issubclass(op, exp.Binary)
        if a is None or b is None:
            return mark(arith(op, left, right), a or b)
        if op is exp.Add and a.name in CHARACTER and b.name in CHARACTER:
            name = "nvarchar" if "n" in (a.name[0], b.name[0]) else "varchar"
            length = min(a.length + b.length, 4000 if name[0] == "n" else 8000)
            kind = SqlType(name, length=MAX if MAX in (a.length, b.length) else length)
            return mark(exp.DPipe(this=left, expression=right), kind)
        if a.name in ("datetime", "smalldatetime") and b.name in INTEGERS:  # days
            return mark(arith(op, left, arith(exp.Mul, cast(right, "BIGINT"), DAY)), a)
        if a.name in TEMPORAL or b.name in TEMPORAL:
            raise unsupported(f"arithmetic on {a} and {b}")
        if a.name in CHARACTER:
            left, a = self.convert(left, b), b
        elif b.name in CHARACTER:
            right, b = self.convert(right, a), a
        kind = arithmetic_type(op, a, b)
        whole_division = op is exp.Div and kind.name in INTEGERS
        value = arith(exp.IntDiv if whole_division else op, left, right)
        if op in (exp.Div, exp.Mod):
            value = call("mss_divide", left.copy(), right.copy(), value)
        if op is exp.Div and kind.name in EXACT:
            value = cast(value, kind.storage)
        return mark(value, kind)

    def _neg(self, node: exp.Expr) -> exp.Expr:
        inner = self.lower(node.this)
        node.set("this", inner)
        const = inner.meta.get("const")
        if isinstance(const, Decimal):  # unary minus would round to 28 digits
            return mark(node, kind_of(inner), const=const.copy_negate())
        extra = {"const": -const} if isinstance(const, int | float) else {}
        return mark(node, kind_of(inner), **extra)

    def _like_this(self, node: exp.Expr) -> exp.Expr:
        """Parentheses, windows, MIN, MAX, LAG and the like: the type of the operand."""
        self.lower_children(node)
        return mark(node, kind_of(node.this))

    def _sum(self, node: exp.Expr) -> exp.Expr:
        self.lower_children(node)
        kind = kind_of(node.this)
        if kind is None:
            return mark(node, None)
        wider = {"tinyint": "int", "smallint": "int", "smallmoney": "money", "real": "float"}
        if kind.name in ("decimal", "numeric"):
            scale = max(kind.scale, 6) if isinstance(node, exp.Avg) else kind.scale
            kind = SqlType("decimal", precision=38, scale=scale)
        else:
            kind = SqlType(wider.get(kind.name, kind.name))
        if isinstance(node, exp.Avg) and kind.name in INTEGERS:
            return mark(cast(call("trunc", node), kind.storage), kind)
        exact_average = isinstance(node, exp.Avg) and kind.name in EXACT
        return mark(cast(node, kind.storage) if exact_average else node, kind)

    def _cast(self, node: exp.Expr) -> exp.Expr:
        converting = isinstance(node, exp.Convert)
        to, inner = (node.this, node.expression) if converting else (node.args["to"], node.this)
        given = to.sql(dialect=Dialect)
        target = parse_type(given)
        if target.name in CHARACTER and target.length != MAX and "(" not in given:
            target = SqlType(target.name, length=30)
        style = node.args.get("style")
        number = int(style.name) if style is not None and style.name.isdigit() else None
        attempt = isinstance(node, exp.TryCast) or bool(node.args.get("safe"))
        lowered = self.lower(inner)
        try:
            result = self.convert(lowered, target, number, explicit=True)
        except SqlError:
            if not attempt:
                raise
            return self.bind(None, target)
        if attempt and "const" not in result.meta:
            result = mark(call("TRY", result), target)
        return result

    def _coalesce(self, node: exp.Expr) -> exp.Expr:
        first, *rest = (self.lower(part) for part in [node.this, *node.expressions])
        kind = kind_of(first)
        if node.args.get("is_null") and kind is not None:  # ISNULL has its first argument's type
            rest = [self.convert(part, kind) for part in rest]
        else:
            first, *rest = self.unify([first, *rest])
            kind = merge(kind_of(part) for part in [first, *rest])
        node.set("this", first)
        node.set("expressions", rest)
        return mark(node, kind)

    def _case(self, node: exp.Expr) -> exp.Expr:
        simple = isinstance(node, exp.If)  # IIF
        branches = [node] if simple else node.args["ifs"]
        last = "false" if simple else "default"
        subject = None if simple or node.this is None else self.lower(node.this)
        for branch in branches:
            condition = self.lower(branch.this)
            if subject is not None:
                operands = self.unify([subject.copy(), condition], compare=True)
                condition = exp.EQ(this=operands[0], expression=operands[1])
            branch.set("this", condition)
        if subject is not None:
            node.set("this", None)
        values = [self.lower(branch.args["true"]) for branch in branches]
        if node.args.get(last) is not None:
            values.append(self.lower(node.args[last]))
        values = self.unify(values)
        for branch, value in zip(branches, values, strict=False):
            branch.set("true", value)
        if node.args.get(last) is not None:
            node.set(last, values[-1])
        return mark(node, merge(kind_of(value) for value in values))

    def _date_add(self, node: exp.Expr) -> exp.Expr:
        base, count = self.lower(node.this), cast(self.lower(node.expression), "BIGINT")
        kind = kind_of(base)
        if kind is None or kind.name not in TEMPORAL:
            base, kind = self.convert(base, DATETIME), DATETIME
        unit = node.args["unit"].name.lower() if node.args.get("unit") else "day"
        unit = _UNITS.get(unit, unit)
        if unit in _MONTHS and kind.name in TICKED | {"date"}:
            months = arith(exp.Mul, count, _MONTHS[unit])
            moved = arith(exp.Add, self.timestamp(base.copy()), call("to_months", cast(months, "INTEGER")))
            if kind == DATE:
                return mark(cast(moved, "DATE"), kind)
            return mark(arith(exp.Add, call("mss_ticks", moved), arith(exp.Mod, base, 10)), kind)
        if unit not in _TICKS:
            raise unsupported(f"DATEADD({unit}, ..., {kind})")
        step = _TICKS[unit]
        if kind == DATE:
            days = cast(arith(exp.Mul, count, step // DAY), "INTEGER")
            return mark(arith(exp.Add, base, days), kind)
        if kind.name == "datetimeoffset":
            step, count = step * OFFSETS, cast(count, "HUGEINT")
        moved = arith(exp.Add, base, arith(exp.Mul, count, step))
        return mark(call("mss_datetime", moved) if kind == DATETIME else moved, kind)

    def _switch_offset(self, node: exp.Expr) -> exp.Expr:
        """SWITCHOFFSET: the same instant, told in another zone."""
        value, offset = (self.lower(part) for part in node.expressions)
        kind = kind_of(value)
        if kind is None or kind.name != "datetimeoffset":
            value, kind = self.convert(value, DATETIMEOFFSET), DATETIMEOFFSET
        given = offset.meta.get("const")
        if isinstance(given, str):
            hours, minutes = given[1:].split(":")
            given = (int(hours) * 60 + int(minutes)) * (-1 if given[0] == "-" else 1)
        if not isinstance(given, int):
            raise unsupported("SWITCHOFFSET by a column")
        return mark(call("mss_switch", value, given), kind)

    def _to_timestamp(self, node: exp.Expr) -> exp.Expr:
        """What sqlglot wraps around the arguments of DATEDIFF, YEAR and the like."""
        stamp = self.timestamp(self.lower(node.this))
        return mark(cast(stamp, "DATE") if isinstance(node, exp.TsOrDsToDate) else stamp, None)

    # -- changes -------------------------------------------------------------------------------

    def target(self, node: exp.Expr) -> TableDef:
        """The table a statement changes; error 208 without one."""
        table = node.this if isinstance(node, exp.Schema) else node
        assert isinstance(table, exp.Table)
        found = self.env.find_table(table.db, table.name)
        if found is None:
            shown = ".".join(part.name for part in table.parts)
            raise SqlError(208, f"Invalid object name '{shown}'.")
        if found.rows is not None:
            raise SqlError(259, "Ad hoc updates to system catalogs are not allowed.")
        return found

    def insert(self, tree: exp.Insert) -> Translation:
        """Translate INSERT ... VALUES or INSERT ... SELECT."""
        table = self.target(tree.this)
        listed = tree.this.expressions if isinstance(tree.this, exp.Schema) else []
        columns = [_column(table, item.name) for item in listed]
        columns = columns or [c for c in table.columns.values() if not c.generated]
        names = ", ".join(f'"{column.name.lower()}"' for column in columns)
        returning, outputs = _returning(tree, table)
        source = tree.expression
        if isinstance(source, exp.Values):
            rows = [[self._value(cell) for cell in row.expressions] for row in source.expressions]
            lines = [self._assigned(cells, columns) for cells in rows]
            body = "VALUES " + ", ".join(f"({line})" for line in lines)
        else:
            inner = self.query(source)
            labels = [f"c{i}" for i in range(len(inner.columns))]
            cells = [mark(exp.column(label), info.type) for label, info in zip(labels, inner.columns)]
            line = self._assigned(cells, columns)
            body = f"SELECT {line} FROM ({inner.sql}) AS s({', '.join(labels)})"
        sql = f"INSERT INTO {table.duck_name} ({names}) {body}{returning}"
        return Translation(sql, self.args, outputs)

    def _value(self, node: exp.Expr) -> exp.Expr:
        """A lowered expression that stands outside any query."""
        select = self._lowered(exp.Select(expressions=[node]))
        assert isinstance(select, exp.Select)
        value: exp.Expr = select.expressions[0].unalias()
        return value

    def _assigned(self, cells: list[exp.Expr], columns: list[ColumnDef]) -> str:
        if len(cells) != len(columns):
            text = "Column name or number of supplied values does not match table definition."
            raise SqlError(213, text)
        pairs = zip(cells, columns, strict=True)
        return ", ".join(self.generate(self._assign(cell, column)) for cell, column in pairs)

    def _assign(self, node: exp.Expr, column: ColumnDef) -> exp.Expr:
        """A value converted for storing in a column."""
        if column.type.name == "rowversion":
            raise SqlError(273, "Cannot insert an explicit value into a timestamp column.")
        const, limit = node.meta.get("const"), column.type.length
        if isinstance(const, str) and column.type.name in CHARACTER and 0 < limit < len(const):
            text = f"String or binary data would be truncated in column '{column.name}'."
            raise SqlError(2628, text)
        return self.convert(node, column.type)

    def change(self, tree: exp.Update | exp.Delete) -> Translation:
        """Translate UPDATE or DELETE on one table."""
        if tree.args.get("from_") or tree.args.get("using"):
            raise unsupported(f"{type(tree).__name__.upper()} ... FROM")
        table = self.target(tree.this)
        returning, outputs = _returning(tree, table)
        sets = tree.expressions if isinstance(tree, exp.Update) else []
        columns = [_column(table, item.this.name) for item in sets]
        # Lowered as a query over the same table, then taken apart again.
        probe = exp.select(*(item.expression for item in sets)).from_(tree.this)
        probe = probe if sets else probe.select("1")
        if tree.args.get("where") is not None:
            probe = probe.where(tree.args["where"].this)
        lowered = self._lowered(probe)
        condition = lowered.args.get("where")
        tail = f" {self.generate(condition)}" if condition is not None else ""
        sql = f"DELETE FROM {table.duck_name}"
        if isinstance(tree, exp.Update):
            parts = [
                f'"{column.name.lower()}" = {self._assigned([value.unalias()], [column])}'
                for column, value in zip(columns, lowered.expressions, strict=True)
            ]
            for key, column in table.columns.items():
                if column.type.name == "rowversion":
                    parts.append(f"\"{key}\" = mss_binary(nextval('mss_rowversion'), 8)")
            sql = f"UPDATE {table.duck_name} SET {', '.join(parts)}"
        return Translation(f"{sql}{tail}{returning}", self.args, outputs)


def _check_place(query: exp.Query, *, inner: bool) -> None:
    """What SQL Server refuses inside of a query, though sqlglot reads it."""
    if inner and query.args.get("with_"):
        raise SqlError(156, "Incorrect syntax near the keyword 'WITH'.", severity=15)
    ordered = query.args.get("order") and not (query.args.get("limit") or query.args.get("offset"))
    if inner and ordered and not isinstance(query, exp.Subquery):
        raise SqlError(
            1033,
            "The ORDER BY clause is invalid in views, inline functions, derived tables, subqueries, and "
            "common table expressions, unless TOP, OFFSET or FOR XML is also specified.",
            severity=15,
        )


def _makes_nulls(scope: Scope) -> bool:
    """Whether a query may return NULL in a column that does not hold it."""
    group = scope.expression.args.get("group")
    sets = group is not None and any(group.args.get(k) for k in ("cube", "rollup", "grouping_sets"))
    joins = any(join.args.get("side") for join in scope.find_all(exp.Join))
    return sets or joins or any(scope.find_all(exp.Lateral))


def _labels(source: Scope, outputs: list[Info]) -> list[str]:
    """The names by which a derived table's columns are known, which its alias may list."""
    expression = source.expression
    holder = expression.parent if isinstance(expression, exp.Query) else expression
    listed = holder.args.get("alias") if holder is not None else None
    if isinstance(listed, exp.TableAlias) and listed.columns:
        return [column.name.lower() for column in listed.columns]
    if isinstance(expression, exp.Query):
        return [selected.alias_or_name.lower() for selected in expression.selects]
    return [info.name.lower() for info in outputs]


def _column(table: TableDef, name: str) -> ColumnDef:
    column = table.columns.get(name.lower())
    if column is None:
        raise SqlError(207, f"Invalid column name '{name}'.")
    return column


def _returning(tree: exp.Expr, table: TableDef) -> tuple[str, list[Info]]:
    """An OUTPUT clause of plain columns, and what it returns."""
    clause = tree.args.get("returning")
    infos: list[Info] = []
    names: list[str] = []
    for item in clause.expressions if clause is not None else []:
        if not isinstance(item.unalias(), exp.Column) or item.unalias().is_star:
            raise unsupported("expressions in OUTPUT")
        column = _column(table, item.unalias().name)
        infos.append(Info(item.alias or column.name, column.type, column.nullable, column.identity))
        names.append(f'"{column.name.lower()}"')
    return (" RETURNING " + ", ".join(names) if names else ""), infos


_RETURNS: dict[type[exp.Expr], SqlType] = {
    exp.Length: INT, exp.Extract: INT, exp.Year: INT, exp.Month: INT, exp.Day: INT,
    exp.DateDiff: INT, exp.Count: INT, exp.StrPosition: INT, exp.RowNumber: BIGINT,
    exp.Rank: BIGINT, exp.DenseRank: BIGINT, exp.Ntile: BIGINT, exp.Uuid: GUID, exp.LastDay: DATE,
    exp.DateFromParts: DATE, exp.Pow: FLOAT, exp.Sqrt: FLOAT, exp.Exp: FLOAT, exp.Ln: FLOAT,
    exp.Stddev: FLOAT, exp.Variance: FLOAT,
}  # fmt: skip
_LIKE_THIS = (exp.Abs, exp.Round, exp.Ceil, exp.Floor, exp.Nullif, exp.Distinct)
_STRINGS = (
    exp.Upper, exp.Lower, exp.Trim, exp.Substring, exp.Replace, exp.Concat, exp.ConcatWs, exp.Left,
    exp.Right, exp.GroupConcat, exp.TimeToStr, exp.NumberToStr, exp.Stuff, exp.Repeat, exp.Reverse,
)  # fmt: skip
_REFUSED: dict[type[exp.Expr], str] = {
    exp.ForClause: "FOR XML / FOR JSON", exp.Pivot: "PIVOT", exp.AtTimeZone: "AT TIME ZONE",
}  # fmt: skip
_COMPARISONS = (
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Between,
)  # fmt: skip
_OPERAND_TYPED = (
    exp.Paren, exp.Alias, exp.Window, exp.Max, exp.Min, exp.Lag, exp.Lead, exp.FirstValue,
    exp.LastValue,
)  # fmt: skip
_RULES: dict[type[exp.Expr], Callable[[Translator, exp.Expr], exp.Expr]] = {
    **dict.fromkeys(_COMPARISONS, Translator._compare),
    **dict.fromkeys(_OPERAND_TYPED, Translator._like_this),
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod), Translator._arithmetic),
    **dict.fromkeys((exp.Cast, exp.TryCast, exp.Convert), Translator._cast),
    **dict.fromkeys((exp.Sum, exp.Avg), Translator._sum),
    **dict.fromkeys((exp.Case, exp.If), Translator._case),
    **dict.fromkeys((exp.TimeStrToTime, exp.TsOrDsToDate), Translator._to_timestamp),
    exp.Column: Translator._column, exp.Literal: Translator._literal,
    exp.HexString: Translator._hex, exp.In: Translator._in, exp.Neg: Translator._neg,
    exp.Coalesce: Translator._coalesce,
    exp.DateAdd: Translator._date_add,
}  # fmt: skip
