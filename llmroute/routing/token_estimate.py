"""Tokens before the call: what to expect, and the worst that can happen.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.text.token_bounds import BYTES_PER_TOKEN, TOKENS_PER_MESSAGE, bounds, most_around, size_in_bytes

if TYPE_CHECKING:
    from llmroute.types import Prompt

# What role marks and separators around one message are as a rule.
MESSAGE_OVERHEAD_TOKENS = TOKENS_PER_MESSAGE // 2
# What an answer is taken to be while nobody has said or learned better.
TYPICAL_OUTPUT_TOKENS = 500


def expected_input_tokens(prompt: Prompt) -> int:
    """Return about how many tokens the prompt will be."""
    texts = prompt.texts
    return size_in_bytes(texts) // BYTES_PER_TOKEN + MESSAGE_OVERHEAD_TOKENS * len(texts)


def least_input_tokens(prompt: Prompt) -> int:
    """Return fewer tokens than the prompt can be, or as many."""
    return bounds(prompt.texts).least


def too_long(window: int | None, prompt_tokens: int, answer_tokens: int) -> str | None:
    """Say that prompt and answer do not fit a window; None when they do, or when it is unknown."""
    if window is None or prompt_tokens + answer_tokens <= window:
        return None
    about = f"the prompt is about {prompt_tokens} tokens"
    if prompt_tokens >= window:
        return f"{about}, too long for its window of {window} tokens"
    return f"{about}, and leaves no room for an answer of {answer_tokens} in its window of {window}"


def worst_input_tokens(prompt: Prompt) -> int:
    """Return more tokens than the prompt can be: a byte-level tokenizer makes at most one token of a byte."""
    texts = prompt.texts
    return size_in_bytes(texts) + most_around(len(texts))


def expected_output_tokens(prompt: Prompt) -> int:
    """Return about how many tokens the answer will be."""
    return min(prompt.max_tokens or TYPICAL_OUTPUT_TOKENS, TYPICAL_OUTPUT_TOKENS)


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text is, for an answer whose provider told no usage."""
    return -(-size_in_bytes((text,)) // BYTES_PER_TOKEN)
