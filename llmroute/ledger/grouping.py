"""Many attempts at once: whatever the tasks of an event loop have to write is written in one transaction."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmroute.errors import LedgerError
    from llmroute.ledger.entries import Entry, Refusal

    Outcome = LedgerError | Refusal | None


class Grouping:
    """One thread that writes for all tasks of one event loop, in the order in which they came.

    While one transaction is written the next is gathered, so that the more there is to do, the less each costs.
    """

    def __init__(self, write: Callable[[Sequence[Entry]], list[Outcome]]) -> None:
        """Write by `write`, which is `Ledger.write` or opens a ledger first."""
        self._write = write
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._waiting: list[tuple[Entry, asyncio.Future[Outcome]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, entry: Entry) -> None:
        """Write an entry; it is committed when this returns.  One whose caller is gone before its turn is left out.

        Raises:
            BudgetExceededError: it fits no cap; nothing is written.
            RestingError: another caller is trying just now.
            LedgerError: it cannot be written.
        """
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append((entry, told))
        if self._writing is None:
            self._writing = loop.create_task(self._write_all())
        if (error := await told) is not None:
            raise error

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                taken = [(entry, told) for entry, told in self._waiting if not told.cancelled()]
                self._waiting.clear()
                try:
                    outcomes = await loop.run_in_executor(self._thread, self._write, [entry for entry, _ in taken])
                except Exception as error:  # noqa: BLE001 (theirs to raise)
                    for _, told in taken:
                        if not told.done():
                            told.set_exception(error)
                else:
                    for (_, told), outcome in zip(taken, outcomes, strict=True):
                        if not told.done():
                            told.set_result(outcome)
        finally:
            self._writing = None

    async def close(self) -> None:
        """Wait for what is being written, and let the thread go."""
        if self._writing is not None:
            await self._writing
        self._thread.shutdown()
