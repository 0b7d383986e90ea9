"""What a service has opened so far: connections when the first request is sent, the books of its event loop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmroute.service.bookkeeping import Bookkeeper
    from llmroute.service.grouped import GroupedBooks
    from llmroute.transport import AsyncSender, Sender


class Opened:
    """Opens each when it is first needed, and closes what is open; `books` are closed with the rest."""

    def __init__(self, books: Bookkeeper) -> None:
        self._books = books
        self._sender: Sender | None = None
        self._async_sender: AsyncSender | None = None
        self._grouped: GroupedBooks | None = None
        self._lock = threading.Lock()

    def sender(self) -> Sender:
        """Return what sends for those who block."""
        with self._lock:
            if self._sender is None:
                from llmroute.transport import Sender

                self._sender = Sender()
            return self._sender

    def async_sender(self) -> AsyncSender:
        """Return what sends for those who await."""
        if self._async_sender is None:
            from llmroute.transport import AsyncSender

            self._async_sender = AsyncSender()
        return self._async_sender

    def async_books(self) -> GroupedBooks:
        """Return the books for those who await."""
        if self._grouped is None:
            from llmroute.service.grouped import GroupedBooks

            self._grouped = GroupedBooks(self._books)
        return self._grouped

    def close(self) -> None:
        """Close what blocking calls have opened."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None
        self._books.close()

    def leave(self) -> None:
        """As `close`, in a process that ends now: what the end of a process closes by itself is left to it."""
        self._books.leave()

    async def aclose(self) -> None:
        """Close everything."""
        if self._async_sender is not None:
            await self._async_sender.close()
            self._async_sender = None
        self.close()
