"""Tokens before the call: the expected number and its bounds.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.text.token_bounds import BYTES_PER_TOKEN, TOKENS_PER_MESSAGE, bounds, most_around, size_in_bytes
from llmroute.types import ModelConfig

if TYPE_CHECKING:
    from llmroute.types import AnswerSchema, AttachmentFacts, CacheLife, Effort, Prompt

# The usual tokens of role marks and separators around one message.
MESSAGE_OVERHEAD_TOKENS = TOKENS_PER_MESSAGE // 2
TYPICAL_OUTPUT_TOKENS = 500
"""Of an answer to a short question by a model that does not reason."""
# The shortest completion worth requesting.
LEAST_ANSWER_TOKENS = 16
# The longest completion under a budget if the caller sets no limit: each call reserves its worst case, and the full
# output of a large model would block concurrent requests.
BUDGETED_ANSWER_TOKENS = 32_000
_CAPABILITIES = {"image": "vision", "pdf": "pdf"}


class PromptSize(NamedTuple):
    """The tokens of a prompt and the limits of its completion, measured once for each request.

    Attributes:
        expected_input: estimate of the prompt's tokens.
        least_input: lower bound of the prompt's tokens.
        worst_input: upper bound: a byte-level tokenizer makes at most one token of a byte.
        answer_room: the tokens for a completion that a context window must leave.
        max_tokens: the completion limit set by the caller, None if not set.
        effort: the reasoning effort set by the caller, None if not set.
        tier: the service tier set by the caller, None if not set.
        cache: how long the marked beginning of the prompt is cached, None where nothing is marked.
        attachments: the attachments, whose tokens depend on the model: `for_model` adds them to the input.
        schema: the schema of the answer, of which each provider is sent its own form: `for_model` adds it to the input.
    """

    expected_input: int
    least_input: int
    worst_input: int
    answer_room: int
    max_tokens: int | None = None
    effort: Effort | None = None
    tier: str | None = None
    cache: CacheLife | None = None
    attachments: tuple[AttachmentFacts, ...] = ()
    schema: AnswerSchema | None = None

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities that a model needs to read the attachments."""
        kinds = {one.kind for one in self.attachments}
        return frozenset(_CAPABILITIES[kind] for kind in kinds if kind in _CAPABILITIES)

    @property
    def typical_input(self) -> int:
        """The expected tokens of the prompt before a model is chosen, attachments included."""
        if not self.capabilities and self.schema is None:
            return self.expected_input
        return self.for_model(ModelConfig("", "", "")).expected_input

    def for_model(self, model: ModelConfig) -> PromptSize:
        """Return the size with the tokens of the schema and of the attachments as the model counts them."""
        size = self if self.schema is None else self._with_schema(self.schema, model)
        if not size.capabilities:
            return size
        from llmroute.attachments.tokens import attachment_tokens

        tokens = attachment_tokens(model, size.attachments)
        # A prompt beyond the context window is rejected, and costs nothing.
        most = min(tokens.most, max(model.context_window or tokens.most, tokens.expected))
        return size._replace(
            expected_input=size.expected_input + tokens.expected, worst_input=size.worst_input + most, attachments=()
        )

    def _with_schema(self, schema: AnswerSchema, model: ModelConfig) -> PromptSize:
        from llmroute.schema.vendor_forms import form_bytes, form_for

        own_bytes = form_bytes(schema, model)
        words_bytes = size_in_bytes((schema.words,)) if form_for(schema, model).in_words else 0
        return self._replace(
            expected_input=self.expected_input + max(words_bytes, own_bytes) // BYTES_PER_TOKEN,
            # Providers may count a schema both in words and in their own form.
            worst_input=self.worst_input + size_in_bytes((schema.words, schema.text)) + own_bytes,
            schema=None,
        )

    def too_long(self, window: int | None) -> str | None:
        """Return why prompt and completion do not fit a context window; None if they do, or if it is unknown."""
        prompt_tokens = max(self.expected_input, self.least_input)
        answer_tokens = self.max_tokens or self.answer_room
        if window is None or prompt_tokens + answer_tokens <= window:
            return None
        about = f"the prompt is about {prompt_tokens} tokens"
        if prompt_tokens >= window:
            return f"{about}, too long for its context window of {window} tokens"
        return f"{about}, and leaves no room for a completion of {answer_tokens} in its context window of {window}"


def measure(prompt: Prompt) -> PromptSize:
    """Measure a prompt; takes time proportional to its length."""
    texts = prompt.texts
    size_bytes = size_in_bytes(texts)
    return PromptSize(
        expected_input=size_bytes // BYTES_PER_TOKEN + MESSAGE_OVERHEAD_TOKENS * len(texts),
        least_input=bounds(texts).least,
        worst_input=size_bytes + most_around(len(texts)),
        answer_room=min(prompt.max_tokens or TYPICAL_OUTPUT_TOKENS, TYPICAL_OUTPUT_TOKENS),
        max_tokens=prompt.max_tokens,
        effort=prompt.effort,
        tier=prompt.tier,
        cache=prompt.cache and prompt.cache.life,
        attachments=tuple(one.facts for one in prompt.attachments),
        schema=prompt.schema,
    )


def estimated_tokens(text: str) -> int:
    """Return the approximate number of tokens of a text, for an answer without reported usage."""
    return -(-size_in_bytes((text,)) // BYTES_PER_TOKEN)


def longest_answer(max_output: int | None, window: int | None, worst_input: int, expected_input: int) -> int:
    """Return the completion limit to request under a budget, in tokens."""
    longest = min(max_output or BUDGETED_ANSWER_TOKENS, BUDGETED_ANSWER_TOKENS)
    if window is not None:
        # Providers reject a limit beyond the context window; the upper bound of the prompt is far above its size.
        longest = min(longest, max(window - worst_input, (window - expected_input) // 2))
    return max(longest, LEAST_ANSWER_TOKENS)
