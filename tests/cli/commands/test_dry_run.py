"""`--dry-run` shows the plan, as a table and as JSON; nothing is sent, nothing reserved, nothing written."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fault_server import reply, serving
from tests.support.model_server import ModelServer
from tests.support.shell import rows, run

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = {
    "rank", "provider", "model", "expected_cost_usd", "worst_cost_usd", "expected_latency_ms",
    "expected_output_tokens", "answers", "quality", "quality_basis", "score", "terms",
}  # fmt: skip
MODEL = "openai/gpt-5.4-mini"


def plan(home: Path, *flags: str, command: str = "gen", **settings: str) -> dict[str, Any]:
    ran = run(command, "hi", "--dry-run", "--json", *flags, home=home, **settings)
    assert ran.code == 0, ran.err
    told: dict[str, Any] = json.loads(ran.out)
    return told


@pytest.mark.parametrize("command", ["gen", "stream"])
def test_the_plan_as_json_has_these_fields_and_no_others(command: str, tmp_path: Path) -> None:
    with ModelServer() as server:
        told = plan(tmp_path, command=command, **server.settings)
    assert set(told) == {"strategy", "chain", "candidates", "excluded"}
    assert (told["strategy"], told["chain"]) == ("balanced", None)
    assert {frozenset(one) for one in told["candidates"]} == {frozenset(ENTRY)}
    assert {frozenset(one) for one in told["excluded"]} == {frozenset({"provider", "model", "reason"})}
    assert [one["rank"] for one in told["candidates"]] == list(range(1, len(told["candidates"]) + 1))
    for one in told["candidates"]:
        assert one["worst_cost_usd"] > one["expected_cost_usd"] > 0
        assert one["score"] == pytest.approx(sum(one["terms"].values()))
        assert set(one["terms"]) == {"call_usd", "wrong_answer_usd", "time_usd"}
        assert (one["answers"], one["expected_output_tokens"] in (600, 3000)) == (0, True)
    scores = [one["score"] for one in told["candidates"]]
    # Scores within one per cent of each other are equals.
    assert all(first <= 1.02 * second for first, second in pairwise(scores)), "all are of one provider"


def test_what_was_planned_is_what_is_called(tmp_path: Path) -> None:
    with ModelServer() as server:
        first = plan(tmp_path, "--strategy", "cost_optimized", **server.settings)["candidates"][0]
        ran = run("gen", "hi", "--strategy", "cost_optimized", "--json", home=tmp_path, **server.settings)
    told = json.loads(ran.out)
    assert (told["provider"], told["model"]) == (first["provider"], first["model"])


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_nothing_is_sent_reserved_or_written(flags: tuple[str, ...], tmp_path: Path) -> None:
    tags = reply(200, b'{"models": []}')
    with ModelServer() as server, serving([tags]) as ollama:
        settings = {**server.settings, "OLLAMA_BASE_URL": ollama.url}
        ran = run("gen", "hi", "--dry-run", "--budget", "1", *flags, home=tmp_path, **settings)
        assert (ran.code, server.requests) == (0, [])
        assert {sent.path for sent in ollama.received} <= {"/api/tags"}, "only which models are here was asked"
        assert not (tmp_path / "llmroute").exists()
        assert run("gen", "hi", "-m", MODEL, home=tmp_path, **settings).code == 0
        before = rows(tmp_path)
        (tmp_path / "llmroute" / "config.toml").write_text("[budgets]\nday = 1\n")
        assert run("gen", "hi", "-m", MODEL, "--dry-run", *flags, home=tmp_path, **settings).code == 0
        assert rows(tmp_path) == before
        budget = json.loads(run("costs", "budget", "--json", home=tmp_path).out)["budgets"][0]
    assert budget["reserved_usd"] == 0
    assert len(server.requests) == 1


def test_the_table_names_each_candidate_with_its_terms_and_each_exclusion_with_its_reason(tmp_path: Path) -> None:
    with ModelServer() as server:
        asked = ("--capability", "code", "--max-latency", "9000")
        told = plan(tmp_path, *asked, **server.settings)
        ran = run("gen", "hi", "--dry-run", "--all", *asked, home=tmp_path, **server.settings)
    lines = ran.out.splitlines()
    assert lines[0] == "strategy balanced; nothing is sent"
    for one in told["candidates"]:
        (line,) = [
            line for line in lines if line.split()[:2] == [str(one["rank"]), f"{one['provider']}/{one['model']}"]
        ]
        assert f"{one['expected_output_tokens']:,}, never called" in line
        assert f"{one['quality']}, {one['quality_basis']}" in line
        assert line.endswith(" s")
        assert all(part in line for part in (" call + ", "% wrong + ", "for "))
    alike = Counter((one["provider"], one["reason"]) for one in told["excluded"])
    assert max(alike.values()) > 1
    assert min(alike.values()) == 1
    for one in told["excluded"]:
        count = alike[one["provider"], one["reason"]]
        name = f"{one['provider']}/{one['model']}" if count == 1 else f"{one['provider']}: {count} models"
        (line,) = [line for line in lines if line.startswith(f"{name} ") and line.endswith(one["reason"])]
    assert "\x1b" not in ran.out


def test_a_model_with_answers_that_were_all_cut_is_not_shown_as_never_called(tmp_path: Path) -> None:
    choice = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "length"}
    cut = {"model": "m", "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 9}}
    with serving([reply(200, json.dumps(cut).encode())]) as server:
        settings = {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "sk-x"}
        asked = ("gen", "hi", "-m", "openai/gpt-4.1-mini", "--no-fallback")
        before = run(*asked, "--dry-run", home=tmp_path, **settings).out
        run(*asked, "--max-tokens", "9", home=tmp_path, **settings)
        after = run(*asked, "--dry-run", home=tmp_path, **settings).out
    assert ("600, never called" in before, "600, no complete answer" in after) == (True, True)


@pytest.mark.parametrize("given", ["--worth=-0", "config"])
def test_a_value_of_zero_is_shown_without_a_sign(given: str, tmp_path: Path) -> None:
    (tmp_path / "llmroute").mkdir()
    (tmp_path / "llmroute" / "config.toml").write_text("[balance]\nsecond_usd = -0.0\nwrong_answer_usd = -0.0\n")
    with ModelServer() as server:
        flags = [] if given == "config" else [given]
        shown = run("gen", "hi", "--dry-run", *flags, home=tmp_path, **server.settings)
        terms = plan(tmp_path, *flags, **server.settings)["candidates"][0]["terms"]
    assert ("$0.00 for " in shown.out, "$-0.00" in shown.out) == (True, False)
    assert [str(terms[name]) for name in ("wrong_answer_usd", "time_usd")] == ["0.0", "0.0"]


def test_a_chain_is_shown_as_it_would_be_tried(tmp_path: Path) -> None:
    with ModelServer() as server:
        told = plan(tmp_path, "--chain", "high_quality", **server.settings)
        text = run("gen", "hi", "--dry-run", "--chain", "high_quality", home=tmp_path, **server.settings).out
    assert (told["strategy"], told["chain"]) == (None, "HIGH_QUALITY")
    assert [one["provider"] for one in told["candidates"]] == ["openai"]
    assert sorted(one["provider"] for one in told["excluded"]) == ["anthropic", "mistral"]
    assert text.startswith("chain HIGH_QUALITY; nothing is sent")


def test_an_unknown_price_is_null_and_not_nothing(tmp_path: Path) -> None:
    with ModelServer() as server:
        (one,) = plan(tmp_path, "-m", "openai/unheard-of", "--no-fallback", **server.settings)["candidates"]
        text = run(
            "gen", "hi", "-m", "openai/unheard-of", "--no-fallback", "--dry-run", home=tmp_path, **server.settings
        ).out
    assert (one["expected_cost_usd"], one["worst_cost_usd"]) == (None, None)
    assert (one["quality"], one["quality_basis"]) == (50, "a guess")
    assert (one["score"], set(one["terms"])) == (None, {"wrong_answer_usd", "time_usd"})
    assert "cost unknown + $" in text


def test_models_and_the_plan_expect_the_same_latency_before_and_after_a_call(tmp_path: Path) -> None:
    with ModelServer() as server:
        for _ in range(2):
            planned = {
                one["model"]: one["expected_latency_ms"] for one in plan(tmp_path, **server.settings)["candidates"]
            }
            shown = json.loads(run("models", "openai", "--json", home=tmp_path, **server.settings).out)
            assert {one["id"]: one["expected_latency_ms"] for one in shown if one["id"] in planned} == planned
            assert run("gen", "hi", "-m", MODEL, home=tmp_path, **server.settings).code == 0


def test_a_plan_of_nobody_is_the_error_that_the_call_would_be(tmp_path: Path) -> None:
    with ModelServer() as server:
        for flags in (("--min-quality", "100"), ("--chain", "nothing"), ("-m", "gpt-9-none")):
            dry = run("gen", "hi", *flags, "--dry-run", home=tmp_path, **server.settings)
            real = run("gen", "hi", *flags, home=tmp_path, **server.settings)
            assert (dry.code, dry.out, dry.err) == (real.code, real.out, real.err)
            assert dry.code in (2, 3)
    assert server.requests == []


def test_the_first_ten_candidates_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    with ModelServer() as server:
        whole = plan(tmp_path, **server.settings)["candidates"]
        ten = run("gen", "hi", "--dry-run", home=tmp_path, **server.settings).out
        every = run("gen", "hi", "--dry-run", "--all", home=tmp_path, **server.settings).out
    assert len(whole) > 10
    assert f"... and {len(whole) - 10} more: --all shows them" in ten
    for text, count in ((ten, 10), (every, len(whole))):
        ranks = [line.split()[0] for line in text.splitlines() if " never called " in line]
        assert ranks == [str(rank) for rank in range(1, count + 1)]
    assert "more: --all" not in every


def test_the_default_provider_is_a_term_of_the_score(tmp_path: Path) -> None:
    with ModelServer() as server:
        settings = {**server.settings, "LLM_DEFAULT_PROVIDER": "openai"}
        told = plan(tmp_path, **settings)["candidates"][0]
        text = run("gen", "hi", "--dry-run", home=tmp_path, **settings).out
    assert told["terms"]["default_provider_usd"] == pytest.approx(-told["score"] / 9)
    assert " default provider" in text


def test_a_tier_leaves_the_models_that_have_a_price_for_it(tmp_path: Path) -> None:
    with ModelServer() as server:
        told = plan(tmp_path, "--tier", "flex", **server.settings)
        named = run("gen", "hi", "-m", "gpt-4.1", "--tier", "flex", "--dry-run", home=tmp_path, **server.settings)
        unknown = run("gen", "hi", "--tier", "best", home=tmp_path, **server.settings)
        standard = plan(tmp_path, **server.settings)["candidates"]
    reason = "no known price for the service tier flex"
    assert reason in {one["reason"] for one in told["excluded"] if one["model"] == "gpt-4.1"}
    assert (named.code, reason in named.err) == (2, True)
    words = "standard, flex, priority, batch, auto"
    assert (unknown.code, unknown.err) == (2, f"llmroute: --tier: 'best' is not one of {words}\n")
    costs = {one["model"]: one["expected_cost_usd"] for one in standard}
    assert told["candidates"]
    for one in told["candidates"]:
        assert one["expected_cost_usd"] < costs[one["model"]]


@pytest.mark.parametrize("flags", [("--dry-run",), ()])
def test_a_tier_that_no_model_of_the_provider_has_is_a_usage_error(flags: tuple[str, ...], tmp_path: Path) -> None:
    ran = run("gen", "hi", "-p", "anthropic", "--tier", "flex", *flags, home=tmp_path, ANTHROPIC_API_KEY="sk-x")
    assert ran.code == 2
    assert ran.err == "llmroute: no model of anthropic has a known price for the service tier flex\n"


@pytest.mark.parametrize("tier", ["batch", "auto"])
def test_a_tier_of_batches_is_refused_for_one_prompt_as_its_call_refuses_it(tier: str, tmp_path: Path) -> None:
    with ModelServer() as server:
        planned = run("gen", "hi", "--tier", tier, "--dry-run", home=tmp_path, **server.settings)
        called = run("gen", "hi", "--tier", tier, home=tmp_path, **server.settings)
        assert server.requests == []
    assert (planned.code, planned.err) == (called.code, called.err)
    assert planned.code == 2
    assert planned.err == f"llmroute: --tier: {tier} applies to a file of requests (use --batch FILE)\n"
