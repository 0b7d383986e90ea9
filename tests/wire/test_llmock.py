"""Against a mock of the providers that others wrote, which fails on command and judges how its client bore it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from llmock.simulation import estimate_tokens

from llmroute import errors
from llmroute.config import Timeouts
from llmroute.routing import fallback
from tests.wire.calling import Outcome, call, config

if TYPE_CHECKING:
    from pathlib import Path

    from llmock.pytest_plugin import LLMock

    from llmroute.registry import ModelRegistry

PROVIDERS = ("openai", "anthropic", "mistral", "together")
LABELS = itertools.count()
ANSWER = "The sky is blue, for air scatters blue light most."
MODEL = {
    "openai": "openai/gpt-4o-mini",
    "anthropic": "anthropic/claude-haiku-4-5",
    "mistral": "mistral/mistral-small-latest",
    "together": "together/some-model",
}
# The chunks that come before the first text: a role, or the start of a message and of its block.
BEFORE_TEXT = {"openai": 1, "anthropic": 1, "mistral": 1, "together": 1}
AFTER_TEXT = {"openai": 4, "anthropic": 5, "mistral": 4, "together": 4}

either_way = pytest.mark.parametrize(
    "awaiting", [pytest.param(False, id="blocking"), pytest.param(True, id="awaiting")]
)
each_form = pytest.mark.parametrize("streaming", [pytest.param(False, id="gen"), pytest.param(True, id="stream")])
each_provider = pytest.mark.parametrize("provider", PROVIDERS)


class Client:
    """Calls the mock as one provider."""

    def __init__(self, mock: LLMock, home: Path, registry: ModelRegistry) -> None:
        self.mock = mock
        self.home = home
        self.registry = registry
        self.label = str(next(LABELS))
        self.timeouts = Timeouts(total_s=10, connect_s=2, first_token_s=5, stall_s=5)

    def ask(
        self, provider: str, *, streaming: bool = False, awaiting: bool = False, base_url: str | None = None
    ) -> Outcome:
        here = config(self.home, {provider: base_url or self.mock.base_url(provider)}, self.timeouts)
        return call(
            here, self.registry, streaming=streaming, awaiting=awaiting, label=self.label, model=MODEL[provider]
        )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose ledger all tests share: each finds its own rows."""
    return tmp_path_factory.mktemp("llmock")


@pytest.fixture
def client(llmock: LLMock, home: Path, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(fallback, "RETRY_PAUSE_S", 0.02)
    llmock.reply(ANSWER, times=None)
    return Client(llmock, home, registry)


def sent(client: Client) -> int:
    return len(client.mock.requests)


@either_way
@each_form
@each_provider
def test_an_answer_comes_with_its_usage(client: Client, provider: str, *, streaming: bool, awaiting: bool) -> None:
    outcome = client.ask(provider, streaming=streaming, awaiting=awaiting)
    assert outcome.response is not None
    assert outcome.response.content == ANSWER
    assert outcome.response.finish_reason == "stop"
    assert "".join(outcome.pieces) == (ANSWER if streaming else "")
    # The mock tells no usage in these two streams, unlike those whom it stands for.
    untold = streaming and provider in ("mistral", "together")
    assert outcome.row["usage_source"] == ("estimated" if untold else "reported")
    if not untold:
        assert outcome.row["input_tokens"] == estimate_tokens("Say hello.")
        assert outcome.row["output_tokens"] == estimate_tokens(ANSWER)
    if streaming:
        assert len(outcome.pieces) > 1
        assert outcome.row["ttft_ms"] is not None
    client.mock.assert_resilient(strict=True)


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
@each_provider
def test_a_base_url_is_taken_with_and_without_version_and_slash(client: Client, provider: str, end: str) -> None:
    outcome = client.ask(provider, base_url=client.mock.base_url(provider).removesuffix("/v1") + end)
    assert outcome.error is None
    assert client.mock.last_request.path.count("/v1/") == 1


@either_way
@each_form
@each_provider
def test_a_short_wish_to_wait_is_heeded(client: Client, provider: str, *, streaming: bool, awaiting: bool) -> None:
    client.mock.rate_limit(times=1, retry_after=0.15)
    outcome = client.ask(provider, streaming=streaming, awaiting=awaiting)
    assert outcome.error is None
    assert [(row["status"], row["error"], row["http_status"]) for row in outcome.rows] == [
        ("failed", "rate_limit", 429),
        ("ok", None, 200),
    ]
    client.mock.assert_resilient(strict=True)


@each_provider
def test_a_wish_to_wait_beyond_the_deadline_is_told_at_once(client: Client, provider: str) -> None:
    client.mock.rate_limit(times=None, retry_after=60)
    outcome = client.ask(provider)
    assert type(outcome.error) is errors.RateLimitError
    assert outcome.error.retry_after_s == 60
    assert sent(client) == 1
    client.mock.assert_resilient()


@either_way
@each_form
@each_provider
def test_a_fault_that_passes_is_borne(client: Client, provider: str, *, streaming: bool, awaiting: bool) -> None:
    status = 529 if provider == "anthropic" else 503
    client.mock.fail(status, times=1, retry_after=0.1)
    outcome = client.ask(provider, streaming=streaming, awaiting=awaiting)
    assert outcome.error is None
    assert [row["http_status"] for row in outcome.rows] == [status, 200]
    client.mock.assert_resilient(strict=True)


@each_provider
def test_an_outage_is_no_storm(client: Client, provider: str) -> None:
    client.mock.fail(500, times=None)
    outcome = client.ask(provider)
    assert isinstance(outcome.error, errors.AllProvidersFailedError)
    assert outcome.error.exit_code == 4
    assert [row["status"] for row in outcome.rows] == ["failed"] * sent(client) == ["failed"] * 2
    client.mock.assert_resilient(strict=True)


@each_form
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequestError),
        (401, errors.AuthenticationError),
        (403, errors.AuthenticationError),
        (404, errors.ModelGoneError),
        (422, errors.BadRequestError),
    ],
)
@each_provider
def test_what_no_repetition_mends_is_sent_once(
    client: Client, provider: str, status: int, kind: type[errors.AttemptError], *, streaming: bool
) -> None:
    client.mock.fail(status, times=None)
    outcome = client.ask(provider, streaming=streaming)
    assert type(outcome.error) is kind
    assert outcome.row["cost_picousd"] == 0
    assert sent(client) == 1
    client.mock.assert_resilient()


@each_provider
def test_a_prompt_that_is_too_long_is_the_callers(client: Client, provider: str) -> None:
    client.mock.context_overflow(times=None)
    outcome = client.ask(provider)
    assert type(outcome.error) is errors.ContextLengthError
    assert outcome.error.exit_code == 2
    assert sent(client) == 1


@either_way
@pytest.mark.parametrize("fault", ["truncate", "corrupt", "disconnect"])
@each_provider
def test_a_stream_that_breaks_before_its_first_text_is_asked_for_again(
    client: Client, provider: str, fault: str, *, awaiting: bool
) -> None:
    getattr(client.mock, fault)(after_chunks=BEFORE_TEXT[provider])
    outcome = client.ask(provider, streaming=True, awaiting=awaiting)
    assert outcome.error is None
    assert "".join(outcome.pieces) == ANSWER
    assert [row["status"] for row in outcome.rows] == ["failed", "ok"]
    # A corrupt stream is whole to the judge, who does not see that it was asked for again.
    client.mock.assert_resilient(strict=fault != "corrupt")


@either_way
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("truncate", errors.BadOutputError),
        ("corrupt", errors.BadOutputError),
        ("disconnect", errors.UnreachableError),
    ],
)
@each_provider
def test_a_stream_that_breaks_after_text_was_shown_is_incomplete_and_never_spliced(
    client: Client, provider: str, fault: str, kind: type[errors.AttemptError], *, awaiting: bool
) -> None:
    # Paced, so that the text is shown before the fault comes.
    getattr(client.mock.pace(20), fault)(after_chunks=AFTER_TEXT[provider])
    outcome = client.ask(provider, streaming=True, awaiting=awaiting)
    assert isinstance(outcome.error, errors.IncompleteAnswerError)
    assert outcome.error.exit_code == 6
    assert type(outcome.fault) is kind
    shown = "".join(outcome.pieces)
    assert shown
    assert ANSWER.startswith(shown)
    assert shown != ANSWER
    row = outcome.row
    assert (row["status"], row["usage_source"]) == ("partial", "estimated")
    assert row["output_tokens"] > 0
    assert sent(client) == 1


@either_way
@each_provider
def test_a_stall_ends_at_its_time_out(client: Client, provider: str, *, awaiting: bool) -> None:
    client.timeouts = Timeouts(total_s=10, first_token_s=5, stall_s=0.5)
    client.mock.pace(20).stall(after_chunks=AFTER_TEXT[provider], seconds=30)
    outcome = client.ask(provider, streaming=True, awaiting=awaiting)
    assert isinstance(outcome.error, errors.IncompleteAnswerError)
    assert type(outcome.fault) is errors.ProviderTimeoutError
    assert outcome.pieces
    client.mock.assert_resilient(strict=True)


@either_way
@each_provider
def test_no_first_token_ends_at_its_own_time_out(client: Client, provider: str, *, awaiting: bool) -> None:
    client.timeouts = Timeouts(total_s=10, first_token_s=0.2, stall_s=5)
    client.mock.slow_first_token(30, times=None)
    outcome = client.ask(provider, streaming=True, awaiting=awaiting)
    assert type(outcome.error) is errors.ProviderTimeoutError
    assert outcome.pieces == []
    assert sent(client) == 1


@each_form
@each_provider
def test_a_tool_that_is_called_in_place_of_an_answer_is_named(
    client: Client, provider: str, *, streaming: bool
) -> None:
    client.mock.reset().call_tool("get_weather", {"city": "Paris"}, times=None)
    outcome = client.ask(provider, streaming=streaming)
    assert outcome.error is not None
    assert outcome.error.exit_code == 6
    assert "get_weather" in str(outcome.error)
    assert {row["error"] for row in outcome.rows} == {"bad_output"}


@each_form
@pytest.mark.parametrize(("down", "up"), [("openai", "anthropic"), ("mistral", "openai"), ("anthropic", "together")])
def test_another_provider_answers_for_one_that_is_down(
    client: Client, down: str, up: str, tmp_path: Path, *, streaming: bool
) -> None:
    client.mock.fail(500, times=None, provider=down)
    # A ledger of its own: what other tests met with this provider is not to be remembered here.
    here = config(tmp_path, {name: client.mock.base_url(name) for name in (down, up)}, client.timeouts)
    outcome = call(
        replace(here, enable_fallback=True),
        client.registry,
        streaming=streaming,
        awaiting=False,
        label=client.label,
        model=MODEL[down],
    )
    assert outcome.response is not None
    assert (outcome.response.provider, outcome.response.content) == (up, ANSWER)
    assert [(row["provider"], row["status"]) for row in outcome.rows] == [(down, "failed"), (up, "ok")]
    assert any(note.startswith(f"{down}/") and "500" in note for note in outcome.notes)
    # Strictly it would want the first provider called again, where another has answered at once.
    client.mock.assert_resilient()
