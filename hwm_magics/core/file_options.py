"""What may be said of files as a source: ``read.options`` of csv, json, parquet, delta and orc, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from hwm_magics.core.specs import ReadSpec
from hwm_magics.errors import ConfigError

__all__ = ["Changed", "FileOptions", "declared"]

OURS = frozenset({"settle", "changed", "file_column", "timezone", "types"})
"""Options that no reader library is told of."""

_CSV = {
    "header": "header",
    "sep": "sep",
    "delimiter": "sep",
    "quote": "quote",
    "escape": "escape",
    "nullvalue": "null_values",
    "null_values": "null_values",
    "encoding": "encoding",
    "charset": "encoding",
    "decimal": "decimal",
    "timestamp_formats": "timestamp_formats",
}
"""Spellings of what our own reader of CSV is told; Spark's among them."""

_TYPES = {
    "bigint": "long",
    "long": "long",
    "int": "integer",
    "integer": "integer",
    "smallint": "short",
    "short": "short",
    "tinyint": "byte",
    "byte": "byte",
    "double": "double",
    "float": "float",
    "real": "float",
    "string": "string",
    "text": "string",
    "varchar": "string",
    "boolean": "boolean",
    "bool": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "timestamp_ltz": "timestamp",
    "timestamp_ntz": "timestamp_ntz",
    "binary": "binary",
}
_DECIMAL = re.compile(r"(?:decimal|numeric)\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", re.IGNORECASE)
_DECLARED = re.compile(
    r"\s*(?:`((?:[^`]|``)+)`|(\w+))\s*:?\s+([A-Za-z_]\w*\s*(?:\([\d\s,]*\))?)\s*(?:NOT\s+NULL\s*)?(?:,|$)",
    re.IGNORECASE,
)
_ONE_LETTER = ("sep", "quote", "escape", "decimal")


class Changed(StrEnum):
    """What is done about a file that was loaded and has changed since."""

    ERROR = "error"
    LOAD = "load"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How files are chosen and read.

    Attributes:
        settle: How long a file must have been left alone before it is read; None for the storage's own default.
        changed: What is done about loaded files that have changed.
        file_column: A column that gets each row's file name; None for none.
        timezone: The IANA zone that times without one are in; None for UTC.
        schema: All columns with their Delta Lake types, in order; empty when they are not declared.
        types: Delta Lake types of some columns.
        reader: What the reader is told, by our names: ``header``, ``sep``, ``quote``, ``escape``, ``null_values``,
            ``encoding``, ``decimal``, ``timestamp_formats``.
    """

    settle: timedelta | None = None
    changed: Changed = Changed.ERROR
    file_column: str | None = None
    timezone: str | None = None
    schema: tuple[tuple[str, str], ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    reader: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, read: ReadSpec, *, engine: str = "pandas") -> FileOptions:
        """Those of a reading.

        Args:
            read: The reading.
            engine: Whose reader is told the rest; "" where that is not known yet, and only ours are looked at. What is
                Spark's stays with Spark.

        Raises:
            ConfigError: An option is not known, or its value can't be used.
        """
        given = dict(read.options)
        ours = {key: given.pop(key) for key in OURS if key in given}
        schema = declared(given.pop("schema", None)) if engine == "pandas" else ()
        types = ours.get("types", {})
        if not isinstance(types, Mapping):
            raise _refused("types", types, "write column: type, such as {zip: string}")
        if engine == "spark" and types:
            raise ConfigError(
                "read.options.types is read by the pandas engine only",
                hint='declare all columns for Spark, with schema: "id BIGINT, name STRING"',
            )
        if schema and types:
            raise ConfigError(
                "read.options.schema declares all columns already", hint="leave read.options.types away"
            )
        return cls(
            _settle(ours.get("settle")),
            _changed(ours.get("changed")),
            _text("file_column", ours.get("file_column")),
            _text("timezone", ours.get("timezone")),
            schema,
            {str(name): _type(str(name), str(kind)) for name, kind in types.items()},
            _reader(read.format, given) if engine == "pandas" else {},
        )


def declared(schema: object) -> tuple[tuple[str, str], ...]:
    """The columns of a schema as SQL declares them: ``id BIGINT, name STRING``.

    Raises:
        ConfigError: It is none, or has a type that can't be declared so.
    """
    if schema is None:
        return ()
    text = str(schema).strip()
    columns: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        found = _DECLARED.match(text, at)
        if found is None:
            raise _refused(
                "schema", text[at:], 'write it as SQL does: "id BIGINT, amount DECIMAL(10,2), at TIMESTAMP"'
            )
        name = found[1].replace("``", "`") if found[1] else found[2]
        columns.append((name, _type(name, found[3])))
        at = found.end()
    if not columns:
        raise _refused("schema", schema, 'write it as SQL does: "id BIGINT, name STRING"')
    return tuple(columns)


def _type(name: str, text: str) -> str:
    word = " ".join(text.split())
    number = _DECIMAL.fullmatch(word.replace(" ", ""))
    if number:
        return f"decimal({int(number[1])},{int(number[2] or 0)})"
    known = _TYPES.get(word.partition("(")[0].strip().lower())
    if known is None and re.match(r"(array|map|struct)<", word):
        return word
    if known is None:
        raise _refused(
            f"types.{name}", text, f"there are {', '.join(dict.fromkeys(_TYPES.values()))} and decimal(p,s)"
        )
    return known


def _settle(value: object) -> timedelta | None:
    if value is None or isinstance(value, timedelta):
        return value
    if value == 0 and not isinstance(value, bool):
        return timedelta()
    raise _refused("settle", value, "write a duration, such as 5m or 0s")


def _changed(value: object) -> Changed:
    if value is None:
        return Changed.ERROR
    try:
        return Changed(str(value).lower())
    except ValueError:
        raise _refused("changed", value, "write error, load or ignore") from None


def _text(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise _refused(name, value, "write a name")
    return value


def _reader(kind: str, given: Mapping[str, object]) -> dict[str, object]:
    known = _CSV if kind == "csv" else {}
    told: dict[str, object] = {}
    for key, value in given.items():
        name = known.get(key.lower())
        if name is None:
            there = ", ".join(sorted({*known, "schema"} | OURS))
            raise ConfigError(
                f"read.options.{key} is not known for {kind} files on the pandas engine",
                hint=f"there are {there}; other options are Spark's: write engine: spark",
            )
        told[name] = _checked(name, value)
    return told


def _checked(name: str, value: object) -> object:
    if name == "header":
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
        raise _refused(name, value, "write true or false")
    if name in ("null_values", "timestamp_formats"):
        values = value if isinstance(value, list | tuple) else [value]
        return tuple(str(one) for one in values)
    text = {"\\t": "\t", "tab": "\t"}.get(str(value), str(value))
    if name in _ONE_LETTER and len(text) != 1:
        raise _refused(name, value, "write one character")
    return text


def _refused(name: str, value: object, hint: str) -> ConfigError:
    return ConfigError(f"read.options.{name}: {value!r} can't be used", hint=hint)
