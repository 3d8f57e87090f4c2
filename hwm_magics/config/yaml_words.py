"""PyYAML's syntax errors in plain words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

from hwm_magics.errors import Problem

if TYPE_CHECKING:
    from hwm_magics.config.yaml_loader import Document

__all__ = ["plain_words"]

_MOST_TABS = 5

# What PyYAML says, and what to say instead. The first that is found counts.
_WORDS: tuple[tuple[str, str], ...] = (
    (
        "mapping values are not allowed",
        "a ':' stands where no key can: is a ':' missing on the line above? is a value with ': ' not quoted?",
    ),
    (
        "could not find expected ':'",
        "this is no 'key: value' line: a ':' and a space are missing, or a longer text needs 'key: |' above it",
    ),
    (
        "expected <block end>, but found '-'",
        "a list item stands where a key is expected: indent the '-' lines of one list alike",
    ),
    (
        "expected <block end>",
        "this line does not fit the block it stands in: indent the keys of one block alike",
    ),
    (
        "<document start>",
        "this line does not belong to what stands above it: indent the lines of one block alike",
    ),
    ("expected ',' or '}'", "a ',' or the closing '}' is missing"),
    ("expected ',' or ']'", "a ',' or the closing ']' is missing"),
    ("found unexpected end of stream", "the text ends inside a quoted value: a closing quote is missing"),
    (
        "found unexpected document separator",
        "the text ends inside a quoted value: a closing quote is missing",
    ),
    ("found unknown escape character", "a backslash in \"…\" begins an escape: use '…', or write \\\\"),
    ("expected escape sequence", "a backslash in \"…\" begins an escape: use '…', or write \\\\"),
    (
        "found undefined alias",
        "'*' begins an alias, and nothing is named so: quote the value if '*' is part of it",
    ),
    (
        "did not find expected alphabetic",
        "'*' and '&' begin aliases and anchors: quote a value that begins with one",
    ),
    (
        "expected alphabetic or numeric",
        "'*' and '&' begin aliases and anchors: quote a value that begins with one",
    ),
    ("found another document", "a second document begins here (---): write one document"),
    ("expected the node content", "a value that begins with this character needs quotes around it"),
    ("more than", "there are {problem}: write the values out"),
    ("nested deeper", "the values are {problem}"),
    (
        "sequence entries are not allowed",
        "a '-' list can't begin on the line of its key: begin it on the next",
    ),
    (
        "expected chomping or indentation",
        "after '|' or '>' the line must end: begin the text on the next line, indented",
    ),
    (
        "expected a comment or a line break",
        "after '|' or '>' the line must end: begin the text on the next line",
    ),
    ("tag handle", "'!' begins a YAML tag, which is not supported: quote a value that begins with '!'"),
    ("could not determine a constructor", "YAML tags (!…) are not supported"),
)


def plain_words(error: Exception, text: str, document: Document) -> tuple[Problem, ...]:
    """What is wrong with a text that PyYAML refused.

    Args:
        error: Its error.
        text: The text.
        document: Gives excerpts and the offset of lines.
    """
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1 + document.offset
        code = error.character if isinstance(error.character, int) else ord(str(error.character)[:1] or "?")
        message = f'the character U+{code:04X} is not allowed in YAML: delete it, or write "\\u{code:04x}"'
        return (Problem(message, "", line, document.excerpt(line)),)
    if not isinstance(error, yaml.MarkedYAMLError):
        return (Problem(f"it can't be read: {error}"),)
    mark = error.problem_mark or error.context_mark
    problem = str(error.problem or error.context or "")
    if r"'\t'" in problem or "\t" in problem:
        tabs = _tabs(text, document)
        if tabs:
            return tabs
    index = mark.index if mark is not None else 0
    # What is missing at the end of the text is missing since the place where it was opened.
    if error.context_mark is not None and not text[index:].strip():
        index = min(error.context_mark.index, max(0, len(text.rstrip()) - 1))
        if "expected the node content" in problem:
            problem = "expected ',' or ']'"
    line = text.count("\n", 0, index) + 1 + document.offset
    message = _message(problem)
    if "closing" in message and error.context_mark is not None:
        opened = text.count("\n", 0, error.context_mark.index) + 1 + document.offset
        message += f" (opened on line {opened})" if opened != line else ""
        if "${" in text[error.context_mark.index : index + 2]:
            message += '; inside { } and [ ] write "${name}" in quotes'
    return (Problem(message, "", line, document.excerpt(line)),)


def _message(problem: str) -> str:
    found = re.search(r"found character '(.+?)' that cannot start any token", problem)
    if found:
        character = found[1]
        if character == r"\t":
            return "a tab stands where YAML wants spaces"
        return f"a value that begins with {character!r} needs quotes around it"
    for theirs, ours in _WORDS:
        if theirs in problem:
            return ours.replace("{problem}", problem)
    return f"this can't be read as YAML ({problem})"


def _tabs(text: str, document: Document) -> tuple[Problem, ...]:
    rows = [number for number, line in enumerate(text.split("\n"), start=1) if re.match(r" *\t", line)]
    problems = [
        Problem(
            "a tab indents this line: YAML wants spaces",
            "",
            row + document.offset,
            document.excerpt(row + document.offset),
        )
        for row in rows[:_MOST_TABS]
    ]
    if len(rows) > _MOST_TABS:
        problems.append(Problem(f"so do {len(rows) - _MOST_TABS} more lines"))
    return tuple(problems)
