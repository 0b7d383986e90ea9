"""Mistral: the chat-completions format with only the documented keys, because it rejects others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.providers import ListedModel
from llmroute.providers.rendering.attachment_parts import mistral_part
from llmroute.providers.wire import lenient_json
from llmroute.providers.wire.chat_completions import ChatCompletions, Dialect

if TYPE_CHECKING:
    from llmroute.providers import Endpoint

CAPABILITIES = {"function_calling": "function_calling", "vision": "vision", "reasoning": "reasoning"}


def _parse_model(row: dict[str, Any]) -> ListedModel | None:
    name, can = lenient_json.text(row.get("id")), lenient_json.mapping(row.get("capabilities"))
    if not name or can.get("completion_chat") is False:
        return None
    return ListedModel(
        name,
        aliases=tuple(alias for alias in lenient_json.items(row.get("aliases")) if isinstance(alias, str)),
        context_window=lenient_json.positive(row.get("max_context_length")),
        capabilities=frozenset(name for vendor_name, name in CAPABILITIES.items() if can.get(vendor_name) is True)
        if can
        else None,
        deprecated_on=lenient_json.date(row.get("deprecation")),
        successor=lenient_json.text(row.get("deprecation_replacement_model")) or None,
    )


DIALECT = Dialect(
    "mistral",
    "https://api.mistral.ai/v1",
    max_temperature=1.5,
    parse_model=_parse_model,
    attachment=mistral_part,
    prompt_cache_key=True,
)


def connect(endpoint: Endpoint) -> ChatCompletions:
    """Return Mistral at `endpoint`."""
    return ChatCompletions(DIALECT, endpoint)
