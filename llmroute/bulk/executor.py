"""Many requests of one service: what they share, and the library's way of asking for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmroute.bulk.limiter import ConcurrencyLimiter
from llmroute.bulk.plan_cache import SharedPlans
from llmroute.bulk.rounds import Rounds
from llmroute.bulk.throttle import ThrottledWriter
from llmroute.bulk.worker_pool import BatchResult, WorkerPool, WorkItem
from llmroute.errors import RequestError
from llmroute.execution.accounting.budget import RequestBudget
from llmroute.execution.drivers import drive_async
from llmroute.execution.flow import run
from llmroute.execution.request import Clock
from llmroute.providers import PROVIDERS
from llmroute.request.option_types import shown
from llmroute.request.options import Options
from llmroute.routing.router import is_upgrade
from llmroute.text.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from llmroute.execution.accounting.budget import SharedBudget
    from llmroute.execution.prepare import RequestFactory
    from llmroute.execution.resources import Resources
    from llmroute.routing.plan import Plan
    from llmroute.types import LLMResponse

_END = object()


class BulkExecutor:
    """Makes each of many requests: plans are shared, calls to a provider are paced, money comes from one pot."""

    def __init__(self, calls: RequestFactory, opened: Resources, *, jobs: int, pot: SharedBudget | None) -> None:
        self._calls = calls
        self._opened = opened
        self._pot = pot
        self._plans = SharedPlans(calls, opened.threads(), paced=True)
        self._gate = ConcurrencyLimiter(jobs, lambda provider: PROVIDERS[provider].local)
        self._books = ThrottledWriter(
            opened.async_books, self._gate, pot, self._plans.note_failure, capped=calls.capped
        )

    def wind_down(self) -> None:
        """Begin no attempt any more: tasks that come to one are cancelled; what was sent is not touched."""
        self._books.wind_down()

    async def plan(self, options: Options) -> Plan:
        """Return the plan of a request, as far as it is worked out before a failure; nothing is sent.

        Raises:
            LLMRouteError: by its class, why nothing would be tried.
        """
        options = _on_budget(options)
        patience = self._calls.begin(options, paced=True)
        return (await self._plans.plan(options, options.rendered_prompt(streaming=False), patience)).plan

    def asking(self, options: Options) -> Callable[[], AsyncGenerator[str | LLMResponse] | None]:
        """Return what makes a request out of one purse as often as it is called; None where no call is left to it."""
        purse: RequestBudget | None = None
        options = _on_budget(options)
        rounds = Rounds()

        def shared_purse() -> RequestBudget:
            nonlocal purse
            purse = purse or RequestBudget(options.budget_picousd, self._pot)
            return purse

        return lambda: None if rounds.over else self._answer(options, shared_purse, rounds)

    async def _answer(
        self, options: Options, purse: Callable[[], RequestBudget], rounds: Rounds
    ) -> AsyncGenerator[str | LLMResponse]:
        """Make a request: yield its response, then settle it.

        Raises:
            LLMRouteError: by its class, what happened.
        """
        clock, patience = Clock(), self._calls.begin(options, paced=True)
        prompt = options.rendered_prompt(streaming=False)
        plan, others = await self._plans.plan(options, prompt, patience)
        if not (options.model or options.provider or options.is_listed):
            plan = self._spread(plan)
        opened = self._opened
        call = self._calls.call(
            options, prompt, plan, purse(), clock=clock, patience=patience, others=others, paced=True
        )
        if rounds.begun and call.others is not None:
            # Of those that may stand in, some were not called yet: it is their turn.
            rest = await opened.threads().run(call.others)
            call = call._replace(plan=rest._replace(entries=(*plan.entries, *rest.entries)), others=None)
        call = rounds.limited(call, listed=options.is_listed)._replace(leave=self._books.leave)
        flow = drive_async(run(call), opened.async_sender(), self._books.rest, self._books, opened.threads())
        async with aclosing(flow) as pieces:
            async for piece in pieces:
                yield piece

    def _spread(self, plan: Plan) -> Plan:
        """Begin with the best model whose provider has room, unless it costs more than the best may be replaced by."""
        first = plan.entries[0]
        if self._gate.has_room(first.model.provider):
            return plan
        for entry in plan.entries[1:]:
            if self._gate.has_room(entry.model.provider) and not is_upgrade(entry.candidate, plan.first_choice):
                return plan.led_by(entry)
        return plan


def _on_budget(options: Options) -> Options:
    """Let a model that was named for many requests answer all of them, or none once the budget does not allow it.

    Half of a job by one model and half by another would be told apart by nothing in its results but a field.
    """
    if options.on_budget is None and options.model and not options.fallback:
        return replace(options, on_budget="refuse")
    return options


async def generate_many(
    bulk: BulkExecutor,
    requests: Iterable[str | Mapping[str, Any] | Options] | AsyncIterable[str | Mapping[str, Any] | Options],
    *,
    jobs: int,
    in_order: bool,
) -> AsyncIterator[BatchResult]:
    """Yield what comes of each request; whoever reads slowly lets no more be made."""
    results: asyncio.Queue[BatchResult | None] = asyncio.Queue(maxsize=jobs)
    many = WorkerPool(bulk.asking, results.put, jobs=jobs, in_order=in_order)
    producing = asyncio.ensure_future(many.run(_taker(requests)))
    # Whoever waits for a result hears that there will be none; a queue that is full has nobody waiting.
    producing.add_done_callback(lambda _done: None if results.full() else results.put_nowait(None))
    try:
        while not (producing.done() and results.empty()):
            if (result := await results.get()) is not None:
                yield result
        await producing
    finally:
        producing.cancel()
        await asyncio.gather(producing, return_exceptions=True)


def _taker(requests: Iterable[Any] | AsyncIterable[Any]) -> Callable[[], Awaitable[WorkItem | None]]:
    """Return what takes one request after the other, and None at their end."""
    if isinstance(requests, AsyncIterable):
        later = aiter(requests)

        async def await_one() -> WorkItem | None:
            request = await anext(later, _END)
            return None if request is _END else _task(request)

        return await_one
    if not isinstance(requests, Iterable):
        raise RequestError(f"requests: {shown(requests)} is not an iterable of requests", option="requests")
    now = iter(requests)

    async def take_one() -> WorkItem | None:
        request = next(now, _END)
        return None if request is _END else _task(request)

    return take_one


def _task(request: Any) -> WorkItem:
    if isinstance(request, Options):
        return WorkItem(request, request)
    if not isinstance(request, Mapping):
        return WorkItem(Options(prompt=request), request)
    for name in request:
        if name not in Options.__match_args__:
            near = nearest(str(name), Options.__match_args__)
            hint = f"did you mean {near}?" if near else None
            return WorkItem(RequestError(f"a request has no option {shown(name)}", hint=hint), request)
    return WorkItem(Options(**request), request)
