"""Streams of answers: asynchronous and blocking iterators over text chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from llmroute.errors import LLMRouteError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from types import TracebackType

    from llmroute.types import LLMResponse


class _Answered:
    """Holds the response of a streamed answer."""

    _response: LLMResponse | None = None

    @property
    def response(self) -> LLMResponse:
        """The complete response with usage and cost.

        Raises:
            LLMRouteError: the stream has not ended yet.
        """
        if self._response is None:
            raise LLMRouteError("the response of a stream is available after its last chunk")
        return self._response


class Stream(_Answered):
    """The pieces of a streamed answer; `response` is the whole once they have ended.

    An async context manager that breaks the answer off where its block is left.
    """

    def __init__(self, pieces: AsyncIterator[str | LLMResponse]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        async for piece in self._pieces:
            if isinstance(piece, str):
                return piece
            self._response = piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Break the answer off; the attempt is settled as interrupted."""
        await self._pieces.aclose()  # type: ignore[attr-defined]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()


class SyncStream(_Answered):
    """As `Stream`, for blocking callers; a context manager that breaks the answer off where its block is left."""

    def __init__(self, pieces: Generator[str | LLMResponse, None, None]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        for piece in self._pieces:
            if isinstance(piece, str):
                return piece
            self._response = piece
        raise StopIteration

    def close(self) -> None:
        """Break the answer off; the attempt is settled as interrupted."""
        self._pieces.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
