"""Chains: models in the order in which somebody wants them tried."""

from __future__ import annotations

from typing import Final

Pair = tuple[str, str]


class FallbackChain:
    """The predefined chains, as (provider, model) pairs.  They name intentions: a retired model is its successor."""

    HIGH_QUALITY: Final[list[Pair]] = [
        ("openai", "gpt-4"),
        ("anthropic", "claude-3-opus"),
        ("mistral", "mistral-large"),
    ]
    COST_OPTIMIZED: Final[list[Pair]] = [
        ("openai", "gpt-3.5-turbo"),
        ("anthropic", "claude-3-haiku"),
        ("mistral", "mistral-tiny"),
        ("ollama", "mistral"),
    ]
    FAST_LATENCY: Final[list[Pair]] = [
        ("openai", "gpt-3.5-turbo"),
        ("anthropic", "claude-3-haiku"),
        ("ollama", "mistral"),
    ]
    LOCAL_ONLY: Final[list[Pair]] = [
        ("ollama", "mistral"),
        ("ollama", "llama2"),
        ("ollama", "codellama"),
    ]
    CODE_GENERATION: Final[list[Pair]] = [
        ("openai", "gpt-4"),
        ("anthropic", "claude-3-sonnet"),
        ("together", "codellama/CodeLlama-34b-Instruct-hf"),
        ("ollama", "codellama"),
    ]


PREDEFINED: Final[dict[str, list[Pair]]] = {
    name: getattr(FallbackChain, name)
    for name in ("HIGH_QUALITY", "COST_OPTIMIZED", "FAST_LATENCY", "LOCAL_ONLY", "CODE_GENERATION")
}
