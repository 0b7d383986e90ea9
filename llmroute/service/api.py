"""LLMService: the one door to everything, asynchronous for programs and synchronous for the command line."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING, Any, Self

from llmroute.errors import LLMRouteError
from llmroute.providers import PROVIDERS, Endpoint, connect
from llmroute.service import settings
from llmroute.service.bookkeeping import Bookkeeper
from llmroute.service.call import Call, Labels
from llmroute.service.drive import drive, drive_async
from llmroute.service.flow import run
from llmroute.service.local import LOCAL_SERVER, LocalModels
from llmroute.service.options import Options
from llmroute.service.planning import Planner
from llmroute.service.purse import Purse
from llmroute.types import LLMResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import TracebackType

    from llmroute.config import Config
    from llmroute.ledger.store import Ledger
    from llmroute.providers import Provider
    from llmroute.registry import ModelRegistry
    from llmroute.routing.plan import Plan
    from llmroute.transport import AsyncSender, Sender


class LLMService:
    """Answers prompts from the best model that keys, budget and today's outages allow.

    `note` receives what a person should know on the way: a fallback, a parameter that was left out.  `trace` receives
    each step, for those who look for a fault; keys are in neither.
    An async context manager; one service serves any number of concurrent requests of one event loop.
    """

    def __init__(
        self,
        *,
        config: Config | None = None,
        ledger: Ledger | None = None,
        registry: ModelRegistry | None = None,
        note: Callable[[str], None] | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        """Read the configuration; nothing is opened and nothing is sent yet.

        Raises:
            ConfigError: a setting does not parse or does not fit.
        """
        self.config = config or settings.load()
        self._note = note or (lambda _text: None)
        self._trace = trace or (lambda _text: None)
        self._registry = registry
        self._books = Bookkeeper(
            self.config.ledger_path,
            self._note,
            ledger,
            limits=self.config.limits,
            wait_s=self.config.timeouts.ledger_s,
        )
        self._providers: dict[str, Provider] = {}
        self._sender: Sender | None = None
        self._async_sender: AsyncSender | None = None

    @property
    def registry(self) -> ModelRegistry:
        """The catalogue."""
        if self._registry is None:
            from llmroute.registry import ModelRegistry

            self._registry = ModelRegistry(catalogue_path=self.config.config_dir / "catalogue.json")
        return self._registry

    def answer(self, options: Options, *, streaming: bool) -> Iterator[str | LLMResponse]:
        """Answer by blocking: yield the pieces of a streamed answer, then the response.

        The response comes before it is settled in the ledger: exhaust the iterator, or close it.

        Raises:
            LLMRouteError: by its class, what happened.
        """
        return drive(run(self._call(options, streaming=streaming)), self._blocking_sender, time.sleep)

    async def generate(self, prompt: str | None = None, **options: Any) -> LLMResponse:
        """Answer a prompt whole.  Takes the fields of `Options`.

        Raises:
            LLMRouteError: by its class, what happened.
        """
        final: LLMResponse | None = None
        async for piece in self._answer_async(Options(prompt=prompt, **options), streaming=False):
            if isinstance(piece, LLMResponse):
                final = piece
        assert final is not None
        return final

    def stream_generate(self, prompt: str | None = None, **options: Any) -> Stream:
        """Answer a prompt piece by piece.  Takes the fields of `Options`.

        Raises:
            LLMRouteError: while iterating; by its class, what happened.
        """
        return Stream(self._answer_async(Options(prompt=prompt, **options), streaming=True))

    def plan(self, options: Options, *, streaming: bool = False) -> Plan:
        """Return the models that would be tried, in order, and why each other one would not.  Sends nothing.

        Raises:
            LLMRouteError: by its class, why nothing would be tried.
        """
        return self._planner().plan(options, options.rendered_prompt(streaming=streaming))

    def why_unusable(self, provider: str) -> str | None:
        """Say why a provider cannot be called from here; None when it can.  Sends nothing."""
        here = self.config.providers[provider]
        if here.problem:
            return f"{provider}: {here.problem}"
        row = PROVIDERS[provider]
        if row.needs_key and not here.api_key:
            return f"{provider}: no API key (set {here.key_variable})"
        if provider == "builtin":
            from llmroute.providers import builtin

            return builtin.why_unavailable(self._endpoint(provider))
        return None

    def _planner(self) -> Planner:
        here = self.local_models()
        return Planner(self.config, self.registry, self.why_unusable, here.why_unusable, _now_ms, self._note)

    def local_models(self) -> LocalModels:
        """Return what can tell which models the local server has now."""
        return LocalModels(lambda: self.connect(LOCAL_SERVER), self._blocking_sender)

    def _call(self, options: Options, *, streaming: bool) -> Call:
        from dataclasses import replace

        prompt = options.rendered_prompt(streaming=streaming)
        plan = self._planner().plan(options, prompt)
        timeouts = self.config.timeouts
        if options.timeout_s is not None:
            timeouts = replace(timeouts, total_s=options.timeout_s)
        return Call(
            id=_new_id(),
            prompt=prompt,
            plan=plan,
            timeouts=timeouts,
            labels=Labels(options.task_type, options.workspace_id or self.config.workspace, options.execution_id),
            connect=self.connect,
            books=self._books,
            note=self._note,
            trace=self._trace,
            clock=time.monotonic,
            now_ms=_now_ms,
            purse=Purse(options.budget_picousd),
            cheaper=options.on_budget == "cheaper",
            jitter=random.random(),  # noqa: S311 (spreads retries, hides nothing)
        )

    async def _answer_async(self, options: Options, *, streaming: bool) -> AsyncIterator[str | LLMResponse]:
        import asyncio

        from llmroute.transport import AsyncSender

        if self._async_sender is None:
            self._async_sender = AsyncSender()
        # Planning may ask the local server what it has, which blocks.
        call = await asyncio.to_thread(self._call, options, streaming=streaming)
        async for piece in drive_async(run(call), self._async_sender, asyncio.sleep):
            yield piece

    def connect(self, name: str) -> Provider:
        """Return a provider, importing its module and starting the embedded engine when first needed.

        Raises:
            EngineUnavailableError: the engine or its weights are not installed.
        """
        if name not in self._providers:
            self._providers[name] = connect(name, self._endpoint(name))
        return self._providers[name]

    def _endpoint(self, name: str) -> Endpoint:
        here = self.config.providers[name]
        return Endpoint(
            api_key=here.api_key,
            base_url=here.base_url,
            organization=here.organization,
            weights=self.config.local_model,
            config_dir=self.config.config_dir,
        )

    def _blocking_sender(self) -> Sender:
        if self._sender is None:
            from llmroute.transport import Sender

            self._sender = Sender()
        return self._sender

    def close(self) -> None:
        """Close what blocking calls have opened."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None
        self._books.close()

    async def aclose(self) -> None:
        """Close everything."""
        if self._async_sender is not None:
            await self._async_sender.close()
            self._async_sender = None
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()


class Stream:
    """The pieces of a streamed answer; `response` is the whole once they have ended."""

    def __init__(self, pieces: AsyncIterator[str | LLMResponse]) -> None:
        self._pieces = pieces
        self._response: LLMResponse | None = None

    @property
    def response(self) -> LLMResponse:
        """The whole answer with usage and cost.

        Raises:
            LLMRouteError: the stream has not ended yet.
        """
        if self._response is None:
            raise LLMRouteError("the response of a stream is there when the stream has ended")
        return self._response

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        async for piece in self._pieces:
            if isinstance(piece, str):
                return piece
            self._response = piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Break the answer off; the attempt is settled as interrupted."""
        await self._pieces.aclose()  # type: ignore[attr-defined]


def get_llm_service(ledger: Ledger | None = None) -> LLMService:
    """Return a service with the user's own configuration, and with `ledger` instead of the configured one if given."""
    return LLMService(ledger=ledger)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _new_id() -> str:
    """Return an id that sorts by time, so that the ledger grows at its end."""
    return f"{_now_ms():012x}{os.urandom(8).hex()}"
