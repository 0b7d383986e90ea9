"""The embedded engine, a llama.cpp server: the chat-completions format at the address where it was started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.providers.wire.chat_completions import ChatCompletions, Dialect

if TYPE_CHECKING:
    from llmroute.providers import Endpoint

_DIALECT = Dialect(name="builtin", base_url="", stream_options=True, local=True)


def connect(endpoint: Endpoint) -> ChatCompletions:
    """Return the embedded engine at an endpoint."""
    return ChatCompletions(_DIALECT, endpoint)
