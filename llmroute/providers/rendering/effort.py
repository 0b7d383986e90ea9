"""Reasoning effort: our four levels, mapped to those of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmroute.types import Effort, ParameterLimits, Prompt

MIN_THINKING_BUDGET = 1024
THINKING_BUDGETS: dict[Effort, int] = {"low": 2_048, "medium": 6_144, "high": 12_288}
LADDER = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def effort_word(effort: Effort, efforts: tuple[str, ...]) -> str | None:
    """Return the model's own level nearest to `effort`, None if it has none.

    For "none", a model that always thinks gets its lowest level; a model without the exact level gets the next higher
    one, and never none when thinking was requested.
    """
    rungs = [word for word in LADDER if word in efforts]
    if effort in rungs or not rungs:
        return effort if rungs else None
    if effort == "none":
        return rungs[0]
    harder = [word for word in rungs if LADDER.index(word) >= LADDER.index(effort)]
    return harder[0] if harder else rungs[-1]


def wants_thinking(prompt: Prompt) -> bool:
    """Whether the prompt requests thinking."""
    return prompt.effort not in (None, "none")


def thinking_budget(effort: Effort, max_tokens: int) -> int | None:
    """Return the thinking budget within `max_tokens`, with room for the answer; None where none fits."""
    budget = max(MIN_THINKING_BUDGET, min(THINKING_BUDGETS.get(effort, 0), max_tokens * 3 // 4))
    return budget if effort != "none" and budget < max_tokens else None


def render_effort(prompt: Prompt, limits: ParameterLimits, forms: tuple[str, ...]) -> dict[str, Any]:
    """Return the keys of the effort in the model's form, if it is one of the provider's `forms`."""
    form = limits.effort_form
    if prompt.effort is None or form not in forms:
        return {}
    if form == "reasoning_enabled":
        return {"reasoning": {"enabled": wants_thinking(prompt)}}
    if form == "think":
        return {"think": wants_thinking(prompt)}
    word = effort_word(prompt.effort, limits.efforts)
    if word is None:
        return {}
    return {"reasoning_effort": word} if form == "reasoning_effort" else {"think": False if word == "none" else word}


def temperature(prompt: Prompt, limits: ParameterLimits, highest: float) -> float | None:
    """Return the temperature to send; None where the prompt has none or the model rejects it.

    A temperature above the provider's or the model's maximum is sent as the maximum.
    """
    if prompt.temperature is None or not limits.temperature:
        return None
    if limits.temperature_needs_effort_none:
        level = limits.default_effort if prompt.effort is None else effort_word(prompt.effort, limits.efforts)
        if level != "none":
            return None
    return min(prompt.temperature, highest if limits.max_temperature is None else limits.max_temperature)
