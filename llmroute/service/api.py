"""LLMService: the one door to everything, asynchronous for programs and synchronous for the command line."""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self, Unpack

from llmroute.routing.estimate import expected_input_tokens
from llmroute.routing.learning import bucket
from llmroute.service import settings
from llmroute.service.bookkeeping import Bookkeeper
from llmroute.service.call import Call, Labels
from llmroute.service.candidates import Candidates
from llmroute.service.drive import drive, drive_async
from llmroute.service.endpoints import Endpoints
from llmroute.service.flow import run
from llmroute.service.local import LOCAL_SERVER, LocalModels
from llmroute.service.options import Choices, Options
from llmroute.service.planning import Planner
from llmroute.service.purse import Purse
from llmroute.service.remembering import Memory
from llmroute.service.router import Router
from llmroute.service.stream import Stream
from llmroute.service.telling import nobody
from llmroute.service.usage_stats import OutsideCall, track_usage, usage_stats
from llmroute.types import LLMResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator
    from os import PathLike
    from pathlib import Path
    from types import TracebackType

    from llmroute.config import Config
    from llmroute.ledger.store import Ledger
    from llmroute.registry import ModelRegistry
    from llmroute.routing.plan import Plan
    from llmroute.transport import AsyncSender, Sender
    from llmroute.types import Prompt


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
        self._note = note or nobody
        self._trace = trace or (lambda _text: None)
        self._registry = registry
        self._books = Bookkeeper(
            self.config.ledger_path,
            self._note,
            ledger,
            limits=self.config.limits,
            wait_s=self.config.timeouts.ledger_s,
        )
        self.endpoints = Endpoints(self.config)
        self._sender: Sender | None = None
        self._async_sender: AsyncSender | None = None
        # Concurrent requests are planned in threads of their own.
        self._lock = threading.RLock()

    @property
    def catalogue_path(self) -> Path:
        """Where a refreshed catalogue is kept."""
        return self.config.config_dir / "catalogue.json"

    @property
    def registry(self) -> ModelRegistry:
        """The catalogue."""
        with self._lock:
            if self._registry is None:
                from llmroute.registry import ModelRegistry

                self._registry = ModelRegistry(
                    user_models=self.config.models, user_models_checked=True, catalogue_path=self.catalogue_path
                )
                if self._registry.warning:
                    self._note(self._registry.warning)
            return self._registry

    def answer(self, options: Options, *, streaming: bool) -> Generator[str | LLMResponse, None, None]:
        """Answer by blocking: yield the pieces of a streamed answer, then the response.

        The response comes before it is settled in the ledger: exhaust the iterator, or close it.

        Raises:
            LLMRouteError: by its class, what happened.
        """
        return drive(run(self._call(options, streaming=streaming)), self._blocking_sender, time.sleep)

    async def generate(self, prompt: str | None = None, **options: Unpack[Choices]) -> LLMResponse:
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

    def stream_generate(self, prompt: str | None = None, **options: Unpack[Choices]) -> Stream:
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
        return self._plan(options, options.rendered_prompt(streaming=streaming))

    @property
    def router(self) -> Router:
        """What says which models would be tried, and why."""
        return Router(self.plan)

    def track_usage(
        self, provider: str, model: str, success: bool, latency_ms: float, cost_usd: float | None = None
    ) -> None:
        """Put a call that was made elsewhere on the bill, and learn from it.  `cost_usd` None is unknown, not nothing.

        Raises:
            RequestError: no such provider, or a negative number.
            LedgerError: the ledger cannot be written.
        """
        name = self.registry.get_model_config(provider, model).id
        call = OutsideCall(provider, name, success, latency_ms, cost_usd)
        track_usage(self._books.ledger(), call, _new_id(), _now_ms())

    def get_usage_stats(self, provider: str | None = None) -> dict[str, dict[str, Any]]:
        """Return `{"openai/gpt-x": {total_calls, successful_calls, failed_calls, total_latency_ms, total_cost_usd}}`.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        return usage_stats(self._books.ledger(), provider)

    async def health_check(self) -> dict[str, bool]:
        """Say of each provider whether it is well; asks all at once, with free requests, for five seconds at most."""
        import asyncio

        from llmroute.service.health import probe_all

        found = await asyncio.to_thread(probe_all, self)
        return {name: one.ok for name, one in found.items()}

    def get_available_providers(self) -> list[str]:
        """Return the providers that can be called from here: with a key, or with a server or an engine that is there.

        Asks the local server whether it is up; nothing leaves this machine.
        """
        usable = [name for name in self.config.providers if self.endpoints.why_unusable(name) is None]
        here = self.local_models()
        return [name for name in usable if name != LOCAL_SERVER or here.is_up()]

    def _plan(self, options: Options, prompt: Prompt) -> Plan:
        candidates = Candidates(
            self.config,
            self.registry,
            prompt,
            self.memory(expected_input_tokens(prompt), prompt.effort),
            self.endpoints.why_unusable,
            self.local_models(),
            local_only=options.local_only,
        )
        return Planner(self.config, self.registry, candidates, _now_ms(), self._note).plan(options, prompt)

    def memory(self, input_tokens: int = 0, effort: str | None = None) -> Memory:
        """Return what calls have taught of prompts of this size; nothing where there is no ledger yet."""
        told = self._books.recall(bucket=bucket(input_tokens), effort=effort or "", now_ms=_now_ms())
        return Memory(told, self.endpoints.fingerprint)

    def resting_until_ms(self) -> dict[str, int]:
        """Return the providers that are left alone as a whole for what they did, and until when (UTC milliseconds)."""
        told = self._books.recall(bucket=0, effort="", now_ms=_now_ms())
        whole = [one for one in (told.breakers if told else ()) if not one.model]
        return {
            one.provider: one.open_until_ms
            for one in sorted(whole, key=lambda one: one.open_until_ms)
            if one.fingerprint in (None, self.endpoints.fingerprint(one.provider)) and one.open_until_ms > _now_ms()
        }

    def reset_breakers(self, provider: str) -> int:
        """Forget why a provider was left alone; return how many of its breakers were closed.

        Raises:
            LedgerError: the ledger cannot be written.
        """
        return self._books.reset_breakers(provider)

    def local_models(self) -> LocalModels:
        """Return what can tell which models the local server has now."""
        return LocalModels(lambda: self.endpoints.connect(LOCAL_SERVER), self._blocking_sender)

    def _call(self, options: Options, *, streaming: bool) -> Call:
        from dataclasses import replace

        prompt = options.rendered_prompt(streaming=streaming)
        plan = self._plan(options, prompt)
        timeouts = self.config.timeouts
        if options.timeout_s is not None:
            timeouts = replace(timeouts, total_s=options.timeout_s)
        return Call(
            id=_new_id(),
            prompt=prompt,
            plan=plan,
            timeouts=timeouts,
            labels=Labels(options.task_type, options.workspace_id or self.config.workspace, options.execution_id),
            connect=self.endpoints.connect,
            fingerprint=self.endpoints.fingerprint,
            books=self._books,
            note=self._note,
            trace=self._trace,
            clock=time.monotonic,
            now_ms=_now_ms,
            purse=Purse(options.budget_picousd),
            fallback_on_content=options.fallback_on == "content",
            atomic=options.atomic,
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
        # Whoever leaves in the middle waits until the attempt is settled.
        async with aclosing(drive_async(run(call), self._async_sender, asyncio.sleep)) as pieces:
            async for piece in pieces:
                yield piece

    def _blocking_sender(self) -> Sender:
        with self._lock:
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


def get_llm_service(ledger: Ledger | str | PathLike[str] | None = None) -> LLMService:
    """Return a service with the user's own configuration; `ledger`, open or a file's path, is used in place of its own.

    A ledger that is lent open stays open.

    Raises:
        ConfigError: a setting does not parse or does not fit.
    """
    if isinstance(ledger, str | os.PathLike):
        from dataclasses import replace
        from pathlib import Path

        return LLMService(config=replace(settings.load(), ledger_path=Path(ledger)))
    return LLMService(ledger=ledger)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _new_id() -> str:
    """Return an id that sorts by time, so that the ledger grows at its end."""
    return f"{_now_ms():012x}{os.urandom(8).hex()}"
