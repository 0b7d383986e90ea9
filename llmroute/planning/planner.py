"""From a request to its plan: ask the router, in the way that the request wants its models chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import NoCandidateError
from llmroute.notices import notify_daily
from llmroute.planning.candidates import LAST_RESORT
from llmroute.planning.listed_models import ListedModels, best_of
from llmroute.providers import PROVIDERS
from llmroute.request.options import require_one_of
from llmroute.routing.parameters import refused
from llmroute.routing.plan import Plan, RoutingConstraints, Skip, Weights
from llmroute.routing.router import (
    allowed,
    exclude,
    keep_order,
    other_provider_second,
    plan,
    with_first_choice,
    without_upgrades,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmroute.config import Config
    from llmroute.planning.candidates import Candidates
    from llmroute.registry import ModelRegistry
    from llmroute.request.options import Options
    from llmroute.request.rendered import RenderedRequest
    from llmroute.routing.plan import Candidate
    from llmroute.types import Prompt

KEYS = "set a provider's key, such as OPENAI_API_KEY, for a better one (llmroute health tells what is set up)"
ENGINE_TOLD = "engine.told"
"""The file in the config directory that holds the day on which a person was told that the embedded engine answers."""


def _only_hard(wish: RoutingConstraints) -> RoutingConstraints:
    """Return what binds a model that was named; whether it fits the budget is seen when it is its turn."""
    return wish._replace(capabilities=frozenset(), max_latency_ms=None, min_quality=0, budget_picousd=None)


def _only_asked(wish: RoutingConstraints, options: Options, *, known: bool) -> RoutingConstraints:
    """Return what binds a model that was named: beside what is possible at all, the limits of the request itself.

    What a model that no catalogue lists can do is its caller's to know.
    """
    return _only_hard(wish)._replace(
        capabilities=options.asked_capabilities() if known else frozenset(),
        max_latency_ms=options.max_latency_ms,
        min_quality=wish.min_quality,
    )


class Planner(NamedTuple):
    """Makes the plan of one request.  `note` receives what a person should know of it."""

    config: Config
    registry: ModelRegistry
    candidates: Candidates
    now_ms: int
    note: Callable[[str], None]

    @property
    def _listed(self) -> ListedModels:
        return ListedModels(self.config, self.registry, self.candidates, self.note)

    def plan(self, request: RenderedRequest) -> Plan:
        """Return the models that may serve the request, best first.

        Raises:
            NoCandidateError, ModelRetiredError: nobody may; says who comes nearest.
            RequestError: the model, the provider or the chain that was named does not exist.
        """
        first, whole = self.first(request)
        return first if whole is None else whole()

    def first(self, request: RenderedRequest) -> tuple[Plan, Callable[[], Plan] | None]:
        """Return the beginning of a plan, and what makes the whole of it where that is not worked out yet.

        Where a model or a provider is named, who may stand in for it is worked out when it fails: most calls need none
        of the other hundred models, nor the local server's answer.

        Raises:
            LLMRouteError: as `plan`.
        """
        options, wish = request.options, self._wish(request)
        if options.is_listed or not (options.model or options.provider):
            return self._allowed(self._in_full(options, wish), wish, options), None
        named = self._of_model(options, wish) if options.model else self._of_provider(options.provider or "", wish)

        def whole() -> Plan:
            return self._allowed(self._with_others(named, wish, options), wish, options)

        if not self._may_fall_back(options) or self._rests(named) or not self._has_others(named, wish):
            return whole(), None
        return named._replace(entries=named.entries[:1]), whole

    def _in_full(self, options: Options, wish: RoutingConstraints) -> Plan:
        if options.chain:
            return self._listed.of_chain(options.chain, wish)
        if options.fallback:
            if options.model:
                return self._listed.of_models([self._listed.full_name(options), *options.fallbacks], wish)
            # With neither a provider nor a strategy the fallbacks are a chain, made on the spot.
            led = options.provider or options.strategy
            best = best_of(self.candidates, self.registry, options.provider, wish) if led else None
            return self._listed.of_models(options.fallbacks, wish, best)
        return self._best(wish, self.candidates.all())

    def _allowed(self, made: Plan, wish: RoutingConstraints, options: Options) -> Plan:
        """Leave out what the caller does not allow to stand in."""
        if not wish.upgrade:
            made = without_upgrades(made)
        return made if self._may_fall_back(options) else made._replace(entries=made.entries[:1])

    @staticmethod
    def _rests(named: Plan) -> bool:
        """Whether something that was named is left alone, so that others come before it."""
        names = {entry.model.name for entry in named.entries}
        return any(exclusion.model.name in names for exclusion in named.excluded)

    def _has_others(self, named: Plan, wish: RoutingConstraints) -> bool:
        """Whether somebody may stand in, without asking: a provider beyond this machine that can be called."""
        if wish.local_only or PROVIDERS[named.entries[0].model.provider].local:
            return False
        usable = [name for name, row in PROVIDERS.items() if not row.local and not self.candidates.why_unusable(name)]
        return sum(len(self.registry.list_models(name)) for name in usable) > 1

    def _may_fall_back(self, options: Options) -> bool:
        return self.config.enable_fallback if options.enable_fallback is None else options.enable_fallback

    def only_hard(self, request: RenderedRequest) -> RoutingConstraints:
        """Return what binds every model of the plan of a request, however it came into it."""
        return _only_hard(self._wish(request))

    def _wish(self, request: RenderedRequest) -> RoutingConstraints:
        config, options = self.config, request.options
        return RoutingConstraints(
            strategy=options.strategy or config.strategy,
            size=request.size,
            capabilities=options.capabilities(),
            local_only=options.local_only,
            prefer_local=config.prefer_local if options.prefer_local is None else options.prefer_local,
            max_latency_ms=config.max_latency_ms if options.max_latency_ms is None else options.max_latency_ms,
            min_quality=options.min_quality or 0,
            budget_picousd=options.budget_picousd if options.on_budget != "refuse" else None,
            default_provider=config.default_provider,
            unsupported=self._unsupported(request.prompt) if options.strict_params else {},
            weights=Weights(**config.weights),
            upgrade=config.upgrade if options.upgrade is None else options.upgrade,
            now_ms=self.now_ms,
        )

    def _unsupported(self, prompt: Prompt) -> dict[str, str]:
        models = map(self.registry.resolve, self.registry.list_models())
        found = {model.name: refused(prompt, model.parameters) for model in models}
        return {name: ", ".join(words.values()) for name, words in found.items() if words}

    def _best(self, wish: RoutingConstraints, candidates: Sequence[Candidate]) -> Plan:
        made = with_first_choice(wish, candidates, plan(wish, candidates))
        made = allowed(made, wish, candidates)
        if not made.entries:
            from llmroute.planning.no_candidate import refuse

            refuse(made, wish, self._way_to_engine(made, wish))
        if made.entries[0].candidate.last_resort and not wish.local_only:
            self._tell_last_resort(made)
        return made

    def _tell_last_resort(self, made: Plan) -> None:
        from llmroute.planning.no_candidate import nearest, told_miss
        from llmroute.text.option_names import OptionText

        near = nearest(made)
        why = OptionText(told_miss(near), " (", near.admitted_by, " would admit it)") if near else KEYS
        told = OptionText(f"answering with {made.entries[0].model.name}, the embedded engine: ", why)
        notify_daily(self.config.config_dir / ENGINE_TOLD, self.registry.today, self.note, told)

    def _way_to_engine(self, made: Plan, wish: RoutingConstraints) -> str | None:
        """Return the command that gets the embedded model, where nothing but its packages keeps it out."""
        engine = next((one.model for one in made.excluded if one.model.provider == LAST_RESORT), None)
        if engine is None or exclude(self.candidates.of(engine)._replace(unusable=None), wish):
            return None
        from llmroute.planning.local.engine_install import way_to_get

        return way_to_get(self.config)

    def _of_model(self, options: Options, wish: RoutingConstraints) -> Plan:
        """Plan for the model that was named, which must be possible, and within the limits of the request itself.

        Raises:
            RequestError: it cannot serve the request, or misses a limit.
        """
        model = self._listed.one(self._listed.full_name(options))
        found = self.candidates.of(model)
        # What does not answer cannot say where it runs its models.
        if wish.local_only and found.local and found.unusable:
            raise NoCandidateError(f"{model.name}: {found.unusable}")
        candidate = found._replace(unusable=None, last_resort=False)
        asked = _only_asked(wish, options, known=model.known)
        awake = candidate._replace(learned=candidate.learned._replace(awake=True))
        if exclusion := exclude(awake, asked):
            from llmroute.planning.no_candidate import refuse_named

            refuse_named(exclusion)
        resting = exclude(candidate, asked)
        made = keep_order(asked, [awake])._replace(measure=candidate, named=True)
        return made if resting is None else made._replace(excluded=(*made.excluded, resting))

    def _of_provider(self, provider: str, wish: RoutingConstraints) -> Plan:
        require_one_of("provider", provider, PROVIDERS)
        if problem := self.candidates.why_unusable(provider):
            raise NoCandidateError(problem)
        own = [one._replace(last_resort=False) for one in self.candidates.of_provider(provider)]
        return self._best(wish, own)

    def _with_others(self, made: Plan, wish: RoutingConstraints, options: Options) -> Plan:
        """Let the best of the others stand behind what was asked for, and before it while that is left alone."""
        if not self._may_fall_back(options):
            return made
        named = {entry.model.name for entry in made.entries}
        joining = [
            one
            for one in self.candidates.all()
            if one.model.name not in named and (wish.local_only or not one.last_resort)
        ]
        rest = plan(wish, joining)
        resting = [exclusion for exclusion in made.excluded if exclusion.model.name in named]
        excluded = made.excluded + rest.excluded
        if resting and rest.entries:
            skipped = tuple(Skip(one.model, one.reason) for one in resting)
            ill = {one.model.provider for one in resting}
            others = sorted(rest.entries, key=lambda entry: entry.model.provider in ill)
            return made._replace(entries=(*others, *made.entries), excluded=excluded, skipped=skipped)
        entries = other_provider_second([*made.entries, *rest.entries])
        return made._replace(entries=tuple(entries), excluded=excluded)
