"""The real llama.cpp server, as what it is and in the formats of OpenAI and Anthropic: both ways of calling it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from llmroute import errors
from llmroute.config import Timeouts
from llmroute.planning.local.engine import EngineFiles
from llmroute.providers import Endpoint, builtin
from tests.wire.calling import Outcome, call, config

if TYPE_CHECKING:
    from pathlib import Path

    from llmroute.registry import ModelRegistry

MODEL = {"openai": "openai/any-gguf", "anthropic": "anthropic/any-gguf", "builtin": "builtin/smollm2-135m"}
COUNT = "Count: one two three four five"
COUNTED = "One two three four five."

each_format = pytest.mark.parametrize("provider", MODEL)
each_form = pytest.mark.parametrize("streaming", [pytest.param(False, id="gen"), pytest.param(True, id="stream")])
either_way = pytest.mark.parametrize(
    "awaiting", [pytest.param(False, id="blocking"), pytest.param(True, id="awaiting")]
)


class Engine:
    """A running engine, called as what it is or in another's format."""

    def __init__(self, home: Path, registry: ModelRegistry) -> None:
        running = EngineFiles().engine()
        self._url, self._key = builtin.connect(Endpoint(base_url=running.base_url)).base_url, running.key
        self._home = home
        self._registry = registry
        self._labels = map(str, itertools.count())

    def ask(
        self, provider: str, *, streaming: bool, awaiting: bool = False, key: str | None = None, **asked: Any
    ) -> Outcome:
        base_urls = {} if provider == "builtin" else {provider: self._url}
        keys = {provider: key or self._key}
        here = config(self._home, base_urls, Timeouts(total_s=120), keys)
        asked = {"model": MODEL[provider], "prompt": COUNT, "temperature": 0, "max_tokens": 24} | asked
        label = next(self._labels)
        return call(here, self._registry, streaming=streaming, awaiting=awaiting, label=label, **asked)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, registry: ModelRegistry) -> Engine:
    return Engine(tmp_path_factory.mktemp("engine"), registry)


@either_way
@each_form
@each_format
def test_the_same_answer_comes_by_every_way(engine: Engine, provider: str, *, streaming: bool, awaiting: bool) -> None:
    outcome = engine.ask(provider, streaming=streaming, awaiting=awaiting)
    assert outcome.response is not None
    assert outcome.response.content == COUNTED
    assert outcome.response.finish_reason == "stop"
    assert "".join(outcome.pieces) == (COUNTED if streaming else "")
    assert len(outcome.pieces) > 1 or not streaming
    row = outcome.row
    assert (row["status"], row["input_tokens"], row["output_tokens"]) == ("ok", 37, 7)
    assert row["usage_source"] == "reported"


@each_form
@each_format
def test_a_stop_sequence_ends_the_answer_before_it(engine: Engine, provider: str, *, streaming: bool) -> None:
    outcome = engine.ask(provider, streaming=streaming, stop=["three"])
    assert outcome.response is not None
    assert (outcome.response.content, outcome.response.finish_reason) == ("One two ", "stop")


@each_form
@each_format
def test_an_answer_at_its_limit_says_so(engine: Engine, provider: str, *, streaming: bool) -> None:
    outcome = engine.ask(provider, streaming=streaming, max_tokens=3)
    assert outcome.response is not None
    assert outcome.response.finish_reason == "length"
    assert outcome.row["output_tokens"] == 3


@either_way
@each_form
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_prompt_beyond_the_window_is_the_callers_and_sent_once(
    engine: Engine, provider: str, *, streaming: bool, awaiting: bool
) -> None:
    outcome = engine.ask(provider, streaming=streaming, awaiting=awaiting, prompt="word " * 12_000)
    assert type(outcome.error) is errors.ContextLengthError
    assert outcome.error.exit_code == 2
    assert "8192 tokens" in outcome.error.message
    row = outcome.row
    assert (row["error"], row["http_status"], row["cost_picousd"]) == ("context", 400, 0)


def test_a_prompt_beyond_the_engines_own_window_is_not_even_sent(engine: Engine) -> None:
    outcome = engine.ask("builtin", streaming=False, prompt="word " * 12_000)
    assert outcome.error is not None
    assert outcome.error.exit_code == 2
    assert "window of 8192 tokens" in outcome.error.message
    assert outcome.rows == []


@each_form
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_wrong_key_needs_a_person(engine: Engine, provider: str, *, streaming: bool) -> None:
    outcome = engine.ask(provider, streaming=streaming, key="k-that-is-wrong-0123")
    assert type(outcome.error) is errors.AuthenticationError
    assert outcome.error.exit_code == 3
    assert (outcome.row["error"], outcome.row["http_status"]) == ("auth", 401)
