"""From what a caller asks to a call that is ready to be made: its prompt, its plan, and all that the flow needs."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from llmroute.after_fork import start_anew_in_children
from llmroute.errors import RequestError
from llmroute.execution.accounting.budget import RequestBudget
from llmroute.execution.clock import Clock, deadline_error
from llmroute.execution.request import Labels, RequestContext
from llmroute.planning.candidates import Candidates
from llmroute.planning.effort import expected_effort
from llmroute.planning.local.local_models import LOCAL_SERVER, LocalModels
from llmroute.planning.local.model_cache import FILE, LocalModelCache
from llmroute.planning.model_stats import StatsEstimator
from llmroute.planning.planner import Planner
from llmroute.request.ids import new_id
from llmroute.request.rendered import render
from llmroute.routing.actions import MAX_ATTEMPTS, MAX_REJECTIONS
from llmroute.routing.check_results import CheckResults, difficulty
from llmroute.routing.latency_estimate import bucket
from llmroute.routing.strategies import chance_of_quality
from llmroute.text.option_names import OptionText, Remedy
from llmroute.types import AUTO, BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from llmroute.config import Config, Limit, Timeouts
    from llmroute.execution.accounting.ledger_writer import LedgerWriter
    from llmroute.execution.concurrency.threads import Threads
    from llmroute.ledger.lock_timeout import LockTimeout
    from llmroute.planning.endpoints import Endpoints
    from llmroute.registry import ModelRegistry
    from llmroute.registry.expectations import Speed
    from llmroute.request.options import Options
    from llmroute.request.rendered import RenderedRequest
    from llmroute.routing.plan import Plan
    from llmroute.routing.token_estimate import PromptSize
    from llmroute.transport.loop_sender import AnySender
    from llmroute.types import AttemptRecord

FLEX_S = 900.0
"""How long OpenAI advises to wait for answers of the flex tier, in seconds (guide "Flex processing")."""


class RequestFactory:
    """Makes calls ready; nothing is sent but a question to the local server, which has models that come and go.

    `note` and `trace` are those of the service.  Safe to share between threads.
    """

    def __init__(  # noqa: PLR0913 (all that a call takes)
        self,
        config: Config,
        endpoints: Endpoints,
        writer: LedgerWriter,
        note: Callable[[str], None],
        trace: Callable[[str], None],
        *,
        registry: ModelRegistry | None,
        sender: Callable[[], AnySender],
        on_attempt: Callable[[AttemptRecord], None],
    ) -> None:
        self._config = config
        self._endpoints = endpoints
        self._writer = writer
        self._note = note
        self._trace = trace
        self._registry = registry
        self._on_attempt = on_attempt
        self._local_models = LocalModels(
            lambda: endpoints.connect(LOCAL_SERVER),
            sender,
            LocalModelCache(config.config_dir / FILE, lambda: endpoints.fingerprint(LOCAL_SERVER)),
        )
        # Concurrent requests are planned in threads of their own.
        self._lock = threading.Lock()
        start_anew_in_children(self)

    def start_anew(self) -> None:
        """Make a new lock in a forked child: a thread of the parent may have held it."""
        self._lock = threading.Lock()

    @property
    def capped(self) -> bool:
        """Whether caps bind every call."""
        return bool(self._config.limits or self._writer.access.shared_caps())

    @property
    def catalogue_path(self) -> Path:
        """Where a refreshed catalogue is kept."""
        return self._config.config_dir / "catalogue.json"

    @property
    def registry(self) -> ModelRegistry:
        """The catalogue, read when it is first needed."""
        with self._lock:
            if self._registry is None:
                from llmroute.planning.default_registry import registry_of

                self._registry = registry_of(self._config.config_dir, self._config.models)
                if self._registry.warning:
                    self._note(self._registry.warning)
            return self._registry

    def local_models(self) -> LocalModels:
        """Return what can tell which models the local server has now."""
        return self._local_models

    def candidates(
        self,
        size: PromptSize,
        task: str | None = None,
        *,
        patience: LockTimeout | None = None,
        paced: bool = False,
        local_only: bool = False,
    ) -> Candidates:
        """Return the models that could serve a prompt of a size, with what earlier calls have taught of them."""
        snapshot = self._writer.recall(
            bucket=bucket(size.typical_input), task=task or "", now_ms=self._writer.access.now_ms(), patience=patience
        )
        registry = self.registry

        def class_speed(provider: str, model: str, effort: str) -> Speed | None:
            found = registry.get_model_config(provider, model)
            return registry.expected_speed(found, effort or expected_effort(found, None))

        endpoints = self._endpoints
        stats = StatsEstimator(
            snapshot,
            endpoints.fingerprint,
            class_speed,
            effort=size.effort,
            paced=paced,
            difficulty=0.0 if snapshot is None else self._difficulty(snapshot.check_results),
        )
        return Candidates(
            registry,
            size,
            stats=stats,
            why_unusable=endpoints.why_unusable,
            here=self.local_models(),
            has_own_address=endpoints.has_own_address,
            local_only=local_only,
        )

    def _difficulty(self, results: Mapping[tuple[str, str], tuple[float, float]]) -> float:
        """Return how hard a task has been for the models whose answers to it were checked."""
        registry = self.registry
        return difficulty(
            (
                chance_of_quality(registry.expected_quality(registry.get_model_config(*about)).value),
                CheckResults(*counts),
            )
            for about, counts in results.items()
        )

    def planner(self, request: RenderedRequest, *, patience: LockTimeout | None = None, paced: bool = False) -> Planner:
        """Return what makes the plan of a request as of now; with `paced`, what has said "too many" may be in it."""
        options = request.options
        candidates = self.candidates(
            request.size, options.task_type, patience=patience, paced=paced, local_only=options.local_only
        )
        return Planner(self._config, self.registry, candidates, self._writer.access.now_ms(), self._note)

    def plan(self, request: RenderedRequest, *, patience: LockTimeout | None = None, paced: bool = False) -> Plan:
        """Return the models that would be tried; `paced` as for `planner`.

        Raises:
            LLMRouteError: by its class, why nothing would be tried.
        """
        return self.planner(request, patience=patience, paced=paced).plan(request)

    def ready(self, options: Options, *, streaming: bool) -> RequestContext:
        """Plan a request by itself and make it ready; its time begins now.

        Raises:
            LLMRouteError: by its class, why nothing would be tried.
        """
        clock = Clock()
        require_call(options)
        request = render(options, streaming=streaming)
        total_s, patience = self.timeouts(options).total_s, self.begin(options)
        with self._local_models.asked_within(total_s):
            first, whole = self.planner(request, patience=patience).first(request)
        if clock() - clock.started_s >= total_s:
            raise deadline_error(total_s)
        others = None if whole is None else lambda: whole().after(first)
        budget = RequestBudget(options.budget_picousd)
        return self.call(request, first, budget, clock=clock, patience=patience, others=others)

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
        total_s = self.timeouts(options).total_s

        def others_in_time() -> Plan:
            assert others is not None
            with self._local_models.asked_within(max(total_s - (clock() - clock.started_s), 0.001)):
                return others()

        return RequestContext(
            id=new_id(),
            prompt=request.prompt,
            size=request.size,
            plan=plan,
            timeouts=self.timeouts(options),
            labels=self.labels(options),
            endpoints=self._endpoints,
            writer=self._writer,
            note=self._note,
            trace=self._trace,
            clock=clock,
            now_ms=self._writer.access.now_ms,
            budget=budget,
            on_attempt=self._on_attempt,
            local=self._local_models,
            patience=patience,
            others=None if others is None else others_in_time,
            fallback_on_content=options.fallback_on == "content",
            atomic=options.atomic,
            cheaper=options.on_budget != "refuse",
            jitter=random.random(),  # noqa: S311 (spreads retries, hides nothing)
            paced=paced,
            max_attempts=self._max_attempts(options, plan),
            max_rejections=options.max_rejections or MAX_REJECTIONS,
            check=options.check,
        )

    def labels(self, options: Options) -> Labels:
        """Return the labels of a request in the ledger."""
        return Labels(options.task_type, options.workspace_id or self._config.workspace, options.execution_id)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The caps of the configuration."""
        return tuple(self._config.limits)

    def _max_attempts(self, options: Options, plan: Plan) -> int:
        """Return how many calls a request makes at most; models that were listed one by one are all called once."""
        if (said := options.max_attempts or self._config.max_attempts) is not None:
            return said
        listed = len(plan.entries) if options.is_listed else 0
        return max(MAX_ATTEMPTS, listed)


async def rendered(options: Options, threads: Threads, *, streaming: bool) -> RenderedRequest:
    """Return a request as `render` does; attachments are read in a thread.

    Raises:
        RequestError: an option is invalid, or an attachment cannot be read.
    """
    if not options.attachments:
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
            hint="give a batch of requests, or call LLMService.generate_batch()",
            option="tier",
        )
