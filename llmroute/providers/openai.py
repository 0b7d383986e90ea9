"""OpenAI: the chat-completions format at its source."""

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


# Every model there takes max_completion_tokens, and the newer ones refuse max_tokens; what stands behind another
# address may know only the older name, so the model's own holds there.
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
    """Return OpenAI, or what speaks its language, at `endpoint`."""
    return ChatCompletions(DIALECT, endpoint)
