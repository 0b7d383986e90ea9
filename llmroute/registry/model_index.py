"""Models of a registry, indexed by `provider/id` and by alias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.registry.aliases import AliasIndex, unknown_provider, unlisted
from llmroute.registry.row_parser import FREE_ROW, merge_user_row, model_from_row
from llmroute.types import ModelConfig
from llmroute.urls import is_ollama_cloud_tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class ModelIndex:
    """Rows by `provider/id`; each is parsed to a ModelConfig on first use.

    Args:
        providers: the catalogue's table of each provider, in the order that settles an ambiguous model name.
        rows: catalogue rows, or models that were parsed from such rows.
        user_models: validated rows of config.toml by `provider/id`; they and their aliases override the others.
    """

    def __init__(
        self,
        providers: Mapping[str, Mapping[str, Any]],
        rows: Iterable[Mapping[str, Any] | ModelConfig],
        user_models: Mapping[str, Any] | None,
    ) -> None:
        self._providers = providers
        self._models: dict[str, ModelConfig] = {}
        self._rows: dict[str, Mapping[str, Any]] = {}
        for row in rows:
            if isinstance(row, ModelConfig):
                self._models[row.name] = row
                names = {"api_name": row.api_name, "aliases": row.aliases}
                self._rows[row.name] = {"provider": row.provider, "id": row.id, **names}
            else:
                self._rows[f"{row['provider']}/{row['id']}"] = row
        self._user_models = user_models or {}
        for name, user in self._user_models.items():
            provider, _, model = name.partition("/")
            listed = self._rows.get(name) or ({"prices": [FREE_ROW]} if self.is_local(provider, model) else None)
            self._rows[name] = merge_user_row(name, listed, user)
            self._models.pop(name, None)
        self._aliases: AliasIndex | None = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    @property
    def aliases(self) -> AliasIndex:
        """The index of all names, built on the first lookup of a name other than `provider/id`."""
        if self._aliases is None:
            self._aliases = AliasIndex(self._providers)
            for name in (*self._user_models, *self._rows):
                row = self._rows[name]
                others = (row.get("api_name") or row["id"], *row.get("aliases", ()))
                self._aliases.add(name, row["provider"], row["id"], others)
        return self._aliases

    def of_provider(self, provider: str | None) -> list[str]:
        """Return the names of a provider's models, or of all models for None.

        Raises:
            RequestError: the provider is unknown.
        """
        if provider is not None:
            self._require(provider)
        return [name for name, row in self._rows.items() if provider in (None, row["provider"])]

    def model(self, name: str) -> ModelConfig:
        """Return the model with that `provider/id`.

        Raises:
            KeyError: no model has that name.
        """
        if name not in self._models:
            self._models[name] = model_from_row(self._rows[name])
        return self._models[name]

    def get(self, name: str) -> ModelConfig | None:
        """Return the model with that `provider/id`, or None."""
        return self.model(name) if name in self._rows else None

    def lookup(self, provider: str, word: str) -> ModelConfig | None:
        """Return the provider's model with that id, alias or API name, or None.

        Raises:
            RequestError: the provider is unknown.
        """
        self._require(provider)
        name = f"{provider}/{word}"
        return self.get(name if name in self._rows else self.aliases.find(provider, word) or "")

    def is_local(self, provider: str, model: str) -> bool:
        """Whether the model runs on the user's machine."""
        return bool(self._providers[provider].get("local")) and not is_ollama_cloud_tag(model)

    def resolve(self, name: str, default_provider: str | None) -> list[ModelConfig]:
        """Return the models that a name can mean, in order of precedence, as `ModelRegistry.resolve` says.

        Raises:
            RequestError: the default provider is unknown.
        """
        found = self.get(name)
        if found is None and default_provider is not None:
            found = self.lookup(default_provider, name)
        if found is not None:
            return [found]
        provider, model = self.aliases.split(name)
        if provider is not None:
            return [self.lookup(provider, model) or self.unlisted(provider, model)]
        return [self.model(match) for match in self.aliases.find_all(name)]

    def unlisted(self, provider: str, model: str) -> ModelConfig:
        """Return a model that is not in the catalogue."""
        return unlisted(provider, model, local=self.is_local(provider, model))

    def _require(self, provider: str) -> None:
        if provider not in self._providers:
            raise unknown_provider(provider, self._providers)
