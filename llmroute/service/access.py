"""The ledger of a service: opened when it is first needed, waited for no longer than requests can bear, closed once."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmroute.after_fork import start_anew_in_children
from llmroute.errors import LedgerError
from llmroute.ledger.locks import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from llmroute.ledger.entries import Entry, Refusal
    from llmroute.ledger.store import Ledger

# Of a request's time, what its waits for the ledger may take together: the rest is for the answer.
PART_OF_DEADLINE = 0.25


class Access:
    """Opens the ledger at `path`, or lends the one that was given.  Safe to share between threads.

    With `capped` it is not opened where what was spent may be missing from it.
    """

    def __init__(self, path: Path, given: Ledger | None, *, capped: bool, wait_s: float) -> None:
        self.path = path if given is None else given.path
        self._ledger: Ledger | None = None
        self._given = given
        self._capped = capped
        self._wait_s = wait_s
        self._patience = Patience(wait_s)
        # Whether the ledger could not be used the last time: then it is tried, and not waited for.
        self._in_vain = False
        self._is_closed = False
        self._late = 0
        self._opening = threading.Lock()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Make a new lock in a forked child: a thread of the parent may have held it."""
        self._opening = threading.Lock()

    def exists(self) -> bool:
        """Whether there is a ledger to read."""
        return self._ledger is not None or self._given is not None or self.path.exists()

    def expect(self, total_s: float, *, deadline: bool = True) -> None:
        """Let locks be waited for anew, as a part of the `total_s` of a request that begins.

        Without a `deadline` its time begins later.
        """
        self._is_closed = False
        if not self._in_vain:
            self._patience.renew(min(self._wait_s, total_s * PART_OF_DEADLINE))
        self._patience.extend(total_s if deadline else None)

    def write(self, entries: Sequence[Entry]) -> list[LedgerError | Refusal | None]:
        """As `Ledger.write`.

        Raises:
            LedgerError: the ledger cannot be opened.
        """
        outcomes = self.ledger().write(entries, self._patience)
        self._in_vain = any(isinstance(outcome, LedgerError) for outcome in outcomes)
        return outcomes

    def write_at_once(self, entries: Sequence[Entry]) -> list[LedgerError | Refusal | None] | None:
        """As `Ledger.write_at_once`; None where it is not open, too."""
        # Another thread may close it meanwhile.
        ledger = self._ledger
        outcomes = None if ledger is None else ledger.write_at_once(entries)
        if outcomes is not None:
            self._in_vain = any(isinstance(outcome, LedgerError) for outcome in outcomes)
        return outcomes

    def ledger(self) -> Ledger:
        """Return the ledger, opening it when it is not open yet; what others left to do is done then.

        Raises:
            LedgerError: it cannot be opened.
        """
        with self._opening:
            if self._ledger is None:
                try:
                    self._ledger = self._open()
                except LedgerError:
                    self._in_vain = True
                    raise
            return self._ledger

    def _open(self) -> Ledger:
        from llmroute.ledger.making import refuse_emptied
        from llmroute.ledger.store import Ledger

        if self._capped:
            refuse_emptied(self.path)
        ledger = self._given or Ledger(self.path, patience=self._patience)
        try:
            self._tend(ledger)
        except BaseException:
            if self._given is None:
                ledger.close()
            raise
        return ledger

    def _tend(self, ledger: Ledger) -> None:
        locked = ledger.tend(time.time_ns() // 1_000_000)
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

    def let_go(self) -> None:
        """Close a ledger that failed, so that the next attempt opens what is there then."""
        ledger, self._ledger = self._ledger, None
        if ledger is not None and self._given is None:
            ledger.close()

    def close(self) -> None:
        """Close the ledger if it was opened here, once nothing is written late; one that was lent stays open."""
        self._is_closed = True
        if self._late == 0:
            self.let_go()

    def leave(self) -> None:
        """As `close`, in a process that ends now."""
        if self._ledger is not None and self._given is None:
            self._ledger.leave()
