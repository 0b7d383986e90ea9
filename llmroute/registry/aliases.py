"""The names by which people call models: which of them name a provider, and which are Ollama's tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import RequestError
from llmroute.text.suggest import nearest
from llmroute.types import CAPABILITIES, ModelConfig, Price
from llmroute.urls import is_ollama_cloud_tag

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

OLLAMA = "ollama"
_FREE = Price(input=0, output=0, cache_read=0, cache_write=0)


class AliasIndex:
    """Every name of every model: ids, the vendors' own names and aliases, in any case of letters.

    An id outranks an alias, and the models that come first outrank later ones.
    """

    def __init__(self, providers: Iterable[str]) -> None:
        self._providers = tuple(providers)
        self._models: dict[tuple[str, str], str] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self._tagged: set[str] = set()

    def add(self, name: str, provider: str, model: str, others: Iterable[str]) -> None:
        """Learn what else the model `name` is called."""
        self._models[provider, model.lower()] = name
        for other in others:
            self._aliases.setdefault((provider, other.lower()), name)
        if provider == OLLAMA:
            self._tagged.add(model.partition(":")[0].lower())

    def find(self, provider: str, word: str) -> str | None:
        """Return the name of the provider's model that is called so."""
        key = (provider, word.lower())
        return self._models.get(key) or self._aliases.get(key)

    def everywhere(self, word: str) -> list[str]:
        """Return the names of all models that are called so, in the order of their providers."""
        return [name for provider in self._providers if (name := self.find(provider, word))]

    def split(self, name: str) -> tuple[str | None, str]:
        """Split `provider/model` and `provider:model`; the provider is None where the name begins with none.

        A listed family of Ollama's before a colon is its tag (`mistral:7b`) unless the provider of that name lists it.
        """
        for separator in ("/", ":"):
            first, found, model = name.partition(separator)
            provider = first.lower()
            if found and model and provider in self._providers:
                tag = separator == ":" and provider in self._tagged and self.find(provider, model) is None
                return (OLLAMA, name) if tag else (provider, model)
        if ":" in name and name.partition(":")[0].lower() in self._tagged:
            return OLLAMA, name
        return None, name

    def near(self, name: str) -> list[str]:
        """Return the models that are called nearly so, the nearest first."""
        from difflib import get_close_matches

        words = {word: model for (_, word), model in {**self._aliases, **self._models}.items()}
        return list(dict.fromkeys(words[word] for word in get_close_matches(name.lower(), words, n=3)))


def unlisted(provider: str, model: str, *, local: bool) -> ModelConfig:
    """Return a model that the catalogue does not know: sent as asked, free where it runs on the user's machine."""
    free = local and not is_ollama_cloud_tag(model)
    return ModelConfig(provider=provider, id=model, api_name=model, prices=(_FREE,) if free else (), known=False)


def unknown_provider(provider: str, providers: Iterable[str]) -> RequestError:
    """Say that nobody is called so, and who there is."""
    names = tuple(providers)
    near = nearest(provider.lower(), names)
    return RequestError(
        f"no provider is called {provider!r}",
        hint=f"did you mean {near}?" if near else f"there are {', '.join(names)}",
    )


def unknown_capability(capability: str) -> RequestError:
    """Say that no capability is called so, and which there are."""
    return RequestError(f"no capability is called {capability!r}", hint=f"there are {', '.join(CAPABILITIES)}")


def unknown_model(name: str, near: Sequence[str], providers: Collection[str]) -> RequestError:
    """Say that no model is called so, and which are called nearly so."""
    first, slash, _ = name.partition("/")
    if near:
        meant = f"did you mean {' or '.join(near)}? "
    elif slash:
        meant = f"no provider is called {first!r} either: there are {', '.join(providers)}. "
    else:
        meant = ""
    example = f"{'together' if slash else next(iter(providers))}/{name}"
    return RequestError(
        f"no model is called {name!r}", hint=f"{meant}name its provider to send an unlisted name as asked: {example}"
    )
