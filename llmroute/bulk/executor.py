"""Execute many requests of one service: shared plans, limits per provider and a shared budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmroute.bulk.limiter import ConcurrencyLimiter
from llmroute.bulk.plan_cache import PlanCache
from llmroute.bulk.rounds import RetryRounds
from llmroute.bulk.throttle import ThrottledWriter
from llmroute.bulk.worker_pool import BatchResult, WorkerPool, WorkItem
from llmroute.errors import RequestError
from llmroute.execution.accounting.budget import RequestBudget
from llmroute.execution.clock import Clock
from llmroute.execution.drivers import drive_async
from llmroute.execution.prepare import rendered, require_call
from llmroute.providers import PROVIDERS
from llmroute.request.fields import printable
from llmroute.request.options import Options
from llmroute.routing.router import is_upgrade
from llmroute.text.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from llmroute.bulk.worker_pool import Round
    from llmroute.execution.accounting.budget import SharedBudget
    from llmroute.execution.prepare import RequestFactory
    from llmroute.execution.resources import Resources
    from llmroute.routing.plan import Plan


class BulkExecutor:
    """Executes many requests: similar ones share a plan, and each attempt waits for its provider and the budget."""

    def __init__(
        self, factory: RequestFactory, resources: Resources, *, jobs: int, shared_budget: SharedBudget | None
    ) -> None:
        self._factory = factory
        self._resources = resources
        self._shared_budget = shared_budget
        self._plans = PlanCache(factory, resources.threads(), paced=True)
        self._limiter = ConcurrencyLimiter(jobs, lambda provider: PROVIDERS[provider].local)
        self._writer = ThrottledWriter(
            resources.async_writer, self._limiter, shared_budget, self._plans.note_failure, capped=factory.capped
        )

    def wind_down(self) -> None:
        """Begin no more attempts: tasks that are about to begin one are cancelled; attempts in flight finish."""
        self._writer.wind_down()

    async def plan(self, options: Options) -> Plan:
        """Return the plan of a request, with as many fallbacks as are planned up front.  Sends nothing.

        Raises:
            LLMRouteError: no model can be tried; the class says why.
        """
        options = _refusing_on_budget(options)
        patience = self._factory.begin(options, paced=True)
        ready = await rendered(options, self._resources.threads(), streaming=False)
        return (await self._plans.plan(ready, patience)).plan

    def rounds(self, options: Options) -> Callable[[], Round | None]:
        """Return a function that starts the next round of a request, or returns None when no attempts are left."""
        options, rounds = _refusing_on_budget(options), RetryRounds()
        return lambda: None if rounds.exhausted else self._round(options, rounds)

    async def _round(self, options: Options, rounds: RetryRounds) -> Round:
        """Run one round of a request: yield its response, then settle it.

        Raises:
            LLMRouteError: the request failed; the class says why.
        """
        require_call(options)
        clock, patience = Clock(), self._factory.begin(options, paced=True)
        ready = await rendered(options, self._resources.threads(), streaming=False)
        plan, others = await self._plans.plan(ready, patience)
        if not (options.model or options.provider or options.is_listed):
            plan = self._with_room_first(plan)
        rounds.budget = budget = rounds.budget or RequestBudget(options.budget_picousd, self._shared_budget)
        resources = self._resources
        request = self._factory.call(ready, plan, budget, clock=clock, patience=patience, others=others, paced=True)
        if rounds.started and request.others is not None:
            # Some fallbacks were not tried yet: they come before further attempts of the first models.
            rest = await resources.threads().run(request.others)
            request = request._replace(plan=rest._replace(entries=(*plan.entries, *rest.entries)), others=None)
        request = rounds.next_round(request, listed=options.is_listed)
        flow = drive_async(request, resources.async_sender(), self._writer.sleep, self._writer, resources.threads())
        async with aclosing(flow) as pieces:
            async for piece in pieces:
                yield piece

    def _with_room_first(self, plan: Plan) -> Plan:
        """Start with the best model whose provider has room, unless it costs much more than the first choice."""
        if self._limiter.has_room(plan.entries[0].model.provider):
            return plan
        for entry in plan.entries[1:]:
            if self._limiter.has_room(entry.model.provider) and not is_upgrade(entry.candidate, plan.first_choice):
                return plan.led_by(entry)
        return plan


def _refusing_on_budget(options: Options) -> Options:
    """Return options that refuse instead of switching models on a spent budget, if they name one model.

    Otherwise a batch would be answered by two models, with only a field in its results to tell.
    """
    if options.on_budget is None and options.model and not options.fallback:
        return replace(options, on_budget="refuse")
    return options


async def generate_many(
    executor: BulkExecutor,
    requests: Iterable[str | Mapping[str, Any] | Options] | AsyncIterable[str | Mapping[str, Any] | Options],
    *,
    jobs: int,
    in_order: bool,
) -> AsyncIterator[BatchResult]:
    """Yield the result of each request; requests are sent no faster than results are read."""
    results: asyncio.Queue[BatchResult | None] = asyncio.Queue(maxsize=jobs)
    pool = WorkerPool(executor.rounds, results.put, jobs=jobs, in_order=in_order)
    items = work_items(requests)

    async def take() -> WorkItem | None:
        return await anext(items, None)

    producing = asyncio.ensure_future(pool.run(take))
    # None wakes a reader that waits for a result; if the queue is full, no reader waits.
    producing.add_done_callback(lambda _done: None if results.full() else results.put_nowait(None))
    try:
        while not (producing.done() and results.empty()):
            if (result := await results.get()) is not None:
                yield result
        await producing
    finally:
        producing.cancel()
        await asyncio.gather(producing, return_exceptions=True)
        await items.aclose()


async def work_items(requests: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[WorkItem]:
    """Yield the requests of a program as options, or the error that makes one invalid."""
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield _work_item(request)
    elif isinstance(requests, Iterable):
        for request in requests:
            yield _work_item(request)
    else:
        raise RequestError(f"requests: {printable(requests)} is not an iterable of requests", option="requests")


def _work_item(request: Any) -> WorkItem:
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
