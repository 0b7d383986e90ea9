"""Together: the chat-completions format over open models."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llmroute.errors import ContextLengthError
from llmroute.providers import ListedModel
from llmroute.providers.errors.rules import ErrorRule
from llmroute.providers.wire import lenient_json
from llmroute.providers.wire.chat_completions import ChatCompletions, Dialect

if TYPE_CHECKING:
    from llmroute.providers import Endpoint


FEATURES = {
    "FEATURE_TOOL_CALLING": "function_calling",
    "FEATURE_STRUCTURED_OUTPUT": "json",
    "FEATURE_REASONING": "reasoning",
}
_NEEDED = {"CAPABILITY_CHAT", "PRODUCT_SERVERLESS"}


def _parse_model(row: dict[str, Any]) -> ListedModel | None:
    """Parse a row of /v1/models, or one of the catalogue in together 3.1.1 (types/supported_model.py)."""
    pricing = lenient_json.mapping(row.get("pricing"))
    if "displayType" in row:
        name = lenient_json.text(row.get("name"))
        chats = {*_words(row, "capabilities"), *_words(row, "products")} >= _NEEDED
        length = re.fullmatch(r"\d{1,9}", lenient_json.text(row.get("contextLength")))
        window = lenient_json.positive(int(length[0])) if length else None
        can = frozenset(name for vendor_name, name in FEATURES.items() if vendor_name in _words(row, "features"))
    else:
        name, chats = lenient_json.text(row.get("id")), row.get("type") == "chat"
        window, can = lenient_json.positive(row.get("context_length")), None
    if not name or not chats:
        return None
    return ListedModel(
        name,
        context_window=window,
        capabilities=can,
        price_input=lenient_json.amount(pricing.get("input")),
        price_output=lenient_json.amount(pricing.get("output")),
    )


def _words(row: dict[str, Any], field: str) -> list[str]:
    return [word for word in lenient_json.items(row.get(field)) if isinstance(word, str)]


DIALECT = Dialect(
    "together",
    "https://api.together.ai/v1",
    parse_model=_parse_model,
    think_tags=True,
    # Together returns 403 when prompt and answer exceed the window; a rejected key gets 401.
    rules=(ErrorRule(ContextLengthError, codes="invalid_request_error", words=r"tokens\b", only=(403,)),),
)


def connect(endpoint: Endpoint) -> ChatCompletions:
    """Return Together at `endpoint`."""
    return ChatCompletions(DIALECT, endpoint)
