"""The application with an engine and a source of the test's choosing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from hwm_magics.app import Workspace
from hwm_magics.connections.registry import Connections

if TYPE_CHECKING:
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.engines.base import Engine, Failpoint
    from hwm_magics.sources.base import Source


class Bench(Workspace):
    """Plans and loads as the application does.

    Args:
        engine: The engine under test.
        source: Makes a source for each attempt.
        failpoint: Called at the named places.
        functions: Transforms by their names.
        clock: The loader's clock; the machine's by default.
    """

    def __init__(
        self,
        engine: Engine,
        source: Callable[[LoadSpec], Source],
        failpoint: Failpoint | None = None,
        functions: dict[str, object] | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(Connections(), lookup=(functions or {}).__getitem__)
        if failpoint is not None:
            self.failpoint = failpoint
        self._engine = engine
        self._source = source
        self._clock = clock

    def now(self) -> datetime:
        """The loader's clock."""
        return self._clock() if self._clock is not None else super().now()

    def engine(self, spec: LoadSpec) -> Engine:
        """The engine under test."""
        return self._engine

    def source(self, spec: LoadSpec) -> Source:
        """A source as the test made it."""
        return self._source(spec)
