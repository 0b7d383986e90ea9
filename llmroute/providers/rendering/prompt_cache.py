"""Prompt caching: the common beginning of requests is marked for the provider's cache.

Anthropic caches up to a mark (`cache_control`), here on the last block that requests share, if that is not shorter than
the model's minimum.  OpenAI and Mistral cache the beginning of a prompt by themselves, and a common `prompt_cache_key`
sends requests to where the entry is.  An entry exists once the first answer has begun.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from llmroute.text.token_bounds import BYTES_PER_TOKEN, size_in_bytes

if TYPE_CHECKING:
    from llmroute.types import CacheMark, ModelConfig, Prompt

_KEY_DIGITS = 32


def cache_key(prompt: Prompt) -> str | None:
    """Return the cache key of the part that the prompt shares with others; None where nothing is to be cached."""
    mark = prompt.cache
    if mark is None or not (prompt.system or mark.media or mark.characters):
        return None
    digest = sha256((prompt.system or "").encode("utf-8", "surrogatepass"))
    for one in prompt.media[: mark.media]:
        digest.update(b"\0" + (one.url or "").encode("utf-8", "surrogatepass") + b"\0" + (one.data or b""))
    digest.update(b"\0" + _shared_text(prompt, mark).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:_KEY_DIGITS]


def mark_anthropic(prompt: Prompt, model: ModelConfig, body: dict[str, Any]) -> None:
    """Mark the end of the part that the prompt shares with others in the body of a Messages request."""
    mark = prompt.cache
    if mark is None or not _reaches_minimum(prompt, mark, model):
        return
    control = {"type": "ephemeral"} if mark.life == "5m" else {"type": "ephemeral", "ttl": mark.life}
    first = next(message for message in body["messages"] if message["role"] == "user")
    if mark.characters and prompt.media:
        # After the images and PDFs that are shared.
        first["content"][mark.media]["cache_control"] = control
    elif mark.characters:
        shared = {"type": "text", "text": _shared_text(prompt, mark), "cache_control": control}
        own = {"type": "text", "text": _first_text(prompt)[mark.characters :]}
        first["content"] = [shared, *([own] if own["text"].strip() else [])]
    elif mark.media:
        first["content"][mark.media - 1]["cache_control"] = control
    elif prompt.system:
        body["system"] = [{"type": "text", "text": prompt.system, "cache_control": control}]


def _reaches_minimum(prompt: Prompt, mark: CacheMark, model: ModelConfig) -> bool:
    """Whether the shared beginning is long enough to be cached, by its expected tokens."""
    if model.cache_min_tokens is None:
        return mark.certain
    shared_bytes = size_in_bytes((prompt.system or "", _shared_text(prompt, mark)))
    tokens = shared_bytes // BYTES_PER_TOKEN
    if mark.media:
        from llmroute.attachments.tokens import attachment_tokens

        tokens += attachment_tokens(model, [one.facts for one in prompt.media[: mark.media]]).expected
    return tokens >= model.cache_min_tokens


def _shared_text(prompt: Prompt, mark: CacheMark) -> str:
    return _first_text(prompt)[: mark.characters] if mark.characters else ""


def _first_text(prompt: Prompt) -> str:
    return next(message.content for message in prompt.messages if message.role == "user")
