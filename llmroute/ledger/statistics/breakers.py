"""The rules of circuit breakers: closed, open and half-open states.

Times are UTC milliseconds; a clock that jumps back counts as one that stands still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.circuits import COUNTING_WINDOW_MS, FAILURES_TO_OPEN, FOR_GOOD_MS, HOUR_MS, TripReason, kind_at, kinds_at
from llmroute.ledger.statistics.values import Breaker

if TYPE_CHECKING:
    from llmroute.circuits import BreakerRule
    from llmroute.ledger.statistics.values import Observation, ProbeClaim

# No circuit stays open for longer than this: a later end was written while the clock was ahead, and is ignored.
LONGEST_OPEN_MS, LONGEST_OPEN_OF_MODEL_MS = HOUR_MS, 24 * HOUR_MS
LONGEST_PROBE_MS = 25 * HOUR_MS


class CircuitKey(NamedTuple):
    """The scope of a circuit.  `kind` is as in `kind_at`; `model` is empty where it is a whole provider."""

    kind: str
    provider: str
    model: str

    def covers(self, provider: str, model: str, tier: str) -> bool:
        """Whether the circuit is one of the calls of a model at a tier."""
        return self.provider == provider and self.model in (model, "") and self.kind in kinds_at(tier)


class Circuit(NamedTuple):
    """The failures of a circuit, `trips` of which opened it without a success between, and the claim of its probe."""

    reason: str
    failures: int
    since_ms: int
    trips: int
    open_until_ms: int
    fingerprint: str | None
    probe_owner: str | None = None
    probe_until_ms: int | None = None

    def is_open(self, kind: str, now_ms: int) -> bool:
        """Whether nothing is sent through it."""
        longest_ms = LONGEST_OPEN_OF_MODEL_MS if kind == "model" else LONGEST_OPEN_MS
        if self.reason == TripReason.KEY_REFUSED:
            longest_ms = FOR_GOOD_MS
        return 0 < self.open_until_ms - now_ms <= longest_ms

    def is_probed(self, now_ms: int) -> bool:
        """Whether a claim of its probe holds."""
        return self.probe_until_ms is not None and 0 < self.probe_until_ms - now_ms <= LONGEST_PROBE_MS

    def status(self, key: CircuitKey, now_ms: int) -> Breaker | None:
        """Return the circuit as planners see it; None where it lets requests through."""
        is_open = self.is_open(key.kind, now_ms)
        probing = not is_open and self.is_probed(now_ms)
        until_ms = self.probe_until_ms if probing else self.open_until_ms
        if self.trips <= 0 or until_ms is None or not (is_open or probing):
            return None
        return Breaker(*key, TripReason.stored(self.reason), until_ms, self.fingerprint, probing)

    def admits(self, key: CircuitKey, claim: ProbeClaim) -> bool | None:
        """Whether a claim may send, None if it must take the probe first."""
        if self.is_open(key.kind, claim.now_ms):
            # Otherwise it opened after the caller made its plan.
            return claim.awake
        if self.probe_owner != claim.owner and self.is_probed(claim.now_ms):
            return False
        return None


def key_of(observation: Observation, trip: BreakerRule) -> CircuitKey:
    """Return which circuit a failure trips."""
    model = "" if trip.kind in ("key", "address") else observation.model
    return CircuitKey(kind_at(trip.kind, observation.tier), observation.provider, model)


def tripped(known: Circuit | None, observation: Observation, trip: BreakerRule) -> Circuit:
    """Return a circuit after a failure; one of another fingerprint is replaced."""
    now_ms = observation.at_ms
    if known is None or known.fingerprint != observation.fingerprint:
        known = Circuit(trip.reason, 0, now_ms, 0, 0, observation.fingerprint)
    failures, since_ms, trips, open_until_ms = known.failures, known.since_ms, known.trips, known.open_until_ms
    is_open = known.is_open(trip.kind, now_ms)
    if not is_open or trip.kind == "key":
        # Expired, or from a wrong clock; of a key, the latest rule holds.
        open_until_ms = 0
    if not 0 <= now_ms - since_ms <= COUNTING_WINDOW_MS and not trips:
        failures, since_ms = 0, now_ms
    failures += 1
    if not trip.counts or failures >= FAILURES_TO_OPEN or trips:
        # A failure while the circuit is open, in the same request or a concurrent one, does not count as opening again.
        trips += not (is_open and trips)
        open_ms = min(trip.rest_ms * 2 ** min(trips - 1, 20), trip.most_ms)
        open_until_ms = max(open_until_ms, now_ms + open_ms)
    return Circuit(trip.reason.value, failures, since_ms, trips, open_until_ms, observation.fingerprint)
