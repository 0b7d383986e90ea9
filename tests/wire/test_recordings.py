"""Every recorded exchange through the whole house: service, transport, sockets and ledger.

What was recorded at an address that is not called (/api/generate, /v1/completions) is replayed at the one that is:
its reader is the same.  What Ollama answered at /v1 goes through the OpenAI provider, with Ollama as its base URL.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from llmroute import errors
from llmroute.execution.accounting.settlement import GAVE_UP_STATUSES
from tests.providers import corpus
from tests.support.shell import run
from tests.wire.calling import Outcome, call, config
from tests.wire.replay import FRAMINGS, Replay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmroute.registry import ModelRegistry

pytestmark = corpus.needs_corpus

# Blocking or awaiting, and in which framings: both read through the same parser of HTTP.
WAYS = [
    pytest.param(False, FRAMINGS, id="blocking"),
    pytest.param(True, ("chunked",), id="awaiting"),
]


@dataclass(frozen=True)
class Stage:
    """What the module's tests share: the server, the catalogue, a home with a ledger."""

    replay: Replay
    registry: ModelRegistry
    home: Path

    def call(self, item: corpus.Item, framing: str, *, awaiting: bool) -> Outcome:
        provider = provider_of(item)
        return call(
            config(self.home, {provider: self.replay.url_of(item, framing)}),
            self.registry,
            streaming=item["streaming"],
            awaiting=awaiting,
            label=f"{item['id']} {framing} {awaiting}",
            model=f"{provider}/{model_of(item)}",
            # The recording is of one exchange: what would be asked again is asked once.
            max_attempts=1,
        )


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, registry: ModelRegistry) -> Iterator[Stage]:
    with Replay() as replay:
        yield Stage(replay, registry, tmp_path_factory.mktemp("recordings"))


def provider_of(item: corpus.Item) -> str:
    path: str = item["request"]["path"]
    return "openai" if item["provider"] == "ollama" and path.startswith("/v1/") else str(item["provider"])


def model_of(item: corpus.Item) -> str:
    body = item["request"].get("body")
    asked = json.loads(body) if isinstance(body, str) and body else body
    return str((asked or {}).get("model") or "a-model")


def wanted_fault(expect: dict[str, Any]) -> type[errors.AttemptError] | None:
    """Return what is wrong with a recorded answer, None where it is one."""
    if expect.get("stream_error"):
        return errors.TransientError
    if expect.get("incomplete"):
        return errors.BadOutputError
    if expect.get("refusal") or corpus.common_word(expect["finish_reason"]) == "content_filter":
        return errors.ContentError
    return None if expect["text"].strip() else errors.BadOutputError


def assert_tokens(row: dict[str, Any], expect: dict[str, Any]) -> None:
    told = {
        "input_tokens": expect["prompt_tokens"],
        "output_tokens": expect["completion_tokens"],
        "cached_input_tokens": expect["cached_tokens"],
        "reasoning_tokens": expect["reasoning_tokens"],
    }
    if told["input_tokens"] is None or told["output_tokens"] is None:
        assert row["usage_source"] == "estimated"
        assert None not in (row["input_tokens"], row["output_tokens"])
        assert told["input_tokens"] in (None, row["input_tokens"])
    else:
        assert {name: row[name] for name in told} == told
        assert row["usage_source"] == "reported"


def assert_answered(outcome: Outcome, expect: dict[str, Any], *, streaming: bool) -> None:
    assert outcome.error is None
    response, row = outcome.response, outcome.row
    assert response is not None
    assert response.content == expect["text"]
    assert "".join(outcome.pieces) == (expect["text"] if streaming else "")
    assert response.finish_reason == row["finish_reason"] == corpus.common_word(expect["finish_reason"])
    assert (row["status"], row["error"], row["http_status"]) == ("ok", None, 200)
    assert row["served_model"] == expect.get("model")
    assert_tokens(row, expect)
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens) == (row["input_tokens"], row["output_tokens"])
    assert (usage.cached_input_tokens, usage.reasoning_tokens) == (row["cached_input_tokens"], row["reasoning_tokens"])
    assert usage.source == row["usage_source"]
    assert [(attempt.status, attempt.http_status) for attempt in response.attempts] == [("ok", 200)]


def assert_failed(outcome: Outcome, wanted: type[errors.AttemptError], *, shown: str) -> None:
    assert outcome.response is None
    assert type(outcome.fault) is wanted, outcome.fault
    assert isinstance(outcome.error, errors.IncompleteAnswerError if shown else wanted)
    assert outcome.error.exit_code == (6 if shown else wanted.exit_code)
    assert "".join(outcome.pieces) == shown
    assert (outcome.row["status"], outcome.row["error"]) == ("partial" if shown else "failed", wanted.kind)
    assert [attempt.error for attempt in outcome.error.attempts] == [wanted.kind]


@pytest.mark.parametrize(("awaiting", "framings"), WAYS)
@pytest.mark.parametrize("item", corpus.params("chat"))
def test_a_recorded_answer_arrives_however_it_is_framed(
    item: corpus.Item, stage: Stage, framings: tuple[str, ...], *, awaiting: bool
) -> None:
    expect, streaming = item["expect"], item["streaming"]
    wanted = wanted_fault(expect)
    for framing in framings:
        outcome = stage.call(item, framing, awaiting=awaiting)
        if wanted is None:
            assert_answered(outcome, expect, streaming=streaming)
            continue
        broken_off = expect.get("stream_error") or expect.get("incomplete")
        # What came in one piece with the error has not been shown, and need not be: another may still answer.
        shown = "".join(outcome.pieces) if broken_off else expect["text"] if streaming else ""
        assert_failed(outcome, wanted, shown=shown)
        assert expect["text"].startswith(shown)
        if not broken_off:
            assert_tokens(outcome.row, expect)
        for name in corpus.tool_names(expect):
            assert name in str(outcome.error)


@pytest.mark.parametrize(("awaiting", "framings"), WAYS)
@pytest.mark.parametrize("item", corpus.params("error"))
def test_a_recorded_error_arrives_in_its_class(
    item: corpus.Item, stage: Stage, framings: tuple[str, ...], *, awaiting: bool
) -> None:
    expect = item["expect"]["error"]
    for framing in framings:
        outcome = stage.call(item, framing, awaiting=awaiting)
        assert_failed(outcome, corpus.error_class(item), shown="")
        error, row = outcome.error, outcome.row
        assert isinstance(error, errors.AttemptError)
        assert error.http_status == row["http_status"] == expect["status"]
        assert error.retry_after_s == expect["retry_after"]
        assert expect.get("request_id") in (None, row["provider_request_id"])
        if expect["status"] in GAVE_UP_STATUSES:
            assert row["usage_source"] == "estimated"
        else:
            assert (row["cost_picousd"], row["input_tokens"], row["output_tokens"]) == (0, None, None)


@pytest.mark.parametrize("item", corpus.params("models"))
def test_a_recorded_model_list_is_what_health_counts(item: corpus.Item, stage: Stage, tmp_path: Path) -> None:
    name = item["provider"].upper()
    for framing in FRAMINGS:
        settings = {f"{name}_BASE_URL": stage.replay.url_of(item, framing), f"{name}_API_KEY": "k-0123456789abcdef"}
        ran = run("health", "-p", item["provider"], "--json", home=tmp_path, **settings)
        told = json.loads(ran.out)["providers"][item["provider"]]
        chats = [m for m in item["expect"]["model_ids"] if "embed" not in m or item["provider"] != "mistral"]
        assert (ran.code, told["status"], told["models"]) == (0, "ok", len(chats))


@pytest.mark.parametrize("item", corpus.params("count_tokens"))
def test_a_count_of_tokens_is_not_taken_for_an_answer(item: corpus.Item, stage: Stage) -> None:
    outcome = stage.call(item, "whole", awaiting=False)
    assert type(outcome.error) is errors.BadOutputError
