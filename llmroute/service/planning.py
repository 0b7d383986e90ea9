"""From a request to its plan: ask the router, in the way that the request wants its models chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import BudgetExceededError, NoCandidateError, RequestError
from llmroute.providers import PROVIDERS
from llmroute.routing.estimate import expected_input_tokens, expected_output_tokens
from llmroute.routing.parameters import refused
from llmroute.routing.plan import Plan, Weights, Wish
from llmroute.routing.router import exclude, keep_order, other_provider_second, plan, soonest, without_upgrades
from llmroute.service.known_chains import all_chains, require_chain
from llmroute.service.options import require_one_of
from llmroute.service.telling import tell_daily

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmroute.config import Config
    from llmroute.registry import ModelRegistry
    from llmroute.routing.plan import Candidate, Exclusion
    from llmroute.service.candidates import Candidates
    from llmroute.service.options import Options
    from llmroute.types import ModelConfig, Prompt

KEYS = "set a provider's key, such as OPENAI_API_KEY, for a better one (llmroute health tells what is set up)"
ENGINE_TOLD = "engine.told"
"""The file in the config directory that holds the day on which a person was told that the embedded engine answers."""


def _only_hard(wish: Wish) -> Wish:
    """Return what binds a model that was named; whether it fits the budget is seen when it is its turn."""
    return wish._replace(capabilities=frozenset(), max_latency_ms=None, min_quality=0, budget_picousd=None)


class Planner(NamedTuple):
    """Makes the plan of one request.  `note` receives what a person should know of it."""

    config: Config
    registry: ModelRegistry
    candidates: Candidates
    now_ms: int
    note: Callable[[str], None]

    def plan(self, options: Options, prompt: Prompt) -> Plan:
        """Return the models that may serve the request, best first.

        Raises:
            NoCandidateError, ModelRetiredError: nobody may; says who comes nearest.
            RequestError: the model, the provider or the chain that was named does not exist.
        """
        wish = self._wish(options, prompt)
        if options.chain:
            made = self._of_chain(options.chain, wish)
        elif options.fallback:
            made = self._of_named([*([self._full_name(options)] if options.model else []), *options.fallbacks], wish)
        elif options.model:
            made = self._with_others(self._of_model(options, wish), wish, options)
        elif options.provider:
            made = self._with_others(self._of_provider(options.provider, wish), wish, options)
        else:
            made = self._best(wish, self.candidates.all())
        if not wish.upgrade:
            made = without_upgrades(made)
        return made if self._may_fall_back(options) else made._replace(entries=made.entries[:1])

    def _may_fall_back(self, options: Options) -> bool:
        return self.config.enable_fallback if options.enable_fallback is None else options.enable_fallback

    def only_hard(self, options: Options, prompt: Prompt) -> Wish:
        """Return what binds every model of the plan of a request, however it came into it."""
        return _only_hard(self._wish(options, prompt))

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
            weights=Weights(**config.weights),
            upgrade=config.upgrade if options.upgrade is None else options.upgrade,
            now_ms=self.now_ms,
        )

    def _unsupported(self, prompt: Prompt) -> dict[str, str]:
        models = map(self.registry.resolve, self.registry.list_models())
        found = {model.name: refused(prompt, model.parameters) for model in models}
        return {name: ", ".join(words.values()) for name, words in found.items() if words}

    def _best(self, wish: Wish, candidates: Sequence[Candidate]) -> Plan:
        made = plan(wish, candidates)
        if not made.entries:
            made = soonest(wish, candidates)._replace(excluded=made.excluded)
        _require(made, wish)
        first = made.entries[0]
        if first.candidate.last_resort and not wish.local_only:
            from llmroute.wording import Told

            near = _nearest(made)
            why = Told(_told(near), " (", near.admitted_by, " would admit it)") if near else KEYS
            told = Told(f"answering with {first.model.name}, the embedded engine: ", why)
            tell_daily(self.config.config_dir / ENGINE_TOLD, self.registry.today, self.note, told)
        return made

    def _full_name(self, options: Options) -> str:
        name = options.model or ""
        whole = not options.provider or name.startswith(f"{options.provider}/")
        return name if whole else f"{options.provider}/{name}"

    def _of_model(self, options: Options, wish: Wish) -> Plan:
        """Plan for the model that was named; it need not be good or fast, only possible."""
        model = self._named(self._full_name(options))
        found = self.candidates.of(model)
        # What does not answer cannot say where it runs its models.
        if wish.local_only and found.local and found.unusable:
            raise NoCandidateError(f"{model.name}: {found.unusable}")
        candidate = found._replace(unusable=None, last_resort=False)
        only_hard = _only_hard(wish)
        awake = candidate._replace(learned=candidate.learned._replace(awake=True))
        if exclusion := exclude(awake, only_hard):
            raise RequestError(f"{model.name}: {exclusion.reason}")
        resting = exclude(candidate, only_hard)
        made = keep_order(only_hard, [awake])
        return made if resting is None else made._replace(excluded=(*made.excluded, resting))

    def _of_provider(self, provider: str, wish: Wish) -> Plan:
        require_one_of("provider", provider, PROVIDERS)
        if problem := self.candidates.why_unusable(provider):
            raise NoCandidateError(problem)
        own = [one._replace(last_resort=False) for one in self.candidates.all() if one.model.provider == provider]
        return self._best(wish, own)

    def _with_others(self, made: Plan, wish: Wish, options: Options) -> Plan:
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
            self.note(f"{resting[0].model.name}: {resting[0].reason}, using {rest.entries[0].model.name}")
            return made._replace(entries=(*rest.entries, *made.entries), excluded=excluded)
        entries = other_provider_second([*made.entries, *rest.entries])
        return made._replace(entries=tuple(entries), excluded=excluded)

    def _of_chain(self, name: str, wish: Wish) -> Plan:
        """Plan for a chain, which names intentions: whoever succeeds a retired model is meant."""
        known = require_chain(self.config, name)
        named = [self.registry.resolve(entry, self.config.default_provider) for entry in all_chains(self.config)[known]]
        meant = {model.name: self._meant(model) for model in named}
        made = self._in_order([self.candidates.of(model) for model in meant.values()], wish)
        tried = {entry.model.name for entry in made.entries}
        for model in named:
            if meant[model.name].name in tried and (notice := self.registry.notice(model)):
                self.note(notice)
        return made._replace(strategy=None, chain=known)

    def _meant(self, model: ModelConfig) -> ModelConfig:
        return self.registry.successor(model) or model if self.registry.status(model) == "retired" else model

    def _of_named(self, names: Sequence[str], wish: Wish) -> Plan:
        """Plan for models in the order in which they were named, those that can be called."""
        models = [self._living(self.registry.resolve(name, self.config.default_provider)) for name in names]
        return self._in_order([self._as_asked(model) for model in models], wish)

    def _as_asked(self, model: ModelConfig) -> Candidate:
        """Return a model that was named, whose retirement says nothing of a gateway."""
        found = self.candidates.of(model)
        retired = self.registry.status(model) == "retired"
        return found._replace(unusable=self.candidates.why_unusable(model.provider)) if retired else found

    def _in_order(self, candidates: Sequence[Candidate], wish: Wish) -> Plan:
        unique = list({one.model.name: one._replace(last_resort=False) for one in candidates}.values())
        made = keep_order(wish, unique)
        if not made.entries:
            made = soonest(wish, unique)._replace(excluded=made.excluded)
        _require(made, wish)
        return made

    def _named(self, name: str) -> ModelConfig:
        model = self.registry.resolve(name, self.config.default_provider)
        if problem := self.candidates.why_unusable(model.provider):
            raise NoCandidateError(problem)
        return self._living(model)

    def _living(self, model: ModelConfig) -> ModelConfig:
        """Replace a retired model by its successor; a gateway at another address may still serve it."""
        at_home = self.config.providers[model.provider].base_url is None
        # What a gateway or a server of the user's own calls its models is theirs to say.
        mistyped = self.registry.unlisted_notice(model) if at_home and not PROVIDERS[model.provider].local else None
        if notice := mistyped or self.registry.notice(model):
            self.note(notice)
        return self.registry.living(model) if at_home else model


def _require(made: Plan, wish: Wish) -> None:
    """Raise what tells the nearest miss and what would admit it when a plan is empty."""
    if made.entries:
        return
    if near := _nearest(made):
        from llmroute.wording import Told

        option = near.admitted_by[0].option
        told, hint = f"no model may serve this request; {_told(near)}", Told(near.admitted_by, " would admit it")
        if option != "budget_remaining":
            raise NoCandidateError(told, hint=hint, option=option)
        refusal = BudgetExceededError(told, hint=hint, option=option)
        refusal.of_request = True
        raise refusal
    reasons = list(dict.fromkeys(exclusion.reason for exclusion in made.excluded))[:4]
    wanted = f" with {', '.join(sorted(wish.capabilities))}" if wish.capabilities else ""
    raise NoCandidateError(
        f"no model{wanted} may serve this request: {'; '.join(reasons) or 'there is none'}",
        hint="llmroute health shows what is set up, llmroute models what there is",
    )


def _nearest(made: Plan) -> Exclusion | None:
    """Return the nearest of those that an option would admit."""
    misses = [exclusion for exclusion in made.excluded if exclusion.admitted_by]
    return min(misses, key=lambda exclusion: exclusion.distance, default=None)


def _told(near: Exclusion) -> str:
    return f"the nearest is {near.model.name}, but {near.reason}"
