"""A first choice that is out before the call: the price is measured against it, and what is skipped is told."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.request.options import Options
from llmroute.types import LLMResponse
from tests.support.fault_server import closed_port
from tests.support.provider_servers import KEY, House
from tests.support.shell import rows, run
from tests.support.wire_formats import answer, error, town

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.fault_server import Script
    from tests.support.wire_formats import Town

CHEAP, DEAR, LIKE = "openai/gpt-6-luna", "anthropic/claude-opus-5", "mistral/mistral-small-2603"
FAILURES: dict[str, tuple[Script, int]] = {
    "a rate limit": (error("openai", 429, "slow down", headers={"retry-after": "60"}), 4),
    "outages": (error("openai", 503, "unavailable"), 4),
    "a refused key": (error("openai", 401, "Incorrect API key", "invalid_api_key"), 3),
    "a gone model": (error("openai", 404, "no such model", "model_not_found"), 3),
    "no credit": (error("openai", 429, "no credit", "insufficient_quota"), 3),
}


def failing(script: Script) -> Callable[[str, dict[str, Any]], Script]:
    return lambda who, asked: (
        script if who == "openai" else answer(who, f"of {who}", streaming=bool(asked.get("stream")))
    )


def settings(here: Town, *without: str) -> dict[str, str]:
    addresses = {f"{name.upper()}_BASE_URL": url for name, url in here.urls.items()}
    addresses["OLLAMA_BASE_URL"] = f"http://127.0.0.1:{closed_port()}"
    keys = {f"{name.upper()}_API_KEY": KEY for name in ("openai", "anthropic", "mistral") if name not in without}
    return addresses | keys


@pytest.mark.parametrize("failure", FAILURES)
def test_no_upgrade_holds_while_the_first_choice_is_left_alone(tmp_path: Path, failure: str) -> None:
    script, code = FAILURES[failure]
    asked = ("gen", "hi", "-m", CHEAP, "--fallback", DEAR, "--no-upgrade", "--timeout", "5")
    with town(failing(script)) as here:
        for _ in range(3):
            ran = run(*asked, home=tmp_path, **settings(here))
            assert (ran.code, ran.out) == (code, "")
            assert len(ran.err.splitlines()) <= 2
        assert here.bodies("anthropic") == []
        (tmp_path / "llmroute" / "config.toml").write_text(f'upgrade = false\n[chains]\nmine = ["{CHEAP}", "{DEAR}"]\n')
        ran = run("stream", "hi", "--chain", "mine", "--timeout", "5", home=tmp_path, **settings(here))
        assert (ran.code, ran.out) == (code, "")
        assert here.bodies("anthropic") == []


@pytest.mark.parametrize(
    ("first", "reason"),
    [(CHEAP, "no API key (set OPENAI_API_KEY)"), ("ollama/llama3.2", "not running")],
)
def test_no_upgrade_holds_where_the_first_choice_cannot_be_called_from_here(
    tmp_path: Path, first: str, reason: str
) -> None:
    with town(failing([])) as here:
        asked = ("gen", "hi", "-m", first, "--fallback", DEAR)
        ran = run(*asked, "--no-upgrade", home=tmp_path, **settings(here, "openai"))
        assert (ran.code, ran.out) == (3, "")
        assert reason in ran.err
        assert "--no-upgrade forbids" in ran.err
        assert len(ran.err.splitlines()) == 1
        assert here.bodies("anthropic") == []
        allowed = run(*asked, "--json", home=tmp_path, **settings(here, "openai"))
        told = json.loads(allowed.out)
        assert allowed.code == 0
        assert told["model"] == "claude-opus-5"
        [line] = allowed.err.splitlines()
        assert line.startswith(f"llmroute: skipped {first}: ")
        assert reason in line
        assert f"; using {DEAR} (about $" in line
        [skipped] = told["skipped"]
        assert f"{skipped['provider']}/{skipped['model']}" == first
        assert reason in skipped["reason"]


def test_the_price_of_a_fallback_has_no_exponent(tmp_path: Path) -> None:
    with town(failing(answer("openai", "well", streaming=False))) as here:
        asked = ("gen", "hi", "-m", "ollama/llama3.2", "--fallback", CHEAP, "--max-tokens", "9")
        ran = run(*asked, home=tmp_path, **settings(here))
    assert re.search(rf"; using {CHEAP} \(about \$0\.00000\d+\)$", ran.err.strip()), ran.err


def test_what_costs_about_the_same_may_stand_in_and_what_is_dearer_is_passed_over(tmp_path: Path) -> None:
    with town(failing(error("openai", 429, "slow down"))) as here:
        asked = ("gen", "hi", "-m", CHEAP, "--fallback", DEAR, "--fallback", LIKE, "--no-upgrade", "--json")
        for said in ("after 1 attempt, using", "circuit open for"):
            ran = run(*asked, home=tmp_path, **settings(here))
            told = json.loads(ran.out)
            assert (ran.code, told["provider"]) == (0, "mistral")
            assert said in ran.err
            assert f"skipped {CHEAP}" in ran.err or f"skipped {DEAR}" in ran.err
            assert told["skipped"][-1]["model"] == "claude-opus-5"
            assert "--no-upgrade forbids" in told["skipped"][-1]["reason"]
        assert [skipped["model"] for skipped in told["skipped"]] == ["gpt-6-luna", "claude-opus-5"]


def test_an_empty_answer_is_told_by_its_kind_and_not_as_a_success(tmp_path: Path) -> None:
    with town(failing(answer("openai", "", streaming=False))) as here:
        ran = run("gen", "hi", "-m", CHEAP, "--fallback", LIKE, home=tmp_path, **settings(here))
    assert (ran.code, ran.out) == (0, "of mistral\n")
    assert ran.err.startswith(f"llmroute: {CHEAP}: unusable answer after 1 attempt, using {LIKE}")


def test_what_a_later_fallback_passes_over_is_told_then_and_not_before(tmp_path: Path) -> None:
    with town(failing(error("openai", 503, "unavailable"))) as here:
        asked = ("gen", "hi", "-m", CHEAP, "--fallback", LIKE, "--fallback", DEAR, "--json")
        ran = run(*asked, home=tmp_path, **settings(here, "mistral"))
        told = json.loads(ran.out)
        [line] = ran.err.splitlines()
        assert line.startswith(f"llmroute: {CHEAP}: provider error (503) after 1 attempt, using {DEAR} (about $")
        assert line.endswith(f"; skipped {LIKE}: mistral: no API key (set MISTRAL_API_KEY)")
        assert [skipped["provider"] for skipped in told["skipped"]] == ["mistral"]
    (tmp_path / "well").mkdir()
    with town(failing(answer("openai", "well", streaming=False))) as here:
        ran = run(*asked, home=tmp_path / "well", **settings(here, "mistral"))
    assert (ran.code, ran.err, json.loads(ran.out)["skipped"]) == (0, "", [])


def test_a_batch_and_a_stream_tell_what_they_pass_over(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("one\ntwo\n")
    with town(failing([])) as here:
        named = ("-m", CHEAP, "--fallback", DEAR)
        batch = run("gen", "--batch", "in.txt", "--lines", *named, home=tmp_path, **settings(here, "openai"))
        assert batch.code == 0
        for line in map(json.loads, batch.out.splitlines()):
            assert [skipped["model"] for skipped in line["skipped"]] == ["gpt-6-luna"]
        assert batch.err.count("skipped") == 1
        held = run(
            "gen", "--batch", "in.txt", "--lines", *named, "--no-upgrade", home=tmp_path, **settings(here, "openai")
        )
        assert held.code != 0
        assert len(rows(tmp_path)) == 2
        streamed = run("stream", "hi", *named, "--json", home=tmp_path, **settings(here, "openai"))
        assert json.loads(streamed.out.splitlines()[-1])["skipped"][0]["model"] == "gpt-6-luna"
        dry = run("gen", "hi", *named, "--dry-run", home=tmp_path, **settings(here, "openai"))
        assert "skipped" in dry.err


def test_a_strategys_own_first_choice_is_told_where_it_is_left_alone_and_nothing_else(tmp_path: Path) -> None:
    ill = ""

    def behave(who: str, asked: dict[str, Any]) -> Script:
        return error(who, 429, "slow") if asked["model"] == ill else answer(who, "x", streaming=False)

    with town(behave) as here:
        house = House(tmp_path, **{name: here.servers[name] for name in ("openai", "mistral")})
        service = house.service()
        # A limit that is shorter than every answer, so that what is learned of the fallback does not make it cheaper.
        asked = Options(prompt="hi", strategy="cost_optimized", max_tokens=5)
        first = service.plan(asked).entries[0].model
        ill = first.api_name
        [response] = service.answer(asked, streaming=False)
        assert isinstance(response, LLMResponse)
        assert (response.skipped, len(response.attempts)) == ((), 2)
        house.notes.clear()
        [response] = service.answer(asked, streaming=False)
        assert isinstance(response, LLMResponse)
        assert [(one.provider, one.model) for one in response.skipped] == [(first.provider, first.id)]
        assert "circuit open for" in response.skipped[0].reason
        assert response.as_dict()["skipped"][0]["model"] == first.id
        service.close()


@pytest.mark.parametrize(
    "chosen",
    [("-p", "openai"), ("--strategy", "cost_optimized"), ("-p", "openai", "--strategy", "quality_optimized")],
    ids=" ".join,
)
def test_a_fallback_stands_behind_the_best_of_the_provider_or_of_the_strategy(
    tmp_path: Path, chosen: tuple[str, ...]
) -> None:
    asked = ("gen", "hi", *chosen, "--fallback", DEAR, "--json")
    with town(lambda who, _asked: answer(who, f"of {who}", streaming=False)) as here:
        ran = run(*asked, "--no-upgrade", home=tmp_path, **settings(here, "mistral"))
        assert (ran.code, ran.err, json.loads(ran.out)["provider"]) == (0, "", "openai")
        assert here.bodies("anthropic") == []
        (tmp_path / "in.jsonl").write_text('{"prompt": "hi"}\n')
        batch = run("gen", "--batch", "in.jsonl", *asked[2:6], home=tmp_path, **settings(here, "mistral"))
        assert json.loads(batch.out)["provider"] == "openai"


@pytest.mark.parametrize("without", [(), ("openai",)], ids=["it fails", "it has no key"])
def test_no_upgrade_measures_a_fallback_against_the_best_of_the_provider_that_was_named(
    tmp_path: Path, without: tuple[str, ...]
) -> None:
    asked = ("gen", "hi", "-p", "openai", "--strategy", "cost_optimized", "--fallback", DEAR, "--timeout", "5")
    with town(failing(error("openai", 401, "Incorrect API key", "invalid_api_key"))) as here:
        for _ in range(2):
            ran = run(*asked, "--no-upgrade", home=tmp_path, **settings(here, *without))
            assert (ran.code, ran.out) == (3, "")
        assert here.bodies("anthropic") == []
        ran = run(*asked, home=tmp_path, **settings(here, *without))
        assert (ran.code, ran.out) == (0, "of anthropic\n")
        assert ran.err.startswith("llmroute: skipped openai/")
        assert f"using {DEAR} (about $" in ran.err
        assert len(ran.err.splitlines()) == 1


def test_a_paid_stand_in_for_an_unknown_price_is_told_with_its_price_and_forbidden_by_no_upgrade(
    tmp_path: Path,
) -> None:
    asked = ("gen", "hi", "-m", "openai/unheard-of", "--fallback", DEAR, "--timeout", "5")
    with town(failing(error("openai", 429, "slow down"))) as here:
        for _ in range(2):
            ran = run(*asked, "--no-upgrade", home=tmp_path, **settings(here))
            assert (ran.code, ran.out) == (4, "")
        assert here.bodies("anthropic") == []
        ran = run(*asked, home=tmp_path, **settings(here))
        assert (ran.code, ran.out) == (0, "of anthropic\n")
        assert f"using {DEAR} (about $" in ran.err


def test_a_strategys_first_choice_that_rests_is_told_in_one_line_at_every_run(tmp_path: Path) -> None:
    asked = ("gen", "hi", "--strategy", "cost_optimized", "--max-tokens", "5")
    with town(failing(error("openai", 401, "Incorrect API key", "invalid_api_key"))) as here:
        for run_number in range(3):
            ran = run(*asked, home=tmp_path, **settings(here, "mistral"))
            [line] = ran.err.splitlines()
            assert ran.code == 0
            if run_number:
                assert line.startswith("llmroute: skipped openai/")
                assert "circuit open until its key changes" in line
                assert "; using anthropic/" in line
                assert len(line) < 300
        dry = run(*asked, "--dry-run", home=tmp_path, **settings(here, "mistral"))
        assert dry.err.count("skipped openai/") == 1


def test_no_budget_is_advised_for_what_no_upgrade_forbids(tmp_path: Path) -> None:
    asked = ("gen", "hi", "-m", CHEAP, "--fallback", DEAR, "--timeout", "5")
    with town(failing(error("openai", 401, "Incorrect API key", "invalid_api_key"))) as here:
        run(*asked, "--no-upgrade", home=tmp_path, **settings(here))
        advised = run(*asked, "--budget", "0.001", home=tmp_path, **settings(here))
        assert (advised.code, f"the nearest is {DEAR}" in advised.err) == (5, True)
        ran = run(*asked, "--budget", "0.001", "--no-upgrade", home=tmp_path, **settings(here))
        assert (ran.code, ran.out) == (3, "")
        assert "--no-upgrade forbids" in ran.err
        assert "would admit" not in ran.err
        assert here.bodies("anthropic") == []
