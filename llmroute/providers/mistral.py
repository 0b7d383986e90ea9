"""Mistral: the chat-completions format, and not one key more than its description names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.providers import LiveModel, loose_json
from llmroute.providers.chat_completions import ChatCompletions, Dialect

if TYPE_CHECKING:
    from llmroute.providers import Endpoint

CAPABILITIES = {"function_calling": "function_calling", "vision": "vision", "reasoning": "reasoning"}


def _parse_model(row: dict[str, Any]) -> LiveModel | None:
    name, can = loose_json.text(row.get("id")), loose_json.mapping(row.get("capabilities"))
    if not name or can.get("completion_chat") is False:
        return None
    return LiveModel(
        name,
        aliases=tuple(alias for alias in loose_json.items(row.get("aliases")) if isinstance(alias, str)),
        context_window=loose_json.positive(row.get("max_context_length")),
        capabilities=frozenset(ours for theirs, ours in CAPABILITIES.items() if can.get(theirs) is True)
        if can
        else None,
        deprecated_on=loose_json.date(row.get("deprecation")),
        successor=loose_json.text(row.get("deprecation_replacement_model")) or None,
    )


DIALECT = Dialect("mistral", "https://api.mistral.ai/v1", max_temperature=1.5, parse_model=_parse_model)


def connect(endpoint: Endpoint) -> ChatCompletions:
    """Return Mistral at `endpoint`."""
    return ChatCompletions(DIALECT, endpoint)
