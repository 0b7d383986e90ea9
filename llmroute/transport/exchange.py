"""An answer whose head is there, as it is read by blocking."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType


class BlockingExchange(ABC):
    """`status`, `headers` (lower-case names), and a body to be read; leaving its context closes it."""

    status: int
    headers: dict[str, str]

    @abstractmethod
    def read(self, within_s: float) -> bytes:
        """Return the next bytes of the body, all that have come; empty at its end.

        Raises:
            ProviderTimeoutError: nothing came within `within_s` seconds.
            UnreachableError: the connection broke.
            BadOutputError: the body is larger than MAX_BODY_BYTES, or is not encoded as its headers say.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the connection; it is closed if the body was not read to its end."""

    def pieces(self, left_s: Callable[[], float]) -> Iterator[bytes]:
        """Yield the rest of the body as it comes, each piece within as many seconds as are left then.

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
