"""From the ledger's memory to what the router weighs: priors, fingerprints, and the breaker that holds longest."""

from __future__ import annotations

from math import exp, log

import pytest

from llmroute.circuits import TripReason
from llmroute.ledger.stats import Breaker, StatsSnapshot
from llmroute.planning.model_stats import StatsEstimator
from llmroute.routing.plan import ModelStats
from tests.routing.models import model

MINE = "key-1"
REASONS = {
    "key": TripReason.NO_CREDIT,
    "model": TripReason.MODEL_GONE,
    "endpoint": TripReason.FAILURES,
    "address": TripReason.UNREACHABLE,
}


def memory(**told: object) -> StatsEstimator:
    empty: dict[str, object] = {"latencies": {}, "typical_latencies": {}, "reliabilities": {}, "breakers": []}
    return StatsEstimator(StatsSnapshot(**{**empty, **told}), lambda _provider: MINE)  # type: ignore[arg-type]


def breaker(kind: str, until_ms: int, *, of: str = "m", fingerprint: str = MINE) -> Breaker:
    return Breaker(kind, "openai", of, REASONS[kind], until_ms, fingerprint, probing=False)


def test_without_a_ledger_nothing_is_known() -> None:
    assert StatsEstimator(None, lambda _provider: MINE).of(model()) == ModelStats()


def test_while_no_latency_is_known_at_all_none_is_guessed() -> None:
    stats = memory(reliabilities={("openai", "m"): (4.0, 10.0)}).of(model())
    assert (stats.ttft_s, stats.s_per_token) == (None, None)
    assert stats.success == pytest.approx(13.5 / 20)


def test_what_was_measured_and_what_was_not_meet_at_the_prior() -> None:
    known = memory(
        latencies={("openai", "m", "ttft"): (0.05, log(4.0), 0.2, 0.0, 1.6, 0.0)},
        typical_latencies={"ttft": [4.0, 1.0, 9.0, 2.0]},
    )
    # The mean of a log-normal answer is 4 e^0.1; it weighs as much as the lower median, 2.
    assert known.of(model()).ttft_s == pytest.approx((4.0 * exp(0.1) * 2.0) ** 0.5 * exp(-(2**0.5)))
    assert known.of(model("mistral/other")).ttft_s == pytest.approx(2.0 * exp(-2))
    assert known.of(model()).s_per_token is None


def test_the_busier_the_ledger_the_sooner_another_look_is_worth_it() -> None:
    told = {
        "latencies": {("openai", "m", "ttft"): (1.0, 0.0, 0.3, 0.0, 1.6, 5.0)},
        "typical_latencies": {"ttft": [1.0]},
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
