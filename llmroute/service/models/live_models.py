"""The models that each key can call: the providers' own lists, merged with the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llmroute.errors import LLMRouteError, NoCandidateError, RequestError
from llmroute.planning.local.local_models import LOCAL_SERVER
from llmroute.providers import ENGINE, PROVIDERS
from llmroute.service.model_lists import fetch_models, side_by_side
from llmroute.service.models.listing import PricedModel, as_listed, listed, with_limits_here
from llmroute.types import ModelConfig, Price

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmroute.providers import ListedModel
    from llmroute.registry import ModelRegistry
    from llmroute.service.core import ServiceCore

_MICRO = 10**6


@dataclass(frozen=True, slots=True)
class CallableModels:
    """The models that can be called.

    `answered` says whether any provider has listed its models; `failures` holds the errors of those that have not,
    `empty` the names of those whose list has no models.  `left_out` counts by provider the models whose names hold a
    key, or a part of an address that may be a token.
    """

    models: list[PricedModel]
    answered: bool
    failures: dict[str, LLMRouteError]
    empty: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)


def live(core: ServiceCore, provider: str | None = None) -> CallableModels:
    """Ask the provider, or every one that is set up, for its list.  Takes five seconds at most.

    Raises:
        NoCandidateError: the provider that was named is not set up.
    """
    if provider and (problem := core.endpoints.why_unusable(provider)):
        raise NoCandidateError(problem)
    names = [provider] if provider else [name for name in PROVIDERS if core.endpoints.why_unusable(name) is None]
    answers = _all_lists(core, [name for name in names if name != ENGINE])
    whole = {name: answer for name, answer in answers.items() if not isinstance(answer, LLMRouteError)}
    lists = {name: _without_secrets(core, name, models) for name, models in whole.items()}
    failures = {name: answer for name, answer in answers.items() if isinstance(answer, LLMRouteError)}
    if provider is None and core.config.providers[LOCAL_SERVER].base_url is None:
        failures.pop(LOCAL_SERVER, None)  # it is not configured
    registry = _merged(core, lists)
    found = {
        one.model.name: one
        for name, models in lists.items()
        for one in (as_listed(registry, _model(registry, name, model)) for model in models if _is_name(model.api_name))
    }
    if LOCAL_SERVER in lists:
        # Its list says nothing of their limits.
        found = {one.model.name: one for one in with_limits_here(core, found.values())}
    if ENGINE in names:
        found |= {one.model.name: one for one in listed(registry, ENGINE)}
    empty = tuple(name for name, models in whole.items() if not models)
    left_out = {name: count for name, models in whole.items() if (count := len(models) - len(lists[name]))}
    return CallableModels(list(found.values()), bool(lists), failures, empty, left_out)


def fetch_lists(core: ServiceCore, names: Iterable[str]) -> dict[str, tuple[ListedModel, ...] | LLMRouteError]:
    """Return each provider's list, or why it did not come; a model that is named by a secret is left out."""
    return {
        name: answer if isinstance(answer, LLMRouteError) else _without_secrets(core, name, answer)
        for name, answer in _all_lists(core, names).items()
    }


def _all_lists(core: ServiceCore, names: Iterable[str]) -> dict[str, tuple[ListedModel, ...] | LLMRouteError]:
    sender = core.resources.blocking_sender()
    return side_by_side(lambda name, until: fetch_models(sender, core.endpoints.connect(name), until), names)


def _without_secrets(core: ServiceCore, provider: str, models: tuple[ListedModel, ...]) -> tuple[ListedModel, ...]:
    """Return the models that are named by no secret; a name of the catalogue is none."""
    redaction, registry = core.endpoints.redaction, core.registry
    return tuple(
        model
        for model in models
        if redaction.hide(model.api_name) == model.api_name or registry.get_model_config(provider, model.api_name).known
    )


def _merged(core: ServiceCore, lists: dict[str, tuple[ListedModel, ...]]) -> ModelRegistry:
    """Return the catalogue with what the lists say of its models; the user's own rows outrank both."""
    from llmroute.registry import ModelRegistry
    from llmroute.registry.catalogue_file import load
    from llmroute.registry.list_merge import merge_live

    catalogue, _ = load(core.models.catalogue_path)
    for name, models in lists.items():
        try:
            catalogue = merge_live(catalogue, name, [model._asdict() for model in models], core.registry.today)
        except RequestError:  # a limit or a date that cannot be: the catalogue's stands
            continue
    return ModelRegistry(
        catalogue["models"], today=core.registry.today, user_models=core.config.models, user_models_checked=True
    )


def _model(registry: ModelRegistry, provider: str, listed: ListedModel) -> ModelConfig:
    """Return the catalogue's model of that name, else one with what the list says of it."""
    for name in (listed.api_name, listed.api_name.removesuffix(":latest")):
        model = registry.get_model_config(provider, name)
        if model.known:
            return model
    model = registry.get_model_config(provider, listed.api_name)
    prices = model.prices
    if listed.price_input is not None and listed.price_output is not None:
        prices = (Price(round(listed.price_input * _MICRO), round(listed.price_output * _MICRO)),)
    return replace(
        model,
        aliases=listed.aliases,
        context_window=listed.context_window,
        max_output=listed.max_output,
        capabilities=listed.capabilities or frozenset(),
        prices=prices,
        deprecated_on=listed.deprecated_on,
        retires_on=listed.retires_on,
        successor=f"{provider}/{listed.successor}" if listed.successor else None,
    )


def _is_name(word: str) -> bool:
    """Whether a name can stand on a line of its own: in a pipe there is nothing else."""
    return word.isprintable() and not any(letter.isspace() for letter in word)
