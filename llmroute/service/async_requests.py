"""Requests of an event loop: planned together with those that are alike, within the deadline of each."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from llmroute.bulk.plan_cache import PlanCache
from llmroute.execution.accounting.budget import RequestBudget
from llmroute.execution.clock import Clock
from llmroute.execution.concurrency.per_loop import PerLoop
from llmroute.execution.drivers import drive_async
from llmroute.execution.prepare import rendered, require_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from llmroute.execution.prepare import RequestFactory
    from llmroute.execution.request import RequestContext
    from llmroute.execution.resources import Resources
    from llmroute.request.options import Options
    from llmroute.types import AttemptRecord, LLMResponse


class AsyncRequests:
    """Answers requests by awaiting; any number at once, in any number of event loops."""

    def __init__(self, calls: RequestFactory, opened: Resources) -> None:
        self._calls = calls
        self._opened = opened
        threads = opened.threads()
        self._plans = PerLoop(lambda: PlanCache(calls, threads, paced=False))

    async def answer(self, options: Options, *, streaming: bool) -> AsyncIterator[str | LLMResponse]:
        """Yield the pieces of a streamed answer, then the response.

        Raises:
            LLMRouteError: the request failed; its class says why.
        """
        opened = self._opened
        with opened.in_use():
            sender, writer = opened.async_sender(), opened.async_writer()
            call = await self._ready(options, streaming=streaming)
            flow = drive_async(call, sender, asyncio.sleep, writer, opened.threads())
            # A caller that leaves in the middle waits until the attempt is settled.
            async with aclosing(flow) as pieces:
                async for piece in pieces:
                    yield piece

    async def _ready(self, options: Options, *, streaming: bool) -> RequestContext:
        """Plan and prepare a request; its deadline begins now."""
        require_call(options)
        clock, patience = Clock(), self._calls.begin(options)
        request = await rendered(options, self._opened.threads(), streaming=streaming)
        plans = self._plans.get()
        plan, others = await plans.plan(request, patience)
        budget = RequestBudget(options.budget_picousd)
        call = self._calls.call(request, plan, budget, clock=clock, patience=patience, others=others)

        def on_attempt(record: AttemptRecord) -> None:
            if record.error is not None:
                plans.note_failure()
            call.on_attempt(record)

        return call._replace(on_attempt=on_attempt)

    def plan_anew(self) -> None:
        """Discard the cached plans of all loops, because the statistics have changed."""
        for plans in self._plans.every():
            plans.invalidate()
