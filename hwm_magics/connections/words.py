"""Small helpers for messages: near misses and lists of names."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean", "listed", "near_miss"]


def near_miss(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` was probably meant to be, or None."""
    names = list(known)
    by_folded = {name.casefold().replace("-", "_"): name for name in names}
    folded = word.casefold().replace("-", "_").strip()
    if folded in by_folded:
        return by_folded[folded]
    import difflib

    found = difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.65)
    return by_folded[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``": did you mean 'upsert'?"``, or nothing."""
    found = near_miss(word, known)
    return f": did you mean {found!r}?" if found is not None else ""


def listed(names: Iterable[str], limit: int = 12) -> str:
    """Names in one line, cut when there are many."""
    every = list(names)
    shown = ", ".join(every[:limit])
    return shown if len(every) <= limit else f"{shown} and {len(every) - limit} more"
