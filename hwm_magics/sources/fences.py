"""Up to what cursor value everything has been written: the source's clock, and what open transactions may still add."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue
from hwm_magics.core.specs import CursorSpec, FencePolicy, FuturePolicy
from hwm_magics.errors import CursorColumnError

if TYPE_CHECKING:
    from hwm_magics.sources.base import SourceRequest
    from hwm_magics.sources.sql import SqlSource

__all__ = ["MARGIN", "Fence"]

MARGIN = timedelta(seconds=1)
"""A transaction is seen a moment after it has taken its time, and a column may round that to a whole second."""
_TICK = timedelta(microseconds=1)

ReadClock = Callable[[str], CursorValue]
"""Makes a cursor value of a time that the source's clock tells."""


class Fence:
    """The highest cursor value that one load may read.

    A transaction gives its rows the time at which it began, or a later one. So nothing below the beginning of the
    oldest open transaction can come any more. The mark may lie above that by what the next load looks back: the rows
    of a transaction that is open for less long are found by looking back, and an older one holds the mark where looking
    back still finds its rows.

    Args:
        source: Where to ask.
        request: The request.
        settings: The cursor's settings.
        kind: The cursor's type.
        label: The cursor, for people.
    """

    def __init__(
        self, source: SqlSource, request: SourceRequest, settings: CursorSpec, kind: CursorType, label: str
    ) -> None:
        self.source = source
        self.dialect = source.driver.dialect
        self.request = request
        self.settings = settings
        self.kind = kind
        self.label = label
        self.told = ""
        self._held: CursorValue | None = None
        self._why = ""

    def cap(self, now: CursorValue | None, read_clock: ReadClock | None) -> CursorValue | None:
        """The bound; None for none.

        Args:
            now: The source's clock, in the cursor's type.
            read_clock: What reads the clock; None for cursors that are no times.

        Raises:
            CursorColumnError: The fence that was asked for can't be had.
        """
        if self.settings.fence is FencePolicy.XID:
            return self._by_ids()
        counted = self._by_row_versions()
        if counted is not None:
            return counted
        if read_clock is None or now is None:
            self._refused("only times tell when their transaction began")
            return None
        if self.settings.future is FuturePolicy.ACCEPT:
            self._refused("future: accept lets rows of any time pass")
            return None
        bound = now.minus(self.settings.settle) if self.settings.settle else now
        held = self._by_start(read_clock)
        if held is None or held >= bound:
            return bound
        self._held = held
        return held

    def waiting(self, top: CursorValue, now: CursorValue | None) -> str:
        """What to tell of rows that wait for a transaction; "" when none does.

        Args:
            top: The highest value of all.
            now: The source's clock.
        """
        if self._held is None or top <= self._held or (now is not None and self._held >= now):
            return ""
        return f"held back at {self._held}: {self._why}; rows above wait for the next load"

    def _refused(self, why: str) -> None:
        if self.settings.fence is FencePolicy.REQUIRE:
            raise CursorColumnError(
                f"read.incremental.fence: require, and there is no fence for {self.label}: {why}",
                hint="set fence: auto to go without one where there is none, and a lag above the longest transaction",
            )

    def _by_row_versions(self) -> CursorValue | None:
        kind = self.kind
        fence, known = self.dialect.fence(self.source.ask, kind)
        if fence is None:
            return None
        if not known and not self.settings.lag:
            raise CursorColumnError(
                f"the database is a read-only copy, which does not know of open transactions: a {kind.native} "
                "that commits late there would be lost",
                hint="read the primary, with application_intent: read_write on the connection; or set "
                "read.incremental.lag to a number of row versions to look back",
            )
        cap = kind.value(fence).minus(1)
        self.told = f"row versions above {cap} belong to transactions that are still open, and wait"
        return cap

    def _by_ids(self) -> CursorValue:
        kind = self.kind
        if kind.kind is not CursorKind.INTEGER and not (kind.kind is CursorKind.DECIMAL and kind.digits == 0):
            raise CursorColumnError(
                f"fence: xid is for whole numbers, and {self.label} is {kind.native or kind.kind}",
                hint="store CAST(CAST(pg_current_xact_id() AS text) AS bigint)",
            )
        lowest = self.dialect.open_ids(self.source.ask)
        if lowest is None:
            raise CursorColumnError(
                "fence: xid is for the transaction ids of PostgreSQL", hint="leave fence out"
            )
        cap = kind.value(lowest - 1)
        self.told = f"ids above {cap} belong to transactions that are open or to come, and wait"
        self._held, self._why = cap, f"transaction {lowest} is the oldest that is still open"
        return cap

    def _by_start(self, read_clock: ReadClock) -> CursorValue | None:
        looks_back, policy = self.request.looks_back, self.settings.fence
        if policy is FencePolicy.OFF:
            return None
        if looks_back is None:
            self._refused("the query itself says how far the next load looks back")
            return None
        zoned = self.kind.kind is CursorKind.TIMESTAMP_TZ or bool(self.kind.form and self.kind.form.suffix)
        kind = CursorKind.TIMESTAMP_TZ if zoned else self.kind.kind
        found = self.dialect.open_transactions(self.source.ask, kind, None if zoned else self.source.timezone)
        if found is None:
            self._refused("this database has no way to tell since when transactions are open")
            return None
        if found.refusal:
            self._refused(found.refusal)
            self.told = (
                f"no fence against transactions that are open for longer than the lag: {found.refusal}"
            )
            return None
        self.told = (
            f"fenced: no row is lost whose {self.label} was taken by the transaction that wrote it (now(), "
            "clock_timestamp(), a trigger), however late that commits; other values have the lag alone"
        )
        # One that begins in this very moment may not be seen yet.
        bounds = [(found.now, looks_back, "transactions may begin in this moment")]
        if found.since:
            told = f"a transaction that began at {read_clock(found.since)} is still open ({found.who})"
            bounds.append((found.since, looks_back, told))
        if found.prepared:
            told = (
                f"a transaction that was prepared at {read_clock(found.prepared)} waits for its second phase"
            )
            self.told += "; of a prepared transaction, if it began within the lag before it was prepared"
            bounds.append((found.prepared, timedelta(), told))
        caps = [(read_clock(raw).minus(MARGIN + _TICK - back), why) for raw, back, why in bounds]
        cap, self._why = min(caps, key=lambda each: each[0])
        return cap
