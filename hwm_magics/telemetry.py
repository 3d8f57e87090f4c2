"""Loads as spans and metrics of OpenTelemetry, where this process uses it: no SQL, no values, no secrets.

Names, attributes and units are those of docs/jobs.md, and stay as they are.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from hwm_magics.connections.secrets import scrub
from hwm_magics.version import __version__

if TYPE_CHECKING:
    from hwm_magics.core.decided import LoadPlan, LoadResult
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.engines.base import Progress

__all__ = ["LoadSpan", "load_span", "span"]

Attributes = Mapping[str, object]
Tell = Callable[[Attributes], None]


class _Tools(NamedTuple):
    tracer: Any
    duration: Any
    written: Any
    late: Any


def _tools() -> _Tools | None:
    """OpenTelemetry's API, where somebody uses it here. Nothing is imported elsewhere, installed or not."""
    if "opentelemetry" in sys.modules or any(name.startswith("OTEL_") for name in os.environ):
        return _made()
    return None


@functools.cache
def _made() -> _Tools | None:
    try:
        from opentelemetry import metrics, trace
    except ImportError:
        return None
    # Both stand for the providers that are set, also later.
    meter = metrics.get_meter("hwm_magics", __version__)
    return _Tools(
        trace.get_tracer("hwm_magics", __version__),
        meter.create_histogram("hwm.load.duration", unit="s", description="How long a load took"),
        meter.create_counter("hwm.rows.written", unit="{row}", description="Rows that loads committed"),
        meter.create_counter(
            "hwm.rows.late", unit="{row}", description="Rows at or below the old watermark that were missing"
        ),
    )


def _parent() -> Any:
    """What the process was started within (TRACEPARENT), unless a span is current here; None for the latter."""
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if trace.get_current_span().get_span_context().is_valid:
        return None
    carrier = {name.lower(): os.environ[name] for name in ("TRACEPARENT", "TRACESTATE") if name in os.environ}
    return TraceContextTextMapPropagator().extract(carrier) if carrier else None


def _ready(attributes: Attributes) -> dict[str, Any]:
    """Attributes as OpenTelemetry takes them: no None, texts without secrets."""
    return {
        name: value if isinstance(value, bool | int | float) else scrub(value)
        for name, value in attributes.items()
        if value is not None
    }


def _nothing(_attributes: Attributes) -> None:
    return None


@contextmanager
def span(name: str, attributes: Attributes | None = None) -> Iterator[Tell]:
    """A span around a step, below the one that is current.

    An exception marks it as failed with its class; its message may hold values, and is left out.

    Args:
        name: The step.
        attributes: What is known of it before.

    Yields:
        Adds what is known of it later.
    """
    tools = _tools()
    if tools is None:
        yield _nothing
        return
    from opentelemetry.trace import Status, StatusCode

    with tools.tracer.start_as_current_span(
        name,
        context=_parent(),
        attributes=_ready(attributes or {}),
        record_exception=False,
        set_status_on_exception=False,
    ) as made:
        try:
            yield lambda more: made.set_attributes(_ready(more))
        except BaseException as error:
            made.set_attribute("error.type", type(error).__name__)
            made.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


@dataclass(slots=True)
class LoadSpan:
    """What a load's span is told on its way.

    Attributes:
        tell: Adds attributes to the span.
        known: What metrics are told with: few values, each of few kinds.
    """

    tell: Tell
    known: dict[str, object]
    _below: Any = None
    _commit: Any = None

    @property
    def node(self) -> Attributes:
        """The load, for its steps' spans."""
        return {"hwm.node": self.known["hwm.node"]}

    def planned(self, plan: LoadPlan) -> None:
        """Tell what was decided."""
        self.known |= {"hwm.engine": plan.engine, "hwm.decision": plan.decision.value}
        self.tell({**self.known, "hwm.version.before": plan.target.version})

    def progressed(self, progress: Progress) -> None:
        """Give what follows on the reading a span of its own: the commit, and the proof of it."""
        committing = progress.phase in ("committing", "verifying")
        if committing and self._commit is None:
            tools = _tools()
            if tools is not None:
                # Engines may tell it from another thread, where no span is current.
                self._commit = tools.tracer.start_span(
                    "hwm.commit", self._below, attributes=_ready(self.node)
                )
        elif not committing:
            self.committed()

    def committed(self) -> None:
        """End the span of the commit."""
        if self._commit is not None:
            self._commit.end()
            self._commit = None

    def loaded(self, result: LoadResult) -> None:
        """Tell what came of it."""
        self.known["hwm.status"] = result.status
        self.tell(
            {
                **self.known,
                "hwm.run_id": result.run_id,
                "hwm.rows.read": result.rows_read,
                "hwm.rows.recognised": result.rows_recognised,
                "hwm.rows.written": result.rows_written,
                "hwm.rows.updated": result.rows_updated,
                "hwm.rows.late": result.late_rows,
                "hwm.version.after": result.version_after,
                "hwm.files": result.files,
                "hwm.bytes": result.bytes,
                "hwm.retries": result.retries,
            }
        )
        tools = _tools()
        if tools is not None and result.status == "loaded":
            tools.written.add(result.rows_written, _ready(self.known))
            tools.late.add(result.late_rows, _ready(self.known))


@contextmanager
def load_span(spec: LoadSpec) -> Iterator[LoadSpan | None]:
    """The span and the duration of a load.

    Args:
        spec: What was asked for.

    Yields:
        What to tell on the way; None where OpenTelemetry is not used.
    """
    tools = _tools()
    if tools is None:
        yield None
        return
    from opentelemetry import context

    known: dict[str, object] = {"hwm.node": spec.node}
    began = perf_counter()
    with span("hwm.load", {**known, "hwm.target": spec.write.label, "hwm.mode": spec.write.mode}) as tell:
        seen = LoadSpan(tell, known, context.get_current())
        try:
            yield seen
        except BaseException as error:
            known["error.type"] = type(error).__name__
            raise
        finally:
            seen.committed()
            tools.duration.record(perf_counter() - began, _ready(known))
