"""The result of one of many requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from llmroute.errors import LLMRouteError
    from llmroute.types import LLMResponse


class BatchResult(NamedTuple):
    """A response or an error.  `request` is the request as it was given."""

    request: Any
    response: LLMResponse | None
    error: LLMRouteError | None
