"""The documentation says what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_reference_page_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    lost = [link for link in links if not (page.parent / link).exists()]
    assert lost == []


def test_every_magic_is_told_of_in_the_reference() -> None:
    from hwm_magics.notebook.magics import HwmMagics

    told = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    names = {f"`%{name}`" for name in HwmMagics.magics["line"]} | {
        f"`%%{name}`" for name in HwmMagics.magics["cell"]
    }
    assert {name for name in names if name not in told} == set()


def test_the_examples_in_the_readme_are_loads_that_parse() -> None:
    from hwm_magics.config.defaults import Defaults
    from hwm_magics.config.schema import parse

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    cells = re.findall(r"```\n%%hwm_load[^\n]*\n(.*?)```", text, re.DOTALL)
    assert cells
    for cell in cells:
        assert parse(cell, params={}, defaults=Defaults())
