"""Ollama as one lives with it: not started, not pulled, slow to load, silent when it cuts, not always local."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from llmroute import errors
from llmroute.config import Timeouts
from llmroute.service.api import LLMService
from llmroute.service.options import Options
from tests.shell import rows, run
from tests.wire.calling import call, config
from tests.wire.ollama_server import OllamaServer, Pulled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmroute.registry import ModelRegistry

MODEL = "ollama/llama3.1"
CLOUD = "gpt-oss:120b-cloud"
ALIAS = "mine:latest"

each_form = pytest.mark.parametrize("command", ["gen", "stream"])
either_way = pytest.mark.parametrize(
    "awaiting", [pytest.param(False, id="blocking"), pytest.param(True, id="awaiting")]
)


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with OllamaServer() as running:
        yield running


@pytest.fixture
def nobody() -> str:
    """An address of this machine at which nothing listens."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{line.getsockname()[1]}"


@each_form
def test_an_answer_comes_free_and_with_its_tokens(command: str, server: OllamaServer, tmp_path: Path) -> None:
    ran = run(command, "Why is the sky blue?", "-m", MODEL, home=tmp_path, OLLAMA_HOST=server.url)
    assert (ran.code, ran.out, ran.err) == (0, "Blue light scatters.\n", "")
    (row,) = rows(tmp_path)
    assert (row["status"], row["input_tokens"], row["output_tokens"], row["cost_picousd"]) == ("ok", 5, 3, 0)
    (chat,) = server.chats
    assert chat["stream"] is (command == "stream")


def test_a_server_that_is_not_running_comes_with_the_command_that_starts_it(nobody: str, tmp_path: Path) -> None:
    named = run("gen", "hi", "-m", MODEL, "--no-fallback", home=tmp_path, OLLAMA_HOST=nobody)
    assert (named.code, named.out) == (4, "")
    assert "`ollama serve`" in named.err
    (row,) = rows(tmp_path)
    assert (row["error"], row["cost_picousd"], row["http_status"]) == ("unreachable", 0, None)
    provider = run("gen", "hi", "-p", "ollama", "--no-fallback", home=tmp_path, OLLAMA_HOST=nobody)
    assert (provider.code, provider.out) == (3, "")
    assert "ollama serve" in provider.err


def test_a_server_elsewhere_that_does_not_answer_is_not_told_to_be_started_here() -> None:
    from llmroute.providers import Endpoint, connect

    here, there = connect("ollama", Endpoint()), connect("ollama", Endpoint(base_url="http://192.0.2.1:11434"))
    assert "ollama serve" in (here.unreachable_hint or "")
    assert there.unreachable_hint == "is Ollama running at http://192.0.2.1:11434?"


@each_form
def test_a_model_that_is_not_pulled_comes_with_the_command_that_pulls_it(
    command: str, server: OllamaServer, tmp_path: Path
) -> None:
    ran = run(command, "hi", "-m", "ollama/tinyllama:1b", "--no-fallback", home=tmp_path, OLLAMA_HOST=server.url)
    assert (ran.code, ran.out) == (3, "")
    assert "ollama pull tinyllama:1b" in ran.err
    assert len(ran.err.splitlines()) == 1
    assert server.chats == []
    (row,) = rows(tmp_path)
    assert (row["error"], row["http_status"]) == ("model_gone", 404)


@either_way
@pytest.mark.parametrize("streaming", [False, True])
def test_a_model_that_loads_slowly_is_waited_for(
    server: OllamaServer, registry: ModelRegistry, tmp_path: Path, *, streaming: bool, awaiting: bool
) -> None:
    server.load_s = 1.2
    here = config(tmp_path / "c", {"ollama": server.url}, Timeouts(first_token_s=0.6, slow_first_token_s=20))
    outcome = call(here, registry, streaming=streaming, awaiting=awaiting, label="slow", model=MODEL)
    assert outcome.error is None
    assert outcome.row["latency_ms"] >= 1200


@either_way
def test_a_model_that_never_loads_ends_at_the_slow_time_out(
    server: OllamaServer, registry: ModelRegistry, tmp_path: Path, *, awaiting: bool
) -> None:
    server.load_s = 2
    here = config(tmp_path / "c", {"ollama": server.url}, Timeouts(first_token_s=20, slow_first_token_s=0.2))
    outcome = call(here, registry, streaming=True, awaiting=awaiting, label="never", model=MODEL)
    assert type(outcome.error) is errors.ProviderTimeoutError
    assert outcome.row["error"] == "timeout"


@each_form
def test_a_prompt_that_is_cut_is_told_on_the_side(command: str, server: OllamaServer, tmp_path: Path) -> None:
    server.models["llama3.1:latest"] = Pulled(window=4096)
    ran = run(command, "-m", MODEL, home=tmp_path, stdin="word " * 8_000, OLLAMA_HOST=server.url)
    assert (ran.code, ran.out) == (0, "Blue light scatters.\n")
    (line,) = ran.err.splitlines()
    assert "4096 tokens" in line
    assert "cut" in line


@pytest.mark.parametrize(
    ("words", "window", "asked_for"),
    [
        (10, 131_072, (4_096, 8_192)),
        (8_000, 131_072, (10_000 + 4_096, 32_768)),
        (24_000, 131_072, (30_000 + 4_096, 65_536)),
        (24_000, 32_768, (32_768, 32_768)),
        (10, 2_048, (2_048, 2_048)),
    ],
)
def test_the_window_grows_with_the_prompt_up_to_the_models_own(
    words: int, window: int, asked_for: tuple[int, int], registry: ModelRegistry, tmp_path: Path
) -> None:
    with OllamaServer(models={"llama3.1:latest": Pulled(window=window)}) as server:
        here = config(tmp_path / "c", {"ollama": server.url})
        asked = {"model": MODEL, "prompt": "word " * words}
        call(here, registry, streaming=False, awaiting=False, label="grow", **asked)
        (chat,) = server.chats
    assert asked_for[0] <= chat["options"]["num_ctx"] <= asked_for[1]


def planned(service: LLMService, **asked: Any) -> list[str]:
    made = service.plan(Options(prompt="hi", local_only=True, **asked))
    return [entry.model.name for entry in made.entries if entry.model.provider == "ollama"]


@pytest.mark.parametrize("name", [CLOUD, ALIAS, "mine"])
def test_a_model_that_is_passed_on_to_the_cloud_is_not_local(name: str, server: OllamaServer, tmp_path: Path) -> None:
    server.models |= {CLOUD: Pulled(remote_host="https://ollama.com:443"), ALIAS: Pulled(remote_host="https://x")}
    ran = run("gen", "hi", "-m", f"ollama/{name}", "--local-only", home=tmp_path, OLLAMA_HOST=server.url)
    assert (ran.code, ran.out) == (2, "")
    assert "does not run on this machine" in ran.err
    assert server.chats == []
    free = run("gen", "hi", "-m", f"ollama/{name}", home=tmp_path, OLLAMA_HOST=server.url)
    assert free.code == 0


def test_local_only_takes_what_is_local(server: OllamaServer, tmp_path: Path) -> None:
    ran = run("gen", "hi", "-m", MODEL, "--local-only", home=tmp_path, OLLAMA_HOST=server.url)
    assert (ran.code, ran.out) == (0, "Blue light scatters.\n")


def test_a_server_that_cannot_say_where_a_model_runs_gets_no_private_text(nobody: str, tmp_path: Path) -> None:
    ran = run("gen", "hi", "-m", MODEL, "--local-only", home=tmp_path, OLLAMA_HOST=nobody)
    assert (ran.code, ran.out) == (3, "")
    assert "ollama serve" in ran.err


@pytest.mark.parametrize("address", ["http://192.0.2.1:11434", "https://ollama.com", "http://127.0.0.1.example:11434"])
def test_a_server_on_another_machine_is_not_local(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Up:
        """Says of any server that it has the model."""

        def open(self, *_arguments: object, **_settings: object) -> Up:
            self.status, self._rest = 200, [b'{"models":[{"name":"llama3.1:latest"}]}', b""]
            return self

        def read(self, _within_s: float) -> bytes:
            return self._rest.pop(0)

        def close(self) -> None:
            pass

    service = LLMService(config=config(tmp_path / "c", {"ollama": address}))
    monkeypatch.setattr(service._calls._local_models, "_sender", Up)
    with pytest.raises(errors.RequestError, match="does not run on this machine"):
        planned(service, model=MODEL)
    assert planned(service) == []
    service.close()
    near = LLMService(config=config(tmp_path / "c", {"ollama": "http://127.0.0.1:11434"}))
    monkeypatch.setattr(near._calls._local_models, "_sender", Up)
    assert planned(near, model=MODEL) == [MODEL]
    near.close()
