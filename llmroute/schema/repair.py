"""The words around a schema: the instruction to follow it, and the request to correct an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.types import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmroute.types import Prompt

MOST_QUOTED = 200_000
"""The longest invalid answer, in characters, that a repair sends back."""


def instruction(text: str) -> str:
    """Return the instruction for a model that does not see the schema, whose JSON text is given."""
    return (
        "Answer with exactly one JSON document that is valid against the JSON Schema below. "
        "Write nothing before or after the document: no explanation and no code fence. "
        "Leave out properties that you have no value for, unless they are required.\n\n"
        f"JSON Schema:\n{text}"
    )


def repair_prompt(prompt: Prompt, answer: str, errors: Sequence[str]) -> Prompt:
    """Return the prompt that asks the same model to correct an answer: its answer, then a turn with the errors."""
    listed = "\n".join(f"- {line}" for line in errors)
    words = (
        "This answer is not valid against the JSON Schema:\n"
        f"{listed}\n\n"
        "Answer again with the whole corrected JSON document and nothing else."
    )
    # An empty turn is rejected by providers.
    turns = (Message("assistant", answer[:MOST_QUOTED]), Message("user", words)) if answer.strip() else ()
    return prompt._replace(messages=(*prompt.messages, *(turns or (Message("user", words),))))
