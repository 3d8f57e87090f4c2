"""Where a cursor stands in a YAML that is being written: a reader that takes any text and never fails.

A YAML parser refuses a half-written text, and half-written is what an editor asks about. This one
keeps what it needs for completion only: which setting the cursor is at, what of it is written, and
which settings stand elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Literal, TypeAlias

__all__ = ["Outline", "Path", "Place", "Role", "outline", "place_at"]

Path: TypeAlias = tuple[str | int, ...]

MOST_CHARACTERS = 100_000
DEEPEST = 50

_PLAIN = r"(?:(?!\s\#)[^\n])*?"
_KEY = re.compile(
    rf"""(?:"([^"\n]*)"|'([^'\n]*)'|([^\s"'{{}}\[\],#&*!|>%@`?]{_PLAIN}))[ \t]*:(?=[ \t\n]|\Z)"""
)
_DASH = re.compile(r"-(?=[ \t\n]|\Z)")
_PLAIN_IN_BLOCK = re.compile(r"(?:(?!\s\#)[^\n])*")
_PLAIN_IN_FLOW = re.compile(r"(?:(?!\s\#)(?!:(?:[\s,\[\]{}]|\Z))[^\n,\[\]{}])+")
_QUOTED = {"'": re.compile(r"[^'\n]*(?:''[^'\n]*)*"), '"': re.compile(r'[^"\\\n]*(?:\\[^\n][^"\\\n]*)*')}
_LINE = re.compile(r"[^\n]*")
_SPACES = re.compile(r"[ \t\r]*")


class Role(Enum):
    """What is being written at a place."""

    KEY = "key"
    VALUE = "value"
    EITHER = "either"
    """The first thing below a setting: a key where the setting is a block, otherwise its value."""
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the cursor stands.

    Attributes:
        role: What is being written.
        path: For a key, the block that it stands in; otherwise the setting. List places are numbers.
        written: What of it stands before the cursor: a scalar from its beginning, lines and all.
        quote: The quote that is open.
        flow: Whether it stands in braces or brackets.
    """

    role: Role
    path: Path = ()
    written: str = ""
    quote: Literal["", "'", '"'] = ""
    flow: bool = False


NOWHERE = Place(Role.NOWHERE)


@dataclass(frozen=True, slots=True)
class Outline:
    """What a text says, as far as it can be read.

    Attributes:
        values: Every setting's text by its path; "" for blocks and for settings without a value.
    """

    values: dict[Path, str]

    def keys(self, path: Path) -> frozenset[str | int]:
        """The keys of a block, or the places of a list."""
        return frozenset(each[-1] for each in self.values if each[:-1] == path and each)

    def text(self, path: Path) -> str:
        """A setting's text; "" when it has none."""
        return self.values.get(path, "")


def place_at(text: str, offset: int) -> Place:
    """Where a cursor stands.

    Args:
        text: The YAML, half-written or not.
        offset: The cursor, in characters.
    """
    before = text[: max(offset, 0)]
    if len(before) > MOST_CHARACTERS:
        return NOWHERE
    scan = _Scan(before)
    scan.run()
    return scan.place


def outline(text: str) -> Outline:
    """What a text says, as far as it can be read."""
    scan = _Scan(text[:MOST_CHARACTERS])
    scan.run()
    return Outline(scan.values)


@dataclass(slots=True)
class _Frame:
    """A block that is open: a mapping or a list, and what was last begun in it."""

    listed: bool
    indent: int
    path: Path
    last: str | int
    waiting: bool = True
    """Whether what was last begun has no value yet."""
    plain: bool = False
    """Whether its value is text without quotes, which may go on in the next line."""

    @property
    def inner(self) -> Path:
        return (*self.path, self.last)


@dataclass(slots=True)
class _Flow:
    """Braces or brackets that are open."""

    listed: bool
    path: Path
    key: str | None = None
    valued: bool = False
    """Whether the colon has come."""
    filled: bool = False
    """Whether the key or value that is due has come."""
    count: int = 0

    @property
    def inner(self) -> Path:
        return (*self.path, self.count if self.listed else self.key or "")

    def comma(self) -> None:
        self.key, self.valued, self.filled = None, False, False
        self.count += 1


@dataclass(slots=True)
class _Scan:
    """One reading; ``place`` is where the text ends."""

    text: str
    place: Place = NOWHERE
    values: dict[Path, str] = field(default_factory=dict)
    _at: int = 0
    _frames: list[_Frame] = field(default_factory=list)

    def run(self) -> None:
        while self._line():
            pass

    def _ended(self) -> bool:
        return self._at >= len(self.text)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self._at)
        text = found[0] if found else ""
        self._at += len(text)
        return text

    def _column(self) -> int:
        return self._at - (self.text.rfind("\n", 0, self._at) + 1)

    def _next_line(self) -> bool:
        """Go to the next line; whether there is one."""
        self._skip(_LINE)
        if self._ended():
            return False
        self._at += 1
        return True

    def _indent_ahead(self, start: int) -> int | None:
        """The column of a line's first character; None for a blank line that another one follows."""
        found = _SPACES.match(self.text, start)
        end = found.end() if found else start
        return None if self.text[end : end + 1] == "\n" else end - start

    def _line(self) -> bool:
        """Read one line, with the lines that belong to its value; whether there is more."""
        self._skip(_SPACES)
        indent = self._column()
        if self._ended():
            self.place = self._begin(indent, "")
            return False
        letter = self.text[self._at]
        if letter in "#\n" or self.text.startswith(("---", "..."), self._at):
            return self._next_line()
        while self._skip(_DASH):
            if self._ended():
                return False
            if len(self._frames) > DEEPEST:
                return False
            self._item(indent)
            self._skip(_SPACES)
            indent = self._column()
            if self._ended():
                self.place = Place(Role.EITHER, self._frames[-1].inner)
                return False
            if self.text[self._at] in "#\n":
                return self._next_line()
        key = _KEY.match(self.text, self._at)
        if key is None:
            return self._content(indent)
        self._at = key.end()
        self._setting(indent, next(group for group in key.groups() if group is not None))
        if self._ended():
            return False
        self._skip(_SPACES)
        frame = self._frames[-1]
        if self._ended():
            self.place = Place(Role.VALUE, frame.inner)
            return False
        return self._value(frame, frame.inner, indent)

    def _up_to(self, indent: int) -> _Frame | None:
        """Leave the blocks that a line of this indentation ends; the one that it stands in."""
        while self._frames:
            top = self._frames[-1]
            if top.indent < indent or (top.indent == indent and not top.listed):
                return top
            self._frames.pop()
        return None

    def _begin(self, indent: int, written: str) -> Place:
        """The place of what begins in this column."""
        top = self._up_to(indent)
        if top is None:
            return Place(Role.EITHER, (), written)
        if top.indent == indent:
            return Place(Role.KEY, top.path, written)
        if top.waiting:
            return Place(Role.EITHER, top.inner, written)
        if top.plain:
            return Place(Role.VALUE, top.inner, f"{self.values.get(top.inner, '')}\n{written}")
        return NOWHERE

    def _item(self, indent: int) -> None:
        while self._frames and self._frames[-1].indent > indent:
            self._frames.pop()
        top = self._frames[-1] if self._frames else None
        if top is not None and top.listed and top.indent == indent:
            top.last = int(top.last) + 1
            top.waiting, top.plain = True, False
        else:
            if top is not None:
                top.waiting = False
            self._frames.append(_Frame(listed=True, indent=indent, path=top.inner if top else (), last=0))
        self.values.setdefault(self._frames[-1].inner, "")

    def _setting(self, indent: int, key: str) -> None:
        top = self._up_to(indent)
        if top is None or top.indent < indent:
            if top is not None:
                top.waiting = False
            top = _Frame(listed=False, indent=indent, path=top.inner if top else (), last=key)
            self._frames.append(top)
        top.last, top.waiting, top.plain = key, True, False
        self.values.setdefault(top.inner, "")

    def _content(self, indent: int) -> bool:
        """A line that is no ``key:``: the value of what stands above, or a key that is being written."""
        place = self._begin(indent, "")
        top = self._frames[-1] if self._frames else None
        if self.text[self._at] in "\"'{[|>" and place.role is Role.EITHER:
            return self._value(top, place.path, indent - 1)
        start = self._at
        self._skip(_PLAIN_IN_BLOCK)
        written = place.written + self.text[start : self._at]
        if self._ended():
            self.place = Place(place.role, place.path, written)
            return False
        if top is not None and place.role in (Role.EITHER, Role.VALUE):
            self.values[place.path] = written.rstrip()
            top.waiting, top.plain = False, True
        return self._next_line()

    def _value(self, owner: _Frame | None, path: Path, indent: int) -> bool:
        """A value that begins here; ``indent`` is the column that ends it when a line goes back to it."""
        letter = self.text[self._at]
        if owner is not None:
            owner.waiting = letter in "#\n"
        if letter in "#\n":
            return self._next_line()
        if letter in "|>":
            return self._literal(path, indent)
        if letter in "{[":
            return self._flow(path, indent)
        if letter in "\"'":
            quoted = self._quoted(Place(Role.VALUE, path), indent)
            if quoted is None:
                return False
            self.values[path] = quoted
            return self._next_line()
        start = self._at
        self._skip(_PLAIN_IN_BLOCK)
        written = self.text[start : self._at]
        if self._ended():
            self.values[path] = written.rstrip()
            self.place = Place(Role.VALUE, path, written)
            return False
        self.values[path] = written.rstrip()
        if owner is not None:
            owner.plain = True
        return self._next_line()

    def _literal(self, path: Path, indent: int) -> bool:
        if not self._next_line():
            return False
        start = self._at
        while not self._ended():
            ahead = self._indent_ahead(self._at)
            if ahead is not None and ahead <= indent:
                break
            if not self._next_line():
                break
        written = self.text[start : self._at]
        if written.endswith("\n") or not written:
            # The line after it decides what comes next.
            self.values[path] = written
            return True
        self.values[path] = written
        self.place = Place(Role.VALUE, path, written)
        return False

    def _quoted(self, where: Place, indent: int) -> str | None:
        """A text in quotes; None when the reading ends inside of it, and ``place`` says so."""
        mark: Literal["'", '"'] = "'" if self.text[self._at] == "'" else '"'
        self._at += 1
        start = self._at
        while True:
            self._skip(_QUOTED[mark])
            if self._ended():
                written = self.text[start:]
                self.values.setdefault(where.path, "")
                self.place = replace(where, written=written, quote=mark)
                return None
            letter = self.text[self._at]
            if letter == mark:
                self._at += 1
                return self.text[start : self._at - 1]
            if letter == "\n" and self._goes_back(indent):
                # The quote was never closed, and this line is another setting.
                return self.text[start : self._at]
            self._at += 1

    def _goes_back(self, indent: int) -> bool:
        """Whether the next line stands no deeper than the setting that is being read."""
        ahead = self._indent_ahead(self._at + 1)
        return ahead is not None and ahead <= indent

    def _flow(self, path: Path, indent: int) -> bool:
        """What stands in braces or brackets, as deep as it goes; whether there is more."""
        open_: list[_Flow] = []
        while not self._ended():
            letter = self.text[self._at]
            top = open_[-1] if open_ else None
            if letter in "{[":
                if len(open_) > DEEPEST:
                    return False
                inner = path if top is None else top.inner
                if top is not None:
                    top.filled = True
                    self.values.setdefault(inner, "")
                open_.append(_Flow(letter == "[", inner))
                self._at += 1
            elif top is None:
                return self._next_line()
            elif letter in "}]":
                open_.pop()
                self._at += 1
            elif letter == "\n":
                if self._goes_back(indent):
                    return self._next_line()
                self._at += 1
            elif letter in " \t\r":
                self._at += 1
            elif letter == "#" and self.text[self._at - 1] in " \t\n":
                self._skip(_LINE)
                if self._ended():
                    return False
            elif letter == ",":
                top.comma()
                self._at += 1
            elif letter == ":" and not top.listed and top.key is not None and not top.valued:
                top.valued, top.filled = True, False
                self.values.setdefault(top.inner, "")
                self._at += 1
            elif not self._token(top, indent):
                return False
        if open_ and not open_[-1].filled:
            self.place = _in_flow(open_[-1])
        return False

    def _token(self, top: _Flow, indent: int) -> bool:
        """A text in braces or brackets; whether there is more."""
        where = NOWHERE if top.filled else _in_flow(top)
        if self.text[self._at] in "\"'":
            written = self._quoted(where, indent)
            if written is None:
                return False
        else:
            start = self._at
            self._skip(_PLAIN_IN_FLOW)
            # A lone colon, or a sign that begins nothing here.
            self._at = max(self._at, start + 1)
            written = self.text[start : self._at].rstrip()
            if self._ended():
                self.place = replace(where, written=self.text[start:])
                return False
        if where.role is Role.KEY:
            top.key = written
        elif where.role is not Role.NOWHERE:
            self.values[top.inner] = written
        top.filled = True
        return True


def _in_flow(top: _Flow) -> Place:
    if top.listed:
        return Place(Role.EITHER, top.inner, flow=True)
    if top.valued:
        return Place(Role.VALUE, top.inner, flow=True)
    return Place(Role.KEY, top.path, flow=True)
