"""Statistics of calls as values: the observation of an attempt, and the snapshot that the planner reads."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, NamedTuple

from llmroute.circuits import HOUR_MS

if TYPE_CHECKING:
    from llmroute.circuits import BreakerRule, TripReason

RELIABILITY_HALF_LIFE_MS = 6 * HOUR_MS


class Observation(NamedTuple):
    """The observation of one attempt.  Times are seconds; None is no observation of the kind.

    `effort` is the one that the model ran at.
    """

    provider: str
    model: str
    effort: str
    bucket: int
    at_ms: int
    fingerprint: str
    succeeded: bool | None = None
    ttft_s: float | None = None
    per_token_s: float | None = None
    trip: BreakerRule | None = None
    answered: bool = False
    task: str = ""
    tier: str = ""
    """The requested service tier; empty for the standard one."""
    input_tokens: int | None = None
    """Of an answer whose usage the provider reported; `cached_tokens` of them were read from a prompt cache."""
    cached_tokens: int = 0
    output_tokens: int | None = None
    """Of a complete answer: one that ended by itself, and whose usage the provider reported."""


class CheckResult(NamedTuple):
    """The verdict of the caller's check on one answer to a task, "" without one."""

    provider: str
    model: str
    task: str
    at_ms: int
    passed: bool


class StatsSnapshot(NamedTuple):
    """The statistics as of now.

    Latencies are what `Latency.evidence` says, by (provider, model, effort, metric).  Output lengths, by (provider,
    model, effort), are complete answers and their tokens, of all tasks and of the requested one.  An empty
    effort is the model's default.  Reliabilities are (succeeded, called).
    """

    latencies: dict[tuple[str, str, str, str], tuple[float, float, float, float, float, float]]
    output_lengths: dict[tuple[str, str, str], tuple[float, float, float, float]]
    reliabilities: dict[tuple[str, str], tuple[float, float]]
    breakers: list[Breaker]
    check_results: dict[tuple[str, str], tuple[float, float]] = {}  # noqa: RUF012 (never changed)
    """Answers to the task that passed the caller's check, and answers that were checked, by (provider, model)."""
    cached_inputs: dict[tuple[str, str], tuple[float, float, float, float]] = {}  # noqa: RUF012 (never changed)
    """Input tokens and those read from prompt caches by (provider, model): of all tasks, then of the task."""

    @property
    def calls_per_h(self) -> float:
        """How many calls an hour there were lately, of all models."""
        return calls_per_h(sum(calls for _, calls in self.reliabilities.values()))


class Breaker(NamedTuple):
    """A circuit that is open until `open_until_ms`; after that one caller probes it.

    `kind` is what `circuits.kind_at` returns.
    """

    kind: str
    provider: str
    model: str
    reason: TripReason
    open_until_ms: int
    fingerprint: str | None
    probing: bool


class ProbeClaim(NamedTuple):
    """A claim to send the probe request of a half-open circuit.

    It expires at `until_ms`, so a crashed process does not block the circuit.  With `awake` the caller also sends
    requests through an open circuit, as it had planned to or has sent one already.  `tier` as in `Observation`.
    """

    owner: str
    now_ms: int
    until_ms: int
    fingerprint: str = ""
    awake: bool = False
    tier: str = ""


def calls_per_h(calls: float) -> float:
    """Return how many calls an hour make up a decayed count."""
    return calls * log(2) * HOUR_MS / RELIABILITY_HALF_LIFE_MS
