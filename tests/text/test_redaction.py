"""No secret is told, in any form that a server may echo it in, and no text of a stranger steers a terminal."""

from __future__ import annotations

import pytest

from llmroute.providers import Endpoint
from llmroute.text.redaction import MARK, Redaction, public, shown
from llmroute.types import HTTPRequest

KEY = "sk-Secret/0123+456"
TOKEN = "tok-abc 123"
REDACTION = Redaction.of((KEY, None, "abc"), ("https://gw.example/tok-abc%20123/openai/v1", None))


@pytest.mark.parametrize(
    "echo", [KEY, KEY.upper(), "sk-Secret%2F0123%2B456", TOKEN, "tok-abc%20123", f"Bearer {KEY}", f"/{TOKEN}/v1"]
)
def test_a_secret_is_hidden_in_every_form(echo: str) -> None:
    said = REDACTION.line(f"no such <{echo}> here", 200)
    assert MARK in said
    for part in ("secret", "tok-abc"):
        assert part not in said.lower()


def test_words_that_everybody_knows_are_not_hidden() -> None:
    assert REDACTION.hide("openai abc v1 /chat/completions") == "openai abc v1 /chat/completions"
    assert Redaction.of((), ("https://generativelanguage.example/v1beta/openai",)).secrets == ()


@pytest.mark.parametrize(
    "path",
    [
        *("openai/deployments/gpt-5-mini/v1", "openai/deployments/prod-chat-eu", "models/claude-haiku-4-5-20251001"),
        *("gateway/mistral-small3.2/v1", "production/openai/v1", "v1/gpt-4o-mini-2024-07-18", "litellm/Qwen3-32B/v1"),
    ],
)
def test_the_name_of_a_model_in_an_address_is_no_secret(path: str) -> None:
    assert Redaction.of((), (f"http://host/{path}",)).secrets == ()
    assert shown(f"http://host/{path}") == f"http://host/{path}"


@pytest.mark.parametrize("before", ["", "openai/deployments/", "openai/deployments/gpt-5-mini/"])
@pytest.mark.parametrize(
    "token",
    [
        *("tok4711", "k7Qp2x", "a1b2c3", "deadbeef", "DEADBEEF0123", "9f86d081884c7d65", "Zm9vYmFyQmF6", "Zm9vYmFy"),
        *("aGVsbG8td29ybGQ", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "gpt-9f86d081", "gpt-5f2504e04f8911d39a0c"),
        *("claude-Zm9vYmFyQmF6", "sk-proj-Ab12Cd34", "o3kJ2hQw", "abcdefabcdef"),
    ],
)
def test_a_token_in_an_address_is_a_secret_wherever_it_stands(before: str, token: str) -> None:
    url = f"http://host/{before}{token}/v1"
    assert Redaction.of((), (url,)).hide(f"no {token} here") == f"no {MARK} here"
    assert token not in shown(url)


@pytest.mark.parametrize("token", ["swordfish", "s3same", "Open-Sesame"])
def test_a_word_that_not_everybody_knows_may_be_a_token(token: str) -> None:
    assert Redaction.of((), (f"http://host/{token}/v1",)).secrets == (token,)


def test_a_name_that_the_caller_has_said_is_no_secret() -> None:
    redaction = Redaction.of((KEY,), ("http://host/house-model/v1",)).but("House-Model")
    assert redaction.hide(f"house-model {KEY}") == f"house-model {MARK}"


@pytest.mark.parametrize("most", [20, 100, 500])
@pytest.mark.parametrize("fill", ["", "x", "x" * 7, KEY])
def test_what_is_cut_holds_no_beginning_of_a_secret(most: int, fill: str) -> None:
    for repeated in range(1, 500, 7):
        said = REDACTION.line(fill + KEY * repeated, most)
        assert len(said) <= most
        assert KEY[:6] not in said, said


def test_a_strangers_text_is_one_line_without_controls() -> None:
    said = REDACTION.line("a\x1b[31mred\r\n\x00b\u202ec\u2066d\ud83d\x9b2J\ttab", 100)
    assert said.isprintable()
    assert "\n" not in said
    assert said.startswith("a [31mred b c d")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "https://gw.example:8443/tok-1/openai/v1/chat/completions",
            f"https://gw.example:8443/{MARK}/openai/v1/chat/completions",
        ),
        ("https://user:pw@gw.example/v1?key=tok", "https://gw.example/v1"),
        ("http://[::1]:80/x#tok", f"http://[::1]:80/{MARK}"),
        ("gw.example/tok", f"gw.example/{MARK}"),
        ("https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
    ],
)
def test_an_address_is_shown_without_what_may_be_a_token(url: str, told: str) -> None:
    assert shown(url) == told


def test_an_address_of_data_is_shown_without_user_and_query() -> None:
    assert public("https://u:p@host.example/data/prices.json?token=1") == "https://host.example/data/prices.json"


def test_no_repr_tells_a_token_of_an_address() -> None:
    url = "https://gw.example/tok-abc/v1"
    assert "tok-abc" not in repr(Endpoint(base_url=url)) + repr(HTTPRequest("GET", url, {}))
