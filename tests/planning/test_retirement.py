"""What happens to a model that its vendor has retired, or is about to, when it is used by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmroute.errors import ModelRetiredError
from llmroute.request.options import Options
from llmroute.service.client import LLMService
from tests.support.model_server import ModelServer
from tests.support.shell import run

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.registry import ModelRegistry

KEY = "sk-test-0123456789"


def retired(registry: ModelRegistry) -> tuple[str, str]:
    """A model of OpenAI's that is gone, and who succeeds it."""
    for name in registry.list_models("openai"):
        model = registry.resolve(name)
        if registry.status(model) == "retired" and (successor := registry.successor(model)):
            return name, successor.name
    raise AssertionError("the catalogue has no retired model with a successor")


def test_a_retired_model_becomes_its_successor_and_both_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    notes: list[str] = []
    service = LLMService(note=notes.append)
    name, successor = retired(service.registry)
    plan = service.plan(Options(prompt="hi", model=name))
    assert plan.entries[0].model.name == successor
    assert len(notes) == 1
    assert name in notes[0]
    assert successor in notes[0]


def test_a_gateway_may_still_serve_it(tmp_path: Path) -> None:
    name, successor = retired(LLMService().registry)
    with ModelServer() as server:
        ran = run("gen", "hi", "-m", name, home=tmp_path, **server.settings)
    assert (ran.code, ran.out) == (0, "one two three\n")
    assert server.requests[0]["model"] == LLMService().registry.resolve(name).api_name
    assert name in ran.err
    assert successor in ran.err


def test_where_nothing_succeeds_it_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[models."openai/house"]\nretires_on = 2026-01-01\n')
    monkeypatch.setenv("LLMROUTE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ModelRetiredError, match="openai/house was retired on 2026-01-01; it has no successor"):
        LLMService().plan(Options(prompt="hi", model="openai/house"))
