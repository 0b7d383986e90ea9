"""The statistics of calls as one value that observations are folded into; ledgers store it as JSON or in tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import add
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from llmroute.ledger.statistics.breakers import Circuit, CircuitKey, key_of, tripped
from llmroute.ledger.statistics.decayed import (
    CachedInput,
    CheckCounts,
    Counts,
    LengthKey,
    ModelKey,
    OutputLengths,
    ProviderKey,
    Reliability,
    TaskKey,
    added,
    decayed,
    joined,
)
from llmroute.ledger.statistics.latency import Latency, LatencyKey, better_known, first
from llmroute.ledger.statistics.retry_tokens import UNUSED_RETRIES, RetryTokens
from llmroute.ledger.statistics.values import CheckResult, StatsSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from llmroute.ledger.statistics.values import Observation, ProbeClaim

Key = TypeVar("Key")

SHORTEST_S = 1e-6


@dataclass(slots=True)
class Memory:
    """The statistics of calls by their subject, with the rules by which they change."""

    latencies: MutableMapping[LatencyKey, Latency] = field(default_factory=dict)
    lengths: MutableMapping[LengthKey, OutputLengths] = field(default_factory=dict)
    reliabilities: MutableMapping[ModelKey, Reliability] = field(default_factory=dict)
    circuits: MutableMapping[CircuitKey, Circuit] = field(default_factory=dict)
    retries: MutableMapping[ProviderKey, RetryTokens] = field(default_factory=dict)
    checks: MutableMapping[TaskKey, CheckCounts] = field(default_factory=dict)
    caches: MutableMapping[TaskKey, CachedInput] = field(default_factory=dict)

    def learn(self, observation: Observation | CheckResult) -> None:
        """Fold an observation, or the verdict of a caller's check, into the statistics."""
        if isinstance(observation, CheckResult):
            self._learn_check(observation)
        else:
            self._learn_call(observation)

    def learn_output_length(self, seen: Observation) -> None:
        """Fold in the length of a complete answer, and nothing else of the observation."""
        if seen.output_tokens is not None:
            of_task = LengthKey(seen.provider, seen.model, seen.effort, seen.task)
            lengths = self.lengths.get(of_task, OutputLengths(0.0, 0.0, seen.at_ms))
            self.lengths[of_task] = joined(lengths, 1, seen.output_tokens, seen.at_ms)

    def add(self, other: Memory) -> None:
        """Add what another store has learned; its circuits and retries are those of the moment, and stay there."""
        for key, latency in other.latencies.items():
            self.latencies[key] = better_known(self.latencies.get(key, latency), latency)
        _add(self.lengths, other.lengths)
        _add(self.reliabilities, other.reliabilities)
        _add(self.checks, other.checks)
        _add(self.caches, other.caches)

    def spend_retry(self, provider: str, now_ms: int) -> None:
        """Take one of a provider's retries."""
        key = ProviderKey(provider)
        self.retries[key] = self.retries.get(key, UNUSED_RETRIES).after_retry(now_ms)

    def retries_left(self, provider: str, now_ms: int) -> float:
        """Return how many retries a provider has left."""
        return self.retries.get(ProviderKey(provider), UNUSED_RETRIES).left(now_ms)

    def reset(self, provider: str) -> int:
        """Close every circuit of a provider; return how many were not closed."""
        closed = [key for key in self.circuits if key.provider == provider]
        for key in closed:
            del self.circuits[key]
        return len(closed)

    def half_open(self, provider: str, model: str, claim: ProbeClaim) -> list[CircuitKey] | None:
        """Return the circuits whose probe a caller must take before it sends; None if it may not send."""
        found = []
        for key, circuit in self.circuits.items():
            covers = key.covers(provider, model, claim.tier)
            if covers and circuit.trips > 0 and circuit.fingerprint == claim.fingerprint:
                admits = circuit.admits(key, claim)
                if admits is False:
                    return None
                if admits is None:
                    found.append(key)
        return found

    def claim_probe(self, provider: str, model: str, claim: ProbeClaim) -> bool:
        """Claim the probe of each half-open circuit of a model; return False, without a claim, if none may be sent."""
        half_open = self.half_open(provider, model, claim)
        if half_open is None:
            return False
        for key in half_open:
            self.circuits[key] = self.circuits[key]._replace(probe_owner=claim.owner, probe_until_ms=claim.until_ms)
        return True

    def snapshot(self, *, bucket: int, task: str, now_ms: int) -> StatsSnapshot:
        """Return the statistics of calls of a size, decayed to now."""
        of_bucket = ((key, latency) for key, latency in self.latencies.items() if key.bucket == bucket)
        statuses = (circuit.status(key, now_ms) for key, circuit in self.circuits.items())
        return StatsSnapshot(
            _evidence(of_bucket, now_ms),
            _by_model(self.lengths.items(), task or None, now_ms),
            {about: decayed(calls, now_ms) for about, calls in self.reliabilities.items()},
            [breaker for breaker in statuses if breaker is not None],
            {about[:2]: decayed(counts, now_ms) for about, counts in self.checks.items() if about.task == task},
            _by_model(self.caches.items(), task, now_ms),
        )

    def as_json(self) -> dict[str, list[list[Any]]]:
        """Return the statistics as lists of keys and values."""
        return {name: [[*key, *value] for key, value in getattr(self, name).items()] for name in KINDS}

    @classmethod
    def of_json(cls, stored: dict[str, list[list[Any]]]) -> Memory:
        """Return the statistics that `as_json` wrote."""
        found: dict[str, dict[Any, Any]] = {}
        for name, (key, value) in KINDS.items():
            split = len(key._fields)
            found[name] = {key._make(row[:split]): value._make(row[split:]) for row in stored.get(name, ())}
        return cls(**found)

    def _learn_call(self, seen: Observation) -> None:
        about, of_task = ModelKey(seen.provider, seen.model), TaskKey(seen.provider, seen.model, seen.task)
        for metric, seconds in (("ttft", seen.ttft_s), ("per_token", seen.per_token_s)):
            if seconds is not None:
                key = LatencyKey(*about, seen.effort, seen.bucket, metric)
                known, took_s = self.latencies.get(key), max(seconds, SHORTEST_S)
                self.latencies[key] = known.joined(took_s, seen.at_ms) if known else first(took_s, seen.at_ms)
        self.learn_output_length(seen)
        if seen.input_tokens is not None:
            cached = min(seen.cached_tokens, seen.input_tokens)
            caches = self.caches.get(of_task, CachedInput(0.0, 0.0, seen.at_ms))
            self.caches[of_task] = joined(caches, seen.input_tokens, cached, seen.at_ms)
        if seen.succeeded is not None:
            reliability = self.reliabilities.get(about, Reliability(0.0, 0.0, seen.at_ms))
            self.reliabilities[about] = joined(reliability, seen.succeeded, 1, seen.at_ms)
        if seen.succeeded:
            self._close(seen)
            self._earn_retry(seen)
        else:
            self._learn_failure(seen)

    def _learn_check(self, result: CheckResult) -> None:
        about = TaskKey(result.provider, result.model, result.task)
        counts = self.checks.get(about, CheckCounts(0.0, 0.0, result.at_ms))
        self.checks[about] = joined(counts, result.passed, 1, max(counts.at_ms, result.at_ms))

    def _earn_retry(self, seen: Observation) -> None:
        key = ProviderKey(seen.provider)
        before = self.retries.get(key, UNUSED_RETRIES)
        after = before.after_success(seen.at_ms)
        if after != before:
            self.retries[key] = after

    def _learn_failure(self, seen: Observation) -> None:
        if seen.answered:
            # A response of any kind proves that the address can be reached.
            self.circuits.pop(CircuitKey("address", seen.provider, ""), None)
        for key, circuit in self.circuits.items():
            if key.covers(seen.provider, seen.model, seen.tier):
                self.circuits[key] = circuit._replace(probe_owner=None, probe_until_ms=None)
        if seen.trip is not None:
            key = key_of(seen, seen.trip)
            self.circuits[key] = tripped(self.circuits.get(key), seen, seen.trip)

    def _close(self, seen: Observation) -> None:
        for key in [key for key in self.circuits if key.covers(seen.provider, seen.model, seen.tier)]:
            del self.circuits[key]


KINDS: Final[dict[str, tuple[type[NamedTuple], type[NamedTuple]]]] = {
    "latencies": (LatencyKey, Latency),
    "lengths": (LengthKey, OutputLengths),
    "reliabilities": (ModelKey, Reliability),
    "circuits": (CircuitKey, Circuit),
    "retries": (ProviderKey, RetryTokens),
    "checks": (TaskKey, CheckCounts),
    "caches": (TaskKey, CachedInput),
}
"""The keys and the values of each field of a Memory."""


def _add(known: MutableMapping[Key, Counts], more: MutableMapping[Key, Counts]) -> None:
    for key, counts in more.items():
        known[key] = added(known[key], counts) if key in known else counts


def _by_model(known: Iterable[tuple[LengthKey | TaskKey, Counts]], task: str | None, now_ms: int) -> dict[Any, Any]:
    """Return both counts by the key without its task: of all tasks, then of `task`; decayed to now."""
    found: dict[Any, Any] = {}
    for key, counts in known:
        sums = decayed(counts, now_ms)
        own = sums if key.task == task else (0.0, 0.0)
        found[key[:-1]] = tuple(map(add, found.get(key[:-1], (0.0,) * 4), sums + own))
    return found


def _evidence(
    latencies: Iterable[tuple[LatencyKey, Latency]], now_ms: int
) -> dict[tuple[str, str, str, str], tuple[float, float, float, float, float, float]]:
    """Return the latencies of a size bucket by (provider, model, effort, metric), decayed to now."""
    known: dict[str, list[tuple[LatencyKey, Latency]]] = {}
    for key, latency in latencies:
        known.setdefault(key.metric, []).append((key, latency))
    return {
        (key.provider, key.model, key.effort, metric): latency.evidence(now_ms, len(every))
        for metric, every in known.items()
        for key, latency in every
    }
