from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llmroute.errors import BadOutputError, RateLimitError, TransientError
from tests.providers.samples import KEY, event, model, prompt, provider, sent

START = event("message_start", message={"id": "msg_1", "model": "m", "usage": {"input_tokens": 5, "output_tokens": 1}})
TEXT = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "hi"})
STOP = event("message_stop")


def delta(reason: str = "end_turn", **usage: int) -> bytes:
    return event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 7} | usage)


def read(*pieces: bytes) -> Any:
    reader = provider("anthropic").open_stream()
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    return chunks, reader.finish()


def answer(*blocks: dict[str, Any], **rest: Any) -> bytes:
    whole = {"id": "msg_1", "model": "m", "content": list(blocks), "stop_reason": "end_turn"} | rest
    return json.dumps(whole).encode()


def test_a_request_carries_key_and_version() -> None:
    request = provider("anthropic").render_request(prompt(), model())
    assert request.url == "https://api.anthropic.com/v1/messages"
    assert (request.headers["x-api-key"], request.headers["anthropic-version"]) == (KEY, "2026-10-21")
    assert "authorization" not in request.headers


def test_the_system_prompt_is_not_a_message() -> None:
    body = sent("anthropic", prompt(system="be brief"), model())
    assert body["system"] == "be brief"
    assert [message["role"] for message in body["messages"]] == ["user"]


@pytest.mark.parametrize(
    ("said", "maximum", "goes_out"),
    [(None, None, 16_000), (None, 4_096, 4_096), (None, 64_000, 16_000), (50, 4_096, 50), (9_999, 4_096, 4_096)],
)
def test_max_tokens_always_goes_out_and_fits_the_model(said: int | None, maximum: int | None, goes_out: int) -> None:
    body = sent("anthropic", prompt(max_tokens=said), replace(model(), max_output=maximum))
    assert body["max_tokens"] == goes_out


def test_a_temperature_is_at_most_one() -> None:
    assert sent("anthropic", prompt(temperature=1.7), model())["temperature"] == 1.0
    assert "temperature" not in sent("anthropic", prompt(temperature=0.2), model(temperature=False))


def test_adaptive_thinking_carries_the_effort_and_no_temperature() -> None:
    thinker = model(effort_form="output_config", efforts=("low", "medium", "high", "max"))
    body = sent("anthropic", prompt(effort="high", temperature=0.2), thinker)
    assert (body["thinking"], body["output_config"]) == ({"type": "adaptive"}, {"effort": "high"})
    assert "temperature" not in body


def test_effort_none_stops_the_thinking_of_a_model_that_can_stop() -> None:
    thinker = model(effort_form="output_config", efforts=("none", "low", "high"))
    body = sent("anthropic", prompt(effort="none", temperature=0.2), thinker)
    assert (body["thinking"], body["temperature"]) == ({"type": "disabled"}, 0.2)
    always = model(effort_form="output_config", efforts=("low", "high"))
    least = sent("anthropic", prompt(effort="none"), always)
    assert least["output_config"] == {"effort": "low"}
    assert "thinking" not in least


@pytest.mark.parametrize("max_tokens", [None, 1_025, 1_500, 20_000])
@pytest.mark.parametrize("effort", ["low", "medium", "high"])
def test_a_thinking_budget_leaves_room_for_the_answer(max_tokens: int | None, effort: Any) -> None:
    body = sent("anthropic", prompt(effort=effort, max_tokens=max_tokens), model(effort_form="thinking_budget"))
    assert body["thinking"]["type"] == "enabled"
    assert 1024 <= body["thinking"]["budget_tokens"] < body["max_tokens"]


def test_where_no_budget_fits_nothing_is_thought() -> None:
    body = sent("anthropic", prompt(effort="high", max_tokens=1_024), model(effort_form="thinking_budget"))
    assert "thinking" not in body


def test_effort_is_not_sent_to_a_model_that_takes_none() -> None:
    assert not {"thinking", "output_config"} & sent("anthropic", prompt(effort="high"), model()).keys()


def test_the_whole_prompt_includes_what_the_cache_gave_and_took() -> None:
    usage = {
        "input_tokens": 5,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
    }
    counters = provider("anthropic").parse_completion(answer(usage=usage)).usage
    assert (counters.input_tokens, counters.cached_input_tokens, counters.cache_write_tokens) == (135, 100, 30)
    assert (counters.cache_write_1h_tokens, counters.output_tokens, counters.reasoning_tokens) == (20, 9, 4)


def test_cache_writes_that_are_reported_only_by_their_life_count() -> None:
    usage = {"input_tokens": 5, "output_tokens": 9, "cache_creation": {"ephemeral_1h_input_tokens": 20}}
    counters = provider("anthropic").parse_completion(answer(usage=usage)).usage
    assert (counters.input_tokens, counters.cache_write_tokens, counters.cache_write_1h_tokens) == (25, 20, 20)


def test_text_blocks_are_joined_and_others_are_not_text() -> None:
    completion = provider("anthropic").parse_completion(
        answer(
            {"type": "thinking", "thinking": "hm"},
            {"type": "text", "text": "a"},
            {"type": "novelty", "text": "no", "content": "no"},
            {"type": "redacted_thinking", "data": "xx"},
            {"type": "tool_use", "name": "add", "input": {}},
            {"type": "text", "text": "b"},
        ),
    )
    assert (completion.text, completion.thinking, completion.tool_calls) == ("ab", "hm", ("add",))


def test_a_refusal_is_said_with_its_explanation() -> None:
    completion = provider("anthropic").parse_completion(
        answer(stop_reason="refusal", stop_details={"type": "refusal", "explanation": "no, because"}),
    )
    assert (completion.finish_reason, completion.refusal) == ("content_filter", "no, because")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"content": "text"}'])
def test_what_is_no_message_is_bad_output(body: bytes) -> None:
    with pytest.raises(BadOutputError):
        provider("anthropic").parse_completion(body)


def test_later_counters_take_the_place_of_earlier_ones_key_by_key() -> None:
    first = {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 1}
    start = event("message_start", message={"id": "msg_1", "model": "m", "usage": first})
    _, completion = read(start, TEXT, delta(input_tokens=50), STOP)
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (52, 7)


def test_pings_and_unknown_events_say_nothing() -> None:
    novelty = event("content_block_delta", index=0, delta={"type": "novelty_delta", "text": "no"})
    chunks, completion = read(
        START, event("ping"), event("novelty", delta={"text": "no"}), novelty, TEXT, delta(), STOP
    )
    assert [chunk.text for chunk in chunks] == ["hi"]
    assert (completion.text, completion.finish_reason, completion.request_id) == ("hi", "stop", "msg_1")


def test_thinking_and_tools_are_not_text() -> None:
    _, completion = read(
        START,
        event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}),
        event("content_block_start", index=1, content_block={"type": "tool_use", "name": "add", "input": {}}),
        event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": "{}"}),
        delta("tool_use"),
        STOP,
    )
    assert (completion.text, completion.thinking) == ("", "hm")
    assert (completion.tool_calls, completion.finish_reason) == (("add",), "tool_calls")


@pytest.mark.parametrize("cut", [START, START + TEXT, START + TEXT + delta(), START + TEXT + delta() + STOP[:30]])
def test_a_stream_without_message_stop_is_incomplete(cut: bytes) -> None:
    with pytest.raises(BadOutputError):
        read(cut)


def test_message_stop_without_its_blank_line_is_one() -> None:
    assert read(START + TEXT + delta() + STOP.rstrip())[1].text == "hi"


def test_an_error_inside_a_stream_is_raised_in_its_class() -> None:
    reader = provider("anthropic").open_stream()
    reader.feed(START + TEXT)
    with pytest.raises(TransientError, match="Overloaded"):
        reader.feed(event("error", error={"type": "overloaded_error", "message": "Overloaded"}))
    assert reader.so_far.text == "hi"
    assert reader.so_far.usage.input_tokens == 5
    with pytest.raises(RateLimitError):
        provider("anthropic").open_stream().feed(event("error", error={"type": "rate_limit_error", "message": "slow"}))


def test_a_model_list_carries_limits_life_and_skills() -> None:
    row = {
        "id": "claude-x",
        "lifecycle": "deprecated",
        "deprecated_at": "2026-01-02T03:04:05Z",
        "retires_at": "2027-01-02T00:00:00Z",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "capabilities": {"thinking": {"supported": True}, "image_input": {"supported": False}},
    }
    gone = {"id": "claude-old", "lifecycle": "retired"}
    body = json.dumps({"data": [row, gone], "has_more": False, "last_id": "claude-old"}).encode()
    page = provider("anthropic").parse_models(body)
    (live,) = page.models
    assert (live.api_name, live.context_window, live.max_output) == ("claude-x", 200_000, 64_000)
    assert (live.deprecated_on, live.retires_on, live.capabilities) == (
        "2026-01-02",
        "2027-01-02",
        frozenset({"reasoning"}),
    )
    assert page.next_request is None


def test_a_page_that_is_not_the_last_names_the_next() -> None:
    body = json.dumps({"data": [{"id": "a b"}], "has_more": True, "last_id": "a b"}).encode()
    following = provider("anthropic").parse_models(body).next_request
    assert following is not None
    assert following.url.endswith("/v1/models?limit=1000&after_id=a%20b")
    empty = json.dumps({"data": [], "has_more": True, "last_id": "a b"}).encode()
    assert provider("anthropic").parse_models(empty).next_request is None


@pytest.mark.parametrize(
    ("ending", "final"),
    [
        ((delta(), STOP), True),
        ((STOP,), False),
        ((event("message_delta", delta={"stop_reason": "end_turn"}), STOP), False),
        ((event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": None}), STOP), False),
        ((delta(), TEXT, STOP), False),
    ],
)
def test_the_count_at_the_beginning_of_a_stream_is_not_its_last_word(ending: tuple[bytes, ...], final: bool) -> None:
    _, completion = read(START, TEXT, *ending)
    assert completion.usage_final is final
