"""Model names: aliases of models, families of models (`haiku`, `gpt`), and models that the catalogue does not list.

Families are not listed anywhere: their names are read from the model ids, so a future model belongs to its family too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import RequestError
from llmroute.text.suggest import alternatives, nearest
from llmroute.types import CAPABILITIES, ModelConfig, Price
from llmroute.urls import is_ollama_cloud_tag

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

OLLAMA = "ollama"
_FREE = Price(input=0, output=0, cache_read=0, cache_write=0)

# Words for the size or edition of a model, which families have in common.
_EDITIONS = frozenset({
    "base", "chat", "coder", "flash", "hf", "instruct", "large", "latest", "max", "medium", "mini", "nano", "open",
    "plus", "preview", "pro", "small", "super", "tiny", "turbo", "vl",
})  # fmt: skip
_SIZE = re.compile(r"[ax]?\d+(?:x\d+)?b")
_DATE_DIGITS = 4
_MIN_FAMILY_CHARACTERS = 3
_MAX_MODELS_IN_MESSAGE = 6
_MAX_SUGGESTIONS = 3


class AliasIndex:
    """All names of all models: ids, API names and aliases, case-insensitive.

    An id takes precedence over an alias, and a model that was added earlier over a later one.
    """

    def __init__(self, providers: Iterable[str]) -> None:
        self._providers = tuple(providers)
        self._models: dict[tuple[str, str], str] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self._ollama_families: set[str] = set()

    def add(self, name: str, provider: str, model: str, aliases: Iterable[str]) -> None:
        """Add the model `name` (`provider/model`) and its aliases."""
        self._models[provider, model.lower()] = name
        for alias in aliases:
            self._aliases.setdefault((provider, alias.lower()), name)
        if provider == OLLAMA:
            self._ollama_families.add(model.partition(":")[0].lower())

    def find(self, provider: str, word: str) -> str | None:
        """Return the name of the provider's model with that id or alias, or None."""
        key = (provider, word.lower())
        return self._models.get(key) or self._aliases.get(key)

    def find_all(self, word: str) -> list[str]:
        """Return the names of the models with that id or alias, in the order of their providers."""
        return [name for provider in self._providers if (name := self.find(provider, word))]

    def split(self, name: str) -> tuple[str | None, str]:
        """Split `provider/model` or `provider:model`; the provider is None where the name has no provider.

        A listed Ollama family before a colon makes the name an Ollama tag (`mistral:7b`), unless the provider of that
        name lists the model.
        """
        for separator in ("/", ":"):
            first, found, model = name.partition(separator)
            provider = first.lower()
            if found and model and provider in self._providers:
                is_tag = separator == ":" and provider in self._ollama_families and self.find(provider, model) is None
                return (OLLAMA, name) if is_tag else (provider, model)
        if ":" in name and name.partition(":")[0].lower() in self._ollama_families:
            return OLLAMA, name
        return None, name

    def near(self, name: str, active: Collection[str]) -> list[str]:
        """Return up to three `active` models, as `provider/id`, with a similar name, the most similar first.

        Models whose name continues `name` come first (`gpt-6-luna` for `gpt-6`), then those that contain all its words
        (`claude-opus-4-8` for `claude-4`), then those that differ in a few letters.
        """
        from difflib import get_close_matches

        word = name.lower()
        names = {alias: model for (_, alias), model in {**self._aliases, **self._models}.items() if model in active}
        words = set(re.split(r"[-/:. ]+", word))
        longer = [alias for alias in names if re.match(re.escape(word) + r"[-:.@]", alias)]
        containing = [alias for alias in names if len(words) > 1 and words <= set(re.split(r"[-/:. ]+", alias))]
        close = get_close_matches(word, names, n=_MAX_SUGGESTIONS)
        similar = [*_shortest_first(longer), *_shortest_first(containing), *close]
        return list(dict.fromkeys(names[alias] for alias in similar))[:_MAX_SUGGESTIONS]


class _ParsedName(NamedTuple):
    """A model and the parts of its id: `claude-haiku-4-5` has the line (claude, haiku) and the version (4, 5).

    `line` has the words before the first number, `rest` the words after it.  `date` is the largest number of four or
    more digits, or 0.
    """

    model: ModelConfig
    line: tuple[str, ...]
    rest: tuple[str, ...]
    version: tuple[int, ...]
    date: int


def newest_of_family(
    word: str, models: Iterable[ModelConfig], price: Callable[[ModelConfig], float]
) -> ModelConfig | None:
    """Return the newest model of the one family with that name, or None.

    Ties go to the cheaper model by `price`, then to the first by name.

    Raises:
        RequestError: several families have that name; the message lists the newest model of each.
    """
    family = word.lower()
    if len(family) < _MIN_FAMILY_CHARACTERS:
        return None
    names = [_parse_name(model) for model in models]
    # A word that is the complete beginning of a name is a better match than one that is a part of it.
    matches = (
        [name for name in names if "-".join(name.line) == family]
        or [name for name in names if family in name.line and family not in _EDITIONS]
        or [name for name in names if family in name.rest and family not in _EDITIONS]
    )
    families: dict[tuple[str, tuple[str, ...]], list[_ParsedName]] = {}
    for match in matches:
        families.setdefault((match.model.provider, match.line), []).append(match)
    newest = [min(members, key=lambda name: _newest_first(name, price)).model for members in families.values()]
    if len(newest) > 1:
        more = f" and {len(newest) - _MAX_MODELS_IN_MESSAGE} more" if len(newest) > _MAX_MODELS_IN_MESSAGE else ""
        listed = ", ".join(model.name for model in newest[:_MAX_MODELS_IN_MESSAGE])
        raise RequestError(f"{word!r} may mean {listed}{more}", hint="name one of them")
    return newest[0] if newest else None


def _newest_first(name: _ParsedName, price: Callable[[ModelConfig], float]) -> tuple[tuple[int, ...], int, float, str]:
    # The final 1 sorts a longer version before its prefix: 4.5 is newer than 4.
    return (*(-number for number in name.version), 1), -name.date, price(name.model), name.model.name


def _parse_name(model: ModelConfig) -> _ParsedName:
    line: list[str] = []
    rest: list[str] = []
    numbers: list[str] = []
    for word in re.findall(r"[a-z]+\d*[a-z]*|\d+[a-z]*", model.id.rpartition("/")[2].lower()):
        if _SIZE.fullmatch(word):
            continue
        letters, digits = re.sub(r"\d.*", "", word), re.sub(r"\D", "", word)
        if letters:
            (rest if numbers else line).append(letters)
        if digits:
            numbers.append(digits)
    version = tuple(int(number) for number in numbers if len(number) < _DATE_DIGITS)
    dates = [int(number) for number in numbers if len(number) >= _DATE_DIGITS]
    return _ParsedName(model, tuple(line), tuple(rest), version, max(dates, default=0))


def unlisted(provider: str, model: str, *, local: bool) -> ModelConfig:
    """Return a model that is not in the catalogue; it is free when it runs on the user's machine."""
    free = local and not is_ollama_cloud_tag(model)
    return ModelConfig(provider=provider, id=model, api_name=model, prices=(_FREE,) if free else (), known=False)


def unlisted_notice(model: ModelConfig, near: Sequence[str]) -> str:
    """Return a notice that a model is not in the catalogue, with those of the similar names that its provider has."""
    similar = [name for name in near if name.startswith(f"{model.provider}/")]
    suggestion = f" (did you mean {alternatives(similar)}?)" if similar else ""
    return f"{model.name} is not in the catalogue; its name is sent unchanged{suggestion}"


def unknown_provider(provider: str, providers: Iterable[str]) -> RequestError:
    """Return the error for an unknown provider name; its hint has the nearest name, or all names."""
    names = tuple(providers)
    near = nearest(provider.lower(), names)
    return RequestError(
        f"unknown provider {provider!r}",
        hint=f"did you mean {near}?" if near else f"the providers are {', '.join(names)}",
    )


def unknown_capability(capability: str) -> RequestError:
    """Return the error for an unknown capability; its hint lists all capabilities."""
    return RequestError(f"unknown capability {capability!r}", hint=f"the capabilities are {', '.join(CAPABILITIES)}")


def unknown_model(name: str, near: Sequence[str], providers: Collection[str]) -> RequestError:
    """Return the error for an unknown model name; its hint has similar names and says how to use an unlisted model."""
    first, slash, rest = name.partition("/")
    suggestion = f"did you mean {alternatives(near)}? " if near else ""
    if slash:
        provider = nearest(first.lower(), providers)
        if provider is not None and f"{provider}/{rest}" in near:
            return RequestError(f"unknown provider {first!r}", hint=f"did you mean {provider}/{rest}?")
        if not near:
            suggestion = f"{first!r} is not a provider either ({', '.join(providers)}). "
        example = f"{provider}/{rest}" if provider else f"together/{name}"
    else:
        example = f"{near[0].partition('/')[0] if near else next(iter(providers))}/{name}"
    return RequestError(
        f"unknown model {name!r}", hint=f"{suggestion}to use an unlisted model, name its provider: {example}"
    )


def _shortest_first(names: Iterable[str]) -> list[str]:
    # Of equal length, higher versions come first.
    return sorted(sorted(names, reverse=True), key=len)
