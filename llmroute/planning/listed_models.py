"""Plans for models listed by the caller: one by name, several in order, or a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import NoCandidateError, RequestError
from llmroute.notices import notify_daily
from llmroute.planning.candidates import LAST_RESORT
from llmroute.planning.lookup import all_chains, current_model, named_model, require_chain
from llmroute.providers import PROVIDERS
from llmroute.request.fields import require_one_of
from llmroute.routing.plan import RoutingConstraints
from llmroute.routing.router import allowed, keep_order, plan, with_skipped
from llmroute.routing.token_estimate import PromptSize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmroute.config import Config
    from llmroute.planning.candidates import Candidates
    from llmroute.registry import ModelRegistry
    from llmroute.request.options import Options
    from llmroute.routing.plan import Candidate, Plan
    from llmroute.types import ModelConfig

CHAIN_NOTICE = "chain-{}.notice"
"""The file in the config directory that holds the day of the last note on replaced models of a chain."""


class ListedModels(NamedTuple):
    """Finds the models listed by the caller.  `note` receives messages for the user."""

    config: Config
    registry: ModelRegistry
    candidates: Candidates
    note: Callable[[str], None]

    def full_name(self, options: Options) -> str:
        """Return the name of the requested model, with its provider if the request names one.

        Raises:
            RequestError: provider and model contradict each other.
        """
        name, provider = options.model or "", options.provider
        if not provider or name.startswith(f"{provider}/"):
            return name
        full = f"{provider}/{name}"
        named = name.partition("/")[0]
        if "/" in name and named in PROVIDERS and not self.registry.resolve(full).known:
            raise RequestError(
                f"provider {provider} and model {name} contradict each other",
                hint=f"leave out the provider, or write {full} where {provider} calls its model so",
                option="provider",
            )
        return full

    def one(self, name: str) -> ModelConfig:
        """Return the model with a name.

        Raises:
            NoCandidateError, ModelRetiredError: it cannot be called.
            RequestError: there is none.
        """
        model = self._called(name)
        if problem := self.candidates.why_unusable(model.provider):
            raise NoCandidateError(problem)
        return self._current(model)

    def of_models(self, names: Sequence[str], constraints: RoutingConstraints, best: ModelConfig | None = None) -> Plan:
        """Return the plan for the named models that can be called, in order; `best` comes first.

        Raises:
            LLMRouteError: by its class, why none can.
        """
        models = [best] if best else []
        models += [self._current(self._called(name)) for name in names]
        return self._in_order([self._unranked(model) for model in models], constraints)

    def of_chain(self, name: str, constraints: RoutingConstraints) -> Plan:
        """Return the plan for a chain; retired models are replaced.

        Raises:
            LLMRouteError: by its class, why none of it can be called.
        """
        known = require_chain(self.config, name)
        listed = [self._called(entry) for entry in all_chains(self.config)[known]]
        today = [(model, current_model(self.registry, model) or model) for model in listed]
        made = self._in_order([self.candidates.of(model) for _, model in today], constraints)
        self._note_replaced(known, today, {entry.model.name for entry in made.entries})
        return made._replace(strategy=None, chain=known)

    def _called(self, name: str) -> ModelConfig:
        return named_model(self.config, self.registry, name, self.candidates.has_pulled)

    def _note_replaced(self, chain: str, today: Sequence[tuple[ModelConfig, ModelConfig]], tried: set[str]) -> None:
        """Note once a day which retired models of a chain are replaced, and which retire soon."""
        usable = [(listed, model) for listed, model in today if model.name in tried]
        replacements = [
            f"{listed.name} is retired, replaced by {model.name}" for listed, model in usable if listed != model
        ]
        replacements += [notice for _, model in usable if (notice := self.registry.notice(model))]
        if replacements:
            memory = self.config.config_dir / CHAIN_NOTICE.format(chain)
            notify_daily(memory, self.registry.today, self.note, f"chain {chain}: {'; '.join(replacements)}")

    def _unranked(self, model: ModelConfig) -> Candidate:
        """Return a named model as a candidate; a gateway may still serve a retired one."""
        found = self.candidates.of(model)
        retired = self.registry.status(model) == "retired"
        return found._replace(unusable=self.candidates.why_unusable(model.provider)) if retired else found

    @staticmethod
    def _in_order(candidates: Sequence[Candidate], constraints: RoutingConstraints) -> Plan:
        unique = list({one.model.name: one._replace(last_resort=False) for one in candidates}.values())
        made = allowed(keep_order(constraints, unique)._replace(measure=unique[0], named=True), constraints, unique)
        if not made.entries:
            from llmroute.planning.no_candidate import refuse

            refuse(made, constraints)
        return with_skipped([one.model.name for one in unique], made)

    def _current(self, model: ModelConfig) -> ModelConfig:
        """Return the successor of a retired model; with a custom base URL the model itself."""
        at_provider = self.config.providers[model.provider].base_url is None
        # Gateways and local servers use model names of their own.
        mistyped = self.registry.unlisted_notice(model) if at_provider and not PROVIDERS[model.provider].local else None
        if notice := mistyped or self.registry.notice(model):
            self.note(notice)
        return self.registry.living(model) if at_provider else model


def best_of(
    candidates: Candidates, registry: ModelRegistry, provider: str | None, constraints: RoutingConstraints
) -> ModelConfig | None:
    """Return the model that a request's fallbacks follow: the best of a provider, or of all; None if there is none.

    Open circuits do not count.  If no model of the provider can serve the request or be called, the best of them is
    returned all the same, because the prices of fallbacks are compared with its price.

    Raises:
        RequestError: there is no such provider.
    """
    require_one_of("provider", provider, PROVIDERS)
    found = candidates.of_provider(provider) if provider else candidates.all()
    usable = [one for one in found if not one.unusable and _counts(one, provider, constraints)]
    made = plan(constraints, map(_ignoring_circuit, usable))
    if made.entries or not provider:
        return made.entries[0].model if made.entries else None
    not_retired = [one for one in found if registry.status(one.model) != "retired"]
    size = PromptSize(expected_input=1, least_input=0, worst_input=0, answer_room=constraints.size.answer_room)
    unbound = RoutingConstraints(constraints.strategy, size)
    made = plan(
        unbound, (_ignoring_circuit(candidates.of(one.model))._replace(unusable=None) for one in usable or not_retired)
    )
    return made.entries[0].model if made.entries else None


def _counts(one: Candidate, provider: str | None, constraints: RoutingConstraints) -> bool:
    """Return whether to consider a model: the embedded engine only if its provider was named."""
    return one.model.provider != LAST_RESORT or provider == LAST_RESORT or constraints.local_only


def _ignoring_circuit(one: Candidate) -> Candidate:
    return one._replace(stats=one.stats._replace(ignore_circuit=True), last_resort=False)
