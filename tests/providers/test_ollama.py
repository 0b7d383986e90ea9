from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llmroute.errors import BadOutputError, ModelGoneError, ParameterError, QuotaError, TransientError
from llmroute.providers import Endpoint, ListedModel, connect
from llmroute.urls import is_ollama_cloud_tag
from tests.providers.samples import model, prompt, provider, sent


def line(text: str = "", **rest: Any) -> bytes:
    return json.dumps({"model": "m", "message": {"role": "assistant", "content": text}, "done": False} | rest).encode()


END = line(done=True, done_reason="stop", prompt_eval_count=11, eval_count=3)


def read(*pieces: bytes) -> Any:
    reader = provider("ollama").open_stream()
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    return chunks, reader.finish()


NOT_HERE = (
    "0.0.0.0",
    "[::]",
    "127.0.0.010",
    "127.300.0.1",
    "127.0.0.256",
    "127.1",
    "0x7f.0.0.1",
    "2130706433",
    "localhost.",
)


@pytest.mark.parametrize(
    ("given", "used", "local"),
    [
        (None, "http://127.0.0.1:11434", True),
        ("http://localhost:11434/", "http://localhost:11434", True),
        ("http://localhost:11434/v1", "http://localhost:11434", True),
        ("0.0.0.0", "http://127.0.0.1:11434", True),
        ("0.0.0.0:9999", "http://127.0.0.1:9999", True),
        ("http://[::1]:11434", "http://[::1]:11434", True),
        ("gpu-box", "http://gpu-box:11434", False),
        ("https://ollama.com", "https://ollama.com", False),
        ("http://127.0.0.1@example.com", "http://127.0.0.1@example.com", False),
        ("http://[::1]", "http://[::1]", True),
        *((f"http://{host}:1", f"http://{host}:1", False) for host in NOT_HERE),
        ("http://127.0.0.1.example.com", "http://127.0.0.1.example.com", False),
    ],
)
def test_an_address_is_understood_as_ollama_itself_does(given: str | None, used: str, local: bool) -> None:
    ollama = provider("ollama", given)
    assert (ollama.base_url, ollama.local) == (used, local)


def test_without_a_key_no_key_is_sent() -> None:
    assert "authorization" not in connect("ollama", Endpoint()).render_models().headers


def test_whether_to_stream_is_always_said() -> None:
    assert sent("ollama", prompt(), model())["stream"] is False
    assert sent("ollama", prompt(streaming=True), model())["stream"] is True


def test_limits_go_out_as_options() -> None:
    body = sent("ollama", prompt(max_tokens=9, temperature=0.5, stop=("END",)), model())
    assert body.keys() == {"model", "messages", "stream", "options"}
    assert (body["options"]["num_predict"], body["options"]["temperature"]) == (9, 0.5)
    assert body["options"]["stop"] == ["END"]


def test_the_window_holds_prompt_and_answer_up_to_the_models_own() -> None:
    def window(text: str, own: int | None = None, **said: Any) -> int:
        asked: int = sent("ollama", prompt(text, **said), model(window=own))["options"]["num_ctx"]
        return asked

    assert window("short", max_tokens=10) == window("short") == 8192
    assert window("x" * 30_000, max_tokens=5_000) >= 15_000
    assert window("日" * 10_000, max_tokens=5_000) >= 15_000
    assert window("x" * 300_000, own=32_768) == 32_768
    assert window("short", own=2_048) == 2_048
    assert window("x" * 900_000) > 300_000


NUMBERS = "\n".join(
    ",".join(f"{number % 997}.{number % 83:02}" for number in range(row, row + 8)) for row in range(180)
)
HEX = "".join(f"{number * 2654435761 % 2**32:08x}" for number in range(2_000))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        # What a tokenizer that reads digits one by one makes of them (Qwen, Llama 2, Mistral).
        pytest.param(NUMBERS, len(NUMBERS), id="numbers"),
        pytest.param(HEX, int(len(HEX) * 0.9), id="hexadecimal"),
        pytest.param("1 2 3 4 " * 2_000, 16_000, id="numbers apart"),
        pytest.param("\nx" * 5_000, 10_000, id="short lines"),
        pytest.param("(){}[];=+" * 1_500, 10_000, id="signs"),
        pytest.param("\N{ROCKET}" * 4_000, 16_000, id="emoji"),
        pytest.param("\N{ETHIOPIC SYLLABLE HA}" * 5_000, 15_000, id="a rare script"),
        pytest.param("\u4eba" * 8_000, 16_000, id="Chinese"),
        pytest.param("\u05d0\u05d1 " * 4_000, 14_000, id="Hebrew"),
    ],
)
def test_a_text_of_many_tokens_gets_a_window_that_holds_it(text: str, tokens: int) -> None:
    asked = sent("ollama", prompt(text), model(window=262_144))["options"]["num_ctx"]
    assert tokens + 4_096 <= asked <= 32_768


def test_prose_gets_no_window_that_is_many_times_too_wide() -> None:
    prose = "It was the best of times, it was the worst of times, it was the age of wisdom. " * 400
    assert sent("ollama", prompt(prose), model(window=262_144))["options"]["num_ctx"] <= 16_384


def test_windows_are_few_and_the_same_with_and_without_a_limit_to_the_answer() -> None:
    asked = {
        sent("ollama", prompt("word " * words, max_tokens=limit), model(window=131_072))["options"]["num_ctx"]
        for words in range(1, 1_200, 100)
        for limit in (None, 1, 50, 500, 2_000)
    }
    assert asked == {8_192}


@pytest.mark.parametrize(
    ("own", "window", "asked"), [(16_384, 32_768, 16_384), (10_000, None, 10_000), (65_536, 32_768, 32_768)]
)
def test_a_models_own_setting_is_the_least(own: int, window: int | None, asked: int) -> None:
    told = replace(model(window=window), own_window=own)
    assert sent("ollama", prompt("short"), told)["options"]["num_ctx"] == asked


def test_thinking_is_switched_or_graded_as_the_model_has_it() -> None:
    assert sent("ollama", prompt(effort="none"), model(effort_form="think"))["think"] is False
    assert sent("ollama", prompt(effort="low"), model(effort_form="think"))["think"] is True
    graded = model(effort_form="think_level", efforts=("low", "medium", "high"))
    assert sent("ollama", prompt(effort="medium"), graded)["think"] == "medium"
    assert sent("ollama", prompt(effort="none"), graded)["think"] == "low"
    assert "think" not in sent("ollama", prompt(effort="high"), model())


def test_a_whole_answer_is_read() -> None:
    completion = provider("ollama").parse_completion(line("hi", done=True, done_reason="length", eval_count=3))
    assert (completion.text, completion.finish_reason) == ("hi", "length")
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (None, 3)


def test_a_server_before_done_reason_was_done_all_the_same() -> None:
    assert provider("ollama").parse_completion(line("hi", done=True)).finish_reason == "stop"
    assert provider("ollama").parse_completion(line("hi")).finish_reason is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"3"])
def test_what_is_no_answer_is_bad_output(body: bytes) -> None:
    with pytest.raises(BadOutputError):
        provider("ollama").parse_completion(body)


def test_lines_are_read_as_they_come_and_the_last_may_carry_text() -> None:
    end = line("!", done=True, done_reason="stop", prompt_eval_count=11, eval_count=3)
    chunks, completion = read(line("a") + b"\n" + line("b")[:20], line("b")[20:] + b"\r\n\n" + end)
    assert [chunk.text for chunk in chunks] == ["a", "b"]
    assert completion.text == "ab!"
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (11, 3)


def test_an_answer_of_generate_is_read_too() -> None:
    body = json.dumps({"response": "hi", "thinking": "hm", "done": True, "done_reason": "stop"}).encode()
    completion = provider("ollama").parse_completion(body)
    assert (completion.text, completion.thinking) == ("hi", "hm")


@pytest.mark.parametrize("tail", [b"", b"\n", b'\n{"model":"m","mess'])
def test_a_stream_that_was_never_done_is_incomplete(tail: bytes) -> None:
    with pytest.raises(BadOutputError):
        read(line("a") + tail)


def test_an_error_line_is_raised_and_what_came_is_known() -> None:
    reader = provider("ollama").open_stream()
    reader.feed(line("a") + b"\n")
    with pytest.raises(TransientError, match="unexpected EOF"):
        reader.feed(b'{"error":"an error was encountered while running the model: unexpected EOF"}\n')
    assert reader.so_far.text == "a"


def test_a_line_that_is_not_json_is_bad_output() -> None:
    with pytest.raises(BadOutputError):
        provider("ollama").open_stream().feed(b"nonsense\n")


@pytest.mark.parametrize(
    ("size", "read_tokens", "warned"),
    [
        (200, 50, False),
        (60_000, 15_000, False),
        (60_000, 2_050, True),
        (60_000, 16_384, True),
        (60_000, 8_194, True),
        (60_000, 9_000, False),
        (60_000, None, False),
        (900, 20, False),
    ],
)
def test_a_prompt_that_was_cut_silently_is_told(size: int, read_tokens: int | None, warned: bool) -> None:
    ollama = provider("ollama")
    request = ollama.render_request(prompt("x" * size), model(window=16_384))
    body = line("hi", done=True, done_reason="stop", prompt_eval_count=read_tokens, eval_count=1)
    reader = ollama.open_stream(request)
    reader.feed(body)
    for completion in (ollama.parse_completion(body, request), reader.finish()):
        assert (completion.prompt_cut is not None) is warned
        assert bool(completion.warning) is warned


def test_a_model_that_is_not_pulled_comes_with_the_command() -> None:
    for message in ("model 'llama9:7b' not found", 'model "llama9:7b" not found, try pulling it first'):
        error = provider("ollama").parse_error(404, {}, json.dumps({"error": message}).encode())
        assert isinstance(error, ModelGoneError)
        assert "ollama pull llama9:7b" in (error.hint or "")
        assert "llmroute models pull ollama/llama9:7b" in (error.hint or "")


def test_a_model_that_cannot_think_names_the_parameter() -> None:
    error = provider("ollama").parse_error(400, {}, b'{"error":"\\"llama3.2\\" does not support thinking"}')
    assert isinstance(error, ParameterError)
    assert error.code == "think"


def test_the_clouds_weekly_limit_is_no_matter_of_waiting() -> None:
    body = b'{"error":"you\'ve reached your weekly usage limit, please upgrade to continue"}'
    assert isinstance(provider("ollama").parse_error(429, {}, body), QuotaError)


@pytest.mark.parametrize(
    ("name", "cloud"),
    [("gpt-oss:120b-cloud", True), ("glm:cloud", True), ("llama3.2:3b", False), ("cloudy:7b", False)],
)
def test_a_cloud_model_is_known_by_its_tag(name: str, cloud: bool) -> None:
    assert is_ollama_cloud_tag(name) is cloud


def test_pulled_models_are_listed_with_their_short_names() -> None:
    rows = [{"name": "llama3.2:latest"}, {"model": "qwen:7b"}, {"name": "far:1b", "remote_host": "https://ollama.com"}]
    page = provider("ollama").parse_models(json.dumps({"models": rows}).encode())
    assert [model.api_name for model in page.models] == ["llama3.2:latest", "qwen:7b", "far:1b"]
    assert page.models[0].aliases == ("llama3.2",)
    assert [model.local for model in page.models] == [True, True, False]
    assert provider("ollama").parse_models(b'{"models":null}').models == ()


def test_a_models_own_window_and_skills_are_read() -> None:
    ollama = provider("ollama")
    request = ollama.render_show(model(api_name="llama9"))
    assert request is not None
    assert request.url.endswith("/api/show")
    assert json.loads(request.body or b"") == {"model": "llama9"}
    told = {
        "model_info": {"general.architecture": "llama", "clip.context_length": 77, "llama.context_length": 131072},
        "capabilities": ["completion", "tools", "thinking"],
    }
    live = ollama.parse_show(json.dumps(told).encode())
    assert live.own_window is None
    assert (live.context_window, live.capabilities) == (131072, frozenset({"function_calling", "json", "reasoning"}))
    assert ollama.parse_show(b"{}").context_window is None


@pytest.mark.parametrize(
    "told",
    [
        {"parameters": 'stop                           "<|eot_id|>"\nnum_ctx                        16384'},
        {"modelfile": "FROM llama3.1\nPARAMETER num_ctx 16384\nPARAMETER temperature 1"},
        {"parameters": "", "modelfile": "parameter num_ctx 16384"},
    ],
)
def test_the_window_of_a_models_own_settings_is_read(told: dict[str, str]) -> None:
    assert provider("ollama").parse_show(json.dumps(told).encode()).own_window == 16_384


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"404 page not found"),
        (404, b'{"detail":"Not Found"}'),
        (405, b'{"detail":"Method Not Allowed"}'),
        (501, b'{"error":{"code":501,"message":"not supported","type":"not_supported_error"}}'),
        (200, b"<html>"),
    ],
)
def test_a_server_without_the_question_tells_no_limits(status: int, body: bytes) -> None:
    assert provider("ollama").parse_show(body, status, {}) == ListedModel("")


def test_a_server_without_the_model_says_so() -> None:
    with pytest.raises(ModelGoneError):
        provider("ollama").parse_show(b'{"error":"model \'llama9\' not found"}', 404, {})


def test_a_model_too_large_for_the_machine_comes_with_advice() -> None:
    body = b'{"error":"model requires more system memory (9 GiB) than is available (4 GiB)"}'
    error = provider("ollama").parse_error(500, {}, body)
    assert isinstance(error, TransientError)
    assert "smaller" in (error.hint or "")
