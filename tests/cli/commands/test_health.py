"""`health`: every provider in every state, each a real server of its own."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.service.client import LLMService
from tests.support.shell import Ran, run
from tests.support.web_server import HANG, Page, WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sk-test-0123456789"
LISTS: dict[str, tuple[str, Any]] = {
    "openai": ("/v1/models", {"object": "list", "data": [{"id": "gpt-6-luna"}, {"id": "gpt-6-sol"}]}),
    "anthropic": ("/v1/models?limit=1000", {"data": [{"type": "model", "id": "claude-opus-5-5"}], "has_more": False}),
    "mistral": ("/v1/models", {"data": [{"id": "mistral-large-4", "capabilities": {"completion_chat": True}}]}),
    "together": ("/v1/models", [{"id": "zai-org/GLM-5", "type": "chat"}]),
    "ollama": ("/api/tags", {"models": [{"name": "llama3.2:latest", "model": "llama3.2:latest"}]}),
}
REFUSED = {
    "openai": {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}},
    "anthropic": {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}},
    "mistral": {"detail": "Invalid API Key"},
    "together": {"error": {"message": "Invalid API key provided", "type": "invalid_request_error"}},
    "ollama": {"error": "unauthorized"},
}


class Town:
    """A server for each provider that a test names."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.servers: dict[str, WebServer] = {}

    def settings(self, pages: dict[str, Page]) -> dict[str, str]:
        found = {}
        for name, page in pages.items():
            server = self.servers[name] = self._stack.enter_context(WebServer({LISTS[name][0]: page}))
            found[f"{name.upper()}_BASE_URL"] = server.url
            if name != "ollama":
                found[f"{name.upper()}_API_KEY"] = KEY
        return found


@pytest.fixture
def town() -> Iterator[Town]:
    with ExitStack() as stack:
        yield Town(stack)


def well(*names: str) -> dict[str, Page]:
    return {name: Page(LISTS[name][1]) for name in names or LISTS}


def told(ran: Ran) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran.out)["providers"]
    return found


def test_all_five_well_is_0_with_latency_and_count(town: Town, tmp_path: Path) -> None:
    settings = town.settings(well())
    ran = run("health", "--json", home=tmp_path, **settings)
    assert (ran.code, ran.err) == (0, "")
    found = told(ran)
    assert {name: (found[name]["ok"], found[name]["status"], found[name]["models"]) for name in LISTS} == {
        "openai": (True, "ok", 2),
        "anthropic": (True, "ok", 1),
        "mistral": (True, "ok", 1),
        "together": (True, "ok", 1),
        "ollama": (True, "ok", 1),
    }
    assert all(found[name]["latency_ms"] is not None for name in LISTS)
    assert {name: server.paths for name, server in town.servers.items()} == {
        name: [path] for name, (path, _) in LISTS.items()
    }, "one free request each"
    text = run("health", home=tmp_path, **settings).out
    assert "\x1b" not in text
    assert [line.split()[1] for line in text.splitlines()[1:6]] == ["ok"] * 5


@pytest.mark.parametrize("name", LISTS)
def test_a_refused_key_is_a_bad_key_and_is_not_repeated(name: str, town: Town, tmp_path: Path) -> None:
    ran = run("health", "--json", home=tmp_path, **town.settings({name: Page(REFUSED[name], status=401)}))
    assert ran.code == 4
    assert (told(ran)[name]["ok"], told(ran)[name]["status"]) == (False, "bad key")
    assert told(ran)[name]["latency_ms"] is not None
    assert KEY not in ran.out + ran.err


@pytest.mark.parametrize("name", LISTS)
def test_a_429_is_rate_limited_and_is_not_tried_again(name: str, town: Town, tmp_path: Path) -> None:
    slow = Page({"error": {"message": "slow down"}}, status=429, headers={"retry-after": "1"})
    ran = run("health", "--json", home=tmp_path, **town.settings({name: slow}))
    assert (ran.code, told(ran)[name]["status"]) == (4, "rate limited")
    assert len(town.servers[name].asked) == 1


@pytest.mark.parametrize("page", [Page({"error": {"message": "oops"}}, status=503), Page(b"<html>hello</html>")])
def test_what_is_no_list_is_failing(page: Page, town: Town, tmp_path: Path) -> None:
    ran = run("health", "--json", home=tmp_path, **town.settings({"openai": page}))
    assert (ran.code, told(ran)["openai"]["status"]) == (4, "failing")


def test_who_hangs_is_unreachable_within_five_seconds_and_holds_up_nobody(town: Town, tmp_path: Path) -> None:
    settings = town.settings({**dict.fromkeys(LISTS, HANG), **well("mistral")})
    began = time.monotonic()
    ran = run("health", "--json", home=tmp_path, **settings)
    # One after the other they would take twenty seconds.
    assert time.monotonic() - began < 15
    found = told(ran)
    assert ran.code == 4
    assert {found[name]["status"] for name in LISTS if name != "mistral"} == {"unreachable"}
    assert found["mistral"]["status"] == "ok"


def test_an_ollama_that_is_not_running_says_how_to_start_it(tmp_path: Path) -> None:
    ran = run("health", "--json", home=tmp_path, OLLAMA_HOST="127.0.0.1:9")
    assert ran.code == 4, "it is configured"
    assert told(ran)["ollama"]["status"] == "unreachable"
    assert "ollama serve" in told(ran)["ollama"]["detail"]


def test_an_ollama_without_models_says_how_to_pull_one(town: Town, tmp_path: Path) -> None:
    ran = run("health", "--json", home=tmp_path, **town.settings({"ollama": Page({"models": []})}))
    assert ran.code == 4
    assert (told(ran)["ollama"]["status"], told(ran)["ollama"]["models"]) == ("no models pulled", 0)
    assert "llmroute models pull" in told(ran)["ollama"]["detail"]


def test_who_is_left_alone_says_until_when(town: Town, tmp_path: Path) -> None:
    down = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    assert run("gen", "hi", "-m", "openai/gpt-6-luna", "--no-fallback", home=tmp_path, **down).code == 4
    ran = run("health", "--json", home=tmp_path, **down)
    until = datetime.fromisoformat(told(ran)["openai"]["open_until"])
    assert timedelta(0) < until - datetime.now(UTC) < timedelta(minutes=1)
    assert told(ran)["mistral"]["open_until"] is None
    assert "circuit open until" in run("health", home=tmp_path, **down).out
    elsewhere = run("health", "--json", home=tmp_path, **town.settings(well("openai")))
    assert told(elsewhere)["openai"]["open_until"] is None, "it was another address"


def test_only_the_named_provider_is_asked(town: Town, tmp_path: Path) -> None:
    settings = town.settings(well("openai", "mistral"))
    ran = run("health", "--json", "--provider", "mistral", home=tmp_path, **settings)
    assert (ran.code, list(told(ran))) == (0, ["mistral"])
    assert town.servers["openai"].asked == []
    without_key = run("health", "-p", "together", home=tmp_path)
    assert without_key.code == 4, "who asks for it means to use it"
    assert "no key" in without_key.out
    assert "TOGETHER_API_KEY" in without_key.out
    unknown = run("health", "-p", "groq", home=tmp_path)
    assert (unknown.code, unknown.out) == (2, "")


def test_the_library_says_who_is_well_and_who_can_be_called(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {**well("openai", "ollama"), "mistral": Page(REFUSED["mistral"], status=401)}
    for name, value in town.settings(pages).items():
        monkeypatch.setenv(name, value)

    async def ask() -> tuple[dict[str, bool], list[str]]:
        async with LLMService() as service:
            return await service.health_check(), service.get_available_providers()

    well_or_not, usable = asyncio.run(ask())
    builtin = well_or_not.pop("builtin")
    assert well_or_not == {"openai": True, "anthropic": False, "mistral": False, "ollama": True, "together": False}
    assert usable == ["openai", "mistral", "ollama", *(["builtin"] if builtin else [])]


def test_a_local_server_that_is_down_cannot_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    service = LLMService()
    assert "ollama" not in service.get_available_providers()
    service.close()


def test_health_is_the_tour_of_what_is_set_up(tmp_path: Path) -> None:
    told = run("health", home=tmp_path).out
    folder = tmp_path / "llmroute"
    assert f"settings   {folder / 'config.toml'} (does not exist)\n" in told
    assert f"ledger     {folder / 'ledger.db'} (does not exist)\n" in told
    assert "\nstrategy   balanced\n" in told
    assert "\nbudget     none (llmroute costs budget set --month 20)\n" in told
    assert "\nnext       export ANTHROPIC_API_KEY=..." in told
    run("costs", "budget", "set", "--month", "20", home=tmp_path)
    run("costs", "budget", "set", "--day", "0.5", "--workspace", "nightly", home=tmp_path)
    settings = {"LLM_DEFAULT_PROVIDER": "mistral", "LLM_WORKSPACE": "team", "MISTRAL_BASE_URL": "http://127.0.0.1:9"}
    told = run("health", home=tmp_path, MISTRAL_API_KEY="sk-0123456789", **settings).out
    assert f"settings   {folder / 'config.toml'}\n" in told
    assert "\nstrategy   balanced, mistral preferred\n" in told
    assert "\nworkspace  team\n" in told
    assert "\nbudget     $20.00 a month, $0.5000 a day in nightly\n" in told
    assert "\nnext " not in told
    assert "sk-0123456789" not in told
