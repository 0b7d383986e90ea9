"""Families of models by the words that people call them: haiku, sonnet, gpt.  A word means the family's newest model.

Nothing of this is listed anywhere: the words are those of the ids, so that a model of tomorrow is of its family.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from llmroute.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from llmroute.types import ModelConfig

# Words that tell a size or an edition of a model of any family.
_EDITIONS = frozenset({
    "base", "chat", "coder", "flash", "hf", "instruct", "large", "latest", "max", "medium", "mini", "nano", "open",
    "plus", "preview", "pro", "small", "super", "tiny", "turbo", "vl",
})  # fmt: skip
_SIZE = re.compile(r"[ax]?\d+(?:x\d+)?b")
_DATE_DIGITS = 4
_SHORTEST = 3
_MOST_TOLD = 6


class _Named(NamedTuple):
    """A model by the parts of its name: `claude-haiku` and (5, 5), `gpt`, (6, 2) and `sol`.

    `line` are the words before the first number, `rest` those behind it; a number that is a date stands apart.
    """

    model: ModelConfig
    line: tuple[str, ...]
    rest: tuple[str, ...]
    version: tuple[int, ...]
    date: int


def newest(word: str, models: Iterable[ModelConfig], price: Callable[[ModelConfig], float]) -> ModelConfig | None:
    """Return the newest model of the one family that is called so, None where none is.

    Of several that are as new the cheapest is meant, as `price` tells, then the first by name.

    Raises:
        RequestError: several families are called so; says which models are their newest.
    """
    wanted = word.lower()
    if len(wanted) < _SHORTEST:
        return None
    named = [_parts(model) for model in models]
    # The word that is all of a name's beginning says more than one that is a part of it.
    found = (
        [one for one in named if "-".join(one.line) == wanted]
        or [one for one in named if wanted in one.line and wanted not in _EDITIONS]
        or [one for one in named if wanted in one.rest and wanted not in _EDITIONS]
    )
    families: dict[tuple[str, tuple[str, ...]], list[_Named]] = {}
    for one in found:
        families.setdefault((one.model.provider, one.line), []).append(one)
    chosen = [min(family, key=lambda one: _rank(one, price)).model for family in families.values()]
    if len(chosen) > 1:
        names = [model.name for model in chosen]
        more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
        told = f"{word!r} may mean {', '.join(names[:_MOST_TOLD])}{more}"
        raise RequestError(told, hint="name one of them")
    return chosen[0] if chosen else None


def _rank(one: _Named, price: Callable[[ModelConfig], float]) -> tuple[tuple[int, ...], int, float, str]:
    # Negative numbers, so that the newest comes first; a version that goes on is newer than one that ends.
    return (*(-number for number in one.version), 1), -one.date, price(one.model), one.model.name


def _parts(model: ModelConfig) -> _Named:
    words = re.findall(r"[a-z]+\d*[a-z]*|\d+[a-z]*", model.id.rpartition("/")[2].lower())
    line: list[str] = []
    rest: list[str] = []
    numbers: list[str] = []
    for word in words:
        if _SIZE.fullmatch(word):
            continue
        letters, digits = re.sub(r"\d.*", "", word), re.sub(r"\D", "", word)
        if letters:
            (rest if numbers else line).append(letters)
        if digits:
            numbers.append(digits)
    version = tuple(int(number) for number in numbers if len(number) < _DATE_DIGITS)
    dates = [int(number) for number in numbers if len(number) >= _DATE_DIGITS]
    return _Named(model, tuple(line), tuple(rest), version, max(dates, default=0))
