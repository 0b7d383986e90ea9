"""OpenAI: the chat-completions format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.providers import ListedModel
from llmroute.providers.rendering.attachment_parts import openai_part
from llmroute.providers.wire import lenient_json
from llmroute.providers.wire.chat_completions import ChatCompletions, Dialect

if TYPE_CHECKING:
    from llmroute.providers import Endpoint


def _parse_model(row: dict[str, Any]) -> ListedModel | None:
    name = lenient_json.text(row.get("id"))
    return ListedModel(name, retires_on=lenient_json.date(row.get("shutdown_date"))) if name else None


# Every model there accepts max_completion_tokens, and the newer ones reject max_tokens; a server behind another address
# may accept only the older name, so there the setting of the model decides.
DIALECT = Dialect(
    name="openai",
    base_url="https://api.openai.com/v1",
    max_completion_tokens=True,
    stream_options=True,
    service_tiers=True,
    organization_header="openai-organization",
    parse_model=_parse_model,
    attachment=openai_part,
    prompt_cache_key=True,
)


def connect(endpoint: Endpoint) -> ChatCompletions:
    """Return OpenAI, or a compatible server, at `endpoint`."""
    return ChatCompletions(DIALECT, endpoint)
