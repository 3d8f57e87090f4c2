"""The notebooks run as they stand, do what they tell, and are saved so that they can be read anywhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
MOST_BYTES = 200_000
# What each notebook must come to, whatever else changes: the texts that its outputs hold, in this order.
COMES_TO = {
    "quickstart": ["FIRST RUN", "INCREMENTAL", "none missing, none twice, none as"],
    "orders_pipeline": ["FIRST RUN", "700", "none missing, none twice, 200 as they were before"],
    "late_data": [
        re.compile("5 min late|4 min [0-9]+ s late"),  # as long as the cells before took less
        "none missing, none twice",
        "40 missing, none twice",
        "1 h 59 min late",
        "none missing, none twice",
        "50 as they were before",
    ],
    "recovery": [
        "(killed by signal 9)",
        "FIRST RUN",
        "none missing, none twice, none as",
        "the watermark is now updated_at = 2024-01-01 00:00:00",
        "INCREMENTAL",
        "none missing, none twice, none as",
        "3,000 missing, none twice, 1,000 as they were before",
        "INCREMENTAL",
        "none missing, none twice, none as",
        "BlockedError",
    ],
    "history": ["14 loads of raw.orders", "14 d behind it at most", "its log is at version 14"],
    "job": ["FIRST RUN", "(exit code 0)", "(exit code 2)", "(exit code 0)", "did you mean 'status'?"],
}


def load_script():
    spec = importlib.util.spec_from_file_location("execute", ROOT / "notebooks" / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def told(notebook) -> str:
    """All that the outputs say as plain text, in order."""
    texts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            texts.append(output.get("text") or output.get("data", {}).get("text/plain") or "")
            texts.append(f"{output.ename}: {output.evalue}" if output.output_type == "error" else "")
    return "\n".join(texts)


def assert_in_order(text: str, parts: list[str | re.Pattern[str]]) -> None:
    at = 0
    for part in parts:
        pattern = re.compile(re.escape(part)) if isinstance(part, str) else part
        found = pattern.search(text, at)
        assert found, f"{part!r} is not there, or not after what should come before it"
        at = found.end()


def test_every_notebook_is_known_here():
    assert set(COMES_TO) == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_runs_from_top_to_bottom_and_comes_to_what_it_tells(path, tmp_path, monkeypatch):
    monkeypatch.delenv("HWM_MAGICS_MODE", raising=False)
    monkeypatch.delenv("HWM_MAGICS_CONFIG", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    script = load_script()
    made = script.execute(path, tmp_path)
    assert_in_order(told(made), COMES_TO[path.stem])
    assert {each.name for each in tmp_path.iterdir()} - {"__pycache__"} == {"shop.py", "scratch"}
    script.cleaned(made, tmp_path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_saved_notebook_is_complete_and_says_what_running_it_says(path):
    saved = nbformat.read(path, as_version=4)
    nbformat.validate(saved)
    code = [cell for cell in saved.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert_in_order(told(saved), COMES_TO[path.stem])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_saved_notebook_can_be_read_on_a_code_hosting_page(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES
    assert "application/vnd.jupyter.widget" not in text
    assert "<script" not in text
    for each in re.findall(
        r"(?<![\w.:/<-])/(?:home|mnt|opt|private|root|tmp|usr|Users|var|work)/\S{0,40}", text
    ):
        pytest.fail(f"a path of the machine that it ran on: {each}")
    saved = nbformat.reads(text, as_version=4)
    assert set(saved.metadata) == {"kernelspec", "language_info"}
    for cell in saved.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output
            # HTML never stands alone: pages that leave it out show the rest.
            assert "text/html" not in output.get("data", {}) or "text/plain" in output.data


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_links_of_a_notebook_lead_somewhere(path):
    saved = nbformat.read(path, as_version=4)
    for cell in saved.cells:
        for link in (
            re.findall(r"\]\((?!https?:|#)([^)#]+)", cell.source) if cell.cell_type == "markdown" else []
        ):
            assert (path.parent / link).exists(), link
