"""Where a cursor stands in a YAML that is being written. ``|^`` marks it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.config.schema import EXAMPLE
from hwm_magics.config.yaml_loader import load_yaml
from hwm_magics.config.yaml_place import Place, Role, outline, place_at

SEED = Path(__file__).parents[1] / "seed"
PIPELINE = """\
pipeline: daily
params: {since: '2024-01-01'}
nodes:
- name: a
  depends_on: [b, 'c d']
  read:
    connection: shop
    query: |
      SELECT *
      FROM orders -- : {
    where: "a = 'x: [' AND b"
    incremental: {column: updated_at, lag: 30m, # why
      boundary: inclusive}
  write:
    keys:
    - id
    - line
    options: {delta.appendOnly: true, cluster_by: [a, b]}
"""
NODES = """\
- {read: {connection: shop, table: a}, write: {connection: lake, path: 'raw/a'}}
- read:
    connection: shop
    query: SELECT a,
      b FROM c
  write: {connection: lake, path: raw/b}
"""
SEEDS = [path.read_text(encoding="utf-8") for path in sorted(SEED.glob("*.yaml"))]
CELLS = [EXAMPLE, PIPELINE, NODES, *SEEDS]


def at(marked: str) -> Place:
    offset = marked.index("|^")
    return place_at(marked.replace("|^", ""), offset)


@pytest.mark.parametrize(
    ("marked", "role", "path", "written"),
    [
        ("|^", Role.EITHER, (), ""),
        ("re|^", Role.EITHER, (), "re"),
        ("read:\n  |^", Role.EITHER, ("read",), ""),
        ("read: # from where\n\n  con|^", Role.EITHER, ("read",), "con"),
        ("read:\n  connection: shop\n  ta|^\nwrite:", Role.KEY, ("read",), "ta"),
        ("read:\n  connection: shop\n|^", Role.KEY, (), ""),
        ("read:\n  connection: sh|^op", Role.VALUE, ("read", "connection"), "sh"),
        ("read:\n  connection: |^\n  table: x", Role.VALUE, ("read", "connection"), ""),
        ("read:\n  incremental:\n    column: a\n    |^\nwrite:", Role.KEY, ("read", "incremental"), ""),
        ("write:\n  keys:\n  - a\n  - b|^\n", Role.EITHER, ("write", "keys", 1), "b"),
        ("write:\n  keys:\n    - |^", Role.EITHER, ("write", "keys", 0), ""),
        ("nodes:\n- name: a\n  read:\n    t|^", Role.EITHER, ("nodes", 0, "read"), "t"),
        ("nodes:\n  - name: a\n  - name: b\n    |^", Role.KEY, ("nodes", 1), ""),
        ("- read: {}\n- |^", Role.EITHER, (1,), ""),
        ("read: {|^}", Role.KEY, ("read",), ""),
        ("read: {connection: a, t|^}", Role.KEY, ("read",), "t"),
        ("read: {incremental: {column: up|^", Role.VALUE, ("read", "incremental", "column"), "up"),
        ("read: {incremental: {column: a}, |^", Role.KEY, ("read",), ""),
        ("read: {a: 1,\n  t|^}", Role.KEY, ("read",), "t"),
        ("write: {keys: [a, |^]}", Role.EITHER, ("write", "keys", 1), ""),
        ("read:\n  query: |\n    SELECT *\n    FROM o|^", Role.VALUE, ("read", "query"), "    SELECT *\n    FROM o"),
        ("read:\n  query: |\n    SELECT *\n|^", Role.KEY, (), ""),
        ("read:\n  query: SELECT a\n    FROM o|^", Role.VALUE, ("read", "query"), "SELECT a\nFROM o"),
        ("read:\n  query: 'a: {|^", Role.VALUE, ("read", "query"), "a: {"),
        ("# re|^", Role.NOWHERE, (), ""),
        ("read: # re|^", Role.NOWHERE, (), ""),
        ("read:|^", Role.NOWHERE, (), ""),
        ("read: {a: b}|^", Role.NOWHERE, (), ""),
    ],
)  # fmt: skip
def test_a_place_is_told_by_its_path_and_by_what_is_written(marked, role, path, written):
    found = at(marked)
    assert (found.role, found.written) == (role, written)
    if role is not Role.NOWHERE:
        assert found.path == path


def test_braces_and_quotes_that_were_never_closed_end_where_the_next_setting_begins():
    assert at("read: {connection: shop\nwrite:\n  pa|^").path == ("write",)
    assert at('read:\n  table: "orders\n  wh|^').path == ("read",)


def test_a_place_knows_the_quote_that_is_open():
    assert at('read: {table: "or|^"}').quote == '"'
    assert at("read:\n  table: 'or|^").quote == "'"
    assert at("read:\n  table: or|^").quote == ""


def test_an_outline_tells_what_stands_elsewhere_however_much_is_half_written():
    told = outline("read:\n  connection: shop\n  tab\n  query: |\n    SELECT 1\nwrite: {keys: [a, b], path: ")
    assert told.text(("read", "connection")) == "shop"
    assert told.text(("read", "query")).strip() == "SELECT 1"
    assert told.keys(("write", "keys")) == {0, 1}
    assert told.keys(("write",)) == {"keys", "path"}


def scalars(value, path=()):
    if isinstance(value, dict):
        for key, one in value.items():
            yield from scalars(one, (*path, key))
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from scalars(one, (*path, place))
    else:
        yield path, getattr(value, "raw", str(value).lower() if isinstance(value, bool) else str(value))


@pytest.mark.parametrize("cell", CELLS)
def test_an_outline_of_a_whole_cell_says_what_the_yaml_parser_says(cell):
    document = load_yaml(cell)
    assert not document.problems
    told = outline(cell)
    for path, text in scalars(document.value):
        assert " ".join(told.text(path).split()) == " ".join(text.split()), path


@given(cell=st.sampled_from(CELLS), data=st.data())
def test_no_prefix_of_a_cell_is_too_much_and_what_is_written_ends_at_the_cursor(cell, data):
    offset = data.draw(st.integers(0, len(cell)))
    found = place_at(cell, offset)
    line = cell[:offset].rpartition("\n")[2]
    assert line.endswith(found.written.rpartition("\n")[2].lstrip())
    assert cell[:offset].endswith(found.written.rpartition("\n")[2])


@given(st.text(alphabet="ab: -\n{}[]\"'|>#,&*\\\t\r?", max_size=80), st.integers(0, 80))
def test_no_text_at_all_is_too_much(text, offset):
    found = place_at(text, offset)
    assert text[:offset].endswith(found.written.rpartition("\n")[2])
    outline(text)


@pytest.mark.parametrize("piece", ["[", "{a: ", "- ", "a:\n", "'", "a: |\n ", "{", "a\n", ": ", "\n  "])
def test_much_of_anything_is_read_in_little_time(piece):
    # A reader that goes back over what it has read would not come to an end.
    place_at(piece * 20_000, 90_000)
    outline(piece * 20_000)
