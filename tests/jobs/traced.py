"""Runs `hwm` commands with OpenTelemetry's SDK in this process, and prints the spans and metrics that came of each.

Its arguments: commands as JSON, lists of words.
"""

from __future__ import annotations

import json
import sys

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import hwm_magics.cli


def main() -> None:
    """Run them all."""
    reader, exporter = InMemoryMetricReader(), InMemorySpanExporter()
    metrics.set_meter_provider(MeterProvider([reader]))
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    told = []
    for words in sys.argv[1:]:
        try:
            hwm_magics.cli.cli(json.loads(words), prog_name="hwm")
        except SystemExit as done:
            code = done.code
        told.append(
            {"code": code, "spans": [json.loads(each.to_json()) for each in exporter.get_finished_spans()]}
        )
        exporter.clear()
    print(json.dumps({"runs": told, "metrics": json.loads(reader.get_metrics_data().to_json())}))


if __name__ == "__main__":
    main()
