"""Checks of a completion: refused, empty or usable, with secrets removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import BadOutputError, ContentError
from llmroute.types import Service

if TYPE_CHECKING:
    from llmroute.errors import AttemptError
    from llmroute.text.redaction import Redaction
    from llmroute.types import Completion


MOST_WORD = 100
MOST_ID = 200
MOST_REFUSAL = 500
MOST_TOOLS = 20


def sanitized(completion: Completion, redaction: Redaction) -> Completion:
    """Return an answer whose words beside its text are short lines without secrets; the text is the model's own."""

    def line(text: str | None, most: int) -> str | None:
        return None if text is None else redaction.line(text, most)

    return completion._replace(
        finish_reason=line(completion.finish_reason, MOST_WORD),
        model=line(completion.model, MOST_ID),
        request_id=line(completion.request_id, MOST_ID),
        refusal=line(completion.refusal, MOST_REFUSAL),
        service=Service(
            line(completion.service.tier, MOST_WORD),
            line(completion.service.geo, MOST_WORD),
            tuple((redaction.line(name, MOST_WORD), count) for name, count in completion.service.tools[:MOST_TOOLS]),
        ),
        tool_calls=tuple(redaction.line(name, MOST_WORD) for name in completion.tool_calls[:MOST_TOOLS]),
    )


def hide_secrets(error: AttemptError, redaction: Redaction) -> None:
    """Hide in an error of any origin what its provider may have echoed of another's."""
    if (message := redaction.hide(error.message)) != error.message:
        error.message = message
        error.args = (message,)


def error_in(completion: Completion) -> AttemptError | None:
    """Say what is wrong with an answer that came whole; None when it is an answer."""
    if completion.refusal or completion.finish_reason == "content_filter":
        told = f": {completion.refusal}" if completion.refusal else ""
        return ContentError(f"the answer was refused or filtered{told}"[:500])
    if not completion.text.strip():
        if completion.tool_calls:
            names = ", ".join(completion.tool_calls)
            told = names if len(names) <= MOST_ID else f"{names[: MOST_ID - 1]}…"
            return BadOutputError(f"called a tool ({told}) instead of answering")
        if completion.finish_reason == "length":
            return _all_reasoning()
        return BadOutputError("the answer is empty")
    return None


def _all_reasoning() -> BadOutputError:
    from llmroute.text.option_names import OptionText, Remedy

    error = BadOutputError(
        "the answer is empty: all its tokens went into reasoning",
        hint=OptionText("allow more with ", Remedy("max_tokens"), ", or ask for less with ", Remedy("effort")),
    )
    error.should_retry = False
    return error
