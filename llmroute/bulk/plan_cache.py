"""Plans for requests that are alike: which models come in which order is worked out once for a second's worth of them.

What a plan says of a request's own size, its costs and whether it fits a window, is worked out for each.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import fields
from math import log2
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import LLMRouteError
from llmroute.execution.request import no_time
from llmroute.planning.candidates import size_of, sized
from llmroute.request.options import Options
from llmroute.routing.actions import MAX_ATTEMPTS
from llmroute.routing.router import exclude
from llmroute.routing.token_estimate import expected_input_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from llmroute.execution.prepare import RequestFactory
    from llmroute.execution.threads import Threads
    from llmroute.ledger.sqlite.locks import LockTimeout
    from llmroute.planning.planner import Planner
    from llmroute.routing.plan import Plan, RankedCandidate
    from llmroute.types import Prompt

FRESH_S = 1.0
# After a failure, which may have changed what is left alone: of many requests at once few shall plan anew.
STALE_AFTER_FAILURE_S = 0.25
# Prompts whose sizes differ by less than this power of two share a plan.
SIZE_STEP = 0.25
MOST_KEPT = 64
# What requests that are alike need not say alike: their texts, and what has no part in the choice of a model.
_LISTS_AND_TEXTS = ("fallback", "stop", "prompt", "system", "messages")
_NO_PART = ("execution_id", "workspace_id", "timeout_s", "atomic", "fallback_on", "max_attempts")
_ALIKE = attrgetter(*(field.name for field in fields(Options) if field.name not in (*_LISTS_AND_TEXTS, *_NO_PART)))


class SharedPlan(NamedTuple):
    """The plan of one request; `others` works out the rest of it, None where it has all."""

    plan: Plan
    others: Callable[[], Plan] | None


class _CachedPlan:
    """A plan that requests share: its beginning, and the whole of it from when the first of them needs it."""

    def __init__(self, first: Plan, whole: Callable[[], Plan] | None, planner: Planner, made_s: float) -> None:
        self.first = first
        self.planner = planner
        self.made_s = made_s
        self.is_whole = whole is None
        self._make = whole
        self._whole: Plan | None = first if whole is None else None
        self._lock = threading.Lock()

    def whole(self) -> Plan:
        with self._lock:
            if self._whole is None:
                assert self._make is not None
                self._whole = self._make()
            return self._whole


class SharedPlans:
    """Makes plans for the requests of one event loop.

    `paced` is for many requests at once, which somebody keeps from being too many for a provider.
    """

    def __init__(self, calls: RequestFactory, threads: Threads, *, paced: bool) -> None:
        self._calls = calls
        self._threads = threads
        self._paced = paced
        self._stale_after_failure_s = STALE_AFTER_FAILURE_S if paced else 0.0
        self._kept: dict[Hashable, _CachedPlan] = {}
        self._making: dict[Hashable, asyncio.Future[_CachedPlan]] = {}
        self._failed_s = float("-inf")
        self._forgotten = 0

    def note_failure(self) -> None:
        """Let plans be made anew soon: what has failed may be left alone now."""
        self._failed_s = asyncio.get_running_loop().time()

    def forget(self) -> None:
        """Make every plan anew, those that are being made too.  Safe to call from any thread."""
        self._forgotten += 1
        self._kept = {}

    async def plan(self, options: Options, prompt: Prompt, patience: LockTimeout) -> SharedPlan:
        """Return the plan of a request, within its deadline; `patience` is how long it may wait for the ledger.

        Raises:
            LLMRouteError: by its class, why nothing would be tried.
        """
        total_s = self._calls.timeouts(options).total_s
        try:
            async with asyncio.timeout(total_s):
                return await self._plan(options, prompt, patience)
        except TimeoutError as error:
            raise no_time(total_s) from error

    async def _plan(self, options: Options, prompt: Prompt, patience: LockTimeout) -> SharedPlan:
        try:
            kept = await self._shared(_key(options, prompt), options, prompt, patience)
        except LLMRouteError:
            # Of its neighbour, perhaps: what is wrong with one size need not be with another.
            return await self._alone(options, prompt, patience)
        # Few requests call more models than these: costs of the others are worked out when one of these has failed.
        at_first = len(kept.first.entries) if options.is_listed else MAX_ATTEMPTS
        first = kept.first._replace(entries=kept.first.entries[:at_first])
        own = self._sized(kept, first, options, prompt)
        if not own.entries:
            # Too large for all that come first: it is a case of its own.
            return await self._alone(options, prompt, patience)
        others = None
        if not kept.is_whole or len(kept.first.entries) > at_first:
            others = lambda: self._sized(kept, kept.whole().after(first), options, prompt)  # noqa: E731
        measure = None if first.measure is None else sized(first.measure, size_of(prompt))
        return SharedPlan(own._replace(measure=measure), others)

    async def _shared(self, key: Hashable, options: Options, prompt: Prompt, patience: LockTimeout) -> _CachedPlan:
        kept = self._kept.get(key)
        return await self._anew(key, options, prompt, patience) if kept is None or self._is_old(kept) else kept

    def _is_old(self, kept: _CachedPlan) -> bool:
        now_s = asyncio.get_running_loop().time()
        age_s = now_s - kept.made_s
        return age_s > FRESH_S or (self._failed_s >= kept.made_s and age_s >= self._stale_after_failure_s)

    async def _anew(self, key: Hashable, options: Options, prompt: Prompt, patience: LockTimeout) -> _CachedPlan:
        """Make a plan in a thread, for the local server may have to be asked; who wants the same waits for it."""
        making, forgotten = self._making.get(key), self._forgotten
        if making is None:
            now_s = asyncio.get_running_loop().time()
            making = self._threads.submit(lambda: self._make(options, prompt, patience, now_s))
            self._making[key] = making
            making.add_done_callback(lambda _done: self._making.pop(key))
        made = await asyncio.shield(making)
        if forgotten == self._forgotten:
            kept = self._kept
            while len(kept) >= MOST_KEPT:
                del kept[next(iter(kept))]
            kept[key] = made
        return made

    def _make(self, options: Options, prompt: Prompt, patience: LockTimeout, now_s: float) -> _CachedPlan:
        planner = self._calls.planner(options, prompt, patience=patience, paced=self._paced)
        first, whole = planner.first(options, prompt)
        return _CachedPlan(first, whole, planner, now_s)

    async def _alone(self, options: Options, prompt: Prompt, patience: LockTimeout) -> SharedPlan:
        plan = await self._threads.run(lambda: self._calls.plan(options, prompt, patience=patience, paced=self._paced))
        return SharedPlan(plan, None)

    def _sized(self, kept: _CachedPlan, plan: Plan, options: Options, prompt: Prompt) -> Plan:
        """Return a plan with the costs of this prompt; entries that it does not fit go."""
        size = size_of(prompt)
        wish = kept.planner.only_hard(options, prompt)
        fitting: list[RankedCandidate] = []
        for entry in plan.entries:
            candidate = sized(entry.candidate, size)
            if exclude(candidate, wish) is None:
                fitting.append(entry._replace(candidate=candidate))
        excluded = (
            one if one.over_budget is None else one._replace(over_budget=sized(one.over_budget, size))
            for one in plan.excluded
        )
        return plan._replace(entries=tuple(fitting), excluded=tuple(excluded))


def _key(options: Options, prompt: Prompt) -> Hashable:
    size_step = int(log2(expected_input_tokens(prompt)) / SIZE_STEP)
    return _ALIKE(options), options.fallbacks, _frozen(options.stop), size_step


def _frozen(said: str | Sequence[str] | None) -> Hashable:
    return tuple(said) if isinstance(said, list) else said
