"""Operations that the flow of a request yields: the driver performs each one and sends back its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.errors import AttemptError
    from llmroute.execution.accounting.budget import Admission
    from llmroute.execution.clock import Clock
    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.ledger.statistics.values import CheckResult, Observation
    from llmroute.transport.network.send_progress import Progress
    from llmroute.types import Check, HTTPRequest, LLMResponse


class Begin(NamedTuple):
    """Write an attempt as pending; the result is the completion limit in tokens that a budget sets, None without one.

    `clock` is the request's: time spent in a queue before the attempt is excluded from it.  `patience` is how long the
    request may wait for the ledger, None if it has no deadline of its own.
    """

    row: AttemptRow
    admission: Admission
    clock: Clock
    patience: LockTimeout | None = None

    def with_complete(self, *, whole: bool) -> Begin:
        """Return the same, for an answer that may or may not be cut because of the reservations of other requests."""
        return self._replace(admission=self.admission._replace(whole=whole))

    def dated(self, now_ms: int) -> Begin:
        """Set the times of a pending attempt to what they are if it begins now; return it with such a claim."""
        row, claim = self.row, self.admission.prober
        if row.status != "pending":
            return self
        later_ms = now_ms - row.started_ms
        row.started_ms = now_ms
        if row.deadline_ms is not None:
            row.deadline_ms += later_ms
        if claim is None:
            return self
        claim = claim._replace(now_ms=now_ms, until_ms=claim.until_ms + later_ms)
        return self._replace(admission=self.admission._replace(prober=claim))


class Settle(NamedTuple):
    """Write the end of an attempt and the observation of its model; `error` is None for an answer.

    After a check it comes a second time, with what the check says of the answer.
    `patience` as for `Begin`.
    """

    row: AttemptRow
    observation: Observation | CheckResult | None
    error: AttemptError | None = None
    patience: LockTimeout | None = None


class Open(NamedTuple):
    """Send a request; the result is the open exchange, once the response headers have arrived.

    `progress` records whether any byte was sent, also when the request is interrupted.
    """

    request: HTTPRequest
    connect_s: float
    answer_s: float
    progress: Progress


class Read(NamedTuple):
    """Read from the open exchange; the result is bytes, empty at the end."""

    within_s: float


class Close:
    """Close the open exchange; a driver that ends does so by itself."""


class Judge(NamedTuple):
    """Run the caller's check on a settled response; the result is its rejection, None if it accepts."""

    check: Check
    response: LLMResponse


class Sleep(NamedTuple):
    """Sleep."""

    seconds: float


class Blocking(NamedTuple):
    """Make a call that may block, on the disk or the embedded engine; the result is what it returns."""

    call: Callable[[], Any]


class Emit(NamedTuple):
    """Pass a chunk of a streamed answer to the caller."""

    text: str


class Done(NamedTuple):
    """Pass the complete response to the caller; it is settled in the ledger when the caller continues."""

    response: LLMResponse


Operation = Begin | Settle | Open | Read | Close | Judge | Sleep | Blocking | Emit | Done
