"""YAML is read strictly, exactly, and with lines."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.config.yaml_loader import ExactDecimal, ExactInt, format_path, load_yaml, plain, read_scalar
from hwm_magics.errors import ConfigError


def problems_of(text: str, **options: object) -> list[str]:
    """Everything that is wrong with a text, whether it stopped the reading or not."""
    try:
        document = load_yaml(text, **options)
    except ConfigError as error:
        return [str(each) for each in error.problems] or [error.message]
    return [str(each) for each in document.problems]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("False", False),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("y", "y"),
        ("0123", "0123"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("12:30:00", "12:30:00"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01 00:00:00.1234567", "2024-01-01 00:00:00.1234567"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("=", "="),
        ("'5'", "5"),
        ("'true'", "true"),
        ("5", 5),
        ("-5", -5),
        ("1e3", Decimal(1000)),
        (".5", Decimal("0.5")),
        ("e5", "e5"),
        (".", "."),
        (".inf", ".inf"),
        ("~", None),
        ("null", None),
        ("", None),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
    ],
)
def test_a_scalar_is_what_it_looks_like_and_nothing_else(written, value):
    read = load_yaml(f"a: {written}").value
    assert read == {"a": value}
    assert isinstance(read["a"], type(value))


def test_numbers_remember_how_they_were_written():
    read = load_yaml("a: 1.10\nb: +7\nc: 1e3").value
    assert [read[key].raw for key in "abc"] == ["1.10", "+7", "1e3"]
    assert read["a"] == Decimal("1.10")


def test_a_number_can_be_no_bomb():
    assert read_scalar("9" * 200) == "9" * 200
    assert read_scalar("1e999999999") == "1e999999999"


def test_plain_forgets_how_numbers_were_written():
    value = plain({"a": ExactInt("5"), "b": [ExactDecimal("1.10")]})
    assert type(value["a"]) is int
    assert type(value["b"][0]) is Decimal


def test_keys_are_texts_whatever_they_look_like():
    assert load_yaml("1: a\non: b\nnull: c\ntrue: d").value == {"1": "a", "on": "b", "null": "c", "true": "d"}


def test_all_duplicate_keys_are_reported_each_with_its_line_and_the_first_ones():
    found = problems_of("a: 1\nb:\n  c: 1\n  c: 2\na: 2\nd: {e: 1, e: 2}\n", offset=1)
    assert [line.split(":")[0] for line in found] == ["line 5", "line 6", "line 7"]
    assert "'c' stands here twice; the first is on line 4" in found[0]
    assert "'a' stands here twice; the first is on line 2" in found[1]


def test_every_tab_that_indents_is_reported():
    found = problems_of("read:\n\ttable: x\n\tquery: y\n", offset=1)
    assert [line.partition(":")[0] for line in found] == ["line 3", "line 4"]
    assert all("a tab indents this line" in line for line in found)


def test_many_tabs_are_counted():
    assert problems_of("a:\n" + "\tb: 1\n" * 9)[-1] == "so do 4 more lines"


def test_a_tab_inside_of_a_text_is_no_tab_that_indents():
    assert load_yaml("query: |\n  SELECT\n  \tx").value == {"query": "SELECT\n\tx"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: b: c", 1, "a ':' stands where no key can"),
        ("a: 'x", 1, "a closing quote is missing"),
        ("a: {x: 1", 1, "the closing '}' is missing"),
        ("b: 1\na: [1,\n\n", 2, "the closing ']' is missing"),
        ("a: [1\nb: 2", 2, "the closing ']' is missing (opened on line 1)"),
        ("a: {keys: ${k}}", 1, 'write "${name}" in quotes'),
        ("a: %x", 1, "begins with '%' needs quotes"),
        ("a: @x", 1, "begins with '@' needs quotes"),
        ("a: `x`", 1, "begins with '`' needs quotes"),
        ("a:\n  b: 1\n c: 2", 3, "indent the keys of one block alike"),
        ("- a\nb: c", 2, "does not fit the block"),
        ("a: b\n- c", 2, "a list item stands where a key is expected"),
        ("a: - b", 1, "a '-' list can't begin on the line of its key"),
        ("  - x\n - y", 2, "does not belong to what stands above"),
        ("a: 1\n---\nb: 2", 2, "a second document begins here"),
        ("a: *foo", 1, "nothing is named so"),
        ("*: x", 1, "begin aliases and anchors"),
        ('a: "\\q"', 1, "a backslash in"),
        ("a: | x\n  y", 1, "after '|' or '>' the line must end"),
        ("x: 1\na: \x01", 2, "U+0001 is not allowed"),
        ("a: !foo b", 1, "the YAML tag !foo is not supported"),
        ("a: !!python/object/apply:os.system [x]", 1, "is not supported"),
        ("a: !!int x", 1, "'x' is not what its tag !!int says"),
        ("a: {{x}}", 1, "write ${name}, not {{name}}"),
        ("? [a]\n: b", 1, "a key must be a text"),
        ("a: " + "[" * 40, 1, "nested deeper than 32 levels"),
    ],
)
def test_errors_of_syntax_come_with_line_and_plain_words(text, line, words):
    (found, *_) = problems_of(text)
    assert found.startswith(f"line {line}: ")
    assert words in found
    assert "while" not in found.split("\n")[0]


def test_no_tag_builds_an_object():
    assert load_yaml("a: !!python/object/apply:os.system [exit]").value == {"a": ["exit"]}


def test_merge_keys_work_and_what_is_written_out_wins():
    text = "base: &b {x: 1, y: 2}\nother: &o {y: 5, z: 6}\none: {<<: *b, x: 3}\ntwo: {<<: [*b, *o]}\n"
    value = load_yaml(text).value
    assert value["one"] == {"x": 3, "y": 2}
    assert value["two"] == {"x": 1, "y": 2, "z": 6}


@pytest.mark.parametrize("text", ["a: {<<: 5}", "a: {<<: [5]}"])
def test_a_merge_of_no_mapping_is_a_problem(text):
    assert "takes an alias of a mapping" in problems_of(text)[0]


@pytest.mark.parametrize("text", ["a: &x [*x]", "a: &x {b: *x}", "a: &x {<<: *x}"])
def test_an_alias_inside_of_itself_is_a_problem(text):
    assert "stands inside of what it stands for" in problems_of(text)[0]


def bomb(levels: int) -> str:
    """Nine times as many values a level."""
    text = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for level in range(levels):
        name, before = chr(98 + level), chr(97 + level)
        text += f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    return text


def test_a_bomb_of_aliases_is_refused_at_once():
    start = time.process_time()
    with pytest.raises(ConfigError, match="aliases") as caught:
        load_yaml(bomb(5))
    assert time.process_time() - start < 5
    assert "50,000" in str(caught.value)


def test_many_aliases_are_refused():
    assert "more than 64 aliases" in problems_of(bomb(10))[0]


def test_a_huge_text_is_refused():
    with pytest.raises(ConfigError, match="500,000"):
        load_yaml("a: " + "x" * 500_001)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
def test_nothing_reads_as_none(text):
    assert load_yaml(text).value is None


def test_a_problem_finds_the_line_of_a_value_of_a_key_and_of_a_piece_of_a_text():
    document = load_yaml(
        "read:\n  query: |\n    SELECT 1\n    WHERE a > ${since}\n  keys:\n    - a\n    - b\n", offset=1
    )
    assert document.problem(("read", "query"), "m", near="${since}").line == 5
    assert document.problem(("read", "keys"), "m").line == 6
    assert document.problem(("read", "keys", 1), "m").line == 8
    assert document.problem(("read", "nothing"), "m").line == 2
    found = document.problem(("read", "query"), "m", key=True)
    assert (found.line, found.path, found.excerpt) == (3, "read.query", "query: |")


def test_lines_are_counted_as_editors_count_them():
    # PyYAML also takes U+2028 for a line's end, editors don't.
    document = load_yaml("a: 'x\u2028y'\r\nb: 1\r\nc: 2")
    assert document.marks["c",].line == 3


def test_paths_are_written_as_people_write_them():
    assert format_path(("nodes", 0, "write", "mode")) == "nodes[0].write.mode"
    assert format_path((0, "read")) == "[0].read"


@given(st.text(max_size=60))
def test_whatever_is_written_gives_a_value_or_a_config_error(text):
    try:
        load_yaml(text)
    except ConfigError as error:
        assert error.message  # noqa: PT017 - either outcome is fine, any other exception is not


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9))
def test_numbers_are_exact(number):
    assert load_yaml(f"a: {number}").value["a"] == number
