"""Tokens before the call: what to expect, and the worst that can happen.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmroute.types import Prompt

# English text is about four bytes a token in every tokenizer in use; nothing is below one byte a token.
BYTES_PER_TOKEN = 4
# Role marks and separators around one message.
MESSAGE_OVERHEAD_TOKENS = 8
# What a model's chat template may put before a prompt unasked: the date, who it is, how hard to think.
TEMPLATE_TOKENS = 256
# What an answer is taken to be while nobody has said or learned better.
TYPICAL_OUTPUT_TOKENS = 500


def expected_input_tokens(prompt: Prompt) -> int:
    """Return about how many tokens the prompt will be."""
    sizes = _sizes(prompt)
    return sum(sizes) // BYTES_PER_TOKEN + MESSAGE_OVERHEAD_TOKENS * len(sizes)


def worst_input_tokens(prompt: Prompt) -> int:
    """Return more tokens than the prompt can be: a byte-level tokenizer makes at most one token of a byte."""
    sizes = _sizes(prompt)
    return sum(sizes) + MESSAGE_OVERHEAD_TOKENS * 2 * len(sizes) + TEMPLATE_TOKENS


def expected_output_tokens(prompt: Prompt) -> int:
    """Return about how many tokens the answer will be."""
    return min(prompt.max_tokens or TYPICAL_OUTPUT_TOKENS, TYPICAL_OUTPUT_TOKENS)


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text is, for an answer whose provider told no usage."""
    return -(-len(text.encode(errors="replace")) // BYTES_PER_TOKEN)


def _sizes(prompt: Prompt) -> list[int]:
    texts = [message.content for message in prompt.messages]
    if prompt.system:
        texts.append(prompt.system)
    return [len(text.encode(errors="replace")) for text in texts]
