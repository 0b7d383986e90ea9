"""The predefined chains are what FallbackChain says they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.routing.chains import PREDEFINED, FallbackChain

if TYPE_CHECKING:
    import pytest

    from llmroute.routing.chains import Pair


def test_the_predefined_chains_are_the_attributes_of_the_class() -> None:
    named = {name: chain for name, chain in vars(FallbackChain).items() if name.isupper()}
    assert dict(PREDEFINED) == named
    assert len(PREDEFINED) == len(named) == 5
    assert "NOTHING" not in PREDEFINED


def test_a_chain_that_a_program_assigns_is_the_chain_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    mine: list[Pair] = [("ollama", "qwen3")]
    monkeypatch.setattr(FallbackChain, "LOCAL_ONLY", mine)
    assert PREDEFINED["LOCAL_ONLY"] == mine
