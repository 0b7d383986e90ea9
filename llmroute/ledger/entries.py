"""The entries that are written to a ledger: attempts that begin and attempts that end."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import BudgetExceededError, CircuitOpenError, LedgerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.budgets import BudgetStatus, Cap
    from llmroute.ledger.statistics.values import CheckResult, Observation, ProbeClaim
    from llmroute.worst_case import WorstCase


class Pending(NamedTuple):
    """An attempt that is about to be sent, and the conditions of its admission.

    `caps` limit the completion of `worst`; nothing is reserved where that is None.  `claim` takes the probe of a
    half-open circuit, None ignores circuits; a `retry` takes a retry token.  One that is `spooled` may come again.
    """

    row: AttemptRow
    caps: Sequence[Cap] = ()
    worst: WorstCase | None = None
    claim: ProbeClaim | None = None
    retry: bool = False
    spooled: bool = False


class BudgetWatch(NamedTuple):
    """Caps of which a write puts those into `near` of which the share `warn_at` is spent then.

    Each is put there once in its window, whichever process writes.
    """

    caps: Sequence[Cap]
    warn_at: float
    near: list[BudgetStatus]


class Settled(NamedTuple):
    """The end of an attempt and its observation, or, after that, the verdict of the caller's check.

    A row that is settled already does not change, except from ok to rejected.  Caps that the row counts against may
    be watched.  One that is `spooled` may come again; `begun` says that the ledger had its beginning.
    """

    row: AttemptRow
    observation: Observation | CheckResult | None = None
    watch: BudgetWatch | None = None
    spooled: bool = False
    begun: bool = False


class OutdatedCapsError(LedgerError):
    """Shared caps changed after an entry was made, which must be made anew; others of its group may be written."""

    may_change_times = False


class OtherClockError(OutdatedCapsError):
    """Entries were made by another clock than that of the ledger; none was sent to it."""

    may_change_times = True


LedgerEntry = Pending | Settled
Refusal = BudgetExceededError | CircuitOpenError


def copied(error: LedgerError) -> LedgerError:
    """Return a copy of an error for one more caller, whose traceback is added to it."""
    copy = type(error)(error.message, hint=error.hint)
    copy.__cause__ = error.__cause__
    copy.locked, copy.unanswered = error.locked, error.unanswered
    return copy
