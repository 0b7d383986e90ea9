"""A streamed answer as a program reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from llmroute.errors import LLMRouteError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llmroute.types import LLMResponse


class Stream:
    """The pieces of a streamed answer; `response` is the whole once they have ended."""

    def __init__(self, pieces: AsyncIterator[str | LLMResponse]) -> None:
        self._pieces = pieces
        self._response: LLMResponse | None = None

    @property
    def response(self) -> LLMResponse:
        """The whole answer with usage and cost.

        Raises:
            LLMRouteError: the stream has not ended yet.
        """
        if self._response is None:
            raise LLMRouteError("the response of a stream is there when the stream has ended")
        return self._response

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
