"""Help that is true: manual pages, hints that name what exists, and examples that run."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import hwm_magics
from hwm_magics.cli import cli
from hwm_magics.errors import ConfigError
from hwm_magics.notebook.examples import EXAMPLES
from hwm_magics.notebook.magics import HwmMagics
from hwm_magics.notebook.target_magics import TargetMagics

MAGICS = {
    kind: {name: getattr(owner, name) for owner in (HwmMagics, TargetMagics) for name in owner.magics[kind]}
    for kind in ("line", "cell")
}
PACKAGE = Path(hwm_magics.__file__).parent
ROOT = PACKAGE.parent
NAMES = [example.name for example in EXAMPLES]
NEEDED = {"backfill": "upsert", "versions": "append"}
"""Examples that go on from what another one has loaded."""


def test_a_question_mark_shows_a_manual_page(shell, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "IPython.core.page.page", lambda text, *_args, **_options: shown.append(text["text/plain"])
    )
    for question in ("%%hwm_load?", "%hwm_load?", "?%%hwm_load"):
        shown.clear()
        assert shell(question).error is None
        (text,) = shown
        for part in (
            "What it does:",
            "Options:",
            "--dry-run",
            "Example:",
            "keys: [order_id]",
            "%hwm_example",
        ):
            assert part in text, part


@pytest.mark.parametrize("name", sorted({name for kind in MAGICS.values() for name in kind}))
def test_help_of_every_magic_is_its_manual_page_and_does_nothing_else(shell, name):
    for cell in (f"%{name} --help", f"%{name}?"):
        told = shell(cell)
        assert told.error is None, told.everything
        assert told.value is None
    assert shell(f"%{name} --help").printed.startswith(("%", "%%"))
    assert "--help" in shell(f"%{name} --help").printed
    # Lab wraps what is wider in the middle of a word.
    assert max(map(len, shell(f"%{name} --help").printed.splitlines())) <= 80
    if name in MAGICS["cell"]:
        assert shell(f"%%{name} --help").printed == shell(f"%{name} --help").printed


def test_a_wrong_option_names_a_help_that_exists(shell):
    for line in ("%%hwm_load --rn\nread: {}", "%hwm_history --plt", "%hwm_debug --all"):
        told = shell(line)
        assert isinstance(told.error, ConfigError)
        (help_,) = re.findall(r"%hwm_\w+ --help", told.error.hint)
        assert shell(help_).error is None


def test_the_line_without_a_body_loads_nothing_and_says_what_to_write(shell, project):
    told = shell("%hwm_load --run")
    assert isinstance(told.error, ConfigError)
    assert "%%hwm_load" in told.error.hint


def spoken() -> list[str]:
    """Every text in the package's code, docstrings and messages alike, and in the pages that people read."""
    texts = []
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts += [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    return texts + [page.read_text(encoding="utf-8") for page in pages]


def test_every_magic_and_option_that_is_spoken_of_exists():
    unknown = set()
    for text in spoken():
        for sign, name, flags in re.findall(r"(%%?)(hwm_\w+)((?:[ ]+(?:\w+[ ]+)?--[a-z-]+)*)", text):
            kind = MAGICS["line" if sign == "%" else "cell"]
            options = kind[name].__doc__ if name in kind else ""
            told = [f"{sign}{name}"] if name not in kind else []
            told += [
                f"{sign}{name} {flag}" for flag in re.findall(r"--[a-z-]+", flags) if flag not in options
            ]
            unknown.update(told)
    assert unknown == set()


def test_every_command_that_is_spoken_of_exists():
    commands = {"run", "plan", *cli.commands}
    known = set(cli.commands)
    spoken_of = {
        name
        for text in spoken()
        for name in re.findall(r"(?:^|[`\s])hwm ([a-z]+)(?= [\w-]+\.(?:yaml|yml|ipynb)| FILE|`)", text)
    }
    assert spoken_of <= known, spoken_of - known
    assert commands


def test_examples_are_listed_and_become_the_next_cell(shell):
    listed = shell("%hwm_example").value
    assert [row[0] for row in listed.rows] == NAMES
    placed = []
    shell.shell.set_next_input = lambda text, replace=False: placed.append((text, replace))
    for example in EXAMPLES:
        assert shell(f"%hwm_example {example.name}").error is None
        assert placed.pop() == (example.cell, False)
    wrong = shell("%hwm_example upsrt")
    assert "did you mean 'upsert'?" in str(wrong.error)


@pytest.fixture
def shop_shell(shell, tmp_path, monkeypatch):
    """A shell beside the notebooks' shop, with the connections of the first example."""
    import importlib.util

    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("shop", ROOT / "notebooks" / "shop.py")
    shop = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shop)
    shop.make("shop.db", orders=500)
    assert shell(EXAMPLES[0].cell).error is None
    return shell, shop


def rows(folder: Path) -> dict[str, int]:
    from deltalake import DeltaTable

    return {
        path.parent.relative_to(folder).as_posix(): DeltaTable(path.parent).to_pyarrow_table().num_rows
        for path in sorted(folder.rglob("_delta_log"))
    }


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES[1:], ids=NAMES[1:])
def test_an_example_loads_the_shop_and_what_a_day_brings(shop_shell, tmp_path, example):
    shell, shop = shop_shell
    needed = next((each.cell for each in EXAMPLES if each.name == NEEDED.get(example.name)), None)
    if needed is not None:
        assert shell(needed).error is None
    land = tmp_path / "lake" / "landing"
    if example.name == "files":
        land.mkdir(parents=True)
        (land / "a.csv").write_text("id,word\n1,one\n")
    first = shell(example.cell)
    assert first.error is None, first.everything
    before = rows(tmp_path / "lake") if (tmp_path / "lake").exists() else {}
    shop.a_day_passes("shop.db", new=20, changed=10)
    if example.name == "files":
        (land / "b.csv").write_text("id,word\n2,two\n")
    if example.name == "versions":
        assert shell(needed).error is None
    second = shell(example.cell)
    assert second.error is None, second.everything
    after = rows(tmp_path / "lake") if (tmp_path / "lake").exists() else {}
    if example.name == "plan":
        assert after == {}
        assert "FIRST RUN" in second.everything
    elif example.name in ("backfill", "overwrite"):
        assert after == before
    else:
        assert before
        assert before.keys() == after.keys()
        assert "INCREMENTAL" in second.everything
        grown = {name: after[name] - before[name] for name in after}
        if example.name == "late-rows":
            assert grown == {"raw/orders_late": 0}, "rows younger than 30 s wait"
        else:
            assert all(0 < more <= 30 for more in grown.values()), grown
