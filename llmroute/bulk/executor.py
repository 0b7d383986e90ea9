"""Execute many requests of one service: shared plans, limits per provider and a shared budget."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmroute.bulk.limiter import ConcurrencyLimiter
from llmroute.bulk.plan_cache import PlanCache
from llmroute.bulk.requests import work_item, work_items
from llmroute.bulk.rounds import RetryRounds
from llmroute.bulk.shared_prompts import SharedPrompts, read_ahead
from llmroute.bulk.throttled_writer import ThrottledWriter
from llmroute.bulk.worker_pool import WorkerPool, WorkItem
from llmroute.execution.accounting.budget import RequestBudget
from llmroute.execution.clock import Clock
from llmroute.execution.drivers import drive_async
from llmroute.execution.prepare import rendered, require_call
from llmroute.providers import PROVIDERS
from llmroute.request.attached import cache_mark
from llmroute.request.options import Options
from llmroute.routing.router import is_upgrade
from llmroute.routing.strategies import expected_latency_s

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Mapping

    from llmroute.bulk.batch_result import BatchResult
    from llmroute.bulk.plan_cache import SharedPlan
    from llmroute.bulk.shared_prompts import SharedPart
    from llmroute.bulk.worker_pool import Round
    from llmroute.errors import LLMRouteError
    from llmroute.execution.accounting.budget import SharedBudget
    from llmroute.execution.prepare import RequestFactory
    from llmroute.execution.resources import Resources
    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.request.rendered import RenderedRequest
    from llmroute.routing.plan import Plan
    from llmroute.types import AttemptRecord, CacheLife

FIVE_MINUTES_S = 300.0


class BulkExecutor:
    """Executes many requests: similar ones share a plan, and each attempt waits for its provider and the budget."""

    def __init__(
        self,
        factory: RequestFactory,
        resources: Resources,
        *,
        concurrency: int,
        shared_budget: SharedBudget | None,
        requests: int | None = None,
    ) -> None:
        """`requests` is how many requests there will be, None if unknown."""
        self._concurrency = concurrency
        self._requests = requests
        self._cache_life: CacheLife | None = None
        self._shared = SharedPrompts()
        self._factory = factory
        self._resources = resources
        self._shared_budget = shared_budget
        self._plans = PlanCache(factory, resources.threads(), paced=True)
        self._limiter = ConcurrencyLimiter(concurrency, lambda provider: PROVIDERS[provider].local)
        self._writer = ThrottledWriter(
            resources.async_writer, self._limiter, shared_budget, self._plans.note_failure, capped=factory.capped
        )

    def expect(self, options: Options | LLMRouteError) -> int:
        """Note a request that will come, whose beginning others may share; return the characters of its prompt."""
        self._shared.note(options)
        return len(options.prompt) if isinstance(options, Options) and isinstance(options.prompt, str) else 0

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
        _, shared_plan = await self._planned(ready, self._shared.part_of(options), patience)
        return shared_plan.plan

    async def _planned(
        self, ready: RenderedRequest, part: SharedPart | None, patience: LockTimeout
    ) -> tuple[RenderedRequest, SharedPlan]:
        """Return a request with the beginning marked that it shares, and its plan."""
        if part is None:
            return ready, await self._plans.plan(ready, patience)
        ready = _marked(ready, part, self._cache_life or "5m")
        found = await self._plans.plan(ready, patience)
        if self._cache_life is None:
            answer_s = expected_latency_s(found.plan.entries[0].candidate)
            is_long = (self._requests or 0) * answer_s / self._concurrency > FIVE_MINUTES_S
            self._cache_life = "1h" if is_long else "5m"
            if is_long:
                return await self._planned(ready, part, patience)
        return ready, found

    def rounds(self, options: Options, on_attempt: Callable[[AttemptRecord], None]) -> Callable[[], Round | None]:
        """Return a function that starts the next round of a request, or returns None when no attempts are left.

        `on_attempt` receives the record of each attempt that has ended.
        """
        options, rounds = _refusing_on_budget(options), RetryRounds(on_attempt)
        part = self._shared.part_of(options)
        if part is None:
            return lambda: None if rounds.exhausted else self._round(options, rounds, None)
        return lambda: None if rounds.exhausted else self._in_turn(options, rounds, part)

    async def _in_turn(self, options: Options, rounds: RetryRounds, part: SharedPart) -> Round:
        """Run one round of a request after the answer to the first one that begins like it."""
        leads = await self._shared.leads(part)
        try:
            async with aclosing(self._round(options, rounds, part)) as pieces:
                async for piece in pieces:
                    if leads:
                        self._shared.let_others_follow(part)
                    yield piece
        finally:
            if leads:
                self._shared.let_others_follow(part)

    async def _round(self, options: Options, rounds: RetryRounds, part: SharedPart | None) -> Round:
        """Run one round of a request: yield its response, then settle it.

        Raises:
            LLMRouteError: the request failed; the class says why.
        """
        require_call(options)
        clock, patience = Clock(), self._factory.begin(options, paced=True)
        ready = await rendered(options, self._resources.threads(), streaming=False)
        ready, (plan, others) = await self._planned(ready, part, patience)
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


def _marked(ready: RenderedRequest, part: SharedPart, life: CacheLife) -> RenderedRequest:
    """Return a request with a mark after the beginning that it shares with others."""
    mark = cache_mark(ready.prompt.attachments[: part.attachments], life, certain=part.certain)
    return ready._replace(prompt=ready.prompt._replace(cache=mark), size=ready.size._replace(cache=life))


def _refusing_on_budget(options: Options) -> Options:
    """Return options that refuse instead of switching models on a spent budget, if they name one model.

    Otherwise two models would answer one batch, visible only in a field of its results.
    """
    if options.on_budget is None and options.model and not options.fallback:
        return replace(options, on_budget="refuse")
    return options


async def generate_many(
    executor: BulkExecutor,
    requests: Iterable[str | Mapping[str, Any] | Options] | AsyncIterable[str | Mapping[str, Any] | Options],
    *,
    concurrency: int,
    in_order: bool,
) -> AsyncIterator[BatchResult]:
    """Yield the result of each request; requests are sent no faster than results are read."""
    results: asyncio.Queue[BatchResult | None] = asyncio.Queue(maxsize=concurrency)
    pool = WorkerPool(executor.rounds, results.put, concurrency=concurrency, in_order=in_order)
    if isinstance(requests, list | tuple):
        requests = read_ahead(requests, lambda request: executor.expect(work_item(request).options))
        items = work_items(requests)
    else:
        items = _each_expected(work_items(requests), executor)

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


async def _each_expected(items: AsyncGenerator[WorkItem], executor: BulkExecutor) -> AsyncGenerator[WorkItem]:
    async with aclosing(items):
        async for item in items:
            executor.expect(item.options)
            yield item
