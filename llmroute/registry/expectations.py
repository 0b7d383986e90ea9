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
SUCCESSOR_GAIN = 0.12
# Quality by the price of a million output tokens: fitted on rated models (error 5.6 points), less ten points because
# small open models are rated less often than large ones.
QUALITY_AT_ONE_USD = 80 - 10
QUALITY_PER_E_FOLD = 3.4
MIN_BY_PRICE, MAX_BY_PRICE = 40, 85
# Neither rating, predecessor nor price, as for most local models.
UNKNOWN_QUALITY = 50

# The share of output tokens that follow the first visible one when hidden reasoning precedes it.
VISIBLE_SHARE = 0.2
_LEVELS = {"minimal": "low"}


class Quality(NamedTuple):
    """Quality, 0 to 100, and its basis: `rated` is the catalogue's rating or the user's own value."""

    value: int
    basis: QualityBasis


class Speed(NamedTuple):
    """Seconds to the first token, and seconds per further output token."""

    first_token_s: float
    token_s: float


def expected_quality(model: ModelConfig, get: Callable[[str], ModelConfig | None]) -> Quality:
    """Return the rating of a model, or an estimate from its predecessors or its price."""
    if model.quality is not None:
        return Quality(model.quality, "rated")
    generations, ancestor = 0, model
    seen = {model.name}
    while ancestor.follows is not None and ancestor.follows not in seen:
        seen.add(ancestor.follows)
        predecessor = get(ancestor.follows)
        if predecessor is None:
            break
        generations, ancestor = generations + 1, predecessor
        if ancestor.quality is not None:
            value = 100 - (100 - ancestor.quality) * (1 - SUCCESSOR_GAIN) ** generations
            return Quality(round(value), "of its predecessor")
    return _by_price(model)


def _by_price(model: ModelConfig) -> Quality:
    output = model.prices[-1].output if model.prices else None
    if not output:
        return Quality(UNKNOWN_QUALITY, "a guess")
    usd_per_million = output * 10**6 / PICO_PER_USD
    value = QUALITY_AT_ONE_USD + QUALITY_PER_E_FOLD * log(usd_per_million)
    return Quality(round(min(max(value, MIN_BY_PRICE), MAX_BY_PRICE)), "by its price")


def expected_speed(model: ModelConfig, effort: str, speeds: Mapping[str, Any] | None) -> Speed | None:
    """Return the speed of models of this size, None where the catalogue has no speeds of the provider.

    `effort` is the one that the model runs at, `speeds` the provider's table in the catalogue.
    """
    if not speeds:
        return None
    level = _LEVELS.get(effort, effort)
    per_s = speeds["tokens_per_s"][model.size]
    share = VISIBLE_SHARE if speeds.get("hidden_reasoning") and level not in ("none", "low") else 1.0
    return Speed(speeds["first_token_s"][level], share / per_s)
