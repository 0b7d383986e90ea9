"""Whether what came whole is an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import BadOutputError, ContentError

if TYPE_CHECKING:
    from llmroute.errors import AttemptError
    from llmroute.types import Completion


def fault_of(completion: Completion) -> AttemptError | None:
    """Say what is wrong with an answer that came whole; None when it is an answer."""
    if completion.refusal or completion.finish_reason == "content_filter":
        told = f": {completion.refusal}" if completion.refusal else ""
        return ContentError(f"the answer was refused or filtered{told}"[:500])
    if not completion.text.strip():
        if completion.tool_calls:
            return BadOutputError(f"called a tool ({', '.join(completion.tool_calls)}) instead of answering")
        if completion.finish_reason == "length":
            return _all_reasoning()
        return BadOutputError("the answer is empty")
    return None


def _all_reasoning() -> BadOutputError:
    from llmroute.wording import Remedy, Told

    error = BadOutputError(
        "the answer is empty: all its tokens went into reasoning",
        hint=Told("allow more with ", Remedy("max_tokens"), ", or ask for less with ", Remedy("effort")),
    )
    error.should_retry = False
    return error
