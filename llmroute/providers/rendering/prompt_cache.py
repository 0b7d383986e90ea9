"""Prompt caching: the common part of requests, system prompt and attachments, is marked for the provider's cache.

Anthropic caches up to a mark (`cache_control`), here on the last attachment, or else on the system prompt; it keeps an
entry for five minutes.  OpenAI and Mistral cache the beginning of a prompt by themselves, and a common
`prompt_cache_key` sends requests to where the entry is.  An entry exists once the first answer has begun.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmroute.types import Prompt

_MARK = {"type": "ephemeral"}
_KEY_DIGITS = 32


def cache_key(prompt: Prompt) -> str | None:
    """Return the cache key of the common part of the prompt; None without caching."""
    if not prompt.cached or not (prompt.system or prompt.media):
        return None
    digest = sha256((prompt.system or "").encode("utf-8", "surrogatepass"))
    for one in prompt.media:
        digest.update(b"\0" + (one.url or "").encode("utf-8", "surrogatepass") + b"\0" + (one.data or b""))
    return digest.hexdigest()[:_KEY_DIGITS]


def mark_anthropic(prompt: Prompt, body: dict[str, Any]) -> None:
    """Mark the end of the common part of the prompt in the body of a Messages request."""
    if not prompt.cached:
        return
    if prompt.media:
        first = next(message for message in body["messages"] if message["role"] == "user")
        # The attachments come before the text of the message.
        first["content"][len(prompt.media) - 1]["cache_control"] = _MARK
    elif prompt.system:
        body["system"] = [{"type": "text", "text": prompt.system, "cache_control": _MARK}]
