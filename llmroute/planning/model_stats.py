"""Statistics of a model for the router, estimated from the snapshot in the ledger."""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING, Literal

from llmroute.circuits import TripReason, kinds_at, reset_command
from llmroute.planning.effort import expected_effort
from llmroute.routing.check_results import CheckResults
from llmroute.routing.latency_estimate import (
    Evidence,
    estimate,
    never_called,
    provider_factor,
    success_probability,
)
from llmroute.routing.output_length import Answers
from llmroute.routing.plan import ModelStats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmroute.ledger.statistics.values import Breaker, StatsSnapshot
    from llmroute.registry import ModelRegistry
    from llmroute.registry.expectations import Speed
    from llmroute.types import Effort, ModelConfig

Metric = Literal["ttft", "per_token"]

SHRINKING_TOKENS = 20_000
"""The weight, in input tokens, of the share that is assumed before any was observed."""

_DESCRIPTIONS = {
    TripReason.RATE_LIMIT: "rate limited",
    TripReason.NO_CREDIT: "no credit",
    TripReason.KEY_REFUSED: "key rejected",
    TripReason.MODEL_GONE: "model not found",
    TripReason.FAILURES: "repeated failures",
    TripReason.TIMEOUTS: "timed out repeatedly",
    TripReason.UNREACHABLE: "unreachable",
    TripReason.BROKEN_ANSWERS: "repeated invalid responses",
}


class StatsEstimator:
    """Estimates the statistics of models, for prompts of one size, one effort and one task.

    Args:
        snapshot: the statistics in the ledger; None if there is no ledger.
        fingerprint: returns a digest of the key and base URL of a provider; circuits are per fingerprint.
        registry: the catalogue, which expects a speed of models that have not been called.
        effort: the effort that the caller requests, None for each model's default.
        tier: the service tier of the request; empty for the standard one.
        difficulty: how hard the task has been for all models that the caller's checks judged.
        paced: ignore circuits opened by rate limits, because the caller limits its own request rate.
    """

    def __init__(  # noqa: PLR0913 (by keyword)
        self,
        snapshot: StatsSnapshot | None,
        fingerprint: Callable[[str], str],
        registry: ModelRegistry,
        *,
        effort: Effort | None = None,
        tier: str = "",
        paced: bool = False,
        difficulty: float = 0.0,
    ) -> None:
        if paced and snapshot is not None:
            breakers = [one for one in snapshot.breakers if one.reason is not TripReason.RATE_LIMIT]
            snapshot = snapshot._replace(breakers=breakers)
        self._snapshot = snapshot
        self._fingerprint = fingerprint
        self._registry = registry
        self._effort = effort
        self._tier = tier
        self._difficulty = difficulty
        self._calls_per_h = snapshot.calls_per_h if snapshot else 0.0
        self._factors: dict[tuple[str, Metric], float] = {}

    def of(self, model: ModelConfig) -> ModelStats:
        """Return the statistics of a model at the effort that it runs at; those of its class where there are none."""
        effort = expected_effort(model, self._effort)
        speed = self._class_speed(model.provider, model.id, effort)
        snapshot = self._snapshot
        if snapshot is None:
            if speed is None:
                return ModelStats()
            return ModelStats(ttft_s=never_called(speed.first_token_s), s_per_token=never_called(speed.token_s))
        about = (model.provider, model.id)
        ok, calls = snapshot.reliabilities.get(about, (0.0, 0.0))
        breaker = self._breaker(model)
        efforts = self._efforts(model, effort)
        lengths = [snapshot.output_lengths.get((*about, one), (0.0, 0.0, 0.0, 0.0)) for one in efforts]
        answers, tokens, task_answers, task_tokens = map(sum, zip(*lengths, strict=True))
        return ModelStats(
            ttft_s=self._estimate(model, efforts, "ttft", speed and speed.first_token_s),
            s_per_token=self._estimate(model, efforts, "per_token", speed and speed.token_s),
            success=success_probability(ok, calls),
            open_until_ms=breaker.open_until_ms if breaker else None,
            open_because=_because(breaker) if breaker else None,
            fails_open=breaker is None or breaker.kind not in ("key", "model"),
            called=calls > 0,
            answers=Answers(answers, tokens),
            task_answers=Answers(task_answers, task_tokens),
            cached_share=cached_share(*snapshot.cached_inputs.get(about, (0.0, 0.0, 0.0, 0.0))),
            check_results=CheckResults(*snapshot.check_results.get(about, (0.0, 0.0)), self._difficulty),
        )

    def _class_speed(self, provider: str, model: str, effort: str) -> Speed | None:
        """Return the speed that the catalogue expects of a model; at its default effort where that is empty."""
        found = self._registry.get_model_config(provider, model)
        return self._registry.expected_speed(found, effort or expected_effort(found, None))

    @staticmethod
    def _efforts(model: ModelConfig, effort: str) -> tuple[str, ...]:
        """Return under which efforts an effort is stored: an older ledger has none for the default of a model."""
        return (effort, "") if effort == expected_effort(model, None) else (effort,)

    def _estimate(
        self, model: ModelConfig, efforts: Sequence[str], metric: Metric, of_class: float | None
    ) -> float | None:
        assert self._snapshot is not None
        stored = (self._snapshot.latencies.get((model.provider, model.id, effort, metric)) for effort in efforts)
        evidence = next((one for one in stored if one is not None), None)
        if of_class is None:
            return None if evidence is None else estimate(Evidence(*evidence), exp(evidence[1]), self._calls_per_h)
        prior = of_class * self._provider_factor(model.provider, metric)
        if evidence is None:
            return never_called(prior)
        return estimate(Evidence(*evidence), prior, self._calls_per_h)

    def _provider_factor(self, provider: str, metric: Metric) -> float:
        """Return how a provider's models that were called compare with their classes."""
        if (provider, metric) not in self._factors:
            assert self._snapshot is not None
            observed = []
            for (of, model, effort, measured), evidence in self._snapshot.latencies.items():
                if of == provider and measured == metric and (speed := self._class_speed(of, model, effort)):
                    of_class = speed.first_token_s if metric == "ttft" else speed.token_s
                    observed.append((Evidence(*evidence), of_class))
            self._factors[provider, metric] = provider_factor(observed)
        return self._factors[provider, metric]

    def _breaker(self, model: ModelConfig) -> Breaker | None:
        """Return the open circuit of a model that half-opens last."""
        assert self._snapshot is not None
        mine = [
            breaker
            for breaker in self._snapshot.breakers
            if breaker.provider == model.provider
            and breaker.model in ("", model.id)
            and breaker.kind in kinds_at(self._tier)
            and breaker.fingerprint == self._fingerprint(model.provider)
        ]
        return max(mine, key=lambda breaker: breaker.open_until_ms, default=None)


def cached_share(tokens: float, cached: float, task_tokens: float, task_cached: float) -> float:
    """Return the expected share of cached input: that of the task, shrunk to that of the model, shrunk to none."""
    of_model = cached / (tokens + SHRINKING_TOKENS)
    return (task_cached + SHRINKING_TOKENS * of_model) / (task_tokens + SHRINKING_TOKENS)


def _because(breaker: Breaker) -> str:
    description = _DESCRIPTIONS[breaker.reason]
    if breaker.reason is not TripReason.KEY_REFUSED:
        return description
    provider = breaker.provider
    return f"{description} (set another {provider.upper()}_API_KEY, or: {reset_command(provider)})"
