"""What a model is known not to take, and the prompt without it.  Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmroute.types import ParameterLimits, Prompt


def refused(prompt: Prompt, limits: ParameterLimits) -> dict[str, str]:
    """Return the parameters of the prompt that the model refuses, each with the words for it."""
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


def fitted(prompt: Prompt, limits: ParameterLimits) -> Prompt:
    """Return the prompt without what the model refuses."""
    nothing = {"temperature": None, "effort": None, "stop": ()}
    changes = {name: nothing[name] for name in refused(prompt, limits)}
    return replace(prompt, **changes) if changes else prompt  # type: ignore[arg-type]
