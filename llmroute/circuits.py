"""Reasons, scope and duration of open circuits: routing decides them, and the ledger stores them."""

# No postponed annotations: see types.
from enum import StrEnum
from typing import Final, Literal, NamedTuple, Self

SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
FOR_GOOD_MS: Final = 10 * 365 * 24 * HOUR_MS
"""Until the key's fingerprint changes: a key that was rejected does not become valid by itself."""

COUNTING_WINDOW_MS: Final = 10 * MINUTE_MS
FAILURES_TO_OPEN: Final = 3
"""So many failures within the window open a circuit whose rule counts failures."""

CircuitKind = Literal["endpoint", "address", "key", "model"]


class TripReason(StrEnum):
    """Why a circuit is open.  The values are stored in the ledger and shown to users: versions share them."""

    RATE_LIMIT = "rate limit"
    NO_CREDIT = "no credit"
    KEY_REFUSED = "key refused"
    MODEL_GONE = "model gone"
    FAILURES = "failures"
    TIMEOUTS = "time-outs"
    UNREACHABLE = "unreachable"
    BROKEN_ANSWERS = "broken answers"

    @classmethod
    def stored(cls, text: str) -> Self:
        """Return the reason that a ledger stores; an unknown one of another version counts as failures."""
        try:
            return cls(text)
        except ValueError:
            return cls("failures")


class BreakerRule(NamedTuple):
    """Which circuit a failure opens, why and for how long.

    `kind` is `key` or `address` (a whole provider), `model` (one model) or `endpoint` (one model at one service tier).
    `counts` opens only after `FAILURES_TO_OPEN` failures within `COUNTING_WINDOW_MS`.  Each opening without a success
    between doubles `rest_ms`, up to `most_ms`.
    """

    kind: CircuitKind
    reason: TripReason
    rest_ms: int
    most_ms: int
    counts: bool = False


def kind_at(kind: str, tier: str) -> str:
    """Return the kind of a circuit as the ledger has it: that of an endpoint names its tier, unless it is standard."""
    return f"{kind}:{tier}" if kind == "endpoint" and tier else kind


def kinds_at(tier: str) -> tuple[str, ...]:
    """Return the kinds of circuits that a call at a tier depends on, that of the endpoint last."""
    return "address", "key", "model", kind_at("endpoint", tier)


def tier_of_circuits(tier: str | None) -> str:
    """Return the service tier of a request as circuits name it: empty for the standard one."""
    return "" if tier in (None, "standard") else str(tier)


def reset_command(provider: str) -> str:
    """Return the command that closes a provider's open circuits."""
    return f"llmroute health --reset {provider}"
