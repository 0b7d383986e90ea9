"""Keys that a program gives: used before all other places, checked as those are, and told to no one."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import llmroute
from llmroute.errors import ConfigError, NoCandidateError
from tests.config.test_config import KEY, Places
from tests.support.fault_server import serving
from tests.support.provider_servers import OPENAI, House, openai_answer

if TYPE_CHECKING:
    from pathlib import Path

OURS = "sk-ours-9876543210"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_a_key_of_the_program_takes_the_place_of_any_other(places: Places) -> None:
    loaded = places.load(OPENAI_API_KEY=KEY, MISTRAL_API_KEY=KEY)
    ours = loaded.with_api_keys({"openai": OURS, "anthropic": f" {OURS}\n"})
    keys = {name: settings.api_key for name, settings in ours.providers.items() if settings.api_key}
    assert keys == {"openai": OURS, "anthropic": OURS, "mistral": KEY}
    assert loaded.providers["openai"].api_key == KEY, "the other configuration is as it was"
    assert loaded.with_api_keys({}) == loaded
    assert OURS not in repr(ours)


def test_the_key_goes_to_its_provider_and_to_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving([openai_answer("Hello!")]) as server:
        monkeypatch.setenv("LLMROUTE_CONFIG_DIR", str(tmp_path))
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)

        async def main() -> str:
            config = llmroute.load_config().with_api_keys({"openai": OURS})
            async with llmroute.LLMService(config=config) as service:
                return (await service.generate("hi", model=OPENAI)).content

        assert asyncio.run(main()) == "Hello!"
        assert [each.headers["authorization"] for each in server.received] == [f"Bearer {OURS}"]


WRONG: dict[str, Any] = {
    "no mapping": OURS,
    "a list": [OURS],
    "no such provider": {"gemini": OURS},
    "a key in place of the name": {OURS: "openai"},
    "two lines": {"openai": f"{OURS}\nx-evil: 1"},
    "not ASCII": {"openai": f"{OURS}ö"},
    "empty": {"openai": " "},
    "none": {"openai": None},
    "bytes": {"openai": OURS.encode()},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_a_key_is_refused_and_not_told(places: Places, wrong: str) -> None:
    with pytest.raises(ConfigError, match="api_keys") as caught:
        places.load().with_api_keys(WRONG[wrong])
    assert OURS not in f"{caught.value!r} {caught.value.hint}"
    assert OURS.encode() not in pickle.dumps(caught.value)


def test_a_name_that_was_mistyped_is_offered(places: Places) -> None:
    with pytest.raises(ConfigError, match="not one of openai, anthropic") as caught:
        places.load().with_api_keys({"antropic": OURS})
    assert caught.value.hint == "did you mean anthropic?"


@pytest.mark.parametrize("url", ["http://gateway.example", "http://10.0.0.1:8000", "http://localhost.evil.com"])
@pytest.mark.parametrize("where", ["environment", "toml", "by hand"])
def test_a_key_of_the_program_does_not_go_over_plain_http(places: Places, url: str, where: str) -> None:
    if where == "toml":
        places.toml(f'[providers.openai]\nbase_url = "{url}"')
    loaded = places.load(**({"OPENAI_BASE_URL": url} if where == "environment" else {}))
    if where == "by hand":
        loaded.providers["openai"] = llmroute.ProviderSettings("OPENAI_API_KEY", base_url=url)
    settings = loaded.with_api_keys({"openai": OURS}).providers["openai"]
    assert settings.api_key is None
    assert "API keys are sent over plain http to this machine only" in str(settings.problem)


@pytest.mark.parametrize("key_beside", [True, False])
def test_a_key_of_the_program_does_not_go_where_the_working_directory_says(places: Places, key_beside: bool) -> None:
    beside = f"OPENAI_API_KEY={KEY}\n" if key_beside else ""
    (places.working / ".env").write_text(f"{beside}OPENAI_BASE_URL=https://evil.example/v1\n")
    settings = places.load().with_api_keys({"openai": OURS}).providers["openai"]
    assert settings.api_key is None
    assert "would receive a key from another source" in str(settings.problem)


def test_a_provider_whose_key_may_not_be_sent_says_why_when_it_is_called(tmp_path: Path) -> None:
    house = House(tmp_path)
    config = house.service(OPENAI_BASE_URL="http://gateway.example/v1").config.with_api_keys({"openai": OURS})
    service = llmroute.LLMService(config=config)
    with pytest.raises(NoCandidateError, match="plain http") as caught:
        asyncio.run(service.generate("hi", model=OPENAI))
    assert OURS.encode() not in pickle.dumps(caught.value)
