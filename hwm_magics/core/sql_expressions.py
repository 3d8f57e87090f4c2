"""Expressions in parsed SQL: what a value is compared with, and scalar queries put to the target's engine instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from sqlglot import exp
from sqlglot.errors import ErrorLevel, UnsupportedError

from hwm_magics.core.cursor import Scalar
from hwm_magics.core.sql_names import fold
from hwm_magics.core.sql_text import Columns

__all__ = [
    "PLAIN_TABLE",
    "TARGET_NAME",
    "columns_of",
    "comparison",
    "given",
    "literal",
    "name_of",
    "scalar_position",
    "translate",
]

TARGET_NAME = "hwm_target"
"""What the target is called in the queries that its engine evaluates."""

PLAIN_TABLE = frozenset({"this", "db", "catalog", "alias", "hints"})
"""The parts of a table's mention that don't change what is read."""

_ISO_DATES = (exp.Date, exp.DateStrToDate, exp.TsOrDsToDate)
_COMPARISONS: dict[type[exp.Expr], str] = {exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<="}
_MIRRORED = {">": "<", ">=": "<=", "<": ">", "<=": ">="}
_SET_POSITIONS = (
    exp.From,
    exp.Join,
    exp.Lateral,
    exp.In,
    exp.Exists,
    exp.Any,
    exp.All,
    exp.CTE,
    exp.SetOperation,
)
_TIMESTAMPS = (
    exp.DataType.Type.DATETIME,
    exp.DataType.Type.DATETIME2,
    exp.DataType.Type.SMALLDATETIME,
    exp.DataType.Type.TIMESTAMP,
    exp.DataType.Type.TIMESTAMPNTZ,
)


def columns_of(node: exp.Expr | None, dialect: str) -> Columns | None:
    """Read an expression as a cursor; None when it is something else."""
    while isinstance(node, exp.Paren | exp.Cast):
        node = node.this
    if isinstance(node, exp.Column) and isinstance(node.this, exp.Identifier):
        return Columns(name_of(node.this, dialect), None, node.table)
    if isinstance(node, exp.Coalesce) and len(node.expressions) == 1:
        first, second = columns_of(node.this, dialect), columns_of(node.expressions[0], dialect)
        if first and second and not first.fallback and not second.fallback:
            return Columns(first.column, second.column, first.qualifier)
    return None


def given(node: exp.Expr) -> set[str]:
    """The parts that a node has."""
    return {key for key, value in node.args.items() if value}


def name_of(identifier: exp.Expr, dialect: str) -> str:
    """What the database calls an identifier."""
    return identifier.name if identifier.args.get("quoted") else fold(identifier.name, dialect)


def literal(node: exp.Expr | None) -> Scalar:
    """The value of a literal, typed or cast ones too; None when it is none."""
    while isinstance(node, exp.Paren | exp.Cast):
        node = node.this
    if isinstance(node, exp.Neg):
        value = literal(node.this)
        return -value if isinstance(value, int | Decimal) else None
    if isinstance(node, exp.National):
        return str(node.name)
    if isinstance(node, _ISO_DATES) and given(node) == {"this"}:
        return literal(node.this)  # DATE '1900-01-01' in Oracle, DATE('1900-01-01') in MySQL and SQLite
    if isinstance(node, exp.StrToDate | exp.StrToTime) and str(node.text("format")).startswith("%Y-%m-%d"):
        return literal(node.this)  # TO_DATE('1900-01-01', 'YYYY-MM-DD')
    if not isinstance(node, exp.Literal):
        return None
    if node.is_string:
        return str(node.this)
    return int(node.this) if str(node.this).isdigit() else Decimal(node.this)


def comparison(node: exp.Expr) -> tuple[str, exp.Expr | None]:
    """What a value is compared with, through brackets, casts, functions and sums.

    Returns:
        The operator as it reads with the value on its right, and the other side;
        ("", None) when the value is not compared so.
    """
    child, parent = node, node.parent
    while parent is not None and _transparent(parent, child):
        child, parent = parent, parent.parent
    above = parent.parent if parent is not None else None
    while isinstance(above, exp.Paren):
        above = above.parent
    if parent is None or isinstance(above, exp.Not):
        return "", None
    if isinstance(parent, exp.Between):
        operators = {"low": ">=", "high": "<="}
        return operators.get(child.arg_key or "", ""), parent.this
    operator = _COMPARISONS.get(type(parent), "")
    if not operator:
        return "", None
    if child.arg_key == "this":
        return _MIRRORED[operator], parent.args.get("expression")
    return operator, parent.this


def _transparent(parent: exp.Expr, child: exp.Expr) -> bool:
    if isinstance(parent, exp.Sub):
        return child.arg_key == "this"
    if isinstance(parent, exp.Connector | exp.Predicate | exp.Case | exp.If):
        return False
    return isinstance(parent, exp.Paren | exp.Cast | exp.Add | exp.Func)


def scalar_position(subquery: exp.Subquery) -> bool:
    """Whether a subquery stands where one value is meant."""
    parent = subquery.parent
    while isinstance(parent, exp.Subquery | exp.Paren):
        parent = parent.parent
    return parent is not None and not isinstance(parent, _SET_POSITIONS)


def translate(
    select: exp.Select, dialect: str, is_target: Callable[[exp.Table], bool], params: Mapping[str, Scalar]
) -> tuple[str, Scalar, Columns | None]:
    """Write a scalar SELECT over the target for the target's engine.

    Args:
        select: The SELECT, parsed in the source's dialect.
        dialect: That dialect.
        is_target: Tells the target's tables in it.
        params: The user's parameters; they become literals, as the engines bind none.

    Returns:
        The query in PostgreSQL's dialect, all names quoted; the literal of an outermost
        ``COALESCE(MAX(…), literal)``, which is left out of the query, because DataFusion refuses to
        coalesce a time with a text; and the column whose MAX it is.

    Raises:
        ValueError: It has no counterpart there.
    """
    aliases = {table.alias.lower() for table in select.find_all(exp.Table) if table.alias}
    aliases |= {alias.this.name.lower() for alias in select.find_all(exp.TableAlias) if alias.this}
    targets = [is_target(table) for table in select.find_all(exp.Table)]
    select = select.copy()
    if len(select.expressions) != 1 or select.is_star:
        raise ValueError("it gives not one column")
    maxima = list(select.expressions[0].find_all(exp.Max))
    columns = columns_of(maxima[0].this, dialect) if len(maxima) == 1 else None
    fallback = _take_fallback(select)
    for table, known in zip(list(select.find_all(exp.Table)), targets, strict=True):
        if known:
            _rename(table)
    for column in list(select.find_all(exp.Column)):
        if column.table.lower() not in aliases:
            for part in ("table", "db", "catalog"):
                column.set(part, None)
    for identifier in list(select.find_all(exp.Identifier)):
        is_alias = isinstance(identifier.parent, exp.TableAlias | exp.Table) or identifier.arg_key == "table"
        name = identifier.name.lower() if is_alias else name_of(identifier, dialect)
        identifier.set("this", name)
        identifier.set("quoted", True)
    for parameter in list(select.find_all(exp.Placeholder)):
        parameter.replace(_as_literal(params[parameter.name]))
    for kind in list(select.find_all(exp.DataType)):
        if kind.this in _TIMESTAMPS:
            # DataFusion's TIMESTAMP counts nanoseconds, and overflows in 1677 and 2262.
            kind.replace(exp.DataType.build("timestamp(6)", dialect="postgres"))
    try:
        text = select.sql(
            dialect="postgres", identify=True, comments=False, unsupported_level=ErrorLevel.RAISE
        )
    except UnsupportedError as error:
        raise ValueError(str(error)) from error
    return text, fallback, columns


def _rename(table: exp.Table) -> None:
    extras = given(table) - PLAIN_TABLE
    if extras:
        raise ValueError(f"it reads the target with {', '.join(sorted(extras))}")
    table.replace(exp.Table(this=exp.to_identifier(TARGET_NAME), alias=table.args.get("alias")))


def _take_fallback(select: exp.Select) -> Scalar:
    """Take the literal out of an outermost COALESCE, where only an empty target makes it come to that."""
    if any(select.args.get(key) for key in ("group", "having", "limit", "offset", "qualify", "distinct")):
        return None
    inner = select.expressions[0].unalias()
    while isinstance(inner, exp.Paren | exp.Cast):
        inner = inner.this
    if not isinstance(inner, exp.Coalesce):
        return None
    first, *others = [inner.this, *inner.expressions]
    value = literal(others[-1]) if others else None
    if value is None or not all(_null_when_empty(part) for part in (first, *others[:-1])):
        return None
    rest = others[:-1]
    inner.replace(
        exp.Coalesce(this=first.copy(), expressions=[part.copy() for part in rest]) if rest else first.copy()
    )
    return value


def _null_when_empty(node: exp.Expr) -> bool:
    return (
        node.find(exp.Max, exp.Min) is not None
        and node.find(exp.Coalesce, exp.Case, exp.If, exp.Count) is None
    )


def _as_literal(value: Scalar) -> exp.Expr:
    if value is None:
        return exp.Null()
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, int | Decimal):
        return exp.Literal.number(value)
    return exp.Literal.string(str(value))
