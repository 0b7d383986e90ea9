"""Whatever comes is a completion or one of our errors, and no count in it is absurd."""

from __future__ import annotations

import functools
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmroute.errors import AttemptError, LLMRouteError
from llmroute.providers import PROVIDERS
from tests.providers import corpus
from tests.providers.samples import chat_answer, chat_chunk, event, provider

if TYPE_CHECKING:
    from llmroute.types import Completion

FIVE = [name for name in PROVIDERS if name != "builtin"]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
fuzzed = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def assert_sane(completion: Completion) -> None:
    usage = completion.usage
    counts = [usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens, usage.output_tokens]
    for count in [*counts, usage.reasoning_tokens, usage.cache_write_1h_tokens]:
        assert count is None or (type(count) is int and 0 <= count <= 3 * 10**9)
    for text in (completion.text, completion.thinking, completion.refusal, completion.finish_reason, completion.model):
        assert text is None or text.encode() is not None
    json.dumps(completion.tool_calls).encode()


def assert_handled(name: str, body: bytes, cuts: list[int]) -> None:
    spoken = provider(name)
    reader = spoken.open_stream()
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    try:
        for start, end in pairwise(places):
            reader.feed(body[start:end])
        assert_sane(reader.finish())
    except LLMRouteError:
        pass
    assert_sane(reader.so_far)
    for read in (spoken.parse_completion, spoken.parse_models, spoken.parse_show):
        try:
            result: Any = read(body)
        except LLMRouteError:
            continue
        if read == spoken.parse_completion:
            assert_sane(result)
    for status in (302, 400, 429, 500):
        error = spoken.parse_error(status, {"retry-after": "1"}, body)
        assert isinstance(error, AttemptError)
        assert error.message.isprintable()
        assert len(error.message) <= 500


@functools.cache
def seeds(name: str) -> list[bytes]:
    """Return answers to spoil: recorded ones where there are any, and some of our own."""
    limits = {"supported": True}
    lists: list[Any] = [
        {
            "data": [{"id": "m", "capabilities": {"thinking": limits, "vision": True}, "aliases": ["n"]}],
            "has_more": True,
        },
        {"data": [{"id": "m", "max_tokens": 9, "deprecation": "2026-01-01", "lifecycle": "active"}], "last_id": "m"},
        [{"id": "m", "type": "chat", "context_length": 9, "pricing": {"input": 1, "output": 2.5}}],
        {"models": [{"name": "m:latest", "remote_host": "h"}]},
        {"model_info": {"general.architecture": "a", "a.context_length": 9}, "capabilities": ["tools"]},
        {"message": {"detail": [{"type": "t", "loc": ["body", "temperature"], "msg": "no"}]}, "code": 7},
        {"error": {"message": "m", "type": "t", "code": "c", "param": "max_tokens"}, "request_id": "r"},
    ]
    own = [json.dumps(told).encode() for told in lists]
    own += [
        chat_answer(content="hi"),
        chat_chunk({"content": "a"}, "stop") + b"data: [DONE]\n\n",
        event("message_stop"),
    ]
    if not (corpus.WIRE / "corpus").is_dir():
        return own
    return own + [corpus.body(item)[:6_000] for item in corpus.items() if item["provider"] == name]


@pytest.mark.parametrize("name", FIVE)
@fuzzed
@given(data=st.data())
def test_a_spoilt_answer_is_handled(name: str, data: st.DataObject) -> None:
    body = bytearray(data.draw(st.sampled_from(seeds(name))))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, max(len(body) - 1, 0)))
        length = data.draw(st.integers(0, 20))
        body[place : place + length] = data.draw(st.binary(max_size=8) | st.sampled_from([b"{", b"null", b"-1", b"[]"]))
    assert_handled(name, bytes(body), data.draw(st.lists(st.integers(0, 6_000), max_size=6)))


def spoil(value: Any, data: st.DataObject) -> Any:
    """Put something else in the place of some part of a JSON value."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 5)):
        key = data.draw(st.sampled_from(sorted(value)))
        return value | {key: spoil(value[key], data)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 5)):
        at = data.draw(st.integers(0, len(value) - 1))
        return [*value[:at], spoil(value[at], data), *value[at + 1 :]]
    return data.draw(JSON)


@pytest.mark.parametrize("name", FIVE)
@fuzzed
@given(data=st.data())
def test_an_answer_with_values_of_the_wrong_kind_is_handled(name: str, data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(seeds(name))).decode("utf-8", "replace").split("\n")
    for at, line in enumerate(lines):
        before, brace, after = line.partition("{")
        try:
            value = json.loads(brace + after)
        except ValueError:
            continue
        if data.draw(st.integers(0, 2)) == 0:
            lines[at] = before + json.dumps(spoil(value, data))
    assert_handled(name, "\n".join(lines).encode(), [])


@pytest.mark.parametrize("name", FIVE)
@fuzzed
@given(body=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=6))
def test_random_bytes_are_handled(name: str, body: bytes, cuts: list[int]) -> None:
    assert_handled(name, body, cuts)


@pytest.mark.parametrize("name", FIVE)
@fuzzed
@given(value=JSON)
def test_any_json_is_handled(name: str, value: Any) -> None:
    body = json.dumps(value).encode()
    for whole in (
        body,
        b"data: " + body + b"\n\n",
        body + b"\n",
        b'{"error":' + body + b"}",
        b'{"choices":' + body + b"}",
    ):
        assert_handled(name, whole, [])
