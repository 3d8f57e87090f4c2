"""A project with a folder where files land, and a lake."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

import hwm_magics


@dataclass(frozen=True)
class Landing:
    """The folder, and what is loaded of it.

    Attributes:
        root: The project's folder.
    """

    root: Path

    @property
    def files(self) -> Path:
        return self.root / "landing" / "orders"

    def put(self, name: str, *numbers: int, header: str = "id,name,at") -> Path:
        """A CSV file with a row for each number."""
        file = self.files / name
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = [f'{n},"name, {n}",2024-06-{n:02} 10:00:00.12345{n % 10}' for n in numbers]
        file.write_text("\n".join([header, *rows]) + "\n")
        return file

    def text(
        self,
        path: str = "orders/*.csv",
        *,
        read: str = "",
        settle: str = "0s",
        options: str = "",
        write: str = "",
    ) -> str:
        """A load of the files, which are CSV unless their ending says otherwise."""
        kind = "" if re.search(r"\.\w+$", path) else ", format: csv"
        return (
            f"read: {{connection: landing, path: '{path}'{kind}, options: {{settle: {settle}{options}}}{read}}}\n"
            f"write: {{connection: lake, path: raw/orders{write}}}\n"
        )

    def load(self, path: str = "orders/*.csv", engine: str = "pandas", **given: str) -> Any:
        return hwm_magics.load(self.text(path, **given), engine=engine)

    def plan(self, path: str = "orders/*.csv", engine: str = "pandas", **given: str) -> Any:
        return hwm_magics.plan(self.text(path, **given), engine=engine)

    def rows(self) -> list[dict[str, Any]]:
        table = DeltaTable(self.root / "lake/raw/orders").to_pyarrow_table()
        return sorted(table.to_pylist(), key=lambda row: str(row.get("id")))

    def ids(self) -> list[Any]:
        return [row["id"] for row in self.rows()]


@pytest.fixture
def landing(tmp_path, monkeypatch) -> Landing:
    """A project with an empty landing folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hwm.yaml").write_text(
        "connections:\n  landing: {type: local, root: ./landing}\n  lake: {type: local, root: ./lake}\n"
    )
    made = Landing(tmp_path)
    made.files.mkdir(parents=True)
    return made
