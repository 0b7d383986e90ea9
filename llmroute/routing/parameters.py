"""Parameters that a model does not accept, and requests without them.  Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from llmroute.errors import ParameterError
    from llmroute.types import ModelConfig, ParameterLimits, Prompt

_FORMAT_NAMES = ("response_format", "format")
LIMIT_NAMES = ("max_tokens", "max_completion_tokens")
_WIRE_NAMES = {
    "temperature": ("temperature",),
    "effort": ("reasoning_effort", "reasoning", "thinking", "output_config", "think"),
    "stop": ("stop", "stop_sequences"),
}


def refused(prompt: Prompt, limits: ParameterLimits) -> dict[str, str]:
    """Return the parameters of the prompt that the model does not accept, each with its text for messages."""
    found: dict[str, str] = {}
    temperature = prompt.temperature
    if temperature is not None:
        effort = prompt.effort or limits.default_effort
        if not limits.temperature:
            found["temperature"] = "temperature"
        elif limits.temperature_needs_effort_none and effort != "none":
            found["temperature"] = "temperature while it reasons"
        elif limits.max_temperature is not None and temperature > limits.max_temperature:
            found["temperature"] = f"temperature above {limits.max_temperature:g}"
    if prompt.effort is not None and not limits.efforts:
        found["effort"] = "effort"
    if prompt.stop and not limits.stop:
        found["stop"] = "stop sequences"
    return found


def without(prompt: Prompt, names: Iterable[str]) -> Prompt:
    """Return the prompt without the named parameters."""
    unset: dict[str, Any] = {"temperature": None, "effort": None, "stop": ()}
    return prompt._replace(**{name: unset[name] for name in names})


class Adaptation(NamedTuple):
    """How to change a request after a rejected parameter, without dropping what the caller has set."""

    rename: tuple[str, str] | None = None
    drop: str | None = None
    max_tokens: int | None = None

    def apply(self, sent: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request with a key renamed or dropped; `max_tokens` is applied to the prompt instead."""
        old, new = self.rename or ("", "")
        return {new if key == old else key: value for key, value in sent.items() if key != self.drop}


def adaptation(error: ParameterError, sent: Mapping[str, Any], prompt: Prompt) -> Adaptation | None:
    """Return how to change a request whose parameter was rejected; None if the caller has set it.

    A token limit may be sent under its other name; a parameter that llmroute added may be lowered or dropped.
    """
    if error.code is None:
        return None
    name = re.split(r"[.\[]", error.code)[0]
    if name in sent and (name == "stream_options" or (name in _FORMAT_NAMES and _has_schema_in_words(sent, prompt))):
        return Adaptation(drop=name)
    if name not in LIMIT_NAMES or name not in sent:
        return None
    given = sent[name]
    lower = [maximum for maximum in error.maximums if isinstance(given, int) and 0 < maximum < given]
    if lower:
        return Adaptation(max_tokens=max(lower)) if prompt.max_tokens is None else None
    if error.unsupported:
        return Adaptation(rename=(name, LIMIT_NAMES[1 - LIMIT_NAMES.index(name)]))
    return None


def _has_schema_in_words(sent: Mapping[str, Any], prompt: Prompt) -> bool:
    """Whether the model reads the schema of the answer in the messages, so that its native form may be dropped."""
    schema = prompt.schema
    return schema is not None and any(schema.words in str(message.get("content")) for message in sent["messages"])


def takes(model: ModelConfig, code: str | None, prompt: Prompt | None) -> bool:
    """Return whether a model may accept the parameter that another one rejected."""
    if code is None or prompt is None:
        return True
    name = re.split(r"[.\[]", code)[0]
    if name in LIMIT_NAMES:
        return model.max_output is None or prompt.max_tokens is None or prompt.max_tokens <= model.max_output
    left_out = refused(prompt, model.parameters)
    return not any(name in _WIRE_NAMES[parameter] for parameter in left_out)
