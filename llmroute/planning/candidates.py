"""Candidates for a request: models of the catalogue and of Ollama, with price, statistics and availability."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.planning.effort import expected_effort
from llmroute.planning.local.local_models import LOCAL_SERVER, unlisted_here
from llmroute.planning.local.model_cache import with_limits
from llmroute.providers import PROVIDERS
from llmroute.registry.pricing import (
    cost_cached_picousd,
    cost_uncached_picousd,
    price_of_service,
    price_on,
    worst_cost_picousd,
    worst_rates,
)
from llmroute.routing.output_length import output_length
from llmroute.routing.plan import Candidate
from llmroute.routing.token_estimate import LEAST_ANSWER_TOKENS, longest_answer
from llmroute.types import BATCH, Service
from llmroute.worst_case import WorstCase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from llmroute.planning.local.local_models import LocalModels
    from llmroute.planning.model_stats import StatsEstimator
    from llmroute.providers import ListedModel
    from llmroute.registry import ModelRegistry
    from llmroute.routing.token_estimate import PromptSize
    from llmroute.types import ModelConfig, Price

LAST_RESORT = "builtin"


class Candidates:
    """The models that could serve a prompt of one size.

    Args:
        why_unusable: returns why a provider cannot be called, None if it can.
        here: the models of the local server.
        has_own_address: returns whether a provider is called at its own address, not at that of a gateway.
        local_only: send no request to a server on another machine.
    """

    def __init__(  # noqa: PLR0913 (by keyword)
        self,
        registry: ModelRegistry,
        size: PromptSize,
        *,
        stats: StatsEstimator,
        why_unusable: Callable[[str], str | None],
        here: LocalModels,
        has_own_address: Callable[[str], bool],
        local_only: bool = False,
    ) -> None:
        self.why_unusable = why_unusable
        self._registry = registry
        self._size = size
        self._stats = stats
        self._here = here
        self._has_own_address = has_own_address
        self._local_only = local_only

    def all(self) -> list[Candidate]:
        """Return every model of the catalogue and every pulled model that the catalogue does not list."""
        return self._listed(None) + [self._weighed(model) for model in self._unlisted()]

    def of_provider(self, provider: str) -> list[Candidate]:
        """Return every model of a provider."""
        return self._listed(provider) + ([*map(self._weighed, self._unlisted())] if provider == LOCAL_SERVER else [])

    def _listed(self, provider: str | None) -> list[Candidate]:
        return [self._weighed(self._registry.resolve(name)) for name in self._registry.list_models(provider)]

    def has_pulled(self, api_name: str) -> bool:
        """Return whether Ollama has pulled a model; False if it cannot be called."""
        return self._uses_local_server() and self._here.has(api_name)

    def _uses_local_server(self) -> bool:
        return not self.why_unusable(LOCAL_SERVER) and not (self._local_only and not self._here.on_this_machine())

    def _unlisted(self) -> list[ModelConfig]:
        return unlisted_here(self._registry, self._here) if self._uses_local_server() else []

    def of(self, model: ModelConfig) -> Candidate:
        """Return a model as a candidate."""
        unusable = self._why_unusable(model)
        if unusable is None and (limits := self._limits(model)) is not None:
            model = with_limits(model, limits)
        quality = self._registry.expected_quality(model)
        price = price_on(model, self._registry.today)
        candidate = Candidate(
            model=model,
            price=price,
            expected_cost_picousd=None,
            worst_cost_picousd=None,
            local=self._is_local(model),
            typical_s=self._registry.typical_latency_ms(model.provider) / 1000,
            quality=quality.value,
            quality_basis=quality.basis,
            stats=self._stats.of(model),
            unusable=unusable,
            last_resort=model.provider == LAST_RESORT,
            provider_unusable=unusable is not None and self.why_unusable(model.provider) is not None,
            tiers=_tiers(model, price),
            any_tier=PROVIDERS[model.provider].service_tiers and not self._has_own_address(model.provider),
        )
        return sized(candidate, self._size)

    def _weighed(self, model: ModelConfig) -> Candidate:
        # Most of the catalogue has no key: its costs are not worked out.
        if (problem := self._why_unusable(model)) is None:
            return self.of(model)
        return Candidate(
            model,
            None,
            None,
            None,
            local=False,
            typical_s=0.0,
            unusable=problem,
            provider_unusable=self.why_unusable(model.provider) is not None,
        )

    def _why_unusable(self, model: ModelConfig) -> str | None:
        if problem := self.why_unusable(model.provider):
            return problem
        if self._registry.status(model) == "retired":
            return f"retired on {model.retires_on}"
        if model.provider != LOCAL_SERVER or (self._local_only and not self._here.on_this_machine()):
            return None
        return self._here.why_unusable(model.api_name)

    def _limits(self, model: ModelConfig) -> ListedModel | None:
        """Return the limits that the local server reports for a model; None for other providers."""
        if model.provider != LOCAL_SERVER or (self._local_only and not self._here.on_this_machine()):
            return None
        return self._here.limits(model.api_name)

    def _is_local(self, model: ModelConfig) -> bool:
        if not PROVIDERS[model.provider].local or not self._registry.is_local(model.provider, model.id):
            return False
        return model.provider != LOCAL_SERVER or self._here.runs_here(model.api_name)


def _tiers(model: ModelConfig, price: Price | None) -> frozenset[str]:
    """Return the service tiers that a request to the model may ask for, beside the standard one."""
    if price is None:
        return frozenset()
    provider, priced = PROVIDERS[model.provider], frozenset(name for name, _ in price.service_tiers)
    by_request = priced - {BATCH} if provider.service_tiers else frozenset()
    return by_request | (priced & {BATCH} if provider.batches else frozenset())


def sized(candidate: Candidate, size: PromptSize) -> Candidate:
    """Return a candidate with its costs for a prompt of `size`."""
    model, price, stats = candidate.model, candidate.price, candidate.stats
    size = size.for_model(model)
    longest = size.max_tokens or model.max_output or model.context_window
    effort = expected_effort(model, size.effort)
    output = output_length(effort, stats.answers, stats.task_answers, longest)
    if price is None:
        return candidate._replace(output=output)
    of_tier = price if size.tier is None else price_of_service(price, Service(size.tier))[0]
    # A provider may serve a request at another tier than the requested one, but a batch at that of the batch API only.
    prices: tuple[Price, ...] = (of_tier,) if size.tier == BATCH or of_tier is price else (price, of_tier)
    if candidate.any_tier and size.tier is None:
        prices = (price, *(price_of_service(price, Service(name))[0] for name, _ in price.service_tiers))
    if longest is None and all(one.output == 0 and all(tier.output == 0 for tier in one.tiers) for one in prices):
        # How long the answer is makes no difference.
        longest = 0
    worst = None
    if longest is not None:
        written = size.cache if size.cache or PROVIDERS[model.provider].marks_cache else "5m"
        worst = _dearest(worst_cost_picousd(size.worst_input, longest, one, written) for one in prices)
    return candidate._replace(
        output=output,
        expected_cost_picousd=cost_cached_picousd(size.expected_input, output.tokens, of_tier, stats.cached_share),
        worst_cost_picousd=worst,
        typical_cost_picousd=cost_uncached_picousd(size.expected_input, size.answer_room, of_tier),
        worst=_worst_case(model, size, prices),
    )


def _dearest(costs: Iterable[int | None]) -> int | None:
    """Return the highest cost, None where one is unknown."""
    known = list(costs)
    return None if None in known else max(cost for cost in known if cost is not None)


def _worst_case(model: ModelConfig, size: PromptSize, prices: Iterable[Price]) -> WorstCase | None:
    """Return the worst case of the model under a budget; a limit that the caller set is not reduced."""
    bounds = [worst_rates(price, size.worst_input, size.cache or "5m") for price in prices]
    known = [bound for bound in bounds if bound is not None]
    if len(known) < len(bounds):
        return None
    prompt_rate, answer_rate = (max(rates) for rates in zip(*known, strict=True))
    if (limit := size.max_tokens) is not None:
        return WorstCase(size.worst_input * prompt_rate, answer_rate, limit, limit)
    most = longest_answer(model.max_output, model.context_window, size.worst_input, size.expected_input)
    return WorstCase(size.worst_input * prompt_rate, answer_rate, most, min(most, LEAST_ANSWER_TOKENS))
