"""From a request to its plan: gather the candidates, ask the router."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmroute.errors import BudgetExceededError, NoCandidateError, RequestError
from llmroute.providers import PROVIDERS
from llmroute.registry.pricing import cost_picousd, price_on, worst_rates
from llmroute.routing.estimate import expected_input_tokens, expected_output_tokens, worst_input_tokens
from llmroute.routing.parameters import refused
from llmroute.routing.plan import Candidate, Plan, Wish
from llmroute.routing.router import OVER_BUDGET, exclude, keep_order, plan
from llmroute.routing.worst import LEAST_ANSWER_TOKENS, WorstCase, longest_answer
from llmroute.service.local import LOCAL_SERVER
from llmroute.types import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmroute.config import Config
    from llmroute.registry import ModelRegistry
    from llmroute.service.options import Options
    from llmroute.types import ModelConfig, Price, Prompt

LAST_RESORT = "builtin"
UNKNOWN_TYPICAL_S = 10.0


def _only_hard(wish: Wish) -> Wish:
    """Return what binds a model that was named; whether it fits the budget is seen when it is its turn."""
    return replace(wish, capabilities=frozenset(), max_latency_ms=None, min_quality=0, budget_picousd=None)


@dataclass(frozen=True, slots=True)
class Planner:
    """Makes plans for one configuration and one catalogue.

    `why_unusable` says why a provider cannot be called from here, `why_not_here` why a model of the local server
    cannot be; None when they can.
    """

    config: Config
    registry: ModelRegistry
    why_unusable: Callable[[str], str | None]
    why_not_here: Callable[[str], str | None]
    now_ms: Callable[[], int]
    note: Callable[[str], None]

    def plan(self, options: Options, prompt: Prompt) -> Plan:
        """Return the models that may serve the request, best first.

        Raises:
            NoCandidateError, ModelRetiredError: nobody may; says who comes nearest.
            RequestError: the model or the provider that was named does not exist.
        """
        wish = self._wish(options, prompt)
        first: list[Candidate] = []
        if options.model:
            first = [self._named(options, prompt, wish)]
        others = [self._candidate(model, prompt) for model in self._all_models()]
        if options.provider and not options.model:
            made = self._of_provider(options.provider, wish, others)
        elif first:
            made = keep_order(_only_hard(wish), first)
        else:
            made = plan(wish, others)
            self._require(made, wish)
        if not self._may_fall_back(options):
            return replace(made, entries=made.entries[:1])
        if first or options.provider:
            named = {entry.model.name for entry in made.entries}
            rest = plan(wish, [other for other in others if other.model.name not in named and not other.last_resort])
            made = replace(made, entries=made.entries + rest.entries, excluded=made.excluded + rest.excluded)
        return made

    def _may_fall_back(self, options: Options) -> bool:
        return self.config.enable_fallback if options.enable_fallback is None else options.enable_fallback

    def _wish(self, options: Options, prompt: Prompt) -> Wish:
        config = self.config
        return Wish(
            strategy=options.strategy or config.strategy,
            expected_input_tokens=expected_input_tokens(prompt),
            expected_output_tokens=expected_output_tokens(prompt),
            max_tokens=prompt.max_tokens,
            capabilities=options.capabilities(),
            local_only=options.local_only,
            prefer_local=config.prefer_local if options.prefer_local is None else options.prefer_local,
            max_latency_ms=config.max_latency_ms if options.max_latency_ms is None else options.max_latency_ms,
            min_quality=options.min_quality or 0,
            budget_picousd=options.budget_picousd if options.on_budget == "cheaper" else None,
            default_provider=config.default_provider,
            unsupported=self._unsupported(prompt) if options.strict_params else {},
            now_ms=self.now_ms(),
        )

    def _unsupported(self, prompt: Prompt) -> dict[str, str]:
        found = {model.name: refused(prompt, model.parameters) for model in self._all_models()}
        return {name: ", ".join(words.values()) for name, words in found.items() if words}

    def _all_models(self) -> list[ModelConfig]:
        return [self.registry.resolve(name) for name in self.registry.list_models()]

    def _named(self, options: Options, prompt: Prompt, wish: Wish) -> Candidate:
        """Return the model that was named; one that its vendor has retired becomes its successor."""
        name = options.model or ""
        if options.provider and not name.startswith(f"{options.provider}/"):
            name = f"{options.provider}/{name}"
        model = self.registry.resolve(name, default_provider=self.config.default_provider)
        if problem := self.why_unusable(model.provider):
            raise NoCandidateError(problem)
        model = self._living(model)
        candidate = replace(self._candidate(model, prompt), unusable=None, last_resort=False)
        if exclusion := exclude(candidate, _only_hard(wish)):
            raise RequestError(f"{model.name}: {exclusion.reason}")
        return candidate

    def _living(self, model: ModelConfig) -> ModelConfig:
        """Replace a retired model by its successor; a gateway at another address may still serve it."""
        if notice := self.registry.notice(model):
            self.note(notice)
        at_home = self.config.providers[model.provider].base_url is None
        return self.registry.living(model) if at_home else model

    def _of_provider(self, provider: str, wish: Wish, others: Sequence[Candidate]) -> Plan:
        if provider not in PROVIDERS:
            raise RequestError(f"provider {provider!r} is none of {', '.join(PROVIDERS)}")
        if problem := self.why_unusable(provider):
            raise NoCandidateError(problem)
        own = [replace(other, last_resort=False) for other in others if other.model.provider == provider]
        made = plan(wish, own)
        self._require(made, wish)
        return made

    def _candidate(self, model: ModelConfig, prompt: Prompt) -> Candidate:
        row = PROVIDERS[model.provider]
        price = price_on(model, self.registry.today)
        output = expected_output_tokens(prompt)
        expected = worst = cut = None
        if price is not None:
            expected = cost_picousd(Usage(expected_input_tokens(prompt), output_tokens=output), price)
            longest = prompt.max_tokens or model.max_output or model.context_window
            if longest is not None:
                worst = cost_picousd(Usage(worst_input_tokens(prompt), output_tokens=longest), price)
            cut = _worst_case(model, prompt, price)
        unusable = self.why_unusable(model.provider)
        if unusable is None and self.registry.status(model) == "retired":
            unusable = f"retired on {model.retires_on}"
        if unusable is None and model.provider == LOCAL_SERVER:
            unusable = self.why_not_here(model.api_name)
        return Candidate(
            model=model,
            price=price,
            expected_cost_picousd=expected,
            worst_cost_picousd=worst,
            local=row.local and self.registry.is_local(model.provider, model.id),
            typical_s=min(self.registry.typical_latency_ms(model.provider) / 1000, UNKNOWN_TYPICAL_S),
            unusable=unusable,
            last_resort=model.provider == LAST_RESORT,
            worst=cut,
        )

    def _require(self, made: Plan, wish: Wish) -> None:
        """Raise what tells the nearest miss and what would admit it when a plan is empty."""
        if made.entries:
            return
        misses = [exclusion for exclusion in made.excluded if exclusion.admitted_by]
        if misses:
            nearest = min(misses, key=lambda exclusion: exclusion.distance)
            kind = BudgetExceededError if nearest.reason.startswith(OVER_BUDGET) else NoCandidateError
            raise kind(
                f"no model may serve this request; the nearest is {nearest.model.name}, but {nearest.reason}",
                hint=f"{nearest.admitted_by} would admit it",
            )
        reasons = list(dict.fromkeys(exclusion.reason for exclusion in made.excluded))[:4]
        wanted = f" with {', '.join(sorted(wish.capabilities))}" if wish.capabilities else ""
        raise NoCandidateError(
            f"no model{wanted} may serve this request: {'; '.join(reasons) or 'there is none'}",
            hint="llmroute health shows what is set up, llmroute models what there is",
        )


def _worst_case(model: ModelConfig, prompt: Prompt, price: Price) -> WorstCase | None:
    """Return what the model may cost under a budget; a limit that the caller has said is not cut down."""
    most_input = worst_input_tokens(prompt)
    bound = worst_rates(price, most_input)
    if bound is None:
        return None
    if (said := prompt.max_tokens) is not None:
        return WorstCase(most_input * bound[0], bound[1], said, said)
    most = longest_answer(model.max_output, model.context_window, most_input, expected_input_tokens(prompt))
    return WorstCase(most_input * bound[0], bound[1], most, min(most, LEAST_ANSWER_TOKENS))
