"""The models that a registry holds, under every name that they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmroute.registry import aliases
from llmroute.registry.row_parser import model_from_row
from llmroute.types import ModelConfig
from llmroute.urls import is_ollama_cloud_tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class ModelIndex:
    """Rows by `provider/id`; each becomes a ModelConfig when it is first asked for.

    Args:
        providers: what the catalogue says of each provider, in the order that settles an ambiguous name.
        rows: rows of a catalogue, or models as they are built from one.
        user_models: the user's own rows by `provider/id`, checked; they outrank the others and their names.
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
                words = {"api_name": row.api_name, "aliases": row.aliases}
                self._rows[row.name] = {"provider": row.provider, "id": row.id, **words}
            else:
                self._rows[f"{row['provider']}/{row['id']}"] = row
        self._first = tuple(user_models or ())
        if user_models:
            self._take(user_models)
        self._words: aliases.AliasIndex | None = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    @property
    def words(self) -> aliases.AliasIndex:
        """Every name of every model, read when a model is first called by another name than `provider/id`."""
        if self._words is None:
            words = aliases.AliasIndex(self._providers)
            for name in (*self._first, *self._rows):
                row = self._rows[name]
                others = (row.get("api_name") or row["id"], *row.get("aliases", ()))
                words.add(name, row["provider"], row["id"], others)
            self._words = words
        return self._words

    def of_provider(self, provider: str | None) -> list[str]:
        """Return the names of the provider's models, of all models for None."""
        return [name for name, row in self._rows.items() if provider in (None, row["provider"])]

    def model(self, name: str) -> ModelConfig:
        """Return the model that is held as `name`."""
        if name not in self._models:
            self._models[name] = model_from_row(self._rows[name])
        return self._models[name]

    def find(self, name: str) -> ModelConfig | None:
        """Return the model that is held as `name`, None where there is none."""
        return self.model(name) if name in self._rows else None

    def called(self, provider: str, word: str) -> ModelConfig | None:
        """Return the provider's model of that id, alias or vendor's name, None where there is none."""
        name = f"{provider}/{word}"
        if name not in self._rows:
            name = self.words.find(provider, word) or ""
        return self.find(name)

    def is_local(self, provider: str, model: str) -> bool:
        """Whether the model runs on the user's own machine (given a server there)."""
        return bool(self._providers[provider].get("local")) and not is_ollama_cloud_tag(model)

    def _take(self, user_models: Mapping[str, Any]) -> None:
        from llmroute.registry.user_models import FREE_ROW, merge_user_row

        for name, row in user_models.items():
            provider, _, model = name.partition("/")
            listed = self._rows.get(name) or ({"prices": [FREE_ROW]} if self.is_local(provider, model) else None)
            self._rows[name] = merge_user_row(name, listed, row)
            self._models.pop(name, None)
