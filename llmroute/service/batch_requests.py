"""`LLMService.generate_batch`: requests of a program at the batch APIs of providers."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmroute.bulk.executor import generate_many, work_items
from llmroute.bulk.worker_pool import BatchResult
from llmroute.errors import LedgerError, LLMRouteError, OutputError
from llmroute.request.options import JOBS
from llmroute.types import BATCH

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping

    from llmroute.bulk.worker_pool import WorkItem
    from llmroute.jobs.collecting.outcomes import LineOutcome
    from llmroute.jobs.run import JobRun, RunProgress
    from llmroute.jobs.run_settings import RunSettings
    from llmroute.request.options import Options
    from llmroute.service.core import ServiceCore
    from llmroute.types import AttemptRecord, LLMResponse


async def generate_batch(
    core: ServiceCore,
    requests: Iterable[str | Mapping[str, Any] | Options] | AsyncIterable[str | Mapping[str, Any] | Options],
    settings: RunSettings,
    budget_usd: float | None,
) -> AsyncIterator[BatchResult]:
    """Yield the result of each request in order, as soon as those before it have theirs."""
    batch = _Batch(core, settings, budget_usd)
    running = asyncio.ensure_future(batch.run(requests))
    running.add_done_callback(lambda _done: batch.changed.set())
    try:
        position = 0
        while not running.done() or position in batch.results:
            await batch.changed.wait()
            batch.changed.clear()
            while (result := batch.results.pop(position, None)) is not None:
                position += 1
                yield result
        await running
    finally:
        batch.job_run.interrupt()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class _Batch:
    """The requests of one call, and their results by position until they are yielded."""

    def __init__(self, core: ServiceCore, settings: RunSettings, budget_usd: float | None) -> None:
        self._core = core
        self._rescue = settings.rescue
        self._left: dict[int, WorkItem] = {}
        # The attempts of lines that are to be answered by ordinary calls, by position.
        self._rescued: dict[int, tuple[AttemptRecord, ...]] = {}
        self.results: dict[int, BatchResult] = {}
        self.changed = asyncio.Event()
        self.job_run: JobRun = core.job_run(settings, self._deliver, _ignore, budget_usd=budget_usd)

    async def run(self, requests: Iterable[Any] | AsyncIterable[Any]) -> None:
        """Submit every request, and see it to its end."""
        await self.job_run.begin()
        position = 0
        async for item in work_items(requests):
            self._left[position] = item
            await self._take(position, item)
            position += 1
        await self.job_run.finish()
        for refused in self.job_run.refused:
            assert self.job_run.stopped_by is not None
            self._end(refused, None, self.job_run.stopped_by)
        await self._answer_others()

    async def _take(self, position: int, item: WorkItem) -> None:
        try:
            if isinstance(item.options, LLMRouteError):
                raise item.options
            if self.job_run.stopped_by is not None:
                raise self.job_run.stopped_by
            await self.job_run.take(position, json.dumps(position), replace(item.options, tier=BATCH))
        except (LedgerError, OutputError):
            raise
        except LLMRouteError as error:
            self._end(position, None, error)

    async def _deliver(self, outcome: LineOutcome) -> None:
        if outcome.can_rescue and self._rescue:
            self._rescued[outcome.position] = () if outcome.error is None else outcome.error.attempts
        else:
            self._end(outcome.position, outcome.response, outcome.error)

    def _end(self, position: int, response: Any, error: LLMRouteError | None) -> None:
        if (item := self._left.pop(position, None)) is not None:
            self.results[position] = BatchResult(item.request, response, error)
            self.changed.set()

    async def _answer_others(self) -> None:
        """Answer by ordinary calls what no job has run."""
        if not self._rescued:
            return
        items = [self._left[position].options for position in self._rescued]
        plain = [replace(options, tier=None) for options in items if not isinstance(options, LLMRouteError)]
        executor = self._core.bulk(jobs=JOBS, shared_budget=self.job_run.shared_budget)
        rescued, error = iter(self._rescued.items()), None
        async for result in generate_many(executor, plain, jobs=JOBS, in_order=True):
            position, before = next(rescued)
            error = result.error
            self._end(position, result.response and _after(before, result.response), error)
        for position, _ in rescued:
            # The budget is spent, or no provider answers: the last error says which.
            self._end(position, None, error)


def _after(before: tuple[AttemptRecord, ...], response: LLMResponse) -> LLMResponse:
    """Return a response with the attempts that its request needed before."""
    attempts = (*before, *response.attempts)
    costs = [attempt.cost_usd for attempt in attempts]
    cost_usd = None if None in costs else sum(cost for cost in costs if cost is not None)
    return replace(response, attempts=attempts, cost_usd=cost_usd)


def _ignore(progress: RunProgress) -> None:
    """Show nothing."""
