from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from llmroute.errors import AttemptError, BadOutputError, QuotaError, RateLimitError, TransientError
from llmroute.providers import Endpoint, connect
from llmroute.providers.wire.chat_completions import ChatCompletions, Dialect
from llmroute.types import Message, Prompt
from tests.providers.samples import KEY, chat_answer, chat_chunk, model, prompt, provider, sent

DONE = b"data: [DONE]\n\n"
THREE = ["openai", "mistral", "together"]


def read(name: str, *pieces: bytes) -> Any:
    reader = provider(name).open_stream()
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    return chunks, reader.finish()


@pytest.mark.parametrize("name", THREE)
def test_a_request_says_who_asks_and_where(name: str) -> None:
    request = provider(name).render_request(prompt(), model())
    assert request.method == "POST"
    assert request.url.endswith("/v1/chat/completions")
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_without_a_key_no_key_is_sent() -> None:
    assert "authorization" not in connect("openai", Endpoint()).render_models().headers


def test_the_organization_goes_out_to_openai_alone() -> None:
    endpoint = Endpoint(api_key=KEY, organization="org-1")
    assert connect("openai", endpoint).render_models().headers["openai-organization"] == "org-1"
    assert "org-1" not in connect("mistral", endpoint).render_models().headers.values()


@pytest.mark.parametrize(
    ("given", "used"),
    [
        (None, "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/mistral/v1", "http://127.0.0.1:8000/mistral/v1"),
        ("http://127.0.0.1:8000/mistral/", "http://127.0.0.1:8000/mistral/v1"),
        ("http://gateway/v1/v1", "http://gateway/v1"),
        ("https://gateway/v1beta/openai", "https://gateway/v1beta/openai"),
        ("http://v1.gateway", "http://v1.gateway/v1"),
    ],
)
def test_a_base_url_has_one_version_and_no_last_slash(given: str | None, used: str) -> None:
    assert provider("openai", given).base_url == used


def test_a_sixth_provider_is_a_dialect_and_local_only_on_this_machine() -> None:
    dialect = Dialect("sixth", "http://127.0.0.1:8080", local=True)
    assert ChatCompletions(dialect, Endpoint()).local
    assert not ChatCompletions(dialect, Endpoint(base_url="http://10.0.0.7:8080")).local
    assert ChatCompletions(dialect, Endpoint()).parse_error(500, {}, b"").provider == "sixth"


def test_the_chunks_are_the_beginning_of_the_text_and_the_last_line_may_add_to_it() -> None:
    reader = provider("openai").open_stream()
    shown = reader.feed(chat_chunk({"content": "a"}) + chat_chunk({"content": "b"}, "stop").rstrip())
    assert [chunk.text for chunk in shown] == ["a"]
    assert reader.finish().text == "ab"


def test_system_prompt_and_turns_go_out_in_order() -> None:
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    body = sent("openai", Prompt(turns, system="s"), model())
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]
    assert [message["content"] for message in body["messages"]] == ["s", "a", "b", "c"]


def test_what_nobody_said_is_not_sent() -> None:
    for name in THREE:
        assert sent(name, prompt(), model()).keys() == {"model", "messages"}


def test_openai_itself_always_gets_max_completion_tokens() -> None:
    assert sent("openai", prompt(max_tokens=9), model())["max_completion_tokens"] == 9
    assert "max_tokens" not in sent("openai", prompt(max_tokens=9), model())


def test_another_address_gets_the_limit_under_the_models_own_name() -> None:
    elsewhere = "http://127.0.0.1:8000/v1"
    assert sent("openai", prompt(max_tokens=9), model(), elsewhere)["max_tokens"] == 9
    newer = model(max_tokens_name="max_completion_tokens")
    assert sent("openai", prompt(max_tokens=9), newer, elsewhere)["max_completion_tokens"] == 9


def test_mistral_and_together_get_max_tokens_whatever_the_model_says() -> None:
    newer = model(max_tokens_name="max_completion_tokens")
    for name in ("mistral", "together"):
        assert sent(name, prompt(max_tokens=9), newer)["max_tokens"] == 9


def test_only_openai_is_asked_for_usage_in_a_stream() -> None:
    assert sent("openai", prompt(streaming=True), model())["stream_options"] == {"include_usage": True}
    for name in ("mistral", "together"):
        assert "stream_options" not in sent(name, prompt(streaming=True), model())
        assert sent(name, prompt(streaming=True), model())["stream"] is True


def test_a_model_that_takes_no_temperature_gets_none() -> None:
    assert "temperature" not in sent("openai", prompt(temperature=0.5), model(temperature=False))


def test_a_temperature_that_needs_effort_none_goes_out_only_with_it() -> None:
    limits: dict[str, Any] = {
        "temperature_needs_effort_none": True,
        "efforts": ("none", "low", "high"),
        "effort_form": "reasoning_effort",
        "default_effort": "medium",
    }
    assert "temperature" not in sent("openai", prompt(temperature=0.5), model(**limits))
    assert "temperature" not in sent("openai", prompt(temperature=0.5, effort="low"), model(**limits))
    assert sent("openai", prompt(temperature=0.5, effort="none"), model(**limits))["temperature"] == 0.5
    limits["default_effort"] = "none"
    assert sent("openai", prompt(temperature=0.5), model(**limits))["temperature"] == 0.5


def test_a_temperature_above_the_highest_goes_out_as_the_highest() -> None:
    assert sent("mistral", prompt(temperature=2.0), model())["temperature"] == 1.5
    assert sent("together", prompt(temperature=2.0), model(max_temperature=1.0))["temperature"] == 1.0


def test_stop_goes_out_as_a_list_and_only_to_models_that_take_it() -> None:
    assert sent("together", prompt(stop=("END",)), model())["stop"] == ["END"]
    assert "stop" not in sent("openai", prompt(stop=("END",)), model(stop=False))


@pytest.mark.parametrize(
    ("effort", "efforts", "word"),
    [
        ("low", ("low", "medium", "high"), "low"),
        ("none", ("low", "medium"), "low"),
        ("none", ("minimal", "low"), "minimal"),
        ("low", ("none", "high"), "high"),
        ("high", ("none", "low"), "low"),
        ("medium", ("none", "low", "high"), "high"),
    ],
)
def test_effort_goes_out_in_the_models_own_nearest_word(effort: Any, efforts: tuple[str, ...], word: str) -> None:
    thinker = model(efforts=efforts, effort_form="reasoning_effort")
    assert sent("openai", prompt(effort=effort), thinker)["reasoning_effort"] == word


def test_effort_is_not_sent_to_a_model_that_takes_none() -> None:
    assert "reasoning_effort" not in sent("openai", prompt(effort="high"), model())


def test_togethers_switch_is_on_or_off() -> None:
    thinker = model(effort_form="reasoning_enabled")
    assert sent("together", prompt(effort="none"), thinker)["reasoning"] == {"enabled": False}
    assert sent("together", prompt(effort="low"), thinker)["reasoning"] == {"enabled": True}


def test_half_a_character_in_a_prompt_does_not_stop_the_request() -> None:
    assert sent("openai", prompt("a\ud83d b"), model())["messages"][0]["content"] == "a? b"


def test_a_whole_answer_has_text_reason_and_usage() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    body = json.loads(chat_answer(content="hi")) | {"usage": usage}
    completion = provider("openai").parse_completion(json.dumps(body).encode())
    counters = completion.usage
    assert (completion.text, completion.finish_reason, completion.model) == ("hi", "stop", "m")
    assert (counters.input_tokens, counters.cached_input_tokens, counters.cache_write_tokens) == (10, 4, 2)
    assert (counters.output_tokens, counters.reasoning_tokens, counters.source) == (5, 3, "reported")


def test_what_was_not_told_is_none_and_never_zero() -> None:
    usage = provider("openai").parse_completion(chat_answer(content="hi")).usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.source) == (
        None,
        None,
        None,
        "none",
    )


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "7", 10**12, None, [], float("nan"), float("inf")])
def test_a_token_count_that_cannot_be_one_is_unknown(wrong: object) -> None:
    body = json.loads(chat_answer(content="hi")) | {"usage": {"prompt_tokens": wrong, "completion_tokens": 1}}
    usage = provider("openai").parse_completion(json.dumps(body).encode()).usage
    assert (usage.input_tokens, usage.output_tokens) == (None, 1)


def test_a_refusal_is_kept_apart_from_the_text() -> None:
    completion = provider("openai").parse_completion(chat_answer(content=None, refusal="I will not."))
    assert (completion.text, completion.refusal) == ("", "I will not.")


def test_thinking_is_never_part_of_the_text() -> None:
    chunks = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]
    for message in (
        {"content": chunks},
        {"content": "yes", "reasoning": "hm"},
        {"content": "yes", "reasoning_content": "hm"},
    ):
        completion = provider("mistral").parse_completion(chat_answer(**message))
        assert (completion.text, completion.thinking) == ("yes", "hm")


def test_togethers_think_tags_are_thinking_at_the_beginning_and_text_elsewhere() -> None:
    parse = provider("together").parse_completion
    assert parse(chat_answer(content="<think>\nhm</think>\n\nyes")).text == "yes"
    assert parse(chat_answer(content="<think>\nhm</think>\n\nyes")).thinking == "\nhm"
    assert parse(chat_answer(content="the <think> tag</think>")).text == "the <think> tag</think>"
    assert parse(chat_answer(content="<thi")).text == "<thi"


def test_togethers_think_tags_may_be_cut_anywhere() -> None:
    whole = "\n<think>a < b</th</think>\n\nyes <think>"
    pieces = [chat_chunk({"content": letter}) for letter in whole]
    chunks, completion = read("together", *pieces, chat_chunk({}, "stop"), DONE)
    assert completion.text == "".join(chunk.text for chunk in chunks) == "yes <think>"
    assert completion.thinking == "".join(chunk.thinking for chunk in chunks) == "a < b</th"


def test_tool_calls_are_said_by_name() -> None:
    calls = [{"id": "1", "index": 0, "function": {"name": name, "arguments": "{}"}} for name in ("add", "sub")]
    assert provider("mistral").parse_completion(chat_answer(content="", tool_calls=calls)).tool_calls == ("add", "sub")


def test_an_answer_that_went_into_thinking_says_so() -> None:
    body = json.loads(chat_answer(content=""))
    body["choices"][0]["finish_reason"] = "length"
    body["usage"] = {"completion_tokens": 100, "completion_tokens_details": {"reasoning_tokens": 100}}
    completion = provider("openai").parse_completion(json.dumps(body).encode())
    assert completion.text == ""
    assert "reasoning" in (completion.warning or "")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices": 3}', b"[" * 100_000, b'"text"'])
def test_what_is_no_answer_is_bad_output(body: bytes) -> None:
    with pytest.raises(BadOutputError):
        provider("openai").parse_completion(body)


def test_an_error_inside_a_200_is_an_error_of_its_class() -> None:
    with pytest.raises(QuotaError):
        provider("openai").parse_completion(b'{"error": {"code": "insufficient_quota", "message": "no money"}}')
    with pytest.raises(RateLimitError):
        provider("openai").parse_completion(b'{"error": {"code": 429, "message": "slow"}}')


def test_an_unknown_finish_reason_passes_through() -> None:
    body = json.loads(chat_answer(content="hi"))
    body["choices"][0]["finish_reason"] = "phase_of_the_moon"
    assert provider("openai").parse_completion(json.dumps(body).encode()).finish_reason == "phase_of_the_moon"


def test_a_stream_gives_text_as_it_comes_and_the_whole_at_its_end() -> None:
    chunks, completion = read(
        "openai",
        chat_chunk({"role": "assistant", "content": ""}),
        chat_chunk({"content": "Hel"}),
        chat_chunk({"content": "lo"}),
        chat_chunk({}, "stop"),
        chat_chunk(usage={"prompt_tokens": 3, "completion_tokens": 2}),
        DONE,
    )
    assert [chunk.text for chunk in chunks] == ["Hel", "lo"]
    assert (completion.text, completion.finish_reason, completion.usage.input_tokens) == ("Hello", "stop", 3)


def test_the_last_usage_that_says_something_counts() -> None:
    _, completion = read(
        "openai",
        chat_chunk({"content": "a"}, usage={"prompt_tokens": 3, "completion_tokens": 0}),
        chat_chunk({}, "stop", usage={"prompt_tokens": 3, "completion_tokens": 2}),
        chat_chunk(usage=None),
        DONE,
    )
    assert completion.usage.output_tokens == 2


def test_only_the_first_choice_is_the_answer() -> None:
    other = json.dumps({"choices": [{"index": 1, "delta": {"content": "no"}}]}).encode()
    _, completion = read("openai", chat_chunk({"content": "yes"}, "stop"), b"data: " + other + b"\n\n", DONE)
    assert completion.text == "yes"


def test_togethers_double_text_is_read_once() -> None:
    body = json.dumps({"choices": [{"index": 0, "text": "a", "delta": {"content": "a"}, "finish_reason": "eos"}]})
    _, completion = read("together", f"data: {body}\n\n".encode(), DONE)
    assert (completion.text, completion.finish_reason) == ("a", "stop")


def test_a_character_cut_into_two_escapes_is_one_again() -> None:
    one = b'data: {"choices":[{"index":0,"delta":{"content":"a\\ud83d"}}]}\n\n'
    two = b'data: {"choices":[{"index":0,"delta":{"content":"\\ude42b"}}]}\n\n'
    chunks, completion = read("openai", one, two, chat_chunk({}, "stop"), DONE)
    assert "".join(chunk.text for chunk in chunks) == completion.text == "a🙂b"


def test_half_a_character_without_its_other_half_is_replaced() -> None:
    one = b'data: {"choices":[{"index":0,"delta":{"content":"\\ude42a\\ud83d"}}]}\n\n'
    _, completion = read("openai", one, chat_chunk({}, "stop"), DONE)
    assert completion.text == "\ufffda\ufffd"


@pytest.mark.parametrize("tail", [b"", b"data: [DO", b'data: {"choices":[{"ind', b": bye"])
def test_a_stream_that_said_how_it_ended_is_whole_without_its_terminator(tail: bytes) -> None:
    _, completion = read("openai", chat_chunk({"content": "a"}, "stop"), tail)
    assert completion.text == "a"


@pytest.mark.parametrize("tail", [b"", b"data: [DO", b'data: {"choices":[{"ind', chat_chunk({"content": "b"})])
def test_a_stream_without_its_end_is_incomplete_and_what_came_is_known(tail: bytes) -> None:
    reader = provider("openai").open_stream()
    reader.feed(chat_chunk({"content": "a"}) + tail)
    with pytest.raises(BadOutputError):
        reader.finish()
    assert reader.so_far.text.startswith("a")
    assert not reader.done


def test_a_terminator_without_its_last_line_end_is_one() -> None:
    _, completion = read("openai", chat_chunk({"content": "a"}), b"data: [DONE]")
    assert completion.finish_reason is None
    assert completion.text == "a"


def test_nothing_after_the_terminator_matters() -> None:
    reader = provider("openai").open_stream()
    reader.feed(chat_chunk({"content": "a"}, "stop") + DONE + b"data: nonsense\n\n")
    assert reader.done
    assert reader.feed(b"data: nonsense\n\n") == []
    assert reader.finish().text == "a"


def test_an_event_that_is_not_json_is_bad_output() -> None:
    with pytest.raises(BadOutputError):
        provider("openai").open_stream().feed(b"data: {nonsense\n\n")


def test_an_error_inside_a_stream_is_raised_and_what_came_is_known() -> None:
    reader = provider("openai").open_stream()
    reader.feed(chat_chunk({"content": "a"}))
    with pytest.raises(TransientError) as caught:
        reader.feed(b'data: {"error":{"message":"the server had an error","type":"server_error"}}\n\n')
    assert caught.value.provider == "openai"
    assert reader.so_far.text == "a"


def test_an_error_event_without_an_error_object_is_one_too() -> None:
    with pytest.raises(AttemptError):
        provider("openai").open_stream().feed(b'event: error\ndata: {"message":"broken"}\n\n')


def test_ten_thousand_chunks_are_one_answer() -> None:
    reader = provider("openai").open_stream()
    for _ in range(10_000):
        reader.feed(chat_chunk({"content": "word "}))
    reader.feed(chat_chunk({}, "stop") + DONE)
    assert reader.finish().text == "word " * 10_000


def test_what_is_not_the_answer_is_not_kept() -> None:
    piece = chat_chunk({"content": "a"}, obfuscation="x" * 4_000)
    reader = provider("openai").open_stream()
    tracemalloc.start()
    for _ in range(3_000):
        reader.feed(piece)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 500_000


@pytest.mark.parametrize(
    "body",
    [
        {"object": "error", "message": "Rate limit exceeded", "type": "rate_limited", "code": "1300"},
        {"message": "Requests rate limit exceeded", "request_id": "r-1"},
        {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}},
        {"error": "rate limit"},
    ],
)
def test_an_error_in_any_of_its_forms_is_one_inside_a_200(body: dict[str, Any]) -> None:
    raw = json.dumps(body).encode()
    with pytest.raises(RateLimitError):
        provider("mistral").open_stream().feed(b"data: " + raw + b"\n\n")
    with pytest.raises(RateLimitError):
        provider("mistral").parse_completion(raw)
