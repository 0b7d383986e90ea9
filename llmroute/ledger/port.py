"""The interface between the service and a ledger, whatever database stores it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import BudgetExceededError, CircuitOpenError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.budgets import Cap
    from llmroute.ledger.stats import Observation, ProbeClaim
    from llmroute.worst_case import WorstCase


class Pending(NamedTuple):
    """An attempt that is about to be sent, and what it must be admitted by.

    `caps` limit the completion of `worst`; nothing is reserved where that is None.  `prober` claims the probe of a
    half-open circuit, None ignores circuits; a `retry` takes a retry token.
    """

    row: AttemptRow
    caps: Sequence[Cap] = ()
    worst: WorstCase | None = None
    prober: ProbeClaim | None = None
    retry: bool = False


class Settled(NamedTuple):
    """How an attempt ended, and what it taught.  What is settled already is left as it is."""

    row: AttemptRow
    lesson: Observation | None = None


LedgerEntry = Pending | Settled
Refusal = BudgetExceededError | CircuitOpenError


@dataclass(frozen=True, slots=True)
class AttemptFilter:
    """Which attempts are wanted; None is all.  `model` is one with or without its provider."""

    since_ms: int | None = None
    until_ms: int | None = None
    model: str | None = None
    status: str | None = None
    workspace: str | None = None
    execution: str | None = None


class Correction(NamedTuple):
    """An attempt, what it was counted at (None where that was unknown), and what it is counted at now; pico-USD.

    `was_fact` says that it was counted at what the provider had reported.
    """

    row_id: int
    request_id: str
    attempt: int
    provider: str
    model: str
    old_picousd: int | None
    new_picousd: int
    was_fact: bool
