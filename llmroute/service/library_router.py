"""The router as programs see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.request.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from llmroute.routing.plan import Plan
    from llmroute.routing.strategies import RoutingStrategy
    from llmroute.types import Capability, Strategy

# A prompt without content: only the order of models matters.
ANY_PROMPT = "hello"


class Router:
    """Says which models would be tried, in which order, and why; learns from calls that were made elsewhere.

    `plan` and `track` are those of the service.
    """

    def __init__(
        self, plan: Callable[[Options], Plan], track: Callable[[str, str, bool, float, float | None], None]
    ) -> None:
        self._plan = plan
        self._track = track

    def plan(self, options: Options) -> Plan:
        """Return the plan of a request: every candidate with its terms, every exclusion with its reason.

        Raises:
            LLMRouteError: by its class, why nothing would be tried.
        """
        return self._plan(options)

    async def get_fallback_chain(
        self,
        primary_provider: str | None = None,
        primary_model: str | None = None,
        strategy: Strategy | RoutingStrategy | None = None,
        required_capability: Capability | Iterable[Capability] | None = None,
    ) -> list[tuple[str, str]]:
        """Return (provider, model) pairs in the order in which they would be tried, the primary first.

        Raises:
            LLMRouteError: by its class, why nothing would be tried.
        """
        import asyncio

        options = Options(
            prompt=ANY_PROMPT,
            provider=primary_provider,
            model=primary_model,
            strategy=strategy,
            required_capability=required_capability,
            enable_fallback=True,
        )
        plan = await asyncio.to_thread(self._plan, options)
        return [(entry.model.provider, entry.model.id) for entry in plan.entries]

    def track_usage(
        self, provider: str, model: str, success: bool, latency_ms: float, cost_usd: float | None = None
    ) -> None:
        """Record a call that was made elsewhere, in costs and statistics.  `cost_usd` None is unknown, not nothing.

        Raises:
            RequestError: no such provider, or a negative number.
            LedgerError: the ledger cannot be written.
        """
        self._track(provider, model, success, latency_ms, cost_usd)
