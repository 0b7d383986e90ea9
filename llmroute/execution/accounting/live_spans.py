"""Spans of attempts while they are made, where the program has set up OpenTelemetry (`llmroute[otel]`)."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from llmroute.version import __version__

if TYPE_CHECKING:
    from llmroute.ledger.attempt_row import AttemptRow


def record_span(row: AttemptRow) -> None:
    """Record a settled attempt as a span below the current one of the caller.

    A program that sets up OpenTelemetry has imported `opentelemetry.trace`; without that nothing is imported.  What a
    tracer raises does not fail the request.
    """
    if "opentelemetry.trace" not in sys.modules:
        return
    from opentelemetry import trace

    from llmroute.execution.accounting.gen_ai import SCHEMA_URL, attributes, error_type, span_name, span_ns
    from llmroute.ledger.attempt_row import COLUMNS

    attempt = dict(zip(COLUMNS, row.values(), strict=True))
    start_ns, end_ns = span_ns(attempt)
    error = error_type(attempt)
    with suppress(Exception):
        tracer = trace.get_tracer("llmroute", __version__, schema_url=SCHEMA_URL)
        span = tracer.start_span(
            span_name(attempt), kind=trace.SpanKind.CLIENT, start_time=start_ns, attributes=attributes(attempt)
        )
        if error is not None:
            span.set_status(trace.Status(trace.StatusCode.ERROR, error))
        span.end(end_time=end_ns)
