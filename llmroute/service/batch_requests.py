"""`LLMService.generate_batch`: requests of a program at the batch APIs of providers."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmroute.bulk.batch_result import BatchResult
from llmroute.bulk.concurrency import CONCURRENCY
from llmroute.bulk.executor import generate_many
from llmroute.bulk.requests import require_several, work_items
from llmroute.errors import LedgerError, LLMRouteError, OutputError, RequestError
from llmroute.jobs.run_lock import run_locked
from llmroute.request.fields import printable
from llmroute.service.request_digest import digest_of
from llmroute.types import BATCH, AnswerSchema

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence

    from llmroute.bulk.worker_pool import WorkItem
    from llmroute.jobs.collecting.outcomes import LineOutcome
    from llmroute.jobs.run import JobRun, RunProgress
    from llmroute.jobs.run_settings import RunSettings
    from llmroute.request.options import Options
    from llmroute.service.core import ServiceCore
    from llmroute.types import AttemptRecord, LLMResponse


_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


async def generate_batch(
    core: ServiceCore,
    requests: Iterable[str | Mapping[str, Any] | Options] | AsyncIterable[str | Mapping[str, Any] | Options],
    settings: RunSettings,
    budget_usd: float | None,
    name: str | None,
) -> AsyncGenerator[BatchResult]:
    """Yield the result of each request in order, as soon as those before it have theirs.

    The jobs of an earlier call are continued that had the same requests and name and whose results were not all read.

    Raises:
        RequestError: the requests are a single one, or the name is invalid, that of other requests, or in use.
    """
    require_several(requests)
    if name is not None and not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise RequestError(f"name {printable(name)} is not 1 to 64 of the characters A-Z a-z 0-9 . _ -", option="name")
    items = [item async for item in work_items(requests)]
    digest = digest_of(item.options for item in items)
    key = name or f"requests:{digest[:32]}"
    settings = settings._replace(output=key, input_digest=digest, resume=True, confirms=True)
    batch = _Batch(core, items, settings, budget_usd)
    context = core.job_context()
    # A caller that leaves in the middle may close the service before this ends.
    with core.resources.in_use():
        # The ledger comes first, which creates the folder of both.
        await context.run(lambda: context.journal)
        async with run_locked(context.folder, key), aclosing(_results(batch)) as results:
            async for result in results:
                yield result


async def _results(batch: _Batch) -> AsyncGenerator[BatchResult]:
    running = asyncio.ensure_future(batch.run())
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
        # The caller requested another result after the last one, so it has them all.
        await batch.job_run.confirm()
    finally:
        batch.job_run.interrupt()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await batch.job_run.end()


class _Batch:
    """The requests of one call, and their results by position until they are yielded."""

    def __init__(
        self, core: ServiceCore, items: Sequence[WorkItem], settings: RunSettings, budget_usd: float | None
    ) -> None:
        self._core = core
        self._rescue = settings.rescue
        self._left = dict(enumerate(items))
        # The attempts of lines that are to be answered by ordinary calls, by position.
        self._rescued: dict[int, tuple[AttemptRecord, ...]] = {}
        self.results: dict[int, BatchResult] = {}
        self.changed = asyncio.Event()
        self.job_run: JobRun = core.job_run(settings, self._deliver, _ignore, budget_usd=budget_usd)

    async def run(self) -> None:
        """Submit every request that is in no job yet, and see all to their end."""
        with self._core.resources.in_use():
            await self._run()

    async def _run(self) -> None:
        items = [*self._left.items()]
        await self.job_run.begin()
        placed = await self.job_run.placed(0, len(items))
        for position, item in items:
            if position in placed and self.job_run.is_open(placed[position]):
                self._know_class(item.options)
            else:
                await self._take(position, item)
        await self.job_run.finish()
        for refused in self.job_run.refused:
            assert self.job_run.stopped_by is not None
            self._end(refused, None, self.job_run.stopped_by)
        await self._answer_others()

    def _know_class(self, options: Options | LLMRouteError) -> None:
        schema = getattr(options, "schema", None)
        model = schema.model if isinstance(schema, AnswerSchema) else schema
        if isinstance(model, type):
            self.job_run.know(model)

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
        executor = self._core.bulk(CONCURRENCY, shared_budget=self.job_run.shared_budget)
        rescued, error = iter(self._rescued.items()), None
        async for result in generate_many(executor, plain, concurrency=CONCURRENCY, in_order=True):
            position, before = next(rescued)
            error = result.error or error
            self._end(position, result.response and _after(before, result.response), result.error)
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
