"""A validated request with its rendered prompt and the size of that prompt, measured once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.routing.token_estimate import measure

if TYPE_CHECKING:
    from llmroute.request.options import Options
    from llmroute.routing.token_estimate import PromptSize
    from llmroute.types import Prompt


class RenderedRequest(NamedTuple):
    """The options of a request, the prompt that a model receives, and the size of that prompt."""

    options: Options
    prompt: Prompt
    size: PromptSize


def render(options: Options, *, streaming: bool) -> RenderedRequest:
    """Validate, render and measure a request.

    Raises:
        RequestError: an option is invalid; the message says which one and what is expected.
    """
    prompt = options.rendered_prompt(streaming=streaming)
    return RenderedRequest(options, prompt, measure(prompt))
