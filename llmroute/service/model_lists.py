"""The providers' own lists of models: free, side by side, and within five seconds."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from llmroute.errors import LLMRouteError, ProviderTimeoutError
from llmroute.types.request import HTTP_OK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from llmroute.providers import ListedModel, ModelPage, Provider
    from llmroute.transport.loop_sender import AnySender
    from llmroute.types import HTTPRequest

T = TypeVar("T")

WITHIN_S = 5.0
MAX_PAGES = 50


def side_by_side(
    fetch: Callable[[str, float], T], names: Iterable[str], within_s: float = WITHIN_S
) -> dict[str, T | LLMRouteError]:
    """Call `fetch` concurrently, with each name and the monotonic time by which it must return.

    An error is returned in place of a result.  Nothing is waited for beyond that time, not even a thread that
    resolves a name, which cannot be interrupted.
    """
    until = time.monotonic() + within_s
    answers: SimpleQueue[tuple[str, T | LLMRouteError | BaseException]] = SimpleQueue()

    def work(name: str) -> None:
        try:
            answers.put((name, fetch(name, until)))
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that asked)
            answers.put((name, error))

    def late(name: str) -> ProviderTimeoutError:
        return ProviderTimeoutError(f"no answer within {within_s:g} s", provider=name)

    found: dict[str, T | LLMRouteError] = {name: late(name) for name in names}
    for name in found:
        threading.Thread(target=work, args=(name,), daemon=True).start()
    for _ in found:
        try:
            name, answer = answers.get(timeout=max(until - time.monotonic(), 0) + 0.1)
        except Empty:
            break
        if isinstance(answer, BaseException) and not isinstance(answer, LLMRouteError):
            raise answer
        # Which of its waits ran out, and how much of the time was left for that one, is of no use to anybody.
        found[name] = late(name) if isinstance(answer, ProviderTimeoutError) else answer
    return found


def fetch_models(sender: AnySender, provider: Provider, until: float) -> tuple[ListedModel, ...]:
    """Return every model of the provider's list, page after page.

    Raises:
        AttemptError: the list did not come, or is none.
    """
    page = _fetch_page(sender, provider, provider.render_models(), until)
    models = list(page.models)
    for _ in range(MAX_PAGES):
        if page.next_request is None:
            break
        page = _fetch_page(sender, provider, page.next_request, until)
        models += page.models
    return tuple(models)


def _fetch_page(sender: AnySender, provider: Provider, request: HTTPRequest, until: float) -> ModelPage:
    def left_s() -> float:
        return max(until - time.monotonic(), 0.001)

    # The sender adds up the two: neither a slow line nor a slow server may take the time twice.
    with sender.open(request, connect_s=left_s() / 2, answer_s=left_s() / 2) as exchange:
        body = exchange.read_all(left_s)
    if exchange.status != HTTP_OK:
        raise provider.parse_error(exchange.status, exchange.headers, body)
    return provider.parse_models(body)
