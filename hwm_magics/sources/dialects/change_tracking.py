"""SQL Server's change tracking: the version as CHANGETABLE takes it, and whether changes are kept since then."""

from __future__ import annotations

import re

from hwm_magics.core.cursor import CursorValue
from hwm_magics.core.statement import Param, Statement
from hwm_magics.errors import BlockedError, QueryError
from hwm_magics.sources.dialects.base import Ask

__all__ = ["check", "with_versions"]

_NAME = r"(?:\[(?:[^\]]|\]\])*\]|[\w$#@]+)"
_BEFORE = re.compile(rf"\bCHANGETABLE\s*\(\s*CHANGES\s+({_NAME}(?:\s*\.\s*{_NAME})*)\s*,\s*$", re.IGNORECASE)


def with_versions(statement: Statement) -> Statement:
    """The statement with the versions of CHANGETABLE as literals: no expression may stand there."""
    parts: list[str | Param] = []
    for part in statement.parts:
        last = parts[-1] if parts else None
        if isinstance(part, Param) and isinstance(last, str) and _BEFORE.search(last):
            number = _number(part)
            parts[-1] = last + ("NULL" if number is None else str(number))
            continue
        if isinstance(part, str) and isinstance(last, str):
            parts[-1] = last + part
        else:
            parts.append(part)
    return Statement(tuple(parts))


def check(ask: Ask, statement: Statement) -> None:
    """Refuse a version from which on the changes are not all kept any more.

    Args:
        ask: Runs a query.
        statement: The statement that will read them, its versions not yet written out.

    Raises:
        BlockedError: Changes between that version and the oldest that is kept were cleaned up.
    """
    for before, part in zip(statement.parts, statement.parts[1:], strict=False):
        found = _BEFORE.search(before) if isinstance(before, str) else None
        number = _number(part) if found is not None and isinstance(part, Param) else None
        if found is None or number is None:
            continue
        table = re.sub(r"\s", "", found[1])
        text = table.replace("'", "''")
        ((kept,),) = ask(
            f"SELECT CAST(CHANGE_TRACKING_MIN_VALID_VERSION(OBJECT_ID(N'{text}')) AS varchar(20))"
        )
        # NULL where it is not on; the query then says so by itself.
        if kept is not None and number < int(kept):
            raise BlockedError(
                f"change tracking of {table} keeps changes from version {kept} on, and this load would begin at "
                f"version {number}: what changed or was deleted in between is lost",
                hint="versions follow the order of commits, so lag: 0 loses nothing; if the watermark itself is "
                "that old, load everything with --force-first-run, and raise CHANGE_RETENTION",
            )


def _number(param: Param) -> int | None:
    value = param.value
    if value is None:
        return None
    text = value.text if isinstance(value, CursorValue) else str(value)
    if not re.fullmatch(r"-?\d{1,19}", text):
        raise QueryError(
            f"CHANGETABLE is given {text!r}, which is no version",
            hint="use SYS_CHANGE_VERSION as the cursor column",
        )
    return int(text)
