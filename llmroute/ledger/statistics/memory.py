"""All that calls have taught, as one value that observations are folded into, for a ledger that keeps it as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.ledger.statistics.breakers import Circuit, CircuitKey, key_of, tripped
from llmroute.ledger.statistics.decayed import (
    UNUSED_RETRIES,
    CachedInput,
    CheckCounts,
    OutputLengths,
    Reliability,
    RetryTokens,
    added,
)
from llmroute.ledger.statistics.latency import Latency, better_known, first
from llmroute.ledger.stats import StatsSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.ledger.stats import CheckResult, Observation, ProbeClaim

SHORTEST_S = 1e-6


class LatencyKey(NamedTuple):
    """What a latency is of."""

    provider: str
    model: str
    effort: str
    bucket: int
    metric: str


class LengthKey(NamedTuple):
    """What output lengths are of; an empty task is none."""

    provider: str
    model: str
    effort: str
    task: str


@dataclass(slots=True)
class Memory:
    """The statistics of calls by what they are about."""

    latencies: dict[LatencyKey, Latency] = field(default_factory=dict)
    lengths: dict[LengthKey, OutputLengths] = field(default_factory=dict)
    reliabilities: dict[tuple[str, str], Reliability] = field(default_factory=dict)
    circuits: dict[CircuitKey, Circuit] = field(default_factory=dict)
    retries: dict[str, RetryTokens] = field(default_factory=dict)
    checks: dict[tuple[str, str, str], CheckCounts] = field(default_factory=dict)
    caches: dict[tuple[str, str, str], CachedInput] = field(default_factory=dict)

    def learn(self, seen: Observation) -> None:
        """Fold one observation into the statistics."""
        about = (seen.provider, seen.model)
        for metric, seconds in (("ttft", seen.ttft_s), ("per_token", seen.per_token_s)):
            if seconds is not None:
                key = LatencyKey(*about, seen.effort, seen.bucket, metric)
                known, took_s = self.latencies.get(key), max(seconds, SHORTEST_S)
                self.latencies[key] = known.joined(took_s, seen.at_ms) if known else first(took_s, seen.at_ms)
        self.learn_output_length(seen)
        if seen.input_tokens is not None:
            of_task = (*about, seen.task)
            caches = self.caches.get(of_task, CachedInput(0.0, 0.0, seen.at_ms))
            self.caches[of_task] = caches.joined(seen.input_tokens, seen.cached_tokens, seen.at_ms)
        if seen.succeeded is not None:
            reliability = self.reliabilities.get(about, Reliability(0.0, 0.0, seen.at_ms))
            self.reliabilities[about] = reliability.joined(seen.at_ms, succeeded=seen.succeeded)
        if seen.succeeded:
            self._close(seen)
            retries = self.retries.get(seen.provider, UNUSED_RETRIES)
            self.retries[seen.provider] = retries.after_successes(1, seen.at_ms)
        else:
            self._learn_failure(seen)

    def learn_output_length(self, seen: Observation) -> None:
        """Take in the length of a complete answer, and nothing else of the observation."""
        if seen.output_tokens is not None:
            of_task = LengthKey(seen.provider, seen.model, seen.effort, seen.task)
            lengths = self.lengths.get(of_task, OutputLengths(0.0, 0.0, seen.at_ms))
            self.lengths[of_task] = lengths.joined(seen.output_tokens, seen.at_ms)

    def learn_check(self, result: CheckResult) -> None:
        """Fold the verdict of a caller's check into the statistics."""
        about = (result.provider, result.model, result.task)
        counts = self.checks.get(about, CheckCounts(0.0, 0.0, result.at_ms))
        self.checks[about] = counts.joined(result.at_ms, passed=result.passed)

    def add(self, other: Memory) -> None:
        """Add what another store has learned; its circuits and retries are those of the moment, and stay there."""
        for key, latency in other.latencies.items():
            self.latencies[key] = better_known(self.latencies.get(key, latency), latency)
        for length, lengths in other.lengths.items():
            self.lengths[length] = added(self.lengths[length], lengths) if length in self.lengths else lengths
        for about, calls in other.reliabilities.items():
            known = self.reliabilities.get(about)
            self.reliabilities[about] = added(known, calls) if known else calls
        for answers, counts in other.checks.items():
            self.checks[answers] = added(self.checks[answers], counts) if answers in self.checks else counts
        for of_task, caches in other.caches.items():
            self.caches[of_task] = added(self.caches[of_task], caches) if of_task in self.caches else caches

    def spend_retry(self, provider: str, now_ms: int) -> None:
        """Take one of a provider's retries."""
        self.retries[provider] = self.retries.get(provider, UNUSED_RETRIES).after_retry(now_ms)

    def retries_left(self, provider: str, now_ms: int) -> float:
        """Return how many retries a provider has left."""
        return self.retries.get(provider, UNUSED_RETRIES).left(now_ms)

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

    def snapshot(self, *, bucket: int, task: str, now_ms: int) -> StatsSnapshot:
        """Return what is known of calls of a size, decayed to now."""
        of_bucket = ((key, latency) for key, latency in self.latencies.items() if key.bucket == bucket)
        statuses = (circuit.status(key, now_ms) for key, circuit in self.circuits.items())
        return StatsSnapshot(
            evidence(of_bucket, now_ms),
            output_lengths(self.lengths.items(), task, now_ms),
            {about: reliability.decayed(now_ms) for about, reliability in self.reliabilities.items()},
            [breaker for breaker in statuses if breaker is not None],
            {about[:2]: counts.decayed(now_ms) for about, counts in self.checks.items() if about[2] == task},
            cached_inputs(self.caches.items(), task, now_ms),
        )

    def as_json(self) -> dict[str, list[list[Any]]]:
        """Return the statistics as lists of keys and values."""
        return {
            "latencies": [[*key, *value] for key, value in self.latencies.items()],
            "lengths": [[*length, *value] for length, value in self.lengths.items()],
            "reliabilities": [[*about, *value] for about, value in self.reliabilities.items()],
            "circuits": [[*circuit, *value] for circuit, value in self.circuits.items()],
            "retries": [[provider, *value] for provider, value in self.retries.items()],
            "checks": [[*answers, *value] for answers, value in self.checks.items()],
            "caches": [[*about, *value] for about, value in self.caches.items()],
        }

    @classmethod
    def of_json(cls, stored: dict[str, list[list[Any]]]) -> Memory:
        """Return the statistics that `as_json` wrote."""
        return cls(
            {LatencyKey(*row[:5]): Latency(*row[5:]) for row in stored.get("latencies", ())},
            {LengthKey(*row[:4]): OutputLengths(*row[4:]) for row in stored.get("lengths", ())},
            {(row[0], row[1]): Reliability(*row[2:]) for row in stored.get("reliabilities", ())},
            {CircuitKey(*row[:3]): Circuit(*row[3:]) for row in stored.get("circuits", ())},
            {row[0]: RetryTokens(*row[1:]) for row in stored.get("retries", ())},
            {(row[0], row[1], row[2]): CheckCounts(*row[3:]) for row in stored.get("checks", ())},
            {(row[0], row[1], row[2]): CachedInput(*row[3:]) for row in stored.get("caches", ())},
        )

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


def cached_inputs(
    known: Iterable[tuple[tuple[str, str, str], CachedInput]], task: str, now_ms: int
) -> dict[tuple[str, str], tuple[float, float, float, float]]:
    """Return input tokens and cached ones by (provider, model): of all tasks, then of `task`; decayed to now."""
    found: dict[tuple[str, str], tuple[float, float, float, float]] = {}
    for (provider, model, of), counts in known:
        tokens, cached = counts.decayed(now_ms)
        own = float(of == task)
        before = found.get((provider, model), (0.0, 0.0, 0.0, 0.0))
        found[provider, model] = (
            before[0] + tokens,
            before[1] + cached,
            before[2] + tokens * own,
            before[3] + cached * own,
        )
    return found


def output_lengths(
    lengths: Iterable[tuple[LengthKey, OutputLengths]], task: str, now_ms: int
) -> dict[tuple[str, str, str], tuple[float, float, float, float]]:
    """Return the answers and their tokens by (provider, model, effort): of all tasks, then of `task`; decayed to now.

    0 of an empty task.
    """
    found: dict[tuple[str, str, str], tuple[float, float, float, float]] = {}
    for key, known in lengths:
        answers, tokens = known.decayed(now_ms)
        of_task = float(key.task == task and task != "")
        before = found.get(key[:3], (0.0, 0.0, 0.0, 0.0))
        found[key[:3]] = (
            before[0] + answers,
            before[1] + tokens,
            before[2] + answers * of_task,
            before[3] + tokens * of_task,
        )
    return found


def evidence(
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
