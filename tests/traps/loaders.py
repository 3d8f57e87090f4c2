"""Three loaders side by side: the naive one, its twin, and hwm_magics by its public API."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from traps.naive import Naive, rows_of

import hwm_magics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hwm_magics.core.decided import LoadPlan, LoadResult

__all__ = ["Ours", "Row", "Three"]

Row = tuple[Any, ...]


@dataclass(slots=True)
class Ours:
    """A load by hwm_magics into a lake of its own.

    Attributes:
        source: The source connection's settings.
        root: The lake's folder.
        table: The source table.
        incremental: `read.incremental`.
        read, write: Further settings of the blocks.
    """

    source: dict[str, Any]
    root: Path
    table: str = "t"
    incremental: dict[str, Any] = field(default_factory=lambda: {"column": "u"})
    read: dict[str, Any] = field(default_factory=dict)
    write: dict[str, Any] = field(default_factory=dict)

    @property
    def connections(self) -> dict[str, dict[str, Any]]:
        return {"source": self.source, "lake": {"type": "local", "root": str(self.root)}}

    @property
    def target(self) -> Path:
        return self.root / "t"

    def spec(self) -> dict[str, Any]:
        """The load as its YAML would say it."""
        read: dict[str, Any] = {"connection": "source", "table": self.table, **self.read}
        if "query" in read:
            del read["table"]
        if self.incremental:
            read["incremental"] = self.incremental
        return {"read": read, "write": {"connection": "lake", "path": "t", **self.write}}

    def load(self, *, failpoint: Callable[[str], None] | None = None, **options: Any) -> LoadResult:
        """Plan and carry it out.

        Args:
            failpoint: Called at the named places, to have others write there, or to fail.
            options: Of `hwm_magics.load`.
        """
        if failpoint is None:
            return hwm_magics.load(self.spec(), connections=self.connections, **options)
        job = hwm_magics.job(self.spec(), connections=self.connections, **options)
        job._loader.failpoint = failpoint  # there is no public way to it, and must be none
        return job.run().wait()

    def plan(self, **options: Any) -> LoadPlan:
        """Plan only."""
        return hwm_magics.plan(self.spec(), connections=self.connections, **options)

    def rows(self, *columns: str) -> list[Row]:
        """What the target holds."""
        return rows_of(self.target, *columns)


@dataclass(slots=True)
class Three:
    """The three loaders, run one after another at each moment of a schedule.

    Attributes:
        connection: A connection to look at the source with.
        strict, inclusive: The naive loader, with `>` and with `>=`.
        ours: hwm_magics.
        results: What each load of ours reported.
        columns: The columns that are compared; `id` alone by default, all when empty.
    """

    connection: Any
    strict: Naive
    inclusive: Naive
    ours: Ours
    results: list[LoadResult] = field(default_factory=list)
    columns: tuple[str, ...] = ("id",)

    def load(self) -> LoadResult:
        """Load with all three."""
        self.strict.load()
        self.inclusive.load()
        self.results.append(self.ours.load())
        return self.results[-1]

    def source(self) -> Counter[Row]:
        """The source's rows, each with how often it is there."""
        what = ", ".join(f'"{column}"' for column in self.columns) or "*"
        rows = self.connection.execute(f"SELECT {what} FROM {self.ours.table}").fetchall()
        return Counter(map(tuple, rows))

    def lost(self, loader: Naive | Ours) -> list[Row]:
        """The source's rows that a loader's target lacks."""
        return sorted((self.source() - self._held(loader)).elements())

    def doubled(self, loader: Naive | Ours) -> list[Row]:
        """The rows that a loader's target holds too often."""
        return sorted((self._held(loader) - self.source()).elements())

    def assert_ours_exact(self) -> None:
        """Every row of the source exactly once, in all its columns, and nothing else."""
        self.columns = ()
        held, source = self._held(self.ours), self.source()
        assert held == source, f"lost {source - held}, doubled {held - source}"

    def _held(self, loader: Naive | Ours) -> Counter[Row]:
        return Counter(rows_of(loader.target, *self.columns))
