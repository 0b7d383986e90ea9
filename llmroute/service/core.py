"""The parts of an open service: its configuration, its ledger and connections, and the factory of its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.bulk.concurrency import MOST_CONCURRENCY
from llmroute.errors import RequestError
from llmroute.execution.accounting.budget import SharedBudget, affordable
from llmroute.execution.accounting.ledger_writer import LedgerWriter
from llmroute.execution.available_models import AvailableModels
from llmroute.execution.prepare import RequestFactory, require_call
from llmroute.execution.resources import Resources
from llmroute.jobs.run_settings import LEAST_POLL_S, LEAST_WITHIN_S, MOST_POLL_S, MOST_WITHIN_S
from llmroute.planning.endpoints import Endpoints
from llmroute.planning.skipped_models import first_choice_note
from llmroute.request.fields import check_range
from llmroute.request.ids import now_ms
from llmroute.request.rendered import render
from llmroute.routing.token_estimate import measure
from llmroute.types import MOST_USD, as_picousd

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import httpx

    from llmroute.bulk.executor import BulkExecutor
    from llmroute.config import Config
    from llmroute.jobs.collecting.outcomes import LineOutcome
    from llmroute.jobs.context import JobContext
    from llmroute.jobs.run import JobRun, RunProgress
    from llmroute.jobs.run_settings import RunSettings
    from llmroute.ledger.port import LedgerPort
    from llmroute.ledger.statistics.values import Breaker
    from llmroute.planning.candidates import Candidates
    from llmroute.registry import ModelRegistry
    from llmroute.request.options import Options
    from llmroute.routing.plan import Plan
    from llmroute.service.async_requests import AsyncRequests
    from llmroute.types import AttemptRecord, Prompt


class ServiceCore:
    """The common parts of `LLMService`, batches and commands.  The arguments are those of `LLMService`.

    Attributes:
        writer: writes attempts to the ledger.
        resources: the connections, threads and writers that are open.
        models: the catalogue, the models of the local server, and the statistics of earlier calls.
        factory: plans requests and makes them ready.
    """

    def __init__(  # noqa: PLR0913 (by keyword)
        self,
        config: Config,
        *,
        api_keys: Mapping[str, str] | None,
        ledger: LedgerPort | None,
        registry: ModelRegistry | None,
        note: Callable[[str], None] | None,
        trace: Callable[[str], None] | None,
        on_attempt: Callable[[AttemptRecord], None] | None,
        http_client: httpx.Client | None,
        async_http_client: httpx.AsyncClient | None,
    ) -> None:
        self.config = config = config.with_api_keys(api_keys) if api_keys else config
        self.note = note = note or _log_note
        self._trace = trace or _log_step
        if config.notice:
            note(config.notice)
        self.writer = LedgerWriter(
            config.ledger, note, ledger, limits=config.limits, warn_at=config.warn_at, wait_s=config.timeouts.ledger_s
        )
        self.resources = Resources(self.writer, http_client, async_http_client)
        self.endpoints = Endpoints(config)
        self.models = AvailableModels(
            config, self.endpoints, self.writer, note, registry=registry, sender=self.resources.blocking_sender
        )
        self.factory = RequestFactory(
            config,
            self.endpoints,
            self.writer,
            self.models,
            note=note,
            trace=self._trace,
            on_attempt=on_attempt or (lambda _record: None),
        )
        self._async_requests: AsyncRequests | None = None

    @property
    def registry(self) -> ModelRegistry:
        """The catalogue."""
        return self.models.registry

    def async_requests(self) -> AsyncRequests:
        """Return the requests for event loops."""
        if self._async_requests is None:
            from llmroute.service.async_requests import AsyncRequests

            self._async_requests = AsyncRequests(self.factory, self.resources)
        return self._async_requests

    def plan(self, options: Options, *, streaming: bool = False) -> Plan:
        """As `LLMService.plan`."""
        require_call(options)
        plan = self.factory.plan(render(options, streaming=streaming))
        if (budget := options.budget_picousd) is not None:
            plan = affordable(plan, budget, cheaper=options.on_budget != "refuse")
        if (text := first_choice_note(plan)) is not None:
            self.note(text)
        return plan

    def forget_plans(self) -> None:
        """Plan concurrent requests anew, because the statistics have changed."""
        if self._async_requests is not None:
            self._async_requests.plan_anew()

    def candidates(self, prompt: Prompt) -> Candidates:
        """Return the models with expected costs and latencies for a prompt, from calls and the catalogue."""
        return self.models.candidates(measure(prompt))

    def open_circuits(self) -> dict[str, Breaker]:
        """Return the providers with an open circuit, each with the one that is open longest."""
        snapshot = self.writer.statistics.recall(bucket=0, now_ms=now_ms())
        breakers = [one for one in (snapshot.breakers if snapshot else ()) if not one.model]
        return {
            one.provider: one
            for one in sorted(breakers, key=lambda one: one.open_until_ms)
            if one.fingerprint in (None, self.endpoints.fingerprint(one.provider))
            and one.open_until_ms > self.writer.access.now_ms()
        }

    def reset_breakers(self, provider: str) -> int:
        """Close a provider's circuits; return how many of its breakers were closed.

        Raises:
            LedgerError: the ledger cannot be written.
        """
        closed = self.writer.statistics.reset_breakers(provider)
        self.forget_plans()
        return closed

    def bulk(
        self,
        concurrency: int,
        *,
        budget_usd: float | None = None,
        shared_budget: SharedBudget | None = None,
        requests: int | None = None,
    ) -> BulkExecutor:
        """Return the executor of many requests; see `LLMService.generate_many`.  `shared_budget` replaces its own.

        `requests` is how many there will be, None if unknown.

        Raises:
            RequestError: the concurrency is not between 1 and 1024, or the budget is below zero.
        """
        from llmroute.bulk.executor import BulkExecutor

        self.resources.require_open()
        if not isinstance(concurrency, int):
            raise RequestError(f"jobs {concurrency!r} is no whole number")
        check_range("jobs", concurrency, 1, MOST_CONCURRENCY)
        shared_budget = _shared_budget(budget_usd) or shared_budget
        return BulkExecutor(
            self.factory, self.resources, concurrency=concurrency, shared_budget=shared_budget, requests=requests
        )

    def job_run(
        self,
        settings: RunSettings,
        deliver: Callable[[LineOutcome], Awaitable[None]],
        on_progress: Callable[[RunProgress], None],
        secure: Callable[[], None] | None = None,
        *,
        budget_usd: float | None = None,
    ) -> JobRun:
        """Return a run of batch jobs; see `jobs.run.JobRun`.

        Raises:
            RequestError: the deadline, the interval or the budget is out of range.
        """
        from llmroute.jobs.run import JobRun

        shared_budget = _shared_budget(budget_usd)
        check_range("within_s", settings.within_s, LEAST_WITHIN_S, MOST_WITHIN_S, "seconds")
        check_range("poll_s", settings.poll_s, LEAST_POLL_S, MOST_POLL_S, "seconds")
        return JobRun(self.job_context(shared_budget), settings, deliver, on_progress, secure)

    def job_context(self, shared_budget: SharedBudget | None = None) -> JobContext:
        """Return the journal, the providers and the budget that batch jobs share."""
        from llmroute.jobs.context import JobContext

        self.resources.require_open()
        return JobContext(
            factory=self.factory,
            resources=self.resources,
            endpoints=self.endpoints,
            note=self.note,
            trace=self._trace,
            shared_budget=shared_budget,
            writer=self.writer,
        )


def _shared_budget(budget_usd: float | None) -> SharedBudget | None:
    check_range("budget_usd", budget_usd, 0, MOST_USD, "USD")
    return None if budget_usd is None else SharedBudget(as_picousd(budget_usd))


def _log_note(text: str) -> None:
    from llmroute import logs

    logs.warn(text)


def _log_step(text: str) -> None:
    from llmroute import logs

    logs.trace(text)
