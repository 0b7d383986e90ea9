"""Plans shared by similar concurrent requests: models are ranked once per second for each kind of request.

The parts of a plan that depend on a request's own size, its costs and whether it fits a context window, are computed
for each request.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import fields
from functools import partial
from math import log2
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import LLMRouteError
from llmroute.execution.clock import deadline_error
from llmroute.planning.candidates import sized
from llmroute.request.options import Options
from llmroute.routing.actions import MAX_ATTEMPTS
from llmroute.routing.exclusions import exclude

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from llmroute.execution.concurrency.threads import Threads
    from llmroute.execution.prepare import RequestFactory
    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.planning.planner import Planner
    from llmroute.request.rendered import RenderedRequest
    from llmroute.routing.plan import Plan, RankedCandidate
    from llmroute.routing.token_estimate import PromptSize

MAX_AGE_S = 1.0
# After a failure, which may have opened a circuit; not at once, because concurrent requests often fail together.
MAX_AGE_AFTER_FAILURE_S = 0.25
# Prompts share a plan if their sizes differ by less than this power of two.
SIZE_STEP = 0.25
MAX_PLANS = 64
# Options that are not part of the key as they are: texts and lists, and those that do not influence the choice.
_LISTS_AND_TEXTS = ("fallback", "stop", "prompt", "system", "messages", "schema", "attachments", "attachment_type")
_IRRELEVANT = (
    "execution_id",
    "workspace_id",
    "timeout_s",
    "atomic",
    "fallback_on",
    "max_attempts",
    "check",
    "max_rejections",
)
_key_options = attrgetter(
    *(field.name for field in fields(Options) if field.name not in (*_LISTS_AND_TEXTS, *_IRRELEVANT))
)


class SharedPlan(NamedTuple):
    """The plan of one request; `others` computes its remaining candidates, None where the plan has all."""

    plan: Plan
    others: Callable[[], Plan] | None


class _CachedPlan:
    """A plan that requests share: its first candidates, and the complete plan once a request needs it."""

    def __init__(self, first: Plan, complete: Callable[[], Plan] | None, planner: Planner, created_s: float) -> None:
        self.first = first
        self.planner = planner
        self.created_s = created_s
        self.is_complete = complete is None
        self._make_complete = complete
        self._complete: Plan | None = first if complete is None else None
        self._lock = threading.Lock()

    def complete(self) -> Plan:
        with self._lock:
            if self._complete is None:
                assert self._make_complete is not None
                self._complete = self._make_complete()
            return self._complete


class PlanCache:
    """Plans the requests of one event loop.

    `paced` says that the requests are a batch, whose concurrency per provider is limited elsewhere.
    """

    def __init__(self, factory: RequestFactory, threads: Threads, *, paced: bool) -> None:
        self._factory = factory
        self._threads = threads
        self._paced = paced
        self._max_age_after_failure_s = MAX_AGE_AFTER_FAILURE_S if paced else 0.0
        self._plans: dict[Hashable, _CachedPlan] = {}
        self._in_progress: dict[Hashable, asyncio.Future[_CachedPlan]] = {}
        self._failed_s = float("-inf")
        self._generation = 0

    def note_failure(self) -> None:
        """Expire plans soon: the failure may have opened a circuit."""
        self._failed_s = asyncio.get_running_loop().time()

    def invalidate(self) -> None:
        """Drop every plan, including those in progress.  Safe to call from any thread."""
        self._generation += 1
        self._plans = {}

    async def plan(self, request: RenderedRequest, patience: LockTimeout) -> SharedPlan:
        """Return the plan of a request, within its deadline; `patience` is how long it may wait for the ledger.

        Raises:
            LLMRouteError: no model can be tried; the class says why.
        """
        total_s = self._factory.timeouts(request.options).total_s
        try:
            async with asyncio.timeout(total_s):
                return await self._plan(request, patience)
        except TimeoutError as error:
            raise deadline_error(total_s) from error

    async def _plan(self, request: RenderedRequest, patience: LockTimeout) -> SharedPlan:
        try:
            cached = await self._cached(_key(request), request, patience)
        except LLMRouteError:
            # Possibly the error of a similar request of another size.
            return await self._own_plan(request, patience)
        # Few requests try more models than these: the costs of the others are computed when these have failed.
        at_first = len(cached.first.entries) if request.options.is_listed else MAX_ATTEMPTS
        first = cached.first._replace(entries=cached.first.entries[:at_first])
        # To derive the forms of a schema takes time.
        sizing = partial(_sized, cached.planner, first, request)
        own = sizing() if request.size.schema is None else await self._threads.run(sizing)
        if not own.entries:
            # The prompt is too large for all of the first models.
            return await self._own_plan(request, patience)
        others = None
        if not cached.is_complete or len(cached.first.entries) > at_first:
            others = lambda: _sized(cached.planner, cached.complete().after(first), request)  # noqa: E731
        return SharedPlan(own, others)

    async def _cached(self, key: Hashable, request: RenderedRequest, patience: LockTimeout) -> _CachedPlan:
        """Return the cached plan, or make one in a thread, because it may have to ask the local server."""
        cached, now_s = self._plans.get(key), asyncio.get_running_loop().time()
        if cached is not None and not self._is_expired(cached, now_s):
            return cached
        in_progress, generation = self._in_progress.get(key), self._generation
        if in_progress is None:
            in_progress = self._threads.submit(lambda: self._make(request, patience, now_s))
            self._in_progress[key] = in_progress
            in_progress.add_done_callback(lambda _done: self._in_progress.pop(key))
        made = await asyncio.shield(in_progress)
        if generation == self._generation:
            plans = self._plans
            while len(plans) >= MAX_PLANS:
                del plans[next(iter(plans))]
            plans[key] = made
        return made

    def _is_expired(self, cached: _CachedPlan, now_s: float) -> bool:
        age_s = now_s - cached.created_s
        failed_since = self._failed_s >= cached.created_s
        return age_s > MAX_AGE_S or (failed_since and age_s >= self._max_age_after_failure_s)

    def _make(self, request: RenderedRequest, patience: LockTimeout, now_s: float) -> _CachedPlan:
        planner = self._factory.planner(request, patience=patience, paced=self._paced)
        first, complete = planner.first(request)
        return _CachedPlan(first, complete, planner, now_s)

    async def _own_plan(self, request: RenderedRequest, patience: LockTimeout) -> SharedPlan:
        plan = await self._threads.run(lambda: self._factory.plan(request, patience=patience, paced=self._paced))
        return SharedPlan(plan, None)


def _sized(planner: Planner, plan: Plan, request: RenderedRequest) -> Plan:
    """Return a plan with the costs of this prompt, without the candidates that it does not fit."""
    size, constraints = request.size, planner.only_hard(request)
    entries: list[RankedCandidate] = []
    for entry in plan.entries:
        candidate = sized(entry.candidate, size)
        if exclude(candidate, constraints) is None:
            entries.append(entry._replace(candidate=candidate))
    excluded = (
        each if each.over_budget is None else each._replace(over_budget=sized(each.over_budget, size))
        for each in plan.excluded
    )
    measure = None if plan.measure is None else sized(plan.measure, size)
    return plan._replace(entries=tuple(entries), excluded=tuple(excluded), measure=measure)


def _key(request: RenderedRequest) -> Hashable:
    options = request.options
    size_step = int(log2(request.size.typical_input) / SIZE_STEP)
    stop = tuple(options.stop) if isinstance(options.stop, list) else options.stop
    attached = _attached(request.size)
    conditions = (options.check is not None, options.schema is not None)
    return _key_options(options), options.fallbacks, stop, conditions, size_step, attached


def _attached(size: PromptSize) -> Hashable:
    """Return the capabilities that attachments require, and the providers that do not take them."""
    if not size.capabilities:
        return None
    from llmroute.attachments.limits import refusing

    return size.capabilities, refusing(size.attachments, size.worst_input)
