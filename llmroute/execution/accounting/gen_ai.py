"""An attempt by OpenTelemetry's semantic conventions for generative AI.

Source: opentelemetry-semantic-conventions 0.66b2 (`_incubating/attributes/gen_ai_attributes.py` and
`_incubating/metrics/gen_ai_metrics.py`, version 1.44.0 of the conventions).  Other attributes begin with
`llmroute.`.  Prompts and answers are not in the ledger, so they are in no span.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llmroute.ledger.periods import possible_ms
from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
"""The version of the conventions."""
OPERATION: Final = "chat"

Value = str | int | float | bool | tuple[str, ...]

# The well-known names of providers; others have their own.
_PROVIDERS: Final = {"mistral": "mistral_ai", "together": "together_ai"}
_COLUMNS: Final = {
    "gen_ai.response.model": "served_model",
    "gen_ai.response.id": "provider_request_id",
    "gen_ai.usage.input_tokens": "input_tokens",
    "gen_ai.usage.output_tokens": "output_tokens",
    "gen_ai.usage.cache_read.input_tokens": "cached_input_tokens",
    "gen_ai.usage.cache_creation.input_tokens": "cache_write_tokens",
    "gen_ai.usage.reasoning.output_tokens": "reasoning_tokens",
    "http.response.status_code": "http_status",
    "llmroute.request_id": "request_id",
    "llmroute.attempt": "attempt",
    "llmroute.status": "status",
    "llmroute.cost_basis": "cost_basis",
    "llmroute.usage_source": "usage_source",
    "llmroute.workspace": "workspace",
    "llmroute.execution": "execution",
    "llmroute.task": "task",
    "llmroute.strategy": "strategy",
    "llmroute.chain": "chain",
    "llmroute.effort": "effort",
    "llmroute.service_tier": "service_tier",
}


def span_name(attempt: Mapping[str, Any]) -> str:
    """Return the name of the span of an attempt."""
    return f"{OPERATION} {attempt['model']}"


def identity(attempt: Mapping[str, Any]) -> dict[str, Value]:
    """Return the attributes that metrics are grouped by."""
    found: dict[str, Value] = {
        "gen_ai.operation.name": OPERATION,
        "gen_ai.provider.name": _PROVIDERS.get(attempt["provider"], attempt["provider"]),
        "gen_ai.request.model": attempt["model"],
    }
    if attempt["served_model"]:
        found["gen_ai.response.model"] = attempt["served_model"]
    if error := error_type(attempt):
        found["error.type"] = error
    return found


def attributes(attempt: Mapping[str, Any]) -> dict[str, Value]:
    """Return the attributes of the span of a settled attempt, which is a row of the ledger by column."""
    found = identity(attempt)
    found |= {name: attempt[column] for name, column in _COLUMNS.items() if attempt[column] is not None}
    found["gen_ai.request.stream"] = bool(attempt["streaming"])
    if attempt["finish_reason"]:
        found["gen_ai.response.finish_reasons"] = (attempt["finish_reason"],)
    if attempt["ttft_ms"] is not None:
        found["gen_ai.response.time_to_first_chunk"] = attempt["ttft_ms"] / 1000
    if attempt["cost_picousd"] is not None:
        found["llmroute.cost_usd"] = attempt["cost_picousd"] / PICO_PER_USD
    return found


def error_type(attempt: Mapping[str, Any]) -> str | None:
    """Return the error of an attempt, None without one."""
    if attempt["status"] == "ok":
        return None
    return str(attempt["error"] or attempt["status"])


def span_ns(attempt: Mapping[str, Any]) -> tuple[int, int]:
    """Return when an attempt started and ended, in nanoseconds since 1970."""
    start_ms = attempt["started_ms"]
    end_ms = start_ms + attempt["latency_ms"] if attempt["latency_ms"] is not None else attempt["settled_ms"]
    # A collector rejects a request with a time that does not fit its field.
    start_ms, end_ms = possible_ms(start_ms), possible_ms(end_ms or start_ms)
    return start_ms * 10**6, max(start_ms, end_ms) * 10**6
