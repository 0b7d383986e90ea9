"""The schema of an answer in requests: in a provider's own form, and as an instruction in the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmroute.schema.vendor_forms import AnswerForm
    from llmroute.types import ModelConfig, Prompt


def with_form(prompt: Prompt, model: ModelConfig) -> tuple[Prompt, AnswerForm | None]:
    """Return the form in which a document is requested, and the prompt, with an instruction if the form needs one."""
    if prompt.schema is None:
        return prompt, None
    from llmroute.schema.vendor_forms import form_for

    form = form_for(prompt.schema, model)
    if not form.in_words:
        return prompt, form
    system = "\n\n".join(filter(None, (prompt.system, prompt.schema.words)))
    return prompt._replace(system=system), form


def response_format(form: AnswerForm | None) -> dict[str, Any]:
    """Return the key of the chat-completions format that requests a document; empty where there is none."""
    if form is None or form.schema is None:
        return {}
    from llmroute.schema.vendor_forms import NAME

    described: dict[str, Any] = {"name": NAME, "schema": form.schema}
    if form.strict:
        described["strict"] = True
    return {"response_format": {"type": "json_schema", "json_schema": described}}


def output_config(form: AnswerForm | None) -> Mapping[str, Any]:
    """Return the part of Anthropic's `output_config` that requests a document; empty where there is none."""
    if form is None or form.schema is None:
        return {}
    return {"format": {"type": "json_schema", "schema": form.schema}}
