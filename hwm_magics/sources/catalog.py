"""Which of a query's columns are its one table's own, so that what the catalog says of the table holds for them."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["own_columns"]


def own_columns(query: str | None, dialect: str, names: Iterable[str]) -> frozenset[str]:
    """Names of output columns that are the table's columns of the same name, unchanged.

    Args:
        query: A SELECT from one table; None when a table was named, all of whose columns are its own.
        dialect: The query's sqlglot dialect.
        names: The output columns.
    """
    names = frozenset(names)
    if query is None:
        return names
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    from hwm_magics.core.sql_names import fold

    try:
        tree = sqlglot.parse_one(query.replace("{target}", "hwm_target"), dialect=dialect or None)
    except SqlglotError:
        return frozenset()
    if not isinstance(tree, exp.Select) or not isinstance(tree.args["from_"].this, exp.Table):
        return frozenset()

    def spelled(identifier: exp.Expr) -> str:
        return identifier.name if identifier.args.get("quoted") else fold(identifier.name, dialect)

    own: set[str] = set()
    made: set[str] = set()
    for selected in tree.expressions:
        if selected.is_star:
            own |= names
            continue
        inner = selected.unalias()
        alias = selected.args.get("alias")
        if isinstance(inner, exp.Column) and isinstance(inner.this, exp.Identifier):
            name = spelled(inner.this)
            (own if alias is None or spelled(alias) == name else made).add(
                name if alias is None else spelled(alias)
            )
        elif alias is not None:
            made.add(spelled(alias))
    return frozenset((own - made) & names)
