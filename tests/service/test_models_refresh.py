"""`models refresh`: shown before it is taken, refused when it cannot be trusted, told once a week when it is due."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import ExitStack
from copy import deepcopy
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.errors import RequestError, TransientError
from llmroute.planning.default_registry import STALE_WARNING_FILE, warn_when_stale
from llmroute.registry import ModelRegistry
from llmroute.registry.catalogue_file import PREVIOUS, render_catalogue, shipped_catalogue
from llmroute.service.client import LLMService
from llmroute.service.models.refresh import prepare
from tests.support.model_server import ModelServer
from tests.support.pseudo_terminal import run_on_terminal, without_escapes
from tests.support.shell import LLMROUTE, environment, run
from tests.support.web_server import Page, WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LUNA = "openai/gpt-6-luna"
KEY = "sk-test-0123456789"


def published(**mtok: float) -> Any:
    """Prices as genai-prices publishes them, of one model."""
    prices = {f"{kind}_mtok": usd for kind, usd in mtok.items()}
    return [{"id": "openai", "models": [{"id": "gpt-6-luna", "prices": prices}]}]


def write(folder: Path, content: Any) -> str:
    path = folder / "prices.json"
    path.write_text(json.dumps(content))
    return str(path)


def luna(home: Path, **settings: str) -> dict[str, Any]:
    told = json.loads(run("models", "show", LUNA, "--json", home=home, **settings).out)
    return {"input": told["prices"]["input"], "as_of": told["as_of"], "source": told["sources"]["prices"]}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def test_without_a_terminal_and_without_yes_it_is_shown_and_not_taken(tmp_path: Path) -> None:
    ran = run("models", "refresh", "--from", write(tmp_path, published(input=0.2, output=0.4)), home=tmp_path)
    assert ran.code == 0
    told = {tuple(line.split()) for line in ran.out.splitlines()}
    assert ("price", "up", LUNA, "input", "0.1", "->", "0.2") in told
    assert ("price", "down", LUNA, "output", "0.5", "->", "0.4") in told
    assert "the catalogue is unchanged (--yes accepts the changes)" in ran.err
    assert not (tmp_path / "llmroute" / "catalogue.json").exists()
    assert luna(tmp_path)["input"] == 0.1


def test_yes_takes_it_and_keeps_the_previous_one(tmp_path: Path) -> None:
    for usd in (0.2, 0.3):
        source = write(tmp_path, published(input=usd, output=0.5))
        assert run("models", "refresh", "--from", source, "--yes", home=tmp_path).code == 0
        assert luna(tmp_path)["input"] == usd
    assert "genai-prices" in luna(tmp_path)["source"]
    folder = tmp_path / "llmroute"
    assert (folder / "catalogue.json").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / PREVIOUS).replace(folder / "catalogue.json")
    assert luna(tmp_path)["input"] == 0.2


@pytest.mark.parametrize(("answer", "taken"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_on_a_terminal_it_asks(answer: str, taken: bool, tmp_path: Path) -> None:
    source = write(tmp_path, published(input=0.2, output=0.5))
    seen = run_on_terminal("models", "refresh", "--from", source, home=tmp_path, typed=answer)
    assert seen.code == 0
    assert "accept the changes? [y/N]" in seen.text
    assert (tmp_path / "llmroute" / "catalogue.json").exists() is taken


def test_a_price_that_moves_too_far_needs_force(tmp_path: Path) -> None:
    source = write(tmp_path, published(input=5, output=0.5))
    ran = run("models", "refresh", "--from", source, "--yes", home=tmp_path)
    assert ran.code == 2
    assert "price up" in ran.out, "it is shown all the same"
    assert LUNA in ran.err
    assert "--force" in ran.err
    assert luna(tmp_path)["input"] == 0.1
    assert run("models", "refresh", "--from", source, "--yes", "--force", home=tmp_path).code == 0
    assert luna(tmp_path)["input"] == 5


@pytest.mark.parametrize("content", [{}, [], 3, [{"id": "openai"}], published(input=-1)])
def test_what_is_not_sound_is_refused_even_by_force(content: Any, tmp_path: Path) -> None:
    ran = run("models", "refresh", "--from", write(tmp_path, content), "--yes", "--force", home=tmp_path)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert "prices.json" in ran.err
    assert not (tmp_path / "llmroute" / "catalogue.json").exists()


def test_a_file_that_is_not_there_is_2(tmp_path: Path) -> None:
    ran = run("models", "refresh", "--from", str(tmp_path / "nothing"), home=tmp_path)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)


def test_a_catalogue_that_would_not_be_used_is_not_taken(tmp_path: Path) -> None:
    old = {**deepcopy(shipped_catalogue()), "as_of": "2026-01-01"}
    (tmp_path / "old.json").write_text(render_catalogue(old))
    ran = run("models", "refresh", "--from", str(tmp_path / "old.json"), "--yes", "--force", home=tmp_path)
    assert ran.code == 2
    assert "2026-01-01" in ran.err


def test_a_catalogue_that_cannot_be_written_leaves_the_one_in_use(tmp_path: Path) -> None:
    (tmp_path / "llmroute" / "catalogue.json").mkdir(parents=True)
    source = write(tmp_path, published(input=0.2, output=0.5))
    ran = run("models", "refresh", "--from", source, "--yes", home=tmp_path)
    assert ran.code == 2
    assert "catalogue.json: cannot be written" in ran.err
    assert luna(tmp_path)["input"] == 0.1


def test_a_catalogue_that_tells_no_latency_is_listed_all_the_same(tmp_path: Path) -> None:
    bare = deepcopy(shipped_catalogue())
    del bare["providers"]["openai"]["typical_latency_ms"]
    del bare["providers"]["openai"]["speeds"]
    (tmp_path / "bare.json").write_text(render_catalogue(bare))
    assert run("models", "refresh", "--from", str(tmp_path / "bare.json"), "--yes", home=tmp_path).code == 0
    told = json.loads(run("models", "--json", "-p", "openai", "--sort", "latency", home=tmp_path).out)
    assert {one["expected_latency_ms"] for one in told} == {None}


def online(stack: ExitStack, lists: dict[str, Page], prices: Page) -> tuple[WebServer, str, dict[str, str]]:
    server = stack.enter_context(WebServer({"/prices.json": prices, **lists}))
    settings = {f"{name}_BASE_URL": server.url for name in ("OPENAI", "ANTHROPIC")}
    settings |= {f"{name}_API_KEY": KEY for name in ("OPENAI", "ANTHROPIC")}
    return server, f"{server.url}/prices.json", settings


def test_prices_and_the_providers_own_lists_are_joined(stack: ExitStack, tmp_path: Path) -> None:
    soon = (date.today() + timedelta(days=90)).isoformat()  # noqa: DTZ011 (the program's own calendar)
    claude = {"id": "claude-opus-5-5", "max_input_tokens": 123_456, "lifecycle": "active"}
    lists = {
        "/v1/models": Page({"data": [{"id": "gpt-6-luna", "shutdown_date": soon}, {"id": "gpt-9"}]}),
        "/v1/models?limit=1000": Page({"data": [claude], "has_more": False}),
    }
    server, url, settings = online(stack, lists, Page(published(input=0.2, output=0.5)))
    ran = run("models", "refresh", "--from", url, "--json", home=tmp_path, **settings)
    assert ran.code == 0
    told = json.loads(ran.out)
    assert told["taken"] is False
    found = {(one["kind"], one["model"], one["what"]): (one["old"], one["new"]) for one in told["changes"]}
    assert found["price up", LUNA, "input"] == (0.1, 0.2)
    assert found["retiring", LUNA, "retires_on"] == (None, soon)
    assert found["changed", "anthropic/claude-opus-5-5", "context_window"][1] == 123_456
    served = {(one["kind"], one["model"]) for one in told["served"]}
    assert ("new", "openai/gpt-9") in served
    assert ("gone", "openai/gpt-6-sol") in served
    assert ("gone", "openai/gpt-4") not in served, "it is retired, so nobody expects it"
    headers = next(headers for path, headers, _ in server.asked if path == "/prices.json")
    assert not {"authorization", "x-api-key"} & set(headers), "no key goes to who publishes prices"
    assert run("models", "refresh", "--from", url, "--yes", home=tmp_path, **settings).code == 0
    sheet = json.loads(run("models", "show", LUNA, "--json", home=tmp_path).out)
    assert sheet["lifecycle"]["retires_on"] == soon
    assert "openai's own list" in sheet["sources"]["retires_on"]


def test_a_list_that_does_not_come_is_told_and_the_rest_is_taken(stack: ExitStack, tmp_path: Path) -> None:
    _, url, settings = online(stack, {}, Page(published(input=0.2, output=0.5)))
    ran = run("models", "refresh", "--from", url, "--yes", home=tmp_path, **settings)
    assert ran.code == 0
    assert [line.split(":")[1].strip() for line in ran.err.splitlines()[:2]] == ["openai", "anthropic"]
    assert luna(tmp_path)["input"] == 0.2


def test_nothing_that_an_address_of_the_working_directory_says_is_taken(stack: ExitStack, tmp_path: Path) -> None:
    theirs = {"id": "meta-llama/Llama-3.3-70B-Instruct-Turbo", "pricing": {"input": 9.0, "output": 9.0}}
    server = stack.enter_context(
        WebServer({"/prices.json": Page(published(input=0.2, output=0.5)), "/v1/models": Page([theirs])})
    )
    folder = tmp_path / "cloned"
    folder.mkdir()
    (folder / ".env").write_text(f"TOGETHER_API_KEY={KEY}\nTOGETHER_BASE_URL={server.url}\n")
    asked = [*LLMROUTE, "models", "refresh", "--from", f"{server.url}/prices.json", "--yes"]
    ran = subprocess.run(
        asked, cwd=folder, env=environment(tmp_path), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert ran.returncode == 0
    assert b"together: its address comes from .env in the working directory; its model list is ignored" in ran.stderr
    assert [path for path, _, _ in server.asked] == ["/prices.json"]
    assert luna(tmp_path)["input"] == 0.2


def test_a_file_sends_nothing(stack: ExitStack, tmp_path: Path) -> None:
    server, _, settings = online(stack, {}, Page(None))
    source = write(tmp_path, published(input=0.2, output=0.5))
    assert run("models", "refresh", "--from", source, "--yes", home=tmp_path, **settings).code == 0
    assert server.asked == []


def test_an_address_that_fails_is_4_and_one_without_tls_is_refused(stack: ExitStack, tmp_path: Path) -> None:
    _, url, _ = online(stack, {}, Page({"x": 1}, status=503))
    ran = run("models", "refresh", "--from", url, "--yes", home=tmp_path)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (4, "", 1)
    plain = run("models", "refresh", "--from", "http://prices.invalid/x", home=tmp_path)
    assert (plain.code, plain.out) == (2, "")
    assert "https" in plain.err


def test_the_library_takes_an_address_too(stack: ExitStack) -> None:
    _, url, _ = online(stack, {}, Page(published(input=0.2, output=0.5)))
    service = LLMService()
    ready = prepare(service.core, url)
    ready.check()
    assert ready.take() is None
    assert ready.path.exists()
    with pytest.raises(TransientError, match="404"):
        prepare(service.core, f"{url}.gone")
    with pytest.raises(RequestError):
        prepare(service.core, "/nowhere")
    service.close()


def aged(days: int) -> ModelRegistry:
    return ModelRegistry(today=date.fromisoformat(shipped_catalogue()["as_of"]) + timedelta(days=days))


def test_an_old_catalogue_is_told_once_a_week(tmp_path: Path) -> None:
    told: list[str] = []
    folder = tmp_path / "config"
    for days in (60, 61, 61, 67, 68, 69):
        warn_when_stale(aged(days), folder, told.append)
    assert [warning.split(" days")[0].split()[-1] for warning in told] == ["61", "68"]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_memory_that_is_spoilt_or_of_the_future_is_no_memory(tmp_path: Path) -> None:
    told: list[str] = []
    for text in ("nonsense", "2999-01-01", ""):
        (tmp_path / STALE_WARNING_FILE).write_text(text)
        warn_when_stale(aged(61), tmp_path, told.append)
    assert len(told) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_costs_only_the_memory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    told: list[str] = []
    warn_when_stale(aged(61), tmp_path / "x", told.append)
    assert len(told) == 1


def test_gen_stream_and_models_tell_it_on_stderr_and_quiet_does_not(tmp_path: Path) -> None:
    catalogue = {**deepcopy(shipped_catalogue()), "as_of": "2025-01-01"}
    (tmp_path / "catalogue.json").write_text(render_catalogue(catalogue))
    # What a machine has on which llmroute was installed long ago.
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys, llmroute.registry\n"
        f"sys.modules['llmroute.registry.catalogue_file']._SHIPPED = {str(tmp_path / 'catalogue.json')!r}\n"
    )
    old = {"PYTHONPATH": str(tmp_path)}
    memory = tmp_path / "llmroute" / STALE_WARNING_FILE
    with ModelServer() as server:
        commands = [("gen", "hi", "-m", LUNA), ("stream", "hi", "-m", LUNA), ("models",)]
        quiet = run("gen", "hi", "-q", "-m", LUNA, home=tmp_path, **server.settings, **old)
        assert (quiet.err, memory.exists()) == ("", False)
        for command in commands:
            first = run(*command, home=tmp_path, **server.settings, **old)
            again = run(*command, home=tmp_path, **server.settings, **old)
            assert (first.code, again.code) == (0, 0)
            assert len(first.err.splitlines()) == 1
            assert "llmroute models refresh" in first.err
            assert again.err == ""
            memory.unlink()


def test_a_terminal_shows_how_much_is_here_unless_it_is_to_be_quiet(tmp_path: Path) -> None:
    data = json.dumps(published(input=0.2, output=0.4)).encode()
    page = Page((data[:20], data[20:]), headers={"content-length": str(len(data))})
    with WebServer({"/prices.json": page}) as server:
        asked = ("models", "refresh", "--from", f"{server.url}/prices.json", "--yes")
        seen = run_on_terminal(*asked, home=tmp_path)
        quiet = run_on_terminal(*asked, "-q", home=tmp_path)
        piped = run(*asked, home=tmp_path)
    assert seen.code == quiet.code == piped.code == 0
    assert f" of {len(data)} bytes" in without_escapes(seen.text)
    assert seen.text.rpartition("\x1b[2K")[2].startswith("catalogue of "), "the bar is removed"
    assert "llmroute: updated " in seen.text
    assert "\r" not in quiet.text + piped.err
    assert "taken" not in quiet.text
