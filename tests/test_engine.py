"""The main job, end to end, on the real engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from llmroute.errors import EngineUnavailableError
from llmroute.planning.local import engine as embedded
from llmroute.planning.local.engine import EngineFiles
from tests.support.shell import rows, run
from tests.support.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ASK = ("Why is the sky blue? One sentence.", "-t", "0", "--max-tokens", "40")


@pytest.fixture(scope="module")
def engine() -> tuple[str, str]:
    """The address and the key of a running engine."""
    running = EngineFiles().engine()
    return running.base_url, running.key


@pytest.fixture
def witness(engine: tuple[str, str]) -> Iterator[Witness]:
    with Witness(engine[0]) as between:
        yield between


def test_gen_answers_without_key_or_server_and_says_nothing_else(tmp_path: Path) -> None:
    ran = run("gen", *ASK, home=tmp_path)
    assert ran.code == 0
    assert "sky" in ran.out
    assert ran.out.endswith("\n")
    assert not ran.out.endswith("\n\n")
    assert [line for line in ran.err.splitlines() if not line.startswith("llmroute: ")] == []
    (row,) = rows(tmp_path)
    assert (row["provider"], row["model"], row["status"], row["cost_picousd"]) == ("builtin", "smollm2-135m", "ok", 0)
    assert row["served_model"] == "SmolLM2-135M-Instruct.Q4_1"


@pytest.mark.parametrize("command", ["gen", "stream"])
def test_the_openai_format_tells_what_the_server_sent(
    command: str, engine: tuple[str, str], witness: Witness, tmp_path: Path
) -> None:
    settings = {"OPENAI_BASE_URL": witness.url + "/v1", "OPENAI_API_KEY": engine[1]}
    ran = run(command, "-m", "openai/any-gguf", *ASK, "-s", "Be brief.", home=tmp_path, **settings)
    assert ran.code == 0
    asked = witness.last.asked
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    assert asked["temperature"] == 0
    if command == "gen":
        answered = witness.last.answered
        text, usage = answered["choices"][0]["message"]["content"], answered["usage"]
    else:
        events = witness.last.events
        text = "".join(c["delta"].get("content") or "" for event in events for c in event["choices"])
        usage = next(event["usage"] for event in events if event.get("usage"))
    assert ran.out == text.rstrip("\n") + "\n"
    (row,) = rows(tmp_path)
    assert row["streaming"] == (command == "stream")
    assert (row["input_tokens"], row["output_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert row["cached_input_tokens"] == usage["prompt_tokens_details"]["cached_tokens"]
    assert row["usage_source"] == "reported"
    assert row["cost_picousd"] is None, "an unlisted model has no known price"


@pytest.mark.parametrize("command", ["gen", "stream"])
def test_the_messages_api_tells_what_the_server_sent(
    command: str, engine: tuple[str, str], witness: Witness, tmp_path: Path
) -> None:
    settings = {"ANTHROPIC_BASE_URL": witness.url, "ANTHROPIC_API_KEY": engine[1]}
    ran = run(command, "-m", "anthropic/claude-haiku-4-5", *ASK, "--json", home=tmp_path, **settings)
    assert ran.code == 0
    assert witness.last.path == "/v1/messages"
    assert witness.last.headers["x-api-key"] == engine[1]
    told = json.loads(ran.out.splitlines()[-1])
    if command == "gen":
        answered = witness.last.answered
        text, usage = answered["content"][0]["text"], answered["usage"]
    else:
        events = witness.last.events
        text = "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
        usage = events[0]["message"]["usage"] | events[-2]["usage"]
    prompt_tokens = usage["input_tokens"] + usage.get("cache_read_input_tokens", 0)
    assert told["content"] == text
    assert told["usage"]["input_tokens"] == prompt_tokens, "the prompt is the whole prompt, cached part included"
    assert told["usage"]["output_tokens"] == usage["output_tokens"]
    (row,) = rows(tmp_path)
    assert (row["input_tokens"], row["output_tokens"]) == (prompt_tokens, usage["output_tokens"])
    cached = usage.get("cache_read_input_tokens", 0)
    # claude-haiku-4-5 is listed at $1 in, $0.1 cached and $5 out per million tokens.
    assert row["cost_picousd"] == (prompt_tokens - cached) * 10**6 + cached * 10**5 + usage["output_tokens"] * 5 * 10**6
    assert told["cost_usd"] == row["cost_picousd"] / 10**12


def test_stdin_goes_before_the_argument_with_a_blank_line_between(
    engine: tuple[str, str], witness: Witness, tmp_path: Path
) -> None:
    settings = {"OPENAI_BASE_URL": witness.url + "/v1", "OPENAI_API_KEY": engine[1]}
    ask = ("gen", "count the letters", "-m", "openai/any-gguf", "--max-tokens", "1")
    for data in ("a b c", "a b c\n"):
        run(*ask, home=tmp_path, stdin=data, **settings)
        assert witness.last.asked["messages"] == [{"role": "user", "content": "a b c\n\ncount the letters"}]
    run(*ask, "--no-stdin", home=tmp_path, stdin="a b c", **settings)
    assert witness.last.asked["messages"][0]["content"] == "count the letters"


def test_any_model_file_can_be_named(tmp_path: Path) -> None:
    weights = EngineFiles().find()
    assert weights is not None
    mine = tmp_path / "mine.gguf"
    mine.symlink_to(weights)
    ran = run("gen", "hi", "--max-tokens", "2", home=tmp_path, LLMROUTE_LOCAL_MODEL=str(mine))
    assert ran.code == 0
    assert rows(tmp_path)[0]["served_model"] == "mine"


def test_weights_in_the_config_directory_are_found_when_no_package_has_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "WEIGHTS_PACKAGE", "a_package_that_is_not_installed")
    assert EngineFiles(config_dir=tmp_path).find() is None
    (tmp_path / "some.gguf").touch()
    assert EngineFiles(config_dir=tmp_path).find() == tmp_path / "some.gguf"


def test_an_engine_that_is_not_installed_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "ENGINE_PACKAGE", "an_engine_that_is_not_installed")
    with pytest.raises(EngineUnavailableError) as caught:
        EngineFiles().engine()
    assert caught.value.exit_code == 3
    assert caught.value.hint == embedded.INSTALL


def test_a_model_file_that_the_user_named_and_that_is_none_is_not_mended_by_packages(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match="is not a file") as caught:
        EngineFiles(tmp_path / "none.gguf").engine()
    assert caught.value.hint == embedded.NAME_A_FILE
    ran = run("gen", "hi", home=tmp_path, LLMROUTE_LOCAL_MODEL=str(tmp_path / "none.gguf"), OLLAMA_HOST="127.0.0.1:9")
    assert ran.code == 3
    assert "models pull" not in ran.err


@pytest.mark.parametrize(
    ("asked", "code"), [(("-m", "builtin/smollm2-135m"), 2), ((), 3), (("--local-only",), 3), (("-p", "builtin"), 2)]
)
def test_a_prompt_beyond_the_window_is_told_with_both_sizes_and_no_word_of_keys(
    asked: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    ran = run("gen", *asked, home=tmp_path, stdin="x" * 200_000, OLLAMA_HOST="127.0.0.1:9")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (code, "", 1)
    long = "builtin/smollm2-135m: the prompt is about 50008 tokens, too long for its context window of 8192 tokens"
    assert f"{long} (shorten it, or " in ran.err
    assert "key" not in ran.err


@pytest.mark.parametrize("content", [None, b"not a model"])
def test_a_model_file_that_is_none_is_named_in_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    if content:
        path.write_bytes(content)
    ran = run("gen", "hi", "-p", "builtin", home=tmp_path, LLMROUTE_LOCAL_MODEL=str(path))
    assert ran.code == 3
    assert ran.out == ""
    assert len(ran.err.splitlines()) == 1
    assert str(path) in ran.err
