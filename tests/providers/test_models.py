from __future__ import annotations

import json
import subprocess
import sys

import pytest

from llmroute.errors import AuthenticationError, BadOutputError
from llmroute.providers import PROVIDERS, Endpoint, Provider, anthropic, mistral, ollama, openai, together
from tests.providers.samples import model, provider

FIVE = [name for name in PROVIDERS if name != "builtin"]


def test_each_of_the_five_keeps_the_contract() -> None:
    # The annotation is the test: the type checker compares each with the Protocol.
    five: list[Provider] = [module.connect(Endpoint()) for module in (openai, together, mistral)]
    five += [anthropic.connect(Endpoint()), ollama.connect(Endpoint())]
    assert all(provider.base_url for provider in five)


def test_openai_says_when_a_model_shuts_down() -> None:
    rows = [{"id": "a", "shutdown_date": "2027-03-01"}, {"id": "b", "shutdown_date": None}, {"object": "model"}]
    models = provider("openai").parse_models(json.dumps({"object": "list", "data": rows}).encode()).models
    assert [(live.api_name, live.retires_on) for live in models] == [("a", "2027-03-01"), ("b", None)]


def test_mistral_lists_what_chats_with_window_aliases_and_successor() -> None:
    chat = {
        "id": "small",
        "capabilities": {"completion_chat": True, "vision": True, "function_calling": False},
        "max_context_length": 131072,
        "aliases": ["small-latest"],
        "deprecation": "2026-12-31T12:00:00Z",
        "deprecation_replacement_model": "smaller",
    }
    rows = [chat, {"id": "embed", "capabilities": {"completion_chat": False}}]
    for body in ({"data": rows}, rows):
        (live,) = provider("mistral").parse_models(json.dumps(body).encode()).models
        assert (live.api_name, live.aliases, live.context_window) == ("small", ("small-latest",), 131072)
        assert (live.deprecated_on, live.successor, live.capabilities) == (
            "2026-12-31",
            "smaller",
            frozenset({"vision"}),
        )


def test_together_lists_what_chats_with_window_and_prices() -> None:
    rows = [
        {"id": "llama", "type": "chat", "context_length": 8192, "pricing": {"input": 0, "output": 0.88}},
        {"id": "bare", "type": "chat"},
        {"id": "painter", "type": "image"},
    ]
    llama, bare = provider("together").parse_models(json.dumps(rows).encode()).models
    assert (llama.context_window, llama.price_input, llama.price_output) == (8192, 0.0, 0.88)
    assert (bare.context_window, bare.price_input, bare.price_output) == (None, None, None)


def test_together_lists_what_chats_in_the_form_of_its_newer_catalogue_too() -> None:
    row = {
        "id": "mdl_1",
        "name": "zai-org/GLM-5.3",
        "displayType": "chat",
        "capabilities": ["CAPABILITY_CHAT"],
        "products": ["PRODUCT_SERVERLESS", "PRODUCT_DEDICATED"],
        "contextLength": "202752",
        "features": ["FEATURE_TOOL_CALLING", "FEATURE_REASONING"],
        "pricing": {"input": 0.6, "cachedInput": 0.1, "output": 2.2},
    }
    others = [{**row, "capabilities": ["CAPABILITY_EMBEDDING"]}, {**row, "products": ["PRODUCT_DEDICATED"]}]
    (glm,) = provider("together").parse_models(json.dumps({"data": [row, *others]}).encode()).models
    assert (glm.api_name, glm.context_window, glm.price_input, glm.price_output) == (
        "zai-org/GLM-5.3",
        202752,
        0.6,
        2.2,
    )
    assert glm.capabilities == frozenset({"function_calling", "reasoning"})


@pytest.mark.parametrize("name", FIVE)
def test_a_list_asks_for_nothing_but_the_list(name: str) -> None:
    request = provider(name).render_models()
    assert (request.method, request.body) == ("GET", None)


@pytest.mark.parametrize("name", FIVE)
@pytest.mark.parametrize("body", [b"", b"<html>", b"3", b'"x"'])
def test_what_is_no_list_is_bad_output(name: str, body: bytes) -> None:
    with pytest.raises(BadOutputError):
        provider(name).parse_models(body)


@pytest.mark.parametrize("name", FIVE)
def test_an_error_in_place_of_a_list_is_an_error(name: str) -> None:
    with pytest.raises(AuthenticationError):
        provider(name).parse_models(b'{"error": {"code": "invalid_api_key", "message": "no"}}')


@pytest.mark.parametrize("name", [name for name in FIVE if name != "ollama"])
def test_nothing_must_precede_a_call_to_a_hosted_model(name: str) -> None:
    assert provider(name).render_show(model()) is None
    with pytest.raises(BadOutputError):
        provider(name).parse_show(b"{}")


def test_no_provider_imports_what_is_heavy() -> None:
    modules = ", ".join(f"llmroute.providers.{name}" for name in FIVE)
    heavy = "{'httpx', 'pydantic', 'asyncio', 'email', 'html', 'http', 'urllib.parse', 'sqlite3', 'rich'}"
    program = f"import sys, {modules}; print(sorted({heavy} & sys.modules.keys()))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"
