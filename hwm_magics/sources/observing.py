"""What a plan needs to know of a cursor column: its type, its highest values, the clock, and what doesn't fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hwm_magics.core.cursor import CursorKind, CursorType, CursorValue, TextForm
from hwm_magics.core.decided import Window
from hwm_magics.core.observed import Column, SourceState
from hwm_magics.core.query import CursorExpression, Way
from hwm_magics.core.specs import CursorSpec
from hwm_magics.core.statement import Param, Statement
from hwm_magics.errors import CursorColumnError
from hwm_magics.sources.base import SourceRequest
from hwm_magics.sources.dialects import Clock, TableFacts
from hwm_magics.sources.dialects.base import refused_cursor
from hwm_magics.sources.failures import lacking
from hwm_magics.sources.fences import Fence
from hwm_magics.sources.rendering import in_form, instant
from hwm_magics.sources.wire import Wire

if TYPE_CHECKING:
    from hwm_magics.sources.sql import SqlSource

__all__ = ["CursorObserver"]

_LARGE = 1_000_000
"""From here on a scan for want of an index is worth a warning."""
_MICRO = 6
_TIMES = (CursorKind.DATE, CursorKind.TIMESTAMP, CursorKind.TIMESTAMP_TZ)


class CursorObserver:
    """Asks about the cursor column of one request.

    Args:
        source: Where to ask.
        request: The request.
        wires: The query's columns.
        values: What the query's subqueries over the target came to.
        facts: What the catalog knows of the one table that is read; None when unknown.
    """

    def __init__(
        self,
        source: SqlSource,
        request: SourceRequest,
        wires: Sequence[Wire],
        values: tuple[Param, ...],
        facts: TableFacts | None,
    ) -> None:
        self.source = source
        self.dialect = source.driver.dialect
        self.request = request
        self.query = request.query
        self.wires = {wire.column.name: wire for wire in wires}
        self.values = values
        self.facts = facts
        self.warnings: list[str] = []

    @property
    def _settings(self) -> CursorSpec | None:
        """The cursor's settings; None where the plan has no use for its values."""
        cursor = self.query.cursor
        if self.source.read.cursor is not None or cursor is None:
            return self.source.read.cursor
        return CursorSpec(cursor.column, cursor.fallback) if self.query.way is Way.PARAMETERS else None

    def stored_form(self) -> TextForm | None:
        """The form of a time cursor that the database stores as text; None where it has real times.

        It is needed even where nothing else is asked: values of the target that stand in the query
        are compared with such texts.
        """
        cursor = self.query.cursor
        table = self.query.base_table
        wire = self.wires.get(cursor.column) if cursor is not None else None
        if self.dialect.name != "sqlite" or cursor is None or wire is None:
            return None
        if self.request.goal is not None:
            return self.request.goal.type.form
        if wire.column.type not in ("date", "timestamp", "timestamp_ntz"):
            return None
        column = self.dialect.quote(cursor.column)
        if table is None:
            if self.query.way is Way.TARGET:
                return None
            statement = self._probe([f"MAX({column})"], None)
        else:
            told = f"SELECT MAX({column}) FROM {table} WHERE typeof({column}) = 'text'"  # noqa: S608 - quoted
            statement = Statement((told,))
        ((highest,),) = self.source.rows(statement)
        return TextForm.of(highest) if isinstance(highest, str) else None

    def _type(self, cursor: CursorExpression) -> CursorType:
        names = (cursor.column, *([cursor.fallback] if cursor.fallback else []))
        if all(name in self.wires for name in names):
            found = [self.dialect.cursor_type(self.wires[name]) for name in names]
            first, last = found[0], found[-1]
            if first.kind is not last.kind:
                raise CursorColumnError(
                    f"the cursor column {cursor.column!r} is {first.native}, and its fallback {cursor.fallback!r} is "
                    f"{last.native}",
                    hint="cast one of them in the query",
                )
            wider = first if first.digits >= last.digits else last
            return CursorType(CursorKind.TEXT, 0, wider.native) if cursor.date_format else wider
        if self.dialect.name == "postgres" and cursor.column == "xmin" and cursor.column not in self.wires:
            raise _no_xmin()
        for name, what in zip(names, ("the cursor column", "fallback_column"), strict=False):
            if name not in self.wires and self.query.way is not Way.PARAMETERS:
                raise lacking(name, tuple(self.wires), what)
        named = f"{cursor.sql(self.dialect.name)} AS {self.dialect.quote('hwm_cursor')}"
        (wire,) = self.source.describe(self._probe([named], self._low_window(None)))
        column = replace(wire.column, name=cursor.column)
        return self.dialect.cursor_type(replace(wire, column=column))

    def _probe(self, expressions: Sequence[str], window: Window | None, *, nulls: bool = False) -> Statement:
        return self.query.probe(
            expressions, first_run=self.request.first_run, window=window, nulls=nulls, values=self.values
        )

    def _ask(
        self, expressions: Sequence[str], window: Window | None, *, nulls: bool = False
    ) -> tuple[Any, ...]:
        return self.source.rows(self._probe(expressions, window, nulls=nulls))[0]

    def _low_window(self, low: CursorValue | None) -> Window | None:
        """A window without a high bound; None where the query needs none to be asked."""
        low = low or self.request.low
        return Window(low, None) if low is not None and self.query.way is Way.PARAMETERS else None

    def observe(self, state: SourceState) -> SourceState:
        """Add to a state what is to be known of the cursor."""
        cursor, settings = self.query.cursor, self._settings
        if cursor is None or settings is None:
            return state
        kind = self._type(cursor)
        goal = self.request.goal
        # When a first load begins all values are looked at, and by each increment after it; not by each chunk.
        kind = goal.type if goal is not None and goal.type.kind is kind.kind else self._formed(kind, cursor)
        low = self._low(kind)
        indexed = cursor.fallback is None and self.facts is not None and cursor.column in self.facts.indexed
        if goal is not None:
            self._warn(cursor, indexed=indexed)
            lowest = self._lowest(kind, cursor, Window(low, goal, low_inclusive=False))
            return replace(state, cursor_type=kind, lowest=lowest, warnings=(*state.warnings, *self.warnings))
        clock = self._clock(kind)
        may_be_null = self._may_be_null(cursor)
        scan = may_be_null and not indexed
        asked = [self.dialect.exact("MAX({cursor})", kind)]
        if scan:
            asked.append("COUNT(*) - COUNT({cursor})")
        if clock is not None:
            # In the same statement: a clock read before it would call rows of the meantime future ones.
            asked.append(clock.sql)
        answer = self._ask(asked, self._low_window(low))
        top = self._value(answer[0], kind, cursor)
        now = self._now(answer[-1], clock, kind) if clock is not None else None
        fence = Fence(self.source, self.request, settings, kind, cursor.label)
        cap = fence.cap(now, self._reads_clock(clock, kind))
        state = replace(
            state,
            cursor_type=kind,
            now=now,
            nulls=int(answer[1]) if scan else (None if may_be_null else 0),
            until=cap,
            fence=fence.told,
        )
        if top is not None and (waiting := fence.waiting(top, now)):
            self.warnings.append(waiting)
        if top is not None and low is not None and top < low:
            state = replace(state, below=top, count=0)
            if may_be_null and indexed:
                state = replace(state, nulls=self._counted(top, top)[1])
        else:
            state = self._heights(state, top, low, cap, indexed=indexed, may_be_null=may_be_null)
        if self.request.lowest and state.high is not None:
            state = replace(state, lowest=self._lowest(kind, cursor, Window(low, state.high)))
        self._warn(cursor, indexed=indexed)
        return replace(state, warnings=(*state.warnings, *self.warnings))

    def _lowest(self, kind: CursorType, cursor: CursorExpression, window: Window) -> CursorValue | None:
        """The lowest value in a window: where a first load in chunks begins, or goes on."""
        (raw,) = self._ask([self.dialect.exact("MIN({cursor})", kind)], window)
        return self._value(raw, kind, cursor)

    def _heights(
        self,
        state: SourceState,
        top: CursorValue | None,
        low: CursorValue | None,
        cap: CursorValue | None,
        *,
        indexed: bool,
        may_be_null: bool,
    ) -> SourceState:
        kind, cursor = state.cursor_type, self.query.cursor
        if kind is None or cursor is None or top is None:
            below = (
                self._below(kind, cursor)
                if kind is not None and cursor is not None and low is not None
                else None
            )
            return replace(state, below=below, future=0 if state.now is not None else None)
        high: CursorValue | None = top
        future = 0
        if cap is not None and top > cap:
            (raw,) = self._ask([self.dialect.exact("MAX({cursor})", kind)], Window(low, cap))
            high = self._value(raw, kind, cursor)
        if state.now is not None and top > state.now:
            future = self._above(state.now)
        state = replace(state, high=high, top=top, future=future)
        if not indexed:
            return state
        if low is not None and high is not None:
            count, nulls = self._counted(low, high)
            return replace(state, count=count, nulls=nulls if may_be_null else 0)
        if may_be_null:
            return replace(state, nulls=self._counted(top, top)[1])
        return state

    def _counted(self, low: CursorValue, high: CursorValue) -> tuple[int, int]:
        """Rows in a closed window, and rows without a value: both from an index that is there."""
        rows, nulls = self._ask(
            ["COUNT({cursor})", "COUNT(*) - COUNT({cursor})"], Window(low, high), nulls=True
        )
        return int(rows), int(nulls)

    def _above(self, now: CursorValue) -> int:
        """Rows above the clock."""
        (count,) = self._ask(["COUNT(*)"], Window(now, None, low_inclusive=False))
        return int(count)

    def _below(self, kind: CursorType, cursor: CursorExpression) -> CursorValue | None:
        """The highest value of all, where the query's own bound hid it."""
        if self.query.way is not Way.PARAMETERS or self.query.base_table is None:
            return None
        highest = self.dialect.exact(f"MAX({cursor.sql(self.dialect.name)})", kind)
        ((raw,),) = self.source.ask(f"SELECT {highest} FROM {self.query.base_table}")  # noqa: S608 - quoted
        value = self._value(raw, kind, cursor)
        low = self.request.low
        # What lies above the bound was left out by the query's other conditions.
        return value if value is None or low is None or value < low else None

    def _value(self, raw: Any, kind: CursorType, cursor: CursorExpression) -> CursorValue | None:
        if raw is None:
            return None
        if isinstance(raw, float):
            raise refused_cursor(
                Column(cursor.label, "double", native=kind.native), "its values arrive as floating point"
            )
        try:
            return kind.value(raw)
        except CursorColumnError:
            raise CursorColumnError(
                f"the highest value of {cursor.label} is {str(raw)!r}, which can't be a watermark ({kind.native})",
                hint="leave such rows out with read.where, or mend them",
            ) from None

    def _low(self, kind: CursorType) -> CursorValue | None:
        low = self.request.low
        if low is None:
            initial = self.request.initial_value
            return kind.value(initial) if initial is not None else None
        # One of another kind can't be put in order here; the plan blocks and says so.
        if not low.comparable(CursorValue(kind, low.text)):
            return None
        text = low.floored(kind.digits).text
        return CursorValue(kind, text[:10] if kind.kind is CursorKind.DATE else text)

    def _may_be_null(self, cursor: CursorExpression) -> bool:
        if self.facts is None:
            wires = [self.wires.get(name) for name in (cursor.column, cursor.fallback) if name]
            return all(wire is None or wire.column.nullable for wire in wires)
        return not ({cursor.column, cursor.fallback} & self.facts.not_null & set(self._own_names()))

    def _own_names(self) -> frozenset[str]:
        from hwm_magics.sources.catalog import own_columns

        return own_columns(self.source.read.query, self.dialect.name, self.wires)

    def _clock(self, kind: CursorType) -> Clock | None:
        """How the source tells the time, for a column of this type."""
        if not kind.is_time or (kind.kind is CursorKind.TEXT and kind.form is None):
            return None
        zoned = _is_zoned(kind)
        zone = None if zoned else self.source.timezone
        return self.dialect.clock(CursorKind.TIMESTAMP_TZ if zoned else kind.kind, zone)

    def _now(self, raw: Any, clock: Clock, kind: CursorType) -> CursorValue:
        """The source's clock in the cursor's own type."""
        zoned = _is_zoned(kind)
        if isinstance(raw, datetime) and not zoned:
            raw = raw.replace(tzinfo=None)
        text = CursorType(CursorKind.TIMESTAMP_TZ if zoned else CursorKind.TIMESTAMP, 9).value(raw).text
        if clock.utc and self.source.timezone and not zoned:
            text = instant(text, self.source.timezone)
        whole, _, fraction = text.partition(".")
        if clock.digits < _MICRO:
            # The clock has cut its own last digits off, and rows of that very moment are none of the future.
            text = f"{whole}.{fraction[: clock.digits].ljust(clock.digits, '0').ljust(_MICRO, '9')}"
        if kind.kind is CursorKind.TEXT and kind.form is not None:
            return CursorValue(kind, in_form(text, kind.form))
        return CursorValue(kind, text[:10] if kind.kind is CursorKind.DATE else text)

    def _reads_clock(self, clock: Clock | None, kind: CursorType) -> Callable[[str], CursorValue] | None:
        """What makes a cursor value of a time that the source's clock tells."""
        if clock is None:
            return None
        return lambda raw: self._now(raw, clock, kind)

    def _formed(self, kind: CursorType, cursor: CursorExpression) -> CursorType:
        """The type with the form of its texts; refuses values of more than one form or storage class."""
        # All values are looked at, not those above the mark alone: a new row in another form may sort below it.
        low = self._low(kind)
        bounded = self.request.low is None or self.query.way is Way.PARAMETERS
        window = Window(low, None) if low is not None and bounded else None
        strays = self.dialect.strays("{cursor}", kind)
        if strays:
            (found,) = self._ask([strays], window)
            if found is not None:
                raise CursorColumnError(
                    f"the cursor column {cursor.label} ({kind.native}) holds values of storage class {found}, which "
                    "SQLite orders apart from the others",
                    hint="mend these rows, or leave them out with read.where",
                )
        if kind.kind is not CursorKind.TEXT and not (strays and kind.kind in _TIMES):
            return kind
        return self._form_of_texts(kind, cursor, window)

    def _form_of_texts(self, kind: CursorType, cursor: CursorExpression, window: Window | None) -> CursorType:
        length = self.dialect.length("{cursor}")
        lowest, highest, shortest, longest = self._ask(
            ["MIN({cursor})", "MAX({cursor})", f"MIN({length})", f"MAX({length})"], window
        )
        if highest is None:
            low = self.request.low
            form = low.type.form if low is not None else None
            if form is None and window is not None:
                return self._form_of_texts(kind, cursor, None)
            return replace(kind, form=form)
        form = TextForm.of(str(highest))
        if form is None:
            raise self._not_one_form(cursor, kind, f"{highest!r} is not ISO-8601")
        other = TextForm.of(str(lowest))
        if other != form or int(shortest) != int(longest):
            raise self._not_one_form(cursor, kind, f"it holds both {lowest!r} and {highest!r}" if other != form else
                                     f"its values have from {shortest} to {longest} characters")  # fmt: skip
        (strays,) = self._ask(
            [
                f"SUM(CASE WHEN {self.dialect.unlike('{cursor}', _shape(str(highest), form))} THEN 1 ELSE 0 END)"
            ],
            window,
        )
        if strays:
            raise self._not_one_form(
                cursor, kind, f"{int(strays):,} of its values have not the form of {highest!r}"
            )
        digits = form.digits if kind.kind is not CursorKind.TEXT else 0
        return replace(kind, form=form, digits=digits)

    def _not_one_form(self, cursor: CursorExpression, kind: CursorType, why: str) -> CursorColumnError:
        return CursorColumnError(
            f"the cursor column {cursor.label} ({kind.native}) holds text that does not order as time does: {why}",
            hint="bring all values to one form, such as 2024-06-01 12:00:00, in the query or a view; date_format "
            "helps with other forms of a fixed width",
        )

    def _warn(self, cursor: CursorExpression, *, indexed: bool) -> None:
        rows = self.facts.rows if self.facts is not None else None
        if rows is not None and rows >= _LARGE and not indexed:
            in_chunks = self.request.lowest or self.request.goal is not None
            each = (
                "each chunk reads all of them to find its own"
                if in_chunks
                else ("each run reads all of them to find the new ones")
            )
            self.warnings.append(
                f"no index begins with {cursor.label}, and the table has about {rows:,} rows: {each}"
            )


def _no_xmin() -> CursorColumnError:
    return CursorColumnError(
        "xmin can't be the cursor: it has 32 bits and begins anew, no index holds it, and rows keep old numbers",
        hint="keep transaction ids in a column of their own (bigint, DEFAULT "
        "CAST(CAST(pg_current_xact_id() AS text) AS bigint), set by a trigger on updates), and name it with fence: xid",
    )


def _shape(text: str, form: TextForm) -> str:
    """A value as a pattern: 9 for each digit, the offset as it stands."""
    body = text[: len(text) - len(form.suffix)] if form.suffix else text
    return "".join("9" if char.isdigit() else char for char in body) + form.suffix


def _is_zoned(kind: CursorType) -> bool:
    return kind.kind is CursorKind.TIMESTAMP_TZ or bool(kind.form and kind.form.suffix)
