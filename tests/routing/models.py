"""Candidates, constraint_sets and plans made to measure, and the strategies that make them at random."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from llmroute.routing.output_length import OutputLength
from llmroute.routing.plan import UNRATED, Candidate, ModelStats, RankedCandidate, RoutingConstraints
from llmroute.routing.token_estimate import PromptSize
from llmroute.types import ModelConfig

PROVIDERS = ("openai", "anthropic", "mistral", "ollama", "together")

SIZE = PromptSize(expected_input=100, least_input=0, worst_input=1000, answer_room=500)


def model(name: str = "openai/m", **facts: Any) -> ModelConfig:
    provider, _, model_id = name.partition("/")
    return ModelConfig(provider=provider, id=model_id, api_name=model_id, **facts)


def candidate(  # noqa: PLR0913 (each is a fact that the router weighs)
    name: str = "openai/m",
    *,
    cost: int | None = 10**9,
    worst: int | None = None,
    quality: int | None = 80,
    window: int | None = 100_000,
    capabilities: frozenset[str] = frozenset(),
    typical_s: float = 1.0,
    tokens: int = 500,
    local: bool = False,
    stats: ModelStats | None = None,
    unusable: str | None = None,
    last_resort: bool = False,
) -> Candidate:
    return Candidate(
        model=model(name, context_window=window, quality=quality, capabilities=capabilities),
        price=None,
        expected_cost_picousd=cost,
        worst_cost_picousd=cost if worst is None else worst,
        local=local,
        typical_s=typical_s,
        quality=UNRATED if quality is None else quality,
        output=OutputLength(tokens, 0),
        typical_cost_picousd=cost,
        stats=stats or ModelStats(),
        unusable=unusable,
        last_resort=last_resort,
    )


def constraints(strategy: str = "balanced", **values: Any) -> RoutingConstraints:
    """Constraints for 100 tokens and a typical answer; `max_tokens` may be another."""
    size = {name: values.pop(name) for name in ("max_tokens",) if name in values}
    return RoutingConstraints(strategy, SIZE._replace(**size), **values)


def entry(name: str = "openai/m", **facts: Any) -> RankedCandidate:
    return RankedCandidate(candidate(name, **facts), expected_latency_ms=1000, score=0.0, terms={})


CAPABILITY_SETS = st.frozensets(st.sampled_from(["code", "json", "vision"]))


@st.composite
def candidates(draw: st.DrawFn, *, usable: bool = False) -> list[Candidate]:
    """A pool of differently named candidates."""
    names = draw(
        st.lists(st.tuples(st.sampled_from(PROVIDERS), st.sampled_from("abcdef")), min_size=1, max_size=9, unique=True)
    )
    never = st.none()
    return [
        candidate(
            f"{provider}/{letter}",
            cost=draw(st.none() | st.sampled_from([0, 1, 10**6]) | st.integers(0, 10**13)),
            quality=draw(st.none() | st.integers(0, 100)),
            window=None if usable else draw(st.none() | st.integers(100, 10_000)),
            capabilities=draw(CAPABILITY_SETS),
            typical_s=draw(st.sampled_from([0.9, 1.0, 9.5])),
            tokens=draw(st.integers(1, 50_000)),
            local=provider == "ollama",
            stats=ModelStats(
                ttft_s=draw(st.none() | st.floats(0.05, 60)),
                s_per_token=draw(st.none() | st.floats(0, 0.1)),
                success=draw(st.floats(0.05, 1.0)),
                open_until_ms=draw(never if usable else st.none() | st.integers(0, 2000)),
            ),
            unusable=draw(never if usable else st.sampled_from([None, None, None, "no key"])),
            last_resort=draw(st.booleans()) if provider == "together" and not usable else False,
        )
        for provider, letter in names
    ]


@st.composite
def constraint_sets(draw: st.DrawFn, strategies: tuple[str, ...]) -> RoutingConstraints:
    """What a caller may want."""
    return constraints(
        draw(st.sampled_from(strategies)),
        capabilities=draw(CAPABILITY_SETS),
        local_only=draw(st.booleans()),
        prefer_local=draw(st.booleans()),
        max_latency_ms=draw(st.none() | st.integers(1, 60_000)),
        min_quality=draw(st.integers(0, 100)),
        budget_picousd=draw(st.none() | st.integers(0, 10**13)),
        default_provider=draw(st.none() | st.sampled_from(PROVIDERS)),
        now_ms=1000,
    )
