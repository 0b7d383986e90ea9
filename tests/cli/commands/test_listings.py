"""`costs`, `models`, `health` and `chains`: what they tell people, and what they tell scripts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.model_server import ModelServer
from tests.support.shell import rows, run

if TYPE_CHECKING:
    from pathlib import Path

COST_FIELDS = {
    "period", "since", "until", "workspace", "total_cost_usd", "unknown_cost_count", "call_count", "failed_count",
    "rejected_count", "pruned_count",
    "total_tokens", "input_tokens", "output_tokens", "cached_share", "fallback_cost_usd",
    "cache_saved_usd", "cache_saved_is_partial", "by_model", "groups", "unsure",
}  # fmt: skip
MODEL_FIELDS = {
    "provider", "id", "aliases", "context_window", "max_output", "prices", "capabilities", "quality",
    "expected_quality", "quality_basis",
    "expected_latency_ms", "lifecycle", "available",
}  # fmt: skip


def test_costs_add_up_to_the_rows(tmp_path: Path) -> None:
    with ModelServer() as server:
        for model in ("openai/gpt-4o", "openai/gpt-4o", "openai/gpt-5.4-mini", "openai/of-unknown-price"):
            assert run("gen", "hi", "-m", model, "--workspace", "w", home=tmp_path, **server.settings).code == 0
    told = json.loads(run("costs", "--json", home=tmp_path).out)
    assert set(told) == COST_FIELDS
    assert told["total_cost_usd"] == sum(row["cost_picousd"] or 0 for row in rows(tmp_path)) / 10**12 > 0
    assert (told["call_count"], told["failed_count"], told["unknown_cost_count"]) == (4, 0, 1)
    assert (told["input_tokens"], told["output_tokens"], told["total_tokens"]) == (28, 12, 40)
    assert [line["call_count"] for line in told["by_model"] if line["model"] == "gpt-4o"] == [2]
    for period in ("day", "week", "month", "year", "all"):
        assert json.loads(run("costs", "--json", "--period", period, home=tmp_path).out)["call_count"] == 4
    assert json.loads(run("costs", "--json", "--workspace", "other", home=tmp_path).out)["call_count"] == 0
    text = run("costs", home=tmp_path).out
    assert "4 calls (0 failed), 1 of them at an unknown cost" in text
    assert "\x1b" not in text


def test_costs_before_the_first_call_are_nothing_and_make_no_ledger(tmp_path: Path) -> None:
    told = json.loads(run("costs", "--json", home=tmp_path).out)
    assert (told["total_cost_usd"], told["call_count"], told["by_model"]) == (0, 0, [])
    assert not (tmp_path / "llmroute").exists()


def test_models_in_a_pipe_are_bare_names(tmp_path: Path) -> None:
    names = run("models", home=tmp_path).out.splitlines()
    assert "builtin/smollm2-135m" in names
    assert all(" " not in name and "/" in name for name in names)
    assert "openai/gpt-4" not in names, "retired models are shown under --all only"
    assert "openai/gpt-4" in run("models", "--all", home=tmp_path).out.splitlines()


def test_models_tell_what_can_be_called_from_here(tmp_path: Path) -> None:
    assert run("models", "--available", home=tmp_path).out == "builtin/smollm2-135m\n"
    told = json.loads(run("models", "--json", "-p", "openai", home=tmp_path, OPENAI_API_KEY="sk-test-0123456789").out)
    assert {frozenset(one) for one in told} == {frozenset(MODEL_FIELDS)}
    assert {one["available"] for one in told} == {True}
    assert {one["provider"] for one in told} == {"openai"}


def test_health_without_any_key_is_well_and_says_what_is_missing(tmp_path: Path) -> None:
    ran = run("health", "--json", home=tmp_path, OLLAMA_HOST="")
    told = json.loads(ran.out)["providers"]
    assert set(told) == {"openai", "anthropic", "mistral", "ollama", "together", "builtin"}
    assert set(told["openai"]) == {"ok", "status", "latency_ms", "models", "detail", "open_until"}
    assert (told["openai"]["ok"], told["openai"]["status"]) == (False, "no key")
    assert (told["builtin"]["ok"], told["builtin"]["status"]) == (True, "ok")
    assert ran.code == 0, "what is not configured is not ill"


def test_health_of_a_configured_provider_that_is_down_is_4(tmp_path: Path) -> None:
    settings = {"OPENAI_API_KEY": "sk-test-0123456789", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    ran = run("health", "--json", home=tmp_path, **settings)
    assert ran.code == 4
    assert json.loads(ran.out)["providers"]["openai"]["status"] == "unreachable"


def test_chains_tell_what_each_entry_is_today(tmp_path: Path) -> None:
    told = json.loads(run("chains", "--json", home=tmp_path, ANTHROPIC_API_KEY="sk-ant-test-0123456789").out)
    assert set(told) == {"HIGH_QUALITY", "COST_OPTIMIZED", "FAST_LATENCY", "LOCAL_ONLY", "CODE_GENERATION"}
    high = told["HIGH_QUALITY"]
    assert high["entries"] == ["openai/gpt-4", "anthropic/claude-3-opus", "mistral/mistral-large"]
    assert high["usable"] == [False, True, False]
    assert high["resolved"][1] != "anthropic/claude-3-opus", "it is retired"


def test_no_command_at_all_says_in_five_lines_how_to_start_and_helps_who_has_a_key(tmp_path: Path) -> None:
    ran = run(home=tmp_path)
    assert (ran.code, ran.err, len(ran.out.splitlines())) == (0, "", 5)
    assert "API_KEY" in ran.out
    assert "Usage:" in run(home=tmp_path, OPENAI_API_KEY="sk-test-0123456789").out
    assert run("--version", home=tmp_path).out.startswith("llmroute ")


@pytest.mark.parametrize(
    ("words", "flag", "command"),
    [
        (("costs", "--workspace", "nightly", "calls"), "--workspace", "calls"),
        (("costs", "--since", "7d", "export", "-"), "--since", "export"),
        (("costs", "--json", "budget"), "--json", "budget"),
        (("chains", "--json", "show", "HIGH_QUALITY"), "--json", "show"),
        (("batches", "--json", "show", "01a21e"), "--json", "show"),
    ],
)
def test_a_flag_before_a_command_that_it_would_not_reach_is_refused(
    words: tuple[str, ...], flag: str, command: str, tmp_path: Path
) -> None:
    ran = run(*words, home=tmp_path)
    assert ran.err == (
        f"llmroute: {flag} has no effect before {command}: put it after {command} (see llmroute {words[0]} --help)\n"
    )
    assert ran.code == 2
    assert ("error" in json.loads(ran.out)) if flag == "--json" else ran.out == ""


@pytest.mark.parametrize(
    ("words", "flag", "command"),
    [
        (("costs", "--period", "yesterday", "export", "-"), "--period", "export"),
        (("costs", "budget", "--json", "set", "--day", "1"), "--json", "set"),
        (("costs", "--color", "never", "calls"), "--color", "calls"),
        (("models", "-p", "openai", "show", "haiku"), "--provider", "show"),
    ],
)
def test_a_flag_before_a_command_that_has_none_of_the_name_is_refused_without_the_advice_to_move_it(
    words: tuple[str, ...], flag: str, command: str, tmp_path: Path
) -> None:
    ran = run(*words, home=tmp_path)
    group = " ".join(words[: 2 if words[1] == "budget" else 1])
    assert ran.err == (
        f"llmroute: {command} has no {flag}, which has no effect before it: leave it out"
        f" (see llmroute {group} --help)\n"
    )
    assert ran.code == 2
    assert not (tmp_path / "llmroute" / "config.toml").exists()
