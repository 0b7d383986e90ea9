"""Prepare a request from its options: its prompt, its plan, and all that the flow needs."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from llmroute.errors import RequestError
from llmroute.execution.accounting.budget import RequestBudget
from llmroute.execution.clock import Clock, deadline_error
from llmroute.execution.request import Labels, RequestContext
from llmroute.planning.planner import Planner
from llmroute.request.ids import new_id
from llmroute.request.rendered import render
from llmroute.routing.actions import MAX_ATTEMPTS, MAX_REJECTIONS, Policy
from llmroute.text.option_text import OptionText, Remedy
from llmroute.types import AUTO, BATCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmroute.config import Config, Timeouts
    from llmroute.execution.accounting.ledger_writer import LedgerWriter
    from llmroute.execution.available_models import AvailableModels
    from llmroute.execution.concurrency.threads import Threads
    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.planning.endpoints import Endpoints
    from llmroute.request.options import Options
    from llmroute.request.rendered import RenderedRequest
    from llmroute.routing.plan import Plan
    from llmroute.types import AttemptRecord

FLEX_S = 900.0
"""How long OpenAI advises to wait for answers of the flex tier, in seconds (guide "Flex processing")."""


class RequestFactory:
    """Prepares requests; `note` and `trace` are those of the service.  Safe to share between threads."""

    def __init__(  # noqa: PLR0913 (all that a request takes)
        self,
        config: Config,
        endpoints: Endpoints,
        writer: LedgerWriter,
        models: AvailableModels,
        *,
        note: Callable[[str], None],
        trace: Callable[[str], None],
        on_attempt: Callable[[AttemptRecord], None],
    ) -> None:
        self.models = models
        self._config = config
        self._endpoints = endpoints
        self._writer = writer
        self._note = note
        self._trace = trace
        self._on_attempt = on_attempt

    @property
    def capped(self) -> bool:
        """Whether caps bind every call."""
        return bool(self._config.limits or self._writer.access.shared_caps())

    def ready(self, options: Options, *, streaming: bool) -> RequestContext:
        """Plan a request by itself and make it ready; its time begins now.

        Raises:
            LLMRouteError: by its class, why nothing would be tried.
        """
        clock = Clock()
        require_call(options)
        request = render(options, streaming=streaming)
        total_s, patience = self.timeouts(options).total_s, self.begin(options)
        with self.models.local_models.listed_within(total_s):
            first, whole = self.planner(request, patience=patience).first(request)
        if clock() - clock.started_s >= total_s:
            raise deadline_error(total_s)
        others = None if whole is None else lambda: whole().after(first)
        budget = RequestBudget(options.budget_picousd)
        return self.call(request, first, budget, clock=clock, patience=patience, others=others)

    def planner(self, request: RenderedRequest, *, patience: LockTimeout | None = None, paced: bool = False) -> Planner:
        """Return the planner of a request as of now; with `paced`, the plan may include rate-limited models."""
        options = request.options
        candidates = self.models.candidates(
            request.size, options.task_type, patience=patience, paced=paced, local_only=options.local_only
        )
        return Planner(self._config, self.models.registry, candidates, self._writer.access.now_ms(), self._note)

    def plan(self, request: RenderedRequest, *, patience: LockTimeout | None = None, paced: bool = False) -> Plan:
        """Return the models that would be tried; `paced` as for `planner`.

        Raises:
            LLMRouteError: by its class, why nothing would be tried.
        """
        return self.planner(request, patience=patience, paced=paced).plan(request)

    def begin(self, options: Options, *, paced: bool = False) -> LockTimeout:
        """Return how long a request that begins now may wait for the ledger, all its waits together.

        With `paced` it waits for its turn before its time counts.
        """
        return self._writer.access.expect(self.timeouts(options).total_s, deadline=not paced)

    def timeouts(self, options: Options) -> Timeouts:
        """Return the limits of a request; those of the flex tier, which answers late, are raised."""
        usual = self._config.timeouts
        if options.tier == "flex":
            usual = usual.raised(FLEX_S)
        return usual if options.timeout_s is None else usual._replace(total_s=options.timeout_s)

    def call(  # noqa: PLR0913 (by keyword)
        self,
        request: RenderedRequest,
        plan: Plan,
        budget: RequestBudget,
        *,
        clock: Clock,
        patience: LockTimeout,
        others: Callable[[], Plan] | None = None,
        paced: bool = False,
    ) -> RequestContext:
        """Make a request that has its plan ready; `others` works out the rest of the plan."""
        options = request.options
        timeouts = self.timeouts(options)
        return RequestContext(
            id=new_id(),
            prompt=request.prompt,
            size=request.size,
            plan=plan,
            policy=self._policy(request, plan, timeouts),
            timeouts=timeouts,
            labels=self.labels(options),
            endpoints=self._endpoints,
            writer=self._writer,
            note=self._note,
            trace=self._trace,
            clock=clock,
            now_ms=self._writer.access.now_ms,
            budget=budget,
            on_attempt=self._on_attempt,
            local=self.models.local_models,
            patience=patience,
            others=None if others is None else self._in_time(others, clock, timeouts.total_s),
            atomic=options.atomic,
            paced=paced,
            check=options.check,
        )

    def _policy(self, request: RenderedRequest, plan: Plan, timeouts: Timeouts) -> Policy:
        options = request.options
        return Policy(
            deadline_s=timeouts.total_s,
            fallback_on_content=options.fallback_on == "content",
            jitter=random.random(),  # noqa: S311 (spreads retries, hides nothing)
            cheaper=options.on_budget != "refuse",
            prompt=request.prompt,
            max_attempts=self._max_attempts(options, plan),
            max_rejections=options.max_rejections or MAX_REJECTIONS,
        )

    def _in_time(self, others: Callable[[], Plan], clock: Clock, total_s: float) -> Callable[[], Plan]:
        """Return `others` with no more time for the local server than the request has left."""

        def others_in_time() -> Plan:
            with self.models.local_models.listed_within(max(total_s - (clock() - clock.started_s), 0.001)):
                return others()

        return others_in_time

    def labels(self, options: Options) -> Labels:
        """Return the labels of a request in the ledger."""
        return Labels(options.task_type, options.workspace_id or self._config.workspace, options.execution_id)

    def _max_attempts(self, options: Options, plan: Plan) -> int:
        """Return how many calls a request makes at most; models that were listed one by one are all called once."""
        if (limit := options.max_attempts or self._config.max_attempts) is not None:
            return limit
        listed = len(plan.entries) if options.is_listed else 0
        return max(MAX_ATTEMPTS, listed)


async def rendered(options: Options, threads: Threads, *, streaming: bool) -> RenderedRequest:
    """Return a request as `render` does; attachments and a schema are read in a thread.

    Raises:
        RequestError: an option is invalid, or an attachment cannot be read.
    """
    if not options.attachments and options.schema is None:
        return render(options, streaming=streaming)
    return await threads.run(lambda: render(options, streaming=streaming))


def require_call(options: Options) -> None:
    """Check that a request can be answered by a call of its own.

    Raises:
        RequestError: its tier is one of batches only.
    """
    if options.tier in (BATCH, AUTO):
        raise RequestError(
            OptionText(Remedy("tier"), f": {options.tier} applies to a file of requests"),
            hint=OptionText("use ", Remedy("requests", words="LLMService.generate_batch()")),
            option="tier",
        )
