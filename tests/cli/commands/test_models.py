"""`models`: the list for people, the list for pipes, what keys can really call, and everything about one."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.registry import ModelRegistry
from tests.support.pseudo_terminal import run_on_terminal
from tests.support.shell import run
from tests.support.web_server import HANG, Page, WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sk-test-0123456789"
ANTHROPIC = "/v1/models?limit=1000"
FIELDS = {
    "provider", "id", "aliases", "context_window", "max_output", "prices", "capabilities", "quality",
    "expected_quality", "quality_basis",
    "expected_latency_ms", "lifecycle", "available",
}  # fmt: skip


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def settings(stack: ExitStack, **pages: dict[str, Page]) -> dict[str, str]:
    """Start a server for each provider and return the environment that points at them."""
    found = {}
    for name, told in pages.items():
        found[f"{name.upper()}_BASE_URL"] = stack.enter_context(WebServer(told)).url
        if name != "ollama":
            found[f"{name.upper()}_API_KEY"] = KEY
    return found


def listed(home: Path, *arguments: str, **environment: str) -> list[dict[str, Any]]:
    ran = run("models", "--json", *arguments, home=home, **environment)
    assert ran.code == 0, ran.err
    told: list[dict[str, Any]] = json.loads(ran.out)
    return told


@pytest.mark.parametrize("columns", [80, 100, 160])
def test_the_table_fits_the_terminal_and_cuts_no_name(columns: int, tmp_path: Path) -> None:
    seen = run_on_terminal("models", "--all", home=tmp_path, columns=columns)
    assert seen.code == 0
    assert max(map(len, seen.text.splitlines())) <= columns
    words = set(seen.text.split())
    assert set(ModelRegistry().list_models()) <= words
    assert {"window", "qual", "time", "lifecycle", "retired", "deprecated", "+"} <= words


def test_a_pipe_gets_names_and_no_escapes(tmp_path: Path) -> None:
    ran = run("models", "-p", "mistral", home=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert "\x1b" not in ran.out
    assert all(line.startswith("mistral/") and " " not in line for line in ran.out.splitlines())


def test_what_is_dearer_or_cannot_do_it_is_left_out(tmp_path: Path) -> None:
    for one in listed(tmp_path, "--max-cost", "2"):
        assert max(one["prices"]["input"], one["prices"]["output"]) <= 2
    able = listed(tmp_path, "--capability", "vision", "--capability", "code")
    assert able
    assert all({"vision", "code"} <= set(one["capabilities"]) for one in able)
    ran = run("models", "--capability", "magic", home=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "vision" in ran.err


def test_a_search_lists_models_with_the_word_in_their_name_or_an_alias_in_any_case(tmp_path: Path) -> None:
    found = run("models", "HAIKU", home=tmp_path).out.splitlines()
    assert found == [name for name in run("models", home=tmp_path).out.splitlines() if "haiku" in name] != []
    ran = run("models", "claude-haiku-4-5-20251001", "--json", home=tmp_path)
    assert [one["id"] for one in json.loads(ran.out)] == ["claude-haiku-4-5"]
    assert run("models", "smollm", "--available", home=tmp_path).out == "builtin/smollm2-135m\n"


@pytest.mark.parametrize(
    ("search", "hint"),
    [
        ("claud-haiku-4-5", "anthropic/claude-haiku-4-5"),
        ("refesh", "did you mean refresh?"),
        ("gpt-3.5-turbo", "is retired"),
    ],
)
def test_a_search_without_a_match_is_one_line_with_a_hint_and_exits_2(search: str, hint: str, tmp_path: Path) -> None:
    ran = run("models", search, home=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"llmroute: no model matches {search!r} (")
    assert hint in ran.err
    assert ran.err.count("\n") == 1


def test_each_order_is_best_first(tmp_path: Path) -> None:
    def column(order: str, *path: str) -> list[Any]:
        found = []
        for one in listed(tmp_path, "--sort", order):
            value: Any = one
            for key in path:
                value = value[key]
            found.append(value)
        return found

    quality = column("quality", "expected_quality")
    assert quality == sorted(quality, reverse=True)
    windows = [value or 0 for value in column("context", "context_window")]
    assert windows == sorted(windows, reverse=True)
    times = [value or 10**9 for value in column("latency", "expected_latency_ms")]
    assert times == sorted(times)
    sums = [
        one["prices"]["input"] + one["prices"]["output"] for one in listed(tmp_path, "--sort", "price", "-p", "openai")
    ]
    assert sums == sorted(sums)
    assert run("models", "--sort", "beauty", home=tmp_path).code == 2


def test_live_lists_what_a_key_can_call_page_after_page(stack: ExitStack, tmp_path: Path) -> None:
    first = {"data": [{"type": "model", "id": "claude-opus-5-5"}], "has_more": True, "last_id": "claude-opus-5-5"}
    newer = {"id": "claude-next", "max_input_tokens": 500_000, "max_tokens": 64_000, "lifecycle": "active"}
    pages = {
        ANTHROPIC: Page(first),
        f"{ANTHROPIC}&after_id=claude-opus-5-5": Page({"data": [newer], "has_more": False}),
    }
    told = listed(tmp_path, "--live", "-p", "anthropic", **settings(stack, anthropic=pages))
    assert {frozenset(one) for one in told} == {frozenset(FIELDS)}
    known, new = told
    assert (known["id"], known["quality"] is not None, known["prices"]["input"] is not None) == (
        "claude-opus-5-5",
        True,
        True,
    )
    assert (new["id"], new["context_window"], new["max_output"]) == ("claude-next", 500_000, 64_000)
    assert new["prices"]["input"] is None, "nobody has told its price"
    assert all(one["available"] for one in told)


def test_live_facts_outrank_the_catalogues_and_the_users_outrank_both(stack: ExitStack, tmp_path: Path) -> None:
    chat = {"completion_chat": True}
    rows = [
        {"id": "mistral-large-2512", "capabilities": chat, "max_context_length": 77_000, "deprecation": "2026-01-02"},
        {"id": "ministral-8b-2512", "capabilities": chat, "max_context_length": 66_000},
    ]
    (tmp_path / "llmroute").mkdir()
    (tmp_path / "llmroute" / "config.toml").write_text('[models."mistral/ministral-8b-2512"]\ncontext_window = 5\n')
    told = listed(tmp_path, "--live", "-p", "mistral", **settings(stack, mistral={"/v1/models": Page({"data": rows})}))
    assert [(one["context_window"], one["lifecycle"]["deprecated_on"]) for one in told] == [
        (77_000, "2026-01-02"),
        (5, None),
    ]
    assert told[0]["lifecycle"]["status"] == "deprecated"


def test_live_knows_ollamas_tags_and_togethers_prices(stack: ExitStack, tmp_path: Path) -> None:
    tags = {"models": [{"name": "llama3.2:latest"}, {"name": "house:7b"}, {"name": "big:cloud"}]}
    priced = [{"id": "acme/New-1B", "type": "chat", "context_length": 8192, "pricing": {"input": 0.25, "output": 0.5}}]
    environment = settings(stack, ollama={"/api/tags": Page(tags)}, together={"/v1/models": Page(priced)})
    told = {f"{one['provider']}/{one['id']}": one for one in listed(tmp_path, "--live", **environment)}
    assert set(told) >= {"ollama/llama3.2", "ollama/house:7b", "ollama/big:cloud", "together/acme/New-1B"}
    assert told["ollama/house:7b"]["prices"]["output"] == 0
    assert told["ollama/big:cloud"]["prices"]["output"] is None
    new = told["together/acme/New-1B"]
    assert (new["prices"]["input"], new["prices"]["output"], new["context_window"]) == (0.25, 0.5, 8192)


def test_live_goes_on_without_a_provider_that_fails_and_says_so(stack: ExitStack, tmp_path: Path) -> None:
    environment = settings(
        stack,
        openai={"/v1/models": Page({"data": [{"id": "gpt-6-luna"}, {"id": "bad\nname"}, {"id": "bad name"}]})},
        mistral={"/v1/models": Page({"detail": "Invalid API Key"}, status=401)},
        together={"/v1/models": HANG},
    )
    ran = run("models", "--live", home=tmp_path, **environment)
    assert ran.code == 0
    assert [line for line in ran.out.splitlines() if not line.startswith("builtin/")] == ["openai/gpt-6-luna"]
    assert [line.split(":")[1].strip() for line in ran.err.splitlines()] == ["mistral", "together"]
    alone = run("models", "--live", "-p", "mistral", home=tmp_path, **environment)
    assert (alone.code, alone.out) == (3, "")
    missing = run("models", "--live", "-p", "anthropic", home=tmp_path)
    assert (missing.code, missing.out) == (3, "")
    assert "ANTHROPIC_API_KEY" in missing.err


def test_live_keeps_a_model_of_the_address_and_says_how_many_it_leaves_out(stack: ExitStack, tmp_path: Path) -> None:
    rows = [{"id": "gpt-5-mini"}, {"id": "x-tok-Path4711"}, {"id": "codellama"}]
    path = "/tok-Path4711/openai/deployments/gpt-5-mini/v1"
    environment = settings(stack, openai={f"{path}/models": Page({"data": rows})})
    environment["OPENAI_BASE_URL"] = environment["OPENAI_BASE_URL"].removesuffix("/v1") + path
    ran = run("models", "--live", "-p", "openai", home=tmp_path, **environment)
    assert "openai/gpt-5-mini" in ran.out.splitlines()
    assert "openai: 1 model omitted" in ran.err
    assert "Path4711" not in ran.out + ran.err


def test_live_with_refused_keys_alone_needs_a_person(stack: ExitStack, tmp_path: Path) -> None:
    environment = settings(
        stack,
        together={"/v1/models": Page({}, status=503)},
        openai={"/v1/models": Page({"error": {"message": "bad key"}}, status=401)},
    )
    ran = run("models", "--live", home=tmp_path, **environment)
    assert ran.code == 3
    assert "openai" in ran.err
    assert all(line.startswith("builtin/") for line in ran.out.splitlines())
    assert run("models", "--live", "-p", "together", home=tmp_path, **environment).code == 4


def test_show_tells_every_fact_with_its_source_and_date(tmp_path: Path) -> None:
    told = json.loads(run("models", "show", "gpt-6.1-sol", "--json", home=tmp_path).out)
    assert set(told) > FIELDS
    assert told["sources"]["prices"]
    assert told["as_of"]
    assert told["price_history"][0]["tiers"][0]["above"] == 272_000
    text = run("models", "show", "gpt-6.1-sol", home=tmp_path).out
    assert told["sources"]["context_window"] in text
    assert "above 272,000 tokens" in text
    assert "set OPENAI_API_KEY" in text
    retired = run("models", "show", "openai/gpt-4", home=tmp_path).out
    assert "was retired on" in retired
    seen = run_on_terminal("models", "show", "openai/gpt-5-nano", home=tmp_path)
    assert max(map(len, seen.text.splitlines())) <= 80


def test_show_tells_the_prices_of_long_prompts_at_each_service_tier(tmp_path: Path) -> None:
    prices = json.loads(run("models", "show", "openai/gpt-6-luna", "--json", home=tmp_path).out)["prices"]
    known = {
        name: price.tiers
        for name, price in ModelRegistry().get_model_config("openai", "gpt-6-luna").prices[-1].service_tiers
    }
    assert {name: [step["above"] for step in price["tiers"]] for name, price in prices["service_tiers"].items()} == {
        name: [step.above for step in steps] for name, steps in known.items()
    }
    assert all(known.values())
    text = run("models", "show", "openai/gpt-6-luna", home=tmp_path).out
    assert "flex tier above 272,000 tokens: $" in text


@pytest.mark.parametrize("name", ["gpt-6.1-sool", "openai/gpt-6.1-sool"])
def test_show_of_what_nobody_knows_is_2(name: str, tmp_path: Path) -> None:
    ran = run("models", "show", name, home=tmp_path)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert "gpt-6.1-sool" in ran.err


def test_show_names_what_the_user_has_set(tmp_path: Path) -> None:
    (tmp_path / "llmroute").mkdir()
    (tmp_path / "llmroute" / "config.toml").write_text('[models."openai/house"]\ninput = 1\noutput = 2\n')
    text = run("models", "show", "openai/house", home=tmp_path).out
    assert "config.toml: input, output" in text
    assert "$1 input, $2 output per million tokens" in text
