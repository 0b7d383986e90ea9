"""What the flow of a request asks of its driver: a driver performs each and sends back what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.errors import AttemptError
    from llmroute.execution.accounting.ledger_writer import Admission
    from llmroute.execution.request import Clock
    from llmroute.ledger.attempt_row import AttemptRow
    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.ledger.stats import Observation
    from llmroute.transport.network.send_progress import Progress
    from llmroute.types import HTTPRequest, LLMResponse


class Begin(NamedTuple):
    """Write an attempt as pending; answered with the longest answer that a budget leaves it, None when none cuts it.

    An attempt that has to wait for its turn first tells the `clock` of the request.  `patience` is how long the request
    may wait for the ledger, None where it has no deadline of its own.
    """

    row: AttemptRow
    how: Admission
    clock: Clock
    patience: LockTimeout | None = None

    def among_others(self, *, whole: bool) -> Begin:
        """Return the same, for an answer that is, or is not, to be cut down because of what others may still cost."""
        return self._replace(how=self.how._replace(whole=whole))


class Settle(NamedTuple):
    """Write how an attempt ended, and what it taught; `error` is what it ended with, None for an answer.

    `patience` as for `Begin`.
    """

    row: AttemptRow
    lesson: Observation | None
    error: AttemptError | None = None
    patience: LockTimeout | None = None


class Open(NamedTuple):
    """Send a request; answered with the driver's exchange once the head of the reply is there.

    `progress` is told how far it comes, also when it is broken off.
    """

    request: HTTPRequest
    connect_s: float
    answer_s: float
    progress: Progress


class Read(NamedTuple):
    """Read on in the open exchange; answered with bytes, empty at the end."""

    within_s: float


class Close:
    """Release the open exchange; a driver that is left does so by itself."""


class Sleep(NamedTuple):
    """Sleep so many seconds."""

    seconds: float


class Blocking(NamedTuple):
    """Do what may block: the disk, the start of the embedded engine; answered with what the call returns."""

    call: Callable[[], Any]


class Emit(NamedTuple):
    """Hand a piece of a streamed answer to the caller."""

    text: str


class Done(NamedTuple):
    """Hand the whole answer to the caller; it is settled in the ledger when the caller comes back."""

    response: LLMResponse


Operation = Begin | Settle | Open | Read | Close | Sleep | Blocking | Emit | Done
