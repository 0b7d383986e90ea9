"""Model registry: names, limits, prices, capabilities and lifecycles of models.

Heavy imports (pydantic, difflib) are made where they are needed.
"""

from __future__ import annotations

from datetime import date
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from llmroute.errors import ModelRetiredError, RequestError
from llmroute.registry import aliases, lifecycle, selection
from llmroute.registry.catalogue_file import load, shipped_catalogue
from llmroute.registry.class_or_instance import class_or_instance_method
from llmroute.registry.expectations import expected_quality, expected_speed
from llmroute.registry.model_index import ModelIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from os import PathLike

    from llmroute.registry.expectations import Quality, Speed
    from llmroute.types import ModelConfig

__all__ = ["ModelRegistry"]


class ModelRegistry:
    """Looks up models, and facts about them.

    Each method can be called on the class as well, as in `ModelRegistry.get_model_config("openai", "gpt-4")`.  It then
    uses the default registry: the refreshed or else the shipped catalogue, and the models of config.toml.  Both files
    are read again when they change; an invalid config.toml raises a ConfigError.

    Args:
        rows: catalogue rows, or models, in place of the catalogue's.
        today: the day for lifecycles and prices; the local date unless given.
        user_models: rows by `provider/id` that add models or override fields of listed ones.
        user_models_checked: whether `schema.check_user_models` has validated them already.
        catalogue_path: a refreshed catalogue, used when it is valid and not older than the shipped one.

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
        catalogue, self.warning = load(catalogue_path) if rows is None else (shipped_catalogue(), None)
        self.as_of: str = catalogue["as_of"]
        self._providers: dict[str, Any] = catalogue["providers"]
        self._today = today
        if user_models and not user_models_checked:
            from llmroute.registry.schema import check_user_models

            user_models = check_user_models(user_models, self.providers)
        self._index = ModelIndex(self._providers, catalogue["models"] if rows is None else rows, user_models)

    @property
    def today(self) -> date:
        """The day for lifecycles and prices."""
        return self._today or date.today()  # noqa: DTZ011 (the user's own calendar decides)

    @property
    def providers(self) -> tuple[str, ...]:
        """All providers, in the order that settles an ambiguous model name."""
        return tuple(self._providers)

    @class_or_instance_method
    def list_models(self, provider: str | None = None) -> list[str]:
        """Return the names of all models as `provider/id`, retired ones included.

        Raises:
            RequestError: the provider is unknown.
        """
        return self._index.of_provider(provider)

    @class_or_instance_method
    def get_model_config(self, provider: str, model: str) -> ModelConfig:
        """Return a model by its id, alias or API name; an unlisted model has `known=False`.

        Raises:
            RequestError: the provider is unknown.
        """
        return self._index.lookup(provider, model) or self._index.unlisted(provider, model)

    @class_or_instance_method
    def resolve(
        self, name: str, default_provider: str | None = None, is_pulled: Callable[[str], bool] | None = None
    ) -> ModelConfig:
        """Return the model for `provider/model`, `provider:model`, an id, an alias or an API name.

        A provider in the name takes precedence, then `default_provider`, then models that are not retired, then the
        catalogue's order of providers.  An unlisted name is an Ollama model when `is_pulled` returns True for it, else
        the newest model of the family with that name (`haiku`).

        Raises:
            RequestError: the name has no provider and matches no model, or matches several families.
        """
        if matches := self._index.resolve(name, default_provider):
            return next((match for match in matches if self.status(match) != "retired"), matches[0])
        if is_pulled is not None and is_pulled(name):
            return self._index.unlisted(aliases.OLLAMA, name)
        if (default_provider and (newest := self.newest(name, default_provider))) or (newest := self.newest(name)):
            return newest
        raise aliases.unknown_model(name, self.near(name), self._providers)

    @class_or_instance_method
    def newest(self, family: str, provider: str | None = None) -> ModelConfig | None:
        """Return the newest model of a family that is not retired, or None.

        With a provider, None too where several of its families have that name.

        Raises:
            RequestError: no provider is given, and several families have that name.
        """
        try:
            return aliases.newest_of_family(
                family, self._active(provider), partial(selection.list_price, day=self.today)
            )
        except RequestError:
            if provider is None:
                raise
            return None

    @class_or_instance_method
    def near(self, name: str) -> list[str]:
        """Return models with a similar name that are not retired, as `provider/id`, the most similar first."""
        return self._index.aliases.near(name, {model.name for model in self._active()})

    @class_or_instance_method
    def find_models_by_capability(
        self, capability: str | None, max_cost_per_1k: float | None = None
    ) -> list[ModelConfig]:
        """Return the models with a capability that are not retired, the cheapest first, unknown prices last.

        `max_cost_per_1k` is in USD per thousand tokens and limits the prices of input and of output; a model whose
        price is unknown exceeds it.

        Raises:
            RequestError: the capability is unknown.
        """
        return selection.by_capability(self._active(), capability, max_cost_per_1k, self.today)

    @class_or_instance_method
    def get_cheapest_model(self, capability: str | None = None) -> ModelConfig | None:
        """Return the model with the lowest known price, input plus output, or None.

        Ties go to the higher quality, then to the first by name.
        """
        return selection.cheapest(self.find_models_by_capability(capability), self.today, self._is_last_resort)

    @class_or_instance_method
    def get_fastest_model(
        self,
        capability: str | None = None,
        max_cost_per_1k: float | None = None,
        *,
        expected_latency_ms: Callable[[ModelConfig], float | None] | None = None,
    ) -> ModelConfig | None:
        """Return the model with the lowest expected latency, or None; ties go to the cheaper, then the first by name.

        `expected_latency_ms` returns a measured latency; where it returns None, the provider's typical one counts.
        """

        def latency_ms(model: ModelConfig) -> float:
            measured = expected_latency_ms(model) if expected_latency_ms else None
            return self.typical_latency_ms(model.provider) if measured is None else measured

        models = self.find_models_by_capability(capability, max_cost_per_1k)
        return selection.fastest(models, latency_ms, self._is_last_resort)

    @class_or_instance_method
    def typical_latency_ms(self, provider: str) -> float:
        """Return how long a typical answer of the provider takes, infinite where that is unknown."""
        return float(self._providers[provider].get("typical_latency_ms", inf))

    @class_or_instance_method
    def expected_quality(self, model: ModelConfig) -> Quality:
        """Return the model's rating, or an estimate from its predecessor or its price."""
        return expected_quality(model, self._index.get)

    @class_or_instance_method
    def expected_speed(self, model: ModelConfig, effort: str) -> Speed | None:
        """Return the speed of models of this size at an effort, None where the catalogue has none for the provider."""
        return expected_speed(model, effort, self._providers[model.provider].get("speeds"))

    @class_or_instance_method
    def is_local(self, provider: str, model: str) -> bool:
        """Whether the model runs on the user's machine."""
        return self._index.is_local(provider, model)

    @class_or_instance_method
    def status(self, model: ModelConfig) -> lifecycle.Status:
        """Return the model's lifecycle status today."""
        return lifecycle.lifecycle(model, self.today)

    @class_or_instance_method
    def successor(self, model: ModelConfig) -> ModelConfig | None:
        """Return the first successor of the model that is not retired, or None."""
        return lifecycle.current_successor(model, self.today, self._index.get)

    @class_or_instance_method
    def notice(self, model: ModelConfig) -> str | None:
        """Return a notice for a model that is retired or retires within 30 days, or None."""
        return lifecycle.notice(model, self.today, self.successor(model))

    @class_or_instance_method
    def unlisted_notice(self, model: ModelConfig) -> str | None:
        """Return a notice for an unlisted model, with similar models of its provider; None when it is listed."""
        return None if model.known else aliases.unlisted_notice(model, self.near(model.id))

    @class_or_instance_method
    def living(self, model: ModelConfig) -> ModelConfig:
        """Return the model, or its successor when it is retired.

        Raises:
            ModelRetiredError: it is retired and has no successor.
        """
        active = self.successor(model) if self.status(model) == "retired" else model
        if active is None:
            raise self.retired_error(model)
        return active

    @class_or_instance_method
    def retired_error(self, model: ModelConfig) -> ModelRetiredError:
        """Return the error for a request of a retired model: its name, its last day and its successor."""
        return lifecycle.retired_error(model, self.today, self.successor(model))

    @class_or_instance_method
    def stale_warning(self, last_warned: date | None) -> str | None:
        """Return a warning, at most once a week, that the catalogue is older than 60 days; otherwise None."""
        return lifecycle.stale_warning(self.as_of, self.today, last_warned)

    def _active(self, provider: str | None = None) -> list[ModelConfig]:
        models = map(self._index.model, self._index.of_provider(provider))
        return [model for model in models if self.status(model) != "retired"]

    def _is_last_resort(self, model: ModelConfig) -> bool:
        return bool(self._providers[model.provider].get("last_resort"))
