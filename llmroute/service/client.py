"""LLMService: the public client, asynchronous and blocking."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sized
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, Unpack, overload

from llmroute.bulk.concurrency import CONCURRENCY
from llmroute.errors import RequestError
from llmroute.execution.drivers import drive
from llmroute.jobs.run_settings import MOST_WITHIN_S, RunSettings
from llmroute.planning import settings
from llmroute.planning.effort import expected_effort
from llmroute.planning.local.local_models import LOCAL_SERVER
from llmroute.request.ids import new_id
from llmroute.request.options import Options
from llmroute.service.core import ServiceCore
from llmroute.service.costs.external_calls import ExternalCall, track_usage, usage_stats
from llmroute.service.library_router import Router
from llmroute.service.stream import Stream, SyncStream
from llmroute.types import BATCH, LLMResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable
    from types import TracebackType

    import httpx
    from pydantic import BaseModel

    from llmroute.bulk.batch_result import BatchResult
    from llmroute.config import Config
    from llmroute.ledger.port import LedgerPort
    from llmroute.registry import ModelRegistry
    from llmroute.request.keywords import Choices
    from llmroute.routing.plan import Plan
    from llmroute.service.health import Health
    from llmroute.types import AttemptRecord, ServiceTier

    Model = TypeVar("Model", bound=BaseModel)
    Schema: TypeAlias = Mapping[str, Any] | type[BaseModel]


class LLMService:
    """Answers prompts from the best model that keys, budget and today's outages allow.

    Safe to share between threads and event loops; a forked child opens connections of its own.  An async context
    manager, which closes what the running loop has opened.

    Args:
        config: settings in place of those that the environment and the config directory hold.
        api_keys: keys by provider, before those of the configuration.
        ledger: an open ledger, which is used in place of the configured one and stays open.
        registry: a catalogue in place of the user's own.
        note: receives notices, a fallback or a parameter that was left out, in place of
            the log, where it is a WARNING of `llmroute.service`.
        trace: receives each step, in place of the log, where it is DEBUG.  Keys are in neither.
        on_attempt: receives the record of each attempt that has ended, in the thread or loop that made it.
        http_client: sends blocking requests in place of clients of our own; it stays open.  Proxies, certificates and
            hooks are then its own; redirects are not followed and its `auth` is not used.
        async_http_client: the same for requests that are awaited.
    """

    def __init__(  # noqa: PLR0913 (by keyword)
        self,
        *,
        config: Config | None = None,
        api_keys: Mapping[str, str] | None = None,
        ledger: LedgerPort | None = None,
        registry: ModelRegistry | None = None,
        note: Callable[[str], None] | None = None,
        trace: Callable[[str], None] | None = None,
        on_attempt: Callable[[AttemptRecord], None] | None = None,
        http_client: httpx.Client | None = None,
        async_http_client: httpx.AsyncClient | None = None,
    ) -> None:
        """Read the configuration; nothing is opened and nothing is sent yet.

        Raises:
            ConfigError: a setting does not parse or does not fit, or a key is for no provider.
            RequestError: an HTTP client is of another kind.
        """
        self.core = ServiceCore(
            config or settings.load(),
            api_keys=api_keys,
            ledger=ledger,
            registry=registry,
            note=note,
            trace=trace,
            on_attempt=on_attempt,
            http_client=http_client,
            async_http_client=async_http_client,
        )

    @property
    def config(self) -> Config:
        """The settings."""
        return self.core.config

    @property
    def registry(self) -> ModelRegistry:
        """The catalogue."""
        return self.core.models.registry

    def answer(self, options: Options, *, streaming: bool) -> Generator[str | LLMResponse, None, None]:
        """Answer by blocking: yield the pieces of a streamed answer, then the response.

        The response comes before it is settled in the ledger: exhaust the iterator, or close it.

        Raises:
            LLMRouteError: the request failed; its class says why.
        """
        core = self.core
        if options.check is not None:
            from llmroute.execution.answer_check import require_synchronous

            require_synchronous(options.check)
        core.resources.require_open()
        request = core.factory.ready(options, streaming=streaming)
        return core.resources.counted(drive(request, core.resources.sender, time.sleep, core.writer))

    @overload
    async def generate(
        self, prompt: str | None = None, *, schema: type[Model], **options: Unpack[Choices]
    ) -> LLMResponse[Model]: ...
    @overload
    async def generate(
        self, prompt: str | None = None, *, schema: Mapping[str, Any], **options: Unpack[Choices]
    ) -> LLMResponse[dict[str, Any]]: ...
    @overload
    async def generate(
        self, prompt: str | None = None, *, schema: None = None, **options: Unpack[Choices]
    ) -> LLMResponse[None]: ...
    async def generate(
        self, prompt: str | None = None, *, schema: Schema | None = None, **options: Unpack[Choices]
    ) -> LLMResponse[Any]:
        """Answer a prompt whole.  Takes the fields of `Options`.

        With a `schema`, a JSON Schema as a dict or a pydantic model class, `content` is one JSON document that is valid
        against it, and `parsed` the same as a dict or an instance of the class.

        Raises:
            LLMRouteError: the request failed; its class says why.
        """
        request = Options.of_call("generate", prompt, {**options, "schema": schema})
        final: LLMResponse | None = None
        async for piece in self.core.async_requests().answer(request, streaming=False):
            if isinstance(piece, LLMResponse):
                final = piece
        assert final is not None
        return final

    def stream_generate(self, prompt: str | None = None, **options: Unpack[Choices]) -> Stream:
        """Answer a prompt piece by piece.  Takes the fields of `Options`.

        Raises:
            LLMRouteError: while iterating: the request failed; its class says why.
        """
        return Stream(
            self.core.async_requests().answer(Options.of_call("stream_generate", prompt, options), streaming=True)
        )

    @overload
    def generate_sync(
        self, prompt: str | None = None, *, schema: type[Model], **options: Unpack[Choices]
    ) -> LLMResponse[Model]: ...
    @overload
    def generate_sync(
        self, prompt: str | None = None, *, schema: Mapping[str, Any], **options: Unpack[Choices]
    ) -> LLMResponse[dict[str, Any]]: ...
    @overload
    def generate_sync(
        self, prompt: str | None = None, *, schema: None = None, **options: Unpack[Choices]
    ) -> LLMResponse[None]: ...
    def generate_sync(
        self, prompt: str | None = None, *, schema: Schema | None = None, **options: Unpack[Choices]
    ) -> LLMResponse[Any]:
        """As `generate`, by blocking: for scripts, notebooks and threads.

        Raises:
            LLMRouteError: the request failed; its class says why.
        """
        request = Options.of_call("generate_sync", prompt, {**options, "schema": schema})
        *_, final = self.answer(request, streaming=False)
        assert isinstance(final, LLMResponse)
        return final

    def stream_sync(self, prompt: str | None = None, **options: Unpack[Choices]) -> SyncStream:
        """As `stream_generate`, by blocking.

        Raises:
            LLMRouteError: while iterating: the request failed; its class says why.
        """
        return SyncStream(self.answer(Options.of_call("stream_sync", prompt, options), streaming=True))

    def generate_many(
        self,
        requests: Iterable[str | Mapping[str, Any] | Options] | AsyncIterable[str | Mapping[str, Any] | Options],
        *,
        jobs: int = CONCURRENCY,
        in_order: bool = True,
        budget_usd: float | None = None,
    ) -> AsyncIterator[BatchResult]:
        """Answer many requests, `jobs` at once; yield a response or an error for each.

        A request is a prompt, the fields of `Options`, or an `Options`.  Requests are read as needed and may be
        endless; with `in_order` results have their order.  A rate-limited provider gets fewer concurrent requests, and
        more again later; temporary failures are retried.  All requests together cost at most `budget_usd`: after that
        the last results are errors, and no more requests are read.

        Raises:
            RequestError: `jobs` is not between 1 and 1024, or the budget is below zero.
        """
        from llmroute.bulk.executor import generate_many
        from llmroute.bulk.requests import require_several

        require_several(requests)
        count = len(requests) if isinstance(requests, Sized) else None
        executor = self.core.bulk(jobs, budget_usd=budget_usd, requests=count)
        return generate_many(executor, requests, concurrency=jobs, in_order=in_order)

    def generate_batch(  # noqa: PLR0913 (by keyword)
        self,
        requests: Iterable[str | Mapping[str, Any] | Options] | AsyncIterable[str | Mapping[str, Any] | Options],
        *,
        tier: ServiceTier = BATCH,
        within_s: float = MOST_WITHIN_S,
        rescue: bool = False,
        budget_usd: float | None = None,
        poll_s: float | None = None,
        name: str | None = None,
    ) -> AsyncIterator[BatchResult]:
        """Answer many requests at the batch APIs of providers; yield a response or an error for each, in order.

        A request is as in `generate_many`.  The first model of its plan that has a batch price answers it.  Requests
        without an answer after `within_s` seconds (an hour to a day) are cancelled, and with `rescue` answered by
        ordinary calls at the ordinary price.  All together cost at most `budget_usd`.  `poll_s` is the time between
        two queries, by default 10 seconds that grow to 60.

        All requests are read before the first is submitted.  If the results were not all read, because the loop was
        left or the process ended, the next call with the same requests continues the same jobs and yields all
        results.  `name` tells batches of the same requests apart: 1 to 64 of the characters A-Z a-z 0-9 . _ -

        Raises:
            RequestError: a value is out of range, `name` is that of other requests whose results were not all read, or
                another call waits for the same jobs.
            LedgerError: the ledger cannot be written: nothing is submitted without it.
        """
        from llmroute.service.batch_requests import generate_batch

        if tier != BATCH:
            raise RequestError(
                f"tier {tier!r} is not {BATCH!r}", hint="generate_many() takes other tiers", option="tier"
            )
        settings = RunSettings(within_s=within_s, rescue=rescue, poll_s=poll_s)
        return generate_batch(self.core, requests, settings, budget_usd, name)

    def plan(self, options: Options, *, streaming: bool = False) -> Plan:
        """Return the models that would be tried, in order, and why each other one would not.  Sends nothing.

        Raises:
            LLMRouteError: by its class, why nothing would be tried.
        """
        return self.core.plan(options, streaming=streaming)

    @property
    def router(self) -> Router:
        """The router, which returns the models that would be tried, and why."""
        return Router(self.plan, self.track_usage)

    def track_usage(
        self, provider: str, model: str, success: bool, latency_ms: float, cost_usd: float | None = None
    ) -> None:
        """Record a call that was made elsewhere, in costs and statistics.  `cost_usd` None is unknown, not nothing.

        Raises:
            RequestError: no such provider, a negative number, or a name that no ledger can store.
            LedgerError: the ledger cannot be written.
        """
        found = self.registry.get_model_config(provider, model)
        call = ExternalCall(provider, found.id, expected_effort(found, None), success, latency_ms, cost_usd)
        # By the clock of the ledger, which the first read tells.
        writer = self.core.writer
        writer.statistics.recall(bucket=0, now_ms=writer.access.now_ms())
        track_usage(writer.access.ledger(), call, new_id(), writer.access.now_ms())
        self.core.forget_plans()

    def get_usage_stats(self, provider: str | None = None) -> dict[str, dict[str, Any]]:
        """Return `{"openai/gpt-x": {total_calls, successful_calls, failed_calls, total_latency_ms, total_cost_usd}}`.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        return usage_stats(self.core.writer.access.ledger(), provider)

    async def health_check(self) -> dict[str, bool]:
        """Return whether each provider is healthy.  Requests all model lists at once, within five seconds."""
        found = await self.core.resources.threads().run(self.probe)
        return {name: one.ok for name, one in found.items()}

    def probe(self, names: tuple[str, ...] = (), *, within_s: float = 5.0) -> dict[str, Health]:
        """Return the status of the named providers, or of all, by blocking for `within_s` seconds at most."""
        from llmroute.service.health import probe_all

        core = self.core
        return probe_all(
            core.endpoints, core.resources.blocking_sender(), core.open_circuits(), names, within_s=within_s
        )

    def get_available_providers(self) -> list[str]:
        """Return the providers that can be called from here: with a key, or with a server or an engine that is there.

        Asks the local server whether it is up; nothing leaves this machine.
        """
        usable = [name for name in self.config.providers if self.core.endpoints.why_unusable(name) is None]
        here = self.core.models.local_models
        return [name for name in usable if name != LOCAL_SERVER or here.is_up()]

    def close(self) -> None:
        """Close the service: further calls raise `RequestError`."""
        self.core.resources.close()

    def leave(self) -> None:
        """As `close`, in a process that ends now: resources that the operating system closes stay open."""
        self.core.resources.leave()

    async def aclose(self) -> None:
        """Close the service for the running event loop: further calls in it raise `RequestError`."""
        await self.core.resources.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()
