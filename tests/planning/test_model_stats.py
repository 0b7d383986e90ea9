"""From the ledger's memory to what the router weighs: priors, fingerprints, and the breaker that holds longest."""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING, Any

import pytest

from llmroute.circuits import TripReason
from llmroute.ledger.statistics.values import Breaker, StatsSnapshot
from llmroute.planning.model_stats import StatsEstimator
from llmroute.registry import ModelRegistry
from llmroute.registry.expectations import Speed
from llmroute.routing.output_length import Answers
from llmroute.routing.plan import ModelStats
from llmroute.types import ParameterLimits
from tests.routing.models import model

if TYPE_CHECKING:
    from llmroute.types import Effort, ModelConfig

MINE = "key-1"
REASONS = {
    "key": TripReason.NO_CREDIT,
    "model": TripReason.MODEL_GONE,
    "endpoint": TripReason.FAILURES,
    "address": TripReason.UNREACHABLE,
}


CLASS = Speed(first_token_s=2.0, token_s=0.01)


class OneClass(ModelRegistry):
    """A registry that expects one speed of all models."""

    speed: Speed | None = CLASS

    def expected_speed(self, model: ModelConfig, effort: str) -> Speed | None:  # noqa: ARG002
        return self.speed


class NoClass(OneClass):
    """A registry without speeds."""

    speed = None


def memory(*, effort: Effort | None = None, tier: str = "", **told: Any) -> StatsEstimator:
    empty: dict[str, Any] = {"latencies": {}, "output_lengths": {}, "reliabilities": {}, "breakers": []}
    snapshot = StatsSnapshot(**{**empty, **told})
    return StatsEstimator(snapshot, lambda _provider: MINE, OneClass(), effort=effort, tier=tier)


def breaker(kind: str, until_ms: int, *, of: str = "m", fingerprint: str = MINE) -> Breaker:
    return Breaker(kind, "openai", of, REASONS[kind], until_ms, fingerprint, probing=False)


def test_a_circuit_of_a_tier_is_open_for_that_tier_only() -> None:
    flex = [breaker("endpoint", 1000)._replace(kind="endpoint:flex")]
    found = {tier: memory(breakers=flex, tier=tier).of(model()) for tier in ("", "flex", "priority")}
    assert {tier: stats.open_until_ms for tier, stats in found.items()} == {"": None, "flex": 1000, "priority": None}
    assert found["flex"].fails_open


def test_without_a_ledger_a_model_is_as_fast_as_with_one_that_has_no_call_of_it() -> None:
    nothing = StatsEstimator(None, lambda _provider: MINE, OneClass())
    found, empty = nothing.of(model()), memory().of(model())
    assert (found.ttft_s, found.s_per_token) == (empty.ttft_s, empty.s_per_token)
    assert found.ttft_s is not None
    assert found.ttft_s < 2.0, "the speed of its class"
    unknown = StatsEstimator(None, lambda _provider: MINE, NoClass())
    assert unknown.of(model()) == ModelStats()


def test_a_model_that_was_never_called_is_expected_at_the_speed_of_its_class() -> None:
    stats = memory(reliabilities={("openai", "m"): (4.0, 10.0)}).of(model())
    assert stats.ttft_s == pytest.approx(2.0 / 1.35)
    assert stats.s_per_token == pytest.approx(0.01 / 1.35)
    assert stats.success == pytest.approx(13.5 / 20)


def test_what_was_measured_meets_the_class_and_tells_of_the_provider() -> None:
    known = memory(latencies={("openai", "m", "none", "ttft"): (0.05, log(4.0), 0.2, 0.0, 1.6, 0.0)})
    # The mean of a log-normal answer is 4 e^0.1; it is worth a twentieth of a call, and so is the prior.
    factor = exp((log(4.0) + 0.1 - log(2.0)) * (0.05 / 1.05) / (0.05 / 1.05 + 1))
    assert known.of(model()).ttft_s == pytest.approx((4.0 * exp(0.1) * 2.0 * factor) ** 0.5 * exp(-(2**0.5)))
    assert known.of(model("openai/other")).ttft_s == pytest.approx(2.0 * factor / 1.35)


def test_calls_of_one_provider_teach_nothing_about_another() -> None:
    quick = {
        ("builtin", "small", "none", metric): (40.0, log(0.001), 0.2, 0.0, 1.6, 0.0) for metric in ("ttft", "per_token")
    }
    known = memory(latencies=quick)
    for name in ("openai/m", "mistral/m", "ollama/m"):
        assert known.of(model(name)) == memory().of(model(name))
    assert known.of(model("builtin/other")) != memory().of(model("builtin/other"))


def test_the_answers_of_a_model_and_those_to_the_task_are_kept_apart() -> None:
    known = memory(output_lengths={("openai", "m", "none"): (5.0, 4000.0, 2.0, 300.0)})
    assert known.of(model()).answers == Answers(5.0, 4000.0)
    assert known.of(model()).task_answers == Answers(2.0, 300.0)


REASONER = model(
    capabilities=frozenset(["reasoning"]), parameters=ParameterLimits(efforts=("low", "medium"), default_effort="low")
)


@pytest.mark.parametrize(("requested", "tokens"), [(None, 4000.0), ("low", 4000.0), ("medium", 900.0), ("high", 900.0)])
def test_lengths_and_latencies_are_those_of_the_effort_that_the_model_runs_at(
    requested: Effort | None, tokens: float
) -> None:
    known = memory(
        effort=requested,
        output_lengths={
            ("openai", "m", "low"): (5.0, 4000.0, 0.0, 0.0),
            ("openai", "m", "medium"): (5.0, 900.0, 0.0, 0.0),
            ("openai", "m", "none"): (5.0, 1.0, 0.0, 0.0),
        },
        latencies={
            ("openai", "m", "low", "ttft"): (40.0, log(4000), 0.2, 0.0, 1.6, 0.0),
            ("openai", "m", "medium", "ttft"): (40.0, log(900), 0.2, 0.0, 1.6, 0.0),
        },
    ).of(REASONER)
    assert known.answers == Answers(5.0, tokens)
    assert known.ttft_s == pytest.approx(tokens, rel=0.1)


def test_answers_that_an_older_ledger_holds_without_an_effort_are_those_of_the_default() -> None:
    stored: dict[str, Any] = {
        "output_lengths": {
            ("openai", "m", ""): (5.0, 4000.0, 0.0, 0.0),
            ("openai", "m", "low"): (1.0, 500.0, 0.0, 0.0),
        },
        "latencies": {("openai", "m", "", "ttft"): (40.0, log(9.0), 0.2, 0.0, 1.6, 0.0)},
    }
    by_default, requested = memory(**stored).of(REASONER), memory(effort="medium", **stored).of(REASONER)
    assert by_default.answers == Answers(6.0, 4500.0)
    assert by_default.ttft_s == pytest.approx(9.0, rel=0.1)
    assert requested.answers == Answers()
    assert requested.ttft_s != pytest.approx(9.0, rel=0.1)


def test_the_busier_the_ledger_the_sooner_another_look_is_worth_it() -> None:
    told: dict[str, Any] = {
        "latencies": {("openai", "m", "none", "ttft"): (1.0, 0.0, 0.3, 0.0, 1.6, 5.0)},
    }
    quiet, busy = (
        memory(**told, reliabilities={("openai", "m"): (calls, calls)}).of(model()).ttft_s for calls in (9.0, 900.0)
    )
    assert quiet is not None
    assert busy is not None
    assert busy < 0.8 * quiet


def test_the_breaker_that_holds_longest_is_told() -> None:
    known = memory(breakers=[breaker("endpoint", 5), breaker("key", 9, of=""), breaker("model", 7)])
    stats = known.of(model())
    assert (stats.open_until_ms, stats.open_because) == (9, "no credit")
    assert not stats.fails_open, "a key that was refused is not tried all the same"
    assert memory(breakers=[breaker("address", 5, of="")]).of(model("openai/other")).fails_open


@pytest.mark.parametrize("kind", ["key", "model", "endpoint", "address"])
def test_what_another_key_or_address_did_keeps_nothing_out(kind: str) -> None:
    known = memory(breakers=[breaker(kind, 5, fingerprint="key-2")])
    assert known.of(model()).open_until_ms is None


def test_one_models_breaker_keeps_no_other_out() -> None:
    known = memory(breakers=[breaker("endpoint", 5)])
    assert known.of(model("openai/other")).open_until_ms is None
    assert known.of(model("mistral/m")).open_until_ms is None
