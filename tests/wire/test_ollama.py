"""Ollama as one lives with it: not started, not pulled, slow to load, silent when it cuts, not always local."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from llmroute import errors
from llmroute.config import Timeouts
from llmroute.request.options import Options
from llmroute.service.client import LLMService
from llmroute.transport.exchange import BlockingExchange
from tests.support.fault_server import closed_port
from tests.support.ollama_server import OllamaServer, Pulled
from tests.support.shell import rows, run
from tests.support.waiting import patient_with_the_local_server
from tests.wire.calling import call, config

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
    with patient_with_the_local_server(), OllamaServer() as running:
        yield running


@pytest.fixture
def nobody() -> str:
    """An address of this machine at which nothing listens."""
    return f"127.0.0.1:{closed_port()}"


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
    server.load_s = 30
    here = config(tmp_path / "c", {"ollama": server.url}, Timeouts(first_token_s=20, slow_first_token_s=0.2))
    outcome = call(here, registry, streaming=True, awaiting=awaiting, label="never", model=MODEL)
    assert type(outcome.error) is errors.ProviderTimeoutError
    assert outcome.row["error"] == "timeout"


@each_form
@pytest.mark.parametrize("name", ["llama3.1", "unlisted:7b"])
def test_a_prompt_that_cannot_fit_the_models_own_window_goes_nowhere(
    command: str, name: str, server: OllamaServer, tmp_path: Path
) -> None:
    server.models[name if ":" in name else f"{name}:latest"] = Pulled(window=4096)
    ran = run(command, "-m", f"ollama/{name}", home=tmp_path, stdin="word " * 8_000, OLLAMA_HOST=server.url)
    assert (ran.code, ran.out, server.chats) == (2, "", [])
    assert "too long for its context window of 4096 tokens" in ran.err


@either_way
@pytest.mark.parametrize("streaming", [False, True])
def test_a_window_that_is_told_at_the_last_moment_binds_too(
    server: OllamaServer, registry: ModelRegistry, tmp_path: Path, *, streaming: bool, awaiting: bool
) -> None:
    # Its list cannot be read, so that the plan has nothing to go by.
    server.models = {"llama3.1:latest": Pulled(window=4096)}
    server.tags = (200, b"<html>")
    asked = {"model": MODEL, "prompt": "word " * 8_000}
    here = config(tmp_path / "c", {"ollama": server.url})
    outcome = call(here, registry, streaming=streaming, awaiting=awaiting, label="late", **asked)
    assert type(outcome.error) is errors.ContextLengthError
    assert (outcome.row["error"], outcome.row["cost_picousd"], server.chats) == ("context", 0, [])


def test_a_model_that_is_too_small_is_passed_over_for_the_next(server: OllamaServer, tmp_path: Path) -> None:
    server.models = {"small:1b": Pulled(window=4096), "large:1b": Pulled(window=65_536)}
    asked = ("gen", "--fallback", "ollama/small:1b", "--fallback", "ollama/large:1b")
    prompt = "word " * 8_000
    planned = run(*asked, "--dry-run", home=tmp_path, stdin=prompt, OLLAMA_HOST=server.url)
    assert "ollama/small:1b" in planned.out
    assert "too long" in planned.out
    ran = run(*asked, home=tmp_path, stdin=prompt, OLLAMA_HOST=server.url)
    assert (ran.code, [chat["model"] for chat in server.chats]) == (0, ["large:1b"])


@pytest.mark.parametrize(
    ("flags", "settings"),
    [(("--strategy", "local_first"), {}), ((), {"LLM_PREFER_LOCAL": "true"})],
    ids=["flag", "setting"],
)
def test_a_local_model_comes_first_only_if_it_holds_the_prompt(
    flags: tuple[str, ...], settings: dict[str, str], server: OllamaServer, tmp_path: Path
) -> None:
    server.models = {"small:1b": Pulled(window=4096)}
    settings = {**settings, "OLLAMA_HOST": server.url, "OPENAI_API_KEY": "sk-x"}
    first = [
        json.loads(run("gen", *flags, "--dry-run", "--json", home=tmp_path, stdin="word " * words, **settings).out)
        for words in (3, 8_000)
    ]
    assert first[0]["candidates"][0]["model"] == "small:1b"
    assert {each["provider"] for each in first[1]["candidates"]} == {"openai"}


def test_where_every_window_is_too_small_the_request_is_at_fault(server: OllamaServer, tmp_path: Path) -> None:
    server.models = {"small:1b": Pulled(window=4096)}
    ran = run("gen", "--fallback", "ollama/small:1b", home=tmp_path, stdin="word " * 8_000, OLLAMA_HOST=server.url)
    assert (ran.code, ran.out, server.chats) == (2, "", [])
    assert "too long" in ran.err


@each_form
def test_numbers_are_read_whole(command: str, server: OllamaServer, tmp_path: Path) -> None:
    server.models["llama3.1:latest"] = Pulled(window=32_768, bytes_per_token=1)
    table = "\n".join(f"{row},{row * 7919 % 1000}.{row % 90 + 10},{row * 31 % 97}" for row in range(700))
    ran = run(command, "-m", MODEL, "--max-tokens", "100", home=tmp_path, stdin=table, OLLAMA_HOST=server.url)
    assert (ran.code, ran.err) == (0, "")
    (row,) = rows(tmp_path)
    assert row["input_tokens"] == len(table)


def test_a_prompt_that_was_cut_is_asked_again_for_a_window_that_holds_it(server: OllamaServer, tmp_path: Path) -> None:
    server.models["llama3.1:latest"] = Pulled(window=131_072, bytes_per_token=1)
    text = "word " * 4_000
    ran = run("gen", "-m", MODEL, "--json", home=tmp_path, stdin=text, OLLAMA_HOST=server.url)
    told = json.loads(ran.out)
    assert (ran.code, ran.err, told["prompt_cut"]) == (0, "", None)
    assert told["usage"]["input_tokens"] == len(text)
    assert server.windows == [16_384, 32_768]
    (row,) = rows(tmp_path)
    assert (row["status"], row["input_tokens"]) == ("ok", len(text))


@each_form
def test_a_cut_that_remains_is_told_in_quiet_too_and_is_in_the_json(
    command: str, server: OllamaServer, tmp_path: Path
) -> None:
    server.models["llama3.1:latest"] = Pulled(window=16_384, bytes_per_token=1)
    text = "word " * 4_000
    for quiet in ([], ["-q"]):
        ran = run(command, "-m", MODEL, *quiet, home=tmp_path, stdin=text, OLLAMA_HOST=server.url)
        assert (ran.code, ran.out) == (0, "Blue light scatters.\n")
        (line,) = ran.err.splitlines()
        assert "16384 tokens" in line
        assert "cut" in line
    ran = run(command, "-m", MODEL, "-q", "--json", home=tmp_path, stdin=text, OLLAMA_HOST=server.url)
    assert "16384 tokens" in json.loads(ran.out.splitlines()[-1])["prompt_cut"]
    assert set(server.windows) == {16_384}


def test_a_cut_that_remains_is_in_the_ledger_in_its_lists_and_in_its_copies(
    server: OllamaServer, tmp_path: Path
) -> None:
    server.models["llama3.1:latest"] = Pulled(window=16_384, bytes_per_token=1)
    cuts = []
    for text in ("hi", "word " * 4_000):
        ran = run("gen", "-m", MODEL, "-q", "--json", home=tmp_path, stdin=text, OLLAMA_HOST=server.url)
        cuts.append(json.loads(ran.out)["prompt_cut"])
    assert [cut is None for cut in cuts] == [True, False]
    assert run("costs", "backup", "copy.db", home=tmp_path).code == 0
    assert run("costs", "restore", "copy.db", home=tmp_path).code == 0
    assert [row["prompt_cut"] for row in rows(tmp_path)] == cuts
    assert [row["prompt_cut"] for row in json.loads(run("costs", "calls", "--json", home=tmp_path).out)] == cuts
    exported = run("costs", "export", "-", "--format", "jsonl", home=tmp_path).out.splitlines()
    assert [json.loads(line)["prompt_cut"] for line in exported] == cuts
    listed = run("costs", "calls", home=tmp_path).out.splitlines()[-2:]
    assert ["ok, prompt cut" in line for line in listed] == [False, True]


def test_a_batch_counts_the_prompts_that_were_cut(server: OllamaServer, tmp_path: Path) -> None:
    server.models["llama3.1:latest"] = Pulled(window=16_384, bytes_per_token=1)
    lines = "".join(json.dumps({"prompt": text}) + "\n" for text in ("hi", "word " * 4_000))
    batch = ("gen", "--batch", "-", "-m", MODEL, "-o", str(tmp_path / "out.jsonl"), "--meta", str(tmp_path / "meta"))
    ran = run(*batch, "-q", home=tmp_path, stdin=lines, OLLAMA_HOST=server.url)
    assert (ran.code, ran.err) == (
        0,
        "llmroute: 1 with a prompt that the model truncated (prompt_cut in the results)\n",
    )
    told = [json.loads(line)["prompt_cut"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [cut is None for cut in told] == [True, False]
    assert json.loads((tmp_path / "meta").read_text())["prompts_cut"] == 1


def test_an_answer_to_a_cut_prompt_stands_when_the_wider_window_cannot_be_had(tmp_path: Path) -> None:
    with OllamaServer(
        models={"llama3.1:latest": Pulled(window=131_072, bytes_per_token=1)}, most_window=16_384
    ) as server:
        text = "word " * 4_000
        ran = run("gen", "-m", MODEL, home=tmp_path, stdin=text, OLLAMA_HOST=server.url)
    assert (ran.code, ran.out) == (0, "Blue light scatters.\n")
    assert "cut" in ran.err
    (row,) = rows(tmp_path)
    assert (row["status"], row["http_status"], row["input_tokens"]) == ("ok", 200, 16_384)


def test_limits_are_asked_for_once_and_anew_when_the_model_is_another(server: OllamaServer, tmp_path: Path) -> None:
    for _ in range(2):
        assert run("gen", "hi", "-m", MODEL, home=tmp_path, OLLAMA_HOST=server.url).code == 0
    assert server.shows == ["llama3.1"]
    server.models["llama3.1:latest"] = Pulled(parameters="num_ctx                        6000", digest="1" * 64)
    assert run("gen", "hi", "-m", MODEL, home=tmp_path, OLLAMA_HOST=server.url).code == 0
    assert len(server.shows) == 2
    assert server.windows == [8_192, 8_192, 6_000]
    server.models["llama3.1:latest"] = Pulled(window=32_768, parameters="num_ctx 16384", digest="2" * 64)
    assert run("gen", "hi", "-m", MODEL, home=tmp_path, OLLAMA_HOST=server.url).code == 0
    assert server.windows[-1] == 16_384


def test_a_model_is_not_loaded_again_for_a_shorter_prompt(server: OllamaServer, tmp_path: Path) -> None:
    server.models["llama3.1:latest"] = Pulled(window=131_072)
    for words in (10, 8_000, 10, 9_000, 100, 5_000):
        ran = run("gen", "-m", MODEL, home=tmp_path, stdin="word " * words, OLLAMA_HOST=server.url)
        assert ran.code == 0
    assert server.windows == [8_192] + [32_768] * 5


@pytest.mark.parametrize("show", [(404, b"404 page not found"), (405, b""), (501, b"{}"), (200, b"<html>")])
def test_a_server_that_tells_no_limits_is_used_all_the_same(
    show: tuple[int, bytes], server: OllamaServer, tmp_path: Path
) -> None:
    server.show = show
    ran = run("gen", "hi", "-m", MODEL, home=tmp_path, OLLAMA_HOST=server.url)
    assert (ran.code, ran.out, ran.err) == (0, "Blue light scatters.\n", "")


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


def test_a_model_that_only_the_server_knows_is_named_bare(server: OllamaServer, tmp_path: Path) -> None:
    server.models |= {"mymodel:latest": Pulled(window=16_384), "qwen3:4b": Pulled(), "team/tuned:q4": Pulled()}
    for name in ("mymodel", "qwen3:4b", "team/tuned:q4"):
        ran = run("gen", "hi", "-m", name, home=tmp_path, OLLAMA_HOST=server.url)
        assert (ran.code, ran.out, ran.err) == (0, "Blue light scatters.\n", ""), name
        shown = run("models", "show", name, "--json", home=tmp_path, OLLAMA_HOST=server.url)
        assert json.loads(shown.out)["provider"] == "ollama"
    assert [chat["model"] for chat in server.chats] == ["mymodel", "qwen3:4b", "team/tuned:q4"]
    unknown = run("gen", "hi", "-m", "yourmodel", home=tmp_path, OLLAMA_HOST=server.url)
    assert (unknown.code, unknown.out) == (2, "")
    assert "unknown model 'yourmodel'" in unknown.err


@pytest.mark.parametrize("flags", [["--live"], []])
def test_models_that_are_pulled_are_listed_with_their_own_limits(
    flags: list[str], server: OllamaServer, tmp_path: Path
) -> None:
    server.models = {
        "mymodel:latest": Pulled(window=16_384, capabilities=("completion", "tools", "thinking")),
        "llama3.1:latest": Pulled(window=65_536, capabilities=("completion", "vision")),
    }
    ran = run("models", *flags, "--json", "-p", "ollama", home=tmp_path, OLLAMA_HOST=server.url)
    found = {row["id"].removesuffix(":latest"): row for row in json.loads(ran.out)}
    mine, listed = found["mymodel"], found["llama3.1"]
    assert (mine["context_window"], mine["available"]) == (16_384, True)
    assert mine["capabilities"] == ["function_calling", "json", "reasoning"]
    assert listed["context_window"] == 65_536
    assert "vision" in listed["capabilities"]


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
    class Up(BlockingExchange):
        """Says of any server that it has the model."""

        def open(self, *_arguments: object, **_settings: object) -> Up:
            self.status, self._rest = 200, [b'{"models":[{"name":"llama3.1:latest"}]}', b""]
            return self

        def read(self, _within_s: float) -> bytes:
            return self._rest.pop(0)

        def close(self) -> None:
            pass

    service = LLMService(config=config(tmp_path / "c", {"ollama": address}))
    monkeypatch.setattr(service.core.models.local_models, "_sender", Up)
    with pytest.raises(errors.RequestError, match="does not run on this machine"):
        planned(service, model=MODEL)
    assert planned(service) == []
    service.close()
    near = LLMService(config=config(tmp_path / "c", {"ollama": "http://127.0.0.1:11434"}))
    monkeypatch.setattr(near.core.models.local_models, "_sender", Up)
    assert planned(near, model=MODEL) == [MODEL]
    near.close()
