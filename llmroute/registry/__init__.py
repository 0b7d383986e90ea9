"""The catalogue of models: their names, limits, prices, capabilities and lives.

Importing it costs next to nothing: what is heavy (pydantic, difflib) comes in where it is needed.
"""

from __future__ import annotations

from datetime import date
from math import inf
from typing import TYPE_CHECKING, Any

from llmroute.errors import ModelRetiredError, RequestError
from llmroute.registry import aliases, families, lifecycle
from llmroute.registry.catalogue_file import load, shipped
from llmroute.registry.class_access import answers_on_class
from llmroute.registry.expectations import expected_quality, expected_speed
from llmroute.registry.model_index import ModelIndex
from llmroute.registry.pricing import rates_on
from llmroute.types import CAPABILITIES, PICO_PER_USD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from os import PathLike

    from llmroute.registry.expectations import Quality, Speed
    from llmroute.types import ModelConfig

__all__ = ["ModelRegistry"]


def _nothing(_name: str) -> bool:
    return False


class ModelRegistry:
    """Answers what is known of models.

    Each method may be called on the class too, `ModelRegistry.get_model_config("openai", "gpt-4")`: the user's own
    registry answers then, that is the refreshed catalogue or the shipped one, and the models of config.toml.  Both
    files are read again when they have changed; a config.toml that is wrong raises a ConfigError.

    Args:
        rows: models in place of the catalogue's, as rows of it or as they are built from one.
        today: the day on which lives and prices are judged; the user's calendar day unless given.
        user_models: the user's own rows by `provider/id`, which are added or override fields.
        user_models_checked: whether `schema.check_user_models` has already passed them.
        catalogue_path: a refreshed catalogue, used when it is sound and as new as the shipped one.

    Raises:
        ConfigError: a user's row is invalid; the message names its key.
    """

    def __init__(
        self,
        rows: Iterable[Mapping[str, Any] | ModelConfig] | None = None,
        *,
        today: date | None = None,
        user_models: Mapping[str, Any] | None = None,
        user_models_checked: bool = False,
        catalogue_path: str | PathLike[str] | None = None,
    ) -> None:
        catalogue, self.warning = load(catalogue_path) if rows is None else (shipped(), None)
        self.as_of: str = catalogue["as_of"]
        self.attribution: str = catalogue.get("attribution", "")
        self._providers: dict[str, Any] = catalogue["providers"]
        self._today = today
        if user_models and not user_models_checked:
            from llmroute.registry.schema import check_user_models

            user_models = check_user_models(user_models, self.providers)
        self._held = ModelIndex(self._providers, catalogue["models"] if rows is None else rows, user_models)

    @property
    def today(self) -> date:
        """The day on which lives and prices are judged."""
        return self._today or date.today()  # noqa: DTZ011 (the user's own calendar decides)

    @property
    def providers(self) -> tuple[str, ...]:
        """Every provider, in the order that settles an ambiguous name."""
        return tuple(self._providers)

    @answers_on_class
    def list_models(self, provider: str | None = None) -> list[str]:
        """Return the names of all models as `provider/id`, retired ones included.

        Raises:
            RequestError: there is no such provider.
        """
        if provider is not None:
            self._require_provider(provider)
        return self._held.of_provider(provider)

    @answers_on_class
    def get_model_config(self, provider: str, model: str) -> ModelConfig:
        """Return a model by its id, alias or vendor's id; a name that is not listed is returned as unknown.

        Raises:
            RequestError: there is no such provider.
        """
        self._require_provider(provider)
        if found := self._held.called(provider, model):
            return found
        return aliases.unlisted(provider, model, local=self.is_local(provider, model))

    @answers_on_class
    def resolve(
        self, name: str, default_provider: str | None = None, pulled: Callable[[str], bool] = _nothing
    ) -> ModelConfig:
        """Return the model that a person means: `provider/model`, `provider:model`, an id, an alias, a vendor's id.

        A named provider wins, then the default one, then what still lives, then the catalogue's order of providers.
        What the catalogue does not list is a model of the local server when `pulled` says that it has one of that name,
        else the newest of the family that is called so (`haiku`).

        Raises:
            RequestError: a name without a provider that no model has; the hint says what comes near.  A word that
                several families are called by; the message names their newest models.
        """
        if name in self._held:
            return self._held.model(name)
        if default_provider is not None:
            self._require_provider(default_provider)
            if found := self._held.called(default_provider, name):
                return found
        provider, model = self._held.words.split(name)
        if provider is not None:
            return self.get_model_config(provider, model)
        if meant := [self._held.model(found) for found in self._held.words.everywhere(name)]:
            return next((found for found in meant if self.status(found) != "retired"), meant[0])
        if pulled(name):
            return aliases.unlisted(aliases.OLLAMA, name, local=self.is_local(aliases.OLLAMA, name))
        if (default_provider and (newest := self.newest(name, default_provider))) or (newest := self.newest(name)):
            return newest
        raise aliases.unknown_model(name, self._held.words.near(name), self._providers)

    @answers_on_class
    def newest(self, word: str, provider: str | None = None) -> ModelConfig | None:
        """Return the newest living model of a family, of one provider's where that is named and has only one so called.

        Raises:
            RequestError: no provider is named, and several families are called so.
        """
        living = (
            model for model in map(self._held.model, self.list_models(provider)) if self.status(model) != "retired"
        )
        try:
            return families.newest(word, living, lambda model: sum(rates_on(model, self.today)))
        except RequestError:
            if provider is None:
                raise
            return None

    @answers_on_class
    def near(self, name: str) -> list[str]:
        """Return the models, as `provider/id`, that are called nearly so, the nearest first."""
        return self._held.words.near(name)

    @answers_on_class
    def find_models_by_capability(
        self, capability: str | None, max_cost_per_1k: float | None = None
    ) -> list[ModelConfig]:
        """Return the living models that can do it, cheapest first, those of unknown price last.

        `max_cost_per_1k` is in USD per thousand tokens and binds input and output alike; it leaves unknown prices out.

        Raises:
            RequestError: there is no such capability.
        """
        if capability is not None and capability not in CAPABILITIES:
            raise aliases.unknown_capability(capability)
        able = (
            model
            for model in map(self._held.model, self._held)
            if (capability is None or capability in model.capabilities) and self.status(model) != "retired"
        )
        ceiling = inf if max_cost_per_1k is None else max_cost_per_1k * PICO_PER_USD / 1000
        within = (model for model in able if max_cost_per_1k is None or max(rates_on(model, self.today)) <= ceiling)
        return sorted(within, key=lambda model: (sum(rates_on(model, self.today)), model.name))

    @answers_on_class
    def get_cheapest_model(self, capability: str | None = None) -> ModelConfig | None:
        """Return the living model of the least known price, input and output together; None where there is none.

        Ties go to the better one, then by name.
        """

        def rank(model: ModelConfig) -> tuple[bool, float, int, str]:
            return self._last_resort(model), sum(rates_on(model, self.today)), -(model.quality or 0), model.name

        found = self.find_models_by_capability(capability)
        return min((model for model in found if sum(rates_on(model, self.today)) < inf), key=rank, default=None)

    @answers_on_class
    def get_fastest_model(
        self,
        capability: str | None = None,
        max_cost_per_1k: float | None = None,
        *,
        expected_latency_ms: Callable[[ModelConfig], float | None] | None = None,
    ) -> ModelConfig | None:
        """Return the living model of the least expected latency; ties go to the cheaper, then by name.

        `expected_latency_ms` is what was measured; where it knows nothing, the provider's typical answer stands in.
        """

        def latency(model: ModelConfig) -> float:
            measured = expected_latency_ms(model) if expected_latency_ms else None
            return self.typical_latency_ms(model.provider) if measured is None else measured

        found = self.find_models_by_capability(capability, max_cost_per_1k)
        return min(found, key=lambda model: (self._last_resort(model), latency(model)), default=None)

    @answers_on_class
    def typical_latency_ms(self, provider: str) -> float:
        """How long the provider says that a typical answer takes; infinite where it says nothing."""
        return float(self._providers[provider].get("typical_latency_ms", inf))

    @answers_on_class
    def expected_quality(self, model: ModelConfig) -> Quality:
        """Return the model's rating, or where it has none an estimate from its predecessor or its price."""
        return expected_quality(model, self._held.find)

    @answers_on_class
    def expected_speed(self, model: ModelConfig, effort: str) -> Speed | None:
        """Return the speed of the model's class at an effort, None where the catalogue has none of its provider."""
        return expected_speed(model, effort, self._providers[model.provider].get("speeds"))

    @answers_on_class
    def is_local(self, provider: str, model: str) -> bool:
        """Whether the model runs on the user's own machine (given a server there)."""
        return self._held.is_local(provider, model)

    @answers_on_class
    def status(self, model: ModelConfig) -> lifecycle.Status:
        """Where the model stands in its life today."""
        return lifecycle.lifecycle(model, self.today)

    @answers_on_class
    def successor(self, model: ModelConfig) -> ModelConfig | None:
        """Return the living model that follows this one, None where there is none."""
        return lifecycle.living_successor(model, self.today, self._held.find)

    @answers_on_class
    def notice(self, model: ModelConfig) -> str | None:
        """Say what a person who names the model must know: that it is retired, or is within 30 days."""
        return lifecycle.notice(model, self.today, self.successor(model))

    @answers_on_class
    def unlisted_notice(self, model: ModelConfig) -> str | None:
        """Say that a model is not listed, and which of its provider's are called nearly so; None when it is listed."""
        if model.known:
            return None
        near = [name for name in self.near(model.id) if name.startswith(f"{model.provider}/")]
        meant = f" (did you mean {' or '.join(near)}?)" if near else ""
        return f"{model.name} is not in the catalogue; it is sent as asked{meant}"

    @answers_on_class
    def living(self, model: ModelConfig) -> ModelConfig:
        """Return the model, or who succeeds it when it is retired.

        Raises:
            ModelRetiredError: nothing living succeeds it.
        """
        if self.status(model) != "retired":
            return model
        if successor := self.successor(model):
            return successor
        raise self.retired_error(model)

    @answers_on_class
    def retired_error(self, model: ModelConfig) -> ModelRetiredError:
        """The error of asking for a retired model: it names the model, its last day and its successor."""
        successor = self.successor(model)
        hint = f"use {successor.name}" if successor else "choose another model: llmroute models"
        return ModelRetiredError(lifecycle.notice(model, self.today, successor) or f"{model.name} is gone", hint=hint)

    @answers_on_class
    def stale_warning(self, last_warned: date | None) -> str | None:
        """Say once a week that the catalogue is older than 60 days; None at any other time."""
        return lifecycle.stale_warning(self.as_of, self.today, last_warned)

    def _require_provider(self, provider: str) -> None:
        if provider not in self._providers:
            raise aliases.unknown_provider(provider, self._providers)

    def _last_resort(self, model: ModelConfig) -> bool:
        return bool(self._providers[model.provider].get("last_resort"))
