"""Attempts as spans and metrics in the JSON form of the OpenTelemetry protocol (OTLP 1.x); no I/O.

An attempt has the same ids whenever it is rendered, so that duplicates can be detected.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from llmroute.execution.accounting.gen_ai import SCHEMA_URL, attributes, error_type, identity, span_name, span_ns
from llmroute.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from llmroute.execution.accounting.gen_ai import Value

_CLIENT_SPAN: Final = 3
_STATUS_ERROR: Final = 2
_DELTA: Final = 1
# The bounds that the conventions advise.
_TOKEN_BOUNDS: Final = tuple(4**power for power in range(14))
_SECOND_BOUNDS: Final = tuple(0.01 * 2**power for power in range(14))
_RESOURCE: Final = {"service.name": "llmroute", "service.version": __version__}


def traces(attempts: Sequence[Mapping[str, Any]]) -> bytes:
    """Return an export request with a span for each settled attempt; those of a request share a trace."""
    return _wrapped("resourceSpans", "scopeSpans", {"spans": [_span(attempt) for attempt in attempts]})


def metrics(attempts: Sequence[Mapping[str, Any]]) -> bytes:
    """Return an export request with the durations and tokens of settled attempts."""
    entries = (
        _histogram("gen_ai.client.operation.duration", "s", _durations(attempts)),
        _histogram("gen_ai.client.token.usage", "{token}", _tokens(attempts)),
    )
    with_points = [metric for metric in entries if metric["histogram"]["dataPoints"]]
    return _wrapped("resourceMetrics", "scopeMetrics", {"metrics": with_points})


def _wrapped(outer: str, inner: str, content: dict[str, Any]) -> bytes:
    scope = {"scope": {"name": "llmroute", "version": __version__}, "schemaUrl": SCHEMA_URL, **content}
    document = {outer: [{"resource": {"attributes": _pairs(_RESOURCE)}, "schemaUrl": SCHEMA_URL, inner: [scope]}]}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _span(attempt: Mapping[str, Any]) -> dict[str, Any]:
    start, end = span_ns(attempt)
    error = error_type(attempt)
    return {
        "traceId": sha256(attempt["request_id"].encode()).hexdigest()[:32],
        "spanId": sha256(f"{attempt['request_id']}/{attempt['attempt']}".encode()).hexdigest()[:16],
        "name": span_name(attempt),
        "kind": _CLIENT_SPAN,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(end),
        "attributes": _pairs(attributes(attempt)),
        "status": {} if error is None else {"code": _STATUS_ERROR, "message": error},
    }


def _durations(attempts: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for attempt in attempts:
        if attempt["latency_ms"] is not None:
            yield _point(attempt, attempt["latency_ms"] / 1000, _SECOND_BOUNDS, {})


def _tokens(attempts: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for attempt in attempts:
        for kind in ("input", "output"):
            if (tokens := attempt[f"{kind}_tokens"]) is not None:
                yield _point(attempt, tokens, _TOKEN_BOUNDS, {"gen_ai.token.type": kind})


def _histogram(name: str, unit: str, points: Iterator[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "unit": unit, "histogram": {"aggregationTemporality": _DELTA, "dataPoints": list(points)}}


def _point(
    attempt: Mapping[str, Any], value: float, bounds: tuple[float, ...], more: dict[str, Value]
) -> dict[str, Any]:
    start, end = span_ns(attempt)
    counts = ["0"] * (len(bounds) + 1)
    counts[bisect_left(bounds, value)] = "1"
    return {
        "attributes": _pairs(identity(attempt) | more),
        "startTimeUnixNano": str(start),
        "timeUnixNano": str(end),
        "count": "1",
        "sum": value,
        "min": value,
        "max": value,
        "bucketCounts": counts,
        "explicitBounds": list(bounds),
    }


def _pairs(found: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in found.items()]


def _value(value: Value) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
    return {"arrayValue": {"values": [_value(one) for one in value]}}
