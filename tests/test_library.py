"""The library as programs use it; its documented examples are run by tests/docs."""

from __future__ import annotations

import ast
import asyncio
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import llmroute
from llmroute.ledger import spool
from llmroute.ledger.attempt_row import AttemptRow
from llmroute.request import keywords, options
from llmroute.request.options import Options
from tests.support.model_server import ModelServer
from tests.support.type_checker import type_checked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def test_a_users_type_checker_finds_wrong_arguments(tmp_path: Path) -> None:
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
    checked = type_checked(tmp_path, wrong, chosen)
    found = [line for line in checked.stdout.splitlines() if ": error:" in line]
    where = [line.split(":")[:2] for line in found]
    first, second = (f"program_{number}.py" for number in range(2))
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
    assert keywords.__file__ is not None
    (described,) = [
        each for each in ast.parse(Path(keywords.__file__).read_text()).body if isinstance(each, ast.ClassDef)
    ]
    _, *body = described.body
    for field, doc in zip(body[::2], body[1::2], strict=True):
        assert isinstance(field, ast.AnnAssign)
        assert isinstance(doc, ast.Expr), ast.unparse(field)
        assert isinstance(doc.value, ast.Constant)
        assert str(doc.value.value).endswith(".")


def test_generate_takes_every_field_of_a_request_as_it_is_typed_there() -> None:
    taken, typed = annotations_of(keywords), annotations_of(options)
    assert taken == {name: kind for name, kind in typed.items() if name not in ("prompt", "schema")}
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


@pytest.mark.parametrize("opened", [False, True])
def test_a_tracker_counts_rows_that_wait_in_the_spool(tmp_path: Path, opened: bool) -> None:
    path = tmp_path / "calls.db"
    with llmroute.Ledger(path) as lent:
        now_ms = time.time_ns() // 1_000_000
        row = AttemptRow("r", 1, now_ms, "openai", "m", streaming=False, status="ok", workspace="w", cost_picousd=5)
        spool.keep(row, path)
        costs = asyncio.run(llmroute.get_llm_tracker(lent if opened else path).get_workspace_costs("w", period="all"))
    assert costs["call_count"] == 1
    assert spool.waiting(path) == []


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


def test_the_former_name_of_an_open_circuit_still_works() -> None:
    with pytest.warns(DeprecationWarning, match="CircuitOpenError"):
        assert llmroute.RestingError is llmroute.CircuitOpenError
