"""What leaves this machine: what it says, to whom, and that no key goes astray."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from llmroute import errors
from tests.providers import corpus, samples
from tests.providers.descriptions import faults
from tests.support.shell import rows, run
from tests.wire.calling import Outcome, call, config
from tests.wire.recorder import PATHS, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_httpx import HTTPXMock

    from llmroute.registry import ModelRegistry

MODEL = {
    "openai": "openai/gpt-4o",
    "anthropic": "anthropic/claude-haiku-4-5",
    "mistral": "mistral/mistral-small-latest",
    "together": "together/some-model",
    "ollama": "ollama/llama3.1",
}
FLAGS = ("-s", "Be kind.", "-t", "0.5", "--max-tokens", "9", "--stop", "A", "--stop", "B", "--no-fallback")

REMOTE = "https://models.example"

each_provider = pytest.mark.parametrize("provider", PATHS)


def key(provider: str) -> str:
    """A key that is found wherever it turns up, and that looks like none that is known."""
    return f"marked.{provider}.Zq7"


def settings(provider: str, url: str) -> dict[str, str]:
    name = provider.upper()
    return {f"{name}_BASE_URL": url, f"{name}_API_KEY": key(provider), f"{name}_ORGANIZATION": "org-1"}


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder() as running:
        yield running


@pytest.fixture
def mocked(httpx_mock: HTTPXMock) -> Recorder:
    """A provider elsewhere that is not really there; whatever is sent to any other address fails the test."""
    told = Recorder()
    httpx_mock.add_callback(told.respond, url=re.compile(re.escape(REMOTE) + "/.*"), is_reusable=True)
    return told


@dataclass(frozen=True)
class Here:
    """This machine: a home, the catalogue, and keys that can be found."""

    home: Path
    registry: ModelRegistry

    def ask(self, provider: str, *, streaming: bool, awaiting: bool, label: str, **asked: Any) -> Outcome:
        known = config(self.home, {provider: REMOTE}, keys={provider: key(provider)})
        assert key(provider) not in repr(known)
        model = MODEL[provider]
        return call(known, self.registry, streaming=streaming, awaiting=awaiting, label=label, model=model, **asked)


@pytest.fixture
def here(tmp_path: Path, registry: ModelRegistry) -> Here:
    return Here(tmp_path / "config", registry)


@corpus.needs_specs
@pytest.mark.parametrize("command", ["gen", "stream"])
@each_provider
def test_a_request_fits_its_publishers_description_and_bears_its_key(
    provider: str, command: str, recorder: Recorder, tmp_path: Path
) -> None:
    ran = run(command, "hi", "-m", MODEL[provider], *FLAGS, home=tmp_path, **settings(provider, recorder.url))
    assert (ran.code, ran.out, ran.err) == (0, "Hello\n", "")
    (request,) = recorder.asked
    assert (request.method, request.path) == ("POST", PATHS[provider])
    assert faults(provider, request.asked) == []
    assert (request.asked.get("stream") or False) is (command == "stream")
    headers = request.headers
    assert headers["content-type"] == "application/json"
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("llmroute/")
    assert "cookie" not in headers
    bearer = {"authorization": f"Bearer {key(provider)}"}
    own = {
        "anthropic": {"x-api-key": key(provider), "anthropic-version": "2026-10-21"},
        "openai": bearer | {"openai-organization": "org-1"},
    }
    names = ("authorization", "x-api-key", "anthropic-version", "openai-organization")
    assert {name: headers[name] for name in names if name in headers} == own.get(provider, bearer)


@pytest.mark.parametrize("awaiting", [pytest.param(False, id="blocking"), pytest.param(True, id="awaiting")])
@pytest.mark.parametrize("status", [302, 307])
@each_provider
def test_a_redirect_is_not_followed(
    provider: str, status: int, mocked: Recorder, here: Here, *, awaiting: bool
) -> None:
    mocked.status, mocked.body = status, b""
    mocked.headers = {"location": "https://elsewhere.example" + PATHS[provider]}
    outcome = here.ask(provider, streaming=False, awaiting=awaiting, label="moved")
    assert len(mocked.asked) == 1
    assert type(outcome.error) is errors.UnreachableError
    assert "redirect" in (outcome.error.hint or "")
    assert outcome.row["http_status"] == status


@pytest.mark.parametrize(
    ("provider", "address"),
    [
        ("openai", "http://192.0.2.1/v1"),
        ("anthropic", "http://127.0.0.1.example"),
        ("mistral", "HTTP://192.0.2.1"),
        ("together", "http://localhost.example/v1/"),
        ("ollama", "http://[2001:db8::1]:80"),
    ],
)
def test_no_key_goes_over_plain_http_to_another_machine(provider: str, address: str, tmp_path: Path) -> None:
    ran = run("gen", "hi", "-m", MODEL[provider], "--no-fallback", home=tmp_path, **settings(provider, address))
    assert (ran.code, ran.out) == (3, "")
    assert "plain http" in ran.err
    assert key(provider) not in ran.err
    assert not (tmp_path / "llmroute" / "ledger.db").exists()


def answers(secret: str) -> dict[str, tuple[int, dict[str, str], bytes | None]]:
    """Answers of every kind, by servers that repeat the key wherever they can."""
    told = f"the key {secret} may not do this"
    openai = json.dumps({"error": {"message": told, "type": secret, "code": secret, "param": secret}}).encode()
    made: dict[str, tuple[int, dict[str, str], bytes | None]] = {
        "answer": (200, {"x-request-id": secret}, None),
        "error in place of an answer": (200, {}, openai),
        "no JSON": (200, {}, told.encode()),
        "page": (502, {"content-type": "text/html"}, f"<html><title>{told}</title></html>".encode()),
        "redirect": (302, {"location": f"http://127.0.0.1:9/{secret}"}, told.encode()),
        "other form": (403, {}, json.dumps({"detail": told, "request_id": secret}).encode()),
        "list form": (422, {}, json.dumps({"detail": [{"loc": ["body", secret], "msg": told}]}).encode()),
        "text form": (404, {}, json.dumps({"error": told}).encode()),
    }
    for status in (400, 401, 402, 413, 429, 500, 529):
        made[str(status)] = (status, {"x-request-id": secret, "request-id": secret}, openai)
    return made


@pytest.mark.parametrize("streaming", [False, True])
@each_provider
def test_a_key_is_in_no_message_no_trace_and_no_row_whatever_a_server_repeats(
    provider: str, mocked: Recorder, here: Here, *, streaming: bool
) -> None:
    secret = key(provider)
    for label, (mocked.status, mocked.headers, mocked.body) in answers(secret).items():
        outcome = here.ask(provider, streaming=streaming, awaiting=False, label=label, max_attempts=1)
        headers = mocked.requests[-1].headers
        assert secret in (headers.get("authorization", "").removeprefix("Bearer "), headers.get("x-api-key"))
        error = outcome.error
        told = [*outcome.notes, *outcome.traces, repr(outcome.response)]
        if label != "answer":
            assert error is not None, label
            told += [str(error), repr(error), str(error.hint), repr(vars(error)), repr(error.attempts)]
        assert [text for text in told if secret in text] == [], label
        assert [row for row in outcome.rows if secret in repr(row)] == [], label
    assert outcome.traces
    for path in here.home.iterdir():
        assert secret.encode() not in path.read_bytes()


@pytest.mark.parametrize("status", [200, 401])
@each_provider
def test_the_program_under_debug_tells_no_key(provider: str, status: int, recorder: Recorder, tmp_path: Path) -> None:
    secret = key(provider)
    recorder.status, recorder.headers, recorder.body = (
        status,
        *answers(secret)["answer" if status == 200 else "401"][1:],
    )
    flags = ("--no-fallback", "--debug", "--json", "--meta", "told.json", "--timeout", "5")
    ran = run("gen", "hi", "-m", MODEL[provider], *flags, home=tmp_path, **settings(provider, recorder.url))
    assert ran.code == {200: 0, 401: 3}[status]
    assert "debug: " in ran.err
    assert recorder.asked
    assert rows(tmp_path)
    assert secret not in ran.out + ran.err
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"told.json", "ledger.db"} <= {path.name for path in kept}
    assert [path for path in kept if secret.encode() in path.read_bytes()] == []


@each_provider
def test_a_request_that_is_printed_hides_its_key(provider: str) -> None:
    request = samples.provider(provider).render_request(samples.prompt(), samples.model(provider))
    assert samples.KEY in str(request.headers)
    assert samples.KEY not in repr(request)
