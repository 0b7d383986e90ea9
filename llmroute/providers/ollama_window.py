"""The window that Ollama is asked for, and the signs that a prompt did not fit into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.providers import loose_json

if TYPE_CHECKING:
    from llmroute.types import HTTPRequest, ModelConfig, Prompt, Usage

MIN_WINDOW = 4096
STEP = 4096
"""A model is loaded anew when its window changes: steps are wide, so that like prompts share one."""
MAX_WINDOW = 1024 * 1024
ANSWER_RESERVE = 4096
BYTES_PER_TOKEN = 3
TOKENS_PER_MESSAGE = 16
CUT_SHARE = 0.4
"""Prose has four to five bytes in a token, code about three: where less than this share was read, some was cut."""
CUT_MARGIN = 1024


def context_for(prompt: Prompt, model: ModelConfig) -> int:
    """Return the `num_ctx` that prompt and answer fit into, and never more than the model's own window."""
    texts = [message.content for message in prompt.messages] + ([prompt.system] if prompt.system else [])
    answer = ANSWER_RESERVE if prompt.max_tokens is None else prompt.max_tokens
    needed = max(_estimate(texts) + answer, MIN_WINDOW)
    return min(-(-needed // STEP) * STEP, model.context_window or MAX_WINDOW)


def cut_warning(sent: HTTPRequest | None, usage: Usage) -> str | None:
    """Return a warning when fewer tokens were read than the prompt has, or as many as the window holds."""
    if sent is None or sent.body is None or usage.input_tokens is None:
        return None
    body = loose_json.mapping(loose_json.read(sent.body))
    window = loose_json.count(loose_json.mapping(body.get("options")).get("num_ctx"))
    expected = _estimate(
        [loose_json.text(message.get("content")) for message in loose_json.objects(body.get("messages"))]
    )
    read = usage.input_tokens
    if window and read >= window - TOKENS_PER_MESSAGE:
        return f"the prompt fills the model's window of {window} tokens: Ollama may have cut its beginning"
    if read < expected * CUT_SHARE and expected - read > CUT_MARGIN:
        return f"Ollama read {read} tokens of a prompt of about {expected}: it may have cut the beginning"
    return None


def _estimate(texts: list[str]) -> int:
    size = sum(len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in texts)
    return size // BYTES_PER_TOKEN + TOKENS_PER_MESSAGE * len(texts) + TOKENS_PER_MESSAGE
