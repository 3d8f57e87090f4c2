"""One suite over every engine: a test that asks for `case` runs once with each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from contract.cases import CASES, Case
from fakes.builders import COLUMNS
from fakes.source import FakeDatabase, FakeSource, source_of
from fakes.workspace import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    """An engine with an empty lake."""
    made = CASES[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def db() -> Iterator[FakeDatabase]:
    """A source with the columns id, u and v, and no rows."""
    database = FakeDatabase(COLUMNS)
    yield database
    database.close()


class Sources:
    """Makes a source an attempt, and remembers them."""

    def __init__(self, database: FakeDatabase) -> None:
        self.database = database
        self.settings: dict[str, object] = {}
        self.made: list[FakeSource] = []

    def __call__(self, spec) -> FakeSource:
        """A source for one attempt."""
        self.made.append(source_of(self.database, spec, **self.settings))
        return self.made[-1]

    @property
    def reads(self) -> int:
        """How often rows were asked for."""
        return sum(source.reads for source in self.made)


@pytest.fixture
def sources(db: FakeDatabase) -> Sources:
    """What the loads of a test read from."""
    return Sources(db)


@pytest.fixture
def bench(case: Case, sources: Sources) -> Bench:
    """The application over the engine and the source."""
    return Bench(case.engine, sources)
