"""The example programs run in a plain install, as a user would run them, against providers on loopback."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.install.servers import ANSWER
from tests.support.shell import rows
from tests.support.wire_formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.install.plain import PlainInstall
    from tests.install.servers import Providers

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def run(plain: PlainInstall, served: Providers, tmp_path: Path) -> Callable[..., list[str]]:
    """Run a program in the test's home; it must succeed.  What it wrote to stderr is `log`."""

    def run(name: str, *, log: str = "", **settings: str) -> list[str]:
        ran = plain.program(PROGRAMS / f"{name}.py", home=tmp_path, **{**served.settings, **settings})
        assert ran.code == 0, ran.err
        assert ran.err.startswith(log), ran.err
        assert log or not ran.err, ran.err
        return ran.out.splitlines()

    return run


def test_every_program_is_run_here() -> None:
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "run"]
    named = {node.args[0].value for node in calls if node.args and isinstance(node.args[0], ast.Constant)}
    assert named == {path.stem for path in PROGRAMS.glob("*.py")}
    assert len(named) == 23


def test_an_answer_tells_its_cost_and_is_on_the_bill_of_its_workspace(
    run: Callable[..., list[str]], served: Providers
) -> None:
    content, cost, latency = run("basic_generation")
    assert content == ANSWER
    assert cost.startswith("Cost: $0.")
    assert latency.startswith("Latency: ")
    assert latency.endswith("ms")
    (sent,) = served.bodies()
    assert (sent["temperature"], sent["max_tokens"]) == (0.7, 1000)
    spent, models, today = run("cost_tracking")
    total, tokens, calls = spent.split()
    assert float(total) > 0
    assert (int(tokens), int(calls)) == (15, 1)
    assert len(ast.literal_eval(models)) == 1
    assert today == f"30 {total}"


def test_a_named_model_answers(run: Callable[..., list[str]], served: Providers) -> None:
    assert run("specific_model") == ["anthropic claude-3-opus"]
    (sent,) = served.bodies("anthropic")
    assert sent["model"].startswith("claude-3-opus")
    assert sent["temperature"] == 0.7
    assert len(served.asked) == 1


def test_a_task_and_a_capability_choose_the_model(
    run: Callable[..., list[str]], served: Providers, tmp_path: Path
) -> None:
    run("task_specific_generation")
    assert [row["task"] for row in rows(tmp_path)] == ["code_generation", "analysis"]
    assert [sent.get("temperature") for sent in served.bodies()] == [0.5, None]


def test_a_request_stays_within_its_budget(run: Callable[..., list[str]], tmp_path: Path) -> None:
    (cost,) = run("budget_constrained_generation")
    (row,) = rows(tmp_path)
    assert 0 < float(cost) < 0.5
    assert row["reserved_picousd"] <= 0.5 * 10**12


def test_an_answer_is_printed_piece_by_piece(run: Callable[..., list[str]], served: Providers, tmp_path: Path) -> None:
    assert run("streaming_generation") == [ANSWER]
    (sent,) = served.bodies("openai")
    assert sent["stream"] is True
    assert [row["streaming"] for row in rows(tmp_path)] == [1]


def test_another_provider_answers_when_the_first_fails(
    run: Callable[..., list[str]], served: Providers, tmp_path: Path
) -> None:
    served.first = 429
    (told,) = run("fallback")
    (failed, broken), (answered, fine) = ast.literal_eval(told)
    assert (broken, fine) == ("failed", "ok")
    assert failed != answered
    served.first = 401
    run("fallback_for_reliability")
    assert [row["status"] for row in rows(tmp_path)] == ["failed", "ok"] * 2


def test_the_predefined_chains_are_lists_of_provider_and_model(run: Callable[..., list[str]]) -> None:
    (told,) = run("predefined_chains")
    assert ast.literal_eval(told) == [
        ("openai", "gpt-3.5-turbo"),
        ("anthropic", "claude-3-haiku"),
        ("mistral", "mistral-tiny"),
        ("ollama", "mistral"),
    ]


def test_a_chain_begins_with_the_model_that_was_named(run: Callable[..., list[str]], served: Providers) -> None:
    (told,) = run("custom_fallback_chain")
    chain = ast.literal_eval(told)
    assert chain[0] == ("openai", "gpt-4")
    assert {provider for provider, _ in chain} == set(FORMATS)
    assert served.bodies() == []


def test_the_catalogue_is_asked_on_the_class(run: Callable[..., list[str]]) -> None:
    price, window, listed, able, best = run("query_models")
    assert (float(price), int(window)) == (0.03, 8192)
    count, _, of_openai = listed.partition(" ")
    assert int(count) > 50
    assert all(name.startswith("openai/") for name in ast.literal_eval(of_openai))
    cheap, _, count = able.rpartition(" ")
    assert len(ast.literal_eval(cheap)) == 2
    assert int(count) > 10
    assert all("/" in name for name in best.split())


def test_a_call_of_the_programs_own_is_in_the_totals(run: Callable[..., list[str]], tmp_path: Path) -> None:
    every, of_openai = (ast.literal_eval(line) for line in run("usage_statistics"))
    assert every == of_openai
    assert every["openai/gpt-4"] == {
        "total_calls": 1,
        "successful_calls": 1,
        "failed_calls": 0,
        "total_latency_ms": 1200,
        "total_cost_usd": 0.05,
    }
    assert [(row["model"], row["cost_picousd"]) for row in rows(tmp_path)] == [("gpt-4", 5 * 10**10)]


def told_health(line: str) -> dict[str, Any]:
    health: dict[str, Any] = ast.literal_eval(line)
    return health


def test_health_tells_which_providers_answer(run: Callable[..., list[str]], served: Providers) -> None:
    served.failing["mistral"] = 500
    (told,) = run("health_check")
    assert {name: told_health(told)[name] for name in FORMATS} == {
        "openai": True,
        "anthropic": True,
        "mistral": False,
        "ollama": True,
        "together": True,
    }


def test_the_providers_that_are_configured_are_told(run: Callable[..., list[str]]) -> None:
    available, health = run("check_configuration", TOGETHER_API_KEY="")
    assert set(ast.literal_eval(available)) == set(FORMATS) - {"together"}
    assert told_health(health)["together"] is False


def test_a_provider_that_does_not_answer_is_noticed(run: Callable[..., list[str]], served: Providers) -> None:
    assert run("provider_not_available") == []
    served.failing["openai"] = 500
    run("provider_not_available", log="OpenAI provider not available")


def test_simple_tasks_go_to_a_cheap_model_or_within_a_budget(
    run: Callable[..., list[str]], served: Providers, tmp_path: Path
) -> None:
    run("cost_optimization")
    assert served.bodies("openai")[0]["model"].startswith("gpt-3.5-turbo")
    named, free = rows(tmp_path)
    assert named["model"] == "gpt-3.5-turbo"
    assert free["reserved_picousd"] <= 0.01 * 10**12


def test_a_quick_answer_and_a_streamed_one(run: Callable[..., list[str]], served: Providers) -> None:
    assert run("latency_optimization") == [f"{ANSWER} {ANSWER}"]
    assert [each.provider for each in served.asked] == ["openai", "anthropic"]
    assert [bool(each.body.get("stream")) for each in served.asked] == [False, True]


def test_one_dear_answer_and_many_cheap_ones(run: Callable[..., list[str]], served: Providers) -> None:
    assert run("quality_versus_cost") == [ANSWER, ANSWER]
    assert Counter(each.provider for each in served.asked) == {"openai": 1, "anthropic": 2}
    assert served.bodies("openai")[0]["temperature"] == 0.3


def test_sensitive_data_goes_to_the_local_server_alone(run: Callable[..., list[str]], served: Providers) -> None:
    assert run("local_models_for_privacy") == ["ollama mistral"]
    assert [each.provider for each in served.asked] == ["ollama"]


def test_a_rate_limit_of_one_provider_is_passed_over_and_of_all_is_caught(
    run: Callable[..., list[str]], served: Providers
) -> None:
    served.first = 429
    assert run("rate_limiting") == [ANSWER]
    served.failing.update(dict.fromkeys(FORMATS, 429))
    assert run("rate_limiting", log="Rate limited: ") == []


def test_keys_that_are_refused_everywhere_are_caught(run: Callable[..., list[str]], served: Providers) -> None:
    served.failing.update(dict.fromkeys(FORMATS, 401))
    assert run("authentication_errors", log="Authentication failed: ") == []


def test_the_temperature_is_sent(run: Callable[..., list[str]], served: Providers) -> None:
    assert run("temperature_settings") == [ANSWER]
    assert [sent["temperature"] for sent in served.bodies()] == [0.0, 0.9, 0.7]


def test_the_longest_answer_is_sent(run: Callable[..., list[str]], served: Providers) -> None:
    assert run("token_limits") == [ANSWER]
    assert [sent["max_tokens"] for sent in served.bodies()] == [50, 2000]
