"""The window that Ollama is asked for, and the signs that a prompt did not fit into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.attachments.tokens import OLLAMA_IMAGE_TOKENS
from llmroute.providers.wire import lenient_json
from llmroute.text.token_bounds import TEMPLATE_TOKENS, bounds, most_around, size_in_bytes
from llmroute.types import PromptCut

if TYPE_CHECKING:
    from llmroute.types import Completion, HTTPRequest, ModelConfig, Prompt, Usage

MIN_WINDOW = 4096
"""The smallest window asked for.  Others are powers of two: the server loads a model again when its window changes."""
MAX_WINDOW = 1024 * 1024
ANSWER_RESERVE = 4096
"""Room for an answer whose length the caller has not limited, or has limited to less."""
FILLED_MARGIN = 16
"""How far below the window a prompt may end that was cut to it."""
HALF_MARGIN = 8
"""How many tokens of its beginning a prompt may keep that was cut to half of the window."""


class SentPrompt(NamedTuple):
    """What a request asked Ollama to read: the texts, the window, the room for the answer in it, and the images."""

    texts: tuple[str, ...]
    window: int | None
    answer: int
    images: int = 0

    @property
    def around(self) -> int:
        """Tokens that are in the prompt beside its texts, at most."""
        return most_around(len(self.texts)) + self.images * OLLAMA_IMAGE_TOKENS

    @property
    def widest(self) -> int:
        """The window into which any tokenizer's reading of the prompt fits, and the answer."""
        return _step(size_in_bytes(self.texts) + self.around + self.answer)


def context_for(prompt: Prompt, model: ModelConfig) -> int:
    """Return the `num_ctx` that prompt and answer fit into.

    Never less than the model's own setting, and never more than the window it was made for.
    """
    answer = max(ANSWER_RESERVE, prompt.max_tokens or 0)
    asked = SentPrompt(prompt.texts, None, answer, len(prompt.media))
    needed = bounds(asked.texts).most + asked.around + asked.answer
    own = model.own_window or 0
    return min(own if needed <= own else max(_step(needed), own), model.context_window or MAX_WINDOW)


def _read_from(sent: HTTPRequest) -> SentPrompt:
    """Return what a request asked for."""
    body = lenient_json.mapping(lenient_json.read(sent.body or b"{}"))
    options = lenient_json.mapping(body.get("options"))
    messages = lenient_json.objects(body.get("messages"))
    texts = (lenient_json.text(message.get("content")) for message in messages)
    images = sum(len(lenient_json.items(message.get("images"))) for message in messages)
    answer = max(ANSWER_RESERVE, lenient_json.count(options.get("num_predict")) or 0)
    return SentPrompt(tuple(texts), lenient_json.count(options.get("num_ctx")), answer, images)


def cut_of(sent: HTTPRequest | None, usage: Usage) -> PromptCut | None:
    """Return the cut of a prompt that was not read whole, by the server's own count; None where that shows none.

    Two signs: the count ends where the window or half of it does, and the prompt may be longer (servers fill the
    window, or keep a few tokens and the second half); or it is less than any tokenizer makes of the text (they drop
    whole messages too).  Servers before 0.4 do not count what they have cached, so that a small count proves nothing.
    """
    if sent is None or sent.body is None or (read := usage.input_tokens) is None:
        return None
    asked = _read_from(sent)
    if asked.window and size_in_bytes(asked.texts) + asked.around > asked.window and _ends_at(read, asked.window):
        told = f"{read} tokens were read in a window of {asked.window} tokens: the prompt's beginning may have been cut"
        return PromptCut(told, asked.widest)
    least = bounds(asked.texts).least
    if read < least - least // 10 - TEMPLATE_TOKENS:
        told = f"{read} tokens were read of a prompt of at least {least}: its beginning may have been cut"
        return PromptCut(told, asked.widest)
    return None


def _ends_at(read: int, window: int) -> bool:
    return window - FILLED_MARGIN <= read <= window or window // 2 <= read <= window // 2 + HALF_MARGIN


def with_cut(completion: Completion, sent: HTTPRequest | None) -> Completion:
    """Return an answer with what `cut_of` finds, which is told as its warning too."""
    cut = cut_of(sent, completion.usage)
    return completion if cut is None else completion._replace(prompt_cut=cut, warning=cut.told)


def _step(tokens: int) -> int:
    return max(MIN_WINDOW, 1 << (tokens - 1).bit_length())
