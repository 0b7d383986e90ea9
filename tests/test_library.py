"""The library as its README shows it: each snippet runs, and a user's type checker passes it."""

from __future__ import annotations

import ast
import asyncio
import re
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import llmroute
from llmroute.service import choices, options
from llmroute.service.options import Options
from tests.fault_server import closed_port
from tests.model_server import ModelServer
from tests.shell import environment, rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).parents[1]
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
ANSWERING, STREAMING, IN_BULK, LOOKING, TRACKING, BLOCKING, OWN_CLIENT, LOGGING, TESTING, TESTING_ALONE = range(10)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def run_snippet(number: int, home: Path, server: ModelServer) -> str:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", SNIPPETS[number]],
        env=environment(home, **server.settings),
        cwd=home,
        capture_output=True,
        timeout=60,
        check=False,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_a_program_gets_an_answer_and_its_bill(server: ModelServer, tmp_path: Path) -> None:
    told = run_snippet(ANSWERING, tmp_path, server).splitlines()
    assert told[0] == "one two three"
    (row,) = rows(tmp_path)
    assert (row["workspace"], row["execution"], row["task"]) == ("workspace-123", "nightly-1", "analysis")
    assert told[1].split()[:3] == [row["provider"], row["model"], str(row["cost_usd"])]
    days = run_snippet(TRACKING, tmp_path, server).splitlines()
    assert days[0] == f"{row['cost_usd']} {row['input_tokens'] + row['output_tokens']} 1"
    assert days[1] == f"{row['provider']} {row['model']} {row['cost_usd']}"
    assert days[2].endswith(f" {row['cost_usd']}")


def test_what_a_provider_answers_becomes_the_error_that_the_program_catches(tmp_path: Path) -> None:
    from tests.fault_server import serving
    from tests.service.servers import openai_error

    for status, said in ((429, "try again in"), (401, "openai ")):
        home = tmp_path / str(status)
        home.mkdir()
        with serving([openai_error(status)]) as faulty:
            settings = {"OPENAI_BASE_URL": faulty.url, "OPENAI_API_KEY": "sk-test-0123456789"}
            code = SNIPPETS[ANSWERING].replace("enable_fallback=True", "enable_fallback=False, timeout_s=10")
            ended = subprocess.run(
                [sys.executable, "-c", code],
                env=environment(home, **settings),
                cwd=home,
                capture_output=True,
                timeout=60,
                check=False,
                text=True,
            )
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout.startswith(said)


def test_a_program_streams_and_asks_many_things_at_once(server: ModelServer, tmp_path: Path) -> None:
    told = run_snippet(STREAMING, tmp_path, server).splitlines()
    assert told[0] == "one two three"
    assert told[2].startswith("20 answers for ")
    assert float(told[2].split()[3]) > 0
    assert [row["streaming"] for row in rows(tmp_path)].count(0) == 20
    assert {row["status"] for row in rows(tmp_path)} == {"ok"}


def test_a_program_asks_for_many_at_once(server: ModelServer, tmp_path: Path) -> None:
    told = run_snippet(IN_BULK, tmp_path, server).splitlines()
    assert [line.partition(". ")[0] for line in told] == [f"Say {number}" for number in range(20)]
    assert all("one two three" in line for line in told)
    assert len(server.requests) == 20
    assert {row["status"] for row in rows(tmp_path)} == {"ok"}


def test_a_program_sees_what_there_is_and_puts_its_own_calls_on_the_bill(server: ModelServer, tmp_path: Path) -> None:
    told = run_snippet(LOOKING, tmp_path, server).splitlines()
    assert "'openai'" in told[0]
    assert "'openai': False" in told[1], "this server lists no models"
    assert told[2].startswith("[('openai', 'gpt-5.4-mini'), ")
    assert told[3] == "1"
    assert told[4] == "[('openai', 'gpt-4'), ('anthropic', 'claude-3-opus'), ('mistral', 'mistral-large')]"
    assert told[5:7] == [
        "0.03",
        "['mistral/codestral-2508', 'mistral/deepseek-v4-1-flash-1017', 'mistral/ministral-14b-2512']",
    ]
    assert [(row["model"], row["cost_picousd"]) for row in rows(tmp_path)] == [("gpt-5.4-mini", 4 * 10**8)]


def test_a_program_asks_without_an_event_loop(server: ModelServer, tmp_path: Path) -> None:
    told = run_snippet(BLOCKING, tmp_path, server).splitlines()
    assert told[:2] == ["one two three"] * 2
    asked = rows(tmp_path)
    assert {(row["streaming"], row["status"]) for row in asked} == {(0, "ok"), (1, "ok")}
    (streamed,) = [row for row in asked if row["streaming"]]
    assert told[2] == f"{streamed['model']} {streamed['cost_usd']}"


def test_a_program_sends_through_its_own_client(server: ModelServer, tmp_path: Path) -> None:
    told = run_snippet(OWN_CLIENT, tmp_path, server).splitlines()
    assert told == ["200 /v1/chat/completions", "one two three"]


def test_a_program_reads_the_log_and_the_record_of_each_attempt(server: ModelServer, tmp_path: Path) -> None:
    told = run_snippet(LOGGING, tmp_path, server).splitlines()
    assert [line for line in told if line.startswith("DEBUG llmroute.service: openai/gpt-5.4-mini: POST ")]
    (row,) = rows(tmp_path)
    assert f"openai gpt-5.4-mini ok {row['latency_ms']}" in told


@pytest.mark.parametrize(("number", "passed"), [(TESTING, 3), (TESTING_ALONE, 1)])
def test_the_tests_of_a_program_pass_and_send_nothing(number: int, passed: int, tmp_path: Path) -> None:
    (tmp_path / "test_program.py").write_text(SNIPPETS[number])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_program.py"]
    # Whatever left this process would go to a proxy that is not there.
    settings = {"HTTPS_PROXY": f"http://127.0.0.1:{closed_port()}"}
    ended = subprocess.run(
        command,
        env=environment(tmp_path, **settings),
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
        check=False,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{passed} passed" in ended.stdout


def typed(tmp_path: Path, *programs: str) -> subprocess.CompletedProcess[str]:
    files = []
    for number, program in enumerate(programs):
        files.append(tmp_path / f"program_{number}.py")
        files[-1].write_text(program)
    cache = ROOT / ".mypy_cache" / "programs"
    strictly = ("-m", "mypy", "--strict", "--no-error-summary", "--config-file=", f"--cache-dir={cache}")
    return subprocess.run(
        [sys.executable, *strictly, *map(str, files)],
        cwd=tmp_path,
        capture_output=True,
        timeout=300,
        check=False,
        text=True,
    )


def test_a_users_type_checker_passes_the_snippets_and_finds_wrong_arguments(tmp_path: Path) -> None:
    wrong = """
from llmroute import LLMService, ModelRegistry, get_llm_service, get_llm_tracker

async def main(service: LLMService) -> int:
    await service.generate("hi", temprature=0.5)
    await service.generate("hi", max_tokens="many")
    service.stream_generate("hi", local_only=None)
    answer = await service.generate("hi", model="gpt-4o", fallback=["mistral/mistral-large"])
    get_llm_service("calls.db")
    get_llm_tracker(3)
    ModelRegistry.list_models(3)
    ModelRegistry().find_models_by_capability("code", max_cost=1)
    ModelRegistry.get_model_config("openai", "gpt-4").price
    return answer.cost_usd
"""
    chosen = """
from llmroute import (
    Config, FallbackChain, LLMService, Message, Price, ProviderSettings, RateLimitError, RoutingStrategy, load_config
)

async def main(service: LLMService, word: str) -> str:
    await service.generate(prompt="hi", strategy=RoutingStrategy.COST_OPTIMIZED, effort="low", on_budget="refuse")
    await service.generate("hi", strategy="balanced", task_type="analysis", required_capability=["code", "json"])
    await service.generate(messages=[Message("user", "hi")], fallback=FallbackChain.FAST_LATENCY, fallback_on="content")
    await service.generate("hi", fallback="openai/gpt-4o", required_capability="vision", stop=["a"])
    await service.generate("hi", strategy="cheapest")
    await service.generate("hi", effort="max")
    await service.generate("hi", on_budget="cry")
    await service.generate("hi", fallback_on="error")
    await service.generate("hi", task_type="poetry")
    await service.generate("hi", required_capability=["fly"])
    await service.generate("hi", strategy=word)
    config: Config = load_config().with_api_keys({"openai": "sk-1"})
    config.with_api_keys({"openai": 1})
    settings: ProviderSettings = config.providers["openai"]
    Price(input=1, output=2)
    try:
        answer = await LLMService(config=config).generate("hi")
    except RateLimitError as error:
        return f"{error.retry_after_s} {error.option} {error.remedies[0].value} {settings.base_url}"
    told: dict[str, object] = answer.as_dict()
    names: tuple[str, ...] = answer.tool_calls
    answer.content = "another"
    return f"{answer.thinking} {answer.refusal} {told} {names}"
"""
    checked = typed(tmp_path, *SNIPPETS, wrong, chosen)
    found = [line for line in checked.stdout.splitlines() if ": error:" in line]
    where = [line.split(":")[:2] for line in found]
    first, second = (f"program_{len(SNIPPETS) + number}.py" for number in range(2))
    assert sorted({(Path(file).name, int(line)) for file, line in where}) == [
        *((first, line) for line in (5, 6, 7, 10, 11, 12, 13, 14)),
        *((second, line) for line in (11, 12, 13, 14, 15, 16, 17, 19, 28)),
    ], checked.stdout + checked.stderr


def annotations_of(module: ModuleType) -> dict[str, str]:
    """Return the fields of the class that describes a request, with their types as they are written."""
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text())
    body = next(each.body for each in tree.body if isinstance(each, ast.ClassDef))
    return {
        ast.unparse(each.target): ast.unparse(each.annotation).strip("'")
        for each in body
        if isinstance(each, ast.AnnAssign)
    }


def test_each_option_has_its_doc_beneath_it() -> None:
    assert choices.__file__ is not None
    (described,) = [
        each for each in ast.parse(Path(choices.__file__).read_text()).body if isinstance(each, ast.ClassDef)
    ]
    _, *body = described.body
    for field, doc in zip(body[::2], body[1::2], strict=True):
        assert isinstance(field, ast.AnnAssign)
        assert isinstance(doc, ast.Expr), ast.unparse(field)
        assert isinstance(doc.value, ast.Constant)
        assert str(doc.value.value).endswith(".")


def test_generate_takes_every_field_of_a_request_as_it_is_typed_there() -> None:
    taken, typed = annotations_of(choices), annotations_of(options)
    assert taken == {name: kind for name, kind in typed.items() if name != "prompt"}
    assert set(typed) == {field.name for field in fields(Options)}


def test_every_public_name_is_there_and_is_what_it_is_called() -> None:
    for name in llmroute.__all__:
        value = getattr(llmroute, name)
        assert getattr(value, "__name__", "__version__") == name
    issue = "get_llm_service LLMService ModelRegistry FallbackChain RoutingStrategy get_llm_tracker LLMResponse"
    assert {*issue.split(), "AuthenticationError", "RateLimitError"} <= set(llmroute.__all__)
    assert {"Config", "Price", "Message", "ProviderSettings", "Remedy", "load_config"} <= set(llmroute.__all__)
    errors = {name for name in vars(llmroute.errors) if name.endswith("Error") and not name.startswith("_")}
    assert errors <= set(llmroute.__all__) | {"LLMRouteError"}


def test_services_and_trackers_take_the_path_of_a_ledger(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.settings.items():
        monkeypatch.setenv(name, value)
    elsewhere = tmp_path / "calls.db"

    async def main(ledger: str | Path) -> None:
        async with llmroute.get_llm_service(ledger) as service:
            answer = await service.generate("hi", model="openai/gpt-4o", workspace_id="w")
        costs = await llmroute.get_llm_tracker(ledger).get_workspace_costs("w")
        assert costs["total_cost"] == pytest.approx((answer.cost_usd or 0) * costs["call_count"])

    for ledger in (elsewhere, str(elsewhere)):
        asyncio.run(main(ledger))
    with llmroute.Ledger(elsewhere) as lent:
        costs = asyncio.run(llmroute.get_llm_tracker(lent).get_workspace_costs("w", period="day"))
        assert (costs["call_count"], [line["model"] for line in costs["by_model"]]) == (2, ["gpt-4o"])


def test_hundreds_at_once_are_answered_and_those_cancelled_are_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer(pause_s=0.2) as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)

        async def main() -> int:
            async with llmroute.get_llm_service(tmp_path / "calls.db") as service:
                asked = [asyncio.create_task(service.generate(f"{n}", model="openai/gpt-4o")) for n in range(300)]
                while len(server.requests) < 100:  # noqa: ASYNC110 (the server is in another thread)
                    await asyncio.sleep(0.005)
                for task in asked[::3]:
                    task.cancel()
                ended = await asyncio.gather(*asked, return_exceptions=True)
            assert {type(one) for one in ended} <= {llmroute.LLMResponse, asyncio.CancelledError}
            return sum(isinstance(one, llmroute.LLMResponse) for one in ended)

        answers = asyncio.run(main())
    with llmroute.Ledger(tmp_path / "calls.db") as ledger:
        counts = dict(ledger.db.execute("SELECT status, count(*) FROM attempts GROUP BY status").fetchall())
    assert 200 <= answers < 300
    assert counts["ok"] >= answers
    assert set(counts) <= {"ok", "interrupted"}


def test_one_pool_of_connections_serves_every_request_until_the_service_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = 10
    with ModelServer(pause_s=0.02) as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)

        async def main() -> None:
            service = llmroute.get_llm_service(tmp_path / "calls.db")
            gate = asyncio.Semaphore(at_once)

            async def ask(number: int) -> None:
                async with gate:
                    await service.generate(f"{number}", model="openai/gpt-4o")

            for number in range(3):
                await ask(number)
            assert server.connections == 1, "one after the other share a connection"
            await asyncio.gather(*map(ask, range(100)))
            # What idles for five seconds is closed, so a busy machine may see a few more than are needed at once.
            assert 1 < server.connections <= 3 * at_once, "none is opened for each request"
            assert server.most_connections <= at_once + 1, "no more than are needed at once"
            await service.aclose()

        asyncio.run(main())
        assert len(server.requests) == 103
        until = time.monotonic() + 10
        while server.open_connections and time.monotonic() < until:
            time.sleep(0.01)
        assert server.open_connections == 0
