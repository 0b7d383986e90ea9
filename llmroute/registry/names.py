"""The names by which people call models: which of them name a provider, and which are Ollama's tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import RequestError
from llmroute.types import ModelConfig, Price

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

OLLAMA = "ollama"
_FREE = Price(input=0, output=0, cache_read=0, cache_write=0)


def split(name: str, providers: Collection[str]) -> tuple[str | None, str]:
    """Split `provider/model` or `provider:model`; the provider is None where the name begins with none."""
    for separator in ("/", ":"):
        provider, found, model = name.partition(separator)
        if found and model and provider.lower() in providers:
            return provider.lower(), model
    return None, name


def runs_on_ollama_cloud(model: str) -> bool:
    """Whether Ollama forwards the model to its own cloud: a tag that is, or ends in, `cloud`."""
    return model.endswith(("-cloud", ":cloud"))


def unlisted(provider: str, model: str, *, local: bool) -> ModelConfig:
    """Return a model that the catalogue does not know: sent as asked, free where it runs on the user's machine."""
    free = local and not runs_on_ollama_cloud(model)
    return ModelConfig(provider=provider, id=model, api_name=model, prices=(_FREE,) if free else (), known=False)


def unknown_provider(provider: str, providers: Iterable[str]) -> RequestError:
    """Say that nobody is called so, and who there is."""
    return RequestError(f"no provider is called {provider!r}", hint=f"there are {', '.join(providers)}")


def unknown_model(name: str, words: Mapping[tuple[str, str], str], providers: Collection[str]) -> RequestError:
    """Say that no model is called so, and which are called nearly so; `words` leads from every name to its model."""
    from difflib import get_close_matches

    models = {word: model for (_, word), model in words.items()}
    near = list(dict.fromkeys(models[word] for word in get_close_matches(name.lower(), models, n=3)))
    provider, slash, _ = name.partition("/")
    if near:
        meant = f"did you mean {' or '.join(near)}? "
    elif slash:
        meant = f"no provider is called {provider!r} either: there are {', '.join(providers)}. "
    else:
        meant = ""
    example = f"{'together' if slash else next(iter(providers))}/{name}"
    return RequestError(
        f"no model is called {name!r}", hint=f"{meant}name its provider to send an unlisted name as asked: {example}"
    )
