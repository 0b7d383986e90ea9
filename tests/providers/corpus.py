"""The recorded exchanges, read where they lie; absent, the tests that need them are skipped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from llmroute import errors

ROOT = Path(__file__).resolve().parents[2]
WIRE = Path(os.environ.get("LLMROUTE_WIRE") or ROOT.parent / "shared" / "wire")

needs_corpus = pytest.mark.skipif(not (WIRE / "corpus").is_dir(), reason=f"no recordings at {WIRE} (set LLMROUTE_WIRE)")
needs_specs = pytest.mark.skipif(not (WIRE / "specs").is_dir(), reason=f"no descriptions at {WIRE} (set LLMROUTE_WIRE)")

Item = dict[str, Any]

COMMON_WORD = {
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "refusal": "content_filter",
}

CLASS_OF_KIND = {
    "auth": errors.AuthenticationError,
    "permission": errors.AuthenticationError,
    "not_found": errors.ModelGoneError,
    "bad_request": errors.BadRequestError,
    "context_length": errors.ContextLengthError,
    "too_large": errors.ContextLengthError,
    "rate_limit": errors.RateLimitError,
    "quota": errors.QuotaError,
    "overloaded": errors.TransientError,
    "server": errors.TransientError,
}

# Where the recording's own reading is coarser than the table: (provider, words of the message) -> class.
FINER = [
    ("openai", "does not support 'system'", errors.ParameterError),  # unsupported_value
    ("openai", "'max_tokens' is not supported", errors.ParameterError),  # unsupported_parameter
    ("openai", "not supported with this model", errors.ParameterError),  # a parameter, though without a code
    ("openai", "is not supported in this model", errors.ParameterError),  # the same under 404: the model is there
    ("mistral", "Extra inputs are not permitted", errors.ParameterError),  # extra_forbidden
    ("mistral", "Service tier capacity exceeded", errors.RateLimitError),  # 429, and waiting helps
    ("ollama", "does not support thinking", errors.ParameterError),
    ("ollama", "maximum pending requests exceeded", errors.RateLimitError),  # a queue that is full
]


def items(kind: str | None = None) -> list[Item]:
    """Return the recorded exchanges, of one `kind` (chat, error, models, count_tokens) or all."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted((WIRE / "corpus").glob("*/*.json"))]
    return [item for item in found if kind in (None, item["kind"])]


# Of another API than the one that it is filed under.
MISFILED = {"ollama/a003"}


def answers(feature: str, *, status: int = 200) -> list[Any]:
    """Return the recorded answers that a program can use, by what they show and their status, as pytest parameters."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted((WIRE / "corpus_answers").glob("*/*.json"))]
    chosen = [
        item
        for item in found
        if any(shown.startswith(feature) for shown in item["features"]) and item["response"]["status"] == status
        if item["id"] not in MISFILED
    ]
    return [pytest.param(item, id=item["id"]) for item in chosen]


def params(kind: str, *, streaming: bool | None = None) -> list[Any]:
    """Return the items as pytest parameters that bear their ids."""
    chosen = [item for item in items(kind) if streaming is None or item["streaming"] is streaming]
    return [pytest.param(item, id=item["id"]) for item in chosen]


def body(item: Item) -> bytes:
    """Return the answer's bytes."""
    text: str = item["response"]["body_text"]
    return text.encode()


def headers(item: Item) -> dict[str, str]:
    """Return the answer's headers, in lower case."""
    return {name.lower(): str(value) for name, value in item["response"]["headers"].items()}


def spec(provider: str) -> dict[str, Any]:
    """Return a publisher's description of its API."""
    described: dict[str, Any] = json.loads((WIRE / "specs" / f"{provider}.json").read_text("utf-8"))
    return described


def common_word(reason: str | None) -> str | None:
    """Return the field's common word for how an answer ended."""
    return COMMON_WORD.get(reason, reason) if reason else None


def error_class(item: Item) -> type[errors.AttemptError]:
    """Return the class that a recorded error belongs to."""
    expect = item["expect"]["error"]
    said = expect["message"] or ""
    finer = [kind for provider, words, kind in FINER if provider == item["provider"] and words in said]
    return finer[0] if finer else CLASS_OF_KIND[expect["kind"]]


def tool_names(expect: dict[str, Any]) -> list[str]:
    """Return the tools that an answer calls, the function of the older format among them."""
    names = [call["name"] for call in expect.get("tool_calls", [])]
    return names + ([expect["function_call"]["name"]] if expect.get("function_call") else [])


def batch_items(*kinds: str) -> list[Any]:
    """Return the recorded exchanges with batch APIs of some kinds (batch, file, results) as pytest parameters."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted((WIRE / "batch" / "corpus").glob("*/*.json"))]
    return [pytest.param(item, id=item["id"]) for item in found if item["kind"] in kinds]
