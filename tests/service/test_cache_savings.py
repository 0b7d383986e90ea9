"""What prompt caches saved or cost, and how hits are expected."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from llmroute.ledger.port import CachedUsage
from llmroute.planning.model_stats import SHRINKING_TOKENS, cached_share
from llmroute.request.options import Options
from llmroute.service.costs.savings import cache_savings_picousd
from tests.support.fault_server import serving
from tests.support.provider_servers import ANTHROPIC, House, anthropic_answer
from tests.support.shell import run

if TYPE_CHECKING:
    from pathlib import Path

PRICE = json.dumps({"input": 100, "output": 500, "cache_read": 10, "cache_write": 125, "cache_write_1h": 200})
TIERED = json.dumps(
    {"input": 100, "output": 1, "tiers": [{"above": 2000, "input": 300, "output": 1, "cache_read": 30}]}
)


@pytest.mark.parametrize(
    ("usage", "saved"),
    [
        pytest.param(CachedUsage(PRICE, 0, 1000, 0, 0), 90_000, id="reads save"),
        pytest.param(CachedUsage(PRICE, 0, 0, 1000, 0), -25_000, id="writes cost"),
        pytest.param(CachedUsage(PRICE, 0, 0, 1000, 1000), -100_000, id="those of an hour more"),
        pytest.param(CachedUsage(PRICE, 0, 1000, 1000, 400), 90_000 - 600 * 25 - 400 * 100, id="all together"),
        pytest.param(CachedUsage(TIERED, 1, 1000, 0, 0), 0, id="no price of reads: that of input"),
        pytest.param(CachedUsage(TIERED, 2, 1000, 0, 0), 270_000, id="the tier of the prompt's length"),
    ],
)
def test_what_caches_saved_is_the_price_of_input_less_what_was_paid(usage: CachedUsage, saved: int) -> None:
    assert cache_savings_picousd([usage]) == saved
    assert cache_savings_picousd([usage, usage]) == 2 * saved


def test_the_expected_share_is_that_of_the_task_shrunk_to_the_model_and_to_none() -> None:
    much = 1000 * SHRINKING_TOKENS
    assert cached_share(0, 0, 0, 0) == 0
    assert cached_share(SHRINKING_TOKENS, SHRINKING_TOKENS, 0, 0) == 0.5
    assert cached_share(2 * much, much, much, 0) == pytest.approx(0, abs=0.001)
    assert cached_share(2 * much, much, much, much) == pytest.approx(1, abs=0.001)
    assert cached_share(much, much / 2, 0, 0) == pytest.approx(0.5, abs=0.001)


def test_costs_tell_what_caches_saved_and_later_calls_are_expected_to_hit_them(tmp_path: Path) -> None:
    options = Options(prompt="word " * 4_000, model=ANTHROPIC, max_tokens=10)
    usage = {"input_tokens": 1_000, "cache_read_input_tokens": 90_000, "cache_creation_input_tokens": 5_000}
    with serving([anthropic_answer("yes", **usage)]) as server:
        house = House(tmp_path, anthropic=server)
        with closing(house.service()) as service:
            before, *_ = service.core.plan(options).entries
            service.generate_sync(options.prompt or "", model=ANTHROPIC, max_tokens=10)
            after, *_ = service.core.plan(options).entries
    assert before.candidate.expected_cost_picousd is not None
    assert after.candidate.expected_cost_picousd is not None
    assert after.candidate.expected_cost_picousd < 0.5 * before.candidate.expected_cost_picousd
    assert after.candidate.worst_cost_picousd == before.candidate.worst_cost_picousd
    told = json.loads(run("costs", "--json", home=tmp_path, LLMROUTE_CONFIG_DIR=str(tmp_path)).out)
    assert told["cached_share"] == pytest.approx(90_000 / 96_000)
    assert told["cache_saved_usd"] == pytest.approx((90_000 * 0.9 - 5_000 * 0.25) * 1e-6)
    assert "prompt caches saved $0.0" in run("costs", home=tmp_path, LLMROUTE_CONFIG_DIR=str(tmp_path)).out
