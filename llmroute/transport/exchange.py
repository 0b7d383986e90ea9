"""A response after its head, read by blocking calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType


class BlockingExchange(ABC):
    """A response: `status`, `headers` (lower-case names) and an unread body; leaving its context closes it."""

    status: int
    headers: dict[str, str]

    @abstractmethod
    def read(self, within_s: float) -> bytes:
        """Return the bytes of the body that have arrived; empty at its end.

        Raises:
            ProviderTimeoutError: no bytes arrived within `within_s` seconds.
            UnreachableError: the connection broke.
            BadOutputError: the body is larger than MAX_BODY_BYTES, or is not encoded as its headers say.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the connection; it is closed if the body was not read to its end."""

    def pieces(self, left_s: Callable[[], float]) -> Iterator[bytes]:
        """Yield the rest of the body in chunks as they arrive, each within `left_s()` seconds.

        Raises:
            AttemptError: as `read`.
        """
        return iter(lambda: self.read(left_s()), b"")

    def read_all(self, left_s: Callable[[], float]) -> bytes:
        """Return the rest of the body; as `pieces`."""
        return b"".join(self.pieces(left_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
