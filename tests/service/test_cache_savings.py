"""What prompt caches saved or cost, and how hits are expected."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from llmroute.planning.model_stats import SHRINKING_TOKENS, cached_share
from llmroute.request.options import Options
from tests.support.fault_server import serving
from tests.support.provider_servers import ANTHROPIC, House, anthropic_answer
from tests.support.shell import run

if TYPE_CHECKING:
    from pathlib import Path


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
