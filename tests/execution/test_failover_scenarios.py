"""The sixteen scenarios of the public failover benchmark, over sockets, in each of the five wire formats.

Its times are scaled: what stalls for half a minute there does so for longer than the time-outs that are set here.
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.config import Timeouts
from llmroute.errors import ContentError, ContextLengthError, IncompleteAnswerError, RateLimitError
from llmroute.execution import flow
from llmroute.execution.accounting.ledger_access import LedgerAccess
from llmroute.execution.operations import Sleep
from llmroute.routing import fallback
from tests.support.fault_server import Pause, Reset, Script, chunk
from tests.support.wire_formats import (
    BACKUP,
    FORMATS,
    INPUT_TOKENS,
    MODEL,
    OUTPUT_TOKENS,
    answer,
    closing,
    error,
    head,
    new_home,
    opening,
    piece,
    provider_of,
    town,
    whole,
)
from tests.wire.calling import Outcome, call, config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from llmroute.registry import ModelRegistry
    from tests.support.wire_formats import Town

TEXT = "The first one said all of this."
OTHER = "The other one said all of this."
SHORT = Timeouts(total_s=20, connect_s=5, first_token_s=1.5, slow_first_token_s=1.5, stall_s=1.5)
HOMES = itertools.count()
SIXTY = [f"w{number} " for number in range(60)]

each_format = pytest.mark.parametrize("name", FORMATS)
either_form = pytest.mark.parametrize("streaming", [False, True], ids=["plain", "streamed"])


@dataclass
class Stage:
    """Five servers; `first` are the scripts of whoever is asked first, the last of them for ever."""

    town: Town | None = None
    name: str = ""
    streaming: bool = False
    home: Path | None = None
    registry: ModelRegistry | None = None
    first: list[Script] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    labels: Iterator[int] = field(default_factory=itertools.count)

    def behave(self, who: str, asked: dict[str, Any]) -> Script:
        streaming = bool(asked.get("stream"))
        if who != self.name:
            return answer(who, OTHER, streaming=streaming)
        with self.lock:
            return self.first.pop(0) if len(self.first) > 1 else self.first[0]

    def well(self) -> Script:
        return answer(self.name, TEXT, streaming=self.streaming)

    def ask(self, *, alone: bool = False, timeouts: Timeouts = SHORT, **asked: Any) -> Outcome:
        assert self.town is not None
        assert self.home is not None
        assert self.registry is not None
        others = {} if alone else {"fallback": [BACKUP[self.name]]}
        made = replace(config(self.home, self.town.urls, timeouts), enable_fallback=True)
        wanted: dict[str, Any] = {"model": MODEL[self.name], "max_tokens": 4, "enable_fallback": not alone}
        return call(
            made,
            self.registry,
            streaming=self.streaming,
            awaiting=False,
            label=str(next(self.labels)),
            **(wanted | others | asked),
        )

    def forget(self) -> None:
        """Remove the ledger, so that no circuit is open."""
        assert self.home is not None
        for path in self.home.rglob("ledger.db*"):
            path.unlink()

    def assert_text(self, outcome: Outcome, text: str) -> None:
        """The answer is there once, whole, and from whom it says."""
        assert outcome.response is not None, outcome.error
        assert outcome.response.content == text
        assert "".join(outcome.pieces) == (text if self.streaming else "")
        who = self.name if text == TEXT else provider_of(BACKUP[self.name])
        assert outcome.response.provider == who
        assert [row["status"] for row in outcome.rows] == ["failed"] * (len(outcome.rows) - 1) + ["ok"]


@pytest.fixture(scope="module")
def stage_of_all() -> Iterator[Stage]:
    from llmroute.registry import ModelRegistry

    made = Stage(registry=ModelRegistry())
    with town(made.behave) as running:
        made.town = running
        yield made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("homes")


@pytest.fixture
def stage(stage_of_all: Stage, name: str, streaming: bool, home: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(fallback, "RETRY_PAUSE_S", 0.02)
    monkeypatch.setattr(fallback, "SOON_S", 0.02)
    assert stage_of_all.town is not None
    stage_of_all.town.forget()
    stage_of_all.name, stage_of_all.streaming, stage_of_all.home = name, streaming, new_home(home / str(next(HOMES)))
    return stage_of_all


def limited(name: str, retry_after: str | None) -> Script:
    return error(name, 429, "Rate limit reached", headers={"retry-after": retry_after} if retry_after else None)


@either_form
@each_format
def test_01_a_rate_limit_with_a_short_wish_is_waited_for(stage: Stage) -> None:
    stage.first = [limited(stage.name, "0.2"), stage.well()]
    began = time.monotonic()
    outcome = stage.ask(alone=True)
    assert time.monotonic() - began >= 0.2
    stage.assert_text(outcome, TEXT)
    assert [row["error"] for row in outcome.rows] == ["rate_limit", None]
    stage.first = [limited(stage.name, "0.2"), stage.well()]
    stage.assert_text(stage.ask(), OTHER)


@either_form
@each_format
def test_02_a_rate_limit_for_ever_is_left_to_another(stage: Stage) -> None:
    stage.first = [limited(stage.name, None)]
    outcome = stage.ask()
    stage.assert_text(outcome, OTHER)
    assert len(outcome.rows) == 2
    alone = stage.ask(alone=True)
    assert [row["error"] for row in alone.rows] == ["rate_limit"] * 2
    assert isinstance(alone.error, RateLimitError)
    assert alone.error.exit_code == 4
    assert "try again in 30 s" in str(alone.error.hint)


@either_form
@each_format
def test_03_one_internal_error_is_asked_again(stage: Stage) -> None:
    stage.first = [error(stage.name, 500, "internal error"), stage.well()]
    outcome = stage.ask(alone=True)
    stage.assert_text(outcome, TEXT)
    assert [row["http_status"] for row in outcome.rows] == [500, 200]


@either_form
@each_format
def test_04_one_that_is_unavailable_is_left_to_another(stage: Stage) -> None:
    stage.first = [error(stage.name, 503, "unavailable")]
    outcome = stage.ask()
    stage.assert_text(outcome, OTHER)
    assert [row["http_status"] for row in outcome.rows] == [503, 200]


@either_form
@each_format
def test_05_a_reset_is_left_to_another_and_tried_once_more_where_there_is_none(stage: Stage) -> None:
    stage.first = [[Reset()], stage.well()]
    stage.assert_text(stage.ask(alone=True), TEXT)
    stage.first = [[Reset()]]
    stage.assert_text(stage.ask(), OTHER)


@either_form
@each_format
def test_06_no_reply_is_left_to_another_and_not_asked_again(stage: Stage) -> None:
    stage.first = [[Pause(60)]]
    outcome = stage.ask()
    stage.assert_text(outcome, OTHER)
    assert [row["error"] for row in outcome.rows] == ["timeout", None]


@pytest.mark.parametrize("streaming", [True], ids=["streamed"])
@each_format
def test_07_a_first_token_that_comes_too_late_is_left_to_another(stage: Stage) -> None:
    name = stage.name
    stage.first = [[head(name), opening(name), Pause(60), piece(name, TEXT), closing(name)]]
    outcome = stage.ask()
    stage.assert_text(outcome, OTHER)
    assert [row["error"] for row in outcome.rows] == ["timeout", None]


def forty_of_sixty(name: str) -> list[Any]:
    return [head(name), opening(name), *(piece(name, word) for word in SIXTY[:40]), Pause(0.1)]


def nonsense(name: str) -> bytes:
    return chunk(b"{nonsense\n" if name == "ollama" else b"data: {nonsense\n\n")


BREAKS: dict[str, Callable[[str], list[Any]]] = {
    "08 cut": lambda _name: [Reset()],
    "09 a stall": lambda _name: [Pause(60)],
    "10 a bad chunk": lambda name: [nonsense(name), closing(name)],
    "11 no terminator": lambda _name: [chunk(b"")],
}


@pytest.mark.parametrize("streaming", [True], ids=["streamed"])
@pytest.mark.parametrize("broken", BREAKS)
@each_format
def test_08_to_11_a_stream_that_breaks_is_never_spliced_and_whole_where_that_was_asked(
    stage: Stage, broken: str
) -> None:
    stage.first = [[*forty_of_sixty(stage.name), *BREAKS[broken](stage.name)]]
    outcome = stage.ask()
    assert isinstance(outcome.error, IncompleteAnswerError)
    assert outcome.error.exit_code == 6
    assert "".join(outcome.pieces) == "".join(SIXTY[:40])
    assert [row["status"] for row in outcome.rows] == ["partial"]
    assert stage.town is not None
    assert stage.town.bodies(provider_of(BACKUP[stage.name])) == []
    held = stage.ask(atomic=True)
    stage.assert_text(held, OTHER)
    assert held.rows[0]["output_tokens"] > 0, "what was written is counted, though nobody saw it"


@either_form
@each_format
def test_12_a_prompt_that_is_too_long_goes_to_a_larger_window_only(stage: Stage) -> None:
    stage.first = [error(stage.name, 400, "prompt is too long: 9 tokens > 8 maximum", "context_length_exceeded")]
    outcome = stage.ask()
    stage.assert_text(outcome, OTHER)
    assert [row["error"] for row in outcome.rows] == ["context", None]
    small = stage.ask(fallback=["mistral/ministral-3b-2512" if stage.name != "mistral" else "ollama/llama3.2"])
    wider = stage.name in ("ollama", "together")
    assert type(small.error) is ContextLengthError or wider
    assert stage.ask(alone=True).error is not None


@either_form
@each_format
def test_13_filtered_content_is_told_and_goes_elsewhere_only_when_that_was_asked(stage: Stage) -> None:
    stage.first = [error(stage.name, 400, "rejected by the content policy", "content_policy_violation")]
    outcome = stage.ask()
    assert isinstance(outcome.error, ContentError)
    assert outcome.error.exit_code == 6
    assert len(outcome.rows) == 1
    stage.assert_text(stage.ask(fallback_on="content"), OTHER)
    if stage.name != "ollama" and not stage.streaming:
        stage.first = [whole(stage.name, "", "content_filter")]
        assert isinstance(stage.ask().error, ContentError)
        stage.assert_text(stage.ask(fallback_on="content"), OTHER)


@pytest.mark.parametrize("streaming", [True], ids=["streamed"])
@each_format
def test_14_who_stands_in_gets_the_prompt_and_nothing_of_the_broken_answer(stage: Stage) -> None:
    stage.first = [[*forty_of_sixty(stage.name), Reset()]]
    stage.assert_text(stage.ask(atomic=True), OTHER)
    assert stage.town is not None
    [asked] = stage.town.bodies(provider_of(BACKUP[stage.name]))
    assert [message["role"] for message in asked["messages"]] == ["user"]
    assert "w1 " not in str(asked)


@either_form
@each_format
def test_15_one_that_flaps_is_left_alone_and_then_tried_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stage.town is not None
    stage.first = [error(stage.name, 503, "unavailable")]
    clock_ms = LedgerAccess.now_ms
    for _ in range(3):
        stage.assert_text(stage.ask(), OTHER)
    stage.town.forget()
    stage.assert_text(stage.ask(), OTHER)
    assert stage.town.bodies(stage.name) == [], "it failed three times and is left alone"
    stage.first = [stage.well()]
    monkeypatch.setattr(LedgerAccess, "now_ms", lambda access: clock_ms(access) + 61_000)
    stage.assert_text(stage.ask(), TEXT)
    monkeypatch.setattr(LedgerAccess, "now_ms", clock_ms)
    stage.assert_text(stage.ask(), TEXT)


@either_form
@each_format
def test_16_a_fallback_is_accounted_for_attempt_by_attempt(stage: Stage) -> None:
    stage.first = [error(stage.name, 503, "unavailable", headers={"x-should-retry": "false"})]
    outcome = stage.ask()
    stage.assert_text(outcome, OTHER)
    failed, answered = outcome.rows
    assert outcome.response is not None
    assert (failed["provider"], failed["cost_picousd"], failed["input_tokens"]) == (stage.name, 0, None)
    assert (answered["input_tokens"], answered["output_tokens"]) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert answered["usage_source"] == "reported"
    assert answered["cost_picousd"] > 0
    assert outcome.response.cost_usd == answered["cost_usd"]
    assert [attempt.status for attempt in outcome.response.attempts] == ["failed", "ok"]
    assert (failed["attempt"], answered["attempt"]) == (1, 2)
    assert failed["request_id"] == answered["request_id"] == outcome.response.request_id
    assert any(note.startswith(MODEL[stage.name]) and BACKUP[stage.name] in note for note in outcome.notes)


LEFT_AT_ONCE: dict[str, Callable[[str], Script]] = {
    "a refused key": lambda name: error(name, 401, "Incorrect API key", "invalid_api_key"),
    "a model that is gone": lambda name: error(name, 404, "The model `x` does not exist", "model_not_found"),
    "unavailable": lambda name: error(name, 503, "unavailable"),
    "a rate limit of 20 s": lambda name: limited(name, "20"),
}


@pytest.mark.parametrize("failure", LEFT_AT_ONCE)
@either_form
@each_format
def test_another_answers_without_a_wait(stage: Stage, failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waits_s: list[float] = []

    def recorded(seconds: float) -> Sleep:
        waits_s.append(seconds)
        return Sleep(seconds)

    monkeypatch.setattr(flow, "Sleep", recorded)
    stage.first = [LEFT_AT_ONCE[failure](stage.name)]
    outcome = stage.ask()
    stage.assert_text(outcome, OTHER)
    assert (len(outcome.rows), waits_s) == (2, [])
    if failure == "unavailable":
        stage.first = [LEFT_AT_ONCE[failure](stage.name), stage.well()]
        stage.forget()
        stage.assert_text(stage.ask(alone=True), TEXT)
        assert len(waits_s) == 1, "what there is no other for is waited for"
