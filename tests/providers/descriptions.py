"""The publishers' own descriptions of their APIs, as judges of what is sent."""

from __future__ import annotations

import functools
from typing import Any

from openapi_schema_validator import OAS30Validator, OAS31Validator

from tests.providers import corpus

SCHEMAS = {
    "openai": "CreateChatCompletionRequest",
    "anthropic": "CreateMessageParams",
    "mistral": "ChatCompletionRequest",
    "together": "ChatCompletionRequest",
    "ollama": "ChatRequest",
}

# Anthropic's newest description no longer names it, yet its models before Claude 5 take it (recorded with 200).
UNNAMED = {"anthropic": {"temperature"}}


@functools.cache
def validator(provider: str) -> Any:
    described = corpus.spec(provider)
    kind = OAS30Validator if str(described.get("openapi", "3.1")).startswith("3.0") else OAS31Validator
    return kind({"$ref": f"#/components/schemas/{SCHEMAS[provider]}", "components": described["components"]})


def named_keys(provider: str, node: Any, depth: int = 0) -> set[str]:
    """Return the keys that a description names for an object, through references and combinations."""
    components = corpus.spec(provider)["components"]["schemas"]
    while "$ref" in node:
        node = components[node["$ref"].rpartition("/")[2]]
    keys = set(node.get("properties", {}))
    for combination in ("allOf", "anyOf", "oneOf"):
        for part in node.get(combination, []) if depth < 6 else []:
            keys |= named_keys(provider, part, depth + 1)
    return keys


@functools.cache
def request_keys(provider: str) -> frozenset[str]:
    return frozenset(named_keys(provider, {"$ref": f"/{SCHEMAS[provider]}"}))


def faults(provider: str, body: dict[str, Any]) -> list[str]:
    found = [error.message for error in validator(provider).iter_errors(body)]
    return found + [f"unknown key {key}" for key in body.keys() - request_keys(provider) - UNNAMED.get(provider, set())]
