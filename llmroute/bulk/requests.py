"""The requests that a program passes: each as options, or as the error that makes it invalid."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from typing import Any

from llmroute.bulk.worker_pool import WorkItem
from llmroute.errors import RequestError
from llmroute.request.fields import printable
from llmroute.request.options import Options
from llmroute.text.suggest import nearest


def require_several(requests: object) -> None:
    """Reject a single request in place of many.

    Raises:
        RequestError: the requests are a text or the fields of one.
    """
    if isinstance(requests, str | bytes | Mapping):
        raise RequestError("the requests are one request: give a list of them")


async def work_items(requests: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[WorkItem]:
    """Yield the requests of a program as options, or the error that makes one invalid."""
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield work_item(request)
    elif isinstance(requests, Iterable):
        for request in requests:
            yield work_item(request)
    else:
        raise RequestError(f"requests: {printable(requests)} is not an iterable of requests", option="requests")


def work_item(request: Any) -> WorkItem:
    """Return a request as options, or the error that makes it invalid."""
    if isinstance(request, Options):
        return WorkItem(request, request)
    if not isinstance(request, Mapping):
        return WorkItem(Options(prompt=request), request)
    for name in request:
        if name not in Options.__match_args__:
            near = nearest(str(name), Options.__match_args__)
            hint = f"did you mean {near}?" if near else None
            return WorkItem(RequestError(f"a request has no option {printable(name)}", hint=hint), request)
    return WorkItem(Options(**request), request)
