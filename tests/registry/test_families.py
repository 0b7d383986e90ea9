"""A family's word means its newest living model, the same wherever a model is named."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.errors import RequestError
from llmroute.registry import ModelRegistry
from tests.support.fault_server import serving
from tests.support.provider_servers import KEY, anthropic_answer
from tests.support.shell import run

if TYPE_CHECKING:
    from pathlib import Path

TODAY = date(2026, 11, 27)
SHIPPED = ModelRegistry(today=TODAY)


def registry(*names: str, **facts: Any) -> ModelRegistry:
    rows = [{"provider": name.partition("/")[0], "id": name.partition("/")[2], **facts.get(name, {})} for name in names]
    return ModelRegistry(rows, today=TODAY)


@pytest.mark.parametrize(
    ("word", "means"),
    [
        ("haiku", "anthropic/claude-haiku-5-5"),
        ("Sonnet", "anthropic/claude-sonnet-5-5"),
        ("opus", "anthropic/claude-opus-5-5"),
        ("claude-haiku", "anthropic/claude-haiku-5-5"),
        ("gpt", "openai/gpt-6.2-sol"),
        ("terra", "openai/gpt-6.1-terra"),
        ("codestral", "mistral/codestral-2508"),
        ("mistral", "ollama/mistral"),
    ],
)
def test_a_word_means_the_newest_of_its_family(word: str, means: str) -> None:
    assert SHIPPED.resolve(word).name == means


def test_the_newest_is_by_version_not_by_letters() -> None:
    names = ("anthropic/claude-haiku-9", "anthropic/claude-haiku-10-1", "anthropic/claude-haiku-10")
    assert registry(*names).resolve("haiku").name == "anthropic/claude-haiku-10-1"
    assert registry("mistral/codestral-2508", "mistral/codestral-2601").resolve("codestral").id == "codestral-2601"


def test_of_models_that_are_as_new_the_cheapest_is_meant() -> None:
    usd = {"openai/gpt-7-a": 2, "openai/gpt-7-b": 1}
    prices = {name: {"prices": [{"input": price, "output": price}]} for name, price in usd.items()}
    assert registry(*prices, **prices).resolve("gpt").name == "openai/gpt-7-b"


def test_what_is_retired_is_not_meant() -> None:
    ended = {"anthropic/claude-haiku-6": {"retires_on": "2026-11-01"}}
    found = registry("anthropic/claude-haiku-6", "anthropic/claude-haiku-5", **ended).resolve("haiku")
    assert found.name == "anthropic/claude-haiku-5"


def test_a_word_of_several_families_names_their_newest() -> None:
    with pytest.raises(RequestError) as refusal:
        SHIPPED.resolve("claude")
    told = str(refusal.value)
    assert "anthropic/claude-opus-5-5" in told
    assert "anthropic/claude-haiku-5-5" in told
    assert "claude-opus-4-8" not in told


def test_the_default_provider_wins_between_families_of_several_providers() -> None:
    names = ("mistral/zai-glm-5-3", "together/zai/GLM-5.2")
    with pytest.raises(RequestError, match=r"mistral/zai-glm-5-3.*together/zai/GLM-5\.2|together"):
        registry(*names, "ollama/glm4").resolve("glm")
    assert registry(*names).resolve("glm", "mistral").name == "mistral/zai-glm-5-3"


@pytest.mark.parametrize("word", ["flash", "mini", "large", "o", "nonsense"])
def test_a_word_of_no_family_is_no_model(word: str) -> None:
    with pytest.raises(RequestError, match="unknown model"):
        SHIPPED.resolve(word)


def test_a_name_is_taken_before_a_family_is() -> None:
    own = ModelRegistry(today=TODAY, user_models={"openai/house": {"aliases": ["haiku"]}})
    assert own.resolve("haiku").name == "openai/house"
    assert SHIPPED.resolve("haiku", None, lambda name: name == "haiku").name == "ollama/haiku"


def test_a_word_behind_its_provider_is_understood_but_at_a_gateway(tmp_path: Path) -> None:
    for asked in (["-m", "anthropic/haiku"], ["-p", "anthropic", "-m", "haiku"]):
        ran = run("gen", "hi", *asked, "--dry-run", home=tmp_path, ANTHROPIC_API_KEY=KEY)
        assert "anthropic/claude-haiku-5-5" in ran.out
    with serving([anthropic_answer()]) as server:
        gateway = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.url}
        assert run("gen", "hi", "-m", "anthropic/haiku", home=tmp_path, **gateway).code == 0
        assert b'"model":"haiku"' in server.received[0].body


def test_a_word_is_understood_by_every_command(tmp_path: Path) -> None:
    shown = run("models", "show", "haiku", home=tmp_path)
    assert (shown.code, shown.err) == (0, "")
    assert "anthropic/claude-haiku-5-5" in shown.out
    with serving([anthropic_answer()]) as server:
        told = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.url}
        ran = run("gen", "hi", "-m", "haiku", home=tmp_path, **told)
        assert (ran.code, ran.err) == (0, "")
        assert b'"claude-haiku-5-5"' in server.received[0].body
    assert "claude-haiku-5-5" in run("gen", "hi", "--fallback", "haiku", "--dry-run", home=tmp_path, **told).out
    several = run("gen", "hi", "-m", "claude", home=tmp_path, **told)
    assert (several.code, len(several.err.splitlines())) == (2, 1)
    assert run("chains", "set", "mine", "haiku", home=tmp_path).code == 0
    assert "anthropic/claude-haiku-5-5" in run("chains", "show", "mine", home=tmp_path).out
