"""The window that is requested from Ollama, and the signs of a truncated prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.attachments.tokens import OLLAMA_IMAGE_TOKENS
from llmroute.providers.wire import lenient_json
from llmroute.text.token_bounds import TEMPLATE_TOKENS, bounds, most_around, size_in_bytes
from llmroute.types import PromptCut

if TYPE_CHECKING:
    from llmroute.types import Completion, HTTPRequest, ModelConfig, Prompt, Usage

MIN_WINDOW = 4096
"""The smallest window requested. Others are powers of two: the server reloads a model when its window changes."""
MAX_WINDOW = 1024 * 1024
ANSWER_RESERVE = 4096
"""Minimum room for an answer, with or without a limit of the caller's."""
FILLED_MARGIN = 16
"""The maximum distance of a truncated prompt from the full window."""
HALF_MARGIN = 8
"""The maximum number of first tokens that remain when a prompt is truncated to half of the window."""


class SentPrompt(NamedTuple):
    """The prompt of a request to Ollama: its texts, the window, the room for the answer in it, and the images."""

    texts: tuple[str, ...]
    window: int | None
    answer: int
    images: int = 0

    @property
    def around(self) -> int:
        """The maximum number of tokens of the prompt beside its texts."""
        return most_around(len(self.texts)) + self.images * OLLAMA_IMAGE_TOKENS

    @property
    def widest(self) -> int:
        """The window that holds prompt and answer with any tokenizer."""
        return _step(size_in_bytes(self.texts) + self.around + self.answer)


def context_for(prompt: Prompt, model: ModelConfig) -> int:
    """Return the `num_ctx` that holds prompt and answer.

    At least the model's own setting, at most the window of the model.
    """
    answer = max(ANSWER_RESERVE, prompt.max_tokens or 0)
    sent = SentPrompt(prompt.texts, None, answer, len(prompt.media))
    needed = bounds(sent.texts).most + sent.around + sent.answer
    own = model.own_window or 0
    return min(own if needed <= own else max(_step(needed), own), model.context_window or MAX_WINDOW)


def _read_from(sent: HTTPRequest) -> SentPrompt:
    """Parse the body of a request."""
    body = lenient_json.mapping(lenient_json.read(sent.body or b"{}"))
    options = lenient_json.mapping(body.get("options"))
    messages = lenient_json.objects(body.get("messages"))
    texts = (lenient_json.text(message.get("content")) for message in messages)
    images = sum(len(lenient_json.items(message.get("images"))) for message in messages)
    answer = max(ANSWER_RESERVE, lenient_json.count(options.get("num_predict")) or 0)
    return SentPrompt(tuple(texts), lenient_json.count(options.get("num_ctx")), answer, images)


def cut_of(sent: HTTPRequest | None, usage: Usage) -> PromptCut | None:
    """Return how a prompt was truncated, by the server's own count; None where the count shows no truncation.

    Two signs: the count is close to the window or half of it, and the prompt may be longer (servers fill the window, or
    keep a few tokens and the second half); or the count is less than any tokenizer's for the text (servers drop whole
    messages too). Servers before 0.4 do not count cached tokens, so a small count is no proof there.
    """
    if sent is None or sent.body is None or (read := usage.input_tokens) is None:
        return None
    prompt = _read_from(sent)
    if prompt.window and size_in_bytes(prompt.texts) + prompt.around > prompt.window and _ends_at(read, prompt.window):
        warning = (
            f"{read} tokens were read in a window of {prompt.window}: the beginning of the prompt may have been cut"
        )
        return PromptCut(warning, prompt.widest)
    least = bounds(prompt.texts).least
    if read < least - least // 10 - TEMPLATE_TOKENS:
        warning = f"{read} tokens were read of a prompt of at least {least}: its beginning may have been cut"
        return PromptCut(warning, prompt.widest)
    return None


def _ends_at(read: int, window: int) -> bool:
    return window - FILLED_MARGIN <= read <= window or window // 2 <= read <= window // 2 + HALF_MARGIN


def with_cut(completion: Completion, sent: HTTPRequest | None) -> Completion:
    """Return an answer with the result of `cut_of`, also as its warning."""
    cut = cut_of(sent, completion.usage)
    return completion if cut is None else completion._replace(prompt_cut=cut, warning=cut.warning)


def _step(tokens: int) -> int:
    return max(MIN_WINDOW, 1 << (tokens - 1).bit_length())
