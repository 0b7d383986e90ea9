"""The interface between the service and a ledger, whatever database stores it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from llmroute.errors import LedgerError
    from llmroute.ledger.budgets import BudgetStatus, Cap, SharedCap
    from llmroute.ledger.corrections import Correction
    from llmroute.ledger.entries import LedgerEntry, Refusal
    from llmroute.ledger.jobs import JobJournal
    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.ledger.statistics.values import StatsSnapshot


@dataclass(frozen=True, slots=True)
class AttemptFilter:
    """Conditions on attempts, None for no condition.  `model` may name its provider."""

    since_ms: int | None = None
    until_ms: int | None = None
    model: str | None = None
    status: str | None = None
    workspace: str | None = None
    execution: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """The span of a report: both ends are on bucket boundaries, and a workspace of None is all of them."""

    since_ms: int | None
    until_ms: int
    workspace: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """How many attempts, their counted cost, and the most that they can have cost, in pico-USD."""

    call_count: int = 0
    cost_picousd: int = 0
    most_picousd: int = 0


@dataclass(frozen=True, slots=True)
class UncertainCosts:
    """Uncertain costs by `attempt_row.CostBasis`, without pruned rows and those of older versions."""

    estimated: Part = Part()
    at_most: Part = Part()
    at_least: Part = Part()

    def parts(self) -> list[tuple[str, Part]]:
        """Return the parts by their basis."""
        return [("estimated", self.estimated), ("at_most", self.at_most), ("at_least", self.at_least)]


class NotableAttempts(NamedTuple):
    """Settled attempts of a span that stand out.

    `dearest` and `slowest` are rows by column, highest first, without those of zero; `failures` counts attempts that
    did not succeed by error, or by status without one, most first.
    """

    dearest: list[dict[str, Any]]
    slowest: list[dict[str, Any]]
    failures: list[tuple[str, int]]


class TierSums(NamedTuple):
    """The sums of a model's attempts at a service tier, of prompts of more than `longer_than` tokens.

    `left_out_count` attempts are not in the sums of tokens and costs: their cost is unknown, a reservation, or that of
    the provider's own tools too.  Those that cost nothing are in `call_count` alone.
    """

    tier: str
    provider: str
    model: str
    longer_than: int
    call_count: int
    left_out_count: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int
    cost_picousd: int


class Counts(Protocol):
    """The source of cost reports."""

    def counted(self, keys: tuple[str, ...], span: Span) -> Iterator[tuple[tuple[Any, ...], tuple[int, ...]]]:
        """Yield values of some columns of the rollups and the `reports.COUNTERS` of their attempts.

        The same values may come several times: the caller adds up their counters.
        """


class LedgerSnapshot(Counts, Protocol):
    """Queries that all see the same state of the ledger."""

    @property
    def clock_offset_ms(self) -> int:
        """How far the clock of the ledger is ahead of this machine's."""

    def shared_caps(self) -> Sequence[SharedCap]:
        """Return the caps that the ledger keeps for all hosts."""

    def uncertain_costs(self, span: Span) -> UncertainCosts:
        """Return how much of a span's cost is estimated or bounded."""

    def sums_by_tier(self, span: Span, lengths: Sequence[int]) -> list[TierSums]:
        """Return the sums of each service tier but the standard one, without pruned rows."""

    def sums_of_batches(self, span: Span, lengths: Sequence[int]) -> list[TierSums]:
        """As `sums_by_tier`, of the tier of batch APIs."""

    def unfilled_until_ms(self) -> int:
        """Return the time before which `LedgerPort.fill_sums` has work left: sums there lack savings by caches."""

    def pruned_until_ms(self) -> int:
        """Return the time before which all attempts are pruned, so that only their sums are known; 0 if none is."""

    def budget_statuses(self, caps: Sequence[Cap]) -> list[BudgetStatus]:
        """Return the spent and the reserved amount of each cap."""

    def workspaces(self) -> list[str]:
        """Return the names of all workspaces."""

    def attempts(self, wanted: AttemptFilter) -> Generator[dict[str, Any], None, None]:
        """Yield attempts by column, oldest first."""

    def last_attempts(self, last: int, wanted: AttemptFilter) -> Iterator[dict[str, Any]]:
        """Yield the last attempts, pending ones included, oldest first."""

    def attempts_after(self, row_id: int, most: int, wanted: AttemptFilter) -> list[dict[str, Any]]:
        """Return the first attempts, by id, that were recorded after an id, pending ones included."""

    def complete_until_id(self) -> int | None:
        """Return an id before which a later snapshot has every attempt that will ever be recorded.

        None where every attempt gets a higher id than those that are visible.
        """

    def notable_attempts(self, span: Span, most: int) -> NotableAttempts:
        """Return the attempts of a span that stand out, `most` of each kind."""

    def attempt_columns(self) -> list[str]:
        """Return the names of the columns of `attempts`."""


class LedgerPort(Protocol):
    """An open ledger.  Every method raises LedgerError where the ledger cannot be read or written."""

    @property
    def path(self) -> Path:
        """The path that names the ledger, also in messages; its spool is kept beside it."""

    @property
    def clock_offset_ms(self) -> int:
        """How far the clock of the ledger is ahead of this machine's; times of entries are the ledger's."""

    @property
    def shared_caps(self) -> Sequence[SharedCap] | None:
        """The caps that the ledger keeps for all hosts, as last seen; None where they are unknown."""

    def write(
        self, entries: Sequence[LedgerEntry], patience: LockTimeout | None = None
    ) -> list[LedgerError | Refusal | None]:
        """Write entries in order, in few transactions; return for each its error or refusal, None if it is written."""

    def write_at_once(self, entries: Sequence[LedgerEntry]) -> list[LedgerError | Refusal | None] | None:
        """As `write`; None, with nothing written, where it would have to wait for a lock."""

    def recall(self, *, bucket: int, task: str = "", now_ms: int, patience: LockTimeout | None = None) -> StatsSnapshot:
        """Return the statistics of prompts of a size bucket and a task."""

    def retry_allowed(self, provider: str, now_ms: int, patience: LockTimeout | None = None) -> bool:
        """Whether a provider has a retry token left."""

    def reset_breakers(self, provider: str) -> int:
        """Close every circuit of a provider; return how many were not closed."""

    def tend(self, now_ms: int, patience: LockTimeout | None = None, until_s: float = inf) -> list[Path]:
        """Add spooled rows, then settle the rows of dead processes.

        From `until_s` of the monotonic clock on, other rows are left for the next time, unless caps of the ledger count
        them.  Returns the spool files that other processes keep locked.
        """

    def snapshot(self) -> AbstractContextManager[LedgerSnapshot]:
        """Open one read transaction for reports."""

    @property
    def jobs(self) -> JobJournal:
        """The journal of batch jobs; it may block."""

    def fill_sums(self) -> None:
        """Sum up what reports would otherwise have to sum, in short transactions."""

    def correct(self, named: str, cost_picousd: int, now_ms: int) -> Correction:
        """Replace the cost of an attempt by a known one.

        Raises:
            RequestError: there is no such attempt, it is pending, or its request has several.
        """

    def backup(self, target: Path) -> None:
        """Copy the ledger into a new file.

        Raises:
            RequestError: the file exists, or its folder does not.
            OutputError: the file cannot be written.
        """

    def prunable(self, before_ms: int) -> int:
        """Return how many attempts `prune` would delete."""

    def prune(self, before_ms: int) -> int:
        """Delete settled attempts that started before a time, and keep their sums; return how many."""

    def close(self) -> None:
        """Close the ledger after the open transaction."""

    def close_at_once(self) -> bool:
        """Close the ledger unless another thread uses it; return whether it is closed."""

    def leave(self) -> None:
        """Leave the ledger open in a process that ends now."""
