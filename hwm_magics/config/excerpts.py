"""Lines of a configuration as they may be shown."""

from __future__ import annotations

import re

from hwm_magics.connections.secrets import MASK, looks_secret, scrub

__all__ = ["SHOWABLE", "safe_excerpt", "show_value"]

SHOWABLE = frozenset({
    "account", "bucket", "column", "connection", "connections", "container", "database", "defaults", "dsn",
    "engine", "format", "host", "incremental", "mode", "name", "path", "port", "read", "region", "root",
    "service_name", "sid", "table", "timezone", "type", "write",
})  # fmt: skip
"""Settings whose values are no credentials. Where credentials may stand, only lines that hold
nothing else are shown whole: a misspelled ``pasword`` must not be the way a password gets out."""

_KEY = re.compile(r"([\"']?)([A-Za-z_][\w.\- ]*?)\1\s*[:=]")
_LONGEST = 120


def safe_excerpt(line: str, *, strict: bool = False) -> str:
    """A line for a message: credentials masked, cut when it is long.

    Args:
        line: The line.
        strict: Show the values of known, harmless settings only.
    """
    text = line.strip()
    keys = [found[2].strip() for found in _KEY.finditer(text)]
    if strict and not _harmless(text, keys):
        text = _head(text)
    elif any(looks_secret(key) for key in keys):
        first = next(found for found in _KEY.finditer(text) if looks_secret(found[2].strip()))
        text = f"{text[: first.end()]} {MASK}"
    text = "".join(letter for letter in scrub(text) if letter.isprintable() or letter == "\t")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _harmless(text: str, keys: list[str]) -> bool:
    # The first key of a line inside `connections:` is often a connection's own name, followed by nothing.
    if text.startswith("#"):
        return False
    if re.fullmatch(r"[\"']?[\w.\- ]+[\"']?:\s*(?:#.*)?", text):
        return True
    rest = keys
    opening = re.match(r"[\"']?[\w.\- ]+[\"']?:\s*\{", text)
    if opening:
        rest = keys[1:]
    return bool(rest) and all(key in SHOWABLE for key in rest)


def _head(text: str) -> str:
    found = re.match(r"(?:-\s+)?[\"']?[\w.\- ]+[\"']?\s*:", text)
    return f"{found[0]} {MASK}" if found else MASK


def show_value(value: object, limit: int = 60) -> str:
    """A value as a message shows it."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, tuple):
        return show_value(f"[{', '.join(map(str, value))}]", limit).strip("'")
    if isinstance(value, list):
        return "a list"
    raw = getattr(value, "raw", None)
    text = scrub(raw if isinstance(raw, str) else repr(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"
