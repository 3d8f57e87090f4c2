"""``${name}``, ``${env:NAME}`` and ``${secret:scope/key}``, resolved in scalars after the YAML is read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from hwm_magics.config.yaml_loader import Document, ExactDecimal, ExactInt, Path, plain, read_scalar
from hwm_magics.connections.secrets import Secret, resolve_secret
from hwm_magics.connections.words import did_you_mean
from hwm_magics.core.cursor import Scalar

__all__ = [
    "UNRESOLVED",
    "AlreadyReportedError",
    "BadReferenceError",
    "Names",
    "interpolate",
    "param_like",
    "resolve_text",
    "scalar_of",
]

_REFERENCE = re.compile(r"\$(\$\{)|\$\{([^{}]*)\}|\$\{")
_NAME = re.compile(r"[A-Za-z_]\w*")


class _Unresolved:
    """Stands for a value whose problem was reported already."""

    def __repr__(self) -> str:
        return "(unresolved)"


UNRESOLVED = _Unresolved()


class BadReferenceError(ValueError):
    """A reference can't be resolved; the message says what to write."""


class AlreadyReportedError(BadReferenceError):
    """A reference to a value that could not be resolved itself."""


@dataclass(slots=True)
class Names:
    """Where ``${name}`` and ``${env:NAME}`` find their values.

    Attributes:
        params: Given from outside (``--param``); they win.
        lookup: Gives a notebook variable, or raises LookupError.
        declared: Defaults of ``params:``.
        environ: The environment.
        used: Every name that was asked for.
    """

    params: Mapping[str, Scalar] = field(default_factory=dict)
    lookup: Callable[[str], object] | None = None
    declared: Mapping[str, object] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    used: set[str] = field(default_factory=set)

    def declaring(self, declared: Mapping[str, object]) -> Names:
        """The same with further defaults, which win over those that were there."""
        return Names(self.params, self.lookup, {**self.declared, **declared}, self.environ, self.used)

    def has(self, name: str) -> bool:
        """Whether a param of this name was given or declared."""
        return name in self.params or name in self.declared

    def value(self, name: str) -> object:
        """The value of ``${name}``.

        Raises:
            BadReferenceError: There is none.
        """
        self.used.add(name)
        if name in self.params:
            return param_like(name, self.params[name], self.declared.get(name))
        if self.lookup is not None:
            try:
                return self.lookup(name)
            except LookupError:
                pass
        if name in self.declared:
            return self.declared[name]
        raise BadReferenceError(self._unknown(name))

    def _unknown(self, name: str) -> str:
        known = sorted({*self.params, *self.declared})
        if name in self.environ:
            return f"${{{name}}} names no param: write ${{env:{name}}} for the environment variable"
        tail = did_you_mean(name, known)
        where = "a param" if self.lookup is None else "a param or a notebook variable"
        if tail:
            return f"${{{name}}} is not {where}{tail}"
        return f"${{{name}}} is not {where}: give it with --param {name}=…, or a default under params:"

    def environment(self, name: str) -> str:
        """The value of ``${env:NAME}``.

        Raises:
            BadReferenceError: It is not set.
        """
        value = self.environ.get(name)
        if value is None:
            tail = did_you_mean(name, self.environ)
            raise BadReferenceError(f"the environment variable {name} is not set{tail}")
        return value


def param_like(name: str, given: Scalar, default: object) -> object:
    """A param from a command line, read as its default is written.

    ``--param limit=5`` is the text ``5``; beside ``params: {limit: 10}`` it becomes the number.

    Raises:
        BadReferenceError: The text is no value of the default's type.
    """
    if not isinstance(given, str) or default is None or isinstance(default, str):
        return given
    value = read_scalar(given)
    if isinstance(default, bool):
        fits = isinstance(value, bool)
    elif isinstance(default, int):
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif isinstance(default, Decimal):
        fits = isinstance(value, int | Decimal) and not isinstance(value, bool)
    else:
        return given
    if not fits:
        raise BadReferenceError(f"param {name} is {given!r}, and its default {default} is of another type")
    return value


def scalar_of(value: object, what: str) -> Scalar:
    """A value that can be bound in SQL.

    Args:
        value: What a param or a notebook variable holds.
        what: Its name, for the message.

    Raises:
        BadReferenceError: It is no text, number, date or time.
    """
    if value is UNRESOLVED:
        raise AlreadyReportedError(what)
    if isinstance(value, Secret):
        raise BadReferenceError(f"{what} is a credential, which does not belong in SQL")
    module = type(value).__module__.partition(".")[0]
    if module == "numpy" and type(value).__name__ == "datetime64":
        return str(value).replace("T", " ")
    if module == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, ExactInt | ExactDecimal):
        value = plain(value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - only NaN differs from itself
            raise BadReferenceError(f"{what} is {value}, which is no value to compare with")
        return Decimal(repr(value))
    if module == "pandas" and isinstance(value, datetime):
        # A pandas Timestamp has nanoseconds, which a datetime would lose.
        return value.isoformat(sep=" ") if getattr(value, "nanosecond", 0) else _to_datetime(value)
    if value is None or isinstance(value, str | int | bool | Decimal | date | datetime):
        return value
    raise BadReferenceError(
        f"{what} is of type {type(value).__name__}: only texts, numbers, dates and times can be used"
    )


def _to_datetime(value: datetime) -> datetime:
    convert = getattr(value, "to_pydatetime", None)
    found = convert() if convert is not None else value
    return found if isinstance(found, datetime) else value


def resolve_text(text: str, names: Names) -> object:
    """A scalar with its references resolved.

    A text that is one reference and nothing else takes the value as it is, a number as a number. A
    reference inside of a longer text becomes part of the text. ``$${`` stands for ``${``.

    Raises:
        BadReferenceError: A reference can't be resolved.
    """
    if "${" not in text:
        return text
    found = _REFERENCE.fullmatch(text.strip())
    if found is not None and found[1] is None:
        return _resolve(found, names)
    pieces: list[str | Secret] = []
    for piece in _pieces(text):
        if isinstance(piece, str):
            pieces.append(piece)
            continue
        value = _resolve(piece, names)
        if isinstance(value, Secret):
            pieces.append(value)
        else:
            pieces.append(_as_text(scalar_of(value, piece[0]), piece[0]))
    if any(isinstance(piece, Secret) for piece in pieces):
        masked = "".join(piece.masked if isinstance(piece, Secret) else piece for piece in pieces)
        reference = text if not any(isinstance(p, Secret) and not p._reference for p in pieces) else ""  # noqa: SLF001
        return Secret(lambda: _joined(pieces), masked=masked, reference=reference)
    return _joined(pieces)


def _joined(pieces: list[str | Secret]) -> str:
    return "".join(piece.reveal() if isinstance(piece, Secret) else piece for piece in pieces)


def _pieces(text: str) -> Iterator[str | re.Match[str]]:
    place = 0
    for found in _REFERENCE.finditer(text):
        yield text[place : found.start()]
        yield found[1] if found[1] is not None else found
        place = found.end()
    yield text[place:]


def _as_text(value: Scalar, what: str) -> str:
    if value is None:
        raise BadReferenceError(f"{what} has no value (None), so it can't be part of a text")
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)


def _resolve(found: re.Match[str], names: Names) -> object:
    inner = found[2]
    if inner is None:
        raise BadReferenceError(
            "'${' begins a reference, and its '}' is missing: write ${name}, or $${ for the characters themselves"
        )
    kind, separator, rest = inner.strip().partition(":")
    rest = rest.strip()
    if separator and kind == "env":
        if not rest:
            raise BadReferenceError("${env:} names no variable: write ${env:NAME}")
        return names.environment(rest)
    if separator and kind == "secret":
        scope, _, key = rest.partition("/")
        if not scope or not key:
            raise BadReferenceError(f"${{{inner}}} has no key: write ${{secret:scope/key}}")
        return Secret(lambda: resolve_secret(rest), reference=f"secret:{rest}")
    if separator:
        raise BadReferenceError(
            f"${{{inner}}}: {kind!r} is not known{did_you_mean(kind, ('env', 'secret'))} "
            "(there are ${name}, ${env:NAME} and ${secret:scope/key})"
        )
    if not _NAME.fullmatch(kind):
        raise BadReferenceError(
            f"${{{inner}}} is no name: write ${{name}} with letters, digits and underscores, "
            "or $${ for the characters themselves"
        )
    return names.value(kind)


def interpolate(
    value: object, path: Path, names: Names, document: Document, skip: frozenset[Path] = frozenset()
) -> object:
    """A value with the references in all of its scalars resolved.

    What can't be resolved is reported to the document and becomes :data:`UNRESOLVED`.

    Args:
        value: Mappings, lists and scalars. Keys are left as they are.
        path: Where it stands.
        names: Where values come from.
        document: Takes the problems.
        skip: Paths to leave alone, such as SQL texts.
    """
    if path in skip:
        return value
    if isinstance(value, Mapping):
        return {key: interpolate(one, (*path, key), names, document, skip) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [interpolate(one, (*path, place), names, document, skip) for place, one in enumerate(value)]
    if not isinstance(value, str) or isinstance(value, Secret):
        return value
    try:
        return resolve_text(value, names)
    except AlreadyReportedError:
        return UNRESOLVED
    except BadReferenceError as problem:
        document.problems.append(document.problem(path, str(problem), near=_near(value)))
        return UNRESOLVED


def _near(text: str) -> str:
    found = _REFERENCE.search(text)
    return found[0] if found else ""
