"""Who is called, and how often, when several providers fail: through the whole program."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.service.client import LLMService
from tests.support.fault_server import Pause, serving
from tests.support.provider_servers import KEY, House, openai_answer, openai_error
from tests.support.shell import rows, run
from tests.support.wire_formats import BACKUP, FORMATS, MODEL, answer, error, town

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from llmroute.types import LLMResponse
    from tests.support.fault_server import Received, Script
    from tests.support.wire_formats import Town

CLOUD = [name for name in FORMATS if name != "ollama"]


def settings(here: Town) -> dict[str, str]:
    addresses = {f"{name.upper()}_BASE_URL": url for name, url in here.urls.items()}
    return addresses | {f"{name.upper()}_API_KEY": KEY for name in CLOUD}


def behaving(ill: Mapping[str, Script]) -> Callable[[str, dict[str, Any]], Script]:
    """Providers that fail with the script given for them, and answer where none is given."""
    return lambda who, asked: ill.get(who) or answer(who, f"of {who}", streaming=bool(asked.get("stream")))


def chain_of(*models: str) -> list[str]:
    first, *rest = models
    return ["-m", first, *(word for model in rest for word in ("--fallback", model))]


@pytest.mark.parametrize("command", ["gen", "stream"])
def test_a_healthy_third_answers_while_the_first_two_are_down(tmp_path: Path, command: str) -> None:
    down = {name: error(name, 503, "unavailable") for name in ("openai", "mistral")}
    with town(behaving(down)) as here:
        asked = chain_of(MODEL["openai"], MODEL["mistral"], MODEL["anthropic"])
        ran = run(command, "hi", *asked, home=tmp_path, **settings(here))
    assert (ran.code, ran.out) == (0, "of anthropic\n")
    assert [(row["provider"], row["attempt"]) for row in rows(tmp_path)] == [
        ("openai", 1),
        ("mistral", 2),
        ("anthropic", 3),
    ]


def test_the_last_of_five_is_reached_through_four_rate_limits(tmp_path: Path) -> None:
    limited = {name: error(name, 429, "slow down") for name in CLOUD}
    with town(behaving(limited)) as here:
        ran = run("gen", "hi", *chain_of(*(MODEL[name] for name in FORMATS)), home=tmp_path, **settings(here))
    assert (ran.code, ran.out) == (0, "of ollama\n")
    assert [row["provider"] for row in rows(tmp_path)] == [*FORMATS]


def test_a_sibling_of_what_failed_comes_after_another_provider(tmp_path: Path) -> None:
    with town(behaving({"openai": error("openai", 503, "unavailable")})) as here:
        asked = chain_of(MODEL["openai"], "openai/gpt-6-luna", MODEL["anthropic"])
        ran = run("gen", "hi", *asked, home=tmp_path, **settings(here))
    assert (ran.code, ran.out) == (0, "of anthropic\n")
    assert [row["provider"] for row in rows(tmp_path)] == ["openai", "anthropic"]


def test_no_more_calls_are_made_than_the_caller_allows(tmp_path: Path) -> None:
    with town(behaving({name: error(name, 503, "unavailable") for name in CLOUD})) as here:
        asked = chain_of(*(MODEL[name] for name in CLOUD))
        ran = run("gen", "hi", *asked, "--max-attempts", "3", "--json", home=tmp_path, **settings(here))
        assert ran.code == 4
        called = [attempt["provider"] for attempt in json.loads(ran.out)["error"]["attempts"]]
        assert called == CLOUD[:3]
        folder = tmp_path / "llmroute"
        (folder / "ledger.db").unlink()
        (folder / "config.toml").write_text("max_attempts = 1\n")
        assert run("gen", "hi", *asked, home=tmp_path, **settings(here)).code == 4
    assert [row["provider"] for row in rows(tmp_path)] == CLOUD[:1]
    assert run("gen", "hi", "--max-attempts", "0", home=tmp_path).code == 2


def test_a_list_is_walked_to_its_end_however_long_it_is(tmp_path: Path) -> None:
    gone = {name: error(name, 404, "no such model", "model_not_found") for name in ("openai", "mistral")}
    listed = [f"{provider}/m{number}" for number in range(5) for provider in ("openai", "mistral")]
    with town(behaving(gone)) as here:
        ran = run("gen", "hi", *chain_of(*listed, MODEL["anthropic"]), home=tmp_path, **settings(here))
    assert (ran.code, ran.out) == (0, "of anthropic\n")
    assert len(rows(tmp_path)) == 11


def test_a_wait_is_told_with_its_length_and_one_that_does_not_fit_ends_it(tmp_path: Path) -> None:
    limited = error("openai", 429, "slow down", headers={"retry-after": "2"})
    script = [limited]
    with town(lambda who, _asked: script.pop() if script else answer(who, "later", streaming=False)) as here:
        asked = ("gen", "hi", "-m", MODEL["openai"], "--no-fallback")
        ran = run(*asked, home=tmp_path, **settings(here))
        assert (ran.code, ran.out) == (0, "later\n")
        assert ran.err == (
            f"llmroute: {MODEL['openai']}: rate limited (429), no fallback left; retry in 2 s (request timeout 300 s)\n"
        )
        script.append(error("openai", 429, "slow down", headers={"retry-after": "120"}))
        late = run(*asked, "--timeout", "60", home=tmp_path, **settings(here))
    assert (late.code, late.out) == (4, "")
    assert "try again in 120 s" in late.err
    assert "waiting" not in late.err


def test_a_slow_first_leaves_a_healthy_third_the_time_to_answer(tmp_path: Path) -> None:
    slow = {"openai": [Pause(30)], "mistral": [Pause(30)]}
    with town(behaving(slow)) as here:
        asked = chain_of(MODEL["openai"], BACKUP["openai"], MODEL["anthropic"])
        ran = run("gen", "hi", *asked, "--timeout", "6", home=tmp_path, **settings(here))
    assert (ran.code, ran.out) == (0, "of anthropic\n")


LISTED = [f"openai/m{number}" for number in range(12)]


def only_the_last_answers(received: Received) -> Script:
    return [openai_answer("at last") if json.loads(received.body)["model"] == "m11" else openai_error(503)]


async def one_of_many(service: LLMService, **asked: Any) -> LLMResponse:
    async for result in service.generate_many([asked]):
        if result.error is not None:
            raise result.error
        assert result.response is not None
        return result.response
    pytest.fail("there is no result")


@pytest.mark.parametrize("ask", [LLMService.generate, one_of_many], ids=["alone", "among many"])
def test_each_of_a_long_list_is_called_once_by_those_who_await(
    ask: Callable[..., Awaitable[LLMResponse]], tmp_path: Path
) -> None:
    async def work(house: House) -> LLMResponse:
        async with house.service() as service:
            return await ask(service, prompt="hi", fallback=LISTED)

    with serving(only_the_last_answers) as server:
        house = House(tmp_path, openai=server)
        assert asyncio.run(work(house)).content == "at last"
    assert [f"openai/{model}" for (model,) in house.rows("model")] == LISTED
