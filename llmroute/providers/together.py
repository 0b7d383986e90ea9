"""Together: the chat-completions format over open models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.errors import ContextLengthError
from llmroute.providers import LiveModel, loose_json
from llmroute.providers.chat_completions import ChatCompletions, Dialect
from llmroute.providers.error_table import Rule

if TYPE_CHECKING:
    from llmroute.providers import Endpoint


def _parse_model(row: dict[str, Any]) -> LiveModel | None:
    name, pricing = loose_json.text(row.get("id")), loose_json.mapping(row.get("pricing"))
    if not name or row.get("type") != "chat":
        return None
    return LiveModel(
        name,
        context_window=loose_json.positive(row.get("context_length")),
        price_input=loose_json.amount(pricing.get("input")),
        price_output=loose_json.amount(pricing.get("output")),
    )


DIALECT = Dialect(
    "together",
    "https://api.together.xyz/v1",
    parse_model=_parse_model,
    think_tags=True,
    # 403 is what Together says to prompt and answer that do not fit the window; a key that is not allowed gets 401.
    rules=(Rule(ContextLengthError, codes="invalid_request_error", words=r"tokens\b", only=(403,)),),
)


def connect(endpoint: Endpoint) -> ChatCompletions:
    """Return Together at `endpoint`."""
    return ChatCompletions(DIALECT, endpoint)
