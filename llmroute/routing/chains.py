"""The predefined fallback chains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

Pair = tuple[str, str]


class FallbackChain:
    """The predefined chains, as (provider, model) pairs.  A retired model is replaced by its successor.

    A program may assign another list to one of them.
    """

    HIGH_QUALITY: ClassVar[list[Pair]] = [
        ("openai", "gpt-4"),
        ("anthropic", "claude-3-opus"),
        ("mistral", "mistral-large"),
    ]
    COST_OPTIMIZED: ClassVar[list[Pair]] = [
        ("openai", "gpt-3.5-turbo"),
        ("anthropic", "claude-3-haiku"),
        ("mistral", "mistral-tiny"),
        ("ollama", "mistral"),
    ]
    FAST_LATENCY: ClassVar[list[Pair]] = [
        ("openai", "gpt-3.5-turbo"),
        ("anthropic", "claude-3-haiku"),
        ("ollama", "mistral"),
    ]
    LOCAL_ONLY: ClassVar[list[Pair]] = [
        ("ollama", "mistral"),
        ("ollama", "llama2"),
        ("ollama", "codellama"),
    ]
    CODE_GENERATION: ClassVar[list[Pair]] = [
        ("openai", "gpt-4"),
        ("anthropic", "claude-3-sonnet"),
        ("together", "codellama/CodeLlama-34b-Instruct-hf"),
        ("ollama", "codellama"),
    ]


_NAMES: Final = ("HIGH_QUALITY", "COST_OPTIMIZED", "FAST_LATENCY", "LOCAL_ONLY", "CODE_GENERATION")


class _Predefined(Mapping[str, list[Pair]]):
    """The predefined chains by name, read at each access because a program may assign others."""

    def __getitem__(self, name: str) -> list[Pair]:
        if name not in _NAMES:
            raise KeyError(name)
        chain: list[Pair] = getattr(FallbackChain, name)
        return chain

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


PREDEFINED: Final[Mapping[str, list[Pair]]] = _Predefined()
