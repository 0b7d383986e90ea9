"""Expected quality and speed of models that have no rating or have not been called.  Pure."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from llmroute.types import PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llmroute.types import ModelConfig

QualityBasis = Literal["rated", "of its predecessor", "by its price", "a guess"]

# An unrated model is rated a little above the model that it follows.  Measured on 137 pairs of the Arena leaderboard,
# 2023 to 2026: mean error 4.1 points, 2.4 from 80 points up.
GAIN_OF_A_SUCCESSOR = 0.12
# Quality by the price of a million output tokens: fitted on rated models (error 5.6 points), less ten points because
# small open models are rated less often than large ones.
QUALITY_AT_ONE_USD = 80 - 10
QUALITY_PER_E_FOLD = 3.4
LEAST_BY_PRICE, MOST_BY_PRICE = 40, 85
# No rating, no predecessor and no price, as of most models on this machine.
UNKNOWN_QUALITY = 50

# The part of the output tokens that is written after the first one where reasoning is hidden and comes before it.
VISIBLE_SHARE = 0.2
_LEVELS = {"minimal": "low"}


class Quality(NamedTuple):
    """0 to 100, and what it rests on: `rated` is the catalogue's rating or the user's own figure."""

    value: int
    basis: QualityBasis


class Speed(NamedTuple):
    """Seconds to the first token of an answer, and seconds for each output token after that."""

    first_token_s: float
    token_s: float


def expected_quality(model: ModelConfig, find: Callable[[str], ModelConfig | None]) -> Quality:
    """Return the quality of a model, from the models it follows or from its price where it has no rating."""
    if model.quality is not None:
        return Quality(model.quality, "rated")
    generations, ancestor = 0, model
    seen = {model.name}
    while ancestor.follows is not None and ancestor.follows not in seen:
        seen.add(ancestor.follows)
        before = find(ancestor.follows)
        if before is None:
            break
        generations, ancestor = generations + 1, before
        if ancestor.quality is not None:
            value = 100 - (100 - ancestor.quality) * (1 - GAIN_OF_A_SUCCESSOR) ** generations
            return Quality(round(value), "of its predecessor")
    return _by_price(model)


def _by_price(model: ModelConfig) -> Quality:
    output = model.prices[-1].output if model.prices else None
    if not output:
        return Quality(UNKNOWN_QUALITY, "a guess")
    usd_per_million = output * 10**6 / PICO_PER_USD
    value = QUALITY_AT_ONE_USD + QUALITY_PER_E_FOLD * log(usd_per_million)
    return Quality(round(min(max(value, LEAST_BY_PRICE), MOST_BY_PRICE)), "by its price")


def expected_effort(model: ModelConfig, asked: str | None) -> str:
    """Return the reasoning effort of a call: the caller's, else the model's own; `none` where it does not reason."""
    if "reasoning" not in model.capabilities:
        return "none"
    if asked is not None and (asked in model.parameters.efforts or not model.parameters.efforts):
        return asked
    return model.parameters.default_effort or "medium"


def expected_speed(model: ModelConfig, effort: str, speeds: Mapping[str, Any] | None) -> Speed | None:
    """Return the speed of the model's class, None for a provider of which the catalogue has no speeds.

    `effort` is as `expected_effort` returns it, `speeds` the provider's in the catalogue.
    """
    if not speeds:
        return None
    level = _LEVELS.get(effort, effort)
    per_s = speeds["tokens_per_s"][model.size]
    share = VISIBLE_SHARE if speeds.get("hidden_reasoning") and level not in ("none", "low") else 1.0
    return Speed(speeds["first_token_s"][level], share / per_s)
