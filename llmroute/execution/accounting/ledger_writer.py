"""Write attempts to the ledger, or to its spool: a ledger that cannot be written never costs an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from llmroute.errors import BudgetExceededError, LedgerError, LLMRouteError
from llmroute.execution.accounting.budget import Reservation
from llmroute.execution.accounting.budget_warnings import BudgetWarnings
from llmroute.execution.accounting.caps import CapsInForce, current_caps
from llmroute.execution.accounting.ledger_access import LedgerAccess
from llmroute.execution.accounting.spool_writer import SpoolWriter
from llmroute.execution.accounting.statistics_reader import StatisticsReader
from llmroute.execution.operations import Begin, Settle
from llmroute.files import LOCK_WAIT_S
from llmroute.types import WARN_AT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from llmroute.config import Limit
    from llmroute.errors import CircuitOpenError
    from llmroute.ledger.entries import BudgetWatch, LedgerEntry, OutdatedCapsError, Refusal
    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.ledger.port import LedgerPort
    from llmroute.ledger_location import LedgerLocation


# How often an entry is made while shared caps change.
DRAFTS = 3

LedgerOutcome: TypeAlias = "int | BudgetExceededError | CircuitOpenError | None"


class _PendingWrite(NamedTuple):
    """An operation with its ledger entry, or with the refusal of a budget that is decided without the ledger."""

    operation: Begin | Settle
    entry: LedgerEntry | BudgetExceededError
    reservation: Reservation | None = None


class LedgerWriter:
    """Opens the ledger for the first attempt, and spools the rows that it cannot take, with one warning.

    `limits` are the caps of the configuration: under a cap, no attempt is sent whose row cannot be written first.
    """

    def __init__(  # noqa: PLR0913 (settings of the configuration, by name)
        self,
        location: LedgerLocation,
        warn: Callable[[str], None],
        ledger: LedgerPort | None = None,
        *,
        limits: Sequence[Limit] = (),
        warn_at: float = WARN_AT,
        wait_s: float = LOCK_WAIT_S,
    ) -> None:
        self.access = LedgerAccess(location, ledger, capped=bool(limits), wait_s=wait_s, note=warn)
        self.statistics = StatisticsReader(self.access)
        self.caps = CapsInForce(self.access, limits)
        self.budget_warnings = BudgetWarnings(self.caps.known, warn_at, warn)
        self._spool = SpoolWriter(self.access.path, warn)

    def begin(self, beginning: Begin) -> int | None:
        """Write an attempt as pending; return the completion limit that a budget sets, None if none does.

        Raises:
            BudgetExceededError: the worst case does not fit, or a budget binds and the ledger cannot be written.
            CircuitOpenError: the circuit is open, or another caller sends its probe.
        """
        return answer_of(self.write([beginning], beginning.patience)[0])

    def settle(self, settlement: Settle) -> None:
        """Write the end of an attempt and its observation."""
        self.write([settlement], settlement.patience)

    def settle_interrupted(self, settlement: Settle) -> None:
        """As `settle`, for an attempt that was interrupted."""
        self.settle(settlement)

    def write(self, operations: Sequence[Begin | Settle], patience: LockTimeout | None = None) -> list[LedgerOutcome]:
        """Write operations in one transaction; return for each what `begin` would return or raise."""
        waits = patience or self.access.patience()
        outcomes = self._write(operations, lambda entries: self.access.ledger(waits).write(entries, waits))
        assert outcomes is not None
        return outcomes

    def write_within(self, operations: Sequence[Begin | Settle], within_s: float) -> list[LedgerOutcome] | None:
        """As `write`; None, with nothing written, where the ledger stays locked for `within_s`."""
        from llmroute.ledger.lock_timeout import LockTimeout

        waits = LockTimeout(within_s)
        return self._write(operations, lambda entries: self._unless_locked(entries, waits))

    def write_late(self, operations: Sequence[Begin | Settle]) -> None:
        """As `write`, after the service may have been closed: a ledger that is opened for it is closed again."""
        with self.access.closed_again():
            self.write(operations)

    def write_at_once(self, operations: Sequence[Begin | Settle]) -> list[LedgerOutcome] | None:
        """As `write`; None, with nothing written, where it would have to wait."""
        # Another thread may close it.
        ledger = self.access.ready_ledger
        return self._write(operations, lambda entries: None if ledger is None else ledger.write_at_once(entries))

    def _unless_locked(
        self, entries: Sequence[LedgerEntry], waits: LockTimeout
    ) -> Sequence[LedgerError | Refusal | None] | None:
        """Write entries; return None, with nothing written, where the ledger stayed locked."""
        try:
            outcomes = self.access.ledger(waits).write(entries, waits)
        except LedgerError as error:
            if error.locked:
                return None
            raise
        return None if any(isinstance(one, LedgerError) and one.locked for one in outcomes) else outcomes

    def _write(
        self,
        operations: Sequence[Begin | Settle],
        write: Callable[[Sequence[LedgerEntry]], Sequence[LedgerError | Refusal | None] | None],
        drafts_left: int = DRAFTS,
    ) -> list[LedgerOutcome] | None:
        drafts = [self._draft(operation) for operation in operations]
        entries = [
            draft.entry
            for draft in drafts
            if not isinstance(draft.entry, BudgetExceededError) and not self._spool.holds_beginning_of(draft.operation)
        ]
        watch = self._watched(entries)
        try:
            outcomes = write(entries) if entries else []
        except LedgerError as error:
            outcomes = [error] * len(entries)
        if entries and outcomes is not None:
            self.access.note(outcomes)
        outdated = _outdated(outcomes or ()) if drafts_left > 1 else None
        if outcomes is None or outdated:
            for draft in drafts:
                if draft.reservation is not None:
                    draft.reservation.release()
            if outdated is None:
                return None
            if outdated.may_change_times:
                # Not of attempts that may have been sent to the ledger, whose rows are known by their times.
                now_ms = self.access.now_ms()
                operations = [one.dated(now_ms) if isinstance(one, Begin) else one for one in operations]
            return self._write(operations, write, drafts_left - 1)
        written = iter(outcomes)
        results = [self._outcome(draft, written) for draft in drafts]
        if watch is not None:
            self.budget_warnings.warn_of(watch)
        return results

    def _watched(self, entries: list[LedgerEntry]) -> BudgetWatch | None:
        """Make the last of the attempts that end watch the caps of all of them."""
        from llmroute.ledger.entries import Settled

        ends = {place: entry for place, entry in enumerate(entries) if isinstance(entry, Settled)}
        watch = self.budget_warnings.watch([entry.row for entry in ends.values()])
        if watch is not None:
            last = max(ends)
            entries[last] = ends[last]._replace(watch=watch)
        return watch

    def _outcome(self, draft: _PendingWrite, written: Iterator[LedgerError | Refusal | None]) -> LedgerOutcome:
        """Return the outcome of an operation; takes one from `written` where the ledger was called."""
        if isinstance(draft.entry, BudgetExceededError):
            return draft.entry
        if self._spool.holds_beginning_of(draft.operation):
            self.access.let_go(None)
            self._spool.keep(draft.operation, None)
            return None
        return self._conclude(draft, next(written))

    def _draft(self, operation: Begin | Settle) -> _PendingWrite:
        from llmroute.ledger.entries import Pending, Settled

        row = operation.row
        if isinstance(operation, Settle):
            end = Settled(row, operation.observation, begun=self._spool.follows_beginning(operation))
            return _PendingWrite(operation, end)
        admission = operation.admission
        try:
            limits = [limit for limit in self.caps.limits() if limit.workspace in ("", row.workspace)]
        except BudgetExceededError as refusal:
            return _PendingWrite(operation, refusal)
        bound = bool(limits) or admission.budget.bounded
        # If the process dies, a budget counts the reservation, and a report without one the estimate.
        if row.status == "pending":
            row.cost_basis = "at_most" if bound else "estimated"
        if not bound:
            return _PendingWrite(operation, Pending(row, claim=admission.prober, retry=admission.retry))
        reservation = Reservation(
            f"{row.provider}/{row.model}", admission.worst, admission.budget, whole=admission.whole
        )
        try:
            caps = current_caps(limits, row.started_ms)
            worst = reservation.bounded()
        except LedgerError as error:
            return _PendingWrite(operation, _unkept(error))
        except BudgetExceededError as refusal:
            return _PendingWrite(operation, refusal)
        return _PendingWrite(operation, Pending(row, caps, worst, admission.prober, admission.retry), reservation)

    def _conclude(self, draft: _PendingWrite, outcome: LedgerError | Refusal | None) -> LedgerOutcome:
        """Return the outcome of an operation; a row that cannot be written is spooled, unless a budget binds."""
        reservation, row = draft.reservation, draft.operation.row
        if outcome is None:
            return reservation.admitted(row.reserved_picousd or 0) if reservation else None
        if reservation is None:
            if not isinstance(outcome, LedgerError):
                return outcome
            self.access.let_go(outcome)
            self._spool.keep(draft.operation, outcome)
            return None
        reservation.release()
        if isinstance(outcome, BudgetExceededError):
            return reservation.refused(outcome)
        if isinstance(outcome, LedgerError):
            self.access.let_go(outcome)
            if outcome.unanswered:
                self._spool.withdraw(row, self.access.now_ms())
            return _unkept(outcome)
        return outcome


def _unkept(error: LedgerError) -> BudgetExceededError:
    """Return the refusal of an attempt under a cap that the ledger cannot keep."""
    refusal = BudgetExceededError(
        f"a budget is in force and cannot be kept: {error.message}; nothing was sent", hint=error.hint
    )
    refusal.__cause__ = error
    return refusal


def _outdated(outcomes: Sequence[LedgerError | Refusal | None]) -> OutdatedCapsError | None:
    """Return the error of entries that are to be made anew, None where there are none."""
    if not any(isinstance(outcome, LedgerError) for outcome in outcomes):
        return None
    from llmroute.ledger.entries import OutdatedCapsError

    return next((outcome for outcome in outcomes if isinstance(outcome, OutdatedCapsError)), None)


def answer_of(outcome: LedgerOutcome) -> int | None:
    """Return the outcome of an operation, or raise its refusal."""
    if isinstance(outcome, LLMRouteError):
        raise outcome
    return outcome
