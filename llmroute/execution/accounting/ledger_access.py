"""The ledger of a service: opened when it is first needed, waited for no longer than requests can bear, closed once."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmroute.after_fork import start_anew_in_children
from llmroute.errors import LedgerError
from llmroute.ledger.lock_timeout import LockTimeout, lock_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from llmroute.ledger.port import LedgerEntry, LedgerPort, Refusal

# Of a request's time, what its waits for the ledger may take together: the rest is for the answer.
PART_OF_DEADLINE = 0.25
# How long it is waited for another thread that opens the ledger, even when no patience is left.
_TURN_S = 0.05


class LedgerAccess:
    """Opens the ledger at `path`, or lends the one that was given.  Safe to share between threads.

    With `capped` it is not opened where what was spent may be missing from it.
    """

    def __init__(self, path: Path, given: LedgerPort | None, *, capped: bool, wait_s: float) -> None:
        self.path = path if given is None else given.path
        self._ledger: LedgerPort | None = None
        self._given = given
        self._capped = capped
        self._wait_s = wait_s
        # Whether the ledger could not be used the last time: then it is tried, and not waited for.
        self._in_vain = False
        self._is_closed = False
        self._late = 0
        # Whether something may wait beside the open ledger.
        self._untended = False
        self._opening = threading.Lock()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Make a new lock in a forked child: a thread of the parent may have held it."""
        self._opening = threading.Lock()

    def exists(self) -> bool:
        """Whether there is a ledger to read."""
        return self._ledger is not None or self._given is not None or self.path.exists()

    def expect(self, total_s: float, *, deadline: bool = True) -> LockTimeout:
        """Return how long a request that begins may wait for locks: a part of its `total_s`.

        Without a `deadline` its time begins later.
        """
        self._is_closed = False
        wait_s = 0.0 if self._in_vain else min(self._wait_s, total_s * PART_OF_DEADLINE)
        return LockTimeout(wait_s, total_s if deadline else None)

    def patience(self) -> LockTimeout:
        """Return how long locks may be waited for where that is part of no request."""
        return LockTimeout(0.0 if self._in_vain else self._wait_s)

    def write(self, entries: Sequence[LedgerEntry], patience: LockTimeout) -> list[LedgerError | Refusal | None]:
        """As `Ledger.write`.

        Raises:
            LedgerError: the ledger cannot be opened.
        """
        try:
            outcomes = self.ledger(patience).write(entries, patience)
        except LedgerError:
            self._in_vain = True
            raise
        self._in_vain = any(isinstance(outcome, LedgerError) for outcome in outcomes)
        return outcomes

    def write_within(
        self, entries: Sequence[LedgerEntry], patience: LockTimeout
    ) -> list[LedgerError | Refusal | None] | None:
        """As `write`; None, and nothing is written, where locks were held all the time and may be waited for again."""
        try:
            outcomes = self.ledger(patience).write(entries, patience)
        except LedgerError as error:
            if error.locked:
                return None
            raise
        if any(isinstance(outcome, LedgerError) and outcome.locked for outcome in outcomes):
            return None
        self._in_vain = any(isinstance(outcome, LedgerError) for outcome in outcomes)
        return outcomes

    def write_at_once(self, entries: Sequence[LedgerEntry]) -> list[LedgerError | Refusal | None] | None:
        """As `Ledger.write_at_once`; None where it is not open, too."""
        # Another thread may close it meanwhile.
        ledger = self._ledger
        outcomes = None if ledger is None or self._untended else ledger.write_at_once(entries)
        if outcomes is not None:
            self._in_vain = any(isinstance(outcome, LedgerError) for outcome in outcomes)
        return outcomes

    def ledger(self, patience: LockTimeout | None = None) -> LedgerPort:
        """Return the ledger, opening it when it is not open yet; what others left to do is done then.

        Raises:
            LedgerError: it cannot be opened, or not soon enough.
        """
        patience = patience or self.patience()
        opening = self._opening
        with patience.spent() as within_s:
            if not opening.acquire(timeout=max(within_s, _TURN_S)):
                raise lock_error(f"the ledger {self.path} is being opened by another call")
        try:
            if self._ledger is None:
                self._ledger = self._open(patience)
            elif self._untended:
                self._tend(self._ledger, patience)
            self._untended = False
            return self._ledger
        finally:
            opening.release()

    def _open(self, patience: LockTimeout) -> LedgerPort:
        from llmroute.ledger.opening import open_for_requests

        ledger = self._given or open_for_requests(self.path, capped=self._capped, wait_s=self._wait_s, opening=patience)
        try:
            self._tend(ledger, patience)
        except BaseException:
            if self._given is None:
                ledger.close()
            raise
        return ledger

    def _tend(self, ledger: LedgerPort, patience: LockTimeout) -> None:
        locked = ledger.tend(time.time_ns() // 1_000_000, patience)
        if locked and self._capped:
            raise LedgerError(
                f"calls wait in {locked[0]}, which another process keeps locked", hint="let it go on, or end it"
            )

    @contextmanager
    def closed_again(self) -> Iterator[None]:
        """Let the ledger be used once more after the service was closed, and be closed by the last that does."""
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
        """Let the next attempt open what is there then and take in what waits; a ledger that was only held stays open.

        Another thread may be using it, which is not waited for.
        """
        self._untended = True
        ledger = self._ledger
        if ledger is None or error is None or error.locked:
            return
        if self._given is not None or ledger.close_at_once():
            self._ledger = None

    def close(self) -> None:
        """Close the ledger if it was opened here, once nothing is written late; one that was lent stays open."""
        self._is_closed = True
        if self._late > 0:
            return
        ledger, self._ledger = self._ledger, None
        if ledger is not None and self._given is None:
            ledger.close()

    def leave(self) -> None:
        """As `close`, in a process that ends now."""
        if self._ledger is not None and self._given is None:
            self._ledger.leave()
