"""The reasoning effort that a model runs at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.providers.rendering.effort import effort_word

if TYPE_CHECKING:
    from llmroute.types import Effort, ModelConfig


def expected_effort(model: ModelConfig, requested: Effort | None) -> str:
    """Return the effort that the model runs at: the model's word for the requested one, else its default.

    `none` for a model without reasoning.  The effort is left out of a request to a model that supports none.
    """
    if "reasoning" not in model.capabilities:
        return "none"
    limits = model.parameters
    word = None if requested is None else effort_word(requested, limits.efforts)
    return word or limits.default_effort or "medium"
