"""The ledger of a service: opened on first use, with a bounded wait for its locks, and closed once."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING

from llmroute.after_fork import start_anew_in_children
from llmroute.errors import LedgerError
from llmroute.ledger.lock_timeout import LockTimeout, lock_error
from llmroute.ledger_location import LedgerLocation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from llmroute.ledger.budgets import SharedCap
    from llmroute.ledger.entries import Refusal
    from llmroute.ledger.port import LedgerPort

# The part of a request's timeout that its waits for the ledger may take together.
PART_OF_DEADLINE = 0.25
# How long a use of the ledger adds spooled rows first, unless a cap counts them: then it adds all.
SPOOL_S = 0.5
# So many rows that a note says what is waited for.
_MANY_ROWS = 1_000
# The least time to wait for another thread that opens the ledger.
_TURN_S = 0.05


class LedgerAccess:
    """Opens the ledger at its location, or uses the one that was given.  Safe to share between threads.

    With `capped` it is not opened where rows of earlier attempts may be missing from it.
    """

    def __init__(
        self,
        location: LedgerLocation,
        given: LedgerPort | None,
        *,
        capped: bool,
        wait_s: float,
        note: Callable[[str], None],
    ) -> None:
        self._location = location if given is None else LedgerLocation(given.path)
        self._ledger: LedgerPort | None = None
        # The ledger that was opened last, whose clock is known also after an error has closed it.
        self._opened_last: LedgerPort | None = None
        self._given = given
        self._capped = capped
        self._wait_s = wait_s
        self._note = note
        self._has_noted = False
        # Whether the last use failed: then the next one does not wait.
        self._failed_last = False
        self._is_closed = False
        self._late = 0
        self.read_error: LedgerError | None = None
        """Why statistics could not be read last."""
        # Whether the spool may hold rows since the ledger was opened.
        self._has_spooled = False
        self._opening = threading.Lock()
        start_anew_in_children(self)

    @property
    def path(self) -> Path:
        """The path beside which rows are spooled."""
        return self._location.path

    def shared_caps(self) -> Sequence[SharedCap] | None:
        """Return the caps that the ledger keeps for all hosts, as last seen; None where they are unknown."""
        if self._location.server is None and self._given is None:
            return ()
        ledger = self._ledger
        if ledger is not None:
            return ledger.shared_caps
        from llmroute.ledger.opening import shared_caps_last_seen

        return shared_caps_last_seen(self._location)

    @property
    def name(self) -> str:
        """The path or the address of the ledger."""
        return self._location.name

    def now_ms(self) -> int:
        """Return the time of day in UTC milliseconds, by the clock of the ledger once it is known."""
        ledger = self._opened_last
        return time.time_ns() // 1_000_000 + (0 if ledger is None else ledger.clock_offset_ms)

    def start_anew(self) -> None:
        """Make a new lock in a forked child: a thread of the parent may have held it."""
        self._opening = threading.Lock()

    def exists(self) -> bool:
        """Whether there is a ledger to read."""
        return self._ledger is not None or self._given is not None or self._location.exists()

    def expect(self, total_s: float, *, deadline: bool = True) -> LockTimeout:
        """Return how long a request may wait for locks: a part of its timeout `total_s`.

        Without a `deadline` the timeout begins later.
        """
        self._is_closed = False
        wait_s = 0.0 if self._failed_last else min(self._wait_s, total_s * PART_OF_DEADLINE)
        return LockTimeout(wait_s, total_s if deadline else None)

    def patience(self) -> LockTimeout:
        """Return how long locks may be waited for outside of a request."""
        return LockTimeout(0.0 if self._failed_last else self._wait_s)

    def note(self, outcomes: Sequence[LedgerError | Refusal | None]) -> None:
        """Note the outcomes of a write: after a failed one, the next does not wait."""
        self._failed_last = any(isinstance(outcome, LedgerError) for outcome in outcomes)

    @property
    def ready_ledger(self) -> LedgerPort | None:
        """The ledger as it is open; None where it is not, or has spooled rows to add first."""
        return None if self._has_spooled else self._ledger

    def ledger(self, patience: LockTimeout | None = None) -> LedgerPort:
        """Return the ledger, opened if necessary, with spooled rows added.

        Raises:
            LedgerError: it cannot be opened, or not soon enough.
        """
        patience = patience or self.patience()
        opening = self._opening
        with patience.spent() as within_s:
            if not opening.acquire(timeout=max(within_s, _TURN_S)):
                raise lock_error(f"the ledger {self._location.name} is being opened by another call")
        try:
            if self._ledger is None:
                self._ledger = self._opened_last = self._open(patience)
            elif self._has_spooled:
                self._tend(self._ledger, patience)
            return self._ledger
        finally:
            opening.release()

    def _open(self, patience: LockTimeout) -> LedgerPort:
        from llmroute.ledger.opening import open_for_requests

        ledger = self._given or open_for_requests(
            self._location, capped=self._capped, wait_s=self._wait_s, opening=patience
        )
        try:
            self._tend(ledger, patience)
        except BaseException:
            if self._given is None:
                ledger.close()
            raise
        return ledger

    def _tend(self, ledger: LedgerPort, patience: LockTimeout) -> None:
        from llmroute.ledger import spool

        capped = self._capped or bool(self.shared_caps())
        if capped and not self._has_noted and (count := spool.count(self.path)) > _MANY_ROWS:
            self._has_noted = True
            self._note(f"note: {count:,} spooled calls are added to the ledger first, because a budget counts them")
        until_s = inf if capped else time.monotonic() + SPOOL_S
        locked = ledger.tend(self.now_ms(), patience, until_s)
        self._has_spooled = time.monotonic() >= until_s
        if locked and (self._capped or self.shared_caps()):
            raise LedgerError(
                f"spooled calls cannot be counted: {locked[0]} is locked by another process",
                hint="wait for that process, or end it",
            )

    @contextmanager
    def closed_again(self) -> Iterator[None]:
        """Allow use of the ledger after the service was closed; the last such block closes it."""
        with self._opening:
            self._late += 1
        try:
            yield
        finally:
            with self._opening:
                self._late -= 1
            if self._is_closed:
                self.close()

    def let_go(self, error: LedgerError | None) -> None:
        """Make the next attempt add spooled rows and, unless the ledger was only locked, reopen it."""
        self._has_spooled = True
        ledger = self._ledger
        if ledger is None or error is None or error.locked:
            return
        if self._given is not None or ledger.close_at_once():
            self._ledger = None

    def close(self) -> None:
        """Close the ledger after late writes; one that was given stays open."""
        self._is_closed = True
        if self._late > 0:
            return
        ledger, self._ledger = self._ledger, None
        if ledger is not None and self._given is None:
            ledger.close()

    def leave(self) -> None:
        """As `close`, for a process that ends now."""
        if self._ledger is not None and self._given is None:
            self._ledger.leave()
