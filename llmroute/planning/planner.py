"""The planner: make the plan of a request from its options, the catalogue and the router."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import NoCandidateError
from llmroute.notices import notify_daily
from llmroute.planning.candidates import LAST_RESORT
from llmroute.planning.constraints import constraints_of, only_hard, only_requested
from llmroute.planning.listed_models import ListedModels, best_of
from llmroute.providers import PROVIDERS
from llmroute.request.fields import require_one_of
from llmroute.routing.cascade import cascade, with_reach
from llmroute.routing.exclusions import exclude
from llmroute.routing.plan import Plan, RoutingConstraints, Skip
from llmroute.routing.router import (
    allowed,
    keep_order,
    other_provider_second,
    plan,
    with_first_choice,
    without_upgrades,
)
from llmroute.routing.strategies import RoutingStrategy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmroute.config import Config
    from llmroute.planning.candidates import Candidates
    from llmroute.registry import ModelRegistry
    from llmroute.request.options import Options
    from llmroute.request.rendered import RenderedRequest
    from llmroute.routing.plan import Candidate

KEYS = "set a provider's API key, such as OPENAI_API_KEY, to use a better model"
ENGINE_NOTICE = "engine.notice"
"""The file in the config directory that holds the day of the last note that the embedded engine answers."""


class Planner(NamedTuple):
    """Makes the plan of one request.  `note` receives messages for the user."""

    config: Config
    registry: ModelRegistry
    candidates: Candidates
    now_ms: int
    note: Callable[[str], None]

    @property
    def _listed(self) -> ListedModels:
        return ListedModels(self.config, self.registry, self.candidates, self.note)

    def plan(self, request: RenderedRequest) -> Plan:
        """Return the models that can serve the request, best first.

        Raises:
            NoCandidateError, ModelRetiredError: no model can; the message names the nearest.
            RequestError: the model, provider or chain does not exist.
        """
        first, complete = self.first(request)
        plan = first if complete is None else complete()
        return plan._replace(attachments=request.size.attachments)

    def first(self, request: RenderedRequest) -> tuple[Plan, Callable[[], Plan] | None]:
        """Return the beginning of a plan, and a function that completes it, None if it is complete.

        If the request names a model or a provider, its fallbacks are ranked only when it fails: most requests need
        neither the rest of the catalogue nor a request to the local server.

        Raises:
            LLMRouteError: as `plan`.
        """
        options, constraints = request.options, self._constraints(request)
        if options.is_listed or not (options.model or options.provider):
            return self._allowed(self._in_full(options, constraints), constraints, options), None
        named = (
            self._of_model(options, constraints)
            if options.model
            else self._of_provider(options.provider or "", constraints)
        )

        def complete() -> Plan:
            return self._allowed(self._with_others(named, constraints, options), constraints, options)

        if (
            not self._may_fall_back(options)
            or self._has_open_circuit(named)
            or not self._has_others(named, constraints)
        ):
            return complete(), None
        return named._replace(entries=named.entries[:1]), complete

    def _in_full(self, options: Options, constraints: RoutingConstraints) -> Plan:
        if options.chain:
            return self._listed.of_chain(options.chain, constraints)
        if options.fallback:
            if options.model:
                return self._listed.of_models([self._listed.full_name(options), *options.fallbacks], constraints)
            # Without a provider or a strategy the fallbacks form a chain.
            led = options.provider or options.strategy
            best = best_of(self.candidates, self.registry, options.provider, constraints) if led else None
            return self._listed.of_models(options.fallbacks, constraints, best)
        return self._best(constraints, self.candidates.all())

    def _allowed(self, made: Plan, constraints: RoutingConstraints, options: Options) -> Plan:
        """Return the plan without fallbacks that the caller does not allow."""
        if not constraints.upgrade:
            made = without_upgrades(made)
        if not self._may_fall_back(options):
            made = made._replace(entries=made.entries[:1])
        return made._replace(entries=tuple(with_reach(made.entries))) if constraints.checked else made

    @staticmethod
    def _has_open_circuit(named: Plan) -> bool:
        """Return whether a named model has an open circuit, so that others are called before it."""
        names = {entry.model.name for entry in named.entries}
        return any(exclusion.model.name in names for exclusion in named.excluded)

    def _has_others(self, named: Plan, constraints: RoutingConstraints) -> bool:
        """Return whether a remote provider with another model can be called, without a request."""
        if constraints.local_only or PROVIDERS[named.entries[0].model.provider].local:
            return False
        usable = [name for name, row in PROVIDERS.items() if not row.local and not self.candidates.why_unusable(name)]
        return sum(len(self.registry.list_models(name)) for name in usable) > 1

    def _may_fall_back(self, options: Options) -> bool:
        return self.config.enable_fallback if options.enable_fallback is None else options.enable_fallback

    def only_hard(self, request: RenderedRequest) -> RoutingConstraints:
        """Return the constraints on every model of the plan of a request."""
        return only_hard(self._constraints(request))

    def _constraints(self, request: RenderedRequest) -> RoutingConstraints:
        return constraints_of(request, self.config, self.registry, self.now_ms)

    def _best(self, constraints: RoutingConstraints, candidates: Sequence[Candidate]) -> Plan:
        made = with_first_choice(constraints, candidates, plan(constraints, candidates))
        made = allowed(made, constraints, candidates)
        if not made.entries:
            from llmroute.planning.no_candidate import refuse

            refuse(made, constraints, self._way_to_engine(made, constraints))
        if made.entries[0].candidate.last_resort and not constraints.local_only:
            self._note_last_resort(made)
        if constraints.checked and constraints.strategy == RoutingStrategy.BALANCED:
            made = made._replace(entries=tuple(cascade(made.entries, constraints)))
        return made

    def _note_last_resort(self, made: Plan) -> None:
        from llmroute.planning.no_candidate import miss_text, nearest
        from llmroute.text.option_text import OptionText

        near = nearest(made)
        why = OptionText(miss_text(near), " (", near.admitted_by, " would admit it)") if near else KEYS
        message = OptionText(f"answering with {made.entries[0].model.name}, the embedded engine: ", why)
        notify_daily(self.config.config_dir / ENGINE_NOTICE, self.registry.today, self.note, message)

    def _way_to_engine(self, made: Plan, constraints: RoutingConstraints) -> str | None:
        """Return the command that installs the embedded model, if only its packages are missing."""
        engine = next((one.model for one in made.excluded if one.model.provider == LAST_RESORT), None)
        if engine is None or exclude(self.candidates.of(engine)._replace(unusable=None), constraints):
            return None
        from llmroute.planning.local.engine_install import way_to_get

        return way_to_get(self.config)

    def _of_model(self, options: Options, constraints: RoutingConstraints) -> Plan:
        """Return the plan for a named model, checked against the limits of the request itself.

        Raises:
            RequestError: it cannot serve the request or misses a limit.
        """
        model = self._listed.one(self._listed.full_name(options))
        found = self.candidates.of(model)
        # A server that is down cannot report where its models run.
        if constraints.local_only and found.local and found.unusable:
            raise NoCandidateError(f"{model.name}: {found.unusable}")
        candidate = found._replace(unusable=None, last_resort=False)
        requested = only_requested(constraints, options, known=model.known)
        ignoring_circuit = candidate._replace(stats=candidate.stats._replace(ignore_circuit=True))
        if exclusion := exclude(ignoring_circuit, requested):
            from llmroute.planning.no_candidate import refuse_named

            refuse_named(exclusion)
        resting = exclude(candidate, requested)
        made = keep_order(requested, [ignoring_circuit])._replace(measure=candidate, named=True)
        return made if resting is None else made._replace(excluded=(*made.excluded, resting))

    def _of_provider(self, provider: str, constraints: RoutingConstraints) -> Plan:
        require_one_of("provider", provider, PROVIDERS)
        if problem := self.candidates.why_unusable(provider):
            raise NoCandidateError(problem)
        own = [one._replace(last_resort=False) for one in self.candidates.of_provider(provider)]
        return self._best(constraints, own)

    def _with_others(self, made: Plan, constraints: RoutingConstraints, options: Options) -> Plan:
        """Add the other models after the named ones, or before them while their circuits are open."""
        if not self._may_fall_back(options):
            return made
        named = {entry.model.name for entry in made.entries}
        joining = [
            one
            for one in self.candidates.all()
            if one.model.name not in named and (constraints.local_only or not one.last_resort)
        ]
        rest = plan(constraints, joining)
        resting = [exclusion for exclusion in made.excluded if exclusion.model.name in named]
        excluded = made.excluded + rest.excluded
        if resting and rest.entries:
            skipped = tuple(Skip(one.model, one.reason) for one in resting)
            ill = {one.model.provider for one in resting}
            others = sorted(rest.entries, key=lambda entry: entry.model.provider in ill)
            return made._replace(entries=(*others, *made.entries), excluded=excluded, skipped=skipped)
        entries = [*made.entries, *rest.entries]
        if not constraints.checked:
            entries = other_provider_second(entries)
        return made._replace(entries=tuple(entries), excluded=excluded)
