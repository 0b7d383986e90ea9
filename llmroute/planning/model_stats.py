"""Statistics of a model for the router, estimated from the snapshot in the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.circuits import TripReason, reset_command
from llmroute.routing.latency_estimate import NOTHING, Evidence, estimate, prior_of, success_probability
from llmroute.routing.plan import ModelStats

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.ledger.stats import Breaker, StatsSnapshot
    from llmroute.types import ModelConfig

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
    """Estimates the statistics of models, for prompts of one size and one effort.

    Args:
        snapshot: the statistics in the ledger; None if there is no ledger.
        fingerprint: returns a digest of the key and base URL of a provider; circuits are per fingerprint.
        paced: ignore circuits opened by rate limits, because the caller limits its own request rate.
    """

    def __init__(
        self, snapshot: StatsSnapshot | None, fingerprint: Callable[[str], str], *, paced: bool = False
    ) -> None:
        if paced and snapshot is not None:
            breakers = [one for one in snapshot.breakers if one.reason is not TripReason.RATE_LIMIT]
            snapshot = snapshot._replace(breakers=breakers)
        self._snapshot = snapshot
        self._fingerprint = fingerprint
        known = snapshot.typical_latencies if snapshot else {}
        self._calls_per_h = snapshot.calls_per_h if snapshot else 0.0
        self._priors = {metric: prior for metric, every in known.items() if (prior := prior_of(every)) is not None}
        self._defaults = {metric: estimate(NOTHING, prior, self._calls_per_h) for metric, prior in self._priors.items()}

    def of(self, model: ModelConfig) -> ModelStats:
        """Return the statistics of a model; defaults where there are none."""
        snapshot = self._snapshot
        if snapshot is None:
            return ModelStats()
        ok, calls = snapshot.reliabilities.get((model.provider, model.id), (0.0, 0.0))
        breaker = self._breaker(model)
        return ModelStats(
            ttft_s=self._estimate(model, "ttft"),
            s_per_token=self._estimate(model, "per_token"),
            success=success_probability(ok, calls),
            open_until_ms=breaker.open_until_ms if breaker else None,
            open_because=_because(breaker) if breaker else None,
            fails_open=breaker is None or breaker.kind in ("endpoint", "address"),
        )

    def _estimate(self, model: ModelConfig, metric: str) -> float | None:
        assert self._snapshot is not None
        evidence = self._snapshot.latencies.get((model.provider, model.id, metric))
        if evidence is None:
            return self._defaults.get(metric)
        return estimate(Evidence(*evidence), self._priors[metric], self._calls_per_h)

    def _breaker(self, model: ModelConfig) -> Breaker | None:
        """Return the open circuit of a model that half-opens last."""
        assert self._snapshot is not None
        mine = [
            breaker
            for breaker in self._snapshot.breakers
            if breaker.provider == model.provider
            and breaker.model in ("", model.id)
            and breaker.fingerprint == self._fingerprint(model.provider)
        ]
        return max(mine, key=lambda breaker: breaker.open_until_ms, default=None)


def _because(breaker: Breaker) -> str:
    description = _DESCRIPTIONS[breaker.reason]
    if breaker.reason is not TripReason.KEY_REFUSED:
        return description
    provider = breaker.provider
    return f"{description} (set another {provider.upper()}_API_KEY, or: {reset_command(provider)})"
