"""The class of the registry answers for the user's own catalogue and config.toml, as an instance does for its own."""

from __future__ import annotations

import inspect
import logging
import subprocess
import sys
from copy import deepcopy
from typing import TYPE_CHECKING

import pytest

from llmroute import ModelRegistry
from llmroute.errors import ConfigError, RequestError
from llmroute.registry.catalogue_file import render_catalogue, shipped_catalogue, write_catalogue
from llmroute.service.client import LLMService
from tests.support.shell import environment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config directory of the user, empty."""
    folder = tmp_path / "llmroute"
    folder.mkdir()
    monkeypatch.setenv("LLMROUTE_CONFIG_DIR", str(folder))
    return folder


def house(folder: Path, usd: float) -> None:
    """Give the user a model of their own at a price."""
    text = f'[models."openai/house"]\ninput = {usd}\noutput = {usd}\ncapabilities = ["code"]\n'
    (folder / "config.toml").write_text(text)


def refreshed(folder: Path, usd: float) -> None:
    """Take a refreshed catalogue, in which gpt-6-luna has a price of its own."""
    catalogue = deepcopy(shipped_catalogue())
    row = next(row for row in catalogue["models"] if row["id"] == "gpt-6-luna")
    row["prices"] = [{"input": usd, "output": usd}]
    write_catalogue(folder / "catalogue.json", catalogue)


@pytest.mark.usefixtures("folder")
def test_the_class_answers_as_an_instance_does() -> None:
    known = ModelRegistry()
    gpt_4 = ModelRegistry.get_model_config("openai", "gpt-4")
    assert gpt_4 == known.get_model_config("openai", "gpt-4")
    assert (gpt_4.cost_per_1k_prompt, gpt_4.max_tokens) == (0.03, 8192)
    assert ModelRegistry.list_models() == known.list_models()
    assert {"openai/gpt-4", "openai/gpt-3.5-turbo"} <= set(ModelRegistry.list_models("openai"))
    able = ModelRegistry.find_models_by_capability("code")
    assert able == known.find_models_by_capability("code")
    cheap = ModelRegistry.find_models_by_capability("code", max_cost_per_1k=0.01)
    assert {model.name for model in cheap} < {model.name for model in able}
    assert ModelRegistry.get_cheapest_model(capability="code") == known.get_cheapest_model(capability="code")
    fastest = ModelRegistry.get_fastest_model(capability="code", max_cost_per_1k=0.05)
    assert fastest == known.get_fastest_model(capability="code", max_cost_per_1k=0.05)
    assert fastest is not None
    assert ModelRegistry.resolve("gpt-4") == gpt_4
    assert ModelRegistry.status(gpt_4) == known.status(gpt_4)
    assert ModelRegistry.living(gpt_4) == ModelRegistry.successor(gpt_4)
    with pytest.raises(RequestError, match="unknown provider 'groq'"):
        ModelRegistry.list_models("groq")


def test_a_changed_config_toml_is_seen_by_the_next_question(folder: Path) -> None:
    assert "openai/house" not in ModelRegistry.list_models()
    for usd in (0.001, 0.002):
        house(folder, usd)
        assert ModelRegistry.get_model_config("openai", "house").cost_per_1k_prompt == usd / 1000
    assert "openai/house" in [model.name for model in ModelRegistry.find_models_by_capability("code")]
    (folder / "config.toml").unlink()
    assert not ModelRegistry.get_model_config("openai", "house").known


def test_a_refreshed_catalogue_is_seen_by_the_next_question(folder: Path) -> None:
    for usd in (3.0, 4.0):
        refreshed(folder, usd)
        assert ModelRegistry.resolve("gpt-6-luna").cost_per_1k_prompt == usd / 1000
    assert ModelRegistry().resolve("gpt-6-luna").cost_per_1k_prompt == 0.0001, "an instance is the shipped one"


def test_another_config_directory_is_another_registry(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house(folder, 1)
    assert ModelRegistry.resolve("openai/house").known
    monkeypatch.setenv("LLMROUTE_CONFIG_DIR", str(tmp_path / "elsewhere"))
    assert not ModelRegistry.resolve("openai/house").known


def test_files_that_have_not_changed_are_not_read_again(folder: Path) -> None:
    house(folder, 1)
    assert ModelRegistry.resolve("openai/house") is ModelRegistry.resolve("openai/house")


def test_a_wrong_config_toml_is_told_with_its_key_until_it_is_mended(folder: Path) -> None:
    (folder / "config.toml").write_text('[models."openai/house"]\ninput = -1\n')
    for _ in range(2):
        with pytest.raises(ConfigError, match=r'models."openai/house".input'):
            ModelRegistry.list_models()
    house(folder, 1)
    assert "openai/house" in ModelRegistry.list_models()


def test_a_damaged_refreshed_catalogue_is_logged_and_the_shipped_one_answers(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "catalogue.json").write_text(render_catalogue(shipped_catalogue())[:-9])
    with caplog.at_level(logging.WARNING, "llmroute"):
        assert ModelRegistry.list_models() == ModelRegistry().list_models()
    assert [record.name.partition(".")[0] for record in caplog.records] == ["llmroute"]
    assert "catalogue.json: cannot use the refreshed catalogue" in caplog.text


def test_an_instance_is_unmoved_by_the_users_own_files(folder: Path) -> None:
    house(folder, 1)
    own = ModelRegistry([ModelRegistry.resolve("openai/house")])
    assert (own.list_models(), "openai/house" in ModelRegistry().list_models()) == (["openai/house"], False)
    assert isinstance(LLMService().registry, ModelRegistry)


@pytest.mark.parametrize("module", ["llmroute", "llmroute.registry"])
def test_a_program_asks_the_class_however_it_imports_it(module: str, folder: Path) -> None:
    house(folder, 1)
    code = f"from {module} import ModelRegistry; print(ModelRegistry.resolve('house').name)"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment(folder.parent),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("openai/house\n", "")


@pytest.mark.usefixtures("folder")
def test_a_method_tells_the_same_of_itself_on_both() -> None:
    questions = [name for name, value in inspect.getmembers(ModelRegistry, inspect.isfunction) if name[0] != "_"]
    assert {"get_model_config", "list_models", "resolve", "get_fastest_model", "stale_warning"} <= set(questions)
    for name in questions:
        on_class, on_instance = getattr(ModelRegistry, name), getattr(ModelRegistry(), name)
        assert inspect.signature(on_class) == inspect.signature(on_instance)
        assert on_class.__doc__ == on_instance.__doc__
        assert on_class.__doc__
        assert on_class.__name__ == name


def test_looking_at_the_class_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text("no such = setting\n")
    monkeypatch.setenv("LLMROUTE_CONFIG_DIR", str(tmp_path))
    assert "Return the names of all models" in inspect.getdoc(ModelRegistry.list_models)  # type: ignore[operator]
    assert ModelRegistry().list_models()
    with pytest.raises(ConfigError):
        ModelRegistry.list_models()


@pytest.mark.usefixtures("folder")
def test_the_router_puts_a_call_on_the_bill_as_the_service_does() -> None:
    service = LLMService()
    service.router.track_usage(provider="openai", model="gpt-4", success=True, latency_ms=1200, cost_usd=0.05)
    service.track_usage(provider="openai", model="gpt-4", success=True, latency_ms=800, cost_usd=0.15)
    assert service.get_usage_stats("openai")["openai/gpt-4"] == {
        "total_calls": 2,
        "successful_calls": 2,
        "failed_calls": 0,
        "total_latency_ms": 2000,
        "total_cost_usd": pytest.approx(0.2),
    }
    with pytest.raises(RequestError, match="cannot be below zero"):
        service.router.track_usage("openai", "gpt-4", success=False, latency_ms=-1)
    service.close()
