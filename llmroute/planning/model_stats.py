"""From what the ledger remembers to what the router weighs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.circuits import TripReason, reset_command
from llmroute.routing.latency_estimate import NOTHING, Evidence, estimate, prior_of, success_probability
from llmroute.routing.plan import ModelStats

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.ledger.stats import Breaker, StatsSnapshot
    from llmroute.types import ModelConfig


class Memory:
    """What this machine has learned of each model, for prompts of one size and one effort.

    `fingerprint` tells one key and address of a provider from another: what rests because of one does not because of
    the next.  With `paced` nothing rests because it has had too many calls: somebody sees to it that it has fewer.
    """

    def __init__(
        self, recollection: StatsSnapshot | None, fingerprint: Callable[[str], str], *, paced: bool = False
    ) -> None:
        if paced and recollection is not None:
            heeded = [one for one in recollection.breakers if one.reason is not TripReason.RATE_LIMIT]
            recollection = recollection._replace(breakers=heeded)
        self._recollection = recollection
        self._fingerprint = fingerprint
        known = recollection.typical_latencies if recollection else {}
        self._calls_per_h = recollection.calls_per_h if recollection else 0.0
        self._priors = {metric: prior for metric, every in known.items() if (prior := prior_of(every)) is not None}
        # What is expected of every model that nobody has called.
        self._unseen = {metric: estimate(NOTHING, prior, self._calls_per_h) for metric, prior in self._priors.items()}

    def learned(self, model: ModelConfig) -> ModelStats:
        """Return what is known of a model."""
        told = self._recollection
        if told is None:
            return ModelStats()
        ok, calls = told.reliabilities.get((model.provider, model.id), (0.0, 0.0))
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
        assert self._recollection is not None
        evidence = self._recollection.latencies.get((model.provider, model.id, metric))
        if evidence is None:
            return self._unseen.get(metric)
        return estimate(Evidence(*evidence), self._priors[metric], self._calls_per_h)

    def _breaker(self, model: ModelConfig) -> Breaker | None:
        """Return the breaker that keeps a model out longest."""
        assert self._recollection is not None
        mine = [
            breaker
            for breaker in self._recollection.breakers
            if breaker.provider == model.provider
            and breaker.model in ("", model.id)
            and breaker.fingerprint == self._fingerprint(model.provider)
        ]
        return max(mine, key=lambda breaker: breaker.open_until_ms, default=None)


def _because(breaker: Breaker) -> str:
    """Return in words why something is left alone, and what ends it where time does not."""
    if breaker.reason is not TripReason.KEY_REFUSED:
        return breaker.reason.value
    provider = breaker.provider
    return f"{breaker.reason.value} (set another {provider.upper()}_API_KEY, or: {reset_command(provider)})"
